"""Settlements to store, and a store to store them in."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from coterie.store.sqlite import SQLiteStore
from coterie.testing import make_finding
from coterie.types import (
    Entry,
    Evidence,
    Fact,
    Label,
    Message,
    Omission,
    Part,
    Passage,
    Route,
    Settlement,
    Stage,
    Step,
    Trace,
    Usage,
    Verdict,
    ViewRecord,
    worded,
)

NOW = 1_000_000.0
DAY = 86_400.0

STEPS = (
    Step(producer="router", engine="onnx", usage=Usage(tokens_in=9, milliseconds=2.5, cpu_seconds=0.002, joules=0.02)),
    Step(
        producer="reply", engine="smol", usage=Usage(tokens_in=90, tokens_out=40, joules=3.5, cost=Decimal("0.00012"))
    ),
)

TRIAGE = make_finding(
    "card_lost",
    text="card lost",
    confidence=0.97,
    reason=worded("'card_lost' at 0.97 is above 0.71"),
    task="classify",
    form="label",
    evidence=(Evidence(kind="alternative", name="card_stolen", text="card stolen", weight=0.02),),
    facts=(Fact(name="intent", value="card_lost", confidence=0.97),),
    steps=STEPS[:1],
)

REPLY = make_finding(
    "We block your card now.",
    specialist="reply",
    reason=worded("grounded in 'help'"),
    label=Label.CONFIDENTIAL,
    task="generate",
    evidence=(Evidence(kind="quote", name="help", text="Cards are blocked at once."),),
    steps=STEPS[1:],
    verdicts=(Verdict(allowed=True, rule="egress.clearance", reason=worded("internal is within 'internal'")),),
)

TRACE = Trace(
    id="t1",
    time=NOW,
    tenant="default",
    session=None,
    label=Label.INTERNAL,
    status="accepted",
    route=Route(
        parts=(Part(text="I lost my card", stages=(("triage",), ("reply",)), score=0.93),),
        reason=worded("'triage' scores 0.93"),
        scores={"triage": 0.93, "clauses": 0.01},
        steps=STEPS[:1],
    ),
    findings=(TRIAGE, REPLY),
    views=(
        ViewRecord(
            specialist="reply", seen=("fact intent from triage",), omitted=(Omission(what="a", reason=worded("b")),)
        ),
    ),
    verdicts=REPLY.verdicts,
    stages=(Stage(name="route", milliseconds=3.0), Stage(name="consult", milliseconds=40.0, note="triage")),
    steps=STEPS,
    usage=Usage(tokens_in=99, tokens_out=40, milliseconds=50.0, cpu_seconds=0.1, joules=3.52, cost=Decimal("0.00012")),
    counterfactual_cost=Decimal("0.001"),
)

ENTRIES = (
    Entry(content=Message(role="user", text="I lost my card"), producer="user", label=Label.INTERNAL, time=NOW),
    Entry(content=TRIAGE.facts[0], producer="triage", label=Label.CONFIDENTIAL, time=NOW),
    Entry(
        content=Passage(document="help", start=1, end=9, text="Cards…", score=0.5, label=Label.PUBLIC),
        producer="index",
        label=Label.PUBLIC,
        time=NOW,
    ),
)


def settlement(trace_id: str = "t1", *, entries: tuple[Entry, ...] = (), **changes: object) -> Settlement:
    """The example settlement with another id and these changes to its trace."""
    return Settlement(trace=replace(TRACE, id=trace_id, **changes), entries=entries)


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        """What the clock shows."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock at `NOW`."""
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database is to be; its folder does not exist yet."""
    return tmp_path / "state" / "coterie.db"


OpenStore = Callable[..., Awaitable[SQLiteStore]]


@pytest.fixture
async def open_store(path: Path, clock: Clock) -> AsyncIterator[OpenStore]:
    """Opens stores on `path` and closes them after the test."""
    async with AsyncExitStack() as stack:

        async def open_one(**options: object) -> SQLiteStore:
            options = {"session_days": 30.0, "keep_content": True, "clock": clock} | options
            store = await SQLiteStore.open(path, **options)
            stack.push_async_callback(store.close)
            return store

        yield open_one
