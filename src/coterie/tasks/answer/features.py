"""Passages as sentences, the units that are scored and cited, and their features as answers to a question.

Features are words shared, the kind of value asked for, place, and encoding.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from math import log
from pathlib import Path
from typing import NamedTuple

import numpy as np

from coterie.text.language import is_english, language_of
from coterie.text.numerals import cardinals
from coterie.text.segmentation import negation_pattern, sentences, stem, terms
from coterie.text.values import typed_spans
from coterie.types import Citation, Passage

_ITEM = re.compile(r"\n+(?=[ \t]*(?:```|(?:[-*+\u2022|#]|\(?\d{1,2}[.)]|\([a-z]{1,4}\))[ \t]*\S))")
"""A line that begins like a list's item, a table's row, a heading or a fence begins a sentence."""
_TABLE = re.compile(
    r"^(?P<head>[^\n]*\S)[ \t]*\n[ \t]*\|?(?:[ \t]*:?-{3,}:?[ \t]*\|)+(?:[ \t]*:?-{3,}:?)?[ \t]*\n", re.MULTILINE
)
"""The line with a table's column names, and the line under it."""
_LINE_END = re.compile(r"\n")
_ROWS = re.compile(r"(?:[^\n|]*\|[^\n]*(?:\n|$))*")
_CELLS = re.compile(r"\|[^\n]+\|")
"""A row between bars. A cell means nothing without those beside it."""
_PARAGRAPH = re.compile(r"\n[ \t\r]*\n\s*")
_PAIR = re.compile(r"[^\s:][^:\n.;!?]{0,59}:[ \t]+\S.*")
"""A line with a name and its value, as in a row of a CSV file, an address or a price list."""
_ROW_LINE = re.compile(r"[^\s:][^:\n]{0,99}:[ \t]+\S.*")
"""A line with a name and its value among several such lines: names of columns may be abbreviated."""
_OF = re.compile(r"(?!\(?\w{1,2}[.)][ \t])[^\W_a-z][^:\n;!?|]{0,98}[^\s.:;!?,|]")
"""The line above such lines that says what they describe: the first cell of a row whose column has no name."""
_PAIRS = 2
"""Fewest such lines below it: one alone is a value under its heading."""
_NEXT = re.compile(r"[.;!?]\s+[A-Z]")
"""A value that matches this is prose."""
_TITLE = re.compile(
    r"(?:\A\s*|(?<=[.!?]\n)[ \t]*)(?P<title>(?:\u00a7[ \t]?)?[^\W_a-z][^\n]{0,58}[^\n.,;:!?\s|])[ \t]*\n"
    r"(?=[ \t]*[\"'(\u201c]?[^\W_a-z])"
)
"""A short line without a sentence's end before one that begins a sentence: a heading in plain text or a PDF."""
_TITLE_WORDS = 8
_LABEL = re.compile(r"[^:\n]{1,60}:[ \t._\u2026\u2610\[\]()-]*")
"""A label, followed at most by marks for something to fill in."""
_BLANK = re.compile(r"[ \t]*(?:[_.\u2026]{3,}|\u2026|\u2610|\[[ \t]*\])")
"""Marks for something to fill in."""
_LONGEST_ROW, _LONGEST_PAIRS = 600, 3000
"""Most characters of a line, and of a row with the names of its columns."""
_ITEM_MARK = re.compile(r"[ \t]*(?:[-*+\u2022]|\(?\d{1,2}[.)]|\([a-z]{1,4}\))[ \t]+\S")
_EXCLUDES = re.compile(r"\b(?:except|exclu)\w*\b", re.IGNORECASE)
_MARKS = " \t\r\n#*|-+\u2022>_`:"
_CLOSING = " \t\r\n|*_`"
_PAIRED = ("`", "**", "__", "*", "_")
_FEWEST = 3
"""Fewest letters and digits of a meaningful sentence."""


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """A sentence of a passage."""

    passage: Passage
    rank: int
    """The passage's rank among those found, from 0."""
    start: int
    end: int
    """`start` and `end`: characters of the document's text."""
    text: str
    head: str = ""
    """The column names of a table's row: its values mean nothing without them."""
    lead: Sentence | None = None
    """The negating introduction of a list's item ("Not included:"): the item means the opposite."""

    @property
    def said(self) -> str:
        """The sentence's text with the context that a reader needs: a row with its column names."""
        return f"{self.head}: {self.text}" if self.head else self.text

    @property
    def bare(self) -> bool:
        """Whether it is a short line that is no sentence: a heading or a label."""
        text = self.text.rstrip()
        plain = not self.head and "\n" not in text and ": " not in text
        return plain and text[-1:] not in {".", "!", "?", ";"} and len(text.split()) <= _TITLE_WORDS

    @property
    def label(self) -> bool:
        """Whether it is a label with nothing after it, as in an empty form: it means nothing by itself."""
        return not self.head and len(self.text.split()) <= _TITLE_WORDS and _LABEL.fullmatch(self.text) is not None

    @property
    def unfilled(self) -> bool:
        """Whether it is a label before marks for something to fill in: the text after them does not belong to it."""
        colon = self.start - self.passage.start + self.text.find(":") + 1
        return self.label and _BLANK.match(self.passage.text, colon) is not None

    def cite(self) -> Citation:
        """Return the citation of the sentence."""
        passage = self.passage
        return Citation(
            document=passage.document,
            start=self.start,
            end=self.end,
            text=self.text,
            label=passage.label,
            index=passage.index,
            heading=passage.heading,
            page=passage.page,
        )


