"""JSON schemas of answers: the supported subset, normalised; validation; bounds for constrained decoding.

A schema is read once: references are resolved, `allOf` is merged, and annotations are dropped except for the
descriptions of properties (`descriptions` of their object). The result is a schema again, of the forms `{}`, `enum`,
`anyOf`, `oneOf`, or one `type` with its own keywords. A schema that is unsupported, recursive, too large or impossible
to satisfy is refused, with the place in it.

Function calls are such JSON, too. Every model that writes JSON of a schema can call functions, whether or not its chat
template supports tools, and arguments are always JSON of the function's parameters. A reply is `{"calls": [{"name":
..., "arguments": {...}}]}` or, where no call is required, `{"answer": "..."}`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache, partial, reduce
from re import _parser as expressions  # type: ignore[attr-defined] # what `re.compile` reads with
from typing import Any

from pydantic_core import SchemaError, SchemaValidator, ValidationError, core_schema

from coterie.errors import InputError
from coterie.types import Function, FunctionCall, Message, Tools

Node = Mapping[str, Any]
"""A normalised schema."""

MOST_NODES, MOST_DEPTH, MOST_VALUES, MOST_CHARACTERS, MOST_LENGTH = 1_000, 24, 5_000, 200_000, 1_000
"""Limits of a schema.

