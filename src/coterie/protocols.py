"""The interfaces of Coterie: what an implementation must do, when it is called and by whom.

Methods that do work take `call`, a `CallContext` that says on whose behalf. Pass it on to everything that you call.
`coterie.testing` has contract checks: run them on your own implementation.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from coterie.types import (
    AnsweredCall,
    AuditEvent,
    CallContext,
    CapturedExample,
    ComparedAnswer,
    ComparedConfidence,
    ComparedStream,
    Context,
    ContextView,
    Deciding,
    Delta,
    Document,
    DocumentAnswer,
    Feedback,
    Finding,
    Flow,
    FlywheelRecord,
    Function,
    FunctionCall,
    FunctionResult,
    GivenLabel,
    Grouping,
    JobVolume,
    Label,
    Ledger,
    LedgerSummary,
    Opinion,
    Output,
    Passage,
    Principal,
    Prompt,
    Pseudonyms,
    Question,
    Request,
    RequestFilter,
    RequestPage,
    Route,
    SessionPage,
    SessionSummary,
    Settlement,
    SpecialistCard,
    Step,
    Task,
    Totals,
    TotalsPart,
    Trace,
    Training,
    Usage,
    Verdict,
)

if TYPE_CHECKING:
    import numpy as np


@runtime_checkable
class Engine(Protocol):
    """Runs weights. Called by specialists, routers and indexes; it knows none of them.

    A native call must not block the event loop. Each output has a `Usage` with tokens, milliseconds and CPU-seconds;
    the `Meter` adds joules and money.

    An engine in this process may ignore `call`; one that wraps other engines passes it on. `call` has no default here,
    so that no caller forgets it; an implementation may give it one.
    """

    name: str
    """Stable name in the ledger: `linear`, `onnx`, or the `[models]` key of a generative engine."""
    clearance: Label
    """The most sensitive label that the engine may see in clear; engines in this process have `restricted`."""

    async def run(self, batch: Sequence[Prompt], *, call: CallContext) -> Sequence[Output]:
        """Return one output a prompt, in order. Raises `EngineError`, never an exception of a library."""
        ...

    async def close(self) -> None:
        """Release resources. Called once at shutdown; a second call does nothing."""
        ...


@runtime_checkable
class StreamingEngine(Engine, Protocol):
    """An engine that returns text while it is generated."""

    def stream(self, prompt: Prompt, *, call: CallContext) -> AsyncIterator[Delta | Output]:
        """Yield deltas, then exactly one `Output` with the whole text.

        If the iterator is closed early, the generation stops within a token.
        """
        ...


@runtime_checkable
class Specialist(Protocol):
    """A narrow model with one task. Called by the network in the stage `consult`."""

    @property
    def card(self) -> SpecialistCard:
        """The description for router and network; may be a plain attribute."""
        ...

    async def consult(self, task: Task, view: ContextView, *, call: CallContext) -> Finding:
        """Answer the task or abstain.

        An abstention is a finding that is not accepted, not an exception. The finding's label is at least the label of
        the task and of every entry of the view that was used.
        """
        ...


@runtime_checkable
class SpeakingSpecialist(Specialist, Protocol):
    """A specialist that streams its answer. Called in place of `consult` when the caller streams."""

    def speak(self, task: Task, view: ContextView, *, call: CallContext) -> AsyncIterator[Delta | Finding]:
        """Yield deltas, then exactly one `Finding`.

        A delta is final: it is shown at once and cannot be withdrawn. All deltas together are the text of the accepted
        finding. An abstention has no deltas.
        """
        ...


@runtime_checkable
class WarmsUp(Protocol):
    """A specialist whose model can be loaded before the first request. Called once, when a server starts."""

    async def warm(self, *, slots: int) -> None:
        """Let the model read the common beginning of its prompts, in each slot of its engine."""
        ...


@runtime_checkable
class OwnsEngines(Protocol):
    """A specialist with engines that are part of its version. The network closes them at shutdown."""

    @property
    def engines(self) -> Sequence[Engine]:
        """Engines that only this specialist uses."""
        ...


@runtime_checkable
class Generalist(Specialist, Protocol):
    """A large model above the specialists. Called by the network for unanswered parts, and to compose."""

    @property
    def composes(self) -> bool:
        """Whether it composes one text of several findings (`[generalist] synthesise`)."""
        ...

    def begin(self) -> Generalist:
        """Return the generalist for one request, with the deadline and limits of that request."""
        ...

    async def compose(self, task: Task, findings: Sequence[Finding], *, call: CallContext) -> Finding:
        """Return one text made of several findings, or an abstention with the reason."""
        ...


Consult = Callable[["Specialist", Task], Awaitable[Finding]]
"""A function that consults a specialist as the pipeline does: errors become abstentions, and usage is priced."""


class QuestionAnswerer(Protocol):
    """Answers the typed questions of one call. Called by the stage `decide` of `Pipeline.decide`."""

    def check(self, questions: Sequence[Question]) -> None:
        """Refuse questions that cannot be asked, before the request is admitted. Raises `InputError`."""

    async def decide(
        self,
        state: Task,
        questions: Sequence[Question],
        *,
        only: Sequence[str] = (),
        pinned: str | None = None,
        consult: Consult,
        call: CallContext,
    ) -> Deciding:
        """Answer all questions about a state, in their order.

        Args:
            state: Text and columns of the state; it is encoded once.
            questions: Checked questions; equal ones are answered once.
            only: Names of all specialists and models that may be asked; empty for no limit.
            pinned: The one specialist that may answer.
            consult: Asks a specialist.
            call: On whose behalf.
        """


@runtime_checkable
class DocumentAnswerer(Protocol):
    """Answers a question about a document that came with the request. Called in place of the specialists."""

    @property
    def name(self) -> str:
        """Name by which a key may be permitted to use it."""
        ...

    async def answer(
        self, task: Task, document: Document, *, large: Specialist | None, call: CallContext
    ) -> DocumentAnswer:
        """Return the answer and the findings of the reader. `large`, if given, plans and concludes from quotes only."""
        ...


@runtime_checkable
class AcceptancePolicy(Protocol):
    """The cost-quality policy. Called at the admission of a request and before each specialist is consulted."""

    def aim_of(self, request: Request) -> object:
        """Return the quality or budget that applies to a request, or None. Raises `InputError` if it is not valid."""
        ...

    def set_for(self, task: Task, specialist: str, request: Request) -> Task:
        """Return the task for a specialist, with an acceptance override if the policy has one."""
        ...


@runtime_checkable
class PseudonymSessions(Protocol):
    """Keeps the pseudonyms of sessions. Called at the admission of a request."""

    def of(self, tenant: str, session: str | None, *, begun: bool = True) -> Pseudonyms:
        """Return the pseudonyms of a tenant's session. Without a session, or if it has not `begun`, return new ones."""
        ...


