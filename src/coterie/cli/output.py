"""Show results and errors: JSON or tables on standard output, remarks on standard error, and the exit codes.

Data is never interpreted as markup, and control characters in data never reach the terminal.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TextIO

import typer

from coterie.errors import CoterieError, EngineError, InputError, Overloaded, PolicyError, SetupError

if TYPE_CHECKING:
    from rich.console import Console

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for scripts.")]
"""The `--json` option of every command."""

SETUP, USAGE, BAR_MISSED, FORBIDDEN, ENGINE, UNVOUCHED, PARTIAL = 1, 2, 3, 4, 5, 6, 7
UNEXPECTED, INTERRUPTED, PIPE_CLOSED = 70, 130, 141

EXIT_CODES = {
    0: "done; for `ask` also when the network abstained: that is an answer",
    SETUP: "the set-up needs a change (the hint says which), or `doctor` found something required missing",
    USAGE: "the command line, the request or the data cannot be used as it is",
    BAR_MISSED: "`train`: all were trained and stored, but one missed its bar or is worse than its champion; "
    "`rightsize`: no rung is shown to meet the bar",
    FORBIDDEN: "a policy forbids it, `registry promote` refused a version, or `audit verify` found a change",
    ENGINE: 'an engine failed or is overloaded; with `"retryable": true` the same command may succeed later',
    UNVOUCHED: "`audit verify` or `registry verify`: nothing is changed, but nothing vouches for a part of it",
    PARTIAL: "`index` or `session erase`: done, but not for the documents or sessions that are named",
    UNEXPECTED: "a mistake of ours; `COTERIE_DEBUG=1` shows the traceback",
    INTERRUPTED: "Ctrl-C",
    PIPE_CLOSED: "whoever read the output stopped reading",
}
"""Meaning of each exit code, for the reference page."""

_CODES: tuple[tuple[type[CoterieError], int], ...] = (
    (SetupError, SETUP),
    (InputError, USAGE),
    (PolicyError, FORBIDDEN),
    (Overloaded, ENGINE),
    (EngineError, ENGINE),
)
_REPORT = "This is a mistake in Coterie. Run it again with COTERIE_DEBUG=1 and report what it prints."
_PIPE_WIDTH = 160
"""Width in characters of a table that goes to a file or a pipe."""
_FIGURE_STARTS = "0123456789-"
_WORD = 12
"""Characters of a longer word that a column of text must have; it is cut in lines."""
_CONTROL = {code: None for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}

# --- Results -------------------------------------------------------------------------------------


def give(document: object, view: str | Callable[[], None], *, as_json: bool) -> None:
    """Print a result: the document as JSON, or its view, which is a line or a function that prints."""
    if as_json:
        show_json(document)
    elif isinstance(view, str):
        say(view)
    else:
        view()


def clean(text: object) -> str:
    """Return a value as text without control characters, so that no answer or label can control the terminal."""
    return str(text).translate(_CONTROL)


def show_json(document: object) -> None:
    """Print the result for scripts: one JSON document on standard output."""
    unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    typer.echo(json.dumps(document, indent=2, ensure_ascii=not unicode, allow_nan=False))


def say(text: str) -> None:
    """Print a line of the result."""
    typer.echo(clean(text))


@contextmanager
def optional() -> Iterator[None]:
    """Print what may be lost: a log on a full disk ends no training and no worker. A closed pipe ends the command."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError:
        return


def remark(text: str) -> None:
    """Print a line beside the result, on standard error. A line for which there is no space ends nothing."""
    with optional():
        typer.echo(clean(text), err=True)


def warn(warnings: Iterable[str]) -> None:
    """Print a line for each warning, on standard error."""
    for warning in warnings:
        remark(f"Warning: {warning}")


def paragraph(text: str) -> None:
    """Print sentences of the result: wrapped between words on a terminal, one line elsewhere."""
    screen = console(sys.stdout)
    screen.print(clean(text), markup=False, highlight=False, soft_wrap=not sys.stdout.isatty())


def dim(text: str) -> None:
    """Print a less important line of the result, dimmed."""
    console(sys.stdout).print(clean(text), style="dim", markup=False, highlight=False, soft_wrap=True)