Nodes with references resolved, levels, values of all enums, characters of all names and values, least length.
"""

_KEYWORDS = {
    "string": {"minLength", "maxLength", "pattern", "format"},
    "number": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
    "array": {"items", "prefixItems", "minItems", "maxItems", "uniqueItems"},
    "object": {"properties", "required", "additionalProperties", "minProperties", "maxProperties"},
    "boolean": set[str](),
    "null": set[str](),
}
_KEYWORDS["integer"] = _KEYWORDS["number"]
_TYPES = tuple(_KEYWORDS)
_ANNOTATIONS = {
    *("$schema", "$id", "$comment", "$defs", "definitions", "title", "description", "descriptions", "default"),
    *("example", "examples"),
    *("deprecated", "readOnly", "writeOnly", "discriminator", "strict", "contentEncoding", "contentMediaType"),
}
_COMBINED = {"$ref", "allOf", "anyOf", "oneOf", "type", "enum", "const"}
_SUPPORTED = sorted(_COMBINED.union(*_KEYWORDS.values()))
VOCABULARY = frozenset({*_SUPPORTED, *_ANNOTATIONS})
"""The names of keywords: words of JSON Schema and not of whoever wrote the schema."""
_COUNTS = {"minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"}
_LEAST, _MOST = ("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")
FORMATS = {
    "date": r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$",
    "time": r"^([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)?$",
    "date-time": r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])[Tt ]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?"
    r"([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)?$",
    "uuid": r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$",
    "email": r"^[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63}){1,4}$",
    "ipv4": r"^((25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(25[0-5]|2[0-4]\d|1?\d?\d)$",
    "duration": r"^P(\d{1,6}D|\d{1,6}W|(\d{1,6}Y)?(\d{1,6}M)?(\d{1,6}D)?T(\d{1,6}H)?(\d{1,6}M)?\d{1,6}S|\d{1,6}[YM])$",
}
"""Supported formats, each as a pattern that is at least as narrow; any other format is ignored as a comment."""


class SchemaRefused(InputError):
    """A JSON schema that is not supported, or that no value can satisfy; `place` says where in it."""

    code = "schema_refused"

    def __init__(self, where: str, problem: str, *, hint: str = "") -> None:
        super().__init__(f"The schema cannot be used: {problem} at {where or '$'}.", hint=hint)
        self.place = where


@dataclass
class _Reader:
    """Reads one schema and counts its contents."""

    root: Mapping[str, Any]
    nodes: int = 0
    values: int = 0
    characters: int = 0
    open: list[str] = field(default_factory=list)
    """References that are being resolved."""

    def read(self, raw: object, where: str, depth: int) -> Node:
        """Return a normalised node. Raises `SchemaRefused`."""
        self.nodes += 1
        if self.nodes > MOST_NODES or depth > MOST_DEPTH:
            size = f"more than {MOST_NODES} parts" if self.nodes > MOST_NODES else f"more than {MOST_DEPTH} levels"
            raise SchemaRefused(where, f"it has {size}, references put in", hint="Ask for less in one answer.")
        if raw is True:
            return {}
        if raw is False:
            raise _impossible(where, "`false` allows nothing")
        if not isinstance(raw, Mapping):
            raise SchemaRefused(where, f"a schema is an object, found {_shown(raw)}")
        self._check_keywords(raw, where)
        merged = reduce(partial(_merge, where=where), self._parts(raw, where, depth))
        if len(json.dumps(merged)) > 4 * MOST_CHARACTERS:
            raise SchemaRefused(where, "it is too large once its parts are put together")
        return merged

    def _parts(self, raw: Mapping[str, Any], where: str, depth: int) -> Iterator[Node]:
        yield self._own(raw, where, depth)
        if "$ref" in raw:
            yield self._referred(raw["$ref"], where, depth)
        for number, sub in self._list(raw, "allOf", where):
            yield self.read(sub, f"{where}.allOf[{number}]", depth)
        for key in ("anyOf", "oneOf"):
            if key in raw:
                options = [self.read(o, f"{where}.{key}[{i}]", depth + 1) for i, o in self._list(raw, key, where)]
                yield options[0] if len(options) == 1 else {key: options}

    def _check_keywords(self, raw: Mapping[str, Any], where: str) -> None:
        keywords = _ANNOTATIONS | _COMBINED
        for key in raw:
            if (
                key not in keywords
                and not any(key in own for own in _KEYWORDS.values())
                and not str(key).startswith("x-")
            ):
                raise SchemaRefused(
                    where,
                    f"the keyword {str(key)[:60]!r} is not supported",
                    hint=f"Supported: {', '.join(_SUPPORTED)}.",
                )

    def _referred(self, ref: object, where: str, depth: int) -> Node:
        if not isinstance(ref, str) or not ref.startswith("#"):
            raise SchemaRefused(where, f"$ref {_shown(ref)} does not point into the schema itself")
        if ref in self.open or ref == "#":
            raise SchemaRefused(where, f"it is recursive through {ref[:100]!r}", hint="Write the levels out.")
        target: object = self.root
        for part in ref.removeprefix("#").split("/")[1:]:
            step = part.replace("~1", "/").replace("~0", "~")
            if isinstance(target, Mapping) and step in target:
                target = target[step]
            elif isinstance(target, list) and step.isdecimal() and int(step) < len(target):
                target = target[int(step)]
            else:
                raise SchemaRefused(where, f"$ref {ref[:100]!r} points to nothing")
        self.open.append(ref)
        try:
            return self.read(target, where, depth + 1)
        finally:
            self.open.pop()

    def _list(self, raw: Mapping[str, Any], key: str, where: str) -> Iterator[tuple[int, object]]:
        given = raw.get(key, ())
        if key in raw and (not isinstance(given, list) or not given):
            raise SchemaRefused(where, f"{key} is a list with at least one schema, found {_shown(given)}")
        return enumerate(given)

    def _own(self, raw: Mapping[str, Any], where: str, depth: int) -> Node:
        """Return what this node's own keywords allow: one type, several as `anyOf`, an enum, or anything."""
        if "enum" in raw or "const" in raw:
            return self._enum(raw, where, depth)
        types = self._types(raw, where)
        if not types:
            return {}
        nodes = [self._typed(kind, raw, where, depth) for kind in types]
        return nodes[0] if len(nodes) == 1 else {"anyOf": nodes}

    def _types(self, raw: Mapping[str, Any], where: str) -> Sequence[str]:
        given = raw.get("type")
        types = given if isinstance(given, list) else [] if given is None else [given]
        for name in types:
            if name not in _TYPES:
                raise SchemaRefused(where, f"there is no type {_shown(name)}", hint=f"Types: {', '.join(_TYPES)}.")
        if not types:  # a keyword of one type means that type
            types = [kind for kind in ("object", "array", "string", "number") if _KEYWORDS[kind] & raw.keys()]
        if "number" in types and "integer" in types:
            types = [kind for kind in types if kind != "integer"]
        return list(dict.fromkeys(types))

    def _enum(self, raw: Mapping[str, Any], where: str, depth: int) -> Node:
        values = raw.get("enum", [raw.get("const")])
        if not isinstance(values, list) or not values:
            raise SchemaRefused(where, f"enum is a list with at least one value, found {_shown(values)}")
        self.values += len(values)
        self.characters += len(json.dumps(values))
        self._check_size(where)
        keys = [_key(value) for value in values]
        if len(set(keys)) < len(keys):
            raise SchemaRefused(where, "enum has a value twice")
        if "const" in raw:
            values = [value for value in values if _key(value) == _key(raw["const"])]
        types = self._types(raw, where)
        nodes = [self._typed(kind, raw, where, depth) for kind in types]
        values = [value for value in values if not nodes or any(not fault(node, value) for node in nodes)]
        if not values:
            raise _impossible(where, "no value of enum or const fits the other keywords")
        return {"enum": values}

    def _typed(self, kind: str, raw: Mapping[str, Any], where: str, depth: int) -> Node:
        node: dict[str, Any] = {"type": kind}
        for key in sorted(_KEYWORDS[kind] & raw.keys()):
            if key in {"properties", "items", "prefixItems", "additionalProperties"}:
                continue
            node[key] = _checked(key, raw[key], where)
        if kind == "object":
            self._object(node, raw, where, depth)
        if kind == "array":
            self._array(node, raw, where, depth)
        return _met(node, where)

    def _object(self, node: dict[str, Any], raw: Mapping[str, Any], where: str, depth: int) -> None:
        given = raw.get("properties", {})
        if not isinstance(given, Mapping):
            raise SchemaRefused(where, f"properties is an object, found {_shown(given)}")
        self.characters += sum(map(len, given))
        self._check_size(where)
        required = node.setdefault("required", [])
        properties = {}
        for name, sub in given.items():
            try:
                properties[name] = self.read(sub, f"{where}.properties.{name[:60]}", depth + 1)
            except _Impossible:
                if name in required:
                    raise
                # An optional property that nothing can meet is one that is not there.
        node["properties"] = properties
        read = raw.get("descriptions")  # of a node that was read before
        before = read if isinstance(read, Mapping) else {}
        descriptions = {
            name: _description(sub) or _description({"description": before.get(name)}) for name, sub in given.items()
        }
        described = {name: text for name, text in descriptions.items() if name in properties and text}
        node |= {"descriptions": described} if described else {}
        more = raw.get("additionalProperties", True)
        node["additionalProperties"] = (
            more if isinstance(more, bool) else self.read(more, f"{where}.additionalProperties", depth + 1)
        )

    def _array(self, node: dict[str, Any], raw: Mapping[str, Any], where: str, depth: int) -> None:
        if "prefixItems" in raw:
            firsts = self._list(raw, "prefixItems", where)
            node["prefixItems"] = [self.read(sub, f"{where}.prefixItems[{i}]", depth + 1) for i, sub in firsts]
        more = raw.get("items", True)
        if isinstance(more, list):
            raise SchemaRefused(where, "items is a list", hint="A list of schemas by place is `prefixItems`.")
        node["items"] = False if more is False else self.read(more, f"{where}.items", depth + 1)

    def _check_size(self, where: str) -> None:
        if self.values > MOST_VALUES or self.characters > MOST_CHARACTERS:
            raise SchemaRefused(
                where, f"it has more than {MOST_VALUES} values or {MOST_CHARACTERS} characters of names and values"
            )


