"""Tagging tokens for real, with torch: a very small encoder of random weights, short contracts, a whole network."""

from __future__ import annotations

import asyncio
import functools
import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra `train`")

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from coterie.assembly import open_network
from coterie.config.file import load_config
from coterie.engines.onnx import ENCODER_FILES, OnnxEncoder, OnnxTagger, windows
from coterie.errors import ArtefactRefused, TrainingDiverged
from coterie.registry.registry import Registry
from coterie.tasks.extract.tagging import ReadTags, TextRange
from coterie.tasks.versions import load_specialist
from coterie.training.train import train
from coterie.tuning.base import Checkpoints, find_base
from coterie.tuning.export import exact_tags, tagger_files
from coterie.tuning.finetune import (
    TaggedTokens,
    TagRecipe,
    _tag_optimizer,
    build_token_network,
    fine_tune_tags,
    start_at_frequencies,
    tag_loss,
    token_logits,
)
from coterie.tuning.plain_loop import plain_tagging
from coterie.types import Prompt, Request
from tests.models.bases import write_bert

NAMES = ["alder", "birch", "cedar", "elm", "fir", "hazel", "ivy", "larch"]
STATES = ["ohio", "texas", "utah", "iowa"]
FILLER = ["notices are in writing.", "fees are due on the day.", "books are kept in good order.", "goods are checked."]


def contract(number: int) -> dict:
    """A few sentences that name a seller and, mostly, a law."""
    random = np.random.default_rng(number)
    name, state = random.choice(NAMES), random.choice(STATES)
    law = f"The law of {state} governs." if random.random() < 0.7 else ""
    seller = f"The seller is {name} and company."
    parts = [*random.choice(FILLER, 2), seller, *random.choice(FILLER, 2), law, random.choice(FILLER)]
    text = " ".join(part[0].upper() + part[1:] for part in parts if part)
    fields = {"seller": f"{name} and company", "law": {"text": law, "value": state} if law else None}
    return {"text": text, "fields": fields, "contract": f"c{number}"}


def write_base(folder) -> None:
    """A BERT of three narrow layers with random weights over the words of the contracts, in the hub's layout."""
    contract_words = " ".join(contract(number)["text"].lower() for number in range(80)).replace(".", " . ").split()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *dict.fromkeys([*contract_words, *NAMES, *STATES])]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    write_bert(folder, tokenizer, words, layers=3, positions=40)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The very small encoder."""
    folder = tmp_path_factory.mktemp("base")
    write_base(folder / "tiny")
    return find_base("tiny", folder)


@pytest.fixture(scope="module")
def tagged(base):
    """Sentences as token ids, tagged where a name and what follows stand; a second field that is never stated."""
    tokenizer = base.load_tokenizer()
    made = []
    for number in range(24):
        name = NAMES[number % len(NAMES)]
        ids = tokenizer.encode(f"the seller is {name} and company." + " goods are checked." * (number % 3)).ids
        tags = np.zeros((len(ids) - 2, 2), dtype=np.int64)
        tags[3:6, 0] = [1, 2, 2]
        made.append(TaggedTokens(ids, list(range(1, len(ids) - 1)), tags))
    return made


def tune(base, tagged, **more):
    """Fine-tune with a recipe for so small a model."""
    recipe = TagRecipe(**{"epochs": 20, "batch": 8, "rate": 3e-3, "head_rate": 1e-2} | more)
    return fine_tune_tags(base, tagged, fields=2, recipe=recipe, seed=0, progress=lambda rows: None)


def test_tags_are_learnt(base, tagged):
    """After fine-tuning every word has its tag, of both fields."""
    network = tune(base, tagged)
    for window, logits in zip(tagged, token_logits(network, [window.ids for window in tagged]), strict=True):
        predicted = logits[list(window.places)].reshape(len(window.places), 2, 3).argmax(axis=2)
        assert (predicted == window.tags).all()


def test_the_lower_layers_stay(base, tagged):
    """What is below the upper layers keeps its published weights, and the uppermost are not there."""
    before, after = build_token_network(base, 2, kept=2 / 3), tune(base, tagged, epochs=1)
    changed = {
        name
        for (name, one), other in zip(
            before.transformer.named_parameters(), after.transformer.parameters(), strict=True
        )
        if not torch.equal(one, other)
    }

    assert changed
    assert all(name.startswith("encoder.layer.1.") for name in changed)


def test_the_same_seed_gives_the_same_weights(base, tagged):
    """To the last bit."""
    first, second = (tune(base, tagged, epochs=1).state_dict() for _ in range(2))

    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_plain_loop_agrees(base, tagged):
    """Batches, padding and mask change nothing: the trainer's step is that of the loop anybody can read."""
    recipe = {"epochs": 1, "batch": len(tagged), "rate": 1e-3, "head_rate": 1e-3, "decay": 0.0, "warm_up": 0.0}
    torch.manual_seed(0)
    plain = build_token_network(base, 2, kept=2 / 3)
    start_at_frequencies(plain, tagged)
    untuned = token_logits(plain, [tagged[2].ids])[0]
    trained = [
        parameter
        for group in _tag_optimizer(plain, TagRecipe(epochs=1, batch=1)).param_groups
        for parameter in group["params"]
    ]
    plain_tagging(plain, tagged, trained, rate=1e-3)
    tuned = tune(base, tagged, **recipe)
    tuned_logits, expected = (token_logits(network, [tagged[2].ids])[0] for network in (tuned, plain))

    assert np.abs(expected - untuned).max() > 0.01
    assert tuned_logits == pytest.approx(expected, abs=2e-3)


