"""Options drawn towards the texts that are asked about, text by text and without labels.

Each text moves the options by the probabilities that it had: soft k-means as texts arrive, with the names as a prior
(MacQueen 1967). Part of what all texts of a site have in common is taken from each, since it tells no option from
another, and what was likely all along counts a little less. Its constants were chosen on BANKING77's training rows and
CLINC150's validation rows: benchmarks/decisions.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np

from coterie.decisions.questions import fingerprint, spaced
from coterie.types import Question

MOST_TEXTS = 10_000
"""Different texts that move the options of a site; later ones find them where they are."""
_MOST_SITES = 256
"""Sites whose options are remembered, those that were asked last: some 350 kB each for 77 options and two encoders."""
_NAMES, _COMMON, _EARLY, _EVEN, _SOFTER = 3.0, 0.6, 10.0, 0.4, 0.8
"""Texts that the names count for; share of what is common that is taken away, and texts after which half of it is;
what an option's share of all texts counts against it; sharpness beside that of options that stay."""


class DrawnOptions:
    """The options of one question for one tenant."""

    def __init__(self, options: Sequence[str], names: np.ndarray) -> None:  # names (L, D), unit length
        centred = _unit(names - _COMMON * names.mean(axis=0))
        self._places = {spaced(name): place for place, name in enumerate(options)}
        self._sums, self._vectors = _NAMES * centred, centred  # (L, D)
        self._shares = np.full(len(names), 2.0, dtype=np.float32)  # (L,)
        self._common = np.zeros(names.shape[1], dtype=np.float32)  # (D,)
        self._seen: set[int] = set()

    @property
    def texts(self) -> int:
        """How many different texts moved them."""
        return len(self._seen)

    def weigh(
        self, text: str, vector: np.ndarray, options: Sequence[str], sharpness: float
    ) -> np.ndarray:  # (D,) -> (L,)
        """Return the probabilities of the options in this order, and move them; a text that was met moves nothing."""
        common = self._common / (len(self._seen) + _EARLY)
        centred = vector - _COMMON * common
        centred /= np.linalg.norm(centred)
        scores = _SOFTER * sharpness * (self._vectors @ centred) - _EVEN * np.log(self._shares / self._shares.mean())
        weights = np.exp(scores - scores.max())
        weights /= weights.sum()
        key = hash(text)
        if key not in self._seen and len(self._seen) < MOST_TEXTS:
            self._seen.add(key)
            self._sums = self._sums + weights[:, None] * centred
            self._vectors = _unit(self._sums)
            self._shares += weights
            self._common += vector
        return np.asarray(weights[[self._places[spaced(name)] for name in options]])


class Drawing:
    """The drawn options of all sites, each tenant's for itself, in memory."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], DrawnOptions] = OrderedDict()

    def find(self, tenant: str, question: Question) -> DrawnOptions | None:
        """Return the options of a question as this tenant's texts drew them; None if there are none."""
        return self._known.get((tenant, fingerprint(question)))

    def of(self, tenant: str, question: Question, names: Callable[[], np.ndarray]) -> DrawnOptions:
        """Return them; asked for the first time they are the names' vectors (L, D), of unit length."""
        key = (tenant, fingerprint(question))
        if key not in self._known:
            self._known[key] = DrawnOptions(question.names, names())
        self._known.move_to_end(key)
        while len(self._known) > _MOST_SITES:
            self._known.popitem(last=False)
        return self._known[key]


def _unit(vectors: np.ndarray) -> np.ndarray:  # (L, D) -> (L, D)
    lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return np.asarray(vectors / lengths, dtype=np.float32)
