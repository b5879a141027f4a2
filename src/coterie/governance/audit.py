"""The audit log: actions and decisions, in a tamper-evident file.

Append-only lines, each with the hash of the previous one (Schneier and Kelsey 1999, "Secure audit logs to support
computer forensics", without the encryption). The log's end is recorded beside it, so truncation is detected too.
With a key, both that position and periodic checkpoints are signed (Ed25519): then nobody without the key can write
another log in its place. Whoever can write both files can still replace both by older copies; to detect that,
keep the output of `coterie audit verify` in another place.

Several processes may append to one file. Entries that are appended together share one write, and no caller continues
before its entry is written: a killed process loses nothing. Entries are synced to disk, against a power failure, at
once or within a second, and only synced entries count as the log's end. The log never holds content, only hashes of it
under the log's own key.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import queue
import re
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from time import time as wall_clock
from typing import Any, NamedTuple, Protocol

from coterie.config.file import AuditSection
from coterie.errors import AuditError, Overloaded, ReleaseRefused
from coterie.protocols import Audit
from coterie.registry.signature import is_attested, open_signer
from coterie.runtime.codec import parse_json, readable
from coterie.runtime.concurrency import TurnQueue, cancel
from coterie.runtime.files import hold
from coterie.runtime.files import sync as sync_name
from coterie.types import AuditEvent, CallContext, Egress, Feedback, Reason, Request, SpecialistCard, Trace, Verdict

# --- Lines of an audit log: JSON, each with the SHA-256 of the line before it.

GENESIS = "0" * 64
"""The hash of the previous line, as the first line names it."""
CHECKPOINT = "checkpoint"
"""Kind of an entry that the log writes itself: a signature of all previous lines."""
REPAIR = "repair"
"""Kind of an entry that the log writes itself: an incomplete line, left by a killed writer, was removed."""
EGRESS = "egress"
"""Kind of an entry that announces an egress. The entry with its outcome names its id under `egress`."""

_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_BEGINNING = re.compile(rb'\{"prev":"([0-9a-f]{64})","n":(\d{1,18}),"time":')
_TIME = re.compile(rb'"time":(-?[\d.eE+-]{1,40})[,}]')


class LogPosition(NamedTuple):
    """The position of a log after one of its lines."""

    n: int
    """Number of the line, from 1; 0 before the first line."""
    digest: str
    """Hash of the line."""

    @property
    def statement(self) -> bytes:
        """The bytes that are signed to attest this position."""
        return f"{self.n} {self.digest}".encode()


START = LogPosition(0, GENESIS)


def digest_of(line: bytes) -> str:
    """Return the hash of a line without its line ending."""
    return hashlib.sha256(line).hexdigest()


def write_line(
    after: LogPosition, time: float, kind: str, tenant: str, about: Mapping[str, Any]
) -> tuple[bytes, LogPosition]:
    """Return the next line, without its line ending, and the position of the log after it."""
    entry = {"prev": after.digest, "n": after.n + 1, "time": time, "kind": kind, "tenant": tenant, "about": about}
    line = _encoder.encode(entry).encode("utf-8", "replace")
    return line, LogPosition(after.n + 1, digest_of(line))


def read_beginning(line: bytes) -> tuple[str, int] | None:
    """Return the hash of the previous line and the number that a line names; None if it is not an audit log's line."""
    match = _BEGINNING.match(line)
    return (match[1].decode(), int(match[2])) if match else None


def read_time(line: bytes) -> float | None:
    """Return the time at which a line says it was written; None if it names no time."""
    match = _TIME.search(line, 0, 200)
    try:
        return float(match[1]) if match else None
    except ValueError:
        return None


