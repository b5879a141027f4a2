"""`coterie keys`: who may use the gateway; `coterie audit`: verify, show and export the audit log."""

from __future__ import annotations

import json
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from coterie.cli.bridge import configured, log_command, write_private
from coterie.cli.options import check_choice, group, parse_label
from coterie.cli.output import (
    FORBIDDEN,
    UNVOUCHED,
    Json,
    counted,
    dim,
    give,
    local_time,
    remark,
    say,
    shell,
    show_json,
    show_table,
)
from coterie.errors import InputError

if TYPE_CHECKING:
    from coterie.governance.audit import LogPosition
    from coterie.governance.audit_verification import Verification
    from coterie.governance.keys import Key, KeyRing, NewKey

keys = group("keys", "Who may use the gateway: create, list, revoke, rotate.")

_Name = Annotated[str, typer.Argument(metavar="NAME", help="Name or id of the key.")]


@keys.command()
def create(
    context: typer.Context,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="For people: whose it is, or what for.")],
    role: Annotated[str, typer.Option(metavar="ROLE", help="admin, operator, member or auditor.")] = "member",
    tenant: Annotated[
        str, typer.Option(metavar="NAME", help="Whose requests, sessions and traces are its.")
    ] = "default",
    specialist: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="It may ask only this one; may be given several times.")
    ] = None,
    clearance: Annotated[
        str | None,
        typer.Option(metavar="LABEL", help="The most sensitive label its holder may see; else the network's default."),
    ] = None,
    days: Annotated[float | None, typer.Option(metavar="N", min=0.001, help="It expires after so many.")] = None,
    as_json: Json = False,
) -> None:
    """Make a key, and show it once.

    From the first key on, the gateway refuses requests without a key. A member asks, an operator reads counters, an
    auditor reads counters and traces of its tenant, an admin may do everything.
    """
    from coterie.generalist.generalist import NAME as GENERALIST
    from coterie.generalist.reading import READER
    from coterie.governance.keys import PERMISSIONS, Role

    check_choice("role", role, PERMISSIONS)
    for specialist_name in specialist or ():
        check_choice("specialist", specialist_name, sorted({*configured(context.obj).specialists, READER, GENERALIST}))
    made = _ring(context.obj).create(
        name,
        role=cast("Role", role),
        tenant=tenant,
        specialists=specialist or (),
        clearance=parse_label("--clearance", clearance),
        days=days,
    )
    _tell(context.obj, "create_key", made, as_json=as_json)


@keys.command("list")
def list_keys(context: typer.Context, *, as_json: Json = False) -> None:
    """List the keys, the oldest first: tenant, role, and whether they are valid. Secrets are not stored."""
    now, ring = time.time(), _ring(context.obj)
    plain_keys = [_plain(key, now) for key in ring.keys()]  # noqa: SIM118 - no mapping
    give({"keys": plain_keys}, lambda: _show_keys(plain_keys), as_json=as_json)


@keys.command()
def revoke(context: typer.Context, *, name: _Name, as_json: Json = False) -> None:
    """Revoke a key: a running gateway refuses it from its next request on."""
    key = _ring(context.obj).revoke(name)
    log_command(context.obj, "revoke_key", tenant=key.tenant, about={"name": key.name, "id": key.id})
    give(_plain(key, time.time()), f"{key.name} ({key.id}) opens nothing any more.", as_json=as_json)


@keys.command()
def rotate(context: typer.Context, *, name: _Name, as_json: Json = False) -> None:
    """Give a key a new secret, and show it once; the old secret is no longer valid."""
    _tell(context.obj, "rotate_key", _ring(context.obj).rotate(name), as_json=as_json)


def _ring(folder: Path) -> KeyRing:

    from coterie.governance.keys import open_keys

    return open_keys(configured(folder), folder)


def _tell(folder: Path, did: str, made: NewKey, *, as_json: bool) -> None:
    key = made.key
    about = {"name": key.name, "id": key.id, "role": key.role, "specialists": list(key.specialists)}
    log_command(folder, did, tenant=key.tenant, about=about)
    if as_json:
        show_json({**_plain(key, time.time()), "key": made.token})
        return
    say(made.token)
    remark(
        f"Keep it: it is not shown again. It is the API key of any OpenAI client; role {key.role}, tenant {key.tenant}."
    )


