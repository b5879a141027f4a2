"""`coterie registry sbom`: what a version is made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from coterie.cli.output import Json, say, show_json
from coterie.cli.registry_show import open_folder
from coterie.runtime.files import write_bytes


def sbom(
    context: typer.Context,
    *,
    name: Annotated[
        str, typer.Argument(metavar="NAME[@VERSION]", help="A specialist; without a version, its champion.")
    ],
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Where to write it; left out, standard output.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a version's bill of materials, as CycloneDX 1.6 JSON.

    Its files, the data it was trained and measured on, its base model and its encoder, each with SHA-256 and licence,
    and the libraries it was trained with. Every byte of the version is checked first.
    """
    from coterie.registry.sbom import bill_of_materials

    opened = open_folder(context.obj)
    specialist, _, version = name.partition("@")
    found = opened.load(specialist, opened.resolve(specialist, version or "champion"))
    document = bill_of_materials(found)
    if file is None:
        show_json(document)
        return
    write_bytes(file, json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n")
    if as_json:
        show_json({"specialist": specialist, "version": found.version, "file": str(file)})
    else:
        say(f"Wrote the bill of materials of {specialist} version {found.version} to {str(file)!r}.")
