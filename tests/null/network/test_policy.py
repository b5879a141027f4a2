"""The policy of a running network: per network, per request, and said in the trace."""

from decimal import Decimal

import numpy as np
import pytest

from coterie.config.file import OpenAIModel
from coterie.errors import InputError
from coterie.limits.limits import StoredLimits, open_limits
from coterie.policy.cost_quality import (
    Aim,
    Attempt,
    CalibrationOutcomes,
    CostQualityPolicy,
    RecordedOutcome,
    RecordedOutcomes,
    generalist_by_domain,
)
from coterie.specialists.parts import Acceptance
from coterie.types import Finding, Message, Output, Prompt, Request, Usage

from .conftest import Says


class Judges(Says):
    """A specialist that is as sure as it was told, and judges that as classifiers do."""

    async def consult(self, task, view, *, call=None) -> Finding:
        """Accepted by its own threshold of 0.9, or by the policy's."""
        own = Acceptance(temperature=1.0, threshold=0.9, target_risk=0.05, scope_threshold=None)
        self.accepted, self.reason = own.judge(self.confidence, None, task.acceptance_override)
        return await super().consult(task, view, call=call)


def outcomes(n=2000):
    """Calibration outcomes: right as often as the confidence says, half of them surer than 0.8."""
    random = np.random.default_rng(0)
    confidence = random.uniform(0.6, 1.0, size=n)
    return CalibrationOutcomes(confidence=confidence, right=random.random(n) < confidence, group=np.arange(n))


@pytest.fixture
def with_policy(bench):
    """A network whose specialist is sure at 0.8, with a generalist above and a policy between them."""

    def made(**policy):
        doubtful, large = Judges("triage", confidence=0.8), Says("generalist", value="large answer")
        network = bench.network(doubtful, generalist=large)
        network.policy = CostQualityPolicy(known={"triage": outcomes()}, **policy)
        return network, large

    return made


async def test_a_request_turns_the_policy(with_policy):
    """At a low quality the local answer is kept; at a high one, and by its own threshold, the generalist is asked."""
    network, large = with_policy()
    low = await network.ask(Request(text="triage", quality=0.7))
    high = await network.ask(Request(text="triage", quality=0.99))
    own = await network.ask(Request(text="triage"))

    assert (low.trace.status, high.trace.status, own.trace.status) == ("accepted", "escalated", "escalated")
    assert len(large.tasks) == 2


async def test_the_trace_says_why(with_policy):
    """Threshold, confidence, expected quality and how often the generalist is asked are in the finding's reason."""
    network, _ = with_policy(generalist=0.9, source="0.880 of 400 recorded outcomes, 0.900 at most")
    answer = await network.ask(Request(text="triage", quality=0.8))
    reason = answer.trace.findings[0].reason

    assert reason.codes == ("accept.above_override", "policy.keeps")
    kept = reason.values["why"].values
    assert (reason.values["confidence"], kept["quality"]) == (0.8, 0.8)
    assert kept["source"].startswith("0.880 of 400 recorded outcomes")
    assert {"expected", "escalated"} <= kept.keys()


async def test_the_network_sets_the_policy_for_those_who_do_not(with_policy):
    """`[policy]` counts where a request has no aim of its own."""
    network, large = with_policy(default=Aim(quality=0.7))
    kept = await network.ask(Request(text="triage"))
    answer = await network.ask(Request(text="triage", quality=0.99))

    assert kept.trace.status == "accepted"
    assert answer.trace.status == "escalated"
    assert len(large.tasks) == 1


async def test_a_specialist_without_outcomes_keeps_its_own_threshold(with_policy):
    """A version without calibration outcomes decides as before."""
    network, _ = with_policy()
    network.policy.known = {}
    answer = await network.ask(Request(text="triage", quality=0.5))

    assert answer.trace.status == "escalated"


async def test_a_generalist_is_as_good_as_in_the_specialist_s_domain(with_policy):
    """Where outcomes of the specialist's own domain are recorded, they count, and the reason names them."""
    network, large = with_policy(generalist=1.0, domains={"triage": (0.7, "0.650 of 90 recorded outcomes of triage")})
    answer = await network.ask(Request(text="triage", quality=0.99))

    assert answer.trace.status == "accepted"  # at a generalist that is always right it is not
    assert "90 recorded outcomes of triage" in str(answer.trace.findings[0].reason)
    assert not large.tasks


def test_domains_with_few_outcomes_do_not_count_by_themselves():
    """From sixty on a domain has its own figure; of fewer the whole file's is used."""
    rows = [
        RecordedOutcome(prompt=f"p{i}", attempts={"large": Attempt(score=i % 2)}, domain="many" if i < 80 else "few")
        for i in range(100)
    ]
    domains = generalist_by_domain(RecordedOutcomes(rows=tuple(rows), models=("large",)), "large")

    assert list(domains) == ["many"]
    assert 0.5 < domains["many"][0] < 0.65
    assert "0.500 of 80 recorded outcomes of many" in domains["many"][1]


async def test_an_aim_that_is_none_is_refused(with_policy):
    """Both at once, or out of bounds, is the caller's mistake."""
    network, _ = with_policy()
    for wrong in ({"quality": 0.9, "budget": Decimal(1)}, {"quality": 1.5}, {"budget": Decimal("-1")}):
        with pytest.raises(InputError):
            await network.ask(Request(text="triage", **wrong))


class Paid(Says):
    """A generalist at an engine that costs money: 0.03 at most, 0.002 as a rule."""

    limits: StoredLimits
    asked: int = 0

    async def consult(self, task, view, *, call=None) -> Finding:
        """Ask the engine first."""
        prompt = Prompt(messages=(Message(role="user", text=task.text),), max_tokens=10)
        async with self.limits.held([prompt], MODEL, "remote", call) as held:
            self.asked += 1
            held.outputs = [Output(usage=Usage(tokens_in=2, tokens_out=2))]
        return await super().consult(task, view, call=call)


MODEL = OpenAIModel(engine="openai", base_url="http://x/v1", name="m", price_in=Decimal(0), price_out=Decimal(1000))


async def test_a_budget_holds_over_many_requests(bench, tmp_path):
    """The generalist answers as often as the money that came in pays for, and no request fails for it."""
    limits = open_limits({}, tmp_path, per_1000=Decimal(1))
    large = Paid("generalist", value="large answer")
    large.limits = limits
    network = bench.network(Judges("triage", confidence=0.5), generalist=large, limits=limits)
    network.policy = CostQualityPolicy(default=Aim(budget=Decimal(1)))
    statuses = [(await network.ask(Request(text="triage"))).trace.status for _ in range(40)]

    assert 0 < large.asked < 40
    assert Decimal("0.002") * large.asked <= Decimal(40) / 1000
    assert set(statuses) == {"abstained", "escalated"}


async def test_a_request_s_own_budget_is_its_limit(bench, tmp_path):
    """A request that may cost less than the generalist's answer is answered locally, with the reason."""
    large = Paid("generalist", value="large answer")
    large.limits = open_limits({}, tmp_path)
    network = bench.network(Judges("triage", confidence=0.5), generalist=large)
    poor = await network.ask(Request(text="triage", budget=Decimal(1)))
    rich = await network.ask(Request(text="triage", budget=Decimal(100)))

    assert poor.trace.status == "abstained"
    assert "the budget of this request" in poor.text
    assert rich.trace.status == "escalated"
