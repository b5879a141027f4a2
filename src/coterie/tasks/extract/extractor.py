"""Extracts field values from a text: ranks sentences, reads the likeliest, weighs the candidates found there.

A generative model may read instead. It sees the likeliest sentences and answers with an object of all fields: for each
null, a quote, or a list of quotes. A grammar restricts it to words that occur in the text in this order, so that every
quote has its place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from coterie.engines.linear import stored_array
from coterie.errors import TooLong
from coterie.learning.calibration import expit, softmax
from coterie.protocols import Engine
from coterie.runtime.codec import from_json, to_json
from coterie.tasks.extract.tagging import (
    EVIDENCE,
    CandidateSpan,
    Ranker,
    ReadTags,
    TaggedDocument,
    Tagger,
    TextRange,
    TokenizedText,
    best_rows,
    lead_of,
    log_odds,
    lowest,
    passages,
    rows_to_read,
)
from coterie.text.segmentation import plain
from coterie.text.values import MANY, TEXT, TypedValue, find_values, normalise_value
from coterie.types import CallContext, Label, Message, Prompt, Scalar, Usage

_SPACE = re.compile(r"\s+")
_MOST = 20
"""Most quotes of one field."""
_SLOTS = 12
"""Ranks of a sentence that are tried, best of all fields first, until enough is shown to the model."""

Floats = np.ndarray


class Unit(NamedTuple):
    """A word or sign that a quote may consist of."""

    place: TextRange
    text: str
    glue: str | None
    """Text before the next unit in a quote that continues; None if it cannot continue."""


class Quote(NamedTuple):
    """Words that a model quoted."""

    text: str
    logprob: float


class Said(NamedTuple):
    """A model's answer about one field."""

    quotes: tuple[Quote, ...]
    """The quotes; none if the field is not stated."""
    logprob: float
    """Log-probability of the whole answer about the field."""
    first: float
    """Log-probability of the first token: whether there is anything to quote."""


@dataclass(frozen=True, kw_only=True)
class Quoting:
    """The settings for asking a model for quotes; stored with the version under `quote`."""

    fields: tuple[str, ...]
    many: tuple[bool, ...]
    """For each field, whether it may have several values."""
    shown: int = 1_600
    """Characters of the text that the model sees."""

    def __post_init__(self) -> None:
        if len(self.fields) != len(self.many) or self.shown < 1:
            raise ValueError("it does not say what is asked of its model")

    def show(self, document: TokenizedText, scores: Floats, *, most: float | None = None) -> list[TextRange]:
        """Return the likeliest sentences of all fields, neighbours together, in the text's order.

        Args:
            document: The text.
            scores: (S, F) log-odds of each sentence.
            most: Most characters, where a model's window is too small for the usual number.
        """
        ranked = [best_rows(column, _SLOTS) for column in scores.T]
        turns = (row[rank] for rank in range(_SLOTS) for row in ranked if rank < len(row))
        taken: set[int] = set()
        left = self.shown if most is None else most
        for row in turns:
            size = document.sentences[row].end - document.sentences[row].start
            if row in taken or (taken and size > left):
                continue
            taken.add(row)
            left -= size
        return passages(document, sorted(taken))

    def prompt(self, document: TokenizedText, places: Sequence[TextRange]) -> str:
        """Return the model's prompt: a line per place."""
        return "\n".join(_SPACE.sub(" ", document.text[sentence.start : sentence.end]) for sentence in places)

    def grammar(self, document: TokenizedText, places: Sequence[TextRange]) -> str:
        """Return a GBNF grammar of all answers that quote the text shown and nothing else."""
        units = list(_units(document, places))
        words = [f"w{number} ::= {_rule(unit, number)}" for number, unit in enumerate(units)]
        starts = " | ".join(f"w{number}" for number in range(len(units))) or '""'
        members = [
            f"{_literal(('{' if not number else ', ') + json.dumps(name, ensure_ascii=False) + ': ')} {kind}"
            for number, (name, kind) in enumerate(zip(self.fields, map(_kind, self.many), strict=True))
        ]
        return "\n".join(
            [
                f"root ::= {' '.join(members)} {_literal('}')}",
                f"one ::= {_literal('null')} | text",
                f"several ::= {_literal('null')} | {_literal('[')} text more{{0,{_MOST - 1}}} {_literal(']')}",
                f"more ::= {_literal(', ')} text",
                f"text ::= {_literal(chr(34))} quote {_literal(chr(34))}",
                f"quote ::= {starts}",
                *words,
            ]
        )

    def answer(self, quotes: Sequence[Sequence[str]]) -> str:
        """Return the model's right answer, for the quotes of each field."""
        answers: dict[str, object] = {}
        for name, many, own in zip(self.fields, self.many, quotes, strict=True):
            flat = [_SPACE.sub(" ", quote) for quote in own]
            answers[name] = (flat if many else flat[0]) if flat else None
        return json.dumps(answers, ensure_ascii=False)

    def read(self, answer: str, logprobs: Sequence[tuple[str, float]]) -> list[Said | None]:
        """Return an answer's content for each field; None for the fields that the answer did not reach.

        Args:
            answer: The model's answer.
            logprobs: Its pieces with their log-probabilities.
        """
        quotes: list[Said | None] = []
        at = 0
        for name in self.fields:
            key = f"{json.dumps(name, ensure_ascii=False)}: "
            begin = answer.find(key, at)
            value, end = _decoded(answer, begin + len(key)) if begin >= 0 else (None, -1)
            if end < 0:
                quotes.append(None)
                continue
            at = begin + len(key)
            own = list(_between(logprobs, at, end))
            texts = [value] if isinstance(value, str) else value or []
            quotes.append(Said(tuple(_quotes(answer, at, texts, logprobs)), sum(own), own[0] if own else 0.0))
            at = end
        return quotes


