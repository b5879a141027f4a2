"""Stored responses: `GET` and `DELETE /v1/responses/{response_id}`, and the items of its input.

A response is stored as a turn of a session: the answer as its text, the parameters that it repeats in the envelope of
its question. It is shown to whom its trace is shown: callers of its tenant who may see the specialists that took part,
up to the clearance of the key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request as HTTPRequest
from starlette.responses import Response

from coterie.gateway.access import Caller
from coterie.gateway.api.operations import find_trace
from coterie.gateway.connection import JSONBody
from coterie.gateway.errors import WireError
from coterie.gateway.openai.responses import ResponseFormat, no_response, parts_of
from coterie.gateway.work import Gateway
from coterie.types import Answer, Entry, Message

_PARAM = "response_id"
_PAGE, _LONGEST_PAGE = 20, 100


@dataclass(frozen=True, kw_only=True)
class _Stored:
    """A response that the caller may see."""

    id: str
    session: str
    envelope: Mapping[str, Any]
    answer: Answer


async def show_response(http: HTTPRequest) -> Response:
    """Respond with a stored response. Raises `WireError` if the caller may see none of this id."""
    if http.query_params.get("stream") == "true":
        raise WireError("unsupported_parameter", "A stored response is shown whole, not as a stream.", param="stream")
    stored = await _find(http)
    kept, trace = stored.envelope, stored.answer.trace
    form = ResponseFormat(
        head=dict(kept["head"]),
        function=kept["function"],
        created=int(trace.time),
        filtered=kept["abstain"] == "content_filter",
    )
    refused = not stored.answer.accepted and kept["abstain"] != "text"
    return JSONBody(form.whole(stored.answer, refused=refused))


async def delete_response(http: HTTPRequest) -> Response:
    """Erase a stored response with its question. Raises `WireError` if the caller may see none of this id."""
    stored = await _find(http)
    await Gateway.of(http).network.store.erase(stored.session, stored.answer.trace.tenant, stored.answer.trace.id)
    return JSONBody({"id": stored.id, "object": "response", "deleted": True})


async def list_input_items(http: HTTPRequest) -> Response:
    """Respond with a page of the items of a response's input, the last one first. Raises `WireError`."""
    given, stored = http.query_params, await _find(http)
    if (order := given.get("order", "desc")) not in {"asc", "desc"}:
        raise WireError("invalid_request", f"order is asc or desc, not {order!r:.100}.", param="order")
    limit = given.get("limit", str(_PAGE))
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= _LONGEST_PAGE):
        raise WireError("invalid_request", f"limit is a number from 1 to {_LONGEST_PAGE}.", param="limit")
    items = _items(stored)
    items = items if order == "asc" else items[::-1]
    if (after := given.get("after")) is not None:
        names = [item["id"] for item in items]
        if after not in names:
            raise WireError("invalid_request", f"The input has no item {after!r:.100}.", param="after")
        items = items[names.index(after) + 1 :]
    page = items[: int(limit)]
    ends = {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {"first_id": None, "last_id": None}
    return JSONBody({"object": "list", "data": page, **ends, "has_more": len(page) < len(items)})


async def _find(http: HTTPRequest) -> _Stored:
    gateway, caller, named = Gateway.of(http), Caller.of(http.scope), http.path_params[_PARAM]
    session, request = parts_of(named, _PARAM)
    context = await gateway.network.store.context(session, caller.tenant)
    turn = [entry for entry in context.entries if entry.request == request and isinstance(entry.content, Message)]
    clearance = caller.clearance(gateway.network.default_label)
    if not turn or not turn[0].envelope or any(entry.label > clearance for entry in turn):
        raise no_response(named, _PARAM)
    try:
        trace = await find_trace(gateway, caller, request)
    except WireError:
        raise no_response(named, _PARAM) from None
    return _Stored(
        id=named, session=session, envelope=turn[0].envelope, answer=Answer(text=_text(turn[-1]), trace=trace)
    )


def _text(entry: Entry) -> str:
    return entry.content.text if isinstance(entry.content, Message) else ""


def _items(stored: _Stored) -> Sequence[dict[str, Any]]:
    """Return the items of the input, each with an id and its parts as a list."""
    given, items = stored.envelope["input"], []
    for number, item in enumerate([{"role": "user", "content": given}] if isinstance(given, str) else given):
        whole = {"id": f"item_{stored.answer.trace.id}_{number}", "status": "completed", **item}
        if "role" in item:
            whole["type"] = "message"
            kind = "output_text" if item["role"] == "assistant" else "input_text"
            content = item.get("content")
            whole["content"] = [{"type": kind, "text": content}] if isinstance(content, str) else content
        items.append(whole)
    return items
