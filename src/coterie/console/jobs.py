"""Long work that a page starts: the command line's own commands, as processes beside the gateway.

A training computes for minutes, so it runs in a process of its own at low priority: requests do not wait for it, and
it goes on where a worker is replaced or the gateway ends. What it prints is kept in a folder of the network, one a job.

The worker that started it may be replaced meanwhile, as adding a specialist replaces all of them: a job goes on, and
what came of it stands in its folder. It holds the lock that it was given until it ends.
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
"""Who holds this file's lock runs a job, which so many bytes in it name."""
_TRIES = 10
_OPENING = 60.0
"""Seconds that a network may take to open anew after a training, for a page that waits for it."""
PATIENCE = 5
"""Seconds that a job gets to end by itself."""
BAR_MISSED = 3
"""Exit code of a command whose result misses its bar: it is a result."""


@dataclass(frozen=True, kw_only=True)
class StartedJob:
    """A job as a page shows it."""

    id: str
    kind: str
    name: str
    """Of the specialist, or of the file."""
    command: tuple[str, ...]
    started: float
    key: str
    ended: float | None = None
    code: int | None = None
    log: tuple[str, ...] = ()
    error: str = ""

    @property
    def state(self) -> str:
        """`running`, `done`, `failed`, or `lost` where its process was killed."""
        if self.code is None:
            return "running"
        return "done" if self.code in {0, BAR_MISSED} else "lost" if self.code == -1 else "failed"


@dataclass
class Jobs:
    """Starts jobs, one at a time, and remembers them; of several workers each knows of all."""

    network: Path
    """Its folder."""
    reopen: Callable[[], Awaitable[object]]
    """Serves the champions of the registry; called after a training."""
    clock: Callable[[], float]
    opened: float = 0.0
    """When this worker began to serve, in whole seconds: what was trained before, it has."""
    _watching: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def folder(self) -> Path:
        """Where they are kept."""
        return self.network / _FOLDER

    async def start(
        self, kind: str, name: str, commands: Sequence[Sequence[str]], *, key: str, reopens: bool = False
    ) -> str:
        """Run commands of `coterie` one after the other, until one fails; the job's id.

        Args:
            kind: What it is: `train` or `rightsize`.
            name: Of what.
            commands: Arguments of each; the last one prints JSON, which is the result.
            key: Id of the key that started it.
            reopens: The network serves its new champions after it.

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
        """Take the one place for a job at work, and note this one there; the descriptor that holds it."""
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
        """Serve what a job has trained once it is done; other workers are replaced by their supervisor."""
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
        """The job at work and the process that runs it; empty and 0 where none is."""
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
        """End a job; what it has stored stays."""
        for _ in range(PATIENCE * 20):
            running, process = await asyncio.to_thread(self._at_work)
            if running != job:
                return
            if process:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGINT)
            await asyncio.sleep(0.1)

    def show(self, job: str) -> StartedJob:
        """A job with what it has printed. Raises `InputError` where there is none such."""
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
        """What a job's last command printed as JSON; None where it is none, or not there yet."""
        try:
            return parse_json((self.folder / job / "result.json").read_bytes())
        except (OSError, ValueError):
            return None

    def list(self, kind: str = "") -> Sequence[StartedJob]:
        """The newest jobs, of a kind or of all."""
        names = sorted((each.name for each in self.folder.glob("*-*")), reverse=True)[:_MOST_SHOWN]
        found = [self.show(name) for name in names if _ID.fullmatch(name)]
        return [each for each in found if kind in {"", each.kind}]


def announce(place: Path, process: int) -> None:
    """Say which job is at work, and which process may be told to stop: 0 for none yet."""
    lock = os.open(place.parent / _LOCK, os.O_RDWR)
    os.pwrite(lock, f"{place.name} {process}".encode().ljust(_MARK), 0)
    os.close(lock)


def read_view(place: Path) -> dict[str, Any]:
    """What is noted of a job."""
    found: dict[str, Any] = parse_json((place / "job.json").read_bytes())
    return found


def write_view(place: Path, view: dict[str, Any]) -> None:
    """Note something of a job."""
    write_bytes(place / "job.json", json.dumps(view).encode())


def _readable(lines: Sequence[str]) -> Sequence[str]:
    """Lines without the marks that move a terminal's cursor."""
    return [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line.rsplit("\r", 1)[-1]) for line in lines]


def run(network: Path, place: Path) -> int:
    """Run a job's commands until one fails; the exit code of the last one."""
    view, code, stopped = read_view(place), 1, False
    running: subprocess.Popen[bytes] | None = None

    def stop(_number: int, _frame: object) -> None:
        nonlocal stopped
        if not stopped and running is not None:
            running.send_signal(signal.SIGINT)
        stopped = True

    signal.signal(signal.SIGINT, stop)
    announce(place, os.getpid())
    if hasattr(os, "nice"):
        os.nice(10)
    for command in view["commands"]:
        if stopped:
            break
        with (place / "log").open("ab") as log, (place / "result.json").open("wb") as result:
            whole = [sys.executable, "-m", "coterie", "-C", str(network), *command]
            running = subprocess.Popen(whole, stdin=subprocess.DEVNULL, stdout=result, stderr=log)  # noqa: S603
            code = _wait(running, lambda: stopped)
        if code not in {0, BAR_MISSED}:
            break
    write_view(place, {**view, "ended": time.time(), "code": -signal.SIGINT if stopped else code})
    return code


def _wait(process: subprocess.Popen[bytes], is_stopped: Callable[[], bool]) -> int:
    """Wait for a command; one that was told to stop gets some seconds."""
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
