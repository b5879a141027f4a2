"""What is made of a vector, made for all vectors of its batch at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np

T = TypeVar("T")
_MOST_ROWS = 64
_FEW = 16
"""Texts that are compared one by one."""


class BatchMemo(Generic[T]):
    """Calls a function of many vectors once for a whole batch, and remembers what it gave for the latest batch.

    A vector that an encoder made along with others is a row of their array, and the others are asked for in a moment.
    What a vector is compared with (megabytes of examples) is read from memory once for all of them then; for each by
    itself, with the encoder at work in between, that takes several times as long as the arithmetic.
    """

    def __init__(self, work: Callable[[np.ndarray], T]) -> None:
        """Take what is called with vectors (B, D)."""
        self._work = work
        self._latest: tuple[np.ndarray | None, T | None] = (None, None)

    def of(self, vector: np.ndarray) -> tuple[T, int]:  # (D,)
        """Return what was made of the vector's batch, or of it alone, and its row there."""
        batch = vector.base
        if not isinstance(batch, np.ndarray) or not _is_row(vector, batch):
            return self._work(vector[None]), 0
        known, made = self._latest
        if known is not batch or made is None:
            made = self._work(batch)
            self._latest = (batch, made)
        return made, (_place(vector) - _place(batch)) // batch.strides[0]


def _is_row(vector: np.ndarray, batch: np.ndarray) -> bool:
    """Whether a vector is a whole row of an array that is a batch."""
    return (
        batch.ndim == 2
        and batch.shape[1:] == vector.shape
        and 1 < len(batch) <= _MOST_ROWS
        and batch.dtype == vector.dtype
        and batch.flags.c_contiguous
    )


def _place(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def products(vectors: np.ndarray, others: np.ndarray) -> np.ndarray:  # (M, D), (N, D) -> (M, N)
    """Each vector's product with each of the others."""
    # A product of a few rows copies all of `others` into blocks first: 0.7 ms, where a row alone takes 0.05.
    if 0 < len(vectors) <= _FEW:
        return np.stack([others @ vector for vector in vectors])
    return np.asarray(vectors @ others.T)
