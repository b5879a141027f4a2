"""Graphics cards: what their counters say, shared by the calls that ran."""

import math
import sys
from types import ModuleType

import pytest
from pydantic import ValidationError

from coterie.accounting import meter as cards_module
from coterie.accounting.meter import CardMeter, Cards, CostMeter, generation_joules, open_cards, remote_joules
from coterie.config.file import OpenAIModel
from coterie.config.operation import AccountingSection
from coterie.types import Step, Usage


class FakeCard:
    """A counter in the test's hand."""

    def __init__(self):
        self.joules, self.broken = 1000.0, False

    def __call__(self):
        if self.broken:
            raise OSError("gone")
        return self.joules


@pytest.fixture
def card():
    return FakeCard()


def test_shares(card):
    """Calls that overlap share what was taken meanwhile, and together have all of it; idle energy is nobody's."""
    cards = Cards([CardMeter(card)])
    card.joules += 50.0
    with cards.call() as first:
        card.joules += 10.0
        with cards.call() as second:
            card.joules += 8.0
            assert second.end() == pytest.approx(4.0)
        card.joules += 3.0
        assert first.end() == pytest.approx(17.0)
        card.joules += 70.0
    with cards.call() as third:
        card.joules += 1.0
        assert third.end() == pytest.approx(1.0)
    assert third.end() == pytest.approx(1.0)


def test_several_cards(card):
    """A model on two cards takes of both; one on either shares that one."""
    other = FakeCard()
    meters = [CardMeter(card), CardMeter(other)]
    with Cards(meters).call() as both, Cards(meters[:1]).call() as one:
        card.joules += 10.0
        other.joules += 7.0
        assert one.end() == pytest.approx(5.0)
        assert both.end() == pytest.approx(12.0)


def test_a_call_that_fails(card):
    """It ends when its block does, so it shares nothing of what comes after."""
    cards = Cards([CardMeter(card)])
    with pytest.raises(RuntimeError), cards.call():
        raise RuntimeError
    with cards.call() as next_call:
        card.joules += 6.0
        assert next_call.end() == pytest.approx(6.0)


@pytest.mark.parametrize("trouble", ["gone", "reset"])
def test_no_figure(card, trouble):
    """A counter that cannot be read, or begins again, leaves the calls at work without one; the next has one."""
    cards = Cards([CardMeter(card)])
    with cards.call() as call:
        card.joules, card.broken = (0.0, False) if trouble == "reset" else (card.joules, True)
        with cards.call():
            pass
        card.broken = False
        assert call.end() is None
    with cards.call() as call:
        card.joules += 2.0
        assert call.end() == pytest.approx(2.0)


def test_no_cards():
    """Without cards there is no figure."""
    with Cards([]).call() as call:
        assert call.end() is None


def fake_nvml(cards):
    """A module as `nvidia-ml-py` has it."""
    nvml = ModuleType("pynvml")
    nvml.NVMLError = type("NVMLError", (Exception,), {})

    def handle(number):
        if number not in cards:
            raise nvml.NVMLError("not found")
        return number

    def energy(number):
        if cards[number] is None:
            raise nvml.NVMLError("not supported")
        return cards[number]

    nvml.nvmlInit = lambda: None
    nvml.nvmlDeviceGetHandleByIndex = handle
    nvml.nvmlDeviceGetTotalEnergyConsumption = energy
    return nvml


@pytest.fixture
def nvml(monkeypatch):
    """Cards 0 and 2, and an old one without a counter: millijoules by number."""
    millijoules = {0: 5_000, 1: None, 2: 9_000}
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(millijoules))
    cards_module._meter.cache_clear()
    yield millijoules
    cards_module._meter.cache_clear()


def test_nvml(nvml):
    """Millijoules of the named cards become joules; all who name a card share it."""
    with open_cards([0, 2]).call() as both, open_cards([0]).call() as one:
        nvml[0] += 4_000
        nvml[2] += 500
        assert (one.end(), both.end()) == (pytest.approx(2.0), pytest.approx(2.5))


@pytest.mark.parametrize("numbers", [[], [1], [0, 1], [7]])
def test_no_counter(nvml, numbers):
    """A card that is not there, or has no counter, leaves the model without measurement."""
    assert open_cards(numbers) is None


def test_without_the_package(monkeypatch):
    """So does a machine without the package."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    cards_module._meter.cache_clear()
    assert open_cards([0]) is None
    cards_module._meter.cache_clear()


def test_what_was_measured_stays():
    """The ledger has the measured joules, not the formula's, beside the server's prices."""
    model = OpenAIModel(engine="openai", base_url="http://127.0.0.1:1/v1", name="m", gpus=(0,), parameters_billion=7)
    usage = Usage(tokens_in=100, tokens_out=50, joules=12.5, joules_kind="measured")
    step = CostMeter(AccountingSection(), {"m": model}, None).price(Step(producer="p", engine="m", usage=usage))
    assert (step.usage.joules, step.usage.joules_kind) == (12.5, "measured")


# --- Energy of a served model, by the published formula.


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
