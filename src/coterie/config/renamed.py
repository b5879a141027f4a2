"""Keys of an older `coterie.toml` under the names that they have now, without those that decide nothing any more."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from coterie.errors import ConfigError

_PAIR_KEYS = {"pair_column", "evidence_column", "learn_only_column"}


def renamed(document: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The document in the names of today, with a `FutureWarning` for each that was written in another.

    Raises `ConfigError`.
    """
    found = dict(document)
    if "cascade" in found:
        if "policy" in found:
            raise ConfigError(
                f"{source} has both [policy] and [cascade], its former name.", hint="Move all keys into [policy]."
            )
        _warn(f"{source}: [cascade] is now [policy]; rename the section.")
        found = {("policy" if name == "cascade" else name): section for name, section in found.items()}
    flywheel = found.get("flywheel")
    if isinstance(flywheel, Mapping) and "thresholds" in flywheel:
        _warn(f"{source}: [flywheel] thresholds has no effect, a deployment has one threshold; remove the key.")
        found["flywheel"] = {name: value for name, value in flywheel.items() if name != "thresholds"}
    tables = found.get("specialists")
    if isinstance(tables, Mapping):
        today = {name: renamed_table(table) if isinstance(table, Mapping) else table for name, table in tables.items()}
        for name in (name for name in tables if today[name] != tables[name]):
            _warn(f'{source}: specialists.{name} is of task "pairs" now, for its pair_column; set task = "pairs".')
        found["specialists"] = today
    return found


def renamed_table(table: Mapping[str, Any]) -> dict[str, Any]:
    """One `[specialists.NAME]` table in the names of today: a `classify` with a `pair_column` is a `pairs`."""
    of_pairs = table.get("task") == "classify" and any(table.get(key) for key in _PAIR_KEYS)
    return {**table, "task": "pairs"} if of_pairs else dict(table)


def _warn(message: str) -> None:
    warnings.warn(message, FutureWarning, stacklevel=4)
