"""Does a source say what a sentence says? A check by words in English, by the statement model elsewhere.

In English a sentence is grounded when its words are, in order, those of whole clauses of the source: nothing added,
nothing left out that narrows the claim (a number, a "not", an "if", a "from another country"), nothing recombined. The
differences that are let pass are small and listed (a fronted clause, "you can" before an advice).

In other languages it is grounded when the statement model finds that it and a sentence of the source say the same,
each read as the source of the other, so that nothing is added and nothing left out. Numbers, quotations and denials
must be those of that sentence, and nobody's part may become ours. Without the model only the source's sentences pass.

Sentences that need no source (thanks, greetings) are told by a small network. The customer's words never support a
claim. The check errs on the side of refusal: a refused true sentence costs a plain source text, an accepted false one
a promise.

The network of courtesies reads the states that the reading model's lower layers have of a sentence. It is made by
`scripts/courtesy_build.py` from sentences in seven languages; what it finds in one that was left out of the training is
in its provenance.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache, lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from coterie.engines.reading import LowerLayers, bundled_checker, bundled_reader, has_checker, has_reader
from coterie.errors import ArtefactRefused
from coterie.models.catalogue import bundled_arrays
from coterie.runtime.codec import parse_json
from coterie.tasks.answer.support import StatementJudge, figures
from coterie.text.language import base, is_english, language_of
from coterie.text.numerals import cardinals
from coterie.text.segmentation import (
    SentenceStream,
    count_negations,
    negation_pattern,
    negations,
    persons,
    split_sentences,
    terms,
)
from coterie.turns.reader import Perceptron, unit_states
from coterie.types import Message, Reason

WEIGHTS = Path(__file__).parent / "courtesy.safetensors"
PROVENANCE = Path(__file__).parent / "courtesy.json"
_MOST, _SKIPPED = 80, 3
"""Tokens of a sentence that are read, and those before it that say what it is."""

_SURELY = 1.75
"""Times the least log-odds that are asked of a sentence which may be about its source."""


def courtesy_features(lower: LowerLayers, sentence: str) -> np.ndarray:  # (F,)
    """What the network reads of a sentence."""
    states = unit_states(lower.question(sentence, _MOST).states[_SKIPPED:])
    return np.concatenate([states.mean(axis=0), states.max(axis=0), [np.log1p(len(states))]]).astype(np.float32)


class CourtesyModel:
    """Tells sentences that claim nothing. Blocking; safe to call from several threads.

    Raises:
        ArtefactRefused: its file is not what the provenance says, or was made for other lower layers.
    """

    def __init__(self, lower: LowerLayers) -> None:
        about = parse_json(PROVENANCE.read_bytes())
        if about["lower_sha256"] != lower.sha256:
            raise ArtefactRefused(
                f"The file {WEIGHTS.name!r} of the package is not the one that its reading model goes with.",
                hint="Install the package again.",
            )
        try:
            self._head = Perceptron.of(bundled_arrays(WEIGHTS, about["sha256"]), "courtesy")
        except (KeyError, ValueError) as error:
            raise ArtefactRefused(f"The file {WEIGHTS.name!r} cannot be read: {error}.") from error
        self._lower, self._least, self._languages = lower, float(about["threshold"]), frozenset(about["languages"])

    def is_courtesy(self, sentence: str, language: str, *, surely: bool = False) -> bool:
        """Whether a sentence beside a source of a language claims nothing. One with a digit may claim something."""
        if base(language) not in self._languages or any(sign.isdigit() for sign in sentence) or not sentence.strip():
            return False
        nothing, courtesy = self._head.logits(courtesy_features(self._lower, sentence)[None])[0]
        return bool(courtesy - nothing > self._least * (_SURELY if surely else 1))


@cache
def bundled_courtesies() -> CourtesyModel | None:
    """The one of the package, loaded once; None without the reading model's files. Raises `ArtefactRefused`."""
    return CourtesyModel(bundled_reader().lower) if has_reader() else None


