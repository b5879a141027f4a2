"""Limits in memory: allowances of a request or a network, and parts of budgets that a process leases and then spends.

A frequently used budget cannot be a row that every request writes: a database commits some hundred times a
second. So a process leases an allotment before it is spent. The storage counts all of it as held from that
moment; requests reserve and settle in memory; twice a second usage is written down, and unneeded amounts are
given back. Consequences:

- **Nothing is ever overspent**, even if processes are killed: all spent amounts were held, and held ones count.
- **What a killed process held counts as spent.** Beyond what its running calls had
  reserved that is, of each lease, at most what it used in a second and at most a sixteenth of what was left.
- A call may be refused while another process holds amounts that it does not use: for at most a second.

A budget that is used fewer than five times a second is leased call by call and given back at once: its
figures in the storage are exact. For a more frequent one, about as much is leased as was used in the last
second; the lease is renewed when usage is written down, so that no request waits for the storage.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal

from coterie.errors import BudgetExceeded, CoterieError, StoreError
from coterie.limits import storage as table
from coterie.limits.storage import NANO, BudgetStorage, nano
from coterie.store.statements import DatabaseConnection
from coterie.types import Amount, Reason, Verdict

SECOND = 1.0
"""Seconds for which a frequently used budget is leased."""
_WRITES = 2
"""Number of times in that span that usage is written and unneeded amounts are given back."""
_EXACT, _PART = 4, 16
"""Reservations a second up to which only the need is leased; divisor of the rest that may be leased beyond it."""


@dataclass(eq=False)
class _Allotment:
    """The part of a budget that this process holds in one piece of its span."""

    row: str
    period: str
    number: int = 0
    """Number of the allotment in the storage."""
    held: Amount = field(default_factory=Amount)
    """Amount held in the storage for this process: reserved, taken and not yet written, and free."""
    reserved: Amount = field(default_factory=Amount)
    taken: Amount = field(default_factory=Amount)
    """Amount taken and not yet written."""
    dearest: int = 0
    """Energy of the most expensive request that is not yet written."""
    used: Amount = field(default_factory=Amount)
    """Amount used in about the last second, as far as it is written."""
    rest: Amount = field(default_factory=Amount)
    """Amount that the storage had left at the last lease."""
    lender: tuple[Callable[[], Sequence[Need]], Left] | None = None
    """The arguments of the last lease: the function of the needs, and the one of what is left."""

    @property
    def free(self) -> Amount:
        """Amount that may be reserved."""
        return self.held - self.reserved - self.taken

    @property
    def wanted(self) -> Amount:
        """Amount to keep free after writing; nothing of a unit of which little is left."""
        units = zip(self.used, self.rest, strict=True)
        return Amount(*(used if used <= rest // _PART else 0 for used, rest in units))


@dataclass(eq=False)
class _Pace:
    """Reservations under a budget in this second and in the one before."""

    began: float = float("-inf")
    now: int = 0
    before: int = 0

    def note(self, seconds: float) -> None:
        """Count one reservation."""
        if seconds - self.began >= SECOND:
            self.before = self.now if seconds - self.began < 2 * SECOND else 0
            self.began, self.now = seconds, 0
        self.now += 1

    @property
    def times(self) -> int:
        """How many times a need to lease: once for a rarely used budget."""
        most = max(self.now, self.before)
        return 1 if most <= _EXACT else most


@dataclass(frozen=True, kw_only=True)
class Need:
    """An amount to reserve under one budget."""

    row: str
    """Row of the budget in the storage."""
    period: str
    """Piece of the budget's span in which the amount is taken."""
    amount: Amount


Left = Callable[[DatabaseConnection, Need, Amount], Amount]
"""A function that returns what the storage has left of a budget, neither spent nor held.

Its last argument is what this process has free of the budget. Raises `BudgetExceeded` if both together are
less than the need.
"""


_Grant = tuple[_Allotment, int, Amount]
"""An allotment, its number in the storage, and the further amount that it holds there."""


