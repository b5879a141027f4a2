"""Keys in the PostgreSQL database of `[store] url`, so that all hosts of a network have the same ones.

A change is seen everywhere within a second. Where the database cannot be asked for ten seconds, nobody is let in.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from coterie.errors import SetupError
from coterie.governance.keys import FORGOTTEN, Key, KeyRing, read_key
from coterie.runtime.codec import parse_json, to_json
from coterie.runtime.postgres import PostgresAddress, PostgresConnection, explained

_TABLES = (
    "CREATE TABLE IF NOT EXISTS keys (id TEXT PRIMARY KEY, body TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS used_tokens (digest TEXT PRIMARY KEY, until DOUBLE PRECISION NOT NULL)",
)
FRESH, STALE = 1.0, 10.0
"""Seconds after which keys are read again, beside the requests; and after which none is accepted before they are."""


class TableKeyRing(KeyRing):
    """The keys of a network, in a table that several hosts read."""

    def __init__(
        self,
        address: PostgresAddress,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Name the database; it is asked at the first look."""
        self._address, self._clock, self._monotonic = address, clock, monotonic
        self._keys: Mapping[str, Key] = {}
        self._read_at = self._failed_at = float("-inf")
        self._reading = threading.Lock()
        self._made = False

    def _read(self) -> Mapping[str, Key]:
        """The keys as they were a second ago at most, if anybody looked."""
        age = self._monotonic() - self._read_at
        if age > STALE:
            if self._monotonic() - self._failed_at < FRESH:
                raise self._unreadable(TimeoutError())
            with self._reading:
                self._load()
        elif age > FRESH and self._reading.acquire(blocking=False):
            threading.Thread(target=self._renew, name="coterie-keys", daemon=True).start()
        return self._keys

    def _renew(self) -> None:
        try:
            with suppress(SetupError):  # told when they are too old
                self._load()
        finally:
            self._reading.release()

    def _load(self) -> None:
        began = self._monotonic()
        try:
            with explained(self._address), self._connected() as connection:
                keys = _select(connection)
        except (SetupError, ValueError, TypeError, KeyError) as error:
            self._failed_at = self._monotonic()
            raise self._unreadable(error) from error
        if self._keys and not keys:
            raise self._unreadable(LookupError("no key is left"))
        self._keys, self._read_at = keys, began

    def _unreadable(self, error: Exception) -> SetupError:
        return SetupError(
            f"The keys in {self._address.place} cannot be read ({type(error).__name__}): nobody is let in.",
            hint="See that the database is up and can be reached.",
        )

    @contextmanager
    def _connected(self) -> Iterator[PostgresConnection]:
        connection = self._address.connect()
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.lock("keys")
            if not self._made:
                connection.make_schema()
                for table in _TABLES:
                    connection.execute(table)
            yield connection
            connection.execute("COMMIT")
            self._made = True
        finally:
            connection.close()  # what was not committed is undone

    def use_once(self, token: str, *, until: float) -> bool:
        """Return whether a token is used for the first time, on whichever host it was used before."""
        digest = hashlib.sha256(token.encode()).hexdigest()
        with explained(self._address), self._connected() as connection:
            connection.execute("DELETE FROM used_tokens WHERE until < ?", (self._clock() - FORGOTTEN,))
            first = connection.execute(
                "INSERT INTO used_tokens VALUES (?, ?) ON CONFLICT DO NOTHING RETURNING digest", (digest, until)
            ).fetchall()
        return bool(first)

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Key]]:
        """The keys, to be changed; all or nothing, one change at a time."""
        with explained(self._address), self._connected() as connection:
            keys = _select(connection)
            yield keys
            connection.executemany(
                "INSERT INTO keys (id, body) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET body = excluded.body",
                [(key.id, json.dumps(to_json(key))) for key in keys.values()],
            )
        self._keys, self._read_at = keys, self._monotonic()


def _select(connection: PostgresConnection) -> dict[str, Key]:
    found = connection.execute("SELECT body FROM keys").fetchall()
    return {key.id: key for key in (read_key(parse_json(body)) for (body,) in found)}
