"""The answer of a deployment, in the shape of the model's server whose place it takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from coterie.gateway.connection import DONE, encode, event
from coterie.gateway.openai.translation import chunk, completion_id
from coterie.network.relaying import RelayAnswer

_STREAM = "text/event-stream; charset=utf-8"


def deployed_answer(
    path: str, content: Mapping[str, Any], answer: RelayAnswer, trace_id: str, *, headers: Mapping[str, str]
) -> Response:
    """Return the response to a request of one of the relayed paths, whole or as the events of a stream.

    Args:
        path: Below `/v1`.
        content: The body of the request.
        answer: What the deployment says.
        trace_id: That of the request.
        headers: Further headers.
    """
    stream = bool(content.get("stream"))
    make = {
        "/chat/completions": _chat,
        "/completions": _completion,
        "/responses": _response,
        "/messages": _message,
    }[path]
    body = make(content, answer, trace_id, stream=stream)
    return Response(body, headers=dict(headers), media_type=_STREAM if stream else "application/json")


def _usage(answer: RelayAnswer) -> dict[str, int]:
    read, written = answer.usage.tokens_in, answer.usage.tokens_out
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def _chat(content: Mapping[str, Any], answer: RelayAnswer, trace_id: str, *, stream: bool) -> bytes:
    head = {"id": completion_id(trace_id), "created": int(answer.time), "model": content["model"]}
    if not stream:
        message = {"role": "assistant", "content": answer.text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        return encode({**head, "object": "chat.completion", "choices": [choice], "usage": _usage(answer)})
    head["object"] = "chat.completion.chunk"
    pieces = event(chunk(head, {"role": "assistant", "content": answer.text})) + event(chunk(head, {}, finish="stop"))
    if (content.get("stream_options") or {}).get("include_usage"):
        pieces += event({**head, "choices": [], "usage": _usage(answer)})
    return pieces + DONE


def _completion(content: Mapping[str, Any], answer: RelayAnswer, trace_id: str, *, stream: bool) -> bytes:
    choice = {"index": 0, "text": answer.text, "logprobs": None, "finish_reason": "stop"}
    told = {
        "id": f"cmpl-{trace_id}",
        "object": "text_completion",
        "created": int(answer.time),
        "model": content["model"],
        "choices": [choice],
    }
    return event(told) + DONE if stream else encode({**told, "usage": _usage(answer)})


def _response(content: Mapping[str, Any], answer: RelayAnswer, trace_id: str, *, stream: bool) -> bytes:
    part = {"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []}
    item = {"id": f"msg_{trace_id}", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    usage = {"input_tokens": answer.usage.tokens_in, "output_tokens": answer.usage.tokens_out}
    told = {
        "id": f"resp_{trace_id}",
        "object": "response",
        "created_at": int(answer.time),
        "status": "completed",
        "model": content["model"],
        "output": [item],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {**usage, "total_tokens": sum(usage.values())},
    }
    if not stream:
        return encode(told)
    begun = {**told, "status": "in_progress", "output": [], "usage": None}
    place = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    empty = {**part, "text": ""}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "content": []}},
        {"type": "response.content_part.added", **place, "part": empty},
        {"type": "response.output_text.delta", **place, "delta": answer.text, "logprobs": []},
        {"type": "response.output_text.done", **place, "text": answer.text, "logprobs": []},
        {"type": "response.content_part.done", **place, "part": part},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": told},
    ]
    return b"".join(
        b"event: " + each["type"].encode() + b"\n" + event({**each, "sequence_number": number})
        for number, each in enumerate(events)
    )


def _message(content: Mapping[str, Any], answer: RelayAnswer, trace_id: str, *, stream: bool) -> bytes:
    """Anthropic's Messages API."""
    told: dict[str, Any] = {
        "id": f"msg_{trace_id}",
        "type": "message",
        "role": "assistant",
        "model": content["model"],
        "content": [{"type": "text", "text": answer.text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": answer.usage.tokens_in, "output_tokens": answer.usage.tokens_out},
    }
    if not stream:
        return encode(told)
    ended = {"stop_reason": told["stop_reason"], "stop_sequence": None}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**told, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": answer.text}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": ended, "usage": told["usage"]},
        {"type": "message_stop"},
    ]
    return b"".join(b"event: " + each["type"].encode() + b"\n" + event(each) for each in events)
