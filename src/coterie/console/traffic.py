"""Requests page by page, a request in detail, sessions, feedback in place; money and energy, and budgets."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from coterie.config.operation import BudgetSection
from coterie.config.specialists import SpecialistSection
from coterie.console import charts
from coterie.console.charts import Band, columns, figure
from coterie.console.visits import LABELS, Visit
from coterie.errors import CoterieError, DataError, InputError
from coterie.gateway.connection import encode
from coterie.gateway.errors import WireError, no_trace
from coterie.gateway.operations import find_trace, take_feedback
from coterie.knowledge.documents import DocumentIndex
from coterie.learning.reading import sniff_delimiter, whole_text
from coterie.limits.limits import Spending, StoredLimits
from coterie.observe.plain import without_egress_text
from coterie.routing.kinds import ExplainsRoutes
from coterie.runtime.files import write_bytes
from coterie.store.content import is_dropped, without_content
from coterie.tasks.classify.section import ClassifySection
from coterie.types import (
    Citation,
    Context,
    Feedback,
    Finding,
    Label,
    LedgerRow,
    Request,
    RequestFilter,
    RequestLine,
    Totals,
    Trace,
)

_SUFFIXES = {".csv", ".jsonl"}


def correctable(section: SpecialistSection) -> bool:
    """Return whether a given label makes a row of the specialist's data: only for texts with one label."""
    plain = isinstance(section, ClassifySection) and not (section.multi_label or section.record)
    return plain and section.data is not None and Path(section.data).suffix in _SUFFIXES


async def waiting_corrections(visit: Visit, name: str) -> list[tuple[str, str]]:
    """Return texts and labels that were given since and are no rows of the specialist's data yet."""
    section = visit.config.specialists[name]
    if not correctable(section):
        return []
    corrections = await visit.reads.corrections(name, visit.caller.tenant)
    return await visit.aside(_new_rows, visit.folder / str(section.data), section, name, corrections)


async def teach(visit: Visit, name: str, text: str, label: str) -> bool:
    """Add one row to the specialist's data; False if the text is already in it. Raises `InputError`, `DataError`."""
    section = visit.config.specialists[name]
    if not correctable(section):
        raise InputError(f"{name!r} has no data that one row can be added to.", hint="Leave the text out.")
    path = visit.folder / str(section.data)
    if text in {known_text for known_text, _ in await visit.aside(_rows_of, path, section)}:
        return False
    await visit.aside(_append, path, section, [(text, label)])
    return True


async def learn_corrections(visit: Visit, name: str) -> int:
    """Add the waiting corrections to the specialist's data and return their number. Raises `DataError`."""
    section = visit.config.specialists[name]
    rows = await waiting_corrections(visit, name)
    if rows:
        await visit.aside(_append, visit.folder / str(section.data), section, rows)
    return len(rows)


def _new_rows(
    path: Path, section: SpecialistSection, name: str, corrections: Sequence[tuple[Trace, Feedback]]
) -> list[tuple[str, str]]:
    known_texts = {text for text, _ in _rows_of(path, section)}
    rows: dict[str, str] = {}
    for trace, feedback in corrections:
        text = next((part.text for part in trace.route.parts if name in part.specialists), "")
        if text and text not in known_texts and isinstance(feedback.value, str) and not is_dropped(text):
            rows[text] = feedback.value
    return list(rows.items())


def _columns(section: SpecialistSection) -> tuple[str, str]:
    return getattr(section, "text_column", None) or "text", getattr(section, "label_column", "label")


def _delimiter(content: str, section: SpecialistSection) -> str:
    """Return the delimiter of the cells: spreadsheets in most of Europe write semicolons."""
    return sniff_delimiter(content.partition("\n")[0].encode(), _columns(section))


def _rows_of(path: Path, section: SpecialistSection) -> list[tuple[str, str]]:
    """Return texts and labels of the file, unchanged."""
    text, label = _columns(section)
    try:
        content = whole_text(path)
        if path.suffix == ".csv":
            written = csv.DictReader(io.StringIO(content), delimiter=_delimiter(content, section))
            return [(row.get(text) or "", row.get(label) or "") for row in written]
        rows = [json.loads(line) for line in content.splitlines() if line.strip()]
        return [(str(row.get(text, "")), str(row.get(label, ""))) for row in rows]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"The data in {str(path)!r} cannot be read: {error}.", hint="See what stands there.") from error


