"""What a database holds of somebody, found and taken out; figures of the ledger stay.

Functions on a connection, inside a transaction of whoever calls them. Tables that other steps of the schema add about a
request (they refer to `requests`) are found by their references, so what they hold is erased as well.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from coterie.errors import StoreError

from ._codec import to_json
from ._content import without_content
from ._mentions import Mention
from ._rows import erase_session, read_trace

_FIGURES = ("steps", "findings")
"""Tables about requests that hold names of ours and figures alone."""
_NAMING = frozenset({"request", "trace", "trace_id"})
"""A column of such a name says which request a row is about, also where it does not refer to it."""


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Whose content is meant."""

    tenant: str | None = None
    """This tenant's alone; None for every tenant's."""
    session: str | None = None
    """This session of the tenant; None for all."""
    mention: Mention | None = None
    """Only what mentions somebody; None for all."""


@dataclass(frozen=True, kw_only=True)
class Holdings:
    """What a database holds of somebody."""

    sessions: tuple[tuple[str, str], ...] = ()
    """Tenant and name of each."""
    entries: int = 0
    """In these sessions."""
    traces: tuple[str, ...] = ()
    """Ids of the requests whose traces are meant; those of the sessions included."""
    rows: Mapping[str, int] = field(default_factory=dict)
    """Rows about these requests in further tables, by table."""

    def __bool__(self) -> bool:
        return bool(self.sessions or self.traces)


def select_holdings(connection: sqlite3.Connection, scope: Scope) -> Holdings:
    """Everything of a scope: sessions with all their requests, and requests without a session."""
    sessions = tuple(_sessions(connection, scope))
    entries = sum(
        connection.execute("SELECT count(*) FROM entries WHERE tenant = ? AND session = ?", each).fetchone()[0]
        for each in sessions
    )
    traces = dict.fromkeys(_traces(connection, scope, set(sessions)))
    rows = {table: _count(connection, table, column, traces) for table, column in _about_requests(connection)}
    return Holdings(sessions=sessions, entries=entries, traces=tuple(traces), rows={t: n for t, n in rows.items() if n})


def erase_holdings(connection: sqlite3.Connection, found: Holdings, mention: Mention | None, *, whole: bool) -> None:
    """Take it out.

    Args:
        connection: In a transaction.
        found: What `select_holdings` found in the same transaction.
        mention: Whom no trace may mention afterwards: one that still does without its content goes altogether.
        whole: The traces go altogether, whatever they say.
    """
    for tenant, session in found.sessions:
        erase_session(connection, session, tenant)
    for table, column in _about_requests(connection):
        _execute_many(connection, f"DELETE FROM {table} WHERE {column} = ?", found.traces)  # noqa: S608 - our names
    for request in found.traces:
        row = connection.execute("SELECT trace FROM traces WHERE request = ?", (request,)).fetchone()
        bare = None if row is None or whole else _bare(request, row[0])
        if bare is None or (mention is not None and mention.within_json(bare)):
            connection.execute("DELETE FROM traces WHERE request = ?", (request,))
        else:
            connection.execute("UPDATE traces SET trace = ? WHERE request = ?", (bare, request))
    _execute_many(connection, "UPDATE requests SET session = NULL WHERE id = ?", found.traces)


def delete_old(connection: sqlite3.Connection, *, before: float) -> bool:
    """Delete the traces, and rows in tables like them, of requests admitted before a time; whether there were any."""
    old = "(SELECT id FROM requests WHERE time < ?)"
    tables = [("traces", "request"), *_about_requests(connection)]
    gone = 0
    for table, column in tables:
        statement = f"DELETE FROM {table} WHERE {column} IN {old}"  # noqa: S608 - our names
        gone += connection.execute(statement, (before,)).rowcount
    named = "UPDATE requests SET session = NULL WHERE time < ? AND session IS NOT NULL"
    return bool(gone + connection.execute(named, (before,)).rowcount)