def _description(raw: object) -> str:
    """Return the description of a property, for the model that writes it."""
    description = raw.get("description") if isinstance(raw, Mapping) else None
    return description[:MOST_LENGTH] if isinstance(description, str) else ""


class _Impossible(SchemaRefused):
    """A schema that no value can satisfy."""


def _impossible(where: str, why: str) -> _Impossible:
    return _Impossible(where, f"nothing can meet it, since {why}")


def _shown(value: object) -> str:
    return repr(value)[:100]


def read_schema(raw: object) -> Node:
    """Return the normalised schema. Raises `SchemaRefused`, which says where and why."""
    if not isinstance(raw, Mapping):
        raise SchemaRefused("", f"a schema is an object, found {_shown(raw)}")
    return _Reader(raw).read(raw, "$", 0)


def _checked(key: str, value: object, where: str) -> object:
    """Return the value of a keyword after checking its type."""
    wanted = next(words for words, (keys, _) in _VALUES.items() if key in keys)
    if not _VALUES[wanted][1](value):
        raise SchemaRefused(where, f"{key} is {wanted}, found {_shown(value)}")
    if key == "multipleOf" and value <= 0:  # type: ignore[operator]
        raise SchemaRefused(where, f"multipleOf is above 0, found {_shown(value)}")
    if key in _COUNTS:
        if key.startswith("min") and value > MOST_LENGTH:  # type: ignore[operator]
            raise SchemaRefused(where, f"{key} is {_shown(value)}; the most is {MOST_LENGTH}")
        return int(value)  # type: ignore[call-overload]
    if key == "pattern":
        try:
            _matcher(str(value))
        except SchemaError:
            problem = f"the pattern {_shown(value)} is not a regular expression without look-around and back-references"
            raise SchemaRefused(where, problem) from None
    return list(dict.fromkeys(value)) if isinstance(value, list) else value


