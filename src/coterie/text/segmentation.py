"""Cuts a text into sentences and into content words, in the language of the text.

A sentence ends at `.`, `!`, `?` and the like before white space, where the next character can begin a sentence:
a capital of any script, a figure, an opening mark (`¿`), a letter of a script without capitals. `。` and the
wide forms of the others need no white space. The full stop of an abbreviation, an initial, a German ordinal or
a clause's number ends none. Whether anything else ends one (blank lines, list items, table rows, `;`) is the
caller's choice. The cost is linear.

Content words are without function words and endings. The method is crude, and the same for both sides of a comparison.
A language without a table keeps all its words whole, and has no function words here.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from itertools import pairwise
from typing import Literal, NamedTuple

from coterie.text.folding import find_marks
from coterie.text.language import base, months, table

_WORD = re.compile(r"\d[\d,.]*\d|\w[\w\u0300-\u036f\u0900-\u0963\u0966-\u096f\u0971-\u0df3]*")
"""A number, or a word with its marks: separate accents, and vowels of the scripts of India."""
_KANA = re.compile(r"[぀-ヿ\u3400-鿿]")
_SMALL: Mapping[str, str] = table("small_words")
_ENDINGS: Mapping[str, str] = table("endings")
_SHORTEST = 3
"""Fewest letters that are left of a word."""


def plain(text: str) -> str:
    """Return a text in lower case with single spaces, as for the detection of repeats."""
    return " ".join(text.casefold().split())


@lru_cache(maxsize=65_536)
def folded(name: str) -> str:
    """Return a name without case and with one space for its spaces, hyphens or underscores."""
    return re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFKC", name).casefold()).strip()


@cache
def small_words(language: str | None) -> frozenset[str]:
    """Return the words of a language that say nothing about the subject of a text."""
    return frozenset(_SMALL.get(base(language), "").split())


def terms(text: str, language: str = "en") -> list[str]:
    """Return the content words of a text, in order, without their endings; numbers without their commas.

    In Japanese and Chinese, which have no spaces between words, these are the pairs of neighbouring characters.
    """
    small = small_words(language)
    words_found: list[str] = []
    for word in _WORD.findall(text.casefold()):
        if _KANA.search(word) and len(word) > 1:
            words_found += [word[i : i + 2] for i in range(len(word) - 1)]
        elif word not in small and (len(word) > 1 or word.isdigit()):
            words_found.append(stem(word, language))
    return words_found


def marks(text: str, language: str = "en", *, sentence: bool = True) -> list[str]:
    """Return the single letters and capitals that `terms` skips, in lower case: `Pier A`, `plan c`, `IT`.

    They name things. A letter that is also a function word counts in capitals only, and not at the beginning of a
    sentence, where any word has a capital.
    """
    small = small_words(language)
    marks_found = []
    for match in _WORD.finditer(text):
        word = match[0]
        low = word.casefold()
        named = low not in small or (word.isupper() and bool(match.start() or not sentence))
        if named and not word.isdigit() and (len(word) == 1 or low in small) and not _KANA.search(word):
            marks_found.append(low)
    return marks_found


def numbered(text: str, language: str = "en") -> set[tuple[str, str]]:
    """Return words with the number or letter directly after them, which identify things of one kind: `room 4`."""
    tokens = list(_WORD.finditer(text))
    pairs = set()
    for before, after in pairwise(tokens):
        is_label = after[0].isdigit() or after[0].casefold() in marks(after[0], language, sentence=False)
        word = terms(before[0], language)
        if is_label and len(word) == 1 and not before[0].isdigit() and text[before.end() : after.start()].isspace():
            pairs.add((word[0], after[0].casefold()))
    return pairs


@lru_cache(maxsize=50_000)
def stem(word: str, language: str = "en") -> str:
    """Return a word without the first matching ending of its language: crude, and the same for both sides."""
    if word[0].isdigit():
        return word.replace(",", "") if base(language) == "en" else word
    for ending in _ENDINGS.get(base(language), "").split():
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST:
            return word[: -len(ending)]
    return word


_NEGATIONS: Mapping[str, str] = table("negations")
_EXCEPTIONS: Mapping[str, str] = table("exceptions")
_GLUED: Mapping[str, str] = {
    "en": r"n['\u2019]t\b",
    "fr": r"\bn['\u2019](?=\w)",
    "ja": r"ない|なく|なかっ|ません|ずに|不可|禁止",
}
"""Parts of words that negate."""


@cache
def negations(language: str) -> frozenset[str]:
    """Return the words of negation of a language, in lower case; none if it has no table."""
    return frozenset(_NEGATIONS.get(base(language), "").split())


@cache
def exceptions(language: str) -> frozenset[str]:
    """Return the words of exception of a language: `except`, `außer`."""
    return frozenset(_EXCEPTIONS.get(base(language), "").split())


@cache
def negation_pattern(language: str) -> re.Pattern[str]:
    """Return the pattern of every negating word or part of a word. French `ne … pas` counts once, without `ne`."""
    words = sorted(negations(language) - ({"ne"} if base(language) == "fr" else set()), key=len, reverse=True)
    glued = [] if base(language) == "fr" else [_GLUED[base(language)]] if base(language) in _GLUED else []
    parts = [rf"\b(?:{'|'.join(words)})\b"] if words else []
    return re.compile("|".join([*parts, *glued]) or r"(?!)", re.IGNORECASE)


def count_negations(text: str, language: str) -> int:
    """Return the number of negations in a text."""
    return len(negation_pattern(language).findall(text))


_PERSONS: Mapping[str, tuple[str, str]] = table("persons")


def persons(text: str, language: str) -> tuple[frozenset[str], frozenset[str]]:
    """The words of a text that say "we" and those that say "you" in its language; none if it has no table."""
    words_of_text = set(re.findall(r"\w+", text.casefold()))
    first, second = (
        frozenset(words_of_text.intersection(words.split())) for words in _PERSONS.get(base(language), ("", ""))
    )
    return first, second


# --- Cuts a text into sentences, each with its position, in the language of the text.

Lines = Literal["paragraphs", "blocks", "all"]
"""Line ends that cut: blank lines; also before items of lists and rows of tables; all."""

CLOSING = "\"'\u2019\u201d)]\u00bb\u300d\u300f\uff09"
"""Marks that belong to the sentence before them."""
_CLOSED = CLOSING + "*_` \t|"
_OPENING = "\"'\u201c\u2018\u201e\u00ab\u2039([\u00bf\u00a1\u300c\u300e\uff08"
_STOPS = ".!?\u2026\u061f\u06d4\u0964"
_WIDE_STOPS = "\u3002\uff01\uff1f\uff61"


class Span(NamedTuple):
    """A span of a text, in characters: `text[start:end]`."""

    start: int
    end: int


class Abbreviations(NamedTuple):
    """Words whose full stop ends no sentence, in lower case without it."""

    inner: frozenset[str]
    """Abbreviations that are never last in a sentence: `Dr.`, `Nr.`."""
    last: frozenset[str]
    """Abbreviations that may end a sentence, and do so before a capital: `etc.`, `a.m.`"""


_ABBREVIATIONS: Mapping[str, Abbreviations] = {
    tag: Abbreviations(frozenset(entry["inner"].split()), frozenset(entry["last"].split()))
    for tag, entry in table("abbreviations").items()
}
_INITIALS = re.compile(r"[^\W\d_](?:\.[^\W\d_])*")
"""Initials: `J`, `z.B`, `U.S`."""
_LAST_WORD = re.compile(r"[^\W_][\w.°º]*$|°[^\W\d_]$")
_NUMBERING = re.compile(r"\s*[(\[]?(?:\d+(?:\.\d+)*|[a-z]|[ivx]+)[.)\]]+\s*", re.IGNORECASE)
"""A clause's number is no sentence of its own."""
_LONGEST_NUMBERING, _LONGEST_ABBREVIATION, _AHEAD = 16, 12, 40
_ORDINAL = re.compile(r"(?:(?P<before>[^\W\d_]+|\u00a7)\s+)?\d{1,2}\.$")
_BEFORE_ORDINAL = frozenset(
    ["der", "die", "das", "dem", "den", "des", "jeder", "jedes", "jede", "artikel", "nr", "abs", "absatz", "§"]
)
_NEXT_WORD = re.compile(r"\s*(?P<word>\w+)")
_HOUR_GOES_ON = re.compile(
    r"\s*(?:[^A-Z]|[A-Z][^a-z]|(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun|Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
    r"|(?:\w+\s+){1,3}[Tt]ime\b)"
)
"""What continues a sentence after "5 p.m.": a day, a month or a time zone."""
_HALVES_OF_DAY = frozenset(["a.m", "p.m"])
"""Abbreviations after a figure; elsewhere they are initials: `A.M. Best`."""
_FIGURE = re.compile(r"\d\s*$")
_SAID = re.compile(r"[とっのはがをに]")
_NOT_SAID = rf"(?!{_SAID.pattern})"
"""No words after a Japanese quotation that continue the sentence with its speaker."""
_PICTURES = re.compile(r"[\u2600-\u27bf\U0001f000-\U0001faff]")


