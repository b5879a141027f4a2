import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from coterie.errors import DataError
from coterie.learning.calibration import (
    Platt,
    fit_confidence,
    fit_platt,
    fit_sigmoid_temperature,
    fit_temperature,
    raise_confidence,
    sigmoid,
    softmax,
)


def labels_from(logits, random):
    p = softmax(logits)
    return (p.cumsum(axis=1) < random.random(len(p))[:, None]).sum(axis=1)


@pytest.mark.parametrize("temperature", [0.1, 0.7, 1.0, 3.0, 40.0])
def test_the_true_temperature_is_found(temperature):
    """Logits that were multiplied by T are brought back by T."""
    random = np.random.default_rng(0)
    logits = random.normal(size=(20_000, 7)) * 2
    targets = labels_from(logits, random)

    assert fit_temperature(logits * temperature, targets) == pytest.approx(temperature, rel=0.05)


def test_the_true_sigmoid_temperature_is_found():
    """The same for labels that are right one by one, in one column or several."""
    random = np.random.default_rng(0)
    logits = random.normal(size=(8_000, 3)) * 2
    targets = random.random((8_000, 3)) < sigmoid(logits)

    assert fit_sigmoid_temperature(logits * 5, targets) == pytest.approx(5, rel=0.06)
    assert fit_sigmoid_temperature(logits[:, 0] / 3, targets[:, 0]) == pytest.approx(1 / 3, rel=0.06)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_platt_finds_slope_and_intercept(scale):
    """A shifted and scaled logit is brought back, whatever its scale."""
    random = np.random.default_rng(0)
    logits = random.normal(size=20_000) * 2
    targets = random.random(20_000) < sigmoid(logits)
    platt = fit_platt((logits - 3) * scale, targets)

    assert platt.slope * scale == pytest.approx(1, rel=0.05)
    assert platt.intercept == pytest.approx(3, rel=0.05)
    assert np.abs(platt.probability((logits - 3) * scale) - sigmoid(logits)).max() < 0.02


def test_small_perfect_sets_do_not_lead_to_certainty():
    """Twenty rows without a mistake leave a doubt of about one in twenty."""
    logits = np.tile([3.0, -3.0], (20, 1))

    assert 0.9 < softmax(logits / fit_temperature(logits, np.zeros(20)))[0, 0] < 0.99
    assert 0.9 < sigmoid(3.0 / fit_sigmoid_temperature(np.tile([3.0, -3.0], 20), [1, 0] * 20)) < 0.99
    assert 0.9 < fit_platt(np.tile([3.0, -3.0], 20), [1, 0] * 20).probability(3.0) < 0.99


def test_hopeless_logits_become_flat():
    """Logits that say nothing, or the opposite, get the highest temperature, and no error."""
    random = np.random.default_rng(0)
    logits = random.normal(size=(2_000, 3)) * 10

    assert fit_temperature(logits, random.integers(3, size=2_000)) > 30
    assert fit_temperature(logits, logits.argmin(axis=1)) > 100
    assert fit_temperature(np.zeros((10, 3)), np.zeros(10)) > 0


def test_one_outcome_only():
    """Platt scaling of rows that all turned out the same is finite."""
    platt = fit_platt(np.linspace(-1, 1, 50), np.ones(50))

    assert np.isfinite([platt.slope, platt.intercept]).all()
    assert platt.probability(0.0) == pytest.approx(51 / 52, abs=0.02)


@given(arrays(np.float64, (4, 3), elements=st.floats(-1e300, 1e300)))
def test_probabilities_are_probabilities(logits):
    """Softmax and sigmoid stay within 0 and 1 and sum to 1 for any finite logits, and overflow nowhere."""
    p = softmax(logits)

    assert np.allclose(p.sum(axis=1), 1)
    assert ((p >= 0) & (p <= 1)).all()
    assert ((sigmoid(logits) >= 0) & (sigmoid(logits) <= 1)).all()


