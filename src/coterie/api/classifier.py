"""`Classifier`: name the label, or labels, of a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self, Unpack

import numpy as np

from coterie.api.inputs import Values, check_lengths, check_several_labels, read_column, read_labels, read_texts
from coterie.api.options import FitOptions
from coterie.api.specialists import TextSpecialist
from coterie.errors import InputError
from coterie.learning.dataset import Row
from coterie.learning.evaluation import Evaluation
from coterie.tasks.classify.model import ClassifySpecialist


class Classifier(TextSpecialist):
    """A text classifier that knows how sure it is.

    >>> from coterie import Classifier
    >>> texts = ["my card is lost", "my card was stolen", "where is my parcel", "the parcel is late"] * 10
    >>> labels = ["card", "card", "parcel", "parcel"] * 10
    >>> classifier = Classifier.fit(texts, labels, rungs=["lexical"], target_risk=0.3)
    >>> classifier.predict("someone stole my card").label
    'card'
    >>> classifier.labels
    ('card', 'parcel')
    """

    task = "classify"
    usual_name = "classifier"

    @classmethod
    def fit(
        cls,
        texts: Values,
        labels: Values,
        *,
        test: tuple[Values, Values] | None = None,
        groups: Values | None = None,
        multi_label: bool = False,
        **options: Unpack[FitOptions],
    ) -> Self:
        """Train each rung, keep the cheapest that is good enough, and calibrate it.

        Args:
            texts: One text a row: a list, a generator, a numpy array or a pandas Series.
            labels: One label a row: texts, whole numbers or booleans, which become texts. A list of labels means that
                any of them is right; with `multi_label`, that all of them are.
            test: Held-out texts and labels. Without it a seeded fifth of the rows is held out.
            groups: Rows of one group are never on both sides of a split.
            multi_label: A text may have several labels, or none.
            options: See `FitOptions`: `rungs`, `target_risk`, `bar`, `seed`, `progress`, `name`, `description`.

        Raises:
            DataError: the rows do not fit: lengths, a missing text or label, a single label, too few rows.
        """
        rows = _rows(texts, labels, several=multi_label)
        held_out = None if test is None else _rows(*test, several=multi_label, optional=True)
        if not multi_label:
            check_several_labels([row["label"] for row in rows])
        settings: dict[str, Any] = {"multi_label": True} if multi_label else {}
        if groups is not None:
            settings["group_column"] = "group"
            rows = _grouped(rows, groups)
            held_out = None if held_out is None else [row | {"group": None} for row in held_out]
        return cls._fit(options, settings, rows, held_out)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels it knows, sorted: the columns of `predict_proba`."""
        return tuple(sorted(self._labels))

    def predict_proba(self, texts: Values) -> np.ndarray:  # (N, L)
        """Give the probability of each label, one column a label in the order of `labels`.

        With `multi_label`, each column is a probability of its own. A text without a word has NaN in its row.

        Raises:
            InputError: the rung gives probabilities of few labels only.
        """
        order = {label: place for place, label in enumerate(self.labels)}
        asked = read_texts(texts)
        full = self._with_all_labels()
        found = np.full((len(asked), len(order)), np.nan)
        for row, prediction in enumerate(full._predict([Row(text=text) for text in asked])):  # noqa: SLF001 - its own
            scores = prediction.scores
            if scores and scores.keys() != order.keys():
                raise InputError(f"The rung {self.rung!r} gives probabilities of {len(scores)} labels only.")
            for label, probability in scores.items():
                found[row, order[label]] = probability
        return found

    def evaluate(self, texts: Values, labels: Values) -> Evaluation:
        """Measure it on rows it has not seen; a label of None is a text that belongs to no label.

        The evaluation has accuracy, macro F1, coverage, accuracy of the accepted, calibration error (ECE), their 95%
        intervals and the most frequent confusions.
        """
        several = bool(self._stored.section.multi_label)
        return self._evaluate(_rows(texts, labels, several=several, optional=True))

    def _encoded(self, rows: Sequence[Row]) -> tuple[np.ndarray | None, np.ndarray | None]:
        if self.rung not in {"embedding", "chain"}:
            return None, None
        texts = [row.text for row in rows]
        encoder = self._stored.encoder
        return encoder.encode(texts), encoder.exceeds(texts)

    @property
    def _labels(self) -> tuple[str, ...]:
        found: tuple[str, ...] = getattr(self._specialist, "labels", ())
        return found

    def _with_all_labels(self) -> Self:
        """The same specialist, which shows the probability of every label."""
        full = type(self)(self._stored)
        if isinstance(self._specialist, ClassifySpecialist):
            full.__dict__["_specialist"] = replace(self._specialist, alternatives=len(self.labels))
        return full


def _rows(texts: Values, labels: Values, *, several: bool, optional: bool = False) -> list[dict[str, object]]:
    columns = read_texts(texts, filled=True), read_labels(labels, several=several, optional=optional)
    check_lengths(texts=columns[0], labels=columns[1])
    return [{"text": text, "label": label} for text, label in zip(*columns, strict=True)]


def _grouped(rows: list[dict[str, object]], groups: Values) -> list[dict[str, object]]:
    named = read_column(groups, "groups")
    check_lengths(texts=rows, groups=named)
    return [row | {"group": None if group is None else str(group)} for row, group in zip(rows, named, strict=True)]