@cache
def abbreviations(language: str | None) -> Abbreviations:
    """Return the abbreviations of a language; English if it is unknown, all languages' if it has no table."""
    tag = base(language) or "en"
    if tag in _ABBREVIATIONS:
        return _ABBREVIATIONS[tag]
    tables = _ABBREVIATIONS.values()
    return Abbreviations(frozenset().union(*(t.inner for t in tables)), frozenset().union(*(t.last for t in tables)))


def sentences(
    text: str,
    *,
    language: str | None = None,
    lines: Lines = "paragraphs",
    clauses: bool = False,
    longest: int | None = None,
    start: int = 0,
    end: int | None = None,
) -> list[Span]:
    """Cut a text, or a part of it, into sentences without the white space around them.

    Args:
        text: Any text. Every character of it that is not white space is in one of the sentences.
        language: Its language; None for unknown, which counts as English.
        lines: Which line ends cut.
        clauses: Whether `;` and `:` end a sentence, too.
        longest: Characters of the longest sentence; a longer one is cut at white space.
        start: Where to begin.
        end: Where to stop; None for the end of the text.
    """
    end = len(text) if end is None else end
    spans: list[Span] = []
    begin = start
    for stop in find_marks(_stops(lines, clauses), text, start, end):
        if _ends(text, begin, stop, language):
            spans += strip_span(text, begin, stop.end(), longest)
            begin = stop.end()
    return [*spans, *strip_span(text, begin, end, longest)]


