"""Energy of a served model, by the published formula."""

import math

import pytest
from pydantic import ValidationError

from coterie.accounting.energy import generation_joules, remote_joules
from coterie.config.file import OpenAIModel


@pytest.mark.parametrize(
    ("parameters", "active", "joules"),
    [
        # By EcoLogits 0.11.3 itself: compute_llm_impacts(..., output_token_count=200, request_latency=60,
        # datacenter_pue=1.2), its `request_energy` in kilowatt-hours times 3.6 million.
        (8.0, 8.0, 64.18986087822388),
        (70.0, 70.0, 473.42087484012325),
        (671.0, 37.0, 2864.80864597279),
    ],
)
def test_like_the_original(parameters, active, joules):
    """The same figures as the package that published it."""
    energy = generation_joules(200, parameters=parameters, active=active, pue=1.2, seconds=60)
    assert energy == pytest.approx(joules, rel=1e-9)


def test_waiting_bounds_the_server():
    """A server is not busy for longer than the answer was waited for."""
    slow = generation_joules(200, parameters=8, active=8, pue=1.0)
    assert generation_joules(200, parameters=8, active=8, pue=1.0, seconds=1.0) < slow
    assert generation_joules(200, parameters=8, active=8, pue=1.0, seconds=math.inf) == slow


def model(**about):
    return OpenAIModel.model_validate({"engine": "openai", "base_url": "http://x/v1", "name": "m", **about})


def test_range():
    """A range of parameters and of PUE makes a range of energy, ends with ends."""
    energy = remote_joules(model(parameters_billion=[8, 70], pue=[1.0, 2.0]), 100, 0.0)
    assert energy.low == generation_joules(100, parameters=8, active=8, pue=1.0)
    assert energy.high == generation_joules(100, parameters=70, active=70, pue=2.0)
    assert energy.likely == (energy.low + energy.high) / 2


def test_no_size():
    """Without a size, or with joules a token given, the formula says nothing."""
    assert remote_joules(model(), 100, 0.0) is None
    assert remote_joules(model(parameters_billion=8, joules_per_token=2.0), 100, 0.0) is None


@pytest.mark.parametrize(
    "said",
    [
        {"parameters_billion": 7, "active_billion": 70},
        {"parameters_billion": [7, 400], "active_billion": 30},
        {"parameters_billion": [30, 400], "active_billion": [20, 500]},
        {"parameters_billion": 7, "pue": 0.9},
        {"parameters_billion": 7, "pue": [0.5, 1.2]},
    ],
)
def test_models_that_cannot_be(said):
    """No token uses more parameters than there are, and no data centre takes less than its machines."""
    with pytest.raises(ValidationError):
        model(**said)


def test_all_parameters_may_be_active():
    """Of a guess too: the lower end of the one with that of the other."""
    energy = remote_joules(model(parameters_billion=[8, 70], active_billion=[8, 70], pue=1), 100, 0.0)
    assert energy == remote_joules(model(parameters_billion=[8, 70], pue=1), 100, 0.0)
