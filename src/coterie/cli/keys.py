"""`coterie keys`: who may come in through the gateway."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from coterie.cli.audit import write_down
from coterie.cli.index import parse_label
from coterie.cli.output import Json, remark, say, show_json, show_table
from coterie.errors import InputError

if TYPE_CHECKING:
    from coterie.governance.keys import Key, KeyRing, NewKey

keys = typer.Typer(
    name="keys",
    help="Who may use the gateway: create, list, revoke, rotate.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

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
    """Make a key, and show it this once.

    From the first key on, nobody uses the gateway without one. A member asks, an operator reads counters, an auditor
    counters and traces of its tenant, an admin does all of it.
    """
    from coterie.config.file import load_config
    from coterie.generalist.generalist import NAME as GENERALIST
    from coterie.generalist.reading import READER
    from coterie.governance.keys import PERMISSIONS, Role

    if role not in PERMISSIONS:
        raise InputError(f"Asked for the role {role!r}.", hint=f"There are {', '.join(PERMISSIONS)}.")
    known = {*load_config(context.obj).specialists, READER, GENERALIST}
    if unknown := [each for each in specialist or () if each not in known]:
        raise InputError(f"Asked for the specialist {unknown[0]!r}.", hint=f"This network has {sorted(known)}.")
    made = _ring(context.obj).create(
        name,
        role=cast("Role", role),
        tenant=tenant,
        specialists=specialist or (),
        clearance=None if clearance is None else parse_label(clearance),
        days=days,
    )
    _tell(context.obj, "create_key", made, as_json=as_json)


@keys.command("list")
def list_keys(context: typer.Context, *, as_json: Json = False) -> None:
    """List the keys, the oldest first: whose, in which role, and whether they open anything. No secret is kept."""
    found, now = _ring(context.obj).keys(), time.time()
    if as_json:
        show_json({"keys": [_plain(key, now) for key in found]})
        return
    if not found:
        say("There are no keys: only programs of this machine may ask.")
        return
    columns = ["name", "id", "role", "tenant", "specialists", "clearance", "created", "expires", "state"]
    show_table(columns, [_row(key, now) for key in found])


@keys.command()
def revoke(context: typer.Context, *, name: _Name, as_json: Json = False) -> None:
    """Shut a key out: also a gateway that runs refuses it from its next request on."""
    key = _ring(context.obj).revoke(name)
    write_down(context.obj, "revoke_key", tenant=key.tenant, about={"name": key.name, "id": key.id})
    if as_json:
        show_json(_plain(key, time.time()))
    else:
        say(f"{key.name} ({key.id}) opens nothing any more.")


@keys.command()
def rotate(context: typer.Context, *, name: _Name, as_json: Json = False) -> None:
    """Give a key another secret, and show it this once; the one it had opens nothing from then on."""
    _tell(context.obj, "rotate_key", _ring(context.obj).rotate(name), as_json=as_json)


def _ring(folder: Path) -> KeyRing:
    from coterie.config.file import load_config
    from coterie.governance.keys import KeyRing

    return KeyRing(folder / load_config(folder).gateway.keys)


def _tell(folder: Path, did: str, made: NewKey, *, as_json: bool) -> None:
    """Write it down and show it."""
    key = made.key
    about = {"name": key.name, "id": key.id, "role": key.role, "specialists": list(key.specialists)}
    write_down(folder, did, tenant=key.tenant, about=about)
    if as_json:
        show_json({**_plain(key, time.time()), "key": made.token})
        return
    say(made.token)
    remark(
        f"Keep it: it is not shown again. It is the API key of any OpenAI client; role {key.role}, tenant {key.tenant}."
    )


def _plain(key: Key, now: float) -> dict[str, object]:
    return {
        "name": key.name,
        "id": key.id,
        "role": key.role,
        "tenant": key.tenant,
        "specialists": list(key.specialists),
        "clearance": None if key.clearance is None else key.clearance.value,
        "created": key.created,
        "expires": key.expires,
        "revoked": key.revoked,
        "state": key.state(now),
    }


def _row(key: Key, now: float) -> tuple[str, ...]:
    state: Literal["valid", "revoked", "expired"] = key.state(now)
    return (
        key.name,
        key.id,
        key.role,
        key.tenant,
        ", ".join(key.specialists) or "all",
        "default" if key.clearance is None else key.clearance.value,
        _day(key.created),
        "never" if key.expires is None else _day(key.expires),
        state,
    )


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d")
