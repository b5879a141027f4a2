"""Function calls as JSON: the schema for a model's reply, its instructions, and the parser of its reply.

Every model that writes JSON of a schema can call functions, whether or not its chat template supports tools, and
arguments are always JSON of the function's parameters. A reply is `{"calls": [{"name": ..., "arguments": {...}}]}` or,
where no call is required, `{"answer": "..."}`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from coterie.structured.schema import Node, SchemaRefused, decodable, read_answer, read_schema
from coterie.types import Function, FunctionCall, Message, Tools

ROOM = (0, 2, 4)
"""Levels (`structured.schema.LEVELS`) at which a reply is requested in turn, until it fits."""
_TOLD = (
    "These functions can be called:\n{functions}\n"
    'Answer with JSON: {{"calls": [{{"name": ..., "arguments": {{...}}}}]}} to call them{otherwise}.'
)
_OR_ANSWER = ', or {"answer": "..."} if none is needed or none fits'
_FIRST = 'Answer with JSON: {"answer": "..."}.'
_FORM = 'The value of "answer" is no text but JSON of this schema: '
_AGAIN = "This is no JSON of the schema: {wrong}. Answer again, briefly, with nothing but JSON of the schema."
_MOST_REPEATED = 2_000
"""Most characters of a wrong reply that the model is shown again."""


@dataclass(frozen=True, kw_only=True)
class ToolReply:
    """A model's reply where it could call functions: calls, an answer in words, or neither with the error."""

    calls: tuple[FunctionCall, ...] = ()
    answer: str = ""
    wrong: str = ""


def function_of(name: str, description: str, parameters: object) -> Function:
    """Return a function with its parameters checked. Raises `SchemaRefused`, a kind of `InputError`."""
    if isinstance(parameters, Mapping) and parameters.get("type", "object") != "object":
        raise SchemaRefused("", f"parameters have the type 'object', found {str(parameters['type'])[:60]!r}")
    given = parameters if parameters else {"type": "object", "properties": {}, "additionalProperties": False}
    schema = read_schema({"type": "object", **given} if isinstance(given, Mapping) else given)
    return Function(name=name, description=description, parameters=given, schema=schema)  # type: ignore[arg-type]


def reply_schema(tools: Tools, form: Node | None = None) -> Node:
    """Return the normalised schema of a reply: function calls or, where none is required, an answer.

    The answer is words or, with a `form`, JSON of that schema.
    """
    options = []
    if tools.functions:
        calls: dict[str, Any] = {"type": "array", "minItems": 1, "maxItems": tools.most, "uniqueItems": True}
        calls["items"] = {"anyOf": [_call(function) for function in tools.functions]}
        options.append(_object({"calls": calls}))
    if not tools.required:
        options.append(_object({"answer": {"type": "string"} if form is None else form}))
    return read_schema({"anyOf": options})


def _call(function: Function) -> dict[str, object]:
    return _object({"name": {"const": function.name}, "arguments": function.schema})


def _object(properties: dict[str, object]) -> dict[str, object]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def told_of(tools: Tools, form: Node | None = None) -> str:
    """Return the description of the functions for a model, and of the form of its answer."""
    return _told_of(tools) if form is None else f"{_told_of(tools)}\n{_FORM}{_json(form)}"


def _told_of(tools: Tools) -> str:
    if not tools.functions:
        return _FIRST
    about = [
        {"name": function.name, "description": function.description, "parameters": function.parameters}
        for function in tools.functions
    ]
    functions = json.dumps([{k: v for k, v in description.items() if v} for description in about], ensure_ascii=False)
    return _TOLD.format(functions=functions, otherwise="" if tools.required else _OR_ANSWER)


def within(schema: Node, level: int) -> dict[str, Any]:
    """Return the schema for an engine, wrapped in an object: strict mode allows no alternatives at the root."""
    return decodable(_wrapped(schema), level)


def _wrapped(schema: Node) -> Node:
    return {"type": "object", "properties": {"reply": schema}, "required": ["reply"], "additionalProperties": False}


def read_reply(schema: Node, text: str, *, wrapped: bool = True, formed: bool = False) -> ToolReply:
    """Parse a model's reply, and check it against the schema; the result names what is wrong.

    An answer that is `formed` is JSON of the request's schema, and is returned as its text.
    """
    text, wrong = read_answer(_wrapped(schema) if wrapped else schema, text)
    if wrong:
        return ToolReply(wrong=wrong)
    reply = json.loads(text)
    reply = reply["reply"] if wrapped else reply
    if "calls" not in reply:
        answer = reply["answer"]
        return ToolReply(answer=answer.strip() if isinstance(answer, str) and not formed else _json(answer))
    return ToolReply(calls=tuple(FunctionCall(**call) for call in reply["calls"]))


def written_calls(calls: Sequence[FunctionCall]) -> str:
    """Return calls as the text of a finding."""
    return _json({"calls": [{"name": call.name, "arguments": call.arguments} for call in calls]})


def stored_calls(text: str) -> tuple[FunctionCall, ...]:
    """Return the calls from the text of a finding."""
    return tuple(FunctionCall(**load) for load in json.loads(text)["calls"])


def call_turn(calls: Sequence[FunctionCall]) -> Message:
    """Return calls as a turn of the conversation, in the form that a model writes and any chat template takes."""
    return Message(role="assistant", text=written_calls(calls))


def result_turn(text: str, name: str = "") -> Message:
    """Return the result of a call as a turn of the conversation."""
    return Message(role="user", text=f"Result of the call{f' of {name}' if name else ''}: {text}")


def correction(text: str, wrong: str) -> tuple[Message, ...]:
    """Return the turns after which a model is asked again: its reply that is no JSON of the schema, and the fault."""
    request = Message(role="user", text=_AGAIN.format(wrong=wrong))
    return (Message(role="assistant", text=text[:_MOST_REPEATED]), request) if text.strip() else (request,)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
