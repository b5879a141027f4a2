"""The words of a question and of a sentence in a form in which they can be compared."""

from __future__ import annotations

import re
from functools import lru_cache

_WORD = re.compile(r"\d[\d,.]*\d|\w+")
_SMALL = frozenset(
    [
        "a",
        "an",
        "and",
        "any",
        "are",
        "as",
        "at",
        "be",
        "been",
        "but",
        "by",
        "can",
        "could",
        "did",
        "do",
        "does",
        "doing",
        "done",
        "for",
        "from",
        "had",
        "has",
        "have",
        "he",
        "her",
        "his",
        "how",
        "i",
        "if",
        "in",
        "into",
        "is",
        "it",
        "its",
        "itself",
        "may",
        "me",
        "might",
        "must",
        "my",
        "no",
        "nor",
        "not",
        "of",
        "on",
        "or",
        "our",
        "shall",
        "she",
        "should",
        "so",
        "some",
        "such",
        "than",
        "that",
        "the",
        "their",
        "them",
        "then",
        "there",
        "these",
        "they",
        "this",
        "those",
        "to",
        "under",
        "upon",
        "us",
        "was",
        "we",
        "were",
        "what",
        "when",
        "where",
        "which",
        "who",
        "whom",
        "whose",
        "why",
        "will",
        "with",
        "would",
        "you",
        "your",
        "also",
        "about",
        "please",
        "tell",
        "much",
        "many",
        "long",
        "say",
        "says",
        "said",
        "according",
        "there's",
        "what's",
    ]
)
_ENDINGS = ("ations", "ation", "ments", "ment", "ings", "ing", "ies", "ied", "ed", "es", "s", "ly", "e", "y")
_SHORTEST = 3
"""Letters that a word keeps."""


def terms(text: str) -> list[str]:
    """The content words of a text, in order, without their endings; numbers without their commas."""
    return [
        stem(word)
        for word in _WORD.findall(text.casefold())
        if word not in _SMALL and (len(word) > 1 or word.isdigit())
    ]


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """A word without the first of the known endings that it has: crude, and the same for question and sentence."""
    if word[0].isdigit():
        return word.replace(",", "")
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST:
            word = word[: -len(ending)]
            break
    return word
