"""The reading model: how likely a sentence answers a question, in some twenty languages.

A multilingual encoder (the trunk) reads the question and each sentence by itself, and a small head looks at the tokens
of both. So what the trunk makes of a sentence is kept: a document that is asked about again costs the head only. The
files lie in `reader/` and are checked against `provenance.json` when they are loaded.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors.numpy import load as load_arrays

from coterie.engines.onnx import ENCODER_FILES, PROVENANCE_FILE, OnnxModel, group_rows
from coterie.errors import ArtefactRefused
from coterie.runtime.codec import parse_json

BUNDLED_READER = Path(__file__).parent / "reader"
HEAD_FILE = "head.safetensors"
READER_FILES = (*ENCODER_FILES, HEAD_FILE)
"""What a reading model is made of."""

_QUESTION, _SENTENCE = "query: ", "passage: "
"""How the trunk is told which of the two it reads."""
_MOST_QUESTION, _MOST_SENTENCE = 40, 72
"""Tokens of a question and of a sentence that are read."""
_TOGETHER = 32
"""Sentences of one native call."""
_KEPT = 64 * 2**20
"""Bytes of states that are kept: some 2,500 sentences."""
_HEADS = 4
_USUAL = 0.85
"""Cosine of two texts that have nothing to do with each other, about: this encoder's are high."""

Floats = np.ndarray


class ReadingModel:
    """Trunk and head, loaded and checked. Blocking; safe to call from several threads.

    Args:
        files: Content of `READER_FILES` by name.
        place: Where the files come from, for errors.
        graph: The file that holds the graph, if one does.

    Raises:
        ArtefactRefused: a file is missing or not what the provenance says.
    """

    def __init__(self, files: Mapping[str, bytes], *, place: str = "these files", graph: Path | None = None) -> None:
        self._trunk = OnnxModel(files, place, graph)
        content = files.get(HEAD_FILE, b"")
        found = hashlib.sha256(content).hexdigest()
        try:
            named = parse_json(files[PROVENANCE_FILE])["sha256"][HEAD_FILE]
            if found != named:
                raise ValueError(f"its checksum is {found}, {PROVENANCE_FILE} says {named}")  # noqa: TRY301 - refused below
            self._head = ReadingHead({name: each.astype(np.float32) for name, each in load_arrays(content).items()})
        except (ValueError, KeyError, TypeError) as error:
            raise _refused(place, HEAD_FILE, str(error)) from error
        self.sha256 = hashlib.sha256((self._trunk.sha256 + found).encode()).hexdigest()
        self._known: OrderedDict[str, Floats] = OrderedDict()
        self._size, self._lock = 0, threading.Lock()

    @classmethod
    def read(cls, folder: Path) -> ReadingModel:
        """The model of a folder. Raises `ArtefactRefused`."""
        files = {}
        for name in READER_FILES:
            try:
                files[name] = (folder / name).read_bytes()
            except OSError as error:
                raise _refused(str(folder), name, str(error)) from error
        return cls(files, place=str(folder), graph=folder / ENCODER_FILES[0])

    @property
    def about(self) -> Mapping[str, str]:
        """What a report says of it: `name`, `source`, `sha256`, `licence`."""
        return {**self._trunk.origin, "sha256": self.sha256}

    def score(self, question: str, sentences: Sequence[str]) -> tuple[Floats, Floats]:  # (S,), (S,)
        """Log-odds that each sentence answers the question, and its cosine to it by the trunk alone."""
        if not sentences:
            return np.empty(0), np.empty(0)
        asked = self._cut(_QUESTION + question, _MOST_QUESTION)
        of_question = self._trunk.call([asked], "states")[0]
        states = self.states(sentences)
        scores, alike = np.empty(len(sentences)), np.empty(len(sentences))
        for rows in group_rows([len(each) for each in states], _TOGETHER):
            scores[rows], alike[rows] = self._head.score(of_question, [states[row] for row in rows])
        return scores, alike

    def states(self, sentences: Sequence[str]) -> list[Floats]:  # each (T, D)
        """The states of each sentence's tokens, those that are not known in native calls by length."""
        with self._lock:
            found = {text: self._known[text] for text in dict.fromkeys(sentences) if text in self._known}
            for text in found:
                self._known.move_to_end(text)
        new = [text for text in dict.fromkeys(sentences) if text not in found]
        cut = [self._cut(_SENTENCE + text, _MOST_SENTENCE) for text in new]
        for rows in group_rows([len(ids) for ids in cut], _TOGETHER):
            for row, states in zip(rows, self._trunk.call([cut[row] for row in rows], "states"), strict=True):
                found[new[row]] = states[: len(cut[row])].astype(np.float16)
        with self._lock:
            for text in new:
                if text not in self._known:
                    self._known[text] = found[text]
                    self._size += found[text].nbytes
            while self._size > _KEPT:
                self._size -= self._known.popitem(last=False)[1].nbytes
        return [found[text].astype(np.float32) for text in sentences]

    def _cut(self, text: str, most: int) -> list[int]:
        ids = self._trunk.cut(text).ids
        return ids if len(ids) <= most else [*ids[: most - 1], ids[-1]]


def has_reader() -> bool:
    """Whether this installation has the reading model's files: a wheel has, a checkout without large files has not."""
    return all((BUNDLED_READER / name).is_file() for name in READER_FILES)


@cache
def bundled_reader() -> ReadingModel:
    """The reading model that ships with the package, loaded once. Raises `ArtefactRefused`."""
    return ReadingModel.read(BUNDLED_READER)


