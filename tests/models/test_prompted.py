"""The rung `llm` with a real model in this process: SmolLM2, far too small for it and so a test of doubt."""

import asyncio
import csv
from pathlib import Path

import pytest

from coterie.assembly import open_network
from coterie.config.file import LlamaModel
from coterie.errors import ExtraMissing, ModelMissing
from coterie.models.catalogue import locate
from coterie.training.train import train
from coterie.types import Request

MESSAGES = Path(__file__).parents[2] / "examples" / "lender" / "data" / "triage.train.csv"
INTENTS = ("lost_or_stolen_card", "card_arrival", "exchange_rate")
CONFIG = """
[specialists.triage]
task = "classify"
description = "Support messages of bank customers."
data = "triage.csv"
rungs = ["llm"]
model = "small"
calibration_calls = 9
test_calls = 6

[models.small]
engine = "llama"
name = "smollm2"
threads = 1
parallel = 1
window = 512
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A network's folder with forty messages of each of three intents."""
    try:
        locate(LlamaModel(engine="llama", name="smollm2"), Path())
    except (ModelMissing, ExtraMissing) as missing:
        pytest.skip(str(missing))
    folder = tmp_path_factory.mktemp("bank")
    (folder / "coterie.toml").write_text(CONFIG)
    with MESSAGES.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    with (folder / "triage.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["text", "label"])
        writer.writeheader()
        for intent in INTENTS:
            writer.writerows([row for row in rows if row["label"] == intent][:40])
    return folder


def test_it_asks_a_model_in_this_process(folder):
    """Answers are labels, by the grammar; with nine of them nothing can be shown, so nothing is ever accepted."""
    report = train(folder).specialists["triage"].report
    row = next(row for row in report["rungs"] if row["rung"] == "llm")

    assert row["form"] == "grammar"
    assert row["questions"] == {"training": 9, "held_out": 6, "held_out_rows": 24}
    assert "logprob" in row["agreement"]
    assert row["usage"]["tokens_in"] > 500
    assert row["usage"]["money"] is None
    assert row["threshold"]["value"] is None
    assert (folder / "state" / "answers.jsonl").read_text().count('"asked"') == 15

    async def ask():
        network = await open_network(folder)
        try:
            return await network.ask(Request(text="Where is the card that I ordered?"))
        finally:
            await network.close()

    (finding,) = asyncio.run(ask()).trace.findings
    assert finding.value in INTENTS
    assert not finding.accepted
    assert {step.engine for step in finding.steps} >= {"small"}
    assert next(step for step in finding.steps if step.engine == "small").usage.cpu_seconds > 0
