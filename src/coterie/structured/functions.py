"""Calls of functions as JSON: the schema that a model is held to, what it is told, and how its reply is read.

Every model that writes JSON of a schema can call functions, whatever its chat template knows of tools, and arguments
are always JSON of the function's parameters. A reply is `{"calls": [{"name": ..., "arguments": {...}}]}` or, where no
call is required, `{"answer": "..."}`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from coterie.structured.schema import Node, SchemaRefused, decodable, read_answer, read_schema
from coterie.types import Function, FunctionCall, Message, Tools

ROOM = (0, 2, 4)
"""Levels of room (`structured.schema.LEVELS`) in which a reply is asked for, until it fits."""
_TOLD = (
    "These functions can be called:\n{functions}\n"
    'Answer with JSON: {{"calls": [{{"name": ..., "arguments": {{...}}}}]}} to call them{otherwise}.'
)
_OR_ANSWER = ', or {"answer": "..."} if none is needed or none fits'
_FIRST = 'Answer with JSON: {"answer": "..."}.'


@dataclass(frozen=True, kw_only=True)
class ToolReply:
    """What a model wrote where it could call functions: calls, an answer in words, or neither with what is wrong."""

    calls: tuple[FunctionCall, ...] = ()
    answer: str = ""
    wrong: str = ""


def function_of(name: str, description: str, parameters: object) -> Function:
    """A function with its parameters checked. Raises `SchemaRefused`, a kind of `InputError`."""
    if isinstance(parameters, Mapping) and parameters.get("type", "object") != "object":
        raise SchemaRefused("", f"parameters have the type 'object', found {str(parameters['type'])[:60]!r}")
    given = parameters if parameters else {"type": "object", "properties": {}, "additionalProperties": False}
    schema = read_schema({"type": "object", **given} if isinstance(given, Mapping) else given)
    return Function(name=name, description=description, parameters=given, schema=schema)  # type: ignore[arg-type]


def reply_schema(tools: Tools) -> Node:
    """The schema of a reply, normalised: calls of the functions or, where none is required, an answer in words."""
    options = []
    if tools.functions:
        calls: dict[str, Any] = {"type": "array", "minItems": 1, "maxItems": tools.most, "uniqueItems": True}
        calls["items"] = {"anyOf": [_call(function) for function in tools.functions]}
        options.append(_object({"calls": calls}))
    if not tools.required:
        options.append(_object({"answer": {"type": "string"}}))
    return read_schema({"anyOf": options})


def _call(function: Function) -> dict[str, object]:
    return _object({"name": {"const": function.name}, "arguments": function.schema})


def _object(properties: dict[str, object]) -> dict[str, object]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def told_of(tools: Tools) -> str:
    """What a model is told of the functions."""
    if not tools.functions:
        return _FIRST
    about = [
        {"name": each.name, "description": each.description, "parameters": each.parameters} for each in tools.functions
    ]
    functions = json.dumps([{k: v for k, v in each.items() if v} for each in about], ensure_ascii=False)
    return _TOLD.format(functions=functions, otherwise="" if tools.required else _OR_ANSWER)


def within(schema: Node, level: int) -> dict[str, Any]:
    """The schema as an engine is given it, in an object: servers in strict mode take no alternatives at the root."""
    return decodable(_wrapped(schema), level)


def _wrapped(schema: Node) -> Node:
    return {"type": "object", "properties": {"reply": schema}, "required": ["reply"], "additionalProperties": False}


def read_reply(schema: Node, text: str, *, wrapped: bool = True) -> ToolReply:
    """What a model wrote, read with suspicion: it fits the schema, or what is wrong is said."""
    text, wrong = read_answer(_wrapped(schema) if wrapped else schema, text)
    if wrong:
        return ToolReply(wrong=wrong)
    said = json.loads(text)
    said = said["reply"] if wrapped else said
    if "calls" not in said:
        return ToolReply(answer=said["answer"].strip())
    return ToolReply(calls=tuple(FunctionCall(**each) for each in said["calls"]))


def written_calls(calls: Sequence[FunctionCall]) -> str:
    """Calls as the text of a finding."""
    return _json({"calls": [{"name": each.name, "arguments": each.arguments} for each in calls]})


def stored_calls(text: str) -> tuple[FunctionCall, ...]:
    """The calls in the text of a finding that called."""
    return tuple(FunctionCall(**each) for each in json.loads(text)["calls"])


def call_turn(calls: Sequence[FunctionCall]) -> Message:
    """Calls as a turn of the conversation, as any chat template takes it: as a model writes them."""
    return Message(role="assistant", text=written_calls(calls))


def result_turn(text: str, name: str = "") -> Message:
    """The result of a call as a turn of the conversation."""
    return Message(role="user", text=f"Result of the call{f' of {name}' if name else ''}: {text}")


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
