"""The lines of an audit log: JSON, each with the SHA-256 of the line before it.

The hash is of the line's bytes as they stand in the file, so nothing has to be parsed, or written again in the same
way, to check it. The first line follows `GENESIS`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

GENESIS = "0" * 64
"""What the first line names as the hash of the line before it."""
CHECKPOINT = "checkpoint"
"""Kind of an entry that the log writes itself: a signature of all lines before it."""
REPAIR = "repair"
"""Kind of an entry that the log writes itself: half a line, left by a writer that was killed, was removed."""

_BEGINNING = re.compile(rb'\{"prev":"([0-9a-f]{64})","n":(\d{1,18}),"time":')
_TIME = re.compile(rb'"time":(-?[\d.eE+-]{1,40})[,}]')


class LogPosition(NamedTuple):
    """Where a log stands after some line."""

    n: int
    """Number of that line, from 1; 0 before the first."""
    digest: str
    """Its hash."""

    @property
    def statement(self) -> bytes:
        """What is signed to say that the log stood there."""
        return f"{self.n} {self.digest}".encode()


START = LogPosition(0, GENESIS)


def digest_of(line: bytes) -> str:
    """The hash of a line without its end."""
    return hashlib.sha256(line).hexdigest()


def write_line(
    after: LogPosition, time: float, kind: str, tenant: str, about: Mapping[str, Any]
) -> tuple[bytes, LogPosition]:
    """One more line, without its end, and where the log stands after it."""
    entry = {"prev": after.digest, "n": after.n + 1, "time": time, "kind": kind, "tenant": tenant, "about": about}
    line = json.dumps(entry, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8", "replace")
    return line, LogPosition(after.n + 1, digest_of(line))


def read_beginning(line: bytes) -> tuple[str, int] | None:
    """The hash that a line names and its number; None if it is no line of an audit log."""
    found = _BEGINNING.match(line)
    return (found[1].decode(), int(found[2])) if found else None


def read_time(line: bytes) -> float | None:
    """When a line says that it was written; None if it does not."""
    found = _TIME.search(line, 0, 200)
    try:
        return float(found[1]) if found else None
    except ValueError:
        return None


def read_entry(line: bytes) -> dict[str, Any]:
    """A line as an entry, with its own hash. Raises `ValueError` if it is none."""
    try:
        entry = json.loads(line)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(entry, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - a wrong file, not a mistake in our code
    if not (isinstance(entry.get("n"), int) and isinstance(entry.get("time"), int | float) and "kind" in entry):
        raise ValueError("it has no number, time or kind")
    return {**entry, "hash": digest_of(line)}
