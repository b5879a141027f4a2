"""The extractive answer: finds the sentences of the passages that answer a question, or finds that none does.

It writes no text of its own: every answer is quoted. It knows no engine: the caller encodes the texts that `survey`
returns.

Sentences of other documents that answer the same question with another value are found, too. Values are compared where
their units are the same: amounts of one currency, per cent, numbers of one unit, dates, times of day, cells of one
column. This needs no language; the unit that a question asks for is recognised in English. Such documents may be about
different subjects, by their names: then they do not contradict each other.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import takewhile
from pathlib import PurePath
from typing import Any, NamedTuple

import numpy as np

from coterie.tasks.answer.cells import Asked, akin, asked_cells, best_row, look_up, named
from coterie.tasks.answer.features import (
    ENCODED,
    LEXICAL,
    Sentence,
    cached_terms,
    cut_passages,
    encoded_features,
    flat,
    lexical_features,
    wanted,
)
from coterie.tasks.answer.scoring import (
    KNOWN,
    OUTCOME,
    SAME,
    AnswerScorer,
    ExpertGate,
    Experts,
    cited_rows,
    mix_kinds,
    outcome_features,
    probability,
)
from coterie.text.language import language_of, month_names
from coterie.text.segmentation import marks, terms
from coterie.text.values import typed_spans
from coterie.types import Citation, Passage

MOST_SENTENCES = 96
"""Most sentences that are encoded and compared, of all passages together."""
LOOKED_UP = 2.0
"""Log-odds by which a looked-up cell is more certain than its sentence.

