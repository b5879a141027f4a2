"""The reading model: which sentences of a passage answer a question, and whether any does.

It knows some twenty languages.

It is a multilingual encoder. The lower layers read each text by itself, so the result for a passage is cached; the
upper layers read a question together with a passage. The files are in `reader/` and are checked
against `provenance.json` when they are loaded.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from coterie.engines.comparing import (
    Comparer,
    Floats,
    ReadText,
    TokenComparison,
    check_finite,
    float_arrays,
    gelu,
    line,
    of,
)
from coterie.engines.onnx import ENCODER_FILES, PROVENANCE_FILE, OnnxModel, open_graph
from coterie.errors import ArtefactRefused
from coterie.runtime.codec import parse_json

BUNDLED_READER = Path(__file__).parent / "reader"
UPPER_FILE, HEADS_FILE = "upper.onnx", "heads.safetensors"
READER_FILES = (*ENCODER_FILES, UPPER_FILE, HEADS_FILE)
"""The files of a reading model."""

_QUESTION, _PASSAGE = "query: ", "passage: "
"""Prefixes that tell the lower layers whether a text is a question or a passage."""
_MOST_QUESTION, _MOST_PASSAGE = 60, 300
"""Most tokens of a question and of a part of a passage."""
_SHIFT = 64
"""First position of a passage's tokens; a question's begin at 0, so that both together look like one text."""
_SPECIAL = 4
"""Token ids below it are special tokens."""
_LEADS = (4, 3)
"""Tokens of the prefix of a question and of a passage, which match nothing."""
_KEPT = 48 * 2**20
"""Bytes of cached states: some 400 passages."""
_QUESTIONS = 8
"""Questions whose states are cached, since each is read with several passages."""
_NEVER = -12.0
"""Log-odds of a sentence without tokens."""

_WHAT = "Reading model"
"""Name of the model in errors."""


class PassageRead(NamedTuple):
    """The model's scores for a passage and a question."""

    sentences: Floats  # (S,)
    """Log-odds that each sentence answers the question."""
    answers: float
    """Log-odds that the passage answers the question."""


class _Part(NamedTuple):
    """A run of sentences that is read together."""

    text: ReadText
    owners: Floats  # (N,) int: the number of each token's sentence, -1 for none
    first: int
    """Number of its first sentence in the passage."""


class LowerLayers:
    """The layers that read each text by itself, with the preparation of their input.

    Args:
        model: Tokenizer and graph.
    """

    def __init__(self, model: OnnxModel) -> None:
        self.model, self.sha256 = model, model.sha256

    def length(self, text: str) -> int:
        """Return the tokens of a text, plus one for the separator after it."""
        return len(self.model.tokenise(text)) - 1

    def question(self, text: str, most: int = _MOST_QUESTION) -> ReadText:
        """Read a question or a statement, cut to `most` tokens."""
        ids = self.model.cut(_QUESTION + text).ids
        return self._below(ids if len(ids) <= most else [*ids[: most - 1], ids[-1]], 0, _LEADS[0])

    def passage(self, sentences: Sequence[str]) -> tuple[ReadText, Floats]:  # the text, (N,) int
        """Read a passage of these sentences, cut if it is too long, and the sentence number of each token, or -1."""
        piece = self.model.cut(_PASSAGE + "\n".join(sentence.strip() for sentence in sentences))
        ids, offsets = piece.ids, np.array(piece.offsets)
        if len(ids) > _MOST_PASSAGE:
            ids = [*ids[: _MOST_PASSAGE - 1], ids[-1]]
            offsets = np.concatenate([offsets[: _MOST_PASSAGE - 1], offsets[-1:]])
        starts = np.cumsum([0, *(len(sentence.strip()) + 1 for sentence in sentences[:-1])])
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
    """Both halves and the heads, loaded and checked. Its calls block; it is safe to call from several threads.

    Args:
        files: Content of `READER_FILES` by name.
        location: The origin of the files, for errors.
        folder: The folder that holds them, if one does.

    Raises:
        ArtefactRefused: a file is missing or does not match the provenance.
    """

    def __init__(
        self, files: Mapping[str, bytes], *, location: str = "these files", folder: Path | None = None
    ) -> None:
        self.lower = LowerLayers(OnnxModel(files, location, None if folder is None else folder / ENCODER_FILES[0]))
        checksums = [self.lower.sha256]
        for name in (UPPER_FILE, HEADS_FILE):
            checksums.append(hashlib.sha256(files.get(name, b"")).hexdigest())
            try:
                named = parse_json(files[PROVENANCE_FILE])["sha256"][name]
            except (KeyError, TypeError) as error:
                raise refused(_WHAT, location, name, f"{PROVENANCE_FILE} does not name it") from error
            if named != checksums[-1]:
                raise refused(_WHAT, location, name, f"its checksum is {checksums[-1]}, {PROVENANCE_FILE} says {named}")
        try:
            self._heads = ReadingHeads(float_arrays(files[HEADS_FILE]))
            self._upper = open_graph(files[UPPER_FILE])
        except Exception as error:
            raise refused(_WHAT, location, HEADS_FILE, f"{type(error).__name__}: {error}") from error
        self.sha256 = hashlib.sha256("".join(checksums).encode()).hexdigest()
        self._question = lru_cache(_QUESTIONS)(self.lower.question)
        self._known: OrderedDict[tuple[str, ...], list[_Part]] = OrderedDict()
        self._size, self._lock = 0, threading.Lock()

    @classmethod
    def load(cls, folder: Path) -> ReadingModel:
        """Load the model of a folder. Raises `ArtefactRefused`."""
        return cls(read_files(folder, READER_FILES, _WHAT), location=str(folder), folder=folder)

    @property
    def about(self) -> Mapping[str, str]:
        """The model's description for reports: `name`, `source`, `sha256`, `licence`."""
        return {**self.lower.model.origin, "sha256": self.sha256}

    def read(self, question: str, sentences: Sequence[str]) -> PassageRead:
        """Score the sentences of a passage, in their order, for a question; a long passage is read in parts."""
        scores, answers = np.full(len(sentences), _NEVER), [_NEVER]
        question_text = self._question(question)
        for part in self._parts(tuple(sentences)):
            read_part = self._read(question_text, part)
            scores[part.first : part.first + len(read_part.sentences)] = read_part.sentences
            answers.append(read_part.answers)
        return PassageRead(scores, max(answers))

    def _read(self, question: ReadText, part: _Part) -> PassageRead:
        """Run lower and upper layers on one part."""
        if not (question.ids > 0).any() or not (part.text.ids > 0).any():  # not a word
            return PassageRead(np.full(int(part.owners.max(initial=-1)) + 1, _NEVER), _NEVER)
        compared = self._heads.compare(question, part.text)
        joined = self._heads.join(question, part.text, compared)[None].astype(np.float32)
        states = np.asarray(self._upper.run(["states"], {"joined": joined})[0])[0]
        return self._heads.read(states[: len(question.ids)], states[len(question.ids) :], part.owners, compared)

    def _parts(self, sentences: tuple[str, ...]) -> list[_Part]:
        """Return the lower layers' states of a passage, cached or new."""
        with self._lock:
            if sentences in self._known:
                self._known.move_to_end(sentences)
                return [_as(part, np.float32) for part in self._known[sentences]]
        parts = [_as(part, np.float16) for part in self._new_parts(sentences)]  # what is read first is as what is kept
        with self._lock:
            if sentences not in self._known:
                self._known[sentences] = parts
                self._size += _bytes(self._known[sentences])
            while self._size > _KEPT:
                self._size -= _bytes(self._known.popitem(last=False)[1])
        return [_as(part, np.float32) for part in parts]

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
    """Return the part with its states converted to another float type."""
    return part._replace(text=part.text._replace(states=part.text.states.astype(kind)))


