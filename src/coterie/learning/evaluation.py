"""From rows and findings to the figures of one evaluation, and the JSON that scripts rely on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from coterie.learning.dataset import Row
from coterie.learning.metrics import (
    Interval,
    Slice,
    auc_interval,
    auroc,
    bootstrap_interval,
    ece,
    macro_f1,
    multilabel_f1,
    score_interval,
    slice_labels,
    unseen,
)
from coterie.runtime.codec import to_json
from coterie.types import Finding
from coterie.types.shown import html_table


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """A wrong label given instead of the right one, with the number of rows."""

    label: str
    predicted: str | None
    """The label that was given; None if no value was given."""
    count: int
    rows: tuple[int, ...] = field(default=(), compare=False)
    """Numbers of the first of these rows, from 0."""


@dataclass(frozen=True, kw_only=True)
class FieldFigures:
    """How well one field is found. A figure that the rows cannot give is None."""

    stated: int
    """Number of texts that state the field."""
    exact_f1: float | None
    """F1 of values whose quote matches the right one word for word, case and white space aside."""
    token_f1: float | None
    """Mean F1 of the quoted words, over texts that state the field or are predicted to state it."""
    value_accuracy: float | None
    """Share of right values among stated ones whose value is known."""
    not_stated_precision: float | None
    """Share of texts that do not state the field among those predicted not to."""
    not_stated_recall: float | None
    """Share of texts predicted not to state the field among those that do not."""
    located: float | None
    """Share of quotes that overlap a place where the field is stated."""
    accuracy: float | None
    """Share of right answers among all answers about the field, accepted or not."""
    coverage: float | None
    """Share of accepted answers."""
    accepted_accuracy: float | None
    """Share of right answers among the accepted ones."""
    ece: float | None
    """Calibration error of the confidence, 15 bins."""
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    """95% intervals of both F1, over texts."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Evaluation:
    """How good a specialist is on one set of rows. A figure that the rows cannot give is None.

    Unless stated otherwise, a figure covers the rows with a label; for an `extract`, all answers about a field.
    """

    n: int
    """Number of all rows."""
    labelled: int
    """Number of rows with a label."""
    accuracy: float | None
    """Share of right values, accepted or not; with several labels, all must be right."""
    macro_f1: float | None
    """Mean of the labels' F1."""
    coverage: float | None
    """Share of accepted values."""
    accepted_accuracy: float | None
    """Share of right values among accepted ones."""
    ece: float | None
    """Expected calibration error of the confidence, 15 bins of equal width."""
    joint_accuracy: float | None
    """Over all rows: share with an accepted right value, or an abstention if there is no label."""
    oos_auroc: float | None = None
    """How well the in-scope score (or else the confidence) tells rows with a label from those without."""
    oos_recall: float | None = None
    """Share of rows without a label on which the specialist abstained."""
    micro_f1: float | None = None
    """F1 over all pairs of row and label, for several labels a row."""
    auc: float | None = None
    """For a score: area under the ROC curve."""
    brier: float | None = None
    """For a score: mean squared error of the probability."""
    truncated: int = 0
    """Number of rows of which only the beginning was read, because they exceed the model's window."""
    token_f1: float | None = None
    """For an `extract`: mean over fields of the F1 of the quoted words; for an `answer`, over answerable questions.

    For written texts, the F1 of the words of each text.
    """
    exact_f1: float | None = None
    """For an `extract`: mean over fields of the F1 of values quoted word for word."""
    exact_match: float | None = None
    """For a `generate`: share of texts that equal a right reply, case and spaces aside."""
    citation_precision: float | None = None
    """For an `answer`: share of right ones among the citations of accepted answers."""
    unanswerable_recall: float | None = None
    """For an `answer`: share of unanswerable questions (by the documents) that received no answer."""
    said_not_stated: float | None = None
    """For an `answer`: share of unanswerable questions answered with the statement that the documents do not say."""
    not_stated_precision: float | None = None
    """For an `answer`: share of unanswerable questions among those so answered."""
    others: Mapping[str, float] = field(default_factory=dict)
    """Figures that only one task has, by name."""
    fields: Mapping[str, FieldFigures] = field(default_factory=dict)
    """For an `extract`: the figures of each field."""
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    """95% interval of each figure that has one, by the figure's name."""
    confusions: tuple[Confusion, ...] = ()
    """The most frequent wrong labels, at most 20."""
    right: tuple[bool, ...] = ()
    """Whether the value was right, for each row with a label, in order."""
    slices: Mapping[str, Slice] = field(default_factory=dict)
    """Slice of each label, for a classifier."""

    def figure(self, name: str) -> float | None:
        """Return a figure by its name; None if the rows cannot give it."""
        value = self.others.get(name, getattr(self, name, None))
        return float(value) if isinstance(value, int | float) else None

    def to_json(self) -> dict[str, object]:
        """Return the figures as JSON values, intervals as pairs under `intervals`. Rows and slices are left out."""
        left_out = {"right", "slices", "others", *(() if self.fields else {"fields"})}
        figures = to_json(replace(self, right=(), slices={}))
        return {key: value for key, value in figures.items() if key not in left_out} | dict(self.others)

    @property
    def figures(self) -> dict[str, float]:
        """Figures that the rows can give, by name."""
        return {name: value for name, value in {**vars(self), **self.others}.items() if isinstance(value, float)}

    def __repr__(self) -> str:
        figures = (
            f"{name}={value:.3f}{self._interval(name, ' [{:.3f}, {:.3f}]')}" for name, value in self.figures.items()
        )
        return f"Evaluation({', '.join([f'n={self.n}', *figures])})"

    def _repr_html_(self) -> str:
        rows = [(name, value, self._interval(name, "{:.3f} to {:.3f}")) for name, value in self.figures.items()]
        return html_table([f"{self.n:,} rows", "value", "95% interval"], rows)

    def _interval(self, name: str, form: str) -> str:
        interval = self.intervals.get(name)
        return "" if interval is None else form.format(interval.low, interval.high)


