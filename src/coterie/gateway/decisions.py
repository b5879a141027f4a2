"""`POST /v1/decisions`: OpenAI's Decisions API over the network's typed questions, and what System One shares with it.

An answer is never a refusal: where a model may not be asked or fails, the encoder answers, and the `coterie` object
says so. Whether an answer is good enough to act on is `accepted` there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr
from starlette.types import ASGIApp, Receive, Scope, Send

from coterie.decisions.questions import MOST_OPTIONS, MOST_QUESTIONS, check_questions, request_about
from coterie.gateway.access import Caller
from coterie.gateway.connection import JSONBody
from coterie.gateway.errors import WireError
from coterie.gateway.openai.translation import pinned_specialist, unread_options
from coterie.gateway.wire import read_wire
from coterie.gateway.work import Gateway, ignored_header
from coterie.observe.plain import EGRESS_HEADER, TRACE_HEADER, summarise_decisions
from coterie.runtime.codec import Json
from coterie.text.records import render_record
from coterie.types import Decision, Decisions, Label, Message, Option, Question, Request, Usage


class DecisionExtension(BaseModel):
    """The `coterie` object of a request."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)

    label: Label | None = None
    """Sensitivity of the state."""
    clearance: Label | None = None
    """The most sensitive label that may be used for it; at most the caller's own."""
    language: str | None = Field(default=None, pattern=r"^[a-z]{2}(-[A-Z]{2})?$")
    """Language of the state; without it, it is detected."""


def request_for(
    gateway: Gateway, caller: Caller, state: Request, *, model: str, aliases: str, extension: DecisionExtension | None
) -> Request:
    """Return the request of a caller about a state.

    Args:
        gateway: The gateway.
        caller: The caller, whose rights apply.
        state: Text and columns.
        model: The requested model; names that begin with `aliases` mean the whole network.
        aliases: Prefix of the API's own model names.
        extension: Further options of the caller.

    Raises:
        WireError: an unknown model, or a clearance above the caller's.
    """
    network = gateway.network
    most = caller.clearance(network.default_label)
    seen = [name for name in network.specialists if caller.sees(name)]
    extension = extension or DecisionExtension()
    if extension.clearance is not None and extension.clearance > most:
        problem = f"Asked with the clearance {extension.clearance.value!r}; the most that is given is {most.value!r}."
        raise WireError("invalid_request", problem, param="coterie.clearance")
    return replace(
        state,
        specialist=None if model.startswith(aliases) else pinned_specialist(model, seen),
        label=extension.label,
        clearance=extension.clearance or most,
        language=extension.language,
        tenant=caller.tenant,
        key=caller.key_id,
        allowed=caller.specialists,
    )


@dataclass(frozen=True, kw_only=True)
class WholeDecision:
    """ASGI app that answers typed questions in one piece."""

    gateway: Gateway
    request: Request
    questions: Sequence[Question]
    render: Callable[[Decisions], dict[str, Json]]
    """Writes the answer in the format of the API."""
    ignored: frozenset[str]
    """Options of the request that have no effect here."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask and answer."""
        answer = await self.gateway.network.decide(self.request, self.questions)
        self.gateway.metrics.count_answer(answer.trace)
        left = {EGRESS_HEADER: answer.trace.egress_summary}
        headers = {TRACE_HEADER: answer.trace.id, **left, **ignored_header(self.ignored)}
        await JSONBody(self.render(answer), headers=headers)(scope, receive, send)


def deciding(
    gateway: Gateway,
    request: Request,
    questions: Sequence[Question],
    render: Callable[[Decisions], dict[str, Json]],
    wire: BaseModel,
) -> ASGIApp:
    """Return the ASGI app that answers; an invalid request does not wait for a slot. Raises `InputError`."""
    check_questions(questions)
    ignored = unread_options(wire.model_extra)
    return WholeDecision(gateway=gateway, request=request, questions=questions, render=render, ignored=ignored)


def spread(probabilities: Sequence[float], *, ordered: bool) -> float:
    """Return TypeSafe's confidence: the concentration of a distribution, 0 if even, 1 if one option has all.

    It is not the probability that the answer is right: that is `confidence` in the `coterie` object.
    """
    size, most = len(probabilities), max(probabilities)
    if not ordered:
        return min(max((most - 1 / size) / (1 - 1 / size), 0.0), 1.0)
    mode = probabilities.index(most)
    even = sum(abs(level - (size - 1) / 2) for level in range(size)) / size
    far = sum(probability * abs(index - mode) for index, probability in enumerate(probabilities))
    return min(max(1 - far / even, 0.0), 1.0)


