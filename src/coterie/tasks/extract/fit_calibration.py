"""How sure to be of what is said of a field: from statements about texts that their readers had not seen.

The chance that the weigher gives a candidate is no confidence yet: what is said is the best of several candidates, so
it sounds too sure, and whether others say the same is worth more than how likely its place is (docs/history/log.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from coterie.learning.dataset import Row
from coterie.specialists.acceptance import Acceptance
from coterie.tasks.extract.extractor import SIGNS, Calibrator, FieldModel, FieldStatement, Statement, Weigher
from coterie.tasks.extract.fit_tagging import fit_weigher, spans_of
from coterie.tasks.extract.metrics import is_right
from coterie.tasks.extract.model import as_fields
from coterie.tasks.extract.ranking import TokenizedText
from coterie.tasks.extract.tagging import CandidateSpan
from coterie.text.language import language_of
from coterie.types import Finding, Reason

# --- What readers that had not seen a text found there, and what statements about its fields that comes to.

Said = Sequence[Sequence[Statement]]
"""What is said of a text, by field."""


@dataclass(frozen=True)
class Unseen:
    """Texts with what was found there."""

    rows: Sequence[Row]
    candidates: Sequence[Sequence[Sequence[CandidateSpan]]]
    """By row and field."""
    models: Mapping[int, Sequence[FieldModel]]
    """By fold, of the other folds' rows."""
    folds: np.ndarray  # (N,)

    @property
    def fields(self) -> int:
        """How many there are."""
        return len(self._models(0))

    def take(self, numbers: np.ndarray) -> Unseen:  # (M,) of N
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
                weigher.decide(field, model, own, TokenizedText(row.text))
                for field, (own, model) in enumerate(zip(candidates, self._models(number), strict=True))
            ]
            for number, (row, candidates) in enumerate(zip(self.rows, self.candidates, strict=True))
        ]

    def right(self, number: int, field: int, said: CandidateSpan | Statement) -> bool:
        """Whether a stretch is right, or that there is none."""
        row, model = self.rows[number], self._models(number)[field]
        found = FieldStatement(said.start, said.end, 0.0)
        (stated,) = as_fields([model], [[found]], [never()], row.text, language_of(row.text, "en"))
        return is_right(stated, row.text, spans_of(row, model.name))

    def finding(self, number: int, said: Said, calibrator: Calibrator) -> Finding:
        """What is said of a text as a finding, nothing of it accepted."""
        models = self._models(number)
        found = [[calibrator.believe(field, each) for each in own] for field, own in enumerate(said)]
        text = self.rows[number].text
        fields = as_fields(models, found, [never()] * len(models), text, language_of(text, "en"))
        return Finding(
            specialist="",
            value=None,
            text="",
            confidence=0.0,
            accepted=False,
            reason=Reason("note.not_judged"),
            task="extract",
            fields=fields,
        )

    def _models(self, number: int) -> Sequence[FieldModel]:
        return self.models[int(self.folds[number])]


def never() -> Acceptance:
    """Accepts nothing."""
    return Acceptance(temperature=1.0, threshold=None, target_risk=0.5, scope_threshold=None)


_SHARED, _OWN = 10.0, 5.0
"""What squared weights cost, those that fields share and those of one field beside them: few texts move little."""
_KINDS = 2  # a value, and that there is none

Floats = np.ndarray


class JudgedStatements(NamedTuple):
    """Statements, and whether they are right."""

    fields: np.ndarray  # (K,)
    stated: np.ndarray  # (K,) 1 for a value, 0 for none
    signs: Floats  # (K, S)
    right: np.ndarray  # (K,)


class Believed(NamedTuple):
    """A calibrator of all texts, and what ones that did not see a text make of what is said of it."""

    calibrator: Calibrator
    findings: list[Finding]
    """A finding a text, nothing of it accepted."""


