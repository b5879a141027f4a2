"""The generated reference: current, and complete."""

import importlib.util
import inspect
from pathlib import Path

import pytest
from pydantic import BaseModel

from coterie import errors
from coterie.config import file as config

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def built():
    """The pages as `scripts/docs_build.py` makes them now."""
    spec = importlib.util.spec_from_file_location("docs_build", ROOT / "scripts" / "docs_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.pages()


@pytest.mark.parametrize(
    "name", ["reference/cli.md", "reference/config.md", "reference/errors.md", "decisions/index.md"]
)
def test_pages_are_current(built, name):
    """The committed page is what its source says today: run scripts/docs_build.py after a change."""
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == built[name]


def test_every_setting_is_documented(built):
    """Each key of coterie.toml stands in the reference, and each has a docstring of its own."""
    for section in vars(config).values():
        if inspect.isclass(section) and issubclass(section, BaseModel) and section is not config.Config:
            for name, field in section.model_fields.items():
                assert f"| `{field.validation_alias or name}` |" in built["reference/config.md"]
                assert field.description or name == "engine", f"{section.__name__}.{name} has no docstring"


def test_every_error_is_documented(built):
    """Each error's code stands in the reference, and no two share one."""
    kinds = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, errors.CoterieError)]

    assert len({kind.code for kind in kinds}) == len(kinds)
    for kind in kinds:
        assert f"| `{kind.code}` | `{kind.__name__}` |" in built["reference/errors.md"]
        assert kind.__name__ in errors.__doc__


def test_every_option_has_help(built):
    """No command, argument or option is without a word of help."""
    for line in built["reference/cli.md"].splitlines():
        assert not line.endswith("|  |"), line


def test_every_exit_code_is_documented(built):
    """The table of exit codes has each code that the command line uses."""
    exits = importlib.import_module("coterie.cli.output")
    used = {value for name, value in vars(exits).items() if name.isupper() and name[0] != "_" and type(value) is int}

    assert used <= set(exits.EXIT_CODES)
    for code in exits.EXIT_CODES:
        assert f"| {code} | " in built["reference/cli.md"]
