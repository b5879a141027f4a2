"""A large model's answers to the held-out rows: matched, read as labels, judged like findings, priced."""

from __future__ import annotations

import json
import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from coterie.accounting.meter import JOULES_PER_TOKEN, token_money
from coterie.errors import DataError
from coterie.learning.dataset import Dataset, Row
from coterie.learning.job import Progress
from coterie.learning.reading import Lines, Record, open_lines, read_records
from coterie.protocols import Engine
from coterie.rightsizing.result import LargeRow, Per1000, figure
from coterie.runtime.codec import to_json
from coterie.runtime.concurrency import side_by_side
from coterie.tasks.classify.prompted import match_label
from coterie.tasks.contract import TaskType
from coterie.text.folding import estimate_tokens
from coterie.types import SYSTEM, Bill, Finding, Label, Message, Output, Prompt, Reason, Usage

# --- Answers of a large model on file: read and written.
#
# A record has `answer` and either `text` (the row's) or `row` (its number in the data file, from 1), and where they
# are known `tokens_in`, `tokens_out`, `milliseconds` and `cost`.

N = TypeVar("N", int, float, Decimal)


@dataclass(frozen=True, kw_only=True)
class RecordedAnswer:
    """The model's answer to one row, and its usage as far as it is known."""

    text: str | None
    row: int | None
    """Number of the row in its file, from 1; `text` or `row` is known."""
    answer: str
    tokens_in: int | None = None
    tokens_out: int | None = None
    milliseconds: float | None = None
    cost: Decimal | None = None


def read_answers(path: Path, *, text_column: str = "text") -> list[RecordedAnswer]:
    """Read the answers of a CSV or JSONL file.

    Raises:
        DataError: a record has no answer, neither text nor row, or an invalid figure.
    """

    def check(names: Sequence[str]) -> None:
        if "answer" not in names or not {text_column, "row"} & set(names):
            raise DataError(
                f"{path.name} has the columns {list(names)}; recorded answers need 'answer', and {text_column!r} or "
                "'row'.",
                hint="Name the columns so; tokens_in, tokens_out, milliseconds and cost are used where they are.",
            )

    with open_lines(path) as lines:
        answers = [
            _answer(record, text_column, lines)
            for record in read_records(lines, wanted=("answer", text_column, "row"), check_names=check)
        ]
    if not answers:
        raise DataError(f"{path.name} has no answers.", hint="One record an answer: text,answer")
    return answers


def _answer(record: Record, text_column: str, lines: Lines) -> RecordedAnswer:
    cells = record.cells
    text, row = cells.get(text_column), _number(record, "row", int, lines)
    if not isinstance(text, str) and row is None:
        raise lines.error(f"has neither {text_column!r} nor 'row'", "Say which row it answers.", line=record.line)
    if cells.get("answer") is None:
        raise lines.error("has no 'answer'", "An empty answer is written as an empty text.", line=record.line)
    return RecordedAnswer(
        text=text if isinstance(text, str) and row is None else None,
        row=row,
        answer=_cell_text(cells["answer"]),
        tokens_in=_number(record, "tokens_in", int, lines),
        tokens_out=_number(record, "tokens_out", int, lines),
        milliseconds=_number(record, "milliseconds", float, lines),
        cost=_number(record, "cost", Decimal, lines),
    )


def _cell_text(cell: object) -> str:
    return "|".join(map(str, cell)) if isinstance(cell, list) else str(cell)


def _number(record: Record, name: str, kind: Callable[[str | int], N], lines: Lines) -> N | None:
    """Return a cell as a number from 0; None if it is empty."""
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


def write_answers(answers: Sequence[RecordedAnswer]) -> bytes:
    """Return answers as JSONL that `read_answers` reads."""
    lines = []
    for answer in answers:
        fields = {name: value for name, value in to_json(answer).items() if value is not None}
        lines.append(json.dumps(fields, ensure_ascii=False))
    return ("\n".join(lines) + "\n").encode()


_OUTCOMES = {"1": 1.0, "true": 1.0, "yes": 1.0, "0": 0.0, "false": 0.0, "no": 0.0}
_AROUND = " \t\r\n\"'`*."
"""Characters that models put around a label."""
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Prices:
    """Money per million tokens, for answers without a recorded cost."""

    tokens_in: Decimal | None = None
    tokens_out: Decimal | None = None


@dataclass(frozen=True, kw_only=True)
class HeldOutRows:
    """The held-out rows, and the possible answers to them."""

    rows: Sequence[Row]
    numbers: Sequence[int]
    """Number of each row in its file, from 1."""
    task: TaskType[Any]
    labels: Sequence[str]
    multi_label: bool
    measure: str
    """The measure that ranks."""


