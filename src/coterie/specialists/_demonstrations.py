"""Training texts with their labels, found by their encoding: what a prompted model is shown, and who votes with it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from coterie.engines import stored_array

ARRAYS_FILE, TEXTS_FILE = "demonstrations.safetensors", "demonstrations.json"
_SHARPNESS = 10.0
"""A neighbour's vote is exp(10 x cosine): one that is .1 closer counts e times as much."""


class Neighbour(NamedTuple):
    """A training text near the one that is asked about."""

    text: str
    label: str
    cosine: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Demonstrations:
    """Candidates for a prompt, each with its unit vector."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    """Of each text."""
    vectors: np.ndarray  # (N, D) float32

    def nearest(self, vector: np.ndarray, n: int, *, leave_out: np.ndarray | None = None) -> list[Neighbour]:
        """The most similar texts, nearest first; equal ones in their order.

        Liu et al. 2022, "What Makes Good In-Context Examples for GPT-3?" (their KATE): the nearest neighbours of a
        text in the space of a sentence encoder are better examples for it than random ones.

        Args:
            vector: (D,) the text's encoding, of unit length.
            n: How many at most.
            leave_out: (N,) those that must not be found.
        """
        cosines = self.vectors @ vector
        if leave_out is not None:
            cosines = np.where(leave_out, -np.inf, cosines)
        order = np.argsort(-cosines, kind="stable")[:n]
        return [Neighbour(self.texts[i], self.labels[i], float(cosines[i])) for i in order if np.isfinite(cosines[i])]

    def to_files(self) -> dict[str, bytes]:
        """The files that are stored with a version."""
        names = sorted(set(self.labels))
        numbers = np.array([names.index(label) for label in self.labels], dtype=np.int32)
        arrays: dict[str, np.ndarray] = {"vectors": self.vectors.astype(np.float16), "labels": numbers}
        texts = {"labels": names, "texts": list(self.texts)}
        return {
            ARRAYS_FILE: save_arrays(arrays),
            TEXTS_FILE: json.dumps(texts, indent=0, ensure_ascii=False).encode(),
        }

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Demonstrations:
        """Those of a stored version. Raises `KeyError` or `ValueError` if they are not whole."""
        described, arrays = json.loads(files[TEXTS_FILE]), load_arrays(files[ARRAYS_FILE])
        texts, names = (_strings(described, key) for key in ("texts", "labels"))
        numbers = stored_array(arrays, "labels", len(texts))
        if len(numbers) and not (numbers.min() >= 0 and numbers.max() < len(names)):
            raise ValueError("a demonstration's label is none of those named")
        return cls(
            texts=texts,
            labels=tuple(names[number] for number in numbers),
            vectors=stored_array(arrays, "vectors", len(texts), None).astype(np.float32),
        )


def _strings(described: Mapping[str, object], key: str) -> tuple[str, ...]:
    values = described[key]
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError(f"{key!r} is no list of strings")
    return tuple(values)


def vote(neighbours: Sequence[Neighbour]) -> dict[str, float]:
    """Each label's share of the neighbours' votes, the nearer the weightier; nearest label first."""
    weights = [np.exp(_SHARPNESS * (each.cosine - 1.0)) for each in neighbours]
    shares = dict.fromkeys((each.label for each in neighbours), 0.0)
    for each, weight in zip(neighbours, weights, strict=True):
        shares[each.label] += float(weight / sum(weights))
    return shares
