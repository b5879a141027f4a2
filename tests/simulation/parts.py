"""What the simulated network is made of beside the real parts: a router by name, odd specialists, an odd index."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coterie.context.sharing import known_facts
from coterie.errors import EngineBroken, EngineTimeout, InputError, Overloaded, StoreUnavailable
from coterie.governance.audit import AuditLog
from coterie.protocols import Engine
from coterie.routing.plan import plan_stages
from coterie.runtime.concurrency import to_the_end
from coterie.store.flywheel import FlywheelTables
from coterie.testing import FakeRetriever
from coterie.types import (
    CallContext,
    Citation,
    Context,
    ContextView,
    Delta,
    Fact,
    Finding,
    Flow,
    Message,
    Part,
    Passage,
    Prompt,
    Request,
    Route,
    SpecialistCard,
    Step,
    Task,
    Usage,
    Verdict,
    label_without_pii,
    worded,
)

from .loop import SimulatedLoop

SPENT = Usage(tokens_in=2, tokens_out=1, joules=0.5, joules_kind="measured")
"""By one step here: nothing that a clock would have to say."""


@dataclass(kw_only=True)
class Odd:
    """A specialist that repeats what it is shown, is sure or not, slow or not, and fails now and then."""

    name: str
    draw: random.Random
    writes: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    knowledge: tuple[str, ...] = ()
    asks: Engine | None = None
    """A model behind the gate that it asks for its answer."""

    @property
    def card(self) -> SpecialistCard:
        """What the network knows of it."""
        return SpecialistCard(
            name=self.name,
            task="generate",
            description="",
            rung="lexical",
            version=f"{self.name}-1",
            reads=self.reads,
            writes=self.writes,
            knowledge=self.knowledge,
        )

    async def consult(self, task: Task, view: ContextView, *, call: CallContext) -> Finding:
        """A finding about all it was shown, as sensitive as that."""
        draw = self.draw
        await asyncio.sleep(draw.choice([0.0, 0.0, 0.001, 0.3, 4.0]))
        if (odd := draw.random()) < 0.06:
            raise draw.choice([EngineBroken("broke", engine="linear"), EngineTimeout("late", engine="linear")])
        if odd < 0.09:
            raise draw.choice([Overloaded("full"), InputError("not so")])
        verdicts: tuple[Verdict, ...] = ()
        model_steps: tuple[Step, ...] = ()
        if self.asks is not None:
            message = Message(role="user", text=task.text)
            prompt = Prompt(
                messages=(message,), label=task.label, label_without_pii=task.label_without_pii, max_tokens=40
            )
            (output,) = await self.asks.run([prompt], call=call)
            verdicts = () if output.verdict is None else (output.verdict,)
            model_steps = (Step(producer=self.name, engine=self.asks.name, usage=output.usage),)
        passages = [entry.content for entry in view.entries if isinstance(entry.content, Passage)]
        text = " | ".join([task.text, *(passage.text for passage in passages)])
        return Finding(
            specialist=self.name,
            value=text,
            text=text,
            confidence=draw.random(),
            accepted=draw.random() < 0.6,
            reason=worded("by chance"),
            label=max([task.label, *(entry.label for entry in view.entries)]),
            label_without_pii=label_without_pii(task, *view.entries),
            facts=tuple(Fact(name=name, value="yes", confidence=0.9) for name in self.writes),
            citations=tuple(map(_cited, passages)),
            verdicts=verdicts,
            steps=(Step(producer=self.name, engine="linear", usage=SPENT), *model_steps),
        )


@dataclass(kw_only=True)
class Speaking(Odd):
    """The same, said piece by piece."""

    async def speak(self, task: Task, view: ContextView, *, call: CallContext) -> AsyncIterator[Delta | Finding]:
        """Pieces, then the finding; none before one that abstains."""
        finding = await self.consult(task, view, call=call)
        if finding.accepted:
            for word in finding.text.split(" ")[:-1]:
                await asyncio.sleep(self.draw.choice([0.0, 0.01]))
                yield Delta(text=f"{word} ")
            yield Delta(text=finding.text.split(" ")[-1])
        yield finding


def _cited(passage: Passage) -> Citation:
    return Citation(
        document=passage.document,
        start=passage.start,
        end=passage.end,
        text=passage.text,
        label=passage.label,
        index=passage.index,
    )


@dataclass(kw_only=True)
class ByName:
    """A router that makes a part of every specialist that the request's first word names: `triage+clauses`."""

    cards: Mapping[str, SpecialistCard]
    draw: random.Random

    async def route(self, request: Request, context: Context, *, call: CallContext) -> Route:
        """After a while; now and then its queue is full."""
        await asyncio.sleep(self.draw.choice([0.0, 0.002]))
        if self.draw.random() < 0.02:
            raise Overloaded("256 are waiting")
        names = [name for name in request.text.split(" ", 1)[0].split("+") if name in self.cards]
        parts = tuple(
            Part(
                text=request.text if len(names) == 1 else f"about {name}",
                stages=plan_stages(name, self.cards, readers=True, earlier_facts=known_facts(context)),
                score=0.9,
            )
            for name in names
        )
        step = Step(producer="router", engine="onnx", usage=SPENT)
        return Route(parts=parts, reason=worded("by its first word"), steps=(step,))


