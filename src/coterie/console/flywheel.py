"""Jobs found in the traffic, evidence of the gates, rollback; and labelling by hand.

In the review each label has a key, the next item is preloaded, and the last label can be undone. There are two kinds of
queues. Spot checks are a specialist's requests without feedback, those chosen by `[policy] spot_checks` first; the
others are jobs of the flywheel. A label of a spot check is feedback, sent through the API's function.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from urllib.parse import quote, unquote

from starlette.responses import Response

from coterie.config.operation import FlywheelSection
from coterie.console.traffic import run_app
from coterie.console.visits import Counted, Visit, chosen
from coterie.errors import CoterieError, InputError, SetupError
from coterie.flywheel.deployments import Deployments
from coterie.flywheel.fields import object_of
from coterie.flywheel.gates import Estimate, drawn, exact
from coterie.flywheel.overview import deployment_views, job_views, promote, roll_back
from coterie.flywheel.review import TWICE, ReviewItem, ReviewQueue, agreement_of
from coterie.flywheel.training import TRAINABLE
from coterie.gateway.connection import encode
from coterie.gateway.errors import WireError
from coterie.gateway.operations import find_trace, take_feedback
from coterie.governance.keys import OWN_TENANT
from coterie.policy.cost_quality import is_chosen
from coterie.protocols import FlywheelStore
from coterie.store.content import is_dropped
from coterie.types import Finding, FlywheelChanged, Label, RequestFilter, RequestLine, Trace

LANES = ("candidate", "shadow", "canary", "champion")
_EXAMPLES = 5
_SECONDS = 60.0
"""Largest age of the counts, in seconds."""


def books_of(visit: Visit) -> Deployments:
    """The flywheel's books, of the visitor's tenant. Raises `SetupError` where its store keeps none."""
    network = visit.gateway.network
    store = getattr(network.store, "flywheel", None)
    if not isinstance(store, FlywheelStore):
        raise SetupError("This network's store keeps no examples.", hint="The flywheel needs a store that does.")
    tenant = None if visit.caller.tenant == OWN_TENANT else visit.caller.tenant
    return Deployments(store=store, audit=network.audit, clock=network.clock, tenant=tenant)


async def show_flywheel(visit: Visit) -> Response:
    """Show jobs, lanes and alarms."""
    books, section = books_of(visit), visit.config.flywheel
    counted = await _counted(visit, books, section)
    deployments = counted.deployments
    alarms = await books.alarms(open_only=True)
    shown = {example for alarm in alarms for example in alarm.examples[:_EXAMPLES]}
    rows = await books.store.examples_of(sorted(shown)) if shown and visit.may("manage") else {}
    seen = {key: row for key, row in rows.items() if visit.clearance is None or row.label <= visit.clearance}
    steps = {deployment.id: (await books.transitions(deployment.id))[-3:] for deployment in deployments}
    return await visit.page(
        "flywheel.html.j2",
        title="Flywheel",
        jobs=counted.jobs,
        counted=counted.time,
        names={job.id: job.name for job in await books.jobs()},
        lanes=[(lane, [deployment for deployment in deployments if deployment.state == lane]) for lane in LANES],
        retired=[deployment for deployment in deployments if deployment.state == "retired"],
        alarms=[(alarm, [seen[example] for example in alarm.examples if example in seen]) for alarm in alarms],
        steps=steps,
        capture=visit.config.capture,
        section_of=section,
        now=visit.gateway.network.clock(),
    )


async def _counted(visit: Visit, books: Deployments, section: FlywheelSection) -> Counted:
    """Return jobs and deployments: current states, and counts that are at most a minute old, as the page says.

    Counting hundreds of thousands of calls takes longer than a page may.
    """
    now = visit.gateway.network.clock()
    state = {deployment.id: deployment.revision for deployment in await books.deployments()}
    state |= {job.id: job.revision for job in await books.jobs()}
    state |= {alarm.id: alarm.revision for alarm in await books.alarms(open_only=True)}
    key = books.tenant, visit.clearance
    held = visit.console.counted.get(key)
    if held is None or held.state != state or not 0 <= now - held.time < _SECONDS:
        held = visit.console.counted[key] = Counted(
            state=state,
            time=now,
            jobs=await job_views(books, section, clearance=visit.clearance),
            deployments=await deployment_views(books, section),
        )
    return held


async def act(visit: Visit) -> Response:
    """Move a deployment forward or back, or resolve an alarm; with the reason and the person."""
    books = books_of(visit)
    what = chosen(visit.value("act"), ("promote", "back", "resolve"), "The action")
    by, reason = visit.caller.key.name if visit.caller.key else "console", visit.value("reason")
    try:
        if what == "resolve":
            alarm = next((alarm for alarm in await books.alarms() if alarm.id == visit.value("alarm")), None)
            if alarm is None:
                raise InputError("There is no such alarm.", hint="It may be dealt with already.")
            await books.resolve(alarm)
            await visit.log("resolve_alarm", alarm=alarm.id, job=alarm.job)
            return visit.go("flywheel", note="The alarm is dealt with.")
        if what == "back":
            moved = await roll_back(books, visit.value("deployment"), by=by, reason=reason)
        else:
            force = bool(visit.value("force"))
            config = visit.config.flywheel
            moved = await promote(books, config, visit.value("deployment"), by=by, reason=reason, force=force)
    except FlywheelChanged:
        raise InputError("Somebody else moved it meanwhile.", hint="Look at the page again.") from None
    await visit.log(f"deployment_{what}", deployment=moved.id, state=moved.state, reason=reason)
    return visit.go("flywheel", note=f"{moved.specialist} {moved.version[:8]} is {moved.state} now.")


# --- Labelling by hand: each label has a key, the next item is preloaded, and the last label can be undone.

KEYS = "1234567890qwertyiopasdfghjklzxcvbm"
"""Keys of the labels, in their order; `n` is none of the labels, `u` undoes, space skips."""
_PAIRS = "asdfghjklqwertyiopzxcvbm"
"""Keys where there are more labels than keys: each label has two, typed one after the other."""
_AHEAD, _PAGES = 4, 2
_LOOKED_AT, _REMEMBERED = "coterie_looked_at", 60
"""Cookie with the spot checks that a person has seen, the last one last, so that every worker knows them."""
_COUNTED = 500
"""Differences of a deployment that are read; there may be more."""
_SPOT, _JOB, _FIELD, _DAY = "spot:", "job:", "field:", 86_400


@dataclass(frozen=True, kw_only=True)
class Item:
    """An item to be labelled."""

    id: str
    text: str
    answers: tuple[str, ...]
    """The given answers, in an order that does not reveal their sources."""
    labels: tuple[str, ...]
    prompt: tuple[tuple[str, str], ...] = ()
    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Values that each field of an object has had, from which another object can be composed."""
    several: tuple[str, ...] = ()
    """Fields that have any number of these."""

    @property
    def choices(self) -> Sequence[str]:
        """The labels that can be chosen with one key."""
        return self.labels or (() if self.fields else self.answers)

    @property
    def keys(self) -> Sequence[str]:
        """A key for each choice, or two keys in a row."""
        count = len(self.choices)
        if count <= len(KEYS):
            return KEYS[:count]
        return [a + b for a in _PAIRS for b in _PAIRS][:count]


