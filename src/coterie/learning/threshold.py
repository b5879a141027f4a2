"""The confidence from which answers may be accepted, chosen by learn-then-test.

Each candidate threshold is a hypothesis, "more than `target_risk` of the answers accepted here are wrong".
Those that the calibration rows refute, all together at level `delta`, are safe; the lowest of them is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, log

import numpy as np
from numpy.typing import ArrayLike

from coterie.errors import DataError
from coterie.types import Reason
from coterie.types.reason import Value

# --- How much rows say that come in groups: fewer independent rows would say the same.


def independent_share(wrong: Ints, groups: Ints, counts: Ints, *, delta: float) -> Floats:
    """For the first `count` rows of each count: independent rows that say as much, as a share of them (K,).

    The inverse of the design effect of their share of wrong rows, times the squared ratio of Student's quantiles
    for rows and for groups (Korn and Graubard 1998). Where no row or every row is wrong, the design effect is that
    of all rows. It never counts as more than one row a row, and a single group says nothing.

    Args:
        wrong: (N,) whether each row is wrong.
        groups: (N,) number of each row's group, from 0.
        counts: (K,) how many of the first rows to look at.
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
    """Variance of the share of wrong rows over what it would be if rows were independent; nan if none or all are."""
    share = float(wrong.mean())
    present = np.count_nonzero(np.bincount(groups))
    if share in {0.0, 1.0} or present < 2:
        return float("nan")
    sums = np.bincount(groups, weights=wrong - share)
    variance = present / (present - 1) * float((sums**2).sum()) / len(wrong) ** 2
    return variance / (share * (1 - share) / len(wrong))


Floats = np.ndarray
Ints = np.ndarray

_CANDIDATES = 200
"""Thresholds tested at most, spread evenly over the rows."""
_START_FACTOR = 4
"""Each start of the test has so many times the accepted rows of the one before."""
_PROMISING_SHARE = 0.8
"""Share of delta for the start that the confidences choose. On three public sets; see docs/history/log.md."""
_PROMISE = 0.03
"""Largest p-value that a start may promise to get it."""


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """From which confidence answers are accepted, and what that meant on the calibration rows."""

    value: float | None
    """Lowest confidence that is accepted; None accepts nothing."""
    coverage: float
    """Share of the calibration rows that it accepts."""
    realised_risk: float | None
    """Share of wrong answers among those; None when it accepts none."""
    n: int
    """Calibration rows."""
    reason: Reason

    def accepts(self, confidence: float) -> bool:
        """Whether an answer of this confidence is accepted."""
        return self.value is not None and confidence >= self.value


def accept_threshold(
    confidence: ArrayLike,
    correct: ArrayLike,
    *,
    target_risk: float,
    delta: float = 0.05,
    groups: Sequence[object] | None = None,
) -> Threshold:
    """The lowest threshold whose accepted answers are wrong at most `target_risk` of the time, shown at level delta.

    Learn-then-test (Angelopoulos, Bates, Candes, Jordan and Lei 2021, "Learn then Test: Calibrating Predictive
    Algorithms to Achieve Risk Control"), for the selective risk: of n accepted rows, k wrong ones give the exact
    binomial p-value P(Bin(n, target_risk) <= k). Thresholds are tested from strict to lax in a fixed sequence
    with several starts, each with a share of delta that a refutation passes on (the fallback procedure of Wiens
    2003, one of the graphs of Bretz et al. 2009), which keeps the family-wise error at delta. Most of delta goes to
    the start that the confidences promise most of; they alone choose it, not what was right, so the tests stay
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
        DataError: a confidence is no number.
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
        """Accepted rows that can show it at all, if none of them is wrong."""
        return ceil(log(self.delta) / log(1 - self.target_risk))

    def reason(self, code: str, **values: Value) -> Reason:
        return Reason(code, sure_percent=100 * (1 - self.delta), risk=self.target_risk, rows=self.rows, **values)


def _tally(scores: Floats, right: Ints) -> tuple[Floats, Ints, Ints]:
    """Of rows from high to low: each distinct confidence (V,), the rows at or above it, and how many are wrong."""
    last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
    return scores[last], last + 1, np.cumsum(~right)[last]


def _numbers(groups: Sequence[object]) -> Ints:
    """A number for each row's group (N,)."""
    numbers: dict[object, int] = {}
    keys = (("row", i) if group is None else group for i, group in enumerate(groups))
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def _p_values(accepted: Floats, wrong: Floats, target_risk: float) -> Floats:
    """P(Bin(accepted, target_risk) <= wrong), also between whole numbers, by the incomplete beta function (K,)."""
    from scipy.special import betainc  # noqa: PLC0415 - training alone needs it

    return np.asarray(betainc(accepted - wrong, wrong + 1, 1 - target_risk))


def _starts(accepted: Ints, aim: _Aim) -> Ints:
    """Positions where the test starts: the first that could be refuted at all, then ever more rows, at last all.

    Few rows have one start: shares of delta would be too small for them to refute anything.
    """
    number = 1 + int(max(0.0, log(aim.rows / aim.fewest)) / log(_START_FACTOR))
    everything = [aim.rows] if number > 1 else []
    first = replace(aim, delta=aim.delta / (number + len(everything))).fewest
    rows = np.append(first * float(_START_FACTOR) ** np.arange(number), everything)
    return np.unique(np.searchsorted(accepted, np.minimum(rows, aim.rows)))


def _candidates(accepted: Ints, starts: Ints) -> Ints:
    """Positions that are tested: the starts, and from the first of them on evenly many rows apart, to the last."""
    rows = np.linspace(accepted[starts[0]], accepted[-1], _CANDIDATES)
    return np.union1d(starts, np.searchsorted(accepted, np.floor(rows)))


def _promising(scores: Floats, accepted: Ints, aim: _Aim) -> Ints:
    """The position with the smallest p-value if confidences were true (1,); none where that promises little (0,)."""
    expected = np.cumsum(np.clip(1 - scores, 0.0, 1.0))[accepted - 1]
    p = _p_values(accepted, expected, aim.target_risk)
    p[accepted < aim.fewest] = 1.0
    best = int(p.argmin())
    return np.array([best] if p[best] <= _PROMISE else [], dtype=np.int64)


def _shares(tested: Ints, starts: Ints, promising: Ints, rest: float, delta: float) -> Floats:
    """What each tested position brings of delta (K,): the starts the rest, and the promising one what is left."""
    shares = np.where(np.isin(tested, starts), rest / len(starts), 0.0)
    return shares + np.where(np.isin(tested, promising), delta - rest, 0.0)


def _fallback(p: Floats, shares: Floats) -> Ints:
    """Which hypotheses, tested in order, are refuted (K,): starts bring a share of delta, refutations hand it on."""
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