def quoted(
    document: TokenizedText, places: Sequence[TextRange], quotes: Said | None, scores: Floats
) -> list[CandidateSpan]:
    """Return the spans that an answer quotes, each in the likeliest sentence, with evidence like a tagger's.

    Where it quotes nothing, the likeliest sentence stands for a value that the model does not see.

    Args:
        document: The text.
        places: The places that the model saw.
        quotes: Its answer about a field.
        scores: (S,) log-odds of each sentence for the field.
    """
    lead = lead_of(scores)
    if quotes is None or not quotes.quotes:
        row = best_rows(scores, 1)[0]
        sure = (0.0, 0.0) if quotes is None else (-log_odds(np.exp(quotes.logprob)), -log_odds(np.exp(quotes.first)))
        return [CandidateSpan(*document.sentences[row], (*sure, lowest(scores[row]), lead, 0.0))]
    spans = []
    for quote, logprob in dict(quotes.quotes).items():
        spots = list(_spots(document, places, quote))
        if not spots:
            continue
        rows = [_row_of(document, spot) for spot in spots]
        best = int(np.argmax([scores[row] for row in rows]))
        evidence = (
            log_odds(np.exp(logprob)),
            log_odds(np.exp(quotes.first)),
            lowest(scores[rows[best]]),
            lead,
            float(np.log1p(len(quote.split()) - 1)),
        )
        spans.append(CandidateSpan(*spots[best], evidence))
    return spans


def _units(document: TokenizedText, places: Sequence[TextRange]) -> Iterator[Unit]:
    for span in places:
        words = document.words(span)
        for word, after in zip(words, [*words[1:], None], strict=True):
            text = document.text[word.start : word.end]
            glue = None if after is None else (" " if after.start > word.end else "")
            yield Unit(word, text, glue)


def _rule(unit: Unit, number: int) -> str:
    own = _literal(json.dumps(unit.text, ensure_ascii=False)[1:-1])
    if unit.glue is None:
        return own
    follow = f"w{number + 1}" if not unit.glue else f"{_literal(unit.glue)} w{number + 1}"
    return f"{own} ( {follow} )?"


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _kind(many: bool) -> str:  # noqa: FBT001 - an entry of `many`
    return "several" if many else "one"


