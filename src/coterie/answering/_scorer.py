"""From what is seen of sentences to how likely each answers, and how sure it is that the best one does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit, logit, logsumexp

from ._features import ENCODED, LEXICAL, WHOLE

Floats = np.ndarray

KNOWN: tuple[str, ...] = ("expert_words", "expert_vectors", "expert_place")
"""What is said by what answered such questions before."""
OUTCOME: tuple[str, ...] = (
    "top",  # log-odds of the best sentence
    "gap",  # to the best one that is not cited with it
    "rivals",  # log of the sum of the odds of the best eight
    "covered",  # of the best sentence
    "covered_heading",
    "covered_passage",
    "cosine",  # 0 where nothing is encoded
    "nearest",  # cosine to the nearest question that training has seen; 0 where that does not matter
    "agreed",  # how far the known questions agree on the kind of the question
    "fits",  # of the best sentence
    "unfit",
    "bare",
    "length",
    *WHOLE,
    "mixed",  # log-odds of the best sentence, where the question may be of several kinds: see `mix_kinds`
    "usual",  # how much surer answers to such a kind of question are than they look: see `Experts.usual`
)
"""What is seen of an answer as a whole."""
_FIT = OUTCOME[9:-2]
_RIVALS = 8
"""So few, so that the number of sentences found does not count."""
_NEARLY = 1.5
"""Log-odds by which a sentence may be less likely than the best one to go before it."""
_ALL = 0.999
_FAR = 12.0
"""Log-odds are cut at this distance from 0."""
_LEAST = 1e-4
"""Probabilities are cut at this distance from 0 and 1."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A linear function of named features."""

    names: tuple[str, ...]
    weights: Floats  # (F,)
    bias: float

    def of(self, features: Floats) -> Floats:  # (N, F) -> (N,)
        """Log-odds, within bounds."""
        return np.asarray(np.clip(features @ self.weights + self.bias, -_FAR, _FAR))

    def describe(self) -> dict[str, object]:
        """As JSON."""
        return {"weights": dict(zip(self.names, self.weights.tolist(), strict=True)), "bias": self.bias}

    @classmethod
    def restore(cls, stored: Mapping[str, Any], names: Sequence[str]) -> Line:
        """What `describe` told; a feature that it did not have yet counts nothing.

        Raises `LookupError`, `TypeError` or `ValueError` if it has others.
        """
        weights, bias = stored["weights"], float(stored["bias"])
        if not set(weights) <= set(names):
            raise ValueError(f"its features are {sorted(weights)}, not {sorted(names)}")
        values = np.array([float(weights.get(name, 0.0)) for name in names])
        if not (np.isfinite(values).all() and isfinite(bias)):
            raise ValueError("a weight is not finite")
        return cls(names=tuple(names), weights=values, bias=bias)


class Outcomes(NamedTuple):
    """How sure an answer is."""

    right: Line
    """Log-odds that the best sentence answers."""
    stated: Line
    """Log-odds that the documents answer at all, whatever was found."""


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """Scores sentences, and answers made of them."""

    sentence: Line
    """Log-odds that a sentence answers."""
    right: Line
    """Log-odds that the best one does."""
    stated: Line
    """Log-odds that the documents answer at all, whatever was found."""
    also: float
    """Log-odds from which further sentences are cited beside the best one."""
    again: Outcomes | None = None
    """`right` and `stated` of questions in words that training has seen; None where they are as of any other."""
    also_again: float | None = None
    """`also` of such questions; likewise."""

    def beside(self, *, again: bool) -> float:
        """Log-odds from which further sentences are cited for a question that was asked before, or for a new one."""
        return self.also_again if again and self.also_again is not None else self.also

    def outcomes(self, *, again: bool) -> Outcomes:
        """What tells how sure an answer is, to a question that was asked before or to a new one."""
        return self.again if again and self.again is not None else Outcomes(self.right, self.stated)

    def describe(self) -> dict[str, object]:
        """As JSON."""
        lines = {name: getattr(self, name).describe() for name in ("sentence", "right", "stated")}
        again = {} if self.again is None else {name: line.describe() for name, line in self.again._asdict().items()}
        beside = {"also": self.also} | ({} if self.also_again is None else {"also_again": self.also_again})
        return lines | beside | ({"again": again} if again else {})

    @classmethod
    def restore(cls, stored: Mapping[str, Any]) -> Scorer:
        """What `describe` told. Raises `LookupError`, `TypeError` or `ValueError`."""
        names = set(stored["sentence"]["weights"])
        features = [name for name in (*LEXICAL, *ENCODED, *KNOWN) if name in names]
        return cls(
            sentence=Line.restore(stored["sentence"], features),
            right=Line.restore(stored["right"], OUTCOME),
            stated=Line.restore(stored["stated"], OUTCOME),
            also=float(stored["also"]),
            again=Outcomes(**{name: Line.restore(stored["again"][name], OUTCOME) for name in Outcomes._fields})
            if "again" in stored
            else None,
            also_again=float(stored["also_again"]) if "also_again" in stored else None,
        )