def judge_answers(
    name: str, source: str, answers: Sequence[RecordedAnswer], held: HeldOutRows, prices: Prices
) -> LargeRow:
    """Match a model's answers with held-out rows and judge them; return the model's row.

    Args:
        name: The model's name.
        source: The source of its answers, as text.
        answers: The model's answers.
        held: The held-out rows.
        prices: The prices for answers with tokens and no cost.

    Raises:
        DataError: no answer belongs to a held-out row, or none is one of the labels.
    """
    given = _match(answers, held)
    labelled = [i for i, row in enumerate(held.rows) if row.labels]
    positions = tuple(index for index, i in enumerate(labelled) if i in given)
    if not positions:
        raise DataError(
            f"{source}: none of the {len(answers):,} answers belongs to one of the {len(labelled):,} held-out rows.",
            hint="`text` must be the row's text to the letter, or `row` its number in the data file, from 1.",
        )
    matched = [given[labelled[position]] for position in positions]
    findings = [_finding(name, answer.answer, held) for answer in matched]
    strangers = Counter(
        answer.answer.strip() for answer, finding in zip(matched, findings, strict=True) if finding.value is None
    )
    if strangers.total() == len(matched):
        raise DataError(
            f"{source}: none of its answers is one of the {len(held.labels)} labels, such as {held.labels[0]!r}; it "
            f"says {', '.join(repr(answer[:40]) for answer, _ in strangers.most_common(_SHOWN))}.",
            hint="Write the answers as the labels are written in the data.",
        )
    rows = [held.rows[labelled[position]] for position in positions]
    if held.measure == "auc" and len({row.labels for row in rows}) < 2:
        raise DataError(
            f"{source}: the {len(rows):,} rows that were answered all have the label {rows[0].labels[0]!r}, and an "
            "auc needs both.",
            hint="Record answers to more rows.",
        )
    evaluation, cases = held.task.judge(rows, findings), held.task.cases(rows, findings)
    return LargeRow(
        name=name,
        source=source,
        figure=figure(held.measure, evaluation, cases),
        evaluation=evaluation,
        answered=len(positions),
        of=len(labelled),
        strangers=dict(strangers.most_common()),
        milliseconds=np.array([answer.milliseconds for answer in matched if answer.milliseconds is not None]),
        per_1000=_per_1000(matched, prices),
        positions=positions,
        cases=tuple(cases),
    )


def _match(answers: Sequence[RecordedAnswer], held: HeldOutRows) -> dict[int, RecordedAnswer]:
    """Return the answer of each held-out row that has one; rows with one text take its answers in turn."""
    by_row = {answer.row: answer for answer in answers if answer.row is not None}
    by_text: dict[str, list[RecordedAnswer]] = defaultdict(list)
    for answer in answers:
        if answer.text is not None:
            by_text[answer.text.strip()].append(answer)
    matched: dict[int, RecordedAnswer] = {}
    for i, (row, number) in enumerate(zip(held.rows, held.numbers, strict=True)):
        same = by_text.get(row.text.strip(), [])
        if number in by_row:
            matched[i] = by_row[number]
        elif same:
            matched[i] = same.pop(0) if len(same) > 1 else same[0]
    return matched


def _finding(name: str, answer: str, held: HeldOutRows) -> Finding:
    """Return an answer as a finding; its value is None if it is none of the labels."""
    value: str | float | tuple[str, ...] | None
    if held.task.form == "number":
        value = _probability(answer)
    elif held.multi_label:
        value = _several(answer, held.labels)
    else:
        value = match_label(answer, held.labels)
    sure = max(value, 1.0 - value) if isinstance(value, float) else 1.0
    return Finding(
        specialist=name,
        value=value,
        text=answer,
        confidence=sure,
        accepted=value is not None,
        reason=Reason("note.recorded"),
    )


def _several(answer: str, labels: Sequence[str]) -> tuple[str, ...] | None:
    """Return the labels of `a|b`, in order; an empty answer has none, and an unknown label makes the answer None."""
    matched = [match_label(part, labels) for part in answer.split("|") if part.strip()]
    return None if None in matched else tuple(dict.fromkeys(label for label in matched if label is not None))


def _probability(answer: str) -> float | None:
    """Return the probability of yes, no or a number from 0 to 1; None for anything else."""
    text = answer.casefold().strip(_AROUND)
    if text in _OUTCOMES:
        return _OUTCOMES[text]
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and 0 <= value <= 1 else None


def _per_1000(answers: Sequence[RecordedAnswer], prices: Prices) -> Per1000:
    """Return means over the answers with known usage, times 1,000."""
    costs = [cost for answer in answers if (cost := _cost(answer, prices)) is not None]
    tokens = [
        answer.tokens_in + answer.tokens_out
        for answer in answers
        if answer.tokens_in is not None and answer.tokens_out is not None
    ]
    return Per1000(
        joules=1000 * JOULES_PER_TOKEN * float(np.mean(tokens)) if tokens else None,
        money=1000 * sum(costs, Decimal(0)) / len(costs) if costs else None,
    )


