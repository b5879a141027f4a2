"""Joules and money of a step, and what the generalist would have cost."""

import warnings
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from functools import partial

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from coterie.accounting.meter import (
    FRAME_TOKENS,
    JOULES_PER_TOKEN,
    OVERHEAD,
    CostMeter,
    ProcessOverhead,
    fewest_tokens,
    most_read,
)
from coterie.config.file import LlamaModel, OpenAIModel
from coterie.config.operation import AccountingSection
from coterie.network.gathering import charged
from coterie.runtime.cpu import SharedTime
from coterie.testing import check_meter
from coterie.types import Document, Message, Prompt, Request, Step, Usage

MODELS = {
    "smol": LlamaModel(engine="llama", name="smollm2"),
    "cloud": OpenAIModel(
        engine="openai", base_url="http://x/v1", name="m", price_in=Decimal("2.5"), price_out=Decimal(10)
    ),
    "unpriced": OpenAIModel(engine="openai", base_url="http://x/v1", name="m", price_in=Decimal("2.5")),
    "frugal": OpenAIModel(engine="openai", base_url="http://x/v1", name="m", joules_per_token=0.25),
}


def meter(generalist: str | None = None, **accounting: object) -> CostMeter:
    return CostMeter(AccountingSection.model_validate(accounting), MODELS, generalist)


def step(engine: str, **usage: object) -> Step:
    return Step(producer="triage", engine=engine, usage=Usage(**usage))


@pytest.mark.parametrize("generalist", [None, "cloud"])
@pytest.mark.parametrize("engine", ["onnx", "cloud", "unpriced"])
async def test_keeps_the_contract(generalist, engine):
    """It does what every meter must, for local and remote engines, priced or not."""
    await check_meter(meter(generalist, price_per_cpu_hour=1), step(engine, tokens_in=12, cpu_seconds=0.002))


@pytest.mark.parametrize("engine", ["linear", "onnx", "smol", "of-a-plugin"])
def test_local_energy_is_estimated_from_cpu_time(engine):
    """An engine in this process takes its CPU-seconds times the watts of a core, and that is an estimate."""
    usage = meter(watts_per_core=12.5).price(step(engine, cpu_seconds=2.0, milliseconds=9000.0)).usage

    assert (usage.joules, usage.joules_kind) == (25.0, "estimated")


def test_local_money():
    """With a price for a core's hour, CPU time costs its share of it, exactly."""
    usage = meter(price_per_cpu_hour=Decimal("0.05")).price(step("linear", cpu_seconds=0.36)).usage

    assert usage.cost == Decimal("0.000005")


def test_local_money_without_a_price():
    """Without that price the cost is unknown, not nothing."""
    assert meter().price(step("linear", cpu_seconds=0.0)).usage.cost is None


def test_remote_money():
    """A remote engine costs its tokens at their two prices a million."""
    usage = meter(price_per_cpu_hour=1).price(step("cloud", tokens_in=1000, tokens_out=200, cpu_seconds=5.0)).usage

    assert usage.cost == Decimal("0.0045")


def test_remote_money_with_half_a_price():
    """When one of the two prices is missing, the cost is unknown."""
    assert meter().price(step("unpriced", tokens_in=1000)).usage.cost is None


def test_remote_energy():
    """A remote engine takes the published energy a token, or its configured one, whatever this machine's CPU did."""
    default = meter().price(step("cloud", tokens_in=30, tokens_out=10, cpu_seconds=9.0)).usage
    configured = meter().price(step("frugal", tokens_in=30, tokens_out=10)).usage

    assert (default.joules, default.joules_kind) == (40 * JOULES_PER_TOKEN, "estimated")
    assert configured.joules == 10.0


def test_measured_energy_stays():
    """Joules that an engine measured are not replaced by an estimate."""
    usage = meter().price(step("linear", cpu_seconds=1.0, joules=3.25, joules_kind="measured")).usage

    assert (usage.joules, usage.joules_kind) == (3.25, "measured")


