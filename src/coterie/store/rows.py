"""Converts values to rows and back: settlements, and pages of requests and sessions.

The functions take a connection, inside a transaction of the caller. Ids and times come with the values.

A page begins after the last line of the page before, by an index on tenant and time; nothing is counted or skipped. A
filter that no index serves, such as the requests of one specialist, is applied to a bounded number of requests a page:
the page then says how far it came.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from math import sqrt
from typing import Any, NamedTuple

from coterie.errors import InputError, StoreError
from coterie.runtime.codec import dumps, from_json, loads, parse_json
from coterie.store.content import without_content
from coterie.store.rollups import Additions, adds_later
from coterie.store.statements import Cursor, DatabaseConnection, insert_many
from coterie.types import (
    CONTENT_KINDS,
    Context,
    Entry,
    Feedback,
    Label,
    Opinion,
    RequestFilter,
    RequestLine,
    RequestPage,
    SessionPage,
    SessionSummary,
    Settlement,
    SiteSummary,
    Trace,
    Usage,
)

CONTEXT_LINES = 2000
"""Newest lines of a session that are read into a context, so that a session without end stays cheap."""

_ALL = 2**62
_LABEL_WITHOUT_PII = "label_impersonal"
"""Key beside an entry's content for its label without personal data."""
_REQUEST, _ENVELOPE = "request", "envelope"
"""Keys beside an entry's content for the id of its request, and what an API keeps with it."""

TURNS = "count(CASE WHEN entries.kind = 'message' AND entries.producer = 'user' THEN 1 END)"
RANK = f"max(CASE entries.label {' '.join(f'WHEN {e.value!r} THEN {rank}' for rank, e in enumerate(Label))} END)"
"""SQL for the rank of the most sensitive label among some entries."""

Row = tuple[str | float | None, ...]


@dataclass(frozen=True, kw_only=True)
class SettlementWork:
    """Writes a settlement; waiting settlements are written as one."""

    settlement: Settlement
    keep_content: bool
    """Whether traces keep the texts of callers and models."""
    expired: float
    """A session last used before this time starts anew."""

    def __call__(self, connection: DatabaseConnection) -> None:
        """Write the settlement, in a transaction."""
        insert_settlements(connection, (self.settlement,), keep_content=self.keep_content, expired=self.expired)

    def joined(self, works: Sequence[SettlementWork]) -> Callable[[DatabaseConnection], None]:
        """Return the work that writes all of these settlements."""
        return partial(
            insert_settlements,
            settlements=[work.settlement for work in works],
            keep_content=self.keep_content,
            expired=min(work.expired for work in works),
        )


def insert_settlements(
    connection: DatabaseConnection, settlements: Sequence[Settlement], *, keep_content: bool, expired: float
) -> None:
    """Write the ledger rows, traces and context entries of some requests, table by table.

    Args:
        connection: In a transaction.
        settlements: What to write; entries only of settlements with a session.
        keep_content: Whether traces keep the texts of callers and models.
        expired: A session last used before this time starts anew.
    """
    rows = defaultdict[str, list[Row]](list)
    used: dict[tuple[str, str], float] = {}
    added = None if adds_later(connection) else Additions()
    for settlement in settlements:
        trace = settlement.trace
        request, steps, findings = _request_row(trace), list(_step_rows(trace)), list(_finding_rows(trace))
        rows["requests"].append(request)
        rows["steps"] += steps
        rows["findings"] += findings
        rows["decisions"] += _decision_rows(trace)
        kept = trace if keep_content else without_content(trace, settlement.texts)
        rows["traces"].append((trace.id, dumps(kept)))
        if added is not None:
            added.add(request, steps, findings)
        if trace.session is not None:
            key = trace.tenant, trace.session
            used[key] = max(used.get(key, float("-inf")), float(trace.time))
            rows["entries"] += _entry_rows(trace.tenant, trace.session, settlement.entries)
    entries = rows.pop("entries", [])
    for table, written in rows.items():
        insert_many(connection, table, written)
    _use_sessions(connection, used, expired=expired)
    insert_many(connection, "entries (tenant, session, time, producer, label, kind, content)", entries)
    if added is not None:
        added.write(connection)  # last: all writers add to the same rows, and wait for each other until the end