class Attendance(Protocol):
    """The measurement of one request's overhead."""

    def step(self) -> Step:
        """Return the overhead so far as a step of the ledger."""
        ...


@runtime_checkable
class Overhead(Protocol):
    """Measures CPU time and energy outside the steps of engines. Called once a request."""

    def attend(self) -> AbstractContextManager[Attendance]:
        """Return a context manager within which a request is processed."""
        ...


@runtime_checkable
class Router(Protocol):
    """Names the specialists to ask. Called once a request, unless the request names its specialist."""

    async def route(self, request: Request, context: Context, *, call: CallContext) -> Route:
        """Return a route with a reason. A route without parts means that no specialist fits."""
        ...


@runtime_checkable
class FunctionServer(Protocol):
    """Functions that the network calls itself, such as the tools of an MCP server, behind the egress gate.

    Called by a `generate` specialist whose section names it.
    """

    @property
    def name(self) -> str:
        """Stable name in the ledger: `mcp:` and the `[mcp]` key."""
        ...

    async def functions(self) -> Sequence[Function]:
        """Return the functions that may be called; one whose parameters cannot be read is left out."""
        ...

    async def call(
        self, about: FunctionCall, *, label: Label, label_without_pii: Label | None, call: CallContext
    ) -> FunctionResult:
        """Return the result of a call whose arguments have this label.

        Raises:
            EgressRefused: the arguments may not leave; nothing was sent.
            AuditError: the call could not be written down; nothing was sent.
            BudgetExceeded: a budget has too little left.
            EngineError: the server cannot be asked, or the call failed.
        """
        ...


@runtime_checkable
class Retriever(Protocol):
    """Searches one index of documents. Called by the network in the stage `gather`."""

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
        """Return at most `k` passages, best first; of one `document` only, if it is named.

        Passages above `clearance` or of another tenant are excluded before ranking: they change no result, no score, no
        count and no order. `vector` (D,) is the encoding of the query, if the caller has it. The usage of the search is
        added to the bill of `call`. Errors are raised as a `CoterieError`: the network then goes on without this index,
        or abstains.
        """
        ...

    async def close(self) -> None:
        """Release resources. Called once at shutdown; a second call does nothing."""
        ...