def _decoded(answer: str, at: int) -> tuple[Any, int]:
    """Return the JSON value that begins at a position and its end; -1 if it does not end."""
    try:
        value, end = json.JSONDecoder().raw_decode(answer, at)
    except ValueError:
        return None, -1
    usable = (
        value is None
        or isinstance(value, str)
        or (isinstance(value, list) and all(isinstance(item, str) for item in value))
    )
    return (value, end) if usable else (None, -1)


def _quotes(answer: str, at: int, texts: Sequence[str], logprobs: Sequence[tuple[str, float]]) -> Iterator[Quote]:
    for text in texts:
        written = json.dumps(text, ensure_ascii=False)
        begin = answer.index(written, at)
        at = begin + len(written)
        yield Quote(text, sum(_between(logprobs, begin + 1, at)))


def _between(logprobs: Sequence[tuple[str, float]], begin: int, end: int) -> Iterator[float]:
    """Yield log-probabilities of the pieces that begin in a part of the answer, or run into it."""
    at = 0
    for piece, logprob in logprobs:
        if at < end and at + len(piece) > begin:
            yield logprob
        at += len(piece)


def _spots(document: TokenizedText, places: Sequence[TextRange], quote: str) -> Iterator[TextRange]:
    """Yield where a quote occurs in the text shown, whatever white space is between its words."""
    pattern = re.compile(r"\s+".join(map(re.escape, quote.split())))
    for span in places:
        for match in pattern.finditer(document.text, span.start, span.end):
            if match[0]:
                yield TextRange(*match.span())


def _row_of(document: TokenizedText, spot: TextRange) -> int:
    """Return the number of the sentence in which a span begins."""
    starts = [sentence.start for sentence in document.sentences]
    return int(np.searchsorted(starts, spot.start, side="right")) - 1


# --- A tuned small model that is asked for quotes from the likeliest sentences of a text.

_LESS = 0.6
"""Share of the shown text that is kept in the next attempt where it does not fit the model's window."""
_LONGEST = 512
"""Most tokens of an answer."""


class Quoted(NamedTuple):
    """A model's answer, and the sentences that it saw."""

    places: list[TextRange]
    said: list[Said | None]
    usage: Usage
    truncated: bool
    """Whether the model saw less text than it should, or did not finish."""


@dataclass(frozen=True, kw_only=True)
class QuotingModel:
    """An engine with an adapter that answers with quotes; one request covers all fields of a text."""

    engine: Engine
    adapter: str | None
    quoting: Quoting

    @property
    def name(self) -> str:
        """The engine's name."""
        return self.engine.name

    async def ask(self, document: TokenizedText, scores: np.ndarray, label: Label, call: CallContext) -> Quoted:
        """Return the model's quotes from a text.

        Args:
            document: The text.
            scores: (S, F) log-odds of each sentence for each field.
            label: Sensitivity of the text.
            call: The call on whose behalf the model is asked.

        Raises:
            TooLong: not even one sentence fits its window.
        """
        most: float | None = None
        while True:
            places = self.quoting.show(document, scores, most=most)
            try:
                (output,) = await self.engine.run([self._prompt(document, places, label)], call=call)
            except TooLong:
                shown = sum(span.end - span.start for span in places)
                if most is not None and shown > most:  # it is one sentence already
                    raise
                most = shown * _LESS
            else:
                quotes = self.quoting.read(output.text, output.logprobs)
                return Quoted(places, quotes, output.usage, most is not None or output.finish == "length")

    def _prompt(self, document: TokenizedText, places: Sequence[TextRange], label: Label) -> Prompt:
        return Prompt(
            messages=(Message(role="user", text=self.quoting.prompt(document, places)),),
            grammar=self.quoting.grammar(document, places),
            adapter=self.adapter,
            max_tokens=_LONGEST,
            label=label,
            logprobs=True,
        )


# --- Which of several values in a quote is the field's: `renewed for one (1) year unless ... thirty (30) days` has
# two.