def select_export(connection: sqlite3.Connection, found: Holdings) -> Iterator[dict[str, Any]]:
    """Each request of these holdings with its figures, its trace, and its rows in further tables."""
    for request in found.traces:
        cursor = connection.execute("SELECT * FROM requests WHERE id = ?", (request,))
        names = [each[0] for each in cursor.description]
        about: dict[str, Any] = dict(zip(names, cursor.fetchone(), strict=True))
        row = connection.execute("SELECT trace FROM traces WHERE request = ?", (request,)).fetchone()
        further = {
            table: _rows(connection, table, column, request)
            for table, column in [*_about_requests(connection), *((table, "request") for table in _FIGURES)]
        }
        yield {**about, **further, "trace": None if row is None else row[0]}


def _rows(connection: sqlite3.Connection, table: str, column: str, request: str) -> list[dict[str, Any]]:
    cursor = connection.execute(f"SELECT * FROM {table} WHERE {column} = ?", (request,))  # noqa: S608 - our names
    names = [each[0] for each in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _sessions(connection: sqlite3.Connection, scope: Scope) -> Iterator[tuple[str, str]]:
    """Sessions, also those that have expired and that only the ledger still names."""
    known = connection.execute(
        "SELECT tenant, id FROM sessions UNION SELECT tenant, session FROM requests WHERE session IS NOT NULL"
    ).fetchall()
    for tenant, session in known:
        if scope.tenant not in {None, tenant} or scope.session not in {None, session}:
            continue
        if scope.mention is None or _is_about(connection, tenant, session, scope.mention):
            yield tenant, session


def _is_about(connection: sqlite3.Connection, tenant: str, session: str, mention: Mention) -> bool:
    if mention.within(session):
        return True
    lines = connection.execute("SELECT content FROM entries WHERE tenant = ? AND session = ?", (tenant, session))
    return any(mention.within_json(content) for (content,) in lines)


def _traces(connection: sqlite3.Connection, scope: Scope, sessions: set[tuple[str, str]]) -> Iterator[str]:
    """Requests of the sessions, and others that are in the scope by themselves."""
    for request, tenant, session in connection.execute("SELECT id, tenant, session FROM requests"):
        meant = scope.session is None and scope.tenant in {None, tenant}
        if (tenant, session) in sessions or (
            meant and (scope.mention is None or _mentions(connection, request, scope.mention))
        ):
            yield request


def _mentions(connection: sqlite3.Connection, request: str, mention: Mention) -> bool:
    """Whether a request's trace, or a row about it, mentions somebody."""
    tables = [("traces", "request"), *_about_requests(connection)]
    rows = (row for table, column in tables for row in _rows(connection, table, column, request))
    return any(mention.within_json(value) for row in rows for value in row.values() if isinstance(value, str))


def _about_requests(connection: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """Tables, besides `traces`, with content about a request, and the column that names it."""
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()]
    for table in sorted(set(tables) - set(_FIGURES) - {"traces", "requests"}):
        referring = connection.execute(f"PRAGMA foreign_key_list({table})").fetchall()
        columns = {each[3] for each in referring if each[2] == "requests"}
        columns |= _NAMING & {each[1] for each in connection.execute(f"PRAGMA table_info({table})").fetchall()}
        yield from ((table, column) for column in sorted(columns))


def _count(connection: sqlite3.Connection, table: str, column: str, requests: Iterable[str]) -> int:
    query = f"SELECT count(*) FROM {table} WHERE {column} = ?"  # noqa: S608 - our names
    return sum(connection.execute(query, (request,)).fetchone()[0] for request in requests)


def _bare(request: str, text: str) -> str | None:
    """A stored trace without its content and its session; None for one that nobody understands."""
    try:
        return to_json(replace(without_content(read_trace(request, text)), session=None))
    except StoreError:
        return None


def _execute_many(connection: sqlite3.Connection, statement: str, requests: Iterable[str]) -> None:
    connection.executemany(statement, [(request,) for request in requests])