def _append(path: Path, section: SpecialistSection, rows: Sequence[tuple[str, str]]) -> None:
    """Rewrite the file with more rows, completely or not at all."""
    text, label = _columns(section)
    content = whole_text(path)
    made = io.StringIO(newline="")
    if path.suffix == ".csv":
        delimiter = _delimiter(content, section)
        names = next(csv.reader(io.StringIO(content), delimiter=delimiter))
        writer = csv.DictWriter(made, names, restval="", lineterminator="\n", delimiter=delimiter)
        writer.writerows({text: a, label: b} for a, b in rows)
    else:
        made.writelines(json.dumps({text: a, label: b}, ensure_ascii=False) + "\n" for a, b in rows)
    write_bytes(path, (content.rstrip("\n") + "\n" + made.getvalue()).encode())


STATUSES = ("accepted", "abstained", "escalated")
_LONGEST_DOCUMENT = 4_000_000
"""Characters of a cited document that are read."""
_FIRST = "first text"
_FILTERS = ("status", "specialist", "session", "label", "judged")


async def show_traffic(visit: Visit) -> Response:
    """Show the requests of the caller's tenant, the newest first."""
    if visit.query("id"):
        return visit.go(f"traffic/{quote(visit.query('id'), safe='')}")
    given = {name: visit.query(name) for name in _FILTERS}
    wanted = replace(RequestFilter(tenant=visit.caller.tenant, after=_page_start(visit.query("after"))), **given)  # type: ignore[arg-type] # names of texts
    page = await visit.reads.request_page(wanted)
    lines = [line for line in page.lines if await _seen(visit, line)]
    names = sorted(name for name in visit.gateway.network.specialists if visit.caller.sees(name))
    return await visit.page(
        "part_requests.html.j2" if visit.wants_part else "traffic.html.j2",
        title="Traffic",
        lines=lines,
        page=page,
        given={name: value for name, value in given.items() if value},
        after=None if page.after is None else f"{page.after[0]!r}:{page.after[1]}",
        first=not visit.query("after"),
        specialists=names,
        statuses=STATUSES,
        labels=LABELS,
        now=visit.gateway.network.clock(),
    )


async def _seen(visit: Visit, line: RequestLine) -> bool:
    """Return whether the caller may see a request; for a key limited to some specialists, the trace is read."""
    if not visit.caller.specialists:
        return True
    try:
        await find_trace(visit.gateway, visit.caller, line.id)
    except (WireError, CoterieError):
        return False
    return True


def _page_start(text: str) -> tuple[float, str] | None:
    """Return the start of a page. Raises `WireError` for an invalid one."""
    if not text:
        return None
    time, _, request = text.partition(":")
    try:
        return float(time), request
    except ValueError:
        raise WireError("invalid_request", f"There is no page after {text[:80]!r}.") from None


# --- One request.


async def show_trace(visit: Visit) -> Response:
    """Show one request in detail; with `part`, the body alone, for other pages."""
    trace = await shown_trace(visit, visit.http.path_params["id"])
    template = "part_trace.html.j2" if visit.query("part") else "trace.html.j2"
    return await visit.page(template, title="Request", **await about_trace(visit, trace))


async def shown_trace(visit: Visit, trace_id: str) -> Trace:
    """Return the part of a trace that the caller may see. Raises `WireError`."""
    return without_egress_text(await find_trace(visit.gateway, visit.caller, trace_id))


async def about_trace(visit: Visit, trace: Trace) -> dict[str, Any]:
    """Return the values for a trace's page. Above the caller's clearance there are figures only."""
    label = max([trace.label, *(finding.label for finding in trace.findings)])
    above = visit.clearance is not None and label > visit.clearance
    documents = {} if above else await _documents(visit, trace)
    explained = None if above else await _explained(visit, trace)
    shown = without_content(trace) if above else trace
    opinions = await visit.reads.said(trace.id, visit.caller.tenant)
    ends = [stage.after + stage.milliseconds for stage in trace.stages]
    return {
        "trace": shown,
        "answers": _answers(shown),
        "above": above,
        "documents": documents,
        "explained": explained,
        "said": opinions if not above else (),
        "whole": max([trace.usage.milliseconds, *ends]),
        "bars": [charts.Bar(s.name, s.after, s.milliseconds, s.note) for s in trace.stages if s.name != _FIRST],
        "first": next((s.milliseconds for s in trace.stages if s.name == _FIRST), None),
        "teachable": {
            name: next((p.text for p in shown.route.parts if name in p.specialists and not is_dropped(p.text)), "")
            for name, section in visit.config.specialists.items()
            if visit.may("manage") and correctable(section)
        },
        "options": {name: s.card.labels for name, s in visit.gateway.network.specialists.items()},
        "now": visit.gateway.network.clock(),
    }