def _plain(key: Key, now: float) -> dict[str, Any]:
    shown = {name: getattr(key, name) for name in ("id", "role", "tenant", "created", "expires", "revoked")}
    clearance = None if key.clearance is None else key.clearance.value
    narrowed = {"specialists": list(key.specialists), "clearance": clearance}
    return {"name": key.name, **shown, **narrowed, "state": key.state(now)}


def _show_keys(rows: list[dict[str, Any]]) -> None:
    if not rows:
        say("There are no keys: only programs of this machine may ask.")
        return
    columns = ["name", "id", "role", "tenant", "specialists", "clearance", "created", "expires", "state"]
    show_table(columns, [[_cell(key, column) for column in columns] for key in rows])


def _cell(key: dict[str, Any], column: str) -> str:
    value = key[column]
    if column in {"created", "expires"} and value is not None:
        return local_time(value, "%Y-%m-%d")
    absent = {"specialists": "all", "clearance": "default", "expires": "never"}
    return absent[column] if not value and column in absent else ", ".join(value) if column == "specialists" else value


# --- `coterie audit`: verify, show and export the audit log.

audit = group("audit", "The audit log: verify, show, export.")

_OPEN_SHOWN = 5

_Last = Annotated[int, typer.Option("--last", metavar="N", min=1, help="So many of the newest entries.")]
_Kind = Annotated[
    str | None, typer.Option(metavar="KIND", help="Only entries of this kind, such as request or promote.")
]
_Tenant = Annotated[str | None, typer.Option(metavar="NAME", help="Only entries of this tenant.")]


