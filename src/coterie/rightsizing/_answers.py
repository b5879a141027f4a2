"""Answers of a large model on file: read and written.

A record has `answer` and either `text` (the row's) or `row` (its number in the data file, from 1), and where they are
known `tokens_in`, `tokens_out`, `milliseconds` and `cost`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TypeVar

from coterie.data import Lines, Record, open_lines, read_records
from coterie.errors import DataError

N = TypeVar("N", int, float, Decimal)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the model said of one row, and what is known of what it took."""

    text: str | None
    row: int | None
    """Number of the row in its file, from 1; one of the two is known."""
    answer: str
    tokens_in: int | None = None
    tokens_out: int | None = None
    milliseconds: float | None = None
    cost: Decimal | None = None


def read_answers(path: Path, *, text_column: str = "text") -> list[Answer]:
    """The answers of a CSV or JSONL file.

    Raises:
        DataError: a record has no answer, says neither text nor row, or has a figure that is none.
    """

    def check(names: Sequence[str]) -> None:
        if "answer" not in names or not {text_column, "row"} & set(names):
            raise DataError(
                f"{path.name} has the columns {list(names)}; recorded answers need 'answer', and {text_column!r} or "
                "'row'.",
                hint="Name the columns so; tokens_in, tokens_out, milliseconds and cost are used where they are.",
            )

    with open_lines(path) as lines:
        found = [
            _answer(record, text_column, lines)
            for record in read_records(lines, wanted=("answer", text_column, "row"), check_names=check)
        ]
    if not found:
        raise DataError(f"{path.name} has no answers.", hint="One record an answer: text,answer")
    return found


def _answer(record: Record, text_column: str, lines: Lines) -> Answer:
    cells = record.cells
    text, row = cells.get(text_column), _number(record, "row", int, lines)
    if not isinstance(text, str) and row is None:
        raise lines.error(f"has neither {text_column!r} nor 'row'", "Say which row it answers.", line=record.line)
    if cells.get("answer") is None:
        raise lines.error("has no 'answer'", "An empty answer is written as an empty text.", line=record.line)
    return Answer(
        text=text if isinstance(text, str) and row is None else None,
        row=row,
        answer=_said(cells["answer"]),
        tokens_in=_number(record, "tokens_in", int, lines),
        tokens_out=_number(record, "tokens_out", int, lines),
        milliseconds=_number(record, "milliseconds", float, lines),
        cost=_number(record, "cost", Decimal, lines),
    )


def _said(cell: object) -> str:
    return "|".join(map(str, cell)) if isinstance(cell, list) else str(cell)


def _number(record: Record, name: str, kind: Callable[[str | int], N], lines: Lines) -> N | None:
    """A cell as a number from 0; None where there is none."""
    cell = record.cells.get(name)
    if cell is None or str(cell).strip() == "":
        return None
    try:
        value = kind(str(cell).strip())
    except (ValueError, InvalidOperation):
        value = kind(-1)
    if not math.isfinite(value) or value < 0:
        raise lines.error(f"has {name} {cell!r}, which is no number from 0", line=record.line)
    return value


def write_answers(answers: Sequence[Answer]) -> bytes:
    """Answers as JSONL that `read_answers` reads."""
    lines = []
    for each in answers:
        known = {name: value for name, value in vars(each).items() if value is not None}
        known |= {"cost": str(each.cost)} if each.cost is not None else {}
        lines.append(json.dumps(known, ensure_ascii=False))
    return ("\n".join(lines) + "\n").encode()
