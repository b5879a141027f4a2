"""The figures that measure answers, confidences and abstentions, and the JSON of an evaluation that scripts rely on.

A figure that the rows cannot give, such as the accuracy of no rows, is nan.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from coterie.learning.dataset import Row
from coterie.runtime.codec import to_json
from coterie.types import Finding
from coterie.types.shown import html_table

Floats = np.ndarray
Ints = np.ndarray

_NAN = float("nan")


class RiskCoverage(NamedTuple):
    """The shares of wrong answers and of answers by threshold, from high to low."""

    threshold: Floats  # (V,) distinct confidences
    coverage: Floats  # (V,)
    risk: Floats  # (V,)


def macro_f1(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Return the mean over labels of the harmonic mean of precision and recall: (N,), (N,).

    The labels are all that occur in either array, as in scikit-learn. A prediction of None, or a negative one
    among numbers, is no label: the row counts as missed.
    """
    true, guess, labels = _codes(np.asarray(truth), np.asarray(predicted))
    if not labels:
        return _NAN
    hits = np.bincount(true[true == guess], minlength=labels)
    present = np.bincount(true, minlength=labels) + np.bincount(guess[guess >= 0], minlength=labels)
    occurs = present > 0
    return float((2 * hits[occurs] / present[occurs]).mean())


def multilabel_f1(truth: ArrayLike, predicted: ArrayLike, *, macro: bool) -> float:
    """Return the F1 of label sets, (N, L) arrays of 0 and 1: over all pairs, or (`macro`) the mean of labels.

    Labels that do not occur do not count.
    """
    true, guess = np.asarray(truth, dtype=bool), np.asarray(predicted, dtype=bool)
    axis = 0 if macro else None
    hits, present = (true & guess).sum(axis=axis), true.sum(axis=axis) + guess.sum(axis=axis)
    occurs = present > 0
    return _mean(2 * np.atleast_1d(hits)[np.atleast_1d(occurs)] / np.atleast_1d(present)[np.atleast_1d(occurs)])


def ece(confidence: ArrayLike, correct: ArrayLike, *, bins: int = 15) -> float:
    """Return the expected calibration error: the mean distance of confidence and accuracy by bin, weighted by rows.

    Naeini, Cooper and Hauskrecht 2015, "Obtaining Well Calibrated Probabilities Using Bayesian Binning"; bins of
    equal width as in Guo et al. 2017.

    Args:
        confidence: (N,) probability that the answer is right.
        correct: (N,) whether it was.
        bins: Number of bins.
    """
    score, right = np.asarray(confidence, dtype=float), np.asarray(correct, dtype=float)
    if not len(score):
        return _NAN
    bin_of = np.clip(np.ceil(score * bins).astype(np.int64) - 1, 0, bins - 1)  # bins are (a, b]
    gap = np.bincount(bin_of, weights=score - right, minlength=bins)
    return float(np.abs(gap).sum() / len(score))


def brier(probability: ArrayLike, outcome: ArrayLike) -> float:  # (N,), (N,)
    """Return the mean squared distance of probability and outcome, 0 or 1 (Brier 1950)."""
    return _mean((np.asarray(probability, dtype=float) - np.asarray(outcome, dtype=float)) ** 2)


def auroc(score: ArrayLike, positive: ArrayLike) -> float:
    """Return the probability that a positive row scores higher than a negative one, ties counting half: (N,), (N,).

    Computed by the ranks of Mann and Whitney 1947. nan without rows of both kinds.
    """
    scores, yes = np.asarray(score, dtype=float), np.asarray(positive, dtype=bool)
    n_yes, n_no = int(yes.sum()), int((~yes).sum())
    if not n_yes or not n_no:
        return _NAN
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    rank = np.cumsum(counts) - (counts - 1) / 2  # mean rank of each distinct score, from 1
    return float((rank[inverse][yes].sum() - n_yes * (n_yes + 1) / 2) / (n_yes * n_no))


def coverage(accepted: ArrayLike) -> float:
    """Return the share of rows whose answer was accepted: (N,)."""
    return _mean(np.asarray(accepted, dtype=bool))


