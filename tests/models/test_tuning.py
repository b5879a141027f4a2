"""Fine-tuning for real, with torch: a very small encoder of random weights, then the published one."""

from __future__ import annotations

import asyncio
import functools
import json

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra `train`")

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from coterie.assembly import open_network
from coterie.config.specialists import make_section
from coterie.engines.onnx import ENCODER_FILES, OnnxEncoder
from coterie.errors import ArtefactRefused, ConfigError, ExtraMissing, ModelMissing, TrainingDiverged
from coterie.models.catalogue import CATALOGUE, installed
from coterie.registry.registry import Registry
from coterie.tasks.contract import read_dataset
from coterie.training.train import possible_rungs, train, train_rungs
from coterie.tuning.base import Checkpoints, find_base
from coterie.tuning.export import encoder_files, exact_vectors
from coterie.tuning.finetune import Recipe, _loss, build_network, encode_ids, fine_tune, pad
from coterie.tuning.plain_loop import plain_loop
from coterie.types import Request
from tests.models.bases import write_bert

WORDS = {
    "card": ["card", "blocked", "stolen", "pin", "chip", "swipe"],
    "parcel": ["parcel", "delivery", "courier", "tracking", "late", "address"],
    "refund": ["refund", "money", "back", "charged", "twice", "invoice"],
}
FILLER = ["please", "today", "again", "my", "the", "why", "is", "where"]


def rows(per_label: int = 30) -> list[dict[str, str]]:
    """Texts of three labels, three words of their own among filler."""
    random = np.random.default_rng(0)
    return [
        {"text": " ".join([*random.choice(words, 3), *random.choice(FILLER, random.integers(1, 6))]), "label": label}
        for label, words in WORDS.items()
        for _ in range(per_label)
    ]


def write_base(folder) -> None:
    """A BERT of two narrow layers with random weights, in the hub's layout."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *FILLER, *(word for group in WORDS.values() for word in group)]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(dict.fromkeys(words))}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    write_bert(folder, tokenizer, words, layers=2, positions=64)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The very small encoder."""
    folder = tmp_path_factory.mktemp("base")
    write_base(folder / "tiny")
    return find_base("tiny", folder)


@pytest.fixture
def data():
    """Texts and one-hot labels."""
    made = rows()
    labels = list(WORDS)
    return [row["text"] for row in made], np.array([[float(row["label"] == label) for label in labels] for row in made])


def tune(base, data, **more):
    """Fine-tune with a recipe for so small a model."""
    recipe = Recipe(**{"epochs": 6, "batch": 16, "rate": 3e-3, "head_rate": 1e-2} | more)
    return fine_tune(base, *data, several=False, recipe=recipe, seed=0, progress=lambda rows: None).network


def ids_of(base, texts):
    return [encoding.ids for encoding in base.load_tokenizer().encode_batch(texts)]


def test_labels_come_apart(base, data):
    """After fine-tuning, texts are nearer to those of their label than before."""

    def contrast(vectors):
        alike = data[1] @ data[1].T > 0
        cosines = vectors @ vectors.T
        return cosines[alike].mean() - cosines[~alike].mean()

    ids = ids_of(base, data[0])
    assert contrast(encode_ids(tune(base, data), ids)) > contrast(encode_ids(build_network(base), ids)) + 0.3


def test_the_same_seed_gives_the_same_weights(base, data):
    """To the last bit."""
    first, second = (tune(base, data, epochs=1).state_dict() for _ in range(2))

    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_plain_loop_agrees(base, data):
    """Batches, padding and mask change nothing: the trainer's steps are those of the loop anybody can read."""
    texts, hot = data[0][::6], data[1][::6]
    ids, labels = ids_of(base, texts), hot.argmax(axis=1).tolist()
    plain = build_network(base)
    for parameter in plain.transformer.get_input_embeddings().parameters():
        parameter.requires_grad_(False)
    plain_loop(plain, ids, labels, steps=3, rate=1e-3)
    recipe = {"epochs": 3, "batch": len(texts), "rate": 1e-3, "head_rate": 1e-3, "decay": 0.0, "warm_up": 0.0}
    tuned = tune(base, (texts, hot), **recipe)

    assert np.abs(encode_ids(plain, ids) - encode_ids(build_network(base), ids)).max() > 0.01
    assert encode_ids(tuned, ids) == pytest.approx(encode_ids(plain, ids), abs=2e-3)