# --- The words of an English text that carry its claim, in a form in which harmless differences are gone.
#
# What may differ: articles and other small words, contractions, plurals, the third person and -ing forms, digits and
# number words, currency and percent signs. Tense may not: "is sent" is not "was sent".

NEGATIONS = negations("en")

_FREE_WORDS = (
    "the a an is are be am and of that this these those it its our your their my please also then will do does so too"
    " who which"
)
_FREE = frozenset(_FREE_WORDS.split())
"""Words that may be added or left out: they carry no claim."""
_EXPANSIONS = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"[\u2018\u2019]", "'"),
        (r"\bcan't\b|\bcannot\b", "can not"),
        (r"\bwon't\b", "will not"),
        (r"n't\b", " not"),
        (r"'re\b", " are"),
        (r"'ll\b", " will"),
        (r"'ve\b", " have"),
        (r"'m\b", " am"),
        (r"\b(it|that|here|there|what|he|she)'s\b", r"\1 is"),
        (r"'s\b|s'(?=\s)", "s"),
        (r"(?<=\d),(?=\d{3}\b)", ""),
        (r"\u00a3\s?(\d+(?:\.\d+)?)", r"\1 pounds"),
        (r"\$\s?(\d+(?:\.\d+)?)", r"\1 dollars"),
        (r"\u20ac\s?(\d+(?:\.\d+)?)", r"\1 euros"),
        (r"(\d)\s?%", r"\1 percent"),
        (r"\bper cent\b", "percent"),
        (r"\b(?:immediately|right away|straight away)\b", "at once"),
        (r"\bevery\b", "each"),
        (r"\blicense\b", "licence"),
    )
)
_SAME = 0.5
"""Log-odds of the statement model, both ways, from which two sentences say the same (`benchmarks/drafts`, `dev`)."""
_NUMBERS = {word: str(value) for word, value in cardinals("en").items()}
_PERSONS = {"i": "we", "me": "we", "us": "we", "them": "they"}
_WORD = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+")


def has_words(text: str) -> bool:
    """Return whether a text has any words."""
    return _WORD.search(text) is not None


def plain(text: str) -> str:
    """Return the text in lower case with contractions and signs written out."""
    text = text.lower()
    for pattern, replacement in _EXPANSIONS:
        text = pattern.sub(replacement, text)
    return text


def keys(text: str) -> tuple[str, ...]:
    """Return the words that carry the text's claim, in order, in their folded form."""
    return tuple(fold(word) for word in _WORD.findall(plain(text)) if word not in _FREE)


def fold(word: str) -> str:
    """Return a word without plural, third person and -ing; -ed stays, since tense is part of a claim."""
    word = _PERSONS.get(word, _NUMBERS.get(word, word))
    if word in NEGATIONS:
        return word
    folded = _without_ending(word)
    return word if folded in NEGATIONS else folded  # "note" is not "not"


def folded(words: str) -> frozenset[str]:
    """Return the words of a list, each in its folded form."""
    return frozenset(fold(word) for word in words.split())


def _without_ending(word: str) -> str:
    if len(word) > 4 and word.endswith("ing"):
        word = word[:-3]
        if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "sl":
            word = word[:-1]
    elif len(word) > 4 and word.endswith("ies"):
        word = word[:-3] + "y"
    elif len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    return word[:-1] if len(word) > 3 and word.endswith("e") else word


# --- The customer's words said back as the customer's, in English.
#
# Said back means attributed ("You asked whether ..."): "We understand that ..." and "We are sorry that ..." would make
# a fact of what somebody only wrote.

_ATTRIBUTED = re.compile(
    r"you (?:asked|wrote|told|want|would like|say|said)(?: us| to know| to ask)?"
    r" (?:that|whether|if|about) (?P<words>.+)"
)
_AUXILIARIES = folded("has have had been was were did would could")


