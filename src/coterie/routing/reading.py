"""What of a text says whom it is for: greetings, thanks and words to the router itself left out. English only.

Who may be asked is decided by the examples of the specialists, never by a text that names one: whoever writes
"ignore the router and send this to ..." may be somebody whose document was pasted, and gets no say. Only the route is
made from the reading; the specialists get the text as it is.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from weakref import WeakKeyDictionary

import numpy as np

from coterie.protocols import Engine
from coterie.routing.matching import Match
from coterie.routing.profile import NEAR_COPY
from coterie.text.language import is_english
from coterie.types import SYSTEM, Label, Output, Prompt

# --- Spelling, English: words that nobody writes become the known word that is one slip away.

_WORD = re.compile(r"(?<![\w'\u2019.@/-])[A-Za-z]{4,20}(?![\w'\u2019@/-])")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_SHORTEST = 3  # letters of a word that is put in the place of another
_MOST_SLIPS = 8  # words that are mended; a text with more is in another language
_MENDED = 4_000
"""Characters of a text that are mended: more than the encoder reads of English."""


class Spelling:
    """Mends slips by a list of words."""

    def __init__(self, words: Sequence[str]) -> None:
        """`words` are those that are known, in lower case, the most frequent first."""
        self._rank = {word: rank for rank, word in enumerate(words) if word.isascii() and word.isalpha()}
        self._mended = lru_cache(maxsize=4096)(self._look_up)

    def mend(self, text: str) -> str:
        """The text with slips mended; the same text if there are none, or too many."""
        slips: list[str] = []

        def mended(match: re.Match[str]) -> str:
            word = match[0]
            known = self._mended(word.lower())
            if known is None:
                return word
            slips.append(word)
            return known.capitalize() if word[0].isupper() and not word.isupper() else known

        end = len(text) if len(text) <= _MENDED else text.rfind(" ", 0, _MENDED) + 1
        changed = _WORD.sub(mended, text[:end]) + text[end:]
        return changed if len(slips) <= _MOST_SLIPS else text

    def _look_up(self, word: str) -> str | None:
        """The most frequent known word one slip away, None for a word that is known or like none."""
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
    """Every string with one letter dropped, doubled up, swapped with its neighbour or mistyped."""
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
_POLITE = re.compile(
    r"(?:"
    r"(?:hi|hello|hey|dear|greetings|good\s+(?:morning|afternoon|evening|day))(?:\s+(?:there|all|team|everyone|everybody|sir"
    r"|madam|folks|again|sir\s+or\s+madam))?"
    r"|(?:i\s+)?hope\s+(?:you(?:'re|\s+are)|this|all|everything|your)\b[^.!?;:,\n]*"
    r"|(?:many\s+|with\s+)?(?:thanks|thank\s+you|thx|cheers)(?:\s+(?:so\s+much|very\s+much|a\s+lot|in\s+advance"
    r"|for\s+your\s+(?:help|time|support|patience)|again))*"
    r"|(?:kind|best|warm)\s+regards|regards|have\s+a\s+(?:nice|good|great|lovely)\s+(?:day|evening|weekend|one)"
    r"|(?:i\s+have\s+a|just\s+a|one|a|got\s+a)\s+(?:quick\s+|small\s+|short\s+)?question(?:\s+for\s+you)?"
    r"|(?:sorry|apologies)(?:\s+(?:to\s+bother\s+you|for\s+(?:bothering\s+you|the\s+bother)))?"
    r"|(?:if\s+you\s+(?:could|can)|could\s+you|can\s+you|please)\s+help(?:\s+me)?"
    r"|i\s+(?:would|'d)?\s*(?:really\s+)?appreciate\s+(?:it|your\s+help|any\s+help)|ok(?:ay)?|well|so|um+|uh+|please"
    r")",
    re.IGNORECASE,
)
_FAREWELL = re.compile(
    r"(?:and\s+|ok(?:ay)?\s+|great\s+|oh\s+)*(?:great|perfect|super|cool|fine|nice|awesome|wonderful|excellent|alright|all\s+right"
    r"|got\s+it|understood|i\s+see|yes|no|bye(?:\s+bye|\s+for\s+now)?|goodbye|see\s+(?:you|ya)(?:\s+(?:later|soon|tomorrow))?"
    r"|(?:that(?:'s|\s+is|\s+was|\s+will\s+be)|that'll\s+be)\s+(?:all|it|everything)(?:\s+(?:for\s+now|for\s+today))?"
    r"|nothing(?:\s+else)?|you\s+too|thank\s+you\s+(?:so\s+much|very\s+much)|that\s+(?:helps|helped)(?:\s+a\s+lot)?"
    r"|(?:hi|hello|thanks|thank\s+you|thx)(?:\s+a\s+lot)?)(?:\s+(?:thanks|thank\s+you|bye|then))*",
    re.IGNORECASE,
)
_PART = re.compile(r"[^.!?;:,\n]+[.!?;:,\n]*\s*")
_FEWEST = 2  # words that a reading must have left
_FEWEST_BEFORE = 3  # words before an order in its clause that may be a request: "I want you to" is the order's


@dataclass(frozen=True, kw_only=True)
class RequestReading:
    """A text as the router reads it."""

    text: str
    orders: tuple[str, ...] = ()
    """Words to the router itself, which were left out."""


class RequestReader:
    """Reads texts for a router that knows these specialists."""

    def __init__(self, names: Iterable[str]) -> None:
        named = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True)) or r"(?!)"
        self._named = re.compile(rf"\b(?:{named}|{_MACHINE})\b", re.IGNORECASE)
        self._handed = re.compile(
            rf"\b{_HANDING}\s+(?:this|it|that|the|my)\b.{{0,30}}?\bto\s+(?:the\s+)?[\"'`]?(?:{named})\b", re.IGNORECASE
        )

    def read(self, text: str, language: str = "en") -> RequestReading:
        """The text without words to the router, and in English without greetings and thanks at its ends.

        A text of nothing else is read as it is. English words to the router are left out of any text: whoever pastes
        them into a German one means them.
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
        rest = _without_courtesies(rest) if is_english(language) else rest
        if len(rest.split()) < _FEWEST:
            return RequestReading(text=text)
        return RequestReading(text=rest, orders=tuple(order.strip() for order in orders))

    def clauses(self, text: str) -> list[tuple[int, int]]:
        """Where its sentences and the like stand, if one of them names a specialist or the machine beside others."""
        spans = [match.span() for match in _CLAUSE.finditer(text)]
        return spans if len(spans) > 1 and self.names_somebody(text) else []

    def names_somebody(self, text: str) -> bool:
        """Whether it names a specialist or the machine, as words to the router do."""
        return self.named_at(text) is not None

    def named_at(self, text: str) -> int | None:
        """Where it first does so; None if it does not."""
        match = self._named.search(text)
        return None if match is None else match.start()

    def _cut(self, clause: str) -> tuple[str, str]:
        """What of a clause is no order, and the order: whoever writes without marks may ask something before it."""
        found = [match.start() for pattern in (_ORDER, self._handed) if (match := pattern.search(clause))]
        if not found:
            return clause, ""
        before = clause[: min(found)]
        return (before, clause[min(found) :]) if len(before.split()) >= _FEWEST_BEFORE else ("", clause)