# --- What goes over the wire at `POST /v1/decisions`: OpenAI's shapes, as `openai` 3.57 sends and reads them.


# --- Conversion between OpenAI's Decisions API and core values, both ways.


class _Asked(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)


class InputPart(_Asked):
    """One part of a text: `input_text`, `output_text`, `input_json` or `refusal`; images are not supported."""

    type: str
    text: StrictStr | None = None
    refusal: StrictStr | None = None
    data: dict[str, Any] | list[dict[str, Any]] | None = None
    """The data of an `input_json` part."""


Parts = StrictStr | list[InputPart]


class InputItem(_Asked):
    """A message, a call of a function or tool, or the output of a call."""

    type: str = "message"
    """Type of the item, such as `message`.

    `message`, `function_call`, `function_call_output`, `custom_tool_call` or `custom_tool_call_output`.
    """
    role: Literal["user", "assistant", "system", "developer"] | None = None
    content: Parts | None = None
    name: StrictStr | None = None
    arguments: StrictStr | None = None
    input: StrictStr | None = None
    output: Parts | None = None
    call_id: StrictStr | None = None


class PredicateQuestion(_Asked):
    """A question whether a statement about the input is true."""

    type: Literal["predicate"]
    name: Annotated[StrictStr, Field(max_length=1_000)] | None = None
    instructions: Parts


class DecisionChoice(_Asked):
    """One option. A text and a boolean of equal spelling are two options."""

    value: StrictStr | StrictBool
    description: StrictStr | None = None


class ChoicesQuestion(_Asked):
    """A question with one right option."""

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
    """Name of the model: `gpt-...` or `coterie` for the whole network, `coterie/NAME` for that specialist alone."""
    input: StrictStr | Annotated[list[InputItem], Field(min_length=1)]
    """The input that the questions are about."""
    questions: Annotated[
        list[Annotated[PredicateQuestion | ChoicesQuestion | LevelsQuestion, Field(discriminator="type")]],
        Field(min_length=1, max_length=MOST_QUESTIONS),
    ]
    coterie: DecisionExtension | None = None


class DecisionsResponse(_Asked):
    """The answers, in the order of the questions."""

    model: str
    answers: list[dict[str, Any]]
    """Answers of type `predicate`, `choice` or `score`, as in OpenAI's API."""
    usage: dict[str, Any]
    coterie: dict[str, Any]
    """Source of each answer, its calibrated confidence, whether it is accepted, and the usage."""


OPENAI_ALIASES = "gpt-"
"""Prefix of model names that mean the whole network."""


def decide_openai(gateway: Gateway, caller: Caller, body: bytes) -> ASGIApp:
    """Return the ASGI app for a decisions request. Raises `WireError`, `ValidationError` or `InputError`."""
    wire = read_wire(DecisionsRequest, body)
    state = request_about(_state(wire.input))
    request = request_for(gateway, caller, state, model=wire.model, aliases=OPENAI_ALIASES, extension=wire.coterie)
    questions = [_question(question, f"questions[{index}]") for index, question in enumerate(wire.questions)]
    return deciding(gateway, request, questions, lambda answer: _response(wire, answer), wire)


# --- In ------------------------------------------------------------------------------------------


def _state(given: str | list[InputItem]) -> object:
    """Return the state: a text, a conversation, or the JSON value if there is nothing else."""
    if isinstance(given, str):
        return given
    content = given[0].content
    if len(given) == 1 and given[0].role == "user" and isinstance(content, list) and len(content) == 1:
        return _text(content, "input[0].content") if content[0].data is None else content[0].data
    return list(_turns(given))