def risk_coverage(confidence: ArrayLike, correct: ArrayLike) -> RiskCoverage:  # (N,), (N,)
    """Return the risk-coverage curve of El-Yaniv and Wiener 2010: what each threshold would accept and get wrong."""
    scores, right = np.asarray(confidence, dtype=float), np.asarray(correct, dtype=bool)
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)[: len(ranked)])
    accepted = last + 1
    return RiskCoverage(ranked[last], accepted / max(1, len(ranked)), np.cumsum(~right[order])[last] / accepted)


def _mean(values: Floats) -> float:
    return float(values.mean()) if values.size else _NAN


def _codes(truth: np.ndarray, predicted: np.ndarray) -> tuple[Ints, Ints, int]:
    """Return both arrays as label numbers, -1 for no label, and the number of labels."""
    if truth.dtype.kind in "iu" and predicted.dtype.kind in "iu":
        return truth, predicted, int(max(truth.max(initial=-1), predicted.max(initial=-1))) + 1
    numbers: dict[object, int] = {}
    coded = [
        np.array(
            [-1 if label is None else numbers.setdefault(label, len(numbers)) for label in labels.tolist()],
            dtype=np.int64,
        )
        for labels in (truth, predicted)
    ]
    return coded[0], coded[1], len(numbers)


# --- How sure a figure is.
#
# Shares of rows have the exact interval (Clopper and Pearson 1934, Biometrika 26), everything else that of the
# percentile bootstrap (Efron and Tibshirani 1993, chapter 13). The bootstrap draws only what was seen: where six rows
# of six are right, every draw is, and its interval says that nothing can go wrong. So where no draw differs, the
# number of rows says how much may not have been seen.

_DRAWS = 1 << 20
"""Random numbers drawn at once, to limit the memory."""


class Interval(NamedTuple):
    """The range of a figure at the stated confidence."""

    low: float
    high: float


def exact_interval(hits: int, rows: int, *, level: float = 0.95) -> Interval:
    """Return the exact (conservative) interval of a share of which `hits` in `rows` were observed."""
    from scipy.special import betaincinv  # noqa: PLC0415 - training alone needs it

    if not rows:
        return Interval(float("nan"), float("nan"))
    tail = (1 - level) / 2
    low = float(betaincinv(hits, rows - hits + 1, tail)) if hits else 0.0
    high = float(betaincinv(hits + 1, rows - hits, 1 - tail)) if hits < rows else 1.0
    return Interval(low, high)


def score_interval(values: ArrayLike, *, seed: int) -> Interval:
    """Return the interval of the mean of (N,) scores, 0 to 1: exact if each is 0 or 1."""
    column = np.asarray(values, dtype=float)
    if ((column == 0) | (column == 1)).all():
        return exact_interval(int(column.sum()), len(column))
    return bootstrap_mean(column, seed=seed)


def unseen(interval: Interval, rows: int) -> Interval:
    """Return a bootstrap interval of a figure from 0 to 1; without a mistake, or a hit, in any draw, the exact one."""
    if interval.low == interval.high == 1:
        return exact_interval(rows, rows)
    return exact_interval(0, rows) if interval.low == interval.high == 0 else interval


def auc_interval(scores: ArrayLike, positive: ArrayLike, *, seed: int, n: int = 1000) -> Interval:
    """Return the interval of an AUC of (N,) scores; if no score is out of order, from the size of the rarer kind.

    Args:
        scores: (N,).
        positive: (N,) whether each is positive.
        seed: Seed of the draws.
        n: Number of draws.
    """
    kinds = np.asarray(positive, dtype=bool)
    drawn = bootstrap_interval(auroc, scores, kinds, seed=seed, n=n)
    return unseen(drawn, int(min(kinds.sum(), (~kinds).sum())))