@dataclass(frozen=True, kw_only=True)
class Queue:
    """A queue of items to be labelled."""

    id: str
    name: str
    about: str
    waiting: int | None = None


async def show_review(visit: Visit) -> Response:
    """Show the queues, and the next items of one."""
    queues = await _queues(visit)
    wanted, first = visit.query("queue") or (queues[0].id if queues else ""), None
    if visit.query("first") and any(queue.id == wanted for queue in queues) and wanted.startswith(_SPOT):
        first = await _spot_of(visit, visit.query("first"), wanted)
    return await _desk(visit, wanted, queues, first=first)


async def _desk(visit: Visit, wanted: str, queues: Sequence[Queue], *, first: Item | None = None) -> Response:
    """Show the next items of a queue; after `undo` the undone item comes first."""
    queue = next((queue for queue in queues if queue.id == wanted), None)
    if queue is None and wanted and queues:
        raise InputError(
            f"There is no queue {wanted[:60]!r}.", hint="It may be gone: the page of review has the others."
        )
    part, progress = visit.query("part"), None
    if queue is not None and part in {"progress", "whole"}:
        progress = await _progress(visit, queue)
    if part == "progress" and progress:
        return await visit.page("part_progress.html.j2", progress=progress)
    items = [] if queue is None else await _upcoming(visit, queue)
    if first is not None:
        items = [first, *(item for item in items if item.id != first.id)][:_AHEAD]
    full = not items and queue is not None and queue.id.startswith(_JOB) and await _book(visit).left() <= 0
    return await visit.page(
        "part_review.html.j2" if visit.wants_part else "review.html.j2",
        title="Review",
        queues=queues,
        queue=queue,
        items=items,
        progress=progress,
        budget=visit.config.flywheel.labels if full else None,
        content=visit.config.store.keep_content,
    )


