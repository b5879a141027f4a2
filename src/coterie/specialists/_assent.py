"""May an answer begin with "Yes" or "No"? Only where the rest of its sentence settles the very question.

"Yes, dogs are allowed on a lead" to "Are dogs allowed?": the rest is a whole clause of a source, and has the words of
the question side by side in their order, so what it affirms or denies is what was asked. All else is doubtful
("Is the price rise certain?" "Yes, the price rise was rejected") and gives way to the quotation. It knows English.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from coterie.answering import terms

from ._grounding import check_grounding

_ASSENT = re.compile(r"\s*(?P<word>yes|no)\b\s*[,.:;!\u2013\u2014-]+\s*(?=\S)", re.IGNORECASE)
_ASKS = re.compile(
    r"(?:am|is|are|was|were|do|does|did|can|could|may|must|should|shall|will|has|have|need)\s+(?!not\b)", re.IGNORECASE
)
_UNCLEAR = re.compile(
    r"\b(?:or|not|no|nor|never|without|only|unless|except|why|what|which)\b|n['\u2019]t\b", re.IGNORECASE
)
"""In a question: what its Yes is the Yes to is not plain."""
_PLACED = re.compile(r"\b(?:under|over|from|to|into|with|by|until|before|after|all|every|always)\b", re.IGNORECASE)
"""Words of a question that must be in what settles it, though they are no content words."""
_NOT = re.compile(r"\b(?:not|no|never|cannot|nobody|nothing|none|neither|nor|without)\b|n['\u2019]t\b", re.IGNORECASE)
_BOUND = re.compile(r"\b(?:only|unless|except|solely|exclusively|hardly|rarely|until|if|when)\b", re.IGNORECASE)
_MUST = re.compile(
    r"\bmust\b(?!\s+not)|\b(?:have|has|had|need|needs|needed|required?|obligatory|compulsory|necessary|mandatory|shall)\b",
    re.IGNORECASE,
)
_ENDS = re.compile(r"\s*(?:$|[,.;:!]|(?:in|on|at|for|from|to|with|by|during|over|per|between|after|before)\b)", re.I)


def without_assent(sentence: str) -> str:
    """A sentence without the "Yes" or "No" that it begins with."""
    rest = _ASSENT.sub("", sentence, count=1)
    return rest[:1].upper() + rest[1:]


def is_settled(question: str, sentence: str, sources: Sequence[str]) -> bool:
    """Whether a sentence that begins with "Yes" or "No" may say so, as one of the sources has the rest of it.

    Args:
        question: What was asked.
        sentence: Begins with "Yes" or "No".
        sources: What bears it out.
    """
    found, asked = _ASSENT.match(sentence), question.strip()
    if found is None or not _ASKS.match(asked) or _UNCLEAR.search(asked):
        return False
    rest = without_assent(sentence)
    if bool(_MUST.search(asked)) is not bool(_MUST.search(rest)) or _BOUND.search(rest):
        return False
    if not {each.casefold() for each in _PLACED.findall(asked)} <= {each.casefold() for each in _PLACED.findall(rest)}:
        return False
    told = _told(asked, rest)
    negations = list(_NOT.finditer(rest))
    if told is None or len(negations) != (found["word"].casefold() == "no"):
        return False
    if negations and not _denies(negations[0], rest, set(terms(asked)), told):
        return False
    return any(check_grounding(rest, source).ok for source in sources)


def _told(question: str, rest: str) -> tuple[int, int] | None:
    """Where the words of the question stand in a text, side by side and in their order; None if they do not."""
    asked = terms(question)
    words = [(match.span(), terms(match.group())) for match in re.finditer(r"\d[\d,.]*\d|\w+", rest)]
    said = [(place, own[0]) for place, own in words if own]
    for first in range(len(said) - len(asked) + 1):
        run = said[first : first + len(asked)]
        if asked and [word for _, word in run] == asked and _ENDS.match(rest, run[-1][0][1]):
            return run[0][0][0], run[-1][0][1]
    return None


def _denies(negation: re.Match[str], rest: str, asked: set[str], told: tuple[int, int]) -> bool:
    """Whether a "not" stands right before a word of the question."""
    behind = terms(rest[negation.end() :])
    return negation.end() <= told[1] and bool(behind) and behind[0] in asked
