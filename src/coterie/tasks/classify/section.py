"""`[specialists.NAME]` with `task = "classify"`: labels of one text."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from coterie.config.specialists import EncoderSection

_CHAINED = ("lexical", "embedding", "encoder")
"""Rungs that a chain may consist of, cheapest first."""


class ClassifySection(EncoderSection):
    """A specialist that names the label, or labels, of a text."""

    task: Literal["classify"]
    """The task: `classify`."""
    multi_label: bool = False
    """Whether a text may have several labels at once, or none."""
    labels: dict[str, str] = Field(default={})
    """Descriptions of labels, such as `{ card_lost = "the customer no longer has the card" }`.

    A typed question whose options have other names is compared with them.
    """
    record: tuple[str, ...] = ()
    """Columns that are read together in place of `text_column`, such as `["age", "note"]`.

    They are written as text in the same way in training and for a JSON object in a request.
    """
    risk_prior: bool = True
    """Rung `embedding`: whether up to 1,500 rows may use a prior to prove `target_risk`.

    The prior, from public sets, says how the error falls with confidence: the guarantee is 95% over tasks like those.
    With `false` the rows alone must prove it, whatever the task.
    """
    chain: tuple[Literal["lexical", "embedding", "encoder"], ...] | None = None
    """Rungs to combine, cheapest first, in place of `rungs`: `["lexical", "encoder"]`.

    Each rung is asked where the one before it is not confident enough; training determines the required confidence. The
    `[generalist]`, if there is one, comes after the last rung.
    """
    chain_quality: float = Field(default=0.99, gt=0, le=1)
    """With `chain`: the share of its last rung's right answers that the whole chain keeps, with 95% confidence."""
    cross_validate: bool = False
    """Train on all rows, however many a label has, and measure by cross-validation: no rows are held out."""
    instruction: str = ""
    """Rung `llm`: the instruction to the model. The labels are added to it."""
    calibration_calls: int = Field(default=200, ge=1, le=100_000)
    """Rung `llm` only: most training rows that the model is asked about, to calibrate its answers."""
    test_calls: int = Field(default=200, ge=1, le=100_000)
    """Rung `llm` only: most held-out rows that the model is asked about, to measure it."""

    @model_validator(mode="after")
    def _chain_fits(self) -> ClassifySection:
        if self.record and self.text_column is not None:
            raise ValueError("record and text_column are both set: rows have one or the other")
        if self.chain is None:
            return self
        if self.rungs is not None:
            raise ValueError("chain says which rungs are trained and kept: leave `rungs` out")
        ordered = [rung for rung in _CHAINED if rung in self.chain]
        if len(ordered) < 2 or list(self.chain) != ordered:
            raise ValueError(
                f"chain is {list(self.chain)}; it takes two or more of {list(_CHAINED)}, each once and in this order"
            )
        return self
