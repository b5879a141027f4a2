"""`Generator`: write replies as the examples do. It tunes a small language model."""

from __future__ import annotations

import re
from typing import Self, Unpack

from coterie.api.inputs import Values, check_lengths, read_texts
from coterie.api.options import FitOptions
from coterie.api.specialists import TextSpecialist
from coterie.learning.evaluation import Evaluation


class Generator(TextSpecialist):
    """Writes a reply to a text with a small language model that was tuned on examples (rung `slm`).

    It needs the extras `train` and `llama` and a model on this machine: `pip install 'coterie[train,llama]'`, then
    `coterie models pull smollm2`. Tuning takes minutes on a CPU.
    """

    task = "generate"
    usual_name = "generator"

    @classmethod
    def fit(
        cls,
        texts: Values,
        replies: Values,
        *,
        model: str = "smollm2",
        test: tuple[Values, Values] | None = None,
        **options: Unpack[FitOptions],
    ) -> Self:
        """Tune a model on texts and the replies to them, and calibrate which replies are given.

        Args:
            texts: One text a row.
            replies: The reply to each.
            model: A name that `coterie models list` knows.
            test: Held-out texts and replies. Without it a seeded fifth of the rows is held out.
            options: See `FitOptions`.

        Raises:
            ModelMissing, ExtraMissing: the model or an extra is not installed.
            DataError: the rows do not fit.
        """
        key = re.sub(r"[^a-z0-9_-]+", "-", model.lower()).strip("-_0123456789") or "writer"
        tables = {("models", key): {"engine": "llama", "name": model}}
        held_out = None if test is None else _rows(*test)
        return cls._fit(options, {"model": key}, _rows(texts, replies), held_out, tables=tables)

    def evaluate(self, texts: Values, replies: Values) -> Evaluation:
        """Measure it on texts it has not seen: F1 of the words, and how often it is sure."""
        return self._evaluate(_rows(texts, replies))


def _rows(texts: Values, replies: Values) -> list[dict[str, object]]:
    columns = read_texts(texts, filled=True), read_texts(replies, "replies", filled=True)
    check_lengths(texts=columns[0], replies=columns[1])
    return [{"text": text, "reply": reply} for text, reply in zip(*columns, strict=True)]