def test_padding_changes_nothing(base, tagged):
    """The loss of a window is the same alone and beside longer ones."""
    network = build_token_network(base, 2, kept=1.0).eval()
    with torch.inference_mode():
        alone = [float(tag_loss(network, [window])) for window in tagged[:3]]
        together = float(tag_loss(network, tagged[:3]))
    words = [len(window.places) for window in tagged[:3]]

    assert together == pytest.approx(np.average(alone, weights=words), abs=1e-5)


def test_the_exported_tagger_agrees(base, tagged):
    """The int8 graph that is served tags the words of real sentences as the trained network does."""
    network = tune(base, tagged)
    tagger = OnnxTagger(tagger_files(network, base))
    texts = [contract(number)["text"] for number in range(30)]
    pairs = zip(tagger.tag(texts), exact_tags(network, base, texts), strict=True)
    alike = []
    for served, exact in pairs:
        assert (served.offsets == exact.offsets).all()
        alike += [
            one.reshape(-1, 2, 3).argmax(2) == two.reshape(-1, 2, 3).argmax(2) for one, two in [(served[1], exact[1])]
        ]

    assert np.concatenate(alike).mean() > 0.99
    assert tagger.size == 6


def test_a_long_text_is_read_window_after_window(base, tagged):
    """Nothing is cut: every token has logits and its place, also where the text has more than the base's positions."""
    tagger = OnnxTagger(tagger_files(tune(base, tagged, epochs=1), base))
    text = "goods are checked. " * 40 + "the seller is elm and company."
    (tags,) = tagger.tag([text])
    (output,) = asyncio.run(tagger.run([Prompt(text=text)]))

    assert len(tags.offsets) == len(tags.logits) == 40 * 4 + 7
    assert [text[start:end] for start, end in tags.offsets[-7:]] == [
        "the",
        "seller",
        "is",
        "elm",
        "and",
        "company",
        ".",
    ]
    assert output.finish == "stop"
    assert np.array_equal(output.scores, tags.logits)
    assert tagger.tag([""])[0].logits.shape == (0, 6)


def test_windows():
    """All tokens in order, none more than the window holds, each with the text's marks."""
    for n in (0, 1, 8, 9, 50):
        cut = windows([-1, *range(n), -2], 10)
        assert [position for window in cut for position in window[1:-1]] == list(range(n))
        assert all(len(window) <= 10 and (window[0], window[-1]) == (-1, -2) for window in cut)


def test_tokens_are_found_by_the_character_at_which_a_word_begins():
    """Sub-words of a word count by the first; places of a passage count from its beginning."""
    offsets = np.array([[0, 3], [4, 6], [6, 9]])
    logits = np.array([[3.0, 1.0, 0.0], [0.0, 2.0, 1.0], [9.0, 9.0, 9.0]])
    read = ReadTags.of([TextRange(100, 109)], [offsets], [logits], 1)

    assert read.of_words([TextRange(100, 103), TextRange(104, 109)], 0).tolist() == [[-2.0, -3.0], [2.0, 1.0]]
    assert ReadTags.of([], [], [], 1).of_words([TextRange(0, 1)], 0).shape == (1, 2)


