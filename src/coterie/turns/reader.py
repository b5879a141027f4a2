"""Reads a turn with the heads for the network's encoder."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from coterie.turns.heads import TurnHeads, bundled_heads
from coterie.turns.leaning import SCALE, leaning_features, missing_features, words_of
from coterie.types import Output


class TurnReader:
    """Tells small talk from requests, and follow-ups from questions that stand alone."""

    def __init__(self, heads: TurnHeads) -> None:
        self._heads = heads

    @property
    def languages(self) -> frozenset[str]:
        """Those that the heads were trained on."""
        return self._heads.languages

    @classmethod
    def of(cls, about: Mapping[str, str]) -> TurnReader | None:
        """The reader for an encoder by what it says of itself; None if the package has none for it."""
        heads = bundled_heads(about.get("name", ""))
        return None if heads is None else cls(heads)

    def talk(self, vectors: np.ndarray) -> np.ndarray:  # (N, D) -> (N,) bool
        """Which texts are greetings, thanks or chat, by their vectors."""
        logits = self._heads.heads["talk"].logits(vectors * SCALE)
        return np.asarray(logits[:, 1] - logits[:, 0] > self._heads.thresholds["talk"])

    @property
    def least_leaning(self) -> float:
        """Probability from which a turn leans on an earlier one."""
        return self._heads.thresholds["leans"]

    def leans(self, now: Output, last: Output) -> float:
        """How probable it is that a turn leans on the question before it, by their vectors and its tokens' states."""
        if now.states is None or now.vector is None or last.vector is None or not len(now.states):
            return 0.0
        features = leaning_features(np.asarray(now.vector), now.states, np.asarray(last.vector))
        none, leans = self._heads.heads["leans"].logits(features[None])[0]
        return float(1 / (1 + np.exp(np.clip(none - leans, -30, 30))))

    def missing(self, question: str, output: Output, now: Output, text: str) -> tuple[list[str], list[float]]:
        """The words of an earlier question with the log-odds that a turn that leans on it lacks them."""
        words = words_of(question)
        if output.states is None or output.offsets is None or now.vector is None or not words or not len(output.states):
            return [], []
        read = int(output.offsets[-1, 1])
        words = [word for word in words if word.start < read]
        said = frozenset(word.text for word in words_of(text))
        features = missing_features(words, output.states, output.offsets, np.asarray(now.vector), said)
        logits = self._heads.heads["missing"].logits(features)
        return [word.text for word in words], list(logits[:, 1] - logits[:, 0])
