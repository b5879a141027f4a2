"""Fragments of HTML for notebooks. Every text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


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