def select_context(
    connection: DatabaseConnection, session: str, tenant: str, *, expired: float, whole: bool = False
) -> Context:
    """Return a tenant's session as a context, its newest lines or all of it; empty if it is unknown or expired."""
    rows = connection.execute(
        """
        SELECT kind, content, producer, label, entries.time FROM entries
        JOIN sessions ON sessions.tenant = entries.tenant AND sessions.id = entries.session
        WHERE entries.tenant = ? AND entries.session = ? AND used >= ?
        ORDER BY entries.id DESC LIMIT ?
        """,
        (tenant, session, expired, _ALL if whole else CONTEXT_LINES),
    ).fetchall()
    return Context(entries=tuple(_entry(*row) for row in reversed(rows)))


def select_sessions(connection: DatabaseConnection, tenant: str, *, expired: float) -> list[SessionSummary]:
    """Return a tenant's sessions that have not expired, the one used last first."""
    rows = connection.execute(
        f"""
        SELECT sessions.id, used, min(entries.time), count(entries.id), {TURNS}, {RANK}
        FROM sessions LEFT JOIN entries ON entries.tenant = sessions.tenant AND entries.session = sessions.id
        WHERE sessions.tenant = ? AND used >= ?
        GROUP BY sessions.id, used ORDER BY used DESC, sessions.id
        """,  # noqa: S608 - our names
        (tenant, expired),
    )
    return [
        SessionSummary(
            id=session,
            tenant=tenant,
            began=used if began is None else min(began, used),  # an answer is noted when it ends, its use when it began
            used=used,
            turns=turns,
            entries=entries,
            label=Label.PUBLIC if rank is None else tuple(Label)[rank],
        )
        for session, used, began, entries, turns, rank in rows
    ]


def erase_session(connection: DatabaseConnection, session: str, tenant: str, turn: str = "") -> bool:
    """Delete a session: its entries, its name, feedback, and the content of its traces; return False if there was none.

    With a turn, the id of a request, only what that wrote; a session without entries goes with its last turn. A trace
    that cannot be read is deleted as a whole: its content cannot be told apart from the rest.
    """
    if turn and not _erase_turn(connection, session, tenant, turn):
        return False
    scope = tenant, session, turn
    traces = connection.execute(
        "SELECT request, trace FROM traces JOIN requests ON id = request "
        "WHERE tenant = ? AND session = ? AND ? IN ('', id)",
        scope,
    ).fetchall()
    for request, text in traces:
        try:
            bare = dumps(replace(without_content(read_trace(request, text)), session=None))
            connection.execute("UPDATE traces SET trace = ? WHERE request = ?", (bare, request))
        except StoreError:
            connection.execute("DELETE FROM traces WHERE request = ?", (request,))
    connection.execute(
        "DELETE FROM feedback WHERE request IN "
        "(SELECT id FROM requests WHERE tenant = ? AND session = ? AND ? IN ('', id))",
        scope,
    )
    named = connection.execute(
        "UPDATE requests SET session = NULL WHERE tenant = ? AND session = ? AND ? IN ('', id)", scope
    ).rowcount
    gone = connection.execute(
        "DELETE FROM sessions WHERE tenant = ? AND id = ? AND (? = '' OR NOT EXISTS "
        "(SELECT 1 FROM entries WHERE tenant = sessions.tenant AND session = sessions.id))",
        scope,
    ).rowcount
    return bool(named or gone)


def _erase_turn(connection: DatabaseConnection, session: str, tenant: str, turn: str) -> bool:
    """Delete what one request wrote into a session; return whether it wrote anything."""
    rows = connection.execute(
        "SELECT id, content, producer, label, time, kind FROM entries WHERE tenant = ? AND session = ?",
        (tenant, session),
    ).fetchall()
    ours = [(row[0],) for row in rows if _entry(row[5], *row[1:5]).request == turn]
    connection.executemany("DELETE FROM entries WHERE id = ?", ours)
    return bool(ours)


