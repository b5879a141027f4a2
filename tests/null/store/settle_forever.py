"""A process that settles requests until it is killed, printing each id after its settlement returned.

Usage: settle_forever.py DATABASE PREFIX, a file or `env` for the server that COTERIE_DATABASE names.
"""

import asyncio
import itertools
import os
import sys
from decimal import Decimal
from pathlib import Path

from coterie.store.sqlite import SQLiteStore
from coterie.testing import make_trace
from coterie.types import Entry, Label, Message, Route, Settlement, Step, Usage, worded


def settlement(trace_id: str, steps: int) -> Settlement:
    """A request with so many steps and a line of context."""
    usage = Usage(tokens_in=3, milliseconds=1.0, cost=Decimal("0.001"))
    trace = make_trace(
        id=trace_id,
        time=1.0,
        session=trace_id[-1],
        route=Route(parts=(), reason=worded("x" * 500)),
        steps=(Step(producer="triage", engine="linear", usage=usage),) * steps,
        usage=usage,
    )
    message = Message(role="user", text="hello")
    return Settlement(trace=trace, entries=(Entry(content=message, producer="user", label=Label.INTERNAL, time=1.0),))


KEEPS = {"session_days": 1e6, "keep_content": False}


async def opened_on_a_server() -> SQLiteStore:
    """The store in PostgreSQL."""
    from coterie.runtime.postgres import PostgresAddress
    from coterie.store.postgres import PostgresStore

    address = PostgresAddress(os.environ["COTERIE_DATABASE"], source="The test", schema="coterie_settle")
    return await PostgresStore.connect(address, **KEEPS)


async def client(store: SQLiteStore, ids: "itertools.count[int]", prefix: str) -> None:
    """Settle one request after the other."""
    while True:
        number = next(ids)
        await store.settle(settlement(f"{prefix}-{number}", steps=number % 5))
        os.write(1, f"{prefix}-{number}\n".encode())


async def main(path: str, prefix: str) -> None:
    """Sixteen clients side by side."""
    store = await (opened_on_a_server() if path == "env" else SQLiteStore.open(Path(path), **KEEPS))
    ids = itertools.count()
    await asyncio.gather(*(client(store, ids, prefix) for _ in range(16)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