# --- From rows and what was found on them to the figures of an evaluation.

_CONFUSIONS, _CONFUSED_ROWS = 20, 3
DRAWS = 400
"""Bootstrap draws for a figure that is not a mean."""

Bools = np.ndarray
Floats = np.ndarray
Value = str | tuple[str, ...] | None
"""The label or labels of a finding; None if it has none."""


class Measured(NamedTuple):
    """A figure and its 95% interval, if it has one."""

    value: float
    interval: Interval | None = None


Figures = Mapping[str, Measured]
"""Figures by their name in an evaluation."""


class Case(NamedTuple):
    """A row with a label, and the finding on it."""

    row: Row
    value: Value
    confidence: float
    accepted: bool
    correct: bool


def label_of(finding: Finding) -> Value:
    """Return the label or labels of a finding, even if it abstains."""
    return finding.value if finding.value is None or isinstance(finding.value, tuple) else str(finding.value)


def judge_labels(
    rows: Sequence[Row],
    findings: Sequence[Finding],
    *,
    seed: int = 0,
    value_of: Callable[[Finding], Value] = label_of,
    more: Figures = MappingProxyType({}),
    by_label: bool = True,
) -> Evaluation:
    """Return the figures of a specialist from its findings, one a row.

    A finding on a row with several labels is right if its label is one of them, or if its labels are the same.

    Args:
        rows: The rows; the specialist should abstain on a row without labels.
        findings: One a row.
        seed: Seed of the bootstrap intervals.
        value_of: Returns the label or labels of a finding.
        more: Further figures of the task.
        by_label: Also count by label.
    """
    values = [value_of(finding) for finding in findings]
    cases = label_cases(rows, findings, value_of=value_of)
    figures = {
        **_answer_figures(cases, seed),
        **_label_figures(cases, seed),
        **_joint_figures(rows, findings, values, seed),
        **_scope_figures(rows, findings, seed),
        **more,
    }
    return replace(
        evaluation_of(figures, n=len(rows), labelled=len(cases)),
        confusions=_confusions(cases, [at for at, row in enumerate(rows) if row.labels]),
        right=tuple(case.correct for case in cases),
        slices=_slices(cases) if by_label else {},
        truncated=sum(finding.truncated for finding in findings),
    )


def label_cases(
    rows: Sequence[Row], findings: Sequence[Finding], *, value_of: Callable[[Finding], Value] = label_of
) -> list[Case]:
    """Return each row that has a label with its finding, in order."""
    return [
        Case(row, value, finding.confidence, finding.accepted, is_right(row, value))
        for row, finding in zip(rows, findings, strict=True)
        if row.labels
        for value in [value_of(finding)]
    ]


def evaluation_of(figures: Figures, *, n: int, labelled: int) -> Evaluation:
    """Return an evaluation with these figures; figures that are not numbers are left out."""
    values: dict[str, Any] = {name: figure.value for name, figure in figures.items() if not math.isnan(figure.value)}
    named = {field_.name for field_ in fields(Evaluation)}
    fields_ = {name: value for name, value in values.items() if name in named}
    others = {name: value for name, value in values.items() if name not in named}
    intervals = {
        name: figure.interval
        for name, figure in figures.items()
        if figure.interval is not None and not math.isnan(figure.interval.low)
    }
    return replace(nothing_measured(n, labelled), intervals=intervals, others=others, **fields_)


def nothing_measured(n: int, labelled: int) -> Evaluation:
    """Return an evaluation without figures."""
    return Evaluation(
        n=n,
        labelled=labelled,
        accuracy=None,
        macro_f1=None,
        coverage=None,
        accepted_accuracy=None,
        ece=None,
        joint_accuracy=None,
    )


# --- What was said, and whether it is right ------------------------------------------------------


def is_right(row: Row, value: Value) -> bool:
    """Return whether a label is one of a row's, or several labels are the same as the row's."""
    return set(value) == set(row.labels) if isinstance(value, tuple) else value in row.labels


# --- Figures -------------------------------------------------------------------------------------


def share(values: Bools, seed: int) -> Measured:
    """Return the mean of the rows' scores, with its interval."""
    return Measured(float(values.mean()) if values.size else math.nan, score_interval(values, seed=seed))


