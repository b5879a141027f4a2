"""What holds for every test: it reaches this machine only."""

from __future__ import annotations

import atexit
import gc
import importlib.util
import os
import re
import shutil
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Generator, Iterator
from html.parser import HTMLParser
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
    spec = importlib.util.spec_from_file_location("guard", folder / "sitecustomize.py")
    assert spec is not None
    assert spec.loader is not None
    guard = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(guard)
    return guard, Path(notes)


def _offer_entry_points() -> None:
    """Let this process and those that it starts see the entry points of this checkout, whatever is installed.

    A checkout that is tested before it is installed anew would else be served by the metadata of another.
    """
    root = Path(__file__).parent.parent
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    offered = {group: dict(names) for group, names in project["entry-points"].items()}
    installed = {
        entry_point.name: entry_point.value for group in offered for entry_point in metadata.entry_points(group=group)
    }
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


def pytest_addoption(parser: pytest.Parser) -> None:
    """How many seeds the simulation of the whole network takes."""
    parser.addoption("--seeds", type=int, default=40, help="seeds of tests/simulation (COTERIE_SEED=N: that one alone)")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect without the garbage collector: ten thousand tests are collected, and all of them stay.

    It would look through them again and again, while they are made and while they run.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_unconfigure() -> None:
    """Leave no file behind."""
    _notes.unlink(missing_ok=True)


@pytest.fixture
def growth() -> Callable[[Callable[[object], object], object, object], float]:
    """How many times the CPU time some work takes for four times the input: 4 in proportion, 16 in its square."""

    def measure(work: Callable[[object], object], small: object, large: object) -> float:
        work(small)
        times = 1
        while (spent := _spent(work, small, times)) < 0.01:
            times = max(times + 1, int(times * 0.012 / max(spent, 1e-6)))
        rounds = [(_spent(work, small, times), _spent(work, large, times)) for _ in range(5)]
        return min(large for _, large in rounds) / min(small for small, _ in rounds)

    return measure


def _spent(work: Callable[[object], object], given: object, times: int) -> float:
    start = time.thread_time()
    for _ in range(times):
        work(given)
    return time.thread_time() - start


@pytest.fixture
def guard() -> ModuleType:
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
        notes = _notes.read_text()
        _notes.write_text("")
        pytest.fail(f"Refused by the socket guard: {notes}")


# --- Pages taken apart, and the check that they load nothing

VOID = {"meta", "br"}
LOADING = {"script", "link", "img", "iframe", "object", "image", "use", "embed", "base", "form"}


class Page(HTMLParser):
    """Elements in order with their attributes and text; a tag that closes another element is an error."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self._text: list[list[str]] = []
        self._open: list[int] = []
        self.feed(source)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        self._text.append([])
        if tag not in VOID:
            self._open.append(len(self.seen) - 1)

    def handle_endtag(self, tag):
        assert self.seen[self._open.pop()][0] == tag

    def handle_data(self, data):
        for index in self._open:
            self._text[index].append(data)

    @property
    def names(self):
        return [name for name, _ in self.seen]

    def texts(self, name, *, class_=None):
        return [
            "".join(self._text[index])
            for index, (tag, attributes) in enumerate(self.seen)
            if tag == name and class_ in {None, attributes.get("class")}
        ]

    def table(self, number):
        rows, tables = [], -1
        for index, (name, _) in enumerate(self.seen):
            tables += name == "table"
            if tables == number and name == "tr":
                rows.append([])
            if tables == number and name in {"th", "td"}:
                rows[-1].append("".join(self._text[index]))
        return rows

    def terms(self):
        return dict(zip(self.texts("dt"), self.texts("dd"), strict=True))

    def assert_loads_nothing(self):
        assert not LOADING & set(self.names)
        assert not any({"href", "src", "srcset", "data", "style"} & attributes.keys() for _, attributes in self.seen)
        assert not re.search(r"url\(|@import|https?://", self.source)


@pytest.fixture(scope="session")
def read_page():
    """Take a page apart: `read_page(source)`."""
    return Page
