"""Verification of an audit log, which finds where it was changed, and paged reading of it.

Verification is one pass over the bytes of the file. Each line has to name the hash of the previous line and
the next number, and the last line has to be where the head says that the log ends. The symptom tells the kind
of change: a line whose hash the next line does not name was edited; a gap in the numbers was deleted;
decreasing numbers were reordered.

Entries are numbered, so an entry is found by bisecting the file. Anything without an index, such as the
entries of one kind, is searched in a bounded part of the file, of which only the lines that may match are
parsed; the page then says how far the search came.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from coterie.governance.audit import (
    CHECKPOINT,
    EGRESS,
    START,
    AuditHead,
    LogPosition,
    digest_of,
    head_of,
    read_beginning,
    read_entry,
    read_head,
    read_time,
)

_IS_CHECKPOINT = f'"kind":"{CHECKPOINT}"'.encode()
_IS_EGRESS, _ENDS_EGRESS = f'"kind":"{EGRESS}"'.encode(), b'"egress":{'

_LATE = 120.0
"""Seconds by which entries behind the head may lie apart before the head counts as outdated.

A writer counts entries that are older than `sync_seconds`, 60 at most, and the first entry of a process
counts those that earlier processes left.
"""
_TRIES = 3
"""Attempts at reading a log whose head is rewritten during the check."""

IsAttested = Callable[[LogPosition, str, str], bool]
"""A function that returns whether the holder of a key (second argument) made a signature (third) of a position."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """The first fault found in a log."""

    line: int
    """Number of the line in the file, from 1; one more than the number of lines if the end is missing."""
    kind: str
    """`edited`, `deleted`, `reordered`, `inserted`, `truncated`, `unvouched`, `unsigned`, `forged` or
    `head_missing`."""
    reason: str


class OpenEgress(NamedTuple):
    """A prompt that left, or was about to, and has no entry with its outcome."""

    n: int
    time: float
    tenant: str
    id: str
    trace: str
    engine: str


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The result of verifying a log."""

    entries: int
    """Number of entries before the first fault."""
    checkpoints: int
    """Number of signed checkpoints among them."""
    end: LogPosition
    """Position of the log after these entries. Kept elsewhere, it lets `verify --at` detect an older copy."""
    signers: tuple[str, ...] = ()
    """Public keys whose signatures were found in the log."""
    torn: int = 0
    """Bytes of an incomplete last line, left by a killed writer; the next entry removes them."""
    behind_head: int = 0
    """Entries after the one that the head names as the last: of the last second, or of a killed writer.

    Nothing vouches for their content.
    """
    open: tuple[OpenEgress, ...] = ()
    """Egresses without an outcome, of requests under way or of a killed process."""
    fault: Fault | None = None

    @property
    def vouched(self) -> int:
        """Number of entries that the head counts."""
        return self.entries - self.behind_head

    @property
    def whole(self) -> bool:
        """Whether the log is unchanged."""
        return self.fault is None


