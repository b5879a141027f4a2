"""Long jobs that a page starts: `coterie` commands, run as processes beside the gateway.

A training computes for minutes, so it runs in its own process at low priority: requests do not wait for it, and it
continues when a worker is replaced or the gateway ends. Its output is kept in a folder of the network, one per job.

The worker that started a job may be replaced meanwhile, since adding a specialist replaces all workers: the job
continues, and its result is in its folder. The job holds the lock that it was given until it ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import sleep
from typing import Any

from coterie.errors import CoterieError, InputError, Overloaded
from coterie.runtime.codec import parse_json
from coterie.runtime.files import hold, write_bytes

_FOLDER = Path("state", "console", "jobs")
_ID = re.compile(r"[0-9]{10}-[0-9a-f]{6}")
_MOST_SHOWN, _LONGEST_LOG = 50, 200_000
_LOCK, _MARK = "running", 64
"""Lock file of the running job, and the number of bytes in it that name the job."""
_TRIES = 10
_OPENING = 60.0
"""Seconds that a network may take to reopen after a training, for a page that waits for it."""
PATIENCE = 5
"""Seconds that a stopped job has to end by itself."""
BAR_MISSED = 3
"""Exit code of a command whose result misses its bar; the job still counts as done."""


@dataclass(frozen=True, kw_only=True)
class StartedJob:
    """A job as shown on a page."""

    id: str
    kind: str
    name: str
    """Name of the specialist, or of the file."""
    command: tuple[str, ...]
    started: float
    key: str
    ended: float | None = None
    code: int | None = None
    log: tuple[str, ...] = ()
    error: str = ""

    @property
    def state(self) -> str:
        """State of the job: `running`, `done`, `failed`, or `lost` where its process was killed."""
        if self.code is None:
            return "running"
        return "done" if self.code in {0, BAR_MISSED} else "lost" if self.code == -1 else "failed"


@dataclass
class Jobs:
    """Starts jobs, one at a time, and stores them; each of several workers knows all jobs."""

    network: Path
    """The network's folder."""
    reopen: Callable[[], Awaitable[object]]
    """Serves the champions of the registry; called after a training."""
    clock: Callable[[], float]
    opened: float = 0.0
    """Start of this worker, in whole seconds: it serves everything that was trained before."""
    _watching: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def folder(self) -> Path:
        """The folder of the jobs."""
        return self.network / _FOLDER

    async def start(
        self, kind: str, name: str, commands: Sequence[Sequence[str]], *, key: str, reopens: bool = False
    ) -> str:
        """Run commands of `coterie` one after the other, until one fails; return the job's id.

        Args:
            kind: The kind of job: `train` or `rightsize`.
            name: The specialist or file that the job is about.
            commands: Arguments of each command; the last one prints JSON, which is the result.
            key: Id of the key that started the job.
            reopens: Whether the network serves its new champions afterwards.

        Raises:
            Overloaded: another job runs.
        """
        now = self.clock()
        job = f"{int(now):010}-{secrets.token_hex(3)}"
        view = {"kind": kind, "name": name, "command": list(commands[-1]), "started": now, "key": key}
        lock = await asyncio.to_thread(
            self._begin, job, {**view, "reopens": reopens, "commands": list(map(list, commands))}
        )
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "coterie.console.jobs", str(self.network), str(self.folder / job)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=(lock,),  # held as long as the runner is there, whatever becomes of this worker
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        finally:
            os.close(lock)
        watching = asyncio.create_task(self._watch(process, job, reopens=reopens))
        self._watching.add(watching)
        watching.add_done_callback(self._watching.discard)
        return job

    def _begin(self, job: str, view: dict[str, Any]) -> int:
        """Take the lock of the running job and record this job in it; return the descriptor that holds the lock."""
        (self.folder / job).mkdir(parents=True, mode=0o700)
        lock = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        for tries in range(_TRIES):
            try:
                hold(lock, wait=False)
                break
            except OSError:  # a job runs, or somebody looks whether one does
                if tries == _TRIES - 1:
                    os.close(lock)
                    (self.folder / job).rmdir()
                    raise Overloaded(
                        "Another job is running: they would take the machine from the requests.", retry_after=30
                    ) from None
                sleep(0.01)
        announce(self.folder / job, 0)
        write_view(self.folder / job, view)
        return lock

    async def _watch(self, process: asyncio.subprocess.Process, job: str, *, reopens: bool) -> None:
        """Serve the versions that a finished job trained; the supervisor replaces the other workers."""
        await process.wait()
        view = await asyncio.to_thread(read_view, self.folder / job)
        if reopens and view.get("code") in {0, BAR_MISSED}:
            error = ""
            try:
                await self.reopen()
            except CoterieError as failure:  # the versions are stored; what serves is as before
                error = failure.message
            await asyncio.to_thread(write_view, self.folder / job, {**view, "error": error, "served": True})

    def _at_work(self) -> tuple[str, int]:
        """Return the running job and its process id; empty and 0 where none runs."""
        try:
            lock = os.open(self.folder / _LOCK, os.O_RDWR)
        except FileNotFoundError:
            return "", 0
        try:
            hold(lock, wait=False)
        except OSError:
            job, _, process = os.pread(lock, _MARK, 0).decode().partition(" ")
            return job, int(process)
        finally:
            os.close(lock)
        return "", 0

    async def stop(self, job: str) -> None:
        """Stop a job; its stored results stay."""
        for _ in range(PATIENCE * 20):
            running, process = await asyncio.to_thread(self._at_work)
            if running != job:
                return
            if process:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGINT)
            await asyncio.sleep(0.1)

    def show(self, job: str) -> StartedJob:
        """Return a job with its output. Raises `InputError` for an unknown job."""
        if not _ID.fullmatch(job) or not (self.folder / job).is_dir():
            raise InputError(f"There is no job {job[:40]!r}.", hint="The list of jobs is on the page of right-sizing.")
        view = read_view(self.folder / job)
        log = self.folder / job / "log"
        lines = log.read_bytes()[-_LONGEST_LOG:].decode("utf-8", "replace").splitlines() if log.exists() else []
        if view.get("code") is None and self._at_work()[0] != job:
            view = {"code": -1, "ended": view["started"], **read_view(self.folder / job)}  # it may have ended meanwhile
        waits = view.pop("reopens", False) and not view.pop("served", False) and view.get("code") in {0, BAR_MISSED}
        # Its version serves as soon as the network is open anew, in this worker or in the one that takes its place.
        if waits and self.opened + 1 <= view["ended"] and self.clock() - view["ended"] < _OPENING:
            view["code"] = None
        for name in ("commands", "served"):
            view.pop(name, None)
        return StartedJob(id=job, **{**view, "command": tuple(view["command"])}, log=tuple(_readable(lines)))

    def result(self, job: str) -> Any:  # noqa: ANN401 - what the command printed
        """Return the JSON output of a job's last command; None where there is none, or none yet."""
        try:
            return parse_json((self.folder / job / "result.json").read_bytes())
        except (OSError, ValueError):
            return None

    def list(self, kind: str = "") -> Sequence[StartedJob]:
        """Return the newest jobs, of one kind or of all."""
        names = sorted((folder.name for folder in self.folder.glob("*-*")), reverse=True)[:_MOST_SHOWN]
        views = [self.show(name) for name in names if _ID.fullmatch(name)]
        return [view for view in views if kind in {"", view.kind}]


