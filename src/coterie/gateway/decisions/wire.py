"""What goes over the wire at `POST /v1/decisions`: OpenAI's shapes, as `openai` 3.57 sends and reads them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr

from coterie.decisions.questions import MOST_OPTIONS, MOST_QUESTIONS
from coterie.gateway.decisions.answering import DecisionExtension


class _Asked(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)


class InputPart(_Asked):
    """One part of a text: `input_text`, `output_text`, `input_json` or `refusal`; images cannot be read."""

    type: str
    text: StrictStr | None = None
    refusal: StrictStr | None = None
    data: dict[str, Any] | list[dict[str, Any]] | None = None
    """Of `input_json`."""


Parts = StrictStr | list[InputPart]


class InputItem(_Asked):
    """A message, a call of a function or tool, or its output."""

    type: str = "message"
    """`message`, `function_call`, `function_call_output`, `custom_tool_call` or `custom_tool_call_output`."""
    role: Literal["user", "assistant", "system", "developer"] | None = None
    content: Parts | None = None
    name: StrictStr | None = None
    arguments: StrictStr | None = None
    input: StrictStr | None = None
    output: Parts | None = None
    call_id: StrictStr | None = None


class PredicateQuestion(_Asked):
    """Whether a statement about the input is true."""

    type: Literal["predicate"]
    name: Annotated[StrictStr, Field(max_length=1_000)] | None = None
    instructions: Parts


class DecisionChoice(_Asked):
    """One option. A text and a boolean that look alike are two options."""

    value: StrictStr | StrictBool
    description: StrictStr | None = None


class ChoicesQuestion(_Asked):
    """Which of some options."""

    type: Literal["choice"]
    name: Annotated[StrictStr, Field(max_length=1_000)] | None = None
    instructions: Parts
    choices: Annotated[list[DecisionChoice], Field(min_length=2, max_length=MOST_OPTIONS)]


class DecisionLevel(_Asked):
    """One level of a rating."""

    label: StrictStr
    description: StrictStr | None = None


class LevelsQuestion(_Asked):
    """A rating on ordered levels, lowest first."""

    type: Literal["score"]
    name: Annotated[StrictStr, Field(max_length=1_000)] | None = None
    instructions: Parts
    levels: Annotated[list[DecisionLevel], Field(min_length=2, max_length=MOST_OPTIONS)]


class DecisionsRequest(_Asked):
    """`POST /v1/decisions`. Fields that are not named here have no effect."""

    model_config = ConfigDict(extra="allow")

    model: StrictStr
    """`gpt-...` or `coterie`: the whole network; `coterie/NAME`: that specialist alone."""
    input: StrictStr | Annotated[list[InputItem], Field(min_length=1)]
    """What the questions are about."""
    questions: Annotated[
        list[Annotated[PredicateQuestion | ChoicesQuestion | LevelsQuestion, Field(discriminator="type")]],
        Field(min_length=1, max_length=MOST_QUESTIONS),
    ]
    coterie: DecisionExtension | None = None


class DecisionsResponse(_Asked):
    """The answers, in the order of the questions."""

    model: str
    answers: list[dict[str, Any]]
    """Of type `predicate`, `choice` or `score`, as OpenAI's."""
    usage: dict[str, Any]
    coterie: dict[str, Any]
    """Who answered each question, the calibrated confidence, whether it is accepted, and what it took."""
