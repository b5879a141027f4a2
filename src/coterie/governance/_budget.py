"""Budgets: limits on requests, tokens and money that hold before anything is spent.

A call of a remote model is made only after the most that it can take is reserved, for every try that the engine may
make; what it took is settled afterwards and the rest is free again. So however many requests run at once, and whatever
fails, falls back, is hedged or cut off, a budget is never exceeded: it may only turn a call away while others hold
reservations that they will not use up. The most a prompt can take is one token a byte of its UTF-8, and one a token
that it may write.

Kept in a SQLite file that several processes may share. What a killed process had reserved counts as spent: nobody
knows how far it came.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from typing import NamedTuple

from coterie.accounting import most_read, token_money
from coterie.config import BudgetSection, OpenAIModel
from coterie.errors import BudgetExceeded, EngineRejected, EngineUnavailable, StoreError
from coterie.types import Account, Output, Prompt, Verdict

RULE = "budget"
_FILE = "state/budgets.db"
_NANO = Decimal(10) ** 9
_PERIODS = {"minute": "%Y-%m-%dT%H:%M", "hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "month": "%Y-%m", "ever": "ever"}
_SCHEMA = """
CREATE TABLE IF NOT EXISTS spent (
    budget TEXT, period TEXT, requests INTEGER DEFAULT 0, tokens INTEGER DEFAULT 0, nano INTEGER DEFAULT 0,
    held_tokens INTEGER DEFAULT 0, held_nano INTEGER DEFAULT 0, PRIMARY KEY (budget, period)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS held (
    id INTEGER PRIMARY KEY, owner INTEGER, budget TEXT, period TEXT, tokens INTEGER, nano INTEGER
);
"""


ACCOUNT: ContextVar[Account | None] = ContextVar("account", default=None)
"""Who pays for what is done now. The network sets it for the tasks of each request."""


class Amount(NamedTuple):
    """Tokens, and money in billionths."""

    tokens: int
    nano: int


class Spending(NamedTuple):
    """How a budget stands."""

    name: str
    period: str
    requests: int
    tokens: int
    money: Decimal
    held: Decimal
    """Money reserved for calls that run."""


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
        self._sections, self._path, self._clock = dict(sections), path, clock
        self._is_alive = is_alive or _is_alive
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    async def admit(self, account: Account) -> None:
        """Count a request. Raises `BudgetExceeded` if one of its budgets has no request left, and counts nothing."""
        counted = self._of(account, lambda section: section.requests is not None)
        if counted:
            await asyncio.to_thread(self._admit, counted)

    @asynccontextmanager
    async def held(self, prompts: Sequence[Prompt], model: OpenAIModel, name: str) -> AsyncIterator[Held]:
        """Around a call of a remote model: the most that it can take is reserved, and then what it took is settled.

        Raises:
            BudgetExceeded: a budget does not have so much left, or does not know what the model costs.
        """
        account = ACCOUNT.get() or Account()
        limited = self._of(account, lambda section: section.tokens is not None or section.money is not None)
        if not limited:
            yield Held()
            return
        tries = model.retries + 1
        most = _sum(_most(prompt, model) for prompt in prompts)
        unpriced = [each for each in limited if self._sections[each].money is not None and _is_unpriced(model)]
        if unpriced:
            reason = f"budget {unpriced[0]!r} limits money, and the price of model {name!r} is unknown"
            raise BudgetExceeded(_refusal(unpriced[0], reason), hint="Set price_in and price_out of the model.")
        reserved = Amount(most.tokens * tries, most.nano * tries)
        ids = await asyncio.to_thread(self._reserve, limited, reserved)
        held = Held()
        took = most
        try:
            yield held
            took = _took(held.outputs, model) if held.outputs else most
        except (EngineRejected, EngineUnavailable):
            took = Amount(0, 0)  # it was turned away
            raise
        except BaseException:
            took = reserved  # how far it came, and how often, is not known
            raise
        finally:
            await asyncio.shield(asyncio.to_thread(self._settle, ids, reserved, took))

    def spending(self) -> list[Spending]:
        """How each budget stands in its present period. Raises `StoreError`."""
        if not self._sections:
            return []
        with self._writing() as connection:
            rows = {name: self._row(connection, name) for name in self._sections}
        found = []
        for name, row in rows.items():
            money, held = (Decimal(row[each]) / _NANO for each in ("nano", "held_nano"))
            found.append(Spending(name, self._period(name), row["requests"], row["tokens"], money, held))
        return found

    async def close(self) -> None:
        """Free the file. A second call does nothing."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def _of(self, account: Account, limits: Callable[[BudgetSection], bool]) -> list[str]:
        """The budgets that an account is under and that limit something."""
        return [
            name
            for name, section in self._sections.items()
            if section.tenant in {None, account.tenant} and section.key in {None, account.key} and limits(section)
        ]

    # --- in a thread -----------------------------------------------------------------------------

    def _admit(self, names: Sequence[str]) -> None:
        with self._writing() as connection:
            for name in names:
                row, limit = self._row(connection, name), self._sections[name].requests
                if limit is not None and row["requests"] >= limit:
                    raise self._exceeded(name, f"{limit:,} requests", f"{row['requests']:,} were made")
            for name in names:
                self._add(connection, name, self._period(name), "requests", 1)

    def _reserve(self, names: Sequence[str], amount: Amount) -> list[int]:
        with self._writing() as connection:
            for name in names:
                self._check(connection, name, amount)
            ids = []
            for name in names:
                period = self._period(name)
                self._add(connection, name, period, "held_tokens", amount.tokens)
                self._add(connection, name, period, "held_nano", amount.nano)
                cursor = connection.execute(
                    "INSERT INTO held (owner, budget, period, tokens, nano) VALUES (?, ?, ?, ?, ?)",
                    (os.getpid(), name, period, amount.tokens, amount.nano),
                )
                ids.append(int(cursor.lastrowid or 0))
            return ids

    def _check(self, connection: sqlite3.Connection, name: str, amount: Amount) -> None:
        row, section = self._row(connection, name), self._sections[name]
        if section.tokens is not None and row["tokens"] + row["held_tokens"] + amount.tokens > section.tokens:
            left = section.tokens - row["tokens"] - row["held_tokens"]
            said = f"{left:,} are left, and this call may take {amount.tokens:,}"
            raise self._exceeded(name, f"{section.tokens:,} tokens", said)
        if section.money is not None:
            left_nano = _nano(section.money) - row["nano"] - row["held_nano"]
            if amount.nano > left_nano:
                left_money, most = (Decimal(each) / _NANO for each in (left_nano, amount.nano))
                said = f"{left_money:.6f} are left, and this call may take {most:.6f}"
                raise self._exceeded(name, f"{section.money:f} of money", said)

    def _settle(self, ids: Sequence[int], reserved: Amount, took: Amount) -> None:
        with self._writing() as connection:
            for each in ids:
                row = connection.execute("SELECT budget, period FROM held WHERE id = ?", (each,)).fetchone()
                if row is None:
                    continue
                self._release(connection, row["budget"], row["period"], reserved, took)
                connection.execute("DELETE FROM held WHERE id = ?", (each,))

    def _release(self, connection: sqlite3.Connection, name: str, period: str, reserved: Amount, took: Amount) -> None:
        self._add(connection, name, period, "held_tokens", -reserved.tokens)
        self._add(connection, name, period, "held_nano", -reserved.nano)
        self._add(connection, name, period, "tokens", took.tokens)
        self._add(connection, name, period, "nano", took.nano)

    def _add(self, connection: sqlite3.Connection, name: str, period: str, column: str, amount: int) -> None:
        connection.execute("INSERT OR IGNORE INTO spent (budget, period) VALUES (?, ?)", (name, period))
        changed = f"UPDATE spent SET {column} = {column} + ? WHERE budget = ? AND period = ?"  # noqa: S608 - our names
        connection.execute(changed, (amount, name, period))

    def _row(self, connection: sqlite3.Connection, name: str) -> Mapping[str, int]:
        found = connection.execute(
            "SELECT * FROM spent WHERE budget = ? AND period = ?", (name, self._period(name))
        ).fetchone()
        columns = ("requests", "tokens", "nano", "held_tokens", "held_nano")
        return dict.fromkeys(columns, 0) if found is None else {column: int(found[column]) for column in columns}

    def _period(self, name: str) -> str:
        now = datetime.fromtimestamp(self._clock(), UTC)
        return now.strftime(_PERIODS[self._sections[name].per])

    def _exceeded(self, name: str, limit: str, said: str) -> BudgetExceeded:
        per = self._sections[name].per
        span = "" if per == "ever" else f" a {per}"
        return BudgetExceeded(
            _refusal(name, f"budget {name!r} is {limit}{span}: {said}"),
            hint=f"Wait for the next {per}, or raise [budgets.{name}]." if span else f"Raise [budgets.{name}].",
        )

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that no other process writes beside."""
        with self._lock:
            try:
                connection = self._connection = self._connection or self._open()
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                except BaseException:
                    connection.execute("ROLLBACK")
                    raise
                connection.execute("COMMIT")
            except sqlite3.Error as error:
                raise StoreError(
                    f"Cannot write the budgets in {str(self._path)!r}: {error}.",
                    hint="Nothing is spent that is not counted: free space on the disk, or make the file writable.",
                ) from error

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=10.0)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.executescript(_SCHEMA)
        connection.execute("BEGIN IMMEDIATE")
        for row in connection.execute("SELECT * FROM held").fetchall():
            if not self._is_alive(row["owner"]):
                whole = Amount(row["tokens"], row["nano"])
                self._release(connection, row["budget"], row["period"], whole, whole)
                connection.execute("DELETE FROM held WHERE id = ?", (row["id"],))
        connection.execute("COMMIT")
        return connection


class Held:
    """A reservation while it is used; `outputs` are what the call gave."""

    def __init__(self) -> None:
        self.outputs: Sequence[Output] = ()


def _most(prompt: Prompt, model: OpenAIModel) -> Amount:
    """The most that one try can take."""
    tokens_in = most_read(prompt)
    return Amount(tokens_in + prompt.max_tokens, _money(tokens_in, prompt.max_tokens, model))


def _took(outputs: Sequence[Output], model: OpenAIModel) -> Amount:
    used = [(output.usage.tokens_in, output.usage.tokens_out) for output in outputs]
    return _sum(Amount(sum(each), _money(*each, model)) for each in used)


def _sum(amounts: Iterator[Amount]) -> Amount:
    found = list(amounts)
    return Amount(sum(each.tokens for each in found), sum(each.nano for each in found))


def _money(tokens_in: int, tokens_out: int, model: OpenAIModel) -> int:
    now = model.prices_at()
    money = token_money(Decimal(tokens_in), Decimal(tokens_out), price_in=now.tokens_in, price_out=now.tokens_out)
    return _nano(money or Decimal(0))


def _nano(money: Decimal) -> int:
    return int((money * _NANO).to_integral_value(ROUND_CEILING))


def _is_unpriced(model: OpenAIModel) -> bool:
    prices = model.prices_at()
    return prices.tokens_in is None or prices.tokens_out is None


def _refusal(name: str, reason: str) -> Verdict:
    return Verdict(allowed=False, rule=f"{RULE}.{name}", reason=reason)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def open_budgets(sections: Mapping[str, BudgetSection], folder: Path) -> Budgets:
    """The budgets of the network in a folder. No file is made before the first request, and none without a budget."""
    return Budgets(sections, folder / _FILE)
