"""`coterie replay --update`: recorded outcomes join those that the network's dial goes by."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from coterie.cli.audit import write_down
from coterie.cli.files import write_bytes
from coterie.errors import InputError

if TYPE_CHECKING:
    from coterie.cascade.outcomes import Outcomes
    from coterie.config.file import Config


def join_outcomes(folder: Path, file: Path) -> dict[str, object]:
    """Add a file's records to the network's `[cascade] outcomes`; those that it has are not added again.

    Returns:
        What was added, and how often the generalist is right by what there was and by what there is.

    Raises:
        InputError: the network names no file of outcomes, or it is the same file.
        DataError: the file the network names is damaged, or what is added is; nothing was changed.
    """
    from coterie.cascade.outcomes import read_outcomes
    from coterie.config.file import load_config

    config = load_config(folder)
    if config.cascade.outcomes is None:
        raise InputError(
            "The network names no file of recorded outcomes.", hint='Set [cascade] outcomes = "outcomes.jsonl".'
        )
    target = folder / config.cascade.outcomes
    if target.exists() and target.samefile(file):
        raise InputError(f"{str(file)!r} is the network's own file of outcomes.", hint="Give a file with new ones.")
    read_outcomes(file)
    before = read_outcomes(target) if target.exists() else None
    had = _records(target) if before is not None else []
    known = {_key(line) for line in had}
    added = [line for line in _records(file) if _key(line) not in known]
    write_bytes(target, "".join(f"{line}\n" for line in [*had, *added]).encode())
    after = read_outcomes(target)
    write_down(folder, "outcomes", about={"added": len(added), "rows": len(after)}, hashed={"file": str(file)})
    return {
        "file": str(target),
        "added": len(added),
        "rows": len(after),
        "generalist_before": None if before is None else _quality(before, config),
        "generalist_after": _quality(after, config),
    }


def _records(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]


def _key(line: str) -> str:
    return json.dumps(json.loads(line), sort_keys=True)


def _quality(outcomes: Outcomes, config: Config) -> str | None:
    """In words; None where there is no generalist, or no outcome of it."""
    from coterie.cascade.network_dial import generalist_quality

    if config.generalist is None or config.generalist.model not in outcomes.models:
        return None
    return generalist_quality(outcomes, config.generalist.model)[1]
