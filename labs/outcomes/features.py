"""What a prompt looks like to an outcome profile: its meaning, its words, its form.

Meaning is the bundled encoder's vector, and how many other prompts are near: what is asked often is easier. Words are
TF-IDF of word n-grams, brought to a few dimensions that are learned from prompts without outcomes (latent semantic
analysis, Deerwester et al. 1990), of which there are more than of prompts with outcomes. Form is length, numbers,
options, negations: how much there is to get wrong.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.decomposition import TruncatedSVD

from coterie.engines.linear import NgramFeatures, fit_ngrams

_DIMENSIONS = 200
"""Of the words; fewer where there are fewer prompts."""
_TERMS = 20_000
_FORM_SHARE = 0.1
"""What a standard deviation of form counts beside a unit vector of meaning."""
_TINY = 1e-9
_OTHERS = 4_000
"""Prompts that nearness is measured to; 3 MB."""
_NEAREST = (3, 30)
_AT_ONCE = 1_000
_SAME = 0.9999
"""A cosine from which a prompt is met again: it is no neighbour of itself."""
_OPTION = re.compile(r"^\s*(?:\(?[A-Ja-j1-9][.):])\s+(.*)$", re.MULTILINE)
_NEGATIONS = re.compile(r"\b(?:not|except|least|never|incorrect|false|cannot|without|n't)\b", re.IGNORECASE)
_CHOOSING = re.compile(r"\bwhich (?:of|one|statement)\b", re.IGNORECASE)
_COUNTING = re.compile(r"\bhow (?:many|much|long|far|often)\b|\bcalculate\b|\bcompute\b", re.IGNORECASE)
_ALL_OR_NONE = re.compile(r"\b(?:all|none|both|neither) of\b|\bboth\b", re.IGNORECASE)
_CASES = re.compile(r"\b(?:if|suppose|assume|would|should|scenario|statement)\b", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, eq=False)
class PromptFeatures:
    """Turns prompts and their encodings into rows (N, F)."""

    words: NgramFeatures
    axes: np.ndarray  # (V, K) float16: the directions in which prompts' words differ most
    others: np.ndarray  # (R, D) float16: encodings that nearness is measured to
    form: np.ndarray  # (2, 18): mean and standard deviation of each sign of form, nearness included

    def of(self, prompts: Sequence[str], vectors: np.ndarray) -> np.ndarray:  # (N, D) -> (N, F)
        """The features of prompts with encodings of unit length."""
        spoken = _words(self.words, prompts) @ self.axes.astype(np.float32)
        spoken /= np.linalg.norm(spoken, axis=1, keepdims=True) + _TINY
        signs = np.hstack([form_of(prompts), nearness(vectors, self.others)])
        shape = (signs - self.form[0]) / (self.form[1] + _TINY) * _FORM_SHARE
        return np.hstack([vectors, spoken, np.clip(shape, -1.0, 1.0)]).astype(np.float64)


def fit_features(prompts: Sequence[str], vectors: np.ndarray, *, seed: int) -> PromptFeatures:
    """Features learned from prompts and their encodings (N, D) alone: no outcome is looked at."""
    words = fit_ngrams(prompts, unit="word", shortest=1, longest=2, at_least=2, at_most=_TERMS)
    matrix = _words(words, prompts)
    dimensions = min(_DIMENSIONS, matrix.shape[1] - 1, matrix.shape[0] - 1)
    if dimensions < 1:
        axes = np.zeros((matrix.shape[1], 1))
    else:
        with np.errstate(invalid="ignore"):  # of prompts that have the same words none explains any variance
            axes = TruncatedSVD(dimensions, n_iter=4, random_state=seed).fit(matrix).components_.T
    chosen = np.random.default_rng(seed).permutation(len(prompts))[:_OTHERS]
    others = vectors[np.sort(chosen)].astype(np.float16)
    form = np.hstack([form_of(prompts), nearness(vectors, others)])
    spread = np.stack([form.mean(axis=0), form.std(axis=0)])
    return PromptFeatures(words=words, axes=np.asarray(axes, dtype=np.float16), others=others, form=spread)


def nearness(vectors: np.ndarray, others: np.ndarray) -> np.ndarray:  # (N, D), (R, D) -> (N, 2)
    """The mean cosine of each prompt to the few, and to the many, others that are nearest to it; itself left out."""
    nearest = np.zeros((len(vectors), len(_NEAREST)))
    reference, most = others.astype(np.float32).T, _NEAREST[-1]
    for start in range(0, len(vectors), _AT_ONCE):
        cosines = vectors[start : start + _AT_ONCE].astype(np.float32) @ reference
        cosines[cosines > _SAME] = -1.0
        k = min(most, cosines.shape[1])
        top = -np.sort(-np.partition(cosines, -k, axis=1)[:, -k:], axis=1)
        for column, count in enumerate(_NEAREST):
            nearest[start : start + _AT_ONCE, column] = top[:, :count].mean(axis=1)
    return nearest


def _words(words: NgramFeatures, prompts: Sequence[str]) -> csr_matrix:  # (N, V)
    rows = [words.encode(prompt) for prompt in prompts]
    starts = np.concatenate([[0], np.cumsum([len(row.indices) for row in rows])])
    indices = np.concatenate([np.asarray(row.indices) for row in rows]) if rows else np.zeros(0, dtype=int)
    values = np.concatenate([np.asarray(row.values) for row in rows]) if rows else np.zeros(0)
    return csr_matrix((values, indices, starts), shape=(len(rows), len(words.terms)), dtype=np.float32)


def form_of(prompts: Sequence[str]) -> np.ndarray:  # (N, 16)
    """The signs of form of each prompt."""
    return np.array([_form(prompt) for prompt in prompts], dtype=np.float64).reshape(len(prompts), len(_form("")))


def _form(prompt: str) -> list[float]:
    length, words = max(len(prompt), 1), prompt.split()
    options = [len(option) for option in _OPTION.findall(prompt)] or [0]
    digits = sum(character.isdigit() for character in prompt)
    signs = sum(character in "=+*^/<>{}[]|\\$" for character in prompt)
    return [
        np.log1p(length),
        np.log1p(length - sum(options)),
        np.log1p(np.mean(options)),
        np.log1p(np.std(options)),
        np.log1p(max(options)),
        np.log1p(len(options)),
        np.log1p(digits),
        digits / length,
        np.log1p(signs),
        sum(character.isupper() for character in prompt) / length,
        float(np.mean([len(word) for word in words])) if words else 0.0,
        float(bool(_NEGATIONS.search(prompt))),
        float(bool(_CHOOSING.search(prompt))),
        float(bool(_COUNTING.search(prompt))),
        float(bool(_ALL_OR_NONE.search(prompt))),
        float(bool(_CASES.search(prompt))),
    ]