def cut_passages(passages: Sequence[Passage]) -> list[Sentence]:
    """Return the sentences of passages, best passage first; overlapping text occurs once, under the better passage."""
    sentences_: list[Sentence] = []
    taken: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for rank, passage in enumerate(passages):
        places = taken.setdefault((passage.index, passage.document), [])
        leads = _leads(passage.text)
        for start, end, head in _cut(passage.text, columns_above(passage)):
            at, to = passage.start + start, passage.start + end
            if any(at < other_end and other_start < to for other_start, other_end in places):
                continue
            places.append((at, to))
            lead = leads.get(start)
            above = None if lead is None else _sentence(passage, rank, *lead)
            sentences_.append(replace(_sentence(passage, rank, start, end), head=head, lead=above))
    return sentences_


def _sentence(passage: Passage, rank: int, start: int, end: int) -> Sentence:
    """Return the sentence at these characters of a passage's text."""
    at = passage.start
    return Sentence(passage=passage, rank=rank, start=at + start, end=at + end, text=passage.text[start:end])


def flat(text: str) -> str:
    """Return text on one line; lines of their own, such as the cells of a table's row, stay separated."""
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    return ("; " if len(lines) > 1 and all(": " in line for line in lines) else " ").join(lines)


def columns_above(passage: Passage) -> str:
    """Return the column names of a table that a passage begins inside of: they are last in its heading."""
    last = passage.heading.rsplit(" > ", 1)[-1]
    begins = passage.text.lstrip().split("\n", 2)[:2]
    rows = begins[0].startswith("|") or (len(begins) > 1 and all("|" in line for line in begins))
    return last if "|" in last and rows else ""


@lru_cache(maxsize=4096)
def _cut(text: str, above: str = "") -> tuple[tuple[int, int, str], ...]:
    """Return the positions of sentences, without the marks of lists and headings, and their column names.

    `above` are the column names of the rows that the text begins with, if it does. Column names are no sentence. The
    result is cached, as one document gets many questions.
    """
    places: list[tuple[int, int, str]] = []
    tables, language = _tables(text), language_of(text, "en")
    if above and (rows := _ROWS.match(text)) is not None:
        tables = [_Table(0, 0, rows.end(), above), *tables]
    start = 0
    lines = (line.start() for table in tables for line in _LINE_END.finditer(text, table.rows, table.end))
    for end in [*sorted({*(match.start() for match in _ITEM.finditer(text)), *lines}), len(text)]:
        row = any(table.rows <= start + 1 < table.end for table in tables)
        for begin, until in [(0, end - start)] if row else _sentences(text[start:end], language):
            at, to = _trim(text, start + begin, start + until)
            table = next((table for table in tables if table.start <= at < table.end), None)
            names = table is not None and at < table.rows
            if not names and sum(sign.isalnum() for sign in text[at:to]) >= _FEWEST:
                places.append((at, to, table.head if table else ""))
        start = end
    return tuple(places)


