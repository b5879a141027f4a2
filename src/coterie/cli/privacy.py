"""`coterie privacy`: personal data in texts; `session`, `erase`, `export`: content stored of a tenant or person."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from coterie.cli.bridge import configured, log_command, run, with_store, write_private
from coterie.cli.options import OutputFile, Tenant, check_choice, group, pretty, read_text
from coterie.cli.output import (
    PARTIAL,
    USAGE,
    Json,
    counted,
    dim,
    give,
    local_time,
    number,
    one_line,
    remark,
    say,
    show_json,
    show_table,
    warn,
)
from coterie.errors import InputError
from coterie.runtime.codec import parse_json

if TYPE_CHECKING:
    from coterie.config.file import Config
    from coterie.config.operation import PrivacySection
    from coterie.governance.erasure import Erased
    from coterie.privacy.detection import AnnotatedFile, PersonalData, SpanFigures
    from coterie.protocols import Store
    from coterie.store.erasure import ErasureScope
    from coterie.store.sqlite import SQLiteStore
    from coterie.types import Entry

privacy = group("privacy", "Personal data and secrets in texts: find, redact, measure.")

_Detector = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="patterns, names or presidio; default: the network's [privacy], else names."),
]
_Data = Annotated[
    Path,
    typer.Argument(
        metavar="DATA", help='JSONL: {"text": "I am Ann.", "spans": [{"kind": "PERSON", "start": 5, "end": 8}]}'
    ),
]


@privacy.command()
def find(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="Text in UTF-8; - for standard input.")],
    *,
    redacted: Annotated[
        bool, typer.Option("--redact", help="Print the text with a typed placeholder for each thing found.")
    ] = False,
    detector: _Detector = None,
    as_json: Json = False,
) -> None:
    """Show the personal data and secrets in a text.

    Kind, position in characters, the detector's confidence and the minimum label that each requires; at the end the
    label of the whole text. Nothing leaves this process. The words themselves are printed: mind where the output
    goes. The detector's name and its limits are printed on standard error.
    """
    from coterie.privacy.detection import redact
    from coterie.privacy.kinds import DETECTOR_TYPES, open_detector

    text = read_text(file)
    section, why = _section(context.obj, detector)
    blind = DETECTOR_TYPES.load(section.detector).cannot_see
    personal_data = open_detector(section, context.obj).find(text)
    if not as_json:
        remark(f"Detector: {section.detector} ({why})." + (f" It does not find {blind}." if blind else ""))
    if redacted and not as_json:
        typer.echo(redact(text, personal_data), nl=not text.endswith("\n"))
        return
    looked = {"detector": {"name": section.detector, "because": why, "cannot_see": blind}}
    document = looked | _document(text, personal_data) | ({"redacted": redact(text, personal_data)} if redacted else {})
    give(document, lambda: _show(document), as_json=as_json)


def _section(folder: Path, detector: str | None) -> tuple[PrivacySection, str]:
    """Return the section that the option names, else the network's, else the best bundled one; and the reason."""
    from coterie.config.operation import PrivacySection
    from coterie.config.section import FILE_NAME

    if detector is not None:
        chosen = check_choice("detector", detector, ("patterns", "names", "presidio"))
        return PrivacySection.model_validate({"detector": chosen}), "--detector"
    own = configured(folder).privacy if (folder / FILE_NAME).exists() else PrivacySection()
    if "detector" in own.model_fields_set:
        return own, f"[privacy] of {FILE_NAME}"
    return PrivacySection(detector="names"), "the best that comes with Coterie"


def _document(text: str, personal_data: Sequence[PersonalData]) -> dict[str, Any]:
    from coterie.privacy.detection import label_of, least_label

    label = least_label(personal_data)
    listed = [
        {
            "kind": str(item.kind),
            "start": item.start,
            "end": item.end,
            "text": text[item.start : item.end],
            "score": round(item.score, 3),
            "label": None if (own := label_of(item.kind)) is None else own.value,
        }
        for item in personal_data
    ]
    return {"label": None if label is None else label.value, "found": listed}


def _show(document: Mapping[str, Any]) -> None:
    if not document["found"]:
        say("Nothing found.")
        return
    rows = [
        (item["kind"], f"{item['start']}-{item['end']}", one_line(item["text"]), f"{item['score']:.2f}", item["label"])
        for item in document["found"]
    ]
    show_table(["kind", "place", "text", "score", "label"], rows)
    label = document["label"]
    dim("It asks for no label of its own." if label is None else f"The least label of this text is {label}.")


def _warn_unknown(marked: AnnotatedFile) -> None:
    if marked.unknown:
        kinds = ", ".join(f"{kind} ({count})" for kind, count in sorted(marked.unknown.items()))
        warn([f"kinds that are not known here were left out: {kinds}."])