def _is_number(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and abs(value) <= 1e18  # type: ignore[arg-type]


_VALUES: Mapping[str, tuple[AbstractSet[str], Callable[[Any], bool]]] = {
    "a whole number from 0": (_COUNTS, lambda value: _is_number(value) and value == int(value) and value >= 0),
    "a finite number": (_KEYWORDS["number"], _is_number),
    "true or false": ({"uniqueItems"}, lambda value: isinstance(value, bool)),
    "a list of names": ({"required"}, lambda v: isinstance(v, list) and all(isinstance(item, str) for item in v)),
    "a text": ({"pattern", "format"}, lambda value: isinstance(value, str)),
}
"""The type of each keyword's value, in words, with its keywords and its check."""


def _met(node: dict[str, Any], where: str) -> Node:
    """Return the node if some value can satisfy it."""
    for least, most in (("minLength", "maxLength"), ("minItems", "maxItems"), ("minProperties", "maxProperties")):
        if node.get(least, 0) > node.get(most, math.inf):
            raise _impossible(where, f"{least} {node[least]} is above {most} {node[most]}")
    if node["type"] == "string":
        _check_text(node, where)
    if node["type"] in {"number", "integer"}:
        _check_range(node, where)
    if node["type"] == "object":
        _check_object(node, where)
    if node["type"] == "array":
        fixed = len(node.get("prefixItems", ()))
        if node["items"] is False and node.get("minItems", 0) > fixed:
            raise _impossible(where, f"minItems is {node['minItems']} and only {fixed} items are allowed")
        if node.get("uniqueItems") and node.get("minItems", 0) > _different(node["items"]) + fixed:
            raise _impossible(where, f"there are no {node['minItems']} different items")
    return node


def _check_text(node: Node, where: str) -> None:
    """Refuse a text whose pattern or format is shorter or longer than its length allows."""
    for key, pattern in (("pattern", node.get("pattern")), ("format", FORMATS.get(node.get("format", "")))):
        if pattern is None:
            continue
        least, most = _lengths(pattern)
        if least > node.get("maxLength", math.inf):
            raise _impossible(where, f"its {key} has {least} characters at least and maxLength is {node['maxLength']}")
        if most < node.get("minLength", 0):
            raise _impossible(where, f"its {key} has {most} characters at most and minLength is {node['minLength']}")


@lru_cache(maxsize=512)
def _lengths(pattern: str) -> tuple[int, float]:
    """Return the fewest and the most characters of a matching text; 0 and infinity where they are unknown."""
    try:
        read = expressions.parse(pattern)
        least, most = read.getwidth()
    except (re.error, RecursionError, OverflowError):  # Rust's syntax, and not Python's
        return 0, math.inf
    ends = [str(read[at][1]) for at in (0, -1) if len(read) > 1 and str(read[at][0]) == "AT"]
    whole = ends in (["AT_BEGINNING", "AT_END"], ["AT_BEGINNING_STRING", "AT_END_STRING"])
    return least, most if whole and not read.state.flags & re.MULTILINE else math.inf


def _check_object(node: dict[str, Any], where: str) -> None:
    unknown = [name for name in node["required"] if name not in node["properties"]]
    if unknown and node["additionalProperties"] is False:
        raise _impossible(where, f"{unknown[0][:60]!r} is required and not among its properties")
    for name in unknown:
        node["properties"][name] = {} if node["additionalProperties"] is True else node["additionalProperties"]
    if len(node["required"]) > node.get("maxProperties", math.inf):
        raise _impossible(where, "more properties are required than maxProperties allows")
    if node["additionalProperties"] is False and node.get("minProperties", 0) > len(node["properties"]):
        raise _impossible(where, "minProperties is above the number of its properties")


def _different(node: Node | bool) -> float:  # noqa: FBT001 - a schema may be one
    """Return an upper bound of the number of different values."""
    if isinstance(node, bool):
        return math.inf if node else 0
    if "enum" in node:
        return len(node["enum"])
    return {"boolean": 2, "null": 1}.get(str(node.get("type")), math.inf)


def bounds_of(node: Node) -> tuple[float, float]:
    """Return the bounds of a number; of an integer or a multiple, its first and last value."""
    low = max((node[key] for key in _LEAST if key in node), default=-math.inf)
    high = min((node[key] for key in _MOST if key in node), default=math.inf)
    step = _step(node)
    if step is None:
        return low, high
    if math.isfinite(low):
        k = math.ceil(Decimal(str(low)) / step)
        k += low == node.get("exclusiveMinimum") and k * step == Decimal(str(low))
        low = float(k * step)
    if math.isfinite(high):
        k = math.floor(Decimal(str(high)) / step)
        k -= high == node.get("exclusiveMaximum") and k * step == Decimal(str(high))
        high = float(k * step)
    return low, high


def _step(node: Node) -> Decimal | None:
    """Return the number of which all values are multiples; None if there is none."""
    step = Decimal(str(node["multipleOf"])) if "multipleOf" in node else None
    if node["type"] != "integer" or (step is not None and step == int(step)):
        return step
    if step is None:
        return Decimal(1)
    return Decimal(step.as_integer_ratio()[0])  # p/q in lowest terms: its multiples that are whole are those of p


def _check_range(node: Node, where: str) -> None:
    low, high = bounds_of(node)
    open_end = "multipleOf" not in node and low in {node.get("exclusiveMinimum"), node.get("exclusiveMaximum")}
    if low > high or (low == high and node["type"] == "number" and (open_end or high == node.get("exclusiveMaximum"))):
        raise _impossible(where, f"there is no {node['type']} in its range")


# --- Putting two together: `allOf`, and keywords beside `anyOf` or `$ref`.


def _merge(a: Node, b: Node, where: str) -> Node:
    """Return a node that allows what both allow. Raises `SchemaRefused` if that is nothing."""
    if not a or not b:
        return a or b
    for one, other in ((a, b), (b, a)):
        for key in ("anyOf", "oneOf"):
            if key in one:
                return _distribute(key, one[key], other, where)
    for one, other in ((a, b), (b, a)):
        if "enum" in one:
            values = [value for value in one["enum"] if not fault(other, value)]
            if not values:
                raise _impossible(where, "no value of its enum fits the rest")
            return {"enum": values}
    kinds = {a["type"], b["type"]}
    if kinds == {"number", "integer"}:
        kinds = {"integer"}
    if len(kinds) > 1:
        raise _impossible(where, f"it is to be {' and '.join(sorted(kinds))} at once")
    return _met(_together(a, b, kinds.pop(), where), where)


def _distribute(key: str, options: Sequence[Node], other: Node, where: str) -> Node:
    merged = []
    for option in options:
        try:
            merged.append(_merge(option, other, where))
        except _Impossible:
            continue
    if not merged:
        raise _impossible(where, f"none of its {key} fits the rest")
    return merged[0] if len(merged) == 1 else {key: merged}


def _together(a: Node, b: Node, kind: str, where: str) -> dict[str, Any]:
    node: dict[str, Any] = {**a, **b, "type": kind}
    for key in a.keys() & b.keys() & (_COUNTS | _KEYWORDS["number"]):
        tighter = max if key.startswith("min") or key == "exclusiveMinimum" else min
        node[key] = tighter(a[key], b[key])
    for key in ("pattern", "format", "multipleOf"):
        if key in a and key in b and a[key] != b[key]:
            raise SchemaRefused(where, f"two different {key} at once are not supported")
    if kind == "array":
        if "prefixItems" in a or "prefixItems" in b:
            raise SchemaRefused(where, "prefixItems in one of several schemas at once is not supported")
        both = (a["items"], b["items"])
        node["items"] = False if False in [items for items in both if isinstance(items, bool)] else _merge(*both, where)
        node["uniqueItems"] = bool(a.get("uniqueItems") or b.get("uniqueItems"))
    if kind == "object":
        _objects_together(node, a, b, where)
    return node


def _objects_together(node: dict[str, Any], a: Node, b: Node, where: str) -> None:
    node["required"] = list(dict.fromkeys([*a["required"], *b["required"]]))
    properties: dict[str, Node] = {}
    for name in dict.fromkeys([*a["properties"], *b["properties"]]):
        sides = [node["properties"].get(name, node["additionalProperties"]) for node in (a, b)]
        if False in [side for side in sides if isinstance(side, bool)]:
            if name in node["required"]:
                raise _impossible(where, f"{name[:60]!r} is required and not allowed")
            continue
        one, other = ({} if side is True else side for side in sides)
        properties[name] = _merge(one, other, where)
    node["properties"] = properties
    descriptions = {**a.get("descriptions", {}), **b.get("descriptions", {})}
    node |= {"descriptions": descriptions} if descriptions else {}
    mores = [node["additionalProperties"] for node in (a, b)]
    if any(more is False for more in mores):
        node["additionalProperties"] = False
    else:
        rest = [more for more in mores if more is not True]
        node["additionalProperties"] = _merge(rest[0], rest[1] if len(rest) > 1 else {}, where) if rest else True


# --- Validation.


def fault(node: Node, value: Any, where: str = "$") -> str:  # noqa: ANN401, PLR0911 - any JSON value, a form a line
    """Return what in a value does not fit the schema, in words with its place; empty if all of it fits."""
    if not node:
        return ""
    if "enum" in node:
        return "" if _key(value) in {_key(value) for value in node["enum"]} else f"{where} is none of the values"
    if "anyOf" in node or "oneOf" in node:
        faults = [fault(option, value, where) for option in node.get("anyOf") or node["oneOf"]]
        fitting = faults.count("")
        if fitting == 0:
            return f"{where} fits none of its forms: {faults[0]}"
        return f"{where} fits {fitting} of its forms, not one" if "oneOf" in node and fitting > 1 else ""
    kind = node["type"]
    if not _is(kind, value):
        return f"{where} is no {kind}"
    match kind:
        case "string":
            return _string_fault(node, value, where)
        case "number" | "integer":
            return _number_fault(node, value, where)
        case "array":
            return _array_fault(node, value, where)
        case "object":
            return _object_fault(node, value, where)
    return ""


def _is(kind: str, value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value) and (kind == "number" or (kind == "integer" and value.is_integer()))
    if isinstance(value, int) and not isinstance(value, bool):
        return kind in {"integer", "number"}
    return isinstance(value, _PYTHON.get(kind, ()))


_PYTHON: Mapping[str, Any] = {"string": str, "boolean": bool, "null": type(None), "array": list, "object": Mapping}


def _string_fault(node: Node, value: str, where: str) -> str:
    if not node.get("minLength", 0) <= len(value) <= node.get("maxLength", math.inf):
        return f"{where} has {len(value)} characters"
    for pattern in (node.get("pattern"), FORMATS.get(node.get("format", ""))):
        if pattern is not None and not _matches(pattern, value):
            return f"{where} does not have the form {pattern[:60]!r}"
    return ""


def _number_fault(node: Node, value: float, where: str) -> str:
    low = all(value >= node[key] if key == "minimum" else value > node[key] for key in _LEAST if key in node)
    high = all(value <= node[key] if key == "maximum" else value < node[key] for key in _MOST if key in node)
    if not (low and high):
        return f"{where} is {value}, out of its range"
    multiple = "multipleOf" not in node or Decimal(str(value)) % Decimal(str(node["multipleOf"])) == 0
    return "" if multiple else f"{where} is {value}, no multiple of {node['multipleOf']}"


def _array_fault(node: Node, value: Sequence[Any], where: str) -> str:
    if not node.get("minItems", 0) <= len(value) <= node.get("maxItems", math.inf):
        return f"{where} has {len(value)} items"
    firsts = node.get("prefixItems", ())
    if node["items"] is False and len(value) > len(firsts):
        return f"{where} has {len(value)} items"
    if node.get("uniqueItems") and len(set(map(_key, value))) < len(value):
        return f"{where} has an item twice"
    nodes = [*firsts, *[node["items"]] * (len(value) - len(firsts))]
    faults = (fault(sub, item, f"{where}[{i}]") for i, (sub, item) in enumerate(zip(nodes, value, strict=False)))
    return next(filter(None, faults), "")


def _object_fault(node: Node, value: Mapping[str, Any], where: str) -> str:
    for name in node["required"]:
        if name not in value:
            return f"{where} has no {name[:60]!r}"
    if not node.get("minProperties", 0) <= len(value) <= node.get("maxProperties", math.inf):
        return f"{where} has {len(value)} properties"
    for name, item in value.items():
        sub = node["properties"].get(name, node["additionalProperties"])
        if sub is False:
            return f"{where} has {name[:60]!r}, which is not among its properties"
        if sub is not True and (problem := fault(sub, item, f"{where}.{name[:60]}")):
            return problem
    return ""


def _key(value: object) -> str:
    """Return a key that is equal for equal JSON values: 1 and 1.0 are equal, 1 and true are not."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{json.dumps(name)}:{_key(value[name])}" for name in sorted(value)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_key, value)) + "]"
    return json.dumps(value)


@lru_cache(maxsize=512)
def _matcher(pattern: str) -> SchemaValidator:
    """Return a validator that matches in linear time (Rust's `regex`), so that no pattern can block the process."""
    return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))


