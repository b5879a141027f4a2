"""Words to the router itself, told by what they mean: "let the travel people answer this", "never mind your rules".

Patterns (`_reading`) know phrases; whoever words an order otherwise walks past them. A linear rule on the encoder's
vectors knows the direction in which orders differ from requests, whatever they name. It is asked only about what names
a specialist or the machine, beside something else that is asked; what it marks is left out of the reading that a route
is made from, and the specialists get the text as it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ORDERS_FILE = Path(__file__).parent / "orders.json"
"""Made by `benchmarks/noise/fit_orders.py`."""
CLEARLY = 2.0
"""Log-odds by which what stands before an order in its clause must be none."""


@dataclass(frozen=True, kw_only=True, eq=False)
class OrderSense:
    """Tells orders from requests; for the vectors of one encoder."""

    weights: np.ndarray  # (D,)
    bias: float

    @classmethod
    def bundled(cls, encoder_sha256: str) -> OrderSense | None:
        """The one that comes with the package; None for another encoder than it was made with."""
        found: Mapping[str, object] = json.loads(ORDERS_FILE.read_text(encoding="utf-8"))
        if found["encoder"] != encoder_sha256:
            return None
        return cls(weights=np.array(found["weights"], dtype=np.float32), bias=float(str(found["bias"])))

    def are_orders(self, vectors: np.ndarray) -> np.ndarray:  # (M, D) -> (M,) bool
        """Which vectors are of words to the router: of requests about 1 in 50."""
        return self._scores(vectors) > 0

    def start(self, states: np.ndarray, offsets: np.ndarray, places: Sequence[int], end: int) -> int:
        """Where in a clause that is words to the router they begin: whoever writes without marks may ask before them.

        Args:
            states: (T, D) of the text's tokens.
            offsets: (T, 2) where they stand in it.
            places: The clause's beginning, then where the words to the router may begin instead.
            end: Of the clause.
        """
        before = self._scores(span_means(states, offsets, np.array([(places[0], place) for place in places[1:]])))
        behind = self._scores(span_means(states, offsets, np.array([(place, end) for place in places[1:]])))
        parted = np.where((before < -CLEARLY) & (behind > 0), behind - before, -np.inf)
        best = int(parted.argmax())
        return places[1 + best] if np.isfinite(parted[best]) else places[0]

    def _scores(self, vectors: np.ndarray) -> np.ndarray:  # (M, D) -> (M,)
        return np.asarray(vectors @ self.weights + self.bias)


def span_means(states: np.ndarray, offsets: np.ndarray, spans: np.ndarray) -> np.ndarray:  # (T, D), (T, 2), (M, 2)
    """The mean of the tokens' states in each span of characters, of unit length: nearly the vectors of the spans."""
    sums = np.vstack([np.zeros_like(states[:1]), np.cumsum(states, axis=0)])
    return means_between(sums, offsets, spans[:, 0], spans[:, 1])


def means_between(sums: np.ndarray, offsets: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:  # (M, D)
    """The same from running sums of the states (T + 1, D)."""
    first, last = np.searchsorted(offsets[:, 0], starts), np.searchsorted(offsets[:, 0], ends)
    means = sums[last] - sums[first]
    return np.asarray(means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), np.finfo(np.float32).tiny))