def is_said_back(sentence: str, question: str) -> bool:
    """Return whether the sentence repeats the customer's own words and attributes them to the customer."""
    match = _ATTRIBUTED.fullmatch(_flat(sentence))
    if not match:
        return False
    words = _as_asked(match.group("words"))
    theirs = [_as_asked(sentence_asked) for sentence_asked in split_sentences(question)]
    return bool(words) and any(
        _has_run(own_words, words) and _denials(own_words) == _denials(words) for own_words in theirs
    )


def _flat(text: str) -> str:
    return " ".join(re.sub(r"[^\w\s-]+", " ", plain(text)).split())


def _as_asked(text: str) -> tuple[str, ...]:
    """Return the words of a question or a statement in one form, with "we" replaced by "you"."""
    return tuple("you" if word == "we" else word for word in keys(text) if word not in _AUXILIARIES)


def _has_run(theirs: tuple[str, ...], words: tuple[str, ...]) -> bool:
    return any(theirs[i : i + len(words)] == words for i in range(len(theirs) - len(words) + 1))


def _denials(words: tuple[str, ...]) -> int:
    return sum(word in NEGATIONS for word in words)


_CONTACT = re.compile(r"https?:|www\.|\S@\S|\b\w+\.(?:com|org|net|co|uk|io|eu|info)\b|\+?\d[\d ()-]{5,}\d")
_CLOSED = re.compile(
    r"(?<![,;:\s])(?<!\b(?:and|the))(?<!\b(?:or|so|an))(?<!\band it)(?<!\bso that)[.!?]+[\"'\u2019\u201d)\]]*\s*$",
    re.IGNORECASE,
)
_SIGNS = frozenset(
    ".,;:!?'\"()-\u2013\u2014\u2018\u2019\u201a\u201c\u201d\u201e\u2026/&\u00a1\u00bf\u00ab\u00bb\u2039\u203a"
)  # they may differ; any other may not
_QUOTED = re.compile(r"[\"\u201c\u201e\u00ab]\s?([^\"\u201c\u201d\u201e\u00ab\u00bb]+?)\s?[\"\u201c\u201d\u00bb]")
_MINUS = re.compile(r"(?<!\w)-\d")
_POSSESSIVE = re.compile(r"\b(?:our|your|their|my)\b")


@dataclass(frozen=True, kw_only=True)
class Grounding:
    """Whether a sentence is supported, and why."""

    ok: bool
    reason: Reason
    kind: Literal["claim", "courtesy", "echo"] = "claim"
    """A claim of the source, a courtesy, or the customer's words repeated."""
    evidence: tuple[int, ...] = ()
    """The source's sentences that a claim states, by number from 0."""


@dataclass(frozen=True, kw_only=True)
class DraftModels:
    """The models that judge sentences. Each is loaded when it is first asked."""

    courtesies: Callable[[], CourtesyModel | None] = lambda: None
    """Tells sentences that claim nothing; without it none is."""
    statements: Callable[[], StatementJudge] | None = None
    """Tells whether two sentences say the same; None without its files."""


def bundled_models() -> DraftModels:
    """Those of the package."""
    return DraftModels(courtesies=bundled_courtesies, statements=bundled_checker if has_checker() else None)


def check_grounding(
    sentence: str, source: str, *, message: str = "", after: int | None = None, models: DraftModels | None = None
) -> Grounding:
    """Judge one sentence against its source. Blocks where it asks a model.

    Args:
        sentence: What is about to be said.
        source: The only text that may be claimed.
        message: The customer's message. Its words may be said back as the customer's, and never as a fact.
        after: The number of the source's sentence stated last (-1: none yet), to see whether "it" still points at
            what the source means; `None` leaves that unchecked.
        models: What else judges; without them no courtesy passes, nor other words of another language.
    """
    language, models = language_of(source, "en"), models or DraftModels()
    if not is_english(language) and (verbatim := _verbatim(sentence, source, language)):
        return verbatim
    fault = _fault_of_form(sentence, source)
    if (fault is None or fault.code == "grounding.breaks_off") and _is_courtesy(sentence, source, language, models):
        return _courtesy(sentence, language)  # a greeting may end with a comma
    if fault:
        return Grounding(ok=False, reason=fault)
    if not is_english(language):
        return _check_same(sentence, source, language, models.statements)
    if is_said_back(sentence, message):
        return Grounding(ok=True, reason=Reason("grounding.echo"), kind="echo")
    return _check_claim(sentence, source, after)