@lru_cache(maxsize=4096)
def _leads(text: str) -> dict[int, tuple[int, int]]:
    """Return by the start of a list's item the position of the list's introduction, if that negates."""
    leads: dict[int, tuple[int, int]] = {}
    denies = (_EXCLUDES, negation_pattern(language_of(text, "en")))
    lead, before = None, 0
    for start, end, _ in _cut(text):
        line = text.rfind("\n", 0, start) + 1
        if _ITEM_MARK.match(text, line) and lead is not None:
            leads[start] = lead
        elif lead is None or line >= before:
            last = max(start, text.rfind("\n", start, end) + 1)
            introduces = text[end - 1] not in {".", "!", "?", ";"}
            lead = (last, end) if introduces and any(pattern.search(text, last, end) for pattern in denies) else None
        before = end
    return leads


class _Table(NamedTuple):
    """The position of a table in a text."""

    start: int
    rows: int
    """Start of its rows."""
    end: int
    head: str
    """Names of its columns."""


def _tables(text: str) -> list[_Table]:
    tables = []
    for match in _TABLE.finditer(text):
        rows = _ROWS.match(text, match.end())
        if "|" in match["head"] and rows is not None and rows.end() > match.end():
            tables.append(_Table(match.start(), match.end(), rows.end(), match["head"].strip(_MARKS)))
    return tables


def _sentences(text: str, language: str) -> Iterator[tuple[int, int]]:
    """Yield the positions of an item's sentences. A paragraph of names with values is one sentence."""
    start = 0
    for end, after in [*(match.span() for match in _PARAGRAPH.finditer(text)), (len(text), len(text))]:
        if _is_row(text[start:end]):
            yield start, end
        else:
            yield from ((start + begin, start + until) for begin, until in _prose(text[start:end], language))
        start = after


def _prose(paragraph: str, language: str) -> Iterator[tuple[int, int]]:
    """Yield the positions of a paragraph's sentences; a heading line above them is a sentence by itself."""
    start = 0
    for match in [*_TITLE.finditer(paragraph), None]:
        end = len(paragraph) if match is None else match.start()
        yield from ((start + begin, start + until) for begin, until in _joined(paragraph[start:end], language))
        start = end
        if match is not None and len(match["title"].split()) <= _TITLE_WORDS:
            yield match.span("title")
            start = match.end("title")


def _joined(prose: str, language: str) -> Iterator[tuple[int, int]]:
    """Yield sentences; a label and the text after it on its line are one."""
    begun, end = 0, -1
    for sentence in sentences(prose, language=language, clauses=True, longest=_LONGEST_ROW):
        labelled = end >= 0 and prose[begun:end].endswith(":") and "\n" not in prose[end : sentence.start]
        if end >= 0 and not labelled:
            yield begun, end
        begun, end = (begun if labelled else sentence.start), sentence.end
    if end >= 0:
        yield begun, end


def _is_row(paragraph: str) -> bool:
    """Return whether it is a table's row, or every line is a name with its value; the first line may be its title."""
    row = paragraph.strip()
    lines = [line.lstrip(_MARKS).rstrip(_CLOSING) for line in row.split("\n")]  # a dash may be a value
    if len(lines) > _PAIRS and _OF.fullmatch(lines[0]):
        lines = lines[1:] if len(lines[0].split()) <= _TITLE_WORDS else lines
    if len(lines) >= _PAIRS:
        pairs = len(paragraph) <= _LONGEST_PAIRS and all(map(_ROW_LINE.fullmatch, lines))
        return pairs and any(not _NEXT.search(line) for line in lines)
    pair = _PAIR.fullmatch(lines[0]) is not None and not _NEXT.search(lines[0])
    return len(paragraph) <= _LONGEST_ROW and (pair or _CELLS.fullmatch(row) is not None)


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    """Trim the marks at both ends, except those whose partner is inside: `rate` | 5, **Note.** It is ..."""
    first, last = start, end
    while first < last and text[first] in _MARKS:
        first += 1
    while last > first and text[last - 1] in _CLOSING:
        last -= 1
    for mark in _PAIRED:
        if text[first:last].count(mark) % 2 == 0:
            continue
        if text.startswith(mark, first - len(mark)) and first - len(mark) >= start:
            first -= len(mark)
        elif text.startswith(mark, last) and last + len(mark) <= end:
            last += len(mark)
    return first, last


