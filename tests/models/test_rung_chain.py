"""A chain of rungs in a whole network, with the real encoder: trace, ledger, generalist, policy, damage."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from coterie.assembly import open_network
from coterie.cli.app import main
from coterie.errors import ArtefactRefused
from coterie.registry.registry import Registry
from coterie.testing import FakeOpenAIServer, ServerReply
from coterie.training.train import train
from coterie.types import Reason, Request, total_usage

LABELS = {"lost_or_stolen_card", "card_arrival", "exchange_rate", "Refund_not_showing_up", "top_up_failed"}
CLEAR, ODD = "I lost my card, someone stole my card", "The plastic thing has gone astray, a thief perhaps"

CONFIG = """
[accounting]
price_per_cpu_hour = 0.05

[specialists.triage]
task = "classify"
description = "Support messages of bank customers about cards and payments."
data = "triage.jsonl"
chain = ["lexical", "embedding"]
chain_quality = 0.97
"""
ABOVE = """
[models.giant]
engine = "openai"
base_url = "{url}"
name = "giant-1"
clearance = "restricted"
retries = 0

[generalist]
model = "giant"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, messages) -> Path:
    """A trained network with one specialist, a chain of two rungs."""
    folder = tmp_path_factory.mktemp("chain")
    (folder / "triage.jsonl").write_text("".join(json.dumps(row) + "\n" for row in messages(LABELS)))
    (folder / "coterie.toml").write_text(CONFIG)
    train(folder)
    return folder


async def test_the_ledger_counts_every_rung(folder):
    """An easy text is answered by the cheap rung alone; a hard one has the steps, joules and money of both."""
    network = await open_network(folder)
    try:
        easy, hard = [(await network.ask(Request(text=text, specialist="triage"))).trace for text in (CLEAR, ODD)]
        summary = await network.store.summary()
    finally:
        await network.close()
    first, second = ([step for step in trace.steps if step.producer == "triage"] for trace in (easy, hard))

    assert [step.note.split(":")[0] for step in first] == ["rung lexical"]
    assert [step.note.split(":")[0] for step in second] == ["rung lexical", "rung embedding", "rung embedding"]
    assert easy.findings[0].value == "lost_or_stolen_card"
    assert all(step.usage.joules > 0 and step.usage.cost is not None for step in second)
    assert total_usage(step.usage for step in second).joules > total_usage(step.usage for step in first).joules
    assert hard.usage.joules == pytest.approx(sum(step.usage.joules for step in hard.steps))
    assert hard.usage.cost == sum(step.usage.cost for step in hard.steps)
    assert summary.joules == pytest.approx(easy.usage.joules + hard.usage.joules)


def test_ask_shows_the_rungs(folder, capsys):
    """`coterie ask --trace` names each rung that was asked, with the confidence found and needed."""
    main(["-C", str(folder), "ask", ODD, "--specialist", "triage", "--trace"])
    shown = " ".join(capsys.readouterr().out.split())

    assert str(Reason("note.rung", rung="embedding", after="lexical")) in shown.split("rung lexical: ")[0]
    assert "rung embedding: " in shown.split("rung lexical: ")[-1]


def test_it_is_measured_like_any_other(folder, capsys):
    """`coterie eval` asks the whole chain."""
    main(["-C", str(folder), "eval", "triage", "--data", str(folder / "triage.jsonl"), "--json"])
    figures = json.loads(capsys.readouterr().out)

    assert figures["accuracy"] > 0.95


async def test_the_generalist_stands_above_the_chain(folder, tmp_path):
    """What the last rung is not sure of goes up; what a rung before it is sure of does not."""
    copy = shutil.copytree(folder, tmp_path / "copy")
    async with FakeOpenAIServer(default=ServerReply(text="lost_or_stolen_card")) as server:
        (copy / "coterie.toml").write_text(CONFIG + ABOVE.format(url=server.base_url))
        network = await open_network(copy)
        try:
            requests = [Request(text=text, specialist="triage") for text in (CLEAR, "zzz qqq xxyyz")]
            easy, strange = [(await network.ask(request)).trace for request in requests]
            kept = network.policy.threshold("triage", 0.8)
        finally:
            await network.close()

    assert (easy.status, strange.status) == ("accepted", "escalated")
    assert len(server.requests) == 1
    assert kept.value is not None


async def test_a_changed_rung_stops_the_network(folder, tmp_path):
    """A network does not open with a rung that is not the one that was stored."""
    copy = shutil.copytree(folder, tmp_path / "copy")
    version = Registry(copy / "registry").champion("triage").version
    path = copy / "registry" / "triage" / version / "embedding-weights.safetensors"
    path.write_bytes(path.read_bytes()[:-2] + b"\x01\x01")

    with pytest.raises(ArtefactRefused, match="embedding-weights"):
        await open_network(copy)