def select_trace(connection: DatabaseConnection, trace_id: str, tenant: str) -> Trace | None:
    """Return a tenant's trace, or None."""
    row = connection.execute(
        "SELECT trace FROM traces JOIN requests ON id = request WHERE id = ? AND tenant = ?", (trace_id, tenant)
    ).fetchone()
    return None if row is None else read_trace(trace_id, row[0])


def read_trace(trace_id: str, text: str) -> Trace:
    """Read a stored trace. Raises `StoreError` for a trace that cannot be read."""
    try:
        return loads(Trace, text, unknown="ignore")
    except (TypeError, ValueError) as error:
        raise StoreError(
            f"The stored trace {trace_id!r} cannot be read.", hint="The row was changed, or a newer Coterie wrote it."
        ) from error


def delete_sessions(connection: DatabaseConnection, *, expired: float) -> int:
    """Delete the sessions last used before `expired`, with their context, and return how many there were."""
    if connection.execute("SELECT 1 FROM sessions WHERE used < ? LIMIT 1", (expired,)).fetchone() is None:
        return 0  # without waiting for a lock
    return connection.execute("DELETE FROM sessions WHERE used < ?", (expired,)).rowcount


def _decision_rows(trace: Trace) -> Iterator[Row]:
    share = max(len(trace.decisions), 1)
    cost = None if trace.usage.cost is None else str(trace.usage.cost / share)
    for position, decision in enumerate(trace.decisions):
        answered = (decision.site, decision.answered_by, decision.method, int(decision.accepted), decision.confidence)
        yield trace.id, position, *answered, trace.usage.joules / share, cost


def select_sites(connection: DatabaseConnection, *, since: float) -> list[SiteSummary]:
    """Return each question asked since a time, the most frequent first, described by the newest trace that asked it."""
    rows = connection.execute(
        """
        SELECT site, answered_by, method, decisions.cost, count(*), sum(accepted), sum(decisions.joules), max(time)
        FROM decisions JOIN requests ON id = decisions.request WHERE time >= ?
        GROUP BY site, answered_by, method, decisions.cost
        """,
        (since,),
    )
    sites: dict[str, SiteSummary] = {}
    for site, by, method, cost, questions, accepted, joules, last in rows:
        before = sites.get(site) or SiteSummary(site=site)
        sites[site] = replace(
            before,
            asked=before.asked + questions,
            accepted=before.accepted + int(accepted),
            zero_shot=before.zero_shot + (0 if method == "specialist" else questions),
            answered_by={**before.answered_by, by: before.answered_by.get(by, 0) + questions},
            joules=before.joules + joules,
            cost=before.cost + Decimal(cost or 0) * questions,
            unpriced=before.unpriced + (questions if cost is None else 0),
            last=max(before.last, last),
        )
    newest = connection.execute(
        """
        SELECT site, request FROM (
            SELECT site, request, row_number() OVER (PARTITION BY site ORDER BY time DESC, request DESC) AS place
            FROM decisions JOIN requests ON id = decisions.request WHERE time >= ?
        ) AS placed WHERE place = 1
        """,
        (since,),
    )
    requests = dict(newest.fetchall())
    described = [_described_site(connection, summary, requests[site]) for site, summary in sites.items()]
    return sorted(described, key=lambda site: (-site.asked, site.site))


def _described_site(connection: DatabaseConnection, summary: SiteSummary, request: str) -> SiteSummary:
    row = connection.execute("SELECT trace FROM traces WHERE request = ?", (request,)).fetchone()
    decisions = () if row is None else read_trace(request, row[0]).decisions
    decision = next((decision for decision in decisions if decision.site == summary.site), None)
    if decision is None:
        return summary
    return replace(
        summary,
        name=decision.question,
        kind=decision.kind,
        options=decision.options,
        instructions=decision.instructions,
    )