@pytest.mark.parametrize("fit", [fit_temperature, fit_sigmoid_temperature, fit_platt])
def test_nothing_to_calibrate_on(fit):
    """No rows, or logits that are not finite, are errors that say so."""
    with pytest.raises(DataError, match="no rows"):
        fit(np.empty((0, 2)), np.empty(0))
    with pytest.raises(DataError, match="1 of 2 logits"):
        fit(np.array([[1.0, np.nan]]), np.array([0]))


def test_the_line_through_confidences_is_found():
    """Answers right as often as half the log-odds of what is said: the line says so, and keeps their order."""
    random = np.random.default_rng(0)
    true = random.normal(1.0, 1.0, 20_000)
    line = fit_confidence(sigmoid(2 * true + 0.5), random.random(20_000) < sigmoid(true))

    assert line is not None
    assert (line.slope, line.intercept) == pytest.approx((0.5, -0.25), abs=0.05)


@pytest.mark.parametrize(
    "right", [[True] * 100, [False] * 100, [True, False] * 10, [True] * 96 + [False] * 4, [False] * 50 + [True] * 50]
)
def test_no_line_through_what_says_nothing(right):
    """All right, all wrong, few answers, hardly any wrong ones, or the sure ones wrong: there is no line."""
    assert fit_confidence(np.linspace(0.99, 0.2, len(right)), right) is None


def test_certainty_has_a_line_too():
    """Confidences of exactly 1 and 0 are taken for nearly so."""
    line = fit_confidence([1.0] * 50 + [0.0] * 50, [True] * 45 + [False] * 5 + [True] * 5 + [False] * 45)

    assert line is not None
    assert line.probability(13.8) == pytest.approx(0.9, abs=0.02)


def test_few_answers_leave_the_line_near_the_usual_one():
    """Forty answers bend the usual line a little, two thousand of the same kind as much as they say."""
    random = np.random.default_rng(0)
    scores = random.normal(1.0, 1.5, 2_000)
    right = random.random(2_000) < sigmoid(1.2 * scores - 0.5)
    few, many = (fit_confidence(sigmoid(scores[:rows]), right[:rows]) for rows in (40, 2_000))

    assert few is not None
    assert many is not None
    assert 0.6 < few.slope < 0.9
    assert 1.0 < many.slope < 1.3


def test_a_prior_costs_less_than_the_luck_of_few_answers():
    """Over 100 sets of 60 answers, what the line says is nearer to the truth than a line of these answers alone."""
    random = np.random.default_rng(1)
    miss = {"prior": 0.0, "alone": 0.0}
    for _ in range(100):
        slope, intercept = random.normal(0.7, 0.2), random.normal(0.0, 0.3)
        scores = random.normal(1.5, 1.5, 60)
        right = random.random(60) < sigmoid(slope * scores + intercept)
        line, alone = fit_confidence(sigmoid(scores), right), fit_platt(scores, right)
        assert line is not None
        truth = sigmoid(slope * scores + intercept)
        miss["prior"] += float(((line.probability(scores) - truth) ** 2).mean())
        miss["alone"] += float(((alone.probability(scores) - truth) ** 2).mean())

    assert miss["prior"] < 0.8 * miss["alone"]


@pytest.mark.parametrize("gain", [0.0, 0.03, 0.5])
def test_a_line_is_raised_by_what_is_gained(gain):
    """Confidences mean `gain` more, in the same order, and never certainty."""
    confidences = np.linspace(0.2, 0.95, 50)
    line = Platt(slope=0.7, intercept=0.1)
    raised = raise_confidence(line, confidences, gain)
    before, after = (fit.probability(np.log(confidences / (1 - confidences))) for fit in (line, raised))

    assert after.mean() == pytest.approx(min(before.mean() + gain, 1 - (1 - before.mean()) / 100))
    assert raised.slope == line.slope
    assert after.max() < 1.0
