"""Models that read two texts: the reading model and the statement model. Both know some twenty languages.

The reading model finds which sentences of a passage answer a question, and whether any does; the statement model,
whether a source supports a statement, refutes it, or neither.

They are a multilingual encoder. The lower layers read each text by itself, so the result for a passage is cached; the
upper layers read a question together with a passage, or were trained on pairs of a source and a statement. A small
network compares tokens: it gets for each token its match in the other text, how far the match is displaced, and whether
the neighbours' matches are neighbours too, since the same words in another order have another meaning. The files are in
`reader/` and `checker/` and are checked against their `provenance.json` when they are loaded.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, Self, TypeVar

import numpy as np
from safetensors.numpy import load as load_arrays

from coterie.engines.onnx import ENCODER_FILES, PROVENANCE_FILE, OnnxModel, open_graph
from coterie.errors import ArtefactRefused
from coterie.runtime.codec import parse_json

USUAL, STEEP = 0.5, 2.5
"""Typical cosine of a token and the nearest one of another text, which is subtracted; and the scale factor after it."""
_JUMPS, _FAR = 7, 3
"""Largest distinguished jump between the matches of two neighbours; steps of a token's displacement."""
_NO_JUMP = 2 * _JUMPS + 1
_NEIGHBOURS, _SAME = 0.3, 0.1
"""Weight of a match for its neighbour; bonus on the similarity of two equal word pieces."""

Floats = np.ndarray
Head = TypeVar("Head")


class ReadText(NamedTuple):
    """A text that was encoded by itself."""

    ids: Floats  # (N,) int: 0 for what matches nothing
    states: Floats  # (N, D) after the lower layers


class Matches(NamedTuple):
    """For each token of a text its matching token in another text, and features of the pair."""

    at: Floats  # (N,) int
    real: Floats  # (N,): 0 for what matches nothing
    marks: Floats  # (N, 5): same piece there, same piece anywhere, mutual, how near, how near compared with the others
    before: Floats  # (N,) int: from the match of the token before to this one's
    after: Floats  # (N,) int: from this one's to that of the token behind
    moved: Floats  # (N,) int: how far from its place


def matches(own: ReadText, other: ReadText) -> Matches:
    """Return the matches of a text's tokens in another text."""
    alike = unit(own.states) @ unit(other.states).T  # (N, M)
    real = own.ids > 0
    usable = real[:, None] & (other.ids > 0)[None]
    same = (own.ids[:, None] == other.ids[None]) & usable
    near = np.where(usable, alike + _SAME * same, 0.0)
    beside = np.zeros_like(near)
    beside[1:, 1:] += near[:-1, :-1]
    beside[:-1, :-1] += near[1:, 1:]
    best = np.where(usable, near + _NEIGHBOURS * beside, -9.0)
    at, back = best.argmax(axis=1), best.argmax(axis=0)
    rows = np.arange(len(at))
    nearness = alike[rows, at]
    mean = (nearness * real).sum() / max(real.sum(), 1)
    marks = np.stack(
        [
            same[rows, at], same.any(axis=1), back[at] == rows,
            (nearness - USUAL) * STEEP, (nearness - mean) * STEEP,
        ],
        axis=-1,
    )  # fmt: skip
    jump = np.where(real[1:] & real[:-1], np.clip(np.diff(at), -_JUMPS, _JUMPS) + _JUMPS, _NO_JUMP)
    leads = [int(np.argmax(text.ids > 0)) for text in (own, other)]
    moved = (at - leads[1]) - (rows - leads[0])
    steps = np.minimum(np.rint(np.log2(np.abs(moved) + 1.0)), _FAR) * np.sign(moved)
    before, after = np.concatenate([[_NO_JUMP], jump]), np.concatenate([jump, [_NO_JUMP]])
    return Matches(at, real, marks * real[:, None], before, after, _FAR + steps.astype(int))


