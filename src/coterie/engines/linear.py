"""The `linear` engine: trained heads as arrays, evaluated with numpy.

A head is either a sum of linear blocks over n-grams and an encoding (`TextHead`) or a sum of tables over
columns (`TableHead`). Both are stored as safetensors and JSON; loading one runs no code from the file. One evaluation
takes well under a millisecond, so small batches run on the event loop; large ones are moved to a thread.

The features of a lexical head are weighted n-grams of a text. They are a plain value that reads and writes itself as
JSON and arrays. They are non-negative and sparse: `encode` gives indices and values, never a dense row.
"""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain, pairwise
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from coterie.errors import ArtefactRefused, EngineRejected
from coterie.runtime.caches import BatchMemo, products
from coterie.runtime.codec import DecodeError, from_json, parse_json, to_json
from coterie.runtime.concurrency import aside
from coterie.runtime.cpu import ShortSpans
from coterie.text.folding import UNSPACED, find_words
from coterie.text.numerals import read_cell
from coterie.types import SYSTEM, CallContext, Columns, Label, Output, Prompt, Reason, Scalar

# --- Checks of what a file says before a head is made of it: a file is data from outside, whoever signed for it.


def stored_array(arrays: Mapping[str, np.ndarray], name: str, *shape: int | None) -> np.ndarray:
    """Return the stored array of this name.

    Args:
        arrays: The arrays of the file.
        name: The array's name.
        shape: The required shape; None stands for any length.

    Raises:
        ValueError: there is none, or its shape or a value is wrong.
    """
    if name not in arrays:
        raise ValueError(f"there is no array {name!r}")
    array = arrays[name]
    fits = len(array.shape) == len(shape) and all(
        wanted in {None, size} for wanted, size in zip(shape, array.shape, strict=True)
    )
    if not fits:
        raise ValueError(f"array {name!r} has the shape {array.shape}, not {shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"array {name!r} has values that are not finite")
    return array


def stored_strings(description: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Return a list of distinct strings. Raises `ValueError`."""
    try:
        values = from_json(tuple[str, ...], description[key])
    except DecodeError as error:
        raise error.within(f".{key}") from error
    if len(set(values)) < len(values):
        raise ValueError(f"{key!r} names something twice")
    return values


_MOST_WORDS, _LONGEST_WORD = 8192, 32
"""Words whose n-grams are cached, and the longest such word in characters."""
_WORD = re.compile(r"\w+|[$%!?]")  # amounts, questions and exclamations tell classes apart


class Sparse(NamedTuple):
    """The non-zero features of one row."""

    indices: np.ndarray  # (K,) int32
    values: np.ndarray  # (K,) float32


def word_ngrams(text: str, shortest: int, longest: int) -> list[str]:
    """Return runs of `shortest` to `longest` lowercase words; `$`, `%`, `!` and `?` count as words."""
    words = list(find_words(_WORD, text.lower()))
    sizes = range(shortest, longest + 1)
    return [" ".join(words[start : start + n]) for n in sizes for start in range(len(words) - n + 1)]


def char_ngrams(text: str, shortest: int, longest: int) -> list[str]:
    """Return character n-grams inside the words of the lowercase text, each word padded with a space on both sides."""
    grams: list[str] = []
    for word in text.lower().split():
        padded = f" {word} "
        size = len(padded)
        for n in range(shortest, min(longest, size - 1) + 1):
            grams += [padded[start : start + n] for start in range(size - n + 1)]
        if size <= longest:
            grams.append(padded)
    return grams


_ANALYSERS = {"word": word_ngrams, "char": char_ngrams}


class Words(NamedTuple):
    """The words of a text, some of them more than once."""

    spaced: list[str]
    pairs: list[str]
    """Pairs of neighbouring characters, in place of the words of scripts without spaces."""

    def share(self, spaced: Container[str], pairs: Container[str]) -> float:
        """Return the share that is among the known words and pairs; 0 without words."""
        count = len(self.spaced) + len(self.pairs)
        count_known = sum(word in spaced for word in self.spaced) + sum(pair in pairs for pair in self.pairs)
        return count_known / count if count else 0.0


def whole_share(share: float, usual: float) -> np.float32:
    """Return a share of known words in units of the usual share, at most 1; 0 without known words."""
    return np.float32(share / usual if share < usual else bool(share))


def words_in(text: str) -> Words:
    """Return the words of a text in lower case, as `word_ngrams` has them."""
    words = list(find_words(_WORD, text.lower()))
    if text.isascii():
        return Words(words, [])
    spaced: list[str] = []
    pairs: list[str] = []
    for word in words:
        if len(word) > 1 and UNSPACED.search(word):
            pairs += [word[at : at + 2] for at in range(len(word) - 1)]
        else:
            spaced.append(word)
    return Words(spaced, pairs)


def known_words(features: Iterable[NgramFeatures]) -> tuple[AbstractSet[str], AbstractSet[str]]:
    """Return the words, and the pairs of characters, that `Words.share` counts as known: the n-grams of training."""
    terms: dict[str, AbstractSet[str]] = {family.unit: family.terms.keys() for family in features}
    return terms.get("word", frozenset()), terms.get("char", frozenset())


@dataclass(frozen=True, kw_only=True)
class NgramFeatures:
    """TF-IDF over word or character n-grams: (1 + log tf) * idf, scaled to unit length.

    The weighting is the classic one (Salton & Buckley 1988, "Term-weighting approaches in automatic text
    retrieval") with a sublinear term frequency.
    """

    unit: Literal["word", "char"]
    shortest: int
    longest: int
    terms: Mapping[str, int]
    """Position of each n-gram among the features."""
    idf: np.ndarray  # (F,) float32

    def grams(self, text: str) -> list[str]:
        """Return the text's n-grams, known or not."""
        return _ANALYSERS[self.unit](text, self.shortest, self.longest)

    def encode(self, text: str) -> Sparse:
        """Return the features of one text; a text without a known n-gram has none."""
        if self.unit == "char":  # whose n-grams are of one word each, and words come again and again
            counts = Counter(chain.from_iterable(map(self._in_word, text.lower().split())))
        else:
            counts = Counter(map(self.terms.get, self.grams(text)))  # type: ignore[arg-type]
            counts.pop(None, None)  # type: ignore[call-overload]  # those that are not known
        indices = np.fromiter(counts.keys(), dtype=np.int32, count=len(counts))
        frequency = np.fromiter(counts.values(), dtype=np.float32, count=len(counts))
        values = (1.0 + np.log(frequency)) * self.idf[indices]
        length = float(np.linalg.norm(values))
        return Sparse(indices, (values / length if length else values).astype(np.float32))

    def _in_word(self, word: str) -> tuple[int, ...]:
        """Return the positions of the known n-grams of one word, cached for recent words."""
        positions = self._words.get(word)
        if positions is None:
            terms = map(self.terms.get, self.grams(word))
            positions = tuple(position for position in terms if position is not None)
            if len(word) <= _LONGEST_WORD:
                if len(self._words) >= _MOST_WORDS:
                    self._words.clear()
                self._words[word] = positions
        return positions

    @cached_property
    def _words(self) -> dict[str, tuple[int, ...]]:
        return {}

    def describe(self) -> dict[str, object]:
        """Return the JSON description; `idf` is stored with the arrays."""
        terms = sorted(self.terms, key=self.terms.__getitem__)
        return {"unit": self.unit, "shortest": self.shortest, "longest": self.longest, "terms": terms}

    @classmethod
    def restore(cls, description: Mapping[str, Any], arrays: Mapping[str, np.ndarray], name: str) -> NgramFeatures:
        """Restore features from `describe` and the array `name`. Raises `ValueError` if they do not fit."""
        terms = stored_strings(description, "terms")
        unit, shortest, longest = (description[key] for key in ("unit", "shortest", "longest"))
        if unit not in _ANALYSERS or type(shortest) is not int or longest not in range(shortest, 100) or shortest < 1:
            raise ValueError(f"there are no n-grams of {shortest!r} to {longest!r} units of {unit!r}")
        return cls(
            unit=unit,
            shortest=shortest,
            longest=longest,
            terms={term: index for index, term in enumerate(terms)},
            idf=stored_array(arrays, name, len(terms)),
        )


def fit_ngrams(
    texts: Iterable[str], *, unit: Literal["word", "char"], shortest: int, longest: int, at_least: int, at_most: int
) -> NgramFeatures:
    """Fit features of the n-grams in `at_least` texts or more, the `at_most` most frequent of them.

    idf is smoothed: 1 + ln((1 + n) / (1 + df)).
    """
    analyse, frequency, n = _ANALYSERS[unit], Counter[str](), 0
    for text in texts:
        frequency.update(set(analyse(text, shortest, longest)))
        n += 1
    # Sorted by name within a frequency: the order of sets differs between processes, the result must not.
    common = sorted(frequency.items(), key=lambda item: (-item[1], item[0]))[:at_most]
    kept = sorted((gram, df) for gram, df in common if df >= at_least)
    idf = np.array([1.0 + math.log((1 + n) / (1 + df)) for _, df in kept], dtype=np.float32)
    terms = {gram: index for index, (gram, _) in enumerate(kept)}
    return NgramFeatures(unit=unit, shortest=shortest, longest=longest, terms=terms, idf=idf)


# --- Scorecards: a sum of tables over columns and pairs of columns.

UNKNOWN = 0  # bin of a missing value, and of one that training never saw
_LONGEST_SHOWN = 60  # characters of a value in a message


class Binned(NamedTuple):
    """A value's bin, and the problem with the value, if there is one."""

    bin: int
    problem: Reason | None
    """None when the value fits a bin. A missing value is always a problem, whether its effect was learnt or not."""


@dataclass(frozen=True, kw_only=True)
class ColumnBins:
    """The bins of one column's values. Bin 0 is for missing or unknown values."""

    name: str
    kind: Literal["number", "category"]
    edges: tuple[float, ...] = ()
    """Edges of a number's bins: bin i holds edges[i - 2] <= value < edges[i - 1]."""
    values: tuple[str, ...] = ()
    """Values of a category: bin i holds values[i - 1]."""
    gaps: bool = False
    """Whether training rows fell into bin 0, so that it has a learnt effect; otherwise it counts as the average row."""
    low: float | None = None
    high: float | None = None
    """Smallest and largest number of training; None where any value is accepted, and in earlier versions."""

    def __post_init__(self) -> None:
        if not all(math.isfinite(edge) for edge in self.edges) or any(a >= b for a, b in pairwise(self.edges)):
            raise ValueError(f"the edges of column {self.name!r} do not rise")
        if len(set(self.values)) < len(self.values):
            raise ValueError(f"column {self.name!r} names a value twice")

    @property
    def size(self) -> int:
        """Number of bins."""
        return 1 + (len(self.edges) + 1 if self.kind == "number" else len(self.values))

    def place(self, value: Scalar) -> Binned:
        """Return the bin of a value. A value that fits no bin is unknown."""
        text = as_category(value)
        if text is None:
            return Binned(UNKNOWN, Reason("column.missing", column=self.name))
        if self.kind == "category":
            if text in self._position:
                return Binned(1 + self._position[text], None)
            return Binned(UNKNOWN, Reason("column.unlearnt", column=self.name, value=quoted(value)))
        number = as_number(value)
        if number is None:
            return Binned(UNKNOWN, Reason("column.no_number", column=self.name, value=quoted(value)))
        if self._is_far(number):
            learnt = f"{self.low:g} to {self.high:g}"
            return Binned(UNKNOWN, Reason("column.far", column=self.name, value=quoted(value), learnt=learnt))
        return Binned(1 + bisect_right(self.edges, number), None)

    def _is_far(self, number: float) -> bool:
        """Return whether a number is outside the training range by more than the range: another unit, or misread.

        Where all training numbers are positive, also one below half of the smallest or above twice the largest.
        """
        if self.low is None or self.high is None or self.low <= number <= self.high:
            return False
        if self.low > 0:
            return number < self.low / 2 or number > 2 * self.high
        span = self.high - self.low
        return number < self.low - span or number > self.high + span

    @cached_property
    def _position(self) -> Mapping[str, int]:
        return {value: index for index, value in enumerate(self.values)}

    def describe(self) -> dict[str, object]:
        """Return the JSON description."""
        other = "values" if self.kind == "number" else "edges"
        return {key: value for key, value in to_json(self).items() if key != other and value is not None}


def as_number(value: object) -> float | None:
    """Return a value as a finite number; None where it is missing, not a number or may be two ("1,234")."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and "_" in value:  # Python reads 1_000, a person may have meant anything
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    except ValueError:
        figures = read_cell(str(value).strip()) if "," in str(value) else None
        if figures is None:
            return None
        number = float(figures)
    return number if math.isfinite(number) else None


def as_category(value: object) -> str | None:
    """Return a value as a category: 3, 3.0 and "3" are equal; None where it is missing or NaN."""
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        number = as_number(value)
        return None if number is None else str(int(value) if number.is_integer() else value)
    return str(value).strip() or None


def quoted(value: object) -> str:
    """Quote a value for a message: a long one is cut."""
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 4]}...{text[-1]}"


@dataclass(frozen=True, kw_only=True, eq=False)
class TableHead:
    """A scorecard as tables that gives one logit."""

    columns: tuple[ColumnBins, ...]
    base: float
    main: tuple[np.ndarray, ...]
    """One table per column: (bins,)."""
    pairs: Mapping[tuple[int, int], np.ndarray]
    """One table per pair of interacting columns: (bins of j, bins of k), j < k."""

    @property
    def size(self) -> int:
        """The number of logits, one: the log-odds of the positive class."""
        return 1

    def bins(self, columns: Columns) -> list[int]:
        """Return the bin of each column's value."""
        return [column.place(columns.get(column.name)).bin for column in self.columns]

    def parts(self, bins: Sequence[int]) -> np.ndarray:  # (C,)
        """Return each column's contribution to the log-odds."""
        total = np.array([table[bin_] for table, bin_ in zip(self.main, bins, strict=True)])
        for (j, k), table in self.pairs.items():
            half = table[bins[j], bins[k]] / 2
            total[j] += half
            total[k] += half
        return total

    def logits(self, prompt: Prompt) -> np.ndarray:
        """Return the log-odds (1,) of the positive class."""
        return np.array([self.base + self.parts(self.bins(prompt.columns or {})).sum()])

    def contributions(self, prompt: Prompt) -> Mapping[str, float]:
        """Return each column's contribution to the log-odds, by name."""
        parts = self.parts(self.bins(prompt.columns or {}))
        return {column.name: float(part) for column, part in zip(self.columns, parts, strict=True)}

    def rescaled(self, scale: float, shift: float) -> TableHead:
        """Return the head with the log-odds scale * (these) + shift, still a sum of tables."""
        return TableHead(
            columns=self.columns,
            base=self.base * scale + shift,
            main=tuple(table * scale for table in self.main),
            pairs={pair: table * scale for pair, table in self.pairs.items()},
        )

    def store(self) -> tuple[dict[str, object], dict[str, np.ndarray]]:
        """Return the JSON description and the arrays that restore the head."""
        flat = [table.ravel() for table in self.pairs.values()]
        arrays = {
            "base": np.array([self.base]),
            "main": np.concatenate(self.main),
            "pair_columns": np.array(list(self.pairs), dtype=np.int32).reshape(-1, 2),
            "pairs": np.concatenate(flat) if flat else np.empty(0),
        }
        return {"head": "table", "bins": [column.describe() for column in self.columns]}, arrays

    @classmethod
    def restore(cls, description: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> TableHead:
        """Restore a head from the output of `store`. Raises `ValueError` when the tables do not fit."""
        columns = from_json(tuple[ColumnBins, ...], description["bins"])
        if len({column.name for column in columns}) < len(columns):
            raise ValueError("two columns have the same name")
        sizes = [column.size for column in columns]
        indices = [(int(j), int(k)) for j, k in stored_array(arrays, "pair_columns", None, 2)]
        if len(set(indices)) < len(indices) or not all(0 <= j < k < len(columns) for j, k in indices):
            raise ValueError("the pairs are no pairs of columns")
        cells = [sizes[j] * sizes[k] for j, k in indices]
        flat_main = stored_array(arrays, "main", sum(sizes))
        flat_pairs = np.split(stored_array(arrays, "pairs", sum(cells)), np.cumsum(cells)[:-1]) if cells else []
        return cls(
            columns=columns,
            base=float(stored_array(arrays, "base", 1)[0]),
            main=tuple(np.split(flat_main, np.cumsum(sizes)[:-1])) if sizes else (),
            pairs={(j, k): t.reshape(sizes[j], sizes[k]) for (j, k), t in zip(indices, flat_pairs, strict=True)},
        )


# --- The `linear` engine: trained heads as arrays, evaluated with numpy.

_PROMPT_CHARACTERS = 250
"""Characters that a prompt counts as in addition to its text: the cost of a kernel or a table."""

MODEL_FILE, ARRAYS_FILE = "model.json", "weights.safetensors"


class Storable(Protocol):
    """Arrays with a description, as stored in a version."""

    def store(self) -> tuple[dict[str, object], dict[str, np.ndarray]]:
        """Return the JSON description and the arrays that restore the object."""
        ...


class Head(Storable, Protocol):
    """Arrays that turn a prompt into logits."""

    @property
    def size(self) -> int:
        """The number of logits."""
        ...

    def logits(self, prompt: Prompt) -> np.ndarray:
        """Return the logits, (L,) float32."""
        ...

    def contributions(self, prompt: Prompt) -> Mapping[str, float]:
        """Return each column's contribution to the first logit; empty where a head has no columns."""
        ...


@dataclass(frozen=True, kw_only=True)
class NgramBlock:
    """The n-gram part of a text head."""

    features: NgramFeatures
    weights: np.ndarray  # (F, L) float16 or float32

    def logits(self, text: str) -> np.ndarray:
        """Return (L,): the sum of the weights of the n-grams in the text."""
        indices, values = self.features.encode(text)
        return np.asarray(values @ self.weights[indices].astype(np.float32))


@dataclass(frozen=True, kw_only=True)
class KernelBlock:
    """The encoding part of a text head: a weighted sum of Gaussian kernels around landmarks."""

    landmarks: np.ndarray  # (M, D) float16, unit length
    weights: np.ndarray  # (M, L) float16
    gamma: float

    def logits(self, vectors: np.ndarray) -> np.ndarray:  # (N, D) -> (N, L)
        """Return exp(-gamma * squared distance to each landmark) @ weights, for unit vectors."""
        # Kept in single precision: a float16 product would be slow and coarse.
        cosines = products(vectors, self._landmarks)  # (N, M)
        return np.asarray(np.exp(2.0 * self.gamma * (cosines - 1.0)) @ self._weights)

    @classmethod
    def restore(cls, gamma: float, arrays: Mapping[str, np.ndarray], labels: int) -> KernelBlock:
        """Restore the block of a stored head with this number of labels. Raises `ValueError`."""
        if isinstance(gamma, bool) or not isinstance(gamma, int | float) or not 0 < gamma < math.inf:
            raise ValueError(f"gamma is {gamma!r}")
        landmarks = stored_array(arrays, "kernel.landmarks", None, None)
        weights = stored_array(arrays, "kernel.weights", len(landmarks), labels)
        return cls(landmarks=landmarks, weights=weights, gamma=float(gamma))

    @cached_property
    def _landmarks(self) -> np.ndarray:
        return self.landmarks.astype(np.float32)

    @cached_property
    def _weights(self) -> np.ndarray:
        return self.weights.astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class TextHead:
    """A text head: logits = n-gram part + kernel block + vector @ projection + bias.

    The n-gram part is the sum of the blocks. With `lexical_bias` it is share * (sum + lexical_bias) + (1 - share) *
    mean(lexical_bias), where `share` is the share of the text's words that training texts had, in units of
    `usual_share` and at most 1: n-grams say nothing of a text in another language, and their bias would name the
    commonest label.
    """

    blocks: tuple[NgramBlock, ...]
    kernel: KernelBlock | None
    bias: np.ndarray  # (L,)
    projection: np.ndarray | None = None  # (D, L) float16, only beside a kernel
    lexical_bias: np.ndarray | None = None  # (L,); None in versions from before, and where labels are independent
    usual_share: float = 1.0
    """Share of known words from which the n-grams count whole."""

    @property
    def size(self) -> int:
        """The number of labels."""
        return len(self.bias)

    def logits(self, prompt: Prompt) -> np.ndarray:
        """Return the logits (L,) of a text and, where the head has a kernel, its vector."""
        total: np.ndarray = self.bias.astype(np.float32)
        if self.lexical_bias is None:
            for block in self.blocks:
                total = total + block.logits(prompt.text)
        elif share := whole_share(words_in(prompt.text).share(*self._known_words), self.usual_share):
            lexical = sum((block.logits(prompt.text) for block in self.blocks), start=self.lexical_bias)
            total = total + share * lexical + (1 - share) * self.lexical_bias.mean()
        else:
            total = total + self.lexical_bias.mean()
        if self.kernel is not None:
            vector = self._vector(prompt)
            of_batch, row = self._kernel_memo.of(vector)
            total = total + of_batch[row]
            if self.projection is not None:
                total = total + vector @ self._projection
        return total

    @property
    def memos(self) -> tuple[BatchMemo[np.ndarray], ...]:
        """The memos that may be prepared for a batch of vectors."""
        return () if self.kernel is None else (self._kernel_memo,)

    @cached_property
    def _kernel_memo(self) -> BatchMemo[np.ndarray]:
        assert self.kernel is not None  # noqa: S101
        return BatchMemo(self.kernel.logits)

    @cached_property
    def _known_words(self) -> tuple[AbstractSet[str], AbstractSet[str]]:
        return known_words(block.features for block in self.blocks)

    @cached_property
    def _projection(self) -> np.ndarray:
        assert self.projection is not None  # noqa: S101
        return self.projection.astype(np.float32)

    def _vector(self, prompt: Prompt) -> np.ndarray:  # (D,)
        """Return the prompt's vector, if it comes from the encoder of the kernel's landmarks."""
        dimension = self.kernel.landmarks.shape[1] if self.kernel is not None else 0
        if prompt.vector is None or prompt.vector.shape != (dimension,):
            problem = "none" if prompt.vector is None else f"one of shape {prompt.vector.shape}"
            raise EngineRejected(
                f"This head needs the text's vector of {dimension} numbers; got {problem}.", engine="linear"
            )
        return prompt.vector

    def contributions(self, prompt: Prompt) -> Mapping[str, float]:  # noqa: ARG002 - the protocol's argument
        """Return nothing, since thousands of n-grams explain nothing to a person."""
        return {}

    def store(self) -> tuple[dict[str, object], dict[str, np.ndarray]]:
        """Return the JSON description and the arrays that restore the head."""
        arrays = {"bias": self.bias}
        for index, block in enumerate(self.blocks):
            arrays |= {f"idf.{index}": block.features.idf, f"weights.{index}": block.weights}
        description: dict[str, object] = {
            "head": "text",
            "blocks": [block.features.describe() for block in self.blocks],
        }
        if self.kernel is not None:
            arrays |= {"kernel.landmarks": self.kernel.landmarks, "kernel.weights": self.kernel.weights}
            description["gamma"] = self.kernel.gamma
        if self.projection is not None:
            arrays["projection"] = self.projection
        if self.lexical_bias is not None:
            arrays |= {"lexical_bias": self.lexical_bias, "usual_share": np.array([self.usual_share], np.float32)}
        return description, arrays

    @classmethod
    def restore(cls, description: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> TextHead:
        """Restore a head from the output of `store`. Raises `ValueError` when its parts do not fit each other."""
        bias = stored_array(arrays, "bias", None)
        blocks = []
        for index, block in enumerate(description["blocks"]):
            features = NgramFeatures.restore(block, arrays, f"idf.{index}")
            weights = stored_array(arrays, f"weights.{index}", len(features.terms), len(bias))
            blocks.append(NgramBlock(features=features, weights=weights))
        kernel = KernelBlock.restore(description["gamma"], arrays, len(bias)) if "gamma" in description else None
        projection = None
        if kernel is not None and "projection" in arrays:
            projection = stored_array(arrays, "projection", kernel.landmarks.shape[1], len(bias))
        lexical_bias = stored_array(arrays, "lexical_bias", len(bias)) if "lexical_bias" in arrays else None
        usual_share = float(stored_array(arrays, "usual_share", 1)[0]) if "usual_share" in arrays else 1.0
        return cls(
            blocks=tuple(blocks),
            kernel=kernel,
            bias=bias,
            projection=projection,
            lexical_bias=lexical_bias,
            usual_share=usual_share,
        )


_HEADS: Mapping[str, Callable[[Mapping[str, Any], Mapping[str, np.ndarray]], Head]] = {
    "text": TextHead.restore,
    "table": TableHead.restore,
}


class LinearEngine:
    """Runs one head. It holds no thread and no file; `close` frees nothing."""

    name = "linear"
    clearance = Label.RESTRICTED

    def __init__(self, head: Head) -> None:
        self._head = head
        self._took = ShortSpans()

    @classmethod
    def load(cls, files: Mapping[str, bytes]) -> LinearEngine:
        """Load the engine of a stored version.

        Raises:
            ArtefactRefused: a file is missing or does not describe a head.
        """
        try:
            description = parse_json(files[MODEL_FILE])
            arrays = load_arrays(files[ARRAYS_FILE])
            return cls(_HEADS[description["head"]](description, arrays))
        except (LookupError, TypeError, ValueError, ArithmeticError, SafetensorError) as error:
            raise ArtefactRefused(
                f"A stored head cannot be read: {type(error).__name__} {error}.",
                hint="Train it again: coterie train NAME",
            ) from error

    @property
    def memos(self) -> tuple[BatchMemo[np.ndarray], ...]:
        """The memos that may be prepared for a batch of vectors."""
        return self._head.memos if isinstance(self._head, TextHead) else ()

    @property
    def size(self) -> int:
        """The number of the head's logits."""
        return self._head.size

    async def run(self, batch: Sequence[Prompt], *, call: CallContext = SYSTEM) -> Sequence[Output]:  # noqa: ARG002 - it runs here
        """Return the logits of each prompt."""
        return await aside(sum(_PROMPT_CHARACTERS + len(prompt.text) for prompt in batch), partial(self._run, batch))

    async def close(self) -> None:
        """Do nothing, since there is nothing to free."""

    def _run(self, batch: Sequence[Prompt]) -> list[Output]:
        return [self._one(prompt) for prompt in batch]

    def _one(self, prompt: Prompt) -> Output:
        with self._took.span(_PROMPT_CHARACTERS + len(prompt.text)) as took:
            scores = self._head.logits(prompt)
            contributions = self._head.contributions(prompt)
        return Output(scores=scores, contributions=contributions, usage=took.usage)


def dump_head(head: Storable, description: Mapping[str, object]) -> dict[str, bytes]:
    """Return a head and its specialist's description as the files of a version."""
    own, arrays = head.store()
    text = json.dumps({**description, **own}, ensure_ascii=False, sort_keys=True, indent=1)
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return {MODEL_FILE: text.encode(), ARRAYS_FILE: save_arrays(contiguous)}