async def answer(visit: Visit) -> Response:
    """Store a label, a skip or an undo, and show the next items."""
    queues, wanted = await _queues(visit), visit.value("queue")
    item, act = visit.value("item"), visit.value("act")
    looked = _looked_at(visit, wanted)
    first = None
    if act == "undo":
        first = await _undo(visit, wanted, looked)
    elif act == "skip":
        if wanted.startswith(_JOB):
            await _book(visit).skip(item, reviewer=_by(visit))
        looked.append(item)
    elif item:
        value = visit.value("value") if act != "object" else object_of(_chosen(visit))
        await _label(visit, wanted, item, None if act == "none" else value)
        looked.append(item)
    visit.http.cookies[_LOOKED_AT] = f"{wanted} {' '.join(looked[-_REMEMBERED:])}"
    if visit.wants_part:
        response = await _desk(visit, wanted, queues, first=first)
    else:
        response = visit.go(f"review?queue={quote(wanted)}{f'&first={quote(first.id)}' if first else ''}")
    if wanted.startswith(_SPOT):
        value = quote(visit.http.cookies[_LOOKED_AT])
        response.set_cookie(_LOOKED_AT, value, max_age=_DAY, httponly=True, samesite="strict")
    return response


def _chosen(visit: Visit) -> dict[str, str]:
    """Return the chosen JSON text of each field of an object. Raises `InputError` if a field has none."""
    chosen = {name.removeprefix(_FIELD): visit.value(name) for name in visit.fields if name.startswith(_FIELD)}
    for name in visit.fields.get("several", []):
        chosen[name] = f"[{', '.join(visit.fields.get(_FIELD + name, []))}]"
    if missing := [name for name, value in chosen.items() if not value]:
        raise InputError(f"Nothing was chosen for {', '.join(missing)}.", hint="Choose a value of each field.")
    return chosen


def _looked_at(visit: Visit, queue: str) -> list[str]:
    """Return the spot checks of a queue that the person has seen, the last one last."""
    name, *looked = unquote(visit.http.cookies.get(_LOOKED_AT, "")).split(" ")
    return [item for item in looked if item] if name == queue else []


# --- Queues.