def announce(folder: Path, process: int) -> None:
    """Record the running job, and the process to stop: 0 for none yet."""
    lock = os.open(folder.parent / _LOCK, os.O_RDWR)
    os.pwrite(lock, f"{folder.name} {process}".encode().ljust(_MARK), 0)
    os.close(lock)


def read_view(folder: Path) -> dict[str, Any]:
    """Read a job's record."""
    view: dict[str, Any] = parse_json((folder / "job.json").read_bytes())
    return view


def write_view(folder: Path, view: dict[str, Any]) -> None:
    """Write a job's record."""
    write_bytes(folder / "job.json", json.dumps(view).encode())


def _readable(lines: Sequence[str]) -> Sequence[str]:
    """Return lines without the control sequences that move a terminal's cursor."""
    return [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line.rsplit("\r", 1)[-1]) for line in lines]


def run(network: Path, folder: Path) -> int:
    """Run a job's commands until one fails; return the exit code of the last one."""
    view, code, stopped = read_view(folder), 1, False
    running: subprocess.Popen[bytes] | None = None

    def stop(_number: int, _frame: object) -> None:
        nonlocal stopped
        if not stopped and running is not None:
            running.send_signal(signal.SIGINT)
        stopped = True

    signal.signal(signal.SIGINT, stop)
    announce(folder, os.getpid())
    if hasattr(os, "nice"):
        os.nice(10)
    for command in view["commands"]:
        if stopped:
            break
        with (folder / "log").open("ab") as log, (folder / "result.json").open("wb") as result:
            whole = [sys.executable, "-m", "coterie", "-C", str(network), *command]
            running = subprocess.Popen(whole, stdin=subprocess.DEVNULL, stdout=result, stderr=log)  # noqa: S603
            code = _wait(running, lambda: stopped)
        if code not in {0, BAR_MISSED}:
            break
    write_view(folder, {**view, "ended": time.time(), "code": -signal.SIGINT if stopped else code})
    return code


def _wait(process: subprocess.Popen[bytes], is_stopped: Callable[[], bool]) -> int:
    """Wait for a command; a stopped command gets some seconds to end."""
    while not is_stopped():
        with suppress(subprocess.TimeoutExpired):
            return process.wait(0.2)
    try:
        return process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]), Path(sys.argv[2])))
