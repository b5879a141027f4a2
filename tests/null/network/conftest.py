"""A network of specialists that do as they are told, over a store that remembers in memory."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

import pytest

from coterie.context.sharing import known_facts
from coterie.network.network import Network
from coterie.routing.plan import plan_stages
from coterie.testing import EchoEngine, FakeClock, make_finding
from coterie.types import (
    Answer,
    CallContext,
    Citation,
    Context,
    ContextView,
    Delta,
    Evidence,
    Fact,
    Finding,
    Label,
    Option,
    Part,
    Reason,
    Request,
    Route,
    Settlement,
    SpecialistCard,
    Step,
    Task,
    Usage,
    worded,
)


@dataclass(eq=False)
class Says:
    """A specialist that gives the finding it was told to give, after `before` was done."""

    name: str
    value: object = "yes"
    accepted: bool = True
    reason: Reason = field(default_factory=lambda: worded("it is sure"))
    writes: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    facts: tuple[Fact, ...] | None = None
    retracts: tuple[str, ...] = ()
    knowledge: tuple[str, ...] = ()
    citations: tuple[Citation, ...] = ()
    view_tokens: int | None = None
    labels: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    called: bool = False
    confidence: float = 0.9
    label: Label | None = None
    clearance: Label = Label.RESTRICTED
    error: BaseException | None = None
    evidence: tuple[Evidence, ...] = ()
    joules_kind: str = "estimated"
    before: Callable[[], object] = lambda: None
    tasks: list[Task] = field(default_factory=list)
    views: list[ContextView] = field(default_factory=list)
    calls: list[CallContext] = field(default_factory=list)

    @property
    def card(self) -> SpecialistCard:
        """Its card."""
        return SpecialistCard(
            name=self.name,
            task="classify",
            form="label",
            labels=self.labels,
            options=tuple(Option(name=name) for name in self.options),
            makes_calls=self.called,
            description="",
            rung="lexical",
            version="0",
            reads=self.reads,
            writes=self.writes,
            clearance=self.clearance,
            knowledge=self.knowledge,
            view_tokens=self.view_tokens,
        )

    async def consult(self, task: Task, view: ContextView, *, call=None) -> Finding:
        """What it was told, a step of work included."""
        self.tasks.append(task)
        self.views.append(view)
        self.calls.append(call)
        waiting = self.before()
        if asyncio.iscoroutine(waiting):
            await waiting
        if self.error:
            raise self.error
        facts = tuple(Fact(name=name, value=self.value, confidence=self.confidence) for name in self.writes)
        usage = Usage(tokens_in=2, tokens_out=1, milliseconds=1.0, joules=0.5, joules_kind=self.joules_kind)
        return make_finding(
            self.value,
            specialist=self.name,
            confidence=self.confidence,
            accepted=self.accepted,
            reason=self.reason,
            called=self.called,
            text='{"calls": []}' if self.called else str(self.value or ""),
            label=self.label or task.label,
            label_without_pii=None if self.label else task.label_without_pii,
            evidence=self.evidence,
            facts=facts if self.facts is None else self.facts,
            retracts=self.retracts,
            citations=self.citations,
            steps=(Step(producer=self.name, engine="linear", usage=usage),),
        )


@dataclass(eq=False)
class Speaks(Says):
    """The same, said piece by piece; `between` is done before each piece."""

    pieces: tuple[str, ...] = ("so ", "it ", "is")
    between: Callable[[int], object] = lambda index: None
    closed: int = 0

    async def speak(self, task: Task, view: ContextView, *, call=None) -> AsyncIterator[Delta | Finding]:
        """Pieces, then the finding."""
        self.value = "".join(self.pieces)
        try:
            for index, piece in enumerate(self.pieces):
                waiting = self.between(index)
                if asyncio.iscoroutine(waiting):
                    await waiting
                yield Delta(text=piece)
            yield await self.consult(task, view, call=call)
        finally:
            self.closed += 1


@dataclass(eq=False)
class Sends:
    """A router that sends a request where a word of it says: `triage`, or `triage+clauses` for two parts."""

    cards: Mapping[str, SpecialistCard]
    error: BaseException | None = None
    contexts: list[Context] = field(default_factory=list)

    async def route(self, request: Request, context: Context, *, call=None) -> Route:
        """A part for each specialist the text names."""
        self.contexts.append(context)
        if self.error:
            raise self.error
        words = request.text.replace("+", " ").split()
        parts = tuple(
            Part(
                text=f"about {word}",
                stages=plan_stages(word, self.cards, readers=True, earlier_facts=known_facts(context)),
                score=0.9,
            )
            for word in words
            if word in self.cards
        )
        step = Step(producer="router", engine="onnx", usage=Usage(tokens_in=3, joules=1.0, joules_kind="measured"))
        return Route(parts=parts, reason=worded("by its words" if parts else "no word of it is a name"), steps=(step,))


@dataclass(eq=False)
class Remembers:
    """A store in memory."""

    settled: list[Settlement] = field(default_factory=list)
    before: Callable[[], object] = lambda: None
    error: BaseException | None = None
    closed: bool = False

    async def settle(self, settlement: Settlement) -> None:
        """Keep it, unless it was told to fail."""
        waiting = self.before()
        if asyncio.iscoroutine(waiting):
            await waiting
        if self.error:
            raise self.error
        self.settled.append(settlement)

    async def record(self, settlement, entry, audit):
        """Both, also where one of them fails."""
        try:
            await self.settle(settlement)
        finally:
            await audit.append(entry)

    async def context(self, session: str, tenant: str, *, whole: bool = False) -> Context:
        """What was settled in the tenant's session."""
        mine = [s for s in self.settled if (s.trace.session, s.trace.tenant) == (session, tenant)]
        return Context(entries=tuple(entry for settlement in mine for entry in settlement.entries))

    async def trace(self, trace_id, tenant):
        """Not asked."""

    async def feedback(self, feedback):
        """Not asked."""

    async def sessions(self, tenant):
        """Not asked."""

    async def erase(self, session, tenant, turn=""):
        """Not asked."""

    async def summary(self, *, since=0.0):
        """Not asked."""

    async def ledger(self, *, since=0.0, by="day"):
        """Not asked."""

    async def record_training(self, training):
        """Not asked."""

    async def close(self) -> None:
        """Note it."""
        self.closed = True