class Comparer:
    """A small network over the tokens of two texts: each with its match, its neighbours, and theirs.

    Args:
        arrays: Weights by the names of `scripts/reading/comparing.py`, with the prefix `compare.`.

    Raises:
        KeyError: one is missing.
    """

    def __init__(self, arrays: Mapping[str, Floats]) -> None:
        self._small = arrays["compare.small.weight"]
        self._order = [arrays[f"compare.{name}.weight"] for name in ("before", "after", "moved", "side")]
        self._first = line(arrays, "compare.first")
        self._rounds = [(line(arrays, f"compare.beside.{at}"), line(arrays, f"compare.across.{at}")) for at in (0, 1)]
        self._norms = [line(arrays, f"compare.norms.{at}") for at in range(5)]

    def compare(self, first: ReadText, second: ReadText) -> TokenComparison:
        """Compare two texts and return features of each token, from its match, its neighbours and theirs."""
        pair = matches(first, second), matches(second, first)
        x, y = self._seen(0, first, second, pair[0]), self._seen(1, second, first, pair[1])
        for at, (beside, across) in enumerate(self._rounds):
            one, two = self._norms[1 + 2 * at], self._norms[2 + 2 * at]
            x, y = (
                _normed(z + gelu(of(_three(z), beside)), one) * m.real[:, None]
                for z, m in zip((x, y), pair, strict=True)
            )
            x, y = (
                _normed(z + gelu(of(np.concatenate([z, other[m.at]], axis=-1), across)), two) * m.real[:, None]
                for z, other, m in ((x, y, pair[0]), (y, x, pair[1]))
            )
        return TokenComparison(pair, (x, y))

    def _seen(self, side: int, own: ReadText, other: ReadText, matched: Matches) -> Floats:  # (N, W)
        """Return the input features of each token with its match."""
        mine, theirs = own.states @ self._small.T, (other.states @ self._small.T)[matched.at]
        before, after, moved, sides = self._order
        order = [
            before[matched.before],
            after[matched.after],
            moved[matched.moved],
            np.tile(sides[side], (len(mine), 1)),
        ]
        x = np.concatenate([matched.marks, *order, mine, theirs, np.abs(mine - theirs), mine * theirs], axis=-1)
        return np.asarray(_normed(gelu(of(x, self._first)), self._norms[0]) * matched.real[:, None])


class TokenComparison(NamedTuple):
    """The matches of two texts in each other, and the features of their tokens."""

    pair: tuple[Matches, Matches]
    tokens: tuple[Floats, Floats]  # (Q, W), (N, W): 0 for marks

    def pooled(self) -> list[Floats]:  # four of (W,)
        """Return mean and maximum of each text's features over the tokens that may match; each text needs one."""
        parts = []
        for own, of_own in zip(self.tokens, self.pair, strict=True):
            parts += [own[of_own.real].mean(axis=0), own[of_own.real].max(axis=0)]
        return parts

    def gap(self, first: Floats, second: Floats) -> Floats:  # (Q, D), (N, D) -> (D,)
        """Return the mean absolute difference of the first text's tokens and their matches, in upper-layer states."""
        real = self.pair[0].real
        return np.asarray(np.abs(first - second[self.pair[0].at])[real].mean(axis=0))


def line(arrays: Mapping[str, Floats], name: str) -> tuple[Floats, Floats]:  # (M, D), (M,)
    """Return weights and bias of a linear layer by its name."""
    return arrays[f"{name}.weight"], arrays[f"{name}.bias"]


def of(x: Floats, line: tuple[Floats, Floats]) -> Floats:  # (..., D) -> (..., M)
    """Apply a linear layer."""
    return np.asarray(x @ line[0].T + line[1])


def _normed(x: Floats, line: tuple[Floats, Floats]) -> Floats:
    """Apply layer normalisation."""
    apart = x - x.mean(axis=-1, keepdims=True)
    return np.asarray(apart / np.sqrt((apart**2).mean(axis=-1, keepdims=True) + 1e-5) * line[0] + line[1])


def _three(x: Floats) -> Floats:  # (N, W) -> (N, 3 W)
    """Return each token concatenated with the previous and the next one."""
    none = np.zeros_like(x[:1])
    return np.concatenate([np.concatenate([none, x[:-1]]), x, np.concatenate([x[1:], none])], axis=-1)


def unit(x: Floats) -> Floats:
    """Normalise vectors to length 1."""
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12))


def gelu(x: Floats) -> Floats:
    """Return x times the normal distribution's share below x, by Abramowitz and Stegun 7.1.26 (to 1.5e-7)."""
    size = np.abs(x) * np.float32(0.7071067811865476)
    t = 1.0 / (1.0 + np.float32(0.3275911) * size)
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return np.asarray(x * 0.5 * (1.0 + np.sign(x) * (1.0 - series * np.exp(-size * size))), dtype=x.dtype)


def float_arrays(file: bytes) -> dict[str, Floats]:
    """Return the weights of a safetensors file by name, converted to float32."""
    return {name: array.astype(np.float32) for name, array in load_arrays(file).items()}


def check_finite(arrays: Mapping[str, Floats]) -> None:
    """Check that all weights are finite. Raise `ValueError` otherwise."""
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(f"{name!r} is not finite")


