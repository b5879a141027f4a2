"""Caches in memory: results of texts that were seen before, by tenant; results of whole batches of vectors."""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from typing import Generic, TypeVar

import numpy as np

T = TypeVar("T")


class KnownTexts(Generic[T]):
    """The newest results of each tenant by a keyed hash of the text. No text is kept, and nothing is written anywhere.

    A cached result must depend on the text alone and contain none of it. The time that an answer takes would show
    whether a text was seen before: a tenant sees that of its own texts alone. When the cache is full, the tenant with
    the most results gives up the one it used longest ago.
    """

    def __init__(self, most: int) -> None:
        """Keep at most `most` results; 0 keeps none."""
        self._most, self._count = most, 0
        self._tenants: dict[str, OrderedDict[bytes, T]] = {}
        self._key = secrets.token_bytes(32)
        self._lock = Lock()

    def __len__(self) -> int:
        return self._count

    def get(self, tenant: str, text: str, beside: bytes = b"") -> T | None:
        """Return the result for a text of this tenant, or None; `beside` is what else the result depends on."""
        with self._lock:
            own = self._tenants.get(tenant)
            if not own:
                return None
            name = self._name(text, beside)
            value = own.get(name)
            if value is not None:
                own.move_to_end(name)
            return value

    def put(self, tenant: str, text: str, result: T, beside: bytes = b"") -> None:
        """Remember a result."""
        if not self._most:
            return
        with self._lock:
            own, name = self._tenants.setdefault(tenant, OrderedDict()), self._name(text, beside)
            self._count += name not in own
            own[name] = result
            own.move_to_end(name)
            if self._count > self._most:
                largest = max(self._tenants, key=lambda name: len(self._tenants[name]))
                self._tenants[largest].popitem(last=False)
                self._count -= 1
                if not self._tenants[largest]:
                    del self._tenants[largest]

    def _name(self, text: str, beside: bytes) -> bytes:
        written = text.encode("utf-8", "surrogatepass") + b"\xff" + beside  # no text holds that byte
        return hashlib.blake2b(written, digest_size=16, key=self._key).digest()


_MOST_ROWS = 64
_FEW = 16
"""Number of texts up to which they are compared one by one."""
_KEPT = 8
"""Number of batches that are remembered: an encoder may be some batches ahead of the caller."""
_WANTED, _NEWEST = 0.5, 0.1
"""Share of used batches from which results are prepared, and the weight of the latest batch in that share."""


class _Batch(Generic[T]):
    """A batch, its result, and whether the result was used."""

    __slots__ = ("asked", "made", "vectors")

    def __init__(self, vectors: np.ndarray) -> None:
        self.vectors, self.asked = vectors, False
        self.made: T | None = None


class BatchMemo(Generic[T]):
    """Calls a function of many vectors once for a whole batch, and remembers its results for the latest batches.

    A vector that an encoder made along with others is a row of their array, and the others are needed shortly after.
    The data that a vector is compared with (megabytes of examples) is then read from memory once for all of them.
    Reading it for each vector, with the encoder at work in between, takes several times as long as the arithmetic.
    """

    def __init__(self, work: Callable[[np.ndarray], T]) -> None:
        """Set the function to call with vectors (B, D)."""
        self._work = work
        self._kept: tuple[_Batch[T], ...] = ()
        self._share = 0.0

    def prepare(self, batch: np.ndarray) -> None:
        """Compute the result in the thread that made the batch, before it is needed, if most earlier batches were used.

        The megabytes that are read in that thread leave the event loop's data in the caches of its core.
        """
        kept = self._keep(batch)
        if self._share >= _WANTED and len(batch) <= _MOST_ROWS:
            with suppress(Exception):  # who asks has it made again, and hears of that
                kept.made = self._work(batch)

    def of(self, vector: np.ndarray) -> tuple[T, int]:  # (D,)
        """Return the result of the vector's batch, or of the vector alone, and the vector's row in it."""
        batch = vector.base
        if not isinstance(batch, np.ndarray) or not _is_row(vector, batch):
            return self._work(vector[None]), 0
        kept = next((memo for memo in self._kept if memo.vectors is batch), None) or self._keep(batch)
        kept.asked = True
        if kept.made is None:
            kept.made = self._work(batch)
        return kept.made, (_address_of(vector) - _address_of(batch)) // batch.strides[0]

    def _keep(self, vectors: np.ndarray) -> _Batch[T]:
        before, kept = self._kept, _Batch[T](vectors)
        if len(before) == _KEPT:
            self._share += (before[0].asked - self._share) * _NEWEST
        self._kept = (*before[1 - _KEPT :], kept)
        return kept


def _is_row(vector: np.ndarray, batch: np.ndarray) -> bool:
    """Return whether a vector is a whole row of an array that is a batch."""
    return (
        batch.ndim == 2
        and batch.shape[1:] == vector.shape
        and 1 <= len(batch) <= _MOST_ROWS
        and batch.dtype == vector.dtype
        and batch.flags.c_contiguous
    )


def _address_of(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def products(vectors: np.ndarray, others: np.ndarray) -> np.ndarray:  # (M, D), (N, D) -> (M, N)
    """Return the product of each vector with each of the others."""
    # A product of a few rows copies all of `others` into blocks first: 0.7 ms, where a row alone takes 0.05.
    if 0 < len(vectors) <= _FEW:
        return np.stack([others @ vector for vector in vectors])
    return np.asarray(vectors @ others.T)
