"""Words an answer from passages with a generative model, and checks whether passages support each of its sentences.

The passages come first in the prompt and the instruction last, so that specialists on one model share that prefix. A
sentence that the passages do not support is dropped, and so is one that rests on other sentences than those found to
answer: the confidence belongs to them.

A sentence is checked by words in English, else by a model. In English: whether the sentence's words are those of one or
two sentences of the passages, whether it has a number that they lack or use for something else, and whether one of the
two negates or restricts the other. The result is a calibrated probability, unlike the strict word check of `generate`:
an answer is phrased differently from its source. The statement model may refuse a sentence that passes. In other
languages it reads the sentence with the nearest sources, and they must contain every number of it. Without that model
only a sentence that a source has word for word is supported.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import log
from typing import Protocol

import numpy as np

from coterie.engines.reading import StatementVerdict
from coterie.errors import EngineError, Overloaded, PolicyError, TooLong
from coterie.protocols import Engine
from coterie.tasks.answer.features import Sentence
from coterie.tasks.answer.reader import AnswerReading, SentenceSurvey, borne_by, cite
from coterie.tasks.answer.scoring import LinearScore, probability
from coterie.text.folding import estimate_tokens
from coterie.text.language import is_english, language_of
from coterie.text.numerals import cardinals, english_ordinals
from coterie.text.segmentation import asks, count_negations, split_sentences, terms
from coterie.types import CallContext, Citation, Label, Message, Passage, Prompt, Reason, Step, Task, Verdict

# --- Numbers, and what a sentence says them of.
#
# "A ticket costs 5.50 euros for adults and 3 euros for children" has the words of "a child's ticket costs 5.50 euros"
# and its number, and says something else. So a sentence is cut at commas and conjunctions, and a number goes with the
# words of its own part. It knows English, and says nothing of numbers that a sentence lists without parts of their
# own.

_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_PART = re.compile(r"[,;:]\s+|\s(?:and|or|but|while|whereas)\s", re.IGNORECASE)
_VALUES = {word: str(value) for word, value in cardinals("en").items()}
_VALUES |= {word: f"{value}." for word, value in english_ordinals().items()}
_WORDS = frozenset(terms(" ".join(_VALUES)))
_WRITTEN = re.compile(rf"\b(?:{'|'.join(_VALUES)})\b", re.IGNORECASE)
_ORDER = re.compile(r"(?:st|nd|rd|th)\b")
_MEASURES = (
    ("percent", "%", "percent", "per cent"),
    ("euro", "\u20ac", "eur", "euro", "euros"),
    ("pound", "\u00a3", "gbp", "pound", "pounds"),
    ("dollar", "$", "usd", "dollar", "dollars"),
    ("degre", "\u00b0", "degree", "degrees"),
)
"""Signs and words of a unit, each after its name."""
_LEAST = r"at least|no less than|not less than|more than|a minimum of|minimum of|minimum"
_MOST = r"at most|up to|no more than|not more than|less than|fewer than|a maximum of|maximum of|maximum"
_BOUND = re.compile(rf"\b(?:(?P<least>{_LEAST})|(?P<most>{_MOST}))\W+(?:\w+\W+)?$", re.IGNORECASE)
_SIGNS = {sign: stem for stem, *signs in _MEASURES for sign in signs}
_SIGNED = frozenset(_SIGNS.values())
_CURRENCY = re.compile(r"(?:^|\W)?([\u20ac$\u00a3]|\b(?:eur|usd|gbp))\s?$", re.IGNORECASE)
_BEHIND = re.compile(
    r"(?:\s?(?:to|or|and|-|\u2013)\s?\d+(?:[.,:]\d+)*)?[\s-]*([%\u20ac\u00a3$\u00b0]|per\s+cent|[^\W\d]+)",
    re.IGNORECASE,
)
_DATED = re.compile(
    r"\b(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)(?=\b|\w*days?\b)|Jan(?=\b|uary)|Feb(?=\b|ruary)|Mar(?=\b|ch\b)|Apr(?=\b|il)|Jun(?=e?\b)"
    r"|Jul(?=y?\b)|Aug(?=\b|ust\b)|(?:Sep|Oct|Nov|Dec)(?=\b|\w*ber\b))"
)
"""A day or a month, by its first letters."""
_BOUNDING = frozenset(terms("up least most more less fewer older younger over"))
"""Words around a number that do not say what it measures."""
_LIMIT = re.compile(r"\b(?:under|over|below|above|aged)\W+(?:the age of\W+)?$", re.IGNORECASE)


def numbers(text: str) -> set[str]:
    """Return numbers in digits, without the commas of thousands, and number words up to twelve; "3." is a third."""
    return {value for _, _, value in _placed(text)}


def limits(text: str) -> set[str]:
    """Return the numbers that restrict to whom or what a sentence applies: "children under 4"."""
    return {value for start, _, value in _placed(text) if _LIMIT.search(text[:start])}


def astray(sentence: str, sources: Sequence[str]) -> set[str]:
    """Return the numbers of a sentence that its sources lack, or use for something else.

    A number is looked up in the source that has most of the words around it: its occurrence in another source proves
    nothing.
    """
    sentence = sentence.replace(": ", " ")  # "pump 300: 3.9 kg" says it of that pump
    astray_parts = _dates(sentence) - _dates(" ".join(sources))
    parts = [part for part in _parts(sentence) if numbers(part)]
    for part in parts:
        words = _own(part, head=True) - units(part)
        shared = [len(words.intersection(terms(source))) for source in sources]
        near = [source for source, count in zip(sources, shared, strict=True) if count == max(shared)]
        around = {sentence, part} if len(parts) > 1 and words else {sentence}
        astray_parts |= {
            number
            for number in numbers(part)
            if all(
                _crossed(part, source) or any(_misplaced(number, text, source) for text in around) for source in near
            )
        }
    return astray_parts


def value_astray(question: str, sentence: str, sources: Sequence[str]) -> bool:
    """Return whether a sentence is a bare value ("6 months."), and sources use it for something else than was asked."""
    if {word for word in terms(sentence) if not word[0].isdigit()} - units(sentence) - _BOUNDING - _WORDS:
        return False
    whole = f"{question.strip().rstrip('?')} {sentence}"
    return not numbers(sentence).isdisjoint(astray(whole, sources))


def _dates(text: str) -> set[str]:
    """Return the days and months that a text names."""
    return {match.group().casefold() for match in _DATED.finditer(text)}


def _crossed(part: str, source: str) -> bool:
    """Return whether a part takes numbers from different parts of a source and leaves out those beside them."""
    own = numbers(part)
    taken = [theirs for theirs in map(numbers, _parts(source)) if theirs & own]
    left = [theirs for theirs in taken if theirs - own]
    return (
        len(own) > 1
        and not any(own <= theirs for theirs in taken)
        and any(not one & two for one in left for two in left)
    )


def _misplaced(number: str, sentence: str, source: str) -> bool:
    """Return whether a source lacks a number of a sentence, or uses it for something else."""
    if number not in numbers(source):
        return True
    if _otherwise_measured(number, sentence, source) or _bounds(number, sentence) != _bounds(number, source):
        return True
    parts = [part for part in _parts(source) if numbers(part)]
    mine = [row for row, part in enumerate(parts) if numbers(part) & numbers(sentence)]
    if not mine or len(mine) == len(parts):
        return False
    words_of_sentence = set(terms(sentence))
    shared = set().union(*(_own(parts[row], head=True) for row in mine))
    theirs = [_own(part, head=bool(row)) for row, part in enumerate(parts) if row not in mine]
    if any(words_of_sentence & (words - shared) for words in theirs):
        return True  # it names what the other number is of
    parts_told = [_own(parts[row], head=bool(row)) for row in mine]
    others = set().union(*(_own(part, head=True) for row, part in enumerate(parts) if row not in mine))
    proper = set().union(*parts_told) - others - units(source) - _BOUNDING
    return bool(proper) and not words_of_sentence & proper and bool(words_of_sentence & (others - shared))


def _parts(text: str) -> list[str]:
    """What stands between commas and conjunctions."""
    return _PART.split(text)


def _own(part: str, *, head: bool) -> set[str]:
    """Return the words of a part without its numbers, and without those before its number unless `head`.

    The first part's words before its number belong to all parts.
    """
    if not head:
        start = min(end for _, end, _ in _placed(part))
        part = part[start:]
    return {word for word in terms(part) if not word[0].isdigit()} - _WORDS


def _otherwise_measured(number: str, sentence: str, source: str) -> bool:
    """Return whether a number has another unit than in the source: an unknown one, or one of other numbers."""
    units_of_sentence, theirs = _unit(number, sentence), _unit(number, source)
    return bool(units_of_sentence - theirs - set(terms(source)) - _SIGNED) or bool(
        (units_of_sentence - theirs) & units(source)
    )


def units(text: str) -> set[str]:
    """Return the content words directly after numbers."""
    return set().union(*(_unit(number, text) for number in numbers(text)))


def _unit(number: str, text: str) -> set[str]:
    """Return the content word or sign directly after a number, at all its occurrences, or the currency before it."""
    units_ = set()
    for start, end, value in _placed(text):
        if value != number:
            continue
        if (before := _CURRENCY.search(text[:start])) and (sign := _SIGNS.get(before[1].casefold())):
            units_.add(sign)
        elif behind := _BEHIND.match(text, end):
            word = behind[1]
            units_ |= {_SIGNS[word.casefold()]} if word.casefold() in _SIGNS else set(terms(word)[:1])
    return units_


def _bounds(number: str, text: str) -> set[str]:
    """Return whether a number is a lower or an upper bound, at all its occurrences."""
    kinds = set()
    for start, _, value in _placed(text):
        if value == number and (match := _BOUND.search(text[:start])):
            kinds |= {kind for kind, at in match.groupdict().items() if at}
    return kinds


def _placed(text: str) -> list[tuple[int, int, str]]:
    """Return start, end and value of every number."""
    numbers_ = [(*match.span(), _VALUES[match.group().casefold()]) for match in _WRITTEN.finditer(text)]
    for match in _NUMBER.finditer(text):
        order = "." if _ORDER.match(text, match.end()) else ""
        numbers_.append((*match.span(), match.group().replace(",", "") + order))
    return sorted(numbers_)


SUPPORT: tuple[str, ...] = (
    "covered",  # share of its content words that the nearest source sentence has
    "covered_two",  # that the two nearest have together
    "pairs",  # share of its pairs of neighbouring words that a source sentence has
    "unknown",  # logarithm of its words that the nearest do not have
    "numbers",  # logarithm of its numbers that the nearest do not have, or say of something else
    "denies",  # it has a "not" that what it is about has not, or the other way round
    "opposed",  # "more", "after", "must" where the nearest says "less", "before", "may"; an "only" too many or too few
    "length",  # logarithm of its words
)
"""Features of a sentence and its sources."""

_CLAUSE = re.compile(r"[,;:]\s|\s(?=(?:and|but|unless|if|when|until|except)\s)")
_DOUBTFUL = 0.5
"""Highest support of a sentence of one word, with another number, or that reverses its sources."""
_BROUGHT = 2
"""Words that a second source must add: one word of an unrelated sentence is no support."""
_LEAVE = frozenset({"may", "can", "allowed", "permitted", "free"})
"""With one of these words, the end of a sentence is a condition: "drinks are allowed in bottles that close"."""
_DOES = re.compile(r"\b(we|you)\s+(?:will\s+|must\s+|\w+ly\s+)?(\w+)")
_OF_YOU = {"we": "you", "you": "we"}
_NARROWING = frozenset(("only", "solely", "exclusively", "except", "unless", "twice"))
"""Words that restrict to whom or how often something applies."""
_CLAIM = 2
"""Content words of the shortest sentence with a claim: "I am a cat" has the words of any source with a cat."""
_OPPOSITES = (
    "more less, before after, must may, increase decrease, increases decreases, increased decreased, higher lower, "
    "minimum maximum, always sometimes, all some, free charged, include exclude, includes excludes, with without, "
    "allowed forbidden, above below, first last, earlier later, accept refuse, open closed"
)
_OTHER = {one: two for pair in map(str.split, _OPPOSITES.split(",")) for one, two in (pair, pair[::-1])}


@dataclass(frozen=True, kw_only=True)
class SupportVerdict:
    """How well a sentence is supported, and by which sources."""

    support: float
    """Calibrated probability that the sources say it."""
    sources: tuple[int, ...]
    """Numbers of the supporting sentences, from 0, the nearest first."""


class StatementJudge(Protocol):
    """A model that reads a statement with a source."""

    def judge(self, statement: str, sentences: Sequence[str]) -> StatementVerdict:
        """Return the verdict of a source, given by its sentences, on a statement. Blocks."""


@dataclass(frozen=True, kw_only=True)
class StatementLine:
    """The statement model's score as a calibrated probability."""

    weight: float
    bias: float
    refuses: float
    """Log-odds below which the model refuses a sentence that its words support."""
    load: Callable[[], StatementJudge]
    """Loads the model; called on first use."""

    def judge(self, sentence: str, sources: Sequence[str]) -> SupportVerdict:
        """Return how well sources support a sentence; a number that the sources lack is doubtful."""
        judgement = self.load().judge(sentence, sources)
        support = probability(self.weight * judgement.odds + self.bias)
        if not figures([sentence]) <= figures(sources[row] for row in judgement.read):
            support = min(support, _DOUBTFUL)
        return SupportVerdict(support=support, sources=judgement.sources)

    def refuse(self, sentence: str, sources: Sequence[str]) -> bool:
        """Return whether the model finds it unsupported: the same words in another order, or with another word."""
        return self.load().judge(sentence, sources).odds < self.refuses


