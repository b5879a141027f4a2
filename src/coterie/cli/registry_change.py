"""`coterie registry promote`, `rollback`, `export` and `keygen`: what changes who serves, and what leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coterie.cli.audit import write_down
from coterie.cli.output import Json, remark, say, show_json
from coterie.cli.registry_show import Name, open_folder
from coterie.errors import InputError

_Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why; kept in the history.")]


def promote(
    context: typer.Context,
    *,
    name: Name,
    version: Annotated[
        str, typer.Argument(metavar="VERSION", help="candidate, a version, or at least 4 of its first digits.")
    ] = "candidate",
    reason: _Reason = "",
    force: Annotated[bool, typer.Option("--force", help="Also if it is refused; needs --reason.")] = False,
    as_json: Json = False,
) -> None:
    """Let a version serve.

    Refused, with exit code 4, if it misses its bar, or if it is worse than the champion overall or on the rows of a
    label, beyond chance and on the same held-out rows; it is said by how much. The network serves it from its next
    start on.
    """
    from coterie.registry.promotion import promote_version

    if force and not reason:
        raise InputError("--force needs --reason.", hint="Say why: it is kept in the history.")
    opened = open_folder(context.obj)
    replaced, chosen = opened.alias(name), opened.resolve(name, version)
    verdict = promote_version(opened, name, chosen, reason=reason, force=force)
    done = {"name": name, "version": chosen, "replaced": replaced, "forced": not verdict.allowed}
    write_down(context.obj, "promote", about={**done, "reason": reason})
    if as_json:
        show_json({**done, **verdict.reason.described()})
        return
    if not verdict.allowed:
        remark(f"FORCED: {verdict.reason}")
    instead = f" instead of {replaced}" if replaced not in {None, chosen} else ""
    say(f"{name}: {chosen} serves{instead}" + (f": {verdict.reason}." if verdict.allowed else "."))


def rollback(context: typer.Context, *, name: Name, reason: _Reason = "", as_json: Json = False) -> None:
    """Let the champion before this one serve again; once more goes further back."""
    opened = open_folder(context.obj)
    replaced, version = opened.alias(name), opened.rollback(name, reason=reason)
    done = {"name": name, "version": version, "replaced": replaced}
    write_down(context.obj, "rollback", about={**done, "reason": reason})
    if as_json:
        show_json(done)
    else:
        say(f"{name}: {version} serves again, instead of {replaced}.")


def export(
    context: typer.Context,
    *,
    name: Name,
    version: Annotated[
        str,
        typer.Argument(metavar="VERSION", help="champion, candidate, a version, or at least 4 of its first digits."),
    ] = "champion",
    to: Annotated[Path, typer.Option(metavar="PATH", help="A folder or a .zip file that does not exist yet.")],
    as_json: Json = False,
) -> None:
    """Write a version to a folder or a zip file.

    In the form of the Hugging Face hub: the card as README.md, the files, manifest and signature. Whole or not at all.
    """
    from coterie.registry.export import export_version

    opened = open_folder(context.obj)
    found = opened.load(name, opened.resolve(name, version))
    path = export_version(found, to)
    write_down(context.obj, "export_version", about={"name": name, "version": found.version})
    if as_json:
        show_json({"name": name, "version": found.version, "path": str(path)})
    else:
        say(f"{name} {found.version} is at {path}")


def keygen(
    *,
    to: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to; by default the user's folder of settings.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a key that signs versions.

    The private key can be read by its owner only; a file that is there is never overwritten. What is printed goes into
    coterie.toml.
    """
    from coterie.registry.signature import write_key

    path, public = write_key(to)
    if as_json:
        show_json({"path": str(path), "public_key": public})
        return
    say(f"The private key is at {path}; keep it to yourself. For coterie.toml:\n")
    say(f'[registry]\nsigning_key = "{path}"\ntrusted_keys = ["{public}"]\nrequire_signature = true')