def console(stream: TextIO) -> Console:
    """Return a rich console: plain text if the stream is no terminal, no colour under `NO_COLOR`."""
    from rich.console import Console

    return Console(file=stream, width=None if stream.isatty() else _PIPE_WIDTH, emoji=False)


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "", gap: int = 1) -> None:
    """Print a table of the result; columns of figures are aligned right. A table with many columns takes a gap of 0.

    Where a terminal is too narrow for the figures and words of a row, each row is a table of names and values.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    cells, headed = [[_cell(value) for value in row] for row in rows], any(columns)
    by_column = zip(columns, zip(*cells, strict=True), strict=True) if cells else ()
    least = [max(_least(*named), default=0) for named in by_column]
    if headed and sum(least) + (gap + 1) * (len(least) - 1) > console(sys.stdout).width:
        for number_, row in enumerate(cells):
            show_table(("", ""), zip(columns, row, strict=True), title=title if number_ == 0 else "", gap=gap)
        return
    table = Table(
        box=SIMPLE_HEAD if headed else None, show_header=headed, show_edge=False, pad_edge=False, padding=(0, gap, 0, 0)
    )
    if title:
        table.title, table.title_justify = Text(clean(title), style="bold"), "left"
    for index, column in enumerate(columns):
        numeric = all(row[index][:1] in _FIGURE_STARTS for row in cells)
        table.add_column(Text(column), justify="right" if numeric else "left", overflow="fold")
    for row in cells:
        table.add_row(*map(Text, row))
    console(sys.stdout).print(table, "")


def _least(column: str, cells: Sequence[str]) -> Iterator[int]:
    """Yield the widths that a column must have: of its figures, and of its words up to `_WORD`."""
    from rich.cells import cell_len

    for text in (column, *cells):
        whole = text[:1] in _FIGURE_STARTS and text is not column
        yield from (min(cell_len(word), _WORD) for word in ([text] if whole else text.split()))


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else clean(value)


# --- Words for values ----------------------------------------------------------------------------


def number(value: float | None) -> str:
    """Format a share or score with three decimal places; a dash if it is unknown."""
    return "-" if value is None else f"{value:.3f}"


def interval(pair: Sequence[float] | None) -> str:
    """Format an interval, such as `0.912-0.941`."""
    return "-" if pair is None else f"{pair[0]:.3f}-{pair[1]:.3f}"


def counted(many: int, noun: str, nouns: str = "") -> str:
    """Format a count with its noun, such as `1 key` or `2,000 keys`; `nouns` is an irregular plural."""
    return f"{many:,} {noun if many == 1 else nouns or f'{noun}s'}"


def size(count: int) -> str:
    """Format a number of bytes in a suitable unit."""
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.1f} kB"


def local_time(seconds: float, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Format seconds since the epoch as a local date and time."""
    return datetime.fromtimestamp(seconds).astimezone().strftime(form)


def one_line(text: str) -> str:
    """Return a text with every run of white space as one space."""
    return " ".join(text.split())


def shell(folder: Path, *words: str) -> str:
    """Return a `coterie` command for this folder as a user would type it."""
    import shlex

    where = [] if folder == Path() else ["-C", str(folder)]
    return shlex.join(["coterie", *where, *words])


# --- Errors --------------------------------------------------------------------------------------


_ANYWHERE = "init|import|discover"
"""Commands that need no network."""


def explain(error: Exception, *, as_json: bool, folder: Path | None = None) -> int:
    """Show an error to the user and return its exit code.

    Commands in its hint are written for the folder of the network, as a user would type them.
    """
    if os.environ.get("COTERIE_DEBUG"):
        import traceback

        traceback.print_exception(error)
    _suggest(error)
    code, document = _describe(error)
    if folder is not None and folder != Path():
        command = rf"(?:^|(?<=: )|(?<=`))coterie (?!(?:{_ANYWHERE})\b)(?=[a-z])"
        document["hint"] = re.sub(command, lambda _: f"{shell(folder)} ", document["hint"])
    if isinstance(error, OSError) and error.filename is None:  # the output itself cannot be written
        abandon_output()
        as_json = False
    if as_json:
        show_json({"error": document})
    elif document["code"] == "usage_error":
        error.show()  # type: ignore[attr-defined] # typer's own wording, with the command's usage line
        if document["hint"] != _HELP:
            remark(document["hint"])
    else:
        remark(f"Error: {document['message']}")
        if document["hint"]:
            remark(document["hint"])
    return code


