"""LoRA adapters on SmolLM2-135M in this process, for real. Skipped where the model was not pulled."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import numpy as np
import pytest

from coterie.assembly import open_network
from coterie.engines.choices import Scoring, cut_words
from coterie.engines.gguf import read_gguf_header
from coterie.engines.llama import LlamaEngine
from coterie.errors import ArtefactRefused, ConfigError, EngineRejected, ModelMissing, TooLong
from coterie.models.catalogue import checksum_of
from coterie.registry.registry import Registry
from coterie.runtime.codec import to_json
from coterie.specialists.parts import Prompting
from coterie.testing import check_choices, write_random_adapter
from coterie.types import Message, Prompt, Request

pytest.importorskip("xllamacpp")

LABELS = (" card arrival", " card", " exchange rate", " pay or pay later", " top up by card", " why verify identity")
QUESTION = Prompt(text="Text: I am still waiting on my card, where is it?\nLabel:", choices=LABELS)


@pytest.fixture(scope="module")
def adapters(smollm2, tmp_path_factory):
    """Three adapters that each change a lot, in ways of their own."""
    folder = tmp_path_factory.mktemp("adapters")
    return {
        name: write_random_adapter(folder / f"{name}.gguf", smollm2, size=0.06, seed=seed)
        for seed, name in enumerate(("triage", "risk", "reply"))
    }


@pytest.fixture(scope="module")
def engine(smollm2, adapters):
    """The base with its adapters, loaded once: one thread, three slots."""
    engine = LlamaEngine("smollm2", smollm2, adapters=adapters, threads=1, parallel=3, window=256)
    yield engine
    asyncio.run(engine.close())


@pytest.fixture(scope="module")
def alone(engine):
    """The scores of each adapter, and of the bare model, asked one after the other."""

    async def ask(name):
        (output,) = await engine.run([replace(QUESTION, adapter=name)])
        return output.scores

    return {name: asyncio.run(ask(name)) for name in (None, "triage", "risk", "reply")}


def whose(scores, alone):
    """Whose scores these are: those they are closest to, by far.

    Not equal: what is read alone, in a batch or from memory differs in the last digits, which random adapters blow up.
    And the last digits decide whether a choice of about a thousandth is followed to its end or stays at an upper bound,
    14 nats above: so it is the median over the choices that is compared.
    """
    apart = {name: float(np.median(np.abs(scores - theirs))) for name, theirs in alone.items()}
    nearest, second = sorted(apart, key=lambda name: apart[name])[:2]
    assert apart[nearest] < apart[second] / 2, apart
    return nearest


async def test_side_by_side(engine, alone):
    """Requests with different adapters in flight at once each get their own."""
    names = [None, "triage", "risk", "reply"] * 2
    outputs = await engine.run([replace(QUESTION, adapter=name) for name in names])
    for name, output in zip(names, outputs, strict=True):
        assert whose(output.scores, alone) == name


async def test_one_after_the_other(smollm2, adapters, alone):
    """What one adapter remembers of a prompt is not used for another, nor for the bare model."""
    engine = LlamaEngine("smollm2", smollm2, adapters=adapters, threads=1, parallel=1, window=256)
    for name in ("triage", None, "risk", "triage", None):
        (output,) = await engine.run([replace(QUESTION, adapter=name)])
        assert whose(output.scores, alone) == name
    await engine.close()


async def test_generates(engine):
    """Text is generated with the adapter that is asked for, streamed or not."""
    message = (Message(role="user", text="Name three colours."),)
    texts = {}
    for name in (None, "triage", "risk"):
        prompt = Prompt(messages=message, max_tokens=8, adapter=name)
        (output,) = await engine.run([prompt])
        *_, streamed = [event async for event in engine.stream(prompt)]
        assert streamed.text == output.text
        texts[name] = output.text
    assert len(set(texts.values())) == 3


async def test_choices(engine):
    """It scores choices as the contract says, with and without an adapter."""
    for name in (None, "risk"):
        await check_choices(engine, prompt=replace(QUESTION, adapter=name))


async def test_scores_are_likelihoods(engine):
    """A choice's score is the same whether the model finds the way to it or it is the only one."""
    (together,) = await engine.run([replace(QUESTION, adapter="reply")])
    best = int(np.argmax(together.scores))
    (alone,) = await engine.run([replace(QUESTION, adapter="reply", choices=(LABELS[best],))])
    assert together.scores[best] == pytest.approx(alone.scores[0], abs=1.0)
    assert together.usage.tokens_in > 10
    assert together.usage.tokens_out > 0
    assert together.usage.cpu_seconds > 0


def test_tokens_of_choices(engine, smollm2):
    """Plain words are cut as llama.cpp cuts them; other choices it cuts itself, into what makes them up."""
    server = engine._model.load()
    scoring = Scoring(lambda body, take: server.handle_completions({**body, "stream": True}, take), "Label:")
    words = " card arrival", " verify my identity", " contactless", " Refund not showing up", " pay or pay later"
    plain = cut_words(words, read_gguf_header(smollm2))
    assert plain.keys() == set(words)
    for word in words:
        assert scoring.tokens_of(word) == plain[word]
    assert len(scoring.tokens_of(" 3-D Secure\u2122 (2nd)")) > 6


