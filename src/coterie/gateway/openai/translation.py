"""OpenAI <-> core, both ways, as functions of values. Nothing here knows HTTP or the network.

Decisions where the two worlds differ:
- The last user message is what is asked. Behind it only system messages may stand: a trailing assistant
  or tool message asks to continue a text, which a specialist cannot.
- `developer` is `system`. A tool's result is something the caller says, so it becomes a user's turn of the history.
- Sampling parameters, `stop`, `tools` and the like have no effect: specialists are deterministic and call no tools.
  What would silently break a caller is refused: `n` > 1, a forced tool call, a JSON answer, audio, logprobs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from coterie.gateway.errors import WireError
from coterie.gateway.wire import ChatMessage, ChatRequest, ContentPart, DocumentWire, ReleaseWire
from coterie.observe.plain import summarise
from coterie.types import Answer, Document, Label, Message, Release, Request, SpecialistCard, Trace

ROUTED = "coterie"
"""The model that lets the router choose; `coterie/NAME` pins."""

_LONGEST_ANSWER = 1_048_576
"""More tokens than any window has: larger wishes are the same wish."""

_ROLES: Mapping[str, Any] = {"developer": "system", "tool": "user"}


# --- In ------------------------------------------------------------------------------------------


def read_request(
    wire: ChatRequest, *, specialists: Collection[str], tenant: str, clearance: Label = Label.RESTRICTED
) -> Request:
    """What is asked of the network.

    Args:
        wire: The request.
        specialists: What a model's name may pin.
        tenant: Who asks.
        clearance: The most sensitive label that who asks may see.

    Raises:
        WireError: an unknown model, a conversation that asks nothing, content or a parameter that cannot be served, or
            more is to be seen than may be.
    """
    specialist = pinned_specialist(wire.model, specialists)
    _refuse_unsupported(wire)
    asked, history = _split_conversation(wire.messages)
    extension = wire.coterie
    wanted = extension.clearance if extension else None
    if wanted is not None and wanted > clearance:
        said = f"Asked with the clearance {wanted.value!r}; the most that is given here is {clearance.value!r}."
        raise WireError("invalid_request", said, param="coterie.clearance")
    wished = wire.max_completion_tokens or wire.max_tokens
    return Request(
        text=asked,
        columns=extension.columns if extension else None,
        document=_document(extension.document) if extension else None,
        history=history,
        label=extension.label if extension else None,
        release=_release(extension.release) if extension else None,
        clearance=wanted,
        session=extension.session if extension else None,
        language=extension.language if extension else None,
        tenant=tenant,
        specialist=specialist,
        max_tokens=min(wished, _LONGEST_ANSWER) if wished else None,
        quality=extension.quality if extension else None,
        budget=extension.budget if extension else None,
    )


def _release(wire: ReleaseWire | None) -> Release | None:
    return None if wire is None else Release(to=wire.to, because=wire.because)


def _document(wire: str | DocumentWire | None) -> Document | None:
    if isinstance(wire, DocumentWire):
        return Document(text=wire.text, name=wire.name, label=wire.label, shelf=wire.shelf)
    return None if wire is None else Document(text=wire)


def pinned_specialist(model: str, specialists: Collection[str]) -> str | None:
    """The specialist a model's name pins, or None for the router. Raises `WireError` when there is none such."""
    if model == ROUTED:
        return None
    name = model.removeprefix(f"{ROUTED}/")
    if name == model or name not in specialists:
        names = ", ".join(repr(known) for known in model_names(specialists))
        raise WireError("model_not_found", f"Asked for model {model[:100]!r}; there are {names}.", param="model")
    return name


def model_names(specialists: Collection[str]) -> list[str]:
    """The models of a network: the router, and each specialist."""
    return [ROUTED, *(f"{ROUTED}/{name}" for name in sorted(specialists))]


def _refuse_unsupported(wire: ChatRequest) -> None:
    """Refuse what a caller asked for and would miss."""
    form = (wire.response_format or {}).get("type", "text")
    refusals = (
        (wire.n not in {None, 1}, "n", "There is one answer, so n must be 1."),
        (_forces_tool(wire.tool_choice), "tool_choice", "Specialists call no tools; use 'auto' or 'none'."),
        (form != "text", "response_format", "A specialist's answer has its own form; only 'text' can be asked for."),
        (bool(wire.logprobs), "logprobs", "There are no logprobs; findings carry a calibrated confidence instead."),
        (set(wire.modalities or ()) - {"text"}, "modalities", "Answers are text."),
    )
    for unsupported, param, message in refusals:
        if unsupported:
            raise WireError("unsupported_parameter", message, param=param)


