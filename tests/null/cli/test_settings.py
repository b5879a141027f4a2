"""Options made from the fields of the specialists' sections: names, types, help, tasks, refusals."""

from collections.abc import Iterator
from typing import Literal

import pytest
import typer
from pydantic import BaseModel, ConfigDict, Field

from coterie.cli import options
from coterie.cli.app import app
from coterie.config.file import _CHOICES, _FORMS, Config, load_config, parse_config
from coterie.config.specialists import SpecialistSection
from coterie.errors import ConfigError, InputError


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


# --- What is said of a `coterie.toml` that does not fit.


SPECIALIST = '[specialists.a]\ntask = "extract"\ndata = "a.csv"\n'


def patterns(schema: object) -> Iterator[str]:
    """Every pattern of a JSON Schema, those of keys too."""
    if isinstance(schema, dict):
        yield from (value for key, value in schema.items() if key == "pattern" and isinstance(value, str))
        yield from schema.get("patternProperties", {})
    for part in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from patterns(part)


def test_every_pattern_has_words():
    """Nobody is shown a regular expression."""
    chosen = [choice.section_class(name) for choice in _CHOICES.values() for name in choice.plugins.names]
    forms = {pattern for section in [Config, *chosen] for pattern in patterns(section.model_json_schema())}

    assert forms == set(_FORMS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[specialists."Ünder"]\n', "specialists.Ünder: a name takes a small letter"),
        (f'{SPECIALIST}fields = {{ "Fällig" = "date" }}\n', "specialists.a.fields.Fällig: a name takes a small letter"),
        (f'{SPECIALIST}fields = {{ due = "datum" }}\n', "specialists.a.fields.due: a type is text, date, number"),
        (f'{SPECIALIST}licence = "§"\n', "specialists.a.licence: a licence is written in SPDX's words"),
    ],
)
def test_a_form_is_told_in_words(text, said):
    """What was found where, and what it must be like."""
    with pytest.raises(ConfigError) as caught:
        parse_config(text)
    assert said in str(caught.value)
    assert "^" not in str(caught.value)


def test_the_former_name_of_a_section_is_accepted_with_a_warning():
    """`[cascade]` is read as `[policy]`; both in one file are refused."""
    with pytest.warns(FutureWarning, match=r"\[cascade\] is now \[policy\]"):
        config = parse_config("[cascade]\nbudget = 2.5\nspot_checks = 0.1\n")

    assert config == parse_config("[policy]\nbudget = 2.5\nspot_checks = 0.1\n")
    with pytest.raises(ConfigError, match="both"):
        parse_config("[cascade]\nbudget = 1\n[policy]\nbudget = 1\n")


@pytest.mark.parametrize(
    ("section", "key", "rest"),
    [("flywheel", "thresholds = true", "calls = 200"), ("privacy", 'model = "detector"', 'detector = "names"')],
)
def test_a_key_that_decides_nothing_any_more_is_accepted_with_a_warning(section, key, rest):
    """A file that sets it is read as one that does not."""
    with pytest.warns(FutureWarning, match=rf"\[{section}\] {key.split()[0]} has no effect"):
        config = parse_config(f"[{section}]\n{key}\n{rest}\n")

    assert config == parse_config(f"[{section}]\n{rest}\n")


def test_a_file_that_begins_with_a_mark_of_the_byte_order(run, folder):
    """As some editors write it: the file is read, and a specialist can be added to it."""
    path = folder / "coterie.toml"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    (folder / "own.csv").write_text("text,label\n" + "".join(f"word {n},{'ab'[n % 2]}\n" for n in range(20)))
    assert run("-C", folder, "add", "own", "--task", "classify", "--data", folder / "own.csv").code == 0
    assert load_config(folder).specialists["own"].data is not None


@pytest.mark.parametrize("address", ["http://host:99999/v1", "http://host:0/v1", "http://host:x/v1", "http://[::1"])
def test_an_address_that_nothing_can_be_at(address):
    """A port that does not exist is said when the file is read, not when the model is asked."""
    with pytest.raises(ConfigError, match="it is no address"):
        parse_config(f'[models.m]\nengine = "openai"\nname = "m"\nbase_url = "{address}"\n')


def test_a_file_in_another_encoding_is_named(folder):
    """UTF-16, as some editors save: the message says at which byte, in words of no codec."""
    file = folder / "coterie.toml"
    file.write_bytes(file.read_text(encoding="utf-8").encode("utf-16"))

    with pytest.raises(ConfigError, match="byte 0 is not UTF-8"):
        load_config(folder)