@runtime_checkable
class Policy(Protocol):
    """Decides whether data may go to a destination. Called by the egress gate before anything is sent."""

    def judge(self, flow: Flow) -> Verdict:
        """Return whether the flow is allowed, with rule and reason. The same flow gives the same verdict."""
        ...


@runtime_checkable
class Meter(Protocol):
    """Adds joules and money to a step. Called once for each step."""

    def price(self, step: Step) -> Step:
        """Return the step with `joules`, `joules_kind` and `cost`; an unknown price gives the cost None."""
        ...

    def counterfactual(
        self, request: Request, answered: str, steps: Sequence[Step] = (), *, named: str = ""
    ) -> Decimal | None:
        """Return the least cost of a model alone for this exchange; None if it is not known.

        The model is the entry of `[models]` that the caller `named`, else the configured generalist. `steps` are the
        steps of the request. If the model is among them, its tokens are known.
        """
        ...


@runtime_checkable
class Store(Protocol):
    """Stores ledger, traces and sessions. Called by the network and by commands such as `coterie report`."""

    async def settle(self, settlement: Settlement) -> None:
        """Write a settlement in one transaction. After the return, a killed process loses none of it."""
        ...

    async def record(self, settlement: Settlement, entry: AuditEvent, audit: Audit) -> None:
        """Write a settlement as `settle` does, and its entry in the audit log. Called by the network for each request.

        If one of them cannot be written, the other one still is, and the error is raised. Writing is finished even if
        the caller is cancelled meanwhile: the cancellation is raised afterwards. A store that writes in a thread may
        write both there, by `Audit.append_soon`, for one wait in place of two.
        """
        ...

    async def context(self, session: str, tenant: str, *, whole: bool = False) -> Context:
        """Return the context of a session; empty if it is unknown, expired or another tenant's.

        A store may return only the newest entries of a long session, unless `whole` is set.
        """
        ...

    async def sessions(self, tenant: str) -> Sequence[SessionSummary]:
        """Return the tenant's sessions that have not expired, the most recently used first."""
        ...

    async def erase(self, session: str, tenant: str, turn: str = "") -> bool:
        """Erase a session: its entries, its name and the content of its traces; with a turn, what that request wrote.

        After the return no file of the store holds any of them. Figures of the ledger stay. Returns False if there
        is no such session and no request of it.
        """
        ...

    async def trace(self, trace_id: str, tenant: str) -> Trace | None:
        """Return a settled trace; None if it is unknown or another tenant's."""
        ...

    async def feedback(self, feedback: Feedback) -> bool:
        """Store feedback in place of earlier feedback of the same caller.

        Returns False if the trace is unknown or another tenant's. Raises `InputError` if the feedback is about a
        specialist that has no finding in the trace.
        """
        ...

    async def summary(self, *, since: float = 0.0) -> LedgerSummary:
        """Return totals of the requests admitted at or after `since`, in seconds since the epoch."""
        ...

    async def ledger(self, *, since: float = 0.0, by: Grouping = "day") -> Ledger:
        """Return the totals by a key, unknown costs counted separately, and all trainings."""
        ...

    async def record_training(self, training: Training) -> None:
        """Record the time, energy and cost of a training."""
        ...

    async def close(self) -> None:
        """Finish queued writes and close the files."""
        ...


@runtime_checkable
class ReadModels(Protocol):
    """Optional methods of a store for pages: reading a page costs the same however many requests there are.

    Called by the console. The totals of a store with few requests equal those of `Store.ledger`; latencies may be
    1% off.
    """

    async def totals(
        self,
        *,
        since: float,
        until: float = ...,
        tenant: str | None = None,
        hours: bool = False,
        parts: Collection[TotalsPart] = ...,
        name: str | None = None,
    ) -> Totals:
        """Return totals of whole hours or days, of a tenant or of all, with some parts; with `name`, of it alone."""
        ...

    async def request_page(self, wanted: RequestFilter) -> RequestPage:
        """Return the next page of a tenant's requests, the newest first."""
        ...

    async def session_page(
        self, tenant: str, *, after: tuple[float, str] | None = None, limit: int = 50
    ) -> SessionPage:
        """Return the next page of a tenant's sessions, the most recently used first."""
        ...

    async def said(self, trace_id: str, tenant: str) -> tuple[Feedback, ...]:
        """Return the feedback on an answer, oldest first; empty if the trace is another tenant's."""
        ...

    async def opinions(self, specialist: str, tenant: str, *, since: float) -> Sequence[Opinion]:
        """Return the opinions, from a time on, on whether a specialist's answers were right, oldest first."""
        ...

    async def corrections(self, specialist: str, tenant: str) -> list[tuple[Trace, Feedback]]:
        """Return the feedback that gives a right value, newest for each request, with the traces, oldest first."""
        ...


