"""Random JSON schemas of the supported subset."""

from __future__ import annotations

import random
from typing import Any

Defs = dict[str, Any]
WORDS = ("name", "city", "amount", "status", "note", "kind", "owner", "since", "count", "price", "tags", "address")
LABELS = ("open", "closed", "pending", "refund", "delivery", "über", 'naïve "quote"', "a\\b", "日本")
PATTERNS = (r"^[A-Z]{2}-[0-9]{4}$", r"^[a-z]+(_[a-z]+)*$", r"[0-9]{3}", r"^(yes|no|maybe)$", r"^\S+@\S+$")
FORMATS = ("date", "time", "date-time", "uuid", "email", "ipv4", "duration")


def draw(chance: random.Random, depth: int, defs: dict[str, Any]) -> dict[str, Any]:
    """One schema, at most `depth` levels deep."""
    leaves = ("text", "form", "integer", "number", "boolean", "enum", "const", "nullable")
    inner = ("object", "object", "list", "tuple", "any", "ref", "all", "map")
    kind = chance.choice(leaves + inner if depth > 0 else leaves)
    return globals()[f"_{kind}"](chance, depth, defs)


def _text(chance: random.Random, depth: int, defs: Defs) -> Defs:
    least = chance.choice((0, 0, 1, 5))
    return {"type": "string"} | chance.choice(({}, {"minLength": least, "maxLength": least + chance.randint(0, 30)}))


def _form(chance: random.Random, depth: int, defs: Defs) -> Defs:
    return {"type": "string"} | chance.choice(
        ({"pattern": chance.choice(PATTERNS)}, {"format": chance.choice(FORMATS)})
    )


def _integer(chance: random.Random, depth: int, defs: Defs) -> Defs:
    low = chance.randint(-1000, 1000)
    bounds = ({}, {"minimum": low}, {"exclusiveMaximum": low}, {"minimum": low, "maximum": low + chance.randint(0, 50)})
    step = chance.choice(({}, {}, {"multipleOf": chance.choice((2, 5, 7))}))
    node = {"type": "integer"} | chance.choice(bounds)
    return node if "maximum" in node and node["maximum"] - low < 7 else node | step


def _number(chance: random.Random, depth: int, defs: Defs) -> Defs:
    low = round(chance.uniform(-100, 100), 2)
    bounds = (
        {},
        {"minimum": low},
        {"exclusiveMinimum": 0, "maximum": 1},
        {"minimum": low, "exclusiveMaximum": low + 1},
    )
    return {"type": "number"} | chance.choice((*bounds, {"multipleOf": 0.25, "minimum": 0}))


def _boolean(chance: random.Random, depth: int, defs: Defs) -> Defs:
    return {"type": "boolean"}


def _enum(chance: random.Random, depth: int, defs: Defs) -> Defs:
    values = chance.sample(LABELS, chance.randint(1, 5))
    return {"enum": values} if chance.random() < 0.5 else {"type": "string", "enum": values}


def _const(chance: random.Random, depth: int, defs: Defs) -> Defs:
    return {"const": chance.choice(("v1", 3, True, None, [1, "a"], {"a": 0.5}))}


def _nullable(chance: random.Random, depth: int, defs: Defs) -> Defs:
    sub = draw(chance, 0, defs)
    return {"anyOf": [sub, {"type": "null"}]} if chance.random() < 0.5 else {"type": ["string", "null"]}


def _object(chance: random.Random, depth: int, defs: Defs) -> Defs:
    names = chance.sample(WORDS, chance.randint(0, 5))
    return {
        "type": "object",
        "properties": {name: draw(chance, depth - 1, defs) | {"description": f"the {name}"} for name in names},
        "required": [name for name in names if chance.random() < 0.7],
        "additionalProperties": chance.random() < 0.3,
    }


def _list(chance: random.Random, depth: int, defs: Defs) -> Defs:
    least = chance.randint(0, 2)
    node = {"type": "array", "items": draw(chance, depth - 1, defs)}
    node |= chance.choice(({}, {"minItems": least, "maxItems": least + chance.randint(0, 3)}))
    return node | ({"uniqueItems": True} if chance.random() < 0.2 and node.get("minItems", 0) == 0 else {})


def _tuple(chance: random.Random, depth: int, defs: Defs) -> Defs:
    firsts = [draw(chance, depth - 1, defs) for _ in range(chance.randint(1, 3))]
    return {"type": "array", "prefixItems": firsts, "items": False, "minItems": len(firsts)}


def _any(chance: random.Random, depth: int, defs: Defs) -> Defs:
    return {chance.choice(("anyOf", "oneOf")): [_const(chance, 0, defs), _object(chance, depth, defs)]}


def _ref(chance: random.Random, depth: int, defs: Defs) -> Defs:
    name = f"D{len(defs)}"
    defs[name] = {}
    defs[name] = draw(chance, depth - 1, defs)
    return {"$ref": f"#/$defs/{name}"}


def _all(chance: random.Random, depth: int, defs: Defs) -> Defs:
    return {"allOf": [_object(chance, depth - 1, defs) | {"additionalProperties": True}, {"type": "object"}]}


def _map(chance: random.Random, depth: int, defs: Defs) -> Defs:
    return {"type": "object", "additionalProperties": draw(chance, 0, defs)}


def schema(seed: int) -> dict[str, Any]:
    """The schema of a seed: an object, as OpenAI wants it."""
    chance, defs = random.Random(seed), {}  # noqa: S311 - no secret
    root = _object(chance, 3, defs)
    while not root["properties"]:
        root = _object(chance, 3, defs)
    return root | ({"$defs": defs} if defs else {})
