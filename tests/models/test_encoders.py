"""Encoders that are built: 4-bit weights read, a vocabulary cut to languages, an int8 graph with prefix and states."""

import json
import struct

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from safetensors.numpy import save
from transformers import AutoConfig, AutoModel

from coterie.engines.onnx import PROVENANCE_FILE, encoder_folder, open_encoder
from coterie.errors import ArtefactRefused, InputError, ModelMissing
from coterie.models.catalogue import CATALOGUE
from coterie.tuning import encoders
from coterie.tuning.encoders import build_encoder, corrected, cut_vocabulary, read_correction, read_packed
from coterie.tuning.finetune import SentenceNetwork

HIDDEN, LAYERS, INNER = 32, 2, 64
WORDS = ["\u2581die", "\u2581Katze", "\u2581schl\u00e4ft", "\u2581the", "\u2581cat", "\u2581sleeps", "\u2581query", ":"]
LETTERS = [*"abcdefghijklmnopqrstuvwxyz\u00e4\u00f6\u00fc\u00df", "\u2581", "\u2581\u043c\u0438\u0440", "\u732b"]
PIECES = ["<s>", "<pad>", "</s>", "<unk>", *WORDS, *LETTERS]
TEXTS = ["die Katze schl\u00e4ft", "the cat sleeps", "cat"]


def packed(path):
    """Write a very small encoder in the form of the package's file."""
    chance = np.random.default_rng(0)
    shapes = {"emb.word": (len(PIECES), HIDDEN), "emb.pos": (64, HIDDEN), "emb.type": (1, HIDDEN)}
    rows = {"emb.ln.w": np.ones(HIDDEN), "emb.ln.b": np.zeros(HIDDEN)}
    for i in range(LAYERS):
        shapes |= {f"l{i}.{name}.w": (HIDDEN, HIDDEN) for name in ("q", "k", "v", "ao")}
        shapes |= {f"l{i}.fi.w": (INNER, HIDDEN), f"l{i}.fo.w": (HIDDEN, INNER)}
        rows |= {f"l{i}.{name}.b": np.zeros(HIDDEN) for name in ("q", "k", "v", "ao", "fo", "aln", "oln")}
        rows |= {f"l{i}.{name}.w": np.ones(HIDDEN) for name in ("aln", "oln")} | {f"l{i}.fi.b": np.zeros(INNER)}
    data, entries = b"", []
    for name, shape in shapes.items():
        blocks = np.prod(shape) // 32
        scales = chance.uniform(0.02, 0.1, blocks).astype("<f2")
        nibbles = chance.integers(0, 256, (blocks, 16), dtype=np.uint8)
        raw = b"".join(scale.tobytes() + nibble.tobytes() for scale, nibble in zip(scales, nibbles, strict=True))
        entries.append((name, int(np.prod(shape)), len(data), len(raw)))
        data += raw
    for name, values in rows.items():
        raw = values.astype("<f4").tobytes()
        entries.append((name, len(values), len(data), len(raw)))
        data += raw
    blob = "".join(PIECES).encode()
    ends = np.cumsum([0, *(len(piece.encode()) for piece in PIECES)]).astype("<u4")
    head = b"E5S1" + struct.pack("<i7i", 1, HIDDEN, LAYERS, 4, INNER, len(PIECES), 64, 1)
    head += struct.pack("<fi", 1e-12, 32)
    head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, len(blob)) + ends.tobytes()
    head += np.linspace(-1, -8, len(PIECES)).astype("<f4").tobytes() + blob + struct.pack("<iI", 0, 0)

    def directory(start):
        content = struct.pack("<i", len(entries))
        for name, count, offset, size in entries:
            content += (
                struct.pack("<H", len(name)) + name.encode() + struct.pack("<BIQQ", 0, count, start + offset, size)
            )
        return content

    start = len(head) + len(directory(0))
    path.write_bytes(head + directory(start) + data)


@pytest.fixture
def known(tmp_path, monkeypatch):
    """The encoder that Coterie knows by name is the small one here."""
    monkeypatch.setenv("COTERIE_HOME", str(tmp_path / "home"))
    path = tmp_path / "e5-small-q4.bin"
    packed(path)
    monkeypatch.setattr(encoders, "fetch", lambda model, source, progress: path)
    return CATALOGUE["multilingual-e5-small"]


def exact(path, text, prefix=()):
    """The vector of the network itself."""
    packed_file = read_packed(path)
    settings = dict(packed_file.config)
    network = AutoModel.from_config(
        AutoConfig.for_model(settings.pop("model_type"), **settings), attn_implementation="eager"
    )
    network.load_state_dict(
        {key: torch.from_numpy(weight) for key, weight in packed_file.weights.items()}, strict=False
    )
    network.pooler = None
    ids = [0, *prefix, *(PIECES.index(f"\u2581{word}") for word in text.split()), 2]
    with torch.no_grad():
        tokens = torch.tensor([ids])
        return SentenceNetwork(network.eval())(tokens, torch.ones_like(tokens), torch.zeros_like(tokens))[0].numpy()


def test_built(known, tmp_path):
    """It is opened by name, has the vectors of the weights behind its prefix, and says what it is."""
    folder = build_encoder(known.name, ["de", "en"])
    assert encoder_folder(known.name, tmp_path) == folder
    encoder = open_encoder(known.name, tmp_path)

    assert encoder.languages == {"de", "en"}
    assert encoder.about["name"] == known.name
    prefix = [PIECES.index("\u2581query"), PIECES.index(":")]
    for text, vector in zip(TEXTS, encoder.encode(TEXTS), strict=True):
        assert exact(tmp_path / "e5-small-q4.bin", text, prefix) @ vector > 0.99
    assert encoder.vocabulary == len(PIECES) - 2  # nothing of scripts that these languages are not written in
    states = []
    encoder.encode_tokens(TEXTS[:1], lambda encoded: states.append(encoded.states.copy()))
    assert states[0].shape == (3, HIDDEN)  # neither marks nor prefix are the text's