def bootstrap_interval(
    metric: Callable[..., float], *arrays: ArrayLike, seed: int, n: int = 1000, level: float = 0.95
) -> Interval:
    """Return the interval of `metric(*arrays)` over rows drawn again with replacement.

    Draws on which the metric is nan (an AUC without positives) do not count. `np.mean` takes the
    fast path of `bootstrap_mean`.

    Args:
        metric: Takes the arrays and returns a number.
        arrays: Each (N, ...): rows are drawn for all of them together.
        seed: Seed of the draws.
        n: Number of draws.
        level: Confidence.
    """
    if metric is np.mean and len(arrays) == 1:
        return bootstrap_mean(arrays[0], seed=seed, n=n, level=level)
    columns = [np.asarray(array) for array in arrays]
    rows = len(columns[0])
    random = np.random.default_rng(seed)
    values = []
    for _ in range(n if rows else 0):
        drawn = random.integers(rows, size=rows)
        values.append(metric(*(column[drawn] for column in columns)))
    return _percentiles(np.array(values), level)


def bootstrap_mean(values: ArrayLike, *, seed: int, n: int = 1000, level: float = 0.95) -> Interval:
    """Return the interval of the mean of (N,) values; for 0 and 1 from their exact bootstrap distribution.

    Use it for differences and unbounded numbers; for scores from 0 to 1 use `score_interval`.
    """
    column = np.asarray(values, dtype=float)
    rows = len(column)
    random = np.random.default_rng(seed)
    if not rows:
        return Interval(float("nan"), float("nan"))
    if ((column == 0) | (column == 1)).all():
        return _percentiles(random.binomial(rows, column.mean(), size=n) / rows, level)
    at_once = max(1, _DRAWS // rows)
    means = [
        column[random.integers(rows, size=(min(at_once, n - start), rows))].mean(axis=1)
        for start in range(0, n, at_once)
    ]
    return _percentiles(np.concatenate(means), level)


def _percentiles(values: np.ndarray, level: float) -> Interval:
    numbers = values[~np.isnan(values)] if values.size else values
    if not numbers.size:
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(numbers, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


# --- How alike two texts are, word by word: what is left to measure where there is no single right text.

_WORD = re.compile(r"\w+")


def token_f1(text: str, reference: str) -> float:
    """Return the harmonic mean of the shares of words that the texts have in common, whatever their order.

    As in SQuAD (Rajpurkar et al. 2016, section 6.1), but articles count. Two texts without words are equal.
    """
    words, wanted = _words(text), _words(reference)
    return _f1((Counter(words) & Counter(wanted)).total(), words, wanted)


def best_f1(text: str, references: Sequence[str]) -> float:
    """Return the token F1 with the most similar reference; 0 for an empty text."""
    return max((token_f1(text, reference) for reference in references), default=0.0) if text.strip() else 0.0


def count_words(text: str) -> Counter[str]:
    """Return the number of times that each word occurs in a text, in lower case."""
    return Counter(_words(text))


def counted_f1(mine: Counter[str], theirs: Counter[str]) -> float:
    """Return the token F1 of counted words; 0 where there are none."""
    total = mine.total() + theirs.total()
    return 2 * (mine & theirs).total() / total if total else 0.0


def rouge_l(text: str, reference: str) -> float:
    """Return the F1 of the longest common subsequence of words: order counts (Lin 2004, section 3.1, with beta = 1)."""
    words, wanted = _words(text), _words(reference)
    return _f1(_longest_common(words, wanted), words, wanted)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _f1(common: int, words: Sequence[str], wanted: Sequence[str]) -> float:
    if not words and not wanted:
        return 1.0
    return 2 * common / (len(words) + len(wanted))


def _longest_common(first: Sequence[str], second: Sequence[str]) -> int:
    """Return the length of the longest common subsequence, computed a row of the table at a time."""
    best = [0] * (len(second) + 1)
    for word in first:
        before = 0  # the cell above and to the left
        for index, other in enumerate(second, 1):
            before, best[index] = best[index], before + 1 if word == other else max(best[index], best[index - 1])
    return best[-1]


# --- Whether one version of a specialist is worse than another, beyond chance.
#
# Two versions measured on the same rows are compared row by row: what counts is where one was right and the other
# wrong.

LEVEL = 0.05
"""Probability of wrongly calling any version worse, over all simultaneous comparisons."""
_QUANTILE = 1.959964
"""Half the width of a 95% interval, in standard errors."""


def paired_drop(before: ArrayLike, after: ArrayLike) -> float:
    """Return the probability of losing so many rows by chance, if nothing got worse: (N,), (N,) of right rows.

    The exact one-sided test of McNemar 1947: rows on which only one version is right should be evenly split
    between both, so the number lost is binomial with one half. Rows on which both are right, or both wrong, do
    not count.
    """
    from scipy.special import bdtrc  # noqa: PLC0415 - training alone needs it

    old, new = np.asarray(before, dtype=bool), np.asarray(after, dtype=bool)
    lost, won = int((old & ~new).sum()), int((~old & new).sum())
    return float(bdtrc(lost - 1, lost + won, 0.5)) if lost else 1.0


def interval_drop(before: float, after: float, widths: tuple[float, float]) -> float:
    """Return the probability of such a fall by chance, from two values and the widths of their 95% intervals.

    A one-sided normal test with the standard errors implied by the intervals, as if the two figures were
    independent. On the same rows they are not, and the true error is smaller: the test finds a drop later than it
    could, never sooner.
    """
    from scipy.special import ndtr  # noqa: PLC0415 - training alone needs it

    error = math.hypot(*widths) / (2 * _QUANTILE)
    if error == 0.0:
        return 0.0 if after < before else 1.0
    return float(ndtr((after - before) / error))


def worse(chances: Sequence[float]) -> list[bool]:
    """Return which of several drops are significant, with a 5% chance of any false one among them.

    The step-down procedure of Holm 1979: the smallest of m chances is compared with 0.05 / m, the next one with
    0.05 / (m - 1), and so on, up to the first that fails.
    """
    flags = [False] * len(chances)
    for rank, index in enumerate(sorted(range(len(chances)), key=chances.__getitem__)):
        if chances[index] > LEVEL / (len(chances) - rank):
            break
        flags[index] = True
    return flags


# --- How good a specialist is on the rows of each label: where an average hides that one of them got worse.


@dataclass(frozen=True, kw_only=True)
class Slice:
    """The figures of one label."""

    n: int
    """Number of rows with the label."""
    recall: float
    """Share of these rows on which the label was predicted."""
    precision: float | None
    """Share of right rows among those predicted to have the label; None if it was never predicted."""
    f1: float
    right: tuple[bool, ...]
    """Whether the label was predicted, row by row in the order of the data."""

    def to_json(self) -> dict[str, object]:
        """Return the figures as JSON values."""
        return {**vars(self), "right": pack(self.right)}


def slice_labels(truth: Sequence[Sequence[str]], guessed: Sequence[Sequence[str]]) -> dict[str, Slice]:
    """Return the slice of each label that a row has, by label.

    Args:
        truth: The right labels of each row.
        guessed: The predicted labels of each row, accepted or not.
    """
    guessed_counts: dict[str, int] = {}
    for labels in guessed:
        for label in set(labels):
            guessed_counts[label] = guessed_counts.get(label, 0) + 1
    right: dict[str, list[bool]] = {}
    for labels, guesses in zip(truth, guessed, strict=True):
        for label in labels:
            right.setdefault(label, []).append(label in guesses)
    return {label: _slice(tuple(rows), guessed_counts.get(label, 0)) for label, rows in sorted(right.items())}


def pack(right: ArrayLike) -> str:  # (N,)
    """Return truth values as hexadecimal digits, four a digit, padded with zeros."""
    return np.packbits(np.asarray(right, dtype=bool)).tobytes().hex()


def unpack(digits: str, n: int) -> np.ndarray:
    """Return the first `n` truth values (n,). Raises `ValueError` if there are fewer, or the digits are invalid."""
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(digits), dtype=np.uint8))
    if not 0 <= n <= len(bits) < n + 8:
        raise ValueError(f"there are {len(bits)} truth values for {n} rows")
    return bits[:n].astype(bool)


def _slice(right: tuple[bool, ...], guessed: int) -> Slice:
    hits = sum(right)
    return Slice(
        n=len(right),
        recall=hits / len(right),
        precision=hits / guessed if guessed else None,
        f1=2 * hits / (len(right) + guessed),
        right=right,
    )


# --- From rows and findings to the figures of one evaluation, and the JSON that scripts rely on.


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