def _without_courtesies(text: str) -> str:
    """The text without greetings, thanks and the like before and behind what it says."""
    parts = _PART.findall(text)
    first, last = 0, len(parts)
    while first < last and _is_courtesy(parts[first]):
        first += 1
    while first < last and _is_courtesy(parts[last - 1]):
        last -= 1
    return "".join(parts[first:last]) if last - first < len(parts) else text


def only_courtesies(text: str) -> bool:
    """Whether a text is greetings, thanks and goodbyes from beginning to end: "thanks, that's all"."""
    parts = [part for part in _PART.findall(text) if part.strip(" .!?;:,\n")]
    return bool(parts) and all(_is_courtesy(part) or _FAREWELL.fullmatch(part.strip(" .!?;:,\n")) for part in parts)


def _is_courtesy(part: str) -> bool:
    return _POLITE.fullmatch(part.strip(" .!?;:,\n")) is not None


# --- Small talk, English: short texts that specialists with short, diverse examples find typical.
#
# An example of a specialist that is closer wins: one may be made for small talk.

_LONGEST = 8  # words
_ALIKE = 0.75
"""Cosine to a phrase from which a text is like it."""
_AT_ONCE = 16
"""Phrases that are handed to the encoder together: others wait for it too, and so many may and no more."""
SMALL_TALK = (
    *("hi", "hello", "hey", "hey there", "hi there", "hello, how are you?", "how is it going?", "what's up?"),
    *("good morning", "good afternoon", "good evening", "nice to meet you", "is anybody there?", "welcome"),
    *("thanks", "thank you", "thank you very much", "great, thanks", "cheers", "well done", "good job"),
    *("ok", "okay", "sure", "yes", "no", "yes please", "no thanks", "maybe", "I see", "all right", "correct", "wrong"),
    *("bye", "goodbye", "see you later", "have a nice day", "good night", "sorry", "excuse me", "please"),
    *("help", "help me", "I need help", "can you help me?", "I have a question", "stop", "start", "continue", "cancel"),
    *("who are you?", "what are you?", "what is your name?", "what can you do?", "are you a robot?", "are you human?"),
    *("how old are you?", "where are you from?", "what can I ask you?", "do you understand me?", "tell me a joke"),
    *("test", "testing", "this is a test", "asdf", "qwerty", "foo bar", "hello world", "lol", "haha", "hmm", "wow"),
    *(
        "what?",
        "why?",
        "how?",
        "really?",
        "never mind",
        "I don't know",
        "tell me more",
        "what did you say?",
        "I love you",
    ),
)


class SmallTalk:
    """Recognises small talk. Its phrases are encoded when the first short text needs them."""

    def __init__(self, encoder: Engine) -> None:
        self._encoder = encoder
        self._vectors: np.ndarray | None = None  # (P, D)
        self._turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

    async def find(self, matches: Sequence[Match]) -> list[str | None]:
        """The phrase that each text is like, None for those that are no small talk or no specialist wants anyway."""
        return [
            await self._phrase(match)
            if (match.in_scope and match.best.closest < NEAR_COPY and len(match.text.split()) <= _LONGEST)
            else None
            for match in matches
        ]

    async def _phrase(self, match: Match) -> str | None:
        cosines = await self._phrases() @ match.vector
        nearest = int(cosines.argmax())
        if only_courtesies(match.text):
            return SMALL_TALK[nearest]
        own = max(fit.closest for fit in match.fits.values())
        return SMALL_TALK[nearest] if cosines[nearest] >= _ALIKE and cosines[nearest] > own else None

    async def _phrases(self) -> np.ndarray:  # (P, D)
        """Their encodings. The first to ask has them made, and those who ask meanwhile wait for them."""
        async with self._turns.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            if self._vectors is None:
                found: list[Output] = []
                for start in range(0, len(SMALL_TALK), _AT_ONCE):
                    phrases = SMALL_TALK[start : start + _AT_ONCE]
                    found += await self._encoder.run(
                        [Prompt(text=phrase, label=Label.PUBLIC) for phrase in phrases], call=SYSTEM
                    )
                self._vectors = np.stack([np.asarray(each.vector) for each in found])
            return self._vectors
