"""The seams of Coterie: what an implementation must do, when it is called and by whom.

Each protocol has a contract test in `coterie.testing`: run it on your own implementation.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager
from decimal import Decimal
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from coterie.types import (
    AuditEvent,
    CallContext,
    Context,
    ContextView,
    Delta,
    Document,
    DocumentAnswer,
    Feedback,
    Finding,
    Flow,
    Grouping,
    Label,
    Ledger,
    LedgerSummary,
    Output,
    Passage,
    Principal,
    Prompt,
    Pseudonyms,
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
    Verdict,
)

if TYPE_CHECKING:
    import numpy as np


@runtime_checkable
class Engine(Protocol):
    """What runs weights. Specialists and routers call it; it knows neither.

    `call` says on whose behalf. An engine in this process may leave it alone; one that other engines stand behind
    passes it on. It has no default here, so that nobody forgets to say it; an implementation may give it one.

    A native call never blocks the event loop. Each output carries a `Usage` with tokens, milliseconds
    and CPU-seconds; joules and money are added by the `Meter`.
    """

    name: str
    """Stable name in the ledger, such as `linear`, `onnx` or the `[models]` key of a generative engine."""
    clearance: Label
    """The most sensitive label it may see in clear; engines in this process have `restricted`."""

    async def run(self, batch: Sequence[Prompt], *, call: CallContext) -> Sequence[Output]:
        """One output a prompt, in order. Raises an `EngineError`, never a library's own exception."""
        ...

    async def close(self) -> None:
        """Free what it holds. Called once at shutdown; a second call does nothing."""
        ...


@runtime_checkable
class StreamingEngine(Engine, Protocol):
    """An engine that gives text as it is made."""

    def stream(self, prompt: Prompt, *, call: CallContext) -> AsyncIterator[Delta | Output]:
        """Yields deltas, then exactly one `Output` with the whole text.

        Closing the iterator early stops the generation within a token.
        """
        ...


@runtime_checkable
class Specialist(Protocol):
    """A narrow model with one task. The network calls it in the consult stage."""

    @property
    def card(self) -> SpecialistCard:
        """What the rest of the network knows of it; a plain attribute will do."""
        ...

    async def consult(self, task: Task, view: ContextView, *, call: CallContext) -> Finding:
        """Answer or abstain. Doubt is a finding that is not accepted, not an exception.

        `call` is passed on to every engine that is asked.
        The finding's label is at least the task's label and that of every entry it used.
        """
        ...


@runtime_checkable
class SpeakingSpecialist(Specialist, Protocol):
    """A specialist whose answer can be shown while it is being made."""

    def speak(self, task: Task, view: ContextView, *, call: CallContext) -> AsyncIterator[Delta | Finding]:
        """Yields deltas, then exactly one `Finding`.

        A delta is final: only text that stands whatever comes after it may be yielded. The deltas
        together are the accepted finding's text; a finding that abstains yields none before it.
        """
        ...


@runtime_checkable
class WarmsUp(Protocol):
    """A specialist whose model is loaded before it is first asked. Called once, when a server starts."""

    async def warm(self, *, slots: int) -> None:
        """Let the model read what all prompts begin with, in each of its engine's slots."""
        ...


@runtime_checkable
class OwnsEngines(Protocol):
    """A specialist with engines that came with its version. The network closes them at shutdown."""

    @property
    def engines(self) -> Sequence[Engine]:
        """Engines that belong to it alone."""
        ...


@runtime_checkable
class Generalist(Specialist, Protocol):
    """A large model above the specialists that can do more than answer a task. The network asks it last."""

    @property
    def composes(self) -> bool:
        """Whether it is to make one text of several findings."""
        ...

    def begin(self) -> Generalist:
        """One request's use of it, with the time and the limits of one request."""
        ...

    async def compose(self, task: Task, findings: Sequence[Finding], *, call: CallContext) -> Finding:
        """One text of several findings, or an abstention with the reason."""
        ...


@runtime_checkable
class DocumentAnswerer(Protocol):
    """Answers a question about a long document that came with the request. Called in place of the specialists."""

    @property
    def name(self) -> str:
        """By which a key may be allowed to have documents read."""
        ...

    async def answer(
        self, task: Task, document: Document, *, large: Specialist | None, call: CallContext
    ) -> DocumentAnswer:
        """The answer with what was read for it. `large` may plan and conclude, if there is one; it sees quotes only."""
        ...


@runtime_checkable
class AcceptancePolicy(Protocol):
    """The network's policy between quality and cost. Called when a request is admitted, and for each consultation."""

    def aim_of(self, request: Request) -> object:
        """What the request aims at, None for nothing. Raises `InputError` where that cannot be."""
        ...

    def set_for(self, task: Task, specialist: str, request: Request) -> Task:
        """The task as a specialist gets it, with the confidence from which its answer is kept where the policy says."""
        ...


@runtime_checkable
class PseudonymSessions(Protocol):
    """Keeps what stands for what in which session. Called when a request is admitted."""

    def of(self, tenant: str, session: str | None, *, begun: bool = True) -> Pseudonyms:
        """Those of a tenant's session, some of their own without one; a session that has not begun starts afresh."""
        ...


class Attendance(Protocol):
    """One request's part in what the network does beside the steps."""

    def step(self) -> Step:
        """What it took so far, as a step of the ledger."""
        ...