_WORD = re.compile(r"\w+|[^\w\s]")
_NEAR = 4
_WIDE = 160  # characters around a value in which its neighbours are looked for

BIAS = "bias"


class QuoteOption(NamedTuple):
    """A value in a quote and the chooser's features of it."""

    value: Scalar
    features: list[str]


def options(kind: str, quote: str, language: str | None = None) -> list[QuoteOption]:
    """Return the typed values of a quote in its language, in its order."""
    values = find_values(kind, quote, language)
    return [
        QuoteOption(value.value, _features(value, number, len(values), quote)) for number, value in enumerate(values)
    ]


def choose(kind: str, quote: str, weights: Mapping[str, float], language: str | None = None) -> Scalar:
    """Return the value of the highest log-odds; None if even that is unlikely to be meant, or there is none."""
    scored = [
        (sum(weights.get(name, 0.0) for name in option.features), option.value)
        for option in options(kind, quote, language)
    ]
    best = max(scored, key=lambda option: option[0], default=(-1.0, None))
    return best[1] if best[0] >= 0 else None


def _features(value: TypedValue, number: int, count: int, quote: str) -> list[str]:
    before = [word.lower() for word in _WORD.findall(quote[max(0, value.start - _WIDE) : value.start])][-_NEAR:]
    after = [word.lower() for word in _WORD.findall(quote[value.end : value.end + _WIDE])][:_NEAR]
    position = f"n={min(number, 3)}/{min(count, 4)}"
    return [
        BIAS,
        position,
        *(f"<{word}" for word in before),
        *(f">{word}" for word in after),
        f"<<{' '.join(before[-2:])}",
        f">>{' '.join(after[:2])}",
    ]


# --- A field: what is looked for, and which value a quote states.


@dataclass(frozen=True, kw_only=True)
class FieldModel:
    """A field to look for, and how a quote of it is read."""

    name: str
    type: str
    choices: tuple[str, ...] = ()
    """The values of a `choice` in the training data, the most frequent first."""
    chooser: Mapping[str, float] | None = None
    """For a typed field, weights of the context of the intended value. None takes the first value in the quote."""
    telling: Mapping[str, str] | None = None
    """For a `choice` that quotes need not name: words that the training data have in quotes of one value only."""

    @property
    def many(self) -> bool:
        """Whether there may be several values."""
        return self.type.endswith(MANY)

    @property
    def typed(self) -> bool:
        """Whether the field has values beside quotes."""
        return self.type.removesuffix(MANY) != TEXT

    def value(self, quote: str, language: str | None = None) -> Scalar:
        """Return the value that a quote states in its language."""
        if self.chooser is not None:
            return choose(self.type.removesuffix(MANY), quote, self.chooser, language)
        value = normalise_value(self.type, quote, self.choices, language=language)
        if value is None and self.telling:
            values = {self.telling[word] for word in words_of(quote) if word in self.telling}
            return values.pop() if len(values) == 1 else None
        return value


def words_of(quote: str) -> set[str]:
    """Return the words of a quote, as `FieldModel.telling` has them."""
    return set(_QUOTE_WORD.findall(plain(quote)))


_QUOTE_WORD = re.compile(r"\w+")


# --- What is said of a field, and what speaks for and against it.

NOT_STATED = (None, None)
SIGNS = ("chance", "contrary", "rival", "no value", "agreement", "lead", "candidates")
"""Signs for or against a statement.

- `chance`: log-odds of the statement, by the weigher
- `contrary`: chance of the opposite, that the field is not stated or that its best candidate is right
- `rival`: chance of the best other candidate
- `no value`: 1 where the field has a type and the quote has no value of it
- `agreement`: chances of the other candidates that say the same, added up
- `lead`: how far the likeliest sentence is ahead of the next
- `candidates`: logarithm of their number

Chances that may be near zero are not used as log-odds: the rarity of an outcome that texts hardly have says nothing.
"""


