"""The documentation: links that resolve, pages that can be found, words of the field."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from pydantic import ValidationError
from typer.core import TyperGroup

from coterie.cli.app import app
from coterie.config.file import Config

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(
    [*ROOT.glob("*.md"), *(page for name in ("docs", "benchmarks", "labs") for page in (ROOT / name).rglob("*.md"))]
)
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def _links(page: Path) -> list[str]:
    """The targets of a page's links to files of this repository."""
    text = _CODE.sub("", _FENCE.sub("", page.read_text(encoding="utf-8")))
    return [link for link in _LINK.findall(text) if not re.match(r"[a-z]+:", link)]


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in _HEADING.findall(text)}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_resolve(page):
    """Every relative link leads to a file of the repository, and to a heading that is there."""
    for link in _links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if anchor:
            assert anchor in _anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_rows_of_a_table_have_the_cells_of_its_head(page):
    """No row of a table has more or fewer cells than the first one: a `|` within a cell is escaped, also in code."""
    cells = None
    for line in _FENCE.sub("", page.read_text(encoding="utf-8")).splitlines():
        row = len(re.findall(r"(?<!\\)\|", line)) if line.lstrip().startswith("|") else None
        assert row is None or cells in {None, row}, line
        cells = row


def test_every_page_is_reachable_from_the_index():
    """Each page below `docs` is reached from `docs/index.md` by links."""
    reached, queue = set(), [DOCS / "index.md"]
    while queue:
        page = queue.pop()
        if page not in reached:
            reached.add(page)
            targets = [(page.parent / link.partition("#")[0]).resolve() for link in _links(page)]
            queue += [target for target in targets if target.suffix == ".md" and target.is_relative_to(DOCS)]

    assert set(DOCS.rglob("*.md")) - reached == set()


def test_the_glossary_defines_each_noun_once():
    """No noun has two entries, and the entries are in alphabetical order."""
    nouns = re.findall(r"^\*\*(.+?)\*\*", (ROOT / "GLOSSARY.md").read_text(encoding="utf-8"), re.MULTILINE)

    assert len(set(nouns)) == len(nouns)
    assert nouns == sorted(nouns, key=str.casefold)


def _defined_names() -> set[str]:
    """Every name that the source defines (modules, classes, functions, arguments, fields), and its strings."""
    names = set()
    for path in (ROOT / "src").rglob("*.py"):
        names.add(path.stem)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                names.add(node.name)
            elif isinstance(node, ast.arg):
                names.add(node.arg)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                names.add(node.value)
    return names


def test_the_glossary_names_what_the_code_has():
    """A word in backticks that looks like a Python name (`CallContext`, `view_tokens`) is one of the source."""
    code = set(re.findall(r"`(\w+)`", (ROOT / "GLOSSARY.md").read_text(encoding="utf-8")))
    python = {name for name in code if re.fullmatch(r"[A-Z][a-z]\w*|[a-z]+(_[a-z]+)+", name)}

    assert python
    assert python - _defined_names() == set()


def test_the_changelog_repeats_nothing():
    """Each entry stands once, below Added, Changed, Fixed or another heading of keepachangelog.com."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    entries = re.findall(r"^- (.+)$", text, re.MULTILINE)
    headings = set(re.findall(r"^### (.+)$", text, re.MULTILINE))

    assert len(set(entries)) == len(entries)
    assert headings <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


@pytest.mark.parametrize("page", sorted((DOCS / "decisions").glob("[0-9]*.md")), ids=lambda path: path.stem)
def test_a_decision_has_its_three_parts(page):
    """A decision page has a numbered title, and says context, decision and consequences in this order."""
    headings = _HEADING.findall(page.read_text(encoding="utf-8"))

    assert headings[0].startswith(f"{page.name[:3]}. ")
    assert headings[1:] == ["Context", "Decision", "Consequences"]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_python_examples_import_what_exists(page):
    """Every name that a Python block of a page imports from Coterie or its laboratory is there."""
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in {"coterie", "labs"}:
                module = importlib.import_module(node.module)
                assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


def _commands(page: Path) -> Iterator[list[str]]:
    """The words behind `coterie` in each command of a page's shell blocks."""
    for block in re.findall(
        r"^```(?:sh|console)\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    ):
        for line in block.replace("\\\n", " ").splitlines():
            if match := re.match(r"(?:\$ )?coterie (.*)", line):
                yield shlex.split(match[1], comments=True)


def _options(words: list[str]) -> tuple[set[str], set[str]]:
    """The options that a command line has, and those that its command knows."""
    command, known, rest = typer.main.get_command(app), {"-C"}, iter(words)
    for word in rest:
        if word == "-C":
            next(rest)
        elif isinstance(command, TyperGroup) and not word.startswith("-"):
            command = command.commands[word]
        elif not isinstance(command, TyperGroup):
            break
    known |= {"--help", "--version"}
    known |= {
        name for option in command.get_params(typer.Context(command)) for name in option.opts + option.secondary_opts
    }
    return {word.partition("=")[0] for word in words if re.match(r"--[a-z]", word)}, known


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_and_their_options_exist(page):
    """Each command of a shell block is one of `coterie`, and has the options that the page gives it."""
    for words in _commands(page):
        used, known = _options(words)
        assert used - known == set(), words


def _unknown_keys(document: dict[str, object]) -> list[tuple[int | str, ...]]:
    """The keys of a part of `coterie.toml` that no section has; what else a whole file needs may be missing."""
    try:
        Config.model_validate({"network": {"name": "page"}} | document)
    except ValidationError as error:
        return [fault["loc"] for fault in error.errors() if fault["type"] == "extra_forbidden"]
    return []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_keys_of_toml_blocks_exist(page):
    """Each key in a block of `coterie.toml` is one of its section's."""
    for block in re.findall(r"^```toml\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        document = tomllib.loads(block)
        assert "project" in document or _unknown_keys(document) == []
