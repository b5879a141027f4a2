"""An outcome profile learns which model does well on which prompts."""

import numpy as np
import pytest

from labs.outcomes.profile import fit_profile

from .conftest import make_world


def test_it_predicts_each_model_by_domain(world):
    """On prompts it has not seen, the small model is expected to fail where it failed before, and only there."""
    profile = fit_profile(world.outcomes, world.vectors, seed=0)
    fresh = make_world(200, seed=1)
    predicted = profile.predict(fresh.outcomes.prompts, fresh.vectors)
    hard = np.array(["integral" in prompt for prompt in fresh.outcomes.prompts])

    assert predicted[hard, 0].mean() < 0.35
    assert predicted[~hard, 0].mean() > 0.8
    assert np.abs(predicted[:, 1].mean() - 0.95) < 0.05


def test_noise_is_drawn_to_the_mean():
    """Where domains make no difference, predictions hardly differ."""
    noise = make_world(200, small=(0.5, 0.5), large=(0.5, 0.5))
    profile = fit_profile(noise.outcomes, noise.vectors, seed=0)
    predicted = profile.predict(noise.outcomes.prompts, noise.vectors)

    assert predicted.std(axis=0).max() < 0.15


def test_an_unknown_price_stays_unknown():
    """A model without a recorded cost is expected to cost nan, not 0."""
    free = make_world(50, costs={"large": None})
    profile = fit_profile(free.outcomes, free.vectors, seed=0)

    assert np.isnan(profile.expected_costs(["x"])[0, 1])
    assert profile.expected_costs(["x"])[0, 0] == pytest.approx(0.001)
