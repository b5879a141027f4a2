"""`--update` of the replay command: new recorded outcomes join those that a network's policy reads."""

from __future__ import annotations

import json
from pathlib import Path

from coterie.cli.bridge import log_command
from coterie.config.file import Config, load_config
from coterie.errors import InputError
from coterie.policy.cost_quality import RecordedOutcomes, generalist_quality, read_outcomes
from coterie.runtime.files import write_bytes


def join_outcomes(folder: Path, file: Path) -> dict[str, object]:
    """Add a file's records to a network's `[policy] outcomes`; records that it has are not added again.

    Returns:
        What was added, and the generalist's accuracy before and after.

    Raises:
        InputError: the network names no file of outcomes, or it is the same file.
        DataError: the network's file or the added file is damaged; nothing was changed.
    """
    config = load_config(folder)
    if config.policy.outcomes is None:
        raise InputError(
            "The network names no file of recorded outcomes.", hint='Set [policy] outcomes = "outcomes.jsonl".'
        )
    target = folder / config.policy.outcomes
    if target.exists() and target.samefile(file):
        raise InputError(f"{str(file)!r} is the network's own file of outcomes.", hint="Give a file with new ones.")
    read_outcomes(file)
    before = read_outcomes(target) if target.exists() else None
    had = _records(target) if before is not None else []
    existing = {_key(line) for line in had}
    added = [line for line in _records(file) if _key(line) not in existing]
    write_bytes(target, "".join(f"{line}\n" for line in [*had, *added]).encode())
    after = read_outcomes(target)
    log_command(folder, "outcomes", about={"added": len(added), "rows": len(after)}, hashed={"file": str(file)})
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


def _quality(outcomes: RecordedOutcomes, config: Config) -> str | None:
    """The generalist's accuracy in words; None without a generalist or an outcome of it."""
    if config.generalist is None or config.generalist.model not in outcomes.models:
        return None
    return generalist_quality(outcomes, config.generalist.model)[1]