@cache
def _stops(lines: Lines, clauses: bool) -> re.Pattern[str]:  # noqa: FBT001 - of a cache
    """Return the pattern of possible sentence ends: from after the mark up to the next sentence."""
    breaks = {
        "paragraphs": r"\n[ \t\r\f\v]*\n\s*",
        "blocks": r"\n\s*\n\s*"
        r"|\n(?=[ \t]*(?:[-*\u2022\u2013]|\(?[0-9a-zA-Z]{1,3}[.)])[ \t])|(?<=\|)[ \t]*\n(?=[ \t]*\|)",
        "all": r"\n\s*",
    }[lines]
    marks, wide = _STOPS + ";:" * clauses, _WIDE_STOPS + "\uff1b\uff1a" * clauses
    closing = f"[{re.escape(CLOSING)}]*"
    lost = r"|(?P<lost>(?<=[a-z)\]%][.!?])(?=[A-Z][a-z]))" if lines == "blocks" else ""  # white space that a PDF lost
    return re.compile(
        rf"(?P<line>{breaks})|(?<=[{marks}]){closing}(?P<space>\s+)(?=\S){lost}"
        rf"|(?<=[{wide}])(?P<quoted>{closing})\s*(?=[^\s{wide}{re.escape(CLOSING)}])"
    )


def _ends(text: str, begin: int, stop: re.Match[str], language: str | None) -> bool:
    """Return whether a sentence that began at `begin` ends at a stop."""
    if stop["line"] is not None or (stop["space"] or "").count("\n") > 1:
        return True
    if stop["quoted"] is not None:
        return not (stop["quoted"] and _SAID.match(text, stop.end()))
    if stop["space"] is None:  # white space was lost
        return True
    return _begins(text, stop.end()) and not _is_inner(text, begin, stop, language)


def _begins(text: str, at: int) -> bool:
    """Return whether the text at a position looks like the beginning of a sentence."""
    for sign in text[at : at + 6]:
        if sign not in _OPENING:
            capital = sign.isupper() or sign.istitle() or unicodedata.category(sign) == "Lo"
            return capital or sign.isdecimal() or _PICTURES.match(sign) is not None
    return False


def _is_inner(text: str, begin: int, stop: re.Match[str], language: str | None) -> bool:
    """Return whether a mark ends no sentence: that of an abbreviation, an ordinal or a clause's number."""
    end = stop.start()
    if text[end - 1] != ".":
        return False
    if end - begin < _LONGEST_NUMBERING and _NUMBERING.fullmatch(text, begin, end):
        return True
    window = text[max(begin, end - 1 - _LONGEST_ABBREVIATION) : end - 1]
    word = match[0].casefold() if (match := _LAST_WORD.search(window)) else ""
    inner, last = abbreviations(language)
    if word in last and (word not in _HALVES_OF_DAY or _FIGURE.search(window, 0, len(window) - len(word))):
        dotted = not word.isalpha()
        return dotted and _HOUR_GOES_ON.match(text, stop.end()) is not None
    initials = _INITIALS.fullmatch(word) and ("." in word or base(language) in {"", "en"} or window[-1:].isupper())
    return word in inner or bool(initials) or _is_ordinal(text, stop, language)