class Flywheel(Protocol):
    """Captures calls, and answers those that a deployment may answer. Called by the relay and for typed questions.

    The result of `enter` is opaque to the caller and passed back to the flywheel. Only `answer` takes time, and
    no method raises an error of the flywheel's own: the call then goes its normal way.
    """

    def enter(
        self,
        *,
        trace_id: str,
        time: float,
        path: str,
        content: Mapping[str, Any],
        model: str,
        principal: Principal,
        label: Label,
    ) -> Any:  # noqa: ANN401 - the flywheel's own
        """Inspect a relayed request before any call; return None if there is nothing to do with it."""
        ...

    def enter_site(
        self,
        *,
        trace_id: str,
        site: str,
        name: str,
        text: str,
        options: Sequence[str],
        principal: Principal,
        label: Label,
    ) -> Any:  # noqa: ANN401 - the flywheel's own
        """Inspect a typed question that no specialist was trained for by hand."""
        ...

    async def answer(self, entered: Any, *, call: CallContext) -> Finding | None:  # noqa: ANN401
        """Return the accepted finding of the deployment chosen for the caller; None asks the model."""
        ...

    def leave(
        self,
        entered: Any,  # noqa: ANN401
        answer: bytes | str,
        *,
        model: str = "",
        cost: float | None = None,
        milliseconds: float = 0.0,
        failed: bool = False,
    ) -> None:
        """Take a finished call: `model` answered it, or the deployment."""
        ...

    async def close(self) -> None:
        """Write waiting examples, and stop."""
        ...


@runtime_checkable
class FlywheelStore(Protocol):
    """Stores captured examples, comparisons of answers, labels, and records of jobs and deployments.

    Several processes may use one at once. `coterie.testing.check_flywheel_store` checks the contract. Positions
    in time order are a time and an id; the item at the position itself is not returned again.
    """

    async def add_examples(
        self, examples: Sequence[CapturedExample], comparisons: Sequence[ComparedAnswer] = ()
    ) -> None:
        """Add examples and the comparisons about them; an existing one stays as it is."""
        ...

    async def examples(
        self, *, job: str | None = None, after: tuple[float, str] = (-1.0, ""), limit: int = 10_000
    ) -> Sequence[CapturedExample]:
        """Return the next examples after a position, oldest first; of one job, "" for those without a job."""
        ...

    async def newest(
        self, *, job: str | None = None, limit: int = 10_000, texts: bool = True
    ) -> Sequence[CapturedExample]:
        """Return the newest examples, oldest first; without texts, prompt and input are empty."""
        ...

    async def examples_of(self, ids: Sequence[str]) -> Mapping[str, CapturedExample]:
        """Return the existing examples among these ids."""
        ...

    async def assign(self, homes: Sequence[tuple[str, str, int, str]]) -> None:
        """Assign examples, by id, to a job and wording, with their input."""
        ...

    async def volumes(self) -> Sequence[JobVolume]:
        """Return the number of calls of each job, the largest first; "" is for calls without one, a row a caller."""
        ...

    async def drop_examples(self, *, before: float) -> int:
        """Delete older examples, with all records about them; return their number."""
        ...

    async def comparisons(
        self, deployment: str, *, after: tuple[float, str] = (-1.0, ""), limit: int = 100_000
    ) -> Sequence[ComparedAnswer]:
        """Return the next comparisons of a deployment after a position, oldest first."""
        ...

    async def stream(self, deployment: str) -> ComparedStream:
        """Return what a gate needs of a deployment's comparisons: counts, and where the answers differ."""
        ...

    async def confidences(self, deployment: str, *, since: float) -> Sequence[ComparedConfidence]:
        """Return a deployment's confidences in its answers to calls from a time on, except for failed calls."""
        ...

    async def answered(self, job: str, *, limit: int) -> Sequence[AnsweredCall]:
        """Return the newest calls of a job, oldest first, with the fields that a sample is drawn by."""
        ...

    async def differences(self, deployment: str, *, limit: int = 500) -> Sequence[ComparedAnswer]:
        """Return accepted answers of a deployment that differ and that nobody labelled, oldest first."""
        ...

    async def unsure(self, deployment: str, *, limit: int = 100) -> Sequence[ComparedAnswer]:
        """Return accepted answers that do not differ and that nobody labelled, the least confident first."""
        ...

    async def coverage(self, deployment: str) -> tuple[int, int]:
        """Return how many calls were compared, and how many of them the deployment would have answered."""
        ...

    async def put_label(self, label: GivenLabel) -> bool:
        """Store a label in place of the same person's earlier one; return False if the example is gone."""
        ...

    async def drop_label(self, label: GivenLabel) -> bool:
        """Withdraw a label; return False if it does not exist."""
        ...

    async def labels(
        self, *, job: str | None = None, since: float = 0.0, feedback: bool = True
    ) -> Sequence[GivenLabel]:
        """Return people's labels of examples, and callers' feedback if requested; each oldest first."""
        ...

    async def given(self, *, since: float) -> int:
        """Return the number of labels that people gave from a time on."""
        ...

    async def complaints(self, *, since: float = 0.0) -> Mapping[str, int]:
        """Return how many answers of each policy their callers called wrong."""
        ...

    async def note_training(self, specialist: str, version: str, examples: Sequence[str]) -> None:
        """Record whose examples a version saw, so that an erasure can name the versions."""
        ...

    async def put(self, *records: FlywheelRecord) -> None:
        """Write records in one transaction, each with the revision that was read; 0 for a new one.

        Raises `FlywheelChanged`, and writes none, if one of them has another revision by now.
        """
        ...

    async def records(
        self, kind: str, *, job: str | None = None, since: float | None = None
    ) -> Sequence[FlywheelRecord]:
        """Return the records of a kind, oldest first; of one job, or from a time on."""
        ...

    async def record(self, kind: str, key: str) -> FlywheelRecord | None:
        """Return one record; None if there is none."""
        ...

    async def revision(self) -> int:
        """Return a number that grows whenever a record is written: cheap, polled each second."""
        ...


