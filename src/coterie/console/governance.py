"""The audit log with its check, keys, access rights, today's egress, and erasure with a preview."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

from starlette.responses import Response

from coterie.config.file import Config, RemoteModel
from coterie.console.visits import LABELS, Visit, chosen
from coterie.errors import InputError
from coterie.governance.audit import EGRESS, attests
from coterie.governance.audit_verification import AuditPage, read_page, verify_audit
from coterie.governance.erasure import erase as erase_scope
from coterie.governance.erasure import find_mentions
from coterie.governance.keys import OWN_TENANT, PERMISSIONS, NewKey, Role
from coterie.store.erasure import ErasureScope, Mention
from coterie.types import Label

_SHOWN, _DAY = 100, 86_400.0


async def show_governance(visit: Visit) -> Response:
    """Show access rights: labels and clearances of models and indexes, roles, retention."""
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
    """Return the audit log, and the logs of further processes beside it."""
    path = folder / config.audit.path
    beside = sorted(path.parent.glob(f"{path.stem}.*{path.suffix}"))
    return [log for log in (path, *beside) if log.is_file()]


def _log_of(visit: Visit) -> tuple[Path | None, Sequence[str]]:
    """Return the log named in the URL, by default the first, and the names of all. Raises `InputError`."""
    logs = {path.name: path for path in logs_of(visit.config, visit.folder)}
    name = visit.query("log")
    if not name or not logs:
        return next(iter(logs.values()), None), tuple(logs)
    return logs[chosen(name, logs, "The log")], tuple(logs)


_NOTHING = AuditPage(entries=(), before=None, complete=True, reached=None, outcomes={})


async def _page_of(visit: Visit, *, kind: str, since: float = 0.0) -> dict[str, Any]:
    """Return one page of a log; other tenants' entries only for an operator of the network.

    Raises `InputError`, `SetupError`.
    """
    before = visit.query("before")
    if before and not before.isdecimal():
        raise InputError(f"There is no page before {before[:40]!r}.", hint="Begin anew.")
    path, names = await visit.aside(_log_of, visit)
    page = _NOTHING
    if path is not None:
        page = await visit.aside(
            read_page,
            path,
            before=int(before) if before else None,
            kind=kind,
            tenant=None if visit.caller.tenant == OWN_TENANT else visit.caller.tenant,
            since=since,
            limit=_SHOWN,
        )
    shown = path.name if path is not None and len(names) > 1 else ""
    more = {"before": page.before, **({"kind": kind} if kind else {}), **({"log": shown} if shown else {})}
    return {
        "page": page,
        "logs": names if len(names) > 1 else (),
        "log": shown,
        "more": "?" + urlencode(more) if page.before is not None else "",
        "kind": kind,
        "now": visit.gateway.network.clock(),
    }


async def show_audit(visit: Visit) -> Response:
    """Show the newest entries of the audit log, page by page."""
    page = await _page_of(visit, kind=visit.query("kind"))
    return await visit.page("audit.html.j2", title="Audit log", checks=None, **page)


async def verify(visit: Visit) -> Response:
    """Check every line of every log."""
    checks = await visit.aside(_check, visit)
    page = await _page_of(visit, kind="")
    return await visit.page("audit.html.j2", title="Audit log", checks=checks, **page)


def _check(visit: Visit) -> list[tuple[str, Any]]:
    from importlib.util import find_spec  # noqa: PLC0415

    trusted = frozenset(visit.config.audit.trusted_keys)
    attested = attests if trusted or find_spec("cryptography") is not None else None
    return [
        (path.name, verify_audit(path, is_attested=attested, trusted=trusted))
        for path in logs_of(visit.config, visit.folder)
    ]


async def show_egress(visit: Visit) -> Response:
    """Show prompts that left this machine today, or were about to: by model, and one by one."""
    since = visit.gateway.network.clock() - _DAY
    page = await _page_of(visit, kind=EGRESS, since=since)
    whole = visit.caller.tenant == OWN_TENANT and visit.may("metrics")
    whose = None if whole else visit.caller.tenant
    totals = await visit.reads.totals(since=since, tenant=whose, hours=True, parts=["models"])
    remote = {key for key, model in visit.config.models.items() if isinstance(model, RemoteModel)}
    return await visit.page(
        "egress.html.j2",
        title="What left this machine",
        rows=[row for row in totals.models if row.key in remote],
        config=visit.config,
        whole=whole,
        **page,
    )


# --- Keys.


async def show_keys(visit: Visit, made: NewKey | None = None) -> Response:
    """Show all keys, without their secrets; a new key's secret is shown once."""
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
            specialists=[specialist for specialist in visit.fields.get("specialists", ()) if specialist],
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
    """Show the form for an erasure."""
    return await visit.page(
        "erasure.html.j2",
        title="Erasure",
        preview=None,
        done=False,
        given=dict.fromkeys(("tenant", "session", "mention"), ""),
    )


async def erase(visit: Visit) -> Response:
    """Preview an erasure; with `confirm`, erase."""
    given = {name: visit.value(name) for name in ("tenant", "session", "mention")}
    if not any(given.values()):
        raise InputError("Nothing was named.", hint="Give a tenant, a session of one, or a name to look for.")
    mention = Mention([given["mention"]]) if given["mention"] else None
    tenant = given["tenant"] or (OWN_TENANT if given["session"] else None)
    scope = ErasureScope(tenant=tenant, session=given["session"] or None, mention=mention)
    confirmed = visit.value("confirm") == "erase"
    erased = await erase_scope(visit.folder, visit.config, scope, dry_run=not confirmed)
    if mention is not None and not erased.left:
        beside = await find_mentions(visit.folder, visit.config, mention)
        erased = replace(erased, mentioning=beside.mentioning, left=beside.left)
    if confirmed:
        network = visit.gateway.network
        hashed = {} if network.audit is None else {n: network.audit.digest(v) for n, v in given.items() if v}
        await visit.log("erase", **hashed, traces=len(erased.holdings.traces), keys=list(erased.keys))
    return await visit.page("erasure.html.j2", title="Erasure", preview=erased, done=confirmed, given=given)