class Allotments:
    """The allotments of this process. Threads and event loops share them."""

    def __init__(self, storage: BudgetStorage, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._storage, self._monotonic = storage, monotonic
        self._mutex = threading.Lock()  # guards what is in memory; never held while the storage is asked
        self._leasing = threading.Lock()  # one transaction of this process at a time
        self._known: dict[tuple[str, str], _Allotment] = {}
        self.failures = 0
        """How often the storage could not be written."""
        self._failure = StoreError("")
        self._frozen: set[str] = set()  # rows that are being leased: nobody takes what that counts on
        self._paces: dict[str, _Pace] = {}
        self._dearest: dict[str, int] = {}
        self._reservations: dict[int, tuple[_Allotment, Amount]] = {}
        self._next = 0
        self._keeper: threading.Thread | None = None
        self._ended = threading.Event()

    def take(self, needs: Sequence[Need]) -> list[int] | None:
        """Reserve in memory, under each budget or under none; return None if too little is leased."""
        with self._mutex:
            allotments = [self._known.get((need.row, need.period)) for need in needs]
            if not all(
                allotment and need.row not in self._frozen and _covers(allotment.free, need.amount)
                for allotment, need in zip(allotments, needs, strict=True)
            ):
                return None
            return [
                self._reserve(allotment, need.amount)
                for allotment, need in zip(allotments, needs, strict=True)
                if allotment
            ]

    def lease(self, needs: Callable[[], Sequence[Need]], left: Left, *, failures: int | None = None) -> list[int]:
        """Reserve, leasing from the storage what is lacking. Call it in a thread.

        Args:
            needs: Returns the needs; it may ask `dearest`.
            left: Returns what may be leased.
            failures: The number of `failures` when the request began to wait: if the storage could not be written
                since, that is this request's result too. Each try of a database that is away takes seconds.

        Raises:
            BudgetExceeded: `left` raised it; nothing is reserved then.
            StoreError: the storage cannot be written.
        """
        with self._leasing:
            wanted = needs()
            if (numbers := self.take(wanted)) is not None:  # somebody leased it while this thread waited
                return numbers
            if failures not in {None, self.failures}:
                raise type(self._failure)(self._failure.message, hint=self._failure.hint)
            with self._mutex:
                self._frozen = {need.row for need in wanted}
                pieces = {(need.row, need.period) for need in wanted}
                stale = [allotment for allotment in self._known.values() if allotment.row in self._frozen]
                stale = [allotment for allotment in stale if (allotment.row, allotment.period) not in pieces]
            try:
                granted: list[tuple[Need, int, Amount, Amount]] = []

                def grant(connection: DatabaseConnection) -> list[_Grant]:
                    for need in wanted:
                        self._learn(connection, need.row)
                    granted.extend(self._grant(connection, need, left) for need in needs())
                    return []

                self._write_back(stale, grant)
                with self._mutex:
                    return [self._granted(*grant, (needs, left)) for grant in granted]
            finally:
                with self._mutex:
                    self._frozen = set()
                self._watch()

    def settle(self, took: Mapping[int, Amount | None]) -> list[str]:
        """Replace reservations by the amounts taken, None for all of it; return the rows that `write` is to write."""
        exact: list[str] = []
        with self._mutex:
            for number, amount in took.items():
                if (reservation := self._reservations.pop(number, None)) is None:
                    continue
                allotment, reserved = reservation
                spent = reserved if amount is None else amount
                if spent.requests > reserved.requests:
                    spent = spent._replace(requests=reserved.requests)
                allotment.reserved -= reserved
                allotment.taken += spent
                if amount is not None:
                    allotment.dearest = max(allotment.dearest, spent.micro)
                    self._dearest[allotment.row] = max(self._dearest.get(allotment.row, 0), spent.micro)
                if self._storage.exact and self._paces[allotment.row].times == 1:
                    exact.append(allotment.row)
        return exact

    def write(self, rows: Collection[str] | None = None, *, lease: bool = False) -> None:
        """Write taken amounts down and give back free ones. Call it in a thread.

        Args:
            rows: The budgets to write; None for all.
            lease: Lease anew what was used in the last second, for frequently used budgets.

        Raises:
            StoreError: the storage cannot be written.
        """
        with self._leasing:
            with self._mutex:
                allotments = [allotment for allotment in self._known.values() if rows is None or allotment.row in rows]
                for allotment in allotments:
                    often = lease and self._pace(allotment.row).times > 1
                    allotment.used = Amount(*(_WRITES * taken for taken in allotment.taken)) if often else Amount()
            if allotments:
                self._write_back(
                    allotments,
                    lambda connection: [
                        grant for allotment in allotments for grant in self._renew(connection, allotment)
                    ],
                )

    def free(self, row: str, period: str) -> Amount:
        """Return what this process may reserve without asking the storage."""
        with self._mutex:
            allotment = self._known.get((row, period))
            return Amount() if allotment is None else allotment.free

    def dearest(self, row: str) -> int | None:
        """Return the energy of the most expensive request of any span; None if unknown: a lease fetches it."""
        return self._dearest.get(row)

    def close(self) -> None:
        """Write down and give back everything. A second call does nothing. Raises `StoreError`."""
        self._ended.set()
        self.write()

    # --- with the mutex --------------------------------------------------------------------------

    def _reserve(self, allotment: _Allotment, amount: Amount) -> int:
        self._next += 1
        allotment.reserved += amount
        self._reservations[self._next] = allotment, amount
        self._pace(allotment.row).note(self._monotonic())
        return self._next

    def _pace(self, row: str) -> _Pace:
        return self._paces.setdefault(row, _Pace())

    def _granted(
        self,
        need: Need,
        number: int,
        amount: Amount,
        rest: Amount,
        lender: tuple[Callable[[], Sequence[Need]], Left],
    ) -> int:
        """Add a grant of the storage to the allotment, and reserve the need; return the reservation's number."""
        key = need.row, need.period
        allotment = self._known.setdefault(key, _Allotment(row=need.row, period=need.period))
        allotment.number, allotment.rest, allotment.lender = number, rest, lender
        allotment.held += amount
        return self._reserve(allotment, need.amount)

    # --- in a transaction of the storage -----------------------------------------------------------

    def _learn(self, connection: DatabaseConnection, row: str) -> None:
        """Fetch the energy of the most expensive request of a budget, in any process."""
        stored = table.dearest(connection, row)
        with self._mutex:
            self._dearest[row] = max(stored, self._dearest.get(row, 0))

    def _grant(self, connection: DatabaseConnection, need: Need, left: Left) -> tuple[Need, int, Amount, Amount]:
        """Hold what is lacking in the storage, and more for a frequently used budget; return the grant."""
        with self._mutex:
            allotment = self._known.get((need.row, need.period))
            free = Amount() if allotment is None else allotment.free
            times = self._pace(need.row).times
        rest = left(connection, need, free)
        units = zip(need.amount, free, rest, strict=True)
        amount = Amount(*(_lease_of(*unit, times) for unit in units))
        number = self._storage.hold(connection, need.row, need.period, amount, allotment.number if allotment else None)
        return need, number, amount, rest

    def _renew(self, connection: DatabaseConnection, allotment: _Allotment) -> Iterator[_Grant]:
        """Hold what an allotment lacks of a second's use in the storage, so that no request has to ask for it."""
        if allotment.lender is None or not any(allotment.used):
            return
        needs, left = allotment.lender
        try:
            need = next(need for need in needs() if (need.row, need.period) == (allotment.row, allotment.period))
            rest = left(connection, replace(need, amount=Amount()), Amount())
        except (StopIteration, BudgetExceeded):
            return  # its piece of the span is over, or nothing is left
        with self._mutex:
            allotment.rest = rest
            units = zip(allotment.wanted, allotment.free, strict=True)
            amount = Amount(*(max(0, wanted - max(0, free)) for wanted, free in units))
        if any(amount):
            number = self._storage.hold(connection, allotment.row, allotment.period, amount, allotment.number)
            yield allotment, number, amount

    def _write_back(
        self, allotments: Sequence[_Allotment], further: Callable[[DatabaseConnection], Sequence[_Grant]]
    ) -> None:
        """Write these allotments' usage and give back what is free, and do more in the same transaction.

        If it is unknown whether the transaction was committed, returned amounts are given up and usage is written
        again: the storage then counts too much and never too little.
        """
        changes = []
        with self._mutex:
            for allotment in allotments:
                free = zip(allotment.free, allotment.wanted, strict=True)
                back = Amount(*(max(0, amount - wanted) for amount, wanted in free))
                # A request may take more than was reserved for it, but not what is reserved for others.
                gone = Amount(*map(min, allotment.taken, (allotment.held - allotment.reserved - back)))
                changes.append((allotment, allotment.taken, gone, back, allotment.dearest))
                allotment.held -= back + gone
                allotment.taken, allotment.dearest = Amount(), 0
        doubtful = False
        try:
            with self._storage.writing() as connection:
                for allotment, taken, gone, back, dearest in changes:
                    last = not any(allotment.held)
                    of = self._storage.owner, allotment.row, allotment.period
                    table.write_back(
                        connection, allotment.number, taken, gone + back, of=of, dearest=dearest, last=last
                    )
                granted = further(connection)
                doubtful = True
        except BaseException as error:
            with self._mutex:
                if isinstance(error, StoreError):
                    self.failures, self._failure = self.failures + 1, error
                for allotment, taken, gone, back, dearest in changes:
                    allotment.held += gone if doubtful else gone + back
                    allotment.taken += taken
                    allotment.dearest = max(allotment.dearest, dearest)
            raise
        with self._mutex:
            for allotment, number, amount in granted:
                allotment.number = number
                allotment.held += amount
            for allotment, *_ in changes:
                if not any((*allotment.held, *allotment.reserved, *allotment.taken)):
                    self._known.pop((allotment.row, allotment.period), None)

    # --- the keeper --------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Start the thread that writes every second; it ends when nothing is held."""
        with self._mutex:
            if self._keeper is None and not self._ended.is_set():
                self._keeper = threading.Thread(target=self._keep, name="coterie-budgets", daemon=True)
                self._keeper.start()

    def _keep(self) -> None:
        while not self._ended.wait(SECOND / _WRITES):
            with suppress(CoterieError):  # tried again; what is held meanwhile counts
                self.write(lease=True)
            with self._mutex:
                if not self._known:
                    self._keeper = None
                    return


def _covers(free: Amount, need: Amount) -> bool:
    return not any(wanted and of < wanted for of, wanted in zip(free, need, strict=True))


def _lease_of(need: int, free: int, left: int, times: int) -> int:
    """Return how much of one unit to lease."""
    if not need:
        return 0
    lacking = max(0, need - free)
    return lacking + min(need * (times - 1), max(0, left - lacking) // _PART)


RULE = "budget"
_PER = 1000
"""Number of requests that a policy's budget is stated for."""

UNLIMITED = Amount(tokens=2**62, nano=2**62)
"""The room of an absent limit."""


class MemoryAllowance:
    """Tokens and money that are reserved before a call and settled after it.

    One event loop uses the allowance: nothing here waits, so no other task runs between a check and a change.
    """

    def __init__(
        self, of: str, *, tokens: int | None = None, money: Decimal | None = None, per_1000: Decimal | None = None
    ) -> None:
        """Create an allowance of which nothing is taken.

        Args:
            of: Its owner, for the refusal: `the network`, `this request`.
            tokens: The limit of tokens; None for none.
            money: The limit of money; None for none.
            per_1000: Money per 1,000 requests, in place of `money`: the allowance begins empty, and `earn` adds to
                it.
        """
        self._of, self._tokens = of, tokens
        self._per_1000 = per_1000 or Decimal(0)
        limit = money if per_1000 is None else Decimal(0)
        self._nano = None if limit is None else nano(limit)
        self._taken = Amount()  # with what is reserved

    @property
    def limits_money(self) -> bool:
        """Whether money is limited, so that a model of unknown price may not be called."""
        return self._nano is not None

    @property
    def left(self) -> Decimal:
        """Money that is neither spent nor reserved; 0 if money is not limited."""
        return Decimal((self._nano or 0) - self._taken.nano) / NANO

    @property
    def room(self) -> Amount:
        """Tokens and money that are neither spent nor reserved."""
        tokens = UNLIMITED.tokens if self._tokens is None else self._tokens - self._taken.tokens
        return Amount(tokens, UNLIMITED.nano if self._nano is None else self._nano - self._taken.nano)

    @property
    def used_up(self) -> Reason | None:
        """The limit that is reached, as a reason; None if none is."""
        if self._tokens is not None and self._taken.tokens >= self._tokens:
            return Reason("limit.tokens_used_up", limit=self._tokens, used=self._taken.tokens)
        if self._nano is not None and self._taken.nano >= self._nano:
            money, taken = Decimal(self._nano) / NANO, Decimal(self._taken.nano) / NANO
            return Reason("limit.money_used_up", limit=f"{money.normalize():f}", used=f"{taken.normalize():f}")
        return None

    def earn(self) -> None:
        """Add the share of one more request. At most the money for a thousand requests accumulates."""
        most = int(self._per_1000 * NANO)
        left = (self._nano or 0) - self._taken.nano
        self._nano = self._taken.nano + min(left + most // _PER, max(left, most))

    def reserve(self, amount: Amount, engine: str) -> None:
        """Reserve an amount. Raises `BudgetExceeded` if there is less."""
        if self._tokens is not None and self._taken.tokens + amount.tokens > self._tokens:
            left = self._tokens - self._taken.tokens
            raise _refused(Reason("limit.tokens", model=engine, most=amount.tokens, of=self._of, left=left))
        if self._nano is not None and self._taken.nano + amount.nano > self._nano:
            most = Decimal(amount.nano) / NANO
            raise _refused(
                Reason(
                    "limit.money",
                    model=engine,
                    most=f"{most.normalize():f}",
                    of=self._of,
                    left=f"{self.left.normalize():f}",
                    per_1000=str(self._per_1000),
                )
            )
        self._taken += amount

    def settle(self, reserved: Amount, took: Amount) -> None:
        """Replace a reservation by the amount taken."""
        self._taken += took - reserved

    def lift_money(self) -> None:
        """Stop limiting money, after something of unknown price was called."""
        self._nano = None


def network_allowance(per_1000: Decimal) -> MemoryAllowance:
    """Return the allowance of a network, empty at first: each request adds its share of money per 1,000 requests."""
    return MemoryAllowance("the network", per_1000=per_1000)


def request_allowance(per_1000: Decimal) -> MemoryAllowance:
    """Return the allowance of one request: a thousandth of the money for 1,000."""
    allowance = MemoryAllowance("this request", per_1000=per_1000)
    allowance.earn()
    return allowance


def _refused(reason: Reason) -> BudgetExceeded:
    return BudgetExceeded(
        Verdict(allowed=False, rule=RULE, reason=reason),
        hint="Raise `budget` ([policy] in coterie.toml, or the request's own).",
    )
