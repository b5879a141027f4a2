"""`[specialists.NAME]` with `task = "generate"`: a text, from a source text or as learned from replies."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from coterie.config.specialists import DataSection

ALIKE = 0.8
"""Token F1 from which a written text counts as right."""


class GenerateSection(DataSection):
    """A specialist that writes a text with a generative model."""

    measures: ClassVar[tuple[str, ...]] = ("token_f1", "accuracy", "exact_match")

    task: Literal["generate"]
    """The task: `generate`."""
    pairs: str | None = None
    """With `reads`: a CSV or JSONL file of right replies; the model is tuned on them.

    A row is a message (`text`), the value of the fact it `reads` (in the column of that name) and the `reply`.
    """
    alike: float = Field(default=ALIKE, gt=0, le=1)
    """Without `reads`: a reply is right if its token F1 with the one in the data is at least this."""
    instruction: str = ""
    """The instruction to the model."""
    max_tokens: int = Field(default=160, ge=1, le=8192)
    """Longest text, in tokens."""

    @property
    def writes_freely(self) -> bool:
        """Whether it writes replies learned from pairs, with no source text to check them against."""
        return not self.reads

    @model_validator(mode="after")
    def _has_a_model(self) -> GenerateSection:
        if self.model is None:
            raise ValueError("task 'generate' needs `model`, the key of a [models] entry")
        if self.pairs is not None and not self.reads:
            raise ValueError("pairs needs `reads`, the fact that selects a source text; else its pairs are `data`")
        return self
