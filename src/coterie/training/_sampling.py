"""Which rows stand for all of them, where each one costs."""

from __future__ import annotations

import numpy as np


def sample(count: int, most: int, seed: int) -> np.ndarray:  # (M,)
    """At most so many of the first `count` numbers, drawn by the seed, in order."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, size=most, replace=False))


def balanced(labels: np.ndarray, most: int, seed: int) -> np.ndarray:  # (N,) -> (K,)
    """Positions of at most so many rows, in order: none of a label is left out while another has more.

    Args:
        labels: (N,) each row's label.
        most: How many are kept.
        seed: Decides which.
    """
    if len(labels) <= most:
        return np.arange(len(labels))
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    turn = np.zeros(len(labels), dtype=np.int64)  # the how-many-eth of its label each row is
    seen: dict[int, int] = {}
    for place in shuffled:
        turn[place] = seen.get(int(labels[place]), 0)
        seen[int(labels[place])] = int(turn[place]) + 1
    order = shuffled[np.argsort(turn[shuffled], kind="stable")]
    return np.sort(order[:most])
