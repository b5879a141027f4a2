"""From logits to probabilities, and the one or two parameters that calibrate them.

What serves is in numpy alone, since a serving device has no scipy.

The threshold for accepting answers is by learn-then-test; with a prior for sets of few rows. Each candidate threshold
is a hypothesis, "more than `target_risk` of the answers accepted here are wrong". Those that the calibration rows
refute, all together at level `delta`, are safe; the lowest of them is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import ceil, floor, log
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from threadpoolctl import threadpool_limits

from coterie.config.specialists import SpecialistSection
from coterie.errors import DataError
from coterie.types import Reason
from coterie.types.reason import Value

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


def expit(x: Any) -> Any:  # noqa: ANN401 - a number gives a number, an array an array
    """Return the logistic function 1 / (1 + exp(-x)), of any size without overflow."""
    x = np.asarray(x, dtype=np.result_type(x, np.float32) if hasattr(x, "dtype") else np.float64)
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, small)[()] / (1.0 + small)


def logit(p: Any) -> Any:  # noqa: ANN401 - as above
    """Return log(p / (1 - p)); of 0 and 1 it is infinite."""
    p = np.asarray(p, dtype=np.result_type(p, np.float32) if hasattr(p, "dtype") else np.float64)
    with np.errstate(divide="ignore"):
        return (np.log(p) - np.log1p(-p))[()]


def logsumexp(a: Any, axis: int | tuple[int, ...] | None = None) -> Any:  # noqa: ANN401
    """Return log(sum(exp(a))) along an axis, without overflow."""
    a = np.asarray(a)
    most = np.max(a, axis=axis, keepdims=True)
    most = np.where(np.isfinite(most), most, 0.0)
    with np.errstate(divide="ignore"):
        total = np.log(np.sum(np.exp(a - most), axis=axis, keepdims=True)) + most
    return np.squeeze(total, axis=axis)[()]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the probabilities of labels of which exactly one is right: (..., L) to (..., L)."""
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=-1, keepdims=True))


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit the thread pools of this process to one thread each, while the context lasts.

    A library that is loaded inside the context is not limited. scikit-learn brings OpenMP, and a task imports it when
    it trains: so it is loaded first.
    """
    import sklearn.linear_model  # noqa: F401, PLC0415 - see above

    with threadpool_limits(1):
        yield


def multinomial(
    design: np.ndarray | csr_matrix, outcome: np.ndarray, outcomes: int, *, strength: float, absent: float, rounds: int
) -> tuple[np.ndarray, np.ndarray]:  # (columns, outcomes), (outcomes,)
    """Fit a multinomial logistic regression with a column for every outcome, even for those that no row has.

    Args:
        design: (N, columns) features of each row.
        outcome: (N,) outcome of each row.
        outcomes: Number of outcomes.
        strength: Inverse of the regularisation.
        absent: Logit of an outcome that never occurs: it is unlikely, not impossible.
        rounds: Most iterations.
    """
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - a device that answers has none

    weights, bias = np.zeros((design.shape[1], outcomes)), np.full(outcomes, absent)
    present = np.unique(outcome)
    if len(present) < 2:
        bias[present] = 0.0
        return weights, bias
    model = LogisticRegression(C=strength, max_iter=rounds).fit(design, outcome)
    if len(present) == 2:  # scikit-learn gives the log-odds of the second alone
        weights[:, present[1]], bias[present] = model.coef_[0], [0.0, model.intercept_[0]]
    else:
        weights[:, present], bias[present] = model.coef_.T, model.intercept_
    return weights, bias


# --- From logits to probabilities, and the one or two parameters that calibrate them.

Floats = np.ndarray

_FEWEST_POINTS = 30
"""Fewest answers to fit a line through confidences; at least `_EITHER` of them must be right, and as many wrong."""
_EITHER = 5
_USUAL, _SPREAD = np.array([0.65, 0.1]), np.array([0.15, 0.3])
"""Prior of such lines (slope and intercept): mean and deviation on small sets of two corpora.

The figures are in docs/history/log.md.
"""
_SUREST = 1e-6
"""Least distance of a confidence from 0 and from 1."""
_FARTHEST = 30.0
"""Most log-odds by which an intercept is moved."""
_WIDEST = 5.0
"""Temperatures are searched between e^-5 and e^5 (0.007 and 148)."""


@dataclass(frozen=True, kw_only=True)
class Platt:
    """A line before the sigmoid: probability = sigmoid(slope * logit + intercept)."""

    slope: float
    intercept: float

    def probability(self, logits: ArrayLike) -> Floats:
        """Return the probability of the positive outcome, of the logits' shape."""
        return np.asarray(expit(self.slope * np.asarray(logits, dtype=float) + self.intercept))


def sigmoid(logits: ArrayLike) -> Floats:
    """Return the probability of each label by itself, of the logits' shape."""
    return np.asarray(expit(np.asarray(logits, dtype=float)))