def _request_row(trace: Trace) -> Row:
    counterfactual = None if trace.counterfactual_cost is None else str(trace.counterfactual_cost)
    names = (trace.tenant, trace.session, trace.label.value, trace.status)
    usage = trace.usage
    return (trace.id, float(trace.time), *names, *_usage_columns(usage), counterfactual, *_later_columns(usage))


def _step_rows(trace: Trace) -> Iterable[Row]:
    for position, step in enumerate(trace.steps):
        yield (trace.id, position, step.producer, step.engine, *_usage_columns(step.usage), *_later_columns(step.usage))


def _finding_rows(trace: Trace) -> Iterable[Row]:
    for position, finding in enumerate(trace.findings):
        yield (trace.id, position, finding.specialist, int(finding.accepted), float(finding.confidence))


def _usage_columns(usage: Usage) -> Row:
    cost = None if usage.cost is None else str(usage.cost)
    figures = (float(usage.milliseconds), float(usage.cpu_seconds), float(usage.joules))
    return (int(usage.tokens_in), int(usage.tokens_out), *figures, usage.joules_kind, cost)


def _later_columns(usage: Usage) -> Row:
    """Return the values of the columns that later steps of the schema added."""
    low, high = usage.joules_low, usage.joules_high
    return (int(usage.tokens_cached), None if low is None else float(low), None if high is None else float(high))


def _entry_rows(tenant: str, session: str, entries: Iterable[Entry]) -> Iterable[Row]:
    for entry in entries:
        about = (float(entry.time), entry.producer, entry.label.value)
        yield (tenant, session, *about, entry.kind, _content(entry))


def _content(entry: Entry) -> str:
    """Return an entry's content as JSON, with what has no column: its request, envelope, other label if it has one."""
    beside: dict[str, object] = {_REQUEST: entry.request} if entry.request else {}
    beside |= {_ENVELOPE: dict(entry.envelope)} if entry.envelope else {}
    if entry.label_without_pii is not None and entry.label_without_pii != entry.label:
        beside[_LABEL_WITHOUT_PII] = entry.label_without_pii.value
    return f"{dumps(entry.content)[:-1]}, {json.dumps(beside)[1:]}" if beside else dumps(entry.content)


