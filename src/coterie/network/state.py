"""The state of one request on its way through the pipeline."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from time import perf_counter
from typing import cast

from coterie.governance.injection import suspect
from coterie.network.admission import Admitted
from coterie.network.outcomes import Outcome, refused, rendered_findings, task_of
from coterie.protocols import Attendance, Generalist, Limits, Overhead, Specialist
from coterie.runtime.codec import replace
from coterie.structured.filling import Place, PropertySlot
from coterie.types import (
    CallContext,
    Context,
    ContextView,
    Decision,
    Finding,
    Part,
    Passage,
    Reason,
    Request,
    Route,
    Stage,
    Step,
    Task,
    Usage,
    Verdict,
    all_of,
)

_FEWEST_TO_COMPOSE = 2
"""Number of accepted findings below which there is nothing to combine."""


def _take(counts: Counter[Verdict], verdict: Verdict) -> bool:
    """Take one from a count; return whether there was one."""
    counts[verdict] -= 1
    return counts[verdict] >= 0


def generalist_for(generalist: Specialist | None, request: Request) -> Specialist | None:
    """Return the generalist for one request; None if there is none, or the principal may not ask it."""
    if generalist is None or (request.allowed and generalist.card.name not in request.allowed):
        return None
    return cast("Generalist", generalist).begin() if hasattr(generalist, "begin") else generalist


@dataclass
class RequestState:
    """The state of one request: all that is known of it so far, so that it can be settled wherever it ends."""

    id: str
    admitted: float
    """Time of admission, in seconds since the epoch."""
    request: Request
    """The request as it was admitted."""
    large: Specialist | None = None
    """The generalist, as far as this request may use it."""
    live: bool = True
    """Whether the caller sees pieces of the answer as they arrive."""
    question: Request = field(init=False)
    """The request in its self-contained form, without its dependence on earlier turns."""
    context: Context = field(default_factory=Context)
    route: Route = field(default_factory=lambda: Route(parts=(), reason=Reason("route.not_yet")))
    slots: Mapping[Place, PropertySlot] = field(default_factory=dict)
    """The specialist that fills each property of the request's schema."""
    outcomes: list[Outcome] = field(default_factory=list)
    """One outcome a part, kept up to date while the parts are processed."""
    done: list[asyncio.Event] = field(default_factory=list)
    """One event a part, set when its findings are there or will never be."""
    shown: list[str] = field(default_factory=list)
    """Pieces of the answer that were shown."""
    decisions: tuple[Decision, ...] = ()
    """Answers to the typed questions, if there are any."""
    composed: Finding | None = None
    """The generalist's combination of all findings, if it was asked for one."""
    verdicts: tuple[Verdict, ...] = ()
    """Verdicts that raised or lowered the request's label."""
    call: CallContext = field(default_factory=CallContext)
    """Call context of the request, which every component receives."""
    steps: list[Step] = field(default_factory=list)
    """Steps that are not part of a finding."""
    reserved: Sequence[int] = ()
    """Reservations of the limits for the request."""
    spent: Usage | None = None
    """Usage of the request, once it is known."""
    start: float = field(default_factory=perf_counter)
    stages: list[Stage] = field(default_factory=list)

    _attendance: Attendance | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.question = self.request

    def begin(self) -> None:
        """Begin with the parts of the route; without any, with the whole request as a part that no specialist fits."""
        parts = self.route.parts or (Part(text=self.question.text, stages=(), score=0.0),)
        self.outcomes = [Outcome(part=part, pinned=self.request.specialist is not None) for part in parts]
        self.done = [asyncio.Event() for _ in parts]

    def is_recorded(self, error: BaseException) -> bool:
        """Return whether a request that ends with this error is settled all the same.

        It is settled if the caller is gone, since its costs belong in the ledger, and if data may have left.
        """
        gone = isinstance(error, asyncio.CancelledError | GeneratorExit)
        return gone or (isinstance(error, Exception) and bool(self.call.egress or self.call.outgoing))

    @property
    def parts(self) -> list[Part]:
        """The parts, which are processed side by side."""
        return [outcome.part for outcome in self.outcomes]

    def task_of(self, index: int) -> Task:
        """Return the task of a part's specialists."""
        whole = len(self.outcomes) == 1
        return task_of(self.outcomes[index].part, self.question, self.request.text, whole=whole)

    def enter(self, admitted: Admitted) -> None:
        """Take the admitted request."""
        self.request = self.question = admitted.request
        self.context = admitted.context
        self.verdicts, self.call = admitted.verdicts, replace(admitted.call, trace=self.id)

    def attending(self, overhead: Overhead | None) -> AbstractContextManager[object]:
        """Return a context that measures the network's own work for the request."""
        if overhead is None:
            return nullcontext()
        return _Attending(self, overhead.attend())

    def attend(self, attendance: Attendance) -> None:
        """Take the measurement of the network's own work."""
        self._attendance = attendance

    def overhead(self) -> tuple[Step, ...]:
        """Return the usage of the network's own work so far, if it is measured."""
        return () if self._attendance is None else (self._attendance.step(),)

    @property
    def reads(self) -> bool:
        """Whether a document is read: the request brings one, and the principal may have it read."""
        return self.request.document is not None and bool(self.route.parts)

    @property
    def composable(self) -> bool:
        """Whether there are enough findings to combine: a single accepted one passes through as it is."""
        findings = (finding for outcome in self.outcomes for finding in rendered_findings(outcome))
        return sum(finding.accepted for finding in findings) >= _FEWEST_TO_COMPOSE

    async def known_to(self, index: int) -> Context:
        """Return the context of a part, with the entries of the parts that it depends on, once these are done."""
        context = self.context
        for before in self.outcomes[index].part.after:
            await self.done[before].wait()
            context = context.append(*self.outcomes[before].entries)
        return context

    def look_at(self, views: Iterable[ContextView]) -> None:
        """Note, once, that a passage in a view holds orders to a model."""
        entries = (entry.content for view in views for entry in view.entries)
        verdicts = suspect((entry.text for entry in entries if isinstance(entry, Passage)), "a passage")
        self.verdicts += tuple(verdict for verdict in verdicts if verdict not in self.verdicts)

    def decided(self, verdicts: Iterable[Verdict]) -> tuple[Verdict, ...]:
        """Return every verdict of this request: of its label, of the findings, and of other egresses.

        A failed or abandoned attempt is in no finding; its egress happened all the same.
        """
        verdicts_of_call = tuple(verdicts)
        rest = Counter(verdicts_of_call)
        lost = [verdict for verdict in self.call.egress or () if not _take(rest, verdict)]
        return (*self.verdicts, *verdicts_of_call, *lost)

    async def pay(self, limits: Limits | None) -> None:
        """Settle the reservation with the limits, wherever the request ended."""
        if limits is not None and self.reserved:
            await limits.settle(self.reserved, self.spent)

    def show(self, piece: str) -> None:
        """Keep a piece that is shown; the time until the first one is a stage."""
        if not self.shown:
            waited = (perf_counter() - self.start) * 1000
            self.stages.append(Stage(name="first text", milliseconds=waited, note="since the request came in"))
        self.shown.append(piece)

    @property
    def degraded(self) -> Reason | None:
        """What the generalist failed to do, and why; None if nothing failed."""
        composed = self.composed
        failed = None if composed is None or composed.accepted or refused(composed) else composed.reason
        reasons = [
            reason for reason in [*(outcome.degraded for outcome in self.outcomes), failed] if reason is not None
        ]
        return all_of(dict.fromkeys(reasons)) if reasons else None

    def stage(self, name: str, *, note: str = "") -> StageTimer:
        """Return a context that times a stage and takes its note from the function it yields; parts have their own."""
        return StageTimer(self, name, note)


class _Attending:
    """A context that measures the network's own work for a request."""

    __slots__ = ("_attends", "_state")

    def __init__(self, state: RequestState, attends: AbstractContextManager[Attendance]) -> None:
        self._state, self._attends = state, attends

    def __enter__(self) -> None:
        self._state.attend(self._attends.__enter__())

    def __exit__(self, *error: object) -> None:
        self._attends.__exit__(*error)  # type: ignore[arg-type]


class StageTimer:
    """A context that times one stage of a request. It is no generator, since a request has some eight stages."""

    __slots__ = ("_name", "_note", "_start", "_state")

    def __init__(self, state: RequestState, name: str, note: str) -> None:
        self._state, self._name, self._note = state, name, note
        self._start = 0.0

    def __enter__(self) -> Callable[[str], None]:
        self._start = perf_counter()
        return self._take

    def __exit__(self, *_: object) -> None:
        state, start = self._state, self._start
        took, after = (perf_counter() - start) * 1000, (start - state.start) * 1000
        state.stages.append(Stage(name=self._name, milliseconds=took, note=self._note, after=after))

    def _take(self, note: str) -> None:
        self._note = note