def fit_temperature(logits: ArrayLike, targets: ArrayLike) -> float:
    """Return the temperature T under which softmax(logits / T) is calibrated.

    It minimises the negative log-likelihood, which is convex in 1 / T (Guo, Pleiss, Sun and Weinberger 2017,
    "On Calibration of Modern Neural Networks", section 4.2). The targets are smoothed by 1 / (N + 2), after
    Platt 1999, so that a small set without a mistake does not lead to certainty.

    Args:
        logits: (N, L), of rows that the weights were not fitted on.
        targets: (N,) position of the right label.
    """
    z = _finite(logits)  # (N, L)
    right = z[np.arange(len(z)), np.asarray(targets, dtype=int)]
    smoothing = 1 / (len(z) + 2)
    attained = ((1 - smoothing) * right + smoothing * z.mean(axis=1)).mean()

    def loss(inverse: float) -> float:
        return float(logsumexp(inverse * z, axis=1).mean() - inverse * attained)

    return _best_temperature(loss)


def fit_sigmoid_temperature(logits: ArrayLike, targets: ArrayLike) -> float:
    """Return the temperature T under which sigmoid(logits / T) is calibrated, one for all labels.

    The same as `fit_temperature` for labels that are right or wrong one by one.

    Args:
        logits: (N,) or (N, L).
        targets: of the same shape, 1 where the label is right.
    """
    z = _finite(logits)
    y = _platt_targets(np.asarray(targets))

    def loss(inverse: float) -> float:
        return float((np.logaddexp(0, inverse * z) - y * inverse * z).mean())

    return _best_temperature(loss)


def fit_platt(logits: ArrayLike, targets: ArrayLike) -> Platt:
    """Return the slope and intercept that calibrate the logits of one outcome.

    Platt 1999, "Probabilistic Outputs for Support Vector Machines", with its smoothed targets; solved on
    standardised logits, where it is well conditioned.

    Args:
        logits: (N,), of rows that the weights were not fitted on.
        targets: (N,) 1 for the positive outcome, 0 for the other.
    """
    from scipy.optimize import minimize  # noqa: PLC0415 - training alone needs it

    z = _finite(logits)
    y = _platt_targets(np.asarray(targets))
    center, scale = float(z.mean()), float(z.std()) or 1.0
    unit = (z - center) / scale

    def loss(line: Floats) -> tuple[float, Floats]:
        margin = line[0] * unit + line[1]
        miss = expit(margin) - y
        return float((np.logaddexp(0, margin) - y * margin).mean()), np.array([(miss * unit).mean(), miss.mean()])

    slope, intercept = minimize(loss, np.array([1.0, 0.0]), jac=True, method="BFGS").x
    return Platt(slope=float(slope / scale), intercept=float(intercept - slope * center / scale))


def fit_confidence(confidence: ArrayLike, right: ArrayLike) -> Platt | None:
    """Return the line through the log-odds of confidences that calibrates them for the answer given; None without one.

    A temperature is the best for the probabilities of all labels together; the likeliest label alone is still
    over- or underconfident (Gupta and Ramdas 2022, "Top-label calibration and multiclass-to-binary reductions").
    The order of answers stays. With too few answers, or hardly any right or wrong ones, the result is None and
    confidences stay.

    The line has the highest posterior probability under a normal prior of such lines: the prior outweighs a
    hundred answers and hardly affects ten thousand.

    Args:
        confidence: (N,) of answers to rows that the weights were not fitted on.
        right: (N,) whether each was right.
    """
    from scipy.optimize import minimize  # noqa: PLC0415 - training alone needs it

    sure, hits = np.clip(np.asarray(confidence, dtype=float), _SUREST, 1 - _SUREST), np.asarray(right, dtype=bool)
    if len(hits) < _FEWEST_POINTS or min(hits.sum(), (~hits).sum()) < _EITHER:
        return None
    odds, rows = logit(sure), len(hits)

    def loss(line: Floats) -> tuple[float, Floats]:
        margin, apart = line[0] * odds + line[1], (line - _USUAL) / _SPREAD
        miss = expit(margin) - hits
        surprise = (np.logaddexp(0, margin) - hits * margin).mean() + (apart**2).sum() / (2 * rows)
        return float(surprise), np.array([(miss * odds).mean(), miss.mean()]) + apart / _SPREAD / rows

    slope, intercept = minimize(loss, _USUAL, jac=True, method="BFGS").x
    return Platt(slope=float(slope), intercept=float(intercept)) if slope > 0 else None


