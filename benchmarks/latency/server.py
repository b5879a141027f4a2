"""A real `coterie serve` in a process of its own: how soon it answers, what it holds, what it bears."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from load import chat_body

_LOAD = Path(__file__).with_name("load.py")


@dataclass(frozen=True, kw_only=True)
class Server:
    """A gateway that answers."""

    pid: int
    url: str
    """Of chat completions."""
    started: float
    """`time.perf_counter()` just before the process was made."""

    def ask(self, text: str, *, model: str = "coterie") -> dict[str, Any]:
        """One request; the whole response."""
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url, data=chat_body(text, model=model), headers=headers)  # noqa: S310
        with urllib.request.urlopen(request, timeout=120) as response:  # noqa: S310 - an address of this machine
            return dict(json.load(response))

    def memory(self) -> dict[str, float]:
        """What it holds, as `memory_of` says it."""
        return memory_of(self.pid)

    def load(self, text: str, *, concurrency: int, requests: int) -> dict[str, Any]:
        """What the load generator, in its own process, met."""
        numbers = ["--concurrency", str(concurrency), "--requests", str(requests)]
        command = [sys.executable, str(_LOAD), self.url, "--text", text, *numbers]
        done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
        return dict(json.loads(done.stdout))


def memory_of(pid: int) -> dict[str, float]:
    """Resident memory of a process in MB, now and at its highest, from Linux' /proc."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    kilobytes = {
        name: int(rest.split()[0])
        for name, _, rest in (line.partition(":") for line in lines)
        if name in {"VmRSS", "VmHWM"}
    }
    return {"resident_mb": kilobytes["VmRSS"] / 1024, "highest_mb": kilobytes["VmHWM"] / 1024}


@contextmanager
def serve(folder: Path) -> Iterator[Server]:
    """Start a gateway on a free port and stop it at the end."""
    command = [sys.executable, "-m", "coterie", "-C", str(folder), "serve", "--port", "0", "--json"]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603
    try:
        line = process.stdout.readline() if process.stdout else ""
        if not line:
            sys.exit(f"`coterie serve` ended with exit code {process.wait()}.")
        address = json.loads(line)["address"]
        yield Server(pid=process.pid, url=f"{address}/v1/chat/completions", started=started)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
