"""What of a text says whom it is for: greetings, thanks and words to the router itself left out.

Who may be asked is decided by the examples of the specialists, never by a text that names one: whoever writes
"ignore the router and send this to ..." may be somebody whose document was pasted, and gets no say. Only the route is
made from the reading; the specialists get the text as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_CLAUSE = re.compile(r"[^.!?;:\n]+(?:[.!?;:\n]+(?=\s|$)|[.!?;:\n](?=\S)[^.!?;:\n]*)*\s*")
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
class Reading:
    """A text as the router reads it."""

    text: str
    orders: tuple[str, ...] = ()
    """Words to the router itself, which were left out."""


class Reader:
    """Reads texts for a router that knows these specialists."""

    def __init__(self, names: Iterable[str]) -> None:
        named = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True)) or r"(?!)"
        self._named = re.compile(rf"\b(?:{named}|{_MACHINE})\b", re.IGNORECASE)
        self._handed = re.compile(
            rf"\b{_HANDING}\s+(?:this|it|that|the|my)\b.{{0,30}}?\bto\s+(?:the\s+)?[\"'`]?(?:{named})\b", re.IGNORECASE
        )

    def read(self, text: str) -> Reading:
        """The text without words to the router, and without greetings and thanks at its ends.

        A text of nothing else is read as it is.
        """
        orders: list[str] = []
        rest = text
        if self._is_order(text):
            kept: list[str] = []
            for clause in _CLAUSE.findall(text):
                before, order = self._cut(clause)
                kept += [before] if before else []
                orders += [order] if order else []
            rest = "".join(kept)
        rest = _without_courtesies(rest)
        if len(rest.split()) < _FEWEST:
            return Reading(text=text)
        return Reading(text=rest, orders=tuple(order.strip() for order in orders))

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

    def _is_order(self, text: str) -> bool:
        return _ORDER.search(text) is not None or self._handed.search(text) is not None

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
    while parts and _is_courtesy(parts[0]):
        parts = parts[1:]
    while parts and _is_courtesy(parts[-1]):
        parts = parts[:-1]
    return "".join(parts) if len(parts) < len(_PART.findall(text)) else text


def only_courtesies(text: str) -> bool:
    """Whether a text is greetings, thanks and goodbyes from beginning to end: "thanks, that's all"."""
    parts = [part for part in _PART.findall(text) if part.strip(" .!?;:,\n")]
    return bool(parts) and all(_is_courtesy(part) or _FAREWELL.fullmatch(part.strip(" .!?;:,\n")) for part in parts)


def _is_courtesy(part: str) -> bool:
    return _POLITE.fullmatch(part.strip(" .!?;:,\n")) is not None
