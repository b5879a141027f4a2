"""The text model beside a scorecard: its log-odds are one more column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from coterie.engines import ARRAYS_FILE, MODEL_FILE, LinearEngine
from coterie.protocols import Engine
from coterie.types import Prompt, Step, Task

_PREFIX = "text."


class TextOdds(NamedTuple):
    """What a text says of the outcome, and what it took to know."""

    log_odds: float | None
    """None when there is no text."""
    steps: tuple[Step, ...] = ()
    truncated: bool = False
    """Only the beginning of the text fits the encoder."""


@dataclass(frozen=True, kw_only=True)
class TextModel:
    """A head of two labels, 0 and 1, over the text; with the encoder on the `embedding` rung."""

    head: Engine
    encoder: Engine | None
    column: str
    """The scorecard's column that holds its log-odds: `text`, unless the data has a column of that name."""
    source: str
    """The column of structured input that holds the text, when it comes that way."""

    def find(self, task: Task) -> str:
        """The text: in its column if that is sent, else the text beside the columns."""
        sent = (task.columns or {}).get(self.source)
        return sent if isinstance(sent, str) and sent.strip() else task.text

    async def log_odds(self, task: Task, asker: str) -> TextOdds:
        """The text's log-odds and what they took, on the asker's account."""
        text = self.find(task)
        if not text.strip():
            return TextOdds(None)
        vector, steps, truncated = await self._encode(text, task, asker)
        (scored,) = await self.head.run([Prompt(text=text, vector=vector, label=task.label)])
        no, yes = np.asarray(scored.scores)
        steps = (*steps, Step(producer=asker, engine=self.head.name, usage=scored.usage))
        return TextOdds(float(yes - no), steps, truncated)

    async def _encode(self, text: str, task: Task, asker: str) -> tuple[np.ndarray | None, tuple[Step, ...], bool]:
        """The text's vector (D,), what it took, and whether it is of the beginning only."""
        if self.encoder is None:
            return None, (), False
        if task.vector is not None and text == task.text:  # a vector that comes along is of the task's own text
            return task.vector, (), task.truncated
        (encoded,) = await self.encoder.run([Prompt(text=text, label=task.label)])
        step = Step(producer=asker, engine=self.encoder.name, usage=encoded.usage)
        return encoded.vector, (step,), encoded.finish == "length"

    def describe(self) -> dict[str, object]:
        """What a stored version says of it beside its files."""
        return {"column": self.column, "source": self.source}


def text_files(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """A text model's files under the names they have beside a scorecard's."""
    return {_PREFIX + name: content for name, content in files.items()}


def load_text_model(
    described: Mapping[str, Any], files: Mapping[str, bytes], encoder: Engine | None
) -> TextModel | None:
    """The text model of a stored version, if it has one. Raises `KeyError` or `ValueError` if it is not whole."""
    if "text" not in described:
        return None
    head = LinearEngine.load({name: files[_PREFIX + name] for name in (MODEL_FILE, ARRAYS_FILE)})
    if head.size != 2:
        raise ValueError(f"its text model has {head.size} labels, not 2")
    about = described["text"]
    return TextModel(head=head, encoder=encoder, column=str(about["column"]), source=str(about["source"]))
