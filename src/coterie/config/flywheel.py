"""`[capture]` and `[flywheel]`: what is kept of calls to models, and how specialists take them over."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, model_validator

from coterie.config.section import STRICT, Money, Name

ROWS_FOLDER = Path("state", "flywheel")
"""Below a network's folder: the rows of a job while a version of it is trained. One that was killed leaves them."""


class CaptureSection(BaseModel):
    """`[capture]`: keep calls to entries of `[models]`, and typed questions, as examples. Off, nothing is written."""

    model_config = STRICT

    enabled: bool = False
    """Keep examples."""
    models: tuple[Name, ...] = ()
    """`[models]` keys whose calls are kept; left out, all."""
    sample: float = Field(default=1.0, gt=0, le=1)
    """Share of calls that are kept, drawn by the call's id."""
    detector: str | None = None
    """What finds the personal data that is taken out of texts before they are stored, as in `[privacy]`; left out, that
    of `[privacy]`, or `names` where that is `patterns`: a name in a sentence has no form."""
    days: float = Field(default=90.0, gt=0, le=36_500)
    """Examples are deleted after so many days, and with their request as `[retention]` says."""
    queue: int = Field(default=2_000, ge=1, le=1_000_000)
    """Calls that may wait to be scrubbed and written; one more is not kept, and counted."""


class FlywheelSection(BaseModel):
    """`[flywheel]`: how a job of captured calls gets a specialist, and how that one takes the calls over."""

    model_config = STRICT

    every: Literal["hour", "day", "week"] | None = None
    """How often a server looks for work; left out, only `coterie flywheel run` does."""
    support: int = Field(default=20, ge=2)
    """Fewest calls of a prompt's template."""
    callers: int = Field(default=1, ge=1)
    """Fewest callers of a job: what fewer people ask is shown to nobody and trains nothing."""
    calls: int = Field(default=300, ge=20)
    """Calls of a job with which its first specialist is trained."""
    growth: float = Field(default=1.5, gt=1)
    """A further version is trained when the job has so many times the calls of the last one's."""
    margin: float = Field(default=0.02, ge=0, lt=1)
    """How much worse than what answers today a specialist may be, as a share of calls, at most."""
    alpha: float = Field(default=0.05, gt=0, lt=1)
    """Probability with which one that is worse by more may pass, however often it is looked at."""
    audit_share: float = Field(default=0.1, gt=0, lt=1)
    """Share of examples, drawn by id, that are never trained on: people label some of them."""
    audits: int = Field(default=30, ge=0)
    """Labels of such examples that a promotion needs, for the teacher's accuracy and the gate on frozen rows."""
    canary: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.01, 0.1, 0.5)
    """Shares of callers in the stages of a canary, smallest first."""
    canary_calls: int = Field(default=50, ge=1)
    """Calls that a deployment answers in a stage before the next one begins..."""
    canary_hours: float = Field(default=24.0, ge=0)
    """...or hours after which it does with fewer: a job with few calls waits no longer for them."""
    control: float = Field(default=0.02, ge=0, le=0.5)
    """Share of calls that go to the model of before although a champion could answer them: what drift is seen by."""
    patience: int = Field(default=20_000, ge=100)
    """Mean number of calls between two false alarms of a deployment."""
    on_alarm: Literal["back", "tell"] = "back"
    """An alarm takes the job back to the model of before, or is only shown."""
    promote: bool = True
    """Let a run move deployments on where the evidence allows it; off, a person does."""
    cpu_seconds: float = Field(default=3_600.0, gt=0)
    """CPU time of training a week, at most."""
    money: Money | None = None
    """Money a week for teachers, at most; left out, only the network's budgets count."""
    labels: int = Field(default=150, ge=0)
    """Labels a week that people are asked for, at most."""

    @model_validator(mode="after")
    def _stages_grow(self) -> FlywheelSection:
        if list(self.canary) != sorted(set(self.canary)):
            raise ValueError(f"canary is {list(self.canary)}; its stages grow")
        return self
