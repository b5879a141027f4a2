"""Shares of a pool: each model counts as much as it helps, and never against itself."""

import numpy as np
import pytest

from coterie.learning.calibration import fit_pool, softmax


def data(n: int = 600, labels: int = 4):
    """True labels, and noisy logits of them: `model(noise)`."""
    random = np.random.default_rng(0)
    targets = random.integers(labels, size=n)

    def model(noise: float) -> np.ndarray:
        return np.eye(labels)[targets] + noise * random.normal(size=(n, labels))

    return targets, model


def loss(logits: np.ndarray, targets: np.ndarray) -> float:
    """The least mean log loss over temperatures."""
    rows = np.arange(len(targets))
    return min(
        float(-np.log(np.maximum(softmax(logits / t)[rows, targets], 1e-300)).mean())
        for t in np.geomspace(0.02, 20, 60)
    )


def test_one_model_is_all_of_it():
    """A single model has the whole share, whatever it says."""
    assert fit_pool([np.zeros((3, 2))], np.zeros(3, dtype=int)).tolist() == [1.0]


def test_the_better_model_counts_more_and_the_pool_is_better_than_either():
    """The less noisy model gets the larger share, and both together predict better than the better one."""
    targets, model = data()
    good, poor = model(0.4), model(0.8)
    shares = fit_pool([poor, good], targets)
    pooled = shares[0] * poor + shares[1] * good

    assert shares.sum() == pytest.approx(1.0)
    assert shares[1] > shares[0] > 0
    assert loss(pooled, targets) < loss(good, targets)


def test_shares_are_the_best_ones():
    """No other shares, tried one by one, have a lower loss at their best temperature."""
    targets, model = data()
    models = [model(0.5), model(0.9)]
    share = fit_pool(models, targets)[0]

    tried = {s: loss(s * models[0] + (1 - s) * models[1], targets) for s in np.linspace(0, 1, 21)}
    assert loss(share * models[0] + (1 - share) * models[1], targets) <= min(tried.values()) + 1e-3


def test_a_model_that_is_wrong_is_left_out_and_not_turned_round():
    """A model that points away from the labels gets no share; it is never used upside down."""
    targets, model = data()
    shares = fit_pool([model(0.5), -model(0.5)], targets)

    assert shares.tolist() == pytest.approx([1.0, 0.0], abs=1e-6)


def test_independent_labels():
    """Labels that hold together are pooled by the sigmoid's loss."""
    random = np.random.default_rng(1)
    targets = (random.random((400, 3)) < 0.4).astype(float)
    good, poor = (4 * targets - 2 + noise * random.normal(size=targets.shape) for noise in (1.0, 6.0))
    shares = fit_pool([good, poor], targets)

    assert shares[0] > 0.8
    assert shares.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_few_rows_and_certain_models(n):
    """A handful of rows on which both models are right gives finite shares that add up to one."""
    targets = np.arange(n) % 2
    logits = np.eye(2)[targets] * 50
    shares = fit_pool([logits, logits], targets)

    assert np.isfinite(shares).all()
    assert shares.sum() == pytest.approx(1.0)


def test_useless_models_share_alike():
    """Where nothing that the models say has to do with the labels, shares are still finite and add up to one."""
    targets, _ = data(50)
    shares = fit_pool([np.zeros((50, 4)), np.zeros((50, 4))], targets)

    assert shares.tolist() == [0.5, 0.5]