class Statement(NamedTuple):
    """A value of a field, or that it is not stated, without a confidence."""

    start: int | None
    end: int | None
    signs: tuple[float, ...]
    """The values of `SIGNS`; none where there was nothing to weigh."""

    @property
    def stated(self) -> bool:
        """Whether it is a value."""
        return self.start is not None


class Signs(NamedTuple):
    """The signs of each candidate of a field."""

    candidates: Sequence[CandidateSpan]
    chances: Floats  # (C, 3)
    says: Sequence[Scalar]
    """For each candidate its value, else the words of its quote."""
    typed: Sequence[bool]
    """For each candidate whether it has a value where the field has a type."""

    @classmethod
    def of(
        cls, field: FieldModel, candidates: Sequence[CandidateSpan], chances: Floats, document: TokenizedText
    ) -> Signs:
        """Return the signs of a field's candidates in a text."""
        text, language = document.text, document.spoken
        quotes = [text[candidate.start : candidate.end] for candidate in candidates]
        values = [field.value(quote, language) if field.typed else None for quote in quotes]
        words = [plain(quote) for quote in quotes]
        says = [word if value is None else value for word, value in zip(words, values, strict=True)]
        return cls(candidates, chances, says, [not field.typed or value is not None for value in values])

    def stated(self, k: int) -> Statement:
        """Return the statement that this candidate is the value."""
        return self._statement(k, Statement(self.candidates[k].start, self.candidates[k].end, ()))

    def not_stated(self, best: int) -> Statement:
        """Return the statement that there is no value, where this candidate would be the best."""
        return self._statement(best, Statement(*NOT_STATED, ()))

    def _statement(self, k: int, statement: Statement) -> Statement:
        right, missing = self.chances[:, 0], self.chances[:, 1]
        others = [other for other in range(len(right)) if other != k]
        chance, contrary = (right[k], missing[k]) if statement.stated else (missing[k], right[k])
        alike = sum(float(right[other]) for other in others if self.says[other] == self.says[k])
        signs = (
            log_odds(chance),
            float(contrary),
            float(max((right[other] for other in others), default=0.0)),
            float(statement.stated and not self.typed[k]),
            alike if statement.stated else 0.0,
            self.candidates[k].evidence[EVIDENCE.index("lead")],
            float(np.log(len(right))),
        )
        return statement._replace(signs=signs)


# --- How sure to be of what is said of a field.


class FieldStatement(NamedTuple):
    """One value of a field, or that it is not stated."""

    start: int | None
    end: int | None
    confidence: float
    """Calibrated probability that the statement is right."""


@dataclass(frozen=True, kw_only=True)
class Calibrator:
    """Logistic regressions from the signs of a statement to its correctness: one per field and kind of statement."""

    weights: Floats  # (F, 2, S), of `not stated` and of a value
    bias: Floats  # (F, 2)

    @classmethod
    def straight(cls, fields: int) -> Calibrator:
        """Return a calibrator that leaves the weigher's probabilities unchanged."""
        weights = np.zeros((fields, 2, len(SIGNS)))
        weights[:, :, 0] = 1.0
        return cls(weights=weights, bias=np.zeros((fields, 2)))

    def believe(self, number: int, statement: Statement) -> FieldStatement:
        """Return a statement about a field with its confidence, which is 1 where there was nothing to weigh."""
        if not statement.signs:
            return FieldStatement(statement.start, statement.end, 1.0)
        kind = int(statement.stated)
        logit = self.weights[number, kind] @ np.array(statement.signs) + self.bias[number, kind]
        return FieldStatement(statement.start, statement.end, float(expit(logit)))

    def store(self) -> dict[str, Floats]:
        """Return the arrays that restore it."""
        return {"calibrate.weights": self.weights, "calibrate.bias": self.bias}

    @classmethod
    def restore(cls, arrays: Mapping[str, Floats], fields: int) -> Calibrator:
        """Restore the result of `store`. Raises `ValueError` if the parts do not fit each other."""
        return cls(
            weights=stored_array(arrays, "calibrate.weights", fields, 2, len(SIGNS)),
            bias=stored_array(arrays, "calibrate.bias", fields, 2),
        )