def test_resuming_gives_the_same_weights(base, tagged, tmp_path):
    """A fine-tuning that was interrupted goes on where it was, and ends where an uninterrupted one does."""
    checkpoints, done = Checkpoints(folder=tmp_path, every=0.0), []

    def progress(rows: int) -> None:
        done.append(rows)
        if sum(done) >= 40:
            raise KeyboardInterrupt

    recipe = TagRecipe(epochs=3, batch=8)
    tune = functools.partial(fine_tune_tags, base, tagged, fields=2, recipe=recipe, seed=0)
    with pytest.raises(KeyboardInterrupt):
        tune(progress=progress, checkpoints=checkpoints)
    rows_done: list[int] = []
    resumed, whole = tune(progress=rows_done.append, checkpoints=checkpoints), tune(progress=lambda rows: None)

    assert rows_done[0] == sum(done)
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in whole.state_dict().items())


# --- A whole network ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A network whose extractor is fine-tuned from the very small encoder."""
    folder = tmp_path_factory.mktemp("network")
    write_base(folder / "tiny")
    for name, numbers in (("rows", range(60)), ("test", range(60, 80))):
        (folder / f"{name}.jsonl").write_text("\n".join(json.dumps(contract(number)) for number in numbers))
    (folder / "coterie.toml").write_text(
        '[specialists.terms]\ntask = "extract"\ndescription = "Terms."\ndata = "rows.jsonl"\ntest = "test.jsonl"\n'
        'licence = "CC0-1.0"\nrungs = ["encoder"]\nbase = "tiny"\ngroup_column = "contract"\ntarget_risk = 0.2\n'
        'fields = { seller = "text", law = "choice" }\n'
    )
    train(folder)
    return folder


@pytest.mark.slow
async def test_train_and_ask(folder):
    """The rung is trained, stored with its own encoder, opened and asked; its report says what rounding cost."""
    version = Registry(folder / "registry").champion("terms")
    row = version.report["rungs"][-1]

    assert (version.report["rung"], row["rung"], row["base"]["name"]) == ("encoder", "encoder", "tiny")
    assert row["held_out"]["token_f1"] > 0.9
    assert row["int8"]["tags_alike"] > 0.98
    assert abs(row["int8"]["tag_f1_fp32"] - row["int8"]["tag_f1_int8"]) < 0.05
    assert {f"encoder.{name}" for name in ENCODER_FILES} <= version.files.keys()
    network = await open_network(folder)
    try:
        text = contract(90)["text"]
        (finding,) = (await network.ask(Request(text=text, specialist="terms"))).trace.findings
    finally:
        await network.close()
    assert [field.text for field in finding.fields if field.name == "seller"] == [contract(90)["fields"]["seller"]]
    assert all(text[field.start : field.end] == field.text for field in finding.fields if field.stated)
    assert "encoder of terms" in [step.engine for step in finding.steps]


@pytest.mark.slow
def test_a_version_without_its_encoder_is_refused(folder):
    """When it is loaded, not when it is asked."""
    version, section = Registry(folder / "registry").champion("terms"), load_config(folder).specialists["terms"]
    files = {name: content for name, content in version.files.items() if name != "encoder.model.onnx"}
    with pytest.raises(ArtefactRefused, match="cannot be read"):
        load_specialist("terms", section, replace(version, files=files), encoder=OnnxEncoder.bundled(), models={})


@pytest.mark.slow
def test_no_finite_loss_leaves_nothing(folder, monkeypatch):
    """A training that diverges stores nothing: the version of before serves on, and no file is left behind."""
    stored = sorted((folder / "registry").rglob("*"))
    broken = TagRecipe(epochs=1, batch=8, rate=float("nan"))
    monkeypatch.setattr("coterie.tasks.extract.fit_tuned.tag_recipe_for", lambda _: broken)
    with pytest.raises(TrainingDiverged, match="nothing was stored"):
        train(folder)

    assert sorted((folder / "registry").rglob("*")) == stored