class OddIndex(FakeRetriever):
    """An index whose server does not answer now and then."""

    def __init__(self, passages: Sequence[Passage], draw: random.Random, **options: object) -> None:
        super().__init__(passages, **options)
        self._draw = draw

    async def search(self, query: str, **options: object) -> Sequence[Passage]:
        """As any index, or not at all."""
        await asyncio.sleep(self._draw.choice([0.0, 0.01]))
        if self._draw.random() < 0.05:
            raise StoreUnavailable("the index does not answer")
        return await super().search(query, **options)


@dataclass
class Allowing:
    """A policy that counts what it lets go where."""

    policy: object
    allowed: dict[str, int] = field(default_factory=dict)

    def judge(self, flow: Flow) -> Verdict:
        """As the policy says."""
        verdict = self.policy.judge(flow)
        if verdict.allowed:
            self.allowed[flow.destination] = self.allowed.get(flow.destination, 0) + 1
        return verdict


class InTurn:
    """A store whose writer, a thread of its own, does one thing at a time while everything else stands."""

    def __init__(self, store: object, loop: SimulatedLoop, draw: random.Random) -> None:
        self._store, self._loop, self._draw = store, loop, draw
        self._turn = asyncio.Lock()
        self.tables = FlywheelTables(write=self._write_tables, read=store.flywheel.read)
        """Those of the flywheel, in the same file."""

    async def _write_tables(self, work):
        async with self._turn:
            await self._loop.outside(self._store.flywheel.write(work), put=True)

    async def settle(self, settlement):
        """After a while, the way any disk does."""
        await asyncio.sleep(self._draw.choice([0.0, 0.001, 0.05]))
        async with self._turn:
            await self._loop.outside(self._store.settle(settlement), put=True)

    async def record(self, settlement, entry, audit):
        """The same, with the entry of the audit log; who leaves hears of that once it is done, as in the real one."""
        await to_the_end(self._record(settlement, entry, audit))

    async def _record(self, settlement, entry, audit):
        await asyncio.sleep(self._draw.choice([0.0, 0.001, 0.05]))
        async with self._turn:
            await self._loop.outside(self._store.record(settlement, entry, audit), put=True)

    async def summary(self):
        """Its writer adds up first."""
        async with self._turn:
            return await self._loop.outside(self._store.summary(), put=True)

    async def erase(self, session, tenant, turn=""):
        """The same; it waits for readers."""
        async with self._turn:
            return await self._loop.outside(self._store.erase(session, tenant, turn), once=False)

    async def erase_all(self, scope):
        """The same."""
        async with self._turn:
            return await self._loop.outside(self._store.erase_all(scope), once=False)

    async def close(self) -> None:
        """When nothing is being written."""
        async with self._turn:
            await self._store.close()

    def __getattr__(self, name: str) -> object:
        """Whatever only reads."""
        return getattr(self._store, name)


class LogInTurn(AuditLog):
    """An audit log whose writer, a thread of its own, writes one entry at a time while everything else stands."""

    def __init__(self, path: Path, loop: SimulatedLoop, **more: Any) -> None:
        super().__init__(path, **more)
        self._loop, self._in_turn = loop, asyncio.Lock()
        self._writings: set[asyncio.Task[None]] = set()

    async def written(self) -> None:
        """Wait for what was given and is not written yet, and for what brings it to the disk."""
        while tasks := {*self._writings, *filter(None, (self._syncing, self._vouching))}:
            await asyncio.wait(tasks)
            if tasks == {self._vouching}:
                return

    async def append(self, event, *, sync=False):
        """After a while, the way any disk does; who leaves does not take the entry back."""
        writing = asyncio.ensure_future(self._written(event, sync=sync))
        self._writings.add(writing)
        writing.add_done_callback(self._writings.discard)
        await asyncio.shield(writing)

    async def _written(self, event, *, sync):
        await asyncio.sleep(self._loop.delay())
        async with self._in_turn:
            await self._loop.outside(super().append(event, sync=sync), put=True)
