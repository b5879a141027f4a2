"""`[specialists.NAME]` with `task = "classify"`: labels of one text."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from coterie.config.specialists import EncoderSection

_CHAINED = ("lexical", "embedding", "encoder")
"""Rungs that a chain may be made of, cheapest first."""


class ClassifySection(EncoderSection):
    """A specialist that names the label, or labels, of a text."""

    task: Literal["classify"]
    """`classify`."""
    multi_label: bool = False
    """A text may have several labels at once, or none."""
    labels: dict[str, str] = Field(default={})
    """Descriptions of labels, such as `{ card_lost = "the customer no longer has the card" }`: what a typed question
    whose options have other names is compared with."""
    record: tuple[str, ...] = ()
    """Columns that are read together in place of `text_column`, such as `["age", "note"]`: they are written as text in
    one way, in training and when a JSON object is asked about."""
    risk_prior: bool = True
    """Rung `embedding`: up to 1,500 rows may show `target_risk` with a prior, from public sets, on how the error falls
    with confidence: 95% over tasks like those. `false` lets the rows alone show it, whatever the task.
    """
    chain: tuple[Literal["lexical", "embedding", "encoder"], ...] | None = None
    """Rungs to keep together, cheapest first, in place of `rungs`: `["lexical", "encoder"]`.

    Each is asked where the one before it is not sure enough; from which confidence it is, is shown in training. Above
    the last one stands the `[generalist]`, if there is one.
    """
    chain_quality: float = Field(default=0.99, gt=0, le=1)
    """With `chain`: the share of its last rung's right answers that the whole chain keeps, with 95% confidence."""
    cross_validate: bool = False
    """Train on all rows, however many a label has, and measure by cross-validation: nothing is held out."""
    instruction: str = ""
    """Rung `llm`: what the model is told to do with the text. The labels are added to it."""
    calibration_calls: int = Field(default=200, ge=1, le=100_000)
    """Rung `llm` only: training rows that the model is asked about, at most, to calibrate its answers."""
    test_calls: int = Field(default=200, ge=1, le=100_000)
    """Rung `llm` only: held-out rows that the model is asked about, at most, to measure it."""

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
