"""A second look at the best few sentences by a model that reads: which of them answers, and how sure that is.

The first look is cheap and sees every sentence; the model sees `MOST_READ`. Its say and the first look's are weighed by
lines fitted on public questions, and the thresholds hold their risk in every domain that they were chosen on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from coterie.learning.special import logit, logsumexp
from coterie.tasks.answer.reader import AnswerReading, SentenceSurvey, chosen
from coterie.tasks.answer.scoring import LinearScore, probability

MOST_READ = 10
"""Sentences that the model reads."""
LOOKED: tuple[str, ...] = ("first", "read", "top", "alike")
"""Of a sentence: log-odds of the first look and of the model, how far the model puts it below its best, its cosine."""
JUDGED: tuple[str, ...] = (
    "score",  # log-odds of the best sentence by both
    "gap",  # to the best one that is not cited with it
    "read",  # what the model says of it
    "highest",  # and of the sentence that it likes best
    "odds",  # log of the sum of the odds that it gives
    "alike",  # cosine of the best sentence to the question, by the model's trunk
    "nearest",  # the highest one
    "right",  # log-odds of the first look that its best sentence answers
    "stated",  # and that anything does
)
"""Of an answer as a whole."""
_FAR = 12.0
_LEAST = 1e-3
_STEEP = 20.0
"""Cosines of the trunk lie close together."""

Floats = np.ndarray


class SentenceReader(Protocol):
    """A model that reads a question with sentences."""

    sha256: str
    """Of its weights: what was fitted on one model's scores says nothing of another's."""

    def score(self, question: str, sentences: Sequence[str]) -> tuple[Floats, Floats]:  # (S,), (S,)
        """Log-odds that each sentence answers the question, and its cosine to it. Blocks."""


@dataclass(frozen=True, kw_only=True)
class Rereading:
    """The lines that weigh both looks."""

    sentence: LinearScore
    right: LinearScore
    stated: LinearScore
    also: float
    """Log-odds from which further sentences are cited beside the best one."""
    model: str
    """Checksum of the model that it was fitted with."""

    def look(self, seen: SentenceSurvey, reading: AnswerReading, reader: SentenceReader) -> AnswerReading:
        """What is made of the first look after the model has read its best sentences."""
        rows = most_likely(reading.scores)
        texts = [shown(seen, row) for row in rows]
        return self.judge(seen, reading, rows, *reader.score(seen.question, texts))

    def judge(
        self, seen: SentenceSurvey, reading: AnswerReading, rows: Floats, read: Floats, alike: Floats
    ) -> AnswerReading:
        """The same from what the model says of some rows, (K,) each."""
        own = self.sentence.of(looked(reading.scores[rows], read, alike))
        scores = np.full(len(seen.sentences), -_FAR)
        scores[rows] = own
        scores, cited, sure = chosen(seen, scores, self.also)
        values = judged(scores, cited, rows, read, alike, reading)
        return replace(
            reading,
            cited=tuple(seen.sentences[row] for row in cited),
            right=probability(float(self.right.of(values)) + sure),
            stated=probability(float(self.stated.of(values)) + sure),
            scores=scores,
        )

    def describe(self) -> dict[str, object]:
        """As JSON."""
        lines = {name: getattr(self, name).describe() for name in ("sentence", "right", "stated")}
        return lines | {"also": self.also, "model": self.model}

    @classmethod
    def restore(cls, stored: Mapping[str, Any]) -> Rereading:
        """What `describe` told. Raises `LookupError`, `TypeError` or `ValueError` if it is none."""
        return cls(
            sentence=LinearScore.restore(stored["sentence"], LOOKED),
            right=LinearScore.restore(stored["right"], JUDGED),
            stated=LinearScore.restore(stored["stated"], JUDGED),
            also=float(stored["also"]),
            model=str(stored["model"]),
        )


def most_likely(scores: Floats) -> Floats:  # (S,) -> (K,)
    """The rows that are read, the most likely first."""
    return np.argsort(-scores, kind="stable")[:MOST_READ]


def shown(seen: SentenceSurvey, row: int) -> str:
    """A sentence as the model reads it: a row of a table with its columns."""
    return " ".join(seen.sentences[row].said.split())


def looked(first: Floats, read: Floats, alike: Floats) -> Floats:  # (K,) each -> (K, len(LOOKED))
    """What both looks say of sentences."""
    return np.column_stack([first, read, read - read.max(), alike * _STEEP])


def judged(  # noqa: PLR0917 - arrays of the same rows
    scores: Floats, cited: Sequence[int], rows: Floats, read: Floats, alike: Floats, first: AnswerReading
) -> Floats:
    """What is seen of an answer (len(JUDGED),): see there."""
    others = np.delete(scores, list(cited))
    best = cited[0]
    own = int(np.flatnonzero(rows == best)[0]) if best in rows else int(read.argmin())
    return np.array(
        [
            scores[best],
            scores[best] - (others.max() if len(others) else -_FAR),
            float(read[own]),
            float(read.max()),
            float(logsumexp(read)),
            float(alike[own]) * _STEEP,
            float(alike.max()) * _STEEP,
            float(logit(np.clip(first.right, _LEAST, 1 - _LEAST))),
            float(logit(np.clip(first.stated, _LEAST, 1 - _LEAST))),
        ]
    )
