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

from coterie.store.rows import RANK, TURNS, said_of
from coterie.store.statements import DatabaseConnection
from coterie.types import Feedback, Label, RequestFilter, RequestLine, RequestPage, SessionPage, SessionSummary

LOOKED_THROUGH = 2000
"""Requests that one page looks through at most: some 10 ms."""
_COLUMNS = "id, time, session, label, status, milliseconds, joules, joules_kind, cost, counterfactual_cost"


def select_request_page(connection: DatabaseConnection, *, wanted: RequestFilter) -> RequestPage:
    """A tenant's requests, the newest first, as far as they pass the filter."""
    time, request = wanted.after or (math.inf, "")
    given = {name: getattr(wanted, name) for name in ("status", "session") if getattr(wanted, name)}
    where = "".join(f" AND {name} = ?" for name in given)
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM requests WHERE tenant = ?{where} AND (time, id) < (?, ?) "  # noqa: S608 - our names
        "ORDER BY time DESC, id DESC LIMIT ?",
        (wanted.tenant, *given.values(), time, request, LOOKED_THROUGH + 1),
    )
    lines: list[RequestLine] = []
    last: tuple[float, str] | None = None
    for looked, row in enumerate(rows):
        if len(lines) == wanted.limit or looked == LOOKED_THROUGH:
            return RequestPage(lines=tuple(lines), after=last, complete=len(lines) == wanted.limit)
        last = row[1], row[0]
        line = _line(connection, row) if not wanted.label or row[3] == wanted.label else None
        if line is not None and _passes(line, wanted):
            lines.append(line)
    return RequestPage(lines=tuple(lines))


def _passes(line: RequestLine, wanted: RequestFilter) -> bool:
    if wanted.judged and line.correct is not {"right": True, "wrong": False}.get(wanted.judged):
        return False
    return not wanted.specialist or any(name == wanted.specialist for name, *_ in line.findings)


def _line(connection: DatabaseConnection, row: Sequence[Any]) -> RequestLine:
    findings = connection.execute(
        "SELECT specialist, accepted, confidence FROM findings WHERE request = ? ORDER BY position", (row[0],)
    )
    said = connection.execute(
        "SELECT correct FROM feedback WHERE request = ? AND correct IS NOT NULL ORDER BY specialist <> '', time DESC",
        (row[0],),
    ).fetchone()
    return RequestLine(
        **dict(zip(_COLUMNS.split(", ")[:8], row[:8], strict=True)),
        cost=None if row[8] is None else Decimal(row[8]),
        counterfactual_cost=None if row[9] is None else Decimal(row[9]),
        findings=tuple((name, bool(accepted), confidence) for name, accepted, confidence in findings),
        correct=None if said is None else bool(said[0]),
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
