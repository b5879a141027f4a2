"""`[specialists.NAME]` with `task = "score"`: a probability from columns."""

from __future__ import annotations

from typing import ClassVar, Literal

from coterie.config.specialists import DataSection


class ScoreSection(DataSection):
    """A specialist that gives the probability of an outcome, with its reasons."""

    measures: ClassVar[tuple[str, ...]] = ("auc", "accuracy", "macro_f1")

    task: Literal["score"]
    """The task: `score`."""
    positive: str | None = None
    """The label whose probability is given, where outcomes are neither 1 and 0, true and false nor yes and no."""
    exclude: tuple[str, ...] = ()
    """Columns that it must not use, in addition to the protected ones."""
    protected: tuple[str, ...] | None = None
    """Columns with protected attributes, never used for a score.

    If this is not set, these are the columns whose name indicates sex, age, origin, religion and the like.
    """