def _entry(kind: str, content: str, producer: str, label: str, time: float) -> Entry:
    try:
        body = parse_json(content)
        bare = body.get(_LABEL_WITHOUT_PII)
        return Entry(
            content=from_json(CONTENT_KINDS[kind], body, unknown="ignore"),
            producer=producer,
            label=Label(label),
            label_without_pii=None if bare is None else Label(bare),
            time=time,
            request=str(body.get(_REQUEST, "")),
            envelope=dict(body.get(_ENVELOPE, {})),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StoreError(
            "A stored line of this session cannot be read.", hint="The row was changed, or a newer Coterie wrote it."
        ) from error


def _use_sessions(connection: DatabaseConnection, used: Mapping[tuple[str, str], float], *, expired: float) -> None:
    """Record when sessions were used; a session that had expired loses its entries.

    Sessions are written in the order of their names, so that two writers of the same ones do not deadlock.
    """
    if not used:
        return
    keys = sorted(used)
    connection.executemany(
        "DELETE FROM sessions WHERE tenant = ? AND id = ? AND used < ?", [(*key, expired) for key in keys]
    )
    connection.executemany(
        "INSERT INTO sessions VALUES (?, ?, ?) ON CONFLICT (tenant, id) DO UPDATE SET used = excluded.used "
        "WHERE excluded.used > sessions.used",
        [(*key, used[key]) for key in keys],
    )


# --- Feedback.

_LABEL_WORDS = 4
"""Number of words from which a value cannot be the name of a label."""
_ALARM = 1.645
"""Standard errors above the number that the confidences predict: 95%, one-sided."""


def check_feedback(feedback: Feedback, trace: Trace) -> None:
    """Check feedback. Raises `InputError` if it is about a specialist without a finding for that request."""
    names = sorted({finding.specialist for finding in trace.findings})
    if feedback.specialist and feedback.specialist not in names:
        raise InputError(
            f"The feedback is about {feedback.specialist[:100]!r}; for this request {names} found something.",
            hint="Leave the specialist out to speak of the whole answer.",
        )


def bare_feedback(feedback: Feedback, trace: Trace) -> Feedback:
    """Return feedback without content: its comment, or a value that is not a label, is replaced by its length."""
    comment = f"[{len(feedback.comment)} characters, not kept]" if feedback.comment else ""
    about = [finding for finding in trace.findings if feedback.specialist in {"", finding.specialist}]
    value = feedback.value
    texts = value if isinstance(value, tuple) else (value,)
    labels = all(finding.form == "label" for finding in about) and all(
        len(str(text).split()) < _LABEL_WORDS for text in texts
    )
    if any(isinstance(text, str) for text in texts) and not labels:
        value = f"[{sum(len(str(text)) for text in texts)} characters, not kept]"
    return replace(feedback, comment=comment, value=value)


def insert_feedback(connection: DatabaseConnection, feedback: Feedback, *, correct: bool | None) -> None:
    """Save feedback in place of the same caller's earlier one on the same finding, if the request still exists."""
    value = None if feedback.value is None else json.dumps(feedback.value, ensure_ascii=True)
    row = (feedback.trace_id, feedback.key, feedback.specialist, float(feedback.time), feedback.thumb, value)
    connection.execute(
        "INSERT INTO feedback SELECT ?, ?, ?, ?, ?, ?, ?, ? FROM requests WHERE id = ? "
        "ON CONFLICT (request, key, specialist) DO UPDATE SET time = excluded.time, thumb = excluded.thumb, "
        "value = excluded.value, comment = excluded.comment, correct = excluded.correct",
        (*row, feedback.comment, None if correct is None else int(correct), feedback.trace_id),
    )


def is_correct(feedback: Feedback, trace: Trace) -> bool | None:
    """Return whether the feedback says that the answer was right; None if it does not say.

    A thumb decides. A value without a thumb is the right answer: the answer was right if a finding that the feedback is
    about has that value, and wrong otherwise.
    """
    if feedback.thumb is not None:
        return feedback.thumb == "up"
    if feedback.value is None:
        return None
    about = [finding for finding in trace.findings if feedback.specialist in {"", finding.specialist}]
    return any(feedback.names(finding.value) for finding in about if finding.accepted)


def select_chosen(
    connection: DatabaseConnection,
    chooses: Callable[[str], bool],
    *,
    since: float,
    until: float,
    keys: Sequence[str] | None,
) -> list[tuple[Trace, tuple[Feedback, ...]]]:
    """Return the traces whose ids are chosen, oldest first, each with its feedback, oldest first."""
    ids = connection.execute(
        "SELECT id, tenant FROM requests WHERE time >= ? AND time < ? ORDER BY time, id", (since, until)
    )
    chosen = []
    for request, tenant in [id_ for id_ in ids if chooses(id_[0])]:
        row = connection.execute("SELECT trace FROM traces WHERE request = ?", (request,)).fetchone()
        if row is not None:
            opinions = said_of(connection, request, tenant)
            chosen.append(
                (
                    read_trace(request, row[0]),
                    tuple(opinion for opinion in opinions if keys is None or opinion.key in keys),
                )
            )
    return chosen


def said_of(connection: DatabaseConnection, request: str, tenant: str) -> list[Feedback]:
    """Return the feedback on an answer, the oldest first."""
    rows = connection.execute(
        "SELECT key, specialist, time, thumb, value, comment FROM feedback WHERE request = ? ORDER BY time", (request,)
    )
    return [Feedback(trace_id=request, tenant=tenant, **{**row, "value": _value(row["value"])}) for row in dicts(rows)]


def _value(text: str | None) -> Any:  # noqa: ANN401 - JSON, as it was said
    value = None if text is None else parse_json(text)
    return tuple(value) if isinstance(value, list) else value


def dicts(cursor: Cursor) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of a query as mappings by column name."""
    names = [column[0] for column in cursor.description]
    for row in cursor:
        yield dict(zip(names, row, strict=True))


class Complaints(NamedTuple):
    """The feedback on a specialist's answers. Giving feedback is voluntary."""

    answers: int
    wrong: int
    """Number of answers that were reported as wrong; others may be wrong, too."""
    expected: float
    """Number of wrong answers that the confidences of all answers predict."""
    variance: float

    @property
    def alarm(self) -> bool:
        """Whether there are more complaints than predicted errors, so that the confidences no longer hold.

        Fewer complaints prove nothing.
        """
        return self.wrong > self.expected + _ALARM * sqrt(self.variance)


def select_complaints(connection: DatabaseConnection, *, since: float, until: float) -> dict[str, Complaints]:
    """Return complaints by specialist about accepted findings. Feedback on a whole answer counts for each of them."""
    rows = connection.execute(
        """
        SELECT findings.specialist, count(*), sum(CASE WHEN EXISTS (
            SELECT 1 FROM feedback WHERE feedback.request = findings.request AND correct = 0
            AND feedback.specialist IN ('', findings.specialist)
        ) THEN 1 ELSE 0 END), sum(1 - confidence), sum(confidence * (1 - confidence))
        FROM findings JOIN requests ON id = findings.request
        WHERE accepted = 1 AND time >= ? AND time < ? GROUP BY findings.specialist
        """,
        (since, until),
    )
    return {name: Complaints(answers, int(wrong), *figures) for name, answers, wrong, *figures in rows}


# --- Pages of requests and sessions: a page costs the same however many there are.

LOOKED_THROUGH = 1000
"""Most requests that one page examines: some 10 ms."""
_COLUMNS = "id, time, session, label, status, milliseconds, joules, joules_kind, cost, counterfactual_cost"


def select_request_page(connection: DatabaseConnection, *, wanted: RequestFilter) -> RequestPage:
    """Return a page of a tenant's requests that pass the filter, the newest first."""
    time, request = wanted.after or (math.inf, "")
    given = {name: getattr(wanted, name) for name in ("status", "session") if getattr(wanted, name)}
    where = "".join(f" AND {name} = ?" for name in given)
    at = "time + 0" if wanted.session else "time"  # a session is found by its own index, and sorted
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM requests WHERE tenant = ?{where} AND ({at}, id) < (?, ?) "  # noqa: S608 - our names
        f"ORDER BY {at} DESC, id DESC LIMIT ?",
        (wanted.tenant, *given.values(), time, request, LOOKED_THROUGH + 1),
    )
    lines: list[RequestLine] = []
    last: tuple[float, str] | None = None
    for looked, row in enumerate(rows):
        if len(lines) == wanted.limit or looked == LOOKED_THROUGH:
            return RequestPage(lines=tuple(lines), after=last, complete=len(lines) == wanted.limit)
        last = row[1], row[0]
        if _passes(connection, row, wanted):
            lines.append(_line(connection, row))
    return RequestPage(lines=tuple(lines))


