"""How similar a text is to a specialist's training texts, if there is an encoding to compare.

Two signals that fail in different places: the largest logit (Hendrycks et al. 2022, "Scaling
Out-of-Distribution Detection for Real-World Settings"); and the distance to the nearest training text (Sun,
Ming, Zhu and Li 2022, "Out-of-Distribution Detection with Deep Nearest Neighbors") in the few directions in
which the labels and then the texts differ most, where what lies outside these directions is distance too (the
residual of Wang, Li, Feng and Zhang 2022, "ViM: Out-Of-Distribution with Virtual-logit Matching"). Each is
measured against what is usual for texts that training had not seen, in standard deviations, and they are
averaged. `benchmarks/scope` compares them with others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from coterie.engines.linear import stored_array
from coterie.runtime.caches import BatchMemo, products

SCOPE_FILE = "scope.safetensors"


class Nearness(Protocol):
    """A measure of how near a text is to the training texts."""

    def of(self, vectors: np.ndarray) -> np.ndarray:  # (N, D) -> (N,)
        """Return the nearness of each vector; higher is nearer."""
        ...

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that restore the measure."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Neighbours:
    """The negative distance to the nearest training text along a few axes.

    The part of a unit vector outside the axes counts as distance: no training text is known to lie there.
    """

    axes: np.ndarray  # (D, A) float16, orthonormal: the directions that are looked at
    rows: np.ndarray  # (N, A) float16: training texts along them

    def of(self, vectors: np.ndarray) -> np.ndarray:  # (N, D) -> (N,)
        """Return the nearness of each vector; 0 is a training text that lies along the axes."""
        return self.nearest(vectors @ self._axes)

    def nearest(self, along: np.ndarray) -> np.ndarray:  # (N, A) -> (N,)
        """Return the nearness of unit vectors whose coordinates along the axes are known."""
        inside = (along**2).sum(axis=1)
        squares = inside + (self._lengths - 2.0 * products(along, self._rows)).min(axis=1)
        return np.asarray(-np.sqrt(np.maximum(squares, 0.0) + np.maximum(1.0 - inside, 0.0)))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that restore the measure."""
        return {"axes": self.axes, "rows": self.rows}

    @cached_property
    def _axes(self) -> np.ndarray:
        return self.axes.astype(np.float32)

    @cached_property
    def _rows(self) -> np.ndarray:
        return self.rows.astype(np.float32)

    @cached_property
    def _lengths(self) -> np.ndarray:  # (N,)
        return np.asarray((self._rows**2).sum(axis=1))


@dataclass(frozen=True, kw_only=True, eq=False)
class Centroids:
    """The largest cosine to a label's mean encoding; only older versions hold it, alone or as a third signal."""

    vectors: np.ndarray  # (L, D) float32, unit length

    def of(self, vectors: np.ndarray) -> np.ndarray:  # (N, D) -> (N,)
        """Return the nearness of each vector; higher is nearer."""
        return np.asarray((vectors @ self.vectors.T).max(axis=1))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that restore the measure."""
        return {"centroids": self.vectors.astype(np.float16)}


@dataclass(frozen=True, kw_only=True, eq=False)
class ScopeScore:
    """Computes the in-scope score of a classifier with encodings; 0 is the average text that training had not seen."""

    nearness: tuple[Nearness, ...]
    usual: np.ndarray  # (1 + K, 2): mean and standard deviation of the largest logit, then of each nearness

    def score(self, logits: np.ndarray, vector: np.ndarray) -> float:
        """Return the score of a text; higher is more similar to the training texts.

        Args:
            logits: (L,) logits divided by the temperature.
            vector: (D,) the text's encoding.
        """
        signs_of_memos = [memo.of(vector) for memo in self.memos]
        signs = np.array([logits.max(), *(sign[row] for sign, row in signs_of_memos)])
        return float(self.standardised(signs))

    @cached_property
    def memos(self) -> Sequence[BatchMemo[np.ndarray]]:
        """Computations that may be prepared for a batch of vectors."""
        return [BatchMemo(nearness.of) for nearness in self.nearness]

    def standardised(self, signs: np.ndarray) -> np.ndarray:  # (..., 1 + K) -> (...)
        """Return the score of a largest logit and each nearness."""
        return np.asarray(((signs - self.usual[:, 0]) / self.usual[:, 1]).mean(axis=-1))

    def to_files(self) -> dict[str, bytes]:
        """Return the file that is stored with a version."""
        arrays = {
            name: np.ascontiguousarray(array) for nearness in self.nearness for name, array in nearness.arrays().items()
        }
        return {SCOPE_FILE: save_arrays(arrays | {"usual": self.usual})}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes], labels: int) -> ScopeScore | None:
        """Return the scope of a stored version with so many labels; None if it has none. Raises `ValueError`."""
        if SCOPE_FILE not in files:
            return None
        arrays = load_arrays(files[SCOPE_FILE])
        nearness = tuple(_restore(arrays, labels))
        usual = stored_array(arrays, "usual", 1 + len(nearness), 2)
        if not (usual[:, 1] > 0).all():
            raise ValueError("a standard deviation is not above 0")
        return cls(nearness=nearness, usual=usual)


def _restore(arrays: Mapping[str, np.ndarray], labels: int) -> Iterator[Nearness]:
    if "axes" in arrays or "centroids" not in arrays:
        yield _neighbours(arrays)
    if "centroids" in arrays:
        yield Centroids(vectors=stored_array(arrays, "centroids", labels, None).astype(np.float32))


def _neighbours(arrays: Mapping[str, np.ndarray]) -> Neighbours:
    axes = stored_array(arrays, "axes", None, None)
    rows = stored_array(arrays, "rows", None, axes.shape[1])
    if not len(rows):
        raise ValueError("there is no training text to be near to")
    return Neighbours(axes=axes, rows=rows)
