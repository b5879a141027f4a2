"""What the flywheel keeps: captured examples, jobs, deployments, comparisons of answers, labels and alarms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from coterie.types.label import Label

DeploymentState = Literal["candidate", "shadow", "canary", "champion", "retired"]
"""How far a version has come on the traffic of a job."""
LabelOrigin = Literal["person", "feedback", "teacher"]
"""Who says what the right answer is. A teacher is a model: what it answered stands in the example itself."""
ReviewPurpose = Literal["disagreement", "margin", "audit", "doubt"]
"""Why a person is asked: two answers differ, the specialist is unsure, the example was drawn by chance, or its label
looks like noise."""


@dataclass(frozen=True, kw_only=True)
class CapturedExample:
    """One captured call. Its texts are scrubbed of personal data."""

    id: str
    request: str = ""
    """Id of the request's trace; empty for a call from a log."""
    time: float
    """Seconds since the epoch."""
    tenant: str = "default"
    label: Label = Label.INTERNAL
    api: str = "chat"
    """`chat`, `responses`, `completions`, `messages`, `decisions` or `log`."""
    job: str = ""
    """Id of its job; empty until one is found."""
    template: int = -1
    """Number of the job's wording that it was recognised by; -1 for none."""
    prompt: tuple[tuple[str, str], ...] = ()
    """Messages before the answer, by role and text."""
    input: str = ""
    """What the job's template leaves of the prompt: what a specialist is asked."""
    answer: str = ""
    cost: float | None = None
    """In the network's currency; None for unknown."""
    milliseconds: float = 0.0
    failed: bool = False
    """The model gave no answer."""
    policy: str = ""
    """Who answered: `model:KEY` or the id of a deployment."""
    propensity: float = 1.0
    """Probability with which that one was chosen."""
    confidence: float | None = None
    """Of the deployment that was asked first, whether or not its answer was given; None if none was asked."""
    in_scope: float | None = None
    caller: str = ""
    """Keyed hash of who asked."""

    @property
    def by_specialist(self) -> bool:
        """Whether a deployment answered."""
        return bool(self.policy) and not self.policy.startswith("model:")


@dataclass(frozen=True, kw_only=True)
class JobVolume:
    """How much is asked of one job."""

    job: str
    calls: int
    local: int
    """Calls that a deployment answered."""
    cost: float
    """Of the calls whose cost is known."""
    unpriced: int
    """Calls whose cost is not known."""
    callers: int
    first: float
    last: float


@dataclass(frozen=True, kw_only=True)
class ComparedAnswer:
    """A deployment's answer to a call that something else answered."""

    deployment: str
    example: str
    time: float
    answer: str = ""
    confidence: float = 0.0
    accepted: bool = False
    in_scope: float | None = None
    same: bool = False
    """It is what was answered."""
    milliseconds: float = 0.0
    failed: bool = False


class DifferingAnswer(NamedTuple):
    """An accepted answer of a deployment that is not what was answered."""

    place: int
    """Among all that were compared, in order of time, from 0."""
    example: str
    answer: str
    given: str | None
    """What was answered; None where the call was erased."""


@dataclass(frozen=True, kw_only=True)
class ComparedStream:
    """The comparisons of a deployment as a gate reads them."""

    compared: int
    accepted: int
    """Of those, answered by the deployment, but for those that failed."""
    same: int
    """Of the accepted ones, with the answer that was given."""
    failed: int
    differing: tuple[DifferingAnswer, ...] = ()
    """The accepted ones with another answer, in order."""


class ComparedConfidence(NamedTuple):
    """How sure a deployment was of an answer, and whether it is what was answered."""

    example: str
    confidence: float
    same: int


class AnsweredCall(NamedTuple):
    """A captured call, as far as a sample of calls is drawn by it."""

    id: str
    answer: str
    failed: int
    by_specialist: int


@dataclass(frozen=True, kw_only=True)
class GivenLabel:
    """What somebody says of an example."""

    example: str
    origin: LabelOrigin
    by: str
    """Name of the person or key."""
    value: str | None
    """The right answer; None: none of those that are possible, or it cannot be told."""
    time: float
    purpose: ReviewPurpose | Literal[""] = ""


@dataclass(frozen=True, kw_only=True)
class FlywheelRecord:
    """A document that is changed as a whole: a job, a deployment, one of its transitions, an alarm, a lease."""

    kind: str
    id: str
    job: str = ""
    time: float = 0.0
    body: Mapping[str, Any] = field(default_factory=dict)
    """JSON."""
    revision: int = 0
    """How often it was written; 0 for one that is not stored yet."""


class FlywheelChanged(Exception):
    """A record is not what the writer took it for: nothing was written."""