def _turns(items: list[InputItem]) -> Iterator[Message]:
    """Yield the messages, calls and outputs of an input as turns of a conversation."""
    called: set[str] = set()
    for index, item in enumerate(items):
        where = f"input[{index}]"
        match item.type:
            case "message" if item.role is not None and item.content is not None:
                role = "system" if item.role == "developer" else item.role
                yield Message(role=role, text=_text(item.content, f"{where}.content"))
            case "function_call" | "custom_tool_call" if item.name is not None and item.call_id is not None:
                called.add(item.call_id)
                yield Message(role="assistant", text=f"{item.name}({item.arguments or item.input or ''})")
            case "function_call_output" | "custom_tool_call_output" if item.output is not None:
                if item.call_id not in called:
                    raise WireError(
                        "invalid_request", f"No call before it has this call_id: {item.call_id!r:.100}.", param=where
                    )
                yield Message(role="user", text=_text(item.output, f"{where}.output"))
            case _:
                raise WireError("invalid_request", f"This is no item of type {item.type[:100]!r}.", param=where)


def _text(parts: Parts, where: str) -> str:
    if isinstance(parts, str):
        return parts
    return "\n".join(_part(part, f"{where}[{index}]") for index, part in enumerate(parts))


def _part(part: InputPart, where: str) -> str:
    if part.type == "input_json" and part.data is not None:
        return render_record(part.data)
    text = part.refusal if part.type == "refusal" else part.text
    if part.type not in {"input_text", "output_text", "input_json", "text", "refusal"}:
        raise WireError("unsupported_content", f"Only text can be read; this is {part.type[:100]!r}.", param=where)
    if text is None:
        raise WireError("invalid_request", f"A part of type {part.type!r} needs its content.", param=where)
    return text


def _question(wire: PredicateQuestion | ChoicesQuestion | LevelsQuestion, where: str) -> Question:
    instructions, name = _text(wire.instructions, f"{where}.instructions"), wire.name or ""
    if isinstance(wire, PredicateQuestion):
        return Question.predicate(instructions, name=name)
    if isinstance(wire, LevelsQuestion):
        options = tuple(Option(name=level.label, description=level.description or "") for level in wire.levels)
        return Question(kind="score", options=options, instructions=instructions, name=name)
    named = zip(_names(wire), wire.choices, strict=True)
    options = tuple(Option(name=value, description=choice.description or "") for value, choice in named)
    return Question(kind="choice", options=options, instructions=instructions, name=name)


def _names(wire: ChoicesQuestion) -> list[str]:
    """Return the names of the options; a boolean spelt like a text of the same question gets another name."""
    texts = {choice.value for choice in wire.choices if isinstance(choice.value, str)}
    booleans = {value: str(value).lower() for value in (False, True)}
    return [
        choice.value
        if isinstance(choice.value, str)
        else booleans[choice.value] + (" (boolean)" if booleans[choice.value] in texts else "")
        for choice in wire.choices
    ]


# --- Out -----------------------------------------------------------------------------------------


def _response(wire: DecisionsRequest, answer: Decisions) -> dict[str, Json]:
    return {
        "model": wire.model,
        "answers": [
            _answer(decision, question) for decision, question in zip(answer.decisions, wire.questions, strict=True)
        ],
        "usage": _usage(answer.trace.usage),
        "coterie": summarise_decisions(answer),
    }


def _answer(decision: Decision, question: PredicateQuestion | ChoicesQuestion | LevelsQuestion) -> dict[str, Json]:
    head: dict[str, Json] = {"type": question.type, "name": question.name}
    if isinstance(question, PredicateQuestion):
        return {**head, "probability": min(max(decision.number, 0.0), 1.0)}
    confidence = spread(decision.probabilities, ordered=decision.kind == "score")
    if isinstance(question, LevelsQuestion):
        levels: list[Json] = [
            {"value": index, "label": level.label, "probability": probability}
            for index, (level, probability) in enumerate(zip(question.levels, decision.probabilities, strict=True))
        ]
        return {**head, "score": decision.number, "confidence": confidence, "probabilities": levels}
    values = [choice.value for choice in question.choices]
    chosen = values[decision.options.index(decision.choice)]
    weights: list[Json] = [
        {"value": value, "probability": probability}
        for value, probability in zip(values, decision.probabilities, strict=True)
    ]
    return {**head, "choice": chosen, "confidence": confidence, "probabilities": weights}


def _usage(usage: Usage) -> dict[str, Json]:
    return {
        "input_tokens": usage.tokens_in,
        "input_tokens_details": {"cached_tokens": usage.tokens_cached, "cache_write_tokens": 0},
        "output_tokens": usage.tokens_out,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.tokens_in + usage.tokens_out,
    }
