"""The figures that measure answers, confidences and abstentions: pure functions of arrays.

A figure that the rows cannot give, such as the accuracy of no rows, is nan.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

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
