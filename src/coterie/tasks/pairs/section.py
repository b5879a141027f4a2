"""`[specialists.NAME]` with `task = "pairs"`: the label of a text and a second one."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from coterie.config.specialists import DataSection


class PairsSection(DataSection):
    """A specialist that names the label of a pair of texts, and the clauses that decide it."""

    task: Literal["pairs"]
    """The task: `pairs`."""
    pair_column: str = "hypothesis"
    """Column with the second text, such as a hypothesis or question; the label depends on both texts."""
    evidence_column: str = "evidence"
    """Column, if there is one, with the evidence of a row: quotes or `[start, end]` of the text."""
    learn_only_column: str | None = None
    """Column that marks rows for training only: rows with `true` or `1` are neither calibrated nor measured on.

    For rows unlike those in use, such as excerpts or generated texts.
    """

    @model_validator(mode="after")
    def _columns_differ(self) -> PairsSection:
        if self.pair_column in {self.text_column or "text", self.label_column, self.group_column}:
            raise ValueError(f"pair_column is {self.pair_column!r}, which is another column's name already")
        return self
