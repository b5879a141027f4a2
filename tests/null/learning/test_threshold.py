import numpy as np
import pytest
from scipy.stats import binom

from coterie.errors import DataError
from coterie.learning.calibration import accept_threshold

SPLITS = 400
RISK = 0.05


def confident(random, n):
    """A good classifier: most confidences near 1, each true."""
    confidence = 1 - random.beta(0.35, 4, n)
    return confidence, confidence


def overconfident(random, n):
    """Every confidence promises too much."""
    confidence = 1 - random.beta(0.35, 4, n)
    return confidence, 0.99 * confidence**2


def tied(random, n):
    confidence, right = confident(random, n)
    return confidence.round(1), right


def inverted(random, n):
    """The most confident answers are the worst."""
    confidence = random.random(n)
    return confidence, np.where(confidence > 0.9, 0.9, 0.97)


def barely_too_risky(random, n):
    """Whatever is accepted is wrong a little more often than the target allows: the hardest case."""
    return random.random(n), np.full(n, 1 - RISK - 1e-4)


def constant(random, n):
    """One confidence for all, a little too risky."""
    return np.full(n, 0.5), np.full(n, 1 - RISK - 1e-4)


class Population:
    """What a threshold would do on endless fresh rows."""

    def __init__(self, source):
        confidence, right = source(np.random.default_rng(99), 400_000)
        order = np.argsort(-confidence, kind="stable")
        self.confidence = confidence[order]
        self.risks = np.cumsum(1 - right[order]) / np.arange(1, len(order) + 1)

    def at(self, threshold):
        accepted = np.searchsorted(-self.confidence, -threshold, side="right")
        return (accepted / len(self.confidence), self.risks[accepted - 1]) if accepted else (0.0, 0.0)

    def oracle(self):
        last = np.append(self.confidence[1:] != self.confidence[:-1], True)  # ties go together
        good = np.flatnonzero((self.risks <= RISK) & last)
        return (good[-1] + 1) / len(self.confidence) if len(good) else 0.0


def simulate(source, n, *, splits=SPLITS):
    """Coverage and risk on fresh rows of the thresholds from many random calibration sets."""
    random = np.random.default_rng(7)
    population = Population(source)
    outcomes = []
    for _ in range(splits):
        confidence, right = source(random, n)
        threshold = accept_threshold(confidence, random.random(n) < right, target_risk=RISK)
        outcomes.append((0.0, 0.0) if threshold.value is None else population.at(threshold.value))
    return np.array(outcomes), population.oracle()


@pytest.mark.parametrize("n", [200, 1000])
@pytest.mark.parametrize("source", [confident, overconfident, tied, inverted, barely_too_risky, constant])
def test_the_risk_on_fresh_rows_is_held(source, n):
    """Whatever the confidence is like, at most 5% of calibration sets lead above the target risk (within chance)."""
    outcomes, _ = simulate(source, n)
    violations = int((outcomes[:, 1] > RISK).sum())

    assert violations <= binom.ppf(0.999, SPLITS, 0.05)


@pytest.mark.parametrize(
    ("source", "n", "share"), [(confident, 1000, 0.85), (confident, 5000, 0.93), (tied, 5000, 0.85)]
)
def test_coverage_is_near_the_best_possible(source, n, share):
    """The certified coverage is most of what an oracle that knows the true risks would accept."""
    outcomes, oracle = simulate(source, n, splits=60)

    assert outcomes[:, 0].mean() >= share * oracle


def test_everything_may_be_accepted():
    """When few answers are wrong at all, the threshold is the lowest confidence seen."""
    confidence = np.linspace(0.2, 1, 1000)
    threshold = accept_threshold(confidence, np.arange(1000) % 100 > 0, target_risk=RISK)

    assert threshold.value == 0.2
    assert threshold.coverage == 1
    assert threshold.realised_risk == 0.01
    assert threshold.reason.code == "threshold.everything"
    assert (threshold.reason.values["wrong"], threshold.reason.values["accepted"]) == (10, 1000)