def has_reader() -> bool:
    """Return whether this installation has the reading model's files.

    A wheel has them, a checkout without large files has not.
    """
    return all((BUNDLED_READER / name).is_file() for name in READER_FILES)


@cache
def bundled_reader() -> ReadingModel:
    """Return the reading model that ships with the package, loaded once. Raises `ArtefactRefused`."""
    return ReadingModel.load(BUNDLED_READER)


class ReadingHeads:
    """The heads on the states of a question's and a passage's tokens.

    Args:
        arrays: Weights by the names of `scripts/reading/reader_network.py`.

    Raises:
        KeyError: one is missing.
        ValueError: one is not finite.
    """

    def __init__(self, arrays: Mapping[str, Floats]) -> None:
        check_finite(arrays)
        self._side, self._told, self._marked = arrays["side"], arrays["told.weight"], arrays["marked.weight"]
        self.compare = Comparer(arrays).compare
        self._joined = float(arrays["joined"].item())
        self._of = {name: [line(arrays, f"{name}.{at}") for at in (0, 2)] for name in ("sentence", "answer")}

    def join(self, question: ReadText, passage: ReadText, compared: TokenComparison) -> Floats:  # (Q + N, D)
        """Concatenate both texts, each token with its match and the features of the comparison."""
        return np.concatenate(
            [
                text.states + self._side[at] + matches.marks @ self._marked.T + tokens @ self._told.T
                for at, (text, matches, tokens) in enumerate(
                    zip((question, passage), compared.pair, compared.tokens, strict=True)
                )
            ]
        )

    def read(  # (Q, D), (N, D), (N,)
        self, question: Floats, passage: Floats, owners: Floats, compared: TokenComparison
    ) -> PassageRead:
        """Return the scores of each sentence with tokens and of the passage, from the states of the upper layers."""
        count = int(owners.max(initial=-1)) + 1
        rows, scores = [], np.full(count, _NEVER)
        numbers = [number for number in range(count) if (owners == number).any()]
        for number in numbers:
            own, compared_tokens = passage[owners == number], compared.tokens[1][owners == number]
            rows.append(
                np.concatenate(
                    [
                        own.mean(axis=0),
                        own.max(axis=0),
                        question[0],
                        compared_tokens.mean(axis=0),
                        compared_tokens.max(axis=0),
                    ]
                )
            )
        if numbers:
            scores[numbers] = self._say("sentence", np.stack(rows))[:, 0]
        states = [question[0], question.mean(axis=0), passage.max(axis=0), passage[0]]
        whole = np.concatenate([*states, compared.gap(question, passage), *compared.pooled()])[None]
        answers = float(self._say("answer", whole)[0, 0])
        return PassageRead(scores, answers + self._joined * float(scores.max(initial=_NEVER)))

    def _say(self, name: str, x: Floats) -> Floats:
        inner, outer = self._of[name]
        return np.asarray(of(gelu(of(x, inner)), outer), dtype=np.float64)


def read_files(folder: Path, names: Sequence[str], what: str) -> dict[str, bytes]:
    """Read the files of a model by name. Raises `ArtefactRefused` with the model's name."""
    files = {}
    for name in names:
        try:
            files[name] = (folder / name).read_bytes()
        except OSError as error:
            raise refused(what, str(folder), name, str(error)) from error
    return files


def refused(what: str, where: str, name: str, problem: str) -> ArtefactRefused:
    """Return the error for a file of a model that ships with the package."""
    return ArtefactRefused(
        f"{what} file {name!r} of {where!r} is not usable: {problem}.",
        hint="Reinstall the package: pip install --force-reinstall coterie",
    )