def test_the_rest_of_the_step_stays():
    """Pricing fills joules and cost and changes nothing else."""
    given_step = step("cloud", tokens_in=3, tokens_out=4, milliseconds=5.0, cpu_seconds=6.0)
    priced = meter().price(given_step)

    assert (priced.producer, priced.engine) == (given_step.producer, given_step.engine)
    assert (priced.usage.tokens_in, priced.usage.milliseconds, priced.usage.cpu_seconds) == (3, 5.0, 6.0)


def test_counterfactual():
    """The generalist would have read text, columns and document and written the answer, in as few tokens as can be."""
    request = Request(text="Where is my card?", columns={"age": 40}, document=Document(text="the card is here. " * 100))
    tokens_in, tokens_out = 5 + 6 + 501, 3

    assert (
        meter("cloud").counterfactual(request, "On its way") == (tokens_in * Decimal("2.5") + tokens_out * 10) / 10**6
    )


def test_counterfactual_of_a_model_that_was_named():
    """A deployment of the flywheel answers for the model that the caller named, with a generalist or without one."""
    request, cost = Request(text="Where is my card?"), (5 * Decimal("2.5") + 3 * 10) / 10**6

    assert meter(None).counterfactual(request, "On its way", named="cloud") == cost
    assert meter("cloud").counterfactual(request, "On its way", named="gone") == cost
    assert meter(None).counterfactual(request, "On its way", named="gone") is None


def test_counterfactual_of_a_document_that_does_not_fit():
    """No prompt is longer than the model's window."""
    request = Request(text="What?", document=Document(text="the card is here. " * 100_000))

    assert meter("cloud").counterfactual(request, "") == 8192 * Decimal("2.5") / 10**6


def test_counterfactual_of_what_was_asked():
    """Where the generalist was asked, its own tokens count: the try that took most of them."""
    steps = [step("cloud", tokens_in=300), step("linear", tokens_in=10**6), step("cloud", tokens_in=200, tokens_out=1)]

    assert meter("cloud").counterfactual(Request(text="a"), "b", steps) == Decimal("0.00075")


def test_counterfactual_of_a_conversation():
    """The turns that came along would have been read again; what the session remembers by itself is left out."""
    history = (Message(role="user", text="Where is my card?"), Message(role="assistant", text="On its way"))
    request = Request(text="Thanks", history=history)

    assert meter("cloud").counterfactual(request, "") == (5 + 3 + 1) * Decimal("2.5") / 10**6


def test_counterfactual_of_a_try_that_failed():
    """A generalist that was asked and did not answer says nothing of what it costs: the texts count."""
    request = Request(text="Where is my card?")

    assert meter("cloud").counterfactual(request, "", [step("cloud")]) == 5 * Decimal("2.5") / 10**6


def test_counterfactual_of_a_generalist_for_nothing():
    """One whose tokens cost nothing would have cost nothing, also where it was asked: that is known."""
    models = {"own": OpenAIModel(engine="openai", base_url="http://x", name="m", price_in=0, price_out=0)}
    free = CostMeter(AccountingSection(), models, "own")

    assert free.counterfactual(Request(text="a"), "b", [step("own", tokens_in=5)]) == 0


@pytest.mark.parametrize("generalist", [None, "smol", "unpriced", "not-a-model"])
def test_counterfactual_unknown(generalist):
    """Without a generalist, or without its prices, nothing is claimed."""
    assert meter(generalist).counterfactual(Request(text="a"), "b", [step("unpriced", tokens_in=5)]) is None


def test_counterfactual_of_nothing():
    """No text costs nothing."""
    assert meter("cloud").counterfactual(Request(text=""), "") == 0


@given(
    st.integers(0, 10**12),
    st.integers(0, 10**12),
    st.floats(0, 1e12),
    st.decimals(0, 10**15, allow_nan=False, places=6),
)
def test_any_amount(tokens_in, tokens_out, cpu_seconds, price):
    """No price and no usage make pricing fail, and money is a finite Decimal that is never negative."""
    models = {"m": OpenAIModel(engine="openai", base_url="http://x", name="m", price_in=price, price_out=price)}
    cost_meter = CostMeter(AccountingSection(price_per_cpu_hour=price), models, "m")

    for engine in ("m", "linear"):
        usage = Usage(tokens_in=tokens_in, tokens_out=tokens_out, cpu_seconds=cpu_seconds)
        cost = cost_meter.price(Step(producer="p", engine=engine, usage=usage)).usage.cost
        assert isinstance(cost, Decimal)
        assert cost.is_finite()
        assert cost >= 0


