"""The promise of the accept threshold, on populations whose every risk is known exactly.

A population is a list of confidences with the share of rows that have each, and the probability that such a row is
right. So what a threshold does to fresh rows is a sum, not an estimate, and "above the target" is a fact. Rows are
drawn from it 200 times; of the thresholds found, at most 5% may be above the target, chance aside. The same test
applied to the naive threshold, the lowest that looks good enough on the rows, must fail: else it would show nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import beta, binom

from coterie.learning.calibration import accept_threshold

SPLITS = 200
MOST = int(binom.ppf(0.999, SPLITS, 0.05))
"""Thresholds above the target in 200 that a procedure which is wrong in 5% would pass in 1 case of 1,000 only."""


@dataclass(frozen=True)
class Population:
    """What can be drawn, and the truth about it."""

    confidence: np.ndarray  # (V,) ascending
    mass: np.ndarray  # (V,) adding up to 1
    right: np.ndarray  # (V,)

    def draw(self, random: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        rows = random.choice(len(self.mass), n, p=self.mass)
        return self.confidence[rows], random.random(n) < self.right[rows]

    def coverage(self, threshold: float | None) -> float:
        return 0.0 if threshold is None else float(self.mass[self.confidence >= threshold].sum())

    def risk(self, threshold: float | None) -> float:
        """Share of wrong answers among the rows it accepts; 0 if it accepts none."""
        accepted = self.coverage(threshold)
        if threshold is None or not accepted:
            return 0.0
        kept = self.confidence >= threshold
        return float((self.mass[kept] * (1 - self.right[kept])).sum() / accepted)

    def oracle(self, target: float) -> float:
        return max((self.coverage(c) for c in self.confidence if self.risk(c) <= target), default=0.0)


def made(confidence: np.ndarray, right: np.ndarray, mass: np.ndarray | None = None) -> Population:
    """A population; all confidences are equally frequent by default."""
    mass = np.ones(len(confidence)) if mass is None else mass
    return Population(confidence, mass / mass.sum(), right)


QUANTILES = (np.arange(500) + 0.5) / 500
GOOD = 1 - beta.ppf(1 - QUANTILES, 0.35, 4)
"""The confidences of a good classifier: most of them near 1."""
TIED = np.array([0.3, 0.5, 0.8, 0.9, 0.99])


def populations(target: float) -> dict[str, Population]:
    """Shapes by name; those without `safe` in their name have thresholds above the target and below it, or only one."""
    middle = QUANTILES > 0.5
    return {
        "well calibrated": made(GOOD, GOOD),
        "overconfident": made(GOOD, 0.995 * GOOD**2),
        "underconfident": made(GOOD, GOOD**0.3),
        "ties": made(TIED, 1 - target * np.array([6, 3, 1.5, 0.9, 0.4]), np.array([1, 1, 2, 4, 4.0])),
        "one confidence, a little too risky": made(np.array([0.7]), np.array([1 - 1.01 * target])),
        "all a little too risky": made(QUANTILES, np.full(500, 1 - 1.01 * target)),
        "the surest are the worst": made(QUANTILES, 1 - target * np.where(QUANTILES > 0.9, 3.0, 0.6)),
        "a step": made(QUANTILES, 1 - target * np.where(middle, 0.5, 2.0)),
        "few errors": made(QUANTILES, np.full(500, 1 - target / 50)),
        "none can be accepted": made(QUANTILES, np.full(500, 0.5)),
    }


NAMES = list(populations(0.05))


def naive(confidence: np.ndarray, correct: np.ndarray, target: float) -> float | None:
    """The lowest threshold whose share of wrong rows is at most the target."""
    order = np.argsort(-confidence, kind="stable")
    last = np.append(confidence[order][1:] != confidence[order][:-1], True)
    risks = np.cumsum(~correct[order]) / np.arange(1, len(order) + 1)
    good = np.flatnonzero(last & (risks <= target))
    return float(confidence[order][good[-1]]) if len(good) else None


def certified(confidence: np.ndarray, correct: np.ndarray, target: float) -> float | None:
    """The product's threshold."""
    return accept_threshold(confidence, correct, target_risk=target).value


def thresholds(population: Population, n: int, target: float, rule=certified) -> list[float | None]:
    """What a rule finds on 200 sets of n rows."""
    random = np.random.default_rng(n)
    return [rule(*population.draw(random, n), target) for _ in range(SPLITS)]


def too_many(population: Population, found_thresholds: list[float | None], target: float) -> bool:
    """Whether more thresholds are above the target than chance allows."""
    return sum(population.risk(threshold) > target for threshold in found_thresholds) > MOST


@pytest.mark.parametrize(("n", "target"), [(60, 0.05), (300, 0.05), (1_000, 0.02), (3_000, 0.01)])
@pytest.mark.parametrize("name", NAMES)
def test_the_risk_is_held(name, n, target):
    """Of 200 thresholds at most 5% accept answers that are wrong more often than the target, chance aside."""
    population = populations(target)[name]

    assert not too_many(population, thresholds(population, n, target), target)


@pytest.mark.parametrize(
    "name", ["well calibrated", "overconfident", "ties", "all a little too risky", "the surest are the worst", "a step"]
)
def test_a_naive_threshold_fails_the_same_test(name):
    """Taking what looks good enough on the rows is above the target far too often: the test can fail."""
    population = populations(0.05)[name]

    assert too_many(population, thresholds(population, 300, 0.05, naive), 0.05)


@pytest.mark.parametrize(
    ("name", "n", "share"),
    [
        ("well calibrated", 1_000, 0.85),
        ("well calibrated", 5_000, 0.93),
        ("a step", 5_000, 0.8),
        ("few errors", 300, 1),
    ],
)
def test_little_is_given_up(name, n, share):
    """The coverage is most of what could be accepted by one who knows the population."""
    population = populations(0.05)[name]
    limits = thresholds(population, n, 0.05)

    assert np.mean([population.coverage(threshold) for threshold in limits]) >= share * population.oracle(0.05) - 0.005


def test_nothing_is_accepted_where_nothing_may_be():
    """Where every answer is as likely wrong as right, no threshold is found, not even by chance."""
    population = populations(0.05)["none can be accepted"]

    assert set(thresholds(population, 1_000, 0.05)) == {None}


def test_groups_hold_the_risk():
    """Rows of one group share their luck: half of the groups are never wrong. Counting rows fails there."""
    base, random = populations(0.05)["all a little too risky"], np.random.default_rng(0)
    above = {"rows": 0, "groups": 0}
    for _ in range(SPLITS):
        group = np.repeat(np.arange(20), 40)
        wrong = 0.05 * 1.01 * 2 * random.integers(0, 2, 20)[group]
        confidence, _ = base.draw(random, len(group))
        correct = random.random(len(group)) >= wrong
        for name, groups in (("rows", None), ("groups", group.tolist())):
            threshold = accept_threshold(confidence, correct, target_risk=0.05, groups=groups).value
            above[name] += base.risk(threshold) > 0.05

    assert above["rows"] > MOST
    assert above["groups"] <= MOST