def figures(texts: Iterable[str]) -> set[str]:
    """The numbers in digits, by their digits alone: "1.000" is "1,000"."""
    return {re.sub(r"\D", "", digits) for text in texts for digits in _NUMBER.findall(text)}


@dataclass(frozen=True, kw_only=True)
class Support:
    """The calibrated check."""

    line: LinearScore
    """The line of word features, in English."""
    read: StatementLine | None = None
    """The statement model's line: decides in other languages, refuses in English; None without its files."""

    def judge(self, sentence: str, sources: Sequence[str], language: str = "en") -> SupportVerdict:
        """Return how well sources support a sentence. A source that contains it word for word supports it. Blocks.

        `language` is that of the sentence and its sources.
        """
        plain = _plain(sentence)
        same = tuple(row for row, source in enumerate(sources) if plain and _plain(source) == plain)
        if same:
            return SupportVerdict(support=1.0, sources=same[:1])
        if not is_english(language):
            return SupportVerdict(support=0.0, sources=()) if self.read is None else self.read.judge(sentence, sources)
        features, nearest = support_features(sentence, sources)
        support = probability(float(self.line.of(features)))
        seen = dict(zip(SUPPORT, features.tolist(), strict=True))
        doubtful = seen["numbers"] or seen["denies"] or seen["opposed"] or len(set(terms(sentence))) < _CLAIM
        if support > _DOUBTFUL and (doubtful or (self.read is not None and self.read.refuse(sentence, sources))):
            support = _DOUBTFUL  # however alike the words are
        return SupportVerdict(support=support, sources=nearest)