def _is_courtesy(sentence: str, source: str, language: str, models: DraftModels) -> bool:
    """Whether the model takes it for one: what has a word of the source is surer to be, what is said back is none."""
    courtesies = models.courtesies()
    if courtesies is None or _ATTRIBUTED.fullmatch(_flat(sentence)):
        return False
    apart = {*terms(sentence, language)}.isdisjoint(terms(source, language))
    return courtesies.is_courtesy(sentence, language, surely=not apart)


def _courtesy(sentence: str, language: str) -> Grounding:
    """A courtesy in the language of the source; one in another is no part of the reply."""
    same = base(language_of(sentence, language)) == base(language)
    reason = Reason("grounding.courtesy") if same else Reason("grounding.other_language", language=language)
    return Grounding(ok=same, reason=reason, kind="courtesy")


def _verbatim(sentence: str, source: str, language: str) -> Grounding | None:
    """A sentence that is one of the source, white space aside."""
    flat = " ".join(sentence.split())
    for number, source_sentence in enumerate(split_sentences(source, language)):
        if flat and flat == " ".join(source_sentence.split()):
            return Grounding(ok=True, reason=Reason("grounding.stated"), evidence=(number,))
    return None


def _check_same(
    sentence: str, source: str, language: str, statements: Callable[[], StatementJudge] | None
) -> Grounding:
    """Whether a sentence and one of the source say the same, each read as the source of the other."""
    sources = split_sentences(source, language)
    if statements is None or not sources:
        return Grounding(ok=False, reason=Reason("grounding.not_verbatim", language=language))
    judgement = statements().judge(sentence, sources)
    if not judgement.sources:
        return Grounding(ok=False, reason=Reason("grounding.not_same", language=language))
    nearest = sources[judgement.sources[0]]
    if fault := _fault_beside(sentence, nearest, language):
        return Grounding(ok=False, reason=fault)
    odds = [judgement.odds, statements().judge(nearest, [sentence]).odds]
    if len(judgement.read) > 1:
        odds.append(statements().judge(sentence, [nearest]).odds)
    if min(odds) < _SAME:
        return Grounding(ok=False, reason=Reason("grounding.not_same", language=language))
    return Grounding(ok=True, reason=Reason("grounding.stated"), evidence=judgement.sources[:1])


def _fault_beside(sentence: str, nearest: str, language: str) -> Reason | None:
    """What of a sentence is not as in the one that it is nearest to: numbers, quotations, who does it."""
    if changed := figures([sentence]) ^ figures([nearest]):
        return Reason("grounding.other_number", words=_listed(sorted(changed)))
    if astray := [match[1] for match in _QUOTED.finditer(sentence) if match[1] not in nearest]:
        return Reason("grounding.other_words", words=_listed(astray))
    if count_negations(sentence, language) != count_negations(nearest, language):
        return Reason("grounding.negation", words=_listed(negation_pattern(language).findall(f"{sentence} {nearest}")))
    (we, you), (ours, yours) = persons(sentence, language), persons(nearest, language)
    if moved := (we - ours) or (you if ours and not yours and not we else frozenset()):
        return Reason("grounding.owner", words=_listed(sorted(moved)))
    return None


def _fault_of_form(sentence: str, source: str) -> Reason | None:
    """Return what is wrong with the form of a sentence, before its words are checked, or None."""
    if not has_words(sentence):
        return Reason("grounding.empty")
    if not _CLOSED.search(sentence):
        return Reason("grounding.breaks_off")
    match = _CONTACT.search(sentence.lower())
    if match and _squash(match.group()) not in _squash(source.lower()):
        return Reason("grounding.contact", found=match.group())
    for sign in plain(sentence):
        if not (sign.isalnum() or sign.isspace() or sign in _SIGNS or sign in source):
            return Reason("grounding.sign", found=sign)
    if (minus := _MINUS.search(sentence)) and minus.group() not in source:
        return Reason("grounding.number", found=minus.group())
    return None


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
    """A clause that may be left out as a whole."""

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
    """Whether it refers to the sentence before it ("It takes ...")."""
    whole: bool
    """Whether it is one clause, in which a part may move to the other end."""
    owners: frozenset[str]
    """The possessives of its sentences: "your" may be left out, but not become "our"."""