def _forces_tool(choice: str | dict[str, object] | None) -> bool:
    return isinstance(choice, dict) or choice not in {None, "auto", "none"}


def _split_conversation(messages: list[ChatMessage]) -> tuple[str, tuple[Message, ...]]:
    """The text that is asked, and the other turns with a text, oldest first."""
    texts = [_text(message, place) for place, message in enumerate(messages)]
    roles = [_ROLES.get(message.role, message.role) for message in messages]
    last = max((i for i, message in enumerate(messages) if message.role == "user"), default=None)
    if last is None:
        raise WireError("invalid_request", "No message has the role 'user': nothing is asked.", param="messages")
    for message in messages[last + 1 :]:
        if message.role not in {"system", "developer"}:
            said = f"The conversation ends with a message of role {message.role!r}; the last one must be the user's."
            raise WireError("invalid_request", said, param="messages")
    turns = zip(roles, texts, strict=True)
    history = tuple(Message(role=role, text=text) for i, (role, text) in enumerate(turns) if i != last and text)
    return texts[last], history


def _text(message: ChatMessage, place: int) -> str:
    """A message's text: its content, or its text parts one under the other."""
    if isinstance(message.content, str):
        return message.content
    parts = enumerate(message.content or ())
    return "\n".join(_part_text(part, f"messages[{place}].content[{i}]") for i, part in parts)


def _part_text(part: ContentPart, param: str) -> str:
    text = {"text": part.text, "refusal": part.refusal}.get(part.type)
    if part.type not in {"text", "refusal"}:
        message = f"Only text can be read; this part is of type {part.type[:100]!r}."
        raise WireError("unsupported_content", message, param=param)
    if text is None:
        raise WireError("invalid_request", f"A part of type {part.type!r} needs {part.type!r}.", param=param)
    return text


# --- Out -----------------------------------------------------------------------------------------


def completion(answer: Answer, *, model: str) -> dict[str, Any]:
    """An answer as a `chat.completion`."""
    message = {"role": "assistant", "content": answer.text, "refusal": None}
    return {
        "id": completion_id(answer.trace.id),
        "object": "chat.completion",
        "created": int(answer.trace.time),
        "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason(answer)}],
        "usage": token_usage(answer.trace),
        "coterie": summarise(answer.trace),
    }


def finish_reason(answer: Answer) -> str:
    """`length` where a text of the answer ends because it might be no longer, else `stop`."""
    return "length" if any(finding.cut for finding in answer.trace.findings if finding.accepted) else "stop"


def chunk(head: Mapping[str, Any], delta: Mapping[str, str], *, finish: str | None = None) -> dict[str, Any]:
    """A piece of an answer as a `chat.completion.chunk`; `head` is what all chunks of a stream share."""
    return {**head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]}


def chunk_head(trace_id: str, *, model: str, created: int, with_usage: bool) -> dict[str, Any]:
    """What all chunks of a stream share. `usage` is there, and null, only where the caller asked for it."""
    head = {"id": completion_id(trace_id), "object": "chat.completion.chunk", "created": created, "model": model}
    return {**head, "usage": None} if with_usage else head


def completion_id(trace_id: str) -> str:
    """The id of a completion, by its trace."""
    return f"chatcmpl-{trace_id}"


def token_usage(trace: Trace) -> dict[str, int]:
    """Token counts as OpenAI names them: all that engines read and wrote for the answer."""
    read, written = trace.usage.tokens_in, trace.usage.tokens_out
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def model_view(name: str, card: SpecialistCard | None, *, created: int, owner: str) -> dict[str, Any]:
    """A model as `GET /v1/models` lists it; the card is the specialist's, None for the router."""
    view: dict[str, Any] = {"id": name, "object": "model", "created": created, "owned_by": owner}
    if card is not None:
        view["coterie"] = {
            "task": card.task,
            "description": card.description,
            "rung": card.rung,
            "version": card.version,
            "columns": list(card.columns),
        }
    return view
