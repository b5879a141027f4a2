"""What a trainer is given."""

from __future__ import annotations

from dataclasses import dataclass

from coterie.config import SpecialistSection
from coterie.data import Dataset
from coterie.engines import OnnxEncoder
from coterie.types import Rung, SpecialistCard

from ._progress import Progress


@dataclass(frozen=True, kw_only=True)
class Job:
    """One specialist to train."""

    name: str
    section: SpecialistSection
    train: Dataset
    held_out: Dataset
    encoder: OnnxEncoder
    progress: Progress

    def card(self, rung: Rung, columns: tuple[str, ...] = ()) -> SpecialistCard:
        """The card of a rung's specialist before it has a version."""
        return SpecialistCard(
            name=self.name,
            task=self.section.task,
            description=self.section.description,
            rung=rung,
            version="",
            reads=self.section.reads,
            writes=self.section.writes,
            columns=columns,
        )

    @property
    def quality(self) -> str:
        """The measure that decides between rungs: the bar's, else the task's usual one."""
        if self.section.bar:
            return next(iter(self.section.bar))
        return "auc" if self.section.task == "score" else "accuracy"

    @property
    def bar(self) -> float | None:
        """What that measure must reach."""
        return next(iter(self.section.bar.values()), None)
