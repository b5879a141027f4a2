"""Several workers behind one address: `coterie serve --workers N`.

The supervisor binds the address once and forks the workers, which all accept from that socket. It first imports the
modules that they need and loads the encoder, so that they share its memory, and starts no thread. It restarts a worker
that died, and replaces all of them one by one at SIGHUP and at changes that workers do not follow by themselves
(`following.py`). A new worker answers before an old one drains, so no request is refused; a new worker that does not
answer in time is ended, and the old ones stay. When the supervisor is gone, its workers drain and end.
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from coterie.errors import SetupError
from coterie.runtime.files import write_bytes

_MEMORY = Path("/dev/shm")  # noqa: S108 - the folder is made with a random name, for this user alone
_KINDS = ("counter", "histogram", "gauge_livesum", "gauge_livemax")
"""The files of a process, as prometheus_client names them."""
_BYTES = 512 * 1024
"""Space of each file: some two thousand series; prometheus_client begins with 64 KiB and doubles that."""
_PREFIX = "coterie-"


def make_folder(workers: int, memory: Path = _MEMORY) -> tuple[Path, int]:
    """Make the folder, name it to prometheus_client, and return it with the descriptor that holds its lock.

    It is in memory if twice the space of the workers and the supervisor is free there; a container often has 64 MB.

    Processes that are forked later hold the lock too. Folders whose processes are all gone, as after kill -9, are
    removed. Call it before prometheus_client is imported.
    """
    try:
        fits = shutil.disk_usage(memory).free >= 2 * (workers + 1) * len(_KINDS) * _BYTES
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=memory if fits else None))
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    lock = _lock(folder / "lock.part")
    (folder / "lock.part").rename(folder / "lock")  # nobody sees it before it is held
    for path in folder.parent.glob(f"{_PREFIX}*/lock"):
        if path.parent != folder:
            with suppress(OSError):  # of another user, or its processes live
                os.close(_lock(path))
                shutil.rmtree(path.parent)
    return folder, lock


def reserve(folder: Path) -> None:
    """Reserve the space of this process' files, before it counts anything. Raises `SetupError`: there is none."""
    try:
        folder.mkdir(exist_ok=True)  # what tidies temporary folders may have removed it
        for kind in _KINDS:
            file = os.open(folder / f"{kind}_{os.getpid()}.db", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file, 0, _BYTES)
            finally:
                os.close(file)
    except OSError as error:
        raise SetupError(
            f"No space for the counters of a worker in {str(folder)!r}: {error.strerror or error}.",
            hint="Free some space there, or name another place in the variable TMPDIR.",
        ) from error


def release(folder: Path, process: int) -> None:
    """Give back the reserved space of an ended process: its counts stay, without the rest of their files."""
    from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415 - once the folder is named

    with suppress(OSError):
        mark_process_dead(process, str(folder))  # type: ignore[no-untyped-call]
        for kind in _KINDS[:2]:
            with (path := folder / f"{kind}_{process}.db").open("r+b") as file:
                used = int.from_bytes(file.read(4), sys.byteorder)
                file.truncate(used)
            if not used:
                path.unlink()


def _lock(path: Path) -> int:
    """Return a descriptor that holds the lock of a file. Raises `OSError`: another process holds it."""
    import fcntl  # noqa: PLC0415 - not on Windows

    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise
    return file


# --- Several workers behind one address: `coterie serve --workers N`.

REPLACEMENT = "state/workers.json"
"""File in the network's folder with the time and reason of a failed replacement of the workers, while it lasts."""
_TICK = 0.1
"""Seconds between two checks of what is due."""
_WATCH_SECONDS = 0.5
"""Seconds between two checks of the watched state; a change counts once it is seen twice in the same form."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
"""Seconds before a worker that died early is restarted: doubled each time."""
_PATIENCE = 10.0
"""Seconds beyond the time for draining that a worker has to end."""
_SIGNALS = (signal.SIGCHLD, signal.SIGHUP, signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, kw_only=True)
class WorkerPlace:
    """The resources of a worker."""

    seat: int
    """The worker's number, from 0; its replacement has the same."""
    listener: socket.socket
    """The bound socket, which all workers share."""
    life: int
    """A descriptor that reaches its end when the supervisor is gone."""
    ready: Callable[[], None]
    """Called by the worker once requests are answered."""


