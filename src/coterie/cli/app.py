"""The `coterie` command as a whole: its global options, its commands and its exit codes."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from coterie.cli.add import add
from coterie.cli.ask import ask
from coterie.cli.audit import audit
from coterie.cli.budgets import budgets
from coterie.cli.doctor import doctor
from coterie.cli.erase import erase
from coterie.cli.eval import evaluate
from coterie.cli.exits import INTERRUPTED, PIPE_CLOSED, abandon_output, explain
from coterie.cli.export import export
from coterie.cli.fairness import fairness
from coterie.cli.feedback import feedback
from coterie.cli.index import index
from coterie.cli.init import init
from coterie.cli.keys import keys
from coterie.cli.models import models
from coterie.cli.privacy import privacy
from coterie.cli.privacy_train import evaluate as evaluate_privacy
from coterie.cli.privacy_train import train as train_privacy
from coterie.cli.registry import registry
from coterie.cli.report import report
from coterie.cli.rightsize import rightsize
from coterie.cli.route import route
from coterie.cli.search import search
from coterie.cli.serve import serve
from coterie.cli.session import session
from coterie.cli.spotchecks import spotchecks
from coterie.cli.trace import trace
from coterie.cli.train import train

# Plain help: rich's costs 0.15 s, half of what `coterie --help` may take.
app = typer.Typer(
    name="coterie", no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=True
)


def _say_version(asked: bool) -> None:  # noqa: FBT001 - typer calls it with the flag's value
    if asked:
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
app.command()(add)
app.command()(train)
app.command()(rightsize)
app.command("eval")(evaluate)
app.command()(fairness)
app.command()(index)
app.command()(search)
app.command()(ask)
app.command()(route)
app.command()(serve)
app.command()(report)
app.command()(budgets)
app.command()(trace)
app.command()(feedback)
app.command()(spotchecks)
app.add_typer(session)
app.command()(erase)
app.command()(export)
app.add_typer(audit)
app.add_typer(keys)
privacy.command("train")(train_privacy)
privacy.command("eval")(evaluate_privacy)
app.add_typer(privacy)
app.add_typer(registry)
app.add_typer(models)
app.command()(doctor)


def main(arguments: Sequence[str] | None = None, *, command: typer.Typer = app, name: str = "coterie") -> int:
    """Run one command line of an app and return its exit code; `docs/reference/cli.md` lists the codes.

    Nothing escapes: an error is printed as message and hint (as JSON on standard output with `--json`), without a
    traceback unless `COTERIE_DEBUG` is set.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    _never_fail_on_encoding()
    try:
        result = typer.main.get_command(command).main(words, prog_name=name, standalone_mode=False)
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
        return explain(error, as_json=_wants_json(words))
    if result == INTERRUPTED:
        typer.echo("Interrupted.", err=True)
    return result if isinstance(result, int) else 0


def _never_fail_on_encoding() -> None:
    """A character that the terminal's encoding lacks is written as its code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _wants_json(words: Sequence[str]) -> bool:
    """Whether `--json` was given: asked of the words, since an error may come before they are understood."""
    options = words[: words.index("--")] if "--" in words else words
    return "--json" in options
