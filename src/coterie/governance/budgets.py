"""Budgets: limits on requests, tokens, money and joules that hold before anything is spent.

A call of a remote model is made only after the most that it can take is reserved, for every try that the engine may
make; what it took is settled afterwards and the rest is free again. So however many requests run at once, and whatever
fails, falls back, is hedged or cut off, a limit of tokens or money is never exceeded: it may only turn a call away
while others hold reservations that they will not use up. The most a prompt can take is one token a byte of its UTF-8,
and one a token that it may write.

What energy a request will take nobody knows. As much as the dearest one so far took is reserved for it when it comes
in, and what it took is settled when it ends. A limit of joules is exceeded by no more than what running requests take
above that: by nothing, unless one is dearer than any before it.

Kept in a SQLite file that several processes may share. What a killed process had reserved counts as spent: nobody
knows how far it came.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from coterie.accounting.meter import most_read, token_money
from coterie.config.accounting import TokenPrices
from coterie.config.budgets import BudgetSection
from coterie.config.file import OpenAIModel
from coterie.errors import BudgetExceeded, EngineError, Overloaded, TooLong
from coterie.governance import budget_file as table
from coterie.governance.budget_file import MICRO, NANO, Amount, BudgetFile, BudgetSpan, micro, nano, span_of
from coterie.runtime.concurrency import to_the_end
from coterie.types import Account, Failure, Output, Prompt, Reason, Usage, Verdict

RULE = "budget"
_FILE = "state/budgets.db"
_OWN = "\x1f"
"""Between a budget's name and whose it is, where each has one."""


ACCOUNT: ContextVar[Account | None] = ContextVar("account", default=None)
"""Who pays for what is done now. The network sets it for the tasks of each request."""


class Spending(NamedTuple):
    """How a budget stands."""

    name: str
    period: str
    requests: int
    tokens: int
    money: Decimal
    held: Decimal
    """Money reserved for calls that run."""
    joules: float = 0.0
    held_joules: float = 0.0
    whose: str = ""
    """The tenant or the key, where each has one of this name."""


class _Bucket(NamedTuple):
    """A budget as it is kept: one for all, or one of each."""

    name: str
    """Of its section."""
    row: str
    """By which the file knows it."""


