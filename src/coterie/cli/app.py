"""The `coterie` command as a whole: its global options, its commands and its exit codes."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import typer

from coterie.cli import rightsize as rightsizing
from coterie.cli import train as training
from coterie.cli.add import add, init
from coterie.cli.ask import ask, decide, decisions, route, trace
from coterie.cli.flywheel import bootstrap, discover, flywheel, import_logs, retrain
from coterie.cli.index import index, search
from coterie.cli.keys import audit, keys
from coterie.cli.options import section_command
from coterie.cli.output import INTERRUPTED, PIPE_CLOSED, abandon_output, explain
from coterie.cli.privacy import erase, export, privacy, session
from coterie.cli.registry import doctor, models, registry
from coterie.cli.report import budgets, report
from coterie.cli.serve import bundle, mcp, plan, serve
from coterie.cli.spotchecks import feedback, spotchecks
from coterie.cli.train import evaluate, fairness

# Plain help: rich's costs 0.15 s, half of what `coterie --help` may take.
app = typer.Typer(
    name="coterie", no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=True
)


def _say_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it with the flag's value
    if wanted:
        from coterie import __version__

        typer.echo(f"coterie {__version__}")
        raise typer.Exit


@app.callback()
def network(
    context: typer.Context,
    *,
    folder: Annotated[
        Path,
        typer.Option("-C", metavar="DIR", help="Folder of the network: the one with its coterie.toml."),
    ] = Path(),
    version: Annotated[  # noqa: ARG001 - the callback does the work
        bool, typer.Option("--version", help="Print the version and stop.", callback=_say_version, is_eager=True)
    ] = False,
) -> None:
    """A network of narrow language models: specialise, route, ground, govern, and see what every answer cost."""
    context.obj = folder


app.command()(init)
app.command(cls=section_command())(add)
app.command("import")(import_logs)
app.command()(discover)
app.command(cls=section_command(only=training.SETTINGS))(training.train)
app.command(cls=section_command(leave_out=rightsizing.LEFT_OUT))(rightsizing.rightsize)
app.command("eval", cls=section_command(only=("text_column", "label_column")))(evaluate)
for _command in (
    fairness,
    index,
    search,
    ask,
    decide,
    decisions,
    route,
    serve,
    bundle,
    plan,
    mcp,
    report,
    budgets,
    trace,
    feedback,
    spotchecks,
    retrain,
    bootstrap,
):
    app.command()(_command)
app.add_typer(session)
app.command()(erase)
app.command()(export)
for _group in (flywheel, audit, keys, privacy, registry, models):
    app.add_typer(_group)
app.command()(doctor)


_built = cache(typer.main.get_command)
"""Build an app's commands with their options. The result is cached: it takes 50 ms, and a program may run many."""


def main(arguments: Sequence[str] | None = None, *, command: typer.Typer = app, name: str = "coterie") -> int:
    """Run one command line of an app and return its exit code; `docs/reference/cli.md` lists the codes.

    No exception escapes: an error is printed as message and hint (as JSON on standard output with `--json`), without a
    traceback unless `COTERIE_DEBUG` is set.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):  # a character that the terminal's encoding lacks is written as its code
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        result = _built(command).main(words, prog_name=name, standalone_mode=False)
        sys.stdout.flush()
    except typer.Abort:
        result = INTERRUPTED
    except (BrokenPipeError, SystemExit) as error:
        # typer turns a closed pipe into SystemExit.
        if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
            raise
        abandon_output()
        return PIPE_CLOSED
    except Exception as error:  # noqa: BLE001 - the last door: whatever comes here is shown to the user, not raised
        return explain(error, as_json=_wants_json(words), folder=_folder_of(words))
    if result == INTERRUPTED:
        typer.echo("Interrupted.", err=True)
    return result if isinstance(result, int) else 0


def _folder_of(words: Sequence[str]) -> Path:
    """Return the folder that `-C` names, read from the raw arguments like `--json`."""
    given = [after for before, after in pairwise(words) if before == "-C"]
    return Path(given[0]) if given else Path()


def _wants_json(words: Sequence[str]) -> bool:
    """Return whether `--json` is in the raw arguments, since an error may occur before they are parsed."""
    options = words[: words.index("--")] if "--" in words else words
    return "--json" in options
