"""The accept threshold where rows may be too few to show the target risk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from coterie.config.specialists import SpecialistSection
from coterie.learning.numerics import expit, logit
from coterie.learning.threshold import Threshold, accept_threshold
from coterie.types import Reason

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

MOST_ROWS = 1_500
"""Rows from which they show more than the prior does."""
_FEWEST = 20
"""Accepted rows below which there is no threshold."""
_SUREST = 1e-6


@dataclass(frozen=True, kw_only=True)
class ConfidencePrior:
    """How usual it is that P(right) = (1 - floor) * sigmoid(slope * log-odds + intercept).

    Slope and intercept are independent and normal.
    """

    slope: tuple[float, float] = (0.75, 0.25)
    """Mean and deviation, over the small sets of six public corpora, rung `embedding` (`benchmarks/few_rows`)."""
    intercept: tuple[float, float] = (0.2, 0.25)
    floors: tuple[float, ...] = (0.0, 0.01, 0.03, 0.08, 0.2)
    weights: tuple[float, ...] = (0.6, 0.2, 0.1, 0.07, 0.03)


USUAL = ConfidencePrior()


def prior_threshold(
    said: np.ndarray, right: np.ndarray, *, target_risk: float, level: float, prior: ConfidencePrior = USUAL
) -> float | None:
    """The lowest probability from which at most `target_risk` is wrong, with posterior probability 1 - level.

    Args:
        said: (N,) the largest softmax probability of rows that the weights were not fitted on.
        right: (N,) whether that label was right.
        target_risk: Highest share of wrong answers among accepted ones.
        level: Highest posterior probability of ending up above it.
        prior: How confidences usually are.

    Returns:
        One of `said`; None accepts nothing.
    """
    from scipy.stats import norm  # noqa: PLC0415 - training alone needs it

    if not _FEWEST <= len(said) <= MOST_ROWS:
        return None
    order = np.argsort(-said, kind="stable")
    odds, hits = logit(np.clip(said[order], _SUREST, 1 - _SUREST)), right[order]
    chance, log_prior = _grid(odds, prior)  # (N, G), (G,)
    surprise = log_prior + np.where(hits[:, None], np.log(chance), np.log1p(-chance)).sum(axis=0)
    weight = np.exp(surprise - surprise.max())
    accepted = np.arange(1, len(odds) + 1)[:, None]
    risk = np.cumsum(1 - chance, axis=0) / accepted
    # The rows accepted are a sample of those to come: the mean of their risks has a standard error.
    spread = np.sqrt(np.maximum(np.cumsum((1 - chance) ** 2, axis=0) / accepted - risk**2, 0) / accepted) + 1e-9
    held = norm.cdf((target_risk - risk) / spread) @ (weight / weight.sum())  # (N,)
    last = np.append(said[order][1:] != said[order][:-1], True)  # equal ones are accepted together
    good = np.flatnonzero((held >= 1 - level) & (accepted[:, 0] >= _FEWEST) & last)
    return float(said[order][good[-1]]) if len(good) else None


def _grid(odds: np.ndarray, prior: ConfidencePrior) -> tuple[np.ndarray, np.ndarray]:
    """P(right) of each row for each shape (N, G), and the shapes' log prior (G,); 3 deviations each way."""
    steps = np.linspace(-3, 3, 13)
    slope, intercept, floor = (
        each.ravel()
        for each in np.meshgrid(
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
"""Laxer targets, the strictest first."""
DELTA = 0.05
_PRIOR_SHARE = 0.4
"""Share of delta for the threshold with the prior: the realised risk of 1,000 small sets was above the target in 5%."""
_MORE = 1.5
"""Times as many answers for which a laxer risk is taken, where nobody set one."""
_FEWEST_MET = 20
"""Answers of which at most the target's share must be wrong, to say that the target was met."""


@dataclass(frozen=True, kw_only=True)
class Provable:
    """A threshold, and the risk that it was shown to hold."""

    threshold: Threshold
    risk: float
    warning: str = ""
    """That the risk is not the target, or that nothing is ever accepted; empty where neither is so."""


def provable(
    section: SpecialistSection,
    confidence: np.ndarray,
    right: np.ndarray,
    groups: Sequence[object],
    *,
    delta: float = DELTA,
    said: np.ndarray | None = None,
    prior: ConfidencePrior = USUAL,
) -> Provable:
    """The threshold of the target risk or, if that is nobody's wish but the default, of the smallest that helps more.

    A few dozen examples cannot show an error of 5%, however right the answers are, or show it of few answers only. A
    specialist that never answers helps nobody: a laxer risk is taken that answers half as many again. A `target_risk`
    that somebody wrote down is held or nothing is accepted. The laxer risks that so many rows can show share the level
    among them (Bonferroni), so that picking one by the outcome costs no confidence.

    Args:
        section: Of the specialist.
        confidence: (N,) of rows that the weights were not fitted on.
        right: (N,) whether each answer was right.
        groups: (N,) the group of each row, None for one of its own.
        delta: Highest probability of ending up above the risk; less where the best of several thresholds is taken.
        said: (N,) softmax probabilities that the confidences rise with, where the prior on their shape may help. It
            and the rows share delta, so that whichever accepts more is taken.
        prior: That prior.
    """
    target = section.target_risk
    helped = said is not None and len(right) <= MOST_ROWS and all(group is None for group in groups)
    level = delta * (1 - _PRIOR_SHARE) if helped else delta
    first = accept_threshold(confidence, right, target_risk=target, delta=level, groups=groups)
    if said is not None and helped:
        least = prior_threshold(said, right, target_risk=target, level=delta * _PRIOR_SHARE, prior=prior)
        first = _with_prior(first, confidence, right, said, least=least, target=target, delta=delta)
    if "target_risk" in section.model_fields_set:
        return Provable(threshold=first, risk=target, warning=warn_silent(first, target))
    if first.value is None or first.coverage < 1 / _MORE:
        shown = showable(confidence, right, groups, delta=delta)
        if shown is not None:
            risk, found = shown
            laxer = as_met(found, confidence, right, target)
            if first.value is None or laxer.coverage >= _MORE * first.coverage:
                return Provable(threshold=laxer, risk=risk, warning=_warn(target, risk, first.coverage, laxer.coverage))
    return Provable(threshold=first, risk=target, warning=warn_silent(first, RISKS[-1]))


def _with_prior(
    shown: Threshold,
    confidence: np.ndarray,
    right: np.ndarray,
    said: np.ndarray,
    *,
    least: float | None,
    target: float,
    delta: float,
) -> Threshold:
    """The threshold by the prior, if it accepts more than the one that the rows show by themselves."""
    kept = said >= (np.inf if least is None else least)
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
    """The smallest of the laxer risks above one that rows can show, with its threshold; None if they show none."""
    for risk, level in _levels(len(confidence), delta):
        found = accept_threshold(confidence, right, target_risk=risk, delta=level, groups=groups)
        if risk > above and found.value is not None:
            return risk, found
    return None


def _levels(rows: int, delta: float) -> list[tuple[float, float]]:
    """The risks that so many rows can show at all, each with its share of the level, which adds up to delta.

    Rows that are too few for the strictest have one risk that they can show in practice, the laxest: it gets half. The
    number of rows alone decides, never what was right, so the tests stay what they are.
    """
    risks = [risk for risk in RISKS if (1 - risk) ** rows <= delta]
    if len(risks) in {1, len(RISKS)}:
        return [(risk, delta / len(risks)) for risk in risks]
    return [(risk, delta / 2 if risk == RISKS[-1] else delta / 2 / (len(risks) - 1)) for risk in risks]


def as_met(found: Threshold, confidence: np.ndarray, right: np.ndarray, target: float) -> Threshold:
    """A laxer risk's threshold, raised to where the target was met on these rows: not shown, but likelier."""
    met = met_from(confidence, right, target)
    if found.value is None or met is None or met <= found.value:
        return found
    kept = confidence >= met
    accepted, wrong = int(kept.sum()), int((~right[kept]).sum())
    raised = {"value": met, "accepted": accepted, "wrong": wrong, "share": wrong / accepted}
    values = {**found.reason.values, **raised, "shown_from": found.value, "target": target}
    return replace(
        found,
        value=met,
        coverage=float(kept.mean()),
        realised_risk=wrong / accepted,
        reason=Reason("threshold.raised", **values),
    )


def met_from(confidence: np.ndarray, right: np.ndarray, target: float) -> float | None:  # (N,), (N,)
    """The lowest confidence from which at most the target's share is wrong; None if there is none of enough answers."""
    order = np.argsort(-confidence, kind="stable")
    wrong = np.cumsum(~right[order]) / np.arange(1, len(order) + 1)
    good = np.flatnonzero(wrong <= target)
    good = good[good >= _FEWEST_MET - 1]
    return float(confidence[order[good[-1]]]) if len(good) else None


def warn_silent(threshold: Threshold, risk: float, shows: float | None = None) -> str:
    """That a specialist abstains from everything, which its figures alone do not say loudly; empty where it does not.

    Args:
        threshold: What it accepts from.
        risk: The laxest error that was tried.
        shows: The smallest error above it that its rows show, which somebody has to want; None for none, or not tried.
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
    known = f"cannot show an error of {target:.0%} or below, only of {risk:.0%}"
    if shown:
        known = (
            f"show an error of {target:.0%} or below for {shown:.0%} of the answers, of {risk:.0%} for {answered:.0%}"
        )
    return f"its rows {known}: it answers at that; more examples show less, and a target_risk that you set is held"