def raise_confidence(line: Platt, confidence: ArrayLike, gain: float) -> Platt:
    """Return the line with its intercept moved, so that the mean of the mapped confidences rises by `gain`.

    Args:
        line: The result of `fit_confidence`.
        confidence: (N,) confidences that the line was fitted on.
        gain: Share of answers, from 0; at most 99% of the mean's distance to 1 is added.
    """
    from scipy.optimize import brentq  # noqa: PLC0415 - training alone needs it

    odds = logit(np.clip(np.asarray(confidence, dtype=float), _SUREST, 1 - _SUREST))
    before = float(line.probability(odds).mean())
    aim = min(before + gain, 1 - (1 - before) / 100)
    moved = brentq(lambda by: float(expit(line.slope * odds + line.intercept + by).mean()) - aim, 0.0, _FARTHEST)
    return Platt(slope=line.slope, intercept=line.intercept + float(moved))


def _best_temperature(loss: Callable[[float], float]) -> float:
    """Minimise over the logarithm of 1 / T, in which a function convex in 1 / T still has one minimum."""
    from scipy.optimize import minimize_scalar  # noqa: PLC0415 - training alone needs it

    best = minimize_scalar(lambda log: loss(float(np.exp(log))), bounds=(-_WIDEST, _WIDEST), method="bounded")
    return float(np.exp(-best.x))


def _platt_targets(targets: Floats) -> Floats:
    """Return targets moved off 0 and 1 as if one more example of each had been seen (Platt 1999)."""
    positive = int((targets > 0).sum())
    negative = targets.size - positive
    return np.where(targets > 0, (positive + 1) / (positive + 2), 1 / (negative + 2))


def _finite(logits: ArrayLike) -> Floats:
    z = np.asarray(logits, dtype=float)
    if not z.size:
        raise DataError("There are no rows to calibrate on.", hint="Add training data.")
    if not np.isfinite(z).all():
        raise DataError(f"{(~np.isfinite(z)).sum():,} of {z.size:,} logits to calibrate on are not finite.")
    return z


# --- Combining several models of one thing.

_LARGEST = 100.0  # weights beyond this only sharpen what is already certain


def fit_pool(logits: Sequence[np.ndarray], targets: np.ndarray) -> np.ndarray:
    """Return the shares of a log-linear pool that minimise the log loss of some multiple of sum(share * logits).

    Stacking (Wolpert 1992) in the logit domain (Genest and Zidek 1986). Shares are not negative, so no model is
    ever used upside down. How sharp the pool is, its temperature, is fitted afterwards.

    Args:
        logits: One array (N, L) a model, each from rows that the model was not trained on.
        targets: (N,) index of the right label, or (N, L) of 0 and 1 when labels are independent; then the
            sigmoid takes the softmax's place.

    Returns:
        (M,) one share a model, adding up to 1.
    """
    from scipy.optimize import minimize  # noqa: PLC0415 - training alone needs it

    if len(logits) == 1:
        return np.ones(1)
    stacked = np.stack(logits).astype(np.float64)  # (M, N, L)
    loss = _independent_loss if targets.ndim == 2 else _exclusive_loss
    start = np.full(len(stacked), 1.0 / len(stacked))
    bounds = [(0.0, _LARGEST)] * len(stacked)
    optimum = minimize(loss, start, args=(stacked, targets), jac=True, method="L-BFGS-B", bounds=bounds)
    total = optimum.x.sum()
    return np.asarray(optimum.x / total if total else start)


