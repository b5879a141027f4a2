"""Graphics cards: what their counters say, shared by the calls that ran."""

import sys
from types import ModuleType

import pytest

from coterie.accounting import energy as cards_module
from coterie.accounting.energy import CardMeter, Cards, open_cards
from coterie.accounting.meter import CostMeter
from coterie.config.accounting import AccountingSection
from coterie.config.file import OpenAIModel
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
