"""Keys of an older `coterie.toml` under the names that they have now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_PAIR_KEYS = {"pair_column", "evidence_column", "learn_only_column"}


def renamed(document: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The document in the names of today, and a notice for each table that was written in others."""
    tables = document.get("specialists")
    if not isinstance(tables, Mapping):
        return dict(document), ()
    notices = []
    now = dict(tables)
    for name, table in tables.items():
        if isinstance(table, Mapping) and (today := renamed_table(table)) != table:
            now[name] = today
            notices.append(
                f'specialists.{name}: a `classify` with `pair_column` is a `pairs` now; write task = "pairs"'
            )
    return {**document, "specialists": now}, tuple(notices)


def renamed_table(table: Mapping[str, Any]) -> dict[str, Any]:
    """One `[specialists.NAME]` table in the names of today."""
    of_pairs = table.get("task") == "classify" and any(table.get(key) for key in _PAIR_KEYS)
    return {**table, "task": "pairs"} if of_pairs else dict(table)
