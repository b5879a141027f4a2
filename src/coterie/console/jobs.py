"""Long work that a page starts: the command line's own commands, as processes beside the gateway.

A training computes for minutes, so it runs in a process of its own at low priority: requests do not wait for it. What
it prints is kept in a folder of the network, one a job, so that a job is there after a restart.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coterie.errors import CoterieError, InputError, Overloaded
from coterie.runtime.codec import parse_json
from coterie.runtime.files import write_bytes

_FOLDER = Path("state", "console", "jobs")
_ID = re.compile(r"[0-9]{10}-[0-9a-f]{6}")
_MOST_RUNNING, _MOST_SHOWN, _LONGEST_LOG = 1, 50, 200_000
_PATIENCE = 5.0
"""Seconds that a job gets to end by itself."""
_BAR_MISSED = 3
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
        """`waiting`, `running`, `done` or `failed`; `lost` where the gateway ended before it did."""
        if self.code is None:
            return "running"
        return "done" if self.code in {0, _BAR_MISSED} else "lost" if self.code == -1 else "failed"


@dataclass
class _Running:
    """A job at work."""

    process: asyncio.subprocess.Process | None = None
    task: asyncio.Task[None] | None = None


@dataclass
class Jobs:
    """Starts jobs, one at a time, and remembers them."""

    network: Path
    """Its folder."""
    reopen: Callable[[], Awaitable[None]]
    """Serves the champions of the registry; called after a training."""
    clock: Callable[[], float]
    _running: dict[str, _Running] = field(default_factory=dict)

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
        if len(self._running) >= _MOST_RUNNING:
            raise Overloaded("Another job is running: they would take the machine from the requests.", retry_after=30)
        now = self.clock()
        job = f"{int(now):010}-{secrets.token_hex(3)}"
        view = {"kind": kind, "name": name, "command": list(commands[-1]), "started": now, "key": key}
        running = self._running[job] = _Running()
        await asyncio.to_thread(self._begin, job, view)
        running.task = asyncio.create_task(self._run(job, commands, view, reopens=reopens))
        return job

    def _begin(self, job: str, view: dict[str, Any]) -> None:
        (self.folder / job).mkdir(parents=True, mode=0o700)
        self._note(job, view)

    async def _run(self, job: str, commands: Sequence[Sequence[str]], view: dict[str, Any], *, reopens: bool) -> None:
        place, code, error = self.folder / job, 1, ""
        try:
            for command in commands:
                with (place / "log").open("ab") as log, (place / "result.json").open("wb") as result:
                    process = await asyncio.create_subprocess_exec(
                        *(sys.executable, "-m", "coterie", "-C", str(self.network), *command),
                        stdin=asyncio.subprocess.DEVNULL,
                        stdout=result,
                        stderr=log,
                        start_new_session=True,
                        env={**os.environ, "PYTHONUNBUFFERED": "1"},
                        preexec_fn=_politely if hasattr(os, "nice") else None,
                    )
                    self._running[job].process = process
                    code = await process.wait()
                if code not in {0, _BAR_MISSED}:
                    break
            if reopens and code in {0, _BAR_MISSED}:
                await self.reopen()
        except CoterieError as failure:  # the versions are stored; what serves is as before
            error = failure.message
        except asyncio.CancelledError:
            code = -signal.SIGTERM
            raise
        finally:
            self._running.pop(job, None)
            self._note(job, {**view, "ended": self.clock(), "code": code, "error": error})

    async def stop(self, job: str) -> None:
        """End a job; what it has stored stays."""
        running = self._running.get(job)
        if running is None or running.process is None or running.task is None:
            return
        with suppress(ProcessLookupError):
            running.process.send_signal(signal.SIGINT)
        await asyncio.wait([running.task], timeout=_PATIENCE)
        with suppress(ProcessLookupError):
            running.process.kill()

    async def close(self) -> None:
        """End those that run, with the gateway."""
        for job in list(self._running):
            await self.stop(job)

    def show(self, job: str) -> StartedJob:
        """A job with what it has printed. Raises `InputError` where there is none such."""
        if not _ID.fullmatch(job) or not (self.folder / job).is_dir():
            raise InputError(f"There is no job {job[:40]!r}.", hint="The list of jobs is on the page of right-sizing.")
        view = parse_json((self.folder / job / "job.json").read_bytes())
        log = self.folder / job / "log"
        lines = log.read_bytes()[-_LONGEST_LOG:].decode("utf-8", "replace").splitlines() if log.exists() else []
        if view.get("code") is None and job not in self._running:
            view |= {"code": -1, "ended": view["started"]}
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

    def _note(self, job: str, view: dict[str, Any]) -> None:
        write_bytes(self.folder / job / "job.json", json.dumps(view).encode())


def _politely() -> None:
    os.nice(10)


def _readable(lines: Sequence[str]) -> Sequence[str]:
    """Lines without the marks that move a terminal's cursor."""
    return [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line.rsplit("\r", 1)[-1]) for line in lines]
