"""`Scorer`: the probability of an outcome from structured rows, with reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self, Unpack, overload

import numpy as np

from coterie.api.inputs import Values, check_lengths, check_several_labels, read_labels, read_rows, read_texts
from coterie.api.options import FitOptions
from coterie.api.predictions import Prediction
from coterie.api.specialists import FittedSpecialist
from coterie.errors import DataError
from coterie.learning.dataset import Row
from coterie.learning.evaluation import Evaluation


class Scorer(FittedSpecialist):
    """A scorecard: a calibrated probability from columns, and what each column contributes.

    >>> from coterie import Scorer
    >>> rows = [{"days": days, "country": "DE" if days % 2 else "FR"} for days in range(60)]
    >>> scorer = Scorer.fit(rows, [row["days"] > 30 for row in rows], outcome="late")
    >>> scorer.predict({"days": 55, "country": "DE"}).value > 0.8
    True
    """

    task = "score"
    usual_name = "scorer"

    @classmethod
    def fit(
        cls,
        rows: object,
        outcomes: Values,
        *,
        texts: Values | None = None,
        outcome: str = "outcome",
        exclude: Sequence[str] = (),
        protected: Sequence[str] | None = None,
        **options: Unpack[FitOptions],
    ) -> Self:
        """Train a scorecard; its figures are cross-validated on every row.

        Args:
            rows: Dicts or a pandas DataFrame; missing cells are None or NaN.
            outcomes: What came of each row: 1 and 0, True and False, or "yes" and "no".
            texts: A text beside the columns, such as a note, one a row.
            outcome: What the outcome is called in answers: "Probability of late: 0.83".
            exclude: Columns that must not be used.
            protected: Columns with protected attributes, never used; by default those whose names say so.
            options: See `FitOptions`.

        Raises:
            DataError: the rows do not fit.
        """
        settings: dict[str, Any] = {"label_column": outcome}
        if texts is not None:
            settings["text_column"] = "text"
        if exclude:
            settings["exclude"] = list(exclude)
        if protected is not None:
            settings["protected"] = list(protected)
        data = _joined(rows, outcomes, texts, outcome)
        check_several_labels([row[outcome] for row in data], "outcomes")
        return cls._fit(options, settings, data)

    @overload
    def predict(self, rows: Mapping[str, object], texts: str | None = None) -> Prediction: ...  # type: ignore[overload-overlap]
    @overload
    def predict(self, rows: object, texts: Values | None = None) -> list[Prediction]: ...
    def predict(self, rows: object, texts: object = None) -> Prediction | list[Prediction]:
        """Predict the probability of the outcome of each row as `value`, with `reasons`; of one dict one prediction.

        A prediction is accepted where the decision above or below one half is certain enough.
        """
        if isinstance(rows, Mapping):
            return self._predict(_asked([rows], None if texts is None else [texts]))[0]
        return self._predict(_asked(rows, texts))

    def predict_proba(self, rows: object, texts: Values | None = None) -> np.ndarray:  # (N, 2)
        """Give the probability that the outcome does not happen, and that it does."""
        happens = np.array([prediction.value for prediction in self.predict(rows, texts)], dtype=float)
        return np.stack([1.0 - happens, happens], axis=1)

    def evaluate(self, rows: object, outcomes: Values, texts: Values | None = None) -> Evaluation:
        """Measure it on rows it has not seen: AUC, Brier score, accuracy, coverage, calibration error."""
        return self._evaluate(_joined(rows, outcomes, texts, self._stored.section.label_column))


def _asked(rows: object, texts: object) -> list[Row]:
    columns = read_rows(rows)
    beside = [""] * len(columns) if texts is None else read_texts(texts)  # type: ignore[arg-type]
    check_lengths(rows=columns, texts=beside)
    return [Row(text=text, columns=cells) for text, cells in zip(beside, columns, strict=True)]


def _joined(rows: object, outcomes: Values, texts: Values | None, outcome: str) -> list[dict[str, object]]:
    asked, found = _asked(rows, texts), read_labels(outcomes, "outcomes")
    check_lengths(rows=asked, outcomes=found)
    taken = {outcome} | ({"text"} if texts is not None else set())
    if clash := taken & {name for row in asked for name in row.columns}:
        raise DataError(
            f"rows has a column {sorted(clash)[0]!r}, which is the name of the "
            f"{'outcome' if outcome in clash else 'text'} too.",
            hint='Drop that column, or name the outcome otherwise: outcome="late".',
        )
    beside = {} if texts is None else {"text": [row.text for row in asked]}
    return [
        {**row.columns, **{name: column[place] for name, column in beside.items()}, outcome: label}
        for place, (row, label) in enumerate(zip(asked, found, strict=True))
    ]
