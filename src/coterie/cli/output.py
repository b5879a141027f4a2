"""How results are shown: JSON or a table on standard output, remarks on standard error.

Data is never taken for markup, and control characters in it never reach the terminal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

if TYPE_CHECKING:
    from rich.console import Console

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for scripts.")]
"""The option that every command has."""

_PIPE_WIDTH = 160
"""Columns of a table that goes to a file or a pipe."""
_FIGURE_STARTS = "0123456789-"
_CONTROL = {code: None for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def clean(text: object) -> str:
    """A value as text without control characters: no answer or label may steer the terminal."""
    return str(text).translate(_CONTROL)


def show_json(document: object) -> None:
    """The result for scripts: one JSON document on standard output."""
    unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    typer.echo(json.dumps(document, indent=2, ensure_ascii=not unicode, allow_nan=False))


def say(text: str) -> None:
    """A line of the result."""
    typer.echo(clean(text))


def paragraph(text: str) -> None:
    """Sentences of the result: wrapped between words on a terminal, one line elsewhere."""
    screen = console(sys.stdout)
    screen.print(clean(text), markup=False, highlight=False, soft_wrap=not sys.stdout.isatty())


def remark(text: str) -> None:
    """A line beside the result, on standard error."""
    typer.echo(clean(text), err=True)


def dim(text: str) -> None:
    """A line of the result that matters less."""
    console(sys.stdout).print(clean(text), style="dim", markup=False, highlight=False, soft_wrap=True)


def shell(folder: Path, *words: str) -> str:
    """A `coterie` command for this folder as one would type it."""
    import shlex

    where = [] if folder == Path() else ["-C", str(folder)]
    return shlex.join(["coterie", *where, *words])


def console(stream: TextIO) -> Console:
    """A rich console: plain text when the stream is no terminal, no colour under `NO_COLOR`."""
    from rich.console import Console

    return Console(file=stream, width=None if stream.isatty() else _PIPE_WIDTH, emoji=False)


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "", gap: int = 1) -> None:
    """A table of the result; columns of figures are aligned right. A table with many columns takes a gap of 0."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    rows = list(rows)
    headed = any(columns)
    table = Table(
        box=SIMPLE_HEAD if headed else None, show_header=headed, show_edge=False, pad_edge=False, padding=(0, gap, 0, 0)
    )
    if title:
        table.title, table.title_justify = Text(clean(title), style="bold"), "left"
    for index, column in enumerate(columns):
        numeric = all(_cell(row[index])[:1] in _FIGURE_STARTS for row in rows)
        table.add_column(Text(column), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    console(sys.stdout).print(table, "")


def number(value: float | None) -> str:
    """A share or score with its three places; a dash when it is not known."""
    return "-" if value is None else f"{value:.3f}"


def counted(many: int, noun: str, nouns: str = "") -> str:
    """`1 key`, `2,000 keys`; the plural only where it takes more than an s."""
    return f"{many:,} {noun if many == 1 else nouns or f'{noun}s'}"


def interval(pair: Sequence[float] | None) -> str:
    """`0.912-0.941`."""
    return "-" if pair is None else f"{pair[0]:.3f}-{pair[1]:.3f}"


def size(count: int) -> str:
    """Bytes in the unit that suits them."""
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.1f} kB"


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else clean(value)