def _matches(pattern: str, text: str) -> bool:
    try:
        _matcher(pattern).validate_python(text)
    except ValidationError:
        return False
    return True


# --- For constrained decoding: at least as narrow, and no value of it is endless.

LEVELS = ((600, 16), (160, 6), (40, 3), (12, 2), (4, 1))
"""Characters of a text and items of a list, where the schema leaves them open; the first is the most generous."""
_LARGEST, _NAME = 10**9, "^[A-Za-z][A-Za-z0-9_]{0,23}$"


def bounded(node: Node, *, length: int = LEVELS[0][0], items: int = LEVELS[0][1], ends: bool = True) -> dict[str, Any]:  # noqa: PLR0911 - a form a line
    """Return a schema for decoding.

    Every value that fits it fits `node`, except for repeated items and `oneOf`, which are checked afterwards. Every
    text, list and object is bounded, with `ends` every number too. Every optional property is requested, and only
    keywords that decoders enforce are used: JSON Schema as supported by `llguidance` and OpenAI's strict mode.
    """
    inner = partial(bounded, length=length, items=items, ends=ends)
    if not node:
        kinds = ({"type": "string"}, {"type": "number"}, {"type": "boolean"}, {"type": "null"})
        return {"anyOf": [inner(kind) for kind in kinds]}
    if "enum" in node:
        return {"enum": list(node["enum"])}
    if "anyOf" in node or "oneOf" in node:
        return {"anyOf": [inner(option) for option in node.get("anyOf") or node["oneOf"]]}
    match node["type"]:
        case "string":
            return _bounded_text(node, length)
        case "number" | "integer":
            return _bounded_number(node, ends=ends)
        case "array":
            return _bounded_list(node, inner, items)
        case "object":
            return _bounded_object(node, inner, items)
    return {"type": node["type"]}


