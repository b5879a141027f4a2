"""The reading model: which sentences of a passage answer a question, and whether any does.

It knows some twenty languages.

A multilingual encoder whose lower layers read each text by itself, so that what they make of a passage is kept, and
whose upper layers read a question together with a passage. The files lie in `reader/` and are checked
against `provenance.json` when they are loaded.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors.numpy import load as load_arrays

from coterie.engines.onnx import ENCODER_FILES, PROVENANCE_FILE, OnnxModel, open_graph
from coterie.errors import ArtefactRefused
from coterie.runtime.codec import parse_json

BUNDLED_READER = Path(__file__).parent / "reader"
UPPER_FILE, HEADS_FILE = "upper.onnx", "heads.safetensors"
READER_FILES = (*ENCODER_FILES, UPPER_FILE, HEADS_FILE)
"""What a reading model is made of."""

_QUESTION, _PASSAGE = "query: ", "passage: "
"""How the lower layers are told which of the two they read."""
_MOST_QUESTION, _MOST_PASSAGE = 60, 300
"""Tokens of a question and of a part of a passage."""
_SHIFT = 64
"""Places of a passage's tokens begin here, those of a question at 0: together they are as one text's."""
USUAL, STEEP = 0.5, 2.5
"""The usual cosine of a token and the nearest one of another text, below; by how much it is stretched."""
_SPECIAL = 4
"""Token ids below it are marks."""
_LEADS = (4, 3)
"""Tokens at the beginning of a question and of a passage that say what it is, and match nothing."""
_KEPT = 48 * 2**20
"""Bytes of states that are kept: some 400 passages."""
_READ = 0
"""The task, of the trained sides."""
_NEVER = -12.0
"""Log-odds of a sentence that has no token."""

_WHAT = "Reading model"
"""In errors."""

Floats = np.ndarray


class PassageRead(NamedTuple):
    """What the model says of a passage and a question."""

    sentences: Floats  # (S,)
    """Log-odds that each sentence answers."""
    answers: float
    """Log-odds that the passage does."""


class ReadText(NamedTuple):
    """A text by itself."""

    ids: Floats  # (N,) int: 0 for what matches nothing
    states: Floats  # (N, D) after the lower layers


class _Part(NamedTuple):
    """A run of sentences that is read at once."""

    text: ReadText
    owners: Floats  # (N,) int: the number of each token's sentence, -1 for none
    first: int
    """The number of its first sentence in the passage."""


class LowerLayers:
    """The layers that read each text by itself, and how texts are put to them.

    Args:
        model: Tokenizer and graph.
    """

    def __init__(self, model: OnnxModel) -> None:
        self.model, self.sha256 = model, model.sha256

    def length(self, text: str) -> int:
        """Tokens of a text and one for what parts it from the next."""
        return len(self.model.tokenise(text)) - 1

    def question(self, text: str, most: int = _MOST_QUESTION) -> ReadText:
        """A question or a statement, cut where it has more tokens."""
        ids = self.model.cut(_QUESTION + text).ids
        return self._below(ids if len(ids) <= most else [*ids[: most - 1], ids[-1]], 0, _LEADS[0])

    def passage(self, sentences: Sequence[str]) -> tuple[ReadText, Floats]:  # the text, (N,) int
        """A passage of these sentences, cut where it is too long; of each token the number of its sentence, or -1."""
        piece = self.model.cut(_PASSAGE + "\n".join(each.strip() for each in sentences))
        ids, offsets = piece.ids, np.array(piece.offsets)
        if len(ids) > _MOST_PASSAGE:
            ids = [*ids[: _MOST_PASSAGE - 1], ids[-1]]
            offsets = np.concatenate([offsets[: _MOST_PASSAGE - 1], offsets[-1:]])
        starts = np.cumsum([0, *(len(each.strip()) + 1 for each in sentences[:-1])])
        owners = np.searchsorted(starts + len(_PASSAGE), offsets[:, 0], side="right") - 1
        owners[(offsets[:, 1] <= offsets[:, 0]) | (offsets[:, 0] < len(_PASSAGE))] = -1
        return self._below(ids, _SHIFT, _LEADS[1]), owners

    def _below(self, ids: Sequence[int], shift: int, lead: int) -> ReadText:
        places = np.arange(shift, shift + len(ids), dtype=np.int64)[None]
        matched = np.array(ids)
        matched[:lead] = 0
        matched[matched < _SPECIAL] = 0
        return ReadText(matched, self.model.call([ids], "states", {"places": places})[0])


class ReadingModel:
    """Both halves and the heads, loaded and checked. Blocking; safe to call from several threads.

    Args:
        files: Content of `READER_FILES` by name.
        place: Where the files come from, for errors.
        folder: The folder that holds them, if one does.

    Raises:
        ArtefactRefused: a file is missing or not what the provenance says.
    """

    def __init__(self, files: Mapping[str, bytes], *, place: str = "these files", folder: Path | None = None) -> None:
        self.lower = LowerLayers(OnnxModel(files, place, None if folder is None else folder / ENCODER_FILES[0]))
        checksums = [self.lower.sha256]
        for name in (UPPER_FILE, HEADS_FILE):
            checksums.append(hashlib.sha256(files.get(name, b"")).hexdigest())
            try:
                named = parse_json(files[PROVENANCE_FILE])["sha256"][name]
            except (KeyError, TypeError) as error:
                raise refused(_WHAT, place, name, f"{PROVENANCE_FILE} does not name it") from error
            if named != checksums[-1]:
                raise refused(_WHAT, place, name, f"its checksum is {checksums[-1]}, {PROVENANCE_FILE} says {named}")
        try:
            self._heads = ReadingHeads(float_arrays(files[HEADS_FILE]))
            self._upper = open_graph(files[UPPER_FILE])
        except Exception as error:
            raise refused(_WHAT, place, HEADS_FILE, f"{type(error).__name__}: {error}") from error
        self.sha256 = hashlib.sha256("".join(checksums).encode()).hexdigest()
        self._known: OrderedDict[tuple[str, ...], list[_Part]] = OrderedDict()
        self._size, self._lock = 0, threading.Lock()

    @classmethod
    def load(cls, folder: Path) -> ReadingModel:
        """The model of a folder. Raises `ArtefactRefused`."""
        return cls(read_files(folder, READER_FILES, _WHAT), place=str(folder), folder=folder)

    @property
    def about(self) -> Mapping[str, str]:
        """What a report says of it: `name`, `source`, `sha256`, `licence`."""
        return {**self.lower.model.origin, "sha256": self.sha256}

    def read(self, question: str, sentences: Sequence[str]) -> PassageRead:
        """What the sentences of a passage, in their order, say to a question; a long passage is read in parts."""
        scores, answers = np.full(len(sentences), _NEVER), [_NEVER]
        asked = self.lower.question(question)
        for part in self._parts(tuple(sentences)):
            found = self._heads.read(*self._joint(_READ, asked, part.text), part.owners)
            scores[part.first : part.first + len(found.sentences)] = found.sentences
            answers.append(found.answers)
        return PassageRead(scores, max(answers))

    def _joint(self, task: int, asked: ReadText, passage: ReadText) -> tuple[Floats, Floats]:  # (Q, D), (N, D)
        """States of both after the upper layers."""
        joined = self._heads.join(task, asked, passage)[None].astype(np.float32)
        states = np.asarray(self._upper.run(["states"], {"joined": joined})[0])[0]
        return states[: len(asked.ids)], states[len(asked.ids) :]

    def _parts(self, sentences: tuple[str, ...]) -> list[_Part]:
        """The passage below, known or new."""
        with self._lock:
            if sentences in self._known:
                self._known.move_to_end(sentences)
                return [_as(part, np.float32) for part in self._known[sentences]]
        found = [_as(part, np.float16) for part in self._new_parts(sentences)]  # what is read first is as what is kept
        with self._lock:
            if sentences not in self._known:
                self._known[sentences] = found
                self._size += _bytes(self._known[sentences])
            while self._size > _KEPT:
                self._size -= _bytes(self._known.popitem(last=False)[1])
        return [_as(part, np.float32) for part in found]

    def _new_parts(self, sentences: Sequence[str]) -> Iterator[_Part]:
        first = 0
        while first < len(sentences):
            last, length = first, 0
            while last < len(sentences):
                length += self.lower.length(sentences[last])
                if length > _MOST_PASSAGE and last > first:
                    break
                last += 1
            yield _Part(*self.lower.passage(sentences[first:last]), first)
            first = last


def _bytes(parts: Sequence[_Part]) -> int:
    return sum(part.text.states.nbytes + part.text.ids.nbytes + part.owners.nbytes for part in parts)


def _as(part: _Part, kind: type[np.floating]) -> _Part:
    """With states of another size of number."""
    return part._replace(text=part.text._replace(states=part.text.states.astype(kind)))


def has_reader() -> bool:
    """Whether this installation has the reading model's files: a wheel has, a checkout without large files has not."""
    return all((BUNDLED_READER / name).is_file() for name in READER_FILES)


