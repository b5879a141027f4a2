"""Training `tools`: functions by a classifier, arguments by an extractor, stored and loaded again."""

from __future__ import annotations

import json

import pytest

from coterie.config.file import load_config
from coterie.config.specialists import make_section
from coterie.learning.dataset import Row
from coterie.registry.registry import open_registry
from coterie.tasks.tools.fit import without_value
from coterie.tasks.versions import load_specialist
from coterie.types import ContextView, Task

ROOMS = ["kitchen", "hall", "office", "cellar", "attic", "garage"]
FUNCTIONS = [
    {
        "name": "light",
        "description": "Switches a light.",
        "parameters": {
            "type": "object",
            "properties": {"room": {"type": "string"}, "on": {"type": "boolean"}},
            "required": ["room", "on"],
        },
    },
    {"name": "lock", "description": "Locks the door."},
]


def rows():
    """Some of each function, and some that none fits."""
    light = [
        {
            "text": f"turn {word} the light in the {room} please {i}",
            "function": "light",
            "arguments": {"room": room, "on": word == "on"},
        }
        for i in range(3)
        for word in ("on", "off")
        for room in ROOMS
    ]
    lock = [{"text": f"lock the door now number {i}", "function": "lock"} for i in range(24)]
    none = [{"text": f"who wrote the book called {i}", "function": None} for i in range(24)]
    return [*light, *lock, *none]


@pytest.fixture
def stored(trained, tmp_path, encoder):
    """The specialist of the version that training wrote, with its report."""
    report = trained({"task": "tools", "functions": FUNCTIONS, "rungs": ["lexical"]}, rows())
    config = load_config(tmp_path)
    version = open_registry(tmp_path, config.registry).champion("it")
    specialist = load_specialist("it", config.specialists["it"], version, encoder=encoder, models={})
    return specialist, report.to_json()["specialists"]["it"], version


async def test_a_trained_call(stored):
    """A text in words like those of training becomes its call; one that no function fits is said to be that."""
    specialist, report, version = stored
    finding = await specialist.consult(Task(text="turn off the light in the attic please 9"), ContextView())
    (call,) = json.loads(finding.text)["calls"]
    assert call == {"name": "light", "arguments": {"room": "attic", "on": False}}
    none = await specialist.consult(Task(text="who wrote the book called 77"), ContextView())
    assert none.value == "no_function"
    figures = version.report["rungs"][0]["held_out"]
    assert (figures["exact_calls"], figures["no_function_recall"]) == (1.0, 1.0)
    assert report["rung"] == "lexical"
    assert set(specialist.card.labels) == {"light", "lock", "no_function"}


async def test_a_value_that_is_not_said(stored):
    """Every row says on or off: a part of its own tells texts that say neither, stored and loaded with the rest."""
    specialist, *_ = stored
    part = specialist.silences["light", "on"]
    for text, value in (
        ("turn the light in the attic please 9", "null"),
        ("turn off the light in the attic 9", "said"),
    ):
        assert (await part.consult(Task(text=text), ContextView())).value == value


async def test_a_number_is_no_code_of_another_argument(trained, tmp_path, encoder):
    """Of two readings in one text each has its own meter: the first number is not taken for a meter as well."""
    parameters = {
        "type": "object",
        "properties": {"meter": {"type": "string"}, "value": {"type": "integer"}},
        "required": ["meter", "value"],
    }
    forms = ("record {v} for meter {m}", "meter {m} shows {v}", "reading {v}, meter {m}", "note {v} at meter {m}")
    pairs = [(f"{'ABCX'[i % 4]}{1000 + 37 * i}", 11 * i + 5) for i in range(80)]
    calls = [
        {
            "text": forms[i % 4].format(m=m, v=v),
            "function": "record",
            "arguments": {"meter": m, "value": v},
        }
        for i, (m, v) in enumerate(pairs)
    ]
    none = [{"text": f"who wrote the book called {i}", "function": None} for i in range(24)]
    functions = [{"name": "record", "description": "Records a reading.", "parameters": parameters}]
    trained({"task": "tools", "functions": functions, "rungs": ["lexical"]}, [*calls, *none])
    config = load_config(tmp_path)
    version = open_registry(tmp_path, config.registry).champion("it")
    specialist = load_specialist("it", config.specialists["it"], version, encoder=encoder, models={})

    assert specialist.distinct == {"record"}
    task = Task(text="record 512 for meter B1234 and record 77 for meter C999")
    finding = await specialist.consult(task, ContextView())
    assert [call["arguments"]["meter"] for call in json.loads(finding.text)["calls"]] == ["B1234", "C999"]


def test_texts_without_the_words_that_tell_a_value():
    """The words that only one value's rows have go, the rest stays; chance makes no word telling."""
    texts = [f"turn {word} the light in the {room}" for room in ROOMS for word in ("on", "off")] * 2
    rows = [Row(text=text, labels=("x",), line=i) for i, text in enumerate(texts)]
    values = ["true" if " on " in text else "false" for text in texts]
    assert {row.text for row in without_value(rows, values)} == {f"turn the light in the {room}" for room in ROOMS}
    assert without_value(rows[:8], values[:8]) == []  # four of each: "on" may be chance
    assert without_value(rows, ["true"] * len(rows)) == []


def test_other_functions_need_another_training(stored):
    """A version serves the functions that it was trained with, and says which differ."""
    *_, version = stored
    section = make_section(task="tools", data="x.jsonl", functions=FUNCTIONS[:1])
    with pytest.raises(Exception, match="lock"):
        load_specialist("it", section, version, encoder=None, models={})


@pytest.mark.parametrize(
    ("functions", "said"),
    [
        ([], "needs"),
        ([{"name": "a"}, {"name": "a"}], "'a'"),
        ([{"name": "no_function"}], "no_function"),
        ([{}], "name"),
    ],
)
def test_sections_that_are_none(functions, said):
    """No functions, two of a name, the name that is taken, and none at all."""
    with pytest.raises(ValueError, match=said):
        make_section(task="tools", data="x.jsonl", functions=functions)
