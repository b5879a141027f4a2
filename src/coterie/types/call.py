"""The call context: one value that says on whose behalf a call is made, passed from the pipeline down to the engines.

`CallContext` holds the principal, the pseudonyms of the session, the limits of the request, and the lists into which
the egress gate writes its decisions and engines write their usage. No context variable and no global holds any of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from operator import add, sub
from typing import TYPE_CHECKING, NamedTuple, Protocol

from coterie.types.egress import Egress
from coterie.types.label import Label
from coterie.types.request import ReleaseSlot
from coterie.types.usage import Usage

if TYPE_CHECKING:
    from coterie.types.engine import Prompt
    from coterie.types.finding import Verdict


@dataclass(frozen=True, kw_only=True)
class Principal:
    """The tenant and key that a request belongs to and is charged to. The default is the operator of this process."""

    tenant: str = "default"
    key: str = ""
    """Id of the API key of the request; empty without one."""
    clearance: Label = Label.RESTRICTED
    """The most sensitive label that the principal may see."""


@dataclass(frozen=True, kw_only=True)
class PseudonymValue:
    """A personal value and the pseudonym that replaces it."""

    kind: str
    number: int
    text: str
    """The value as it was first written."""
    label: Label
    """Label of the least sensitive text that contains the value. A principal cleared for it may see the value."""
    form: int = 0
    """Number of the spelling: 0 for the first, 2 and higher for others of the same `number`."""

    @property
    def name(self) -> tuple[str, int, int]:
        """The key of the value: kind, number, form."""
        return self.kind, self.number, self.form

    @property
    def pseudonym(self) -> str:
        """The replacement text: `<PERSON_1>`, or `<PERSON_1_2>` for another spelling."""
        return f"<{self.kind}_{self.number}{f'_{self.form}' if self.form else ''}>"


class Pseudonyms(Protocol):
    """The pseudonyms of one session. Only the egress gate reads them and adds to them, from several threads."""

    def of(self, kind: str, text: str, label: Label) -> PseudonymValue:
        """Return the value with its pseudonym; a value that has none gets the next number."""
        ...

    def near(self, text: str) -> Sequence[PseudonymValue]:
        """Return the values that may occur in a text, given in lower case."""
        ...

    def kinds(self) -> Collection[str]:
        """Return the kinds of all values."""
        ...


class SentTexts(Protocol):
    """The texts that the principal wrote in this session: their values are known to the principal."""

    def has(self, value: str) -> bool:
        """Return whether the texts contain the value, in any spelling."""
        ...


class Amount(NamedTuple):
    """An amount that is reserved or was spent under a limit, in integers, so that sums are exact."""

    tokens: int = 0
    nano: int = 0
    """Money, in billionths of the currency's unit."""
    micro: int = 0
    """Energy, in millionths of a joule."""
    requests: int = 0

    def __add__(self, other: Amount) -> Amount:  # type: ignore[override]  # of amounts, as no tuples are added
        return Amount(*map(add, self, other))

    def __sub__(self, other: Amount) -> Amount:
        return Amount(*map(sub, self, other))

    def __mul__(self, times: int) -> Amount:  # type: ignore[override]
        return Amount(*[amount * times for amount in self])


class Allowance(Protocol):
    """A limit that is kept in memory, such as that of one request. The egress gate reserves there before each call."""

    @property
    def limits_money(self) -> bool:
        """Whether money is limited: a model with an unknown price must then not be used."""
        ...

    @property
    def room(self) -> Amount:
        """Tokens and money that are neither spent nor reserved; a very large number where there is no limit."""
        ...

    def reserve(self, amount: Amount, engine: str) -> None:
        """Reserve an amount for a call of an engine. Raises `BudgetExceeded` if not enough is left."""
        ...

    def settle(self, reserved: Amount, took: Amount) -> None:
        """Replace a reserved amount by the amount that the call took."""
        ...


BeforeRetry = Callable[["Prompt"], Awaitable[None]]
"""Awaited before a prompt is tried again, to reserve the cost of the retry."""


Bill = list[tuple[str, Usage]]
"""Usage by name of the engine, for calls whose result has no field for it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CallContext:
    """On whose behalf an engine, a specialist or an index is called.

    The admission makes one for each request. The value is frozen; its lists are shared by all contexts derived from it.
    `SYSTEM`, the default, is the operator of this process: it may see everything and records nothing.
    """

    principal: Principal = field(default_factory=Principal)
    sent: SentTexts | None = None
    """The texts that the principal wrote; None if they are not known."""
    released: bool = False
    """Whether personal data in the principal's own texts was released: the egress gate then ignores it."""
    pseudonyms: Pseudonyms | None = None
    """The pseudonyms of the session; None for new ones in each prompt."""
    egress: list[Verdict] | None = None
    """List to which the egress gate appends each decision, also if the call fails; None records none."""
    outgoing: dict[str, Egress] | None = None
    """What left for this request, by id, written by the egress gate; None where the request is not settled."""
    trace: str = ""
    """Id of the request's trace; empty without one."""
    bill: Bill | None = None
    """List to which engines append usage that no result carries; None records none."""
    limits: tuple[Allowance, ...] = ()
    """Limits of this request, in addition to the budgets of its principal."""
    release_slot: ReleaseSlot = nullcontext
    """Entered by the gate around each call of a remote model."""
    before_retry: BeforeRetry | None = None
    """Awaited by an engine before it retries a prompt that may have been billed. Set by the gate."""

    def decided(self, verdict: Verdict) -> None:
        """Record a decision of the egress gate."""
        if self.egress is not None:
            self.egress.append(verdict)

    def left(self, egress: Egress) -> None:
        """Record an egress, or its outcome."""
        if self.outgoing is not None:
            self.outgoing[egress.id] = egress

    def charge(self, engine: str, usage: Usage) -> None:
        """Record the usage of an engine."""
        if self.bill is not None:
            self.bill.append((engine, usage))

    def knows(self, value: PseudonymValue) -> bool:
        """Return whether the principal may see a value: by clearance, or because the principal wrote it."""
        return value.label <= self.principal.clearance or (self.sent is not None and self.sent.has(value.text))


SYSTEM = CallContext()
"""The operator of this process, as in training and on the command line."""
