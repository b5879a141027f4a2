"""The contract of a detector of personal data."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from coterie.privacy import Detector

from ._clauses import require

ODD_TEXTS = (
    "",
    " \n\t ",
    "\x00\ud800\u202e\ufeff",
    "👩‍👩‍👧 wrote to anna@example.org",
    "Anna Kowalska, 14 High Street, Leeds, +44 20 7946 0958, 4111 1111 1111 1111.",
    "a" * 5_000,
    "1 " * 2_500,
    "İSTANBUL ß ﬁ e\u0301",
)
"""Texts at which detectors stumble: nothing, half surrogates, joined emoji, letters that change length with case."""


async def check_detector(detector: Detector) -> None:
    """Places are in the text, in order and apart; scores are chances; the same text gives the same, side by side."""
    alone = [detector.find(text) for text in ODD_TEXTS]
    for text, found in zip(ODD_TEXTS, alone, strict=True):
        require(f"what is found is a tuple, not {type(found).__name__}", isinstance(found, tuple))
        for each in found:
            require(f"it is in the text of {len(text)} characters: {each}", 0 <= each.start < each.end <= len(text))
            require(f"a score is a chance: {each.score}", 0 <= each.score <= 1)
            require(f"it has a kind: {each}", each.kind)
        for one, other in pairwise(found):
            require(f"finds are in order and apart: {one}, {other}", one.end <= other.start)
    beside = await asyncio.gather(*(asyncio.to_thread(detector.find, text) for text in ODD_TEXTS))
    require("several threads find what one finds", list(beside) == alone)
