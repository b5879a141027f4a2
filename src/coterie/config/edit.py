"""Edits of `coterie.toml` that leave existing content unchanged, comments and order included."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

import tomlkit

from coterie.errors import ConfigError


def add_tables(text: str, tables: Mapping[tuple[str, str], Mapping[str, Any]]) -> str:
    """Return the file's text with tables such as `specialists.NAME` added at its end; existing text is unchanged."""
    snippet = "\n".join(_table(*names, settings) for names, settings in tables.items())
    newline = "\r\n" if "\r\n" in text else "\n"
    added = text.rstrip() + ("\n\n" if text.strip() else "") + snippet
    added = added.replace("\r\n", "\n").replace("\n", newline)
    _check_only_added(text, added, tables, snippet)
    return added


def replace_table(text: str, kind: str, name: str, settings: Mapping[str, Any]) -> str:
    """Return the file's text with this table replaced by another."""
    document = tomlkit.parse(text)
    del document[kind][name]
    return add_tables(tomlkit.dumps(document), {(kind, name): settings})


def _table(kind: str, name: str, settings: Mapping[str, Any]) -> str:
    table = tomlkit.table()
    for key, value in sorted(settings.items(), key=lambda pair: _is_tables(pair[1])):  # a key behind them were theirs
        inline = tomlkit.inline_table()  # `{ key = value }` on one line
        if isinstance(value, dict):
            inline.update(value)
        table.add(key, inline if isinstance(value, dict) else value)
    parent = tomlkit.table(is_super_table=True)
    parent.add(name, table)
    document = tomlkit.document()
    document.add(kind, parent)
    return tomlkit.dumps(document)


def _is_tables(value: object) -> bool:
    """Return whether a value is written as `[[tables]]`."""
    return isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value)


def _check_only_added(before: str, after: str, names: Iterable[tuple[str, str]], snippet: str) -> None:
    """Check that an edited file contains the old content and the new tables, and nothing else."""
    try:
        tables = tomllib.loads(after)
    except tomllib.TOMLDecodeError:
        tables = {}
    whole = all(tables.get(kind, {}).pop(name, None) is not None for kind, name in names)
    filled, expected = (
        {key: value for key, value in document.items() if value != {}} for document in (tables, tomllib.loads(before))
    )
    if not whole or filled != expected:
        raise ConfigError(
            "coterie.toml writes its specialists in a form that a table cannot be added to.",
            hint=f"Add this by hand:\n\n{snippet}",
        )