def _passes(connection: DatabaseConnection, row: Sequence[Any], wanted: RequestFilter) -> bool:
    if wanted.label and row[3] != wanted.label:
        return False
    if wanted.specialist:
        rows = connection.execute("SELECT specialist FROM findings WHERE request = ?", (row[0],))
        if all(name != wanted.specialist for (name,) in rows):
            return False
    return not wanted.judged or _opinion_of(connection, row[0]) is {"right": True, "wrong": False}.get(wanted.judged)


def _opinion_of(connection: DatabaseConnection, request: str) -> bool | None:
    """Return whether feedback says that an answer was right: the newest on the whole, else on a part; None if none."""
    row = connection.execute(
        "SELECT correct FROM feedback WHERE request = ? AND correct IS NOT NULL ORDER BY specialist <> '', time DESC",
        (request,),
    ).fetchone()
    return None if row is None else bool(row[0])


def _line(connection: DatabaseConnection, row: Sequence[Any]) -> RequestLine:
    findings = connection.execute(
        "SELECT specialist, accepted, confidence FROM findings WHERE request = ? ORDER BY position", (row[0],)
    )
    return RequestLine(
        **dict(zip(_COLUMNS.split(", ")[:8], row[:8], strict=True)),
        cost=None if row[8] is None else Decimal(row[8]),
        counterfactual_cost=None if row[9] is None else Decimal(row[9]),
        findings=tuple((name, bool(accepted), confidence) for name, accepted, confidence in findings),
        correct=_opinion_of(connection, row[0]),
    )


