"""The extractive answer: the sentences of the passages that answer a question, or that none does.

It writes nothing of its own: what it gives is quoted. It knows no engine: whoever calls it encodes what `survey` asks
for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from coterie.tasks.answer.features import ENCODED, LEXICAL, encoded_features, lexical_features
from coterie.tasks.answer.scoring import (
    KNOWN,
    OUTCOME,
    SAME,
    AnswerScorer,
    ExpertGate,
    Experts,
    cited_rows,
    in_own_words,
    mix_kinds,
    outcome_features,
    probability,
)
from coterie.tasks.answer.sentences import Sentence, cut_passages, flat
from coterie.text.language import language_of
from coterie.types import Citation, Passage

MOST_SENTENCES = 96
"""Sentences that are encoded and compared, of all passages together."""
MOST_CITED = 3
"""Sentences cited at most."""

Floats = np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class SentenceSurvey:
    """The sentences to look at, and what words say of them."""

    question: str
    sentences: tuple[Sentence, ...]
    words: Floats  # (S, len(LEXICAL))

    @property
    def ranks(self) -> list[int]:
        """The place of each sentence's passage among those found."""
        return [each.rank for each in self.sentences]

    @property
    def starts(self) -> Floats:  # (S,)
        """Where each begins in its document, in characters."""
        return np.array([each.start for each in self.sentences])

    @property
    def texts(self) -> list[str]:
        """What is to be encoded: the sentences, in order."""
        return [each.said for each in self.sentences]

    def take(self, rows: Floats) -> SentenceSurvey:
        """Some of the sentences, by their places (K,)."""
        return SentenceSurvey(
            question=self.question, sentences=tuple(self.sentences[row] for row in rows), words=self.words[rows]
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class AnswerReading:
    """What was found."""

    cited: tuple[Sentence, ...]
    """The sentences that answer if any do, the best one first."""
    right: float
    """Calibrated probability that the best one answers."""
    stated: float
    """Calibrated probability that the documents answer at all."""
    scores: Floats  # (S,)
    """Log-odds of every sentence."""
    outcome: Floats  # (len(OUTCOME),)
    known: float
    """How familiar the question is, 0 to 1."""

    @property
    def again(self) -> bool:
        """Whether it was asked in the very words of a question that training has seen."""
        return bool(self.outcome[_NEAREST] >= SAME)


def survey(question: str, passages: Sequence[Passage], language: str | None = None) -> SentenceSurvey:
    """Cut passages, the best first, and look at the words of every sentence; only its neighbours see a label.

    `language` is the question's; None has it found out.
    """
    sentences = cut_passages(passages)
    words = lexical_features(question, sentences, language or language_of(question, "en"))
    whole = SentenceSurvey(question=question, sentences=tuple(sentences), words=words)
    return whole.take(np.flatnonzero([not each.label for each in sentences]))


def likely_rows(words: Floats, expected: Floats | None = None) -> Floats:
    """The places (K,) of the `MOST_SENTENCES` sentences that are worth a closer look, in order.

    Args:
        words: (S, len(LEXICAL)) what words say of each: those that share nothing with the question go first.
        expected: (S,) how much each looks like what answered such questions before. Half of those that are kept are
            then the best by that: an answer need not share a word with its question.
    """
    order = np.argsort(-(words[:, _NEAR] + words[:, _RANK]), kind="stable")
    if len(order) <= MOST_SENTENCES:
        return np.arange(len(order))
    first = order[:0] if expected is None else np.argsort(-expected, kind="stable")[: MOST_SENTENCES // 2]
    rest = order[~np.isin(order, first)][: MOST_SENTENCES - len(first)]
    return np.sort(np.concatenate([first, rest]))


_NEAREST = OUTCOME.index("nearest")
_NEAR, _RANK = LEXICAL.index("covered_near"), LEXICAL.index("rank")


@dataclass(frozen=True, kw_only=True, eq=False)
class AnswerReader:
    """Finds and weighs. Of familiar questions it knows what answered them before; of others what answers in general."""

    plain: AnswerScorer
    familiar: AnswerScorer | None = None
    """Set together with `experts`."""
    experts: Experts | None = None

    def columns(self, seen: SentenceSurvey, question: Floats | None, vectors: Floats | None) -> dict[str, Floats]:
        """Every feature of each sentence but what the experts say, (S,) each.

        Raises:
            ValueError: it wants encodings and was given none.
        """
        found = dict(zip(LEXICAL, seen.words.T, strict=True))
        if self.encodes:
            if question is None or vectors is None:
                raise ValueError("this reader needs encodings")
            encoded = encoded_features(seen.ranks, vectors @ question)
            found |= dict(zip(ENCODED, encoded.T, strict=True))
        return found

    @property
    def encodes(self) -> bool:
        """Whether it wants encodings."""
        return ENCODED[0] in self.plain.sentence.names

    def narrow(self, seen: SentenceSurvey, question: Floats | None = None) -> SentenceSurvey:  # question (D,)
        """What is worth being encoded and read, by words alone: see `likely_rows`."""
        if len(seen.sentences) <= MOST_SENTENCES:
            return seen
        expected = None
        if self.experts is not None and question is not None:
            gate = self.experts.gate(question)
            if gate.familiar > 0.0:
                expected = self.experts.by_words(gate.shares, seen.texts)
                expected += self.experts.by_place(gate.shares, seen.starts)
        return seen.take(likely_rows(seen.words, expected))

    def read(
        self, seen: SentenceSurvey, question: Floats | None = None, vectors: Floats | None = None
    ) -> AnswerReading | None:
        """The sentences that answer; None where there is nothing to look at.

        Args:
            seen: What `survey` gave.
            question: (D,) the question's encoding, for a reader that encodes.
            vectors: (S, D) the sentences' encodings, likewise.
        """
        if not seen.sentences:
            return None
        columns = self.columns(seen, question, vectors)
        reading = weigh(self.plain, columns, seen.sentences)
        if self.experts is None or self.familiar is None or question is None or vectors is None:
            return reading
        gate = self.experts.gate(question)
        if gate.familiar == 0.0:
            return reading
        experts, texts, starts = self.experts, seen.texts, seen.starts
        columns |= dict(zip(KNOWN, experts.scores(gate.shares, texts, starts, vectors).T, strict=True))
        usual = float(gate.shares @ experts.usual)
        asked = KnownQuestion(gate, lambda row: experts.by_kind(texts[row], int(starts[row]), vectors[row]), usual)
        return _between(reading, weigh(self.familiar, columns, seen.sentences, asked), gate.familiar)

    def store(self) -> tuple[dict[str, object], dict[str, Floats]]:
        """The JSON description and the arrays that restore it."""
        described: dict[str, object] = {"plain": self.plain.describe()}
        if self.experts is None or self.familiar is None:
            return described, {}
        about, arrays = self.experts.store()
        return described | {"familiar": self.familiar.describe(), "experts": about}, arrays

    @classmethod
    def restore(cls, description: Mapping[str, Any], arrays: Mapping[str, Floats]) -> AnswerReader:
        """What `store` was asked of. Raises `LookupError`, `TypeError` or `ValueError` if it is none."""
        if "experts" not in description:
            return cls(plain=AnswerScorer.restore(description["plain"]))
        return cls(
            plain=AnswerScorer.restore(description["plain"]),
            familiar=AnswerScorer.restore(description["familiar"]),
            experts=Experts.restore(description["experts"], arrays),
        )


class KnownQuestion(NamedTuple):
    """What is known of a question from those that training has seen."""

    gate: ExpertGate
    by_kind: Callable[[int], Floats]
    """By the row of a sentence what the expert of each kind says of it (len(KNOWN), K)."""
    usual: float = 0.0
    """See `Experts.usual`, of the kinds that the question may be of."""


def weigh(
    scorer: AnswerScorer,
    columns: Mapping[str, Floats],
    sentences: Sequence[Sentence],
    asked: KnownQuestion | None = None,
) -> AnswerReading:
    """What a scorer makes of sentences whose features (S,) are known by name."""
    features = np.column_stack([columns[name] for name in scorer.sentence.names])
    scores = scorer.sentence.of(features)
    if asked is None:
        scores = in_own_words(scores, columns["covered"], [each.rank for each in sentences])
        rows = cited_rows(scores, scorer.also, MOST_CITED)
        nearest, outcome = 0.0, outcome_features(scores, columns, rows)
    else:
        nearest, shares = asked.gate.nearest, asked.gate.shares
        rows = cited_rows(scores, scorer.beside(again=nearest >= SAME), MOST_CITED)
        mixed = mix_kinds(scorer.sentence, features[rows[0]], asked.by_kind(rows[0]), shares)
        of_kinds = {"agreed": float(shares.max()), "mixed": mixed, "usual": asked.usual}
        outcome = outcome_features(scores, columns, rows, nearest=nearest, **of_kinds)
    sure = scorer.outcomes(again=nearest >= SAME)
    return AnswerReading(
        cited=tuple(sentences[row] for row in rows),
        right=probability(float(sure.right.of(outcome))),
        stated=probability(float(sure.stated.of(outcome))),
        scores=scores,
        outcome=outcome,
        known=asked.gate.familiar if asked is not None else 0.0,
    )


def _between(plain: AnswerReading, familiar: AnswerReading, known: float) -> AnswerReading:
    """The reading of the scorer that knows the question better; probabilities by how well it is known."""
    better = familiar if known >= 0.5 else plain
    right, stated = (
        (1 - known) * getattr(plain, name) + known * getattr(familiar, name) for name in ("right", "stated")
    )
    return AnswerReading(
        cited=better.cited, right=right, stated=stated, scores=better.scores, outcome=better.outcome, known=known
    )


def cite(cited: Sequence[Sentence]) -> tuple[Citation, ...]:
    """Citations in the documents' order, the best sentence's document first; neighbours become one.

    What introduces a list and denies ("Not included:") is cited with its items.
    """
    if not cited:
        return ()
    first = cited[0].passage.document
    leads = [each.lead for each in cited if each.lead is not None]
    places = {(each.passage.shelf, each.passage.document, each.start): each for each in (*leads, *cited)}
    ordered = sorted(
        places.values(), key=lambda each: (each.passage.document != first, each.passage.document, each.start)
    )
    found: list[Citation] = []
    for each in ordered:
        last = found[-1] if found else None
        joined = _joined(last, each) if last is not None else None
        if joined is not None:
            found[-1] = joined
        else:
            found.append(each.cite())
    return tuple(found)


def _joined(last: Citation, each: Sentence) -> Citation | None:
    """One citation of two sentences with nothing but space between them; None if there is more, or they are apart."""
    passage = each.passage
    if last.document != passage.document or last.shelf != passage.shelf or last.start < passage.start:
        return None
    if passage.text[last.end - passage.start : each.start - passage.start].strip():
        return None
    whole = Sentence(
        passage=passage,
        rank=each.rank,
        start=last.start,
        end=each.end,
        text=passage.text[last.start - passage.start : each.end - passage.start],
    )
    return whole.cite()


# --- What a quoted sentence says to one who does not see where it stands: a row with its columns, an item with its
# "not".
#
# The quote itself stays as the document has it. Which introductions deny is known by language.


def spoken(citation: Citation, cited: Sequence[Sentence]) -> str:
    """A citation on one line; a table's row with the names of its columns."""
    place = (citation.document, citation.start, citation.end)
    row = next((each for each in cited if (each.passage.document, each.start, each.end) == place), None)
    pairs = named(row) if row is not None and row.head else []
    if not pairs:
        return flat(citation.text)
    return "; ".join(f"{name}: {value}" if name else value for name, value in pairs)


def borne_by(sentence: Sentence) -> str:
    """What it is taken to say where a wording is checked: each value beside its name, and what an item hangs on."""
    pairs = named(sentence)
    text = ", ".join(f"{name} {value}".strip() for name, value in pairs) if pairs else sentence.text
    return f"{sentence.lead.text} {text}" if sentence.lead else text


def named(sentence: Sentence) -> list[tuple[str, str]]:
    """Names and values of a row, those that have a value; none where it is no row, or its cells are not its columns."""
    if not sentence.head:
        lines = [line.strip() for line in sentence.text.splitlines() if line.strip()]
        if len(lines) < 2 or not all(": " in line for line in lines[1:]):
            return []
        return [(name, value) if mark else ("", name) for name, mark, value in (each.partition(": ") for each in lines)]
    text, at = sentence.passage.text, sentence.start - sentence.passage.start
    end = text.find("\n", at)
    values = _cells(text[text.rfind("\n", 0, at) + 1 : end if end >= 0 else len(text)])
    names = _cells(sentence.head)
    if len(values) == len(names) + 1:
        names = ["", *names]  # the first column has no name
    if len(values) != len(names):
        return []
    return [(name, value) for name, value in zip(names, values, strict=True) if value]


def _cells(row: str) -> list[str]:
    return [" ".join(cell.split()) for cell in row.strip().removeprefix("|").removesuffix("|").split("|")]