def mix_kinds(line: Line, features: Floats, kinds: Floats, shares: Floats) -> float:
    """Log-odds that a sentence answers, by the law of total probability over the kinds that the question may be of.

    `line` has the kinds' log-odds mixed, and so is sure where the likeliest kind alone is. A sentence that answers
    whatever is meant is surer than one that answers what is probably meant.

    Args:
        line: Of a sentence's features, `KNOWN` among them.
        features: (F,) those of the sentence.
        kinds: (len(KNOWN), K) what the expert of each kind says of it.
        shares: (K,) how likely the question is of each.
    """
    places = [line.names.index(name) for name in KNOWN]
    weights = line.weights[places]
    rest = float(features @ line.weights - features[places] @ weights) + line.bias
    probable = float(shares @ expit(np.clip(rest + weights @ kinds, -_FAR, _FAR)))
    return float(logit(np.clip(probable, _LEAST, 1 - _LEAST)))


def in_own_words(scores: Floats, covered: Floats, ranks: Sequence[int]) -> Floats:  # (S,) -> (S,)
    """The scores, those of two sentences exchanged where the best one leaves the question's words to its heading.

    A heading speaks for every sentence under it: under "Opening hours of the pool" all of them share the words of "When
    does the pool open?". Of those of one passage that are nearly as likely, one that has
    all of the words itself goes first.

    Args:
        scores: (S,) log-odds.
        covered: (S,) share of the question's words that each sentence has.
        ranks: (S,) the place of each one's passage.
    """
    best = int(scores.argmax())
    near = (np.asarray(ranks) == ranks[best]) & (scores >= scores[best] - _NEARLY) & (covered >= _ALL)
    if covered[best] >= _ALL or not near.any():
        return scores
    other = int(np.where(near, scores, -np.inf).argmax())
    exchanged = scores.copy()
    exchanged[[best, other]] = scores[[other, best]]
    return exchanged


def cited_rows(scores: Floats, also: float, most: int) -> list[int]:
    """Which sentences are cited: the best one and, up to `most` in all, others that are likely too; best first."""
    ranked = [int(row) for row in np.argsort(-scores, kind="stable")]
    return ranked[:1] + [row for row in ranked[1:most] if scores[row] >= also]


def outcome_features(
    scores: Floats,
    columns: Mapping[str, Floats],
    cited: Sequence[int],
    *,
    nearest: float = 0.0,
    agreed: float = 0.0,
    mixed: float = 0.0,
    usual: float = 0.0,
) -> Floats:  # (len(OUTCOME),)
    """What is seen of an answer.

    Args:
        scores: (S,) log-odds of the sentences.
        columns: Features by name, (S,) each; one that is missing counts as 0.
        cited: The rows cited, best first.
        nearest: Cosine to the nearest question that training has seen.
        agreed: The largest share of a kind in the question.
        mixed: See `mix_kinds`.
        usual: See `Experts.usual`.
    """
    others = np.delete(scores, list(cited))
    best = cited[0]
    seen, last = (
        [float(columns[name][best]) if name in columns else 0.0 for name in names] for names in (OUTCOME[3:7], _FIT)
    )
    gap = scores[best] - (others.max() if len(others) else -_FAR)
    rivals = float(logsumexp(np.sort(scores)[-_RIVALS:]))
    return np.array([scores[best], gap, rivals, *seen, nearest, agreed, *last, mixed, usual])


def probability(log_odds: float) -> float:
    """Of log-odds."""
    return float(expit(log_odds))