def read_entry(line: bytes) -> dict[str, Any]:
    """Return a line as an entry, with its own hash. Raises `ValueError` if it is not an entry."""
    entry = parse_json(line)
    if not isinstance(entry, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - a wrong file, not a mistake in our code
    if not (isinstance(entry.get("n"), int) and isinstance(entry.get("time"), int | float) and "kind" in entry):
        raise ValueError("it has no number, time or kind")
    return {**entry, "hash": digest_of(line)}


# --- Events.

Digest = Callable[[str], str]
"""A function that returns a digest of content, to be written in its place."""


@lru_cache(maxsize=256)
def _readable(verdict: Verdict) -> object:
    """Return a verdict as words, code and values. The result is cached, since most requests share their verdicts."""
    return readable(verdict)


def audit_request(
    trace: Trace, request: Request, answer: str, *, cards: Mapping[str, SpecialistCard], digest: Digest
) -> AuditEvent:
    """Return the audit entry of a settled request.

    Args:
        trace: The trace of the request.
        request: The request as it was admitted.
        answer: The answer that the caller received.
        cards: The specialists' cards, for the versions of the specialists that were asked.
        digest: Returns the digest that is written in place of content.
    """
    specialists = dict.fromkeys(finding.specialist for finding in trace.findings)
    about: dict[str, object] = {
        "trace": trace.id,
        "key": request.key,
        "status": trace.status,
        "label": trace.label.value,
        "clearance": (request.clearance or trace.label).value,
        "session": None if trace.session is None else digest(trace.session),
        "asked": digest(request.text),
        **({} if request.document is None else {"document": digest(request.document.text)}),
        "answered": digest(answer),
        "specialists": {name: cards[name].version if name in cards else "" for name in specialists},
        "verdicts": [_readable(verdict) for verdict in trace.verdicts],
        "cost": None if trace.usage.cost is None else str(trace.usage.cost),
        **({"egress": {crossing.id: crossing.outcome for crossing in trace.egress}} if trace.egress else {}),
    }
    return AuditEvent(kind="request", time=trace.time, tenant=trace.tenant, about=about)


def audit_egress(egress: Egress, call: CallContext, *, time: float) -> AuditEvent:
    """Return the entry of an egress, which is written before the first byte leaves."""
    about = {
        **{name: getattr(egress, name) for name in ("id", "engine", "rule", "pseudonymised", "characters", "digest")},
        "label": egress.label.value,
        "trace": call.trace,
        "key": call.principal.key,
    }
    return AuditEvent(kind=EGRESS, time=time, tenant=call.principal.tenant, about=about)


def audit_outcome(sent: Iterable[Egress], call: CallContext, *, time: float) -> AuditEvent:
    """Return the entry with the outcome of egresses that belong to no request, as in training."""
    about = {"egress": {crossing.id: crossing.outcome for crossing in sent}}
    return AuditEvent(kind="egress_outcome", time=time, tenant=call.principal.tenant, about=about)


@asynccontextmanager
async def refusals_noted(audit: Audit | None, request: Request, *, time: float) -> AsyncIterator[None]:
    """Write a release that is refused within the block to the audit log, if any, before raising the error."""
    try:
        yield
    except ReleaseRefused as refused:
        if audit is not None:
            await audit.append(audit_refusal(request, refused.verdict.reason, time=time, digest=audit.digest))
        raise


def audit_refusal(request: Request, reason: Reason, *, time: float, digest: Digest) -> AuditEvent:
    """Return the entry of a refused release, with the reason."""
    about: dict[str, object] = {
        "key": request.key,
        "to": None if request.release is None else request.release.to.value,
        "asked": digest(request.text),
        **({} if request.document is None else {"document": digest(request.document.text)}),
        **reason.described(),
    }
    return AuditEvent(kind="release_refused", time=time, tenant=request.tenant, about=about)


def audit_feedback(feedback: Feedback, *, digest: Digest, refused: str = "") -> AuditEvent:
    """Return the entry of feedback on an answer.

    Args:
        feedback: The feedback.
        digest: Returns the digest that is written in place of content. In refused feedback the trace id is
            content too, since a caller may have invented it.
        refused: The code of the error, if the feedback was not kept.
    """
    about: dict[str, object] = {"trace": feedback.trace_id, "key": feedback.key}
    if refused:
        about = {**about, "trace": digest(feedback.trace_id), "reason": refused}
        return AuditEvent(kind="feedback_refused", time=feedback.time, tenant=feedback.tenant, about=about)
    value = None if feedback.value is None else digest(str(feedback.value))
    comment = digest(feedback.comment) if feedback.comment else None
    about |= {"thumb": feedback.thumb, "specialist": feedback.specialist, "value": value, "comment": comment}
    return AuditEvent(kind="feedback", time=feedback.time, tenant=feedback.tenant, about=about)


# --- The audit log: actions and decisions, in a tamper-evident file.

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND
_TAIL = 1 << 20
"""Bytes at the end of the file in which its last line is searched first."""
_MOST_AT_ONCE = 512
"""Most entries of one write."""
_IDLE = 5.0
"""Seconds without an entry after which the writing thread ends."""
_JUMP = 60.0
"""Seconds between entries after the head from which it counts the first before the next is written.

From twice as many seconds on, `verify` takes them for entries that a head should have counted.
"""
_SECTOR = 512
"""Bytes that a disk writes atomically."""


class _Job(NamedTuple):
    """An entry that waits to be written, and its waiting caller."""

    event: AuditEvent
    sync: bool
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]