@runtime_checkable
class Overhead(Protocol):
    """Counts what answering takes beside the steps of the findings. Called once a request."""

    def attend(self) -> AbstractContextManager[Attendance]:
        """A request is at work inside."""
        ...


@runtime_checkable
class Router(Protocol):
    """Reads a request and names the specialists to ask. Called once a request, unless one is pinned."""

    async def route(self, request: Request, context: Context, *, call: CallContext) -> Route:
        """A route with a reason; one without parts means that no specialist fits."""
        ...


@runtime_checkable
class Retriever(Protocol):
    """Finds passages of one shelf of documents. Called in the gather stage."""

    async def search(
        self,
        query: str,
        *,
        k: int,
        clearance: Label,
        tenant: str = "default",
        vector: np.ndarray | None = None,
        document: str | None = None,
        call: CallContext,
    ) -> Sequence[Passage]:
        """At most `k` passages, best first; of one `document` only, where it is named.

        What is above `clearance` or another tenant's is left out before ranking: it changes no passage, no score, no
        count and no order of what is found. `vector` (D,) is the query's encoding, where the caller has it already.
        What searching takes is put on the bill of `call`.
        What it cannot do it raises as an error of Coterie: the network goes on with other shelves, or abstains.
        """
        ...

    async def close(self) -> None:
        """Free what it holds. Called once at shutdown; a second call does nothing."""
        ...


@runtime_checkable
class Policy(Protocol):
    """Decides whether data may go somewhere. Called by the egress gate before anything is sent."""

    def judge(self, flow: Flow) -> Verdict:
        """Allowed or not, with the rule and the reason. Pure: the same flow gives the same verdict."""
        ...


@runtime_checkable
class Meter(Protocol):
    """Puts joules and money on a step. Called for each step as it comes in."""

    def price(self, step: Step) -> Step:
        """The step with `joules`, `joules_kind` and `cost` filled; an unknown price gives a None cost."""
        ...

    def counterfactual(self, request: Request, answered: str, steps: Sequence[Step] = ()) -> Decimal | None:
        """What the configured generalist would have cost for this exchange, at least; None when unknown.

        `steps` is all that was done for it: where the generalist was asked, its tokens are known.
        """
        ...


@runtime_checkable
class Store(Protocol):
    """Keeps ledger, traces and sessions. Called by the network and by `coterie report`."""

    async def settle(self, settlement: Settlement) -> None:
        """Write all of it in one transaction; on return a killed process has lost nothing of it."""
        ...

    async def context(self, session: str, tenant: str, *, whole: bool = False) -> Context:
        """The session's context, empty if it is unknown, expired or another tenant's.

        Of a long one a store may give the newest entries alone, unless the `whole` is asked for.
        """
        ...

    async def sessions(self, tenant: str) -> Sequence[SessionSummary]:
        """The tenant's sessions that have not expired, the one used last first."""
        ...

    async def erase(self, session: str, tenant: str) -> bool:
        """Forget a session: its entries, its name, and the content of its traces, whatever else is kept.

        On return nothing of them is in any file of the store. Figures of the ledger stay. False if there was no such
        session and no request of it.
        """
        ...

    async def trace(self, trace_id: str, tenant: str) -> Trace | None:
        """A settled trace, or None if it is unknown or another tenant's."""
        ...

    async def feedback(self, feedback: Feedback) -> bool:
        """Keep it, in place of what the same asker said before; False if the trace is unknown or another tenant's.

        Raises `InputError` where it is about a specialist that found nothing for that request.
        """
        ...

    async def summary(self, *, since: float = 0.0) -> LedgerSummary:
        """Totals over requests admitted at or after `since`, seconds since the epoch."""
        ...

    async def ledger(self, *, since: float = 0.0, by: Grouping = "day") -> Ledger:
        """The same added up by day, tenant, specialist or model, what is unknown counted apart; and all trainings."""
        ...

    async def record_training(self, training: Training) -> None:
        """Write down what a training took."""
        ...

    async def close(self) -> None:
        """Finish what is queued and free the files."""
        ...


@runtime_checkable
class Audit(Protocol):
    """Writes down what was done and decided. Called by the network for each request, and by commands that change it."""

    async def append(self, event: AuditEvent) -> None:
        """Write one entry; on return a killed process has lost nothing of it. Raises `AuditError`."""
        ...

    def digest(self, text: str) -> str:
        """A hash that stands for some content: equal for equal content, and no help in guessing it."""
        ...

    async def close(self) -> None:
        """Finish what is queued. A second call does nothing."""
        ...


@runtime_checkable
class Limits(Protocol):
    """Counts what may be asked. Called by the network for each request before anything is done for it."""

    async def admit(self, principal: Principal, *, earns: bool = True) -> Sequence[int]:
        """Count one request, and reserve what it may take; numbers for `settle`, none if nothing was reserved.

        `earns` is False for one that asks no model, such as for embeddings: it brings no share of a cascade's budget.
        Raises `BudgetExceeded`, and counts nothing, if not enough is left.
        """
        ...

    async def settle(self, reserved: Sequence[int], usage: Usage | None) -> None:
        """Called once, when the request has ended however it did, with what it took; None where that is not known."""
        ...

    async def close(self) -> None:
        """Free what it holds. A second call does nothing."""
        ...
