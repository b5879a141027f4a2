"""Coterie's own API: liveness, readiness, counters, traces and feedback; `/api/flywheel`, for admins.

Admins see of the flywheel what belongs to jobs of their tenant. The tenant that runs the network sees all, and it
alone makes a run.

GET  /api/flywheel/jobs · /deployments[?job=NAME] · /alarms · /deployments/ID (its steps)
POST /api/flywheel/deployments/ID   {"action": "promote" | "rollback", "reason": "...", "force": false}
POST /api/flywheel/alarms/ID        {"action": "resolve"}
POST /api/flywheel/run              {"dry_run": true, "job": null, "retrain": false}
GET  /api/flywheel/review?job=NAME  the next item, and the progress
POST /api/flywheel/review           {"job": "...", "action": "answer" | "skip" | "undo", "example": ..., "value": ...}
     `value` is a label, null for none of them, an object with the fields of the job, or a list of labels.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from starlette.requests import Request as HTTPRequest
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from coterie.errors import InputError
from coterie.gateway.access import Caller
from coterie.gateway.connection import JSONBody, encode
from coterie.gateway.errors import WireError, no_trace
from coterie.gateway.wire import FeedbackRequest, Wire, read_wire
from coterie.gateway.work import Gateway
from coterie.governance.audit import audit_feedback
from coterie.governance.keys import OWN_TENANT
from coterie.network.stages import check_value
from coterie.observe.plain import without_egress_text
from coterie.runtime.codec import readable
from coterie.runtime.concurrency import AT_ONCE, aside
from coterie.store.content import without_content
from coterie.types import Feedback, FlywheelChanged, Label, Trace

if TYPE_CHECKING:
    from coterie.flywheel.deployments import Deployments
    from coterie.flywheel.live import LiveFlywheel


async def tell_health(_http: HTTPRequest) -> Response:
    """Respond that the process is alive."""
    return JSONBody({"status": "ok"})


async def tell_readiness(http: HTTPRequest) -> Response:
    """Respond whether the gateway takes requests: 200, or 503 once it drains."""
    if Gateway.of(http).draining:
        return JSONBody({"status": "draining"}, status_code=503)
    return JSONBody({"status": "ok"})


async def show_metrics(http: HTTPRequest) -> Response:
    """Respond with the counters, for Prometheus."""
    metrics = Gateway.of(http).metrics
    return Response(metrics.render(), media_type=metrics.content_type)


async def show_trace(http: HTTPRequest) -> Response:
    """Respond with a settled request's trace, as far as the caller may see it. Raises `WireError` if there is none.

    With `?show_egress=true` it includes the texts that were sent, where content is kept.
    """
    gateway, caller, trace_id = Gateway.of(http), Caller.of(http.scope), http.path_params["trace_id"]
    trace = await find_trace(gateway, caller, trace_id)
    label = max([trace.label, *(finding.label for finding in trace.findings)])
    above = caller.key is not None and label > caller.clearance(gateway.network.default_label)
    if http.query_params.get("show_egress") != "true":
        trace = without_egress_text(trace)

    def written() -> bytes:
        return encode(readable(without_content(trace) if above else trace))

    return Response(await aside(AT_ONCE + 1, written), media_type=JSONBody.media_type)


async def find_trace(gateway: Gateway, caller: Caller, trace_id: str) -> Trace:
    """Return a settled request of the caller's tenant that involves only specialists visible to the caller.

    Raises:
        WireError: there is none such; the message is the same for every reason.
    """
    trace = await gateway.network.store.trace(trace_id, caller.tenant)
    if trace is None or not all(map(caller.sees, _specialists_of(trace))):
        raise no_trace(trace_id)
    return trace


def _specialists_of(trace: Trace) -> set[str]:
    """Return the names of all that took part in a request."""
    return {*trace.route.specialists, *(finding.specialist for finding in trace.findings)}


# --- `POST /api/feedback`: what a caller says of an answer that was given.


def take_feedback(gateway: Gateway, caller: Caller, body: bytes) -> ASGIApp:
    """Return the ASGI app that stores feedback. Raises `WireError` or pydantic's `ValidationError`."""
    wire = read_wire(FeedbackRequest, body)
    if wire.thumb is None and wire.value is None and not wire.comment.strip():
        raise WireError("invalid_request", "The feedback says nothing: send `thumb`, `value` or `comment`.")
    feedback = Feedback(
        trace_id=wire.trace_id,
        time=gateway.network.clock(),
        tenant=caller.tenant,
        key=caller.key_id,
        specialist=wire.specialist,
        thumb=wire.thumb,
        value=tuple(wire.value) if isinstance(wire.value, list) else wire.value,
        comment=wire.comment,
    )
    return _Keeping(gateway=gateway, caller=caller, feedback=feedback)


