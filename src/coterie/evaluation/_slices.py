"""How good a specialist is on the rows of each label: where an average hides that one of them got worse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True, kw_only=True)
class Slice:
    """The rows of one label."""

    n: int
    """Rows with the label."""
    recall: float
    """Share of them on which it was found."""
    precision: float | None
    """Share of the rows said to have it that have it; None if it was never said."""
    f1: float
    right: tuple[bool, ...]
    """Whether it was found, row by row in the order of the data."""

    def to_json(self) -> dict[str, object]:
        """The figures as JSON values."""
        return {**vars(self), "right": pack(self.right)}


def slice_labels(truth: Sequence[Sequence[str]], found: Sequence[Sequence[str]]) -> dict[str, Slice]:
    """The slice of each label that a row has, by label.

    Args:
        truth: Labels of each row.
        found: What was said of it, accepted or not.
    """
    said: dict[str, int] = {}
    for labels in found:
        for label in set(labels):
            said[label] = said.get(label, 0) + 1
    right: dict[str, list[bool]] = {}
    for labels, guesses in zip(truth, found, strict=True):
        for label in labels:
            right.setdefault(label, []).append(label in guesses)
    return {label: _slice(tuple(rows), said.get(label, 0)) for label, rows in sorted(right.items())}


def pack(right: ArrayLike) -> str:
    """Truth values as hexadecimal digits, four a digit, filled up with zeros."""
    return np.packbits(np.asarray(right, dtype=bool)).tobytes().hex()


def unpack(digits: str, n: int) -> np.ndarray:
    """The first `n` truth values (n,). Raises `ValueError` if there are fewer, or it was not packed."""
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(digits), dtype=np.uint8))
    if not 0 <= n <= len(bits) < n + 8:
        raise ValueError(f"there are {len(bits)} truth values for {n} rows")
    return bits[:n].astype(bool)


def _slice(right: tuple[bool, ...], said: int) -> Slice:
    hits = sum(right)
    return Slice(
        n=len(right),
        recall=hits / len(right),
        precision=hits / said if said else None,
        f1=2 * hits / (len(right) + said),
        right=right,
    )
