"""`coterie session`: remembered conversations, listed, read, taken along, erased."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from coterie.cli.audit import write_down
from coterie.cli.bridge import with_store
from coterie.cli.files import write_private
from coterie.cli.output import Json, dim, say, show_json, show_table
from coterie.errors import InputError

if TYPE_CHECKING:
    from coterie.protocols import Store
    from coterie.types import Context, Entry

T = TypeVar("T")

session = typer.Typer(
    name="session",
    help="Remembered conversations: list, show, export, erase.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_Name = Annotated[str, typer.Argument(metavar="NAME", help="The session.")]
_Tenant = Annotated[str, typer.Option(metavar="NAME", help="Tenant the session belongs to.")]


@session.command("list")
def list_sessions(context: typer.Context, *, tenant: _Tenant = "default", as_json: Json = False) -> None:
    """List a tenant's sessions, the one used last first.

    With its turns, its entries, its most sensitive label, when it began and when it was used last. Nothing that was
    said is shown.
    """
    from coterie.observe.plain import plain

    found = _with_store(context.obj, lambda store: store.sessions(tenant)) or ()
    if as_json:
        show_json({"sessions": [plain(each) for each in found]})
        return
    if not found:
        say(f"Tenant {tenant!r} has no sessions. `coterie ask --session NAME` begins one.")
        return
    rows = [(s.id, s.turns, s.entries, s.label.value, _when(s.began), _when(s.used)) for s in found]
    show_table(["session", "turns", "entries", "label", "began", "used"], rows)


@session.command()
def show(context: typer.Context, *, name: _Name, tenant: _Tenant = "default", as_json: Json = False) -> None:
    """Show a session as the conversation it is.

    Each line with when it came, from whom, and how sensitive it is; facts that no longer count say why.
    """
    document = _document(context.obj, name, tenant)
    if as_json:
        show_json(document)
        return
    for entry in document["entries"]:
        gone = f"; {entry['gone']}" if entry["gone"] else ""
        line = f"{_when(entry['time'])}  {entry['producer']}  [{entry['label']}{gone}]"
        if entry["kind"] == "message":
            say(f"{line}\n  {entry['text']}")
        else:
            dim(f"{line}  {entry['kind']}: {entry['words']}")


@session.command()
def export(
    context: typer.Context,
    *,
    name: _Name,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Where to write it; left out, standard output.")
    ] = None,
    tenant: _Tenant = "default",
    as_json: Json = False,
) -> None:
    """Write all that a session holds as one JSON document, for whoever it is about.

    A file is made readable for you only.
    """
    import json

    document = _document(context.obj, name, tenant)
    write_down(context.obj, "export_session", tenant=tenant, hashed={"session": name})
    if file is None:
        show_json(document)
        return
    write_private(file, json.dumps(document, indent=2, ensure_ascii=False).encode())
    told = {"session": name, "tenant": tenant, "entries": len(document["entries"]), "file": str(file)}
    if as_json:
        show_json(told)
    else:
        say(f"Wrote {told['entries']} entries of session {name!r} to {str(file)!r}.")


@session.command()
def erase(
    context: typer.Context,
    *,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="The sessions.")],
    tenant: _Tenant = "default",
    as_json: Json = False,
) -> None:
    """Erase sessions for good.

    Their entries, their names and the content of their traces are gone from every file of the store afterwards, also
    where content is kept otherwise; the figures of the ledger stay. There is no way back: export first what you need.
    """
    import asyncio

    async def erase_all(store: Store) -> list[bool]:
        return await asyncio.gather(*(store.erase(name, tenant) for name in names))

    erased = _with_store(context.obj, erase_all) or [False] * len(names)
    found = dict(zip(names, erased, strict=True))
    for name in [name for name, done in found.items() if done]:
        write_down(context.obj, "erase_session", tenant=tenant, hashed={"session": name})
    if as_json:
        known = [name for name, done in found.items() if done]
        show_json({"tenant": tenant, "erased": known, "unknown": sorted(found.keys() - known)})
    else:
        for name, done in found.items():
            say(f"Erased session {name!r}." if done else f"Tenant {tenant!r} has no session {name!r}.")
    if not any(erased):
        raise typer.Exit(code=2)


def _with_store(folder: Path, use: Callable[[Store], Awaitable[T]]) -> T | None:
    from coterie.config.file import load_config

    return with_store(folder, load_config(folder), use)


def _document(folder: Path, name: str, tenant: str) -> dict[str, Any]:
    """A session as it is exported. Raises `InputError` if there is none."""
    found: Context | None = _with_store(folder, lambda store: store.context(name, tenant, whole=True))
    if found is None or not found.entries:
        raise InputError(
            f"Tenant {tenant!r} has no session {name!r}.", hint="`coterie session list` shows those that there are."
        )
    from coterie.context.standing import why_gone

    entries = [
        _entry(entry, str(gone.reason) if gone else None)
        for entry, gone in zip(found.entries, why_gone(found.entries), strict=True)
    ]
    return {"session": name, "tenant": tenant, "entries": entries}


def _entry(entry: Entry, gone: str | None) -> Mapping[str, Any]:
    from coterie.context.entries import text_of
    from coterie.observe.plain import plain

    about = {"time": entry.time, "producer": entry.producer, "label": entry.label.value, "kind": entry.kind}
    content = plain(entry.content)
    return {**about, "gone": gone, "words": text_of(entry), **(content if isinstance(content, dict) else {})}


def _when(time: float) -> str:
    return datetime.fromtimestamp(time).astimezone().strftime("%Y-%m-%d %H:%M:%S")
