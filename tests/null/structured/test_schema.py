"""JSON schemas of answers: read, held against the reference implementation, bounded."""

import itertools
import json
import random
import runpy
import string
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from coterie.structured.schema import (
    FORMATS,
    LEVELS,
    SchemaRefused,
    bounded,
    decodable,
    fault,
    read_answer,
    read_schema,
)

draw = runpy.run_path(str(Path(__file__).parents[3] / "benchmarks" / "structured" / "draw.py"))["schema"]
SEEDS = range(300)


def _value(schema, chance):  # noqa: PLR0911 - a form a line
    """A random value of a bounded schema: what a decoder may write."""
    if "enum" in schema:
        return chance.choice(schema["enum"])
    if "anyOf" in schema:
        return _value(chance.choice(schema["anyOf"]), chance)
    kind = schema["type"]
    if kind == "string":
        return _text(schema, chance)
    if kind in {"integer", "number"}:
        return _number(schema, chance)
    if kind == "array":
        firsts = schema.get("prefixItems", [])
        count = chance.randint(schema["minItems"], schema["maxItems"])
        nodes = itertools.islice(itertools.chain(firsts, itertools.repeat(schema["items"])), count)
        return [_value(node, chance) for node in nodes]
    if kind == "object":
        made = {name: _value(node, chance) for name, node in schema["properties"].items()}
        for node in schema.get("patternProperties", {}).values():
            for i in range(
                chance.randint(0, schema["maxProperties"] - len(made)) or schema["minProperties"] - len(made)
            ):
                made[f"k{i}"] = _value(node, chance)
        return made
    return {"boolean": chance.random() < 0.5, "null": None}[kind]


def _text(schema, chance):
    examples = {
        FORMATS["date"]: "2024-02-29",
        FORMATS["time"]: "10:00:00Z",
        FORMATS["date-time"]: "2024-02-29T10:00:00Z",
        FORMATS["uuid"]: "123e4567-e89b-12d3-a456-426614174000",
        FORMATS["email"]: "a@b.cd",
        FORMATS["ipv4"]: "127.0.0.1",
        FORMATS["duration"]: "P3D",
        r"^[A-Z]{2}-[0-9]{4}$": "AB-1234",
        r"^[a-z]+(_[a-z]+)*$": "ab_c",
        r"[0-9]{3}": "x123",
        r"^(yes|no|maybe)$": "no",
        r"^\S+@\S+$": "a@b",
    }
    if "pattern" in schema:
        return examples[schema["pattern"]]
    length = chance.randint(schema["minLength"], schema["maxLength"])
    return "".join(chance.choices(string.printable + "äß日\u2028", k=length))