def _answers(trace: Trace) -> list[Finding]:
    """Return the findings whose answers the caller received: the accepted ones of the last stage."""
    last = {name for part in trace.route.parts for name in (part.stages[-1] if part.stages else ())}
    handed_on = {name for part in trace.route.parts for name in part.specialists} - last
    return [
        finding
        for finding in trace.findings
        if finding.accepted and finding.text and finding.specialist not in handed_on
    ]


async def _explained(visit: Visit, trace: Trace) -> Any:  # noqa: ANN401 - the router's
    """Return how the current router compares the parts, with the nearest examples; None where it cannot explain."""
    router, text = visit.gateway.network.router, " ".join(part.text for part in trace.route.parts)
    if not text.strip() or not isinstance(router, ExplainsRoutes):
        return None
    with suppress(CoterieError):
        allowed = visit.caller.specialists
        return await router.explain(Request(text=text, tenant=trace.tenant, allowed=allowed), Context())
    return None


async def _documents(visit: Visit, trace: Trace) -> Mapping[str, Any]:
    """Return the cited documents with their quotes marked, as far as the caller may read them."""
    cited: dict[tuple[str, str], list[Citation]] = {}
    for finding in trace.findings:
        for citation in finding.citations:
            cited.setdefault((citation.index, citation.document), []).append(citation)
    marked_texts = {}
    for (name, document), citations in cited.items():
        index = visit.gateway.network.knowledge.get(name)
        if not isinstance(index, DocumentIndex):
            continue
        with suppress(CoterieError, LookupError):
            text = await index.text(
                document, 0, _LONGEST_DOCUMENT, clearance=visit.clearance or Label.RESTRICTED, tenant=trace.tenant
            )
            if text is not None:
                marked_texts[document] = charts.marked(text, [(citation.start, citation.end) for citation in citations])
    return marked_texts


async def give_feedback(visit: Visit) -> Response:
    """Store feedback on an answer, through the API's own function."""
    trace_id = visit.http.path_params["id"]
    value = visit.value("value")
    body = {
        "trace_id": trace_id,
        "specialist": visit.value("specialist"),
        "comment": visit.value("comment"),
        **({"thumb": visit.value("thumb")} if visit.value("thumb") in {"up", "down"} else {}),
        **({"value": value} if value else {}),
    }
    await run_app(take_feedback(visit.gateway, visit.caller, encode(body)), visit)
    taught = visit.value("text")
    if taught and value and visit.value("specialist_taught"):
        visit.caller.require("manage")
        name = visit.value("specialist_taught")
        added = await teach(visit, name, taught, value)
        await visit.log("teach", name=name, trace=trace_id, added=added)
    if visit.wants_part:
        opinions = await visit.reads.said(trace_id, visit.caller.tenant)
        return await visit.page("part_said.html.j2", said=opinions, now=visit.gateway.network.clock())
    return visit.go(f"traffic/{trace_id}", note="Kept. Thank you.")


async def run_app(app: Any, visit: Visit) -> tuple[int, dict[str, str], bytes]:  # noqa: ANN401 - an ASGI app
    """Run an ASGI app of the API and return its whole response: status, headers and body."""
    status, headers, body = 500, dict[str, str](), bytearray()

    async def send(message: Any) -> None:  # noqa: ANN401 - an ASGI message
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status = message["status"]
            headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            body.extend(message.get("body", b""))

    await app(visit.http.scope, visit.http.receive, send)
    return status, headers, bytes(body)


# --- Sessions.


async def show_sessions(visit: Visit) -> Response:
    """Show the sessions of the caller's tenant, the most recently used first."""
    page = await visit.reads.session_page(visit.caller.tenant, after=_page_start(visit.query("after")))
    return await visit.page(
        "sessions.html.j2",
        title="Sessions",
        page=page,
        after=None if page.after is None else f"{page.after[0]!r}:{page.after[1]}",
        now=visit.gateway.network.clock(),
    )