def _cost(answer: RecordedAnswer, prices: Prices) -> Decimal | None:
    if answer.cost is not None or answer.tokens_in is None or answer.tokens_out is None:
        return answer.cost
    return token_money(
        Decimal(answer.tokens_in), Decimal(answer.tokens_out), price_in=prices.tokens_in, price_out=prices.tokens_out
    )


# --- Asking a large model about held-out rows, by few-shot prompts with every label, through the egress gate.

_SHOTS = 20  # examples shown, of different labels as far as there are
_SHOTS_TOKENS = 2000  # about what they may take together
_AT_ONCE = 8
_LONGEST = 64  # tokens of an answer


async def ask_model(
    engine: Engine,
    held: HeldOutRows,
    train: Dataset,
    *,
    most: int,
    label: Label,
    seed: int,
    progress: Progress,
    bill: Bill | None = None,
) -> list[RecordedAnswer]:
    """Return a model's answers to up to `most` held-out rows that have a label.

    Args:
        engine: The model.
        held: The held-out rows.
        train: The source of the prompt's examples.
        most: Most rows; a seeded sample if there are more.
        label: Sensitivity of the rows.
        seed: Seed of the sample.
        progress: Receives the progress.
        bill: Receives what each answer took, also where a later one fails.

    Raises:
        EngineError, EgressRefused, Overloaded: the engine raised it; no answer is invented.
    """
    positions = _sample([i for i, row in enumerate(held.rows) if row.labels], most, seed)
    start = prompt_start(train, held)
    answers: dict[int, RecordedAnswer] = {}
    waiting = iter(positions)

    async def work() -> None:
        for i in waiting:  # shared by the workers: each row is taken by one of them
            answers[i], usage = await _ask(engine, start, held, i, label)
            if bill is not None:
                bill.append((engine.name, usage))
            progress.advance(1)

    progress.start(f"{engine.name}: ask", len(positions))
    await side_by_side(work() for _ in range(_AT_ONCE))
    progress.finish("")
    return [answers[i] for i in positions]


def _sample(positions: Sequence[int], most: int, seed: int) -> list[int]:
    if len(positions) <= most:
        return list(positions)
    return sorted(np.random.default_rng(seed).choice(positions, size=most, replace=False).tolist())


async def _ask(
    engine: Engine, start: tuple[Message, ...], held: HeldOutRows, i: int, label: Label
) -> tuple[RecordedAnswer, Usage]:
    question = Message(role="user", text=_in_words(held.rows[i]))
    begun = time.perf_counter()
    (output,) = await engine.run([Prompt(messages=(*start, question), label=label, max_tokens=_LONGEST)], call=SYSTEM)
    return _answer_ask(output, held.numbers[i], (time.perf_counter() - begun) * 1000), output.usage


def _answer_ask(output: Output, number: int, milliseconds: float) -> RecordedAnswer:
    usage = output.usage
    return RecordedAnswer(
        text=None,
        row=number,
        answer=output.text.strip(),
        tokens_in=usage.tokens_in or None,
        tokens_out=usage.tokens_out or None,
        milliseconds=milliseconds,
    )


def prompt_start(train: Dataset, held: HeldOutRows) -> tuple[Message, ...]:
    """Return the instruction and examples with which every prompt begins."""
    if held.task.form == "number":
        instruction = "Estimate the outcome of each case. Answer with the probability that it is 1, from 0 to 1, alone."
    else:
        how = "the labels that fit, separated by |" if held.multi_label else "the one label that fits"
        instruction = f"Label each message. Answer with {how}, as written here, alone. The labels:\n" + "\n".join(
            held.labels
        )
    messages = [Message(role="system", text=instruction)]
    for row in _examples(train):
        messages.append(Message(role="user", text=_in_words(row)))
        messages.append(Message(role="assistant", text="|".join(row.labels)))
    return tuple(messages)


def _examples(train: Dataset) -> list[Row]:
    """Return the first row of each label, as many as fit into the prompt."""
    first = {row.labels[0]: row for row in reversed(train.rows) if row.labels}
    shown: list[Row] = []
    room = _SHOTS_TOKENS
    for label in train.label_names:
        if label in first and len(shown) < _SHOTS:
            room -= estimate_tokens(_in_words(first[label]))
            if room >= 0:
                shown.append(first[label])
    return shown


def _in_words(row: Row) -> str:
    """Return the text, with the columns as a JSON object."""
    columns = json.dumps(dict(row.columns), ensure_ascii=False) if row.columns else ""
    return "\n".join(part for part in (row.text.strip(), columns) if part)
