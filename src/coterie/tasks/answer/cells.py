"""Rows of tables as answers: finds the row that a question is about, and the right cells in it.

The method knows no language. A row matches numbers that lie in a range of one of its cells ("20,001 - 40,000" matches
35,000), where the column as a whole shows that its cells are ranges. It also matches words of the question that are
forms of its own words, where no row of the table has the exact word. The column is the one whose name shares most with
the question.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf, log
from typing import NamedTuple
from unicodedata import category

import numpy as np

from coterie.tasks.answer.features import Sentence, cached_terms
from coterie.text.language import language_of
from coterie.text.numerals import find_numbers
from coterie.text.segmentation import marks, numbered, small_words

Pair = tuple[str, str]
"""The name of a column, empty if it has none, and a row's cell."""

_LEAST_PREFIX, _OF_SHORTER, _OF_LONGER = 4, 0.75, 0.5
"""Conditions for two words to be forms of one word: letters of a common prefix, and its share of both words."""
_INSIDE = 5
"""Fewest letters of a word that may be part of a longer one, as of a compound."""
_FEWEST_RANGES = 2
_HEARD = 0.5
"""Share of the question's words that must be matched for a cell to count as looked up."""
_FORM = 0.5
"""Weight of a word that a row has in another form: "teaches" names "teachers" less than the word itself."""
_GIVEN_BACK = 0.1
"""Weight of a word from the previous question: it distinguishes rows where the turn's own words do not."""
_FAR = 20.0
"""Factor: a number of the question this far from all bounds of a column is of another kind."""


class Range(NamedTuple):
    """The numbers that a cell stands for."""

    low: float
    high: float

    def has(self, number: float) -> bool:
        """Return whether a number is in the range."""
        return self.low <= number <= self.high


@dataclass(frozen=True, kw_only=True)
class Cells:
    """How the rows among some sentences match a question."""

    tables: np.ndarray  # (S,) int: the table that each is a row of, -1 for none
    matched: np.ndarray  # (S,): the question's words that the row's cells say, each by how few rows say it
    said: Sequence[frozenset[str]]
    """For each sentence, the question's words that it matches in addition to those that it contains."""
    names: Mapping[int, tuple[str, ...]]
    """For each table, the names of its columns."""
    told: np.ndarray  # (S,)
    """The same for the words that tell rows apart: not matched by every row, and not in the name of a column."""
    found: np.ndarray  # (S,) bool
    """Whether a cell was looked up.

    That holds if no other row matches as much of the question, the row has a cell in the requested column, and row,
    columns and headings match most of the question.
    """


def named(sentence: Sentence) -> list[Pair]:
    """Return the non-empty cells of a row with their column names; none if it is no row or does not fit its columns."""
    if not sentence.head:
        lines = [line.strip() for line in sentence.text.splitlines() if line.strip()]
        if len(lines) < 2 or not all(": " in line for line in lines[1:]):
            return []
        pairs = [
            (name, value) if mark else ("", name) for name, mark, value in (line.partition(": ") for line in lines)
        ]
        return [pair for pair in pairs if not _is_blank(pair[1])]
    text, at = sentence.passage.text, sentence.start - sentence.passage.start
    end = text.find("\n", at)
    values = _split(text[text.rfind("\n", 0, at) + 1 : end if end >= 0 else len(text)])
    names = _split(sentence.head)
    if len(values) == len(names) + 1:
        names = ["", *names]  # the first column has no name
    if len(values) != len(names):
        return []
    return [pair for pair in zip(names, values, strict=True) if not _is_blank(pair[1])]


def _is_blank(cell: str) -> bool:
    """Return whether a cell is blank: empty, or dashes of any kind."""
    return all(sign.isspace() or sign == "\u2212" or category(sign) == "Pd" for sign in cell)


def _split(row: str) -> list[str]:
    """Return the cells of a Markdown row; a bar after a backslash is part of a cell."""
    inner = row.strip().replace("\\|", "\0").removeprefix("|").removesuffix("|")
    return [" ".join(cell.replace("\0", "|").split()) for cell in inner.split("|")]


