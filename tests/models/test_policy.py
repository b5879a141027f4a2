"""The policy of a trained network with a generalist at a server: from the file, from the request, within the budget."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from coterie.assembly import open_network
from coterie.cli.app import main
from coterie.errors import ConfigError
from coterie.testing import FakeOpenAIServer, ServerReply
from coterie.training.train import train
from coterie.types import Feedback, Request

LABELS = {"card_arrival", "card_delivery_estimate", "lost_or_stolen_card"}
DOUBTFUL = "when will it be delivered"

CONFIG = """
[specialists.triage]
task = "classify"
description = "Support messages of bank customers about cards."
data = "triage.jsonl"
rungs = ["lexical"]
target_risk = 0.001

[models.giant]
engine = "openai"
base_url = "{url}"
name = "giant-1"
clearance = "restricted"
retries = 0
{prices}

[generalist]
model = "giant"

[policy]
{policy}
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory, messages) -> Path:
    """A network whose specialist tells three intents apart, two of them alike; it promises so much that it abstains."""
    folder = tmp_path_factory.mktemp("policy")
    (folder / "triage.jsonl").write_text("".join(json.dumps(row) + "\n" for row in messages(LABELS)))
    (folder / "coterie.toml").write_text(CONFIG.format(url="http://127.0.0.1:9/v1", prices="", policy=""))
    train(folder)
    return folder


@pytest.fixture
def configured(trained) -> Callable[..., Path]:
    """Writes the network's file again."""

    def configure(server: FakeOpenAIServer, *, policy: str = "", prices: str = "price_in = 10\nprice_out = 30") -> Path:
        text = CONFIG.format(url=server.base_url, prices=prices, policy=policy)
        (trained / "coterie.toml").write_text(text)
        return trained

    return configure


async def ask(folder: Path, *requests: Request) -> list[str]:
    network = await open_network(folder)
    try:
        return [(await network.ask(request)).trace.status for request in requests]
    finally:
        await network.close()


@pytest.mark.slow
async def test_quality_decides_who_answers(configured):
    """By its own threshold the specialist abstains, at a low quality it answers; a request outdoes the file."""
    plain, low, high = (Request(text=DOUBTFUL, specialist="triage", quality=quality) for quality in (None, 0.5, 1.0))
    async with FakeOpenAIServer(default=ServerReply(text="It is on its way.")) as server:
        assert await ask(configured(server), plain, low, high) == ["escalated", "accepted", "escalated"]
        assert await ask(configured(server, policy="quality = 0.5"), plain, high) == ["accepted", "escalated"]


@pytest.mark.slow
async def test_recorded_outcomes_say_how_good_the_generalist_is(configured):
    """A generalist that is on record as right half the time is asked less than one that is taken to be always right."""
    request = Request(text=DOUBTFUL, specialist="triage")
    async with FakeOpenAIServer(default=ServerReply(text="It is on its way.")) as server:
        folder = configured(server, policy='quality = 1.0\noutcomes = "outcomes.jsonl"')
        lines = [{"prompt": f"p{i}", "models": {"giant": {"score": i % 2, "cost": 0.01}}} for i in range(200)]
        (folder / "outcomes.jsonl").write_text("\n".join(map(json.dumps, lines)))
        network = await open_network(folder)
        answer = await network.ask(request)
        await network.close()

    assert answer.trace.status == "accepted"
    assert "0.500 of 200 recorded outcomes" in str(answer.trace.findings[0].reason)


@pytest.mark.slow
async def test_spot_checks_move_the_policy_when_they_are_folded_in(configured, capsys):
    """Kept answers that people found wrong, folded in by the command, send the next ones to the generalist."""
    request = Request(text=DOUBTFUL, specialist="triage")
    async with FakeOpenAIServer(default=ServerReply(text="It is on its way.")) as server:
        folder = configured(server, policy="quality = 0.5\nspot_checks = 1.0")
        network = await open_network(folder)
        kept = [(await network.ask(request)).trace for _ in range(80)]
        for trace in kept:
            await network.store.feedback(Feedback(trace_id=trace.id, time=trace.time, value="lost_or_stolen_card"))
        await network.close()
        assert {trace.status for trace in kept} == {"accepted"}

        code = await asyncio.to_thread(main, ["-C", str(folder), "spotchecks", "--update", "--json"])
        specialist = json.loads(capsys.readouterr().out)["specialists"][0]
        assert (code, specialist["judged"], specialist["right"]) == (0, 80, 0)
        network = await open_network(folder)
        answer = await network.ask(request)
        await network.close()
        (folder / "state" / "spotchecks.json").unlink()

    assert answer.trace.status == "escalated"
    assert "policy.refuted" in answer.trace.findings[0].reason.codes


@pytest.mark.slow
async def test_a_budget_holds_and_an_unknown_price_is_not_paid(configured):
    """The server is asked as often as the money that came in pays for; a model without prices is not asked at all."""
    many = [Request(text=DOUBTFUL, specialist="triage", max_tokens=10)] * 30
    async with FakeOpenAIServer(default=ServerReply(text="It is on its way.")) as server:
        statuses = await ask(configured(server, policy="budget = 1"), *many)
        request_count = len(server.requests)
        assert 0 < request_count < 30
        assert statuses.count("escalated") == request_count
        assert await ask(configured(server, policy="budget = 1", prices=""), *many[:3]) == ["abstained"] * 3
        assert await ask(configured(server), Request(text=DOUBTFUL, budget=Decimal("0.01"))) != ["escalated"]
        assert len(server.requests) == request_count


async def test_a_policy_without_a_generalist_is_refused(tmp_path):
    """The file says what is missing; so it does for two aims at once."""
    for policy, problem in (("quality = 0.9", "there is no"), ("quality = 0.9\nbudget = 1", "one aim")):
        (tmp_path / "coterie.toml").write_text(f"[policy]\n{policy}\n")
        with pytest.raises(ConfigError, match=problem):
            await open_network(tmp_path)
