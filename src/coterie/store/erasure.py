"""Finds and erases what a database holds about a person; figures of the ledger stay.

The functions take a connection, inside a transaction of the caller. Tables that other steps of the schema add about a
request (they refer to `requests`) are found by their references, so their rows are erased as well.
"""

from __future__ import annotations

import codecs
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from mmap import mmap
from typing import Any

from coterie.errors import InputError, StoreError
from coterie.runtime.codec import dumps, parse_json
from coterie.store.content import without_content
from coterie.store.flywheel import drop_examples, versions_that_saw
from coterie.store.rows import erase_session, read_trace
from coterie.store.statements import DatabaseConnection, columns_of, tables_of
from coterie.text.folding import ALIKE, PLAIN_SIGNS, shown

# --- Whether a text mentions somebody: a name, an e-mail address, an id, as a whole and in any letter case.
#
# Both sides are folded first (Unicode NFKC, case, signs without width, the ways to set an apostrophe and a hyphen),
# and any white space between words counts as one space. Only the value that is given is looked for: no nickname, no
# other spelling.

_SHORTEST = 3
"""Fewest characters of a value to search for: a shorter value occurs in every second text."""
_HEAD = 4096
"""Bytes at the beginning of a file that decide whether it is binary."""
_SPACE = {chr(code) for code in range(0x3001) if chr(code).isspace()}
_SPACES = (
    rb"(?:"
    + b"|".join(sorted({re.escape(form.encode()) for c in _SPACE for form in (c, json.dumps(c)[1:-1])}))
    + rb")+"
)
"""White space of any kind, as UTF-8 or as JSON escapes."""


_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Mention:
    """Finds any of several values in texts, in the JSON of rows and in the bytes of files."""

    def __init__(self, values: Sequence[str]) -> None:
        """Set the values. Raises `InputError` for a value that is too short to identify a person."""
        folded = [" ".join(_fold(value).split()) for value in values]
        for value, words in zip(values, folded, strict=True):
            if len(words) < _SHORTEST:
                raise InputError(
                    f"Asked to look for {value!r}, which has {len(words)} characters; the fewest are {_SHORTEST}.",
                    hint="Give a whole name, an e-mail address or an id.",
                )
        self.values = tuple(values)
        self._pattern = re.compile("|".join(_pattern(words) for words in folded))
        composed = {unicodedata.normalize("NFC", value) for value in (*values, *folded)}
        anywhere = b"|".join(
            _SPACES.join(b"".join(map(_letter_pattern, word)) for word in value.split())
            for value in sorted({*values, *composed})
        )
        self._anywhere = re.compile(anywhere, re.IGNORECASE)
        self._alone = re.compile(rb"(?<![A-Za-z0-9_])(?:" + anywhere + rb")(?![A-Za-z0-9_])", re.IGNORECASE)

    def within(self, text: str) -> bool:
        """Return whether a text mentions one of the values."""
        return self._pattern.search(_fold(text)) is not None

    def within_json(self, text: str) -> bool:
        """Return whether a name or a text in a JSON document mentions a value; invalid JSON is read as a text."""
        try:
            document = parse_json(text)
        except ValueError:
            return self.within(text)
        return any(self.within(string) for string in _strings(document))

    def within_bytes(self, content: bytes | mmap) -> bool:
        """Return whether a file's bytes mention a value, as UTF-8, UTF-16 or Windows-1252, or as JSON escapes it.

        Text that is compressed or encoded otherwise is not seen. In a binary file texts follow each other without a
        gap, so there a value need not be a separate word.
        """
        if content[:2] in _WIDE:
            return self.within(bytes(content).decode("utf-16", "replace"))
        pattern = self._anywhere if b"\0" in content[:_HEAD] else self._alone
        return pattern.search(content) is not None


def _fold(text: str) -> str:
    return unicodedata.normalize("NFKC", shown(text).translate(PLAIN_SIGNS)).casefold().translate(PLAIN_SIGNS)


def _pattern(words: str) -> str:
    spaced = r"\s+".join(re.escape(word) for word in words.split())
    return rf"(?<!\w){spaced}(?!\w)"


def _letter_pattern(letter: str) -> bytes:
    """Return a pattern of a letter in either case, in any Unicode form, as UTF-8, Windows-1252 or JSON escape."""
    cased = {letter, letter.lower(), letter.upper(), letter.title(), *ALIKE.get(letter, "")}
    formed = {unicodedata.normalize(form, letter) for letter in cased for form in ("NFC", "NFD")} | cased
    written = {*formed, *(json.dumps(letter)[1:-1] for letter in formed)}
    octets = {letter.encode("utf-8", "surrogatepass") for letter in written}
    octets |= {octet for letter in cased if (octet := letter.encode("cp1252", "replace")) != b"?" or letter == "?"}
    return b"(?:" + b"|".join(sorted(re.escape(octet) for octet in octets)) + b")"


