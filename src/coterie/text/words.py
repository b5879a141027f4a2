"""Content words of texts in a comparable form: without function words and endings, by language.

The method is crude, and the same for both sides of a comparison. A language without a table keeps all its words whole,
and has no function words here.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import cache, lru_cache
from itertools import pairwise

from coterie.text.language import base
from coterie.text.locales import table

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
