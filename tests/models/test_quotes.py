"""The rung `slm` of `extract`: from rows to version with a very small Llama, and the grammar before a real model."""

from __future__ import annotations

import asyncio
import functools
import json
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("peft", reason="needs the extra `train`")

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from coterie.config.file import LlamaModel, load_config
from coterie.engines.llama import LlamaEngine
from coterie.engines.onnx import OnnxEncoder
from coterie.errors import ArtefactRefused, ModelMissing, TooLong
from coterie.models.catalogue import locate
from coterie.registry.registry import Registry
from coterie.tasks.extract.extractor import Quoting, QuotingModel
from coterie.tasks.extract.tagging import TokenizedText
from coterie.tasks.versions import load_specialist
from coterie.training.train import train
from coterie.tuning.base import CausalBase, Checkpoints
from coterie.tuning.causal import CausalTokens, LoraRecipe
from coterie.types import SYSTEM, ContextView, Label, Output, Task
from tests.models.bases import HashTokenizer

QUOTING = Quoting(fields=("seller", "law"), many=(False, False))


def contract(number: int) -> dict:
    """A few sentences that name a seller and, mostly, a law."""
    random = np.random.default_rng(number)
    name, state = random.choice(["alder", "birch", "cedar", "elm"]), random.choice(["ohio", "texas", "utah"])
    law = f"The law of {state} governs." if random.random() < 0.7 else ""
    filler = ["Notices are in writing.", "Fees are due on the day.", "Goods are checked."]
    parts = [random.choice(filler), f"The seller is {name} and company.", random.choice(filler), law]
    fields = {"seller": f"{name} and company", "law": {"text": law, "value": state} if law else None}
    return {"text": " ".join(part for part in parts if part), "fields": fields, "contract": f"c{number}"}


def tiny(base) -> LlamaForCausalLM:
    """A Llama of one narrow layer."""
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=61, num_key_value_heads=1, pad_token_id=0, **shape))


