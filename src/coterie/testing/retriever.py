"""An index in memory: passages are found by the words that they share with the query."""

from __future__ import annotations

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from math import log

import numpy as np

from coterie.types import SYSTEM, CallContext, Label, Passage

_WORD = re.compile(r"\w+")
_SATURATION, _LENGTH = 1.2, 0.75


class FakeRetriever:
    """Ranks the passages that the caller may see by BM25 (Robertson and Zaragoza 2009).

    Passages that share no word with the query are not found. `tenants` maps a document to the only tenant that may see
    it.
    """

    def __init__(
        self, passages: Sequence[Passage], *, shelf: str = "shelf", tenants: dict[str, str] | None = None
    ) -> None:
        self.passages = [replace(each, shelf=shelf) for each in passages]
        self.queries: list[str] = []
        """All queries, in order."""
        self.closed = False
        self._tenants = tenants or {}
        self._words = [Counter(_WORD.findall(f"{each.heading} {each.text}".casefold())) for each in self.passages]
        self._postings: dict[str, list[int]] = defaultdict(list)
        self._places: dict[str | None, list[int]] = defaultdict(list, {None: list(range(len(self.passages)))})
        for number, words in enumerate(self._words):
            self._places[self.passages[number].document].append(number)
            for word in words:
                self._postings[word].append(number)

    async def search(
        self,
        query: str,
        *,
        k: int,
        clearance: Label,
        tenant: str = "default",
        vector: np.ndarray | None = None,  # noqa: ARG002 - it knows words only
        document: str | None = None,
        call: CallContext = SYSTEM,  # noqa: ARG002 - it takes nothing
    ) -> Sequence[Passage]:
        """Return at most `k` passages, best first."""
        await asyncio.sleep(0)
        self.queries.append(query)
        seen = {
            number
            for number in self._places.get(document, ())
            if self.passages[number].label <= clearance
            and self._tenants.get(self.passages[number].document, tenant) == tenant
        }
        scores = self._scores(query, seen)
        best = sorted(scores, key=lambda number: (-scores[number], number))[:k]
        return [replace(self.passages[number], score=scores[number]) for number in best]

    async def close(self) -> None:
        """Set `closed`."""
        self.closed = True

    def _scores(self, query: str, seen: set[int]) -> dict[int, float]:
        mean = sum(self._words[number].total() for number in seen) / max(len(seen), 1)
        scores: dict[int, float] = defaultdict(float)
        for word in set(_WORD.findall(query.casefold())):
            holding = self._postings.get(word, [])
            if len(seen) < len(holding):
                found = [number for number in seen if word in self._words[number]]
            else:
                found = [number for number in holding if number in seen]
            rarity = log(1 + (len(seen) - len(found) + 0.5) / (len(found) + 0.5))
            for number in found:
                times, length = self._words[number][word], self._words[number].total()
                norm = _SATURATION * (1 - _LENGTH + _LENGTH * length / mean)
                scores[number] += rarity * times * (1 + _SATURATION) / (times + norm)
        return scores