# --- The reading model: which sentences of a passage answer a question, and whether any does.

BUNDLED_READER = Path(__file__).parent / "reader"
UPPER_FILE, HEADS_FILE = "upper.onnx", "heads.safetensors"
READER_FILES = (*ENCODER_FILES, UPPER_FILE, HEADS_FILE)
"""The files of a reading model."""
UPPER_FILES = (UPPER_FILE, HEADS_FILE, PROVENANCE_FILE)
"""The files of a model of upper layers, beside the reading model's lower ones."""

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

_READING_MODEL = "Reading model"
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

    @classmethod
    def of(cls, files: Mapping[str, bytes], location: str, folder: Path | None) -> LowerLayers:
        """Open the files of a model by name; the graph is read from the folder, if one holds it."""
        return cls(OnnxModel(files, location, None if folder is None else folder / ENCODER_FILES[0]))

    def length(self, text: str) -> int:
        """Return the tokens of a text, plus one for the separator after it."""
        return len(self.model.tokenise(text)) - 1

    def question(self, text: str, most: int = _MOST_QUESTION) -> ReadText:
        """Read a question or a statement, cut to `most` tokens."""
        ids = self.model.cut(_QUESTION + text).ids
        return self._below(ids if len(ids) <= most else [*ids[: most - 1], ids[-1]], 0, _LEADS[0])

    def passage(self, sentences: Sequence[str]) -> tuple[ReadText, Floats]:  # the text, (N,) int
        """Read a passage of these sentences, cut if it is too long, and the sentence number of each token, or -1."""
        text, offsets = self.located("\n".join(sentence.strip() for sentence in sentences), _MOST_PASSAGE)
        starts = np.cumsum([0, *(len(sentence.strip()) + 1 for sentence in sentences[:-1])])
        owners = np.searchsorted(starts, offsets[:, 0], side="right") - 1
        owners[offsets[:, 1] <= offsets[:, 0]] = -1
        return text, owners

    def located(self, text: str, most: int) -> tuple[ReadText, Floats]:  # the text, (N, 2) int
        """Read a passage, cut to `most` tokens, and the places of its tokens in it.

        Those of marks and of the prefix end at 0 or before; the first word's token has the space before it.
        """
        piece = self.model.cut(_PASSAGE + text)
        ids, offsets = piece.ids, np.array(piece.offsets)
        if len(ids) > most:
            ids, offsets = [*ids[: most - 1], ids[-1]], np.concatenate([offsets[: most - 1], offsets[-1:]])
        return self._below(ids, _SHIFT, _LEADS[1]), offsets - len(_PASSAGE)

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
        lower: The lower layers, if they are loaded.

    Raises:
        ArtefactRefused: a file is missing or does not match the provenance.
    """

    def __init__(
        self,
        files: Mapping[str, bytes],
        *,
        location: str = "these files",
        folder: Path | None = None,
        lower: LowerLayers | None = None,
    ) -> None:
        self.lower = lower or LowerLayers.of(files, location, folder)
        checksums = [self.lower.sha256]
        for name in (UPPER_FILE, HEADS_FILE):
            checksums.append(hashlib.sha256(files.get(name, b"")).hexdigest())
            try:
                named = parse_json(files[PROVENANCE_FILE])["sha256"][name]
            except (KeyError, TypeError) as error:
                raise refused(_READING_MODEL, location, name, f"{PROVENANCE_FILE} does not name it") from error
            if named != checksums[-1]:
                raise refused(
                    _READING_MODEL, location, name, f"its checksum is {checksums[-1]}, {PROVENANCE_FILE} says {named}"
                )
        try:
            self._heads = ReadingHeads(float_arrays(files[HEADS_FILE]))
            self._upper = open_graph(files[UPPER_FILE])
        except Exception as error:
            raise refused(_READING_MODEL, location, HEADS_FILE, f"{type(error).__name__}: {error}") from error
        self.sha256 = hashlib.sha256("".join(checksums).encode()).hexdigest()
        self._question = lru_cache(_QUESTIONS)(self.lower.question)
        self._known: OrderedDict[tuple[str, ...], list[_Part]] = OrderedDict()
        self._size, self._lock = 0, threading.Lock()

    @classmethod
    def load(cls, folder: Path, lower: LowerLayers | None = None) -> ReadingModel:
        """Load the model of a folder, with the lower layers if they are loaded. Raises `ArtefactRefused`."""
        files = read_files(folder, READER_FILES, _READING_MODEL)
        return cls(files, location=str(folder), folder=folder, lower=lower)

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


def has_lower() -> bool:
    """Return whether this installation has the files of the reading model's lower layers."""
    return all((BUNDLED_READER / name).is_file() for name in ENCODER_FILES)


