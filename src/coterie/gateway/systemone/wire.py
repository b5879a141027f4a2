"""What goes over the wire at `POST /v1/systemone`: TypeSafe's shapes, as `typesafe-sdk` 0.7 sends and reads them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictStr

from coterie.decisions.questions import MOST_OPTIONS, MOST_QUESTIONS
from coterie.gateway.decisions.answering import DecisionExtension

Content = StrictStr | dict[str, Any] | list[Any]
"""A text, or JSON that is written as one."""
_ID = Annotated[StrictStr, Field(min_length=1, max_length=1_000)]


class _Asked(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)


class NoulCriteria(_Asked):
    """When the answer is yes, and when no."""

    true: Content | None = None
    false: Content | None = None


class NoulQuestion(_Asked):
    """A question whose answer is a probability."""

    type: Literal["noul"]
    instructions: Content | None = None
    criteria: NoulCriteria | None = None


class ChoiceQuestion(_Asked):
    """A question with one right option."""

    type: Literal["choice"]
    instructions: Content | None = None
    criteria: Annotated[dict[_ID, Content | None], Field(min_length=2, max_length=MOST_OPTIONS)]
    """Descriptions by option."""


class ScoreQuestion(_Asked):
    """A rating."""

    type: Literal["score"]
    instructions: Content | None = None
    criteria: Annotated[list[Content], Field(min_length=2, max_length=MOST_OPTIONS)]
    """Descriptions of the levels, lowest first."""


class SystemOneRequest(_Asked):
    """`POST /v1/systemone`. Fields that are not named here are ignored."""

    model_config = ConfigDict(extra="allow")

    model: StrictStr
    """`jev-...` or `coterie`: the whole network; `coterie/NAME`: that specialist alone."""
    state: Content
    """What the questions are about."""
    questions: Annotated[
        dict[_ID, Annotated[NoulQuestion | ChoiceQuestion | ScoreQuestion, Field(discriminator="type")]],
        Field(min_length=1, max_length=MOST_QUESTIONS),
    ]
    x_coterie: DecisionExtension | None = None


class SystemOneUsage(_Asked):
    """Tokens that engines read and wrote."""

    input_tokens: int
    output_tokens: int


class SystemOneResponse(_Asked):
    """The answers by question."""

    model: str
    answers: dict[str, dict[str, Any]]
    """`noul`; `choice`, `probabilities`, `confidence`; or `score`, `legend`, `probabilities`, `confidence`.

    `confidence` says how concentrated the probabilities are, by TypeSafe's formula.
    """
    usage: SystemOneUsage
    x_coterie: dict[str, Any]
    """Who answered each question, the calibrated confidence, whether it is accepted, and what it took."""


class SystemOneError(_Asked):
    """An error: a list of places where the body is wrong, or `error_type` and `message`."""

    detail: list[dict[str, Any]] | dict[str, str]
