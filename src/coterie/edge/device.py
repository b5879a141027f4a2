"""Bundles on a device: check every byte, install a release beside the running one, and switch.

    DEVICE/run             starts it: `run`, `run ask TEXT`, `run verify`, `run install RELEASE`, `run revert`
    DEVICE/trusted         public keys whose releases are accepted, one a line
    DEVICE/current         a link to the slot that runs, replaced by one rename
    DEVICE/a, DEVICE/b     slots: a release each, with `manifest.json` and `manifest.sig`
    DEVICE/release         the highest release that was installed: an older one is refused
    DEVICE/network/        the network as it runs: files of the slot by links, and `state`, which stays

The launcher and `trusted` are not signed: whoever can write them controls the device. The module imports little, so
that a check begins at once.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any

from coterie.errors import ArtefactRefused, CoterieError, InputError, SetupError

MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
FORMAT = "coterie-bundle/1"
STATEMENT = "bundle"
SLOTS = ("a", "b")
CURRENT, TRUSTED, RELEASE, NETWORK, STATE = "current", "trusted", "release", "network", "state"
MODELS, HOME = "models", "home"
"""Folder of a slot with models that the network names, and the folder in `state` where they are found."""
PLACE = "COTERIE_NETWORK"
"""Environment variable with the folder of the network, where the bundle itself is read-only."""
_REGISTRY = "registry"
_BLOCK = 1 << 20
_BATCH = 64
"""Files that a thread checks at a time."""


@dataclass(frozen=True, kw_only=True)
class BundleRelease:
    """A completely checked release."""

    number: int
    """Number of the release, which grows with each release of a network."""
    network: str
    coterie: str
    """Version of Coterie in the release."""
    key: str
    """Public key of the signer: 64 hexadecimal digits."""
    files: int
    bytes: int


def check_release(folder: Path, *, trusted: Collection[str]) -> BundleRelease:
    """Check signature and every file of a release.

    Raises:
        ArtefactRefused: it is not signed by one of these keys, or a file is changed, missing or was added.
    """
    try:
        manifest = (folder / MANIFEST).read_bytes()
        signature = json.loads((folder / SIGNATURE).read_bytes())
        key, given = str(signature["key"]), bytes.fromhex(signature["signature"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _refused(folder, f"has no manifest that can be read ({type(error).__name__})") from error
    if key not in trusted:
        raise _refused(folder, f"is signed with the key {key[:16]}..., which is not trusted here")
    if not _is_signed(key, given, manifest):
        raise _refused(folder, "has a manifest that its signature does not fit")
    try:
        document = json.loads(manifest)
        listed: dict[str, Any] = dict(document["files"])
        about = {"number": int(document["release"]), "network": document["network"], "coterie": document["coterie"]}
        made_for = document["platform"]["system"], document["platform"]["machine"]
        if document["format"] != FORMAT:
            raise _refused(folder, f"is of the format {document['format']!r}, not {FORMAT!r}")
    except (ValueError, KeyError, TypeError) as error:
        raise _refused(folder, f"has a manifest that cannot be read ({type(error).__name__})") from error
    if made_for != (here := _system()):
        raise _refused(folder, f"is made for {made_for}; this is {here}")
    paths = files_of(folder)
    if odd := sorted((paths.keys() - {MANIFEST, SIGNATURE}) ^ listed.keys()):
        raise _refused(folder, f"has or lacks files beside its manifest, such as {odd[0]!r}")
    names = list(listed)
    batches = [names[at : at + _BATCH] for at in range(0, len(names), _BATCH)]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        sums = pool.map(lambda batch: [_sum(paths[name]) for name in batch], batches)
        for name, digest in zip(names, chain.from_iterable(sums), strict=True):
            if digest != listed[name]:
                raise _refused(folder, f"has another {name!r} than was signed")
    size = sum(os.stat(paths[name]).st_size for name in names)  # noqa: PTH116 - thousands of paths
    return BundleRelease(**about, key=key, files=len(listed), bytes=size)


def install(release: Path, device: Path) -> BundleRelease:
    """Copy a release into the slot that does not run, check it there, and switch to it by one rename.

    Raises:
        ArtefactRefused: the release is invalid, or not newer than every release that was installed before.
    """
    trusted, highest = trusted_keys(device), _highest(device)
    release_ = check_release(release, trusted=trusted)
    if (runs := _network_of(device / CURRENT)) not in {None, release_.network}:
        raise ArtefactRefused(
            f"A release of the network {release_.network!r} was to be installed; this device runs {runs!r}.",
            hint="Install a release of this network, or begin a device of the other one in a folder of its own.",
        )
    if release_.number <= highest:
        raise ArtefactRefused(
            f"Release {release_.number} was to be installed; release {highest} was installed already.",
            hint="A release is installed once, and never an older one: `run revert` goes back to the other slot.",
        )
    slot = device / next(name for name in SLOTS if name != _running(device))
    draft = device / f".{slot.name}.partial"
    for old in (draft, slot):
        shutil.rmtree(old, ignore_errors=True)
    shutil.copytree(release, draft, symlinks=True)
    check_release(draft, trusted=trusted)  # what lies here, not what lay there
    for path in files_of(draft).values():
        _sync(Path(path))
    draft.rename(slot)
    _write(
        device / RELEASE, f"{release_.number}\n"
    )  # before the switch: a power cut between them costs a release number
    switch(device, slot.name)
    return release_


def revert(device: Path) -> BundleRelease:
    """Switch to the other slot. Raises `ArtefactRefused` if there is no complete release in it."""
    other = next(name for name in SLOTS if name != _running(device))
    release = check_release(device / other, trusted=trusted_keys(device))
    switch(device, other)
    return release


def switch(device: Path, slot: str) -> None:
    """Make a slot run from the next start on, by one rename."""
    draft = device / f".{CURRENT}.partial"
    draft.unlink(missing_ok=True)
    draft.symlink_to(slot)
    draft.replace(device / CURRENT)
    _sync(device)


def prepare(device: Path, device_network: Path | None = None) -> Path:
    """Check the running slot, and return the folder of the network, with the slot's files in it.

    Args:
        device: The bundle's folder; it may be read-only where `device_network` is given.
        device_network: The folder of the network; by default inside the device.

    Raises:
        ArtefactRefused: a byte of the slot does not match the signature.
        SetupError: the folder cannot be written.
    """
    slot = device / CURRENT
    check_release(slot.resolve(), trusted=trusted_keys(device))
    network = device / NETWORK if device_network is None else device_network
    shipped = slot / NETWORK
    inside = Path("..") / CURRENT / NETWORK if device_network is None else shipped.absolute()
    try:
        (network / STATE).mkdir(parents=True, exist_ok=True)
        folders = [path.name for path in shipped.iterdir() if path.is_dir() and path.name not in {STATE, _REGISTRY}]
        _link(network, inside, [path.name for path in shipped.iterdir() if path.name not in {STATE, *folders}])
        for name in folders:
            _mirror(network / name, (shipped / name).absolute())
        if (slot / MODELS).is_dir():
            _mirror(network / STATE / HOME / MODELS, (slot / MODELS).absolute())
        if (shipped / STATE).is_dir():
            above = inside / STATE if device_network is not None else Path("..") / inside / STATE
            _link(network / STATE, above, [path.name for path in (shipped / STATE).iterdir()])
    except OSError as error:
        raise SetupError(
            f"The network's folder {str(network)!r} cannot be written: {error.strerror}.",
            hint=f"Where the bundle is read-only, {PLACE} names a folder that is not, such as a volume.",
        ) from error
    return network


def trusted_keys(device: Path) -> frozenset[str]:
    """Return the keys whose releases this device accepts. Raises `ArtefactRefused` where there are none."""
    try:
        return frozenset((device / TRUSTED).read_text().split())
    except OSError as error:
        raise ArtefactRefused(
            f"{str(device / TRUSTED)!r} cannot be read: no release is accepted.",
            hint="Write the public key of whoever makes the releases into it: 64 hexadecimal digits.",
        ) from error


def main(arguments: Sequence[str]) -> int:
    """Run a command of the launcher; its first argument is the device's folder."""
    device, command, rest = Path(arguments[0]), arguments[1] if len(arguments) > 1 else "serve", arguments[2:]
    try:
        match command:
            case "verify":
                release = check_release((device / CURRENT).resolve(), trusted=trusted_keys(device))
            case "install":
                release = install(Path(rest[0]), device)
            case "revert":
                release = revert(device)
            case _:
                place_ = os.environ.get(PLACE)
                return _run(prepare(device, Path(place_) if place_ else None), [command, *rest])
    except CoterieError as error:
        sys.stderr.write(f"{error.message} {error.hint or ''}\n")
        return 5
    except IndexError:
        sys.stderr.write("run install RELEASE: which folder has the release?\n")
        return 2
    about = {"release": release.number, "network": release.network, "files": release.files, "bytes": release.bytes}
    sys.stdout.write(json.dumps({**about, "key": release.key}) + "\n")
    return 0


