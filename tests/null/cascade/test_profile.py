"""An outcome profile learns which model does well on what, and goes on learning."""

import numpy as np
import pytest

from coterie.cascade.profile import OutcomeProfile, fit_profile
from coterie.errors import ArtefactRefused, DataError

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


def test_new_outcomes_update_it(world):
    """After the small model got better at the hard domain, enough outcomes of it change the prediction."""
    profile = fit_profile(world.outcomes, world.vectors, seed=0)
    better = make_world(1200, seed=2, small=(0.95, 0.95))
    updated = profile.updated(better.outcomes, better.vectors)
    hard = [i for i, prompt in enumerate(better.outcomes.prompts) if "integral" in prompt]
    prompts = [better.outcomes.prompts[i] for i in hard]
    before, after = (each.predict(prompts, better.vectors[hard])[:, 0].mean() for each in (profile, updated))

    assert before < 0.35
    assert after > 0.6


def test_an_update_may_be_of_some_models(world):
    """Outcomes of one model alone leave the other's as they are; an unknown model is refused."""
    profile = fit_profile(world.outcomes, world.vectors, seed=0)
    alone = make_world(50, seed=3)
    rows = tuple(type(row)(prompt=row.prompt, attempts={"small": row.attempts["small"]}) for row in alone.outcomes.rows)
    updated = profile.updated(type(alone.outcomes)(rows=rows, models=("small",)), alone.vectors)
    strange = type(alone.outcomes)(rows=alone.outcomes.rows, models=("small", "giant"))

    assert np.isnan(updated.scores[-50:, 1]).all()
    assert np.isfinite(updated.predict(["capital of country"], world.vectors[:1])).all()
    with pytest.raises(DataError, match="giant"):
        profile.updated(strange, alone.vectors)


def test_it_is_stored_and_read_back(world):
    """The files give the same predictions, and hold no prompt."""
    profile = fit_profile(world.outcomes, world.vectors, seed=0)
    files = profile.to_files()
    again = OutcomeProfile.from_files(files)
    prompts = world.outcomes.prompts[:20]

    assert np.allclose(
        again.predict(prompts, world.vectors[:20]), profile.predict(prompts, world.vectors[:20]), atol=1e-5
    )
    assert np.allclose(again.expected_costs(prompts), profile.expected_costs(prompts), equal_nan=True)
    assert not any(b"number 7" in content for content in files.values())


@pytest.mark.parametrize("name", ["outcomes.json", "outcomes.safetensors"])
def test_a_damaged_file_is_refused(world, name):
    """A cut file is an error of ours, not of a library."""
    files = fit_profile(world.outcomes, world.vectors, seed=0).to_files()
    with pytest.raises(ArtefactRefused):
        OutcomeProfile.from_files({**files, name: files[name][:50]})


def test_an_unknown_price_stays_unknown():
    """A model without a recorded cost is expected to cost nan, not 0."""
    free = make_world(50, costs={"large": None})
    profile = fit_profile(free.outcomes, free.vectors, seed=0)

    assert np.isnan(profile.expected_costs(["x"])[0, 1])
    assert profile.expected_costs(["x"])[0, 0] == pytest.approx(0.001)