@audit.command()
def verify(
    context: typer.Context,
    *,
    at: Annotated[
        str | None,
        typer.Option(metavar="N:HASH", help="Where it stood once, as an earlier `verify` printed it."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check that nothing in the audit log was changed.

    Every line is read. An edited, deleted, inserted or moved line and a truncated end are found and located; the exit
    code is then 4. Keep the printed position in another place: with --at, replacing the whole log by an older copy is
    found too. Entries after the position that the head confirms are counted separately; the exit code is then 6.
    Prompts that were sent and have no entry about their result are listed.
    """
    from coterie.cli.progress import TerminalProgress
    from coterie.governance.audit_verification import verify_audit

    path, trusted = _path(context.obj), configured(context.obj).audit.trusted_keys
    position = None if at is None else _log_position(at)
    with TerminalProgress() as progress:
        progress.start("verify", None)
        verification = verify_audit(
            path, is_attested=_checker(trusted), trusted=frozenset(trusted), at=position, progress=progress.advance
        )
        progress.finish("")
    give(_document(verification), lambda: _show_verification(verification), as_json=as_json)
    if not verification.whole:
        raise typer.Exit(FORBIDDEN)
    if verification.behind_head:
        raise typer.Exit(UNVOUCHED)


@audit.command()
def show(
    context: typer.Context,
    *,
    last: _Last = 20,
    kind: _Kind = None,
    tenant: _Tenant = None,
    unresolved: Annotated[
        bool, typer.Option("--open", help="Only prompts that left without an entry of what came of them.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the newest entries of the audit log, oldest first. The entries are not checked; use `verify` for that."""
    from coterie.governance.audit_verification import verify_audit

    path = _path(context.obj)
    left = {crossing.n for crossing in verify_audit(path).open} if unresolved else None
    entries = (entry for entry in _entries(path, kind, tenant) if left is None or entry["n"] in left)
    last_entries = list(deque(entries, maxlen=min(last, sys.maxsize)))
    give({"entries": last_entries}, lambda: _show_entries(last_entries), as_json=as_json)


def _show_entries(entries: Iterable[dict[str, Any]]) -> None:
    for entry in entries:
        whose = f"  {entry['tenant']}" if entry.get("tenant") else ""
        say(f"{entry['n']}  {local_time(entry['time'])}  {entry['kind']}{whose}")
        dim("    " + json.dumps(entry.get("about"), ensure_ascii=False))
    if not entries:
        say("No such entries.")


@audit.command()
def export(
    context: typer.Context,
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it, readable for you only.")],
    kind: _Kind = None,
    tenant: _Tenant = None,
    as_json: Json = False,
) -> None:
    """Write entries of the audit log as JSON lines, each with its own hash."""
    entries = list(_entries(_path(context.obj), kind, tenant))
    write_private(file, "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries).encode())
    words = f"Wrote {counted(len(entries), 'entry', 'entries')} to {str(file)!r}."
    give({"entries": len(entries), "file": str(file)}, words, as_json=as_json)


def _path(folder: Path) -> Path:
    """Return the path of the log. Raises `InputError` where there is none."""
    section = configured(folder).audit
    path = folder / section.path
    if not path.is_file():
        off = "" if section.enabled else " It is off: [audit] enabled is false."
        raise InputError(
            f"There is no audit log at {str(path)!r}.{off}",
            hint=f"The first request makes it: {shell(folder, 'ask')} ...",
        )
    return path


def _entries(path: Path, kind: str | None, tenant: str | None) -> Iterator[dict[str, Any]]:
    """Iterate over the requested entries. Raises `InputError` at a line that is no entry."""
    from coterie.governance.audit import read_entry

    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return  # half a line of a writer at work, or killed
            try:
                entry = read_entry(line[:-1])
            except ValueError as error:
                raise InputError(
                    f"Line {number} of {str(path)!r} is no entry: {error}.", hint="Run: coterie audit verify"
                ) from error
            if kind in {None, entry.get("kind")} and tenant in {None, entry.get("tenant")}:
                yield entry


def _log_position(text: str) -> LogPosition:
    from coterie.governance.audit import LogPosition

    if not re.fullmatch(r"\d{1,18}:[0-9a-f]{64}", text):
        raise InputError(
            f"--at was {text[:100]!r}.", hint="Give what `coterie audit verify` printed, such as 12:ab34..."
        )
    n, _, digest = text.partition(":")
    return LogPosition(int(n), digest)


def _checker(trusted: Iterable[str]) -> Callable[[LogPosition, str, str], bool] | None:
    """Return the function that checks signatures; None if its package is missing and no key has to be trusted.

    A remark is printed in that case.
    """
    from importlib.util import find_spec

    from coterie.governance.audit import attests

    if find_spec("cryptography") is None and not list(trusted):
        remark("Signatures were not checked: that needs pip install 'coterie[sign]'.")
        return None
    return attests


def _document(verification: Verification) -> dict[str, object]:
    fault = verification.fault
    return {
        "whole": verification.whole,
        "entries": verification.entries,
        "checkpoints": verification.checkpoints,
        "at": f"{verification.end.n}:{verification.end.digest}",
        "signers": list(verification.signers),
        "torn_bytes": verification.torn,
        "vouched": verification.vouched,
        "unvouched": verification.behind_head,
        "behind_head": verification.behind_head,
        "open": [{**crossing._asdict()} for crossing in verification.open],
        "fault": None if fault is None else {"line": fault.line, "kind": fault.kind, "reason": fault.reason},
    }


def _show_verification(verification: Verification) -> None:
    if verification.fault is not None:
        say(f"CHANGED at line {verification.fault.line} ({verification.fault.kind}): {verification.fault.reason}.")
        say(f"Before it, {counted(verification.entries, 'entry is', 'entries are')} as written.")
        return
    signed = f"signed by {', '.join(verification.signers)}" if verification.signers else "not signed"
    say(f"{verification.vouched:,} entries are as they were written, up to the head, which is {signed}.")
    if verification.torn:
        say(f"Half a line of {verification.torn} bytes at the end, of a writer that was killed, is no entry.")
    if verification.behind_head:
        many = counted(verification.behind_head, "entry stands", "entries stand")
        say(f"UNVOUCHED: {many} behind the head, of the last second or of a writer that was killed. Anybody may have")
        say("written them. The next writer counts them; until then the exit code is 6.")
    if verification.open:
        say(
            f"OPEN: {counted(len(verification.open), 'prompt')} left without an entry of what came of it: under way, or"
        )
        say("of a process that ended. All of them: coterie audit show --open")
        for crossing in verification.open[-_OPEN_SHOWN:]:
            dim(
                f"    {crossing.n}  {local_time(crossing.time)}  {crossing.engine}  trace {crossing.trace or '-'}  "
                f"{crossing.id}"
            )
    dim(f"It stands at {verification.end.n}:{verification.end.digest}")
    if not verification.signers:
        dim("Somebody who can write the file could have written all of it anew: set [audit] signing_key.")
