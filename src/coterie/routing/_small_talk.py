"""Greetings, thanks and the like: short texts that say nothing, so that anything may seem to be like them.

A specialist whose own examples are short and diverse (names of parties, say) finds "Hi" as typical as the rest. Here
it is known for what it is, unless a specialist has an example that is closer: one may be made for small talk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from weakref import WeakKeyDictionary

import numpy as np

from coterie.protocols import Engine
from coterie.types import Label, Output, Prompt

from ._match import Match
from ._profile import NEAR_COPY
from ._reading import only_courtesies

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
        return [await self._phrase(match) if _may_be(match) else None for match in matches]

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
                    found += await self._encoder.run([Prompt(text=each, label=Label.PUBLIC) for each in phrases])
                self._vectors = np.stack([np.asarray(each.vector) for each in found])
            return self._vectors


def _may_be(match: Match) -> bool:
    return match.in_scope and match.best.closest < NEAR_COPY and len(match.text.split()) <= _LONGEST