# --- Words that people use for one another in everyday questions and the pages that answer them.
#
# A question's word counts as said where the sentence has another one of its group. Small, and English: what is in no
# group stands for itself, and what means something else now and then ("charge", "bill") is told by the other words.

_GROUPS = Path(__file__).with_name("groups.txt").read_text(encoding="utf-8")


def _groups() -> dict[str, str]:
    """Return by stem the word that represents its group; a stem of several groups represents itself."""
    groups: dict[str, str] = {}
    several: set[str] = set()
    for line in _GROUPS.strip().splitlines():
        stems = {stem(word) for word in line.split()}
        several |= stems & groups.keys()
        groups |= dict.fromkeys(stems, min(stems))
    return {word: group for word, group in groups.items() if word not in several}


_GROUP = _groups()


def meant(stems: Iterable[str], language: str = "en") -> Iterator[str]:
    """Yield for each stem the representative of its group; the stem itself, if it has no group or is not English."""
    return iter(stems) if not is_english(language) else (_GROUP.get(stem_, stem_) for stem_ in stems)


# --- What a question asks for, by its words, and whether a text has such a thing: a price, a time, a person, a leave.
#
# It knows English. A text that fits need not answer, and one that does not may: how much it counts is fitted.

_COUNT = rf"(?:\d+|an?|{'|'.join(word for word, number in cardinals('en').items() if number)}|half)"
_MONTH = (
    r"(?:january|february|march|april|may|june|july|august|september|october|november|december"
    r"|(?:jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)\.?)"
)
_TIME = rf"""\b\d{{1,2}}(?::\d\d)?\ ?(?:am|pm|a\.m\.|p\.m\.|o['\u2019]clock)\b|\b\d{{1,2}}:\d\d\b|\bnoon\b|\bmidnight\b
  |\b(?:mon|tues|wednes|thurs|fri|satur|sun)days?\b|\b{_MONTH}\ \d|\b\d\d?\.?\ {_MONTH}|\b\d{{4}}-\d\d-\d\d\b
  |\b(?:weekdays?|weekends?|daily|holidays?|every\ (?:day|week|month|year|morning|evening))\b"""
_DURATION = rf"""\b{_COUNT}[\ -](?:\w+[\ -])?(?:second|minute|hour|day|night|week|month|quarter|year)s?\b
  |\b(?:once|twice|daily|weekly|monthly|yearly|immediately|at\ once)\b"""


class _Kind(NamedTuple):
    """One kind of thing that a question can ask for."""

    asked: re.Pattern[str]
    had: re.Pattern[str]


def _kind(question_form: str, had: str, *, cased: bool = False) -> _Kind:
    flags = re.VERBOSE | (0 if cased else re.IGNORECASE)
    return _Kind(re.compile(question_form, re.VERBOSE | re.IGNORECASE), re.compile(had, flags))