def look_up(question: str, sentences: Sequence[Sentence], language: str, *, turn: str = "") -> Cells:
    """Return how the rows among some sentences match a question in this language.

    `turn` is the original wording of a follow-up: its words distinguish rows before the words that the rewriting added.
    """
    given = _given_back(question, turn, language)
    pairs = [named(sentence) for sentence in sentences]
    tables: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for row, (sentence, own) in enumerate(zip(sentences, pairs, strict=True)):
        if own:
            first = next((name for name, _ in own if name), "")
            key = (sentence.head,) if sentence.head else (sentence.passage.heading, first)
            tables[(sentence.passage.index, sentence.passage.document, *key)].append(row)
    question_terms = list(dict.fromkeys(cached_terms(question, language)))
    number, matched = np.full(len(sentences), -1), np.zeros(len(sentences))
    besides_of: list[frozenset[str]] = [frozenset()] * len(sentences)
    names: dict[int, tuple[str, ...]] = {}
    is_cell, told_by = np.zeros(len(sentences), dtype=bool), np.zeros(len(sentences))
    for table, rows in enumerate(tables.values()):
        number[rows] = table
        names[table] = tuple(dict.fromkeys(name for row in rows for name, _ in pairs[row] if name))
        of = _rows_of(question, question_terms, [pairs[row] for row in rows], sentences[rows[0]], language)
        counts = Counter(term for _, all_of_it in of for term in all_of_it)
        shared = {term for term, count in counts.items() if count == len(rows)}
        shared |= set(cached_terms(" ".join(names[table]), language))
        for row, (besides, all_of_it) in zip(rows, of, strict=True):
            besides_of[row] = frozenset(besides)
            weighed = {
                term: (_GIVEN_BACK if term.rpartition(" ")[2] in given else 1.0) * log(1 + len(rows) / counts[term])
                for term in all_of_it
            }
            matched[row] = sum(weighed.values())
            told_by[row] = sum(
                weight * (_FORM if term in besides and not term[0].isdigit() else 1.0)
                for term, weight in weighed.items()
                if term not in shared or term in besides
            )
        best = max(rows, key=lambda row: matched[row])
        if (told_by[best] or len(rows) == 1) and matched[best] > max(
            (matched[row] for row in rows if row != best), default=0.0
        ):
            asks = asked_cells(question, pairs[best], names[table], language)
            sentence = sentences[best]
            beside = f"{' '.join(names[table])} {sentence.passage.heading} {sentence.passage.document} {sentence.text}"
            heard = besides_of[best] | _matches(question_terms, beside, language)
            share = len(heard) - _HEARD * len(question_terms)
            enough = share >= 0 if asks.named else share > 0  # "the salary of the curator" is half heard
            is_cell[best] = enough and 0 < len(asks.cells) < 3 and not asks.missing
    return Cells(tables=number, matched=matched, said=besides_of, names=names, told=told_by, found=is_cell)


def _given_back(question: str, turn: str, language: str) -> set[str]:
    """Return words and letters of a rewritten question that its turn lacks; none if it is not rewritten."""
    if not turn:
        return set()
    return {*cached_terms(question, language), *marks(question, language)} - {
        *cached_terms(turn, language),
        *marks(turn, language),
    }


def _rows_of(
    question: str, question_terms: Sequence[str], rows: Sequence[Sequence[Pair]], first: Sentence, language: str
) -> list[tuple[set[str], set[str]]]:
    """Return for each row the question's words that its cells match without containing them, and all that match.

    A letter that names a thing ("pier C") is among all matches: nothing else may distinguish one row from another.
    """
    cells = [{term for _, value in row for term in cached_terms(value, language)} for row in rows]
    marked = _marked(question, rows, language)
    numbers = _numbers_of(question, rows, language_of(first.passage.text, language), language)
    everywhere = set().union(*cells)
    rows_found = []
    for own, ranged, mark in zip(cells, numbers, marked, strict=True):
        kin = {term for term in question_terms if term not in everywhere and any(akin(term, other) for other in own)}
        rows_found.append((kin | ranged, kin | ranged | mark | own.intersection(question_terms)))
    return rows_found


