"""A large model's answers beside the held-out rows: matched, read as labels, judged like findings, priced."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from coterie.accounting import JOULES_PER_TOKEN, token_money
from coterie.data import Row
from coterie.errors import DataError
from coterie.evaluation import judge, judge_rows
from coterie.specialists import match_label
from coterie.types import Finding, TaskKind

from ._answers import Answer
from ._figures import figure
from ._result import LargeRow, Per1000

_OUTCOMES = {"1": 1.0, "true": 1.0, "yes": 1.0, "0": 0.0, "false": 0.0, "no": 0.0}
_AROUND = " \t\r\n\"'`*."
"""What models put around a label."""
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Prices:
    """Money per million tokens, for answers whose cost is not on file."""

    tokens_in: Decimal | None = None
    tokens_out: Decimal | None = None


@dataclass(frozen=True, kw_only=True)
class Held:
    """The held-out rows, and what an answer about them can say."""

    rows: Sequence[Row]
    numbers: Sequence[int]
    """Number of each row in its file, from 1."""
    task: TaskKind
    labels: Sequence[str]
    multi_label: bool
    measure: str
    """The one that ranks."""


def judge_answers(name: str, source: str, answers: Sequence[Answer], held: Held, prices: Prices) -> LargeRow:
    """The model's row: its answers matched with held-out rows and judged.

    Args:
        name: What it is called.
        source: Where its answers come from, in words.
        answers: What it said.
        held: The held-out rows.
        prices: For answers with tokens and no cost.

    Raises:
        DataError: no answer belongs to a held-out row, or none is one of the labels.
    """
    given = _match(answers, held)
    labelled = [i for i, row in enumerate(held.rows) if row.labels]
    positions = tuple(place for place, i in enumerate(labelled) if i in given)
    if not positions:
        raise DataError(
            f"{source}: none of the {len(answers):,} answers belongs to one of the {len(labelled):,} held-out rows.",
            hint="`text` must be the row's text to the letter, or `row` its number in the data file, from 1.",
        )
    matched = [given[labelled[place]] for place in positions]
    findings = [_finding(name, each.answer, held) for each in matched]
    strangers = Counter(
        each.answer.strip() for each, finding in zip(matched, findings, strict=True) if finding.value is None
    )
    if strangers.total() == len(matched):
        raise DataError(
            f"{source}: none of its answers is one of the {len(held.labels)} labels, such as {held.labels[0]!r}; it "
            f"says {', '.join(repr(answer[:40]) for answer, _ in strangers.most_common(_SHOWN))}.",
            hint="Write the answers as the labels are written in the data.",
        )
    asked = [held.rows[labelled[place]] for place in positions]
    if held.measure == "auc" and len({row.labels for row in asked}) < 2:
        raise DataError(
            f"{source}: the {len(asked):,} rows that were answered all have the label {asked[0].labels[0]!r}, and an "
            "auc needs both.",
            hint="Record answers to more rows.",
        )
    evaluation, cases = judge(asked, findings, task=held.task), judge_rows(asked, findings, task=held.task)
    return LargeRow(
        name=name,
        source=source,
        figure=figure(held.measure, evaluation, cases),
        evaluation=evaluation,
        answered=len(positions),
        of=len(labelled),
        strangers=dict(strangers.most_common()),
        milliseconds=np.array([each.milliseconds for each in matched if each.milliseconds is not None]),
        per_1000=_per_1000(matched, prices),
        positions=positions,
        cases=tuple(cases),
    )


def _match(answers: Sequence[Answer], held: Held) -> dict[int, Answer]:
    """The answer of each held-out row that has one; of several to one text, the rows take one after the other."""
    by_row = {each.row: each for each in answers if each.row is not None}
    by_text: dict[str, list[Answer]] = defaultdict(list)
    for each in answers:
        if each.text is not None:
            by_text[each.text.strip()].append(each)
    found: dict[int, Answer] = {}
    for i, (row, number) in enumerate(zip(held.rows, held.numbers, strict=True)):
        same = by_text.get(row.text.strip(), [])
        if number in by_row:
            found[i] = by_row[number]
        elif same:
            found[i] = same.pop(0) if len(same) > 1 else same[0]
    return found


def _finding(name: str, answer: str, held: Held) -> Finding:
    """An answer as a finding; its value is None when it is none of the labels."""
    value: str | float | tuple[str, ...] | None
    if held.task == "score":
        value = _probability(answer)
    elif held.multi_label:
        value = _several(answer, held.labels)
    else:
        value = match_label(answer, held.labels)
    sure = max(value, 1.0 - value) if isinstance(value, float) else 1.0
    return Finding(
        specialist=name, value=value, text=answer, confidence=sure, accepted=value is not None, reason="as recorded"
    )


def _several(answer: str, labels: Sequence[str]) -> tuple[str, ...] | None:
    """The labels of `a|b`, in order; nothing at all is no label, and one stranger spoils the answer."""
    found = [match_label(part, labels) for part in answer.split("|") if part.strip()]
    return None if None in found else tuple(dict.fromkeys(label for label in found if label is not None))


def _probability(answer: str) -> float | None:
    """Yes, no or a number from 0 to 1."""
    said = answer.casefold().strip(_AROUND)
    if said in _OUTCOMES:
        return _OUTCOMES[said]
    try:
        value = float(said)
    except ValueError:
        return None
    return value if math.isfinite(value) and 0 <= value <= 1 else None


def _per_1000(answers: Sequence[Answer], prices: Prices) -> Per1000:
    """Means over the answers of which it is known, times 1,000."""
    costs = [cost for each in answers if (cost := _cost(each, prices)) is not None]
    tokens = [
        each.tokens_in + each.tokens_out
        for each in answers
        if each.tokens_in is not None and each.tokens_out is not None
    ]
    return Per1000(
        joules=1000 * JOULES_PER_TOKEN * float(np.mean(tokens)) if tokens else None,
        money=1000 * sum(costs, Decimal(0)) / len(costs) if costs else None,
    )


def _cost(answer: Answer, prices: Prices) -> Decimal | None:
    """As recorded, else tokens times prices."""
    if answer.cost is not None or answer.tokens_in is None or answer.tokens_out is None:
        return answer.cost
    return token_money(
        Decimal(answer.tokens_in),
        Decimal(answer.tokens_out),
        price_in=prices.tokens_in,
        price_out=prices.tokens_out,
    )
