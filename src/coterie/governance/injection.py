"""Words in a text that give orders to a model, for the trace alone.

Nothing depends on what is found here: whoever writes around it gains nothing, since labels, clearances, routes and
tools are no matter of words. It is reported so that somebody looks. `benchmarks/injection` says how much of a public
set such rules find, and how little is left of that once the words are changed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

from coterie.types import Reason, Verdict


class _Rule(NamedTuple):
    """What one kind of order looks like."""

    signs: frozenset[str]
    """Words without one of which the pattern cannot match: most texts are done with after a look at their words."""
    pattern: re.Pattern[str]


def _rule(signs: str, *patterns: str) -> _Rule:
    return _Rule(frozenset(signs.split()), re.compile("|".join(patterns), re.IGNORECASE))


_FILL = r"(?:\w+\s+){0,4}?"
_TOLD = (
    r"(?:previous|prior|above|earlier|preceding|instructions?|tasks?|orders?|commands?|prompts?|rules?|guidelines?"
    r"|assignments?|conversations?|everything|all)"
)
_RULES = {
    "override": _rule(
        "ignore ignoring disregard forget neglect overlook bypass override discard vergiss vergessen ignoriere"
        " ignorieren",
        rf"\b(?:ignore|ignoring|disregard|forget|neglect|overlook|bypass|override|discard)\s+{_FILL}{_TOLD}\b",
        rf"\b(?:vergiss|vergessen\s+sie|ignoriere|ignorieren\s+sie)\s+{_FILL}"
        r"(?:alle\w*|anweisung\w*|aufgabe\w*|bisherige\w*|vorherige\w*|obige\w*|davor)\b",
    ),
    "task": _rule(
        "task tasks instruction instructions assignment assignments order orders aufgabe aufgaben anweisung"
        " anweisungen",
        r"\b(?:new|next|actual|real)\s+(?:tasks?|instructions?|assignments?|orders?)\b",
        r"\bneuen?\s+(?:aufgaben?|anweisungen?)\b",
    ),
    "role": _rule(
        "act behave pretend respond roleplay now longer mode bist fungieren",
        r"\b(?:act|behave|pretend|respond|roleplay)\s+(?:now\s+)?(?:as|like|to\s+be|you\s+are|that\s+you\s+are)\b",
        r"\b(?:you\s+are\s+(?:now|no\s+longer)|now\s+you\s+are|from\s+now\s+on\s+you)\b",
        r"\b(?:dan|developer|jailbreak)\s+mode\b",
        r"\b(?:jetzt|nun)\s+bist\s+du\b",
        r"\bals\s+\S+\s+fungieren\b",
    ),
    "prompt": _rule(
        "prompt prompts instruction instructions",
        rf"\b(?:show|print|tell|reveal|repeat|output|spell|return|display|write)\s+{_FILL}(?:prompts?|instructions?)\b",
    ),
    "label": _rule(
        "public unclassified safe clearance label tenant specialist tool tools",
        rf"\b(?:label|classify|mark|treat)\s+{_FILL}(?:public|unclassified|safe)\b",
        r"[\"']?\b(?:clearance|label|tenant|specialist|tools?)[\"']?\s*[:=]\s*[\"']?\w+",
    ),
    "router": _rule(
        "router routing specialist specialists generalist classifier",
        rf"\b(?:ignore|skip|override|bypass|route|send|forward|escalate|use)\s+{_FILL}"
        r"(?:router|routing|specialists?|generalist|classifier)\b",
    ),
}
_WORDS = re.compile(r"\w+")
_SIGNS = {code: " " for code in range(128) if not (chr(code).isalnum() or chr(code) == "_")}
"""Of plain text, which is cut into words at its signs: three times as fast as looking for words."""
_INVISIBLE = re.compile(r"[\u200b-\u200f\u2060\ufeff\u00ad]")
_LONGEST = 20_000
"""Characters of a text that are looked at."""


SUSPECTED = "injection.suspected"


def suspect(texts: Iterable[str], where: str) -> tuple[Verdict, ...]:
    """That some texts hold orders, said of where they stand; nothing if they hold none. It forbids nothing."""
    kinds = orders_in(texts)
    if not kinds:
        return ()
    reason = Reason("injection.suspected", where=where, kinds=", ".join(kinds))
    return (Verdict(allowed=True, rule=SUSPECTED, reason=reason),)


def orders_in(texts: Iterable[str]) -> tuple[str, ...]:
    """The kinds of orders that some texts hold, each once: `override`, `task`, `role`, `prompt`, `label`, `router`."""
    found: dict[str, None] = {}
    for text in filter(None, texts):
        plain = text[:_LONGEST]
        if not plain.isascii():
            plain = _INVISIBLE.sub("", unicodedata.normalize("NFKC", plain))
        small = plain.lower()
        words = set(small.translate(_SIGNS).split() if small.isascii() else _WORDS.findall(small))
        rules = ((kind, rule) for kind, rule in _RULES.items() if not rule.signs.isdisjoint(words))
        found |= dict.fromkeys(kind for kind, rule in rules if rule.pattern.search(plain))
    return tuple(found)