def _marked(question: str, rows: Sequence[Sequence[Pair]], language: str) -> list[set[str]]:
    """Return for each row the letters of the question in its cells, by column, without those of a whole column."""
    question_marks = set(marks(question, language))
    own = [{f"{name}: {mark}" for name, value in row for mark in _marks(value, language)} for row in rows]
    marked = [{cell for cell in cells if cell.rpartition(" ")[2] in question_marks} for cells in own]
    common: set[str] = set.intersection(*marked) if len(marked) > 1 else set()
    return [cells - common for cells in marked]


def _numbers_of(question: str, rows: Sequence[Sequence[Pair]], written: str, language: str) -> list[set[str]]:
    """Return for each row the numbers of the question, as its words, that lie in the range of a cell."""
    terms_of_rows: list[set[str]] = [set() for _ in rows]
    columns = dict.fromkeys(name for row in rows for name, _ in row)
    in_names = {number.value for name in columns for number in find_numbers(name, written)}  # "Pass for 10 trips"
    values = [
        (float(abs(number.value)), question[number.start : number.end])
        for number in find_numbers(question, language)
        if number.value not in in_names
    ]
    if not values:
        return terms_of_rows
    for name in columns:
        cells = [next((value for column, value in row if column == name), "") for row in rows]
        ranges = ranges_of(cells, written)
        bounds = [bound for bounds in ranges if bounds for bound in bounds if 0 < bound < inf]
        near = [value for value in values if bounds and min(bounds) / _FAR <= value[0] <= max(bounds) * _FAR]
        if near:
            value, text = max(near)
            for row, bounds_ in enumerate(ranges):
                if bounds_ and bounds_.has(value):
                    terms_of_rows[row] |= set(cached_terms(text, language))
    return terms_of_rows


def ranges_of(cells: Sequence[str], language: str | None) -> list[Range | None]:
    """Return the ranges of a column, derived from the order of its cells; all None where they are no ranges.

    A cell with two numbers contains what lies between them. A cell with one number is open towards the side without
    another cell: below at the lower end of the column, above at its upper end ("up to 10", "11 - 20", "over 20").
    Cells with one number each are ranges only where the last two have the same one ("up to 10", "up to 20", "over
    20").
    """
    read = [sorted(float(abs(number.value)) for number in find_numbers(cell, language)) for cell in cells]
    order = [at for at, numbers in enumerate(read) if numbers]
    if len(order) < _FEWEST_RANGES or any(len(read[at]) > 2 for at in order):
        return [None] * len(cells)
    order = sorted(order, key=lambda at: (read[at][0], read[at][-1], at))
    lows, highs = [read[at][0] for at in order], [read[at][-1] for at in order]
    follow = all(low >= high for low, high in zip(lows[1:], highs, strict=False))
    two = [low < high for low, high in zip(lows, highs, strict=True)]
    bounded = len(order) > 2 and not any(two) and lows[-1] == lows[-2] and len(set(lows)) == len(lows) - 1
    if not follow or not (any(two) or bounded):
        return [None] * len(cells)
    ranges: list[Range | None] = [None] * len(cells)
    for index, at in enumerate(order):
        low, high = lows[index], highs[index]
        if bounded:
            before = lows[index - 1] if index else -inf
            low, high = (low, inf) if index == len(order) - 1 else (before, high)
        elif not two[index]:
            low, high = (-inf if index == 0 else low), (inf if index == len(order) - 1 else high)
        ranges[at] = Range(low, high)
    return ranges


def akin(one: str, other: str) -> bool:
    """Return whether two words are forms of one word, or one is a part of the other."""
    short, long = sorted((one, other), key=len)
    if any(sign.isdigit() for sign in short):
        return False
    same = next((at for at, (a, b) in enumerate(zip(short, long, strict=False)) if a != b), len(short))
    begins = same >= max(_LEAST_PREFIX, _OF_SHORTER * len(short), _OF_LONGER * len(long))
    return begins or (len(short) >= _INSIDE and short in long)


