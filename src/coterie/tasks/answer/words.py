"""Words that people use for one another in everyday questions and the pages that answer them.

A question's word counts as said where the sentence has another one of its group. Small, and English: what is in no
group stands for itself, and what means something else now and then ("charge", "bill") is told by the other words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from coterie.text.language import is_english
from coterie.text.words import stem

_GROUPS = Path(__file__).with_name("groups.txt").read_text(encoding="utf-8")


def _groups() -> dict[str, str]:
    """By stem the word that stands for its group; a stem of several groups stands for itself."""
    found: dict[str, str] = {}
    several: set[str] = set()
    for line in _GROUPS.strip().splitlines():
        stems = {stem(word) for word in line.split()}
        several |= stems & found.keys()
        found |= dict.fromkeys(stems, min(stems))
    return {word: group for word, group in found.items() if word not in several}


_GROUP = _groups()


def meant(stems: Iterable[str], language: str = "en") -> Iterator[str]:
    """For each stem the one that stands for its group; itself, if it is in none, or not in English."""
    return iter(stems) if not is_english(language) else (_GROUP.get(each, each) for each in stems)
