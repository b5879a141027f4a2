"""Pages of an audit log: from its end, or from any entry, backwards, without reading what lies between.

Entries are numbered, so an entry is found by halving the file. What has no index, such as the entries of one kind, is
looked for in a bounded part of the file, of which only the lines that may be meant are read; the page then says how far
it came.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from coterie.governance.audit_events import EGRESS, read_beginning, read_entry, read_time

_BLOCK = 1 << 16
LOOKED_THROUGH = 4 << 20
"""Bytes of a log that one page looks through at most: some 5 ms."""
_SETTLED = 1 << 20
"""Bytes behind a page's first egress in which its outcome is looked for."""
_LATE = 3600.0
"""Seconds by which an entry may stand behind one that is younger: a request's is of the time it was admitted."""
_OUTCOMES = (b'"kind":"request"', b'"kind":"egress_outcome"')
_CAME_OUT = b'"egress":{'


@dataclass(frozen=True, kw_only=True)
class AuditPage:
    """Entries, the newest first."""

    entries: tuple[Mapping[str, Any], ...]
    before: int | None
    """The next page has entries before this number; None where there are none."""
    complete: bool
    """False where the page ended because it had looked through so much of the log."""
    reached: float | None
    """The time of the last entry that was looked at."""
    outcomes: Mapping[str, str]
    """What came of what left, by its id, as far as it stands on these pages."""


def read_page(
    path: Path,
    *,
    before: int | None = None,
    kind: str = "",
    tenant: str | None = None,
    since: float = 0.0,
    limit: int = 100,
    most: int = LOOKED_THROUGH,
) -> AuditPage:
    """Read one page of a log.

    Args:
        path: The log.
        before: Number of the entry that the page ends before; None for the log's end.
        kind: Entries of one kind; all if empty.
        tenant: Entries of one tenant; all if None.
        since: Entries from that time on.
        limit: Entries of the page.
        most: Bytes that are looked through.

    Raises:
        OSError: the log cannot be read.
    """
    entries: list[Mapping[str, Any]] = []
    outcomes: dict[str, str] = {}
    wanted = _marks(kind, tenant)
    with path.open("rb") as file:
        end = _place_of(file, before)
        if kind == EGRESS:
            for _, settled in _marked(_lines_ahead(file, end, _SETTLED), (_CAME_OUT,)):
                _note_outcomes(settled, outcomes)
        last: bytes | None = None
        for at, line in _lines_back(file, end, (*wanted, *((_CAME_OUT,) if kind == EGRESS else ()))):
            if len(entries) == limit or end - at > most:
                return _page(entries, last, outcomes, complete=len(entries) == limit)
            if (read_time(line) or since) < since - _LATE:
                break
            last = line
            if kind == EGRESS:
                _note_outcomes(line, outcomes)
            if wanted and not any(mark in line for mark in wanted):
                continue
            try:
                entry = read_entry(line)
            except ValueError:
                continue  # half a line of a writer at work
            if kind in {"", entry["kind"]} and tenant in {None, entry.get("tenant")} and entry["time"] >= since:
                entries.append(entry)
    return AuditPage(entries=tuple(entries), before=None, complete=True, reached=None, outcomes=outcomes)


def _marks(kind: str, tenant: str | None) -> tuple[bytes, ...]:
    """What stands in each line that is meant; empty if all are."""
    if kind:
        return (f'"kind":{json.dumps(kind, ensure_ascii=False)}'.encode(),)
    return () if tenant is None else (f'"tenant":{json.dumps(tenant, ensure_ascii=False)}'.encode(),)


def _page(
    entries: list[Mapping[str, Any]], last: bytes | None, outcomes: dict[str, str], *, complete: bool
) -> AuditPage:
    found = read_beginning(last or b"")
    return AuditPage(
        entries=tuple(entries),
        before=found[1] if found else None,
        complete=complete,
        reached=read_time(last or b""),
        outcomes=outcomes,
    )


def _note_outcomes(line: bytes, outcomes: dict[str, str]) -> None:
    """Keep what a line says of what left."""
    if _CAME_OUT in line and any(kind in line for kind in _OUTCOMES):
        try:
            outcomes.update(read_entry(line)["about"].get("egress") or {})
        except (ValueError, AttributeError):
            return


def _place_of(file: BinaryIO, number: int | None) -> int:
    """Where the entry of that number begins; the file's end for None, and for one that is not there yet."""
    low, high = 0, file.seek(0, os.SEEK_END)
    if number is None:
        return high
    while high - low > _BLOCK:  # entries before `low` have lower numbers, `high` lies behind one that has not
        middle = (low + high) // 2
        found = _first_entry(file, middle, high)
        if found is None or found[1] >= number:
            high = middle
        else:
            low = found[0]
    file.seek(low)
    for line in file:
        found_number = read_beginning(line)
        if found_number and found_number[1] >= number:
            return low
        low += len(line)
    return low


def _first_entry(file: BinaryIO, at: int, end: int) -> tuple[int, int] | None:
    """Where the first whole entry behind a place begins, and its number; None if there is none before the end."""
    file.seek(at)
    at += len(file.readline())
    while at < end:
        line = file.readline()
        found = read_beginning(line)
        if found:
            return at, found[1]
        if not line:
            return None
        at += len(line)
    return None


def _lines_back(file: BinaryIO, end: int, marks: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
    """Lines that end before a place, the last one first, with where they begin.

    With marks only those that have one, and the first whole line of each block, so that one sees how far it came.
    """
    at, rest = end, b""
    while at > 0:
        size = min(_BLOCK, at)
        at -= size
        file.seek(at)
        found = file.read(size) + rest
        head = found.find(b"\n") + 1
        if not head and at:  # a line that is longer than a block
            rest = found
            continue
        rest, first = (found[:head], head) if at else (b"", 0)
        lines = {first: _line_at(found, first), **dict(_marked(found[first:], marks, first))}
        for place in sorted(lines, reverse=True):
            if lines[place]:
                yield at + place, lines[place]


def _marked(text: bytes, marks: Sequence[bytes], begin: int = 0) -> Iterator[tuple[int, bytes]]:
    """Lines of a text that have one of the marks, or all without any, with where they begin."""
    if not marks:
        place = 0
        for line in text.split(b"\n"):
            yield begin + place, line
            place += len(line) + 1
    for mark in marks:
        place = text.find(mark)
        while place >= 0:
            start = text.rfind(b"\n", 0, place) + 1
            line = _line_at(text, start)
            yield begin + start, line
            place = text.find(mark, start + len(line))


def _line_at(text: bytes, start: int) -> bytes:
    end = text.find(b"\n", start)
    return text[start:] if end < 0 else text[start:end]


def _lines_ahead(file: BinaryIO, begin: int, most: int) -> bytes:
    """The lines behind a place, as far as so many bytes hold them."""
    file.seek(begin)
    return file.read(most)