def own_rows(sentences: Sequence[Sentence], best: Sentence, turn: str, language: str) -> np.ndarray | None:
    """Return the places (K,) of the sentences with most of a follow-up's own words; None if the best one has any.

    None as well if they are of several documents: words that many use ("What does it cost?") name no thing.
    What a conversation gives back to a turn ("and on Sundays? (when is the pool open)") may say more than the turn, and
    a sentence with all of that and nothing of the turn answers the question before.
    """
    own = set(cached_terms(turn, language))

    def count_own(sentence: Sentence) -> int:
        words = {*cached_terms(sentence.said, language), *cached_terms(sentence.passage.heading, language)}
        return sum(term in words or any(akin(term, other) for other in words) for term in own)

    counts = np.array([count_own(sentence) for sentence in sentences])
    rows = np.flatnonzero(counts == counts.max())
    documents = {(sentences[row].passage.index, sentences[row].passage.document) for row in rows.tolist()}
    return None if count_own(best) or not counts.any() or len(documents) > 1 else rows


def best_row(scores: np.ndarray, tables: np.ndarray, matched: np.ndarray) -> np.ndarray:  # (S,) each
    """Return the scores; swap those of the best row and of another row of its table that matches more of the question.

    All rows of a table share the names of its columns and much else: only their cells tell them apart.
    """
    best = int(scores.argmax())
    if tables[best] < 0:
        return scores
    own = np.where(tables == tables[best], matched, -np.inf)
    other = int(np.where(own == own.max(), scores, -np.inf).argmax())
    if own[other] <= matched[best]:
        return scores
    exchanged = scores.copy()
    exchanged[[best, other]] = scores[[other, best]]
    return exchanged


class Asked(NamedTuple):
    """The cells of a row that a question asks for."""

    pairs: list[Pair]
    """The identifying cells of the row, and the cells asked for; all cells where the question names no column."""
    missing: str
    """The name of the requested column that has no cell in this row; empty if there is none."""
    cells: list[Pair]
    """Only the cells asked for; all but the first where the question names no column."""
    named: bool = True
    """Whether the question names columns, and not all of them."""


def asked_cells(question: str, row: Sequence[Pair], names: Iterable[str], language: str, *, read: str = "") -> Asked:
    """Return the cells of a row that a question asks for.

    The column `read`, of which a model is confident, is given beside those that are named. A column without a cell in
    the row is missing where words of the question, or the model, name it alone.
    """
    question_terms = list(dict.fromkeys(cached_terms(question, language)))
    named_by = set(marks(question, language))
    named_rows = {
        n for n, v in row if _share(question_terms, v, language) or not named_by.isdisjoint(_marks(v, language))
    }
    if not named_rows:
        named_rows = {row[0][0]}
    columns = [name for name in names if name and name not in named_rows]
    held = {name: _matches(question_terms, name, language) for name in columns}
    counts = Counter(term for own in held.values() for term in own)
    votes = {name: sum(1 / counts[term] for term in own) for name, own in held.items()}
    most = max(votes.values(), default=0.0)
    chosen = {name for name, vote in votes.items() if most and vote >= most - 1e-9}
    present = [pair for pair in row if pair[0] in chosen]
    of_these = set().union(*(held[name] for name, _ in present if name in held))
    missing = {name for name in chosen - {name for name, _ in present} if held[name] - of_these}
    if missing:
        return Asked(list(row), ", ".join(sorted(missing)), [])
    if not chosen or len(chosen) == len(columns) > 1:
        every = [pair for pair in row[1:] if pair[0] not in named_rows] or list(row[1:])
        return Asked(list(row), "", every, named=False)
    if read and read not in dict(row):
        return Asked(list(row), read, [])
    if read and read not in named_rows:
        chosen |= {read}
        present = [pair for pair in row if pair[0] in chosen]
    return Asked([pair for pair in row if pair[0] in chosen | named_rows or pair == row[0]], "", present)


