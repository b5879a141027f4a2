"""Who became champion when, whom it replaced, by whom and why: one line of JSON each, only ever added to.

A line is written before the alias changes, so no change of champion goes unrecorded. If the process died in between,
the line tells of a change that never was. That shows by itself: whoever came next, or the alias, does not follow on.
"""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from coterie.errors import ArtefactRefused
from coterie.registry.files import append_line, check_version
from coterie.runtime.codec import dumps, loads

HISTORY = "history.jsonl"
_HINT = "Restore the file from a copy, or remove it: versions and aliases do not need it."


@dataclass(frozen=True, kw_only=True)
class Succession:
    """One change of champion."""

    time: str
    """ISO 8601, UTC."""
    action: Literal["promote", "rollback"]
    version: str
    replaced: str | None
    """The champion before; None if there was none."""
    by: str
    """Who did it: the name of the system's user."""
    reason: str
    forced: bool = False
    """It was promoted although it should not have been."""


def append_succession(home: Path, succession: Succession) -> None:
    """Add a line, on disk when this returns."""
    append_line(home / HISTORY, dumps(succession).encode())


def read_history(home: Path, champion: str | None) -> tuple[Succession, ...]:
    """Every change of champion that took effect, oldest first.

    Args:
        home: The specialist's folder.
        champion: The version that the alias stands for, read before the history.

    Raises:
        ArtefactRefused: a line is none of ours, or the end of the champion's is missing.
    """
    path = home / HISTORY
    if not path.exists():
        return ()
    whole, _, rest = path.read_bytes().rpartition(b"\n")  # what follows was never finished
    lines = [_parse(path, number, line) for number, line in enumerate(whole.splitlines(), 1)]
    if rest and champion is not None and champion not in {line.version for line in lines}:
        # A line is on disk before its version serves, so it was not the power that cut this one.
        raise ArtefactRefused(f"The last line of {str(path)!r}, of {champion}, which serves, was cut.", hint=_HINT)
    if not lines:
        return ()
    came_next = [*(line.replaced for line in lines[1:]), champion]
    return tuple(line for line, follows_on in zip(lines, came_next, strict=True) if line.version == follows_on)


def predecessor(history: Sequence[Succession], champion: str) -> str | None:
    """The champion before this one; one that was rolled back from does not count."""
    line: list[str] = []
    for each in history:
        if each.replaced is not None and line[-1:] != [each.replaced]:
            line.append(each.replaced)
        if each.action == "rollback":
            del line[-1:]
        if line[-1:] != [each.version]:
            line.append(each.version)
    before = line[:-1] if line[-1:] == [champion] else line
    return before[-1] if before else None


def login_name() -> str:
    """The name of whoever runs this process."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return "unknown"


def utc(seconds: float) -> str:
    """A time in ISO 8601."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _parse(path: Path, number: int, line: bytes) -> Succession:
    try:
        succession = loads(Succession, line)
        check_version(succession.version)
        return succession
    except (ValueError, TypeError, ArtefactRefused) as error:
        raise ArtefactRefused(
            f"Line {number} of {str(path)!r} is no change of champion.",
            hint=_HINT,
        ) from error
