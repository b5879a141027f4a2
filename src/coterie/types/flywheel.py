"""The data of the flywheel: captured examples, jobs, deployments, comparisons of answers, labels and alarms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from coterie.types.label import Label

DeploymentState = Literal["candidate", "shadow", "canary", "champion", "retired"]
"""State of a version on the traffic of a job."""
LabelOrigin = Literal["person", "feedback", "teacher"]
"""Who gave the right answer. A teacher is a model: its answer is in the example itself."""
ReviewPurpose = Literal["disagreement", "margin", "audit", "doubt"]
"""Why a person is asked.

Two answers differ, the specialist is unsure, the example was drawn by chance, or its label looks like noise.
"""


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
    """API of the call: `chat`, `responses`, `completions`, `messages`, `decisions` or `log`."""
    job: str = ""
    """Id of its job; empty until one is found."""
    template: int = -1
    """Number of the job's wording that it was recognised by; -1 for none."""
    prompt: tuple[tuple[str, str], ...] = ()
    """Messages before the answer, by role and text."""
    input: str = ""
    """The part of the prompt that varies within the job's template: the input of a specialist."""
    answer: str = ""
    cost: float | None = None
    """Cost in the network's currency; None if unknown."""
    milliseconds: float = 0.0
    failed: bool = False
    """Whether the model gave no answer."""
    policy: str = ""
    """The source of the answer: `model:KEY` or the id of a deployment."""
    propensity: float = 1.0
    """Probability with which that source was chosen."""
    confidence: float | None = None
    """Confidence of the deployment that was asked first, whether or not its answer was used; None if none was asked."""
    in_scope: float | None = None
    caller: str = ""
    """Keyed hash of the caller."""

    @property
    def by_specialist(self) -> bool:
        """Whether a deployment answered."""
        return bool(self.policy) and not self.policy.startswith("model:")


@dataclass(frozen=True, kw_only=True)
class JobVolume:
    """The volume of one job."""

    job: str
    calls: int
    local: int
    """Calls that a deployment answered."""
    cost: float
    """Cost of the calls whose cost is known."""
    unpriced: int
    """Number of calls with unknown cost."""
    callers: int
    first: float
    last: float


@dataclass(frozen=True, kw_only=True)
class ComparedAnswer:
    """A deployment's answer to a call that another source answered."""

    deployment: str
    example: str
    time: float
    answer: str = ""
    confidence: float = 0.0
    accepted: bool = False
    in_scope: float | None = None
    same: bool = False
    """Whether it equals the answer that was given."""
    milliseconds: float = 0.0
    failed: bool = False


class DifferingAnswer(NamedTuple):
    """An accepted answer of a deployment that differs from the answer that was given."""

    place: int
    """Position among all compared answers, in order of time, from 0."""
    example: str
    answer: str
    given: str | None
    """The answer that was given; None where the call was erased."""


@dataclass(frozen=True, kw_only=True)
class ComparedStream:
    """The comparisons of a deployment as a gate reads them."""

    compared: int
    accepted: int
    """Number of those that the deployment answered, without those that failed."""
    same: int
    """Number of accepted answers that equal the given one."""
    failed: int
    differing: tuple[DifferingAnswer, ...] = ()
    """Accepted answers that differ from the given one, in order."""


class ComparedConfidence(NamedTuple):
    """A deployment's confidence in an answer, and whether it equals the answer that was given."""

    example: str
    confidence: float
    same: int


class AnsweredCall(NamedTuple):
    """A captured call, with the fields that a sample of calls is drawn by."""

    id: str
    answer: str
    failed: int
    by_specialist: int


@dataclass(frozen=True, kw_only=True)
class GivenLabel:
    """A label of an example by a person, feedback or a teacher."""

    example: str
    origin: LabelOrigin
    by: str
    """Name of the person or key."""
    value: str | None
    """The right answer; None if none of the possible ones is right, or it is unclear."""
    time: float
    purpose: ReviewPurpose | Literal[""] = ""


@dataclass(frozen=True, kw_only=True)
class FlywheelRecord:
    """A document that is replaced as a whole: a job, a deployment, one of its transitions, an alarm, a lease."""

    kind: str
    id: str
    job: str = ""
    time: float = 0.0
    body: Mapping[str, Any] = field(default_factory=dict)
    """The document as JSON."""
    revision: int = 0
    """Number of times it was written; 0 for a record that is not stored yet."""


class FlywheelChanged(Exception):
    """Raised when a record has changed since the writer read it: nothing was written."""
