"""Limits on requests, tokens, money and joules that hold before anything is spent.

One arithmetic for all of them: the most that a call of a remote model can take is reserved before it, the
usage is settled afterwards, and the rest is free again. So however many requests run at once, and whatever
fails, falls back, is hedged or cut off, a limit of tokens or money is never exceeded: it may only refuse a
call while others hold reservations that they will not use up. One attempt can take at most one token for each
byte of the prompt's UTF-8, and one for each token that it may write. If that is more than is left, a call of
one prompt may write as much as the rest pays for, if such an answer usually needs no more: the server
enforces it. A further attempt of a prompt is reserved before it is made, if the one before may have been
billed.

Nobody knows the energy of a request in advance. As much as the most expensive one so far is reserved for it
when it arrives, and its usage is settled when it ends. A limit of joules is exceeded by no more than what
running requests take above that: by nothing, unless one is more expensive than any before it.

The budgets of the file are kept in SQLite or PostgreSQL, which several processes share: each leases a part
and spends it in memory (`allotments`). What a killed process held counts as spent, since its usage is
unknown. The allowances of a policy's budget are in memory (`allowance`).
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from coterie.accounting.meter import most_read, token_money
from coterie.config.file import RemoteModel
from coterie.config.operation import BudgetSection, McpSection, TokenPrices
from coterie.errors import AuditError, BudgetExceeded, CoterieError, EngineError, Overloaded, TooLong
from coterie.limits import storage as table
from coterie.limits.memory import RULE, Allotments, MemoryAllowance, Need, network_allowance
from coterie.limits.storage import (
    MICRO,
    NANO,
    BudgetDatabase,
    BudgetFile,
    BudgetSpan,
    BudgetStorage,
    micro,
    nano,
    piece_of,
    span_of,
)
from coterie.runtime.concurrency import to_the_end
from coterie.store.statements import DatabaseConnection
from coterie.types import Allowance, Amount, CallContext, Failure, Output, Principal, Prompt, Reason, Usage, Verdict

if TYPE_CHECKING:
    from coterie.runtime.postgres import PostgresAddress

_REMEMBERED, _KNOWN = 200, 10
"""Answers of a model that are remembered, and how many are needed to know what is usual."""
_FEW, _SENTENCES = 128, 64
"""Requested tokens up to which all of them count as needed, and the tokens of a short answer."""


def most_of(prompt: Prompt, prices: TokenPrices) -> Amount:
    """Return the most that one attempt can take: a token for each byte of the prompt, and all that it may write."""
    tokens_in = most_read(prompt)
    return Amount(tokens_in + prompt.max_tokens, _money(tokens_in, prompt.max_tokens, prices))


def most_within(prompt: Prompt, prices: TokenPrices, left: Amount | None, *, least: int) -> Prompt | None:
    """Return the prompt limited to as many tokens as the rest pays for; None if that is fewer than `least`.

    The server enforces `max_tokens`, so a capped prompt cannot be overspent. A verbatim request is never capped:
    its body must not be changed.

    Args:
        prompt: The prompt.
        prices: The model's prices; known if money is limited.
        left: Tokens and money; None for a call that cannot be capped.
        least: Tokens that such an answer takes.
    """
    if left is None or prompt.verbatim is not None:
        return None
    read = most_read(prompt)
    room = left.tokens - read
    unit_price = _money(0, 1_000_000, prices)  # nano of a million
    if unit_price:
        room = min(room, (left.nano - _money(read, 0, prices)) * 1_000_000 // unit_price)
    while room > 0 and _money(read, room, prices) > left.nano:  # what is rounded up may be one too many
        room -= 1
    capped = min(room, prompt.max_tokens)
    return replace(prompt, max_tokens=capped) if capped >= max(1, least) else None


class UsualAnswers:
    """Token counts of each model's latest answers, in this process; relayed answers are counted separately."""

    def __init__(self) -> None:
        self._took: dict[str, deque[int]] = defaultdict(partial(deque, maxlen=_REMEMBERED))
        self._relayed: dict[str, deque[int]] = defaultdict(partial(deque, maxlen=_REMEMBERED))

    def note(self, model: str, prompts: Sequence[Prompt], outputs: Sequence[Output]) -> None:
        """Record the tokens that answered calls wrote."""
        took = self._took if prompts[0].verbatim is None else self._relayed
        took[model].extend(output.usage.tokens_out for output in outputs)

    def expected(self, model: str, prompt: Prompt) -> Prompt | None:
        """Return a relayed request without a length limit, limited to the longest answers that were relayed.

        None if the request has a limit, or too few answers are known. The server does not enforce it: further tokens
        are counted at settlement, so a budget may be exceeded by one answer that is longer than the 200 before it.
        """
        took = self._relayed[model]
        if not prompt.unbounded or len(took) < _KNOWN:
            return None
        return replace(prompt, max_tokens=min(prompt.max_tokens, max(took) * prompt.unbounded))

    def least(self, model: str, prompt: Prompt) -> int:
        """Return the tokens below which an answer would likely be cut: nine in ten take no more, with a schema all.

        If too few answers are known, the result is a sentence or two, or all requested tokens for a schema, because
        half of one is useless, and for a small request, because it needs them.
        """
        took = sorted(self._took[model])
        if len(took) < _KNOWN:
            return prompt.max_tokens if prompt.json_schema or prompt.max_tokens <= _FEW else _SENTENCES
        usual = took[-1] if prompt.json_schema else took[len(took) * 9 // 10]
        return min(usual, prompt.max_tokens)


def taken_by_answers(most: Sequence[Amount], outputs: Sequence[Output], prices: TokenPrices) -> Amount:
    """Return what answered calls took: their tokens, and the most of each earlier attempt that was not turned away."""
    took = Amount()
    for tokens, output in zip(most, outputs, strict=True):
        read, written = output.usage.tokens_in, output.usage.tokens_out
        took += Amount(read + written, _money(read, written, prices))
        if output.failures:
            took += tokens * _billed(output.failures)
    return took


def taken_by_failure(most: Amount, error: CoterieError, reserved: Amount) -> Amount:
    """Return what a failed call of one prompt took: the most of each attempt, without those turned away.

    Args:
        most: The most that one attempt takes.
        error: The error that ended it: an `EngineError`, `Overloaded` or `TooLong`.
        reserved: The reservation; all of it counts if the engine does not report its attempts.
    """
    failures: Sequence[Failure] = getattr(error, "failures", ())
    if isinstance(error, TooLong):
        return Amount()
    if not failures and isinstance(error, EngineError):
        return Amount() if error.turned_away else reserved
    return most * _billed(failures)


def _billed(failures: Sequence[Failure]) -> int:
    return sum(not failure.turned_away for failure in failures)


def _money(tokens_in: int, tokens_out: int, prices: TokenPrices) -> int:
    money = token_money(Decimal(tokens_in), Decimal(tokens_out), price_in=prices.tokens_in, price_out=prices.tokens_out)
    return nano(money or Decimal(0))


# --- Limits on requests, tokens, money and joules that hold before anything is spent.

_FILE = "state/budgets.db"
_UNLIMITED = 2**62
_OWN = "\x1f"
"""Separator between a budget's name and its tenant or key, if each has its own."""


class Spending(NamedTuple):
    """The state of a budget."""

    name: str
    period: str
    requests: int
    tokens: int
    money: Decimal
    held: Decimal
    """Money reserved for running calls."""
    joules: float = 0.0
    held_joules: float = 0.0
    whose: str = ""
    """The tenant or the key, if each has its own budget of this name."""


class Bucket(NamedTuple):
    """A budget as it is stored: one for all, or one for each tenant or key."""

    name: str
    """Name of the budget's section."""
    row: str
    """Row of the budget in the storage."""


class StoredLimits:
    """The limits of a network: the budgets of its file, and the money of its cost-quality policy."""

    def __init__(
        self,
        sections: Mapping[str, BudgetSection],
        path: Path,
        *,
        allowance: MemoryAllowance | None = None,
        clock: Callable[[], float] = time.time,
        is_alive: Callable[[int], bool] | None = None,
        storage: BudgetStorage | None = None,
    ) -> None:
        """Take the settings; the file is created at the first request, if there is any budget.

        Args:
            sections: The network's `[budgets]`.
            path: The SQLite file.
            allowance: The allowance of `[policy] budget`, which earns its share with each request.
            clock: Returns seconds since the epoch.
            is_alive: Returns whether a process is alive; asks the system by default.
            storage: A storage in place of the file.
        """
        self._sections, self._clock = dict(sections), clock
        self._allowance = allowance
        self._file: BudgetStorage = storage or BudgetFile(path, is_alive)
        self._allotments = Allotments(self._file)
        self._usual = UsualAnswers()
        self._limits = {name: _limits_of(section) for name, section in self._sections.items()}
        tokens, money, joules, requests = range(4)
        self._admitting, self._calling = (
            [name for name, limits in self._limits.items() if limits[one] is not None or limits[other] is not None]
            for one, other in ((requests, joules), (tokens, money))
        )

    async def admit(self, principal: Principal, *, earns: bool = True) -> tuple[int, ...]:
        """Count a request, and reserve its energy; pass the result to `settle` when the request ends.

        Args:
            principal: The caller.
            earns: The request adds its share of the policy's budget; one for embeddings, which calls no model, does
                not.

        Raises:
            BudgetExceeded: one of its budgets has no request, or too little energy left; nothing is counted.
        """
        limits = self._of(principal, self._admitting)
        numbers: tuple[int, ...] = ()
        if limits:
            taken = await self._take(limits, self._needs_of_admission, principal)
            energy = [self._sections[bucket.name].joules is not None for bucket in limits]
            numbers = tuple(number for number, waits in zip(taken, energy, strict=True) if waits)
            try:
                await self.settle_each({n: None for n, waits in zip(taken, energy, strict=True) if not waits})
            except BaseException:  # nobody is left who would settle the energy, or nobody is let in
                await to_the_end(self._given_back(numbers))
                raise
        if self._allowance is not None and earns:
            self._allowance.earn()
        return numbers

    async def settle(self, reserved: Sequence[int], usage: Usage | None) -> None:
        """Replace a request's reservation by its usage; with None, all that was reserved counts."""
        took = None if usage is None else Amount(micro=micro(usage.joules), requests=1)
        await self.settle_each(dict.fromkeys(reserved, took))

    def held(self, prompts: Sequence[Prompt], model: RemoteModel | McpSection, name: str, call: CallContext) -> Held:
        """Return a context around a call of a remote model: it reserves the most that the call can take, then settles.

        Entering raises:
            BudgetExceeded: a limit has too little left, or the price of the model is unknown.
        """
        return Held(self, prompts, model, name, call)

    async def reserved(self, held: Held, model: RemoteModel | McpSection, call: CallContext) -> _Reservation | None:
        """Reserve for a call, whose prompts may be limited to fewer tokens; return None if nothing limits it."""
        buckets = self._of(call.principal, self._calling)
        allowances = [*filter(None, [self._allowance]), *call.limits]
        if not (buckets or allowances):
            return None
        held.prices = prices = model.prices_at(self._clock())  # of its beginning: at midnight a call may be under way
        self._refuse_unpriced(buckets, allowances, prices, held.name)
        reservation = _Reservation(self, buckets, allowances, call.principal, held.name)
        held.most = [most_of(prompt, prices) for prompt in held.prompts]
        try:
            await reservation.add(_sum(held.most))
        except BudgetExceeded:  # not all that is asked for, but perhaps what such a call takes
            if (expected := self._usual.expected(held.name, held.prompts[0])) is not None:
                held.most = [most_of(expected, prices)]
                await reservation.add(held.most[0])
                return reservation
            least = self._usual.least(held.name, held.prompts[0])
            left = await self._left(buckets, allowances) if len(held.prompts) == 1 else None
            capped = most_within(held.prompts[0], prices, left, least=least)
            if capped is None:
                raise
            held.prompts, held.most = [capped], [most_of(capped, prices)]
            await reservation.add(held.most[0])
        return reservation

    async def settle_call(self, reservation: _Reservation, held: Held, error: BaseException | None) -> None:
        """Replace a call's reservation by what it took."""
        took: Amount | None = None  # of what is cut off nobody knows how far it came, and how often
        if held.outputs:
            took = taken_by_answers(held.most, held.outputs, held.prices)
            self._usual.note(held.name, held.prompts, held.outputs)
        elif isinstance(error, EngineError | Overloaded | TooLong) and len(held.prompts) == 1:
            took = taken_by_failure(held.most[0], error, reservation.total)  # of more, others were cut off with it
        elif isinstance(error, AuditError):
            took = Amount()  # nothing was sent
        if rows := reservation.settle(took):
            await to_the_end(asyncio.to_thread(self._allotments.write, rows))

    async def _left(self, buckets: Sequence[Bucket], allowances: Sequence[Allowance]) -> Amount:
        """Return what the tightest of the limits has left, neither spent nor reserved."""
        rooms = [allowance.room for allowance in allowances]
        if buckets:
            rooms += await asyncio.to_thread(self._rooms, buckets)
        return Amount(min(room.tokens for room in rooms), min(room.nano for room in rooms))

    def _rooms(self, buckets: Sequence[Bucket]) -> list[Amount]:
        rooms = []
        with self._file.writing() as connection:
            for bucket in buckets:
                span = self._span(bucket.name)
                free = self._allotments.free(bucket.row, span.now)
                rooms.append(self._left_of(connection, bucket, span) + free)
        return rooms

    async def reserve(self, buckets: Sequence[Bucket], amount: Amount, principal: Principal) -> list[int]:
        """Reserve an amount in the file, under each of some budgets, or under none. Raises `BudgetExceeded`."""
        if not buckets:
            return []
        return await self._take(buckets, lambda _: amount, principal)

    def count(self, took: Mapping[int, Amount | None]) -> Sequence[str]:
        """Replace each numbered reservation by the amount taken; return the rows that are to be written."""
        return self._allotments.settle(took) if took else ()

    async def settle_each(self, took: Mapping[int, Amount | None]) -> None:
        """Replace each numbered reservation by the amount taken, and write it if that is due."""
        if rows := self.count(took):
            await asyncio.to_thread(self._allotments.write, rows)

    async def _take(
        self, buckets: Sequence[Bucket], amount: Callable[[Bucket], Amount | None], principal: Principal
    ) -> list[int]:
        """Reserve an amount under each budget, in memory if there is enough, else from the storage."""
        needs = self._needs(buckets, amount)
        numbers = None if needs is None else self._allotments.take(needs)
        if numbers is None:
            leasing = asyncio.to_thread(self._lease, buckets, amount, principal, self._allotments.failures)
            numbers = await to_the_end(leasing, undo=self._given_back)
        return numbers

    async def _given_back(self, numbers: Sequence[int]) -> None:
        """Free the reservation of a request that was cancelled before anything was done for it."""
        await self.settle_each(dict.fromkeys(numbers, Amount()))

    def spending(self) -> list[Spending]:
        """Return the state of each budget in its present span. Raises `StoreError`."""
        if not self._sections:
            return []
        self._allotments.write()
        with self._file.writing() as connection:
            return [spending for name in self._sections for spending in self._stand(connection, name)]

    async def close(self) -> None:
        """Write usage, give back what is free, and close the file. A second call does nothing."""
        await asyncio.to_thread(self._allotments.close)
        self._file.close()

    def _of(self, principal: Principal, limiting: Collection[str]) -> list[Bucket]:
        """Return the budgets of a principal, of those in `limiting`."""
        return [
            Bucket(name, _row_of(name, section, principal))
            for name in limiting
            if (section := self._sections[name]).tenant in {None, principal.tenant}
            and section.key in {None, principal.key}
        ]

    # --- in a thread -----------------------------------------------------------------------------

    def _needs_of_admission(self, bucket: Bucket) -> Amount | None:
        """Return one request and the energy to reserve for it; None if the most expensive request is not known yet."""
        section = self._sections[bucket.name]
        requests = int(section.requests is not None)
        if section.joules is None:
            return Amount(requests=requests)
        dearest = self._allotments.dearest(bucket.row)
        return None if dearest is None else Amount(micro=max(micro(section.reserve), dearest), requests=requests)

    def _needs(self, buckets: Sequence[Bucket], amount: Callable[[Bucket], Amount | None]) -> list[Need] | None:
        needs = []
        for bucket in buckets:
            wanted = amount(bucket)
            if wanted is None:
                return None
            limits = self._limits[bucket.name]
            wanted = Amount(*[0 if limit is None else n for n, limit in zip(wanted, limits, strict=True)])
            period = piece_of(self._sections[bucket.name].per, math.floor(self._file.common(self._clock())))
            needs.append(Need(row=bucket.row, period=period, amount=wanted))
        return needs

    def _lease(
        self,
        buckets: Sequence[Bucket],
        amount: Callable[[Bucket], Amount | None],
        principal: Principal,
        failures: int | None = None,
    ) -> list[int]:
        by_row = {bucket.row: bucket for bucket in buckets}

        def left(connection: DatabaseConnection, need: Need, free: Amount) -> Amount:
            bucket = by_row[need.row]
            span = self._span(bucket.name)
            rest = self._left_of(connection, bucket, span)
            self._check(connection, bucket, need.amount, rest + free, principal)
            if span.slides:
                table.forget(connection, bucket.row, span.since)
            return rest

        def needs() -> list[Need]:
            # What the dearest took is learnt in the lease, which asks again: until then it is as if nothing had.
            return self._needs(buckets, lambda bucket: amount(bucket) or Amount()) or []

        return self._allotments.lease(needs, left, failures=failures)

    def _left_of(self, connection: DatabaseConnection, bucket: Bucket, span: BudgetSpan) -> Amount:
        """Return what is neither taken nor held, by this process or another."""
        counted = table.row(connection, bucket.row, span.since).counted
        limits = zip(self._limits[bucket.name], counted, strict=True)
        return Amount(*(_UNLIMITED if limit is None else limit - used for limit, used in limits))

    def _check(
        self, connection: DatabaseConnection, bucket: Bucket, need: Amount, left: Amount, principal: Principal
    ) -> None:
        """Raise `BudgetExceeded` if less is left than needed."""
        for unit in ("requests", "micro", "tokens", "nano"):
            lacking = getattr(need, unit) - getattr(left, unit)
            if lacking > 0 and getattr(need, unit):
                reason = self._why(unit, self._sections[bucket.name], need, left)
                wait = self._wait(connection, bucket, self._span(bucket.name), unit, lacking)
                raise self._exceeded(bucket, reason, principal, wait)

    @staticmethod
    def _why(unit: str, section: BudgetSection, need: Amount, left: Amount) -> Reason:
        match unit:
            case "requests":
                made = (section.requests or 0) - left.requests
                return Reason("budget.requests", limit=section.requests, made=made)
            case "micro":
                figures = {"left": left.micro / MICRO, "most": need.micro / MICRO}
                return Reason("budget.joules", limit=section.joules, **figures)
            case "tokens":
                return Reason("budget.tokens", limit=section.tokens, left=left.tokens, most=need.tokens)
        money = {"left": f"{Decimal(left.nano) / NANO:.6f}", "most": f"{Decimal(need.nano) / NANO:.6f}"}
        return Reason("budget.money", limit=f"{section.money:f}", **money)

    def _stand(self, connection: DatabaseConnection, name: str) -> Iterator[Spending]:
        section, span = self._sections[name], self._span(name)
        rows = [name] if section.each is None else table.budgets_like(connection, name + _OWN, span.since)
        for key in rows:
            row = table.row(connection, key, span.since)
            money, held = (Decimal(value) / NANO for value in (row.taken.nano, row.held.nano))
            joules, held_joules = row.taken.micro / MICRO, row.held.micro / MICRO
            whose, taken = key.partition(_OWN)[2], row.taken
            yield Spending(name, span.name, taken.requests, taken.tokens, money, held, joules, held_joules, whose)

    # --- spans and refusals ----------------------------------------------------------------------

    def _span(self, name: str) -> BudgetSpan:
        return span_of(self._sections[name].per, self._file.common(self._clock()))

    @staticmethod
    def _wait(connection: DatabaseConnection, bucket: Bucket, span: BudgetSpan, unit: str, need: int) -> float | None:
        """Return the seconds until so much more of a unit is free, if nothing else is taken; None for never."""
        piece = table.freed_by(connection, bucket.row, span.since, unit, need) if span.slides else None
        return span.wait(piece)

    def _refuse_unpriced(
        self, buckets: Iterable[Bucket], allowances: Sequence[Allowance], prices: TokenPrices, name: str
    ) -> None:
        """Raise `BudgetExceeded` if money is limited and the price unknown: an unknown price is not zero."""
        if None not in (prices.tokens_in, prices.tokens_out):
            return
        hint = "Set price_in and price_out of the model."
        for bucket in buckets:
            if self._sections[bucket.name].money is not None:
                reason = Reason("budget.unpriced", budget=bucket.name, model=name)
                raise BudgetExceeded(_refusal(bucket.name, reason), hint=hint)
        if any(allowance.limits_money for allowance in allowances):
            reason = Reason("limit.price_unknown", model=name)
            raise BudgetExceeded(Verdict(allowed=False, rule=RULE, reason=reason), hint=hint)

    def _exceeded(self, bucket: Bucket, reason: Reason, principal: Principal, wait: float | None) -> BudgetExceeded:
        """Return the refusal; it does not tell a key's holder how much others took of a shared budget."""
        section = self._sections[bucket.name]
        own = section.each or section.tenant is not None or section.key is not None or not principal.key
        per = "" if section.per == "ever" else section.per
        values = {**reason.values, "budget": bucket.name, "per": per}
        reason = Reason(reason.code, **values) if own else Reason("budget.used_up", budget=bucket.name)
        return BudgetExceeded(
            _refusal(bucket.name, reason),
            retry_after=wait,
            hint=f"Raise [budgets.{bucket.name}]." if wait is None else f"Wait, or raise [budgets.{bucket.name}].",
        )


class Held:
    """A context that holds a reservation; `outputs` receives the outputs of the call.

    `prompts` are the prompts to send: they may write no more than was reserved.
    """

    def __init__(
        self,
        limits: StoredLimits,
        prompts: Sequence[Prompt],
        model: RemoteModel | McpSection,
        name: str,
        call: CallContext,
    ) -> None:
        self.outputs: Sequence[Output] = ()
        self.prompts, self.name = prompts, name
        self.most: Sequence[Amount] = ()
        """The most that one try of each prompt takes."""
        self.prices = TokenPrices()
        self._limits, self._model, self._call = limits, model, call
        self._reservation: _Reservation | None = None

    async def __aenter__(self) -> Self:
        self._reservation = await self._limits.reserved(self, self._model, self._call)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self._reservation is not None:
            await self._limits.settle_call(self._reservation, self, error)

    @property
    def before_retry(self) -> Callable[[Prompt], Awaitable[None]] | None:
        """Function that reserves for another attempt; None if nothing is reserved."""
        return None if self._reservation is None else self._reserve_again

    async def _reserve_again(self, prompt: Prompt) -> None:
        if self._reservation is not None:
            most = most_of(prompt, self.prices) if prompt.verbatim is None else self.most[0]
            await self._reservation.add(most)


class _Reservation:
    """The reservation of one call under all of its limits: in the file, and in memory."""

    def __init__(
        self,
        limits: StoredLimits,
        buckets: Sequence[Bucket],
        allowances: Sequence[Allowance],
        principal: Principal,
        name: str,
    ) -> None:
        self._limits, self._buckets, self._allowances = limits, buckets, allowances
        self._principal, self._name = principal, name
        self._numbers: list[list[int]] = []
        self.total = Amount()

    async def add(self, amount: Amount) -> None:
        """Reserve an amount under every limit, or under none. Raises `BudgetExceeded`."""
        taken: list[Allowance] = []
        try:
            for allowance in self._allowances:
                allowance.reserve(amount, self._name)
                taken.append(allowance)
            numbers = await self._limits.reserve(self._buckets, amount, self._principal)
        except BaseException:
            for allowance in taken:
                allowance.settle(amount, Amount())
            raise
        self._numbers.append(numbers)
        self.total += amount

    def settle(self, took: Amount | None) -> Sequence[str]:
        """Settle the amount taken, None for all that was reserved; return the budget rows that are to be written."""
        for allowance in self._allowances:
            allowance.settle(self.total, self.total if took is None else took)
        first, *further = self._numbers
        counted = dict.fromkeys(first, took)
        if further:
            nothing = None if took is None else Amount()
            counted |= dict.fromkeys((number for numbers in further for number in numbers), nothing)
        return self._limits.count(counted)


def _limits_of(section: BudgetSection) -> tuple[int | None, ...]:
    """Return the limits of a budget, in the units of an amount."""
    money = None if section.money is None else nano(section.money)
    joules = None if section.joules is None else micro(section.joules)
    return section.tokens, money, joules, section.requests


def _row_of(name: str, section: BudgetSection, principal: Principal) -> str:
    whose = {"tenant": principal.tenant, "key": principal.key}
    return name if section.each is None else f"{name}{_OWN}{whose[section.each]}"


def _sum(amounts: Sequence[Amount]) -> Amount:
    return sum(amounts, Amount())


def _refusal(name: str, reason: Reason) -> Verdict:
    return Verdict(allowed=False, rule=f"{RULE}.{name}", reason=reason)


def open_limits(
    sections: Mapping[str, BudgetSection],
    folder: Path,
    *,
    per_1000: Decimal | None = None,
    address: PostgresAddress | None = None,
) -> StoredLimits:
    """Open the limits of the network in a folder. A file is created at the first request, and only with a budget.

    Args:
        sections: The network's `[budgets]`.
        folder: The network's folder.
        per_1000: `[policy] budget`: money per 1,000 requests.
        address: The database that `[store] url` names, which then holds the budgets.
    """
    allowance = None if per_1000 is None else network_allowance(per_1000)
    storage = None if address is None else BudgetDatabase(address)
    return StoredLimits(sections, folder / _FILE, allowance=allowance, storage=storage)
