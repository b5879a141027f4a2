"""SmolLM2 tuned for a specialist, stored, opened and asked. Slow: skipped where it was not pulled."""

from __future__ import annotations

import asyncio
import csv
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("peft", reason="needs the extra `train`")
pytest.importorskip("xllamacpp", reason="needs the extra `llama`")

from peft import PeftConfig

from coterie.assembly import open_network
from coterie.config.file import LlamaModel
from coterie.config.operation import AccountingSection
from coterie.config.specialists import make_section
from coterie.engines.onnx import OnnxEncoder
from coterie.models.catalogue import CATALOGUE, installed
from coterie.registry.registry import Registry
from coterie.rightsizing.result import Conditions
from coterie.rightsizing.rightsize import read_rows, rightsize
from coterie.training.train import train
from coterie.tuning.causal import LoraRecipe
from coterie.types import Request

pytestmark = pytest.mark.slow

LENDER = Path(__file__).parents[2] / "examples" / "lender" / "data"
WORDS = {
    "lost card": ["card", "lost", "blocked", "stolen", "pin", "chip"],
    "late parcel": ["parcel", "delivery", "courier", "tracking", "late"],
    "refund": ["refund", "money", "back", "charged", "twice", "invoice"],
}
FILLER = ["please", "today", "again", "my", "the", "why", "is", "where"]
MODEL = '[models.small]\nengine = "llama"\nname = "smollm2"\nthreads = 1\nwindow = 1024\n'


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Skips where the model is not; elsewhere two epochs must do."""
    if not {model.name: path for model, path in installed()}["smollm2"]:
        pytest.skip("smollm2 is not here: coterie models pull smollm2")

    def recipe(rows: int) -> LoraRecipe:
        return LoraRecipe(epochs=2, batch=4, rate=2e-3)

    for module in ("learning.adapters", "tasks.classify.fit_tuned", "tasks.generate.fit_replies"):
        monkeypatch.setattr(f"coterie.{module}.lora_recipe_for", recipe)


def write_texts(path: Path, per_label: int) -> Path:
    """Texts of three labels, three words of their own among filler."""
    random = np.random.default_rng(0)
    rows = [
        {"text": " ".join([*random.choice(words, 3), *random.choice(FILLER, 2)]), "label": label}
        for label, words in WORDS.items()
        for _ in range(per_label)
    ]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


async def test_classify(tmp_path):
    """The rung is tuned, calibrated with the engine that serves it, stored with its adapter twice, opened and asked."""
    write_texts(tmp_path / "rows.jsonl", 16)
    (tmp_path / "coterie.toml").write_text(
        f'[specialists.topic]\ntask = "classify"\ndata = "rows.jsonl"\nlicence = "CC0-1.0"\nrungs = ["slm"]\n'
        f'model = "small"\ndescription = "Post."\n\n{MODEL}'
    )
    trained = (await asyncio.to_thread(train, tmp_path)).specialists["topic"]
    version = Registry(tmp_path / "registry").champion("topic")
    row = trained.report["rungs"][-1]

    assert (trained.report["rung"], row["rung"]) == ("slm", "slm")
    assert row["validation"]["accuracy"] >= 0.6  # a third would be chance
    assert row["base"] == trained.report["base"]
    assert row["base"]["sha256"] == CATALOGUE["smollm2"].sha256
    assert row["base"]["licence"] == "Apache-2.0"
    assert (row["held_back"], row["cut"]) == (9, 0)  # a fifth of 38, in runs of the file's order
    assert PeftConfig.from_pretrained(str(version.folder)).base_model_name_or_path == CATALOGUE["smollm2"].original
    assert not (tmp_path / "state" / "checkpoints" / "topic").exists()
    network = await open_network(tmp_path)
    try:
        (finding,) = (await network.ask(Request(text="my parcel delivery is late"))).trace.findings
    finally:
        await network.close()
    assert finding.value == "late parcel"
    assert "small" in [step.engine for step in finding.steps]


def test_right_sizing(tmp_path, monkeypatch):
    """The rung stands beside the floor with its own latency and memory, measured in a process of its own."""
    recipe = LoraRecipe(epochs=1, batch=4, rate=2e-3)  # how good it is does not matter here
    monkeypatch.setattr("coterie.learning.adapters.lora_recipe_for", lambda rows: recipe)
    data = write_texts(tmp_path / "rows.jsonl", 12)
    section = make_section(task="classify", data=str(data), rungs=("lexical", "slm"), model="small")
    report = rightsize(
        read_rows(section),
        encoder=OnnxEncoder.bundled(),
        accounting=AccountingSection(),
        conditions=Conditions(
            date="", machine={}, versions={}, watts_per_core=10.0, price_per_cpu_hour=None, currency="USD"
        ),
        model=LlamaModel(engine="llama", name="smollm2", threads=1, window=512),
    )
    lexical, slm = report.rungs

    assert slm.rung == "slm"
    assert slm.resident_bytes > lexical.resident_bytes + 90e6  # the model's weights
    assert slm.p50 > lexical.p50
    assert slm.per_1000.joules > lexical.per_1000.joules > 0


async def test_replies(tmp_path, monkeypatch):
    """A reply's model is tuned on pairs and measured against the untuned one; the network drafts with the adapter."""
    recipe = LoraRecipe(epochs=1, batch=4, rate=2e-3)
    monkeypatch.setattr("coterie.learning.adapters.lora_recipe_for", lambda rows: recipe)
    with (LENDER / "reply.pairs.csv").open(encoding="utf-8", newline="") as file:
        pairs = list(csv.DictReader(file))[2:10]  # of two intents
    with (tmp_path / "pairs.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(pairs[0]))
        writer.writeheader()
        writer.writerows(pairs)
    (tmp_path / "coterie.toml").write_text(
        f'[specialists.reply]\ntask = "generate"\ndata = "{LENDER / "help.jsonl"}"\npairs = "pairs.csv"\n'
        f'licence = "Apache-2.0"\nmodel = "small"\nreads = ["intent"]\nmax_tokens = 64\n\n{MODEL}'
    )
    trained = (await asyncio.to_thread(train, tmp_path)).specialists["reply"]
    metrics = trained.report["metrics"]
    version = Registry(tmp_path / "registry").champion("reply")
    described = json.loads(version.files["model.json"])

    assert {"token_f1", "rouge_l", "grounded", "untuned", "drafted"} <= metrics.keys()
    assert 0 < metrics["rouge_l"] <= metrics["token_f1"] <= 1
    assert metrics["drafted"] > 0
    assert described["examples"] == []
    assert described["base"]["sha256"] == CATALOGUE["smollm2"].sha256
    assert trained.report["data"]["pairs"]["rows"] == 8
    network = await open_network(tmp_path)
    try:
        assert network.specialists["reply"].adapter == "reply"
    finally:
        await network.close()


async def test_writing_from_pairs(tmp_path):
    """A writer without a source is tuned, measured beside the untuned model, opened and asked."""
    random = np.random.default_rng(0)
    rows = [
        {"text": f"please {random.choice(FILLER)} my {item} {n}", "reply": f"Topic: {label}."}
        for label, words in WORDS.items()
        for item in words
        for n in random.integers(10, 10**5, 2)
    ]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (tmp_path / "coterie.toml").write_text(
        f'[specialists.rewrite]\ntask = "generate"\ndata = "pairs.jsonl"\nlicence = "CC0-1.0"\nmodel = "small"\n'
        f'max_tokens = 12\ndescription = "Post."\n\n{MODEL}'
    )
    trained = (await asyncio.to_thread(train, tmp_path)).specialists["rewrite"]
    metrics, (row,) = trained.report["metrics"], trained.report["rungs"]

    assert metrics["token_f1"] > row["untuned"]["token_f1"]
    assert metrics["token_f1"] > 0.4  # "topic" alone gives as much
    assert row["agreement"].keys() == {"cosine", "length", "logprob"}
    network = await open_network(tmp_path)
    try:
        (finding,) = (await network.ask(Request(text="please why my parcel 77", specialist="rewrite"))).trace.findings
    finally:
        await network.close()
    assert finding.task == "generate"
    assert finding.text.startswith("Topic")
    assert 0 < finding.confidence < 1
