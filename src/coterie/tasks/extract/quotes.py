"""Shows a generative model parts of a long text, restricts its answer to quotes, and parses the answer.

The model sees the likeliest sentences and answers with an object of all fields: for each null, a quote, or a list of
quotes. A grammar restricts it to words that occur in the text in this order, so that every quote has its place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from coterie.errors import TooLong
from coterie.protocols import Engine
from coterie.tasks.extract.ranking import TextRange, TokenizedText, best_rows
from coterie.tasks.extract.tagging import CandidateSpan, lead_of, log_odds, lowest, passages
from coterie.types import CallContext, Label, Message, Prompt, Usage

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
