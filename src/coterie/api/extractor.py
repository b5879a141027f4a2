"""`Extractor`: find typed fields in texts, each with its quote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self, Unpack

from coterie.api.inputs import Values, check_lengths, read_stated, read_texts
from coterie.api.options import FitOptions
from coterie.api.specialists import TextSpecialist
from coterie.learning.evaluation import Evaluation


class Extractor(TextSpecialist):
    """Finds fields in texts: dates, amounts, names, choices, each quoted word for word.

    >>> from coterie import Extractor
    >>> days = [f"{day} May 2024" for day in range(1, 31)]
    >>> texts = [f"This agreement begins on {day}. It is between Ada and Bob." for day in days]
    >>> values = [{"start": day} for day in days]
    >>> extractor = Extractor.fit(texts, values, fields={"start": "date"}, rungs=["lexical"], target_risk=0.3)
    >>> extractor.predict("This agreement begins on 9 June 2025. It is between Eve and Bob.").fields[0].value
    '2025-06-09'
    """

    task = "extract"
    usual_name = "extractor"

    @classmethod
    def fit(
        cls,
        texts: Values,
        values: object,
        *,
        fields: Mapping[str, str],
        test: tuple[Values, object] | None = None,
        **options: Unpack[FitOptions],
    ) -> Self:
        """Train each rung, keep the cheapest that is good enough, and calibrate each field.

        Args:
            texts: One text a row.
            values: What each text states: a dict of fields a row, or a DataFrame with a column a field. A field is a
                quote of the text, `{"start": 3, "end": 9}` in characters, a list of these, or None: not stated.
            fields: The type of each field: `text`, `date`, `number`, `money`, `duration` or `choice`, with `*` where
                it may have several values.
            test: Held-out texts and values. Without it a seeded fifth of the rows is held out.
            options: See `FitOptions`.

        Raises:
            DataError: the rows do not fit, or a quote is not in its text.
        """
        held_out = None if test is None else _rows(*test)
        return cls._fit(options, {"fields": dict(fields)}, _rows(texts, values), held_out)

    @property
    def fields(self) -> Mapping[str, str]:
        """The type of each field it looks for."""
        found: Mapping[str, str] = self._stored.section.fields
        return found

    def evaluate(self, texts: Values, values: object) -> Evaluation:
        """Measure it on texts it has not seen: F1 of the words quoted, and the figures of each field."""
        return self._evaluate(_rows(texts, values))


def _rows(texts: Values, values: object) -> list[dict[str, object]]:
    columns = read_texts(texts, filled=True), read_stated(values)
    check_lengths(texts=columns[0], values=columns[1])
    return [{"text": text, "fields": stated} for text, stated in zip(*columns, strict=True)]