def verify_audit(
    path: Path,
    *,
    is_attested: IsAttested | None = None,
    trusted: frozenset[str] = frozenset(),
    at: LogPosition | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Verification:
    """Verify a log from its first line to its last.

    Args:
        path: The log file.
        is_attested: Checks signatures; None leaves them unchecked.
        trusted: Keys whose signatures count; empty for any. With keys, a log whose end none of them signed is at
            fault.
        at: A known earlier position of the log, which the log has to contain.
        progress: Called from time to time with the number of further entries read.

    Raises:
        OSError: the file cannot be read.
    """
    for _ in range(_TRIES):
        head = read_head(path)  # before the lines: a log that is being written has at least those that it counts
        check = _Check(is_attested=is_attested, trusted=trusted, at=at, head=head)
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                check.take(number, line)
                if check.fault:
                    break
                if number % 10_000 == 0:
                    progress(10_000)
        if check.fault is None:
            check.fault = check.fault_of_end(path)
        if check.fault is None or check.fault.kind != "unvouched" or read_head(path) == head:
            break  # else a writer that has just begun counted what was there while the lines were read
    return Verification(
        entries=check.place.n if check.fault is None else min(check.place.n, check.fault.line - 1),
        checkpoints=check.checkpoints,
        end=check.place,
        signers=tuple(check.signers),
        torn=check.torn,
        behind_head=0 if head is None or check.fault else check.place.n - head.place.n,
        open=tuple(check.open.values()),
        fault=check.fault,
    )


@dataclass(kw_only=True)
class _Check:
    is_attested: IsAttested | None
    trusted: frozenset[str]
    at: LogPosition | None
    head: AuditHead | None
    place: LogPosition = START
    checkpoints: int = 0
    torn: int = 0
    fault: Fault | None = None

    def __post_init__(self) -> None:
        self.signers: dict[str, None] = {}
        self.open: dict[str, OpenEgress] = {}
        self.early: set[str] = set()
        """What left, or was about to, whose outcome stands before it: its caller was gone before it was written."""
        self.since: float | None = None
        """When the first entry behind the head was written."""

    def take(self, number: int, line: bytes) -> None:
        if not line.endswith(b"\n"):
            self.torn = len(line)
            return
        line = line[:-1]
        self.fault = self._fault_of(number, line) or self._fault_of_checkpoint(number, line)
        if number == 1:  # a log is born with a head that counts no entry
            self.fault = self.fault or self._fault_at_head(number)
        if self.fault is None:
            self.place = LogPosition(self.place.n + 1, digest_of(line))
            self.fault = self._fault_of_place(number, self.at) or self._fault_at_head(number)
            self._follow(line)
        if self.fault is None and self.head is not None and self.place.n > self.head.place.n:
            self.fault = self._fault_behind_head(line, self.head.place)

    def _follow(self, line: bytes) -> None:
        if _IS_EGRESS not in line and _ENDS_EGRESS not in line:
            return
        with suppress(ValueError, KeyError, TypeError):  # no entry of the gate's
            entry = read_entry(line)
            about = entry["about"]
            if entry["kind"] == EGRESS:
                named = (str(about[name]) for name in ("id", "trace", "engine"))
                egress = OpenEgress(entry["n"], entry["time"], str(entry.get("tenant")), *named)
                if egress.id in self.early:
                    self.early.discard(egress.id)
                else:
                    self.open[egress.id] = egress
            elif isinstance(about.get("egress"), dict):
                for crossing in about["egress"]:
                    if self.open.pop(crossing, None) is None:
                        self.early.add(crossing)

    def fault_of_end(self, path: Path) -> Fault | None:
        """Return the fault of a missing end; None if the log ends where it should."""
        missing = self._fault_of_head(path)
        if missing is None and self.at is not None and self.place.n < self.at.n:
            missing = self._cut(self.at.n, "it is known to have had")
        return missing

    def _fault_of_place(self, number: int, earlier: LogPosition | None) -> Fault | None:
        """Return a fault if the log's position after this line differs from a known position."""
        if earlier is None or earlier.n != self.place.n or earlier == self.place:
            return None
        reason = f"entry {earlier.n} had the hash {earlier.digest}; now it has {self.place.digest}"
        return Fault(line=number, kind="edited", reason=reason)

    def _fault_at_head(self, number: int) -> Fault | None:
        """Return a fault if the line that the head names as the last was changed, whatever follows it."""
        if self.head is None or self.head.place.n != self.place.n:
            return None
        return self._fault_of_place(number, self.head.place) or self._fault_of_head_signature(number, self.head.signed)

    def _fault_behind_head(self, line: bytes, head: LogPosition) -> Fault | None:
        """Return a fault if the head should have counted later entries: it is too old, or could not be written."""
        written = read_time(line)
        self.since = written if self.since is None else self.since
        if written is None or self.since is None or abs(written - self.since) <= _LATE:
            return None
        late = abs(written - self.since)
        reason = (
            f"its head ends at entry {head.n} and should have counted entry {head.n + 1} {late:.0f} seconds before "
            "the last: an older head was put back, or none could be written; nothing vouches for more"
        )
        return Fault(line=head.n + 1, kind="unvouched", reason=reason)

    def _fault_of(self, number: int, line: bytes) -> Fault | None:
        beginning = read_beginning(line)
        if beginning is None:
            return Fault(line=number, kind="edited", reason=f"line {number} is no entry of an audit log")
        named, n = beginning
        due = self.place.n + 1
        if n == due:
            if named == self.place.digest:
                return None
            changed = f"entry {self.place.n} was changed" if self.place.n else "the first entry was changed"
            return Fault(
                line=max(number - 1, 1), kind="edited", reason=f"{changed}: entry {due} names another hash of it"
            )
        if n > due:
            gone = f"entry {due} is" if n == due + 1 else f"entries {due} to {n - 1} are"
            return Fault(line=number, kind="deleted", reason=f"{gone} missing or stands elsewhere: entry {n} follows")
        kind = "inserted" if named == self.place.digest else "reordered"
        return Fault(line=number, kind=kind, reason=f"entry {n} stands after entry {self.place.n}")

    def _fault_of_checkpoint(self, number: int, line: bytes) -> Fault | None:
        if _IS_CHECKPOINT not in line:
            return None
        try:
            entry = read_entry(line)
            if entry.get("kind") != CHECKPOINT:
                return None  # the words stand in somebody's entry
            signed = {name: str(entry["about"][name]) for name in ("key", "signature")}
        except (ValueError, KeyError, TypeError):
            return Fault(line=number, kind="edited", reason=f"line {number} is no entry of an audit log")
        self.checkpoints += 1
        return self._fault_of_signature(number, signed, f"the checkpoint in line {number}")

    def _fault_of_signature(self, number: int, signed: Mapping[str, str], what: str) -> Fault | None:
        key, signature = signed.get("key", ""), signed.get("signature", "")
        if self.is_attested is None:
            return None
        if not self.is_attested(self.place, key, signature):
            reason = f"{what} is not signed by its key: what stands before it is not what was signed"
            return Fault(line=number, kind="forged", reason=reason)
        if self.trusted and key not in self.trusted:
            return Fault(line=number, kind="forged", reason=f"{what} is signed by {key}, which is not trusted")
        self.signers[key] = None
        return None

    def _fault_of_head(self, path: Path) -> Fault | None:
        number = self.place.n + 1
        if self.head is None:
            reason = f"{head_of(path).name!r} is missing or damaged, so whether the end was cut off cannot be known"
            return Fault(line=number, kind="head_missing", reason=reason) if self.place.n else None
        return self._cut(self.head.place.n, "its head says") if self.head.place.n > self.place.n else None

    def _fault_of_head_signature(self, number: int, signed: Mapping[str, str]) -> Fault | None:
        if signed:
            return self._fault_of_signature(number, signed, "its head")
        if self.trusted and self.is_attested is not None:
            return Fault(line=number, kind="unsigned", reason="its head is not signed, and [audit] trusted_keys is set")
        return None

    def _cut(self, n: int, says: str) -> Fault:
        gone = n - self.place.n
        entries = f"{gone} entries are" if gone > 1 else "1 entry is"
        reason = f"it ends at entry {self.place.n}, and {says} {n}: the last {entries} cut off"
        return Fault(line=self.place.n + 1, kind="truncated", reason=reason)


# --- Pages of an audit log: from its end, or from any entry, backwards, without reading what lies between.

_BLOCK = 1 << 16
LOOKED_THROUGH = 4 << 20
"""Most bytes of a log that one page looks through: about 5 ms."""
_SETTLED = 1 << 20
"""Bytes after a page's first egress in which its outcome is searched."""
_LATE_LINES = 3600.0
"""Seconds by which an entry may stand after a younger one: a request's entry has the time of its admission."""
_OUTCOMES = (b'"kind":"request"', b'"kind":"egress_outcome"')
_CAME_OUT = b'"egress":{'


@dataclass(frozen=True, kw_only=True)
class AuditPage:
    """Entries of a log, the newest first."""

    entries: tuple[Mapping[str, Any], ...]
    before: int | None
    """Number of the entry that the next page ends before; None if there is no further page."""
    complete: bool
    """False if the page ended at the limit of bytes to look through."""
    reached: float | None
    """Time of the last entry that was examined."""
    outcomes: Mapping[str, str]
    """Outcomes of egresses by their id, as far as these pages hold them."""


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
        path: The log file.
        before: Number of the entry that the page ends before; None for the log's end.
        kind: Entries of one kind; all if empty.
        tenant: Entries of one tenant; all if None.
        since: Entries from that time on.
        limit: Most entries on the page.
        most: Most bytes to look through.

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
            if (read_time(line) or since) < since - _LATE_LINES:
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
    """Return the byte strings that each matching line contains; empty if every line matches."""
    if kind:
        return (f'"kind":{json.dumps(kind, ensure_ascii=False)}'.encode(),)
    return () if tenant is None else (f'"tenant":{json.dumps(tenant, ensure_ascii=False)}'.encode(),)


def _page(
    entries: list[Mapping[str, Any]], last: bytes | None, outcomes: dict[str, str], *, complete: bool
) -> AuditPage:
    beginning = read_beginning(last or b"")
    return AuditPage(
        entries=tuple(entries),
        before=beginning[1] if beginning else None,
        complete=complete,
        reached=read_time(last or b""),
        outcomes=outcomes,
    )


def _note_outcomes(line: bytes, outcomes: dict[str, str]) -> None:
    """Add the outcomes of egresses that a line names."""
    if _CAME_OUT in line and any(kind in line for kind in _OUTCOMES):
        try:
            outcomes.update(read_entry(line)["about"].get("egress") or {})
        except (ValueError, AttributeError):
            return


def _place_of(file: BinaryIO, number: int | None) -> int:
    """Return the offset of the entry with this number; the file's end for None and for a number not yet written."""
    low, high = 0, file.seek(0, os.SEEK_END)
    if number is None:
        return high
    while high - low > _BLOCK:  # entries before `low` have lower numbers, `high` lies behind one that has not
        middle = (low + high) // 2
        entry = _first_entry(file, middle, high)
        if entry is None or entry[1] >= number:
            high = middle
        else:
            low = entry[0]
    file.seek(low)
    for line in file:
        found_number = read_beginning(line)
        if found_number and found_number[1] >= number:
            return low
        low += len(line)
    return low


def _first_entry(file: BinaryIO, at: int, end: int) -> tuple[int, int] | None:
    """Return the offset and number of the first whole entry after an offset; None if there is none before `end`."""
    file.seek(at)
    at += len(file.readline())
    while at < end:
        line = file.readline()
        beginning = read_beginning(line)
        if beginning:
            return at, beginning[1]
        if not line:
            return None
        at += len(line)
    return None


def _lines_back(file: BinaryIO, end: int, marks: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that end before an offset, the last one first, each with its own offset.

    With marks, yield only the lines that contain one, and the first whole line of each block as a sign of
    progress.
    """
    at, rest = end, b""
    while at > 0:
        size = min(_BLOCK, at)
        at -= size
        file.seek(at)
        block = file.read(size) + rest
        head = block.find(b"\n") + 1
        if not head and at:  # a line that is longer than a block
            rest = block
            continue
        rest, first = (block[:head], head) if at else (b"", 0)
        lines = {first: _line_at(block, first), **dict(_marked(block[first:], marks, first))}
        for line in sorted(lines, reverse=True):
            if lines[line]:
                yield at + line, lines[line]


def _marked(text: bytes, marks: Sequence[bytes], begin: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that contain one of the marks (all lines without marks), with their offsets."""
    if not marks:
        offset = 0
        for line in text.split(b"\n"):
            yield begin + offset, line
            offset += len(line) + 1
    for mark in marks:
        offset = text.find(mark)
        while offset >= 0:
            start = text.rfind(b"\n", 0, offset) + 1
            line = _line_at(text, start)
            yield begin + start, line
            offset = text.find(mark, start + len(line))


def _line_at(text: bytes, start: int) -> bytes:
    end = text.find(b"\n", start)
    return text[start:] if end < 0 else text[start:end]


def _lines_ahead(file: BinaryIO, begin: int, most: int) -> bytes:
    """Return up to `most` bytes after an offset."""
    file.seek(begin)
    return file.read(most)
