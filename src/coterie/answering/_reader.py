"""The extractive answer: the sentences of the passages that answer a question, or that none does.

It writes nothing of its own: what it gives is quoted. It knows no engine: whoever calls it encodes what `survey` asks
for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from coterie.types import Citation, Passage

from ._experts import Experts
from ._features import ENCODED, LEXICAL, encoded_features, lexical_features
from ._gate import SAME, Gate
from ._scorer import KNOWN, OUTCOME, Scorer, cited_rows, in_own_words, mix_kinds, outcome_features, probability
from ._sentences import Sentence, cut_passages

MOST_SENTENCES = 96
"""Sentences that are encoded and compared, of all passages together."""
MOST_CITED = 3
"""Sentences cited at most."""

Floats = np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Survey:
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

    def take(self, rows: Floats) -> Survey:
        """Some of the sentences, by their places (K,)."""
        return Survey(
            question=self.question, sentences=tuple(self.sentences[row] for row in rows), words=self.words[rows]
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
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


def survey(question: str, passages: Sequence[Passage]) -> Survey:
    """Cut passages, the best first, and look at the words of every sentence; only its neighbours see a label."""
    sentences = cut_passages(passages)
    words = lexical_features(question, sentences)
    whole = Survey(question=question, sentences=tuple(sentences), words=words)
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
class Reader:
    """Finds and weighs. Of familiar questions it knows what answered them before; of others what answers in general."""

    plain: Scorer
    familiar: Scorer | None = None
    """Set together with `experts`."""
    experts: Experts | None = None

    def columns(self, seen: Survey, question: Floats | None, vectors: Floats | None) -> dict[str, Floats]:
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

    def narrow(self, seen: Survey, question: Floats | None = None) -> Survey:  # question (D,)
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

    def read(self, seen: Survey, question: Floats | None = None, vectors: Floats | None = None) -> Reading | None:
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
        asked = Asked(gate, lambda row: experts.by_kind(texts[row], int(starts[row]), vectors[row]), usual)
        return _between(reading, weigh(self.familiar, columns, seen.sentences, asked), gate.familiar)

    def store(self) -> tuple[dict[str, object], dict[str, Floats]]:
        """The JSON description and the arrays that restore it."""
        described: dict[str, object] = {"plain": self.plain.describe()}
        if self.experts is None or self.familiar is None:
            return described, {}
        about, arrays = self.experts.store()
        return described | {"familiar": self.familiar.describe(), "experts": about}, arrays

    @classmethod
    def restore(cls, description: Mapping[str, Any], arrays: Mapping[str, Floats]) -> Reader:
        """What `store` was asked of. Raises `LookupError`, `TypeError` or `ValueError` if it is none."""
        if "experts" not in description:
            return cls(plain=Scorer.restore(description["plain"]))
        return cls(
            plain=Scorer.restore(description["plain"]),
            familiar=Scorer.restore(description["familiar"]),
            experts=Experts.restore(description["experts"], arrays),
        )


class Asked(NamedTuple):
    """What is known of a question from those that training has seen."""

    gate: Gate
    by_kind: Callable[[int], Floats]
    """By the row of a sentence what the expert of each kind says of it (len(KNOWN), K)."""
    usual: float = 0.0
    """See `Experts.usual`, of the kinds that the question may be of."""


def weigh(
    scorer: Scorer, columns: Mapping[str, Floats], sentences: Sequence[Sentence], asked: Asked | None = None
) -> Reading:
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
    return Reading(
        cited=tuple(sentences[row] for row in rows),
        right=probability(float(sure.right.of(outcome))),
        stated=probability(float(sure.stated.of(outcome))),
        scores=scores,
        outcome=outcome,
        known=asked.gate.familiar if asked is not None else 0.0,
    )


def _between(plain: Reading, familiar: Reading, known: float) -> Reading:
    """The reading of the scorer that knows the question better; probabilities by how well it is known."""
    better = familiar if known >= 0.5 else plain
    right, stated = (
        (1 - known) * getattr(plain, name) + known * getattr(familiar, name) for name in ("right", "stated")
    )
    return Reading(
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