class Reader:
    """An engine that reads well, in place of the tuned model: it quotes what a pattern finds in what it is shown."""

    name, clearance = "small", Label.RESTRICTED
    window = 100_000

    def __init__(self, adapters=None) -> None:
        self.adapters = adapters or {}
        self.asked: list[str] = []

    @classmethod
    def configured(cls, name, model, path, *, adapters):
        """As the real one is made of a `[models]` entry."""
        return cls({adapter: file.stat().st_size for adapter, file in adapters.items()})

    async def run(self, batch, *, call=None):
        return [self._answer(prompt) for prompt in batch]

    def _answer(self, prompt) -> Output:
        (message,) = prompt.messages
        if len(message.text) > self.window:
            raise TooLong("It does not fit.")
        assert prompt.grammar is not None
        self.asked.append(message.text)
        patterns = (r"seller is (\w+ and company)", r"The law of \w+ governs\.")
        matches = [re.search(pattern, message.text) for pattern in patterns]
        answer = QUOTING.answer([[match[match.lastindex or 0]] if match else [] for match in matches])
        return Output(text=answer, logprobs=tuple((word, -0.01) for word in re.findall(r"\S+\s*", answer)))

    async def close(self) -> None:
        pass


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A network whose extractor is to be tuned."""
    for name, numbers in (("rows", range(60)), ("test", range(60, 80))):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(json.dumps(contract(number)) for number in numbers))
    (tmp_path / "coterie.toml").write_text(
        '[specialists.terms]\ntask = "extract"\ndescription = "Terms."\ndata = "rows.jsonl"\ntest = "test.jsonl"\n'
        'licence = "CC0-1.0"\nrungs = ["slm"]\nmodel = "small"\ngroup_column = "contract"\ntarget_risk = 0.2\n'
        'fields = { seller = "text", law = "choice" }\n\n[models.small]\nengine = "llama"\nname = "tiny.gguf"\n'
    )
    base = CausalBase(
        key="small",
        name="tiny",
        path=tmp_path / "tiny.gguf",
        sha256="0" * 64,
        licence="MIT",
        repository="somebody/tiny",
    )
    monkeypatch.setattr("coterie.learning.job.find_causal_base", lambda key, model, folder: base)
    monkeypatch.setattr(
        "coterie.tasks.extract.fit_tuned.load_tokens", lambda base: CausalTokens(tokenizer=HashTokenizer())
    )
    monkeypatch.setattr("coterie.learning.adapters.load_causal", tiny)
    monkeypatch.setattr("coterie.learning.adapters.LlamaEngine", Reader)
    monkeypatch.setattr("coterie.tasks.extract.fit_tuned.quote_recipe_for", lambda rows: LoraRecipe(epochs=1, batch=8))
    monkeypatch.setattr("coterie.training.train.Checkpoints", functools.partial(Checkpoints, every=0.0))
    return tmp_path


@pytest.mark.slow
def test_from_rows_to_version_to_answer(folder):
    """Calibrated on the texts held back, stored with base and adapter, loaded again and asked."""
    trained = train(folder).specialists["terms"]
    version, section = Registry(folder / "registry").champion("terms"), load_config(folder).specialists["terms"]
    row = trained.report["rungs"][-1]

    assert [row["rung"] for row in trained.report["rungs"]] == ["lexical", "slm"]
    assert row["held_out"]["token_f1"] > 0.95
    assert (row["held_back"], row["tuned_on"], row["base"]["name"]) == (20, 60, "tiny")
    assert json.loads(version.files["model.json"])["base"]["sha256"] == "0" * 64
    assert (version.folder / "adapter.gguf").stat().st_size > 1000

    engine, text = Reader(), contract(91)["text"]
    specialist = load_specialist("terms", section, version, encoder=OnnxEncoder.bundled(), models={"small": engine})
    finding = asyncio.run(specialist.consult(Task(text=text), ContextView(), call=SYSTEM))
    assert [field.text for field in finding.fields if field.name == "seller"] == [contract(91)["fields"]["seller"]]
    assert all(text[field.start : field.end] == field.text for field in finding.fields if field.stated)
    assert "small" in [step.engine for step in finding.steps]
    assert not finding.truncated

    files = {name: content for name, content in version.files.items() if name != "adapter.gguf"}
    broken = type(version)(**{**vars(version), "files": files})
    with pytest.raises(ArtefactRefused, match=r"adapter\.gguf"):
        load_specialist("terms", section, broken, encoder=engine, models={"small": engine})


def test_what_does_not_fit_the_window_is_told():
    """Fewer sentences are shown until they fit, the likeliest last to go; and it is said."""
    document = TokenizedText("Goods are checked. The seller is elm and company. Fees are due. The law of ohio governs.")
    scores = np.array([[-3.0, -3.0], [4.0, -3.0], [-4.0, -4.0], [-2.0, 4.0]])
    engine = Reader()
    engine.window = 40
    answer = asyncio.run(
        QuotingModel(engine=engine, adapter="terms", quoting=QUOTING).ask(document, scores, Label.INTERNAL, call=SYSTEM)
    )

    assert answer.truncated
    assert engine.asked == ["The seller is elm and company."]
    engine.window = 5
    with pytest.raises(TooLong):
        asyncio.run(
            QuotingModel(engine=engine, adapter="terms", quoting=QUOTING).ask(
                document, scores, Label.INTERNAL, call=SYSTEM
            )
        )


async def test_a_real_model_can_say_nothing_else(tmp_path):
    """SmolLM2 without any tuning: the grammar makes it quote what it is shown, or null, field by field."""
    pytest.importorskip("xllamacpp")
    try:
        path = locate(LlamaModel(engine="llama", name="smollm2"), tmp_path)
    except ModelMissing as missing:
        pytest.skip(str(missing))
    engine = LlamaEngine("smollm2", path, threads=1, parallel=1, window=1024)
    text = 'Made on "May 8, 2014" by Acme\u00a0Inc. and Bolt LLC.\n\nThe laws of C:\\Ohio govern.'
    quoting = Quoting(fields=("date", "governing law"), many=(False, False))
    document = TokenizedText(text)
    try:
        model = QuotingModel(engine=engine, adapter=None, quoting=quoting)
        answer = await model.ask(document, np.zeros((len(document.sentences), 2)), Label.PUBLIC, call=SYSTEM)
    finally:
        await engine.close()

    assert answer.said[0] is not None
    shown = " ".join(text.split())
    for reply in filter(None, answer.said):
        assert reply.logprob < 0
        assert all(quote.text in shown for quote in reply.quotes)