class Attester(Protocol):
    """Signs statements; a `registry.Signer` is one."""

    @property
    def public(self) -> str:
        """The public key that verifies them."""

    def attest(self, kind: str, content: bytes) -> str:
        """Return the signature as hexadecimal digits."""


class AuditLog:
    """Implements `protocols.Audit` on one file of JSON lines. `coterie audit verify` checks it."""

    def __init__(
        self,
        path: Path,
        *,
        signer: Attester | None = None,
        checkpoint_every: int = 1000,
        sync_seconds: float = 0.0,
        most_waiting: int = 4096,
        clock: Callable[[], float] = wall_clock,
        write: Callable[[int, memoryview], int] = os.write,
        sync: Callable[[int], None] = os.fsync,
    ) -> None:
        """Store the path; the file is made by the first entry.

        Args:
            path: The log; `.head` beside it records its end, `.key` is the key of its content hashes.
            signer: Signs the log's end, and checkpoints.
            checkpoint_every: Entries between two checkpoints.
            sync_seconds: Seconds after `append` within which an entry is on disk; 0 for before it returns.
            most_waiting: Entries that may wait to be written; a further one is `Overloaded`.
            clock: Seconds since the epoch.
            write: Writes bytes to a descriptor; tests pass one that fails.
            sync: Syncs a descriptor to disk.
        """
        self._path, self._signer, self._every, self._patience = path, signer, checkpoint_every, sync_seconds
        self._name, self._head_name = str(path), str(head_of(path))
        self._most_waiting, self._clock, self._write, self._sync = most_waiting, clock, write, sync
        self._audit_errors = _AuditErrors(path)
        self._jobs: TurnQueue[_Job] = TurnQueue()
        self._entrance = threading.Lock()  # guards whether there is a thread
        self._thread: threading.Thread | None = None
        self._syncing: asyncio.Task[None] | None = None  # waits until it is time
        self._vouching: asyncio.Task[None] | None = None  # is at it
        self._end = -1  # bytes of the file when this process wrote it last
        self._place = START
        self._fresh = True  # nothing was written by this process yet
        self._uncounted: float | None = None  # the time of the first entry that no head counts
        self._behind = False  # what stands in the file could not be brought to the disk, or the head not be written
        self._keyed: hmac.HMAC | None = None  # of the log's key, and of nothing yet
        self._turn = threading.Lock()  # of this process' threads: a lock on the file is of processes and descriptors

    async def append(self, event: AuditEvent, *, sync: bool = False) -> None:
        """Write an entry; on return it survives a killed process, and with `sync` a power failure.

        Raises:
            AuditError: it cannot be written; the log is unchanged.
            Overloaded: too many entries wait.
        """
        loop = asyncio.get_running_loop()
        job = _Job(event, sync, loop, loop.create_future())
        self._enqueue(job)
        await job.done  # who no longer waits does not take the entry back
        if not sync:
            self.sync_soon()

    def append_all(
        self, events: Sequence[AuditEvent], *, sync: bool = True, on_disk: Callable[[], None] | None = None
    ) -> None:
        """Write several entries at once, blocking: for commands. Raises `AuditError`.

        Args:
            events: The events, written in one piece.
            sync: Whether they are on disk on return.
            on_disk: Called as soon as they are; the head, for which nothing needs to wait, counts them after that.
        """
        with self._audit_errors, self._locked() as file:
            if self._uncounted is not None and any(abs(event.time - self._uncounted) > _JUMP for event in events):
                self._append(file, ())  # the clock was set: what stands there is counted, not taken for old later
                self._sync(file)
                self._keep_head(self._place)
            begin = self._append(file, events)
            if sync or self._behind:
                told_first = on_disk is not None and not (self._behind or self._fresh)  # a new log has a head first
                try:
                    self._sync(file)
                    if self._fresh:
                        sync_name(self._path.parent)  # else a cut of the power could lose the file's name
                    if not told_first:
                        self._keep_head(self._place)
                except OSError:
                    self._undo(file, begin)
                    raise
                if on_disk is not None and told_first:
                    on_disk()
                    try:
                        self._keep_head(self._place)
                    except OSError:  # whoever writes next syncs, too, and hears of it
                        self._fresh, self._behind = False, True
                        return
            elif self._fresh:
                # A log has a head from its birth, and what another writer left behind it when it was killed is
                # counted now. If the disk fails, whoever syncs next hears of that.
                with suppress(OSError):
                    self._sync(file)
                    self._keep_head(self._place)
            elif self._uncounted is None:
                self._uncounted = events[0].time if events else None
            self._fresh = self._behind = False

    def digest(self, text: str) -> str:
        """Return a hash of some content under this log's key: equal for equal content, and no help in guessing it."""
        if self._keyed is None:
            with self._audit_errors:
                secret = _secret_of(self._path.with_name(f"{self._path.name}.key"))
            self._keyed = hmac.new(secret, digestmod="sha256")
        # A copy keeps the interpreter's lock for short texts; `hmac.digest` gives it away each time, and a thread that
        # takes it meanwhile keeps the event loop waiting.
        keyed = self._keyed.copy()
        keyed.update(text.encode("utf-8", "surrogatepass"))
        return keyed.hexdigest()

    async def close(self) -> None:
        """Write and sync waiting entries. A second call does nothing."""
        if (thread := self._thread) is not None:
            self._jobs.end()
            await asyncio.to_thread(thread.join)
        if self._syncing is not None:
            await cancel([self._syncing])
            self._syncing = None
            await asyncio.to_thread(self._vouch)
        if self._vouching is not None and not self._vouching.done():
            await asyncio.wait([self._vouching])

    def append_soon(self, events: Sequence[AuditEvent]) -> None:
        """Write entries from another thread, blocking, like `append`; `sync_soon` is for callers that wait for them."""
        self.append_all(events, sync=not self._patience)

    def sync_soon(self) -> None:
        """Sync the entries that `append_all` wrote without syncing, within the allowed time."""
        if self._patience and self._syncing is None:
            self._syncing = asyncio.create_task(self._sync_later())

    async def _sync_later(self) -> None:
        await asyncio.sleep(self._patience)
        self._syncing, self._vouching = None, asyncio.current_task()
        try:
            await asyncio.to_thread(self._vouch)
        except AuditError:  # the next entry's writer hears of it
            self._behind = True

    def _vouch(self) -> None:
        """Sync the file's content while others continue to append, and count it in the head."""
        with self._audit_errors:
            with self._locked() as file:
                self._append(file, ())
                position, own = self._place, os.open(self._path, os.O_RDONLY)
            try:
                self._sync(own)
                with self._locked() as file:
                    head = read_head(self._path)
                    behind = head is None or head.place.n < position.n
                    if behind and os.path.sameopenfile(own, file):  # nobody moved the log away meanwhile
                        self._keep_head(position)
            finally:
                os.close(own)

    def _enqueue(self, job: _Job) -> None:
        """Queue a job for the writer thread, and start the thread if none is running."""
        with self._entrance:
            if len(self._jobs) >= self._most_waiting:
                raise Overloaded(f"Exceeded the audit log's limit of {self._most_waiting} waiting entries.")
            self._jobs.put(job, job.loop)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="coterie-audit", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        """Write waiting jobs until asked to end or idle for a while. Jobs that arrive during a write share the next."""
        while True:
            batch = self._next_batch()
            jobs = [job for job in batch if job is not None]
            if jobs:
                self._write_jobs(jobs)
            with self._entrance:
                if not len(self._jobs) and (None in batch or not batch):
                    self._jobs.read_by(0)
                    self._thread = None
                    return

    def _next_batch(self) -> list[_Job | None]:
        """Return the waiting jobs. None asks the thread to end; the batch is empty after an idle period."""
        batch: list[_Job | None] = []
        self._jobs.read_by(threading.get_native_id())
        with suppress(queue.Empty):
            batch.append(self._jobs.arrived.get(timeout=_IDLE))
            while len(batch) < _MOST_AT_ONCE:
                batch.append(self._jobs.arrived.get_nowait())
        return batch

    def _write_jobs(self, jobs: Sequence[_Job]) -> None:
        sync = not self._patience or any(job.sync for job in jobs)
        announced = False

        def on_disk() -> None:
            nonlocal announced
            announced = True
            self._tell(jobs, None)

        failed: Exception | None = None
        try:
            self.append_all([job.event for job in jobs], sync=sync, on_disk=on_disk)
        except Exception as error:  # noqa: BLE001 - handed to those who wait
            failed = error
        if not announced:
            self._tell(jobs, failed)

    @staticmethod
    def _tell(jobs: Sequence[_Job], failed: Exception | None) -> None:
        """Wake the callers that wait for these jobs, with one call for each event loop."""
        for loop in {job.loop for job in jobs}:
            with suppress(RuntimeError):  # that loop is closed: nobody waits there any more
                loop.call_soon_threadsafe(_resolve, [job.done for job in jobs if job.loop is loop], failed)

    # --- under the lock --------------------------------------------------------------------------

    @contextmanager
    def _locked(self) -> Iterator[int]:
        try:
            file = os.open(self._name, _FLAGS, 0o600)
        except FileNotFoundError:  # looking for the folder first would take as long as the file
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self._name, _FLAGS, 0o600)
        try:
            with self._turn:
                hold(file)
                yield file
        finally:
            os.close(file)  # frees the lock

    def _append(self, file: int, events: Sequence[AuditEvent]) -> int:
        """Append entries to the file; return the offset in bytes at which they begin."""
        begin, repairs = self._find_end(file)
        position, lines = self._place, []
        for event in [*repairs, *events]:
            line, position = write_line(position, event.time, event.kind, event.tenant, event.about)
            lines.append(line)
            if self._signer is not None and position.n % self._every == 0:
                line, position = self._checkpoint(position, self._signer)
                lines.append(line)
        content = b"".join(line + b"\n" for line in lines)
        left = memoryview(content)
        try:
            while left:
                left = left[self._write(file, left) :]
        except OSError:
            self._undo(file, begin)
            raise
        self._end, self._place = begin + len(content), position
        return begin

    def _undo(self, file: int, size: int) -> None:
        """Cut the file back to `size` after entries could not be written or synced."""
        with suppress(OSError):
            os.ftruncate(file, size)
        self._end = -1

    def _find_end(self, file: int) -> tuple[int, list[AuditEvent]]:
        """Return the offset after the last whole line, and the entries that report a damaged end.

        An incomplete last line, left by a killed writer, is removed. Entries that the head counts and the file lacks
        keep their numbers, so that the gap stays visible.
        """
        size = os.fstat(file).st_size
        if size == self._end:
            return size, []
        end, line = _last_line(file, size)
        self._place, repairs = START if line is None else self._place_of(line), []
        if size > end:
            os.ftruncate(file, end)
            repairs.append(self._repair({"removed_bytes": size - end, "reason": "a writer ended within a line"}))
        head = read_head(self._path)
        if head is None and not end:
            self._keep_head(START)  # before the first line: whoever is killed right behind it leaves a head, too
        if head is not None and head.place.n > self._place.n:
            repairs.append(self._repair({"lost": head.place.n - self._place.n, "reason": "the end was cut off"}))
            self._place = head.place
        return end, repairs

    def _place_of(self, line: bytes) -> LogPosition:
        beginning = read_beginning(line)
        if beginning is None:
            raise AuditError(
                f"The last line of {str(self._path)!r} is no line of an audit log.",
                hint="Look at it: coterie audit verify. To begin another log, move the file and those beside it away.",
            )
        return LogPosition(beginning[1], digest_of(line))

    def _repair(self, about: Mapping[str, object]) -> AuditEvent:
        return AuditEvent(kind=REPAIR, time=self._clock(), about=about)

    def _checkpoint(self, position: LogPosition, signer: Attester) -> tuple[bytes, LogPosition]:
        about = {"key": signer.public, "signature": signer.attest("audit", position.statement)}
        return write_line(position, self._clock(), CHECKPOINT, "", about)

    def _keep_head(self, position: LogPosition) -> None:
        """Write the position of the log's end to the disk, in place and within one sector, which is written whole."""
        self._uncounted = None
        head: dict[str, object] = {"n": position.n, "hash": position.digest}
        if self._signer is not None:
            head |= {"key": self._signer.public, "signature": self._signer.attest("audit", position.statement)}
        file = _private(self._head_name, os.O_WRONLY | os.O_CREAT)
        try:
            os.write(file, json.dumps(head).encode().ljust(_SECTOR - 1) + b"\n")
        finally:
            os.close(file)