OUTCOMES = ("right", "not stated", "wrong")
"""Possible outcomes of a candidate: it is right, the field is not stated, or the field has another value."""
ENCODED = 8
"""Sentences per field whose encodings are requested."""


@dataclass(frozen=True, kw_only=True)
class Weigher:
    """Multinomial logistic regression from a candidate's evidence to the three outcomes, one per field."""

    center: Floats  # (F, E)
    scale: Floats  # (F, E)
    weights: Floats  # (F, E, 3)
    bias: Floats  # (F, 3)
    least: Floats  # (F,)
    """For a field of several values, the probability from which a candidate is one of them."""

    def weigh(self, number: int, evidence: Sequence[Sequence[float]]) -> Floats:  # (C, E) -> (C, 3)
        """Return the probabilities of `OUTCOMES` for each candidate of a field."""
        unit = (np.array(evidence).reshape(-1, len(EVIDENCE)) - self.center[number]) / self.scale[number]
        return softmax(unit @ self.weights[number] + self.bias[number])

    def decide(
        self, number: int, field: FieldModel, candidates: Sequence[CandidateSpan], document: TokenizedText
    ) -> list[Statement]:
        """Return the statements of a field from its candidates: at least one, in the text's order."""
        if not candidates:
            return [Statement(*NOT_STATED, ())]
        chances = self.weigh(number, [candidate.evidence for candidate in candidates])
        signs = Signs.of(field, candidates, chances, document)
        right, missing = chances[:, 0], chances[:, 1]
        best = int(right.argmax())
        if field.many:
            kept = np.flatnonzero(right >= self.least[number])
            if len(kept):
                places = sorted(kept.tolist(), key=lambda k: candidates[k].start)
                return [signs.stated(k) for k in places]
        elif right[best] >= missing[best]:
            return [signs.stated(best)]
        return [signs.not_stated(best)]

    def store(self) -> dict[str, Floats]:
        """Return the arrays that restore it."""
        return {f"weigh.{name}": value for name, value in vars(self).items()}

    @classmethod
    def restore(cls, arrays: Mapping[str, Floats], fields: int) -> Weigher:
        """Restore the result of `store`. Raises `ValueError` if the parts do not fit each other."""
        wide = len(EVIDENCE)
        scale = stored_array(arrays, "weigh.scale", fields, wide)
        if not (scale > 0).all():
            raise ValueError("a scale of evidence is not above 0")
        return cls(
            center=stored_array(arrays, "weigh.center", fields, wide),
            scale=scale,
            weights=stored_array(arrays, "weigh.weights", fields, wide, len(OUTCOMES)),
            bias=stored_array(arrays, "weigh.bias", fields, len(OUTCOMES)),
            least=stored_array(arrays, "weigh.least", fields),
        )


class DocumentSurvey(NamedTuple):
    """A document after the first look at it."""

    document: TokenizedText
    scores: Floats  # (S, F)
    shortlist: list[int]
    """Sentences whose encodings the second look needs; none where it needs none."""
    places: list[TextRange]
    """The texts for an encoder: the shortlisted sentences, or the passages that are read."""

    @property
    def texts(self) -> list[str]:
        """The texts of the places."""
        return [self.document.text[span.start : span.end] for span in self.places]