All of 16 such questions about the development tables of benchmarks/tables (DOCX) were right, 17 of 18 by the rule of
succession, where the mean confidence was .73: 1.9, rounded.
"""
MOST_CITED = 3
"""Most sentences that are cited."""

Floats = np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class SentenceSurvey:
    """The sentences to look at, and their word features."""

    question: str
    sentences: tuple[Sentence, ...]
    words: Floats  # (S, len(LEXICAL))
    language: str = "en"
    """The question's language."""
    turn: str = ""
    """The original wording of a follow-up; empty for other questions."""
    tables: Floats | None = None  # (S,) int: the table that each is a row of, -1 for none
    matched: Floats | None = None  # (S,): see `Cells`
    told: Floats | None = None  # (S,): see `Cells`
    found: Floats | None = None  # (S,) bool: see `Cells`
    columns: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    """For each table, the names of its columns."""

    @property
    def ranks(self) -> list[int]:
        """The rank of each sentence's passage among those found."""
        return [sentence.rank for sentence in self.sentences]

    @property
    def starts(self) -> Floats:  # (S,)
        """The start of each sentence in its document, in characters."""
        return np.array([sentence.start for sentence in self.sentences])

    @property
    def texts(self) -> list[str]:
        """The texts to encode: the sentences, in order."""
        return [sentence.said for sentence in self.sentences]

    @property
    def shares_words(self) -> bool:
        """Whether any content word of the question occurs in the passages found, headings included."""
        return bool(len(self.words)) and bool((self.words[:, _SHARED] > 0).any())

    read: Mapping[int, str] = field(default_factory=dict)
    """For the places of rows, the column of which a model is confident."""

    def place_of(self, sentence: Sentence) -> int | None:
        """Return a sentence's place; None if it is not among the sentences."""
        return next((index for index, candidate in enumerate(self.sentences) if candidate is sentence), None)

    def asked_of(self, row: Sentence) -> Asked:
        """Return the cells of a table's row that the question asks for."""
        at = self.place_of(row)
        names = () if at is None or self.tables is None else self.columns.get(int(self.tables[at]), ())
        read = "" if at is None else self.read.get(at, "")
        return asked_cells(self.question, named(row), names, self.language, read=read)

    def take(self, rows: Floats) -> SentenceSurvey:
        """Return the survey of some of the sentences, by their places (K,)."""
        return replace(
            self,
            sentences=tuple(self.sentences[row] for row in rows),
            words=self.words[rows],
            tables=None if self.tables is None else self.tables[rows],
            matched=None if self.matched is None else self.matched[rows],
            told=None if self.told is None else self.told[rows],
            found=None if self.found is None else self.found[rows],
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class AnswerReading:
    """The result of reading."""

    cited: tuple[Sentence, ...]
    """The sentences that answer, if any do, the best one first."""
    right: float
    """Calibrated probability that the best sentence answers."""
    stated: float
    """Calibrated probability that the documents answer at all."""
    scores: Floats  # (S,)
    """Log-odds of every sentence."""
    outcome: Floats  # (len(OUTCOME),)
    known: float
    """How familiar the question is, 0 to 1."""
    read: Mapping[int, str] = field(default_factory=dict)
    """For the places of cited rows, the column of which a model is confident."""
    overlooked: tuple[str, ...] = ()
    """Words of the question that the first cited row's table does not say, where no column of it is asked for."""

    @property
    def again(self) -> bool:
        """Whether the question has the same words as one that training has seen."""
        return bool(self.outcome[_NEAREST] >= SAME)


def survey(
    question: str, passages: Sequence[Passage], language: str | None = None, *, turn: str = ""
) -> SentenceSurvey:
    """Cut passages, the best first, and compute each sentence's word features; only neighbours see a label.

    `language` is the question's; None detects it. `turn` is the original wording, where the question is a follow-up.
    """
    sentences = cut_passages(passages)
    language = language or language_of(question, "en")
    cells = look_up(question, sentences, language, turn=turn)
    whole = SentenceSurvey(
        question=question,
        sentences=tuple(sentences),
        words=lexical_features(question, sentences, language, matched=cells.said),
        language=language,
        turn=turn,
        tables=cells.tables,
        matched=cells.matched,
        told=cells.told,
        found=cells.found,
        columns=cells.names,
    )
    return whole.take(np.flatnonzero([not sentence.label for sentence in sentences]))


def likely_rows(words: Floats, expected: Floats | None = None) -> Floats:
    """Return the places (K,) of the `MOST_SENTENCES` sentences that are worth a closer look, in order.

    Args:
        words: (S, len(LEXICAL)) the word features of each: sentences that share nothing with the question go first.
        expected: (S,) similarity of each to what answered such questions before. Half of the sentences that are kept
            are then the best by that: an answer need not share a word with its question.
    """
    order = np.argsort(-(words[:, _NEAR] + words[:, _RANK]), kind="stable")
    if len(order) <= MOST_SENTENCES:
        return np.arange(len(order))
    first = order[:0] if expected is None else np.argsort(-expected, kind="stable")[: MOST_SENTENCES // 2]
    rest = order[~np.isin(order, first)][: MOST_SENTENCES - len(first)]
    return np.sort(np.concatenate([first, rest]))


_NEAREST = OUTCOME.index("nearest")
_NEAR, _RANK = LEXICAL.index("covered_near"), LEXICAL.index("rank")
_SHARED = [LEXICAL.index(name) for name in ("covered_heading", "covered_passage", "meant", "meant_heading")]


@dataclass(frozen=True, kw_only=True, eq=False)
class AnswerReader:
    """Finds and scores sentences: with experts for familiar questions, with general features for others."""

    plain: AnswerScorer
    familiar: AnswerScorer | None = None
    """The scorer of familiar questions; set together with `experts`."""
    experts: Experts | None = None

    def columns(self, seen: SentenceSurvey, question: Floats | None, vectors: Floats | None) -> dict[str, Floats]:
        """Return every feature of each sentence but the experts' predictions, (S,) each.

        Raises:
            ValueError: encodings are needed and were not given.
        """
        columns_ = dict(zip(LEXICAL, seen.words.T, strict=True))
        if seen.tables is not None and seen.matched is not None and seen.found is not None:
            columns_ |= {"table": seen.tables, "matched": seen.matched, "found": seen.found}
        if self.encodes:
            if question is None or vectors is None:
                raise ValueError("this reader needs encodings")
            encoded = encoded_features(seen.ranks, vectors @ question)
            columns_ |= dict(zip(ENCODED, encoded.T, strict=True))
        return columns_

    @property
    def encodes(self) -> bool:
        """Whether the reader needs encodings."""
        return ENCODED[0] in self.plain.sentence.names

    def narrow(self, seen: SentenceSurvey, question: Floats | None = None) -> SentenceSurvey:  # question (D,)
        """Return the sentences worth encoding and reading, by words alone: see `likely_rows`."""
        if len(seen.sentences) <= MOST_SENTENCES:
            return seen
        expected = None
        if self.experts is not None and question is not None:
            gate = self.experts.gate(question)
            if gate.familiar > 0.0:
                expected = self.experts.by_words(gate.shares, seen.texts)
                expected += self.experts.by_place(gate.shares, seen.starts)
        return seen.take(likely_rows(seen.words, expected))

    def read(
        self, seen: SentenceSurvey, question: Floats | None = None, vectors: Floats | None = None
    ) -> AnswerReading | None:
        """Return the sentences that answer; None where there are no sentences.

        Args:
            seen: The result of `survey`.
            question: (D,) the question's encoding, for a reader that encodes.
            vectors: (S, D) the sentences' encodings, likewise.
        """
        if not seen.sentences:
            return None
        columns = self.columns(seen, question, vectors)
        reading = weigh(self.plain, columns, seen.sentences)
        if self.experts is None or self.familiar is None or question is None or vectors is None:
            return reading
        gate = self.experts.gate(question)
        if gate.familiar == 0.0:
            return reading
        experts, texts, starts = self.experts, seen.texts, seen.starts
        columns |= dict(zip(KNOWN, experts.scores(gate.shares, texts, starts, vectors).T, strict=True))
        usual = float(gate.shares @ experts.usual)
        known_question = KnownQuestion(
            gate, lambda row: experts.by_kind(texts[row], int(starts[row]), vectors[row]), usual
        )
        return _between(reading, weigh(self.familiar, columns, seen.sentences, known_question), gate.familiar)

    def store(self) -> tuple[dict[str, object], dict[str, Floats]]:
        """Return the JSON description and the arrays that restore the reader."""
        described: dict[str, object] = {"plain": self.plain.describe()}
        if self.experts is None or self.familiar is None:
            return described, {}
        about, arrays = self.experts.store()
        return described | {"familiar": self.familiar.describe(), "experts": about}, arrays

    @classmethod
    def restore(cls, description: Mapping[str, Any], arrays: Mapping[str, Floats]) -> AnswerReader:
        """Restore the result of `store`. Raises `LookupError`, `TypeError` or `ValueError` if it is invalid."""
        if "experts" not in description:
            return cls(plain=AnswerScorer.restore(description["plain"]))
        return cls(
            plain=AnswerScorer.restore(description["plain"]),
            familiar=AnswerScorer.restore(description["familiar"]),
            experts=Experts.restore(description["experts"], arrays),
        )


class KnownQuestion(NamedTuple):
    """What the questions of the training data say about a question."""

    gate: ExpertGate
    by_kind: Callable[[int], Floats]
    """For the row of a sentence, the prediction of each kind's expert (len(KNOWN), K)."""
    usual: float = 0.0
    """The value of `Experts.usual` for the kinds that the question may be of."""


def weigh(
    scorer: AnswerScorer,
    columns: Mapping[str, Floats],
    sentences: Sequence[Sentence],
    question: KnownQuestion | None = None,
) -> AnswerReading:
    """Return a scorer's reading of sentences, from their features (S,) by name."""
    features = np.column_stack([columns[name] for name in scorer.sentence.names])
    scores = scorer.sentence.of(features)
    if "table" in columns:
        scores = best_row(scores, columns["table"], columns["matched"])
    if question is None:
        rows = cited_rows(scores, scorer.also, MOST_CITED)
        nearest, outcome = 0.0, outcome_features(scores, columns, rows)
    else:
        nearest, shares = question.gate.nearest, question.gate.shares
        rows = cited_rows(scores, scorer.beside(again=nearest >= SAME), MOST_CITED)
        mixed = mix_kinds(scorer.sentence, features[rows[0]], question.by_kind(rows[0]), shares)
        of_kinds = {"agreed": float(shares.max()), "mixed": mixed, "usual": question.usual}
        outcome = outcome_features(scores, columns, rows, nearest=nearest, **of_kinds)
    if "table" in columns:
        rows = _apart(rows, columns["table"], columns["matched"])
    looked_up = LOOKED_UP * bool("found" in columns and columns["found"][rows[0]])
    sure = scorer.outcomes(again=nearest >= SAME)
    return AnswerReading(
        cited=tuple(sentences[row] for row in rows),
        right=probability(float(sure.right.of(outcome)) + looked_up),
        stated=probability(float(sure.stated.of(outcome)) + looked_up),
        scores=scores,
        outcome=outcome,
        known=question.gate.familiar if question is not None else 0.0,
    )


def chosen(seen: SentenceSurvey, scores: Floats, also: float) -> tuple[Floats, list[int], float]:
    """Return reordered scores (S,), the cited sentences, and the bonus of a looked-up cell."""
    if seen.tables is None or seen.matched is None or seen.found is None:
        return scores, cited_rows(scores, also, MOST_CITED), 0.0
    scores = best_row(scores, seen.tables, seen.matched)
    rows = _apart(cited_rows(scores, also, MOST_CITED), seen.tables, seen.matched)
    return scores, rows, LOOKED_UP * bool(seen.found[rows[0]])


def _apart(rows: list[int], tables: Floats, matched: Floats) -> list[int]:
    """Return the cited rows without those of the best row's table that match less of the question."""
    best = rows[0]
    if tables[best] < 0:
        return rows
    return [row for row in rows if tables[row] != tables[best] or matched[row] >= matched[best]]


def _between(plain: AnswerReading, familiar: AnswerReading, familiarity: float) -> AnswerReading:
    """Return the reading of the scorer that knows the question better, with probabilities mixed by familiarity."""
    better = familiar if familiarity >= 0.5 else plain
    right, stated = (
        (1 - familiarity) * getattr(plain, name) + familiarity * getattr(familiar, name) for name in ("right", "stated")
    )
    return AnswerReading(
        cited=better.cited, right=right, stated=stated, scores=better.scores, outcome=better.outcome, known=familiarity
    )


def cite(cited: Sequence[Sentence]) -> tuple[Citation, ...]:
    """Return citations in the documents' order, the best sentence's document first; neighbours are joined.

    A negating introduction of a list ("Not included:") is cited with its items.
    """
    if not cited:
        return ()
    first = cited[0].passage.document
    leads = [sentence.lead for sentence in cited if sentence.lead is not None]
    places = {(lead.passage.index, lead.passage.document, lead.start): lead for lead in (*leads, *cited)}
    ordered = sorted(
        places.values(),
        key=lambda sentence: (sentence.passage.document != first, sentence.passage.document, sentence.start),
    )
    citations: list[Citation] = []
    for sentence in ordered:
        last = citations[-1] if citations else None
        joined = _joined(last, sentence) if last is not None else None
        if joined is not None:
            citations[-1] = joined
        else:
            citations.append(sentence.cite())
    return tuple(citations)


def _joined(last: Citation, sentence: Sentence) -> Citation | None:
    """Return one citation of two sentences with only space between them; None if there is more, or they are apart."""
    passage = sentence.passage
    if (
        last.document != passage.document
        or last.index != passage.index
        or last.start < passage.start
        or named(sentence)
    ):
        return None
    if passage.text[last.end - passage.start : sentence.start - passage.start].strip():
        return None
    whole = Sentence(
        passage=passage,
        rank=sentence.rank,
        start=last.start,
        end=sentence.end,
        text=passage.text[last.start - passage.start : sentence.end - passage.start],
    )
    return whole.cite()


# --- What a quoted sentence says to one who does not see where it stands: a row with its columns, an item with its
# "not".
#
# The quote itself stays as the document has it. Which introductions deny is known by language.


def spoken(citation: Citation, cited: Sequence[Sentence], seen: SentenceSurvey | None = None) -> str:
    """Return a citation on one line; of a table's row, its identifying cells and those that the question asks for."""
    row = row_of(citation, cited)
    pairs = named(row) if row is not None else []
    if row is None or not pairs or (seen is None and not row.head):
        return flat(citation.text)
    if seen is not None:
        pairs = seen.asked_of(row).pairs
    return "; ".join(f"{name}: {value}" if name else value for name, value in pairs)


def row_of(citation: Citation, cited: Sequence[Sentence]) -> Sentence | None:
    """Return the sentence that a citation consists of; None if it is not a single sentence."""
    span = (citation.document, citation.start, citation.end)
    return next(
        (sentence for sentence in cited if (sentence.passage.document, sentence.start, sentence.end) == span), None
    )


def borne_by(sentence: Sentence) -> str:
    """Return the text that must support a wording: a row's values with their names, an item with its introduction."""
    pairs = named(sentence)
    text = ", ".join(f"{name} {value}".strip() for name, value in pairs) if pairs else sentence.text
    return f"{sentence.lead.text} {text}" if sentence.lead else text


# --- Finds sentences of other documents that answer the same question with another value.

_LESS_LIKELY = 4.0
"""Log-odds by which another sentence may be less likely to answer than the best one."""
_COVERED = LEXICAL.index("covered_heading")
_SAME_WORDS = 0.4
"""Least share of the words, without values, that two sentences must have in common."""
_MOST = 2
"""Most other documents that are shown."""
_TIME = re.compile(r"(?<![\d.,:])(\d{1,2})[:h](\d\d)(?![\d:])")
_DOTTED = re.compile(r"(?<![\d.,:])([01]?\d|2[0-4])\.([0-5]\d)(?![\d:.,])")
"""A time of day where the language writes no such number."""
_UNIT = re.compile(r"[ \t\u00a0\u202f]?(%|\u2030|\u00b0?[^\W\d_]+)")


class Values(NamedTuple):
    """The values of a sentence."""

    by_unit: Mapping[str, frozenset[str]]
    words: frozenset[str]
    """The other words of the sentence."""


def find_rivals(reading: AnswerReading, seen: SentenceSurvey) -> list[Sentence]:
    """Return sentences of other documents that contradict the best one, the likeliest of each document first."""
    return [seen.sentences[row] for row in _rival_rows(reading, seen)]


def unopposed(
    reading: AnswerReading, seen: SentenceSurvey, read: Callable[[np.ndarray], AnswerReading | None]
) -> AnswerReading:
    """Return the reading, at least as sure as without the sentences that contradict its best one.

    A reading is as sure of its best sentence as that leads the others. A contradicting sentence answers the same
    question: that it is close says nothing against either. `read` reads the sentences at these places (K,) alone.
    """
    rivals = _rival_rows(reading, seen)
    alone = read(np.setdiff1d(np.arange(len(seen.sentences)), rivals)) if rivals else None
    if alone is None or alone.cited[0] is not reading.cited[0]:
        return reading
    return replace(reading, right=max(reading.right, alone.right), stated=max(reading.stated, alone.stated))


def unread_rivals(reading: AnswerReading, seen: SentenceSurvey, read: Sequence[int], first: np.ndarray) -> list[int]:
    """Return contradicting sentences among the unread ones, by the scores (S,) of the first look.

    Whether these sentences answer is open. The list is empty where the best sentence is no answer.
    """
    if reading.right < 1 - reading.stated:
        return []
    known_rows = set(read)
    rows = (row for row in map(int, np.argsort(-first, kind="stable")) if row not in known_rows)
    return _saying_otherwise(_best(reading, seen), rows, seen)


def _rival_rows(reading: AnswerReading, seen: SentenceSurvey) -> list[int]:
    at = _best(reading, seen)
    order = map(int, np.argsort(-reading.scores, kind="stable"))
    likely = takewhile(lambda row: reading.scores[row] >= reading.scores[at] - _LESS_LIKELY, order)
    return _saying_otherwise(at, likely, seen)


def _best(reading: AnswerReading, seen: SentenceSurvey) -> int:
    return next(row for row, sentence in enumerate(seen.sentences) if sentence is reading.cited[0])


def _saying_otherwise(at: int, rows: Iterable[int], seen: SentenceSurvey) -> list[int]:
    """Return for each other document the first of these rows with similar words but another value than row `at`."""
    best = seen.sentences[at]
    own = values_of(best, seen)
    if not own.by_unit:
        return []
    rows_by_document: dict[tuple[str, str], int] = {}
    agreed = {(best.passage.index, best.passage.document)}
    for row in rows:
        sentence = seen.sentences[row]
        document = (sentence.passage.index, sentence.passage.document)
        is_asked = (
            seen.words[row, _COVERED] >= seen.words[at, _COVERED] - 1e-6
            or (seen.found is not None and seen.found[row])
            or _names_row(seen, sentence)
        )
        if document in agreed or document in rows_by_document or not is_asked:
            continue
        other = values_of(sentence, seen)
        if len(own.words & other.words) < _SAME_WORDS * min(len(own.words), len(other.words)):
            continue
        if _differ(own, other, wanted(seen.question, seen.language)):
            rows_by_document[document] = row
            if len(rows_by_document) == _MOST:
                break
        elif own.by_unit.keys() & other.by_unit.keys():
            agreed.add(document)
    return list(rows_by_document.values())


def _names_row(seen: SentenceSurvey, sentence: Sentence) -> bool:
    """Return whether a question has all words of the cell that names a table's row.

    A row that is named whole is asked for, also where a sentence has more of the question: its "costs" is a column
    called "Price" in the row.
    """
    row = named(sentence)
    words = set(cached_terms(row[0][1], seen.language)) if row else set()
    return bool(words) and words <= set(cached_terms(seen.question, seen.language))


def _differ(own: Values, other: Values, kind: str) -> bool:
    """Return whether all values of a shared unit differ; only the kind asked for counts where both have it.

    In sentences of the same words one value that differs is enough: "open from 9 to 13", "open from 9 to 16".
    """
    units = own.by_unit.keys() & other.by_unit.keys()
    asked_units = {unit for unit in units if unit.partition(" ")[0] == kind} or units
    if own.words == other.words and own.by_unit.keys() == other.by_unit.keys():
        return any(own.by_unit[unit] != other.by_unit[unit] for unit in asked_units)
    return bool(units) and all(own.by_unit[unit].isdisjoint(other.by_unit[unit]) for unit in asked_units)


def values_of(sentence: Sentence, seen: SentenceSurvey) -> Values:
    """Return the values of a sentence that the question lacks; of a table's row, those of the cells asked for."""
    language = language_of(sentence.passage.text, seen.language)
    if not named(sentence):
        return _read([("", sentence.text)], language, seen)
    cells = seen.asked_of(sentence)
    values = _read(cells.cells, language, seen)
    key = " ".join(value for pair in cells.pairs if pair not in cells.cells for value in pair)
    return values._replace(words=values.words | _words(key, language))


def _read(cells: Sequence[tuple[str, str]], language: str, seen: SentenceSurvey) -> Values:
    values: defaultdict[str, set[str]] = defaultdict(set)
    words: set[str] = set()
    given = {value.value for _, value in typed_spans(seen.question, seen.language)}
    for name, text in cells:
        taken = [match.span() for match in _TIME.finditer(text)]
        values["time"] |= {f"{int(hour)}:{minute}" for hour, minute in _TIME.findall(text)}
        for kind, value in typed_spans(text, language):
            if any(value.start < end and start < value.end for start, end in taken) or value.value in given:
                continue
            taken.append((value.start, value.end))
            unit = _UNIT.match(text, value.end)
            of = {"money": str(value.value).partition(" ")[0], "number": unit[1].casefold() if unit else name}.get(
                kind, ""
            )
            if kind != "number" or of:
                values[f"{kind} {of}".strip()].add(str(value.value))
        for match in _DOTTED.finditer(text):
            if not any(start < match.end() and match.start() < end for start, end in taken):
                taken.append(match.span())
                values["time"].add(f"{int(match[1])}:{match[2]}")
        plain = "".join(sign if not any(a <= at < b for a, b in taken) else " " for at, sign in enumerate(text))
        words |= _words(f"{name} {plain}", language)
    return Values({unit: frozenset(units) for unit, units in values.items() if units}, frozenset(words))


def _words(text: str, language: str) -> frozenset[str]:
    return frozenset(term for term in terms(text, language) if not any(sign.isdigit() for sign in term))


# --- Tells documents about different subjects from versions of one document, by their names and their texts.

_YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")
_BETWEEN = re.compile(r"[\W_]+")
_SAME_SENTENCE = 0.8
"""Share of all words of two sentences that are in both, from which one is a version of the other."""


def is_of_another(best: Sentence, rival: Sentence, seen: SentenceSurvey) -> bool:
    """Return whether the documents of two sentences are about different subjects: then both sentences may be right.

    Their names, which are the title and the file name, must have words that the other's lack. Numbers and months are no
    such words. These are subjects if both texts use such words of their own, more often than the other text does; or if
    the titles share other words ("Data sheet: acetone", "Data sheet: lye") and nothing says that one is the newer
    version: other years in the names, or other dates of two texts that say the same beside the two sentences. All else
    is about the same: "Prices 2023" and "Prices 2025", "Prices" and "New prices", "FAQ" and "Terms".
    """
    pair = (best, rival)
    titles = [_title_words(sentence, seen) for sentence in pair]
    names = [title | _file_words(sentence, seen) for title, sentence in zip(titles, pair, strict=True)]
    own = _apart_from_each_other(*names)
    if not all(own):
        return False
    texts = [_words_told(sentence, seen) for sentence in pair]
    if all(
        any(_count(word, texts[at]) > _count(word, texts[1 - at]) for word in words) for at, words in enumerate(own)
    ):
        return True
    differing = _apart_from_each_other(*titles)
    shared = all(len(words) < len(title) for words, title in zip(differing, titles, strict=True))
    return all(differing) and shared and not _is_dated_version(best, rival, seen)


def _is_dated_version(best: Sentence, rival: Sentence, seen: SentenceSurvey) -> bool:
    pair = (best.passage, rival.passage)
    years = [set(_YEAR.findall(f"{passage.heading} {passage.document}")) for passage in pair]
    dates = {passage.dated for passage in pair} - {None}
    return years[0] != years[1] or (len(dates) > 1 and _says_the_same(best, rival, seen))


def title_of(sentence: Sentence, others: Sequence[Sentence]) -> str:
    """Return the title of a sentence's document; its name where it has no title, or another one has the same."""
    title = _title(sentence)
    documents = {other.passage.document for other in others if _title(other) == title} - {sentence.passage.document}
    return sentence.passage.document if documents or not title else title


def _title(sentence: Sentence) -> str:
    """Return the outermost heading above a sentence; empty if there is none."""
    return sentence.passage.heading.partition(" > ")[0].partition("\n")[0].strip()


def _title_words(sentence: Sentence, seen: SentenceSurvey) -> set[str]:
    title = _title(sentence)
    return _naming(title, sentence, seen) | set(marks(title, language_of(sentence.passage.text, seen.language)))


def _file_words(sentence: Sentence, seen: SentenceSurvey) -> set[str]:
    return _naming(_BETWEEN.sub(" ", PurePath(sentence.passage.document).stem), sentence, seen)


def _naming(name: str, sentence: Sentence, seen: SentenceSurvey) -> set[str]:
    return set(_words(name, language_of(sentence.passage.text, seen.language)) - _month_words())


@cache
def _month_words() -> frozenset[str]:
    return frozenset(word for month in month_names() for word in (month, *terms(month)))


def _apart_from_each_other(one: set[str], other: set[str]) -> tuple[set[str], set[str]]:
    """Return the words of each set that have no form in the other."""
    ones, others = Counter(one), Counter(other)
    return {word for word in one if not _count(word, others)}, {word for word in other if not _count(word, ones)}


def _told_beside(sentence: Sentence, seen: SentenceSurvey) -> list[frozenset[str]]:
    """Return the words, without numbers, of each other sentence that was found of a sentence's document."""
    return [
        words
        for other in seen.sentences
        if _document(other) == _document(sentence) and other is not sentence
        if (words := _words(other.text, language_of(other.passage.text, seen.language)))
    ]


def _says_the_same(best: Sentence, rival: Sentence, seen: SentenceSurvey) -> bool:
    """Return whether at least half of what was found of the shorter document is also in the other, numbers aside."""
    short, long = sorted((_told_beside(best, seen), _told_beside(rival, seen)), key=len)
    same = [any(len(one & other) >= _SAME_SENTENCE * len(one | other) for other in long) for one in short]
    return bool(same) and 2 * sum(same) >= len(same)


def _words_told(sentence: Sentence, seen: SentenceSurvey) -> Counter[str]:
    """Return the words of all that was found of a sentence's document, headings left out."""
    passages = {id(other.passage): other.passage for other in seen.sentences if _document(other) == _document(sentence)}
    texts = (passage.text for passage in passages.values())
    return Counter(word for text in texts for word in cached_terms(text, language_of(text, seen.language)))


def _document(sentence: Sentence) -> tuple[str, str]:
    return sentence.passage.index, sentence.passage.document


def _count(word: str, words: Counter[str]) -> int:
    return sum(count for other, count in words.items() if word == other or akin(word, other))