def _bounded_text(node: Node, length: int) -> dict[str, Any]:
    least = node.get("minLength", 0)
    patterns = [
        pattern for pattern in (node.get("pattern"), FORMATS.get(node.get("format", ""))) if pattern is not None
    ]
    # A form has its own length: what it needs is not known here, so there is room for it.
    most = min(node.get("maxLength", math.inf), max(length, least, 80 if patterns else 0))
    built = {"type": "string", "minLength": least, "maxLength": most}
    return built | ({"pattern": patterns[0]} if patterns else {}) | ({"format": node["format"]} if patterns[1:] else {})


def _bounded_number(node: Node, *, ends: bool) -> dict[str, Any]:
    """Return a number schema; with `ends`, one with a bounded number of decimals.

    `llguidance` does not support negative multiples: where multiples may be negative, the ones nearest to zero are
    listed, or integers are used.
    """
    step = _step(node)
    plain = {key: node[key] for key in ("type", *_LEAST, *_MOST, "multipleOf") if key in node}
    if not ends and "multipleOf" not in node:
        return plain
    low, high = bounds_of(node)
    low, high = max(low, min(-_LARGEST, high - 1)), min(high, max(_LARGEST, low + 1))
    if step is None:  # of decimals two, or as many as its range needs
        step = Decimal(1).scaleb(-2 if high - low >= 1 else math.floor(math.log10(max(high - low, 1e-15))) - 2)
    first, last = math.ceil(Decimal(str(low)) / step), math.floor(Decimal(str(high)) / step)
    first += first * step == Decimal(str(node.get("exclusiveMinimum", math.nan)))
    last -= last * step == Decimal(str(node.get("exclusiveMaximum", math.nan)))
    if last - first < _LISTED:
        listed = [float(k * step) for k in range(first, last + 1)] or [(low + high) / 2]
        return {"enum": [int(value) if node["type"] == "integer" else value for value in listed]}
    if first >= 0:
        ends_at = {"minimum": float(first * step), "maximum": float(last * step), "multipleOf": float(step)}
        whole = step == int(step)
        return {"type": node["type"], **{key: int(value) if whole else value for key, value in ends_at.items()}}
    below = min(last, -1)
    if "multipleOf" in node and step != 1:
        negative: dict[str, Any] = {"enum": [float(k * step) for k in range(max(first, below - _LISTED), below + 1)]}
    else:
        negative = {"type": "integer", "minimum": math.ceil(first * step), "maximum": math.floor(below * step)}
    if last < 0:
        return negative
    return {"anyOf": [_bounded_number({**node, "minimum": 0}, ends=True), negative]}


