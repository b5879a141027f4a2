"""`coterie registry`: what was trained, which of it serves, and whether it is what it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from coterie.cli.exits import SETUP
from coterie.cli.output import Json, interval, number, remark, say, shell, show_json, show_table, size
from coterie.cli.registry_change import export, keygen, promote, rollback
from coterie.cli.registry_sbom import sbom
from coterie.cli.registry_show import diff, open_folder, show
from coterie.errors import CoterieError, UnknownSpecialist

if TYPE_CHECKING:
    from coterie.registry.registry import Registry
    from coterie.registry.version import Version

T = TypeVar("T")

registry = typer.Typer(
    name="registry", help="Versions: list, compare, promote, check.", no_args_is_help=True, rich_markup_mode=None
)

_MaybeName = Annotated[str | None, typer.Argument(metavar="NAME", help="A specialist; all of them if none is named.")]


@registry.command("list")
def list_versions(context: typer.Context, *, name: _MaybeName = None, as_json: Json = False) -> None:
    """List the stored versions, the oldest first.

    With its alias, its rung, the figure that decides with its 95% interval, its size and when it was stored. A version
    that is damaged is listed as such.
    """
    folder: Path = context.obj
    opened = open_folder(folder)
    listed = {each: [_row(opened, each, version) for version in opened.versions(each)] for each in _names(opened, name)}
    if as_json:
        show_json({"specialists": listed})
        return
    if not listed:
        say(f"Nothing is trained yet. Run: {shell(folder, 'train')}")
    for each, rows in listed.items():
        show_table(
            ["version", "alias", "rung", "measure", "", "95% interval", "bar", "size", "stored", "signed"],
            [_cells(row) for row in rows],
            title=each,
        )


def _names(opened: Registry, name: str | None) -> tuple[str, ...]:
    """The specialists that are meant."""
    stored = opened.names()
    if name is None:
        return stored
    if name not in stored:
        raise UnknownSpecialist(
            f"The registry has no version of {name!r}; it has {list(stored)}.", hint="Use one of these names."
        )
    return (name,)


def _row(opened: Registry, name: str, version: str) -> dict[str, Any]:
    """A version in one line; what is wrong with it, if something is."""
    row: dict[str, Any] = {"version": version, "aliases": _aliases(opened, name, version)}
    row["stored"] = opened.added(name, version)
    try:
        return row | _described(opened.load(name, version)) | {"error": None}
    except CoterieError as error:
        return row | {"error": error.message}


def _described(version: Version) -> dict[str, Any]:
    from coterie.registry.report import figure, interval_of, measures

    report = version.report
    measure = next(iter(measures(report)), None)
    return {
        "rung": report.get("rung"),
        "measure": measure,
        "value": figure(report, measure) if measure else None,
        "interval": interval_of(report, measure) if measure else None,
        "bar_met": report.get("bar_met"),
        "bytes": sum(map(len, version.files.values())),
        "signature": version.signature.state,
    }


def _aliases(opened: Registry, name: str, version: str) -> list[str]:
    from coterie.registry.registry import CANDIDATE, CHAMPION

    found = []
    for alias in (CHAMPION, CANDIDATE):
        try:
            if opened.alias(name, alias) == version:
                found.append(alias)
        except CoterieError:  # `verify` tells of a damaged alias
            continue
    return found


def _cells(row: dict[str, Any]) -> list[object]:
    head = [row["version"], " ".join(row["aliases"])]
    if row["error"] is not None:
        return [*head, "DAMAGED", *["-"] * 5, row["stored"], "-"]
    bar = {True: "met", False: "MISSED"}.get(row["bar_met"], "-")
    figures = [number(row["value"]), interval(row["interval"]), bar, size(row["bytes"])]
    return [*head, row["rung"], row["measure"], *figures, row["stored"], row["signature"]]


@registry.command()
def verify(context: typer.Context, *, name: _MaybeName = None, as_json: Json = False) -> None:
    """Check every byte of every version, and its signature.

    Each version is held against its manifest, that against the version's name, and the signature against both; the
    aliases must stand for versions that are there. Everything is looked at; the exit code is 1 if anything is wrong.
    """
    opened = open_folder(context.obj)
    checks = [check for each in _names(opened, name) for check in _checks(opened, each)]
    bad = [check for check in checks if check["error"] is not None]
    if as_json:
        show_json({"ok": not bad, "checks": checks})
    else:
        show_table(["specialist", "version or alias", "", "signed"], map(_checked, checks))
        say(f"{len(checks) - len(bad)} of {len(checks)} are whole.")
        for check in bad:
            remark(f"BAD: {check['name']} {check['what']}: {check['error']}")
    if bad:
        raise typer.Exit(SETUP)


def _checks(opened: Registry, name: str) -> Iterator[dict[str, Any]]:
    """A line for each version, for each alias that is there, and for a history that is damaged."""
    from coterie.registry.registry import CANDIDATE, CHAMPION

    for version in opened.versions(name):
        loaded, error = _try(partial(opened.load, name, version))
        yield {"name": name, "what": version, "signature": loaded and loaded.signature.state, "error": error}
    for alias in (CHAMPION, CANDIDATE):
        stands, error = _try(partial(opened.alias, name, alias))
        if stands is not None and stands not in opened.versions(name):
            error = f"it stands for {stands}, which is not stored"
        if stands is not None or error is not None:
            yield {"name": name, "what": alias, "signature": None, "error": error}
    _, error = _try(partial(opened.history, name))
    if error is not None:
        yield {"name": name, "what": "history", "signature": None, "error": error}


def _try(look: Callable[[], T]) -> tuple[T | None, str | None]:
    """What there is, or what is wrong with it."""
    try:
        return look(), None
    except CoterieError as error:
        return None, error.message


def _checked(check: dict[str, Any]) -> list[object]:
    return [check["name"], check["what"], "ok" if check["error"] is None else "BAD", check["signature"]]


registry.command()(show)
registry.command()(diff)
registry.command()(sbom)
registry.command()(promote)
registry.command()(rollback)
registry.command()(export)
registry.command()(keygen)
