"""From a text to the values of its fields: rank sentences, read the likeliest, weigh what was found there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from coterie.engines import stored_array

from ._calibrator import Calibrator, Found
from ._document import Document, Place
from ._field import FieldModel
from ._passages import ReadTags, passages
from ._quote import Quoting, Said, quoted
from ._rank import Ranker, best_rows
from ._signs import NOT_STATED, Signs, Statement
from ._tag import EVIDENCE, Candidate, Reading, Tagger, rows_to_read

Floats = np.ndarray

OUTCOMES = ("right", "not stated", "wrong")
"""What may be true of a candidate: it is right; the field is not stated at all; it is stated, but otherwise."""
ENCODED = 8
"""Sentences a field whose encodings are asked for."""


@dataclass(frozen=True, kw_only=True)
class Weigher:
    """Multinomial logistic regression from a candidate's evidence to the three outcomes, one a field."""

    center: Floats  # (F, E)
    scale: Floats  # (F, E)
    weights: Floats  # (F, E, 3)
    bias: Floats  # (F, 3)
    least: Floats  # (F,)
    """Of a field of several values: the probability from which a candidate is one of them."""

    def weigh(self, number: int, evidence: Sequence[Sequence[float]]) -> Floats:  # (C, E) -> (C, 3)
        """Probabilities of `OUTCOMES` for each candidate of a field."""
        unit = (np.array(evidence).reshape(-1, len(EVIDENCE)) - self.center[number]) / self.scale[number]
        logits = unit @ self.weights[number] + self.bias[number]
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))

    def decide(self, number: int, field: FieldModel, candidates: Sequence[Candidate], text: str) -> list[Statement]:
        """What a field's candidates come to: at least one statement, in the text's order."""
        if not candidates:
            return [Statement(*NOT_STATED, ())]
        chances = self.weigh(number, [each.evidence for each in candidates])
        signs = Signs.of(field, candidates, chances, text)
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
        """The arrays that restore it."""
        return {f"weigh.{name}": value for name, value in vars(self).items()}

    @classmethod
    def restore(cls, arrays: Mapping[str, Floats], fields: int) -> Weigher:
        """What `store` was asked of. Raises `ValueError` if the parts do not fit each other."""
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


class Survey(NamedTuple):
    """A document after the first look at it."""

    document: Document
    scores: Floats  # (S, F)
    shortlist: list[int]
    """Sentences whose encodings the second look asks for; none where it does without."""
    places: list[Place]
    """What an encoder is to look at: the shortlisted sentences, or the passages that are read."""

    @property
    def texts(self) -> list[str]:
        """Of the places."""
        return [self.document.text[place.start : place.end] for place in self.places]


@dataclass(frozen=True, kw_only=True)
class Extractor:
    """Reads texts for a fixed list of fields. Blocking, and safe to call from several threads."""

    fields: tuple[FieldModel, ...]
    ranker: Ranker
    tagger: Tagger | None
    weigher: Weigher
    calibrator: Calibrator
    quoting: Quoting | None = None
    """In the tagger's place, where a generative model reads."""

    @property
    def second_look(self) -> bool:
        """Whether it ranks again, with the encodings of likely sentences."""
        return self.ranker.vectors is not None

    @property
    def tagged(self) -> bool:
        """Whether it reads with what an encoder says of passages."""
        return self.tagger is not None and self.tagger.odds_weights is not None

    def survey(self, text: str) -> Survey:
        """Cut a text into sentences and score each for each field."""
        document = Document(text)
        scores = self.ranker.scores(document)
        if self.quoting is not None:
            return Survey(document, scores, [], self.quoting.show(document, scores))
        if self.tagged:
            return Survey(document, scores, [], passages(document, rows_to_read(scores)))
        rows = shortlist(scores) if self.second_look else []
        return Survey(document, scores, rows, [document.sentences[row] for row in rows])

    def read(
        self,
        survey: Survey,
        vectors: Floats | None = None,
        tags: ReadTags | None = None,
        said: Sequence[Said | None] | None = None,
    ) -> list[list[Found]]:
        """What each field comes to.

        Args:
            survey: Of the text.
            vectors: (K, D) encodings of the shortlisted sentences, where the ranker looks at them.
            tags: Of the passages, where the tagger looks at them.
            said: What a generative model said of each field, where it reads.
        """
        if not survey.document.sentences:
            return [[Found(*NOT_STATED, 1.0)] for _ in self.fields]
        scores, reading = second_look(self.ranker, survey, vectors), Reading(survey.document, tags)
        found = []
        for number, each in enumerate(self.fields):
            if self.tagger is not None:
                candidates = self.tagger.candidates(reading, number, scores[:, number])
            else:
                own = said[number] if said else None
                candidates = quoted(survey.document, survey.places, own, scores[:, number])
            said_of_it = self.weigher.decide(number, each, candidates, survey.document.text)
            found.append([self.calibrator.believe(number, statement) for statement in said_of_it])
        return found

    def store(self) -> tuple[dict[str, object], dict[str, Floats]]:
        """The JSON description and the arrays that restore it."""
        ranking, rank_arrays = self.ranker.store()
        tagging, tag_arrays = self.tagger.store() if self.tagger else (None, {})
        described: dict[str, object] = {
            "fields": [each.describe() for each in self.fields],
            "rank": ranking,
            "tag": tagging,
            "quote": self.quoting.describe() if self.quoting else None,
        }
        return described, rank_arrays | tag_arrays | self.weigher.store() | self.calibrator.store()

    @classmethod
    def restore(cls, described: Mapping[str, Any], arrays: Mapping[str, Floats]) -> Extractor:
        """What `store` was asked of. Raises `ValueError`, `KeyError` or `TypeError` if it is none."""
        fields = tuple(FieldModel.restore(each) for each in described["fields"])
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
            quoting=None if quoting is None else Quoting.restore(quoting),
        )


def shortlist(scores: Floats) -> list[int]:
    """Numbers of the sentences that are likeliest for any field, in the text's order."""
    return sorted({row for column in scores.T for row in best_rows(column, ENCODED)})


def second_look(ranker: Ranker, survey: Survey, vectors: Floats | None) -> Floats:  # (S, F)
    """Scores with the encodings of the shortlisted sentences; of the others nothing more is said."""
    if vectors is None or ranker.vectors is None:
        return survey.scores
    looked = np.full_like(survey.scores, -np.inf)
    looked[survey.shortlist] = ranker.with_vectors(survey.scores[survey.shortlist], vectors)
    return looked
