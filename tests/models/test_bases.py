"""The rung `encoder` on encoders of other architectures than the one that Coterie knows by name."""

import json

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel

from coterie.engines.onnx import OnnxEncoder, OnnxTagger
from coterie.errors import ArtefactRefused, ModelMissing
from coterie.models.pull import pull
from coterie.tuning.base import find_base
from coterie.tuning.export import encoder_files, exact_tags, exact_vectors, tagger_files
from coterie.tuning.finetune import build_network, build_token_network

from .test_tuning import rows, write_base

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 66,
    "vocab_size": 200,
}
MARKS = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3}
ARCHITECTURES = {
    "albert": SIZES | {"embedding_size": 16},  # all layers share their weights
    "bert": SIZES,
    "deberta-v2": SIZES | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 16},
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64} | SIZES,  # no types of tokens
    "electra": SIZES | {"embedding_size": 16},
    "modernbert": SIZES | MARKS,
    "mpnet": SIZES,
    "xlm-roberta": SIZES,
}
TEXTS = [*[row["text"] for row in rows(3)], "card " * 100]


@pytest.fixture
def place(tmp_path):
    """A folder with the very small encoder `tiny`."""
    write_base(tmp_path / "tiny")
    return tmp_path


def write_as(folder, architecture):
    """Put an encoder of this architecture with random weights in the place of a BERT."""
    torch.manual_seed(0)
    AutoModel.from_config(AutoConfig.for_model(architecture, **ARCHITECTURES[architecture])).save_pretrained(folder)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_vectors(place, architecture):
    """What is exported gives the vectors of the network, whatever its inputs and names are."""
    write_as(place / "tiny", architecture)
    base = find_base("tiny", place)
    network = build_network(base)
    encoder = OnnxEncoder(encoder_files(network, base), location="a test")

    exact = exact_vectors(network, base, TEXTS)
    assert (exact * encoder.encode(TEXTS)).sum(axis=1).min() > 0.999
    assert np.unique(exact.round(3), axis=0).shape[0] > 3


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_tags(place, architecture):
    """So do the tags of its tokens."""
    write_as(place / "tiny", architecture)
    base = find_base("tiny", place)
    network = build_token_network(base, 2, kept=0.5)
    tagger = OnnxTagger(tagger_files(network, base), location="a test")

    exact, tags = exact_tags(network, base, TEXTS), tagger.tag(TEXTS)
    assert max(float(np.abs(a.logits - b.logits).max()) for a, b in zip(exact, tags, strict=True)) < 0.1


def test_published_names(place):
    """Weights of a model with a head on top, under the names of the first BERTs, are the same weights."""
    weights = place / "tiny" / "model.safetensors"
    before = exact_vectors(build_network(find_base("tiny", place)), find_base("tiny", place), TEXTS)
    old = {
        "bert." + name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for name, value in load_file(weights).items()
    }
    save_file(old, weights)
    base = find_base("tiny", place)

    assert np.array_equal(exact_vectors(build_network(base), base, TEXTS), before)


def test_pulled(place, tmp_path, monkeypatch):
    """An encoder that was pulled is found by its name without a network, and before that the command is named."""
    monkeypatch.setenv("COTERIE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("it went to the network"))
    with pytest.raises(ModelMissing, match="'someone/tiny'") as missing:
        find_base("someone/tiny", tmp_path)
    assert missing.value.hint.endswith(" coterie models pull someone/tiny")
    pull("someone/tiny", source=str(place / "tiny"))
    base = find_base("someone/tiny", tmp_path)

    assert (base.licence, base.sha256) == ("cc0-1.0", find_base("tiny", place).sha256)
    base.weights.write_bytes(base.weights.read_bytes()[:-1] + b"?")
    with pytest.raises(ArtefactRefused, match="not the pinned"):
        find_base("someone/tiny", tmp_path)


def pool(folder, **modes):
    """Write how it is pooled, as sentence-transformers does."""
    (folder / "tiny" / "1_Pooling").mkdir()
    (folder / "tiny" / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 32} | modes))


def test_pooled_as_it_was_made(place):
    """An encoder that sums a text up in its first token is read there, also when it is exported."""
    mean = exact_vectors(build_network(find_base("tiny", place)), find_base("tiny", place), TEXTS)
    pool(place, pooling_mode_cls_token=True, pooling_mode_mean_tokens=False)
    base = find_base("tiny", place)
    network = build_network(base)
    first = exact_vectors(network, base, TEXTS)

    assert base.pooling == "first"
    assert np.abs(first - mean).max() > 0.1
    assert (OnnxEncoder(encoder_files(network, base), location="a test").encode(TEXTS) * first).sum(
        axis=1
    ).min() > 0.999


def test_pooled_otherwise(place):
    """A way of pooling that is not known is refused, before anything is trained."""
    pool(place, pooling_mode_max_tokens=True, pooling_mode_mean_tokens=True)
    with pytest.raises(ArtefactRefused, match="pooling_mode_max_tokens"):
        find_base("tiny", place)