@lru_cache(maxsize=256)
def _claims(source: str) -> tuple[_Claim, ...]:
    sentences = split_sentences(source)
    owners = [frozenset(_POSSESSIVE.findall(sentence.lower())) for sentence in sentences]
    parts = [part for number, sentence in enumerate(sentences) for part in _parts(number, sentence)]
    claims = []
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
            claims.append(_Claim(part.sentence, other.sentence, words, leans, other is part, whose))
    return tuple(claims)


def _parts(number: int, sentence: str) -> list[_Part]:
    """Return a sentence's clauses. A clause that follows a condition does not stand without it."""
    parts: list[_Part] = []
    bound = False
    for text in _PART.split(sentence):
        words = keys(text)
        stands = not parts or not (bound or _LEANING_PART.match(text))
        parts.append(_Part(number, words, stands))
        bound = bound or not _CONDITIONS.isdisjoint(words)
    return parts


def _is_bounded(words: tuple[str, ...]) -> bool:
    """Return whether a "not" or "if" in it would extend into a sentence joined to it by "and"."""
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
        return Grounding(ok=False, reason=Reason("grounding.empty"))
    claims = _claims(source)
    fitting = [claim for claim in claims if _states(words, claim)]
    if not fitting:
        return Grounding(ok=False, reason=_difference(words, claims, source))
    if "?" in sentence and "?" not in source:
        return Grounding(ok=False, reason=Reason("grounding.asks"))
    owners = frozenset(_POSSESSIVE.findall(sentence.lower()))
    fitting = [claim for claim in fitting if not claim.owners or owners <= claim.owners]
    if not fitting:
        return Grounding(ok=False, reason=Reason("grounding.owner", words=_listed(sorted(owners))))
    for claim in fitting:
        if after is None or not claim.leans or claim.first - 1 <= after <= claim.first:
            numbers = tuple(range(claim.first, claim.last + 1))
            return Grounding(ok=True, reason=Reason("grounding.stated"), evidence=numbers)
    return Grounding(ok=False, reason=Reason("grounding.reference"))


def _states(words: tuple[str, ...], claim: _Claim) -> bool:
    """Return whether the words equal the claim, also without "you can" in front or with a clause at the other end."""
    if _advice(words) == _advice(claim.keys):
        return True
    if not claim.whole or len(words) != len(claim.keys):
        return False
    moved = (cut for cut in range(1, len(words)) if words[cut:] + words[:cut] == claim.keys)
    return any(words[0] in _OPENERS or words[cut] in _OPENERS for cut in moved)


def _advice(words: tuple[str, ...]) -> tuple[str, ...]:
    """Return the advice: "You can open Cards" and "Open Cards" mean the same; any other "you can" stays."""
    advises = words[:2] == ("you", "can") and len(words) > 2 and words[2] in _ADVICE
    return words[2:] if advises else words


def _difference(words: tuple[str, ...], claims: tuple[_Claim, ...], source: str) -> Reason:
    """Return the worst difference from the nearest claim."""
    if not claims:
        return Reason("grounding.no_claims")
    known_words = set(keys(source))
    unknown = [word for word in words if word not in known_words]
    nearest = max(claims, key=lambda claim: SequenceMatcher(None, words, claim.keys, autojunk=False).ratio())
    added = [word for word in words if word not in nearest.keys]
    left_out = [word for word in nearest.keys if word not in words]
    for wrong_words, what in (
        ([word for word in unknown if word[0].isdigit()], "unknown_number"),
        ([word for word in added + left_out if word in NEGATIONS], "negation"),
        (unknown, "unknown_words"),
        ([word for word in added if word[0].isdigit()], "other_number"),
        ([word for word in left_out if word[0].isdigit()], "number_left_out"),
        ([word for word in left_out if word in _CONDITIONS | _HEDGES], "condition_left_out"),
        (added, "other_words"),
        (left_out, "claim_left_out"),
    ):
        if wrong_words:
            return Reason(f"grounding.{what}", words=_listed(dict.fromkeys(wrong_words)))
    return Reason("grounding.order")


