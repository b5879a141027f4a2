"""How much a text is like what a classifier was trained on, where there is an encoding to compare.

Two signs that fail in different places: the largest logit (Hendrycks et al. 2022, "Scaling Out-of-Distribution
Detection for Real-World Settings") and the distance to the nearest training text (Sun, Ming, Zhu and Li 2022,
"Out-of-Distribution Detection with Deep Nearest Neighbors"), in the few directions in which the labels and then the
texts differ most. Each is measured against what is usual for texts that training had not seen, in standard
deviations, and the two are averaged. `benchmarks/scope` compares it with others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from coterie.engines import stored_array

SCOPE_FILE = "scope.safetensors"


class Nearness(Protocol):
    """How near a text is to the training texts."""

    def of(self, vectors: np.ndarray) -> np.ndarray:  # (N, D) -> (N,)
        """Higher is nearer."""
        ...

    def arrays(self) -> dict[str, np.ndarray]:
        """What restores it."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Neighbours:
    """The distance to the nearest training text, with its sign turned."""

    axes: np.ndarray  # (D, A) float16, orthonormal: the directions that are looked at
    rows: np.ndarray  # (N, A) float16: training texts along them

    def of(self, vectors: np.ndarray) -> np.ndarray:  # (N, D) -> (N,)
        """Higher is nearer; 0 is a training text itself."""
        return self.nearest(vectors @ self._axes)

    def nearest(self, along: np.ndarray) -> np.ndarray:  # (N, A) -> (N,)
        """The same for texts whose places along the axes are known."""
        squares = (along**2).sum(axis=1) + (self._lengths - 2.0 * (along @ self._rows.T)).min(axis=1)
        return np.asarray(-np.sqrt(np.maximum(squares, 0.0)))

    def arrays(self) -> dict[str, np.ndarray]:
        """What restores it."""
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
    """The largest cosine to a label's mean encoding: what older versions hold."""

    vectors: np.ndarray  # (L, D) float32, unit length

    def of(self, vectors: np.ndarray) -> np.ndarray:  # (N, D) -> (N,)
        """Higher is nearer."""
        return np.asarray((vectors @ self.vectors.T).max(axis=1))

    def arrays(self) -> dict[str, np.ndarray]:
        """What restores it."""
        return {"centroids": self.vectors.astype(np.float16)}


@dataclass(frozen=True, kw_only=True, eq=False)
class Scope:
    """Gives the in-scope score of a classifier with encodings; 0 is the average text that training had not seen."""

    nearness: Nearness
    usual: np.ndarray  # (2, 2): mean and standard deviation of the largest logit, then of the nearness

    def score(self, logits: np.ndarray, vector: np.ndarray) -> float:
        """Higher is more like the training texts.

        Args:
            logits: (L,) divided by the temperature.
            vector: (D,) the text's encoding.
        """
        signs = np.array([logits.max(), self.nearness.of(vector[None])[0]])
        return float(self.standardised(signs))

    def standardised(self, signs: np.ndarray) -> np.ndarray:  # (..., 2) -> (...)
        """The score of a largest logit and a nearness."""
        return np.asarray(((signs - self.usual[:, 0]) / self.usual[:, 1]).mean(axis=-1))

    def to_files(self) -> dict[str, bytes]:
        """The file that is stored with a version."""
        arrays = {name: np.ascontiguousarray(array) for name, array in self.nearness.arrays().items()}
        return {SCOPE_FILE: save_arrays(arrays | {"usual": self.usual})}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes], labels: int) -> Scope | None:
        """The scope of a stored version with so many labels, if it has one. Raises `ValueError`."""
        if SCOPE_FILE not in files:
            return None
        arrays = load_arrays(files[SCOPE_FILE])
        usual = stored_array(arrays, "usual", 2, 2)
        if not (usual[:, 1] > 0).all():
            raise ValueError("a standard deviation is not above 0")
        return cls(nearness=_restore(arrays, labels), usual=usual)


def _restore(arrays: Mapping[str, np.ndarray], labels: int) -> Nearness:
    if "centroids" in arrays:
        return Centroids(vectors=stored_array(arrays, "centroids", labels, None).astype(np.float32))
    axes = stored_array(arrays, "axes", None, None)
    rows = stored_array(arrays, "rows", None, axes.shape[1])
    if not len(rows):
        raise ValueError("there is no training text to be near to")
    return Neighbours(axes=axes, rows=rows)