def support_features(sentence: str, sources: Sequence[str]) -> tuple[np.ndarray, tuple[int, ...]]:
    """Return the features (len(SUPPORT),), and the numbers of the one or two nearest sources. English."""
    own = terms(sentence)
    words, couples = set(own), set(pairwise(own))
    seen = [set(terms(source)) for source in sources]
    if not words or not seen:
        return np.array([0.0, 0.0, 0.0, log(2), 0.0, 0.0, 0.0, 0.0]), ()
    words_told = {word for word in words if not word[0].isdigit()} - units(sentence)  # numbers are many sentences' own
    first = max(
        range(len(seen)), key=lambda row: (len(words_told & seen[row]), len(words & seen[row]), -len(seen[row]))
    )
    left = words - seen[first]
    second = max(range(len(seen)), key=lambda row: (len(left & seen[row]), -len(seen[row])))
    nearest = (first, second) if len(left & seen[second]) >= _BROUGHT else (first,)
    together = set().union(*(seen[row] for row in nearest))
    pairs = set().union(*(pairwise(terms(sources[row])) for row in nearest))
    clause = _about(words, sources[first])
    features = (
        len(words & seen[first]) / len(words),
        len(words & together) / len(words),
        len(couples & pairs) / max(len(couples), 1),
        log(1 + len(words - together)),
        log(1 + len(astray(sentence, [sources[row] for row in nearest]))),
        (count_negations(sentence, "en") - count_negations(clause, "en")) % 2,
        _opposes(sentence, sources[first]) or _narrowed(sentence, clause) or _mixed(words, sources[first]),
        log(1 + len(words)),
    )
    return np.array(features, dtype=float), nearest


