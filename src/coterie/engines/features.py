"""Weighted n-grams of a text: what a lexical head looks at.

The features are a plain value that reads and writes itself as JSON and arrays. They are non-negative and sparse:
`encode` gives indices and values, never a dense row.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from coterie.runtime.codec import DecodeError, from_json

# --- Checks of what a file says before a head is made of it: a file is data from outside, whoever signed for it.


def stored_array(arrays: Mapping[str, np.ndarray], name: str, *shape: int | None) -> np.ndarray:
    """The array of this name.

    Args:
        arrays: What the file holds.
        name: Which one.
        shape: What its shape must be; None stands for any length.

    Raises:
        ValueError: there is none, or its shape or a value is wrong.
    """
    if name not in arrays:
        raise ValueError(f"there is no array {name!r}")
    array = arrays[name]
    fits = len(array.shape) == len(shape) and all(
        wanted in {None, found} for wanted, found in zip(shape, array.shape, strict=True)
    )
    if not fits:
        raise ValueError(f"array {name!r} has the shape {array.shape}, not {shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"array {name!r} has values that are not finite")
    return array


def stored_strings(description: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """A list of distinct strings. Raises `ValueError`."""
    try:
        values = from_json(tuple[str, ...], description[key])
    except DecodeError as error:
        raise error.within(f".{key}") from error
    if len(set(values)) < len(values):
        raise ValueError(f"{key!r} names something twice")
    return values


_WORD = re.compile(r"\w+|[$%!?]")  # amounts, questions and exclamations tell classes apart


class Sparse(NamedTuple):
    """The non-zero features of one row."""

    indices: np.ndarray  # (K,) int32
    values: np.ndarray  # (K,) float32


def word_ngrams(text: str, shortest: int, longest: int) -> Iterator[str]:
    """Runs of `shortest` to `longest` lowercase words; `$`, `%`, `!` and `?` count as words."""
    words = _WORD.findall(text.lower())
    for n in range(shortest, longest + 1):
        for start in range(len(words) - n + 1):
            yield " ".join(words[start : start + n])


def char_ngrams(text: str, shortest: int, longest: int) -> Iterator[str]:
    """Character n-grams inside the words of the lowercase text, each word padded with a space on both sides."""
    for word in text.lower().split():
        padded = f" {word} "
        for n in range(shortest, longest + 1):
            if n >= len(padded):
                yield padded
                break
            for start in range(len(padded) - n + 1):
                yield padded[start : start + n]


_ANALYSERS = {"word": word_ngrams, "char": char_ngrams}


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

    def grams(self, text: str) -> Iterator[str]:
        """The text's n-grams, known or not."""
        return _ANALYSERS[self.unit](text, self.shortest, self.longest)

    def encode(self, text: str) -> Sparse:
        """The features of one text; a text without a known n-gram has none."""
        counts = Counter(index for gram in self.grams(text) if (index := self.terms.get(gram)) is not None)
        indices = np.fromiter(counts.keys(), dtype=np.int32, count=len(counts))
        frequency = np.fromiter(counts.values(), dtype=np.float32, count=len(counts))
        values = (1.0 + np.log(frequency)) * self.idf[indices]
        length = float(np.linalg.norm(values))
        return Sparse(indices, (values / length if length else values).astype(np.float32))

    def describe(self) -> dict[str, object]:
        """The JSON side; `idf` is stored with the arrays."""
        terms = sorted(self.terms, key=self.terms.__getitem__)
        return {"unit": self.unit, "shortest": self.shortest, "longest": self.longest, "terms": terms}

    @classmethod
    def restore(cls, description: Mapping[str, Any], arrays: Mapping[str, np.ndarray], name: str) -> NgramFeatures:
        """The features that `describe` and the array `name` came from. Raises `ValueError` if they do not fit."""
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
    """Features of the n-grams that occur in `at_least` texts or more, the `at_most` most frequent of them.

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
