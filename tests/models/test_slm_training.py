"""The rung `slm` from rows to version with a very small Llama, and an engine that knows the answers in its place."""

from __future__ import annotations

import functools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("peft", reason="needs the extra `train`")


from coterie.learning.job import Silent
from coterie.registry.registry import Registry
from coterie.training.train import train
from coterie.tuning.base import CausalBase, Checkpoints
from coterie.tuning.causal import CausalTokens, LoraRecipe
from coterie.types import Label, Output
from tests.models.bases import HashTokenizer, tiny_llama

WORDS = {"card": "card pin chip", "parcel": "parcel courier late", "refund": "refund money back"}


class Engine:
    """Scores a choice by whether one of its label's words stands in the text."""

    clearance = Label.RESTRICTED

    def __init__(self, name, path, *, adapters, **options) -> None:
        self.name = name
        self.sizes = {adapter: file.stat().st_size for adapter, file in adapters.items()}

    @classmethod
    def configured(cls, name, model, path, *, adapters):
        """As the real one is made of a `[models]` entry."""
        return cls(name, path, adapters=adapters)

    async def run(self, batch, *, call=None):
        return [Output(scores=np.array([self._score(prompt, choice) for choice in prompt.choices])) for prompt in batch]

    def _score(self, prompt, choice) -> float:
        assert self.sizes[prompt.adapter] > 1000
        return -0.1 if any(word in prompt.text.split() for word in WORDS[choice.strip()].split()) else -4.0

    async def close(self) -> None:
        pass


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A network whose specialist is to be tuned."""
    random = np.random.default_rng(0)
    rows = [
        {"text": f"{random.choice(words.split())} number {n} please", "label": label}
        for label, words in WORDS.items()
        for n in range(20)
    ]
    home = tmp_path / "network"
    home.mkdir()
    (home / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (home / "coterie.toml").write_text(
        '[specialists.topic]\ntask = "classify"\ndata = "rows.jsonl"\nlicence = "CC0-1.0"\nrungs = ["slm"]\n'
        'model = "small"\n\n[models.small]\nengine = "llama"\nname = "tiny.gguf"\n'
    )
    base = CausalBase(
        key="small", name="tiny", path=home / "tiny.gguf", sha256="0" * 64, licence=None, repository="somebody/tiny"
    )
    monkeypatch.setattr("coterie.learning.job.find_causal_base", lambda key, model, folder: base)
    monkeypatch.setattr(
        "coterie.tasks.classify.fit_tuned.load_tokens", lambda base: CausalTokens(tokenizer=HashTokenizer())
    )
    monkeypatch.setattr("coterie.learning.adapters.load_causal", lambda base: tiny_llama(hidden=32, layers=2, heads=4))
    monkeypatch.setattr("coterie.learning.adapters.LlamaEngine", Engine)
    for module in ("learning.adapters", "tasks.classify.fit_tuned"):
        monkeypatch.setattr(f"coterie.{module}.lora_recipe_for", lambda rows: LoraRecipe(epochs=2, batch=8))
    monkeypatch.setattr("coterie.training.train.Checkpoints", functools.partial(Checkpoints, every=0.0))
    return home


def test_from_rows_to_version(folder):
    """Calibrated on the fifth held back, measured on held-out rows, stored with base, recipe and adapter."""
    trained = train(folder).specialists["topic"]
    version = Registry(folder / "registry").champion("topic")
    row, described = trained.report["rungs"][-1], json.loads(version.files["model.json"])

    assert [row["rung"] for row in trained.report["rungs"]] == ["lexical", "slm"]
    assert row["validation"]["accuracy"] == row["held_out"]["accuracy"] == 1.0
    assert row["held_back"] in range(8, 12)  # a fifth of the 48 that are not held out
    assert row["recipe"]["epochs"] == 2
    assert described["base"] == {"name": "tiny", "sha256": "0" * 64}
    assert described["prompt"]["answer"] == "Label:"
    assert trained.report["base"]["source"] == "somebody/tiny"
    assert "no licence is stated for the base tiny: set `licence` of models.small" in trained.report["warnings"]
    assert {"adapter_config.json", "adapter_model.safetensors", "model.json", "report.json"} < version.files.keys()
    assert (version.folder / "adapter.gguf").stat().st_size > 1000


class Interrupted(Silent):
    """A progress that ends the training after so many rows."""

    def __init__(self, after: int) -> None:
        self.left = after
        self.tuning = False

    def start(self, what, total) -> None:
        self.tuning = "tune" in what

    def advance(self, n) -> None:
        self.left -= n if self.tuning else 0
        if self.left < 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("rows", [30, 110])  # in the first adapter, in the second
def test_an_interrupted_training_goes_on(folder, tmp_path, rows):
    """It leaves no version, and the next one ends with the version that an uninterrupted one gives."""
    shutil.copytree(folder, tmp_path / "other")
    with pytest.raises(KeyboardInterrupt):
        train(folder, progress=Interrupted(rows))
    kept = sorted((folder / "state" / "checkpoints" / "topic").iterdir())
    assert Registry(folder / "registry").versions("topic") == ()
    resumed, whole = train(folder), train(tmp_path / "other")

    assert len(kept) == (1 if rows < 60 else 2)
    assert resumed.specialists["topic"].version == whole.specialists["topic"].version
    assert not (folder / "state" / "checkpoints" / "topic").exists()
