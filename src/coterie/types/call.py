"""On whose behalf something is done: one value, passed from the pipeline down to the engines.

`CallContext` holds who asks, what they may see, and where what is spent and what leaves is written down. Nothing of
that is kept in a context variable or a global: who calls an engine says for whom.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from coterie.types.label import Label
from coterie.types.usage import Usage

if TYPE_CHECKING:
    from coterie.types.engine import Prompt
    from coterie.types.finding import Verdict


@dataclass(frozen=True, kw_only=True)
class Principal:
    """Who asks and pays. The default is the operator of this process."""

    tenant: str = "default"
    key: str = ""
    """Id of the key that the request came with; empty without one."""
    clearance: Label = Label.RESTRICTED
    """The most sensitive label they may see."""


@dataclass(frozen=True, kw_only=True)
class PseudonymValue:
    """A value and the pseudonym that stands for it."""

    kind: str
    number: int
    text: str
    """As it was seen first."""
    label: Label
    """Of the least sensitive text that it stood in: who may see that may see the value."""
    form: int = 0
    """From 2 on for other ways to write what has this number; 0 for the first."""

    @property
    def name(self) -> tuple[str, int, int]:
        """By which a pseudonym finds it."""
        return self.kind, self.number, self.form

    @property
    def pseudonym(self) -> str:
        """`<PERSON_1>`, or `<PERSON_1_2>` for another form of it."""
        return f"<{self.kind}_{self.number}{f'_{self.form}' if self.form else ''}>"


class Pseudonyms(Protocol):
    """The pseudonyms of one session. The egress gate alone reads and adds to them; several threads may ask at once."""

    def of(self, kind: str, text: str, label: Label) -> PseudonymValue:
        """Return the value with its pseudonym, the one that it has or the next."""
        ...

    def near(self, text: str) -> Sequence[PseudonymValue]:
        """Return the values that may stand in a text, given in lower case."""
        ...

    def kinds(self) -> Collection[str]:
        """Return the kinds of the values there are."""
        ...


class SentTexts(Protocol):
    """What the principal wrote themselves: a value that stands there is known to them."""

    def has(self, value: str) -> bool:
        """Tell whether they wrote the value, in whatever spelling."""
        ...


@dataclass(frozen=True, slots=True)
class Amount:
    """What is reserved or was taken under a limit, in whole units, so that sums are exact."""

    tokens: int = 0
    nano: int = 0
    """Money in billionths."""
    micro: int = 0
    """Joules in millionths."""

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.tokens + other.tokens, self.nano + other.nano, self.micro + other.micro)

    def __sub__(self, other: Amount) -> Amount:
        return Amount(self.tokens - other.tokens, self.nano - other.nano, self.micro - other.micro)

    def __mul__(self, times: int) -> Amount:
        return Amount(self.tokens * times, self.nano * times, self.micro * times)


class Allowance(Protocol):
    """A limit that is kept in memory, such as one request's. The egress gate reserves there before each call."""

    @property
    def limits_money(self) -> bool:
        """Whether a model of unknown price may not be asked under it."""
        ...

    def reserve(self, amount: Amount, engine: str) -> None:
        """Set an amount aside for a call of an engine. Raises `BudgetExceeded` if not enough is left."""
        ...

    def settle(self, reserved: Amount, took: Amount) -> None:
        """Count what was taken in place of what was reserved."""
        ...


BeforeRetry = Callable[["Prompt"], Awaitable[None]]


Bill = list[tuple[str, Usage]]
"""What engines took, by name, where a result has no place for it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CallContext:
    """On whose behalf an engine, a specialist or an index is asked.

    The pipeline makes one for each request. It is frozen; its meters, the lists, are shared by all that is derived
    from it. The default, `SYSTEM`, is the operator of this process: it may see everything and keeps no meter.
    """

    principal: Principal = field(default_factory=Principal)
    sent: SentTexts | None = None
    """What they wrote; None where nothing is known of it."""
    released: bool = False
    """Personal data in what they wrote was released: it does not count at the egress gate."""
    pseudonyms: Pseudonyms | None = None
    """Those of their session; None for some that last as long as one prompt."""
    egress: list[Verdict] | None = None
    """Where the egress gate writes each decision, whatever becomes of the call; None writes nothing down."""
    bill: Bill | None = None
    """Where engines write what no result has a place for; None writes nothing down."""
    limits: tuple[Allowance, ...] = ()
    """What this request may spend, beside the budgets of its principal."""
    before_retry: BeforeRetry | None = None
    """Awaited by an engine before it tries a prompt again that may already have been billed. The gate sets it."""

    def decided(self, verdict: Verdict) -> None:
        """Write a decision of the egress gate down."""
        if self.egress is not None:
            self.egress.append(verdict)

    def charge(self, engine: str, usage: Usage) -> None:
        """Write down what an engine took."""
        if self.bill is not None:
            self.bill.append((engine, usage))

    def with_bill(self, bill: Bill) -> CallContext:
        """Return the same with a bill of its own."""
        return replace(self, bill=bill)

    def knows(self, value: PseudonymValue) -> bool:
        """Tell whether the principal may see a value: by clearance, or because they wrote it."""
        return value.label <= self.principal.clearance or (self.sent is not None and self.sent.has(value.text))


SYSTEM = CallContext()
"""The operator of this process, as in training and on the command line."""