_KINDS = (
    _kind(
        r"\b(?:how\ much|prices?|costs?|fees?|charged?|charges|pay|expensive|cheap(?:er)?|rates?|rent)\b",
        r"""[\u20ac$\u00a3\u00a5]\s?\d
            |\b\d[\d.,]*\s?(?:\u20ac|%|euros?|eur|usd|dollars?|pounds?|gbp|chf|francs?|cents?|percent|per\ cent)
            |\b(?:usd|eur|gbp|chf)\s?\d|\b(?:free|no\ (?:charge|cost))\b|\bprice\b[^:\n]{0,20}:\s*\d""",
    ),
    _kind(
        r"""\bhow\ (?:long|soon|quickly|fast|early|far\ in\ advance|often|frequently)\b
            |\b(?:notice|period|duration|deadline)\b""",
        _DURATION,
    ),
    _kind(
        r"""\b(?:when|what\ (?:time|date|day|hours)|which\ (?:day|date|month|year)
            |(?:until|by|from|since)\ (?:when|what)|on\ (?:what|which)\ (?:day|date)s?|opening\ (?:hours|times))\b""",
        f"{_TIME}|{_DURATION}",
    ),
    _kind(
        r"""\bhow\ (?:many|old|far|big|tall|high|deep|wide|large|heavy|bright|loud|warm)\b
            |\b(?:max|min)imum\b|\b(?:limit|number|size|percentage|temperature)\b""",
        rf"\d|\b{_COUNT}\b|\b(?:no\ more|at\ most|at\ least|none)\b",
    ),
    _kind(
        r"\bwho(?:m|se)?\b|\bname\ of\b|\b(?:what|which)\ (?:doctor|person|company|firm|office)\b|\bin\ charge\b",
        r"""\b(?:Dr|Mr|Mrs|Ms|Prof)\b|(?<=[a-z,:;]\ )[A-Z]\w+\ [A-Z]\w+|:\s+[A-Z]\w+\ [A-Z]\w+
            |\b(?:[Oo]ffice|[Mm]anager|[Oo]wner|[Tt]enant|[Ll]andlord|[Ss]taff|[Dd]octor|[Dd]esk|[Tt]eam|[Dd]epartment
            |[Cc]aretaker|[Ss]ecretary|[Dd]irector|[Tt]eacher|[Cc]ompany|[Cc]ommittee|[Bb]oard|[Pp]arent)s?\b
            |\b\w+(?:holder|keeper|officer)s?\b|\w@\w""",
        cased=True,
    ),
    _kind(
        r"\bwhere\b|\baddress\b|\b(?:what|which)\ (?:room|floor|place|building|street|town|city|counter|page|menu)\b",
        r"""\b(?:in|at|on|beside|behind|near|opposite|next\ to|under|into|onto|to|from)\ (?:the|an?|our|your|[A-Z0-9])
            |\b(?:floor|street|road|square|lane|room|building|counter|desk|yard|cellar|entrance|page|menu)\b""",
        cased=True,
    ),
    _kind(
        r"\b(?:phone|telephone|call|ring|reach|contact|e-?mail)\b",
        r"(?<!\d)\+?\d[\d\ ()/-]{5,}\d|@\w|\b(?:call|ring|phone|telephone|extension|e-?mail|hotline)\b",
    ),
    _kind(
        r"""^(?:may|can|could|must|should|is\ it|am\ i|are\ we|do\ (?:i|we)\ (?:have|need))\b
            |\b(?:allowed|permitted|forbidden|possible|required|necessary|compulsory)\b""",
        r"""\b(?:may|must|can|cannot|allowed|forbidden|permitted|prohibited|not|no|only|never|nobody|nothing|except|unless
            |welcome|need|needs|required|consent|permission|free|possible|accepted?)\b|n['\u2019]t\b""",
    ),
    _kind(
        r"^(?:is|are|was|were|do|does|did|has|have|will)\b",
        r"""\b(?:is|are|was|were|has|have|will|we|not|no|only|never|included|available|offered|possible|there|every|all
            |yes)\b|n['\u2019]t\b""",
    ),
    _kind(
        r"^how\ (?:do|can|should|is|are|does)\b|\bwhat\ (?:should|must|do|can)\ (?:i|we)\ do\b",
        r"""\b(?:by|with|use|call|write|send|take|ask|must|if|put|press|tell|report|bring|go|close|leave|form|online|choose
            |click|open|please|need|needs)\b""",
    ),
)


def asked_for(question: str, language: str = "en") -> tuple[int, ...]:
    """Return the kinds of thing that a question asks for, by number; none if unclear, or if not in English."""
    if not is_english(language):
        return ()
    flat = " ".join(question.split())
    return tuple(number for number, kind in enumerate(_KINDS) if kind.asked.search(flat))


@lru_cache(maxsize=65_536)
def has_kind(text: str, kind: int) -> bool:
    """Return whether a text has a thing of this kind."""
    return bool(_KINDS[kind].had.search(text))


Floats = np.ndarray

