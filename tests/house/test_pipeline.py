"""The pipeline knows protocols only: what it works with is given to it."""

import ast
import enum
import importlib
import inspect
import sys
from dataclasses import is_dataclass
from pathlib import Path

import pytest

from coterie.network import pipeline

PACKAGE = Path(pipeline.__file__).parent
NEUTRAL = {
    "coterie.types",
    "coterie.protocols",
    "coterie.errors",
    "coterie.runtime.concurrency",
    "coterie.runtime.codec",
}
"""What the pipeline itself may import beside the standard library and its own package."""


def imported(path: Path) -> list[tuple[str, str]]:
    """(module, name) of each import of a file, those for annotations included."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    froms = [
        (node.module or "", alias.name) for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names
    ]
    return froms + [(alias.name, "") for node in nodes if isinstance(node, ast.Import) for alias in node.names]


def own_modules(start: Path) -> set[Path]:
    """A module of the package, and those of the package that it imports, directly or not."""
    modules, waiting = set(), [start]
    while waiting:
        path = waiting.pop()
        if path not in modules:
            modules.add(path)
            inside = [module for module, _ in imported(path) if module.startswith("coterie.network.")]
            waiting += [PACKAGE / f"{module.rsplit('.', 1)[1]}.py" for module in inside]
    return modules


def is_concrete(thing: object) -> bool:
    """Whether something does work of its own: a class that is no protocol, no value and no error."""
    if not inspect.isclass(thing) or issubclass(thing, BaseException | enum.Enum | tuple):
        return False
    frozen = is_dataclass(thing) and thing.__dataclass_params__.frozen
    return not (getattr(thing, "_is_protocol", False) or frozen)


def test_the_pipeline_imports_protocols_only():
    """Types, protocols, errors, its own package and the standard library: nothing else."""
    for module, _ in imported(Path(pipeline.__file__)):
        allowed = module in NEUTRAL or module.startswith(("coterie.network.", "coterie.types.", "coterie.errors."))
        assert allowed or module.split(".")[0] in sys.stdlib_module_names, module


@pytest.mark.parametrize("path", sorted(own_modules(Path(pipeline.__file__))), ids=lambda path: path.stem)
def test_its_stages_know_no_concrete_class(path):
    """Of other packages the stages use functions, values, protocols and errors."""
    for module, name in imported(path):
        if module.startswith("coterie.") and not module.startswith("coterie.network."):
            assert not is_concrete(getattr(importlib.import_module(module), name)), f"{path.name} imports {name}"


def test_every_stage_is_in_its_order():
    """The stages that a trace names are those of the docstring, in its order."""
    listed = [line.split()[0] for line in (pipeline.__doc__ or "").splitlines() if line.startswith("    ")]
    source = Path(pipeline.__file__).read_text()
    timed = [node.args[0].value for node in ast.walk(ast.parse(source)) if _is_stage(node)]

    assert listed == ["admit", "rewrite", "route", "gather", "consult", "verify", "decide", "compose", "settle"]
    assert set(timed) == set(listed) - {"settle"}  # its own time cannot stand in what it writes


def _is_stage(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "stage"
