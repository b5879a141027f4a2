"""Does a source say what a sentence says? A check by words, with no model.

A sentence is grounded when its words are, in order, those of whole clauses of the source: nothing added, nothing left
out that narrows the claim (a number, a "not", an "if", a "from another country"), nothing recombined. The differences
that are let pass are small and listed (`_wording`, a fronted clause, "you can" before an advice); sentences that need
no source are a closed list (`_courtesy`). The customer's words never support a claim.

The check errs on the side of refusal: a refused true sentence costs a plain source text, an accepted false one a
promise. It knows English; in another language it lets verbatim sentences pass and little else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Literal, NamedTuple

from ._courtesy import fault_of_courtesy, is_courtesy, is_said_back
from ._sentences import split_sentences
from ._wording import NEGATIONS, folded, has_words, keys, plain

_CONTACT = re.compile(r"https?:|www\.|\S@\S|\b\w+\.(?:com|org|net|co|uk|io|eu|info)\b|\+?\d[\d ()-]{5,}\d")
_CLOSED = re.compile(
    r"(?<![,;:\s])(?<!\b(?:and|the))(?<!\b(?:or|so|an))(?<!\band it)(?<!\bso that)[.!?]+[\"'\u2019\u201d)\]]*\s*$",
    re.IGNORECASE,
)
_SIGNS = frozenset(".,;:!?'\"()-\u2013\u2014\u2018\u2019\u201c\u201d\u2026/&")  # they may differ; any other may not
_MINUS = re.compile(r"(?<!\w)-\d")
_POSSESSIVE = re.compile(r"\b(?:our|your|their|my)\b")


@dataclass(frozen=True, kw_only=True)
class Grounding:
    """Whether a sentence may be said, and why."""

    ok: bool
    reason: str
    kind: Literal["claim", "courtesy", "echo"] = "claim"
    """A claim of the source, a courtesy, or the customer's words said back."""
    evidence: tuple[int, ...] = ()
    """The source's sentences that a claim states, by number from 0."""


def check_grounding(sentence: str, source: str, *, asked: str = "", after: int | None = None) -> Grounding:
    """Judge one sentence against its source.

    Args:
        sentence: What is about to be said.
        source: The only text that may be claimed.
        asked: The customer's message. Its words may be said back as the customer's, and never as a fact.
        after: The number of the source's sentence stated last (-1: none yet), to see whether "it" still points at
            what the source means; `None` leaves that unchecked.
    """
    if fault := _fault_of_form(sentence, source):
        return Grounding(ok=False, reason=fault)
    if is_courtesy(sentence):
        fault = fault_of_courtesy(sentence, source, asked)
        return Grounding(ok=not fault, reason=fault or "courtesy", kind="courtesy")
    if is_said_back(sentence, asked):
        return Grounding(ok=True, reason="the customer's own words", kind="echo")
    return _check_claim(sentence, source, after)


def _fault_of_form(sentence: str, source: str) -> str:
    """What is wrong with a sentence before its words are looked at, or nothing."""
    if not has_words(sentence):
        return "says nothing"
    if not _CLOSED.search(sentence):
        return "breaks off"
    found = _CONTACT.search(sentence.lower())
    if found and _squash(found.group()) not in _squash(source.lower()):
        return f"a contact or number that is not in the source: {found.group()!r}"
    for sign in plain(sentence):
        if not (sign.isalnum() or sign.isspace() or sign in _SIGNS or sign in source):
            return f"a sign that is not in the source: {sign!r}"
    if (minus := _MINUS.search(sentence)) and minus.group() not in source:
        return f"a number that is not in the source: {minus.group()!r}"
    return ""


def _squash(text: str) -> str:
    return re.sub(r"[\s()-]", "", text)


# --- What a source claims ------------------------------------------------------------------------

_PART = re.compile(r",\s+(?=(?:and|so)\s+(?:you|we|it|they|there|i)\b|because\b|so that\b)", re.IGNORECASE)
_LEANS = re.compile(
    r"(?:\S+\s+){0,3}?(?:it|they|them|this|these|those|there|then|both|otherwise|instead)\b"
    r"|(?:after|before|in) that\b|(?:if|in) (?:so|not)\b|one of them\b|do this\b",
    re.IGNORECASE,
)
_LEANING_PART = re.compile(r"because\b|so that\b|(?:and|so)\s+(?:it|they)\b", re.IGNORECASE)
_CONDITIONS = folded("if when unless until only except before after while once")
_HEDGES = folded("usually often because")


class _Part(NamedTuple):
    """A clause that may be left out whole."""

    sentence: int
    keys: tuple[str, ...]
    stands: bool
    """Whether a sentence may begin with it."""


class _Claim(NamedTuple):
    """A run of whole clauses that a sentence may state."""

    first: int
    last: int
    keys: tuple[str, ...]
    leans: bool
    """Whether it points at the sentence before it ("It takes ...")."""
    whole: bool
    """Whether it is one clause, in which a part may move to the other end."""
    owners: frozenset[str]
    """The possessives of its sentences: "your" may be left out, but not become "our"."""