def test_padding_changes_nothing(base, data):
    """A text's vector is the same alone and beside longer ones."""
    network = build_network(base).eval()
    ids = sorted(ids_of(base, data[0]), key=len)
    with torch.inference_mode():
        alone, beside = network(*pad(ids[:1]))[0], network(*pad([ids[0], ids[-1]]))[0]

    assert beside.numpy() == pytest.approx(alone.numpy(), abs=1e-5)


def test_several_right_labels_share_the_target():
    """Any of a text's labels is right: the loss is lowest when they share the probability."""
    targets = torch.tensor([[1.0, 1.0, 0.0]])
    shared, one = torch.tensor([[5.0, 5.0, 0.0]]), torch.tensor([[10.0, 0.0, 0.0]])

    assert _loss(shared, targets, several=False) < _loss(one, targets, several=False)
    assert _loss(torch.tensor([[9.0, 9.0, -9.0]]), targets, several=True) < 1e-3


def test_the_exported_encoder_agrees(base, data):
    """The int8 graph that is served gives nearly the vectors of the network that was trained."""
    network = tune(base, data)
    encoder = OnnxEncoder(encoder_files(network, base))
    cosines = (encoder.encode(data[0]) * exact_vectors(network, base, data[0])).sum(axis=1)

    assert cosines.min() > 0.97
    assert encoder.dimension == 32


def test_resuming_gives_the_same_weights(base, data, tmp_path):
    """A fine-tuning that was interrupted goes on where it was, and ends where an uninterrupted one does."""
    checkpoints, done = Checkpoints(folder=tmp_path, every=0.0), []

    def progress(rows: int) -> None:
        done.append(rows)
        if sum(done) >= 100:
            raise KeyboardInterrupt

    recipe = Recipe(epochs=3, batch=16, rate=3e-3, head_rate=1e-2)
    tune = functools.partial(fine_tune, base, *data, several=False, recipe=recipe, seed=0)
    with pytest.raises(KeyboardInterrupt):
        tune(progress=progress, checkpoints=checkpoints)
    rows_done = []
    resumed, whole = tune(progress=rows_done.append, checkpoints=checkpoints), tune(progress=lambda rows: None)

    assert rows_done[0] == sum(done)
    assert all(
        torch.equal(value, resumed.network.state_dict()[name]) for name, value in whole.network.state_dict().items()
    )


def test_a_loss_that_is_no_number(base, data):
    """Is an error that says so, before anything is stored."""
    with pytest.raises(TrainingDiverged, match="no finite number"):
        tune(base, data, rate=float("nan"))


# --- A whole network ---------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """A network whose specialist is to be fine-tuned from the very small encoder."""
    write_base(tmp_path / "tiny")
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows(40))))
    (tmp_path / "coterie.toml").write_text(
        '[specialists.topic]\ntask = "classify"\ndescription = "Post."\ndata = "rows.jsonl"\nlicence = "CC0-1.0"\n'
        'rungs = ["encoder"]\nbase = "tiny"\n'
    )
    return tmp_path


@pytest.fixture
def one_epoch(monkeypatch):
    """Where it does not matter how good the encoder becomes."""
    recipe = Recipe(epochs=1, batch=16, rate=1e-3)
    monkeypatch.setattr("coterie.tasks.classify.fit_tuned.recipe_for", lambda _: recipe)


