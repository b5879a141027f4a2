"""The words of a text that carry its claim, in a form in which harmless differences are gone.

What may differ: articles and other small words, contractions, plurals, the third person and -ing forms, digits and
number words, currency and percent signs. Tense may not: "is sent" is not "was sent".
"""

from __future__ import annotations

import re

NEGATIONS = frozenset({"not", "no", "never", "none", "nobody", "nothing", "neither", "nor", "without"})

_FREE_WORDS = (
    "the a an is are be am and of that this these those it its our your their my please also then will do does so too"
    " who which"
)
_FREE = frozenset(_FREE_WORDS.split())
"""They may come and go: they carry no claim."""
_EXPANSIONS = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"[\u2018\u2019]", "'"),
        (r"\bcan't\b|\bcannot\b", "can not"),
        (r"\bwon't\b", "will not"),
        (r"n't\b", " not"),
        (r"'re\b", " are"),
        (r"'ll\b", " will"),
        (r"'ve\b", " have"),
        (r"'m\b", " am"),
        (r"\b(it|that|here|there|what|he|she)'s\b", r"\1 is"),
        (r"'s\b|s'(?=\s)", "s"),
        (r"(?<=\d),(?=\d{3}\b)", ""),
        (r"\u00a3\s?(\d+(?:\.\d+)?)", r"\1 pounds"),
        (r"\$\s?(\d+(?:\.\d+)?)", r"\1 dollars"),
        (r"\u20ac\s?(\d+(?:\.\d+)?)", r"\1 euros"),
        (r"(\d)\s?%", r"\1 percent"),
        (r"\bper cent\b", "percent"),
        (r"\b(?:immediately|right away|straight away)\b", "at once"),
        (r"\bevery\b", "each"),
        (r"\blicense\b", "licence"),
    )
)
_NUMBER_WORDS = "zero one two three four five six seven eight nine ten eleven twelve"
_NUMBERS = {word: str(value) for value, word in enumerate(_NUMBER_WORDS.split())}
_PERSONS = {"i": "we", "me": "we", "us": "we", "them": "they"}
_WORD = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+")


def has_words(text: str) -> bool:
    """Whether it says anything at all."""
    return _WORD.search(text) is not None


def plain(text: str) -> str:
    """The text in small letters with contractions and signs written out."""
    text = text.lower()
    for pattern, replacement in _EXPANSIONS:
        text = pattern.sub(replacement, text)
    return text


def keys(text: str) -> tuple[str, ...]:
    """The words that carry the text's claim, in order, in their folded form."""
    return tuple(fold(word) for word in _WORD.findall(plain(text)) if word not in _FREE)


def fold(word: str) -> str:
    """A word without plural, third person and -ing; -ed stays, since tense is part of a claim."""
    word = _PERSONS.get(word, _NUMBERS.get(word, word))
    if word in NEGATIONS:
        return word
    folded = _without_ending(word)
    return word if folded in NEGATIONS else folded  # "note" is not "not"


def folded(words: str) -> frozenset[str]:
    """A list of words, each in its folded form."""
    return frozenset(fold(word) for word in words.split())


def _without_ending(word: str) -> str:
    if len(word) > 4 and word.endswith("ing"):
        word = word[:-3]
        if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "sl":
            word = word[:-1]
    elif len(word) > 4 and word.endswith("ies"):
        word = word[:-3] + "y"
    elif len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    return word[:-1] if len(word) > 3 and word.endswith("e") else word
