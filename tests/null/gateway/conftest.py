"""A network of small fakes behind a gateway, asked in process; a caller driven by hand where HTTP matters."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

import httpx
import numpy as np
import pytest

from coterie.config.file import GatewaySection
from coterie.gateway.app import create_app
from coterie.network.network import Network
from coterie.protocols import Audit
from coterie.testing import make_finding
from coterie.types import (
    AuditEvent,
    Context,
    ContextView,
    Delta,
    Evidence,
    Fact,
    Feedback,
    Finding,
    Label,
    Ledger,
    LedgerSummary,
    Output,
    Part,
    Prompt,
    Request,
    Route,
    SessionSummary,
    Settlement,
    SpecialistCard,
    Step,
    Task,
    Trace,
    Training,
    Usage,
    worded,
)
from tests._support.audit import Notes

WORDS = ("Your ", "card ", "is ", "blocked.")


_TRIAGE = SpecialistCard(
    name="triage",
    task="classify",
    form="label",
    description="Names the intent.",
    rung="lexical",
    version="0" * 16,
    writes=("intent",),
)
_REPLY = SpecialistCard(name="reply", task="generate", description="Drafts the reply.", rung="slm", version="1" * 16)


@dataclass
class _Triage:
    """Says `card_lost`; does what `trouble` does first."""

    trouble: Callable[[Task], object] = lambda task: None
    asked: list[Task] = field(default_factory=list)
    card: SpecialistCard = _TRIAGE

    async def consult(self, task: Task, view: ContextView, *, call=None) -> Finding:
        self.asked.append(task)
        trouble = self.trouble(task)
        if asyncio.iscoroutine(trouble):
            await trouble
        usage = Usage(tokens_in=5, milliseconds=1.0, cpu_seconds=0.001)
        return make_finding(
            "card_lost",
            confidence=0.97,
            reason=worded("0.97 is at least the threshold 0.60"),
            label=task.label,
            evidence=(Evidence(kind="alternative", name="card_stolen", text="card_stolen", weight=0.02),),
            facts=(Fact(name="intent", value="card_lost", confidence=0.97),),
            steps=(Step(producer="triage", engine="linear", usage=usage),),
        )


@dataclass
class _Reply:
    """Says `WORDS`, each after `pause`; counts how often it was cut off."""

    pause: Callable[[int], object] = lambda index: None
    cut: int = 0
    card: SpecialistCard = _REPLY

    async def consult(self, task: Task, view: ContextView, *, call=None) -> Finding:
        return self._finding(task)

    async def speak(self, task: Task, view: ContextView, *, call=None) -> AsyncIterator[Delta | Finding]:
        try:
            for index, word in enumerate(WORDS):
                pause = self.pause(index)
                if asyncio.iscoroutine(pause):
                    await pause
                yield Delta(text=word)
        except (asyncio.CancelledError, GeneratorExit):
            self.cut += 1
            raise
        yield self._finding(task)

    def _finding(self, task: Task) -> Finding:
        usage = Usage(tokens_in=20, tokens_out=4, milliseconds=40.0, cpu_seconds=0.04)
        text = "".join(WORDS)
        return make_finding(
            text,
            specialist="reply",
            reason=worded("every sentence is in the help text"),
            label=task.label,
            steps=(Step(producer="reply", engine="smollm2", usage=usage),),
            cut=task.max_tokens == len(WORDS),
        )


@dataclass
class _Words:
    """A router by words: `weather` fits nobody, `write` goes to reply, the rest to triage."""

    async def route(self, request: Request, context: Context, *, call=None) -> Route:
        if "weather" in request.text:
            return Route(
                parts=(), reason=worded("no specialist scores above 0.5"), scores={"triage": 0.1, "reply": 0.2}
            )
        name = "reply" if "write" in request.text else "triage"
        part = Part(text=request.text, stages=((name,),), score=0.9)
        return Route(parts=(part,), reason=worded(f"{name} scores 0.9"), scores={name: 0.9})


@dataclass
class _Prices:
    """A cent and a joule a step."""

    def price(self, step: Step) -> Step:
        return replace(step, usage=replace(step.usage, joules=1.0, cost=Decimal("0.01")))

    def counterfactual(
        self, request: Request, answered: str, steps: tuple[Step, ...] = (), *, named: str = ""
    ) -> Decimal | None:
        return Decimal("0.25")


@dataclass
class _Memory:
    """A store that forgets with the test."""

    settled: dict[str, Settlement] = field(default_factory=dict)
    contexts: dict[tuple[str, str], Context] = field(default_factory=dict)
    feedbacks: list[Feedback] = field(default_factory=list)
    trouble: Callable[[], None] = lambda: None
    closed: bool = False

    async def settle(self, settlement: Settlement) -> None:
        self.trouble()
        trace = settlement.trace
        self.settled[trace.id] = settlement
        if trace.session is not None:
            context = self.contexts.get((trace.tenant, trace.session), Context())
            self.contexts[trace.tenant, trace.session] = context.append(*settlement.entries)

    async def record(self, settlement: Settlement, entry: AuditEvent, audit: Audit) -> None:
        """Both, also where one of them fails."""
        try:
            await self.settle(settlement)
        finally:
            await audit.append(entry)

    async def context(self, session: str, tenant: str, *, whole: bool = False) -> Context:
        return self.contexts.get((tenant, session), Context())

    async def trace(self, trace_id: str, tenant: str) -> Trace | None:
        settlement = self.settled.get(trace_id)
        return settlement.trace if settlement and settlement.trace.tenant == tenant else None

    async def feedback(self, feedback: Feedback) -> bool:
        if await self.trace(feedback.trace_id, feedback.tenant) is None:
            return False
        self.feedbacks.append(feedback)
        return True

    async def sessions(self, tenant: str) -> list[SessionSummary]:
        raise NotImplementedError

    async def erase(self, session: str, tenant: str, turn: str = "") -> bool:
        """One turn of a session."""
        context = self.contexts.get((tenant, session), Context())
        left = tuple(entry for entry in context.entries if entry.request != turn)
        self.contexts[tenant, session] = Context(entries=left)
        return left != context.entries

    async def summary(self, *, since: float = 0.0) -> LedgerSummary:
        raise NotImplementedError

    async def ledger(self, *, since: float = 0.0, by: str = "day") -> Ledger:
        raise NotImplementedError

    async def record_training(self, training: Training) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        self.closed = True


@dataclass
class _Letters:
    """An encoder of four dimensions: how often a, e, i and o come."""

    name: str = "letters"
    clearance: Label = Label.RESTRICTED
    batches: list[int] = field(default_factory=list)

    async def run(self, batch: Sequence[Prompt], *, call=None) -> Sequence[Output]:
        self.batches.append(len(batch))
        return [
            Output(
                vector=np.array([p.text.count(c) for c in "aeio"], dtype=np.float32),
                usage=Usage(tokens_in=len(p.text.split())),
            )
            for p in batch
        ]

    async def close(self) -> None:
        pass


@pytest.fixture
def notes() -> type[Notes]:
    """Makes an audit log in memory; with an error, one that cannot be written."""
    return Notes


@pytest.fixture
def network() -> Network:
    """Triage and reply, with a router by words before them."""
    ids = iter(f"{n:032x}" for n in range(1, 10_000))
    return Network(
        specialists={"triage": _Triage(), "reply": _Reply()},
        router=_Words(),
        store=_Memory(),
        meter=_Prices(),
        encoder=_Letters(),
        name="lender",
        clock=lambda: 1_700_000_000.5,
        new_id=lambda: next(ids),
    )


@pytest.fixture
def client(network: Network) -> Callable[..., httpx.AsyncClient]:
    """Makes a client of a gateway before the network; keyword arguments are its `[gateway]` section."""

    def make(**section: object) -> httpx.AsyncClient:
        app = create_app(network, GatewaySection(**section))
        transport = httpx.ASGITransport(app=app)
        http = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8321")
        http.app = app  # type: ignore[attr-defined]
        return http

    return make


def _chat(text: str, **more: object) -> dict[str, object]:
    """The body of a chat request."""
    return {"model": "coterie", "messages": [{"role": "user", "content": text}], **more}


def _events(body: str) -> list[dict[str, object]]:
    """The data of a stream's events, which must end with `[DONE]`."""
    lines = [line.removeprefix("data: ") for line in body.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


@dataclass
class Caller:
    """One HTTP request driven by hand through an ASGI app: it can stop reading, and leave."""

    app: object
    path: str
    body: bytes = b""
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)
    sent: list[dict[str, object]] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    reading: asyncio.Event = field(default_factory=asyncio.Event)
    got: asyncio.Event = field(default_factory=asyncio.Event)
    """Set whenever something was sent."""
    body_sent: bool = False

    async def run(self) -> None:
        """Send the request and take its response."""
        self.reading.set()
        headers = {"host": "127.0.0.1:8321", "content-length": str(len(self.body)), **self.headers}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": self.method,
            "scheme": "http",
            "path": self.path,
            "raw_path": self.path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(k.lower().encode(), v.encode()) for k, v in headers.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8321),
            "state": {},
        }
        await self.app(scope, self._receive, self._send)

    async def _receive(self) -> dict[str, object]:
        if not self.body_sent:
            self.body_sent = True
            return {"type": "http.request", "body": self.body, "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, object]) -> None:
        await self.reading.wait()
        self.sent.append(message)
        self.got.set()

    @property
    def status(self) -> int | None:
        """The response's status, None before it."""
        return self.sent[0]["status"] if self.sent else None

    @property
    def text(self) -> str:
        """The response's body so far."""
        return b"".join(m.get("body", b"") for m in self.sent).decode()


@pytest.fixture
def chat_body() -> Callable[..., dict[str, object]]:
    """Makes the body of a chat request."""
    return _chat


@pytest.fixture
def read_events() -> Callable[[str], list[dict[str, object]]]:
    """Reads the events of a stream."""
    return _events


@pytest.fixture
def call() -> Callable[..., Caller]:
    """Makes a caller driven by hand."""
    return Caller
