"""A second look by a model that reads: it takes the likeliest passages one after the other, until one answers.

The first look is cheap and sees every sentence; the model reads `MOST_READ` passages at most, each whole. Its say and
the first look's are weighed by lines fitted on public questions, and the thresholds hold their risk as a mean over
domains that the lines had not seen. The first look's encoder knows one language; the model knows more of them: passages
in another one have lines of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, NamedTuple, Protocol

import numpy as np

from coterie.engines.reading import PassageRead
from coterie.learning.numerics import logit, logsumexp
from coterie.learning.values import typed_spans
from coterie.tasks.answer.cells import is_named, known_by, named
from coterie.tasks.answer.contradictions import unread_rivals
from coterie.tasks.answer.reader import AnswerReading, SentenceSurvey, chosen
from coterie.tasks.answer.scoring import LinearScore, probability
from coterie.text.language import language_of
from coterie.text.segmentation import asks

MOST_READ = 3
"""Passages that the model reads."""
ENOUGH = 1.0
"""Log-odds that a passage answers from which no further one is read."""
BESIDE = 1.0
"""Unless its best sentence is, by the first look, as likely as this below the best of all: it may say otherwise."""
LOOKED: tuple[str, ...] = ("first", "read", "top", "answers")
"""Of a sentence: log-odds of the first look and of the model, how far the model puts it below its best, and what the
model says of its whole passage."""
JUDGED: tuple[str, ...] = (
    "score",  # log-odds of the best sentence by both
    "gap",  # to the best one that is not cited with it
    "read",  # what the model says of it
    "highest",  # and of the sentence that it likes best
    "odds",  # log of the sum of the odds that it gives
    "answers",  # whether the best sentence's passage answers
    "most",  # whether any passage does
    "right",  # log-odds of the first look that its best sentence answers
    "stated",  # and that anything does
)
"""Of an answer as a whole."""
SURE_COLUMN = 2.0
"""Log-odds by which one cell of a row is to be ahead of the others: then its column is the one that is asked for."""
KNOWN_LANGUAGE = "en"
"""Of the first look's encoder."""
_TOLD = 600
"""Characters of a passage that tell its language."""
_HEADING = 160
"""Characters of a heading, its end."""
_FAR = 12.0
_LEAST = 1e-3

Floats = np.ndarray


class PassageReader(Protocol):
    """A model that reads a question with a passage."""

    sha256: str
    """Of its weights: what was fitted on one model's scores says nothing of another's."""

    def read(self, question: str, sentences: Sequence[str]) -> PassageRead:
        """What a passage's sentences, in their order, say to a question. Blocks."""


class Looked(NamedTuple):
    """What the model says of the sentences that it read, (K,) each."""

    rows: Floats
    """Their places."""
    read: Floats
    """Log-odds that each answers."""
    answers: Floats
    """Log-odds that its passage does."""


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
    foreign: Rereading | None = None
    """What weighs passages in a language that the first look does not know; None for the same lines.

    Its answers are as sure as they must be for the same threshold to hold the same risk.
    """

    def look(self, seen: SentenceSurvey, reading: AnswerReading, reader: PassageReader) -> AnswerReading:
        """What is made of the first look after the model has read its best passages.

        What other documents say instead is read, too, and changes nothing but its own scores: the lines judge an answer
        by what is read to find it.
        """
        looked = read_passages(seen, reading.scores, reader)
        found = self.judge(seen, reading, looked)
        found = replace(found, read=read_columns(seen, found, reader))
        rivals = unread_rivals(found, seen, looked.rows.tolist(), reading.scores)
        if not rivals:
            return found
        passages = _passages(seen)
        ranks = dict.fromkeys(seen.sentences[row].rank for row in rivals)
        further = _together([_read(seen, passages[rank], reader) for rank in ranks])
        scores = found.scores.copy()
        lines = self._lines(seen, reading)
        scores[further.rows] = lines.sentence_scores(seen, reading, _together([looked, further]))[further.rows]
        return replace(found, scores=scores)

    def judge(self, seen: SentenceSurvey, reading: AnswerReading, looked: Looked) -> AnswerReading:
        """The same from what the model says."""
        lines = self._lines(seen, reading)
        scores = lines.sentence_scores(seen, reading, looked)
        scores, cited, sure = chosen(seen, scores, lines.also)
        values = judged(scores, cited, looked, reading)
        return replace(
            reading,
            cited=tuple(seen.sentences[row] for row in cited),
            right=probability(float(lines.right.of(values)) + sure),
            stated=probability(float(lines.stated.of(values)) + sure),
            scores=scores,
        )

    def _lines(self, seen: SentenceSurvey, reading: AnswerReading) -> Rereading:
        return self if self.foreign is None or not is_foreign(seen, reading.scores) else self.foreign

    def sentence_scores(self, seen: SentenceSurvey, reading: AnswerReading, looked: Looked) -> Floats:  # (S,)
        """Log-odds of every sentence, by these lines."""
        scores = np.full(len(seen.sentences), -_FAR)
        scores[looked.rows] = self.sentence.of(features(reading.scores, looked))
        scores[[row for row in looked.rows if asks(seen.sentences[row].text)]] = -_FAR
        return scores

    def describe(self) -> dict[str, object]:
        """As JSON."""
        lines = {name: getattr(self, name).describe() for name in ("sentence", "right", "stated")}
        foreign = {} if self.foreign is None else {"foreign": self.foreign.describe()}
        return lines | {"also": self.also, "model": self.model} | foreign

    @classmethod
    def restore(cls, stored: Mapping[str, Any]) -> Rereading:
        """What `describe` told. Raises `LookupError`, `TypeError` or `ValueError` if it is none."""
        return cls(
            sentence=LinearScore.restore(stored["sentence"], LOOKED),
            right=LinearScore.restore(stored["right"], JUDGED),
            stated=LinearScore.restore(stored["stated"], JUDGED),
            also=float(stored["also"]),
            model=str(stored["model"]),
            foreign=cls.restore(stored["foreign"]) if "foreign" in stored else None,
        )