def select_session_page(
    connection: DatabaseConnection, *, tenant: str, expired: float, after: tuple[float, str] | None, limit: int
) -> SessionPage:
    """Return a page of a tenant's sessions that have not expired, the one used last first."""
    start = after or (math.inf, "")
    rows = connection.execute(
        "SELECT used, id FROM sessions WHERE tenant = ? AND (used, id) < (?, ?) AND used >= ? "
        "ORDER BY used DESC, id DESC LIMIT ?",
        (tenant, *start, expired, limit + 1),
    ).fetchall()
    sessions = tuple(_session(connection, tenant, session, used) for used, session in rows[:limit])
    return SessionPage(sessions=sessions, after=tuple(rows[limit - 1]) if len(rows) > limit else None)


def _session(connection: DatabaseConnection, tenant: str, session: str, used: float) -> SessionSummary:
    began, entries, turns, rank = connection.execute(
        f"SELECT min(time), count(*), {TURNS}, {RANK} FROM entries WHERE tenant = ? AND session = ?",  # noqa: S608
        (tenant, session),
    ).fetchone()
    return SessionSummary(
        id=session,
        tenant=tenant,
        began=used if began is None else min(began, used),
        used=used,
        turns=turns,
        entries=entries,
        label=Label.PUBLIC if rank is None else tuple(Label)[rank],
    )


def select_said(connection: DatabaseConnection, *, trace_id: str, tenant: str) -> tuple[Feedback, ...]:
    """Return the feedback on an answer; none for another tenant's."""
    mine = connection.execute("SELECT 1 FROM requests WHERE id = ? AND tenant = ?", (trace_id, tenant)).fetchone()
    return () if mine is None else tuple(said_of(connection, trace_id, tenant))


_MOST_OPINIONS = 5000


def select_opinions(connection: DatabaseConnection, *, specialist: str, tenant: str, since: float) -> list[Opinion]:
    """Return the newest feedback since a time on answers of a specialist, oldest first."""
    rows = connection.execute(
        "SELECT f.request, f.key, f.value, f.correct FROM feedback f JOIN requests r ON r.id = f.request "
        "WHERE f.time >= ? AND f.correct IS NOT NULL AND f.specialist IN ('', ?) AND r.tenant = ? AND EXISTS "
        "(SELECT 1 FROM findings g WHERE g.request = f.request AND g.specialist = ?) ORDER BY f.time DESC LIMIT ?",
        (since, specialist, tenant, specialist, _MOST_OPINIONS),
    ).fetchall()
    return list(map(Opinion._make, reversed(rows)))


_MOST_CORRECTIONS = 5000


def select_corrections(connection: DatabaseConnection, *, specialist: str, tenant: str) -> list[tuple[Trace, Feedback]]:
    """Return the newest correction of each request of a specialist, with its trace, oldest first."""
    newest = connection.execute(
        "SELECT request, max(time) AS last FROM feedback WHERE value IS NOT NULL AND specialist IN ('', ?) "
        "GROUP BY request ORDER BY last DESC LIMIT ?",
        (specialist, _MOST_CORRECTIONS),
    ).fetchall()
    corrections = []
    for request, _ in reversed(newest):
        row = connection.execute(
            "SELECT trace FROM traces JOIN requests ON requests.id = traces.request WHERE traces.request = ? "
            "AND requests.tenant = ?",
            (request, tenant),
        ).fetchone()
        if row is not None:
            opinions = [opinion for opinion in said_of(connection, request, tenant) if opinion.value is not None]
            opinions = [opinion for opinion in opinions if opinion.specialist in {"", specialist}]
            corrections.append((read_trace(request, row[0]), opinions[-1]))
    return corrections
