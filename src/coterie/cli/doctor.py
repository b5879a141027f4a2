"""`coterie doctor`: report what is missing, and the command that fixes it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from coterie.cli.output import SETUP, Json, give, remark, say

if TYPE_CHECKING:
    from coterie.cli.checks import Check


def doctor(context: typer.Context, *, as_json: Json = False) -> None:
    """Report what is missing and the command that fixes it.

    It checks Python, the packages, coterie.toml, data, trained versions, the router, model files and their
    checksums, indexes, the store, secrets (whether they are set, never their value), the gateway's port and the disk,
    and changes nothing. The exit code is 1 if something required is missing.
    """
    from coterie.cli.checks import examine

    folder: Path = context.obj
    checks = list(examine(folder))
    missing = [check for check in checks if check.required and not check.ok]
    document = {"ok": not missing, "folder": str(folder), "checks": [asdict(check) for check in checks]}
    give(document, lambda: _show(checks, len(missing)), as_json=as_json)
    if missing:
        raise typer.Exit(SETUP)


def _show(checks: list[Check], missing: int) -> None:
    width = max(len(check.name) for check in checks)
    for check in checks:
        word = "ok" if check.ok else "MISSING" if check.required else "note"
        say(f"{word:8}{check.name:{width}}  {check.found}")
        if not check.ok and check.fix:
            say(f"{'':8}{'':{width}}  -> {check.fix}")
    remark(f"{missing} of {len(checks)} checks need you." if missing else "Everything required is there.")