def _plain(text: str) -> str:
    """Return a sentence without white space, its end, and the marks around it."""
    return " ".join(text.split()).strip(" .!;:*_-\u2022\"'\u201c\u201d").casefold()


def _about(words: set[str], source: str) -> str:
    """Return the clauses of a source that a sentence with these words is about."""
    clauses = _CLAUSE.split(source)
    own = [set(terms(clause)) for clause in clauses]
    most = max(len(words & words_) for words_ in own)
    is_about = [len(words & words_) == most or 2 * len(words & words_) >= len(words_) > 0 for words_ in own]
    return " ".join(clause for clause, about in zip(clauses, is_about, strict=True) if about)


def _narrowed(sentence: str, clause: str) -> bool:
    """Return whether only one of the two restricts: by "only", by whom it applies to ("under 4"), by where or how."""
    own, theirs = (set(re.findall(r"\w+", text.casefold())) for text in (sentence, clause))
    if _NARROWING.isdisjoint(own) is not _NARROWING.isdisjoint(theirs) or not limits(clause) <= numbers(sentence):
        return True
    words, order = set(terms(sentence)), terms(clause)
    return not _LEAVE.isdisjoint(own) and bool(order) and order[-1] not in words


def _mixed(words: set[str], source: str) -> bool:
    """Return whether a clause is told with words of another clause, in place of its number."""
    clauses = [(set(terms(clause)), numbers(clause)) for clause in source.split(";")]
    own, values = max(clauses, key=lambda clause: len(words & clause[0]))
    return bool(values) and not values & words and any(words & (other - own) for other, _ in clauses)


