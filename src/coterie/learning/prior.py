"""The accept threshold of few rows, with a prior on the shape of confidence that public sets give.

A hundred rows can hardly show an error of 5% by themselves: it takes 59 accepted answers without a mistake. But how
the error of a calibrated classifier falls with its confidence is much alike in all domains: the log-odds of being right
are a line in the log-odds that the softmax gives, with a slope near 0.75 and an intercept near 0.2, and some answers
are wrong however sure (labels that overlap). The rows make a posterior of this prior, and the threshold is the lowest
at which the share of wrong answers is at most the target with the wanted posterior probability.

That is a promise on average over tasks like the public ones, not for the worst task: `learning.threshold` makes that
one. `benchmarks/few_rows` holds the realised risk against the target, with a prior of other corpora than that tested.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from coterie.learning.numerics import expit, logit

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
