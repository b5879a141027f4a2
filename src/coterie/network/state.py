"""One request on its way through the pipeline: what is known of it so far."""

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
from coterie.runtime.values import replace
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
"""Accepted findings: fewer need nobody to put them together."""


def _take(counts: Counter[Verdict], verdict: Verdict) -> bool:
    """Take one from a count, if there is one."""
    counts[verdict] -= 1
    return counts[verdict] >= 0


def generalist_for(generalist: Specialist | None, request: Request) -> Specialist | None:
    """One request's use of the generalist; None where there is none, or the principal may not ask it."""
    if generalist is None or (request.allowed and generalist.card.name not in request.allowed):
        return None
    return cast("Generalist", generalist).begin() if hasattr(generalist, "begin") else generalist


@dataclass
class RequestState:
    """One request on its way: all that is known of it so far, so that it can be settled wherever it ends."""

    id: str
    admitted: float
    """Seconds since the epoch."""
    request: Request
    """As it was admitted."""
    large: Specialist | None = None
    """The generalist, with what this request may use of it."""
    live: bool = True
    """Whether somebody sees pieces of the answer as they come."""
    question: Request = field(init=False)
    """The same, standing on its own where it depended on earlier turns."""
    context: Context = field(default_factory=Context)
    route: Route = field(default_factory=lambda: Route(parts=(), reason=Reason("route.not_yet")))
    slots: Mapping[Place, PropertySlot] = field(default_factory=dict)
    """Who fills in which property of the schema that the request gives."""
    outcomes: list[Outcome] = field(default_factory=list)
    """One a part, kept up to date while they are worked on."""
    done: list[asyncio.Event] = field(default_factory=list)
    """One a part, set when its findings are there or never will be."""
    shown: list[str] = field(default_factory=list)
    """Pieces of the answer that were given out."""
    decisions: tuple[Decision, ...] = ()
    """Answers to its typed questions, if it asks such."""
    composed: Finding | None = None
    """What the generalist made of all findings, if it was asked to."""
    verdicts: tuple[Verdict, ...] = ()
    """What raised or lowered its label."""
    call: CallContext = field(default_factory=CallContext)
    """On whose behalf it is worked on; handed to everybody who is asked for it."""
    steps: list[Step] = field(default_factory=list)
    """What was done for it beside what its findings say of themselves."""
    reserved: Sequence[int] = ()
    """What the limits hold for it."""
    spent: Usage | None = None
    """What it took, once that is known."""
    start: float = field(default_factory=perf_counter)
    stages: list[Stage] = field(default_factory=list)

    _attendance: Attendance | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.question = self.request

    def begin(self) -> None:
        """Begin with the parts of the route; of none, with the whole request as one that nobody fits."""
        parts = self.route.parts or (Part(text=self.question.text, stages=(), score=0.0),)
        self.outcomes = [Outcome(part=part, pinned=self.request.specialist is not None) for part in parts]
        self.done = [asyncio.Event() for _ in parts]

    def is_recorded(self, error: BaseException) -> bool:
        """Whether a request that ends with this error is settled all the same.

        It is where the caller is gone, since what was spent belongs in the ledger, and where data may have left.
        """
        gone = isinstance(error, asyncio.CancelledError | GeneratorExit)
        return gone or (isinstance(error, Exception) and bool(self.call.egress or self.call.outgoing))

    @property
    def parts(self) -> list[Part]:
        """What is worked on side by side."""
        return [outcome.part for outcome in self.outcomes]

    def task_of(self, index: int) -> Task:
        """What the specialists of a part are handed."""
        whole = len(self.outcomes) == 1
        return task_of(self.outcomes[index].part, self.question, self.request.text, whole=whole)

    def enter(self, admitted: Admitted) -> None:
        """Take the request as it was admitted."""
        self.request = self.question = admitted.request
        self.context = admitted.context
        self.verdicts, self.call = admitted.verdicts, replace(admitted.call, trace=self.id)

    def attending(self, overhead: Overhead | None) -> AbstractContextManager[object]:
        """Count the network's own work for it."""
        if overhead is None:
            return nullcontext()
        return _Attending(self, overhead.attend())

    def attend(self, attendance: Attendance) -> None:
        """Take what counts it."""
        self._attendance = attendance

    def overhead(self) -> tuple[Step, ...]:
        """What the network's own work took so far, where it is counted."""
        return () if self._attendance is None else (self._attendance.step(),)

    @property
    def reads(self) -> bool:
        """Whether a document is read for it: it brings one, and who asks may have it read."""
        return self.request.document is not None and bool(self.route.parts)

    @property
    def composable(self) -> bool:
        """Whether there are findings enough to be put together: one that is accepted passes through as it is."""
        found = (finding for outcome in self.outcomes for finding in rendered_findings(outcome))
        return sum(finding.accepted for finding in found) >= _FEWEST_TO_COMPOSE

    async def known_to(self, index: int) -> Context:
        """The context in which a part is worked on: with what the parts left that it reads, when these are done."""
        context = self.context
        for before in self.outcomes[index].part.after:
            await self.done[before].wait()
            context = context.append(*self.outcomes[before].entries)
        return context

    def look_at(self, views: Iterable[ContextView]) -> None:
        """Note, once, that a passage that somebody is shown holds orders to a model."""
        entries = (entry.content for view in views for entry in view.entries)
        found = suspect((each.text for each in entries if isinstance(each, Passage)), "a passage")
        self.verdicts += tuple(each for each in found if each not in self.verdicts)

    def decided(self, found: Iterable[Verdict]) -> tuple[Verdict, ...]:
        """Every verdict of this request: what made its label, those of the findings, and what else crossed the gate.

        A try that failed or was given up is in no finding; what it sent has left all the same.
        """
        known = tuple(found)
        rest = Counter(known)
        lost = [each for each in self.call.egress or () if not _take(rest, each)]
        return (*self.verdicts, *known, *lost)

    async def pay(self, limits: Limits | None) -> None:
        """Settle with the limits what was reserved, wherever the request ended."""
        if limits is not None and self.reserved:
            await limits.settle(self.reserved, self.spent)

    def show(self, piece: str) -> None:
        """Keep a piece that is given out; how long the first one took is a stage."""
        if not self.shown:
            waited = (perf_counter() - self.start) * 1000
            self.stages.append(Stage(name="first text", milliseconds=waited, note="since the request came in"))
        self.shown.append(piece)

    @property
    def degraded(self) -> Reason | None:
        """What the generalist failed to do, and why; None where nothing was missed."""
        composed = self.composed
        failed = None if composed is None or composed.accepted or refused(composed) else composed.reason
        found = [each for each in [*(outcome.degraded for outcome in self.outcomes), failed] if each is not None]
        return all_of(dict.fromkeys(found)) if found else None

    def stage(self, name: str, *, note: str = "") -> StageTimer:
        """Time a stage, and take its note also from what it gives; parts side by side each write their own."""
        return StageTimer(self, name, note)


class _Attending:
    """A context in which the network's own work for a request is counted."""

    __slots__ = ("_attends", "_state")

    def __init__(self, state: RequestState, attends: AbstractContextManager[Attendance]) -> None:
        self._state, self._attends = state, attends

    def __enter__(self) -> None:
        self._state.attend(self._attends.__enter__())

    def __exit__(self, *error: object) -> None:
        self._attends.__exit__(*error)  # type: ignore[arg-type]


class StageTimer:
    """A context that times one stage of a request. A request has some eight, so it is no generator."""

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
