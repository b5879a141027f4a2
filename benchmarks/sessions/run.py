"""Appending to a session and making a view of it, with 10,000 sessions of 50 entries in the store.

    python benchmarks/sessions/run.py [--sessions 10000]

An append is one settled turn (question, finding, two facts, answer) with its fsync; a view is the session read from the
store and packed into 2,048 tokens for a specialist that reads the conversation and two facts. One after the other, and
four side by side. Listing a tenant's sessions and erasing one, which writes the file anew, are timed too.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _record import Bar, Record, arguments
from coterie.context.sharing import build_view
from coterie.store.sqlite import SQLiteStore
from coterie.types import (
    Entry,
    Fact,
    Finding,
    FindingSummary,
    Label,
    Message,
    Part,
    Route,
    Settlement,
    SpecialistCard,
    Step,
    Trace,
    Usage,
    worded,
)

CLAIM = "A session is read and written in milliseconds, however many there are."
SEED = 0
ENTRIES = 50
TIMED = 1000
TOGETHER = 4
FILLED = 200  # sessions that are filled at once
CARD = SpecialistCard(
    name="reply",
    task="generate",
    description="",
    rung="slm",
    version="0",
    reads=("intent", "tier", "messages"),
    view_tokens=2048,
)


def turn(number: int, time: float) -> list[Entry]:
    """What one turn leaves: five entries."""
    text = f"question {number}: where is my card, which I ordered on the {number % 28 + 1}th of last month?"
    answer = f"answer {number}: it was sent {number % 9} days ago and should be with you within two working days."
    contents = (
        (Message(role="user", text=text), "user"),
        (
            FindingSummary(specialist="triage", task="classify", text="card_arrival", confidence=0.97, accepted=True),
            "triage",
        ),
        (Fact(name="intent", value=f"intent {number % 7}", confidence=0.97), "triage"),
        (Fact(name="tier", value="gold", confidence=0.9), "account"),
        (Message(role="assistant", text=answer), "lender"),
    )
    return [Entry(content=content, producer=who, label=Label.INTERNAL, time=time) for content, who in contents]


def settlement(identity: str, session: str, entries: Sequence[Entry]) -> Settlement:
    """A request's settlement as the network makes it."""
    usage = Usage(tokens_in=20, milliseconds=4.0, cpu_seconds=0.004, joules=0.04)
    finding = Finding(
        specialist="triage",
        value="card_arrival",
        text="card_arrival",
        confidence=0.97,
        accepted=True,
        reason=worded("0.97 is above 0.71"),
        task="classify",
    )
    trace = Trace(
        id=identity,
        time=entries[-1].time,
        tenant="default",
        session=session,
        label=Label.INTERNAL,
        status="accepted",
        route=Route(
            parts=(Part(text="where is my card", stages=(("triage",),), score=0.9),), reason=worded("like card_arrival")
        ),
        findings=(finding,),
        views=(),
        verdicts=(),
        stages=(),
        steps=(Step(producer="triage", engine="onnx", usage=usage),),
        usage=usage,
        counterfactual_cost=None,
    )
    return Settlement(trace=trace, entries=entries)


async def fill(store: SQLiteStore, sessions: int) -> None:
    """Ten turns in each session, the first turns of all before the second ones."""
    for number in range(ENTRIES // 5):
        for first in range(0, sessions, FILLED):
            some = range(first, min(first + FILLED, sessions))
            await asyncio.gather(
                *(store.settle(settlement(f"f{s}-{number}", f"session {s}", turn(number, time.time()))) for s in some)
            )


async def timed(work: Callable[[int], Awaitable[object]], *, together: int) -> dict[str, float]:
    """Milliseconds of a thousand calls, so many at once."""
    times: list[float] = []

    async def some(first: int) -> None:
        for number in range(first, TIMED, together):
            start = time.perf_counter()
            await work(number)
            times.append((time.perf_counter() - start) * 1000)

    await asyncio.gather(*(some(first) for first in range(together)))
    return {name: float(np.percentile(times, q)) for name, q in (("p50", 50), ("p95", 95), ("p99", 99), ("most", 100))}


async def once(work: Awaitable[object]) -> float:
    """Milliseconds of one call."""
    start = time.perf_counter()
    await work
    return (time.perf_counter() - start) * 1000


async def main() -> None:
    """Fill a store, time it, write the record."""
    parser = arguments(__doc__ or "", __file__)
    parser.add_argument("--sessions", type=int, default=10_000)
    options = parser.parse_args()
    record = Record(claim=CLAIM, seeds=[SEED])
    record.note_load()
    draw = random.Random(SEED)  # noqa: S311 - which sessions are timed
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "coterie.db"
        store = await SQLiteStore.open(path, session_days=30, keep_content=False)
        record.figures["filled in seconds"] = await once(fill(store, options.sessions)) / 1000
        names = [f"session {draw.randrange(options.sessions)}" for _ in range(TIMED)]

        async def append(number: int) -> None:
            await store.settle(
                settlement(f"{time.perf_counter_ns()}-{number}", names[number], turn(number, time.time()))
            )

        async def view(number: int) -> None:
            build_view(await store.context(names[number], "default"), CARD)

        for together in (1, TOGETHER):
            record.figures[f"append, {together} at once"] = await timed(append, together=together)
            record.figures[f"view, {together} at once"] = await timed(view, together=together)
        record.figures["list all, ms"] = await once(store.sessions("default"))
        record.figures["megabytes"] = sum(file.stat().st_size for file in path.parent.iterdir()) / 1e6
        record.figures["erase one, ms"] = await once(store.erase(names[0], "default"))
        await store.close()
    record.bars = [
        Bar(what=f"{what}, p99 ms", measured=record.figures[f"{what}, 1 at once"]["p99"], limit=10, at_most=True)  # type: ignore[index]
        for what in ("append", "view")
    ]
    for name, figure in record.figures.items():
        print(name, figure)
    record.write(options.out)


if __name__ == "__main__":
    asyncio.run(main())
