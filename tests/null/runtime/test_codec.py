"""Values of every kind as JSON and back, errors with their path, and what readers are shown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from typing import Literal, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.runtime.codec import DecodeError, dumps, from_json, loads, readable, to_json
from coterie.types.shown import stored


class Colour(Enum):
    RED = "red"


class Ends(NamedTuple):
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Circle:
    kind: Literal["circle"] = "circle"
    radius: float


@dataclass(frozen=True, kw_only=True)
class Square:
    kind: Literal["square"] = "square"
    side: Decimal


@dataclass(frozen=True, kw_only=True)
class Node:
    name: str
    colour: Colour = Colour.RED
    count: int = 0
    ends: Ends | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    value: str | int | float | bool | None = None
    labels: str | tuple[str, ...] = ()
    pair: tuple[int, str] = (0, "")
    shapes: tuple[Circle | Square, ...] = ()
    children: Sequence[Node] = ()
    cost: Decimal | None = None
    mode: Literal["on", "off"] = "on"
    made_by: str = field(default="", metadata=stored("madeBy", aliases=("author", "writer")))
    cache: object = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError(f"count is {self.count}")


texts = st.text(st.characters(exclude_categories=()), max_size=5)
numbers = st.floats(allow_nan=False)
shapes = st.builds(Circle, radius=numbers) | st.builds(Square, side=st.decimals(allow_nan=False))
nodes = st.recursive(
    st.builds(
        Node,
        name=texts,
        count=st.integers(0),
        ends=st.none() | st.builds(Ends, numbers, numbers),
        scores=st.dictionaries(texts, numbers, max_size=2),
        value=texts | st.integers() | numbers | st.booleans() | st.none(),
        labels=texts | st.lists(texts, max_size=2).map(tuple),
        pair=st.tuples(st.integers(), texts),
        shapes=st.lists(shapes, max_size=2).map(tuple),
        cost=st.none() | st.decimals(allow_nan=False),
        mode=st.sampled_from(["on", "off"]),
        made_by=texts,
    ),
    lambda inner: st.builds(Node, name=texts, children=st.lists(inner, max_size=2).map(tuple)),
    max_leaves=4,
)


@given(nodes)
def test_round_trip(node):
    """Whatever a value holds comes back equal, as text and as parsed JSON; the two agree, and the text is ASCII."""
    text = dumps(node)

    assert text.isascii()
    assert loads(Node, text) == node
    assert json.loads(text) == to_json(node)
    assert from_json(Node, to_json(node)) == node


def test_keys():
    """A field is written under its stored key, read from the keys of before too; what is not compared is left out."""
    written = to_json(Node(name="a", made_by="Ada", cache=object()))

    assert written["madeBy"] == "Ada"
    assert not {"made_by", "cache"} & written.keys()
    for key in ("madeBy", "author", "writer"):
        assert from_json(Node, {"name": "a", key: "Ada"}).made_by == "Ada"


@pytest.mark.parametrize(
    ("data", "path", "found"),
    [
        ({"name": 3}, "name", "3"),
        ({}, "", "'name'"),
        ([], "", "[]"),
        ({"name": "a", "count": True}, "count", "True"),
        ({"name": "a", "count": 1.0}, "count", "1.0"),
        ({"name": "a", "count": -1}, "", "-1"),
        ({"name": "a", "colour": "blue"}, "colour", "'blue'"),
        ({"name": "a", "colour": 1}, "colour", "1"),
        ({"name": "a", "mode": "maybe"}, "mode", "'maybe'"),
        ({"name": "a", "ends": [1]}, "ends", "[1]"),
        ({"name": "a", "ends": [1, "x"]}, "ends[1]", "'x'"),
        ({"name": "a", "scores": {"x": None}}, "scores['x']", "None"),
        ({"name": "a", "scores": []}, "scores", "[]"),
        ({"name": "a", "cost": 1.5}, "cost", "1.5"),
        ({"name": "a", "cost": "much"}, "cost", "'much'"),
        ({"name": "a", "value": []}, "value", "[]"),
        ({"name": "a", "shapes": [{"kind": "star"}]}, "shapes[0]", "'star'"),
        ({"name": "a", "shapes": [{"kind": []}]}, "shapes[0]", "[]"),
        ({"name": "a", "shapes": [{"kind": "circle", "radius": "x"}]}, "shapes[0].radius", "'x'"),
        (
            {"name": "a", "children": [{"name": "b"}, {"name": "c", "children": [{}]}]},
            "children[1].children[0]",
            "name",
        ),
        ({"name": "a", "children": {}}, "children", "{}"),
        ({"name": "a", "madeBy": 1}, "madeBy", "1"),
    ],
)
def test_errors_name_the_path_and_what_was_found(data, path, found):
    """Each kind of wrong value, wherever it stands."""
    with pytest.raises(DecodeError) as caught:
        from_json(Node, data)

    assert caught.value.path.removeprefix(".") == path
    assert found in caught.value.problem


def test_unknown_keys():
    """They are refused, or passed over where that is asked for, at every depth."""
    data = {"name": "a", "children": [{"name": "b", "more": 1}]}

    with pytest.raises(DecodeError, match="more") as caught:
        from_json(Node, data)
    assert caught.value.path == ".children[0]"
    assert from_json(Node, data, unknown="ignore") == Node(name="a", children=(Node(name="b"),))


def test_types_without_a_form():
    """A type or value that JSON has no form for is a mistake of the program, named."""
    with pytest.raises(TypeError, match="complex"):
        from_json(complex, 1)
    with pytest.raises(TypeError, match="'object'"):
        readable({"a": object()})
    with pytest.raises(TypeError, match="share no Literal"):
        from_json(Ends | Circle | Node, {})


def test_numbers_of_arrays():
    """An array's own numbers are written as Python's."""
    assert to_json({"a": [np.float32(0.5), np.int64(3)]}) == {"a": [0.5, 3]}
    assert dumps(Ends(np.float64(0.5), np.float32(1.0))) == "[0.5,1.0]"


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf"), Decimal("NaN"), Decimal("Infinity")])
def test_readers_see_null_for_what_is_no_number(number):
    """JSON has no word for it."""
    assert readable({"a": [number]}) == {"a": [None]}


def test_readers_see_money_as_a_number():
    """As far as a float's shortest form goes; what is stored keeps every digit."""
    assert json.dumps(readable(Decimal("0.000123"))) == "0.000123"
    assert to_json(Decimal("0.10")) == "0.10"
