"""`coterie bundle`: the network as a signed folder for a device, or as a container image."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coterie.cli.bridge import configured
from coterie.cli.output import Json, give, say
from coterie.errors import ConfigError

if TYPE_CHECKING:
    from coterie.registry.signature import Signer


def bundle(
    context: typer.Context,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to make, or the bundle to add a release to.")],
    *,
    check: Annotated[bool, typer.Option("--check", help="Check every byte of the bundle at OUT.")] = False,
    image: Annotated[
        Path | None, typer.Option("--image", metavar="DIR", help="Also write an OCI image layout there.")
    ] = None,
    release: Annotated[
        int | None, typer.Option("--release", metavar="N", min=1, help="Number of the release; the next by default.")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="FILE", help="Ed25519 key that signs, or env:NAME; else registry.signing_key."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a bundle: a signed folder with interpreter, packages and the network, that runs without a network.

    `OUT/run` serves it after a check of every byte; its other commands are `OUT/run ask TEXT`, `verify`, `install
    RELEASE` and `revert`. Called again, it puts a further release into the slot that does not run, and switches to it.
    """
    folder: Path = context.obj
    from coterie.edge import bundle as bundles
    from coterie.edge.device import check_release, trusted_keys

    if check:
        made = check_release((out / "current").resolve(), trusted=trusted_keys(out))
    else:
        made = bundles.build_bundle(folder, out, signer=_signer(folder, key), release=release)
    if image is not None:
        from coterie.edge.oci import write_image

        write_image(out, image, name=f"{made.network}:{made.number}")
    size = f"{made.files:,} files, {made.bytes / 1e6:.0f} MB"
    words = f"Release {made.number} of {made.network!r}: {size}, key {made.key[:16]}."
    give(asdict(made), lambda: say(f"{words} Start: {out}/run"), as_json=as_json)


def _signer(folder: Path, key: str | None) -> Signer:
    from coterie.registry.signature import open_signer

    config = configured(folder)
    source = key or config.registry.signing_key
    signer = open_signer(source, Path() if key else folder, setting="--key" if key else "registry.signing_key")
    if signer is None:
        raise ConfigError(
            "A bundle is signed, and neither --key nor registry.signing_key names a key.",
            hint="Make one: coterie registry keygen",
        )
    return signer
