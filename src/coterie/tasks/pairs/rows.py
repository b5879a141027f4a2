"""Pairs of a text and a second one: many pairs of one document in one record, and the spans that decide a pair."""

from __future__ import annotations

import json
from collections.abc import Iterator

from coterie.learning.checks import quote
from coterie.learning.files import Lines, Record

Span = tuple[int, int]


def flatten_pairs(record: Record, lines: Lines) -> Iterator[Record]:
    """A record a pair, from a JSONL record that holds a text once and a list of its `pairs`.

    `{"text": ..., "pairs": [{"hypothesis": ..., "label": ...}, ...]}`; every other cell is every pair's.
    """
    pairs = record.cells["pairs"]
    if not isinstance(pairs, list) or not all(isinstance(pair, dict) for pair in pairs):
        raise lines.error(
            f"has pairs that are no list of objects: {quote(pairs)}",
            'Write "pairs": [{"hypothesis": "...", "label": "..."}, ...].',
            line=record.line,
        )
    shared = {name: cell for name, cell in record.cells.items() if name != "pairs"}
    for pair in pairs:
        yield Record(record.line, {**shared, **pair})


def read_evidence(record: Record, column: str, text: str, lines: Lines) -> tuple[Span, ...]:
    """The spans of the text that a record's evidence names, in its order.

    A list whose items are quotes or `[start, end]`, as JSON also in a CSV cell; one quote may stand alone.

    Raises:
        DataError: a span lies outside the text, or a quote does not occur in it.
    """
    cell = record.cells.get(column)
    if isinstance(cell, str):
        cell = _from_text(cell)
    if cell is None or cell == "":
        return ()
    items = cell if isinstance(cell, list) else [cell]
    return tuple(_span(item, column, text, record, lines) for item in items)


def _from_text(cell: str) -> object:
    """A list written as JSON, or the quote itself."""
    if cell.lstrip().startswith("["):
        try:
            return json.loads(cell)
        except ValueError:
            return cell
    return cell.strip()


def _span(item: object, column: str, text: str, record: Record, lines: Lines) -> Span:
    if isinstance(item, str) and item.strip():
        start = text.find(item.strip())
        if start < 0:
            raise lines.error(
                f"quotes {quote(item)} in {column!r}, which its text does not have",
                "A quote is copied from the text, to the letter.",
                line=record.line,
            )
        return start, start + len(item.strip())
    match item:
        case [int(start), int(end)] if 0 <= start < end <= len(text):
            return start, end
    raise lines.error(
        f"has {quote(item)} in {column!r}: neither a quote nor [start, end] inside its {len(text):,} characters",
        "Evidence is a list of quotes, or of [start, end] in characters.",
        line=record.line,
    )
