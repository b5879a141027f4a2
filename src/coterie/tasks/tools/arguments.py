"""The source of an argument's value, by its schema: words of the text, one of a few values, or a constant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from coterie.errors import DataError
from coterie.structured.schema import Node
from coterie.types import Function

Kind = Literal["text", "number", "date", "choice", "constant"]
_QUOTED: Mapping[str, Kind] = {"string": "text", "number": "number", "integer": "number"}


@dataclass(frozen=True, kw_only=True)
class Argument:
    """One argument of a function, with the source of its value."""

    name: str
    kind: Kind
    required: bool
    whole: bool = False
    """Whether it is a number without a fraction."""
    field: str = ""
    """The extractor's field that finds it; functions share one field for arguments of one name and kind."""
    constant: Any = None


def arguments_of(functions: Iterable[Function]) -> dict[str, tuple[Argument, ...]]:
    """Return the arguments of each function by its name. Raises `DataError` for one that cannot be filled in."""
    fields: dict[tuple[str, str], str] = {}
    by_function = {}
    for function in functions:
        properties, required = function.schema["properties"], function.schema["required"]
        by_function[function.name] = tuple(
            _argument(function.name, name, node, required=name in required, fields=fields)
            for name, node in properties.items()
        )
    return by_function


def _argument(function: str, name: str, node: Node, *, required: bool, fields: dict[tuple[str, str], str]) -> Argument:
    node = _without_null(node)
    if "enum" in node and len(node["enum"]) == 1:
        return Argument(name=name, kind="constant", required=required, constant=node["enum"][0])
    if "enum" in node or node.get("type") == "boolean":
        return Argument(name=name, kind="choice", required=required)
    kind = _QUOTED.get(str(node.get("type")))
    if kind is None:
        raise DataError(
            f"The argument {name!r} of the function {function!r} is neither a text, a number, a boolean nor an enum.",
            hint="Let a `generate` specialist or the generalist call this function.",
        )
    kind = "date" if node.get("format") == "date" else kind
    field = fields.setdefault((name, kind), f"a{len(fields)}")
    return Argument(name=name, kind=kind, required=required, whole=node.get("type") == "integer", field=field)


def _without_null(node: Node) -> Node:
    options = [option for option in node.get("anyOf", ()) if option != {"type": "null"}]
    return options[0] if len(options) == 1 else node


def in_words(warning: str, arguments: Mapping[str, tuple[Argument, ...]]) -> str:
    """Return a warning of the extractor with the argument's name in place of the internal name of its field."""
    field, _, rest = warning.partition(": ")
    named = (argument.name for several in arguments.values() for argument in several if argument.field == field)
    name = next(named, None) if rest else None
    return f"arguments: {warning}" if name is None else f"argument {name!r}: {rest}"


def field_types(arguments: Mapping[str, tuple[Argument, ...]]) -> dict[str, str]:
    """Return the extractor's fields with their types."""
    return {argument.field: argument.kind for several in arguments.values() for argument in several if argument.field}