@dataclass(eq=False)
class _Worker:
    pid: int
    seat: int
    said: int
    """Descriptor on which the worker reports that it is ready."""
    late: float
    """Time by which it should be ready."""
    ready: bool = False
    leaving: float | None = None
    """Time by which it must have ended, once it was told to."""


@dataclass(eq=False)
class _Seat:
    due: float | None = None
    """Time at which it is to be restarted; None while a worker runs."""
    pause: float = 0.0


@dataclass(kw_only=True)
class Supervisor:
    """Keeps a number of workers running. `run` it in the main thread of a process without other threads."""

    listener: socket.socket
    work: Callable[[WorkerPlace], None]
    """Runs in each worker until it has drained. An exception ends that worker."""
    workers: int
    drain: float
    """Seconds that running requests have to finish."""
    watched: Callable[[], Hashable] = lambda: None
    """Returns the state that the workers were opened from; they are replaced when it changes."""
    on_ready: Callable[[], None] = lambda: None
    """Called once all workers answer for the first time."""
    on_end: Callable[[int], None] = lambda _pid: None
    """Called with the process id of each worker that has ended."""
    start_seconds: float = 120.0
    """Seconds within which a replacement worker must answer; the first start has no limit."""
    on_replacement: Callable[[str], None] = lambda _: None
    """Called at the end of a replacement with the reason why the old workers stay, or empty where all are new."""
    say: Callable[[str], None] = lambda _: None
    """Called with messages for the operator."""

    _alive: dict[int, _Worker] = field(default_factory=dict, init=False)
    _seats: list[_Seat] = field(default_factory=list, init=False)
    _replacing: list[int] = field(default_factory=list, init=False)
    """Numbers of the workers that are still to be replaced."""
    _stopping: bool = field(default=False, init=False)
    _announced: bool = field(default=False, init=False)
    _code: int = field(default=0, init=False)
    _is_worker: bool = field(default=False, init=False)
    _swap: tuple[_Worker, _Worker] | None = field(default=None, init=False)
    """The leaving worker and its replacement."""

    def run(self) -> int:
        """Supervise until SIGTERM or SIGINT and return the exit code.

        The method also returns, with 0, in each worker, after `work`; an exception of `work` is raised there.
        """
        self._life, self._lifeline = os.pipe()
        self._seats = [_Seat() for _ in range(self.workers)]
        self._seats[0].due = 0.0  # the others follow once it answers: what stops one would stop all
        self._seen = self._last = self.watched()
        self._look_again = time.monotonic() + _WATCH_SECONDS
        gc.collect()
        gc.freeze()  # what is there is shared: no collector writes into it
        with self._signals() as self._selector:
            while self._alive or not self._stopping:
                for key, _ in self._selector.select(_TICK):
                    key.data()
                self._reap()
                self._tend()
                if self._is_worker:
                    break
        if not self._is_worker:
            return self._code
        self._become_worker()
        return 0

    # --- what happens ------------------------------------------------------------------------------

    @contextmanager
    def _signals(self) -> Iterator[selectors.BaseSelector]:
        """Yield a selector that signals wake up, so that they are handled there."""
        inner, outer = socket.socketpair()
        inner.setblocking(False)
        outer.setblocking(False)
        before = {number: signal.signal(number, _heard) for number in _SIGNALS}
        wake_up = signal.set_wakeup_fd(outer.fileno(), warn_on_full_buffer=False)

        def read() -> None:
            with suppress(BlockingIOError):
                for number in inner.recv(4096):
                    self._hear(number)

        selector = selectors.DefaultSelector()
        selector.register(inner, selectors.EVENT_READ, read)
        try:
            yield selector
        finally:
            signal.set_wakeup_fd(wake_up)
            for number, handler in before.items():
                signal.signal(number, handler)
            selector.close()
            inner.close()
            outer.close()

    def _hear(self, number: int) -> None:
        if number == signal.SIGHUP and not self._stopping:
            self._replace_all("SIGHUP")
        elif number in {signal.SIGTERM, signal.SIGINT}:
            self._stop()

    def _stop(self, code: int = 0) -> None:
        """Let all workers drain; the second time, end them."""
        self._stopping, self._code = True, self._code or code
        for worker in self._alive.values():
            self._dismiss(worker)

    def _dismiss(self, worker: _Worker) -> None:
        worker.leaving = worker.leaving or time.monotonic() + self.drain + _PATIENCE
        with suppress(ProcessLookupError):
            os.kill(worker.pid, signal.SIGTERM)

    def _replace_all(self, why: str) -> None:
        self._tell(f"Replacing the workers one by one: {why}.")
        self._replacing = list(range(self.workers))

    def _tell(self, text: str) -> None:
        """Tell the operator; a message that cannot be written, as on a full disk, ends nothing."""
        with suppress(OSError):
            self.say(text)

    def _reap(self) -> None:
        """Collect ended workers."""
        for worker in list(self._alive.values()):
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                self._bury(worker, os.waitstatus_to_exitcode(status))

    def _bury(self, worker: _Worker, code: int) -> None:
        del self._alive[worker.pid]
        self._forget(worker)
        self.on_end(worker.pid)
        if self._stopping or worker.leaving is not None:
            return
        if not self._announced and not worker.ready:
            self._stop(code if code > 0 else 1)  # it said why
            return
        old, fresh = self._swap or (None, None)
        if worker is old:  # its successor is under way
            return
        if worker is fresh and not worker.ready and old is not None and old.pid in self._alive:
            why = f"a new worker ended with {code} before it answered"
            if time.monotonic() > worker.late:
                why = f"a new worker did not answer within {self.start_seconds:g} seconds ([gateway] start_seconds)"
            self._give_up_replacing(why)
            return
        self._start_later(worker.seat, at_once=worker.ready)
        self._tell(f"Worker {worker.seat} ended with {code} and is started again.")

    def _give_up_replacing(self, why: str) -> None:
        self._swap, self._replacing = None, []
        self.on_replacement(why)  # the record first: who reads the line may read it
        self._tell(f"{why.capitalize()}; the others stay. Send SIGHUP to try again.")

    def _start_later(self, number: int, *, at_once: bool = False) -> None:
        seat = self._seats[number]
        seat.pause = 0.0 if at_once else min(max(2 * seat.pause, _FIRST_PAUSE), _LONGEST_PAUSE)
        seat.due = time.monotonic() + seat.pause

    # --- what is due -------------------------------------------------------------------------------

    def _tend(self) -> None:
        now = time.monotonic()
        for worker in self._alive.values():
            overdue = now > worker.late and not worker.ready and self._announced
            if overdue or (worker.leaving is not None and now > worker.leaving):
                with suppress(ProcessLookupError):
                    os.kill(worker.pid, signal.SIGKILL)
        if self._stopping:
            return
        for number, seat in enumerate(self._seats):
            if seat.due is not None and now >= seat.due:
                seat.due = None
                try:
                    self._spawn(number)
                except OSError as error:
                    self._start_later(number)
                    self._tell(f"Worker {number} cannot be started now: {error.strerror or error}.")
                if self._is_worker:
                    return
        self._welcome()
        self._look(now)
        if self._announced:
            self._replace_next()

    def _welcome(self) -> None:
        """Start the other workers after the first, and report once that all answer."""
        if self._announced:
            return
        ready = {worker.seat for worker in self._alive.values() if worker.ready}
        if ready == {0} and len(self._alive) == 1:
            for seat in self._seats[1:]:
                seat.due = 0.0
        if len(ready) == self.workers:
            self._announced = True
            self.on_ready()

    def _look(self, now: float) -> None:
        """Replace all workers when the watched state has changed and is stable."""
        if now < self._look_again:
            return
        self._look_again = now + _WATCH_SECONDS
        state, before = self.watched(), self._last
        self._last = state
        if self._announced and state == before and state != self._seen:
            self._seen = state
            self._replace_all("what they serve has changed")

    def _replace_next(self) -> None:
        """Replace the workers one by one: start a new one, wait until it is ready, then end the old one."""
        if self._swap is None:
            if self._replacing:
                seat = self._replacing.pop(0)
                here = [worker for worker in self._alive.values() if worker.seat == seat]
                try:
                    if here and (fresh := self._spawn(seat)) is not None:
                        self._swap = here[0], fresh
                except OSError as error:
                    self._give_up_replacing(f"a new worker cannot be started: {error.strerror or error}")
            return
        old, fresh = self._swap
        if old.pid not in self._alive:
            self._swap = None
            if not self._replacing and fresh.ready:
                self.on_replacement("")
        elif fresh.ready and old.leaving is None:
            self._dismiss(old)

    # --- workers -----------------------------------------------------------------------------------

    def _spawn(self, seat: int) -> _Worker | None:
        """Fork a worker and return it; in the worker itself, store its place and return None.

        Raises `OSError`: there is no process or no descriptor left for it.
        """
        reading, saying = os.pipe()
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # one for the worker must not wake up the supervisor
        try:
            pid = os.fork()
        except OSError:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            os.close(reading)
            os.close(saying)
            raise
        if pid == 0:
            self._is_worker, self._own = True, (seat, saying)
            os.close(reading)
            return None
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        os.close(saying)
        worker = self._alive[pid] = _Worker(pid, seat, reading, time.monotonic() + self.start_seconds)
        self._selector.register(reading, selectors.EVENT_READ, lambda: self._listen(worker))
        return worker

    def _listen(self, worker: _Worker) -> None:
        worker.ready = bool(os.read(worker.said, 1)) or worker.ready
        self._forget(worker)

    def _forget(self, worker: _Worker) -> None:
        if worker.said >= 0:
            self._selector.unregister(worker.said)
            os.close(worker.said)
            worker.said = -1

    def _become_worker(self) -> None:
        seat, saying = self._own
        os.close(self._lifeline)  # held by the supervisor alone
        for other in self._alive.values():
            if other.said >= 0:
                os.close(other.said)
        with suppress(OSError):
            os.setpgid(0, 0)  # Ctrl-C reaches the supervisor, which lets its workers drain
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)

        def ready() -> None:
            os.write(saying, b"r")
            os.close(saying)

        self.work(WorkerPlace(seat=seat, listener=self.listener, life=self._life, ready=ready))


class ReplacementNote:
    """Records the result of the last replacement of workers: a file for `coterie doctor`, a counter for `/metrics`."""

    def __init__(self, folder: Path) -> None:
        """Store the network's folder and remove an earlier supervisor's record. Call it before the first fork."""
        from prometheus_client import Counter  # noqa: PLC0415 - once it is known where all workers count

        self._path = folder / REPLACEMENT
        about = "Replacements of the workers that did not come to their end: the old ones serve."
        self._failed = Counter("coterie_worker_replacements_failed", about, registry=None)
        self(why="")

    def __call__(self, why: str) -> None:
        """Record why the old workers stay, empty where all are new. A file that cannot be written is ignored."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
            if why:
                self._failed.inc()
                self._path.parent.mkdir(exist_ok=True)
                write_bytes(self._path, json.dumps({"time": time.time(), "why": why}).encode())


def _heard(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the selector is woken up by the descriptor."""
