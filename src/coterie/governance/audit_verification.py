"""Whether an audit log is as it was written, and if not, where it was changed.

One pass over the bytes of the file: each line has to name the hash of the one before and the next number, and the last
has to be where the head says that the log ends. What a change looks like tells its kind: a line whose hash the next
one does not name was edited; a gap in the numbers was cut out; numbers that go back were put elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from coterie.governance.audit import AuditHead, head_of, read_head
from coterie.governance.audit_events import (
    CHECKPOINT,
    EGRESS,
    START,
    LogPosition,
    digest_of,
    read_beginning,
    read_entry,
    read_time,
)

_IS_CHECKPOINT = f'"kind":"{CHECKPOINT}"'.encode()
_IS_EGRESS, _ENDS_EGRESS = f'"kind":"{EGRESS}"'.encode(), b'"egress":{'

_LATE = 120.0
"""Seconds between entries behind the head from which no writer left them there: it counts what is older than
`sync_seconds`, 60 at most, and the first entry of a process counts what was left by others."""
_TRIES = 3
"""Times that a log whose head was written meanwhile is looked at again."""

IsAttested = Callable[[LogPosition, str, str], bool]
"""Whether the holder of a key, the second argument, made a signature, the third, of this place."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """The first thing that is wrong with a log."""

    line: int
    """Its line in the file, from 1; one more than there are, where the end is missing."""
    kind: str
    """`edited`, `deleted`, `reordered`, `inserted`, `truncated`, `unvouched`, `unsigned`, `forged` or
    `head_missing`."""
    reason: str


class OpenEgress(NamedTuple):
    """A prompt that left, or was about to, of which no entry says what came of it."""

    n: int
    time: float
    tenant: str
    id: str
    trace: str
    engine: str


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What checking a log found."""

    entries: int
    """Entries before the first fault."""
    checkpoints: int
    """Signed ones among them."""
    end: LogPosition
    """Where the log stands after them: keep it elsewhere, and `verify --at` finds older copies put back."""
    signers: tuple[str, ...] = ()
    """Public keys whose signatures were found."""
    torn: int = 0
    """Bytes of half a line at the end, of a writer that was killed; the next entry removes them."""
    behind_head: int = 0
    """Entries behind the one that the head says was last: of the last second, or of a writer that was killed. Nothing
    vouches for what they say."""
    open: tuple[OpenEgress, ...] = ()
    """Of requests under way, or of a process that was killed."""
    fault: Fault | None = None

    @property
    def vouched(self) -> int:
        """Entries that the head counts."""
        return self.entries - self.behind_head

    @property
    def whole(self) -> bool:
        """Whether nothing was changed."""
        return self.fault is None


def verify_audit(
    path: Path,
    *,
    is_attested: IsAttested | None = None,
    trusted: frozenset[str] = frozenset(),
    at: LogPosition | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Verification:
    """Check a log from its first line to its last.

    Args:
        path: The log.
        is_attested: Checks signatures; None leaves them unchecked.
        trusted: Keys whose signatures count; empty for any. With keys, a log whose end none of them signed is at fault.
        at: Where the log is known to have stood once: it has to have stood there.
        progress: Told how many more entries were read, now and then.

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
        self.since: float | None = None
        """When the first entry behind the head was written."""

    def take(self, number: int, line: bytes) -> None:
        if not line.endswith(b"\n"):
            self.torn = len(line)
            return
        line = line[:-1]
        self.fault = self._fault_of(number, line) or self._fault_of_checkpoint(number, line)
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
                self.open[str(about["id"])] = OpenEgress(entry["n"], entry["time"], str(entry.get("tenant")), *named)
            elif isinstance(about.get("egress"), dict):
                for each in about["egress"]:
                    self.open.pop(each, None)

    def fault_of_end(self, path: Path) -> Fault | None:
        """What is missing behind the last line."""
        missing = self._fault_of_head(path)
        if missing is None and self.at is not None and self.place.n < self.at.n:
            missing = self._cut(self.at.n, "it is known to have had")
        return missing

    def _fault_of_place(self, number: int, known: LogPosition | None) -> Fault | None:
        """Whether the log stands somewhere else than it is known to have stood after this line."""
        if known is None or known.n != self.place.n or known == self.place:
            return None
        reason = f"entry {known.n} had the hash {known.digest}; now it has {self.place.digest}"
        return Fault(line=number, kind="edited", reason=reason)

    def _fault_at_head(self, number: int) -> Fault | None:
        """The line that the head says was last: what stands behind it does not excuse a change up to it."""
        if self.head is None or self.head.place.n != self.place.n:
            return None
        return self._fault_of_place(number, self.head.place) or self._fault_of_head_signature(number, self.head.signed)

    def _fault_behind_head(self, line: bytes, head: LogPosition) -> Fault | None:
        """Entries that a head should have counted long ago: an older head was put back, or none could be written."""
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
        found = read_beginning(line)
        if found is None:
            return Fault(line=number, kind="edited", reason=f"line {number} is no entry of an audit log")
        named, n = found
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