class Budgets:
    """The budgets of a network."""

    def __init__(
        self,
        sections: Mapping[str, BudgetSection],
        path: Path,
        *,
        clock: Callable[[], float] = time.time,
        is_alive: Callable[[int], bool] | None = None,
    ) -> None:
        """Name the file; it is made at the first request, if there is any budget.

        Args:
            sections: `[budgets]` of the network.
            path: The SQLite file.
            clock: Seconds since the epoch.
            is_alive: Whether a process is; the system is asked by default.
        """
        self._sections, self._clock = dict(sections), clock
        self._file = BudgetFile(path, is_alive)

    async def admit(self, account: Account) -> tuple[int, ...]:
        """Count a request, and reserve the energy that it may take; what is given goes to `settle` when it ends.

        Raises:
            BudgetExceeded: one of its budgets has no request, or not as much energy left; nothing is counted.
        """
        limits = self._of(account, lambda section: section.requests is not None or section.joules is not None)
        if not limits:
            return ()
        return await to_the_end(asyncio.to_thread(self._admit, limits, account), undo=self._given_back)

    async def settle(self, reserved: Sequence[int], usage: Usage | None) -> None:
        """Count what a request took in place of what was reserved; of None, all that was reserved counts."""
        took = None if usage is None else Amount(micro=micro(usage.joules))
        if reserved:
            await asyncio.to_thread(self._settle, reserved, took)

    @asynccontextmanager
    async def held(self, prompts: Sequence[Prompt], model: OpenAIModel, name: str) -> AsyncIterator[Reservation]:
        """Around a call of a remote model: the most that it can take is reserved, and then what it took is settled.

        Raises:
            BudgetExceeded: a budget does not have so much left, or does not know what the model costs.
        """
        account = ACCOUNT.get() or Account()
        limits = self._of(account, lambda section: section.tokens is not None or section.money is not None)
        if not limits:
            yield Reservation()
            return
        prices = model.prices_at(self._clock())  # those of its beginning: at midnight a call may be under way
        self._refuse_unpriced(limits, prices, name)
        most = [_most(prompt, prices) for prompt in prompts]
        reserved = _times(model.retries + 1, _sum(most))
        reserving = asyncio.to_thread(self._reserve, limits, reserved, account)
        numbers = await to_the_end(reserving, undo=self._given_back)
        held = Reservation()
        took = reserved  # of what is cut off nobody knows how far it came, and how often
        try:
            yield held
        except (EngineError, Overloaded, TooLong) as error:
            if len(prompts) == 1:  # else others were cut off with the one that failed
                took = _lost(most[0], error, model.retries + 1)
            raise
        finally:
            if held.outputs:
                took = _took(most, held.outputs, prices)
            await to_the_end(asyncio.to_thread(self._settle, numbers, took))

    async def _given_back(self, numbers: Sequence[int]) -> None:
        """Free what was reserved for somebody who went away before anything was done for them."""
        await asyncio.to_thread(self._settle, numbers, Amount())

    def spending(self) -> list[Spending]:
        """How each budget stands in its present span. Raises `StoreError`."""
        if not self._sections:
            return []
        with self._file.writing() as connection:
            return [spending for name in self._sections for spending in self._stand(connection, name)]

    async def close(self) -> None:
        """Free the file. A second call does nothing."""
        self._file.close()

    def _of(self, account: Account, limits: Callable[[BudgetSection], bool]) -> list[_Bucket]:
        """The budgets that an account is under and that limit something."""
        return [
            _Bucket(name, _row_of(name, section, account))
            for name, section in self._sections.items()
            if section.tenant in {None, account.tenant} and section.key in {None, account.key} and limits(section)
        ]

    # --- in a thread -----------------------------------------------------------------------------

    def _admit(self, buckets: Sequence[_Bucket], account: Account) -> tuple[int, ...]:
        with self._file.writing() as connection:
            held = [(bucket, self._checked(connection, bucket, account)) for bucket in buckets]
            numbers = []
            for bucket, energy in held:
                period = self._begin(connection, bucket)
                if self._sections[bucket.name].requests is not None:
                    table.count(connection, bucket.row, period)
                if energy is not None:
                    numbers.append(table.hold(connection, bucket.row, period, energy))
            return tuple(numbers)

    def _checked(self, connection: sqlite3.Connection, bucket: _Bucket, account: Account) -> Amount | None:
        """The energy to reserve for one more request; None where it is not limited. Raises `BudgetExceeded`."""
        section, span = self._sections[bucket.name], self._span(bucket.name)
        row = table.row(connection, bucket.row, span.since)
        if section.requests is not None and row.requests >= section.requests:
            wait = self._wait(connection, bucket, span, "requests", row.requests + 1 - section.requests)
            raise self._exceeded(
                bucket, f"{section.requests:,} requests", Reason("budget.requests", made=row.requests), account, wait
            )
        if section.joules is None:
            return None
        energy = max(micro(section.reserve), table.dearest(connection, bucket.row))
        left = micro(section.joules) - row.micro - row.held_micro
        if energy > left:
            said = Reason("budget.joules", left=left / MICRO, most=energy / MICRO)
            wait = self._wait(connection, bucket, span, "micro", energy - left)
            raise self._exceeded(bucket, f"{section.joules:,.1f} joules", said, account, wait)
        return Amount(micro=energy)

    def _reserve(self, buckets: Sequence[_Bucket], amount: Amount, account: Account) -> list[int]:
        with self._file.writing() as connection:
            for bucket in buckets:
                self._check(connection, bucket, amount, account)
            return [table.hold(connection, each.row, self._begin(connection, each), amount) for each in buckets]

    def _check(self, connection: sqlite3.Connection, bucket: _Bucket, amount: Amount, account: Account) -> None:
        section, span = self._sections[bucket.name], self._span(bucket.name)
        row = table.row(connection, bucket.row, span.since)
        if section.tokens is not None and row.tokens + row.held_tokens + amount.tokens > section.tokens:
            left = section.tokens - row.tokens - row.held_tokens
            said = Reason("budget.tokens", left=left, most=amount.tokens)
            wait = self._wait(connection, bucket, span, "tokens", amount.tokens - left)
            raise self._exceeded(bucket, f"{section.tokens:,} tokens", said, account, wait)
        if section.money is not None:
            left_nano = nano(section.money) - row.nano - row.held_nano
            if amount.nano > left_nano:
                left_money, most = (Decimal(each) / NANO for each in (left_nano, amount.nano))
                said = Reason("budget.money", left=f"{left_money:.6f}", most=f"{most:.6f}")
                wait = self._wait(connection, bucket, span, "nano", amount.nano - left_nano)
                raise self._exceeded(bucket, f"{section.money:f} of money", said, account, wait)

    def _settle(self, numbers: Sequence[int], took: Amount | None) -> None:
        with self._file.writing() as connection:
            for number in numbers:
                table.settle(connection, number, took)

    def _stand(self, connection: sqlite3.Connection, name: str) -> Iterator[Spending]:
        section, span = self._sections[name], self._span(name)
        rows = [name] if section.each is None else table.budgets_like(connection, name + _OWN, span.since)
        for each in rows:
            row = table.row(connection, each, span.since)
            money, held = (Decimal(value) / NANO for value in (row.nano, row.held_nano))
            joules, held_joules = row.micro / MICRO, row.held_micro / MICRO
            whose = each.partition(_OWN)[2]
            yield Spending(name, span.name, row.requests, row.tokens, money, held, joules, held_joules, whose)

    # --- spans and refusals ----------------------------------------------------------------------

    def _span(self, name: str) -> BudgetSpan:
        return span_of(self._sections[name].per, self._clock())

    def _begin(self, connection: sqlite3.Connection, bucket: _Bucket) -> str:
        """The piece of its span in which something is taken now; those that count no more are dropped."""
        span = self._span(bucket.name)
        if span.slides:
            table.forget(connection, bucket.row, span.since)
        return span.now

    @staticmethod
    def _wait(connection: sqlite3.Connection, bucket: _Bucket, span: BudgetSpan, unit: str, need: int) -> float | None:
        """Seconds until so much more of a unit is free, if nothing else is taken meanwhile; None for never."""
        piece = table.freed_by(connection, bucket.row, span.since, unit, need) if span.slides else None
        return span.wait(piece)

    def _refuse_unpriced(self, buckets: Iterable[_Bucket], prices: TokenPrices, name: str) -> None:
        for bucket in buckets:
            if self._sections[bucket.name].money is not None and None in (prices.tokens_in, prices.tokens_out):
                reason = Reason("budget.unpriced", budget=bucket.name, model=name)
                raise BudgetExceeded(_refusal(bucket.name, reason), hint="Set price_in and price_out of the model.")

    def _exceeded(
        self, bucket: _Bucket, limit: str, said: Reason, account: Account, wait: float | None
    ) -> BudgetExceeded:
        """The refusal; what others took of a budget that is shared is not told to who holds a key."""
        section = self._sections[bucket.name]
        own = section.each or section.tenant is not None or section.key is not None or not account.key
        reason = Reason("budget.used_up", budget=bucket.name)
        if own:
            per = "" if section.per == "ever" else section.per
            reason = Reason("budget.exceeded", budget=bucket.name, limit=limit, per=per, why=said)
        return BudgetExceeded(
            _refusal(bucket.name, reason),
            retry_after=wait,
            hint=f"Raise [budgets.{bucket.name}]." if wait is None else f"Wait, or raise [budgets.{bucket.name}].",
        )


