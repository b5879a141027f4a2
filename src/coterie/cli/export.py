"""`coterie export`: what is kept of a tenant, a session or somebody who is mentioned, as one JSON document."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coterie.cli.audit import write_down
from coterie.cli.bridge import run, with_store
from coterie.cli.erase import hashed_of, scope_of
from coterie.cli.files import write_private
from coterie.cli.output import Json, counted, say, show_json

if TYPE_CHECKING:
    from coterie.config.file import Config
    from coterie.store.erasure import ErasureScope
    from coterie.store.sqlite import SQLiteStore


def export(
    context: typer.Context,
    *,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Where to write it; left out, standard output.")
    ] = None,
    tenant: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of a tenant; with another option, only this tenant's.")
    ] = None,
    session: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of a session, of the tenant `default` if none is named.")
    ] = None,
    subject: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="Whatever mentions a name, an address, an id; may be given several times."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write all that is kept of a tenant, a session or a person as one JSON document.

    Its sessions with every entry and its requests with figures, steps and traces; of a tenant, its keys without their
    secrets too. For a --subject, every session that mentions it is written whole, and documents on shelves and files of
    the folder that mention it are named: `coterie erase --subject` takes out what this shows. A file is made readable
    for you only.
    """
    from coterie.config.file import load_config

    scope, folder = scope_of("export", tenant, session, subject or []), context.obj
    config = load_config(folder)
    held = with_store(folder, config, lambda store: _held(store, scope)) or {"sessions": [], "requests": []}
    document = {"tenant": scope.tenant, **({"session": session} if session else {})}
    document |= _beside(folder, config, scope, subject or []) | held
    kind = "export_session" if session else "export_subject" if subject else "export_tenant"
    write_down(folder, kind, tenant=scope.tenant or "", hashed=hashed_of(session, subject or []))
    if file is None:
        show_json(document)
        return
    write_private(file, json.dumps(document, indent=1, ensure_ascii=False).encode("utf-8", "backslashreplace"))
    sessions, requests = len(held["sessions"]), len(held["requests"])
    if as_json:
        show_json({"tenant": scope.tenant, "sessions": sessions, "requests": requests, "file": str(file)})
    else:
        say(f"Wrote {counted(sessions, 'session')} and {counted(requests, 'request')} to {str(file)!r}.")


async def _held(store: SQLiteStore, scope: ErasureScope) -> dict[str, Any]:
    """Sessions and requests of a scope."""
    from coterie.runtime.codec import readable

    sessions = []
    for tenant, name in (await store.holdings(scope)).sessions:
        entries = [
            {
                "time": entry.time,
                "producer": entry.producer,
                "label": entry.label.value,
                "kind": entry.kind,
                "content": readable(entry.content),
            }
            for entry in (await store.context(name, tenant, whole=True)).entries
        ]
        sessions.append({"tenant": tenant, "session": name, "entries": entries})
    requests = await store.requests(scope)
    for request in requests:
        request["trace"] = None if request["trace"] is None else json.loads(request["trace"])
    return {"sessions": sessions, "requests": requests}


def _beside(folder: Path, config: Config, scope: ErasureScope, subjects: Sequence[str]) -> dict[str, Any]:
    """What is kept elsewhere than in the store: a tenant's keys; documents and files that mention somebody."""
    from coterie.governance.erasure import find_mentions

    if scope.mention is not None:
        found = run(find_mentions(folder, config, scope.mention))
        documents = {name: list(each) for name, each in found.mentioning.items()}
        files = [{"path": each.path, "kind": each.kind} for each in found.left]
        return {"subjects": list(subjects), "documents": documents, "files": files}
    if scope.session is None and scope.tenant is not None:
        return {"keys": _keys(folder / config.gateway.keys, scope.tenant)}
    return {}


def _keys(path: Path, tenant: str) -> list[dict[str, Any]]:
    from coterie.governance.keys import KeyRing

    shown = ("id", "name", "role", "created", "expires", "revoked")
    return [{name: getattr(key, name) for name in shown} for key in KeyRing(path).of(tenant)]