@cache
def bundled_lower() -> LowerLayers:
    """Return the lower layers that ship with the package, loaded once. Raises `ArtefactRefused`."""
    return LowerLayers.of(
        read_files(BUNDLED_READER, ENCODER_FILES, _READING_MODEL), str(BUNDLED_READER), BUNDLED_READER
    )


@cache
def bundled_reader() -> ReadingModel:
    """Return the reading model that ships with the package, loaded once. Raises `ArtefactRefused`."""
    return ReadingModel.load(BUNDLED_READER, bundled_lower())


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


class UpperModel(Generic[Head]):
    """Upper layers and heads, loaded and checked. Its calls block; it is safe to call from several threads.

    Args:
        files: Content of `UPPER_FILES` by name.
        lower: The lower layers, of the reading model that the provenance names.
        location: The origin of the files, for errors.

    Raises:
        ArtefactRefused: a file is missing, does not match the provenance, or was made for other lower layers.
    """

    name: ClassVar[str]
    """Name of the model in errors."""
    heads: ClassVar[type[Any]]
    """Class of its heads, which are made of their arrays."""

    def __init__(self, files: Mapping[str, bytes], lower: LowerLayers, *, location: str = "these files") -> None:
        try:
            about = parse_json(files[PROVENANCE_FILE])
            named, below = about["sha256"], about["lower_sha256"]
        except (KeyError, TypeError, ValueError) as error:
            raise refused(self.name, location, PROVENANCE_FILE, f"it cannot be read ({error})") from error
        for name in (UPPER_FILE, HEADS_FILE):
            checksum = hashlib.sha256(files.get(name, b"")).hexdigest()
            if named.get(name) != checksum:
                problem = f"its checksum is {checksum}, {PROVENANCE_FILE} says {named.get(name)}"
                raise refused(self.name, location, name, problem)
        if below != lower.sha256:
            problem = f"it is for lower layers {below}, these are {lower.sha256}"
            raise refused(self.name, location, PROVENANCE_FILE, problem)
        try:
            self._head: Head = self.heads(float_arrays(files[HEADS_FILE]))
            self._upper = open_graph(files[UPPER_FILE])
        except Exception as error:
            raise refused(self.name, location, HEADS_FILE, f"{type(error).__name__}: {error}") from error
        self._lower = lower
        self.sha256 = hashlib.sha256(files[PROVENANCE_FILE]).hexdigest()

    @classmethod
    def load(cls, folder: Path, lower: LowerLayers) -> Self:
        """Load the model of a folder. Raises `ArtefactRefused`."""
        return cls(read_files(folder, UPPER_FILES, cls.name), lower, location=str(folder))

    def _above(self, joined: Floats) -> Floats:  # (N, D) -> (N, D)
        """Return the states of the upper layers for those of the lower ones."""
        return np.asarray(self._upper.run(["states"], {"joined": joined[None].astype(np.float32)})[0][0])


# --- The statement model: does a source support a statement, refute it, or neither? It knows some twenty languages.

BUNDLED_CHECKER = Path(__file__).parent / "checker"
_MOST_STATEMENT, _SHOWN, _MOST_SENTENCES = 80, 150, 4
"""Most tokens of a statement; most tokens and sentences of a source that are read with it, the nearest ones."""
_LEAST_GAIN, _CITED_GAIN = 0.25, 1.0
"""Least gain in summed similarity to the statement's tokens for a further sentence to be read, and to be cited."""
_KEPT_SENTENCES = 512
"""Sentences of sources whose states are cached: some 15 MB."""


class StatementVerdict(NamedTuple):
    """Probabilities that a source supports a statement, refutes it, or does neither."""

    supported: float
    refuted: float
    unknown: float
    read: tuple[int, ...] = ()
    """Numbers of the sentences that were read."""
    sources: tuple[int, ...] = ()
    """Numbers of the sentences nearest to the statement, the nearest first."""

    @property
    def odds(self) -> float:
        """Log-odds that the statement is supported."""
        return float(np.log(max(self.supported, 1e-6)) - np.log(max(self.refuted + self.unknown, 1e-6)))


