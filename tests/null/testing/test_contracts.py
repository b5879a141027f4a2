"""Each contract check accepts what keeps the contract and names the clause that is broken."""

import time
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from coterie.privacy.detection import PersonalData
from coterie.testing import (
    EchoEngine,
    check_detector,
    check_engine,
    check_meter,
    check_policy,
    check_retriever,
    check_router,
    check_specialist,
    check_store,
    check_streaming_engine,
)
from coterie.types import (
    Context,
    Delta,
    Fact,
    Finding,
    Label,
    Ledger,
    LedgerRow,
    LedgerSummary,
    Output,
    Part,
    Passage,
    Route,
    SessionSummary,
    Settlement,
    SpecialistCard,
    Task,
    Usage,
    Verdict,
    worded,
)

# --- engines -------------------------------------------------------------------------------------


class Blocking(EchoEngine):
    """Does its work on the event loop."""

    async def run(self, batch, *, call=None):
        """Block."""
        time.sleep(0.15 if batch else 0)  # noqa: ASYNC251 - the fault under test
        return [Output() for _ in batch]


class Short(EchoEngine):
    """Loses an output."""

    async def run(self, batch, *, call=None):
        """Give one less."""
        return (await super().run(batch))[1:]


class Mixed(EchoEngine):
    """Mixes up whose output is whose."""

    async def run(self, batch, *, call=None):
        """Give them backwards."""
        return (await super().run(batch))[::-1]


class Negative(EchoEngine):
    """Has spent less than nothing."""

    async def run(self, batch, *, call=None):
        """Count backwards."""
        return [replace(output, usage=Usage(tokens_in=-1)) for output in await super().run(batch)]


class NoNumbers(EchoEngine):
    """Computes nonsense."""

    async def run(self, batch, *, call=None):
        """Give NaN."""
        return [replace(output, vector=np.array([np.nan])) for output in await super().run(batch)]


class Unlabelled(EchoEngine):
    """Says its clearance in a word of its own."""

    clearance = "all"

    def __init__(self):
        super().__init__()
        self.clearance = "all"


@pytest.mark.parametrize(
    ("engine", "clause"),
    [
        (Blocking(), "lets the event loop go on"),
        (Short(), "3 prompts give as many outputs, not 2"),
        (Mixed(), "in the order of the prompts"),
        (Negative(), "usage.tokens_in is not negative"),
        (NoNumbers(), "vector has no NaN"),
        (Unlabelled(), "clearance is a Label"),
        (EchoEngine(""), "name is a string, not empty"),
        (object(), "it has name, clearance, run and close"),
    ],
)
async def test_engine(engine, clause):
    """A broken engine is told which clause it breaks."""
    with pytest.raises(AssertionError, match=clause):
        await check_engine(engine)


class Repeating(EchoEngine):
    """Says the whole text again at the end of the stream."""

    async def stream(self, prompt, *, call=None):
        """Say it twice."""
        async for event in super().stream(prompt):
            if isinstance(event, Output):
                yield Delta(text=event.text)
            yield event


class Endless(EchoEngine):
    """Forgets the output."""

    async def stream(self, prompt, *, call=None):
        """Only pieces."""
        async for event in super().stream(prompt):
            if isinstance(event, Delta):
                yield event


class Talkative(EchoEngine):
    """Goes on after the output."""

    async def stream(self, prompt, *, call=None):
        """One piece too late."""
        async for event in super().stream(prompt):
            yield event
        yield Delta(text="x")


@pytest.mark.parametrize(
    ("engine", "clause"),
    [
        (Repeating(), "deltas together are the text"),
        (Endless(), "one Output, not 0"),
        (Talkative(), "Output is the last"),
        (object(), "it has `stream`"),
    ],
)
async def test_streaming_engine(engine, clause):
    """So is one that streams wrongly."""
    with pytest.raises(AssertionError, match=clause):
        await check_streaming_engine(engine)


# --- specialists ---------------------------------------------------------------------------------

CARD = SpecialistCard(name="triage", task="classify", description="", rung="lexical", version="v1", writes=("intent",))
GOOD = Finding(specialist="triage", value="a", text="a", confidence=0.9, accepted=True, reason=worded("sure"))


class Sure:
    """Finds what it is told to."""

    def __init__(self, finding, card=CARD):
        self.card = card
        self.finding = finding

    async def consult(self, task, view, *, call=None):
        """Give it."""
        return self.finding


