"""The thread that writes, before a database that is away."""

from __future__ import annotations

import asyncio

from coterie.errors import StoreUnavailable
from coterie.store.statements import WriteThread


class Connection:
    """A connection that is cut when `away` is set."""

    in_transaction = True
    away = False

    def execute(self, _statement, _values=()):
        """Do nothing, or fail."""
        if self.away:
            raise OSError("cut")

    def close(self):
        """Do nothing."""


class Work:
    """Work that is written with others of its kind."""

    def __call__(self, connection):
        """Write it alone."""
        connection.execute("")

    def joined(self, works):
        """Write all."""
        return works[0]


async def test_a_database_that_is_away_is_tried_once_for_a_batch():
    """Each try takes seconds: all who wait share one, and maintenance makes none."""
    tries, connection = 0, Connection()

    def connect():
        nonlocal tries
        tries += 1
        if connection.away:
            raise OSError("away")
        return connection

    writer = WriteThread(
        connect=connect,
        prepare=lambda _: None,
        maintain=lambda *_: False,
        explain=lambda error: StoreUnavailable(str(error)),
        limit=64,
    )
    await writer.open()
    connection.away = True
    for expected in (2, 3):  # the one that was cut and another, then one for a batch
        outcomes = await asyncio.gather(*(writer.run(Work()) for _ in range(3)), return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}
        assert tries == expected
    connection.away = False
    await writer.run(Work())
    await writer.close()
    assert tries == 4