def test_the_most_that_a_prompt_can_be_read_as():
    """Every text of it counts with its frame, choices and schema too; a text that is not there has no frame."""
    prompt = Prompt(messages=(Message(role="user", text="é" * 10),))

    assert most_read(prompt) == 20 + FRAME_TOKENS
    assert most_read(replace(prompt, choices=("yes", "no"))) == most_read(prompt) + 5 + 2 * FRAME_TOKENS
    assert most_read(replace(prompt, json_schema={"type": "object"})) == most_read(prompt) + len("{'type': 'object'}")


DATED = OpenAIModel.model_validate(
    {
        "engine": "openai",
        "base_url": "http://x/v1",
        "name": "m",
        "price_in": 1,
        "price_out": 1,
        "prices": [
            {"from": "2026-03-01", "in": 4, "out": 8, "cached": 1},
            {"from": "2026-02-01", "in": 2, "out": 4},
        ],
    }
)


@pytest.mark.parametrize(
    ("day", "money"), [("2026-01-31", 3000), ("2026-02-01", 8000), ("2026-02-28", 8000), ("2026-03-01", 13000)]
)
def test_prices_have_a_first_day(day, money):
    """A call costs what its day's prices say; remembered tokens have their own price, if there is one."""
    moment = datetime.fromisoformat(f"{day}T12:00:00+00:00").timestamp()
    cost_meter = CostMeter(AccountingSection(), {"m": DATED}, None, clock=lambda: moment)

    usage = cost_meter.price(step("m", tokens_in=2000, tokens_cached=1000, tokens_out=1000)).usage
    assert usage.cost == Decimal(money) / 10**6


def test_the_hours_a_machine_waits_are_paid_by_those_it_works():
    """A machine by the hour: a busy core pays for the time that it is expected to be idle, too."""
    usage = meter(price_per_machine_hour=Decimal("0.4"), cores=4, utilisation=0.25)
    assert usage.price(step("linear", cpu_seconds=3600)).usage.cost == Decimal("0.4")


def test_energy_by_size():
    """A remote model whose size is given takes what EcoLogits' formula says, as a range, whatever its prompt."""
    sized = OpenAIModel(
        engine="openai", base_url="http://x/v1", name="m", parameters_billion=(8, 70), active_billion=8, pue=1.2
    )
    cost_meter = CostMeter(AccountingSection(), {"m": sized}, None)
    usage = cost_meter.price(step("m", tokens_in=9000, tokens_out=100, milliseconds=60_000)).usage

    assert usage.joules_kind == "estimated"
    assert usage.joules_low < usage.joules < usage.joules_high
    assert usage.joules == (usage.joules_low + usage.joules_high) / 2
    total = usage + Usage(joules=1.0)
    assert (total.joules_low, total.joules_high) == (usage.joules_low + 1, usage.joules_high + 1)


def test_measured_by_the_package(package):
    """With the processor's counter a step takes its share of it, and that is measured."""
    cost_meter = CostMeter(AccountingSection(watts_per_core=99), MODELS, None, package=package.meter())
    assert cost_meter.price(step("linear", cpu_seconds=2.0)).usage.joules_kind == "estimated"  # no reading yet

    package.spend(joules=30.0, cpu_seconds=10.0)
    usage = cost_meter.price(step("linear", cpu_seconds=2.0)).usage
    assert (usage.joules, usage.joules_kind) == (pytest.approx(6.0), "measured")
    assert cost_meter.price(step("cloud", tokens_in=3)).usage.joules_kind == "estimated"


# --- The fewest tokens of a text, beside the tokenizers of large models.


with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it opens its vocabularies in the old way
    import bpe_openai

ENGLISH = (
    "Your card was declined because the daily limit of 1,500 pounds was reached. Here's what you can do: wait until "
    "tomorrow, or raise the limit in the app under Settings > Cards.\n\nThe lender shall not be liable for any loss."
)
ENCODINGS = [bpe_openai.get_encoding(name) for name in ("cl100k_base", "o200k_base")]


