"""Rows of an `answer` specialist, questions with what the documents say, and the evaluation of answers against them.

A row is a `question` and its `answer`: words of a document, a list of such quotes (each answers), `[start, end]` in
the text of the document as its index keeps it, or nothing, `null` or `not stated` where the documents do not say.
`document` names the document that is asked about, where there is one; `topic` is the same where rows ask the same in
other words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from coterie.errors import DataError
from coterie.learning.dataset import Dataset, Row, listing, nearest, quote
from coterie.learning.evaluation import (
    Case,
    Evaluation,
    Interval,
    count_words,
    counted_f1,
    ece,
    nothing_measured,
    score_interval,
)
from coterie.learning.measure import LookUp
from coterie.learning.reading import Lines, Record, open_lines, read_records
from coterie.protocols import Retriever
from coterie.tasks.answer.section import AnswerSection
from coterie.types import SYSTEM, Context, ContextView, Entry, Finding, Label, SpecialistCard, Task

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


# --- Evaluates answers with citations against the places where the documents answer, or that they do not.

_SHARED = 0.6
"""Share of the words of the shorter of quote and answer that must be in the other for the two to match."""


class AnswerFigures(NamedTuple):
    """Figures of answered questions. A figure that the rows cannot give is None."""

    figures: Mapping[str, float | None]
    intervals: Mapping[str, Interval]
    right: tuple[bool, ...]
    """Whether each row was handled correctly: a right citation, or none where the documents do not say."""


def holds_answer(row: Row, document: str, start: int, end: int, text: str) -> bool:
    """Return whether a place of a document answers a row's question.

    Where the row has places, the two must overlap; where it has quotes, most words of the shorter one must be in the
    other.
    """
    named = row.columns.get(DOCUMENT)
    if named is not None and str(named) != document:
        return False
    if row.evidence:
        return any(start < other_end and other_start < end for other_start, other_end in row.evidence)
    words = count_words(text)
    return any(_alike(words, count_words(quote)) for quote in row.labels)


def judge_answers(rows: Sequence[Row], findings: Sequence[Finding], *, seed: int = 0) -> AnswerFigures:
    """Return the figures over questions.

    `token_f1`: mean over questions with a quoted answer of the F1 of the words cited, 0 where no answer is given.
    `citation_precision`: share of right ones among the citations of given answers; of unanswerable questions all are
    wrong. `unanswerable_recall`: share of unanswerable questions that got no answer; `said_not_stated`: share that
    were told that the documents do not say. `coverage`: share of answerable questions that got an answer. `accuracy`:
    share of all questions handled correctly, whether accepted or not.
    """
    answered = np.array([bool(finding.accepted and finding.citations) for finding in findings], dtype=bool)
    silent = np.array([finding.accepted and not finding.citations for finding in findings], dtype=bool)
    stated = np.array([bool(row.labels or row.evidence) for row in rows], dtype=bool)
    right = np.array([_right(row, finding) for row, finding in zip(rows, findings, strict=True)], dtype=bool)
    cited = [
        holds_answer(row, citation.document, citation.start, citation.end, citation.text)
        for row, finding, given in zip(rows, findings, answered, strict=True)
        if given
        for citation in finding.citations
    ]
    overlap = [
        _token_f1(row, finding) if given else 0.0
        for row, finding, given in zip(rows, findings, answered, strict=True)
        if row.labels
    ]
    means = {
        "accuracy": right.astype(float),
        "accepted_accuracy": right[answered | silent].astype(float),
        "coverage": answered[stated].astype(float),
        "token_f1": np.array(overlap),
        "citation_precision": np.array(cited, dtype=float),
        "unanswerable_recall": (~answered[~stated]).astype(float),
        "said_not_stated": silent[~stated].astype(float),
        "not_stated_precision": (~stated[silent]).astype(float),
    }
    figures = {name: float(values.mean()) if len(values) else None for name, values in means.items()}
    intervals = {name: score_interval(values, seed=seed) for name, values in means.items() if len(values)}
    confidence = [finding.confidence for finding in findings]
    return AnswerFigures(
        figures | {"ece": float(ece(confidence, right)) if len(right) else None}, intervals, tuple(right.tolist())
    )


@runtime_checkable
class Keeper(Protocol):
    """An index that returns the text of its documents."""

    async def text(self, name: str, start: int, end: int, *, clearance: Label, tenant: str = "default") -> str | None:
        """Return `text[start:end]` of a document; None if it does not exist or may not be seen."""
        ...


async def with_quotes(rows: Sequence[Row], indexes: Mapping[str, Retriever], *, clearance: Label) -> list[Row]:
    """Return rows with places of a document, completed with the words there from the index that has the document."""
    keepers = [index for index in indexes.values() if isinstance(index, Keeper)]
    return [replace(row, labels=row.labels or await _quotes(row, keepers, clearance)) for row in rows]


async def _quotes(row: Row, keepers: Sequence[Keeper], clearance: Label) -> tuple[str, ...]:
    named = str(row.columns.get(DOCUMENT))
    for keeper in keepers:
        texts = [await keeper.text(named, start, end, clearance=clearance) for start, end in row.evidence]
        if quotes := tuple(quote for quote in texts if quote):
            return quotes
    return ()


def look_up_with(indexes: Mapping[str, Retriever], card: SpecialistCard) -> LookUp:
    """Return what the network shows a specialist of its indexes for a task: the passages found in each."""

    async def look_up(task: Task) -> ContextView:
        context = Context()
        named = (task.columns or {}).get(DOCUMENT)
        for index in card.knowledge:
            passages = await indexes[index].search(
                task.text,
                k=card.passages,
                clearance=min(task.clearance, card.clearance),
                tenant=task.tenant,
                vector=task.vector,
                document=None if named is None else str(named),
                call=SYSTEM,
            )
            context = context.append(
                *(Entry(content=passage, producer=index, label=passage.label, time=0.0) for passage in passages)
            )
        return ContextView(entries=context.entries)

    return look_up


def _right(row: Row, finding: Finding) -> bool:
    """Return whether the first citation answers, or nothing is cited where nothing is stated."""
    if not finding.citations:
        return not (row.labels or row.evidence)
    return any(
        holds_answer(row, citation.document, citation.start, citation.end, citation.text)
        for citation in finding.citations
    )


def _token_f1(row: Row, finding: Finding) -> float:
    """Return the F1 of the words cited against those of the best answer, or of all answers together."""
    mine = sum((count_words(citation.text) for citation in finding.citations), Counter())
    whole = sum((count_words(quote) for quote in row.labels), Counter())
    return max(
        (counted_f1(mine, theirs) for theirs in [*(count_words(quote) for quote in row.labels), whole]), default=0.0
    )


def _alike(one: Counter[str], other: Counter[str]) -> bool:
    shorter = min(one.total(), other.total())
    return bool(shorter) and (one & other).total() >= _SHARED * shorter


def judge(rows: Sequence[Row], findings: Sequence[Finding], *, seed: int = 0) -> Evaluation:
    """Return the figures over questions."""
    judged = judge_answers(rows, findings, seed=seed)
    empty = nothing_measured(len(rows), sum(bool(row.labels or row.evidence) for row in rows))
    figures: dict[str, Any] = dict(judged.figures)
    return replace(empty, intervals=judged.intervals, right=judged.right, **figures)


def cases(rows: Sequence[Row], findings: Sequence[Finding]) -> list[Case]:
    """Return every question with its answer."""
    right = judge_answers(rows, findings).right
    return [
        Case(row, None, finding.confidence, finding.accepted, correct)
        for row, finding, correct in zip(rows, findings, right, strict=True)
    ]