def _figures(figures: Mapping[str, SpanFigures]) -> dict[str, Any]:
    return {kind: figure._asdict() for kind, figure in figures.items()}


@privacy.command("eval")
def evaluate(
    context: typer.Context,
    *,
    data: _Data,
    detector: _Detector = None,
    as_json: Json = False,
) -> None:
    """Measure a detector of personal data on marked texts.

    Precision, recall and F1 of each kind that is marked in the file; only the same position with the same kind is
    right.
    """
    from coterie.privacy.detection import measure_detector, read_annotated
    from coterie.privacy.kinds import open_detector

    folder: Path = context.obj
    marked = read_annotated(data)
    _warn_unknown(marked)
    figures = measure_detector(open_detector(_section(folder, detector)[0], folder), marked.texts)
    about = {"file": data.name, "sha256": marked.sha256, "texts": len(marked.texts)}
    document = {**about, "kinds": _figures(figures), "unknown_kinds": dict(marked.unknown)}
    rows = [
        (kind, f.marked, f.found, number(f.precision), number(f.recall), number(f.f1)) for kind, f in figures.items()
    ]
    columns = ["kind", "marked", "found", "precision", "recall", "F1"]
    give(document, lambda: show_table(columns, rows), as_json=as_json)


# --- Stored content: `coterie session`, and `erase` and `export` of a tenant, a session or a person.

T = TypeVar("T")

session = group("session", "Remembered conversations: list, show, export, erase.")

_Name = Annotated[str, typer.Argument(metavar="NAME", help="The session.")]


@session.command("list")
def list_sessions(context: typer.Context, *, tenant: Tenant = "default", as_json: Json = False) -> None:
    """List a tenant's sessions, the most recently used first.

    With its turns, its entries, its most sensitive label, when it began and when it was last used. The content is not
    shown.
    """
    from coterie.runtime.codec import readable

    stored_sessions = _stored(context.obj, lambda store: store.sessions(tenant)) or ()
    rows = [(s.id, s.turns, s.entries, s.label.value, local_time(s.began), local_time(s.used)) for s in stored_sessions]

    def view() -> None:
        if rows:
            show_table(["session", "turns", "entries", "label", "began", "used"], rows)
        else:
            say(f"Tenant {tenant!r} has no sessions. `coterie ask --session NAME` begins one.")

    give({"sessions": [readable(stored) for stored in stored_sessions]}, view, as_json=as_json)


@session.command()
def show(context: typer.Context, *, name: _Name, tenant: Tenant = "default", as_json: Json = False) -> None:
    """Show a session as a conversation.

    Each line with its time, its author, and its sensitivity; facts that are no longer valid have the reason.
    """
    document = _session(context.obj, name, tenant)
    give(document, lambda: _show_session(document), as_json=as_json)


def _show_session(document: Mapping[str, Any]) -> None:
    for entry in document["entries"]:
        gone = f"; {entry['gone']}" if entry["gone"] else ""
        line = f"{local_time(entry['time'])}  {entry['producer']}  [{entry['label']}{gone}]"
        if entry["kind"] == "message":
            say(f"{line}\n  {entry['text']}")
        else:
            dim(f"{line}  {entry['kind']}: {entry['words']}")


@session.command("export")
def export_session(
    context: typer.Context, *, name: _Name, file: OutputFile = None, tenant: Tenant = "default", as_json: Json = False
) -> None:
    """Write the whole content of a session as one JSON document, for the person that it is about.

    A file is made readable for you only.
    """
    document = _session(context.obj, name, tenant)
    log_command(context.obj, "export_session", tenant=tenant, hashed={"session": name})
    if file is None:
        show_json(document)
        return
    write_private(file, pretty(document))
    done = {"session": name, "tenant": tenant, "entries": len(document["entries"]), "file": str(file)}
    give(done, f"Wrote {done['entries']} entries of session {name!r} to {str(file)!r}.", as_json=as_json)


@session.command("erase")
def erase_sessions(
    context: typer.Context,
    *,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="The sessions.")],
    tenant: Tenant = "default",
    as_json: Json = False,
) -> None:
    """Erase sessions for good.

    Their entries, their names and the content of their traces are gone from every file of the store afterwards, also
    where content is kept otherwise; the figures of the ledger stay. It cannot be undone: export first what you need.
    """
    import asyncio

    async def erase_all(store: Store) -> list[bool]:
        return await asyncio.gather(*(store.erase(name, tenant) for name in names))

    erased = _stored(context.obj, erase_all) or [False] * len(names)
    by_name = dict(zip(names, erased, strict=True))
    done = [name for name, gone in by_name.items() if gone]
    for name in done:
        log_command(context.obj, "erase_session", tenant=tenant, hashed={"session": name})
    lines = [
        f"Erased session {n!r}." if ok else f"Tenant {tenant!r} has no session {n!r}." for n, ok in by_name.items()
    ]
    document = {"tenant": tenant, "erased": done, "unknown": sorted(by_name.keys() - done)}
    give(document, "\n".join(lines), as_json=as_json)
    if len(done) < len(by_name):
        raise typer.Exit(PARTIAL if done else USAGE)