async def _queues(visit: Visit) -> list[Queue]:
    """Return the jobs with differing answers, then the specialists with labels."""
    queues: list[Queue] = []
    if visit.may("ask") and visit.caller.tenant == OWN_TENANT and not visit.caller.specialists:
        with suppress(SetupError):
            queues = [
                Queue(id=f"{_JOB}{job.id}", name=job.name, about="calls of a job of the flywheel")
                for job in await books_of(visit).jobs()
                if not job.ignored and job.shape in TRAINABLE
            ]
    network = visit.gateway.network
    return queues + [
        Queue(id=f"{_SPOT}{name}", name=name, about="answers that nobody has judged")
        for name, specialist in sorted(network.specialists.items())
        if visit.caller.sees(name) and specialist.card.labels
    ]


def _by(visit: Visit) -> str:
    return visit.caller.key.name if visit.caller.key else "console"


def _book(visit: Visit) -> ReviewQueue:
    return ReviewQueue(books_of(visit), visit.config.flywheel, visit.console.reviewed, visit.clearance)


async def _upcoming(visit: Visit, queue: Queue) -> list[Item]:
    if queue.id.startswith(_SPOT):
        return await _spots(visit, queue.id.removeprefix(_SPOT))
    book = _book(visit)
    items = await book.upcoming(queue.id.removeprefix(_JOB), _AHEAD, reviewer=_by(visit))
    return list(map(_shown, items))


def _shown(item: ReviewItem) -> Item:
    return Item(
        id=item.example,
        text=item.text,
        answers=item.answers,
        labels=item.labels,
        prompt=item.prompt,
        fields=item.fields,
        several=item.several,
    )


async def _progress(visit: Visit, queue: Queue) -> dict[str, str]:
    """Return how many items of a queue are labelled, and how far people agree."""
    if queue.id.startswith(_SPOT):
        return await _spot_progress(visit, queue.name)
    progress = await _book(visit).progress(queue.id.removeprefix(_JOB))
    return {
        "labelled": f"{progress.labelled:,}, this week {progress.week:,} of {progress.budget:,}",
        "differences that wait": f"{progress.pending:,}" + (" or more" if progress.pending >= _COUNTED else ""),
        "audit slice": f"{progress.audits_missing:,} labels are missing",
        "reviewers": _reviewers(progress.reviewers),
        "agreement of two": _agreed(progress.agreement, progress.twice),
        "the model of today is right": _share_of(progress.teacher) if progress.teacher.worth else "not known yet",
    }


def _reviewers(reviewers: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in reviewers.items()) or "nobody yet"


def _agreed(kappa: float | None, twice: int) -> str:
    return "nothing labelled twice yet" if kappa is None else f"kappa {kappa:.2f} on {twice:,}"


def _share_of(estimate: Estimate) -> str:
    return f"{estimate.share:.1%} ({estimate.low:.1%} to {estimate.high:.1%})"


async def _spot_progress(visit: Visit, name: str) -> dict[str, str]:
    """Return the feedback on a specialist's answers in the last week, the last one of each person per answer."""
    since = visit.gateway.network.clock() - 7 * _DAY
    tenant = visit.caller.tenant
    opinions = await visit.reads.opinions(name, tenant, since=since)
    totals = await visit.reads.totals(since=since, tenant=tenant, parts=["specialists"], name=name)
    all_requests = sum(row.requests for row in totals.specialists)
    share = visit.config.policy.spot_checks
    judged = {opinion.request: opinion.correct for opinion in opinions}
    right = await visit.aside(exact, sum(judged.values()), len(judged))
    last = {
        (opinion.request, opinion.key): opinion
        for opinion in opinions
        if opinion.value is not None or not opinion.correct
    }
    ring = visit.gateway.ring
    names = {} if ring is None else {key.id: key.name for key in await visit.aside(ring.keys)}
    kappa, twice = agreement_of([(opinion.request, opinion.value) for opinion in last.values()])
    return {
        "judged, 7 days": f"{len(judged):,} of {all_requests:,} requests",
        "chosen for a look": f"{share:.1%}, some {share * all_requests:,.0f} of these"
        if share
        else "none: the newest come first",
        "answers judged right": _share_of(right) if judged else "not known yet",
        "people": _reviewers(Counter(names.get(opinion.key, opinion.key) or "this machine" for opinion in opinions)),
        "agreement of two": _agreed(kappa, twice),
    }


