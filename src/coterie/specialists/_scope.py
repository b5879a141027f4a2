"""How much a text is like what a classifier was trained on, where there is an encoding to compare.

Two signs that fail in different places: the largest logit (Hendrycks et al. 2022, "Scaling Out-of-Distribution
Detection for Real-World Settings") and the largest cosine to the mean encoding of a label's training texts. Each is
measured against what is usual for training texts, in standard deviations, and the two are averaged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from coterie.engines import stored_array

SCOPE_FILE = "scope.safetensors"


@dataclass(frozen=True, kw_only=True, eq=False)
class Scope:
    """Gives the in-scope score of an `embedding` classifier; 0 is the average training text."""

    centroids: np.ndarray  # (L, D) float32, unit length: the mean of each label's encodings
    usual: np.ndarray  # (2, 2): mean and standard deviation of the largest logit, then of the largest cosine

    def score(self, logits: np.ndarray, vector: np.ndarray) -> float:
        """Higher is more like the training texts.

        Args:
            logits: (L,) divided by the temperature.
            vector: (D,) the text's encoding.
        """
        signs = np.array([logits.max(), (self.centroids @ vector).max()])
        return float(self.standardised(signs))

    def standardised(self, signs: np.ndarray) -> np.ndarray:  # (..., 2) -> (...)
        """The score of a largest logit and a largest cosine."""
        return np.asarray(((signs - self.usual[:, 0]) / self.usual[:, 1]).mean(axis=-1))

    def to_files(self) -> dict[str, bytes]:
        """The file that is stored with a version."""
        return {SCOPE_FILE: save_arrays({"centroids": self.centroids.astype(np.float16), "usual": self.usual})}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes], labels: int) -> Scope | None:
        """The scope of a stored version with so many labels, if it has one. Raises `ValueError`."""
        if SCOPE_FILE not in files:
            return None
        arrays = load_arrays(files[SCOPE_FILE])
        usual = stored_array(arrays, "usual", 2, 2)
        if not (usual[:, 1] > 0).all():
            raise ValueError("a standard deviation is not above 0")
        return cls(centroids=stored_array(arrays, "centroids", labels, None).astype(np.float32), usual=usual)