def _listed(words: Iterable[str]) -> str:
    return ", ".join(map(repr, words))


# --- How a draft is asked for: an instruction, a few examples, the message and the source text.
#
# The heading above the source text, which the reply repeats, is what makes a very small model copy instead of making
# things up: it is different in every request, so there is one place in the prompt that goes on as the reply should.
# Of 40 BANKING77 messages SmolLM2-135M answered 37 with grounded sentences only; without the heading it was about
# half.

# --- A draft while it is written: which sentences of it may be said, and what the source says in place of the others.

HEADING = "#"
"""First character of lines in a draft that are not part of the reply."""
_MOST_ASKED = 600  # characters of a message; a draft thanks and restates, and more would only take time


@dataclass(frozen=True, kw_only=True)
class Example:
    """One exchange that the model sees as an example."""

    asked: str
    key: str
    source: str
    reply: str


@dataclass(frozen=True, kw_only=True)
class Drafting:
    """The prompt of a stored version. Everything but the last message is the same in each request."""

    instruction: str
    examples: tuple[Example, ...] = ()

    def messages(self, *, message: str, key: str, source: str) -> tuple[Message, ...]:
        """Return the prompt for one message and the source text that answers it."""
        shown = [Message(role="system", text=self.instruction)]
        for example in self.examples:
            shown.append(_request(example.asked, example.key, example.source))
            reply = f"{example.reply}\n\n{HEADING} {_heading(example.key)}\n{example.source}"
            shown.append(Message(role="assistant", text=reply))
        return (*shown, _request(message, key, source))


def one_line(question: str) -> str:
    """Return the part of a message that the model sees, on one line, so that it cannot look like a heading."""
    return " ".join(question[: 2 * _MOST_ASKED].split())[:_MOST_ASKED]


def _request(question: str, key: str, source: str) -> Message:
    return Message(role="user", text=f"Customer: {one_line(question)}\n\n{HEADING} {_heading(key)}\n{source}")


def _heading(key: str) -> str:
    """Return a fact's value as words: `card_arrival` becomes "card arrival"."""
    return re.sub(r"[\W_]+", " ", key).strip().lower()


_MOST_SHOWN = 120  # characters of a sentence in a reason
_SLACK = 200  # characters that a sentence may have beyond those of what it may state or say back


