"""`coterie erase`: what is kept of a tenant, a session or somebody who is mentioned, taken out for good."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coterie.cli.audit import write_down
from coterie.cli.bridge import run
from coterie.cli.exits import USAGE
from coterie.cli.output import Json, counted, remark, say, show_json
from coterie.errors import InputError

if TYPE_CHECKING:
    from coterie.governance.erasure import Erased
    from coterie.store.erasure import ErasureScope

_LEFT = {
    "index": "an index: take the document out of its folder, then `coterie index NAME`",
    "version": "a trained version: train again without these rows, then remove it",
    "audit": "the audit log, which nobody can change",
    "keys": "the names of keys: `coterie keys revoke`, or `coterie erase --tenant`",
    "file": "a file of yours",
}
"""By the kind of a file, what to do about it."""


def erase(
    context: typer.Context,
    *,
    tenant: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="All that is kept of a tenant; with another option, only this tenant's."),
    ] = None,
    session: Annotated[
        str | None, typer.Option(metavar="NAME", help="A session, of the tenant `default` if none is named.")
    ] = None,
    subject: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="Whatever mentions a name, an address, an id; may be given several times."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be erased, and change nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Erase what was said, for good, of a tenant, a session or a person.

    Sessions, traces and whatever else is kept about requests are gone from every file of the store afterwards;
    figures of the ledger stay. Of a tenant, its keys and its own documents in the indexes go too. For a --subject,
    every session that mentions it goes whole, and documents, data and trained versions that mention it are named and
    left: they are yours. There is no way back: `coterie export` first what you need.
    """
    from coterie.config.file import load_config
    from coterie.governance.erasure import erase as erase_scope

    scope = scope_of("erase", tenant, session, subject or [])
    folder: Path = context.obj
    done = run(erase_scope(folder, load_config(folder), scope, dry_run=dry_run))
    if done and not dry_run:
        about = {"sessions": len(done.holdings.sessions), "traces": len(done.holdings.traces), "keys": list(done.keys)}
        write_down(folder, "erase", tenant=scope.tenant or "", about=about, hashed=hashed_of(session, subject or []))
    if as_json:
        show_json(_document(done, dry_run=dry_run))
    else:
        _show(done, dry_run=dry_run)
    if not done:
        raise typer.Exit(USAGE)


def scope_of(what: str, tenant: str | None, session: str | None, subjects: list[str]) -> ErasureScope:
    """Whose content is meant, for a command that does `what`. Raises `InputError` where it is not said, or twice."""
    from coterie.governance.keys import OWN_TENANT
    from coterie.store.erasure import ErasureScope, Mention

    if (session is not None and subjects) or (session is None and tenant is None and not subjects):
        raise InputError(
            f"Asked to {what} without saying what, or two things at once.",
            hint="Give --tenant NAME, --session NAME or --subject TEXT; --tenant may stand beside one of the others.",
        )
    if session is not None:
        return ErasureScope(tenant=tenant or OWN_TENANT, session=session)
    return ErasureScope(tenant=tenant, mention=Mention(subjects) if subjects else None)


def hashed_of(session: str | None, subjects: list[str]) -> dict[str, str]:
    """Whose content was meant, as the audit log is to know it by its hash alone."""
    named = {"session": session or "", "subject": "\n".join(subjects)}
    return {what: name for what, name in named.items() if name}


def _document(done: Erased, *, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "sessions": [{"tenant": tenant, "session": session} for tenant, session in done.holdings.sessions],
        "entries": done.holdings.entries,
        "traces": list(done.holdings.traces),
        "rows": dict(done.holdings.rows),
        "keys": list(done.keys),
        "documents": {name: list(documents) for name, documents in done.documents.items()},
        "mentioning": {name: list(documents) for name, documents in done.mentioning.items()},
        "left": [{"path": each.path, "kind": each.kind} for each in done.left],
    }


def _show(done: Erased, *, dry_run: bool) -> None:
    if not done:
        say("Nothing of it is here.")
        return
    did = "Would erase" if dry_run else "Erased"
    found = done.holdings
    sessions, traces = counted(len(found.sessions), "session"), counted(len(found.traces), "trace")
    say(f"{did} {sessions} with {counted(found.entries, 'entry', 'entries')}, and {traces}.")
    for table, rows in found.rows.items():
        say(f"{did} {rows:,} rows of {table}.")
    if done.keys:
        say(f"{did} {counted(len(done.keys), 'key')}: {', '.join(done.keys)}.")
    for shelf, documents in done.documents.items():
        say(f"{did} from the index of {shelf!r}: {', '.join(documents)}.")
    if done.documents:
        remark("The files of these documents are yours to delete; else the next `coterie index` reads them again.")
    for shelf, documents in done.mentioning.items():
        say(f"Left, on the shelf {shelf!r}: {', '.join(documents)}.")
    for each in done.left:
        say(f"Left: {each.path}, {_LEFT[each.kind]}.")