def _strings(document: object) -> Iterator[str]:
    if isinstance(document, str):
        yield document
    elif isinstance(document, dict):
        for key, value in document.items():
            yield str(key)
            yield from _strings(value)
    elif isinstance(document, list):
        for value in document:
            yield from _strings(value)
    elif isinstance(document, int | float) and not isinstance(document, bool):
        yield str(document)


_FIGURES = ("steps", "findings", "decisions")
"""Tables about requests that hold only figures and our own names."""
_CAPTURED = "examples"
"""Table of captured calls, which other tables refer to."""
_NAMING = frozenset({"request", "trace", "trace_id"})
"""Names of columns that say which request a row is about, also without a foreign key."""


@dataclass(frozen=True, kw_only=True)
class ErasureScope:
    """The content to find: whose, and of which session."""

    tenant: str | None = None
    """The tenant; None for every tenant."""
    session: str | None = None
    """The session of the tenant; None for all."""
    mention: Mention | None = None
    """Only content that mentions a person; None for all content."""


@dataclass(frozen=True, kw_only=True)
class Holdings:
    """What a database holds about a person."""

    sessions: tuple[tuple[str, str], ...] = ()
    """Tenant and name of each session."""
    entries: int = 0
    """Number of entries in these sessions."""
    traces: tuple[str, ...] = ()
    """Ids of the requests in the scope, those of the sessions included."""
    rows: Mapping[str, int] = field(default_factory=dict)
    """Number of rows about these requests in other tables, by table."""
    examples: tuple[str, ...] = ()
    """Ids of captured examples."""
    saw: tuple[tuple[str, str], ...] = ()
    """Specialist and version of every model that was trained on these examples; versions stay."""

    def __bool__(self) -> bool:
        return bool(self.sessions or self.traces or self.examples)


def select_holdings(connection: DatabaseConnection, scope: ErasureScope) -> Holdings:
    """Return everything in a scope: sessions with all their requests, and requests without a session."""
    sessions = tuple(_sessions(connection, scope))
    entries = sum(
        connection.execute("SELECT count(*) FROM entries WHERE tenant = ? AND session = ?", session).fetchone()[0]
        for session in sessions
    )
    traces = dict.fromkeys(_traces(connection, scope, set(sessions)))
    rows = {table: _count(connection, table, column, traces) for table, column in _about_requests(connection)}
    examples = tuple(_examples(connection, scope, set(traces)))
    return Holdings(
        sessions=sessions,
        entries=entries,
        traces=tuple(traces),
        rows={t: n for t, n in rows.items() if n},
        examples=examples,
        saw=tuple(versions_that_saw(connection, examples)),
    )


def erase_holdings(connection: DatabaseConnection, holdings: Holdings, mention: Mention | None, *, whole: bool) -> None:
    """Erase what was found.

    Args:
        connection: In a transaction.
        holdings: The result of `select_holdings` in the same transaction.
        mention: The person whom no trace may mention afterwards: a trace that still does without its content is
            deleted.
        whole: Whether the traces are deleted in any case.
    """
    for tenant, session in holdings.sessions:
        erase_session(connection, session, tenant)
    for example in holdings.examples:
        drop_examples(connection, "id = ?", (example,))
    for table, column in _about_requests(connection):
        _execute_many(connection, f"DELETE FROM {table} WHERE {column} = ?", holdings.traces)  # noqa: S608 - our names
    for request in holdings.traces:
        row = connection.execute("SELECT trace FROM traces WHERE request = ?", (request,)).fetchone()
        bare = None if row is None or whole else _bare(request, row[0])
        if bare is None or (mention is not None and mention.within_json(bare)):
            connection.execute("DELETE FROM traces WHERE request = ?", (request,))
        else:
            connection.execute("UPDATE traces SET trace = ? WHERE request = ?", (bare, request))
    _execute_many(connection, "UPDATE requests SET session = NULL WHERE id = ?", holdings.traces)


def delete_old(connection: DatabaseConnection, *, before: float) -> bool:
    """Delete traces, and rows in similar tables, of requests admitted before a time; return whether there were any."""
    old = "(SELECT id FROM requests WHERE time < ?)"
    tables = [("traces", "request"), *_about_requests(connection)]
    gone = drop_examples(connection, f"request IN {old} OR (request = '' AND time < ?)", (before, before))
    for table, column in tables:
        statement = f"DELETE FROM {table} WHERE {column} IN {old}"  # noqa: S608 - our names
        gone += connection.execute(statement, (before,)).rowcount
    named = "UPDATE requests SET session = NULL WHERE time < ? AND session IS NOT NULL"
    return bool(gone + connection.execute(named, (before,)).rowcount)


