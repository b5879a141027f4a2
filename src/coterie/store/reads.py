"""Pages of requests and sessions: a page costs the same however many there are.

A page begins behind the last line of the page before, by an index on tenant and time; nothing is counted or skipped.
What no index finds, such as the requests of one specialist, is looked for in a bounded number of requests a page: the
page then says how far it came.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from coterie.store.rows import RANK, TURNS, read_trace, said_of
from coterie.store.statements import DatabaseConnection
from coterie.types import (
    Feedback,
    Label,
    Opinion,
    RequestFilter,
    RequestLine,
    RequestPage,
    SessionPage,
    SessionSummary,
    Trace,
)

LOOKED_THROUGH = 1000
"""Requests that one page looks through at most: some 10 ms."""
_COLUMNS = "id, time, session, label, status, milliseconds, joules, joules_kind, cost, counterfactual_cost"


def select_request_page(connection: DatabaseConnection, *, wanted: RequestFilter) -> RequestPage:
    """A tenant's requests, the newest first, as far as they pass the filter."""
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
        found = connection.execute("SELECT specialist FROM findings WHERE request = ?", (row[0],))
        if all(name != wanted.specialist for (name,) in found):
            return False
    return not wanted.judged or _said(connection, row[0]) is {"right": True, "wrong": False}.get(wanted.judged)


def _said(connection: DatabaseConnection, request: str) -> bool | None:
    """Whether somebody said that an answer was right: the newest word about the whole, else about a part."""
    said = connection.execute(
        "SELECT correct FROM feedback WHERE request = ? AND correct IS NOT NULL ORDER BY specialist <> '', time DESC",
        (request,),
    ).fetchone()
    return None if said is None else bool(said[0])


def _line(connection: DatabaseConnection, row: Sequence[Any]) -> RequestLine:
    findings = connection.execute(
        "SELECT specialist, accepted, confidence FROM findings WHERE request = ? ORDER BY position", (row[0],)
    )
    return RequestLine(
        **dict(zip(_COLUMNS.split(", ")[:8], row[:8], strict=True)),
        cost=None if row[8] is None else Decimal(row[8]),
        counterfactual_cost=None if row[9] is None else Decimal(row[9]),
        findings=tuple((name, bool(accepted), confidence) for name, accepted, confidence in findings),
        correct=_said(connection, row[0]),
    )


def select_session_page(
    connection: DatabaseConnection, *, tenant: str, expired: float, after: tuple[float, str] | None, limit: int
) -> SessionPage:
    """A tenant's sessions that have not expired, the one used last first."""
    place = after or (math.inf, "")
    rows = connection.execute(
        "SELECT used, id FROM sessions WHERE tenant = ? AND (used, id) < (?, ?) AND used >= ? "
        "ORDER BY used DESC, id DESC LIMIT ?",
        (tenant, *place, expired, limit + 1),
    ).fetchall()
    found = tuple(_session(connection, tenant, session, used) for used, session in rows[:limit])
    return SessionPage(sessions=found, after=tuple(rows[limit - 1]) if len(rows) > limit else None)


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
    """What was said of an answer; nothing of another tenant's."""
    mine = connection.execute("SELECT 1 FROM requests WHERE id = ? AND tenant = ?", (trace_id, tenant)).fetchone()
    return () if mine is None else tuple(said_of(connection, trace_id, tenant))


_MOST_OPINIONS = 5000


def select_opinions(connection: DatabaseConnection, *, specialist: str, tenant: str, since: float) -> list[Opinion]:
    """The newest words from a time on about answers of a specialist, oldest first."""
    rows = connection.execute(
        "SELECT f.request, f.key, f.value, f.correct FROM feedback f JOIN requests r ON r.id = f.request "
        "WHERE f.time >= ? AND f.correct IS NOT NULL AND f.specialist IN ('', ?) AND r.tenant = ? AND EXISTS "
        "(SELECT 1 FROM findings g WHERE g.request = f.request AND g.specialist = ?) ORDER BY f.time DESC LIMIT ?",
        (since, specialist, tenant, specialist, _MOST_OPINIONS),
    ).fetchall()
    return list(map(Opinion._make, reversed(rows)))


_MOST_CORRECTIONS = 5000


def select_corrections(connection: DatabaseConnection, *, specialist: str, tenant: str) -> list[tuple[Trace, Feedback]]:
    """What somebody said would have been right, with the trace, the newest word about each request, oldest first."""
    newest = connection.execute(
        "SELECT request, max(time) AS last FROM feedback WHERE value IS NOT NULL AND specialist IN ('', ?) "
        "GROUP BY request ORDER BY last DESC LIMIT ?",
        (specialist, _MOST_CORRECTIONS),
    ).fetchall()
    found = []
    for request, _ in reversed(newest):
        row = connection.execute(
            "SELECT trace FROM traces JOIN requests ON requests.id = traces.request WHERE traces.request = ? "
            "AND requests.tenant = ?",
            (request, tenant),
        ).fetchone()
        if row is not None:
            said = [each for each in said_of(connection, request, tenant) if each.value is not None]
            said = [each for each in said if each.specialist in {"", specialist}]
            found.append((read_trace(request, row[0]), said[-1]))
    return found
