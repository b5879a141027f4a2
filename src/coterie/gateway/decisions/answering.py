"""What the doors of typed questions share: strict JSON in, one call of the network, the caller's rights."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.types import ASGIApp, Receive, Scope, Send

from coterie.decisions.questions import check_questions
from coterie.gateway.access import Caller
from coterie.gateway.connection import TRACE_HEADER, JSONBody
from coterie.gateway.errors import WireError
from coterie.gateway.exchange import ignored_header
from coterie.gateway.openai.translation import pinned_specialist, unread_options
from coterie.gateway.work import Gateway
from coterie.observe.plain import EGRESS_HEADER
from coterie.runtime.codec import Json
from coterie.types import Decisions, Label, Question, Request


class DecisionExtension(BaseModel):
    """The `coterie` object of a request."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)

    label: Label | None = None
    """Sensitivity of the state."""
    clearance: Label | None = None
    """The most sensitive label that may be seen for it. It may only be below the caller's own."""
    language: str | None = Field(default=None, pattern=r"^[a-z]{2}(-[A-Z]{2})?$")
    """Language of the state; without it, it is detected."""


def strict_json(body: bytes) -> Any:  # noqa: ANN401 - JSON
    """Return a body as JSON. Raises `WireError` for NaN, half a surrogate pair, a name given twice, or what is none."""
    try:
        content = json.loads(body, object_pairs_hook=_once, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        said = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise WireError("invalid_json", f"The body is not valid JSON: {said[:200]}.") from None
    if b"\\u" in body:  # only an escape can make one: bytes that hold one are no UTF-8
        try:
            json.dumps(content, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise WireError("invalid_json", "The body holds half a surrogate pair, which is no text.") from None
    return content


def _once(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice[:100]!r} is given twice in one object")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON number")


def request_for(
    gateway: Gateway, caller: Caller, state: Request, *, model: str, aliases: str, extension: DecisionExtension | None
) -> Request:
    """Return the request of a caller about a state.

    Args:
        gateway: Its door.
        caller: Whose rights it has.
        state: Text and columns.
        model: What was asked for; names that begin with `aliases` mean the whole network.
        aliases: How the API's own models are called.
        extension: What else the caller says.

    Raises:
        WireError: an unknown model, or more is to be seen than may be.
    """
    network = gateway.network
    most = caller.clearance(network.default_label)
    seen = [name for name in network.specialists if caller.sees(name)]
    extension = extension or DecisionExtension()
    if extension.clearance is not None and extension.clearance > most:
        said = f"Asked with the clearance {extension.clearance.value!r}; the most that is given is {most.value!r}."
        raise WireError("invalid_request", said, param="coterie.clearance")
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
    """Answers typed questions, whole."""

    gateway: Gateway
    request: Request
    questions: Sequence[Question]
    render: Callable[[Decisions], dict[str, Json]]
    """The answer in the shape of the API."""
    ignored: frozenset[str]
    """What the request asked for and nobody does here."""

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
    """Return what answers; a request that cannot be served waits for no place. Raises `InputError`."""
    check_questions(questions)
    ignored = unread_options(wire.model_extra)
    return WholeDecision(gateway=gateway, request=request, questions=questions, render=render, ignored=ignored)


def spread(probabilities: Sequence[float], *, ordered: bool) -> float:
    """Return TypeSafe's confidence: how concentrated a distribution is, 0 if even, 1 if one option has all of it.

    It is no probability that the answer is right: that is `confidence` in the `coterie` object.
    """
    size, most = len(probabilities), max(probabilities)
    if not ordered:
        return min(max((most - 1 / size) / (1 - 1 / size), 0.0), 1.0)
    mode = probabilities.index(most)
    even = sum(abs(place - (size - 1) / 2) for place in range(size)) / size
    far = sum(probability * abs(place - mode) for place, probability in enumerate(probabilities))
    return min(max(1 - far / even, 0.0), 1.0)