def is_foreign(seen: SentenceSurvey, scores: Floats) -> bool:
    """Whether the likeliest passage, by the scores (S,) of the first look, is in a language that it does not know."""
    text = seen.sentences[int(scores.argmax())].passage.text
    return language_of(text[:_TOLD], KNOWN_LANGUAGE) != KNOWN_LANGUAGE


def read_passages(seen: SentenceSurvey, scores: Floats, reader: PassageReader) -> Looked:
    """Have the likeliest passages read, by the scores (S,) of the first look, until one answers."""
    passages = _passages(seen)
    best = {rank: float(scores[rows].max()) for rank, rows in passages.items()}
    top = max(best.values())
    looked: list[Looked] = []
    for rank in sorted(passages, key=best.__getitem__, reverse=True)[:MOST_READ]:
        enough = any(each.answers[0] >= ENOUGH for each in looked)
        if enough and best[rank] < top - BESIDE:
            break
        looked.append(_read(seen, passages[rank], reader))
    return _together(looked)


def read_columns(seen: SentenceSurvey, found: AnswerReading, reader: PassageReader) -> dict[int, str]:
    """By the place of a row that is cited first the column that the model is sure of, where words name another one.

    Each cell is read as a sentence behind those that the row is known by. Of a column without a cell in the row another
    row's is read. Beside a column whose name stands in the question as it is one of another kind of value counts only:
    "Where was it collected?" is answered by the place beside "Collected: 2011", by no other year.
    """
    best = found.cited[0]
    at, row = seen.place_of(best), named(best)
    if at is None or seen.tables is None or len(row) <= 2:
        return {}
    asks = seen.asked_of(best)
    if not asks.named or asks.missing:
        return {}
    rows = [named(seen.sentences[each]) for each in np.flatnonzero(seen.tables == seen.tables[at])]
    values = dict(chain.from_iterable([*reversed(rows), row]))
    known = known_by(seen.question, row, seen.language)
    cells = {name: values[name] for name in seen.columns[int(seen.tables[at])] if name not in dict(known)}
    if len(cells) < 2:
        return {}
    above = "; ".join(": ".join(filter(None, pair)) for pair in known)
    read = reader.read(seen.question, [f"{above}; {name}: {cell}" for name, cell in cells.items()]).sentences
    second, first = np.argsort(read)[-2:]
    sure, told = list(cells)[first], dict(asks.cells)
    if read[first] - read[second] < SURE_COLUMN or sure in told:
        return {}
    language = language_of(best.passage.text, seen.language)
    kinds = {kind for cell in told.values() for kind, _ in typed_spans(cell, language)}
    own = {kind for kind, _ in typed_spans(cells[sure], language)}
    exact = any(is_named(name, seen.question, seen.language) for name in told)
    return {} if exact and (kinds & own or kinds == own) else {at: sure}


def _passages(seen: SentenceSurvey) -> dict[int, list[int]]:
    """By the rank of each passage its sentences' rows, in the document's order."""
    passages: dict[int, list[int]] = {}
    for row in sorted(range(len(seen.sentences)), key=lambda row: seen.sentences[row].start):
        passages.setdefault(seen.sentences[row].rank, []).append(row)
    return passages


def _read(seen: SentenceSurvey, rows: Sequence[int], reader: PassageReader) -> Looked:
    """One passage, by the rows of its sentences."""
    above = heading(seen, rows[0])
    found = reader.read(seen.question, [*above, *(shown(seen, row) for row in rows)])
    return Looked(np.array(rows), found.sentences[len(above) :], np.full(len(rows), found.answers))


def _together(looked: Sequence[Looked]) -> Looked:
    return Looked(*(np.concatenate(each) for each in zip(*looked, strict=True)))


def shown(seen: SentenceSurvey, row: int) -> str:
    """A sentence as the model reads it: a row of a table with its columns."""
    return " ".join(seen.sentences[row].said.split())


def heading(seen: SentenceSurvey, row: int) -> list[str]:
    """The heading that a sentence's passage stands under, if there is one: read before it, never cited."""
    text = " ".join(seen.sentences[row].passage.heading.split())
    return [text[-_HEADING:]] if text else []


def features(first: Floats, looked: Looked) -> Floats:  # (S,) -> (K, len(LOOKED))
    """What both looks say of the sentences that were read."""
    read = looked.read
    return np.column_stack([first[looked.rows], read, read - read.max(), looked.answers])


def judged(scores: Floats, cited: Sequence[int], looked: Looked, first: AnswerReading) -> Floats:
    """What is seen of an answer (len(JUDGED),): see there."""
    others = np.delete(scores, list(cited))
    best = cited[0]
    own = int(np.flatnonzero(looked.rows == best)[0]) if best in looked.rows else int(looked.read.argmin())
    return np.array(
        [
            scores[best],
            scores[best] - (others.max() if len(others) else -_FAR),
            float(looked.read[own]),
            float(looked.read.max()),
            float(logsumexp(looked.read)),
            float(looked.answers[own]),
            float(looked.answers.max()),
            float(logit(np.clip(first.right, _LEAST, 1 - _LEAST))),
            float(logit(np.clip(first.stated, _LEAST, 1 - _LEAST))),
        ]
    )
