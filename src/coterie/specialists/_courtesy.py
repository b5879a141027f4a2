"""Sentences that need no source: courtesy, and the customer's words said back as the customer's.

Courtesy is a closed list of patterns. The topic of a thanks may use the customer's words, but no number, outcome or
denial, and nothing that is "ours". Said back means attributed ("You asked whether ..."): "We understand that ..." and
"We are sorry that ..." would make a fact of what somebody only wrote.
"""

from __future__ import annotations

import re

from ._sentences import split_sentences
from ._wording import NEGATIONS, folded, keys, plain

_COURTESY = re.compile(
    r"(?:hello|hi|dear customer|good (?:morning|afternoon|evening)|kind regards|best (?:regards|wishes)"
    r"|have a (?:nice|good|great) day"
    r"|(?:(?:i am|we are) )?(?:very |so |really )?sorry(?: to (?:hear|read) (?:that|this|about this))?"
    r"|(?:i am|we are) sorry for the (?:trouble|inconvenience|delay)"
    r"|(?:i|we) hope (?:that )?(?:this|it) helps(?: you)?"
    r"|here is (?:what (?:we can tell you|you can do|our help page says|you need to know)|(?:our|the) answer)"
    r"|(?:i am|we are) (?:happy|glad) to help(?: you)?"
    r"|(?:please )?let (?:us|me) know if you have any (?:other |more |further )?questions"
    r"|if you have any (?:other |more |further )?questions please (?:ask(?: us)?|let us know))"
)
_THANKS = re.compile(
    r"(?:thank you|thanks|many thanks)(?: (?:very|so) much)?"
    r"(?: for (?:your (?:message|question|request|enquiry|inquiry|patience)|contacting us|writing(?: to us)?"
    r"|getting in touch|reaching out(?: to us)?|asking(?: us)?|letting us know|telling us))?"
    r"(?: (?:about|regarding) (?P<topic>.+))?"
)
_TOPIC_WORDS = 6
_OUTCOMES = folded("free approval confirmation compensation success new guaranteed sent paid done")
_OURS = re.compile(r"\b(?:our|ours|we|us|i|my)\b")
_ATTRIBUTED = re.compile(
    r"you (?:asked|wrote|told|want|would like|say|said)(?: us| to know| to ask)?"
    r" (?:that|whether|if|about) (?P<words>.+)"
)
_AUXILIARIES = folded("has have had been was were did would could")


def is_courtesy(sentence: str) -> bool:
    """Whether the sentence is one of the patterns; a thanks may still have a topic that says too much."""
    flat = _flat(sentence)
    return bool(_COURTESY.fullmatch(flat) or _THANKS.fullmatch(flat))


def fault_of_courtesy(sentence: str, source: str, asked: str) -> str:
    """Why the topic of a thanks says more than what the letter is about, or nothing."""
    match = _THANKS.fullmatch(_flat(sentence))
    topic = (match.group("topic") if match else "") or ""
    words = keys(topic)
    if len(words) > _TOPIC_WORDS:
        return f"a topic longer than {_TOPIC_WORDS} words (words={len(words)})"
    if found := _OURS.search(topic):
        return f"a claim inside a courtesy: {found.group()!r}"
    known, stated = {*keys(source), *keys(asked)}, keys(source)
    for word in words:
        if word not in known and not any(_are_kin(word, other) for other in known):
            return f"words that neither the source nor the customer has: {word!r}"
        outcome = word[0].isdigit() or word in NEGATIONS or word in _OUTCOMES
        if outcome or (word.endswith("ed") and word not in stated):
            return f"a claim inside a courtesy: {word!r}"
    return ""


def is_said_back(sentence: str, asked: str) -> bool:
    """Whether the sentence gives the customer's own words as the customer's."""
    match = _ATTRIBUTED.fullmatch(_flat(sentence))
    if not match:
        return False
    words = _as_asked(match.group("words"))
    theirs = [_as_asked(each) for each in split_sentences(asked)]
    return bool(words) and any(_has_run(each, words) and _denials(each) == _denials(words) for each in theirs)


def _flat(text: str) -> str:
    return " ".join(re.sub(r"[^\w\s-]+", " ", plain(text)).split())


def _are_kin(word: str, other: str) -> bool:
    """Words of one root: "verification" and "verify", "activation" and "activate"."""
    return len(word) > 5 and len(other) > 4 and word[:5] == other[:5]


def _as_asked(text: str) -> tuple[str, ...]:
    """The words of a question or a statement alike, whoever "I" and "you" are in it."""
    return tuple("you" if word == "we" else word for word in keys(text) if word not in _AUXILIARIES)


def _has_run(theirs: tuple[str, ...], words: tuple[str, ...]) -> bool:
    return any(theirs[i : i + len(words)] == words for i in range(len(theirs) - len(words) + 1))


def _denials(words: tuple[str, ...]) -> int:
    return sum(word in NEGATIONS for word in words)