def calibrate(unseen: Unseen, parts: np.ndarray) -> Believed:
    """A calibrator, and honest confidences to choose thresholds by.

    What is said of a part of the texts comes from a weigher of the others. The calibrator learns from all of it; the
    confidences of a part come from one of the others.

    Args:
        unseen: Texts with their candidates.
        parts: (N,) the part of each text. A single part has no others, and learns from itself.
    """
    said = _said_by_others(unseen, parts)
    judged = {part: _judge(unseen, said, np.flatnonzero(parts == part)) for part in np.unique(parts).tolist()}
    findings: list[Finding | None] = [None] * len(parts)
    for part, own in judged.items():
        others = [each for other, each in judged.items() if other != part] or [own]
        without = fit_calibrator(_joined(others), unseen.fields)
        for number in np.flatnonzero(parts == part).tolist():
            findings[number] = unseen.finding(number, said[number], without)
    found = [each for each in findings if each is not None]
    return Believed(fit_calibrator(_joined(list(judged.values())), unseen.fields), found)


def fit_calibrator(judged: JudgedStatements, fields: int) -> Calibrator:
    """Logistic regression around the weigher's log-odds, for each kind of statement, with weights all fields share.

    Minimises the log loss plus the squared weights, the weigher's own log-odds being an offset: without a statement of
    a field it has the weights that all share, and without any statement it believes the weigher. Signs are measured in
    their standard deviations.

    Args:
        judged: Statements about texts that readers and weigher had not seen.
        fields: How many fields there are.
    """
    straight = Calibrator.straight(fields)
    if not len(judged.right):
        return straight
    center, scale = judged.signs.mean(axis=0), np.maximum(judged.signs.std(axis=0), 1e-6)
    unit = np.column_stack([(judged.signs - center) / scale, np.ones(len(judged.right))])  # (K, S + 1)
    blocks = np.zeros((len(unit), fields + 1, _KINDS, unit.shape[1]))
    rows = np.arange(len(unit))
    blocks[rows, 0, judged.stated] = unit
    blocks[rows, 1 + judged.fields, judged.stated] = unit
    costs = np.full(blocks.shape[1:], _OWN)
    costs[0] = _SHARED
    moved = _fit(blocks.reshape(len(unit), -1), judged, costs.ravel()).reshape(costs.shape)
    moved = moved[:1] + moved[1:]  # (F, 2, S + 1)
    weights = moved[:, :, :-1] / scale
    bias = moved[:, :, -1] - weights @ center
    return Calibrator(weights=straight.weights + weights, bias=straight.bias + bias)


def _fit(features: Floats, judged: JudgedStatements, costs: Floats) -> Floats:
    """What is added to the weigher's log-odds, as weights of the features."""
    offset, right = judged.signs[:, SIGNS.index("chance")], judged.right.astype(float)

    def loss(weights: Floats) -> tuple[float, Floats]:
        margin = offset + features @ weights
        miss = expit(margin) - right
        total = (np.logaddexp(0, margin) - right * margin).sum() + 0.5 * (costs * weights**2).sum()
        return float(total), features.T @ miss + costs * weights

    return np.asarray(minimize(loss, np.zeros(features.shape[1]), jac=True, method="L-BFGS-B").x)


def _said_by_others(unseen: Unseen, parts: np.ndarray) -> list[Said]:
    said: dict[int, Said] = {}
    for part in np.unique(parts):
        own, others = np.flatnonzero(parts == part), np.flatnonzero(parts != part)
        weigher = unseen.take(others if len(others) else own).fit_weigher()
        said |= dict(zip(own.tolist(), unseen.take(own).said(weigher), strict=True))
    return [said[number] for number in range(len(parts))]


def _judge(unseen: Unseen, said: Sequence[Said], numbers: np.ndarray) -> JudgedStatements:
    """The statements about some texts that there is something to learn from."""
    found = [
        (field, int(each.stated), each.signs, unseen.right(number, field, each))
        for number in numbers.tolist()
        for field, own in enumerate(said[number])
        for each in own
        if each.signs
    ]
    fields, stated, signs, right = zip(*found, strict=True) if found else ((), (), (), ())
    return JudgedStatements(
        np.array(fields, dtype=np.int64),
        np.array(stated, dtype=np.int64),
        np.array(signs, dtype=np.float64).reshape(-1, len(SIGNS)),
        np.array(right, dtype=bool),
    )


def _joined(parts: Sequence[JudgedStatements]) -> JudgedStatements:
    return JudgedStatements(*(np.concatenate(each) for each in zip(*parts, strict=True)))
