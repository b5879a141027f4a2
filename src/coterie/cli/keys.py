"""`coterie keys`: manage the keys of the gateway."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from coterie.cli.bridge import configured, log_command
from coterie.cli.options import check_choice, group, parse_label
from coterie.cli.output import Json, give, local_time, remark, say, show_json, show_table

if TYPE_CHECKING:
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
    give({"keys": plain_keys}, lambda: _show(plain_keys), as_json=as_json)


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


def _show(rows: list[dict[str, Any]]) -> None:
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
