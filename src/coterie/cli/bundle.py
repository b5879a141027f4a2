"""`coterie bundle`: package the network as a signed folder for a device, a container image, or a browser page."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from coterie.cli.bridge import configured
from coterie.cli.output import Json, give, say
from coterie.errors import ConfigError, InputError

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
    web: Annotated[
        bool, typer.Option("--web", help="Make a static page instead, that runs classify specialists in a browser.")
    ] = False,
    runtime: Annotated[
        str | None,
        typer.Option("--runtime", metavar="SOURCE", help="onnxruntime-web for --web: folder, .tgz or URL; else npm's."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a bundle: a signed folder with interpreter, packages and the network, which runs offline.

    `OUT/run` serves it after a check of every byte; its other commands are `OUT/run ask TEXT`, `verify`, `install
    RELEASE` and `revert`. Called again, it writes a further release into the slot that does not run, and switches to
    it.
    """
    folder: Path = context.obj
    if web:
        _make_page(folder, out, runtime, as_json=as_json, unused=(check, image, release, key))
        return
    from coterie.edge import bundle as bundles
    from coterie.edge.device import check_release, trusted_keys

    if check:
        made = check_release((out / "current").resolve(), trusted=trusted_keys(out))
    else:
        made = bundles.build_bundle(folder, out, signer=_signer(folder, key), release=release)
    if image is not None:
        from coterie.edge.bundle import write_image

        write_image(out, image, name=f"{made.network}:{made.number}")
    size = f"{made.files:,} files, {made.bytes / 1e6:.0f} MB"
    words = f"Release {made.number} of {made.network!r}: {size}, key {made.key[:16]}."
    give(asdict(made), lambda: say(f"{words} Start: {out}/run"), as_json=as_json)


def _make_page(folder: Path, out: Path, runtime: str | None, *, as_json: bool, unused: tuple[object, ...]) -> None:
    from coterie.edge.page import build_page

    if any(unused):
        raise InputError(
            "--web makes a page of static files: --check, --image, --release and --key are for bundles of devices.",
            hint="Leave them out; the SHA-256 that --web prints covers every file of the page.",
        )
    made = build_page(folder, out, runtime=runtime)
    words = f"A page with {', '.join(made.specialists)}: {made.files} files, {made.bytes / 1e6:.1f} MB"
    left = "".join(f" Left out: {name} ({why})." for name, why in made.left_out.items())
    how = f"Any server of static files will do: {quote(sys.executable)} -m http.server -d {quote(str(out))}"
    give(asdict(made), lambda: say(f"{words}; index.html {made.sha256[:16]}.{left} {how}"), as_json=as_json)


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