_LISTED = 128
"""Numbers of a range up to this size are listed."""


def _bounded_list(node: Node, inner: Callable[[Node], dict[str, Any]], items: int) -> dict[str, Any]:
    firsts = [inner(sub) for sub in node.get("prefixItems", ())]
    least = node.get("minItems", 0)
    most = min(node.get("maxItems", math.inf), max(items, least, len(firsts)))
    if node["items"] is False:
        most = min(most, len(firsts))
    built: dict[str, Any] = {"type": "array", "minItems": least, "maxItems": most}
    built["items"] = False if node["items"] is False else inner(node["items"])
    return built | ({"prefixItems": firsts} if firsts else {})


def _bounded_object(node: Node, inner: Callable[[Node], dict[str, Any]], items: int) -> dict[str, Any]:
    most = node.get("maxProperties", math.inf)
    names = sorted(node["properties"], key=lambda name: name not in node["required"])
    names = [name for name in node["properties"] if most == math.inf or name in set(names[: int(most)])]
    descriptions = node.get("descriptions", {})
    described = {name: {"description": descriptions[name]} if name in descriptions else {} for name in names}
    properties = {name: {**described[name], **inner(node["properties"][name])} for name in names}
    built: dict[str, Any] = {"type": "object", "properties": properties}
    built |= {"required": names, "additionalProperties": False}
    least, more = node.get("minProperties", 0), node["additionalProperties"]
    if more is not False and (least > len(names) or not names):
        built["patternProperties"] = {_NAME: inner({} if more is True else more)}
        built |= {"minProperties": least, "maxProperties": min(most, max(least, items))}
    return built