class SupportedDraft:
    """Reads a draft piece by piece and yields the sentences that the source supports, up to the first unsupported one.

    A draft that is not supported, breaks off or states nothing of the source is given up, and the source replaces it:
    where the draft has stated the source's first sentences, the remaining ones follow, otherwise the whole source.
    """

    def __init__(self, *, source: str, message: str, models: DraftModels | None = None) -> None:
        self.said: list[str] = []
        self.fault: Reason | None = None
        """Why it was given up; None as long as it stands."""
        self._source = source
        self._asked = message
        self._models = models
        self._language = language_of(source, "en")
        self._splitter = SentenceStream(self._language)
        self._claims: list[str] = []
        self._endless = False
        self._stated = -1  # number of the source's sentence that was stated last

    def read(self, piece: str) -> Iterator[str]:
        """The sentences that this piece completes and that may be said. Blocks."""
        yield from self.judge(self.completed(piece))

    def completed(self, piece: str) -> Sequence[str]:
        """The sentences that this piece completes, which are to be judged. Does not block."""
        text = self._splitter.feed(piece)
        self._endless = self._splitter.unfinished > len(self._source) + len(self._asked) + _SLACK
        return text

    def judge(self, sentences: Sequence[str]) -> Iterator[str]:
        """Those of them that may be said, up to the first that may not. Blocks."""
        yield from self._judge(sentences)
        if self._endless:
            self.give_up(Reason("draft.long_sentence"))

    def end(self, *, cut: bool = False) -> Iterator[str]:
        """What is left at the end, as far as it may be said; a sentence that was cut is dropped. Blocks."""
        rest = self._splitter.close()
        if cut and not self.fault:
            yield from self._judge([sentence for sentence in rest if self._ground(sentence).ok])
            self.give_up(Reason("draft.cut"))
            return
        yield from self._judge(rest)
        if not self._claims:
            self.give_up(Reason("draft.states_nothing" if self.said else "draft.empty"))

    def give_up(self, reason: Reason) -> None:
        """Stop reading; the first reason counts."""
        self.fault = self.fault or reason

    def replacement(self) -> str:
        """Return the source text that replaces a given-up draft, to be appended to the sentences already given."""
        if not self.fault:
            return ""
        if not self.said:
            return self._source
        rest = self._rest_of_source()
        if rest is None:
            return f"\n\n{self._source}"
        return f" {rest}" if rest else ""

    def reason(self, key: str) -> Reason:
        """Return the reason, which says where the reply's sentences come from."""
        if self.fault is None:
            return Reason("accept.grounded", source=key)
        if not self.said:
            return Reason("accept.replaced", source=key, fault=self.fault)
        if not self.replacement():
            return Reason("accept.source_complete", source=key, fault=self.fault)
        return Reason("accept.replaced_from", source=key, fault=self.fault, sentence=len(self.said) + 1)

    def _judge(self, sentences: Sequence[str]) -> Iterator[str]:
        for sentence in sentences:
            if self.fault:
                return
            if sentence.startswith(HEADING):
                continue
            judged = self._ground(sentence)
            if judged.reason.code == "grounding.other_language":
                continue
            if not judged.ok:
                self.give_up(Reason("draft.not_grounded", sentence=_shortened(sentence), why=judged.reason))
                return
            self.said.append(sentence)
            if judged.kind == "claim":
                self._claims.append(sentence)
                self._stated = judged.evidence[-1]
            yield sentence

    def _ground(self, sentence: str) -> Grounding:
        judged = check_grounding(sentence, self._source, message=self._asked, after=self._stated, models=self._models)
        if judged.ok and keys(sentence) in map(keys, self.said):
            return Grounding(ok=False, reason=Reason("grounding.repeated"), kind=judged.kind)
        return judged

    def _rest_of_source(self) -> str | None:
        """Return the source after its first sentences, if those and nothing else have been stated."""
        stated, read, position = keys(" ".join(self._claims)), "", 0
        for sentence in ["", *split_sentences(self._source, self._language)]:
            position = self._source.index(sentence, position) + len(sentence)
            read = f"{read} {sentence}"
            if keys(read) == stated:
                return self._source[position:].strip()
        return None


def _shortened(sentence: str) -> str:
    return sentence if len(sentence) <= _MOST_SHOWN else f"{sentence[:_MOST_SHOWN]}…"


INSTRUCTION = "You answer customers. Thank the customer, then repeat the help text."
_GRATITUDE = "Thank you for your message."

EXCHANGES = (
    Example(
        asked="the app wont load at all",
        key="app_not_working",
        source="Please close the app and open it again. If it does not load, install the newest version. Your money is "
        "safe, and you can also sign in on our website.",
        reply=_GRATITUDE,
    ),
    Example(
        asked="I want my parcel to go to another place",
        key="change_of_address",
        source="To change the address of a parcel, open Orders and choose the parcel. Tap Change address before it is "
        "sent. After that, only the carrier can change it, and you need the number of the parcel.",
        reply=_GRATITUDE,
    ),
    Example(
        asked="where do i find my statement for june??",
        key="statement_download",
        source="Statements are ready on the first day of each month. Open Profile and tap Statements to download one. "
        "A paper statement costs 2 pounds and takes 4 working days.",
        reply=_GRATITUDE,
    ),
)
