"""`[capture]` and `[flywheel]`: which calls to models are stored, and how specialists replace the models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, model_validator

from coterie.config.section import STRICT, Money, Name

ROWS_FOLDER = Path("state", "flywheel")
"""Folder below a network's folder with the rows of a job during a training; a killed training leaves them."""


class CaptureSection(BaseModel):
    """`[capture]`: store calls to entries of `[models]`, and typed questions, as examples. Off, nothing is written."""

    model_config = STRICT

    enabled: bool = False
    """Store examples."""
    models: tuple[Name, ...] = ()
    """`[models]` keys whose calls are stored; by default, all."""
    sample: float = Field(default=1.0, gt=0, le=1)
    """Share of calls that are stored, sampled by the call's id."""
    detector: str | None = None
    """Detector of the personal data that is removed from texts before they are stored, as in `[privacy]`.

    By default, the detector of `[privacy]`, or `names` where that is `patterns`: patterns do not find a name in a
    sentence.
    """
    days: float = Field(default=90.0, gt=0, le=36_500)
    """Days after which examples are deleted. They are also deleted with their request, as `[retention]` sets."""
    queue: int = Field(default=2_000, ge=1, le=1_000_000)
    """Calls that may wait to be scrubbed and written; further calls are dropped, and counted."""


class FlywheelSection(BaseModel):
    """`[flywheel]`: how a job of captured calls gets a specialist, and how the specialist takes over the calls."""

    model_config = STRICT

    every: Literal["hour", "day", "week"] | None = None
    """How often a server runs the flywheel; by default, only `coterie flywheel run` does."""
    support: int = Field(default=20, ge=2)
    """Fewest calls that make a prompt template."""
    callers: int = Field(default=1, ge=1)
    """Fewest callers of a job: a job of fewer callers is not shown and trains nothing."""
    calls: int = Field(default=300, ge=20)
    """Calls of a job at which its first specialist is trained."""
    growth: float = Field(default=1.5, gt=1)
    """Growth of a job's calls since its last version at which a further version is trained, as a factor."""
    margin: float = Field(default=0.02, ge=0, lt=1)
    """Largest allowed loss of a specialist against the current model, as a share of calls."""
    alpha: float = Field(default=0.05, gt=0, lt=1)
    """Probability with which a specialist with a larger loss may pass, over any number of looks at the data."""
    audit_share: float = Field(default=0.1, gt=0, lt=1)
    """Share of examples, sampled by id, that are never used for training: people label some of them."""
    audits: int = Field(default=30, ge=0)
    """Labels of such examples that a promotion needs, for the teacher's accuracy and the gate on held-out rows."""
    canary: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.01, 0.1, 0.5)
    """Shares of callers in the stages of a canary, smallest first."""
    canary_calls: int = Field(default=50, ge=1)
    """Calls that a deployment answers in a stage before the next stage begins."""
    canary_hours: float = Field(default=24.0, ge=0)
    """Hours after which the next stage begins with fewer calls, for a job with few calls."""
    control: float = Field(default=0.02, ge=0, le=0.5)
    """Share of calls that still go to the previous model, to detect drift of a champion."""
    patience: int = Field(default=20_000, ge=100)
    """Mean number of calls between two false alarms of a deployment."""
    on_alarm: Literal["back", "tell"] = "back"
    """Action at an alarm: `back` returns the job to the previous model, `tell` only shows the alarm."""
    promote: bool = True
    """Let a run advance deployments where the evidence allows it; off, a person does."""
    cpu_seconds: float = Field(default=3_600.0, gt=0)
    """Largest CPU time of training per week, in seconds."""
    money: Money | None = None
    """Largest amount of money for teachers per week; by default, only the network's budgets apply."""
    labels: int = Field(default=150, ge=0)
    """Largest number of labels that people are asked for per week."""

    @model_validator(mode="after")
    def _stages_grow(self) -> FlywheelSection:
        if list(self.canary) != sorted(set(self.canary)):
            raise ValueError(f"canary is {list(self.canary)}; its stages grow")
        return self