@runtime_checkable
class Audit(Protocol):
    """The audit log. Called by the network for each request, and by commands that change the network."""

    async def append(self, event: AuditEvent, *, sync: bool = False) -> None:
        """Write one entry. After the return, a killed process does not lose it. Raises `AuditError`.

        With `sync`, a power cut does not lose it either: the egress gate uses it before anything leaves.
        """
        ...

    def append_soon(self, events: Sequence[AuditEvent]) -> None:
        """Write entries, blocking, as `append` does. Called in the thread of a store. Raises `AuditError`."""
        ...

    def sync_soon(self) -> None:
        """Sync entries written by `append_soon` to the disk in time. Called in the event loop after the writing."""
        ...

    def digest(self, text: str) -> str:
        """Return a keyed hash of a content: equal for equal content, and useless for guessing it."""
        ...

    async def close(self) -> None:
        """Finish queued writes. A second call does nothing."""
        ...


@runtime_checkable
class Limits(Protocol):
    """The budgets of requests and energy. Called by the network at the admission and at the end of each request."""

    async def admit(self, principal: Principal, *, earns: bool = True) -> Sequence[int]:
        """Count one request and reserve its energy. Returns the ids of the reservations, for `settle`.

        `earns` is False for requests that ask no model, such as embeddings: they add nothing to the token bucket of
        `[policy] budget`. Raises `BudgetExceeded`, and counts nothing, if not enough is left.
        """
        ...

    async def settle(self, reserved: Sequence[int], usage: Usage | None) -> None:
        """Replace the reservations by the usage; None if it is not known. Called once, however the request ended."""
        ...

    async def close(self) -> None:
        """Release resources. A second call does nothing."""
        ...


class TurnModel(Protocol):
    """Distinguishes follow-ups from self-contained questions, and small talk from both. Called before routing."""

    @property
    def languages(self) -> frozenset[str]:
        """Languages whose follow-ups it knows; turns in other languages stay as they are."""
        ...

    @property
    def talk_languages(self) -> frozenset[str]:
        """Languages whose small talk it knows."""
        ...

    @property
    def least_leaning(self) -> float:
        """Probability from which a turn depends on an earlier one."""
        ...

    def leans(self, text: str, before: Sequence[str]) -> float:
        """Return the probability that a turn depends on the questions before it, oldest first. Blocks."""
        ...

    def talk(self, vectors: np.ndarray) -> np.ndarray:
        """Return log-odds that texts are greetings, thanks or chat, above 0 if likely: vectors (N, D) -> (N,)."""
        ...

    def missing(self, text: str, question: str) -> tuple[Sequence[str], Sequence[float]]:
        """Return the words of an earlier question, with the log-odds that a dependent turn lacks them. Blocks."""
        ...

    def substituted(self, text: str, now: Output, question: str, output: Output) -> str | None:
        """Return an earlier question with a dependent turn's phrase in place of a parallel one; None without one.

        `now` and `output` are the encoder's outputs for both, with their tokens' states. Blocks.
        """
        ...
