"""Runs the commands of one job, in a process of its own: `python -m coterie.console.runner NETWORK JOB`.

The worker that started it may be replaced meanwhile, as adding a specialist replaces all of them: a job goes on, and
what came of it stands in its folder. It holds the lock that it was given until it ends.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from coterie.console.jobs import BAR_MISSED, PATIENCE, announce, read_view, write_view


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
