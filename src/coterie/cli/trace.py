"""`coterie trace`: one settled request, drawn."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from coterie.cli.bridge import with_store
from coterie.cli.output import Json, console, show_json
from coterie.errors import InputError


def trace(
    context: typer.Context,
    *,
    trace_id: Annotated[str, typer.Argument(metavar="ID", help="The trace id that came with the answer.")],
    tenant: Annotated[str, typer.Option(metavar="NAME", help="Tenant the request belongs to.")] = "default",
    as_json: Json = False,
) -> None:
    """Show the whole life of a request.

    Its route, the findings and what each specialist saw, verdicts, stages and ledger.
    """
    from coterie.config.file import load_config
    from coterie.observe.tree import draw_trace
    from coterie.runtime.codec import readable

    folder: Path = context.obj
    config = load_config(folder)
    found = with_store(folder, config, lambda store: store.trace(trace_id, tenant))
    if found is None:
        raise InputError(
            f"No trace {trace_id!r} of tenant {tenant!r} in {str(folder / config.store.path)!r}.",
            hint="The id stands under each answer of `coterie ask` and in the gateway's x-coterie-trace header.",
        )
    if as_json:
        show_json(readable(found))
    else:
        console(sys.stdout).print(draw_trace(found, currency=config.accounting.currency))