def _suggest(error: Any) -> None:  # noqa: ANN401 - typer's or click's
    """Add names that begin alike to the suggestions of an unknown option, beside those that are spelt alike."""
    typed, context = getattr(error, "option_name", None), getattr(error, "ctx", None)
    if typed is None or context is None or not hasattr(error, "possibilities"):
        return
    flags = [
        name for parameter in context.command.get_params(context) for name in parameter.opts if name.startswith("--")
    ]
    error.possibilities = [*(error.possibilities or ()), *(name for name in flags if name.startswith(f"{typed}-"))]


_HELP = "Run it with --help."


def _after_dashes(error: Any) -> str:  # noqa: ANN401 - typer's or click's
    """Return a hint on how to pass a text that begins with a dash, for an unknown option where a text is taken."""
    context, typed = getattr(error, "ctx", None), getattr(error, "option_name", None)
    if context is None or typed is None or typed.startswith("--"):
        return ""
    texts = [parameter for parameter in context.command.get_params(context) if parameter.param_type_name == "argument"]
    if not texts:
        return ""
    return f"If {typed!r} begins a text and no option, put -- before the text: {context.command_path} -- '...'"


def error_document(error: CoterieError) -> dict[str, Any]:
    """Return an error as JSON, for a result that contains an error beside other values."""
    return _describe(error)[1]


def abandon_output() -> None:
    """Discard buffered output and Python's flush at exit, after standard output was closed."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _describe(error: Exception) -> tuple[int, dict[str, Any]]:
    """Return an error's exit code and its JSON document."""
    if isinstance(error, CoterieError):
        code = next((code for kind, code in _CODES if isinstance(error, kind)), UNEXPECTED)
        return code, _document(error.code, error.message, error.hint, retryable=error.retryable)
    # typer's base class is click's in older versions and its own in newer ones; the shape is the same.
    if hasattr(error, "format_message") and hasattr(error, "show"):
        return USAGE, _document("usage_error", error.format_message(), _after_dashes(error) or _HELP)
    if isinstance(error, OSError):
        named = error.filename2 or error.filename  # of a copy that finds no room, the target
        what = "the output" if named is None else repr(str(named))
        message = f"Cannot read or write {what}: {error.strerror or type(error).__name__}."
        return SETUP, _document(
            "setup_error", message, "Check that it exists, that you may use it, and the disk's room."
        )
    message = one_line(f"{type(error).__name__}: {error}")
    return UNEXPECTED, _document("unexpected_error", message, _REPORT)


def _document(code: str, message: str, hint: str, *, retryable: bool = False) -> dict[str, Any]:
    return {"code": code, "message": message, "hint": hint, "retryable": retryable}


class Stop(NamedTuple):
    """A row of the table of stops."""

    value: float | None
    """The confidence from which a rung answers; None where the last rung answers everything."""
    accuracy: float
    interval: Sequence[float]
    asked: Sequence[float]
    """Share of the requests that reach each rung."""
    taken: bool
    more: Sequence[str] = ()
    """Cells of additional columns."""


def show_stops(rungs: Sequence[str], stops: Sequence[Stop], *, title: str, more: Sequence[str] = ()) -> None:
    """Print a table with one row per stop.

    Args:
        rungs: The chain's rungs, cheapest first.
        stops: The possible stops.
        title: The table's title.
        more: Names of additional columns.
    """
    columns = ["answers from", "accuracy", "95% range", *(f"asks {rung}" for rung in rungs), *more]
    rows = [
        [
            (f"{rungs[-1]} alone" if stop.value is None else f"{stop.value:g}") + (" (taken)" if stop.taken else ""),
            number(stop.accuracy),
            interval(stop.interval),
            *(f"{share:.0%}" for share in stop.asked),
            *stop.more,
        ]
        for stop in stops
    ]
    show_table(columns, rows, title=title, gap=0)
