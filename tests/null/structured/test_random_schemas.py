"""1,000 random schemas of the supported subset, answered by a scripted model: JSON of each schema, or a refusal.

The model writes at random what the schema for decoding lets it, and `jsonschema` checks that against the schema as it
was drawn. `benchmarks/structured` asks a real model for the same.
"""

from __future__ import annotations

import json
import random
import runpy
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from coterie.structured.schema import FORMATS as HELD
from coterie.structured.schema import ROOM, decodable, read_answer, read_schema

draw = runpy.run_path(str(Path(__file__).parents[3] / "benchmarks" / "structured" / "draw.py"))["schema"]
WRITTEN = {
    r"^[A-Z]{2}-[0-9]{4}$": "AB-0123",
    r"^[a-z]+(_[a-z]+)*$": "a_b",
    r"[0-9]{3}": "x 123 y",
    r"^(yes|no|maybe)$": "maybe",
    r"^\S+@\S+$": "a@b",
}
FORMATS = {
    "date": "2026-02-28",
    "time": "10:00:00Z",
    "date-time": "2026-02-28T10:00:00Z",
    "uuid": "12345678-1234-1234-1234-123456789abc",
    "email": "a@example.org",
    "ipv4": "10.0.0.1",
    "duration": "P3D",
}
FORMS = {HELD[name]: written for name, written in FORMATS.items()}


def _write(node, chance):
    """A value that the schema for decoding allows, drawn at random."""
    if "enum" in node:
        return chance.choice(node["enum"])
    if "anyOf" in node:
        return _write(chance.choice(node["anyOf"]), chance)
    return WRITERS[node["type"]](node, chance)


def _object(node, chance):
    properties = node.get("properties", {}).items()
    return {name: _write(schema, chance) for name, schema in properties} | _more(node, chance)


def _text(node, chance):
    if "pattern" in node:
        return WRITTEN.get(node["pattern"]) or FORMS[node["pattern"]]
    length = chance.randint(node["minLength"], node["maxLength"])
    return "".join(chance.choice('ab \u00fc\u65e5"\\') for _ in range(length))


def _number(node, chance):
    step = node.get("multipleOf", 1 if node["type"] == "integer" else 0.25)
    low = node.get("minimum", node.get("exclusiveMinimum", node.get("maximum", node.get("exclusiveMaximum", 9)) - 9))
    first = round(low // step) + chance.randint(0, 3)
    for k in range(first - 1, first + 60):
        value = round(k * step, 6)
        if Draft202012Validator(node).is_valid(value):
            return int(value) if node["type"] == "integer" else value
    return low + (node.get("maximum", node.get("exclusiveMaximum", low + 1)) - low) / 2


def _list(node, chance):
    firsts = [_write(schema, chance) for schema in node.get("prefixItems", ())]
    if not isinstance(node.get("items"), dict):
        return firsts
    least, most = max(node.get("minItems", 0) - len(firsts), 0), node.get("maxItems", 3) - len(firsts)
    return [*firsts, *(_write(node["items"], chance) for _ in range(chance.randint(least, max(least, min(most, 4)))))]


def _more(node, chance):
    more = node.get("additionalProperties")
    if not isinstance(more, dict):
        return {}
    return {f"key{i}": _write(more, chance) for i in range(chance.randint(node.get("minProperties", 0), 2))}


WRITERS = {
    "string": _text,
    "integer": _number,
    "number": _number,
    "array": _list,
    "object": _object,
    "boolean": lambda node, chance: chance.random() < 0.5,
    "null": lambda node, chance: None,
}


@pytest.mark.parametrize("part", range(10))
def test_every_answer_is_of_its_schema(part):
    """All of 1,000: what does not fit is written again with less room, and only JSON of the schema comes out."""
    missing = []
    for seed in range(part * 100, part * 100 + 100):
        raw = draw(seed)
        node = read_schema(raw)
        for level in ROOM:
            chance = random.Random(f"{seed} {level}")
            text, wrong = read_answer(node, json.dumps(_write(decodable(node, level), chance)))
            if not wrong:
                break
        if wrong:
            missing.append((seed, wrong))
        else:
            assert Draft202012Validator(raw).is_valid(json.loads(text)), (seed, text)
    assert missing == []