def _exclusive_loss(weights: np.ndarray, stacked: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the mean log loss of the softmax and its gradient."""
    pooled = np.tensordot(weights, stacked, axes=1)  # (N, L)
    rows = np.arange(len(targets))
    total = logsumexp(pooled, axis=1)
    loss = float(np.mean(total - pooled[rows, targets]))
    surprise = np.exp(pooled - total[:, None])
    surprise[rows, targets] -= 1.0
    return loss, np.tensordot(stacked, surprise, axes=([1, 2], [0, 1])) / len(targets)


def _independent_loss(weights: np.ndarray, stacked: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the mean log loss of the sigmoids, over rows and labels, and its gradient."""
    pooled = np.tensordot(weights, stacked, axes=1)  # (N, L)
    loss = float(np.mean(np.logaddexp(0.0, pooled) - targets * pooled))
    surprise = expit(pooled) - targets
    return loss, np.tensordot(stacked, surprise, axes=([1, 2], [0, 1])) / targets.size


# --- Scores that say how much a text is like the training data, and where to draw the line.
#
# Higher is always more in scope. Nothing here needs an example that is out of scope.


def max_logit(logits: ArrayLike) -> Floats:
    """Return the highest logit: (..., L) to (...).

    Hendrycks et al. 2022, "Scaling Out-of-Distribution Detection for Real-World Settings".
    """
    return np.asarray(np.asarray(logits, dtype=float).max(axis=-1))


def scope_threshold(scores: ArrayLike, *, false_rejection: float) -> float:
    """Return the score from which a text is in scope: at most `false_rejection` of these scores are below it.

    The largest such threshold, whatever ties there are. With N scores of in-scope rows, a fresh in-scope row
    is below it with probability at most (floor(N * false_rejection) + 1) / (N + 1) (by
    exchangeability, as in Vovk, Gammerman and Shafer 2005, "Algorithmic Learning in a Random World").

    Args:
        scores: (N,) of in-scope rows that the weights were not fitted on.
        false_rejection: Highest share of them to reject, 0 to 1.

    Raises:
        DataError: there are no scores, or one is not a number.
    """
    ranked = np.sort(np.asarray(scores, dtype=float))
    if not len(ranked) or np.isnan(ranked).any():
        raise DataError(f"{len(ranked):,} scores, {np.isnan(ranked).sum():,} of them no numbers, give no threshold.")
    # The small amount keeps 0.29 * 100 = 28.999999999999996 at 29.
    return float(ranked[min(floor(false_rejection * len(ranked) + 1e-9), len(ranked) - 1)])


# --- How much rows say that come in groups: fewer independent rows would say the same.


def independent_share(wrong: Ints, groups: Ints, counts: Ints, *, delta: float) -> Floats:
    """Return, for the first `count` rows of each count, the equivalent share of independent rows (K,).

    The inverse of the design effect of their share of wrong rows, times the squared ratio of Student's quantiles
    for rows and for groups (Korn and Graubard 1998). Where no row or every row is wrong, the design effect is
    that of all rows. It never counts as more than one row a row, and a single group says nothing.

    Args:
        wrong: (N,) whether each row is wrong.
        groups: (N,) number of each row's group, from 0.
        counts: (K,) numbers of first rows.
        delta: Level of the quantiles.
    """
    from scipy.stats import t  # noqa: PLC0415 - training alone needs it

    effects = np.array([_design_effect(wrong[:count], groups[:count]) for count in counts])
    effects = np.where(np.isnan(effects), _design_effect(wrong, groups), effects)
    present = np.array([np.count_nonzero(np.bincount(groups[:count])) for count in counts])
    # Student's quantile needs a degree of freedom; one group has none, and shows nothing.
    ratio = t.ppf(delta, np.maximum(counts - 1, 1)) / t.ppf(delta, np.maximum(present - 1, 1))
    return np.where(present < 2, 0.0, ratio**2 / np.fmax(1.0, effects))


def _design_effect(wrong: Ints, groups: Ints) -> float:
    """Return the variance of the share of wrong rows over that of independent rows; nan if none or all are wrong."""
    share = float(wrong.mean())
    present = np.count_nonzero(np.bincount(groups))
    if share in {0.0, 1.0} or present < 2:
        return float("nan")
    sums = np.bincount(groups, weights=wrong - share)
    variance = present / (present - 1) * float((sums**2).sum()) / len(wrong) ** 2
    return variance / (share * (1 - share) / len(wrong))


Ints = np.ndarray

_CANDIDATES = 200
"""Most thresholds that are tested, spread evenly over the rows."""
_START_FACTOR = 4
"""Factor by which the accepted rows grow from one start of the test to the next."""
_PROMISING_SHARE = 0.8
"""Share of delta for the start that the confidences choose; from three public sets, see docs/history/log.md."""
_PROMISE = 0.03
"""Largest expected p-value with which a start receives that share."""


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """The confidence from which answers are accepted, and its effect on the calibration rows."""

    value: float | None
    """Lowest confidence that is accepted; None accepts nothing."""
    coverage: float
    """Share of the calibration rows that the threshold accepts."""
    realised_risk: float | None
    """Share of wrong answers among accepted ones; None if none is accepted."""
    n: int
    """Number of calibration rows."""
    reason: Reason

    def accepts(self, confidence: float) -> bool:
        """Return whether an answer of this confidence is accepted."""
        return self.value is not None and confidence >= self.value


def accept_threshold(
    confidence: ArrayLike,
    correct: ArrayLike,
    *,
    target_risk: float,
    delta: float = 0.05,
    groups: Sequence[object] | None = None,
) -> Threshold:
    """Return the lowest threshold whose accepted answers are wrong at most `target_risk` of the time, at level delta.

    Learn-then-test (Angelopoulos, Bates, Candes, Jordan and Lei 2021, "Learn then Test: Calibrating Predictive
    Algorithms to Achieve Risk Control"), for the selective risk: of n accepted rows, k wrong ones give the exact
    binomial p-value P(Bin(n, target_risk) <= k). Thresholds are tested from strict to lax in a fixed sequence
    with several starts, each with a share of delta that a refutation passes on (the fallback procedure of Wiens
    2003, one of the graphs of Bretz et al. 2009), which keeps the family-wise error at delta. Most of delta goes
    to the start that the confidences promise most of; they alone choose it, not what was right, so the tests stay
    what they are. A threshold is one of the confidences seen; given its value, the rows above it are independent
    draws, so its p-value stands. That the confidence is calibrated only decides how much is accepted.

    Rows of one group (clauses of one contract) are not independent: with `groups`, n and k shrink to the number
    of independent rows that would say as much (Korn and Graubard 1998, "Confidence Intervals for Proportions with
    Small Expected Number of Positive Counts Estimated from Survey Data").

    Args:
        confidence: (N,) of rows that the weights were not fitted on. Equal ones are accepted or not together.
        correct: (N,) whether each answer was right.
        target_risk: Highest share of wrong answers among accepted ones.
        delta: Highest probability of ending up above it.
        groups: (N,) the group of each row; a row whose group is None is a group of its own.

    Raises:
        DataError: a confidence is not a number.
    """
    scores, right = np.asarray(confidence, dtype=float), np.asarray(correct, dtype=bool)
    if np.isnan(scores).any():
        raise DataError(f"{np.isnan(scores).sum():,} of {len(scores):,} confidences are not numbers.")
    aim = _Aim(target_risk=target_risk, delta=delta, rows=len(scores))
    if len(scores) < aim.fewest:
        return _too_few(aim)
    order = np.argsort(-scores, kind="stable")
    values, accepted, wrong = _tally(scores[order], right[order])
    promising = _promising(scores[order], accepted, aim)
    rest = delta * (1 - _PROMISING_SHARE) if len(promising) else delta
    starts = _starts(accepted, replace(aim, delta=rest))
    tested = np.union1d(_candidates(accepted, starts), promising)
    says = np.ones(len(tested))
    if groups is not None:
        says = independent_share(~right[order], _numbers(groups)[order], accepted[tested], delta=delta)
    p = _p_values(accepted[tested] * says, wrong[tested] * says, target_risk)
    safe = tested[_fallback(p, _shares(tested, starts, promising, rest, delta))]
    if not len(safe):
        best = int(tested[p.argmin()])
        return _refused(aim, int(accepted[best]), int(wrong[best]))
    last = int(safe[-1])
    return _granted(aim, float(values[last]), int(accepted[last]), int(wrong[last]))


@dataclass(frozen=True, kw_only=True)
class _Aim:
    target_risk: float
    delta: float
    rows: int

    @property
    def fewest(self) -> int:
        """Fewest accepted rows that can show the risk at all, if none of them is wrong."""
        return ceil(log(self.delta) / log(1 - self.target_risk))

    def reason(self, code: str, **values: Value) -> Reason:
        return Reason(code, sure_percent=100 * (1 - self.delta), risk=self.target_risk, rows=self.rows, **values)


def _tally(scores: Floats, right: Ints) -> tuple[Floats, Ints, Ints]:
    """Return each distinct confidence from high to low (V,), the rows at or above it, and how many are wrong."""
    last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
    return scores[last], last + 1, np.cumsum(~right)[last]


def _numbers(groups: Sequence[object]) -> Ints:
    """Return a number for each row's group (N,)."""
    numbers: dict[object, int] = {}
    keys = (("row", i) if group is None else group for i, group in enumerate(groups))
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def _p_values(accepted: Floats, wrong: Floats, target_risk: float) -> Floats:
    """Return P(Bin(accepted, target_risk) <= wrong), also for fractions, by the incomplete beta function (K,)."""
    from scipy.special import betainc  # noqa: PLC0415 - training alone needs it

    return np.asarray(betainc(accepted - wrong, wrong + 1, 1 - target_risk))


def _starts(accepted: Ints, aim: _Aim) -> Ints:
    """Return the positions where the test starts: the first that can be refuted, then ever more rows, at last all.

    With few rows there is one start: shares of delta would be too small for them to refute anything.
    """
    number = 1 + int(max(0.0, log(aim.rows / aim.fewest)) / log(_START_FACTOR))
    everything = [aim.rows] if number > 1 else []
    first = replace(aim, delta=aim.delta / (number + len(everything))).fewest
    rows = np.append(first * float(_START_FACTOR) ** np.arange(number), everything)
    return np.unique(np.searchsorted(accepted, np.minimum(rows, aim.rows)))


def _candidates(accepted: Ints, starts: Ints) -> Ints:
    """Return the positions to test: the starts, and from the first of them evenly many rows apart, to the last."""
    rows = np.linspace(accepted[starts[0]], accepted[-1], _CANDIDATES)
    return np.union1d(starts, np.searchsorted(accepted, np.floor(rows)))


def _promising(scores: Floats, accepted: Ints, aim: _Aim) -> Ints:
    """Return the position with the smallest p-value if confidences were true (1,); none if it promises little (0,)."""
    expected = np.cumsum(np.clip(1 - scores, 0.0, 1.0))[accepted - 1]
    p = _p_values(accepted, expected, aim.target_risk)
    p[accepted < aim.fewest] = 1.0
    best = int(p.argmin())
    return np.array([best] if p[best] <= _PROMISE else [], dtype=np.int64)


def _shares(tested: Ints, starts: Ints, promising: Ints, rest: float, delta: float) -> Floats:
    """Return the share of delta of each tested position (K,): starts share `rest`, the promising one the remainder."""
    shares = np.where(np.isin(tested, starts), rest / len(starts), 0.0)
    return shares + np.where(np.isin(tested, promising), delta - rest, 0.0)


def _fallback(p: Floats, shares: Floats) -> Ints:
    """Return which hypotheses, tested in order, are refuted (K,): starts add delta, refutations pass it on."""
    refuted = np.zeros(len(p), dtype=bool)
    level = 0.0
    for i in range(len(p)):
        level += shares[i]
        refuted[i] = p[i] <= level
        if not refuted[i]:
            level = 0.0
    return refuted


# --- In words ------------------------------------------------------------------------------------


def _too_few(aim: _Aim) -> Threshold:
    reason = aim.reason("threshold.too_few_rows", fewest=aim.fewest)
    return Threshold(value=None, coverage=0.0, realised_risk=None, n=aim.rows, reason=reason)


def _refused(aim: _Aim, accepted: int, wrong: int) -> Threshold:
    code = "threshold.too_many_wrong" if wrong > aim.target_risk * accepted else "threshold.not_shown"
    reason = aim.reason(code, accepted=accepted, wrong=wrong, share=wrong / accepted)
    return Threshold(value=None, coverage=0.0, realised_risk=None, n=aim.rows, reason=reason)


def _granted(aim: _Aim, value: float, accepted: int, wrong: int) -> Threshold:
    risk = wrong / accepted
    code = "threshold.everything" if accepted == aim.rows else "threshold.shown"
    reason = aim.reason(code, value=value, accepted=accepted, wrong=wrong, share=risk)
    return Threshold(value=value, coverage=accepted / aim.rows, realised_risk=risk, n=aim.rows, reason=reason)


# --- The accept threshold of few rows, with a prior on the shape of confidence that public sets give.
#
# A hundred rows can hardly show an error of 5% by themselves: it takes 59 accepted answers without a mistake. But how
# the error of a calibrated classifier falls with its confidence is much alike in all domains: the log-odds of being
# right are a line in the log-odds that the softmax gives, with a slope near 0.75 and an intercept near 0.2, and some
# answers are wrong however sure (labels that overlap). The rows make a posterior of this prior, and the threshold is
# the lowest at which the share of wrong answers is at most the target with the wanted posterior probability.
#
# That is a promise on average over tasks like the public ones, not for the worst task: `learning.threshold` makes that
# one. `benchmarks/few_rows` holds the realised risk against the target, with a prior of other corpora than that tested.

# --- The accept threshold where rows may be too few to show the target risk.

MOST_ROWS = 1_500
"""Rows above which the prior is not used, as the rows show more than it does."""
_FEWEST = 20
"""Fewest accepted rows of a threshold."""


@dataclass(frozen=True, kw_only=True)
class ConfidencePrior:
    """A prior of the shape P(right) = (1 - floor) * sigmoid(slope * log-odds + intercept).

    Slope and intercept are independent and normal.
    """

    slope: tuple[float, float] = (0.75, 0.25)
    """Mean and deviation, over the small sets of six public corpora, rung `embedding` (`benchmarks/few_rows`)."""
    intercept: tuple[float, float] = (0.2, 0.25)
    floors: tuple[float, ...] = (0.0, 0.01, 0.03, 0.08, 0.2)
    weights: tuple[float, ...] = (0.6, 0.2, 0.1, 0.07, 0.03)


USUAL = ConfidencePrior()


def prior_threshold(
    confidence: np.ndarray, right: np.ndarray, *, target_risk: float, level: float, prior: ConfidencePrior = USUAL
) -> float | None:
    """Return the lowest probability from which at most `target_risk` is wrong, with posterior probability 1 - level.

    Args:
        confidence: (N,) the largest softmax probability of rows that the weights were not fitted on.
        right: (N,) whether that label was right.
        target_risk: Highest share of wrong answers among accepted ones.
        level: Highest posterior probability of ending up above it.
        prior: The prior of confidences.

    Returns:
        One of `confidence`; None accepts nothing.
    """
    from scipy.stats import norm  # noqa: PLC0415 - training alone needs it

    if not _FEWEST <= len(confidence) <= MOST_ROWS:
        return None
    order = np.argsort(-confidence, kind="stable")
    odds, hits = logit(np.clip(confidence[order], _SUREST, 1 - _SUREST)), right[order]
    chance, log_prior = _grid(odds, prior)  # (N, G), (G,)
    surprise = log_prior + np.where(hits[:, None], np.log(chance), np.log1p(-chance)).sum(axis=0)
    weight = np.exp(surprise - surprise.max())
    accepted = np.arange(1, len(odds) + 1)[:, None]
    risk = np.cumsum(1 - chance, axis=0) / accepted
    # The rows accepted are a sample of those to come: the mean of their risks has a standard error.
    spread = np.sqrt(np.maximum(np.cumsum((1 - chance) ** 2, axis=0) / accepted - risk**2, 0) / accepted) + 1e-9
    held = norm.cdf((target_risk - risk) / spread) @ (weight / weight.sum())  # (N,)
    last = np.append(confidence[order][1:] != confidence[order][:-1], True)  # equal ones are accepted together
    good = np.flatnonzero((held >= 1 - level) & (accepted[:, 0] >= _FEWEST) & last)
    return float(confidence[order][good[-1]]) if len(good) else None


def _grid(odds: np.ndarray, prior: ConfidencePrior) -> tuple[np.ndarray, np.ndarray]:
    """Return P(right) of each row for each shape (N, G), and the shapes' log prior (G,); 3 deviations each way."""
    steps = np.linspace(-3, 3, 13)
    slope, intercept, floor = (
        axis.ravel()
        for axis in np.meshgrid(
            np.maximum(prior.slope[0] + prior.slope[1] * steps, 0.05),
            prior.intercept[0] + prior.intercept[1] * steps,
            np.arange(len(prior.floors)),
            indexing="ij",
        )
    )
    apart = -((np.repeat(steps, len(slope) // 13) ** 2) + np.tile(np.repeat(steps, len(prior.floors)), 13) ** 2) / 2
    chance = (1 - np.array(prior.floors)[floor]) * expit(odds[:, None] * slope + intercept)
    return np.clip(chance, _SUREST, 1 - _SUREST), apart + np.log(np.array(prior.weights))[floor]


RISKS = (0.1, 0.15, 0.2, 0.25, 0.3)
"""Laxer target risks, the strictest first."""
DELTA = 0.05
_PRIOR_SHARE = 0.4
"""Share of delta for the threshold with the prior: of 1,000 small sets, 5% had a realised risk above the target."""
_MORE = 1.5
"""Factor of further answers for which a laxer risk is taken, if the target is the default."""
_FEWEST_MET = 20
"""Fewest answers on which a share of wrong ones within the target counts as meeting the target."""


@dataclass(frozen=True, kw_only=True)
class Provable:
    """A threshold, and the risk that it was shown to hold."""

    threshold: Threshold
    risk: float
    warning: str = ""
    """Warning that the risk is not the target, or that nothing is ever accepted; empty if neither is the case."""


def provable(
    section: SpecialistSection,
    confidence: np.ndarray,
    right: np.ndarray,
    groups: Sequence[object],
    *,
    delta: float = DELTA,
    probabilities: np.ndarray | None = None,
    prior: ConfidencePrior = USUAL,
) -> Provable:
    """Return the threshold of the target risk, or of a laxer risk if the target is the default and a laxer one helps.

    A few dozen examples cannot show an error of 5%, however right the answers are, or only for few answers. A
    specialist that never answers helps nobody: a laxer risk is taken that answers half as many again. A
    `target_risk` that the configuration names is held, or nothing is accepted. The laxer risks that so many rows
    can show share the level among them (Bonferroni), so that choosing one by the outcome costs no confidence.

    Args:
        section: The specialist's section.
        confidence: (N,) of rows that the weights were not fitted on.
        right: (N,) whether each answer was right.
        groups: (N,) the group of each row, None for one of its own.
        delta: Highest probability of ending up above the risk; less if the best of several thresholds is taken.
        probabilities: (N,) softmax probabilities that the confidences rise with, if the prior on their shape may help.
            The prior and the rows share delta, so that whichever accepts more is taken.
        prior: The prior of confidences.
    """
    target = section.target_risk
    helped = probabilities is not None and len(right) <= MOST_ROWS and all(group is None for group in groups)
    level = delta * (1 - _PRIOR_SHARE) if helped else delta
    first = accept_threshold(confidence, right, target_risk=target, delta=level, groups=groups)
    if probabilities is not None and helped:
        least = prior_threshold(probabilities, right, target_risk=target, level=delta * _PRIOR_SHARE, prior=prior)
        first = _with_prior(first, confidence, right, probabilities, least=least, target=target, delta=delta)
    if "target_risk" in section.model_fields_set:
        return Provable(threshold=first, risk=target, warning=warn_silent(first, target))
    if first.value is None or first.coverage < 1 / _MORE:
        shown = showable(confidence, right, groups, delta=delta)
        if shown is not None:
            risk, threshold = shown
            laxer = as_met(threshold, confidence, right, target)
            if first.value is None or laxer.coverage >= _MORE * first.coverage:
                return Provable(threshold=laxer, risk=risk, warning=_warn(target, risk, first.coverage, laxer.coverage))
    return Provable(threshold=first, risk=target, warning=warn_silent(first, RISKS[-1]))


def _with_prior(
    shown: Threshold,
    confidence: np.ndarray,
    right: np.ndarray,
    raw_confidence: np.ndarray,
    *,
    least: float | None,
    target: float,
    delta: float,
) -> Threshold:
    """Return the threshold by the prior, if it accepts more than the one that the rows show by themselves."""
    kept = raw_confidence >= (np.inf if least is None else least)
    if kept.mean() <= shown.coverage:
        return shown
    value, accepted, wrong = float(confidence[kept].min()), int(kept.sum()), int((~right[kept]).sum())
    code = "threshold.everything_with_prior" if kept.all() else "threshold.with_prior"
    surely = {"sure_percent": 100 * (1 - delta), "risk": target, "rows": len(right)}
    reason = Reason(code, value=value, accepted=accepted, wrong=wrong, share=wrong / accepted, **surely)
    return Threshold(
        value=value, coverage=accepted / len(right), realised_risk=wrong / accepted, n=len(right), reason=reason
    )


def showable(
    confidence: np.ndarray, right: np.ndarray, groups: Sequence[object], *, delta: float = DELTA, above: float = 0.0
) -> tuple[float, Threshold] | None:
    """Return the smallest laxer risk above `above` that rows can show, with its threshold; None if there is none."""
    for risk, level in _levels(len(confidence), delta):
        threshold = accept_threshold(confidence, right, target_risk=risk, delta=level, groups=groups)
        if risk > above and threshold.value is not None:
            return risk, threshold
    return None


def _levels(rows: int, delta: float) -> list[tuple[float, float]]:
    """Return the risks that so many rows can show at all, each with its share of the level, which adds up to delta.

    Rows too few for the strictest risk can in practice show only the laxest, which gets half. The number of rows
    alone decides, never their outcome, so the tests stay valid.
    """
    risks = [risk for risk in RISKS if (1 - risk) ** rows <= delta]
    if len(risks) in {1, len(RISKS)}:
        return [(risk, delta / len(risks)) for risk in risks]
    return [(risk, delta / 2 if risk == RISKS[-1] else delta / 2 / (len(risks) - 1)) for risk in risks]


def as_met(threshold: Threshold, confidence: np.ndarray, right: np.ndarray, target: float) -> Threshold:
    """Return a laxer risk's threshold, raised to where these rows met the target: not shown, but likelier."""
    met = met_from(confidence, right, target)
    if threshold.value is None or met is None or met <= threshold.value:
        return threshold
    kept = confidence >= met
    accepted, wrong = int(kept.sum()), int((~right[kept]).sum())
    raised = {"value": met, "accepted": accepted, "wrong": wrong, "share": wrong / accepted}
    values = {**threshold.reason.values, **raised, "shown_from": threshold.value, "target": target}
    return replace(
        threshold,
        value=met,
        coverage=float(kept.mean()),
        realised_risk=wrong / accepted,
        reason=Reason("threshold.raised", **values),
    )


def met_from(confidence: np.ndarray, right: np.ndarray, target: float) -> float | None:  # (N,), (N,)
    """Return the lowest confidence from which at most the target's share is wrong; None if too few answers remain."""
    order = np.argsort(-confidence, kind="stable")
    wrong = np.cumsum(~right[order]) / np.arange(1, len(order) + 1)
    good = np.flatnonzero(wrong <= target)
    good = good[good >= _FEWEST_MET - 1]
    return float(confidence[order[good[-1]]]) if len(good) else None


def warn_silent(threshold: Threshold, risk: float, shows: float | None = None) -> str:
    """Return a warning if a specialist abstains from everything, which figures alone hardly show; else empty.

    Args:
        threshold: The specialist's threshold.
        risk: The laxest error that was tried.
        shows: The smallest error above it that the rows show, which has to be configured; None for none, or not
            tried.
    """
    if threshold.value is not None:
        return ""
    rows = f"{threshold.n:,} row{'' if threshold.n == 1 else 's'}"
    higher = "a higher target_risk" if shows is None else f"target_risk = {shows:g}, which they show, if that is right"
    return (
        f"it answers nothing, every request is an abstention: at no confidence, however high, do its {rows} show an "
        f"error of {risk:.0%} or below. Add examples, or set {higher}"
    )


def _warn(target: float, risk: float, shown: float, answered: float) -> str:
    can_show = f"cannot show an error of {target:.0%} or below, only of {risk:.0%}"
    if shown:
        can_show = (
            f"show an error of {target:.0%} or below for {shown:.0%} of the answers, of {risk:.0%} for {answered:.0%}"
        )
    return f"its rows {can_show}: it answers at that; more examples show less, and a target_risk that you set is held"