def known_by(question: str, row: Sequence[Pair], language: str) -> list[Pair]:
    """Return the cells that identify a row for a question: the first, or those with words of the question."""
    question_terms = cached_terms(question, language)
    shared = (
        []
        if _share(question_terms, row[0][1], language)
        else [pair for pair in row if _share(question_terms, pair[1], language)]
    )
    return shared or list(row[:1])


def is_named(name: str, question: str, language: str) -> bool:
    """Return whether the name of a column occurs literally in a question."""
    return set(cached_terms(name, language)) <= set(cached_terms(question, language))


def unheard(question: str, beside: str, language: str) -> tuple[list[str], float]:
    """Return the words of a question that a text says in no form, and the share of its terms that the text says."""
    question_terms = list(dict.fromkeys(cached_terms(question, language)))
    missed = set(question_terms) - _matches(question_terms, beside, language)
    words = [word for word in re.findall(r"[\w-]+", question) if missed.intersection(cached_terms(word, language))]
    return words, 1 - len(missed) / max(1, len(question_terms))


def asks_for_another(question: str, row: Sequence[Pair], language: str) -> str:
    """Return the name of a thing in a question ("pier D", "room 4") where the row is about another; empty otherwise.

    That is a letter where a cell of the row has another letter, or a number or letter after a word that is followed by
    another one in a cell.
    """
    question_marks = marks(question, language)
    own = {mark for _, value in row for mark in _marks(value, language)}
    is_known = any(_marks(value, language) and not cached_terms(value, language) for _, value in row)
    letters = [mark for mark in question_marks if mark not in small_words(language)]
    if is_known and letters and own.isdisjoint(question_marks):
        return letters[0]
    wanted = numbered(question, language)
    here = {pair for _, value in row for pair in numbered(value, language)}
    other = sorted(number for word, number in wanted - here if any(word == name for name, _ in here - wanted))
    return other[0] if other and not here & wanted else ""


def other_number(question: str, sentence: str, beside: str, language: str) -> str:
    """Return a number of a thing or a year in a question where a sentence names another one; empty if it does not.

    That is a number after a word that is followed by another one in the sentence ("bus 22", "bus 14"), or a year
    where the sentence has other years. The text beside the sentence must not contain it either.
    """
    around = {number for text in (beside, sentence) for number in _NUMBER.findall(text)}
    around |= {number[2:] for number in around if len(number) == len("1930")}  # "the thirties" in figures
    wanted, here = (
        {(word, number) for word, number in numbered(text, language) if number.isdigit()}
        for text in (question, sentence)
    )
    words = {word for word, _ in here}
    others = [number for word, number in wanted if word in words]
    if others and not wanted & here and around.isdisjoint(others):
        return min(others)
    years = _years(question, language)
    return min(years) if years and _years(sentence, language) and around.isdisjoint(years) else ""


_NUMBER = re.compile(r"(?<!\d)\d+(?!\d)")
_YEAR = re.compile(r"(?<![\w.,/:-])(?:1[5-9]|20|21)\d\d(?![\w/:]|[.,-]\d)")


def _years(text: str, language: str) -> set[str]:
    """Return numbers that look like years and count nothing: no word of a thing follows them."""
    return {match[0] for match in _YEAR.finditer(text) if not _counts(text[match.end() :], language)}


def _counts(behind: str, language: str) -> bool:
    """Return whether the text after a number is counted by it: a word, or the sign of a unit."""
    beside = _BESIDE.match(behind)
    return beside is not None and (not beside[0].strip().isalpha() or bool(cached_terms(beside[0], language)))


_BESIDE = re.compile(r"[ \u00a0\u202f]?(?:[^\W\d_]+|[%\u2030\u00b0\u20a0-\u20cf$\u00a3\u00a5])")


def _matches(question_terms: Sequence[str], text: str, language: str) -> set[str]:
    own = cached_terms(text, language)
    return {term for term in question_terms if any(term == other or akin(term, other) for other in own)}


def _share(question_terms: Sequence[str], text: str, language: str) -> bool:
    return not set(cached_terms(text, language)).isdisjoint(question_terms)


@lru_cache(maxsize=16384)
def _marks(text: str, language: str) -> tuple[str, ...]:
    return tuple(marks(text, language, sentence=False))