class Speaking(Sure):
    """Says what it is told to on the way."""

    def __init__(self, finding, *pieces):
        super().__init__(finding)
        self.said = pieces

    async def speak(self, task, view, *, call=None):
        """Say it."""
        for text in self.said:
            yield Delta(text=text)
        yield self.finding


ABSTAINED = replace(GOOD, accepted=False)


async def test_good_specialists():
    """Specialists that keep the contract pass, silent or speaking, sure or not."""
    for specialist in (Sure(GOOD), Sure(ABSTAINED), Speaking(GOOD, "a"), Speaking(ABSTAINED)):
        await check_specialist(specialist, Task(text="x"))


@pytest.mark.parametrize(
    ("specialist", "clause"),
    [
        (Sure(None), "gives a Finding, not NoneType"),
        (Sure(replace(GOOD, specialist="other")), "names who found it"),
        (Sure(replace(GOOD, confidence=1.2)), "confidence is from 0 to 1"),
        (Sure(replace(GOOD, confidence=float("nan"))), "confidence is from 0 to 1"),
        (Sure(replace(GOOD, reason=worded(" "))), "says why"),
        (Sure(replace(GOOD, value=None)), "has a value"),
        (Sure(replace(GOOD, label=Label.PUBLIC)), "label is at least the task's"),
        (Sure(replace(GOOD, facts=(Fact(name="mood", value="bad", confidence=1.0),))), r"not \['mood'\]"),
        (Sure(GOOD, replace(CARD, version="")), "has a version"),
        (Speaking(GOOD, "b"), "deltas together are the finding's text"),
        (Speaking(ABSTAINED, "a"), "has said nothing before"),
        (object(), "it has a card"),
    ],
)
async def test_specialist(specialist, clause):
    """A broken specialist is told which clause it breaks."""
    with pytest.raises(AssertionError, match=clause):
        await check_specialist(specialist, Task(text="x"))


# --- routers, retrievers, policies ---------------------------------------------------------------

PART = Part(text="x", stages=(("triage",),), score=0.5)
ROUTE = Route(parts=(PART,), reason=worded("because"))


class Routes:
    """Routes as it is told to."""

    def __init__(self, *routes):
        self.routes = list(routes)

    async def route(self, request, context, *, call=None):
        """Give the next route."""
        return self.routes.pop(0)


async def test_good_routers():
    """Routers that keep the contract pass, also when nobody fits."""
    await check_router(Routes(ROUTE, ROUTE))
    await check_router(Routes(*[Route(parts=(), reason=worded("nobody fits"))] * 2))


@pytest.mark.parametrize(
    ("routes", "clause"),
    [
        ([None], "gives a Route"),
        ([replace(ROUTE, reason=worded(""))], "says why"),
        ([replace(ROUTE, parts=(replace(PART, stages=()),))], "names whom it asks"),
        ([replace(ROUTE, parts=(replace(PART, stages=(("triage",), ())),))], "no empty stage"),
        ([replace(ROUTE, parts=(replace(PART, stages=(("triage",), ("triage",))),))], "asked twice"),
        ([replace(ROUTE, parts=(replace(PART, score=2),))], "score is from 0 to 1"),
        ([replace(ROUTE, scores={"triage": -1})], "score of 'triage'"),
        ([ROUTE, replace(ROUTE, parts=())], "same route"),
    ],
)
async def test_router(routes, clause):
    """A broken router is told which clause it breaks."""
    with pytest.raises(AssertionError, match=clause):
        await check_router(Routes(*routes))


PASSAGE = Passage(document="d", start=2, end=5, text="abc", score=0.5, label=Label.PUBLIC)


class Searched:
    """Finds the same passages always."""

    def __init__(self, *passages, filtering=True):
        self.passages = passages
        self.filtering = filtering

    async def search(self, query, *, k, clearance, tenant="default", vector=None, call=None):
        """Give them, those within the clearance if it filters."""
        return [passage for passage in self.passages if not self.filtering or passage.label <= clearance]

    async def close(self):
        """Nothing to free."""


async def test_good_retriever():
    """A retriever that keeps the contract passes."""
    await check_retriever(Searched(PASSAGE, replace(PASSAGE, score=0.1, label=Label.RESTRICTED)), "query")