@dataclass(frozen=True, kw_only=True)
class FieldExtractor:
    """Reads texts for a fixed list of fields. Blocking, and safe to call from several threads."""

    fields: tuple[FieldModel, ...]
    ranker: Ranker
    tagger: Tagger | None
    weigher: Weigher
    calibrator: Calibrator
    quoting: Quoting | None = None
    """Replaces the tagger where a generative model reads."""

    @property
    def second_look(self) -> bool:
        """Whether it ranks again, with the encodings of likely sentences."""
        return self.ranker.vectors is not None

    @property
    def tagged(self) -> bool:
        """Whether it reads with an encoder's tags of passages."""
        return self.tagger is not None and self.tagger.odds_weights is not None

    def survey(self, text: str, language: str | None = None) -> DocumentSurvey:
        """Cut a text into sentences and score each for each field; the language is detected where it is None."""
        document = TokenizedText(text, language or "")
        scores = self.ranker.scores(document)
        if self.quoting is not None:
            return DocumentSurvey(document, scores, [], self.quoting.show(document, scores))
        if self.tagged:
            return DocumentSurvey(document, scores, [], passages(document, rows_to_read(scores)))
        rows = shortlist(scores) if self.second_look else []
        return DocumentSurvey(document, scores, rows, [document.sentences[row] for row in rows])

    def read(
        self,
        survey: DocumentSurvey,
        vectors: Floats | None = None,
        tags: ReadTags | None = None,
        quotes: Sequence[Said | None] | None = None,
    ) -> list[list[FieldStatement]]:
        """Return the statements of each field.

        Args:
            survey: The survey of the text.
            vectors: (K, D) encodings of the shortlisted sentences, where the ranker uses them.
            tags: Tags of the passages, where the tagger uses them.
            quotes: A generative model's quotes for each field, where one reads.
        """
        if not survey.document.sentences:
            return [[FieldStatement(*NOT_STATED, 1.0)] for _ in self.fields]
        scores, reading = second_look(self.ranker, survey, vectors), TaggedDocument(survey.document, tags)
        statements = []
        for number, field in enumerate(self.fields):
            if self.tagger is not None:
                candidates = self.tagger.candidates(reading, number, scores[:, number])
            else:
                own = quotes[number] if quotes else None
                candidates = quoted(survey.document, survey.places, own, scores[:, number])
            said_of_it = self.weigher.decide(number, field, candidates, survey.document)
            statements.append([self.calibrator.believe(number, statement) for statement in said_of_it])
        return statements

    def store(self) -> tuple[dict[str, object], dict[str, Floats]]:
        """Return the JSON description and the arrays that restore it."""
        ranking, rank_arrays = self.ranker.store()
        tagging, tag_arrays = self.tagger.store() if self.tagger else (None, {})
        described: dict[str, object] = {
            "fields": to_json(self.fields),
            "rank": ranking,
            "tag": tagging,
            "quote": to_json(self.quoting),
        }
        return described, rank_arrays | tag_arrays | self.weigher.store() | self.calibrator.store()

    @classmethod
    def restore(cls, described: Mapping[str, Any], arrays: Mapping[str, Floats]) -> FieldExtractor:
        """Restore the result of `store`. Raises `ValueError`, `KeyError` or `TypeError` if it is invalid."""
        fields = from_json(tuple[FieldModel, ...], described["fields"])
        if not fields:
            raise ValueError("it looks for no field")
        tagging, quoting = described["tag"], described.get("quote")
        if (tagging is None) is (quoting is None):
            raise ValueError("it must read with either a tagger or a model")
        return cls(
            fields=fields,
            ranker=Ranker.restore(described["rank"], arrays, len(fields)),
            tagger=None if tagging is None else Tagger.restore(tagging, arrays, len(fields)),
            weigher=Weigher.restore(arrays, len(fields)),
            calibrator=Calibrator.restore(arrays, len(fields)),
            quoting=None if quoting is None else from_json(Quoting, quoting),
        )


def shortlist(scores: Floats) -> list[int]:  # (S, F)
    """Return numbers of the sentences that are likeliest for any field, in the text's order."""
    return sorted({row for column in scores.T for row in best_rows(column, ENCODED)})


def second_look(ranker: Ranker, survey: DocumentSurvey, vectors: Floats | None) -> Floats:  # (S, F)
    """Return scores with the encodings of the shortlisted sentences; the scores of the others stay."""
    if vectors is None or ranker.vectors is None:
        return survey.scores
    looked = np.full_like(survey.scores, -np.inf)
    looked[survey.shortlist] = ranker.with_vectors(survey.scores[survey.shortlist], vectors)
    return looked
