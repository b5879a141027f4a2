"""Common code of the APIs for typed questions: one call of the network, the caller's rights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pydantic import BaseModel, ConfigDict, Field
from starlette.types import ASGIApp, Receive, Scope, Send

from coterie.decisions.questions import check_questions
from coterie.gateway.access import Caller
from coterie.gateway.connection import JSONBody
from coterie.gateway.errors import WireError
from coterie.gateway.exchange import ignored_header
from coterie.gateway.openai.translation import pinned_specialist, unread_options
from coterie.gateway.work import Gateway
from coterie.observe.plain import EGRESS_HEADER, TRACE_HEADER
from coterie.runtime.codec import Json
from coterie.types import Decisions, Label, Question, Request


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