@pytest.mark.parametrize(
    ("index", "clause"),
    [
        (Searched(*[PASSAGE] * 6), "at most 5"),
        (Searched(replace(PASSAGE, score=0.1), PASSAGE), "best comes first"),
        (
            Searched(replace(PASSAGE, label=Label.RESTRICTED), filtering=False),
            "nothing above the clearance 'public'",
        ),
        (Searched(replace(PASSAGE, end=6)), "span the passage's text"),
        (Searched(replace(PASSAGE, document="")), "names its document"),
    ],
)
async def test_retriever(index, clause):
    """A broken retriever is told which clause it breaks."""
    with pytest.raises(AssertionError, match=clause):
        await check_retriever(index, "query")


class Judge:
    """Judges as it is told to."""

    def __init__(self, *verdicts):
        self.verdicts = verdicts
        self.asked = 0

    def judge(self, flow):
        """Give the verdicts in turn."""
        self.asked += 1
        return self.verdicts[self.asked % len(self.verdicts)]


YES = Verdict(allowed=True, rule="r", reason=worded("because"))


@pytest.mark.parametrize(
    ("policy", "clause"),
    [
        (Judge(None), "gives a Verdict"),
        (Judge(replace(YES, allowed=1)), "a bool"),
        (Judge(replace(YES, rule="")), "names its rule"),
        (Judge(replace(YES, reason=worded(""))), "says why"),
        (Judge(YES, replace(YES, allowed=False)), "same verdict"),
    ],
)
async def test_policy(policy, clause):
    """A broken policy is told which clause it breaks; a good one passes."""
    await check_policy(Judge(YES))
    with pytest.raises(AssertionError, match=clause):
        await check_policy(policy)


# --- meters, stores ------------------------------------------------------------------------------


class Meters:
    """Prices as it is told to."""

    def __init__(self, *, would=Decimal(1), producer="triage", **usage):
        self.would = would
        self.producer = producer
        self.usage = usage

    def price(self, step):
        """Fill in the usage it was given."""
        return replace(step, producer=self.producer, usage=replace(step.usage, **self.usage))

    def counterfactual(self, request, answered, steps=(), *, named=""):
        """Give what it was given."""
        return self.would


@pytest.mark.parametrize(
    ("meter", "clause"),
    [
        (Meters(tokens_in=99), "changes nothing else"),
        (Meters(producer="other"), "changes nothing else"),
        (Meters(joules=-1.0), "usage.joules is not negative"),
        (Meters(cost=0.5), "cost is a Decimal"),
        (Meters(would=0.5), "counterfactual is a Decimal"),
        (Meters(would=Decimal(-1)), "counterfactual is not negative"),
    ],
)
async def test_meter(meter, clause):
    """A broken meter is told which clause it breaks; a good one passes."""
    await check_meter(Meters(joules=1.0, cost=Decimal("0.1")))
    await check_meter(Meters(joules=1.0, cost=None, would=None))
    with pytest.raises(AssertionError, match=clause):
        await check_meter(meter)


class Memory:
    """A store in memory; `kept` outlives it."""

    def __init__(self, kept):
        self.kept = kept

    async def settle(self, settlement):
        """Keep it."""
        self.kept.append(settlement)

    async def record(self, settlement, entry, audit):
        """Both, also where one of them fails."""
        try:
            await self.settle(settlement)
        finally:
            await audit.append(entry)

    async def context(self, session, tenant, *, whole=False):
        """Entries of the session."""
        mine = [s for s in self.kept if (s.trace.session, s.trace.tenant) == (session, tenant)]
        return Context(entries=tuple(entry for settlement in mine for entry in settlement.entries))

    async def sessions(self, tenant):
        """Those that settlements name."""
        names = {s.trace.session: s.trace.time for s in self.kept if s.trace.tenant == tenant and s.trace.session}
        stored = [await self._session(name, tenant, used) for name, used in names.items()]
        return sorted(stored, key=lambda session: -session.used)

    async def _session(self, name, tenant, used):
        entries = (await self.context(name, tenant)).entries
        return SessionSummary(
            id=name,
            tenant=tenant,
            began=entries[0].time,
            used=used,
            turns=sum(entry.producer == "user" for entry in entries),
            entries=len(entries),
            label=max(entry.label for entry in entries),
        )

    async def erase(self, session, tenant, turn=""):
        """Take name and entries out of what was kept."""
        mine = [i for i, s in enumerate(self.kept) if (s.trace.session, s.trace.tenant) == (session, tenant)]
        for i in mine:
            self.kept[i] = Settlement(trace=replace(self.kept[i].trace, session=None))
        return bool(mine)

    async def trace(self, trace_id, tenant):
        """The trace of this id."""
        traces = [s.trace for s in self.kept if (s.trace.id, s.trace.tenant) == (trace_id, tenant)]
        return traces[0] if traces else None

    async def feedback(self, feedback):
        """Whether there is what it is about."""
        return await self.trace(feedback.trace_id, feedback.tenant) is not None

    async def ledger(self, *, since=0.0, by="day"):
        """All in one row."""
        traces = [s.trace for s in self.kept if s.trace.time >= since]
        unpriced = sum(trace.usage.cost is None for trace in traces)
        row = LedgerRow(key="all", requests=len(traces), unpriced=unpriced)
        return Ledger(total=row, rows=(row,))

    async def record_training(self, training):
        """Not asked."""

    async def summary(self, *, since=0.0):
        """Totals."""
        traces = [s.trace for s in self.kept if s.trace.time >= since]
        usage = sum((trace.usage for trace in traces), Usage())
        counts = {
            status: sum(trace.status == status for trace in traces) for status in ("accepted", "abstained", "escalated")
        }
        times = sorted(trace.usage.milliseconds for trace in traces) or [None]
        return LedgerSummary(
            requests=len(traces),
            **counts,
            p50_ms=times[0],
            p95_ms=times[-1],
            joules=usage.joules,
            joules_kind=usage.joules_kind,
            cost=usage.cost,
            counterfactual_cost=None,
        )

    async def close(self):
        """Nothing to free."""


