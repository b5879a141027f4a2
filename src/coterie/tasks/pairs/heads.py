"""Heads for pairs: from the clauses of a document and a hypothesis to logits, in two steps.

First each clause is scored, for every hypothesis known from training and every label that evidence can speak for:
is this a clause that decides for it? Then the best scores of a document become a few features, and a linear decision
a hypothesis turns them into logits. What the clauses score does not depend on the question, so a document is read
once. A hypothesis that is not known is decided by how like its words the clauses are, which says little: that is
calibrated apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from coterie.engines.features import NgramFeatures, Sparse, stored_array, stored_strings
from coterie.engines.linear import KernelBlock
from coterie.text.language import language_of
from coterie.text.words import exceptions, negations, plain

NEVER = -1.0
"""Score of a clause for a label that a hypothesis has no evidence of in training."""
BEST = 3
"""Best clauses that are looked at for each label."""
COUNT_IN_SUMMARY, COUNT_IN_OPEN = -1, -4
"""Where `summarise` and `open_features` have the logarithm of the number of clauses."""
_READ = 20  # clauses by which the language of a document is told
_SHARPNESS = 4.0  # of the soft maximum over clauses


class Clauses(NamedTuple):
    """A document as a head reads it."""

    grams: Sequence[Sparse]  # S
    words: Sequence[frozenset[str]]  # S, of the closed class that turns a meaning round
    vectors: np.ndarray | None  # (S, D)
    scores: np.ndarray  # (S, models, H, E)


class OpenQuestion(NamedTuple):
    """A hypothesis that is not known, as a head reads it."""

    grams: Sparse
    words: frozenset[str]
    vector: np.ndarray | None  # (D,)


class PairVerdict(NamedTuple):
    """What a head says of a pair."""

    logits: np.ndarray  # (L,)
    relevance: np.ndarray  # (S,) how much each clause decides


def normal_form(hypothesis: str) -> str:
    """What two hypotheses must share to be one: everything but case, spaces and the full stop."""
    return plain(hypothesis).rstrip(" .")


def denying_words(texts: Sequence[str]) -> list[frozenset[str]]:
    """The words of each clause of one document that turn a meaning round, or take something out, in its language."""
    language = language_of(" ".join(texts[:_READ]), "en")
    denying = negations(language) | exceptions(language)
    return [denying.intersection(text.casefold().replace(",", " ").replace(".", " ").split()) for text in texts]


@dataclass(frozen=True, kw_only=True, eq=False)
class PairHead:
    """Scores of clauses, and decisions on them.

    H known hypotheses, E labels with evidence, L labels; K columns, each a hypothesis and a label of which training
    had evidence.
    """

    labels: tuple[str, ...]
    hypotheses: tuple[str, ...]
    """The known ones, in normal form."""
    evident: tuple[int, ...]
    """Positions of the labels that evidence speaks for."""
    columns: np.ndarray  # (K, 2) int: hypothesis, place among the evident labels
    features: NgramFeatures
    weights: np.ndarray  # (F, K)
    bias: np.ndarray  # (K,)
    kernel: KernelBlock | None
    kernel_bias: float
    decision: np.ndarray  # (H, P, L)
    decision_bias: np.ndarray  # (H, L)
    open_decision: np.ndarray  # (Q, L)
    open_bias: np.ndarray  # (L,)

    @cached_property
    def _position(self) -> Mapping[str, int]:
        return {hypothesis: index for index, hypothesis in enumerate(self.hypotheses)}

    @property
    def models(self) -> int:
        """How many score the clauses: n-grams, and the encodings where there are any."""
        return 1 if self.kernel is None else 2

    def position(self, hypothesis: str) -> int | None:
        """Which known hypothesis this is; None for one that is not known."""
        return self._position.get(normal_form(hypothesis))

    def read(self, texts: Sequence[str], vectors: np.ndarray | None) -> Clauses:
        """The clauses of a document, scored for every known hypothesis.

        Args:
            texts: The clauses, at least one.
            vectors: (S, D), where the head has a kernel.
        """
        grams = [self.features.encode(text) for text in texts]
        weights = self._weights
        lexical = np.stack([values @ weights[indices] for indices, values in grams]) + self.bias
        models = [lexical]
        if self.kernel is not None and vectors is not None:
            models.append(self.kernel.logits(vectors) + self.kernel_bias)
        scores = spread(np.stack(models, axis=1), self.columns, len(self.hypotheses), len(self.evident))
        return Clauses(grams, denying_words(texts), vectors, scores)

    def ask(self, hypothesis: str, vector: np.ndarray | None) -> OpenQuestion:  # ..., (D,)
        """A hypothesis that is not known, with its encoding where the head has a kernel."""
        return OpenQuestion(self.features.encode(hypothesis), denying_words([hypothesis])[0], vector)

    def decide(self, clauses: Clauses, position: int) -> PairVerdict:
        """What a document says of a known hypothesis."""
        own = clauses.scores[:, :, position, :]  # (S, models, E)
        logits = summarise(own) @ self.decision[position] + self.decision_bias[position]
        return PairVerdict(logits, relevance(own))

    def guess(self, clauses: Clauses, question: OpenQuestion) -> PairVerdict:
        """What a document seems to say of a hypothesis that is not known."""
        alike = likeness(clauses, question, len(self.features.terms))
        logits = open_features(clauses, question, alike) @ self.open_decision + self.open_bias
        return PairVerdict(logits, alike.sum(axis=1))

    @cached_property
    def _weights(self) -> np.ndarray:
        return self.weights.astype(np.float32)

    # --- stored ----------------------------------------------------------------------------------

    def store(self) -> tuple[dict[str, object], dict[str, np.ndarray]]:
        """The JSON description and the arrays that restore it."""
        arrays = {
            "idf": self.features.idf,
            "weights": self.weights,
            "bias": self.bias,
            "columns": self.columns,
            "decision": self.decision,
            "decision_bias": self.decision_bias,
            "open": self.open_decision,
            "open_bias": self.open_bias,
        }
        description: dict[str, object] = {
            "head": "pairs",
            "labels": list(self.labels),
            "hypotheses": list(self.hypotheses),
            "evident": list(self.evident),
            "features": self.features.describe(),
        }
        if self.kernel is not None:
            arrays |= {"kernel.landmarks": self.kernel.landmarks, "kernel.weights": self.kernel.weights}
            description |= {"gamma": self.kernel.gamma, "kernel_bias": self.kernel_bias}
        return description, arrays

    @classmethod
    def restore(cls, description: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> PairHead:
        """The head that `store` was asked of. Raises `ValueError` when its parts do not fit each other."""
        labels, hypotheses = stored_strings(description, "labels"), stored_strings(description, "hypotheses")
        evident = tuple(int(place) for place in description["evident"])
        columns = stored_array(arrays, "columns", None, 2).astype(np.int64)
        if not all(0 <= place < len(labels) for place in evident) or not evident:
            raise ValueError("the labels with evidence are none of its labels")
        if (columns < 0).any() or (columns >= [max(len(hypotheses), 1), len(evident)]).any():
            raise ValueError("a column is of no known hypothesis or label")
        features = NgramFeatures.restore(description["features"], arrays, "idf")
        kernel = KernelBlock.restore(description["gamma"], arrays, len(columns)) if "gamma" in description else None
        models = 1 if kernel is None else 2
        width, open_width = summary_width(models, len(evident)), open_width_of(models)
        return cls(
            labels=labels,
            hypotheses=hypotheses,
            evident=evident,
            columns=columns,
            features=features,
            weights=stored_array(arrays, "weights", len(features.terms), len(columns)),
            bias=stored_array(arrays, "bias", len(columns)),
            kernel=kernel,
            kernel_bias=float(description.get("kernel_bias", 0.0)),
            decision=stored_array(arrays, "decision", len(hypotheses), width, len(labels)),
            decision_bias=stored_array(arrays, "decision_bias", len(hypotheses), len(labels)),
            open_decision=stored_array(arrays, "open", open_width, len(labels)),
            open_bias=stored_array(arrays, "open_bias", len(labels)),
        )


# --- What training shares with the head ----------------------------------------------------------


def spread(scores: np.ndarray, columns: np.ndarray, hypotheses: int, evident: int) -> np.ndarray:
    """Columns of scores (S, models, K) by hypothesis and label: (S, models, H, E)."""
    table = np.full((*scores.shape[:2], hypotheses, evident), NEVER, dtype=np.float32)
    table[:, :, columns[:, 0], columns[:, 1]] = scores
    return table


def summary_width(models: int, evident: int) -> int:
    """Length of what `summarise` gives."""
    return models * ((BEST + 2) * evident + 2) + 1


def summarise(scores: np.ndarray) -> np.ndarray:  # (S, models, E) -> (P,)
    """A document's clauses for one hypothesis as a few numbers.

    For each model: the best scores of each label, their soft maximum, the best scores of any label, and which label
    the best clause speaks for. At last the number of clauses: among many, one scores high by chance.
    """
    short = BEST - len(scores)
    padded = scores
    if short > 0:
        padded = np.concatenate([scores, np.repeat(scores.min(axis=0, keepdims=True), short, axis=0)])
    ranked = -np.sort(-padded, axis=0)[:BEST]  # (BEST, models, E)
    top = ranked[0]
    soft = top + np.log(np.exp(_SHARPNESS * (scores - top)).sum(axis=0)) / _SHARPNESS  # (models, E)
    anyone = scores.max(axis=2)  # (S, models)
    first = anyone.argmax(axis=0)
    second = -np.sort(-padded.max(axis=2), axis=0)[1]
    best = scores[first, np.arange(scores.shape[1])]  # (models, E)
    leaning = best - best.mean(axis=1, keepdims=True)
    parts = [*ranked, soft, leaning, anyone.max(axis=0)[:, None], second[:, None]]
    return np.append(np.concatenate(parts, axis=1).ravel(), np.log(len(scores)))


def relevance(scores: np.ndarray) -> np.ndarray:  # (S, models, E) -> (S,)
    """How much each clause decides: the models' scores together, for the label it speaks for most."""
    return np.asarray(scores.sum(axis=1).max(axis=1))


def open_width_of(models: int) -> int:
    """Length of what `open_features` gives."""
    return BEST * models + 4


def likeness(clauses: Clauses, question: OpenQuestion, terms: int) -> np.ndarray:  # (S, models)
    """How like a hypothesis each clause is: cosine of TF-IDF, and of the encodings where there are any."""
    dense = np.zeros(terms, dtype=np.float32)
    dense[question.grams.indices] = question.grams.values
    lexical = np.array([values @ dense[indices] for indices, values in clauses.grams])
    if clauses.vectors is None or question.vector is None:
        return np.asarray(lexical[:, None])
    return np.stack([lexical, clauses.vectors @ question.vector], axis=1)


def open_features(clauses: Clauses, question: OpenQuestion, alike: np.ndarray) -> np.ndarray:  # (Q,)
    """The best likenesses, the number of clauses, and who of the two denies."""
    padded = np.concatenate([alike, np.zeros((max(0, BEST - len(alike)), alike.shape[1]))])
    ranked = -np.sort(-padded, axis=0)[:BEST]
    denies, clause = bool(question.words), bool(clauses.words[int(alike.sum(axis=1).argmax())])
    return np.array([*ranked.ravel(), np.log(len(alike)), denies, clause, denies != clause], dtype=np.float64)
