"""What readers that had not seen a text found there, and what statements about its fields that comes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from coterie.data import Row
from coterie.evaluation import is_right
from coterie.extraction import Calibrator, Candidate, FieldModel, Found, Statement, Weigher
from coterie.specialists import Acceptance, as_fields
from coterie.types import Finding

from ._extract_fields import spans_of
from ._extract_weigh import fit_weigher

Said = Sequence[Sequence[Statement]]
"""What is said of a text, by field."""


@dataclass(frozen=True)
class Unseen:
    """Texts with what was found there."""

    rows: Sequence[Row]
    candidates: Sequence[Sequence[Sequence[Candidate]]]
    """By row and field."""
    models: Mapping[int, Sequence[FieldModel]]
    """By fold, of the other folds' rows."""
    folds: np.ndarray  # (N,)

    @property
    def fields(self) -> int:
        """How many there are."""
        return len(self._models(0))

    def take(self, numbers: np.ndarray) -> Unseen:
        """Some of the texts."""
        rows = [self.rows[number] for number in numbers]
        return Unseen(rows, [self.candidates[number] for number in numbers], self.models, self.folds[numbers])

    def fit_weigher(self) -> Weigher:
        """The weigher of these texts' candidates."""
        models = self._models(0)
        counts = np.array([[len(spans_of(row, model.name)) for model in models] for row in self.rows], dtype=np.int64)
        many = np.array([model.many for model in models])
        wanted = np.where(many, counts, np.minimum(counts, 1))
        return fit_weigher(self.candidates, counts > 0, many.tolist(), self.right, wanted)

    def said(self, weigher: Weigher) -> list[Said]:
        """What each text's candidates come to."""
        return [
            [
                weigher.decide(field, model, own, row.text)
                for field, (own, model) in enumerate(zip(candidates, self._models(number), strict=True))
            ]
            for number, (row, candidates) in enumerate(zip(self.rows, self.candidates, strict=True))
        ]

    def right(self, number: int, field: int, said: Candidate | Statement) -> bool:
        """Whether a stretch is right, or that there is none."""
        row, model = self.rows[number], self._models(number)[field]
        found = Found(said.start, said.end, 0.0)
        (stated,) = as_fields([model], [[found]], [never()], row.text)
        return is_right(stated, row.text, spans_of(row, model.name))

    def finding(self, number: int, said: Said, calibrator: Calibrator) -> Finding:
        """What is said of a text as a finding, nothing of it accepted."""
        models = self._models(number)
        found = [[calibrator.believe(field, each) for each in own] for field, own in enumerate(said)]
        fields = as_fields(models, found, [never()] * len(models), self.rows[number].text)
        return Finding(
            specialist="", value=None, text="", confidence=0.0, accepted=False, reason="", task="extract", fields=fields
        )

    def _models(self, number: int) -> Sequence[FieldModel]:
        return self.models[int(self.folds[number])]


def never() -> Acceptance:
    """Accepts nothing."""
    return Acceptance(temperature=1.0, threshold=None, target_risk=0.5, scope_threshold=None)