def _run(network: Path, words: list[str]) -> int:
    """Replace this process by a command of `coterie` on the network."""
    if (network / STATE / HOME).is_dir():
        os.environ["COTERIE_HOME"] = str((network / STATE / HOME).absolute())  # models of the slot
    command = [sys.executable, "-I", "-B", "-X", "utf8", "-m", "coterie", "-C", str(network), *words]
    os.execv(sys.executable, command)  # noqa: S606 - the slot's own interpreter, which was checked


def _link(folder: Path, target: Path, names: Sequence[str]) -> None:
    """Link to files of the running slot through the link `current`, so that a switch changes all of them."""
    for name in names:
        link = folder / name
        if link.is_symlink() and link.readlink() == target / name:
            continue
        if link.is_symlink() or not link.exists():
            link.unlink(missing_ok=True)
            link.symlink_to(target / name)


def _mirror(folder: Path, shipped: Path) -> None:
    """Link to every file of a folder of the slot, so that what is written beside one is not in the slot."""
    if folder.is_symlink():
        folder.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    for path in shipped.iterdir():
        if path.is_dir():
            _mirror(folder / path.name, path)
    _link(folder, shipped, [path.name for path in shipped.iterdir() if path.is_file()])


def _running(device: Path) -> str:
    try:
        return (device / CURRENT).readlink().name
    except OSError:
        return SLOTS[1]  # nothing yet: the first goes into the first