class StatementHead:
    """The input of the upper layers, and the head on their states and on the features of the comparison.

    Args:
        arrays: Weights by the names of `scripts/reading/statements_network.py`.

    Raises:
        KeyError: one is missing.
        ValueError: one is not finite.
    """

    def __init__(self, arrays: Mapping[str, Floats]) -> None:
        check_finite(arrays)
        self._side, self._told = arrays["side"], arrays["told.weight"]
        self.compare = Comparer(arrays).compare
        self._verdict = [line(arrays, f"verdict.{at}") for at in (0, 2)]

    def join(self, statement: ReadText, source: ReadText, compared: TokenComparison) -> Floats:  # (Q + N, D)
        """Concatenate both texts, each token with the features of the comparison."""
        return np.concatenate(
            [
                text.states + self._side[side] + compared.tokens[side] @ self._told.T
                for side, text in enumerate((statement, source))
            ]
        )

    def scores(self, statement: Floats, source: Floats, compared: TokenComparison) -> Floats:  # (Q, D), (N, D) -> (3,)
        """Return the scores of supported, refuted and unknown."""
        states = [statement[0], source[0], statement.mean(axis=0), statement.max(axis=0), source.max(axis=0)]
        whole = [*states, compared.gap(statement, source), *compared.pooled()]
        inner, outer = self._verdict
        return np.asarray(of(gelu(of(np.concatenate(whole), inner)), outer), dtype=np.float64)


class StatementModel(UpperModel[StatementHead]):
    """Says whether a source supports a statement."""

    name, heads = "Statement model", StatementHead

    def __init__(self, files: Mapping[str, bytes], lower: LowerLayers, *, location: str = "these files") -> None:
        super().__init__(files, lower, location=location)
        self._sentence = lru_cache(_KEPT_SENTENCES)(lambda text: lower.passage([text])[0])

    def judge(self, statement: str, sentences: Sequence[str]) -> StatementVerdict:
        """Judge a statement by a source of these sentences, in order. Without a sentence the result is unknown."""
        statement_text = self._lower.question(statement, _MOST_STATEMENT)
        if not statement.strip() or not (statement_text.ids > 0).any() or not sentences:
            return StatementVerdict(0.0, 0.0, 1.0)
        shown, nearest = self._nearest(statement_text, sentences)
        source, _ = self._lower.passage([sentences[row] for row in shown])
        if not (source.ids > 0).any():  # no sentence, or none with a word
            return StatementVerdict(0.0, 0.0, 1.0)
        compared = self._head.compare(statement_text, source)
        states = self._above(self._head.join(statement_text, source, compared))
        scores = self._head.scores(states[: len(statement_text.ids)], states[len(statement_text.ids) :], compared)
        odds = np.exp(scores - scores.max())
        supported, refuted, unknown = (odds / odds.sum()).tolist()
        return StatementVerdict(supported, refuted, unknown, tuple(shown), nearest)

    def _nearest(self, statement: ReadText, sentences: Sequence[str]) -> tuple[list[int], tuple[int, ...]]:
        """Choose the sentences to read with a statement, in their order; and the nearest to cite, nearest first."""
        own = unit(statement.states[statement.ids > 0])
        near, lengths = np.zeros((len(sentences), len(own))), []  # (S, Q)
        for row, sentence in enumerate(sentences):
            text = self._sentence(sentence)
            lengths.append(len(text.ids))
            if (text.ids > 0).any():
                near[row] = (own @ unit(text.states[text.ids > 0]).T).max(axis=1)
        chosen: list[int] = []
        told_by = 0
        best = np.zeros(len(own))
        while len(chosen) < min(_MOST_SENTENCES, len(sentences)):
            gains = np.maximum(near - best, 0.0).sum(axis=1)
            gains[chosen] = -1.0
            row = int(gains.argmax())
            if chosen and (gains[row] < _LEAST_GAIN or sum(lengths[at] for at in [*chosen, row]) > _SHOWN):
                break
            told_by += not chosen or gains[row] >= _CITED_GAIN
            chosen.append(row)
            best = np.maximum(best, near[row])
        return sorted(chosen), tuple(chosen[:told_by])


def has_checker() -> bool:
    """Return whether this installation has the statement model's files: a checkout without large files has not."""
    return has_reader() and all((BUNDLED_CHECKER / name).is_file() for name in UPPER_FILES)


def checker_sha256() -> str:
    """Return the checksum of the bundled model, from the file with all other checksums; empty without the model."""
    return hashlib.sha256((BUNDLED_CHECKER / PROVENANCE_FILE).read_bytes()).hexdigest() if has_checker() else ""


@cache
def bundled_checker() -> StatementModel:
    """Return the statement model that ships with the package, loaded once. Raises `ArtefactRefused`."""
    return StatementModel.load(BUNDLED_CHECKER, bundled_reader().lower)
