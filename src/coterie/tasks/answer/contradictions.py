"""Finds sentences of other documents that answer the same question with another value.

Values are compared where their units are the same: amounts of one currency, per cent, numbers of one unit, dates, times
of day, cells of one column. This needs no language; the unit that a question asks for is recognised in English.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import NamedTuple

import numpy as np

from coterie.learning.values import typed_spans
from coterie.tasks.answer.cells import named
from coterie.tasks.answer.features import LEXICAL, wanted
from coterie.tasks.answer.reader import AnswerReading, SentenceSurvey
from coterie.tasks.answer.sentences import Sentence
from coterie.text.language import language_of
from coterie.text.words import terms

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
        is_asked = seen.words[row, _COVERED] >= seen.words[at, _COVERED] - 1e-6 or (
            seen.found is not None and seen.found[row]
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
