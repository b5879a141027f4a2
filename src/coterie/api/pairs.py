"""`PairClassifier`: judge a text against a second one, such as a contract against a statement."""

from __future__ import annotations

from typing import Self, Unpack, overload

from coterie.api.inputs import Values, check_lengths, check_several_labels, read_labels, read_texts
from coterie.api.options import FitOptions
from coterie.api.predictions import Prediction
from coterie.api.specialists import FittedSpecialist
from coterie.learning.dataset import Row
from coterie.learning.evaluation import Evaluation

_PAIR = "hypothesis"


class PairClassifier(FittedSpecialist):
    """A classifier of pairs: what a text says of a statement or question.

    >>> from coterie import PairClassifier
    >>> forms = {"entailed": "{} may copy the data.", "contradicted": "{} must not copy anything."}
    >>> pairs = [(form.format(f"Company {i}"), label) for i in range(20) for label, form in forms.items()]
    >>> texts, labels = zip(*pairs)
    >>> judge = PairClassifier.fit(texts, ["Copies are allowed."] * 40, labels, rungs=["lexical"])
    >>> judge.predict(["Company 99 may copy the data."], ["Copies are allowed."])[0].label
    'entailed'
    """

    task = usual_name = "pairs"

    @classmethod
    def fit(
        cls,
        texts: Values,
        hypotheses: Values,
        labels: Values,
        *,
        test: tuple[Values, Values, Values] | None = None,
        **options: Unpack[FitOptions],
    ) -> Self:
        """Train each rung, keep the cheapest that is good enough, and calibrate it.

        Args:
            texts: The text of each row, such as a document; pairs of the same text stay together in every split.
            hypotheses: What each text is judged against.
            labels: One label a row.
            test: Held-out texts, hypotheses and labels. Without it a seeded fifth of the rows is held out.
            options: See `FitOptions`.

        Raises:
            DataError: the rows do not fit.
        """
        rows = _rows(texts, hypotheses, labels)
        check_several_labels([row["label"] for row in rows])
        return cls._fit(options, {"pair_column": _PAIR}, rows, None if test is None else _rows(*test))

    @overload
    def predict(self, texts: str, hypotheses: str) -> Prediction: ...  # type: ignore[overload-overlap]
    @overload
    def predict(self, texts: Values, hypotheses: Values) -> list[Prediction]: ...
    def predict(self, texts: str | Values, hypotheses: str | Values) -> Prediction | list[Prediction]:
        """Predict the label of each pair, with the words of the text that decide as `quotes`; of one pair one."""
        if isinstance(texts, str) and isinstance(hypotheses, str):
            return self._predict([Row(text=texts, columns={self._stored.section.pair_column: hypotheses})])[0]
        columns = read_texts(texts), read_texts(hypotheses, "hypotheses")
        check_lengths(texts=columns[0], hypotheses=columns[1])
        second = self._stored.section.pair_column
        return self._predict([Row(text=text, columns={second: other}) for text, other in zip(*columns, strict=True)])

    def evaluate(self, texts: Values, hypotheses: Values, labels: Values) -> Evaluation:
        """Measure it on pairs it has not seen."""
        second = self._stored.section.pair_column
        rows = _rows(texts, hypotheses, labels)
        return self._evaluate([{second: row[_PAIR], **{k: v for k, v in row.items() if k != _PAIR}} for row in rows])


def _rows(texts: Values, hypotheses: Values, labels: Values) -> list[dict[str, object]]:
    columns = read_texts(texts, filled=True), read_texts(hypotheses, "hypotheses", filled=True), read_labels(labels)
    check_lengths(texts=columns[0], hypotheses=columns[1], labels=columns[2])
    return [{"text": text, _PAIR: other, "label": label} for text, other, label in zip(*columns, strict=True)]