WHOLE: tuple[str, ...] = (
    "asked",  # logarithm of the question's words
    "unheard",  # share of the question's words, each weighted by its rarity here, that no sentence has, nor one like it
)
"""Features of a question and all sentences found for it: they are the same for every sentence."""
LEXICAL: tuple[str, ...] = (
    "covered",  # share of the question's words, each weighted by its rarity here, that the sentence has
    "covered_heading",  # the same with the headings and the document's name
    "covered_near",  # the same with the sentences before and after
    "covered_passage",  # the same of the whole passage
    "pairs",  # share of the question's pairs of neighbouring words
    "density",  # share of the sentence's words that are the question's
    "best_passage",  # it stands in the passage found first
    "rank",  # 1 / (1 + its passage's place)
    "typed",  # the question asks for a kind of value, and it has one
    "untyped",  # the question asks for one, and it has none
    "length",  # logarithm of its words
    "short",  # it has hardly any words: a heading, a cell
    "asks",  # it is a question itself
    "fits",  # kinds of thing that the question asks for, by its words, and that it has
    "unfit",  # kinds that it asks for, and it has not
    "bare",  # a short line that is no sentence: a heading, a label
    "row",  # a row with the names of its columns
    "meant",  # as `covered`, where a word of the question may be another one for the same
    "meant_heading",  # as `covered_heading`, likewise
    *WHOLE,
)
"""Features computed from words alone."""
ENCODED: tuple[str, ...] = (
    "cosine",  # to the question
    "cosine_near",  # highest of the sentences before and after
    "cosine_above",  # the cosine, less the mean over all sentences found, in standard deviations
    "cosine_top",  # the cosine, less the highest one
)
"""Features that encodings add."""

_WANTED = (
    ("money", re.compile(r"\bhow much\b|\b(?:fee|cost|price|charge|amount|pay)s?\b", re.IGNORECASE)),
    ("duration", re.compile(r"\bhow (?:long|soon|fast|quickly)\b|\bnotice\b|\bperiod\b|\bdays?\b", re.IGNORECASE)),
    ("date", re.compile(r"\bwhen\b|\bwhat (?:date|day)\b|\bwhich (?:date|day)\b|\bdate\b", re.IGNORECASE)),
    ("number", re.compile(r"\bhow (?:many|old|often|high|large)\b|\blimit\b|\b(?:max|min)imum\b", re.IGNORECASE)),
)
_NUMBERS = {"money": {"money", "number"}, "duration": {"duration", "date"}, "date": {"date", "duration"}}
_SHORT = 4
_LEAST_SPREAD = 0.02


@lru_cache(maxsize=16384)
def cached_terms(text: str, language: str) -> tuple[str, ...]:
    """Return the terms of a text. The result is cached, as one document gets many questions."""
    return tuple(terms(text, language))


def wanted(question: str, language: str = "en") -> str:
    """Return the kind of value that a question asks for; empty if there is none, or if it is not in English."""
    if not is_english(language):
        return ""
    return next((kind for kind, pattern in _WANTED if pattern.search(question)), "")


def lexical_features(
    question: str, sentences: Sequence[Sentence], language: str = "en", *, matched: Sequence[frozenset[str]] = ()
) -> Floats:  # (S, len(LEXICAL))
    """Return the word features of each sentence. Synonyms and kinds of question are known in English only.

    Args:
        question: The question.
        sentences: The sentences found for it.
        language: The question's language, whose function words and endings are left out.
        matched: For each sentence, words of the question that it matches without containing them.
    """
    question_terms = list(dict.fromkeys(cached_terms(question, language)))
    asked_pairs = set(pairwise(cached_terms(question, language)))
    words = [cached_terms(sentence.text, language) for sentence in sentences]
    sets = [set(word) | (matched[row] if matched else set()) for row, word in enumerate(words)]
    weights = _weights(question_terms, sets)
    total = sum(weights.values()) or 1.0
    passages, ranks = _passage_words(sentences, sets), [sentence.rank for sentence in sentences]
    above = _above(sentences, language)
    kind, kinds = wanted(question, language), asked_for(question, language)
    alike = _Alike(question_terms, sets, language)
    whole = (log(1 + len(question_terms)), alike.unheard([sentence.head for sentence in sentences]))
    features = np.zeros((len(sentences), len(LEXICAL)))
    for row, (sentence, own) in enumerate(zip(sentences, words, strict=True)):
        near = sets[row].union(*(sets[other] for other in _neighbours(ranks, row)))
        heading = sets[row] | above[row]
        if not sets[row].isdisjoint(question_terms):  # the columns of a row that is asked about, not those of every row
            heading = heading.union(cached_terms(sentence.head, language))
        typed = bool(kind) and _has(sentence.text, kind, language)
        fits = sum(has_kind(sentence.said, number) for number in kinds)
        features[row] = (
            *(
                sum(weights[term] for term in question_terms if term in seen) / total
                for seen in (sets[row], heading, near, passages[sentence.rank])
            ),
            len(asked_pairs.intersection(pairwise(own))) / max(len(asked_pairs), 1),
            len(sets[row].intersection(question_terms)) / max(len(sets[row]), 1),
            sentence.rank == 0,
            1 / (1 + sentence.rank),
            typed,
            bool(kind) and not typed,
            log(1 + len(own)),
            len(own) < _SHORT,
            sentence.text.rstrip().endswith("?"),
            fits,
            len(kinds) - fits,
            sentence.bare,
            bool(sentence.head) or "\n" in sentence.text,
            alike.share(sets[row]),
            alike.share(heading),
            *whole,
        )
    return features