def _stored(folder: Path, use: Callable[[Store], Awaitable[T]]) -> T | None:
    return with_store(folder, configured(folder), use)


def _session(folder: Path, name: str, tenant: str) -> dict[str, Any]:
    """Return a session in the form of its export. Raises `InputError` if there is none."""
    from coterie.context.sharing import text_of, why_superseded

    context = _stored(folder, lambda store: store.context(name, tenant, whole=True))
    if context is None or not context.entries:
        raise InputError(
            f"Tenant {tenant!r} has no session {name!r}.", hint="`coterie session list` shows those that there are."
        )
    entries = []
    for entry, gone in zip(context.entries, why_superseded(context.entries), strict=True):
        about = _entry(entry)
        content = about.pop("content")
        about |= {"gone": str(gone.reason) if gone else None, "words": text_of(entry)}
        entries.append(about | (content if isinstance(content, dict) else {}))
    return {"session": name, "tenant": tenant, "entries": entries}


def _entry(entry: Entry) -> dict[str, Any]:
    from coterie.runtime.codec import readable

    about = {"time": entry.time, "producer": entry.producer, "label": entry.label.value, "kind": entry.kind}
    return {**about, "content": readable(entry.content)}


# --- A tenant, a session or somebody who is mentioned --------------------------------------------

_LEFT = {
    "index": "an index: take the document out of its folder, then `coterie index NAME`",
    "version": "a trained version: train again without these rows, then remove it",
    "audit": "the audit log, which nobody can change",
    "keys": "the names of keys: `coterie keys revoke`, or `coterie erase --tenant`",
    "file": "a file of yours",
}
"""Advice for a file that is left in place, by the kind of file."""

_Whose = Annotated[
    str | None, typer.Option(metavar="NAME", help="All that is kept of a tenant; with another option, only its own.")
]
_OneSession = Annotated[
    str | None, typer.Option(metavar="NAME", help="A session, of the tenant `default` if none is named.")
]
_Subject = Annotated[
    list[str] | None,
    typer.Option(metavar="TEXT", help="Whatever mentions a name, an address, an id; may be given several times."),
]