def select_export(connection: DatabaseConnection, holdings: Holdings) -> Iterator[dict[str, Any]]:
    """Yield each request of these holdings with its figures, its trace, and its rows in other tables."""
    for request in holdings.traces:
        cursor = connection.execute("SELECT * FROM requests WHERE id = ?", (request,))
        names = [column[0] for column in cursor.description]
        about: dict[str, Any] = dict(zip(names, cursor.fetchone(), strict=True))
        row = connection.execute("SELECT trace FROM traces WHERE request = ?", (request,)).fetchone()
        further = {
            table: _rows(connection, table, column, request)
            for table, column in [
                *_about_requests(connection),
                *((table, "request") for table in (*_FIGURES, _CAPTURED)),
            ]
        }
        yield {**about, **further, "trace": None if row is None else row[0]}
    alone = [row for example in holdings.examples for row in _rows(connection, _CAPTURED, "id", example)]
    if alone := [row for row in alone if row["request"] not in set(holdings.traces)]:
        yield {_CAPTURED: alone}


def _examples(connection: DatabaseConnection, scope: ErasureScope, traces: set[str]) -> Iterator[str]:
    """Yield the captured examples of the requests, and others that are in the scope by themselves."""
    rows = connection.execute("SELECT id, request, tenant, prompt, input, answer FROM examples")
    for example, request, tenant, prompt, *texts in rows:
        meant = scope.session is None and scope.tenant in {None, tenant}
        is_mentioned = (
            scope.mention is None or scope.mention.within_json(prompt) or any(map(scope.mention.within, texts))
        )
        if request in traces or (meant and is_mentioned):
            yield example


def _rows(connection: DatabaseConnection, table: str, column: str, request: str) -> list[dict[str, Any]]:
    cursor = connection.execute(f"SELECT * FROM {table} WHERE {column} = ?", (request,))  # noqa: S608 - our names
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _sessions(connection: DatabaseConnection, scope: ErasureScope) -> Iterator[tuple[str, str]]:
    """Yield the sessions, also those that have expired and that only the ledger still names."""
    rows = connection.execute(
        "SELECT tenant, id FROM sessions UNION SELECT tenant, session FROM requests WHERE session IS NOT NULL"
    ).fetchall()
    for tenant, session in rows:
        if scope.tenant not in {None, tenant} or scope.session not in {None, session}:
            continue
        if scope.mention is None or _is_about(connection, tenant, session, scope.mention):
            yield tenant, session


def _is_about(connection: DatabaseConnection, tenant: str, session: str, mention: Mention) -> bool:
    if mention.within(session):
        return True
    lines = connection.execute("SELECT content FROM entries WHERE tenant = ? AND session = ?", (tenant, session))
    return any(mention.within_json(content) for (content,) in lines)


def _traces(connection: DatabaseConnection, scope: ErasureScope, sessions: set[tuple[str, str]]) -> Iterator[str]:
    """Yield the requests of the sessions, and others that are in the scope by themselves."""
    for request, tenant, session in connection.execute("SELECT id, tenant, session FROM requests"):
        meant = scope.session is None and scope.tenant in {None, tenant}
        if (tenant, session) in sessions or (
            meant and (scope.mention is None or _mentions(connection, request, scope.mention))
        ):
            yield request


def _mentions(connection: DatabaseConnection, request: str, mention: Mention) -> bool:
    """Return whether a request's trace, or a row about it, mentions the person."""
    tables = [("traces", "request"), *_about_requests(connection)]
    rows = (row for table, column in tables for row in _rows(connection, table, column, request))
    return any(mention.within_json(value) for row in rows for value in row.values() if isinstance(value, str))


def _about_requests(connection: DatabaseConnection) -> Iterator[tuple[str, str]]:
    """Yield the tables, besides `traces`, with content about a request, each with the column that names the request."""
    for table in sorted(set(tables_of(connection)) - set(_FIGURES) - {"traces", "requests", _CAPTURED}):
        columns = {name for name, refers in columns_of(connection, table) if refers == "requests" or name in _NAMING}
        yield from ((table, column) for column in sorted(columns))


def _count(connection: DatabaseConnection, table: str, column: str, requests: Iterable[str]) -> int:
    query = f"SELECT count(*) FROM {table} WHERE {column} = ?"  # noqa: S608 - our names
    return sum(connection.execute(query, (request,)).fetchone()[0] for request in requests)


def _bare(request: str, text: str) -> str | None:
    """Return a stored trace without its content and its session; None for a trace that cannot be read."""
    try:
        return dumps(replace(without_content(read_trace(request, text)), session=None))
    except StoreError:
        return None


def _execute_many(connection: DatabaseConnection, statement: str, requests: Iterable[str]) -> None:
    connection.executemany(statement, [(request,) for request in requests])