def distinct(node: Node, value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value without repeated items in lists that must be unique: no decoder enforces that."""
    options = (distinct(option, value) for option in node.get("anyOf") or node.get("oneOf") or ())
    for option, made in zip(node.get("anyOf") or node.get("oneOf") or (), options, strict=True):
        if not fault(option, made):
            return made
    if isinstance(value, list) and node.get("type") == "array":
        firsts = node.get("prefixItems", ())
        rest = [node["items"] or {}] * max(0, len(value) - len(firsts))
        value = [distinct(sub, item) for sub, item in zip([*firsts, *rest], value, strict=False)]
        return list({_key(item): item for item in value}.values()) if node.get("uniqueItems") else value
    if isinstance(value, Mapping) and node.get("type") == "object":
        return {name: distinct(node["properties"].get(name, {}), item) for name, item in value.items()}
    return value


def decodable(node: Node, level: int = 0) -> dict[str, Any]:
    """Return `bounded` for an engine, written without white space; a higher level leaves less room."""
    length, items = LEVELS[min(level, len(LEVELS) - 1)]
    form = {"whitespace_flexible": False, "item_separator": ",", "key_separator": ":"}
    return {**bounded(node, length=length, items=items, ends=level > 0), "x-guidance": form}


def read_answer(node: Node, text: str) -> tuple[str, str]:
    """Return a model's answer as compact JSON that fits the schema, and what does not fit; one of them is empty."""
    try:
        value = distinct(node, json.loads(text, parse_constant=_no_constant))
    except (ValueError, RecursionError):
        return "", "it is no whole JSON"
    problem = fault(node, value)
    return ("", problem) if problem else (json.dumps(value, ensure_ascii=False, separators=(",", ":")), "")


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


# --- Function calls as JSON: the schema for a model's reply, its instructions, and the parser of its reply.

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
