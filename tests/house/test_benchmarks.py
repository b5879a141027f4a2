"""Benchmarks find what they import: a folder that moved does not break the one that reads from it."""

from __future__ import annotations

import ast
import runpy
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted(
    path
    for name in ("benchmarks", "scripts")
    for path in (ROOT / name).rglob("*.py")
    if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
)
MODULES = {path.stem for name in ("benchmarks", "scripts") for path in (ROOT / name).rglob("*.py")}


def _folders(path: Path, tree: ast.Module) -> list[Path]:
    """Where a script's imports are looked for, the likeliest first: what it adds to `sys.path`, and its own folder."""
    names = {"Path": Path, "str": str, "__file__": str(path)}
    added = [path.parent]
    for node in tree.body:
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and ast.unparse(node.value).startswith("Path(__file__)")
        ):
            names[node.targets[0].id] = _value(node.value, names)
        if ast.unparse(node).startswith("sys.path.insert(0, ") and "FOLDER" not in ast.unparse(node):  # of the data
            added.insert(0, Path(_value(node.value.args[1], names)))  # type: ignore[attr-defined]
    return added


def _value(node: ast.expr, names: dict[str, object]) -> object:
    return eval(compile(ast.Expression(node), "<path>", "eval"), {"__builtins__": {}}, dict(names))


def _imports(tree: ast.Module) -> Iterator[tuple[str, set[str]]]:
    """Modules that are imported at the top, and which names of them."""
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], set()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0], {alias.name for alias in node.names} if "." not in node.module else set()


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def _defined(path: Path) -> set[str]:
    """The names that a module has at its top."""
    names: set[str] = set()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name.split(".")[0])
    return names


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_script_finds_what_it_imports_from_other_scripts(path: Path) -> None:
    """Every folder that a script adds to the search path exists, and the module found there first has the names."""
    seen, left, folders = set(), [path], []
    while left:
        script = left.pop()
        seen.add(script)
        tree = _tree(script)
        folders = [*_folders(script, tree), *folders]
        assert all(folder.is_dir() for folder in folders), folders
        for module, names in _imports(tree):
            if module in sys.stdlib_module_names or module == "coterie":
                continue
            homes = [home for folder in folders if (home := folder / f"{module}.py").exists()]
            if homes:
                assert homes[0] != script, f"{module} is {script} itself"
                assert names <= _defined(homes[0]), (module, names - _defined(homes[0]))
                left += [homes[0]] if homes[0] not in seen else []
            elif module != "load":  # of the data; a package need not be installed
                assert module not in MODULES or find_spec(module), f"{script} does not find {module!r}"


def test_the_table_of_claims_is_that_of_the_result_files() -> None:
    table = runpy.run_path(str(ROOT / "benchmarks/table.py"))
    page = (ROOT / "benchmarks/README.md").read_text(encoding="utf-8")
    assert table["with_claims"](page) == page, "run: python benchmarks/table.py --write"


def test_the_pages_written_for_training_are_read_whole() -> None:
    read = runpy.run_path(str(ROOT / "scripts/reading/written.py"))
    pages = list(read["pages"]())
    assert pages
    assert all(page.sentences and page.questions and page.statements for page in pages)
    titles = [page.title for page in pages]
    assert len(titles) == len(set(titles)), "a page is held from training by its title"


def test_the_conversations_written_for_training_are_read_whole() -> None:
    read = runpy.run_path(str(ROOT / "scripts/turns/conversations.py"))
    found = list(read["conversations"]())
    assert found
    assert all(len(one.turns) > 1 and not one.turns[0].rewrite for one in found)
    topics = [(one.language, one.topic) for one in found]
    assert len(topics) == len(set(topics)), "a conversation is held from training by its topic"


PAGES, CONVERSATIONS = ("scripts/reading/written.py", "pages_of"), ("scripts/turns/conversations.py", "parse")


@pytest.mark.parametrize(
    ("reader", "line"),
    [
        (PAGES, "1 A sentence."),
        (PAGES, "# en | A page\n2 A sentence."),
        (PAGES, "# en | A page\n? Which => 1"),
        (PAGES, "# en | A page\n* A word"),
        (CONVERSATIONS, "= Turn"),
        (CONVERSATIONS, "# en | topic\n> Turn => Rewrite"),
        (CONVERSATIONS, "# en | topic\n= Turn => Rewrite"),
        (CONVERSATIONS, "# en | topic\n= A\n> Turn"),
    ],
)
def test_a_wrong_line_written_for_training_is_an_error_with_its_number(
    reader: tuple[str, str], line: str, tmp_path: Path
) -> None:
    script, name = reader
    (tmp_path / "own.txt").write_text(line, encoding="utf-8")
    with pytest.raises(ValueError, match=rf"own\.txt:{line.count(chr(10)) + 1}: "):
        list(runpy.run_path(str(ROOT / script))[name](tmp_path / "own.txt"))