def erase(
    context: typer.Context,
    *,
    tenant: _Whose = None,
    session: _OneSession = None,
    subject: _Subject = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be erased, and change nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Erase the content of a tenant, a session or a person for good.

    Sessions, traces and other content of requests are gone from every file of the store afterwards; figures of the
    ledger stay. For a tenant, its keys and its own documents in the indexes are erased too. For a --subject, every
    session that mentions it is erased whole, and documents, data and trained versions that mention it are listed but
    kept: they are yours. It cannot be undone: `coterie export` first what you need.
    """
    from coterie.governance.erasure import erase as erase_scope

    scope = _scope("erase", tenant, session, subject or [])
    folder: Path = context.obj
    done = run(erase_scope(folder, configured(folder), scope, dry_run=dry_run))
    if done and not dry_run:
        about = {
            "sessions": len(done.holdings.sessions),
            "traces": len(done.holdings.traces),
            "examples": len(done.holdings.examples),
            "versions": [f"{name} {version}" for name, version in done.holdings.saw],
            "keys": list(done.keys),
        }
        log_command(folder, "erase", tenant=scope.tenant or "", about=about, hashed=_hashed(session, subject or []))
    give(_erased(done, dry_run=dry_run), lambda: _show_erased(done, dry_run=dry_run), as_json=as_json)
    if not done:
        raise typer.Exit(USAGE)


def _scope(what: str, tenant: str | None, session: str | None, subjects: list[str]) -> ErasureScope:
    """Return the scope of a command that does `what`. Raises `InputError` where it is missing or ambiguous."""
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


def _hashed(session: str | None, subjects: list[str]) -> dict[str, str]:
    """Return the names of the scope that the audit log records by their hash only."""
    named = {"session": session or "", "subject": "\n".join(subjects)}
    return {what: name for what, name in named.items() if name}


def _erased(done: Erased, *, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "sessions": [{"tenant": tenant, "session": session} for tenant, session in done.holdings.sessions],
        "entries": done.holdings.entries,
        "traces": list(done.holdings.traces),
        "rows": dict(done.holdings.rows),
        "examples": list(done.holdings.examples),
        "versions": [{"specialist": name, "version": version} for name, version in done.holdings.saw],
        "keys": list(done.keys),
        "documents": {name: list(documents) for name, documents in done.documents.items()},
        "mentioning": {name: list(documents) for name, documents in done.mentioning.items()},
        "left": [{"path": leftover.path, "kind": leftover.kind} for leftover in done.left],
    }


def _show_erased(done: Erased, *, dry_run: bool) -> None:
    if not done:
        say("Nothing of it is here.")
        return
    did = "Would erase" if dry_run else "Erased"
    holdings = done.holdings
    sessions, traces = counted(len(holdings.sessions), "session"), counted(len(holdings.traces), "trace")
    say(f"{did} {sessions} with {counted(holdings.entries, 'entry', 'entries')}, and {traces}.")
    for table, rows in holdings.rows.items():
        say(f"{did} {rows:,} rows of {table}.")
    if holdings.examples:
        say(f"{did} {counted(len(holdings.examples), 'captured example')}.")
    for name, version in holdings.saw:
        say(f"Left: version {version} of {name}, which was trained on some of them. Retrain: coterie retrain {name}")
    if done.keys:
        say(f"{did} {counted(len(done.keys), 'key')}: {', '.join(done.keys)}.")
    for index, documents in done.documents.items():
        say(f"{did} from the index of {index!r}: {', '.join(documents)}.")
    if done.documents:
        remark("The files of these documents are yours to delete; else the next `coterie index` reads them again.")
    for index, documents in done.mentioning.items():
        say(f"Left, in the index {index!r}: {', '.join(documents)}.")
    for leftover in done.left:
        say(f"Left: {leftover.path}, {_LEFT[leftover.kind]}.")


def export(
    context: typer.Context,
    *,
    file: OutputFile = None,
    tenant: _Whose = None,
    session: _OneSession = None,
    subject: _Subject = None,
    as_json: Json = False,
) -> None:
    """Write all stored content of a tenant, a session or a person as one JSON document.

    Its sessions with every entry and its requests with figures, steps and traces; for a tenant, its keys without their
    secrets too. For a --subject, every session that mentions it is written whole, and documents of indexes and files of
    the folder that mention it are listed: `coterie erase --subject` erases what this shows. A file is made readable
    for you only.
    """
    scope, folder = _scope("export", tenant, session, subject or []), context.obj
    config = configured(folder)
    held = with_store(folder, config, lambda store: _held(store, scope)) or {"sessions": [], "requests": []}
    document = {"tenant": scope.tenant, **({"session": session} if session else {})}
    document |= _beside(folder, config, scope, subject or []) | held
    kind = "export_session" if session else "export_subject" if subject else "export_tenant"
    log_command(folder, kind, tenant=scope.tenant or "", hashed=_hashed(session, subject or []))
    if file is None:
        show_json(document)
        return
    write_private(file, pretty(document))
    # Captured examples whose request is not in the scope stand together, without one.
    sessions, requests = len(held["sessions"]), sum("id" in request for request in held["requests"])
    examples = sum(len(request.get("examples", ())) for request in held["requests"])
    done = {"tenant": scope.tenant, "sessions": sessions, "requests": requests, "examples": examples, "file": str(file)}
    kept = f"{counted(requests, 'request')} and {counted(examples, 'captured example')}"
    words = f"Wrote {counted(sessions, 'session')}, {kept} to {str(file)!r}."
    give(done, words, as_json=as_json)


async def _held(store: SQLiteStore, scope: ErasureScope) -> dict[str, Any]:
    sessions = []
    for tenant, name in (await store.holdings(scope)).sessions:
        entries = (await store.context(name, tenant, whole=True)).entries
        sessions.append({"tenant": tenant, "session": name, "entries": [_entry(entry) for entry in entries]})
    requests = await store.requests(scope)
    for request in requests:
        if "trace" not in request:
            continue  # captured calls that belong to no request
        request["trace"] = None if request["trace"] is None else parse_json(request["trace"])
    return {"sessions": sessions, "requests": requests}


def _beside(folder: Path, config: Config, scope: ErasureScope, subjects: Sequence[str]) -> dict[str, Any]:
    """Return content outside the store: a tenant's keys; documents and files that mention the subjects."""
    from coterie.governance.erasure import find_mentions
    from coterie.governance.keys import open_keys

    if scope.mention is not None:
        mentions = run(find_mentions(folder, config, scope.mention))
        documents = {name: list(listed) for name, listed in mentions.mentioning.items()}
        files = [{"path": leftover.path, "kind": leftover.kind} for leftover in mentions.left]
        return {"subjects": list(subjects), "documents": documents, "files": files}
    if scope.session is None and scope.tenant is not None:
        shown = ("id", "name", "role", "created", "expires", "revoked")
        keys = open_keys(config, folder).of(scope.tenant)
        return {"keys": [{name: getattr(key, name) for name in shown} for key in keys]}
    return {}
