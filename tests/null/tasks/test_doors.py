"""What registers by name is found through one door, ours as anybody's."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from coterie.config.file import _CHOICES, parse_config
from coterie.engines.kinds import ENGINE_TYPES
from coterie.errors import ConfigError
from coterie.knowledge.kinds import INDEX_TYPES
from coterie.privacy.kinds import DETECTOR_TYPES
from coterie.routing.kinds import ROUTER_TYPES
from coterie.runtime.plugins import PluginGroup
from coterie.tasks.contract import TASK_TYPES

OURS = {
    TASK_TYPES: {"answer", "classify", "extract", "generate", "pairs", "score"},
    ENGINE_TYPES: {"llama", "openai"},
    ROUTER_TYPES: {"learned"},
    INDEX_TYPES: {"local", "postgres"},
    DETECTOR_TYPES: {"names", "patterns", "presidio"},
}


@pytest.mark.parametrize(("door", "names"), OURS.items(), ids=lambda value: getattr(value, "what", ""))
def test_ours_are_there(door, names):
    """Each of them loads, and is what its door promises."""
    assert names <= set(door.names)
    assert all(isinstance(door.load(name), door.kind) for name in names)


def test_a_tasks_name_is_the_one_it_registers_under():
    """What a version and a trace call it is what the file calls it."""
    assert all(TASK_TYPES.load(name).kind == name for name in TASK_TYPES.names)


def test_an_unknown_name_is_told_with_those_that_there_are():
    """With the nearest one."""
    with pytest.raises(ConfigError, match=r"There is no task 'clasify'.*classify") as caught:
        TASK_TYPES.load("clasify")
    assert caught.value.hint == "Did you mean 'classify'?"


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("nowhere.to:FOUND", "cannot be imported"),
        ("coterie.errors:NONE", "cannot be imported"),
        ("sys:path", "is no task"),
    ],
)
def test_what_cannot_be_loaded_is_told(value, says):
    """A package that is broken, or offers something else, is named by what it registers."""
    door = PluginGroup("coterie.nothing", TASK_TYPES.kind, "task")
    door.__dict__["_entries"] = {"it": EntryPoint(name="it", value=value, group=door.group)}

    with pytest.raises(ConfigError, match=says):
        door.load("it")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            '[specialists.a]\ntask = "score"\ndata = "x"\nfields = {}\n',
            r"specialists\.a\.fields: a key of task 'extract'; ",
        ),
        (
            '[specialists.a]\ntask = "score"\ndata = "x"\nexclud = []\n',
            r"specialists\.a\.exclud: .* did you mean 'exclude'",
        ),
        ('[specialists.a]\ntask = "dance"\n', r"specialists\.a: There is no task 'dance'"),
        ('[specialists.a]\ndata = "x"\n', r"specialists\.a: it needs `task`, one of answer, classify"),
        (
            '[models.a]\nengine = "llama"\nname = "x"\nbase_url = "y"\n',
            r"models\.a\.base_url: a key of engine 'decisions' or 'openai' or 'systemone' or 'vllm'; ",
        ),
        ('[router]\nkind = "dice"\n', "router: There is no kind 'dice'"),
        ('[knowledge.a]\nkind = "heap"\n', r"knowledge\.a: There is no kind 'heap'"),
        ('[knowledge.a]\nkind = "postgres"\n', "a local index has store"),
    ],
)
def test_a_table_is_checked_by_what_it_names(text, says):
    """What was asked, and what that task, engine or kind has."""
    with pytest.raises(ConfigError, match=says):
        parse_config(text)


def test_nothing_is_imported_before_it_is_named():
    """Reading a file without models or documents brings no numpy, and no task that it does not name."""
    code = """
import sys
from coterie.config.file import parse_config
parse_config('[specialists.a]\\ntask = "classify"\\ndata = "x"\\n')
print(*sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())

    assert "coterie.tasks.classify.task" in loaded
    assert not loaded & {"numpy", "onnxruntime", "torch", "coterie.tasks.score.task", "coterie.engines.kinds"}


def test_every_choice_has_a_default_or_a_key():
    """Of a table that may be left out it is known what it is then."""
    assert {name for name, choice in _CHOICES.items() if choice.usual} == {"router", "knowledge", "privacy"}
