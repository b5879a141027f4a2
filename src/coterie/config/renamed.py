"""Keys of an older `coterie.toml` under the names that they have now, without those that decide nothing any more."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
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
    for section, key, instead in _without_effect(found):
        _warn(f"{source}: [{section}] {key} has no effect any more: {instead}; remove the key.")
        found[section] = {name: value for name, value in found[section].items() if name != key}
    tables = found.get("specialists")
    if isinstance(tables, Mapping):
        today = {name: renamed_table(table) if isinstance(table, Mapping) else table for name, table in tables.items()}
        for name in (name for name in tables if today[name] != tables[name]):
            _warn(f'{source}: specialists.{name} is of task "pairs" now, for its pair_column; set task = "pairs".')
        found["specialists"] = today
    return found


def _without_effect(document: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Section and key of what decided something before, with what holds in its place."""
    flywheel, privacy = document.get("flywheel"), document.get("privacy")
    if isinstance(flywheel, Mapping) and "thresholds" in flywheel:
        yield "flywheel", "thresholds", "a deployment has one threshold"
    if isinstance(privacy, Mapping) and privacy.get("detector") == "names" and "model" in privacy:
        yield "privacy", "model", "names are found by the classifier that comes with Coterie"


def renamed_table(table: Mapping[str, Any]) -> dict[str, Any]:
    """One `[specialists.NAME]` table in the names of today: a `classify` with a `pair_column` is a `pairs`."""
    of_pairs = table.get("task") == "classify" and any(table.get(key) for key in _PAIR_KEYS)
    return {**table, "task": "pairs"} if of_pairs else dict(table)


def _warn(message: str) -> None:
    warnings.warn(message, FutureWarning, stacklevel=4)
