"""A writer from pairs to version with a very small Llama, and an engine that knows the replies in its place."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("peft", reason="needs the extra `train`")


from coterie.config.file import load_config
from coterie.errors import ConfigError, DataError
from coterie.registry.registry import Registry
from coterie.training.train import train
from coterie.tuning.base import CausalBase, Checkpoints
from coterie.tuning.causal import CausalTokens, LoraRecipe
from coterie.types import Label, Output, Usage
from tests.models.bases import HashTokenizer, tiny_llama

PAIRS = 240


class Engine:
    """Says the reply with an adapter, unless the text is a hard one, where it finds its own words unlikely."""

    clearance = Label.RESTRICTED

    def __init__(self, adapters) -> None:
        self.name, self.adapters = "small", adapters

    @classmethod
    def configured(cls, name, model, path, *, adapters):
        """As the real one is made of a `[models]` entry."""
        return cls(adapters)

    async def run(self, batch, *, call=None):
        return [self._write(prompt) for prompt in batch]

    def _write(self, prompt) -> Output:
        assert prompt.adapter is None or self.adapters[prompt.adapter].stat().st_size > 1000
        text = prompt.messages[-1].text
        hard = "hard" in text
        reply = reply_to(text) if prompt.adapter and not hard else "I do not know"
        return Output(text=reply, logprob=-8.0 if hard else -0.2, usage=Usage(tokens_out=4))

    async def close(self) -> None:
        pass


def reply_to(text: str) -> str:
    return f"Number {text.split()[2]} is on its way"


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A network whose writer is to be tuned; every fourth text is hard."""
    random = np.random.default_rng(0)
    texts = [
        f"parcel number {random.integers(10**6)} {' '.join(random.choice(list('abcdefghij'), 6))}"
        + (" hard" if n % 4 == 0 else "")
        for n in range(PAIRS)
    ]
    write(tmp_path, [{"text": text, "reply": reply_to(text)} for text in texts])
    (tmp_path / "coterie.toml").write_text(
        '[specialists.rewrite]\ntask = "generate"\ndata = "pairs.jsonl"\nlicence = "CC0-1.0"\nmodel = "small"\n'
        'target_risk = 0.2\nbar = { token_f1 = 0.5 }\n\n[models.small]\nengine = "llama"\nname = "tiny.gguf"\n',
        encoding="utf-8",
    )
    base = CausalBase(
        key="small", name="tiny", path=tmp_path / "tiny.gguf", sha256="0" * 64, licence="CC0-1.0", repository="s/tiny"
    )
    monkeypatch.setattr("coterie.learning.job.find_causal_base", lambda key, model, folder: base)
    monkeypatch.setattr(
        "coterie.tasks.generate.fit_replies.load_tokens", lambda base: CausalTokens(tokenizer=HashTokenizer())
    )
    monkeypatch.setattr("coterie.learning.adapters.load_causal", lambda base: tiny_llama(hidden=16, layers=1, heads=2))
    monkeypatch.setattr("coterie.learning.adapters.LlamaEngine", Engine)
    for module in ("learning.adapters", "tasks.generate.fit_replies"):
        monkeypatch.setattr(f"coterie.{module}.lora_recipe_for", lambda rows: LoraRecipe(epochs=1, batch=32))
    monkeypatch.setattr("coterie.training.train.Checkpoints", functools.partial(Checkpoints, every=0.0))
    return tmp_path


def write(folder: Path, rows) -> None:
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_from_pairs_to_version(folder):
    """Calibrated on pairs held back, measured on held-out ones beside the untuned model, stored with its adapter."""
    trained = train(folder).specialists["rewrite"]
    version = Registry(folder / "registry").champion("rewrite")
    (row,) = trained.report["rungs"]
    metrics, described = trained.report["metrics"], json.loads(version.files["model.json"])

    assert 0.6 < metrics["token_f1"] < 0.9
    assert metrics["accepted_accuracy"] == 1.0  # the hard ones are not accepted, the others are
    assert metrics["coverage"] == pytest.approx(metrics["accuracy"])
    assert row["untuned"]["token_f1"] < 0.3
    assert row["untuned"]["exact_match"] == 0.0
    assert row["validation"]["token_f1"] > 0.6
    assert row["precision"]["numbers"] in {"bfloat16", "float32"}
    assert trained.report["bar_met"] is True
    assert trained.promoted
    assert described["base"] == {"name": "tiny", "sha256": "0" * 64}
    assert {"adapter_config.json", "adapter.gguf", "seen.safetensors", "profile.safetensors"} <= version.files.keys()
    assert b"parcel" not in b"".join(version.files.values()), "a version of it holds no training text"


def test_pairs_without_a_reply(folder):
    """Are refused with their lines, before anything is tuned."""
    write(folder, [{"text": f"parcel number {n}", "reply": "" if n == 2 else "x"} for n in range(20)])
    with pytest.raises(DataError, match="1 row without a reply: line 3"):
        train(folder)


def test_a_file_without_the_column(folder):
    """Is refused with the columns that it has."""
    write(folder, [{"text": f"parcel number {n}", "answer": "x"} for n in range(20)])
    with pytest.raises(DataError, match="'reply'"):
        train(folder)


def test_rungs_that_write_nothing(folder):
    """Only a generative model writes."""
    path = folder / "coterie.toml"
    path.write_text(path.read_text().replace('model = "small"', 'model = "small"\nrungs = ["lexical"]'))
    with pytest.raises(ConfigError, match=r"'lexical'.*'generate'.*'slm'"):
        train(folder)


def test_pairs_of_a_writer_that_reads_nothing(folder):
    """Its pairs are its data: naming them apart is a slip."""
    path = folder / "coterie.toml"
    path.write_text(path.read_text().replace('model = "small"', 'model = "small"\npairs = "pairs.jsonl"'))
    with pytest.raises(ConfigError, match="`reads`"):
        load_config(folder)