class Reservation:
    """A reservation while it is used; `outputs` are what the call gave."""

    def __init__(self) -> None:
        self.outputs: Sequence[Output] = ()


def _row_of(name: str, section: BudgetSection, account: Account) -> str:
    whose = {"tenant": account.tenant, "key": account.key}
    return name if section.each is None else f"{name}{_OWN}{whose[section.each]}"


def _most(prompt: Prompt, prices: TokenPrices) -> Amount:
    """The most that one try can take."""
    tokens_in = most_read(prompt)
    return Amount(tokens_in + prompt.max_tokens, _money(tokens_in, prompt.max_tokens, prices))


def _took(most: Sequence[Amount], outputs: Sequence[Output], prices: TokenPrices) -> Amount:
    """What answered calls took: their tokens, and for each try before that was not turned away the most it can take."""
    used = [(output.usage.tokens_in, output.usage.tokens_out) for output in outputs]
    billed = [_times(_billed(output.failures), each) for each, output in zip(most, outputs, strict=True)]
    return _sum([*(Amount(sum(each), _money(*each, prices)) for each in used), *billed])


def _lost(most: Amount, error: EngineError | Overloaded | TooLong, tries: int) -> Amount:
    """What a call took that gave nothing: the most of each try, but for those that were turned away."""
    if isinstance(error, TooLong):
        return Amount()
    if not error.failures and isinstance(error, EngineError):
        return Amount() if error.turned_away else _times(tries, most)
    return _times(_billed(error.failures), most)


def _billed(failures: Sequence[Failure]) -> int:
    return sum(not failure.turned_away for failure in failures)


def _times(tries: int, amount: Amount) -> Amount:
    return Amount(*(tries * each for each in amount))


def _sum(amounts: Iterable[Amount]) -> Amount:
    found = list(amounts)
    return Amount(sum(each.tokens for each in found), sum(each.nano for each in found))


def _money(tokens_in: int, tokens_out: int, prices: TokenPrices) -> int:
    money = token_money(Decimal(tokens_in), Decimal(tokens_out), price_in=prices.tokens_in, price_out=prices.tokens_out)
    return nano(money or Decimal(0))


def _refusal(name: str, reason: Reason) -> Verdict:
    return Verdict(allowed=False, rule=f"{RULE}.{name}", reason=reason)


def open_budgets(sections: Mapping[str, BudgetSection], folder: Path) -> Budgets:
    """The budgets of the network in a folder. No file is made before the first request, and none without a budget."""
    return Budgets(sections, folder / _FILE)
