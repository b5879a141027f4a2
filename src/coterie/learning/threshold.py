"""The confidence threshold for accepting answers, by learn-then-test; with a prior for sets of few rows.

Each candidate threshold is a hypothesis, "more than `target_risk` of the answers accepted here are wrong".
Those that the calibration rows refute, all together at level `delta`, are safe; the lowest of them is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, log

import numpy as np
from numpy.typing import ArrayLike

from coterie.config.specialists import SpecialistSection
from coterie.errors import DataError
from coterie.learning.numerics import expit, logit
from coterie.types import Reason
from coterie.types.reason import Value

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


Floats = np.ndarray
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
_SUREST = 1e-6


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