@dataclass(frozen=True, kw_only=True)
class _Keeping:
    """ASGI app that stores feedback and confirms it."""

    gateway: Gateway
    caller: Caller
    feedback: Feedback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Store the feedback and respond.

        Raises:
            WireError: there is no such trace that the caller may see.
            InputError: it is about a specialist that found nothing there, or names no label of it.
            AuditError: it could not be recorded.
        """
        try:
            trace = await find_trace(self.gateway, self.caller, self.feedback.trace_id)
            check_value(self.feedback, trace, self._labels)
            if not await self.gateway.network.store.feedback(self.feedback):
                raise no_trace(self.feedback.trace_id)
        except (WireError, InputError) as error:
            await self._write_down(refused=error.code)
            raise
        await self._write_down()
        self.gateway.metrics.count_feedback(self.feedback)
        await JSONBody({"trace_id": self.feedback.trace_id, "status": "kept"})(scope, receive, send)

    def _labels(self, name: str) -> tuple[str, ...]:
        specialist = self.gateway.network.specialists.get(name)
        return () if specialist is None else specialist.card.labels

    async def _write_down(self, *, refused: str = "") -> None:
        audit = self.gateway.network.audit
        if audit is not None:
            await audit.append(audit_feedback(self.feedback, digest=audit.digest, refused=refused))


# --- `/api/flywheel`: jobs, deployments with their evidence, alarms, and the review queue. For admins.

_LONGEST = 65_536


class _Action(Wire, extra="forbid"):
    """Body of an action; an unknown field is an error, since it may be misspelt."""


class DeploymentAction(_Action):
    """`POST /api/flywheel/deployments/ID`."""

    action: Literal["promote", "rollback"]
    reason: str
    force: bool = False


class AlarmAction(_Action):
    """`POST /api/flywheel/alarms/ID`."""

    action: Literal["resolve"]


class RunRequest(_Action):
    """`POST /api/flywheel/run`."""

    dry_run: bool = True
    job: str | None = None
    retrain: bool = False


class ReviewAction(_Action):
    """`POST /api/flywheel/review`."""

    job: str
    action: Literal["answer", "skip", "undo"]
    example: str = ""
    value: str | dict[str, object] | list[object] | None = None


def _live(http: HTTPRequest) -> LiveFlywheel:
    """Return the flywheel of a network. Raises `WireError` if it has none."""
    from coterie.flywheel.live import LiveFlywheel  # noqa: PLC0415 - it brings scikit-learn

    live = Gateway.of(http).network.flywheel
    if not isinstance(live, LiveFlywheel):
        raise WireError("not_found", "This network captures nothing: [capture] in coterie.toml turns it on.")
    return live


def _books(http: HTTPRequest) -> Deployments:
    """The jobs that the caller may see. Raises `WireError` if nothing is captured."""
    tenant = Caller.of(http.scope).tenant
    return replace(_live(http).books, tenant=None if tenant == OWN_TENANT else tenant)


def _clearance(http: HTTPRequest) -> Label | None:
    caller = Caller.of(http.scope)
    return None if caller.key is None else caller.clearance(Gateway.of(http).network.default_label)


def _who(http: HTTPRequest) -> str:
    key = Caller.of(http.scope).key
    return key.name if key else "local"


async def _body(http: HTTPRequest) -> bytes:
    body = b""
    async for piece in http.stream():
        body += piece
        if len(body) > _LONGEST:
            raise WireError("invalid_request", f"The body has more than {_LONGEST} bytes.")
    return body


Show = Callable[[HTTPRequest], Awaitable[object]]


def _shown(show: Show) -> Callable[[HTTPRequest], Awaitable[Response]]:
    """Return an endpoint that responds with a value as JSON."""

    async def serve(http: HTTPRequest) -> Response:
        try:
            return JSONBody(readable(await show(http)))
        except FlywheelChanged:
            raise WireError("conflict", "Somebody else changed it at the same moment: look again.") from None

    serve.__doc__ = show.__doc__
    return serve


@_shown
async def list_jobs(http: HTTPRequest) -> object:
    """Return the jobs with volume, cost and state."""
    from coterie.flywheel.overview import job_views  # noqa: PLC0415

    live, books = _live(http), _books(http)
    counts = dict(live.counts) if books.tenant is None else {}
    return {"jobs": await job_views(books, live.section, clearance=_clearance(http)), "captured": counts}


@_shown
async def list_deployments(http: HTTPRequest) -> object:
    """Return the deployments with the evidence of their gates."""
    from coterie.flywheel.overview import deployment_views  # noqa: PLC0415

    section, job = _live(http).section, http.query_params.get("job")
    return {"deployments": await deployment_views(_books(http), section, job=job)}


@_shown
async def show_deployment(http: HTTPRequest) -> object:
    """Return the steps of a deployment."""
    books = _books(http)
    shown = await books.deployment(http.path_params["deployment"])
    return {"deployment": shown, "steps": await books.transitions(shown.id)}


@_shown
async def move_deployment(http: HTTPRequest) -> object:
    """Promote a deployment, or roll it back."""
    from coterie.flywheel.overview import promote, roll_back  # noqa: PLC0415

    live, books, key = _live(http), _books(http), http.path_params["deployment"]
    wire = read_wire(DeploymentAction, await _body(http))
    if wire.action == "promote":
        moved = await promote(books, live.section, key, by=_who(http), reason=wire.reason, force=wire.force)
    else:
        moved = await roll_back(books, key, by=_who(http), reason=wire.reason)
    await live.follow()
    return {"deployment": moved}


@_shown
async def list_alarms(http: HTTPRequest) -> object:
    """Return the alarms; with `?open=true` the unresolved ones."""
    return {"alarms": await _books(http).alarms(open_only=http.query_params.get("open") == "true")}


@_shown
async def settle_alarm(http: HTTPRequest) -> object:
    """Mark an alarm as resolved."""
    books, key = _books(http), http.path_params["alarm"]
    read_wire(AlarmAction, await _body(http))
    alarm = next((alarm for alarm in await books.alarms() if alarm.id == key), None)
    if alarm is None:
        raise InputError(f"There is no alarm {key!r}.")
    await books.resolve(alarm)
    return {"alarms": await books.alarms(open_only=True)}


@_shown
async def run_flywheel(http: HTTPRequest) -> object:
    """Run what is due in a separate process beside the server; with `dry_run`, only report it."""
    live = _live(http)
    wire = read_wire(RunRequest, await _body(http))
    return await live.run(dry_run=wire.dry_run, job=wire.job, retrain=wire.retrain)


@_shown
async def next_review(http: HTTPRequest) -> object:
    """Return the next item of a job, by default of the most useful one, and the progress."""
    from coterie.flywheel.review import ReviewQueue  # noqa: PLC0415

    queue = ReviewQueue(_books(http), _live(http).section, clearance=_clearance(http))
    if job := http.query_params.get("job"):
        item = await queue.next(job, reviewer=_who(http))
    else:
        job, item = await queue.next_of_all(reviewer=_who(http))
    return {"item": item, "progress": await queue.progress(job)}


@_shown
async def review_example(http: HTTPRequest) -> object:
    """Store a label, skip an item, or undo the last label; return the next item."""
    from coterie.flywheel.review import ReviewQueue  # noqa: PLC0415

    queue = ReviewQueue(_books(http), _live(http).section, clearance=_clearance(http))
    wire = read_wire(ReviewAction, await _body(http))
    if wire.action == "undo":
        return {"item": await queue.undo(reviewer=_who(http)), "progress": await queue.progress(wire.job)}
    if not wire.example:
        raise InputError("No example was named.", hint="Give the `example` of the item.")
    if wire.action == "skip":
        await queue.skip(wire.example, reviewer=_who(http))
    else:
        value = encode(wire.value).decode() if isinstance(wire.value, dict | list) else wire.value
        await queue.answer(wire.example, value, reviewer=_who(http))
    return {"item": await queue.next(wire.job, reviewer=_who(http)), "progress": await queue.progress(wire.job)}