def test_too_few_rows_accept_nothing():
    """58 right answers cannot show a risk of 5%; 59 can."""
    few, enough = (accept_threshold(np.linspace(0.9, 1, n), np.ones(n), target_risk=RISK) for n in (58, 59))

    assert few.value is None
    assert few.realised_risk is None
    assert few.reason.code == "threshold.too_few_rows"
    assert (few.reason.values["fewest"], few.reason.values["rows"]) == (59, 58)
    assert enough.value == 0.9
    assert not few.accepts(1.0)
    assert enough.accepts(0.9)
    assert not enough.accepts(0.89)


def test_wrong_answers_accept_nothing():
    """The reason names the answers that came nearest."""
    threshold = accept_threshold(np.linspace(0, 1, 500), np.arange(500) % 2, target_risk=RISK)

    assert threshold.value is None
    assert threshold.coverage == 0
    assert threshold.reason.values["wrong"] == 40
    assert "threshold.too_many_wrong" in threshold.reason.codes


def test_no_rows_accept_nothing():
    """An empty calibration set is no error."""
    assert accept_threshold([], [], target_risk=RISK).value is None


def test_ties_are_accepted_together():
    """What the threshold reports is what accepting at and above its value does."""
    random = np.random.default_rng(0)
    confidence = random.integers(0, 10, 3000) / 10
    right = random.random(3000) < 0.9 + confidence / 10
    threshold = accept_threshold(confidence, right, target_risk=RISK)
    accepted = confidence >= threshold.value

    assert threshold.coverage == accepted.mean()
    assert threshold.realised_risk == pytest.approx((~right[accepted]).mean())


def test_order_of_rows_is_irrelevant():
    """The same rows in another order give the same threshold."""
    random = np.random.default_rng(0)
    confidence, right = tied(random, 2000)
    correct = random.random(2000) < right
    order = random.permutation(2000)

    assert accept_threshold(confidence, correct, target_risk=RISK) == accept_threshold(
        confidence[order], correct[order], target_risk=RISK
    )


def test_nan_is_refused():
    """A confidence that is no number is an error, and not a threshold."""
    with pytest.raises(DataError, match=r"1.*100"):
        accept_threshold(np.append(np.ones(99), np.nan), np.ones(100), target_risk=RISK)


def clustered(random, groups, size, spread):
    """Rows in groups, each of which is as a whole easier or harder than others."""
    group = np.repeat(np.arange(groups), size)
    confidence = random.random(groups * size)
    odds = (0.8 + 0.195 * confidence) / (0.2 - 0.195 * confidence)
    right = 1 / (1 + np.exp(-random.normal(size=groups) * spread)[group] / odds)
    return confidence, right, group


@pytest.mark.slow
def test_groups_hold_the_risk_where_rows_alone_would_not():
    """With few large groups that differ, knowing them keeps the promise that counting rows breaks."""
    population = Population(lambda random, n: clustered(random, n, 1, 1.2)[:2])
    random = np.random.default_rng(7)
    violations = np.zeros(2, dtype=int)
    for _ in range(SPLITS):
        confidence, right, group = clustered(random, 10, 200, 1.2)
        correct = random.random(len(right)) < right
        for i, groups in enumerate((None, group.tolist())):
            threshold = accept_threshold(confidence, correct, target_risk=RISK, groups=groups)
            violations[i] += threshold.value is not None and population.at(threshold.value)[1] > RISK

    assert violations[0] > binom.ppf(0.999, SPLITS, 0.05)
    assert violations[1] <= binom.ppf(0.999, SPLITS, 0.05)


def test_groups_of_one_row_change_next_to_nothing():
    """Independent rows certify the same with or without their groups, and rows without a group are such rows."""
    random = np.random.default_rng(0)
    confidence, right = confident(random, 3000)
    correct = random.random(3000) < right
    plain, single, none = (
        accept_threshold(confidence, correct, target_risk=RISK, groups=groups)
        for groups in (None, list(range(3000)), [None] * 3000)
    )

    assert single == none
    assert single.coverage == pytest.approx(plain.coverage, abs=0.02)


def test_one_group_shows_nothing():
    """A thousand right answers from one contract say nothing of other contracts."""
    threshold = accept_threshold(np.linspace(0, 1, 1000), np.ones(1000), target_risk=RISK, groups=["a"] * 1000)

    assert threshold.value is None
    assert (threshold.reason.code, threshold.reason.values["wrong"]) == ("threshold.not_shown", 0)