async def show_session(visit: Visit) -> Response:
    """Show a session's entries and its requests."""
    session, tenant = visit.http.path_params["id"], visit.caller.tenant
    context = await visit.gateway.network.store.context(session, tenant)
    page = await visit.reads.request_page(RequestFilter(tenant=tenant, session=session))
    if not context.entries and not page.lines:
        raise no_trace(session)
    hidden = visit.clearance
    entries = [(entry, hidden is not None and entry.label > hidden) for entry in context.entries]
    lines = [line for line in page.lines if await _seen(visit, line)]
    return await visit.page(
        "session.html.j2",
        title="Session",
        session=session,
        entries=entries,
        lines=lines,
        now=visit.gateway.network.clock(),
    )


# --- Money and energy by day, tenant, specialist and model, compared with the large model; budgets and what is left.

_DAY = 86_400.0
_SMALL = 0.001
"""Money per day below which millionths are shown."""
SPANS: Mapping[str, int] = {"1d": 1, "7d": 7, "30d": 30, "90d": 90, "365d": 365}


async def show_spend(visit: Visit) -> Response:
    """Show the spending: of all tenants for callers who may read counters, else of the caller's tenant."""
    now = visit.gateway.network.clock()
    span = visit.query("span", "30d")
    days = SPANS.get(span, 30)
    whole = visit.may("metrics")
    hours = days == 1
    since = (now // 3600 - 23) * 3600 if hours else (now // _DAY - days + 1) * _DAY
    totals = await visit.reads.totals(since=since, tenant=None if whole else visit.caller.tenant, hours=hours)
    budgets = _budgets(visit) if whole else []
    return await visit.page(
        "spend.html.j2",
        title="Spend and energy",
        totals=totals,
        tables=[
            ("Tenant", totals.tenants if whole else ()),
            ("Specialist", totals.specialists),
            ("Model", totals.models),
        ],
        graphs=await visit.aside(_charts, totals, visit.console.currency, _keys(since, now, hours=hours)),
        budgets=budgets,
        spans=list(SPANS),
        span=span if span in SPANS else "30d",
        whole=whole,
        now=now,
    )


def _keys(since: float, now: float, *, hours: bool) -> list[str]:
    """Return every hour or day of a period, including those without a request, so that gaps are visible."""
    form, step = ("%Y-%m-%d %H:00", 3600) if hours else ("%Y-%m-%d", int(_DAY))
    return [datetime.fromtimestamp(at, UTC).strftime(form) for at in range(int(since), int(now) + 1, step)]


def _charts(totals: Totals, currency: str, labels: list[str]) -> dict[str, Any]:
    """Return columns over time: outcomes of requests, energy, and money beside the large model's cost."""
    rows = {row.key: row for row in totals.times}
    shown = [rows.get(label, LedgerRow(key=label)) for label in labels]

    def band(name: str, class_: str, field: str, times: float = 1) -> Band:
        return Band(name, class_, [float(getattr(row, field)) * times for row in shown])

    most = max([float(max(row.cost, row.counterfactual_cost)) for row in shown], default=0.0)
    times, unit = (1, currency) if most >= _SMALL else (1_000_000, f"µ{currency}")
    statuses = [
        band("answered here", "c0", "accepted"),
        band("by the large model", "c1", "escalated"),
        band("not answered", "c2", "abstained"),
    ]
    charts: dict[str, Any] = {
        "unit": unit,
        "requests": columns(labels, statuses, description="Requests by time and how they ended"),
        "energy": columns(
            labels,
            [band("energy, kJ", "c0", "joules", 0.001)],
            description="Energy by time in kilojoules",
            show=figure,
        ),
        "money": columns(
            labels, [band(f"spent, {unit}", "c0", "cost", times)], description="Money spent by time", show=figure
        ),
    }
    if totals.total.compared:
        charts["counterfactual"] = columns(
            labels,
            [band(f"the large model alone, {unit}", "c3", "counterfactual_cost", times)],
            description="What the large model alone would have cost, by time",
            show=figure,
        )
    return charts


def _budgets(visit: Visit) -> list[tuple[Spending, BudgetSection, list[tuple[str, float, float]]]]:
    """Return each budget with the use of each limit."""
    limits = visit.gateway.network.limits
    if not isinstance(limits, StoredLimits):
        return []
    spending = []
    for spent in limits.spending():
        section = visit.config.budgets.get(spent.name)
        if section is None:
            continue
        taken = [
            (unit, float(getattr(spent, unit)), float(limit))
            for unit in ("requests", "tokens", "money", "joules")
            if (limit := getattr(section, unit)) is not None
        ]
        spending.append((spent, section, taken))
    return spending
