"""`POST /v1/systemone`: conversion between System One and core values, both ways, and errors in its format."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictStr, ValidationError
from starlette.responses import Response
from starlette.types import ASGIApp

from coterie.decisions.questions import MOST_OPTIONS, MOST_QUESTIONS, request_about
from coterie.errors import InputError, UnknownSpecialist
from coterie.gateway.access import Caller
from coterie.gateway.decisions import DecisionExtension, deciding, request_for, spread
from coterie.gateway.errors import ErrorResponse, WireError, error_response
from coterie.gateway.wire import read_wire
from coterie.gateway.work import Gateway
from coterie.observe.plain import EGRESS_HEADER, TRACE_HEADER, summarise_decisions
from coterie.runtime.codec import Json
from coterie.text.records import render_record
from coterie.types import Decision, Decisions, Option, Question, noted_egress

# --- What goes over the wire at `POST /v1/systemone`: TypeSafe's shapes, as `typesafe-sdk` 0.7 sends and reads them.

Content = StrictStr | dict[str, Any] | list[Any]
"""A text, or a JSON value that is serialised as text."""
_ID = Annotated[StrictStr, Field(min_length=1, max_length=1_000)]


class _Asked(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)


class NoulCriteria(_Asked):
    """Descriptions of the cases yes and no."""

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
    """Name of the model: `jev-...` or `coterie` for the whole network, `coterie/NAME` for that specialist alone."""
    state: Content
    """The state that the questions are about."""
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
    """Answers by question: `noul`; `choice`, `probabilities`, `confidence`; or `score`, `legend` and these two.

    `confidence` is the concentration of the probabilities, by TypeSafe's formula.
    """
    usage: SystemOneUsage
    x_coterie: dict[str, Any]
    """Source of each answer, its calibrated confidence, whether it is accepted, and the usage."""


class SystemOneError(_Asked):
    """An error: a list of problems with their position in the body, or `error_type` and `message`."""

    detail: list[dict[str, Any]] | dict[str, str]


PATH = "/v1/systemone"
SYSTEM_ONE_ALIASES = "jev-"
"""Prefix of model names that mean the whole network."""


def decide_systemone(gateway: Gateway, caller: Caller, body: bytes) -> ASGIApp:
    """Return the ASGI app for a System One request. Raises `WireError`, `ValidationError` or `InputError`."""
    wire = read_wire(SystemOneRequest, body)
    state = request_about(wire.state)
    request = request_for(
        gateway, caller, state, model=wire.model, aliases=SYSTEM_ONE_ALIASES, extension=wire.x_coterie
    )
    questions = [_question(name, question) for name, question in wire.questions.items()]
    return deciding(gateway, request, questions, lambda answer: _response(wire, answer), wire)


def read_questions(content: object) -> list[Question]:
    """Return questions given by name, as in a request. Raises pydantic's `ValidationError`."""
    wire = SystemOneRequest.model_validate({"model": "jev-latest", "state": "-", "questions": content})
    return [_question(name, question) for name, question in wire.questions.items()]


def _question(name: str, wire: Any) -> Question:  # noqa: ANN401 - one of the three
    instructions = _text(wire.instructions)
    if isinstance(wire, NoulQuestion):
        yes, no = (None, None) if wire.criteria is None else (wire.criteria.true, wire.criteria.false)
        return Question.predicate(instructions, yes=_text(yes), no=_text(no), name=name)
    if isinstance(wire, ScoreQuestion):
        levels = tuple(Option(name=_text(level)) for level in wire.criteria)
        return Question(kind="score", options=levels, instructions=instructions, name=name)
    return Question.choice(
        {option: _text(description) for option, description in wire.criteria.items()}, instructions, name=name
    )


def _text(content: Content | None) -> str:
    return "" if content is None else render_record(content)


def _response(wire: SystemOneRequest, answer: Decisions) -> dict[str, Json]:
    usage = answer.trace.usage
    return {
        "model": wire.model,
        "answers": {
            decision.question: _answer(decision, wire.questions[decision.question]) for decision in answer.decisions
        },
        "usage": {"input_tokens": usage.tokens_in, "output_tokens": usage.tokens_out},
        "x_coterie": summarise_decisions(answer),
    }


def _answer(decision: Decision, question: Any) -> dict[str, Json]:  # noqa: ANN401 - one of the three
    if decision.kind == "predicate":
        return {"type": "noul", "noul": min(max(decision.number, 0.0), 1.0)}
    by_name = dict(zip(decision.options, decision.probabilities, strict=True))
    if decision.kind == "choice":
        concentrated = spread(decision.probabilities, ordered=False)
        body: dict[str, Json] = {"choice": decision.choice, "probabilities": {**by_name}, "confidence": concentrated}
        return {"type": "choice", **body}
    numbered: dict[str, Json] = {str(index): probability for index, probability in enumerate(decision.probabilities)}
    return {
        "type": "score",
        "score": decision.number,
        "legend": {str(index): level for index, level in enumerate(question.criteria)},
        "probabilities": numbered,
        "confidence": spread(decision.probabilities, ordered=True),
    }


# --- Errors: what is wrong with a body is 422 with its places, anything else is a type and a message.

_TYPES: Mapping[int, str] = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class SystemOneErrorResponse(Response):
    """An error in System One's format."""

    media_type = "application/json"

    def __init__(self, status: int, detail: object, headers: Mapping[str, str]) -> None:
        super().__init__(json.dumps({"detail": detail}), status_code=status, headers=dict(headers))


def systemone_error(error: Exception) -> Response:
    """Return the response to any error raised while serving a request."""
    left = {EGRESS_HEADER: noted_egress(error)}
    if isinstance(error, ValidationError):
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        places = [
            {
                "loc": ["body", *(part[:300] if isinstance(part, str) else part for part in problem["loc"])],
                "msg": problem["msg"],
                "type": problem["type"],
            }
            for problem in problems
        ]
        return SystemOneErrorResponse(422, places, left)
    if isinstance(error, WireError) and error.code in {"invalid_json", "invalid_request", "unsupported_content"}:
        location = [error.param] if error.param else []
        return SystemOneErrorResponse(422, [_problem(location, error.message, error.code)], left)
    if isinstance(error, InputError) and not isinstance(error, UnknownSpecialist):
        return SystemOneErrorResponse(422, [_problem([], " ".join(str(error).split()), error.code)], left)
    shown: ErrorResponse = error_response(error)
    kind = _TYPES.get(shown.status_code, shown.error["code"])
    kept = {
        name: shown.headers[name]
        for name in ("retry-after", "www-authenticate", EGRESS_HEADER, TRACE_HEADER)
        if name in shown.headers
    }
    return SystemOneErrorResponse(shown.status_code, {"error_type": kind, "message": shown.error["message"]}, kept)


def _problem(location: list[str], message: str, kind: str) -> dict[str, object]:
    return {"loc": ["body", *location], "msg": message, "type": kind}
