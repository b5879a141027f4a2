"""What is said of a `coterie.toml` that does not fit."""

from collections.abc import Iterator

import pytest

from coterie.config.file import _CHOICES, _FORMS, Config, load_config, parse_config
from coterie.errors import ConfigError

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