@cache
def bundled_reader() -> ReadingModel:
    """The reading model that ships with the package, loaded once. Raises `ArtefactRefused`."""
    return ReadingModel.load(BUNDLED_READER)


class ReadingHeads:
    """What is read off the states of a question's and a passage's tokens.

    Args:
        arrays: Weights by the names of `scripts/reading/network.py`.

    Raises:
        KeyError: one is missing.
        ValueError: one is not finite.
    """

    def __init__(self, arrays: Mapping[str, Floats]) -> None:
        check_finite(arrays)
        self._sides, self._match = arrays["sides"], arrays["match.weight"]
        self._joined = float(arrays["joined"].item())
        self._of = {
            name: [(arrays[f"{name}.{at}.weight"], arrays[f"{name}.{at}.bias"]) for at in (0, 2)]
            for name in ("sentence", "answer")
        }

    def join(self, task: int, asked: ReadText, passage: ReadText) -> Floats:  # (Q + N, D)
        """Both texts, one behind the other, with what tells them apart and which tokens each finds in the other."""
        alike = unit(asked.states) @ unit(passage.states).T
        same = (asked.ids[:, None] == passage.ids[None]) & (asked.ids[:, None] > 0)
        found = []
        for own, other, near, exact, side in (
            (asked, passage, alike, same, 0),
            (passage, asked, alike.T, same.T, 1),
        ):
            real = (own.ids > 0).astype(np.float32)
            best = np.where(other.ids > 0, near, -1.0).max(axis=1)
            mean = (best * real).sum() / max(real.sum(), 1.0)
            seen = [exact.any(axis=1), (best - USUAL) * STEEP * real, (best - mean) * STEEP * real]
            found.append(own.states + self._sides[task, side] + np.stack(seen, axis=-1) @ self._match.T)
        return np.concatenate(found)

    def read(self, question: Floats, passage: Floats, owners: Floats) -> PassageRead:  # (Q, D), (N, D), (N,)
        """What each sentence with tokens and the whole say."""
        count = int(owners.max(initial=-1)) + 1
        rows, scores = [], np.full(count, _NEVER)
        told = [number for number in range(count) if (owners == number).any()]
        for number in told:
            own = passage[owners == number]
            rows.append(np.concatenate([own.mean(axis=0), own.max(axis=0), question[0]]))
        if told:
            scores[told] = self._say("sentence", np.stack(rows))[:, 0]
        whole = float(self._say("answer", _whole(question, passage))[0, 0])
        return PassageRead(scores, whole + self._joined * float(scores.max(initial=_NEVER)))

    def _say(self, name: str, x: Floats) -> Floats:
        (inner, bias), (outer, last) = self._of[name]
        return np.asarray(gelu(x @ inner.T + bias) @ outer.T + last, dtype=np.float64)