@lru_cache(maxsize=256)
def _claims(source: str) -> tuple[_Claim, ...]:
    sentences = split_sentences(source)
    owners = [frozenset(_POSSESSIVE.findall(sentence.lower())) for sentence in sentences]
    parts = [part for number, sentence in enumerate(sentences) for part in _parts(number, sentence)]
    found = []
    for start, part in enumerate(parts):
        if not part.stands:
            continue
        opens = start == 0 or parts[start - 1].sentence != part.sentence
        leans = opens and bool(_LEANS.match(sentences[part.sentence]))
        words: tuple[str, ...] = ()
        for other in parts[start:]:
            if other.sentence > part.sentence and (other.sentence > part.sentence + 1 or _is_bounded(words)):
                break
            words += other.keys
            whose = owners[part.sentence] | owners[other.sentence]
            found.append(_Claim(part.sentence, other.sentence, words, leans, other is part, whose))
    return tuple(found)


def _parts(number: int, sentence: str) -> list[_Part]:
    """A sentence's clauses. What follows a condition does not stand without it."""
    parts: list[_Part] = []
    bound = False
    for text in _PART.split(sentence):
        words = keys(text)
        stands = not parts or not (bound or _LEANING_PART.match(text))
        parts.append(_Part(number, words, stands))
        bound = bound or not _CONDITIONS.isdisjoint(words)
    return parts


def _is_bounded(words: tuple[str, ...]) -> bool:
    """Whether a "not" or "if" in it would reach into a sentence joined to it by "and"."""
    return any(word in NEGATIONS or word in _CONDITIONS for word in words)


# --- A sentence against the claims ---------------------------------------------------------------

_LEAD = re.compile(r"^(?:please )?(?:note|be aware) that |^for your information,? |^as a reminder,? ", re.IGNORECASE)
_OPENERS = folded("if when after before until on within in by to for as because once under")
_ADVICE = folded(
    "open tap choose check send write keep ask use tell look try put enter take type copy move freeze contact sign pay"
    " set add call visit go"
)


def _check_claim(sentence: str, source: str, after: int | None) -> Grounding:
    words = keys(_LEAD.sub("", sentence.strip()))
    if not words:
        return Grounding(ok=False, reason="says nothing")
    claims = _claims(source)
    fitting = [claim for claim in claims if _states(words, claim)]
    if not fitting:
        return Grounding(ok=False, reason=_difference(words, claims, source))
    if "?" in sentence and "?" not in source:
        return Grounding(ok=False, reason="asks what the source states")
    owners = frozenset(_POSSESSIVE.findall(sentence.lower()))
    fitting = [claim for claim in fitting if not claim.owners or owners <= claim.owners]
    if not fitting:
        return Grounding(ok=False, reason=f"makes it somebody else's: {', '.join(map(repr, sorted(owners)))}")
    for claim in fitting:
        if after is None or not claim.leans or claim.first - 1 <= after <= claim.first:
            numbers = tuple(range(claim.first, claim.last + 1))
            return Grounding(ok=True, reason="stated by the source", evidence=numbers)
    return Grounding(ok=False, reason="points at a sentence that was left out")


def _states(words: tuple[str, ...], claim: _Claim) -> bool:
    """Equal, or equal once "you can" is set aside in front, or once a clause has moved to the other end."""
    if _advice(words) == _advice(claim.keys):
        return True
    if not claim.whole or len(words) != len(claim.keys):
        return False
    moved = (cut for cut in range(1, len(words)) if words[cut:] + words[:cut] == claim.keys)
    return any(words[0] in _OPENERS or words[cut] in _OPENERS for cut in moved)


def _advice(words: tuple[str, ...]) -> tuple[str, ...]:
    """What is advised: "You can open Cards" and "Open Cards" say the same; other "you can" stay."""
    advises = words[:2] == ("you", "can") and len(words) > 2 and words[2] in _ADVICE
    return words[2:] if advises else words


def _difference(words: tuple[str, ...], claims: tuple[_Claim, ...], source: str) -> str:
    """What is wrong, worst first, against the nearest claim."""
    if not claims:
        return "the source says nothing"
    known = set(keys(source))
    unknown = [word for word in words if word not in known]
    nearest = max(claims, key=lambda claim: SequenceMatcher(None, words, claim.keys, autojunk=False).ratio())
    added = [word for word in words if word not in nearest.keys]
    left_out = [word for word in nearest.keys if word not in words]
    for found, wording in (
        ([word for word in unknown if word[0].isdigit()], "a number that is not in the source"),
        ([word for word in added + left_out if word in NEGATIONS], "a negation added or left out"),
        (unknown, "words that are not in the source"),
        ([word for word in added if word[0].isdigit()], "a number of another sentence"),
        ([word for word in left_out if word[0].isdigit()], "a number left out"),
        ([word for word in left_out if word in _CONDITIONS | _HEDGES], "a condition left out"),
        (added, "words of another sentence"),
        (left_out, "part of the claim left out"),
    ):
        if found:
            return f"{wording}: {', '.join(repr(word) for word in dict.fromkeys(found))}"
    return "the words are in another order"
