"""The rows of an `answer` specialist: questions with what the documents say.

A row is a `question` and its `answer`: words of a document, a list of such quotes (each answers), `[start, end]` in
the text of the document as its index keeps it, or nothing, `null` or `not stated` where the documents do not say.
`document` names the document that is asked about, where there is one; `topic` is the same where rows ask the same in
other words.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coterie.errors import DataError
from coterie.learning.checks import listing, nearest, quote
from coterie.learning.dataset import Dataset, Row
from coterie.learning.files import Lines, Record, open_lines, read_records
from coterie.tasks.answer.section import AnswerSection

QUESTION, ANSWER, DOCUMENT, TOPIC = "question", "answer", "document", "topic"
_HINT = (
    "An answer is a quote, a list of quotes, [start, end] in the document, or empty (or 'not stated') where the "
    "documents do not say."
)
_NOT_STATED = frozenset({"", "not stated", "not in the documents", "null", "none"})
_PAIR = 2


def read_rows(section: AnswerSection, path: Path | str, *, for_evaluation: bool = False) -> Dataset:  # noqa: ARG001 - few questions are fine in any case
    """Read a CSV or JSONL file of questions; their group is the document unless a column says otherwise.

    Raises:
        DataError: the file cannot be used; the message names the line.
    """
    question = section.text_column or QUESTION
    answer = ANSWER if section.label_column == "label" else section.label_column
    with open_lines(Path(path)) as lines:
        wanted = (question, answer)
        rows = [
            _row(record, question, answer, section.group_column, lines)
            for record in read_records(
                lines, wanted=wanted, check_names=lambda names: _check(lines.name, names, wanted)
            )
        ]
    if not rows:
        raise DataError(f"{lines.name} has no rows.", hint="Write a question and its answer a row.")
    silent = sum(not (row.labels or row.evidence) for row in rows)
    warnings: tuple[str, ...] = ()
    if silent in {0, len(rows)}:
        what = "every question has an answer" if silent == 0 else "no question has an answer"
        warnings = (f"{lines.name}: {what}, so that nothing is learnt of when to keep silent",)
    return Dataset(name=lines.name, rows=tuple(rows), sha256=lines.sha256, warnings=(*lines.warnings, *warnings))


def _check(name: str, names: Sequence[str], wanted: Sequence[str]) -> None:
    missing = [column for column in wanted if column not in names]
    if not missing:
        return
    near = nearest(missing[0], names)
    shown = listing((quote(column) for column in names), shown=12)
    raise DataError(
        f"{name} has no column {' or '.join(map(repr, missing))}; its columns are {shown}.",
        hint=f"Did you mean {near!r}?" if near else f"The first line names the columns, such as: {','.join(wanted)}",
    )


def _row(record: Record, question: str, answer: str, group_column: str | None, lines: Lines) -> Row:
    missing = [name for name in (question, answer) if name not in record.cells]
    if question in missing or (missing and not record.cells):
        raise lines.error(f"has no {question!r}", _HINT, line=record.line)
    text = _text(record, question, lines)
    if not text:
        raise lines.error(f"has an empty {question!r}", "Write the question, or remove the line.", line=record.line)
    document, topic = (_text(record, name, lines) or None for name in (DOCUMENT, TOPIC))
    quotes, spans = _answer(record.cells.get(answer), record, lines)
    if spans and document is None:
        raise lines.error("gives places of a document and does not name it", f"Add {DOCUMENT!r}.", line=record.line)
    columns = {name: value for name, value in ((DOCUMENT, document), (TOPIC, topic)) if value is not None}
    group = _text(record, group_column, lines) or None if group_column else document
    return Row(text=text, labels=quotes, evidence=spans, columns=columns, group=group, line=record.line)


def _text(record: Record, name: str, lines: Lines) -> str:
    cell = record.cells.get(name)
    if cell is not None and not isinstance(cell, str | int | float):
        raise lines.error(f"has {quote(cell)} in {name!r}, where a text belongs", _HINT, line=record.line)
    return "" if cell is None else str(cell).strip()


def _answer(cell: object, record: Record, lines: Lines) -> tuple[tuple[str, ...], tuple[tuple[int, int], ...]]:
    """Return quotes and places; neither where the documents do not say."""
    if cell is None or (isinstance(cell, str) and cell.strip().casefold() in _NOT_STATED):
        return (), ()
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        return (str(cell),), ()
    items: list[Any] = cell if isinstance(cell, list) and not _is_span(cell) else [cell]
    spans = tuple((item[0], item[1]) for item in items if _is_span(item))
    quotes = tuple(dict.fromkeys(item.strip() for item in items if isinstance(item, str) and item.strip()))
    if len(spans) + sum(isinstance(item, str) for item in items) < len(items) or (spans and quotes):
        raise lines.error(f"has an answer that is {quote(cell)}", _HINT, line=record.line)
    return quotes, spans


def _is_span(item: object) -> bool:
    """Return whether the item is `[start, end]`."""
    if not (isinstance(item, list) and len(item) == _PAIR and all(type(number) is int for number in item)):
        return False
    return bool(0 <= item[0] < item[1])
