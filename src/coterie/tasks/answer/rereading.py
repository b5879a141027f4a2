"""A second look by a reading model: it reads the likeliest passages one after the other, until one answers.

The first look is cheap and sees every sentence; the model reads `MOST_READ` passages at most, each whole. The scores of
both are weighed by lines fitted on public questions, and the thresholds hold their risk as a mean over domains that the
lines had not seen. The first look's encoder knows one language and the model knows more: passages in another language
have lines of their own. The first look prefers sentences in the language of the question. So the model reads every
passage in another one, and where it likes one of these best, lines that do not know the first look judge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, NamedTuple, Protocol

import numpy as np

from coterie.engines.reading import PassageRead
from coterie.learning.calibration import logit, logsumexp
from coterie.tasks.answer.cells import Pair, is_named, known_by, named, unheard
from coterie.tasks.answer.reader import AnswerReading, SentenceSurvey, chosen, unopposed, unread_rivals
from coterie.tasks.answer.scoring import LinearScore, probability
from coterie.text.language import base, detect, language_of
from coterie.text.segmentation import asks
from coterie.text.values import typed_spans

MOST_READ = 3
"""Most passages that the model reads."""
ENOUGH = 1.0
"""Log-odds that a passage answers from which no further passage is read."""
BESIDE = 1.0
"""Log-odds below the best sentence within which a further passage is read nevertheless: it may contradict."""
LOOKED: tuple[str, ...] = ("first", "read", "top", "answers")
"""Features of a sentence.

Log-odds of the first look and of the model, how far the model puts it below its best sentence, and the model's score of
its whole passage.
"""
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
"""Features of an answer as a whole."""
SURE_COLUMN = 2.0
"""Log-odds by which one cell of a row must lead the others for its column to be the requested one."""
MOST_HEARD = 0.5
"""Share of the question's words in a row, its columns and headings up to which the others may be overlooked."""
CELL_ANSWERS, CELL_LEADS = 0.5, 1.0
"""Log-odds that a cell answers, and by which it leads the next, from which words that nothing says do not matter."""
KNOWN_LANGUAGE = "en"
"""Language of the first look's encoder."""
_TOLD = 600
"""Characters of a passage from which its language is detected."""
_HEADING = 160
"""Most characters of a heading; its end is kept."""
_FAR = 12.0
_LEAST = 1e-3

Floats = np.ndarray


class PassageReader(Protocol):
    """A model that reads a question with a passage."""

    sha256: str
    """Checksum of the weights: a fit on one model's scores is not valid for another's."""

    def read(self, question: str, sentences: Sequence[str]) -> PassageRead:
        """Return the scores of a passage's sentences, in their order, for a question. Blocks."""


class Looked(NamedTuple):
    """The model's scores of the sentences that it read, (K,) each."""

    rows: Floats
    """Places of the sentences."""
    read: Floats
    """Log-odds that each sentence answers."""
    answers: Floats
    """Log-odds that the sentence's passage answers."""

    def take(self, rows: Floats) -> Looked:
        """Return the scores for the survey of some of the sentences, by their places (K,), in order."""
        kept = np.isin(self.rows, rows)
        return Looked(np.searchsorted(rows, self.rows[kept]), self.read[kept], self.answers[kept])


