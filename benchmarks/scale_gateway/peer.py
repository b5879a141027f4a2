"""LiteLLM's proxy as its documentation advises for production: one worker, a master key, no database, no callbacks."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MODEL = "large"
ENVIRONMENT = {
    **os.environ,
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOG": "ERROR",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # it would ask the network for prices
}
SETTINGS = """
model_list:
  - model_name: large
    litellm_params: {{model: openai/large, api_base: "{url}", api_key: none}}
litellm_settings: {{telemetry: false, num_retries: 0}}
"""
_PATIENCE = 180.0
"""Seconds until it must answer."""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """Where it listens, and its key."""

    url: str
    key: str
    pid: int


@contextmanager
def litellm_proxy(program: Path, folder: Path, upstream: str) -> Iterator[Peer]:
    """The proxy before an upstream server, while the context lasts; its files and its log are in `folder`."""
    key, port = f"sk-{secrets.token_hex(32)}", _free_port()
    settings, log = folder / "litellm.yaml", folder / "litellm.log"
    settings.write_text(SETTINGS.format(url=upstream), encoding="utf-8")
    words = [str(program), "--config", str(settings), "--host", "127.0.0.1", "--port", str(port)]
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(  # noqa: S603 - the caller's program
            words, stdout=file, stderr=file, env=ENVIRONMENT | {"LITELLM_MASTER_KEY": key}
        )
    try:
        _wait_for(f"http://127.0.0.1:{port}/health/liveliness", process, log)
        yield Peer(url=f"http://127.0.0.1:{port}/v1/chat/completions", key=key, pid=process.pid)
    finally:
        process.terminate()
        process.wait(timeout=60)


def version_of(program: Path) -> str:
    """Its version, as it says it."""
    words = [str(program), "--version"]
    result = subprocess.run(words, check=True, capture_output=True, text=True, env=ENVIRONMENT)  # noqa: S603
    return result.stdout.partition("Version =")[2].split()[0]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - an address of this machine
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    sys.exit(f"LiteLLM's proxy does not answer:\n{log.read_text(encoding='utf-8')[-2000:]}")