def test_fewer_pieces(known):
    """A word whose piece is cut is spelt by others; single letters stay."""
    tokenizer = read_packed(encoders.fetch(known, None, None)).tokenizer
    cut = cut_vocabulary(tokenizer, ["de"], pieces=len(PIECES) - 5)
    kept = [piece for piece, _ in cut.tokenizer["model"]["vocab"]]
    assert {"<s>", "<pad>", "</s>", "<unk>", *"abc\u00e4"} <= set(kept)
    lost = set(PIECES) - set(kept)
    assert {"\u2581\u043c\u0438\u0440", "\u732b"} < lost  # of scripts that German is not written in
    assert lost <= {"\u2581\u043c\u0438\u0440", "\u732b", "\u2581the", "\u2581cat", "\u2581sleeps", "\u2581query"}
    assert not lost & {"\u2581die", "\u2581Katze", "\u2581schl\u00e4ft"}
    assert [PIECES[old] for old in cut.ids] == kept


def test_other_tokenizers_are_not_cut():
    """Only a unigram vocabulary can lose pieces."""
    with pytest.raises(ArtefactRefused) as refused:
        cut_vocabulary({"model": {"type": "BPE"}}, ["de"])
    assert "--languages all" in (refused.value.hint or "")


@pytest.mark.parametrize("languages", [[], ["klingon"], ["de", "xx"]])
def test_languages_that_nobody_knows(known, languages):
    """They are refused before anything is fetched."""
    with pytest.raises(InputError):
        build_encoder(known.name, languages)


def test_file_of_another_form(tmp_path):
    """Bytes that are no such file are refused."""
    (tmp_path / "x.bin").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(ArtefactRefused):
        read_packed(tmp_path / "x.bin")


def test_revision_that_is_not_here(known, tmp_path):
    """A revision that is asked for is the one that is here, or it is not here."""
    folder = tmp_path / "home" / "models" / "encoders" / "someone" / "tiny"
    folder.mkdir(parents=True)
    (folder / PROVENANCE_FILE).write_text(json.dumps({"revision": "abc123"}))
    assert encoder_folder("someone/tiny@abc", tmp_path) == folder
    with pytest.raises(ModelMissing) as missing:
        encoder_folder("someone/tiny@def", tmp_path)
    assert "coterie models pull someone/tiny@def" in (missing.value.hint or "")


def written_correction(folder, monkeypatch, sha256):
    """A correction of the small encoder's first query matrix."""
    chance = np.random.default_rng(1)
    a, b = chance.normal(size=(2, HIDDEN)), chance.normal(size=(HIDDEN, 2))
    name = "encoder.layer.0.attention.self.query"
    arrays = {f"{name}.lora_a": a.astype(np.float16), f"{name}.lora_b": b.astype(np.float16)}
    folder.mkdir()
    (folder / "multilingual-e5-small.safetensors").write_bytes(
        save(arrays, metadata={"base_sha256": sha256, "scale": "0.5"})
    )
    monkeypatch.setattr(encoders, "FOLDER", folder)
    monkeypatch.setattr(encoders, "read_correction", lambda *given: read_correction(*given, folder=folder))
    return f"{name}.weight", 0.5 * b @ a


def test_an_encoder_with_its_correction(known, tmp_path, monkeypatch):
    """`NAME+options` is built beside `NAME`, with the product of the matrices added, and reads texts otherwise."""
    name, change = written_correction(tmp_path / "options", monkeypatch, known.sha256)
    build_encoder(known.name, ["all"])
    folder = build_encoder(f"{known.name}+options", ["all"])

    plain, tuned = (open_encoder(encoder_name, tmp_path) for encoder_name in (known.name, f"{known.name}+options"))
    assert folder != encoder_folder(known.name, tmp_path)
    assert tuned.dimension == plain.dimension
    assert not np.allclose(plain.encode(TEXTS), tuned.encode(TEXTS), atol=1e-3)
    weights = {name: torch.zeros(HIDDEN, HIDDEN), "other": torch.ones(1)}
    pairs = read_correction(known.name, known.sha256, folder=tmp_path / "options")
    made = corrected(weights, pairs)
    assert made[name].numpy() == pytest.approx(change, abs=2e-2)
    assert made["other"] is weights["other"]


def test_corrections_that_do_not_fit(known, tmp_path, monkeypatch):
    """A correction of other weights or shapes is refused, and so are encoders that none is for."""
    name, _ = written_correction(tmp_path / "options", monkeypatch, "0" * 64)
    with pytest.raises(ArtefactRefused, match="belongs to weights 0000"):
        build_encoder(f"{known.name}+options", ["all"])
    pairs = read_correction(known.name, "0" * 64, folder=tmp_path / "options")
    with pytest.raises(ArtefactRefused, match="the encoder has not"):
        corrected({name: torch.zeros(HIDDEN, 4)}, pairs)
    with pytest.raises(InputError, match="No correction of 'a/b'"):
        read_correction("a/b", "", folder=tmp_path / "options")
    for wrong in ("minilm", f"{known.name}+other", f"{known.name}+options+options"):
        with pytest.raises((InputError, ModelMissing)):
            build_encoder(wrong, ["all"])
