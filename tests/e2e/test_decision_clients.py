"""Clients of typed questions against a real server: `openai`, `typesafe-sdk`, and System One's conformance suite."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import replace

import openai
import pytest
from openai.lib.decisions_tool_runner import AsyncDecisionsToolRunner
from typesafe_sdk import AsyncTypeSafeClient, Choice, Noul, Score, TypeSafeUnprocessableEntityError

from coterie.types import Option

LABELS = {"card_lost": "The card is gone.", "card_found": "It is back.", "other": None}


@pytest.fixture
def network(network):
    """With a triage that has three labels."""
    triage = network.specialists["triage"]
    triage.card = replace(triage.card, options=tuple(Option(name=label) for label in LABELS))
    return network


@pytest.fixture
async def client(address):
    """An ordinary client whose base URL was changed."""
    async with openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="unused", max_retries=0) as client:
        yield client


async def test_openai(client):
    """The client's own types read each answer, and our object beside them."""
    choices = [{"value": value, "description": description or ""} for value, description in LABELS.items()]
    decision = await client.decisions.create(
        model="gpt-6-luna",
        input=[{"role": "user", "content": "I lost my card"}],
        questions=[
            {"type": "choice", "name": "intent", "instructions": "What is it about?", "choices": choices},
            {"type": "predicate", "instructions": "Is the customer angry?"},
            {"type": "score", "name": "anger", "instructions": "?", "levels": [{"label": "calm"}, {"label": "angry"}]},
        ],
    )
    intent, angry, anger = decision.answers

    assert (intent.type, intent.choice, intent.name) == ("choice", "card_lost", "intent")
    assert 0 <= angry.probability <= 1
    assert [probability.label for probability in anger.probabilities] == ["calm", "angry"]
    assert decision.usage.total_tokens > 0
    assert decision.coterie["decisions"][0]["answered_by"] == "triage"


async def test_openai_is_told_what_is_wrong(client):
    """A bad question is its own error, with the place."""
    with pytest.raises(openai.BadRequestError, match=r"questions\[0\]"):
        await client.decisions.create(
            model="gpt-6-luna", input="x", questions=[{"type": "boolean", "instructions": "?"}]
        )
    with pytest.raises(openai.NotFoundError):
        await client.decisions.create(
            model="coterie/nobody", input="x", questions=[{"type": "predicate", "instructions": "?"}]
        )


async def test_openai_tool_runner(client):
    """The runner of `openai` picks actions by our answers until it is done."""
    done: list[str] = []

    async def act() -> None:
        done.append("act")

    def candidates(_: object) -> list[dict[str, object]]:
        action = {"id": "aaaa", "description": "aaaa", "execute": act}
        return [{"id": "finish", "description": "no more", "done": True}, *([] if done else [action])]

    async def observe() -> str:
        return "aaaa"

    async def candidates_of(observation: object) -> list[dict[str, object]]:
        return candidates(observation)

    runner = AsyncDecisionsToolRunner(observe=observe, candidates=candidates_of)
    result = await runner.run(client, {"model": "gpt-6-luna", "input": "aaaa"})

    assert result["status"] == "unverified"
    assert all(decision.answers[0].type == "choice" for decision in result["decisions"])


async def test_typesafe(address):
    """The official client reads each answer; what is wrong is its own error."""
    async with AsyncTypeSafeClient(api_key="unused", base_url=address) as client:
        questions = {
            "intent": Choice(criteria=LABELS),
            "angry": Noul(instructions="Is the customer angry?"),
            "anger": Score(criteria=["calm", "angry"]),
        }
        answer = await client.system_one(state={"note": "I lost my card"}, questions=questions, model="jev-latest")
        with pytest.raises(TypeSafeUnprocessableEntityError):
            await client.system_one(state="x", questions={"q": {"type": "boolean"}}, model="jev-latest")
        models = await client.models.list()

    assert answer.choices["intent"].choice == "card_lost"
    assert 0 <= answer.nouls["angry"].noul <= 1
    assert answer.scores["anger"].legend == {0: "calm", 1: "angry"}
    assert "coterie" in {model.name for model in models.models}


@pytest.mark.slow
async def test_conformance(address):
    """`jevcompat` finds every MUST and every SHOULD that applies met."""
    command = [sys.executable, "-c", "from jevcompat.cli import main; main()", "test", address]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output, _ = await process.communicate()

    assert process.returncode == 0, output.decode()
    assert b"MUST 32/32" in output
    assert b"\xe2\x9c\x97" not in output