class Gossip(Memory):
    """Shows everybody everything."""

    async def trace(self, trace_id, tenant):
        """Whoever asks."""
        return await super().trace(trace_id, "acme")


class Forgetful(Memory):
    """Keeps nothing over a restart."""

    def __init__(self, kept):
        super().__init__([])


class Optimist(Memory):
    """Takes an unknown cost for none."""

    async def summary(self, *, since=0.0):
        """Sum what is known."""
        return replace(await super().summary(since=since), cost=Decimal(0))


class Backwards(Memory):
    """Gives the newest entries first."""

    async def context(self, session, tenant, *, whole=False):
        """The wrong way round."""
        return Context(entries=(await super().context(session, tenant)).entries[::-1])


class Grudge(Memory):
    """Says that it has erased, and remembers."""

    async def erase(self, session, tenant, turn=""):
        """Nothing of the kind."""
        return (session, tenant) == ("kinds", "acme")


class Shredder(Memory):
    """Erases the ledger with the session."""

    async def erase(self, session, tenant, turn=""):
        """Everything of it."""
        before = len(self.kept)
        self.kept[:] = [s for s in self.kept if (s.trace.session, s.trace.tenant) != (session, tenant)]
        return len(self.kept) < before


@pytest.mark.parametrize(
    ("kind", "clause"),
    [
        (Gossip, "another tenant's trace is None"),
        (Forgetful, "is there after the store was closed"),
        (Optimist, "unknown cost makes the sum unknown"),
        (Backwards, "oldest first"),
        (Grudge, "then it is empty"),
        (Shredder, "its traces stay, without its name"),
    ],
)
async def test_store(kind, clause):
    """A broken store is told which clause it breaks; a good one passes."""

    async def opened(kind, kept):
        return kind(kept)

    good, bad = [], []
    await check_store(lambda: opened(Memory, good))
    with pytest.raises(AssertionError, match=clause):
        await check_store(lambda: opened(kind, bad))


# --- The detector's contract check fails a detector that breaks a clause.


class Finds:
    """A detector that finds the same in every text."""

    def __init__(self, *spans):
        self.found = spans

    def find(self, text):
        """The same, but nothing in nothing."""
        return self.found if text else ()


def data(start, end, score=1.0, kind="PERSON"):
    return PersonalData(kind=kind, start=start, end=end, score=score)


async def test_one_that_finds_nothing_passes():
    """Nothing is a fair answer."""
    await check_detector(Finds())


@pytest.mark.parametrize(
    ("found", "clause"),
    [
        ((data(0, 9_000),), "in the text"),
        ((data(1, 1),), "in the text"),
        ((data(0, 2), data(1, 3)), "apart"),
        ((data(2, 3), data(0, 1)), "apart"),
        ((data(0, 1, score=2.0),), "chance"),
        ((data(0, 1, kind=""),), "kind"),
    ],
)
async def test_a_broken_clause_is_named(found, clause):
    """Each clause is checked."""
    with pytest.raises(AssertionError, match=clause):
        await check_detector(Finds(*found))