@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda encoding: encoding.name)
def test_close_for_english(encoding):
    """Of English prose it is at most a tenth too few."""
    assert 0.9 * len(encoding.encode_ordinary(ENGLISH)) <= fewest_tokens(ENGLISH)


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=60))
@example(ENGLISH)
@example("PLAN_B _x__y don't don\u2019t I'm we'll 31(vc\r\n\n  \t a/b//\n 1234567")
@example("हिन्दी में लिखा हुआ वाक्य, 中文字符和日本語のテキスト, ไทย")
def test_never_more(text):
    """No text has fewer tokens."""
    for encoding in ENCODINGS:
        assert fewest_tokens(text) <= len(encoding.encode_ordinary(text))


def test_nothing():
    """No text has no tokens."""
    assert fewest_tokens("") == 0


# --- What answering takes beside the steps has a row of its own.


def test_shared_and_complete():
    """Those at work share what nobody claims; what comes after a row was made is in the next; nothing is lost."""
    rest = 5.0  # before anybody came
    overhead = ProcessOverhead(lambda: rest)
    with overhead.attend() as first:
        rest = 6.0
        with overhead.attend() as second:
            rest = 8.0
            step = first.step()
            assert (step.producer, step.engine, step.usage.cpu_seconds) == (OVERHEAD, "python", 2.0)
            rest = 10.0  # a half each: the first is written down
        assert second.reported == 0.0
        rest = 11.0
    rest = 100.0  # nobody is at work
    with overhead.attend() as third:
        rest = 101.0
        assert third.step().usage.cpu_seconds == 1.0 + (1.0 + 1.0) + 2.0


def test_never_negative():
    """A step that is known late lowers what was nobody's: the row says 0, and the next makes up for it."""
    rest = 0.0
    overhead = ProcessOverhead(lambda: rest)
    with overhead.attend() as first:
        rest = -1.0
        assert first.step().usage.cpu_seconds == 0.0
    with overhead.attend() as second:
        rest = 2.0
        assert second.step().usage.cpu_seconds == 2.0


def test_charged():
    """A bill goes to the last step of the same engine, or is a step of its own."""
    steps = (
        Step(producer="reply", engine="small", usage=Usage(cpu_seconds=1.0)),
        Step(producer="reply", engine="small", usage=Usage(tokens_out=3)),
    )
    bill = [("small", Usage(cpu_seconds=2.0)), ("index", Usage(cpu_seconds=4.0))]
    first, second, third = charged(steps, "reply", bill)
    assert first == steps[0]
    assert (second.usage.tokens_out, second.usage.cpu_seconds) == (3, 2.0)
    assert (third.producer, third.engine, third.usage.cpu_seconds) == ("reply", "index", 4.0)


def test_looked_at_once_in_a_while(monkeypatch):
    """The clock is read once in a while, what is said in between goes on at its pace, and nothing is lost."""
    now, rest, looks = 0.0, 0.0, 0

    def spent():
        nonlocal looks
        looks += 1
        return rest

    monkeypatch.setattr("coterie.accounting.meter.SharedTime", partial(SharedTime, wall=lambda: now))
    overhead = ProcessOverhead(spent, every=1.0)
    rows = 0.0
    for _ in range(200):  # one after another, each of 40 ms with half a core busy, 60 ms idle but for a hundredth
        with overhead.attend() as one:
            now, rest = now + 0.03, rest + 0.015
            rows += one.step().usage.cpu_seconds
            now, rest = now + 0.01, rest + 0.005
        now, rest = now + 0.06, rest + 0.0006
    assert looks < 30
    assert rest * 0.9 < rows <= rest


def test_pace_of_several_at_once(monkeypatch):
    """Of two at work each gets what it was there for, and together they get all."""
    now, rest = 0.0, 0.0
    monkeypatch.setattr("coterie.accounting.meter.SharedTime", partial(SharedTime, wall=lambda: now))
    overhead = ProcessOverhead(lambda: rest, every=0.5)
    with overhead.attend() as first:
        now, rest = 1.0, 1.0
        with overhead.attend() as second:
            now, rest = 3.0, 3.0
            assert first.step().usage.cpu_seconds == 2.0
            assert second.step().usage.cpu_seconds == 1.0
