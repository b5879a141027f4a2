"""The audit log with its check, keys, who sees what, what left this machine today, and erasure with a preview."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from starlette.responses import Response

from coterie.config.file import Config, RemoteModel
from coterie.console.visits import LABELS, Visit, chosen
from coterie.errors import InputError
from coterie.governance.audit import attests
from coterie.governance.audit_events import EGRESS, read_entry
from coterie.governance.audit_verification import verify_audit
from coterie.governance.erasure import erase as erase_scope
from coterie.governance.erasure import find_mentions
from coterie.governance.keys import OWN_TENANT, PERMISSIONS, NewKey, Role
from coterie.store.erasure import ErasureScope, Mention
from coterie.types import Label

_SHOWN, _DAY = 100, 86_400.0
_BLOCK = 1 << 16
_MOST_READ = 64 << 20
"""Bytes of the audit log that a page looks through, from its end."""


async def show_governance(visit: Visit) -> Response:
    """Who may see what: labels and clearances of models and indexes, roles, retention."""
    config = await visit.aside(lambda: visit.config)
    return await visit.page(
        "governance.html.j2",
        title="Governance",
        config=config,
        labels=LABELS,
        models={key: (model, isinstance(model, RemoteModel)) for key, model in config.models.items()},
        indexes={n: s for n, s in config.knowledge.items() if s.tenant in {None, visit.caller.tenant}},
        roles={role: sorted(may) for role, may in PERMISSIONS.items()},
    )


# --- The audit log.


def logs_of(config: Config, folder: Path) -> Sequence[Path]:
    """The audit log, and those of further processes beside it."""
    path = folder / config.audit.path
    beside = sorted(path.parent.glob(f"{path.stem}.*{path.suffix}"))
    return [each for each in (path, *beside) if each.is_file()]


def newest_entries(path: Path) -> Iterator[dict[str, Any]]:
    """Entries of a log from its end backwards; a line that is none ends it."""
    with path.open("rb") as file:
        at = file.seek(0, os.SEEK_END)
        least, rest = max(0, at - _MOST_READ), b""
        while at > least:
            size = min(_BLOCK, at - least)
            at = file.seek(at - size)
            lines = (file.read(size) + rest).split(b"\n")
            rest = lines[0]
            for line in reversed(lines[1:]):
                if line:
                    try:
                        yield read_entry(line)
                    except ValueError:
                        continue  # half a line of a writer at work
        if rest and at == 0:
            yield read_entry(rest)


def _entries(visit: Visit, *, kind: str = "", before: float | None = None, since: float = 0.0) -> list[dict[str, Any]]:
    """The newest entries of all logs that the caller may read; of other tenants only for whoever runs the network."""
    whole = visit.caller.tenant == OWN_TENANT
    found: list[dict[str, Any]] = []
    for path in logs_of(visit.config, visit.folder):
        taken = 0
        for entry in newest_entries(path):
            if entry["time"] < since or taken == _SHOWN + 1:
                break
            wanted = kind in {"", entry["kind"]} and (before is None or entry["time"] < before)
            if wanted and (whole or entry.get("tenant") == visit.caller.tenant):
                found.append({**entry, "log": path.name})
                taken += 1
    return sorted(found, key=lambda entry: -entry["time"])


async def show_audit(visit: Visit) -> Response:
    """The newest entries, page by page."""
    try:
        before = float(visit.query("before")) if visit.query("before") else None
    except ValueError:
        raise InputError(f"There is no page before {visit.query('before')[:40]!r}.", hint="Begin anew.") from None
    entries = await visit.aside(_entries, visit, kind=visit.query("kind"), before=before)
    return await visit.page(
        "audit.html.j2",
        title="Audit log",
        entries=entries[:_SHOWN],
        older=entries[_SHOWN - 1]["time"] if len(entries) > _SHOWN else None,
        kind=visit.query("kind"),
        checks=None,
        now=visit.gateway.network.clock(),
    )


async def verify(visit: Visit) -> Response:
    """Check every line of every log."""
    checks = await visit.aside(_check, visit)
    entries = await visit.aside(_entries, visit)
    return await visit.page(
        "audit.html.j2",
        title="Audit log",
        entries=entries[:_SHOWN],
        older=None,
        kind="",
        checks=checks,
        now=visit.gateway.network.clock(),
    )


def _check(visit: Visit) -> list[tuple[str, Any]]:
    from importlib.util import find_spec  # noqa: PLC0415

    trusted = frozenset(visit.config.audit.trusted_keys)
    attested = attests if trusted or find_spec("cryptography") is not None else None
    return [
        (path.name, verify_audit(path, is_attested=attested, trusted=trusted))
        for path in logs_of(visit.config, visit.folder)
    ]


async def show_egress(visit: Visit) -> Response:
    """What left this machine today, or was about to, by model."""
    now = visit.gateway.network.clock()
    entries = await visit.aside(_entries, visit, kind=EGRESS, since=now - _DAY)
    outcomes = {
        key: outcome
        for entry in await visit.aside(_entries, visit, kind="request", since=now - _DAY)
        for key, outcome in (entry["about"].get("egress") or {}).items()
    }
    return await visit.page(
        "egress.html.j2", title="What left this machine", entries=entries, outcomes=outcomes, shown=_SHOWN, now=now
    )


# --- Keys.


async def show_keys(visit: Visit, made: NewKey | None = None) -> Response:
    """All keys, without their secrets; the one that was just made is shown this once."""
    ring, now = visit.gateway.ring, visit.gateway.network.clock()
    return await visit.page(
        "keys.html.j2",
        title="Keys and roles",
        keys=[] if ring is None else [(key, key.state(now)) for key in ring.keys()][::-1],  # noqa: SIM118 - no mapping
        made=made,
        roles={role: sorted(may) for role, may in PERMISSIONS.items()},
        labels=LABELS,
        specialists=sorted(visit.config.specialists),
        possible=ring is not None,
        now=now,
    )


async def change_keys(visit: Visit) -> Response:
    """Make, rotate or revoke a key."""
    ring = visit.gateway.ring
    if ring is None:
        raise InputError("This gateway keeps no keys.", hint="Serve the network's folder with `coterie serve`.")
    act, name = chosen(visit.value("act"), ("create", "rotate", "revoke"), "The action"), visit.value("name")
    if act == "revoke":
        gone = await visit.aside(ring.revoke, name)
        await visit.log("revoke_key", tenant=gone.tenant, name=gone.name, id=gone.id)
        return visit.go("governance/keys", note=f"{gone.name} opens nothing any more.")
    if act == "rotate":
        made = await visit.aside(ring.rotate, name)
    else:
        days = visit.value("days")
        made = await visit.aside(
            ring.create,
            name,
            role=cast("Role", chosen(visit.value("role", "member"), PERMISSIONS, "The role")),
            tenant=visit.value("tenant") or OWN_TENANT,
            specialists=[each for each in visit.fields.get("specialists", ()) if each],
            clearance=Label(chosen(visit.value("clearance"), LABELS, "The clearance"))
            if visit.value("clearance")
            else None,
            days=_days(days) if days else None,
        )
    key = made.key
    about = {"name": key.name, "id": key.id, "role": key.role, "specialists": list(key.specialists)}
    await visit.log(f"{act}_key", tenant=key.tenant, **about)
    return await show_keys(visit, made)


def _days(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"The days were {text[:40]!r}.", hint="Give a number, such as 90.") from None


# --- Erasure.


async def show_erasure(visit: Visit) -> Response:
    """The form."""
    return await visit.page(
        "erasure.html.j2",
        title="Erasure",
        preview=None,
        done=False,
        given=dict.fromkeys(("tenant", "session", "mention"), ""),
    )


async def erase(visit: Visit) -> Response:
    """Show what would be erased; with `confirm`, erase it."""
    given = {name: visit.value(name) for name in ("tenant", "session", "mention")}
    if not any(given.values()):
        raise InputError("Nothing was named.", hint="Give a tenant, a session of one, or a name to look for.")
    mention = Mention([given["mention"]]) if given["mention"] else None
    tenant = given["tenant"] or (OWN_TENANT if given["session"] else None)
    scope = ErasureScope(tenant=tenant, session=given["session"] or None, mention=mention)
    confirmed = visit.value("confirm") == "erase"
    found = await erase_scope(visit.folder, visit.config, scope, dry_run=not confirmed)
    if mention is not None and not found.left:
        beside = await find_mentions(visit.folder, visit.config, mention)
        found = replace(found, mentioning=beside.mentioning, left=beside.left)
    if confirmed:
        network = visit.gateway.network
        hashed = {} if network.audit is None else {n: network.audit.digest(v) for n, v in given.items() if v}
        await visit.log("erase", **hashed, traces=len(found.holdings.traces), keys=list(found.keys))
    return await visit.page("erasure.html.j2", title="Erasure", preview=found, done=confirmed, given=given)
