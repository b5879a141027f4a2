"""The tutorials of the documentation: every command and every Python block is run, in order, in an empty folder."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

TUTORIALS = Path(__file__).resolve().parents[2] / "docs" / "tutorials"
_BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEREDOC = re.compile(r"<<'(\w+)'$")
_SAME = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True, kw_only=True)
class Step:
    """One command of a tutorial with the output that the page shows; `...` there stands for anything."""

    command: str
    output: str


def steps(page: str) -> Iterator[Step]:
    """The commands of a page in order; a Python block is a command, too, and shows no output."""
    for kind, body in _BLOCK.findall(page):
        if kind == "python":
            yield Step(command=f"{sys.executable} - <<'PYTHON'\n{body}PYTHON", output="...")
        else:
            yield from _console(body.splitlines())


def _console(lines: list[str]) -> Iterator[Step]:
    """A line that begins with `$ ` is a command, with its here-document if it has one; others are its output."""
    rest = iter(lines)
    command, output = "", list[str]()
    for line in rest:
        if not line.startswith("$ "):
            output.append(line)
            continue
        if command:
            yield Step(command=command, output="\n".join(output))
        command, output = line[2:], []
        if end := _HEREDOC.search(command):
            for inner in rest:
                command += "\n" + inner
                if inner == end[1]:
                    break
    yield Step(command=command, output="\n".join(output))


def run(step: Step, folder: Path) -> str:
    """Run a command in the folder and give its standard output; a server that it leaves behind keeps running."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", step.command],
        cwd=folder,
        env={**os.environ, "PATH": path, "COLUMNS": "160"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{step.command}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("page", sorted(TUTORIALS.glob("*.md")), ids=lambda path: path.stem)
def test_a_tutorial_does_what_it_shows(page, tmp_path):
    """Every command of the page succeeds and prints what the page shows."""
    server = tmp_path / "serve.pid"
    try:
        for step in steps(page.read_text(encoding="utf-8")):
            printed = run(step, tmp_path)
            wanted = "\n".join(line.rstrip() for line in step.output.splitlines())
            assert doctest.OutputChecker().check_output(wanted + "\n", printed + "\n", _SAME), (
                f"$ {step.command}\nshown:\n{wanted}\nprinted:\n{printed}"
            )
    finally:
        if server.exists():
            subprocess.run(["kill", server.read_text().strip()], check=False, stderr=subprocess.DEVNULL)
