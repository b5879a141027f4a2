"""`[specialists.NAME]` with `task = "extract"`: typed fields of a text."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from coterie.config.section import FieldType, Name
from coterie.config.specialists import EncoderSection


class ExtractSection(EncoderSection):
    """A specialist that finds typed fields in a text, each with its quote."""

    measures: ClassVar[tuple[str, ...]] = ("token_f1", "exact_f1")

    task: Literal["extract"]
    """The task: `extract`."""
    fields: dict[Name, FieldType] = Field(default={})
    """The fields to look for, with their types: `{ governing_law = "choice", parties = "text*" }`.

    `text`, `date`, `number`, `money`, `duration` or `choice` (one of the values in the data); `*` for several of them.
    """

    @model_validator(mode="after")
    def _has_fields(self) -> ExtractSection:
        if not self.fields:
            raise ValueError('task \'extract\' needs `fields`, such as { start = "date", parties = "text*" }')
        return self