def _highest(device: Path) -> int:
    """Return the highest installed release: the recorded one, and at least those in the slots."""
    try:
        written = int((device / RELEASE).read_text())
    except FileNotFoundError:
        written = 0
    except (OSError, ValueError) as error:
        raise InputError(f"{str(device / RELEASE)!r} is no number: nothing is installed.") from error
    lie_here = (_manifest_of(device / slot).get("release") for slot in SLOTS)
    return max(written, *(number if isinstance(number, int) else 0 for number in lie_here))


def _network_of(slot: Path) -> str | None:
    return _manifest_of(slot).get("network")


def _manifest_of(slot: Path) -> dict[str, Any]:
    """Return the unchecked manifest of a slot; empty where it cannot be read."""
    try:
        manifest = json.loads((slot / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def _is_signed(key: str, signature: bytes, manifest: bytes) -> bool:
    from coterie.registry.signature import is_attested  # noqa: PLC0415 - the check of a folder without it is refused first

    return is_attested(STATEMENT, manifest, key=key, signature=signature.hex())


def files_of(folder: Path) -> dict[str, str]:
    """Return everything that is no folder, by its path below; a link counts as a link, also one to a folder."""
    paths: dict[str, str] = {}
    left = [("", str(folder))]
    while left:
        above, directory = left.pop()
        with os.scandir(directory) as entries:
            for entry in entries:
                name = above + entry.name
                if entry.is_dir(follow_symlinks=False):
                    left.append((f"{name}/", entry.path))
                else:
                    paths[name] = entry.path
    return paths


def _sum(path: str) -> str:
    """Return the checksum of a plain file; empty for anything else, and for an unreadable file."""
    if not stat.S_ISREG(os.lstat(path).st_mode):
        return ""
    digest = sha256()
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return ""
    try:
        while block := os.read(file, _BLOCK):
            digest.update(block)
    finally:
        os.close(file)
    return digest.hexdigest()


def _system() -> tuple[str, str]:
    about = os.uname()
    return about.sysname, about.machine


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.partial")
    draft.write_text(text)
    _sync(draft)
    draft.replace(path)


def _refused(folder: Path, why: str) -> ArtefactRefused:
    return ArtefactRefused(f"The release in {str(folder)!r} {why}.", hint="Install a release that is whole.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