@dataclass(frozen=True, kw_only=True)
class Rereading:
    """The lines that weigh both looks."""

    sentence: LinearScore
    right: LinearScore
    stated: LinearScore
    also: float
    """Log-odds from which further sentences are cited beside the best one."""
    model: str
    """Checksum of the model that the lines were fitted with."""
    foreign: Rereading | None = None
    """The lines for passages in a language that the first look does not know; None for the same lines.

    Its answers are as certain as the same threshold requires to hold the same risk.
    """
    across: Rereading | None = None
    """The lines for an answer in another language than the question, likewise; None for the other ones."""

    def look(
        self,
        seen: SentenceSurvey,
        reading: AnswerReading,
        reader: PassageReader,
        first: Callable[[Floats], AnswerReading | None] | None = None,
    ) -> AnswerReading:
        """Return the reading after the model has read the best passages of the first look.

        Contradicting documents are read, too, but change nothing except their own scores: the lines judge an answer by
        the passages that are read to find it. `first` is the first look at the sentences at these places (K,) alone.
        """
        looked = read_passages(seen, reading.scores, reader)
        judging = self
        if self.across is not None and (whole := read_across(seen, looked, reader)) is not None:
            judging, looked = self.across, whole

        def alone(rows: Floats) -> AnswerReading | None:
            first_look = None if first is None else first(rows)
            return None if first_look is None else judging.judge(seen.take(rows), first_look, looked.take(rows))

        judgement = unopposed(judging.judge(seen, reading, looked), seen, alone)
        judgement = replace(
            judgement,
            read=read_columns(seen, judgement, reader),
            overlooked=overlooked_words(seen, judgement, reader),
        )
        rivals = unread_rivals(judgement, seen, looked.rows.tolist(), reading.scores)
        if not rivals:
            return judgement
        passages = _passages(seen)
        ranks = dict.fromkeys(seen.sentences[row].rank for row in rivals)
        further = _together([_read(seen, passages[rank], reader) for rank in ranks])
        scores = judgement.scores.copy()
        lines = judging.lines_for(seen, reading)
        scores[further.rows] = lines.sentence_scores(seen, reading, _together([looked, further]))[further.rows]
        return replace(judgement, scores=scores)

    def judge(self, seen: SentenceSurvey, reading: AnswerReading, looked: Looked) -> AnswerReading:
        """Return the reading from the model's scores."""
        lines = self.lines_for(seen, reading)
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

    def lines_for(self, seen: SentenceSurvey, reading: AnswerReading) -> Rereading:
        """Return the lines for the passages of a reading: their own where the first look does not know the language."""
        return self if self.foreign is None or not is_foreign(seen, reading.scores) else self.foreign

    def sentence_scores(self, seen: SentenceSurvey, reading: AnswerReading, looked: Looked) -> Floats:  # (S,)
        """Return the log-odds of every sentence, by these lines."""
        scores = np.full(len(seen.sentences), -_FAR)
        scores[looked.rows] = self.sentence.of(features(reading.scores, looked))
        scores[[row for row in looked.rows if asks(seen.sentences[row].text)]] = -_FAR
        return scores

    def describe(self) -> dict[str, object]:
        """Return the lines as JSON."""
        lines = {name: getattr(self, name).describe() for name in ("sentence", "right", "stated")}
        others = {name: kept.describe() for name in ("foreign", "across") if (kept := getattr(self, name)) is not None}
        return lines | {"also": self.also, "model": self.model} | others

    @classmethod
    def restore(cls, stored: Mapping[str, Any]) -> Rereading:
        """Restore the result of `describe`. Raises `LookupError`, `TypeError` or `ValueError` if it is invalid."""
        return cls(
            sentence=LinearScore.restore(stored["sentence"], LOOKED),
            right=LinearScore.restore(stored["right"], JUDGED),
            stated=LinearScore.restore(stored["stated"], JUDGED),
            also=float(stored["also"]),
            model=str(stored["model"]),
            **{name: cls.restore(stored[name]) for name in ("foreign", "across") if name in stored},
        )


def is_foreign(seen: SentenceSurvey, scores: Floats) -> bool:
    """Return whether the likeliest passage, by the scores (S,) of the first look, is in a language unknown to it."""
    return _language(seen, int(scores.argmax()), KNOWN_LANGUAGE) != KNOWN_LANGUAGE


def read_passages(seen: SentenceSurvey, scores: Floats, reader: PassageReader) -> Looked:
    """Let the model read the likeliest passages, by the scores (S,) of the first look, until one answers."""
    passages = _passages(seen)
    best = {rank: float(scores[rows].max()) for rank, rows in passages.items()}
    top = max(best.values())
    looked: list[Looked] = []
    for rank in sorted(passages, key=best.__getitem__, reverse=True)[:MOST_READ]:
        enough = any(part.answers[0] >= ENOUGH for part in looked)
        if enough and best[rank] < top - BESIDE:
            break
        looked.append(_read(seen, passages[rank], reader))
    return _together(looked)


def read_across(seen: SentenceSurvey, looked: Looked, reader: PassageReader) -> Looked | None:
    """Return the scores of what was read and of all passages in another language than the question.

    None where such a passage is not the one that the model likes best. A question whose language is not detected with
    certainty is in the language of the passages.
    """
    question = detect(seen.question)
    if question is None:
        return None
    passages = _passages(seen)
    others = {rank for rank, rows in passages.items() if _language(seen, rows[0], question) != question}
    if not others:
        return None
    read = {seen.sentences[row].rank for row in looked.rows.tolist()}
    whole = _together([looked, *(_read(seen, passages[rank], reader) for rank in sorted(others - read))])
    best = int(whole.rows[int(whole.read.argmax())])
    return whole if seen.sentences[best].rank in others else None


def _language(seen: SentenceSurvey, row: int, default: str) -> str:
    """Return the language of a sentence's passage; `default` where it is uncertain."""
    return base(language_of(seen.sentences[row].passage.text[:_TOLD], default))