async def test_train_and_ask(folder):
    """The rung is trained, stored with its own encoder, opened and asked; its report says what rounding cost."""
    report = (await asyncio.to_thread(train, folder)).specialists["topic"].report
    version = Registry(folder / "registry").champion("topic")
    row = report["rungs"][-1]

    assert (report["rung"], row["rung"]) == ("encoder", "encoder")
    assert row["base"]["name"] == "tiny"
    assert row["int8"]["mean_cosine"] > 0.97
    assert {f"encoder.{name}" for name in ENCODER_FILES} <= version.files.keys()
    network = await open_network(folder)
    try:
        answer = await network.ask(Request(text="my parcel delivery is late today"))
        (finding,) = answer.trace.findings
        assert finding.value == "parcel"
        assert "encoder of topic" in [step.engine for step in finding.steps]
    finally:
        await network.close()


async def test_a_chain_holds_its_own_encoder(folder):
    """Before a fine-tuned encoder a cheaper rung answers what it is sure of; the encoder is opened with the chain."""
    path = folder / "coterie.toml"
    path.write_text(
        path.read_text().replace('rungs = ["encoder"]', 'chain = ["lexical", "encoder"]\nchain_quality = 0.5')
    )
    report = (await asyncio.to_thread(train, folder)).specialists["topic"].report
    version = Registry(folder / "registry").champion("topic")
    network = await open_network(folder)
    try:
        easy, odd = [
            (await network.ask(Request(text=text, specialist="topic"))).trace.findings[0]
            for text in ("my parcel delivery is late today", "sir today please")
        ]
    finally:
        await network.close()

    assert (report["rung"], report["rungs"][-1]["chain"]) == ("chain", ["lexical", "encoder"])
    assert {f"encoder-encoder.{name}" for name in ENCODER_FILES} <= version.files.keys()
    assert easy.value == "parcel"
    assert [step.engine for step in easy.steps if step.engine != "linear"] == []
    assert "encoder of topic" in [step.engine for step in odd.steps]
    assert [engine.name for engine in network.engines] == ["onnx", "encoder of topic"]


async def test_the_same_data_give_the_same_version(folder, one_epoch):
    """Also through fine-tuning and export."""
    first, second = [(await asyncio.to_thread(train, folder)).specialists["topic"].version for _ in range(2)]

    assert first == second


def test_right_sizing_trains_the_rung_too(folder, one_epoch):
    """`train_rungs`, behind `coterie rightsize`, finds the base itself."""
    section = make_section(task="classify", data="rows.jsonl", rungs=("encoder",), base=str(folder / "tiny"))
    rows = read_dataset(folder / "rows.jsonl", task="classify")
    trained = train_rungs("topic", section, train=rows, held_out=rows, encoder=OnnxEncoder.bundled())

    assert [candidate.rung for candidate in trained.candidates] == ["lexical", "encoder"]
    assert possible_rungs(section, rows) == ("lexical", "embedding", "encoder")


class Impatient:
    """A progress that interrupts fine-tuning."""

    def __init__(self) -> None:
        self.tuning = False

    def start(self, what, total):
        self.tuning = "fine-tune" in what

    def advance(self, by):
        if self.tuning:
            raise KeyboardInterrupt

    def finish(self, note):
        pass


def test_an_interrupted_run_leaves_nothing(folder):
    """Ctrl-C in the middle of fine-tuning leaves no version and no half of one."""
    with pytest.raises(KeyboardInterrupt):
        train(folder, progress=Impatient())

    registry = folder / "registry"
    assert not registry.exists() or Registry(registry).versions("topic") == ()


@pytest.mark.parametrize(
    ("damage", "error", "words"),
    [
        (lambda base: (base / "model.safetensors").unlink(), ModelMissing, "model.safetensors"),
        (lambda base: (base / "model.safetensors").write_bytes(b"no"), ArtefactRefused, "cannot be loaded"),
        (lambda base: (base / "config.json").write_text("[]"), ArtefactRefused, "cannot be read"),
    ],
)
def test_a_damaged_base(folder, damage, error, words):
    """Is said with its name."""
    damage(folder / "tiny")
    with pytest.raises(error, match=words):
        train(folder)
    assert not (folder / "registry").exists()


