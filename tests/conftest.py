"""What holds for every test: it reaches this machine only."""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, settings

# On a busy machine of two cores a test is slow for reasons that are not its own.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def _start_guard() -> tuple[ModuleType, Path]:
    """Guard this process and those that it starts; gives the guard and the file of what it refused."""
    folder = Path(__file__).parent / "guard"
    number, notes = tempfile.mkstemp(prefix="coterie-guard-")
    os.close(number)
    os.environ["COTERIE_GUARD"] = notes
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")]))
    found = importlib.util.spec_from_file_location("guard", folder / "sitecustomize.py")
    assert found is not None
    assert found.loader is not None
    guard = importlib.util.module_from_spec(found)
    found.loader.exec_module(guard)
    return guard, Path(notes)


def _offer_entry_points() -> None:
    """Let this process and those that it starts see the entry points of this checkout, whatever is installed.

    A checkout that is tested before it is installed anew would else be served by the metadata of another.
    """
    root = Path(__file__).parent.parent
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    offered = {group: dict(names) for group, names in project["entry-points"].items()}
    installed = {each.name: each.value for group in offered for each in metadata.entry_points(group=group)}
    if all(installed.get(name) == value for names in offered.values() for name, value in names.items()):
        return
    folder = Path(tempfile.mkdtemp(prefix="coterie-metadata-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    about = folder / f"coterie-{project['version']}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(metadata.distribution("coterie").read_text("METADATA") or "")
    lines = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in names.items())
        for group, names in offered.items()
    ]
    (about / "entry_points.txt").write_text("\n".join(lines))
    sys.path.insert(0, str(folder))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")]))


_guard, _notes = _start_guard()
_offer_entry_points()


def pytest_unconfigure() -> None:
    """Leave no file behind."""
    _notes.unlink(missing_ok=True)


@pytest.fixture
def guard() -> ModuleType:
    """The socket guard, for the tests of it."""
    return _guard


@pytest.fixture
def refused() -> Iterator[Path]:
    """The file of what the guard refused, for tests that want it to; it is emptied at their end."""
    yield _notes
    _notes.write_text("")


@pytest.fixture(autouse=True)
def _nothing_leaves(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test in which anything was to leave this machine fails, whoever swallowed the error."""
    yield
    if "refused" not in request.fixturenames and _notes.stat().st_size:
        said = _notes.read_text()
        _notes.write_text("")
        pytest.fail(f"Refused by the socket guard: {said}")
