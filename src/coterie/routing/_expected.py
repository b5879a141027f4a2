"""Files of texts with the specialists they are for: what `coterie route --eval` reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from coterie.data import Lines, Record, open_lines, read_records
from coterie.errors import DataError

from ._evaluate import NOBODY, Expected

TEXT, SPECIALIST = "text", "specialist"
_NOBODY = frozenset({"", "none", "null", NOBODY})
_HINT = f"A row is a {TEXT!r} and the {SPECIALIST!r} it is for, empty for nobody, several with | between them."


def read_expected(path: Path, *, text_column: str = TEXT, specialist_column: str = SPECIALIST) -> list[Expected]:
    """Read a CSV or JSONL file of texts and the specialists they are for.

    Raises:
        DataError: the file cannot be used; the message names the line.
    """
    wanted = (text_column, specialist_column)
    with open_lines(path) as lines:
        records = read_records(lines, wanted=wanted, check_names=lambda names: _check(lines.name, names, wanted))
        rows = [_row(record, text_column, specialist_column, lines) for record in records]
    if not rows:
        raise DataError(f"{lines.name} has no rows.", hint=_HINT)
    return rows


def _check(name: str, names: Sequence[str], wanted: Sequence[str]) -> None:
    if missing := [column for column in wanted if column not in names]:
        raise DataError(
            f"{name} has no column {' or '.join(map(repr, missing))}; its columns are {list(names)}.", hint=_HINT
        )


def _row(record: Record, text_column: str, specialist_column: str, lines: Lines) -> Expected:
    text = record.cells.get(text_column)
    if not isinstance(text, str) or not text.strip():
        raise lines.error(f"has no text in {text_column!r}", _HINT, line=record.line)
    if specialist_column not in record.cells:
        raise lines.error(f"has no {specialist_column!r}", _HINT, line=record.line)
    cell = record.cells[specialist_column]
    names = cell if isinstance(cell, list) else str("" if cell is None else cell).split("|")
    if not all(isinstance(name, str) for name in names):
        raise lines.error(f"has {cell!r} in {specialist_column!r}", _HINT, line=record.line)
    found = (name.strip() for name in names)
    return Expected(text=text, specialists=tuple(dict.fromkeys(n for n in found if n.casefold() not in _NOBODY)))
