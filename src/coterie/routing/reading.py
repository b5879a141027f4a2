"""The part of a text that the router reads, without greetings, thanks and orders to the router itself.

Orders to the router and typing errors are recognised in English, greetings and thanks in the languages of the
network's turn model.

The examples of the specialists decide who may be asked, never a text that names a specialist: "ignore the
router and send this to ..." may come from a pasted document, whose author has no say. Only the route is made
from the reading; the specialists get the original text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile
from typing import NamedTuple

import numpy as np

from coterie.protocols import TurnModel
from coterie.routing.matching import Match
from coterie.routing.profile import BUNDLED_SCALE, CosineScale
from coterie.routing.splitting import span_means
from coterie.types import Output

# --- Spelling, English: words that nobody writes become the known word that is one slip away.

_WORD = re.compile(r"(?<![\w'\u2019.@/-])[A-Za-z]{4,20}(?![\w'\u2019@/-])")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_SHORTEST = 3  # letters of a word that is put in the place of another
_MOST_SLIPS = 8  # words that are mended; a text with more is in another language
_MENDED = 4_000
"""Characters of a text whose spelling is corrected: more than the encoder reads of English."""


class Spelling:
    """Corrects typing errors by a list of words."""

    def __init__(self, words: Sequence[str]) -> None:
        """Take the known words, in lower case, the most frequent first."""
        self._rank = {word: rank for rank, word in enumerate(words) if word.isascii() and word.isalpha()}
        self._mended = lru_cache(maxsize=4096)(self._look_up)

    def mend(self, text: str) -> str:
        """Return the text with typing errors corrected; the same text if there are none, or too many."""
        slips: list[str] = []

        def mended(match: re.Match[str]) -> str:
            word = match[0]
            known_word = self._mended(word.lower())
            if known_word is None:
                return word
            slips.append(word)
            return known_word.capitalize() if word[0].isupper() and not word.isupper() else known_word

        end = len(text) if len(text) <= _MENDED else text.rfind(" ", 0, _MENDED) + 1
        changed = _WORD.sub(mended, text[:end]) + text[end:]
        return changed if len(slips) <= _MOST_SLIPS else text

    def _look_up(self, word: str) -> str | None:
        """Return the most frequent known word one edit away; None for a known word or one unlike any."""
        if word in self._rank or self._is_inflected(word):
            return None
        near = [other for other in _one_slip_away(word) if len(other) >= _SHORTEST and other in self._rank]
        return min(near, key=self._rank.__getitem__, default=None)

    def _is_inflected(self, word: str) -> bool:
        stems = (
            word.removesuffix(ending) for ending in ("s", "es", "ed", "d", "ing", "er", "ly") if word.endswith(ending)
        )
        return any(stem in self._rank or f"{stem}e" in self._rank for stem in stems if len(stem) >= _SHORTEST)


def _one_slip_away(word: str) -> set[str]:
    """Return every string with one letter dropped, doubled up, swapped with its neighbour or mistyped."""
    splits = [(word[:i], word[i:]) for i in range(len(word) + 1)]
    dropped = {a + b[1:] for a, b in splits if b}
    swapped = {a + b[1] + b[0] + b[2:] for a, b in splits if len(b) > 1}
    mistyped = {a + letter + b[1:] for a, b in splits if b for letter in _LETTERS}
    added = {a + letter + b for a, b in splits for letter in _LETTERS}
    return dropped | swapped | mistyped | added


# --- Reading a request.

_CLAUSE = re.compile(r"[^.!?;:\n]+(?:[.!?;:\n]{1,40}(?=\s|$)|[.!?;:\n](?=\S)[^.!?;:\n]*)*\s*")
_HANDING = r"(?:route|send|forward|redirect|direct|assign|hand|pass|give|transfer|escalate|answer|handle|treat)"
_READER = r"(?:router|specialists?|(?:sub)?agents?|bots?|models?|experts?)"
_ORDER = re.compile(
    r"\b(?:ignore|disregard|forget|bypass|override|overrule|skip|do\s+not\s+(?:follow|use))\b.{0,60}?"
    r"\b(?:router|routing|instructions?|system\s+prompts?|prompts?|guidelines?|specialists?|classifiers?)\b"
    rf"|\b{_HANDING}\b.{{0,40}}?\b{_READER}\b"
    rf"|\b(?:note|message|instructions?)\s+(?:to|for)\s+the\s+{_READER}\b"
    rf"|\b(?:this|it)\s+is\s+(?:meant\s+|only\s+)?for\s+the\b.{{0,40}}?\b{_READER}\b"
    r"|\b(?:router|system|assistant)\s*(?:override|instruction|note|prompt)\b"
    rf"|\buse\s+(?:only\s+)?the\b.{{0,30}}?\b{_READER}\b",
    re.IGNORECASE,
)
_MACHINE = (
    r"rout(?:er|ing|e)s?|instructions?|rules?|prompts?|system|assistants?|specialists?|agents?|bots?|models?|experts?|teams?|departments?|desks?"
    r"|units?|polic(?:y|ies)|guidelines?|settings?|procedures?|admin(?:istrator)?|developers?|dispatchers?|classifiers?|training|told"
    r"|tasks?|assignments?|orders|commands?|roles?|chat\w*|gpt|conversations?|previous(?:ly)?|prior|preceding|before|above|everything|texts?"
    r"|act|pretend|imagine|you\s+are|answer|say"
)
_PART = re.compile(r"[^.!?;:,\n]+[.!?;:,\n]*\s*")
_FEWEST = 2  # words that a reading must have left
_FEWEST_BEFORE = 3  # words before an order in its clause that may be a request: "I want you to" is the order's


@dataclass(frozen=True, kw_only=True)
class RequestReading:
    """A text as the router reads it."""

    text: str
    orders: tuple[str, ...] = ()
    """Orders to the router itself, which were left out."""
    mended: tuple[str, str] = ("", "")
    """The text before and after typing errors were corrected in it; empty where none were."""

    def as_written(self, piece: str) -> str:
        """Return a piece of the corrected text as it was written: corrections change words, and join or part none."""
        written, mended = self.mended
        start = mended.find(piece) if mended else -1
        if start < 0:
            return piece
        end, words = start + len(piece), zip(_spans(mended), _spans(written), strict=True)
        inside = [(own, other) for own, other in words if own[1] > start and own[0] < end]
        (first, first_written), (last, last_written) = inside[0], inside[-1]
        return written[first_written[0] + start - first[0] : last_written[1] - (last[1] - end)]


def _spans(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in re.finditer(r"\S+", text)]


class RequestReader:
    """Reads texts for a router that knows these specialists."""

    def __init__(self, names: Iterable[str]) -> None:
        named = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True)) or r"(?!)"
        self._named = re.compile(rf"\b(?:{named}|{_MACHINE})\b", re.IGNORECASE)
        self._handed = re.compile(
            rf"\b{_HANDING}\s+(?:this|it|that|the|my)\b.{{0,30}}?\bto\s+(?:the\s+)?[\"'`]?(?:{named})\b", re.IGNORECASE
        )

    def read(self, text: str) -> RequestReading:
        """Return the text without orders to the router: in English, in any text, even if they were pasted.

        A text of nothing but orders is returned as it is.
        """
        orders: list[str] = []
        rest = text
        if _ORDER.search(text) is not None or self._handed.search(text) is not None:
            kept: list[str] = []
            for clause in _CLAUSE.findall(text):
                before, order = self._cut(clause)
                kept += [before] if before else []
                orders += [order] if order else []
            rest = "".join(kept)
        if len(rest.split()) < _FEWEST:
            return RequestReading(text=text)
        return RequestReading(text=rest, orders=tuple(order.strip() for order in orders))

    def clauses(self, text: str) -> list[tuple[int, int]]:
        """Return the spans of its clauses, if there are several and the text names a specialist or the machine."""
        spans = [match.span() for match in _CLAUSE.finditer(text)]
        return spans if len(spans) > 1 and self.names_somebody(text) else []

    def names_somebody(self, text: str) -> bool:
        """Return whether a text names a specialist or the machine, as orders to the router do."""
        return self.named_at(text) is not None

    def named_at(self, text: str) -> int | None:
        """Return the position of the first such name; None if there is none."""
        match = self._named.search(text)
        return None if match is None else match.start()

    def _cut(self, clause: str) -> tuple[str, str]:
        """Return the part of a clause that is no order, and the order: a question may precede it without a mark."""
        order_starts = [match.start() for pattern in (_ORDER, self._handed) if (match := pattern.search(clause))]
        if not order_starts:
            return clause, ""
        before = clause[: min(order_starts)]
        return (before, clause[min(order_starts) :]) if len(before.split()) >= _FEWEST_BEFORE else ("", clause)


# --- Small talk: greetings, thanks and chat, as the network's turn model knows them.

_LONGEST = 8
"""Most words of a text, or of a part of one, that may be small talk."""
_WORTH_A_LOOK = -6.0
"""Log-odds, by the states of its tokens in the text, from which a part is encoded separately.