class Prices:
    """A cent a step."""

    def price(self, step: Step) -> Step:
        """With its cost."""
        return replace(step, usage=replace(step.usage, cost=Decimal("0.01")))

    def counterfactual(
        self, request: Request, answered: str, steps: tuple[Step, ...] = (), *, named: str = ""
    ) -> Decimal | None:
        """A hundredth a character."""
        return Decimal(len(request.text) + len(answered)) / 100


class ByPronoun:
    """Says that what has an "it" leans on the question before, and lacks its long words."""

    languages = talk_languages = frozenset({"en"})
    least_leaning = 0.5

    def leans(self, text, before) -> float:
        """Sure, or sure not."""
        return 0.9 if "it" in text.split() else 0.1

    def talk(self, vectors):
        """Nothing is."""
        return [False] * len(vectors)

    def missing(self, text, question):
        """Words of four letters and more."""
        words = re.findall(r"\w+", question.lower())
        return words, [1.0 if len(word) > 3 else -1.0 for word in words]

    def substituted(self, text, now, question, output):
        """Nothing is."""


@dataclass
class Bench:
    """What the tests make networks with and look at afterwards."""

    Says = Says
    Speaks = Speaks
    store: Remembers = field(default_factory=Remembers)
    clock: FakeClock = field(default_factory=FakeClock)

    def network(self, *specialists: Says, **parts: object) -> Network:
        """A network of these."""
        cards = {specialist.card.name: specialist.card for specialist in specialists}
        given = {
            "specialists": {specialist.card.name: specialist for specialist in specialists},
            "router": Sends(cards),
            "store": self.store,
            "meter": Prices(),
            "encoder": EchoEngine("onnx"),
            "turns": ByPronoun(),
            "clock": self.clock,
            "new_id": lambda: f"id{len(self.store.settled)}",
            **parts,
        }
        return Network(**given)

    async def stream(self, network: Network, text: str, **more: object) -> tuple[list[str], Answer]:
        """The deltas of a request and its answer."""
        deltas: list[str] = []
        async for event in network.stream(Request(text=text, **more)):
            if isinstance(event, Answer):
                return deltas, event
            deltas.append(event.text)
        raise AssertionError("a stream ends with an answer")


@pytest.fixture
def bench() -> Bench:
    """Makers and a store of one test."""
    return Bench()