def test_a_base_without_a_licence(folder):
    """Is refused before anything is trained, unless the section says what its licence is."""
    (folder / "tiny" / "README.md").write_text("# Tiny\n\nlicense: of course\n")
    with pytest.raises(ConfigError, match="'tiny'") as refused:
        train(folder)
    assert "base_licence" in refused.value.hint
    assert not (folder / "registry").exists()

    toml = (folder / "coterie.toml").read_text()
    (folder / "coterie.toml").write_text(toml + 'base_licence = "CC-BY-4.0"\n')
    with pytest.raises(KeyboardInterrupt):  # it trains
        train(folder, progress=Impatient())
    assert find_base("tiny", folder, licence="CC-BY-4.0").licence == "CC-BY-4.0"


def test_the_licence_of_a_base_is_found_in_its_card(folder):
    """A hub's model card says it between two lines of dashes."""
    assert find_base("tiny", folder).licence == "cc0-1.0"


def test_a_base_that_is_not_there_offline(folder, monkeypatch, tmp_path):
    """Is said with the command that fetches it, and nothing is looked up on a network."""
    toml = (folder / "coterie.toml").read_text()
    (folder / "coterie.toml").write_text(toml.replace('base = "tiny"', 'base = "minilm"'))
    monkeypatch.setenv("COTERIE_HOME", str(tmp_path / "no models"))
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("it went to the network"))
    with pytest.raises(ModelMissing, match="minilm") as missing:
        train(folder)

    assert "coterie models pull minilm" in missing.value.hint
    assert not (folder / "registry").exists()


def test_no_finite_loss_leaves_nothing(folder, monkeypatch):
    """A training that diverges stores nothing: the version of before serves on, and no file is left behind."""
    toml = (folder / "coterie.toml").read_text()
    (folder / "coterie.toml").write_text(toml.replace('"encoder"', '"lexical"'))
    before = train(folder, encoder=OnnxEncoder.bundled()).specialists["topic"].version
    stored = sorted((folder / "registry").rglob("*"))
    toml = (folder / "coterie.toml").read_text()
    (folder / "coterie.toml").write_text(toml.replace('"lexical"', '"encoder"'))
    monkeypatch.setattr(
        "coterie.tasks.classify.fit_tuned.recipe_for", lambda _: Recipe(epochs=1, batch=8, rate=float("nan"))
    )
    with pytest.raises(TrainingDiverged, match="nothing was stored"):
        train(folder)

    assert sorted((folder / "registry").rglob("*")) == stored
    assert Registry(folder / "registry").champion("topic").version == before


def test_texts_longer_than_the_base_knows_positions(folder, one_epoch):
    """They are cut to what the base reads, with the end mark kept, and the report counts them."""
    long = rows(40)
    for row in long[5:12]:
        row["text"] += " parcel" * 100
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, long)))
    base = find_base("tiny", folder)
    (ids,) = base.token_ids([long[5]["text"]], longest=1000)
    assert (base.max_tokens, len(ids), ids[-1]) == (64, 64, base.load_tokenizer().encode("a").ids[-1])

    report = train(folder).specialists["topic"].report
    assert [warning for warning in report["warnings"] if "texts of rows.jsonl are longer than the 64 tokens" in warning]


def test_without_torch(folder, monkeypatch):
    """The hint is the command that installs it."""
    monkeypatch.setattr("coterie.tuning.base.find_spec", lambda name: None)
    with pytest.raises(ExtraMissing, match="torch") as error:
        train(folder)
    assert "coterie[train]" in error.value.hint


@pytest.mark.slow
def test_the_published_encoder(tmp_path):
    """all-MiniLM-L6-v2 from its weights: its network gives the vectors of the int8 one that ships with the package."""
    if not {model.name: path for model, path in installed()}["minilm"]:
        pytest.skip("minilm is not here: coterie models pull minilm")
    base = find_base("minilm", tmp_path)
    texts = [row["text"] for row in rows(5)]
    cosines = (exact_vectors(build_network(base), base, texts) * OnnxEncoder.bundled().encode(texts)).sum(axis=1)

    assert base.sha256 == CATALOGUE["minilm"].sha256
    assert cosines.min() > 0.98