def _number(schema, chance):
    low = schema.get(
        "minimum", schema.get("exclusiveMinimum", schema.get("maximum", schema.get("exclusiveMaximum", 9)) - 9)
    )
    high = schema.get("maximum", schema.get("exclusiveMaximum", low + 9))
    step = schema.get("multipleOf", 1 if schema["type"] == "integer" else 0.001)
    first = -(-low // step) + ("exclusiveMinimum" in schema)
    last = high // step - ("exclusiveMaximum" in schema)
    assert first <= last, schema
    value = round(step * chance.randint(int(first), int(last)), 9)
    return int(value) if schema["type"] == "integer" else value


@pytest.mark.parametrize("seed", SEEDS)
def test_what_a_decoder_may_write_is_valid(seed):
    """Every value of the bounded schema fits the schema as it was given, by `jsonschema` and by us, at each level."""
    raw, chance = draw(seed), random.Random(seed)
    node = read_schema(raw)
    for level in range(len(LEVELS)):
        value = _value(decodable(node, level), chance)
        text, wrong = read_answer(node, json.dumps(value))
        if "oneOf" in json.dumps(raw) and "of its forms, not one" in wrong:
            continue
        assert not wrong, (raw, value)
        assert Draft202012Validator(raw).is_valid(json.loads(text)), (raw, value)


@pytest.mark.parametrize("seed", SEEDS)
def test_values_of_other_schemas_are_judged_as_the_reference_does(seed):
    """Read and normalised, a schema takes and refuses the same values; formats are comments to the reference."""
    raw, node = draw(seed), read_schema(draw(seed))
    for other in range(seed + 1, seed + 12):
        chance = random.Random(other)
        for schema in (draw(other), *draw(other)["properties"].values()):
            value = _value(bounded(read_schema({"$defs": draw(other).get("$defs", {}), **schema})), chance)
            for key in list(raw["properties"])[:1]:
                value = {key: value} if not isinstance(value, dict) else {**value, key: 3}
            right = Draft202012Validator(raw).is_valid(value)
            assert (not fault(node, value)) == right or "format" in json.dumps(raw), (raw, value, fault(node, value))


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$ref": "#/$defs/a", "$defs": {"a": {"type": "array", "items": {"$ref": "#/$defs/a"}}}},
        {"$ref": "https://example.com/schema"},
        {"$ref": "#/$defs/none"},
        {"type": "object", "properties": {"a": {"enum": ["x"], "type": "integer"}}, "required": ["a"]},
        {"allOf": [{"type": "string"}, {"type": "object"}]},
        {"allOf": [{"enum": [1, 2]}, {"enum": [3]}]},
        {"type": "integer", "minimum": 1, "exclusiveMaximum": 2, "multipleOf": 2},
        {"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 2},
        {"type": "number", "exclusiveMinimum": 1, "maximum": 1},
        {"type": "string", "minLength": 3, "maxLength": 2},
        {"type": "string", "minLength": 100_000},
        {"type": "string", "pattern": "^a$", "minLength": 3},
        {"type": "string", "pattern": "^[a-c]{2,4}$", "minLength": 5},
        {"type": "string", "pattern": "abc|abcd", "maxLength": 2},
        {"type": "string", "format": "uuid", "maxLength": 20},
        {"allOf": [{"type": "string", "pattern": "^[0-9]{4}$"}, {"type": "string", "maxLength": 3}]},
        {"type": "string", "pattern": "(a"},
        {"type": "string", "pattern": r"(a)\1"},
        {"type": "array", "items": {"type": "boolean"}, "uniqueItems": True, "minItems": 3},
        {"type": "array", "items": [{"type": "string"}]},
        {"type": "object", "properties": []},
        {"type": "object", "required": "a"},
        {"type": "object", "minProperties": 2, "properties": {"a": {}}, "additionalProperties": False},
        {"if": {}, "then": {}},
        {"unevaluatedProperties": False},
        {"enum": []},
        {"enum": [1, 1.0]},
        {"type": "number", "multipleOf": 0},
        {"type": "number", "minimum": "3"},
        {"type": ["string", 3]},
        {"anyOf": []},
        {"anyOf": "x"},
        {"properties": {"a": False}, "required": ["a"]},
        {
            "$defs": {
                f"d{i}": {"type": "object", "properties": {k: {"$ref": f"#/$defs/d{i + 1}"} for k in "ab"}}
                for i in range(30)
            }
            | {"d30": {}},
            "$ref": "#/$defs/d0",
        },
        {"enum": ["x" * 300_000]},
    ],
)
def test_what_cannot_be_used_is_refused(schema):
    """Recursion, contradictions, what nothing meets, what is too large or not supported: an error with a place."""
    with pytest.raises(SchemaRefused) as caught:
        read_schema(schema)
    assert len(str(caught.value)) < 1_000


def test_deep_nesting_is_refused():
    """Thousands of levels end in an error and not in the interpreter's."""
    schema: dict = {}
    for _ in range(300):
        schema = {"type": "array", "items": schema}
    with pytest.raises(SchemaRefused):
        read_schema(schema)


@pytest.mark.timeout(10)
def test_no_pattern_takes_exponential_time():
    """A pattern that stops others is matched in linear time."""
    node = read_schema({"type": "string", "pattern": "^(a+)+$"})
    assert fault(node, "a" * 5_000 + "!")


@pytest.mark.parametrize("text", ["", "{", '{"a": 1} x', "NaN", '{"a": 1e999}', "[" * 100_000])
def test_what_is_no_json_is_no_answer(text):
    """Half a text, more than one value, numbers that JSON does not have."""
    node = read_schema({"type": "object", "properties": {"a": {"type": "number"}}})
    assert read_answer(node, text)[1]


def test_descriptions_of_properties_are_kept():
    """Whoever writes the answer is told them; they are no part of what is valid."""
    text = {"type": "string", "description": "In French."}
    schema = {"type": "object", "properties": {"a": text, "b": {"type": "string"}}, "required": ["a"]}
    both = {"allOf": [schema, {"type": "object", "properties": {"b": {"type": "string", "description": "A city."}}}]}

    assert read_schema(schema)["descriptions"] == {"a": "In French."}
    assert read_schema(both)["descriptions"] == {"a": "In French.", "b": "A city."}
    assert decodable(read_schema(both))["properties"]["a"]["description"] == "In French."
    assert read_schema(read_schema(both)) == read_schema(both)
    assert not fault(read_schema(schema), {"a": "x"})
    assert "descriptions" not in read_schema({"type": "object", "properties": {"a": {"description": 5}}})