def _whole(question: Floats, passage: Floats) -> Floats:  # (1, 3 D)
    return np.concatenate([question[0], question.mean(axis=0), passage.max(axis=0)])[None]


def unit(x: Floats) -> Floats:
    """Vectors of length 1."""
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12))


def gelu(x: Floats) -> Floats:
    """Return x times the normal distribution's share below x, by Abramowitz and Stegun 7.1.26 (to 1.5e-7)."""
    size = np.abs(x) * np.float32(0.7071067811865476)
    t = 1.0 / (1.0 + np.float32(0.3275911) * size)
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return np.asarray(x * 0.5 * (1.0 + np.sign(x) * (1.0 - series * np.exp(-size * size))), dtype=x.dtype)


def read_files(folder: Path, names: Sequence[str], what: str) -> dict[str, bytes]:
    """The files of a model by name. Raises `ArtefactRefused`, which says what it is a file of."""
    files = {}
    for name in names:
        try:
            files[name] = (folder / name).read_bytes()
        except OSError as error:
            raise refused(what, str(folder), name, str(error)) from error
    return files


def float_arrays(file: bytes) -> dict[str, Floats]:
    """The weights of a safetensors file by name, whatever size of number they are stored in."""
    return {name: each.astype(np.float32) for name, each in load_arrays(file).items()}


def check_finite(arrays: Mapping[str, Floats]) -> None:
    """Raise `ValueError` for weights that are no numbers."""
    for name, each in arrays.items():
        if not np.isfinite(each).all():
            raise ValueError(f"{name!r} is not finite")


def refused(what: str, place: str, name: str, found: str) -> ArtefactRefused:
    """The error for a file of a model that ships with the package."""
    return ArtefactRefused(
        f"{what} file {name!r} of {place!r} is not usable: {found}.",
        hint="Reinstall the package: pip install --force-reinstall coterie",
    )
