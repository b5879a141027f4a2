"""Options made from the fields of the specialists' sections: names, types, help, tasks, refusals."""

from typing import Literal

import pytest
import typer
from pydantic import BaseModel, ConfigDict, Field

from coterie.cli import options
from coterie.cli.app import app
from coterie.config.specialists import SpecialistSection
from coterie.errors import InputError


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class ClassifySection(_Section):
    """A section of one task."""

    task: Literal["classify"]
    rungs: tuple[Literal["lexical", "encoder"], ...] | None = None
    """Rungs to try. A second sentence is left to the reference."""
    chain_quality: float = Field(default=0.99, gt=0, le=1)
    """What a chain keeps."""


class ExtractSection(_Section):
    """A section of another."""

    task: Literal["extract"]
    rungs: tuple[Literal["lexical", "encoder"], ...] | None = None
    """Rungs to try."""
    fields: dict[str, str] = {}
    """What is looked for."""


@pytest.fixture
def union(monkeypatch):
    """Sections as a union with a class for each task."""
    monkeypatch.setattr(options, "sections", lambda: {"classify": ClassifySection, "extract": ExtractSection})


def options_of(command: str) -> dict[str, object]:
    click_command = typer.main.get_command(app).commands[command]
    return {parameter.name: parameter for parameter in click_command.get_params(typer.Context(click_command))}


def test_a_field_is_an_option():
    """Name, type, choices, bounds and default are the field's."""
    add_options = options_of("add")

    assert set(SpecialistSection.model_fields) <= set(add_options)
    assert add_options["rungs"].opts == ["--rungs", "--rung"]
    assert add_options["rungs"].multiple
    assert "lexical, embedding" in add_options["rungs"].help
    assert add_options["multi_label"].is_flag
    assert all(part in add_options["target_risk"].help for part in ("above 0", "below 1", "`0.05`"))


@pytest.mark.parametrize("command", ["add", "train", "rightsize"])
def test_rungs_are_one_option(command):
    """The commands that take rungs take them under the same names, with the same help."""
    option, same = options_of(command)["rungs"], options_of("add")["rungs"]

    assert (option.opts, option.help, option.metavar) == (same.opts, same.help, same.metavar)


def test_fields_of_a_union(union):
    """Each field of each class is offered once, and one that is not everybody's names its tasks."""
    settings = options.settings(options.sections())

    assert list(settings) == ["rungs", "chain_quality", "fields"]
    assert (settings["rungs"].tasks, settings["fields"].tasks) == ((), ("extract",))
    parameter = settings["chain_quality"].parameter()
    assert parameter.annotation.__metadata__[0].help.startswith("classify: What a chain keeps. ")


def test_a_field_of_another_task(union):
    """A field that the task's section lacks is refused with the tasks that it is for."""
    with pytest.raises(InputError) as refused:
        options.section_from("classify", {"fields": {"start": "date"}})

    assert "--fields" in refused.value.message
    assert "extract" in refused.value.hint
    assert options.section_from("extract", {"fields": {"start": "date"}}).fields == {"start": "date"}


@pytest.mark.parametrize(
    ("fields", "option"),
    [({"rungs": ["gpt"]}, "--rungs has 'gpt'"), ({"chain_quality": 7.0}, "--chain-quality is 7.0")],
)
def test_a_value_that_is_refused(union, fields, option):
    """What the section refuses is said in terms of the option, with what was typed."""
    with pytest.raises(InputError) as refused:
        options.section_from("classify", fields)

    assert refused.value.message.startswith(option)


def test_an_unknown_task(union):
    """A task that no section has is refused with those that there are."""
    with pytest.raises(InputError) as refused:
        options.check_task("sing", {})

    assert "classify, extract" in refused.value.hint