class _Layer(NamedTuple):
    """The arrays of one layer of the head."""

    qkv: tuple[Floats, Floats]
    out: tuple[Floats, Floats]
    norm: tuple[Floats, Floats]
    up: tuple[Floats, Floats]
    down: tuple[Floats, Floats]
    last: tuple[Floats, Floats]


class ReadingHead:
    """Two layers over the tokens of a question and of a sentence, and a line over how alike they are.

    Args:
        arrays: Its weights by the names of `scripts/reading/network.py`.

    Raises:
        KeyError: one is missing.
        ValueError: one is not finite.
    """

    def __init__(self, arrays: Mapping[str, Floats]) -> None:
        broken = [name for name, each in arrays.items() if not np.isfinite(each).all()]
        if broken:
            raise ValueError(f"{broken[0]!r} is not finite")

        def pair(name: str) -> tuple[Floats, Floats]:
            return arrays[f"{name}.weight"], arrays[f"{name}.bias"]

        self._narrow, self._enter = pair("narrow"), pair("enter")
        self._sides = arrays["sides.weight"]
        count = len({name.split(".")[1] for name in arrays if name.startswith("layers.")})
        self._layers = [_Layer(*(pair(f"layers.{at}.{name}") for name in _Layer._fields)) for at in range(count)]
        self._answer, self._last = pair("answer.0"), pair("answer.2")
        self._signs = pair("signs")

    def score(self, question: Floats, sentences: Sequence[Floats]) -> tuple[Floats, Floats]:  # (S,), (S,)
        """Log-odds that each sentence answers, and its cosine, from the states of tokens (Q, D) and (T, D) each."""
        count, width = len(sentences), max(len(each) for each in sentences)
        said = np.zeros((count, width, question.shape[1]), dtype=np.float32)
        real = np.zeros((count, width), dtype=np.float32)
        for row, each in enumerate(sentences):
            said[row, : len(each)] = each
            real[row, : len(each)] = 1.0
        lengths = real.sum(axis=1, keepdims=True)
        alike = _unit(said) @ _unit(question).T  # (S, T, Q)
        of_said = alike.max(axis=2)
        of_question = np.where(real[..., None] > 0, alike, -1.0).max(axis=1)
        matched = of_question.mean(axis=1, keepdims=True)
        cosine = _unit(said.sum(axis=1)) @ _unit(question.sum(axis=0))
        signs = np.column_stack([(cosine - _USUAL) * 20, (matched[:, 0] - _USUAL) * 20, np.log(lengths[:, 0]) - 3.0])
        usual = (of_said * real).sum(axis=1, keepdims=True) / lengths
        first = np.stack([(of_question - _USUAL) * 5, (of_question - matched) * 5], axis=-1)
        second = np.stack([(of_said - _USUAL) * 5, (of_said - usual) * 5], axis=-1)
        weight, bias = self._narrow
        inner = question.shape[1]
        a = (question @ weight[:, :inner].T)[None] + first @ weight[:, inner:].T + bias
        b = said @ weight[:, :inner].T + second @ weight[:, inner:].T + bias
        x = np.concatenate([_norm(a, *self._enter) + self._sides[0], _norm(b, *self._enter) + self._sides[1]], axis=1)
        mask = np.concatenate([np.ones((count, len(question)), dtype=np.float32), real], axis=1)
        for layer in self._layers:
            x = _step(layer, x, mask)
        own, asked = x[:, len(question) :], x[:, : len(question)].mean(axis=1)
        best = (own + (real[..., None] - 1.0) * 1e4).max(axis=1)
        mean = (own * real[..., None]).sum(axis=1) / lengths
        judged = _line(_gelu(_line(np.concatenate([asked, mean, best], axis=1), *self._answer)), *self._last)
        return np.asarray((judged + _line(signs, *self._signs))[:, 0], dtype=np.float64), np.asarray(cosine)


def _step(layer: _Layer, x: Floats, mask: Floats) -> Floats:
    """States (S, N, W) of the next layer."""
    count, tokens, width = x.shape
    three = _line(x, *layer.qkv).reshape(count, tokens, 3, _HEADS, width // _HEADS).transpose(2, 0, 3, 1, 4)
    scores = three[0] @ three[1].transpose(0, 1, 3, 2) * (width / _HEADS) ** -0.5
    scores += (mask[:, None, None, :] - 1.0) * 1e4
    scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
    seen = (scores / scores.sum(axis=-1, keepdims=True)) @ three[2]
    x = _norm(x + _line(seen.transpose(0, 2, 1, 3).reshape(count, tokens, width), *layer.out), *layer.norm)
    return _norm(x + _line(_gelu(_line(x, *layer.up)), *layer.down), *layer.last)


def _line(x: Floats, weight: Floats, bias: Floats) -> Floats:
    return np.asarray(x @ weight.T + bias)


def _gelu(x: Floats) -> Floats:
    """Return x times the normal distribution's share below x, by Abramowitz and Stegun 7.1.26 (to 1.5e-7)."""
    size = np.abs(x) * np.float32(0.7071067811865476)
    t = 1.0 / (1.0 + np.float32(0.3275911) * size)
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return np.asarray(x * 0.5 * (1.0 + np.sign(x) * (1.0 - series * np.exp(-size * size))), dtype=x.dtype)


def _norm(x: Floats, weight: Floats, bias: Floats) -> Floats:
    centred = x - x.mean(axis=-1, keepdims=True)
    spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12)
    return np.asarray(centred / spread * weight + bias)


def _unit(x: Floats) -> Floats:
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-6))


def _refused(place: str, name: str, found: str) -> ArtefactRefused:
    return ArtefactRefused(
        f"Reading model file {name!r} of {place!r} is not usable: {found}.",
        hint="Reinstall the package: pip install --force-reinstall coterie",
    )