async def test_echoed_choice(engine):
    """A choice whose words the text already has, which prompt lookup guesses, is scored to its end."""
    text = "Text: top up by card please, top up by card now\nLabel: top up by card\nText: top up by card\nLabel:"
    (output,) = await engine.run([Prompt(text=text, choices=(" top up by card please", " exchange rate"))])
    assert np.isfinite(output.scores).all()
    assert output.scores[0] > output.scores[1]


async def test_choices_too_long(engine):
    """A text beyond the window is refused with both numbers."""
    with pytest.raises(TooLong, match=r"has \d{3} tokens; the window of model 'smollm2' is 256"):
        await engine.run([replace(QUESTION, text="word " * 600)])


# --- A network of specialists that share the model -----------------------------------------------


@pytest.fixture
def network(smollm2, adapters, tmp_path):
    """The folder of a network with two classifiers of the rung slm on one model: `network(base="...")`."""

    def make(*, base=None, engine='engine = "llama"\nname = "smollm2"\nwindow = 256\nthreads = 1'):
        folder = tmp_path / "network"
        registry = Registry(folder / "registry")
        sections = [f"[models.small]\n{engine}\n"]
        for name in ("triage", "risk"):
            sections.append(f'[specialists.{name}]\ntask = "classify"\ndata = "x.csv"\nmodel = "small"\n')
            described = {
                "task": "classify",
                "rung": "slm",
                "labels": [label.strip().replace(" ", "_") for label in LABELS],
                "prompt": to_json(Prompting()),
                "base": {"name": "smollm2", "sha256": base or checksum_of(smollm2)},
                "acceptance": {"temperature": 1.0, "threshold": 0.0, "target_risk": 0.5, "scope_threshold": None},
            }
            files = {"model.json": json.dumps(described).encode(), "adapter.gguf": adapters[name].read_bytes()}
            registry.promote(name, registry.add(name, files))
        (folder / "coterie.toml").write_text("\n".join(sections))
        return folder

    return make


async def test_network(network, alone):
    """Champions of the rung slm share one engine, each with its own adapter, verified and loaded from its version."""
    open_ = await open_network(network(), warm=True)
    text = "I am still waiting on my card, where is it?"
    answers = await asyncio.gather(
        *(open_.ask(Request(text=text, specialist=name)) for name in ("triage", "risk", "triage"))
    )
    await open_.close()
    for name, answer in zip(("triage", "risk", "triage"), answers, strict=True):
        (finding,) = answer.trace.findings
        assert finding.accepted
        assert finding.value == LABELS[alone[name].argmax()].strip().replace(" ", "_")
        assert [step.engine for step in finding.steps] == ["small"]


async def test_another_base(network):
    """An adapter that was trained on another file is refused with both checksums."""
    with pytest.raises(ArtefactRefused, match=r"checksum b1; model 'small' is .* with b179c9523") as refusal:
        await open_network(network(base="b1"))
    assert refusal.value.hint.endswith("coterie train triage")


async def test_model_that_is_a_server(network):
    """An adapter needs a model in this process."""
    server = 'engine = "openai"\nbase_url = "http://127.0.0.1:9/v1"\nname = "big"'
    with pytest.raises(ConfigError, match="'triage'"):
        await open_network(network(engine=server))


async def test_unknown_adapter(engine):
    """An adapter it does not hold is refused; llama.cpp itself would answer without."""
    with pytest.raises(EngineRejected, match=r"'nobody'.*'reply'.*'risk'.*'triage'"):
        await engine.run([replace(QUESTION, adapter="nobody")])


async def test_refused(smollm2, adapters, tmp_path):
    """A cut adapter, a model in the place of one, and one that changes no weight of this model are refused."""
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(adapters["risk"].read_bytes()[:-1000])
    renamed = tmp_path / "renamed.gguf"
    renamed.write_bytes(adapters["risk"].read_bytes().replace(b"blk.29.", b"blk.39."))
    for file, problem in (
        (cut, "not a complete GGUF"),
        (smollm2, "not a LoRA adapter"),
        (renamed, "no weight of the base"),
    ):
        engine = LlamaEngine("smollm2", smollm2, adapters={"risk": file}, threads=1)
        with pytest.raises(ArtefactRefused, match=problem):
            await engine.load()
        await engine.close()


def test_missing(smollm2, tmp_path):
    """An adapter that is not there is told before anything is loaded."""
    with pytest.raises(ModelMissing, match=r"Adapter 'risk' of model 'smollm2' .* no file"):
        LlamaEngine("smollm2", smollm2, adapters={"risk": tmp_path / "none.gguf"})