def _answer_figures(cases: Sequence[Case], seed: int) -> Figures:
    """Return how often answers are right, how often answers are given, and how calibrated the confidence is."""
    right = np.array([case.correct for case in cases], dtype=bool)
    kept = np.array([case.accepted for case in cases], dtype=bool)
    confidence = np.array([case.confidence for case in cases], dtype=float)
    return {
        "accuracy": share(right, seed),
        "coverage": share(kept, seed),
        "accepted_accuracy": share(right[kept], seed),
        "ece": Measured(ece(confidence, right), bootstrap_interval(ece, confidence, right, seed=seed, n=DRAWS)),
    }


def _label_figures(cases: Sequence[Case], seed: int) -> Figures:
    """Return F1 by label; over sets of labels if rows or findings have several."""
    if any(isinstance(case.value, tuple) for case in cases):
        truth, guess = _sets(cases)
        micro, macro = multilabel_f1(truth, guess, macro=False), multilabel_f1(truth, guess, macro=True)
        return {"micro_f1": Measured(micro), "macro_f1": Measured(macro)}
    # Of a row's several labels, the one that was found stands for the row.
    true = [str(case.value) if case.correct else case.row.labels[0] for case in cases]
    numbers = {label: i for i, label in enumerate(dict.fromkeys([*true, *(str(c.value) for c in cases)]))}
    truth = np.array([numbers[label] for label in true], dtype=np.int64)
    guess = np.array([-1 if case.value is None else numbers[str(case.value)] for case in cases], dtype=np.int64)
    interval = bootstrap_interval(macro_f1, truth, guess, seed=seed, n=DRAWS)
    return {"macro_f1": Measured(macro_f1(truth, guess), unseen(interval, len(cases)))}


def _sets(cases: Sequence[Case]) -> tuple[Bools, Bools]:
    """Return right and found labels as (N, L) arrays of booleans."""
    guesses = [_labels_of(case.value) for case in cases]
    numbers = {
        label: i for i, label in enumerate(sorted({name for case in cases for name in case.row.labels}.union(*guesses)))
    }
    truth, guess = (np.zeros((len(cases), len(numbers)), dtype=bool) for _ in range(2))
    for i, (case, labels) in enumerate(zip(cases, guesses, strict=True)):
        truth[i, [numbers[label] for label in case.row.labels]] = True
        guess[i, [numbers[label] for label in labels]] = True
    return truth, guess


def _slices(cases: Sequence[Case]) -> dict[str, Slice]:
    """Return figures by label. A row with several right labels counts under its first one, whatever was found."""
    several = any(isinstance(case.value, tuple) for case in cases)
    truth = [case.row.labels if several else case.row.labels[:1] for case in cases]
    guesses = [case.row.labels[:1] if case.correct and not several else _labels_of(case.value) for case in cases]
    return slice_labels(truth, guesses)


def _labels_of(value: Value) -> tuple[str, ...]:
    if isinstance(value, tuple):
        return value
    return () if value is None else (value,)


def _joint_figures(rows: Sequence[Row], findings: Sequence[Finding], values: Sequence[Value], seed: int) -> Figures:
    """Return figures over all rows: an accepted right value, or an abstention where there is no label."""
    joint = [
        finding.accepted and is_right(row, value) if row.labels else not finding.accepted or value == ()
        for row, finding, value in zip(rows, findings, values, strict=True)
    ]
    return {"joint_accuracy": share(np.array(joint, dtype=bool), seed)}


def _scope_figures(rows: Sequence[Row], findings: Sequence[Finding], seed: int) -> Figures:
    """Return how well rows without a label are distinguished from those with one."""
    inside = np.array([bool(row.labels) for row in rows], dtype=bool)
    if inside.all():
        return {}
    scored = all(finding.in_scope is not None for finding in findings)
    scores = [finding.in_scope if scored else finding.confidence for finding in findings]
    silent = np.array([not finding.accepted for finding in findings], dtype=bool)
    area = area_under(np.array(scores, dtype=float), inside, seed)
    return {"oos_auroc": area, "oos_recall": share(silent[~inside], seed)}


def area_under(scores: Floats, positive: Bools, seed: int) -> Measured:  # (N,), (N,)
    """Return the area under the ROC curve, with its interval."""
    return Measured(auroc(scores, positive), auc_interval(scores, positive, seed=seed, n=DRAWS))


def _confusions(cases: Sequence[Case], numbers: Sequence[int]) -> tuple[Confusion, ...]:
    """Return which label is confused with which, most frequent first; sets of labels are left out."""
    wrong: dict[tuple[str, str | None], list[int]] = {}
    for case, number in zip(cases, numbers, strict=True):
        if not case.correct and not isinstance(case.value, tuple):
            wrong.setdefault((case.row.labels[0], case.value), []).append(number)
    ranked = sorted(wrong.items(), key=lambda item: (-len(item[1]), item[0][0], str(item[0][1])))[:_CONFUSIONS]
    return tuple(
        Confusion(label=label, predicted=value, count=len(rows), rows=tuple(rows[:_CONFUSED_ROWS]))
        for (label, value), rows in ranked
    )