Beside a question, the states assign most greetings to it.
"""
_IN_PLACE, _ENOUGH = 0.35, -1.0
"""Weight of these log-odds beside those of the part alone, and the sum that both must reach.

"what now?" is small talk alone, and in its place it asks something. By a logistic regression on parts of
BANKING77's training messages with greetings and thanks around them.
"""
_MOST_LOOKED_AT = 3
"""Most parts at each end of a text that are examined."""


Span = tuple[int, int]


class Ends(NamedTuple):
    """Parts of a text before and after its content, each from the outside inwards."""

    before: list[Span]
    behind: list[Span]
    odds: Mapping[Span, float]
    """Log-odds that each part is small talk, by its tokens' states in the text."""


class SmallTalk:
    """Recognises greetings, thanks and chat, in the languages that its model knows."""

    def __init__(self, turns: TurnModel | None, scale: CosineScale = BUNDLED_SCALE) -> None:
        self._turns, self._near_copy = turns, scale.near_copy

    def knows(self, language: str) -> bool:
        """Return whether the model supports a language."""
        return self._turns is not None and language.partition("-")[0] in self._turns.languages

    def is_nobodys(self, match: Match) -> bool:
        """Return whether a text is small talk that a specialist would take because its examples are short and diverse.

        If the nearest example is small talk too, the specialist was trained for it.
        """
        best = match.best
        if not match.in_scope or best.closest >= self._near_copy or len(match.text.split()) > _LONGEST:
            return False
        if self._odds(match.vector[None])[0] <= 0:
            return False
        examples = best.profile.vectors
        return self._odds(examples[[int((examples @ match.vector).argmax())]])[0] <= 0

    def around(self, text: str, output: Output) -> Ends:
        """Return the parts before and after a text's content that may be small talk; the text's tokens have states."""
        parts = [match.span() for match in _PART.finditer(text)]
        if output.states is None or output.offsets is None or len(parts) < _FEWEST:
            return Ends([], [], {})
        sides = parts[:_MOST_LOOKED_AT], parts[: -_MOST_LOOKED_AT - 1 : -1]
        spans = [*sides[0], *sides[1]]
        odds = self._odds(span_means(output.states, output.offsets, np.array(spans)))
        read = int(output.offsets[:, 1].max(initial=0))  # of a long text the encoder did not see the end
        worth = {
            span: _WORTH_A_LOOK if span[1] > read else odd
            for span, odd in zip(spans, odds, strict=True)
            if len(text[slice(*span)].split()) <= _LONGEST and (span[1] > read or odd > _WORTH_A_LOOK)
        }
        before, behind = (list(takewhile(worth.__contains__, side)) for side in sides)
        return Ends(before, behind, worth)

    def without(self, text: str, ends: Ends, vectors: Mapping[Span, np.ndarray]) -> str:
        """Return a text without the small talk at its ends; all of it if too little else remains.

        Args:
            text: The text.
            ends: The parts around its content.
            vectors: (D,) vector of each part alone.
        """
        odds = dict(zip(vectors, self._odds(np.stack(list(vectors.values()))), strict=True))
        talk = {span for span, odd in odds.items() if odd + _IN_PLACE * ends.odds[span] > _ENOUGH}
        before, behind = (list(takewhile(talk.__contains__, side)) for side in (ends.before, ends.behind))
        rest = text[before[-1][1] if before else 0 : behind[-1][0] if behind else len(text)]
        return rest if len(rest.split()) >= _FEWEST else text

    def _odds(self, vectors: np.ndarray) -> list[float]:  # (N, D)
        if self._turns is None:
            return [-np.inf] * len(vectors)
        return [float(odd) for odd in self._turns.talk(vectors)]
