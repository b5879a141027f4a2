"""The words of a text in a form in which two texts can be compared: without small words and endings, by language.

Crude, and the same for both sides of a comparison. A language without a table keeps all its words whole.

A language without a table has no words here.
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
"""A number, or a word with its marks: accents that stand by themselves, and vowels of the scripts of India."""
_KANA = re.compile(r"[぀-ヿ\u3400-鿿]")
_SMALL: Mapping[str, str] = table("small_words")
_ENDINGS: Mapping[str, str] = table("endings")
_SHORTEST = 3
"""Letters that a word keeps."""


def plain(text: str) -> str:
    """Return a text in small letters with one space where it has any, as repeats are told."""
    return " ".join(text.casefold().split())


@lru_cache(maxsize=65_536)
def folded(name: str) -> str:
    """Return a name without case and with one space where it has spaces, hyphens or underscores."""
    return re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFKC", name).casefold()).strip()


@cache
def small_words(language: str | None) -> frozenset[str]:
    """Words of a language that say nothing of what a text is about."""
    return frozenset(_SMALL.get(base(language), "").split())


def terms(text: str, language: str = "en") -> list[str]:
    """The content words of a text, in order, without their endings; numbers without their commas.

    In Japanese and Chinese, whose words are not parted, the pairs of neighbouring signs.
    """
    small = small_words(language)
    found: list[str] = []
    for word in _WORD.findall(text.casefold()):
        if _KANA.search(word) and len(word) > 1:
            found += [word[i : i + 2] for i in range(len(word) - 1)]
        elif word not in small and (len(word) > 1 or word.isdigit()):
            found.append(stem(word, language))
    return found


def marks(text: str, language: str = "en", *, sentence: bool = True) -> list[str]:
    """The single letters and capitals that `terms` passes over, in small letters: `Pier A`, `plan c`, `IT`.

    They name things. One that is a small word otherwise counts in capitals only, and not at the beginning of a
    sentence, where any word has a capital.
    """
    small = small_words(language)
    found = []
    for match in _WORD.finditer(text):
        word = match[0]
        low = word.casefold()
        named = low not in small or (word.isupper() and bool(match.start() or not sentence))
        if named and not word.isdigit() and (len(word) == 1 or low in small) and not _KANA.search(word):
            found.append(low)
    return found


def numbered(text: str, language: str = "en") -> set[tuple[str, str]]:
    """Words with the number or letter right behind them, by which things of one kind are told apart: `room 4`."""
    tokens = list(_WORD.finditer(text))
    found = set()
    for before, after in pairwise(tokens):
        told = after[0].isdigit() or after[0].casefold() in marks(after[0], language, sentence=False)
        word = terms(before[0], language)
        if told and len(word) == 1 and not before[0].isdigit() and text[before.end() : after.start()].isspace():
            found.add((word[0], after[0].casefold()))
    return found


@lru_cache(maxsize=50_000)
def stem(word: str, language: str = "en") -> str:
    """A word without the first of its language's endings that it has: crude, and the same for both sides."""
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
"""Parts of words that deny."""


@cache
def negations(language: str) -> frozenset[str]:
    """The words of a language that deny, in small letters; none if it has no table."""
    return frozenset(_NEGATIONS.get(base(language), "").split())


@cache
def exceptions(language: str) -> frozenset[str]:
    """The words of a language that take something out: `except`, `außer`."""
    return frozenset(_EXCEPTIONS.get(base(language), "").split())


@cache
def negation_pattern(language: str) -> re.Pattern[str]:
    """Every word or part of a word that denies. In French `ne … pas` is one: its `ne` is left out."""
    words = sorted(negations(language) - ({"ne"} if base(language) == "fr" else set()), key=len, reverse=True)
    glued = [] if base(language) == "fr" else [_GLUED[base(language)]] if base(language) in _GLUED else []
    parts = [rf"\b(?:{'|'.join(words)})\b"] if words else []
    return re.compile("|".join([*parts, *glued]) or r"(?!)", re.IGNORECASE)


def count_negations(text: str, language: str) -> int:
    """How often a text denies."""
    return len(negation_pattern(language).findall(text))


_PERSONS: Mapping[str, tuple[str, str]] = table("persons")


def persons(text: str, language: str) -> tuple[frozenset[str], frozenset[str]]:
    """The words of a text that say "we" and those that say "you" in its language; none if it has no table."""
    said = set(re.findall(r"\w+", text.casefold()))
    first, second = (frozenset(said.intersection(words.split())) for words in _PERSONS.get(base(language), ("", "")))
    return first, second
