"""Training, opening and asking a whole network with the real encoder."""

import asyncio
import csv
import json
from pathlib import Path

import pytest

from coterie.assembly import open_network
from coterie.errors import ArtefactRefused
from coterie.registry.registry import Registry
from coterie.training.train import train
from coterie.types import Request

INTENTS = {"lost_or_stolen_card", "card_arrival", "exchange_rate", "Refund_not_showing_up"}
MESSAGES = Path(__file__).parents[2] / "examples" / "lender" / "data" / "triage.train.csv"

CONFIG = """
[specialists.triage]
task = "classify"
description = "Support messages of bank customers about cards and payments."
data = "triage.jsonl"
rungs = ["embedding"]
writes = ["intent"]

[specialists.risk]
task = "score"
description = "Probability that an invoice is paid late, from its columns and a note."
data = "risk.jsonl"
label_column = "late"
text_column = "note"
"""


def rows() -> list[dict[str, str]]:
    """The messages of four intents of BANKING77, some five hundred."""
    with MESSAGES.open(encoding="utf-8", newline="") as lines:
        return [row for row in csv.DictReader(lines) if row["label"] in INTENTS]


def invoices() -> list[dict[str, object]]:
    """Invoices whose note tells more than their columns."""
    notes = [
        "customer disputes the goods",
        "reminder was sent",
        "pays by standing order",
        "thanked us for the delivery",
    ]
    return [
        {"days": 10 + i % 50, "country": ["DE", "FR", "IT"][i % 3], "note": notes[i % 4], "late": int(i % 4 < 2)}
        for i in range(120)
    ]


@pytest.fixture(scope="module", autouse=True)
def _few_trees():
    """Scorecards of two bags of trees in place of eight: a note tells everything here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("coterie.tasks.score.fit.BAGS", 2)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bank")
    (folder / "coterie.toml").write_text(CONFIG)
    for name, made in (("triage", rows()), ("risk", invoices())):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made))
    train(folder)
    return folder


async def test_routes_and_answers(folder):
    """A message in new words is routed and named; one about nothing of this is told so; columns find their score."""
    network = await open_network(folder)
    try:
        lost = await network.ask(Request(text="Help, a thief has got my card!"))
        other = await network.ask(Request(text="How do I bake sourdough bread?"))
        late = await network.ask(Request(text='{"days": 30, "country": "DE", "note": "customer disputes the invoice"}'))
        pinned = await network.ask(Request(text="zebra crossing", specialist="triage"))
    finally:
        await network.close()

    assert (lost.text, lost.trace.route.specialists) == ("lost_or_stolen_card", ("triage",))
    assert [step.engine for step in lost.trace.steps] == ["onnx", "linear", "python"]  # encoded once, by the router
    assert other.trace.route.parts == ()
    assert late.trace.route.specialists == ("risk",)
    assert late.trace.findings[0].value > 0.8
    assert not pinned.accepted


async def test_the_router_says_the_same_alone_and_in_company(folder):
    """The route of a text does not depend on who asks at the same time."""
    network = await open_network(folder)
    texts = [row["text"] for row in rows()[::20]]
    try:
        alone = [(await network.ask(Request(text=text))).text for text in texts]
        together = await asyncio.gather(*(network.ask(Request(text=text)) for text in texts))
    finally:
        await network.close()

    assert [answer.text for answer in together] == alone


async def test_another_encoder_is_refused(folder, monkeypatch):
    """Versions made with another encoder are not served: their numbers would mean nothing."""
    other = property(lambda _: "f" * 64, lambda _, __: None)
    monkeypatch.setattr("coterie.engines.onnx.OnnxEncoder.sha256", other, raising=False)

    with pytest.raises(ArtefactRefused, match="was trained with encoder"):
        await open_network(folder)


def test_versions_repeat_with_the_real_encoder(folder):
    """Training again with the same seed gives the versions that are there already."""
    registry = Registry(folder / "registry")
    train(folder)

    assert {name: len(registry.versions(name)) for name in ("triage", "risk")} == {"triage": 1, "risk": 1}