class _AuditErrors(NamedTuple):
    """A context manager that turns an `OSError` into an `AuditError`."""

    path: Path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise AuditError(
                f"Cannot write the audit log {str(self.path)!r}: {error.strerror or error}.",
                hint="Nothing is done that is not written down: free space on the disk, or make the file writable.",
            ) from error


class AuditHead(NamedTuple):
    """The position at which a log ended when it was last synced to the disk."""

    place: LogPosition
    signed: Mapping[str, str]
    """`key` and `signature`, if the head is signed."""


def _resolve(waiting: Sequence[asyncio.Future[None]], failed: Exception | None) -> None:
    for done in waiting:
        if done.done():
            continue
        if failed is None:
            done.set_result(None)
        else:
            done.set_exception(failed)


def head_of(path: Path) -> Path:
    """Return the path of the file that holds a log's head."""
    return path.with_name(f"{path.name}.head")


def read_head(path: Path) -> AuditHead | None:
    """Return the head of a log; None if it is not known."""
    try:
        head = parse_json(head_of(path).read_bytes())
        position = LogPosition(int(head["n"]), str(head["hash"]))
        if position.n < 1 and position != START:
            return None
        return AuditHead(position, {name: str(head[name]) for name in ("key", "signature") if "signature" in head})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _last_line(file: int, size: int) -> tuple[int, bytes | None]:
    """Return the offset after the last whole line, in bytes, and the line; None if there is no whole line."""
    length = _TAIL
    while True:
        start = max(0, size - length)
        tail = os.pread(file, size - start, start)
        end = tail.rfind(b"\n")
        begin = tail.rfind(b"\n", 0, max(end, 0))
        if end >= 0 and (begin >= 0 or start == 0):
            return start + end + 1, tail[begin + 1 : end]
        if start == 0:
            return 0, None
        length *= 4


def _secret_of(path: Path) -> bytes:
    """Return the key of a log's content hashes; create it if it is missing, even if other processes do so too."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        try:
            with open(draft, "xb", opener=_private) as file:
                file.write(secrets.token_bytes(32))
            with suppress(FileExistsError):
                os.link(draft, path)
        finally:
            draft.unlink(missing_ok=True)
    return path.read_bytes()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags & ~os.O_TRUNC, 0o600)  # a head is never empty in between


# --- The audit log that a network's file describes.


def open_audit(section: AuditSection, folder: Path) -> AuditLog | None:
    """Return the audit log; None if it is not enabled. Nothing is written before the first entry.

    Raises:
        ConfigError: the signing key is missing, invalid, or readable by others.
        ExtraMissing: signing needs a package.
    """
    if not section.enabled:
        return None
    signer = open_signer(section.signing_key, folder, setting="audit.signing_key")
    return AuditLog(
        folder / section.path,
        signer=signer,
        checkpoint_every=section.checkpoint_every,
        sync_seconds=section.sync_seconds,
    )


def attests(position: LogPosition, key: str, signature: str) -> bool:
    """Return whether the holder of this key signed this position of an audit log."""
    return is_attested("audit", position.statement, key=key, signature=signature)
