"""How values are shown: the keys of fields in JSON, and fragments of HTML for notebooks, with every text escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import Field
from html import escape
from typing import Any, NamedTuple

_METADATA = "coterie.key"


class StoredKey(NamedTuple):
    """The key of a field in JSON."""

    name: str | None = None
    """The key; None for the field's name."""
    aliases: tuple[str, ...] = ()
    """Former keys, which still load."""


def stored(name: str | None = None, *, aliases: Sequence[str] = ()) -> dict[str, object]:
    """Return metadata of a dataclass field: its key in JSON, and former keys that still load."""
    return {_METADATA: StoredKey(name, tuple(aliases))}


def key_of(field: Field[Any]) -> StoredKey:
    """Return the key of a dataclass field in JSON."""
    key = field.metadata.get(_METADATA)
    return key if isinstance(key, StoredKey) else StoredKey()


def html_text(text: str, *, tag: str = "p") -> str:
    """Return a text in an element, with its line breaks kept."""
    return f'<{tag} style="white-space: pre-wrap">{escape(text)}</{tag}>'


def html_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table of plain values; a float has three decimals."""
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join(f"<tr>{''.join(f'<td>{escape(_shown(cell))}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _shown(cell: object) -> str:
    if isinstance(cell, float):
        return f"{cell:.3f}"
    return "" if cell is None else str(cell)