def encoded_features(ranks: Sequence[int], cosines: Floats) -> Floats:  # (S, len(ENCODED))
    """Return the encoding features of sentences in order: passage ranks, and cosines (S,) to the question."""
    near = [max((float(cosines[other]) for other in _neighbours(ranks, row)), default=0.0) for row in range(len(ranks))]
    above = (cosines - cosines.mean()) / max(float(cosines.std()), _LEAST_SPREAD)
    return np.column_stack([cosines, near, above, cosines - cosines.max()])


def _weights(question_terms: Sequence[str], sentences: Sequence[set[str]]) -> dict[str, float]:
    """Return the weight of each word of the question: the rarer it is in these sentences, the higher."""
    counts = Counter(term for words in sentences for term in words)
    return {term: log(1 + (len(sentences) + 1) / (counts[term] + 0.5)) for term in question_terms}


class _Alike:
    """The question's words by meaning, each weighted by its rarity in these sentences."""

    def __init__(self, question_terms: Sequence[str], sentences: Sequence[set[str]], language: str) -> None:
        self._language = language
        meanings = [set(meant(words, language)) for words in sentences]
        self._weights = _weights(tuple(dict.fromkeys(meant(question_terms, language))), meanings)
        self._total = sum(self._weights.values()) or 1.0
        self._said = set().union(*meanings)

    def share(self, words: Iterable[str]) -> float:
        """Return the weighted share of the question's words that some words cover."""
        meanings = set(meant(words, self._language))
        return sum(weight for term, weight in self._weights.items() if term in meanings) / self._total

    def unheard(self, heads: Iterable[str]) -> float:
        """Return the weighted share of the question's words that neither a sentence nor a column name has."""
        meanings = self._said.union(*(meant(cached_terms(head, self._language), self._language) for head in set(heads)))
        return sum(weight for term, weight in self._weights.items() if term not in meanings) / self._total


def _passage_words(sentences: Sequence[Sentence], words: Sequence[set[str]]) -> dict[int, set[str]]:
    by_rank: dict[int, set[str]] = {}
    for sentence, own in zip(sentences, words, strict=True):
        by_rank.setdefault(sentence.rank, set()).update(own)
    return by_rank


def _above(sentences: Sequence[Sentence], language: str) -> list[set[str]]:
    """Return for each sentence the words above it: its document's name, its headings, its title line."""
    words_above: list[set[str]] = []
    title: set[str] = set()
    for row, sentence in enumerate(sentences):
        if row == 0 or sentences[row - 1].passage is not sentence.passage:
            title = set()
        heading = sentence.passage.heading.removesuffix(columns_above(sentence.passage))  # those are the row's own
        words_above.append(
            {*cached_terms(heading, language), *cached_terms(sentence.passage.document, language), *title}
        )
        if sentence.bare or sentence.label:
            title = set() if sentence.unfilled else set(cached_terms(sentence.text, language))
    return words_above


def _neighbours(ranks: Sequence[int], row: int) -> list[int]:
    """Return the sentences before and after, of the same passage."""
    return [other for other in (row - 1, row + 1) if 0 <= other < len(ranks) and ranks[other] == ranks[row]]


@lru_cache(maxsize=16384)
def _has(text: str, kind: str, language: str) -> bool:
    """Return whether a text has a value of a kind, or of a kind that answers as well."""
    if not any(sign.isdigit() for sign in text) and kind != "duration":
        return False
    suiting = _NUMBERS.get(kind, {"number", "money", "duration"})
    return any(kind in suiting for kind, _ in typed_spans(text, language))