def _is_ordinal(text: str, stop: re.Match[str], language: str | None) -> bool:
    """Return whether the mark makes a German number an ordinal: `am 5. März`, `der 3. Platz`."""
    if base(language) != "de":
        return False
    number = _ORDINAL.search(text, max(0, stop.start() - _AHEAD), stop.start())
    behind = _NEXT_WORD.match(text, stop.end())
    if number is None or behind is None:
        return False
    before = (number["before"] or "").casefold()
    return behind["word"].lower() in months("de") or before in _BEFORE_ORDINAL


def strip_span(text: str, start: int, end: int, longest: int | None = None) -> Iterator[Span]:
    """Yield a span without the white space around it, in pieces if it is too long; nothing if it is blank."""
    while start < end:
        while start < end and text[start].isspace():
            start += 1
        cut = end
        if longest is not None and end - start > longest:
            space = max(text.rfind(mark, start + longest // 2, start + longest) for mark in " \n")
            cut = space if space > start else start + longest
        last = cut
        while last > start and text[last - 1].isspace():
            last -= 1
        if last > start:
            yield Span(start, last)
        start = cut


# --- A text that is still being written ------------------------------------------------------------


STOP = (
    rf"[{_STOPS}]+[{re.escape(CLOSING)}]*(?=\s)"
    rf"|[{_WIDE_STOPS}]+(?=[^{_WIDE_STOPS}{re.escape(CLOSING)}])"
    rf"|[{_WIDE_STOPS}]+[{re.escape(CLOSING)}]+(?=[^{_WIDE_STOPS}{re.escape(CLOSING)}]){_NOT_SAID}"
)
"""The end of a sentence, for patterns that check only white space after it."""
LOOSE_STOP = rf"[{_STOPS};:][)\"']?\s+|[{_WIDE_STOPS}]"
"""Possible end of a sentence or clause in a text without capitals, with the white space after it."""
_STREAMED = re.compile(rf"{STOP}|\n+")


class SentenceStream:
    """Cuts a stream into sentences: `feed` it pieces, and it returns each sentence as soon as its end is certain.

    A full stop ends a sentence only when white space follows, so a sentence is certain one token after its last.
    """

    def __init__(self, language: str | None = None) -> None:
        """Create a stream; `language` is that of the text."""
        self._rest = ""
        self._language = language

    @property
    def unfinished(self) -> int:
        """Number of characters of the unfinished sentence."""
        return len(self._rest)

    def feed(self, piece: str) -> list[str]:
        """Return the sentences that this piece completes, stripped; none is empty."""
        self._rest += piece
        done, start = [], 0
        for match in _STREAMED.finditer(self._rest):
            sentence = self._rest[start : match.end()]
            if match.group().startswith("\n") or ends_sentence(sentence, self._language):
                done.append(sentence.strip())
                start = match.end()
        self._rest = self._rest[start:]
        return [sentence for sentence in done if sentence]

    def close(self) -> list[str]:
        """Return the rest at the end of the stream, finished or not."""
        rest, self._rest = self._rest.strip(), ""
        return [rest] if rest else []


def split_sentences(text: str, language: str | None = None) -> list[str]:
    """Return the sentences of a whole text, as cut by a stream, stripped; none is empty."""
    stream = SentenceStream(language)
    return [*stream.feed(text), *stream.close()]


def asks(sentence: str) -> bool:
    """Return whether a sentence ends with a question mark of any script, ignoring closing marks."""
    last = sentence.rstrip().rstrip(_CLOSED)[-1:]
    name = unicodedata.name(last, "") if last else ""
    return name.endswith("QUESTION MARK") and not name.startswith("INVERTED")


def ends_sentence(sentence: str, language: str | None = None) -> bool:
    """Return whether its full stop ends a sentence, not an abbreviation or a list number ("1."), whatever follows."""
    if not sentence.rstrip(CLOSING).endswith("."):
        return True
    words = sentence[-2 * _AHEAD :].rstrip(".!?" + CLOSING).split()
    if not words:
        return False
    last = words[-1].casefold().lstrip("(\"'")
    dotted = _INITIALS.fullmatch(last) is not None and ("." in last or base(language) not in {"", "en"})
    alone = len(words) == 1 and last.isdigit() and len(sentence) <= _AHEAD
    ordinal = base(language) == "de" and last.isdigit() and len(last) < 3
    return not (dotted or alone or ordinal or any(last in table for table in abbreviations(language)))