def read_columns(seen: SentenceSurvey, reading: AnswerReading, reader: PassageReader) -> dict[int, str]:
    """Return for the place of the first cited row the column that the model is sure of, where words name another.

    Each cell is read as a sentence after the identifying cells of the row. Where a row lacks a column's cell, another
    row's is read. Beside a column whose name occurs literally in the question, only a column with another kind of
    value counts: "Where was it collected?" is answered by the place beside "Collected: 2011", by no other year.
    """
    best = reading.cited[0]
    at, row = seen.place_of(best), named(best)
    if at is None or seen.tables is None or len(row) <= 2:
        return {}
    asks = seen.asked_of(best)
    if not asks.named or asks.missing:
        return {}
    rows = [named(seen.sentences[row_number]) for row_number in np.flatnonzero(seen.tables == seen.tables[at])]
    values = dict(chain.from_iterable([*reversed(rows), row]))
    named_pairs = known_by(seen.question, row, seen.language)
    cells = {name: values[name] for name in seen.columns[int(seen.tables[at])] if name not in dict(named_pairs)}
    if len(cells) < 2:
        return {}
    turn = seen.turn or seen.question  # of "What does it cost? (who teaches)" the turn says what is asked for
    read = _cell_odds(turn, named_pairs, cells, reader)
    second, first = np.argsort(read)[-2:]
    sure, cells_told = list(cells)[first], dict(asks.cells)
    if read[first] - read[second] < SURE_COLUMN or sure in cells_told:
        return {}
    language = language_of(best.passage.text, seen.language)
    kinds = {kind for cell in cells_told.values() for kind, _ in typed_spans(cell, language)}
    own = {kind for kind, _ in typed_spans(cells[sure], language)}
    exact = any(is_named(name, turn, seen.language) for name in cells_told)
    return {} if exact and (kinds & own or kinds == own) else {at: sure}


def overlooked_words(seen: SentenceSurvey, reading: AnswerReading, reader: PassageReader) -> tuple[str, ...]:
    """Return the words of a question that the table of the first cited row does not say, if one decides.

    That is where no column is named, at least half of the question is in neither row, columns nor headings, and the
    model finds the answer in no cell of the row: "What does a motorhome cost?" beside the columns "Car" and "Van".
    """
    best = reading.cited[0]
    at, row = seen.place_of(best), named(best)
    if at is None or seen.tables is None or len(row) < 2 or seen.asked_of(best).named:
        return ()
    names = " ".join(seen.columns[int(seen.tables[at])])
    beside = f"{names} {best.passage.heading} {best.passage.document} {best.text}"
    words, heard = unheard(seen.question, beside, seen.language)
    if not words or heard > MOST_HEARD:
        return ()
    named_pairs = known_by(seen.question, row, seen.language)
    cells = {name: cell for name, cell in row if name not in dict(named_pairs)}
    if len(cells) < 2:
        return ()
    second, first = np.sort(_cell_odds(seen.question, named_pairs, cells, reader))[-2:]
    return tuple(words) if first < CELL_ANSWERS and first - second < CELL_LEADS else ()


def _cell_odds(question: str, named_pairs: Sequence[Pair], cells: Mapping[str, str], reader: PassageReader) -> Floats:
    """Return the model's log-odds of each cell, read as a sentence after the identifying cells of its row."""
    above = "; ".join(": ".join(filter(None, pair)) for pair in named_pairs)
    return reader.read(question, [f"{above}; {name}: {cell}" for name, cell in cells.items()]).sentences


def _passages(seen: SentenceSurvey) -> dict[int, list[int]]:
    """Return by the rank of each passage its sentences' rows, in the document's order."""
    passages: dict[int, list[int]] = {}
    for row in sorted(range(len(seen.sentences)), key=lambda row: seen.sentences[row].start):
        passages.setdefault(seen.sentences[row].rank, []).append(row)
    return passages


def _read(seen: SentenceSurvey, rows: Sequence[int], reader: PassageReader) -> Looked:
    """Read one passage, by the rows of its sentences."""
    above = heading(seen, rows[0])
    passage_read = reader.read(seen.question, [*above, *(shown(seen, row) for row in rows)])
    return Looked(np.array(rows), passage_read.sentences[len(above) :], np.full(len(rows), passage_read.answers))


def _together(looked: Sequence[Looked]) -> Looked:
    return Looked(*(np.concatenate(arrays) for arrays in zip(*looked, strict=True)))


def shown(seen: SentenceSurvey, row: int) -> str:
    """Return a sentence in the form that the model reads: a row of a table with its columns."""
    return " ".join(seen.sentences[row].said.split())


def heading(seen: SentenceSurvey, row: int) -> list[str]:
    """Return the heading of a sentence's passage, if there is one: it is read before the sentence, never cited."""
    text = " ".join(seen.sentences[row].passage.heading.split())
    return [text[-_HEADING:]] if text else []


def features(first: Floats, looked: Looked) -> Floats:  # (S,) -> (K, len(LOOKED))
    """Return the features by both looks of the sentences that were read."""
    read = looked.read
    return np.column_stack([first[looked.rows], read, read - read.max(), looked.answers])


def judged(scores: Floats, cited: Sequence[int], looked: Looked, first: AnswerReading) -> Floats:
    """Return the features of an answer (len(JUDGED),) in the order of `JUDGED`."""
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