async def _label(visit: Visit, wanted: str, item: str, value: str | None) -> None:
    """Store the right label; None for none of the labels."""
    if wanted.startswith(_JOB):
        await _book(visit).answer(item, value, reviewer=_by(visit))
        await visit.log("review", job=wanted.removeprefix(_JOB), example=item, by_hand=_by(visit))
        return
    feedback = {"trace_id": item, "specialist": ""}
    feedback |= {"thumb": "down", "comment": "none of the labels"} if value is None else {"value": value}
    await run_app(take_feedback(visit.gateway, visit.caller, encode(feedback)), visit)


async def _undo(visit: Visit, wanted: str, looked: list[str]) -> Item | None:
    """Undo the last item and return it, to be labelled again."""
    if wanted.startswith(_JOB):
        book = _book(visit)
        item = await book.undo(reviewer=_by(visit))
        return None if item is None else _shown(item)
    if not looked:
        return None
    return await _spot_of(visit, looked.pop(), wanted)


async def _spot_of(visit: Visit, trace_id: str, queue: str) -> Item | None:
    """Return the item of a request that the caller may see."""
    with suppress(CoterieError, WireError):
        return _spot(visit, await find_trace(visit.gateway, visit.caller, trace_id), queue.removeprefix(_SPOT))
    return None


# --- Spot checks.


async def _spots(visit: Visit, name: str) -> list[Item]:
    """Return the newest requests of a specialist without feedback, or with that of one of two people.

    The requests chosen at random come first.
    """
    done = set(_looked_at(visit, f"{_SPOT}{name}"))
    share = visit.config.policy.spot_checks
    wanted = RequestFilter(tenant=visit.caller.tenant, specialist=name)
    candidates: list[tuple[bool, Item]] = []
    for _ in range(_PAGES):
        page = await visit.reads.request_page(wanted)
        for line in page.lines:
            if line.id not in done and len(candidates) < 4 * _AHEAD and await _is_open(visit, line):
                with suppress(CoterieError, WireError):
                    trace = await find_trace(visit.gateway, visit.caller, line.id)
                    item = _spot(visit, trace, name)
                    if item is not None:
                        candidates.append((not (share and is_chosen(trace.id, share)), item))
        if page.after is None or len(candidates) >= 4 * _AHEAD:
            break
        wanted = replace(wanted, after=page.after)
    return [item for _, item in sorted(candidates, key=lambda candidate: candidate[0])][:_AHEAD]


async def _is_open(visit: Visit, line: RequestLine) -> bool:
    """Return whether a request needs feedback: it has none, or one other person has judged an answer that two judge."""
    if line.correct is None:
        return True
    if visit.caller.key is None or not drawn(line.id, TWICE, salt="twice"):
        return False
    people = {opinion.key for opinion in await visit.reads.said(line.id, visit.caller.tenant)}
    return len(people) == 1 and visit.caller.key_id not in people


def _spot(visit: Visit, trace: Trace, name: str) -> Item | None:
    """Return a request as an item; None where its text is not stored, or is above the caller's clearance."""
    label = max([trace.label, *(finding.label for finding in trace.findings)])
    if visit.clearance is not None and Label(label) > visit.clearance:
        return None
    text = next((part.text for part in trace.route.parts if name in part.specialists), "")
    finding: Finding | None = next((finding for finding in trace.findings if finding.specialist == name), None)
    labels = visit.gateway.network.specialists[name].card.labels
    if not text or finding is None or is_dropped(text):
        return None
    values = finding.value if isinstance(finding.value, tuple) else (finding.value,)
    answers = tuple(str(value) for value in values if value is not None)
    return Item(id=trace.id, text=text, answers=answers, labels=labels)