def _opposes(sentence: str, source: str) -> bool:
    """Return whether it has the opposite of a word of its source, or states about us what the source states of you."""
    own, theirs = (set(re.findall(r"\w+", text.casefold())) for text in (sentence, source))
    if any(_OTHER[word] in theirs and word not in theirs for word in own & _OTHER.keys() if _OTHER[word] not in own):
        return True
    mine, other = (set(_DOES.findall(text.casefold())) for text in (sentence, source))
    return any((_OF_YOU[who], does) in other and (who, does) not in other for who, does in mine)


# --- Words an answer from passages with a generative model, and checks each sentence against what the model saw.

INSTRUCTION = (
    "Answer the question from the passages above and from nothing else, in one to three short sentences, in the "
    "passages' own words where you can. If they do not answer it, write only: not stated."
)
_SILENT = re.compile(r"\W*not (?:stated|in the (?:documents|passages))\b", re.IGNORECASE)
_MARK = re.compile(r"\s*\[\d+(?:,\s*\d+)*\]")
_ASSENT = frozenset(terms("yes no correct right indeed"))
"""Words that say nothing by themselves: a model tends to affirm whatever it is asked."""
_FRAME = 40  # tokens of what frames passages and question


@dataclass(frozen=True, kw_only=True)
class Written:
    """What a model wrote from the passages."""

    reason: Reason
    sentences: tuple[str, ...] = ()
    """The sentences; none where there is no supported answer."""
    text: str = ""
    """The sentences, each followed by the numbers of its citations."""
    support: float = 0.0
    """The lowest support of a sentence."""
    citations: tuple[Citation, ...] = ()
    steps: tuple[Step, ...] = ()
    verdicts: tuple[Verdict, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AnswerWriter:
    """A model that words answers, and the check of what it writes."""

    name: str
    """Name of the specialist that it writes for."""
    engine: Engine
    support: Support
    least: float
    """Least support that each sentence needs."""
    window: int
    """Tokens of prompt and answer together."""
    instruction: str = INSTRUCTION
    max_tokens: int = 160

    async def write(
        self,
        task: Task,
        reading: AnswerReading,
        seen: SentenceSurvey,
        label: Label,
        label_without_pii: Label,
        *,
        call: CallContext,
    ) -> Written:
        """Return an answer of supported sentences, or the reason why there is none.

        Limits of its engine are such a reason.

        Args:
            task: The question.
            reading: How likely each sentence answers it.
            seen: The sentences.
            label: The label of the most sensitive among task and passages.
            label_without_pii: The same without personal data.
            call: The call on whose behalf the answer is written.
        """
        longest = min(task.max_tokens or self.max_tokens, self.max_tokens)
        shown = self._shown(reading, self.window - longest - estimate_tokens(task.text))
        if not shown:
            return Written(reason=Reason("answer.no_room"))
        try:
            prompt = replace(self._prompt(task, shown, longest), label=label, label_without_pii=label_without_pii)
            (output,) = await self.engine.run([prompt], call=call)
        except PolicyError as refusal:
            return Written(reason=Reason("answer.not_worded", why=refusal.verdict.reason), verdicts=(refusal.verdict,))
        except (EngineError, TooLong, Overloaded) as error:
            return Written(reason=Reason("answer.not_worded", why=error.reason))
        steps = (Step(producer=self.name, engine=self.engine.name, usage=output.usage),)
        verdicts = () if output.verdict is None else (output.verdict,)
        sources = [sentence for sentence in seen.sentences if any(sentence.passage is passage for passage in shown)]
        texts = [borne_by(source) for source in sources]
        language = language_of(" ".join(texts), task.language or "en")
        sentences = list(_sentences(output.text, language, cut=output.finish != "stop"))
        judged = await asyncio.to_thread(self._judged, task.text, sentences, texts, language)
        used = [
            sources[number] for number in dict.fromkeys(number for judgement in judged for number in judgement.sources)
        ]
        is_cited = any(sentence in reading.cited for sentence in used)
        if objection := self._objection(task.text, sentences, judged, language, supported=is_cited):
            return Written(reason=objection, steps=steps, verdicts=verdicts)
        citations = cite(used)
        marks = [_marks(citations, [sources[number] for number in judgement.sources]) for judgement in judged]
        return Written(
            reason=Reason("answer.worded", model=self.engine.name),
            sentences=tuple(sentences),
            text=" ".join(f"{sentence} {mark}" for sentence, mark in zip(sentences, marks, strict=True)),
            support=min(judgement.support for judgement in judged),
            citations=citations,
            steps=steps,
            verdicts=verdicts,
        )

    def _judged(
        self, question: str, sentences: Sequence[str], sources: Sequence[str], language: str
    ) -> list[SupportVerdict]:
        """What bears out each sentence."""
        return [self._judge(question, sentence, sources, language) for sentence in sentences]

    def _judge(self, question: str, sentence: str, sources: Sequence[str], language: str) -> SupportVerdict:
        """Return the support of a sentence; a bare value must be a value of what was asked."""
        verdict = self.support.judge(sentence, sources, language)
        if is_english(language) and value_astray(question, sentence, [sources[number] for number in verdict.sources]):
            return replace(verdict, support=0.0)
        return verdict

    def _objection(
        self,
        question: str,
        sentences: Sequence[str],
        judged: Sequence[SupportVerdict],
        language: str,
        *,
        supported: bool,
    ) -> Reason | None:
        """Why what was written is not said; None if it is.

        Args:
            question: What was asked.
            sentences: The sentences written.
            judged: What bears each out.
            language: Of what was written.
            supported: Whether one of them rests on a sentence that was found to answer.
        """
        model = self.engine.name
        if not sentences or _SILENT.match(sentences[0]):
            return Reason("answer.none_written", model=model)
        if len(set(sentences)) < len(sentences) or any(map(asks, sentences)):
            # A small model goes round in circles, or asks in its turn.
            return Reason("answer.no_answer_written", model=model, sentence=sentences[0])
        weakest = min(range(len(sentences)), key=lambda number: judged[number].support)
        if judged[weakest].support < self.least:
            return Reason(
                "answer.unsupported",
                model=model,
                sentence=sentences[weakest],
                support=judged[weakest].support,
                needed=self.least,
            )
        if not supported:
            return Reason("answer.other_sentences", model=model, sentence=sentences[0])
        denied = len(sentences) == 1 and count_negations(sentences[0], language) != count_negations(question, language)
        if not denied and not set(terms(" ".join(sentences), language)) - set(terms(question, language)) - _ASSENT:
            return Reason("answer.question_repeated", model=model, sentence=sentences[0])
        return None

    def _shown(self, reading: AnswerReading, room: int) -> list[Passage]:
        """Return the passages of the cited sentences, as many as fit: sentences from others would be dropped."""
        room -= estimate_tokens(self.instruction) + _FRAME
        shown: list[Passage] = []
        for passage in [sentence.passage for sentence in reading.cited]:
            if any(passage is sentence for sentence in shown):
                continue
            room -= estimate_tokens(passage.text) + estimate_tokens(_title(passage)) + 8
            if room < 0:
                break
            shown.append(passage)
        return shown

    def _prompt(self, task: Task, shown: Sequence[Passage], longest: int) -> Prompt:
        context = "\n\n".join(
            f"[{number}] {_title(passage)}\n{passage.text.strip()}" for number, passage in enumerate(shown, start=1)
        )
        question_text = f"{self.instruction}\n\nQuestion: {task.text.strip()}"
        messages = (Message(role="system", text=f"Passages:\n\n{context}"), Message(role="user", text=question_text))
        return Prompt(messages=messages, max_tokens=longest)


def _title(passage: Passage) -> str:
    return f"{passage.document}: {passage.heading}" if passage.heading else passage.document


def _sentences(text: str, language: str, *, cut: bool) -> Iterator[str]:
    """Yield the model's text sentence by sentence, without its own marks; an unfinished sentence is dropped."""
    sentences = [
        stripped for sentence in split_sentences(text, language) if (stripped := _MARK.sub("", sentence).strip())
    ]
    sentences = sentences[:-1] if cut and len(sentences) > 1 else sentences
    yield from (sentence for sentence in sentences if not sentence.endswith(":"))  # "The answer is:" says nothing


def _marks(citations: Sequence[Citation], sources: Sequence[Sentence]) -> str:
    """Return the numbers of the citations that contain some sentences."""
    numbers = [
        number
        for number, citation in enumerate(citations, start=1)
        if any(
            citation.document == source.passage.document
            and citation.start <= source.start
            and source.end <= citation.end
            for source in sources
        )
    ]
    return "".join(f"[{number}]" for number in numbers)
