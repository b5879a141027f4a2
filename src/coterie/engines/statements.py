"""The statement model: does a source support a statement, refute it, or neither? It knows some twenty languages.

The lower layers are those of the reading model; the upper ones were trained on pairs of texts alone. The model gets for
each token of a statement its match in the source, and whether the neighbours' matches are neighbours there too, since
the same words in another order have another meaning. A small network compares the tokens; the upper layers get its
result. The files are in `checker/`, with their checksums.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
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
    unit,
)
from coterie.engines.onnx import PROVENANCE_FILE, open_graph
from coterie.engines.reading import (
    HEADS_FILE,
    UPPER_FILE,
    LowerLayers,
    bundled_reader,
    has_reader,
    read_files,
    refused,
)
from coterie.runtime.codec import parse_json

_WHAT = "Statement model"
"""Name of the model in errors."""
BUNDLED_CHECKER = Path(__file__).parent / "checker"
CHECKER_FILES = (UPPER_FILE, HEADS_FILE, PROVENANCE_FILE)
"""The files of a statement model, beside the reading model's lower layers."""
_MOST_STATEMENT, _SHOWN, _MOST_SENTENCES = 80, 150, 4
"""Most tokens of a statement; most tokens and sentences of a source that are read with it, the nearest ones."""
_LEAST_GAIN, _CITED_GAIN = 0.25, 1.0
"""Least gain in summed similarity to the statement's tokens for a further sentence to be read, and to be cited."""
_KEPT = 512
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


class StatementModel:
    """Upper layers and head, loaded and checked. Its calls block; it is safe to call from several threads.

    Args:
        files: Content of `CHECKER_FILES` by name.
        lower: The lower layers, of the reading model that the provenance names.
        location: The origin of the files, for errors.

    Raises:
        ArtefactRefused: a file is missing, does not match the provenance, or was made for other lower layers.
    """

    def __init__(self, files: Mapping[str, bytes], lower: LowerLayers, *, location: str = "these files") -> None:
        try:
            about = parse_json(files[PROVENANCE_FILE])
            named, below = about["sha256"], about["lower_sha256"]
        except (KeyError, TypeError, ValueError) as error:
            raise refused(_WHAT, location, PROVENANCE_FILE, f"it cannot be read ({error})") from error
        sums = {name: hashlib.sha256(files.get(name, b"")).hexdigest() for name in (UPPER_FILE, HEADS_FILE)}
        for name, checksum in sums.items():
            if named.get(name) != checksum:
                raise refused(
                    _WHAT, location, name, f"its checksum is {checksum}, {PROVENANCE_FILE} says {named.get(name)}"
                )
        if below != lower.sha256:
            raise refused(_WHAT, location, PROVENANCE_FILE, f"it is for lower layers {below}, these are {lower.sha256}")
        try:
            self._head = StatementHead(float_arrays(files[HEADS_FILE]))
            self._upper = open_graph(files[UPPER_FILE])
        except Exception as error:
            raise refused(_WHAT, location, HEADS_FILE, f"{type(error).__name__}: {error}") from error
        self._lower = lower
        self._sentence = lru_cache(_KEPT)(lambda text: lower.passage([text])[0])
        self.sha256 = hashlib.sha256(files[PROVENANCE_FILE]).hexdigest()

    @classmethod
    def load(cls, folder: Path, lower: LowerLayers) -> StatementModel:
        """Load the model of a folder. Raises `ArtefactRefused`."""
        return cls(read_files(folder, CHECKER_FILES, _WHAT), lower, location=str(folder))

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
        joined = self._head.join(statement_text, source, compared)[None].astype(np.float32)
        states = np.asarray(self._upper.run(["states"], {"joined": joined})[0])[0]
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
    return has_reader() and all((BUNDLED_CHECKER / name).is_file() for name in CHECKER_FILES)


def checker_sha256() -> str:
    """Return the checksum of the bundled model, from the file with all other checksums; empty without the model."""
    return hashlib.sha256((BUNDLED_CHECKER / PROVENANCE_FILE).read_bytes()).hexdigest() if has_checker() else ""


@cache
def bundled_checker() -> StatementModel:
    """Return the statement model that ships with the package, loaded once. Raises `ArtefactRefused`."""
    return StatementModel.load(BUNDLED_CHECKER, bundled_reader().lower)


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
