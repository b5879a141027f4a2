"""The Markdown of a model card."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

Table = Sequence[Sequence[str]]


def table(rows: Table) -> str:
    if len(rows) < 2:
        return ""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def listing(items: Sequence[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def words(value: object) -> str:
    """A value as one line of plain Markdown: what it says cannot become a heading, a cell or a tag."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", " ".join(text.split()))


def figure_of(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else words(value) or "-"
