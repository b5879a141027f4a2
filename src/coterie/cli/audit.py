"""`coterie audit`: verify, show and export the audit log."""

from __future__ import annotations

import json
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coterie.cli.bridge import configured, write_private
from coterie.cli.options import group
from coterie.cli.output import FORBIDDEN, UNVOUCHED, Json, counted, dim, give, local_time, remark, say, shell
from coterie.errors import InputError

if TYPE_CHECKING:
    from coterie.governance.audit_events import LogPosition
    from coterie.governance.audit_verification import Verification

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
    give(_document(verification), lambda: _show(verification), as_json=as_json)
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
    from coterie.governance.audit_events import read_entry

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
    from coterie.governance.audit_events import LogPosition

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


def _show(verification: Verification) -> None:
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
