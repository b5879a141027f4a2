"""Structured input: a column's cells as numbers, booleans or categories, decided for the column as a whole."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence

from coterie.learning.checks import count, quote
from coterie.types import Columns, Scalar

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_CODE = re.compile(r"[+-]?0\d", re.ASCII)
"""A number with leading zeros is a code: a postcode, an account."""
_NO_NUMBER = {"na", "n/a", "nan", "null", "none", "-", "?", "."}
"""How a missing number is written; in a column of words each of these is a word like others."""
_BOOLEANS = {"true": True, "false": False}
_OUTCOMES: Sequence[Mapping[str, str]] = (
    {"1": "1", "1.0": "1", "0": "0", "0.0": "0"},
    {"true": "1", "false": "0"},
    {"yes": "1", "no": "0"},
)
_MOSTLY = 0.8


def parse_columns(
    cells: Sequence[Mapping[str, Scalar]], lines: Sequence[int], *, unused: Collection[str] = ()
) -> tuple[list[Columns], list[str]]:
    """Rows of raw cells as typed columns, and what is odd about them, those aside that are not used.

    A column is numeric when every cell that is not empty is a number, boolean when every one is true or
    false, and otherwise a category, as stripped text. An empty cell is None. `lines` are the rows' lines.
    """
    names = dict.fromkeys(name for row in cells for name in row)
    warnings: list[str] = []
    typed: dict[str, list[Scalar]] = {}
    for name in names:
        raw = [row.get(name) for row in cells]
        typed[name] = _parse_column(raw)
        warnings += [] if name in unused else _odd_column(name, raw, typed[name], lines)
    return [{name: typed[name][i] for name in names} for i in range(len(cells))], warnings


def strings(cells: Sequence[Mapping[str, Scalar]]) -> list[Columns]:
    """Rows of raw cells as text; a cell that is missing or empty is None."""
    names = dict.fromkeys(name for row in cells for name in row)
    return [{name: _text(row.get(name)) or None for name in names} for row in cells]


def parse_outcomes(labels: Sequence[tuple[str, ...]], positive: str | None = None) -> list[tuple[str, ...]]:
    """Labels as `1` and `0` where all are written in one of the known ways, and unchanged otherwise.

    With `positive` that label is `1` and the only other one `0`, case and spaces around them aside.
    """
    written = {label.casefold().strip() for row in labels for label in row}
    known = next((way for way in _OUTCOMES if written <= way.keys()), None)
    if positive is not None:
        one = positive.casefold().strip()
        known = dict.fromkeys(written, "0") | {one: "1"} if len(written | {one}) == 2 else None
    if known is None:
        return list(labels)
    return [tuple(known[label.casefold().strip()] for label in row) for row in labels]


def _text(cell: Scalar) -> str:
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return "" if cell is None else str(cell).strip()


def _parse_column(raw: Sequence[Scalar]) -> list[Scalar]:
    if not any(isinstance(cell, str) for cell in raw):
        return [None if isinstance(cell, float) and not math.isfinite(cell) else cell for cell in raw]
    texts = [_text(cell) for cell in raw]
    if _are_numbers(texts):
        return [_number(text) for text in texts]
    if all(text.casefold() in _BOOLEANS for text in texts if text):
        return [_BOOLEANS.get(text.casefold()) for text in texts]
    return [text or None for text in texts]


def _are_numbers(texts: Sequence[str]) -> bool:
    present = [text for text in texts if text and text.casefold() not in _NO_NUMBER]
    return bool(present) and all(_is_number(text) for text in present)


def _is_number(text: str) -> bool:
    return bool(_NUMBER.fullmatch(text)) and not _CODE.match(text) and math.isfinite(float(text))


def _number(text: str) -> int | float | None:
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return int(text) if value.is_integer() and text.lstrip("+-").isdigit() else value


def _odd_column(name: str, raw: Sequence[Scalar], cells: Sequence[Scalar], lines: Sequence[int]) -> list[str]:
    present = [cell for cell in cells if cell is not None]
    if not present:
        return [f"column {name!r} is empty on every row"]
    words = [(cell, line) for cell, line in zip(raw, lines, strict=True) if not _is_number(_text(cell)) and _text(cell)]
    if isinstance(present[0], str) and words and len(words) <= (1 - _MOSTLY) * len(present):
        first, line = words[0]
        because = f"{count(len(words), 'cell')}, first {quote(first)} at line {line}"
        return [f"column {name!r} is read as words and not as numbers because of {because}"]
    if _is_key(present, len(cells)):
        return [f"column {name!r} is different on every row: if it is a key and no feature, exclude it"]
    return []


def _is_key(present: Sequence[Scalar], rows: int) -> bool:
    """True for words that never repeat, and for whole numbers that count the rows."""
    if len(present) < rows or rows < 20 or len(set(present)) < rows:
        return False
    if all(isinstance(cell, str) for cell in present):
        return True
    numbers = [cell for cell in present if isinstance(cell, int)]
    return len(numbers) == rows and max(numbers) - min(numbers) == rows - 1
