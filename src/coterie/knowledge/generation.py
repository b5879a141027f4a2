"""Generations of an index: each a folder that is written once, and one file that says which of them counts.

A writer fills a folder beside the present one, makes sure that it is on the disk, and then lets the pointer name it by
a rename. Whoever is killed on the way leaves the old generation as it was.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

from coterie.errors import IndexBusy
from coterie.runtime.files import hold, replacing, sync, write_new

POINTER = "current"
_GENERATION = re.compile(r"^generation-(\d{1,12})$")


def present(folder: Path) -> Path | None:
    """The generation that counts, None if there is none yet. Asked by every search, so it costs a few system calls."""
    try:
        file = os.open(folder / POINTER, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        name = os.read(file, 64).decode("ascii", "replace").strip()
    finally:
        os.close(file)
    return folder / name if _GENERATION.match(name) else None


@contextmanager
def next_generation(folder: Path) -> Iterator[tuple[Path | None, Path]]:
    """The present generation and an empty folder that becomes the next one when the block ends without an error.

    The block must have closed every file it wrote. The caller holds the writer's lock.
    """
    old = present(folder)
    number = int(_GENERATION.sub(r"\1", old.name)) + 1 if old else 1
    _sweep(folder, keep=old)
    new = folder / f"generation-{number}"
    new.mkdir(mode=0o700)
    try:
        yield old, new
        written = list(new.rglob("*"))
        for path in written:  # libraries make their files as they like, and a copied folder may be open to others
            path.chmod(0o700 if path.is_dir() else 0o600)
        for path in (*written, new, folder):
            sync(path)
        with replacing(folder / POINTER) as draft:
            write_new(draft, new.name.encode("ascii"), mode=0o600)
    except BaseException:
        if present(folder) != new:
            shutil.rmtree(new, ignore_errors=True)
        raise
    _sweep(folder, keep=new)


@contextmanager
def sole_writer(path: Path, what: str) -> Iterator[None]:
    """Hold the lock of this file, which the system frees when its holder dies.

    Raises:
        IndexBusy: another process has it, or another task of this one.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            hold(file, wait=False)
        except OSError:
            raise IndexBusy(
                f"Another process is indexing {what} just now.",
                hint="Wait until it is done, then run the command again.",
            ) from None
        yield
    finally:
        os.close(file)  # frees the lock


def _sweep(folder: Path, *, keep: Path | None) -> None:
    """Take away every generation but one: what came before, and what a killed writer left behind.

    Readers that have files of it open keep them.
    """
    for path in folder.iterdir():
        if _GENERATION.match(path.name) and path != keep:
            shutil.rmtree(path, ignore_errors=True)


# --- The list of a generation's files with their checksums: what was written is what is read, or it is said which is
# not.
#
# The checksums (CRC-32) tell a disk's or a copy's errors, every changed byte among them. They keep nobody from
# changing a file and its checksum: whoever may write to the folder is trusted.

_FILE = "manifest.json"
_OWN = "checksum"
_AT_ONCE = 1024 * 1024
"""Bytes."""


class ShelfState(NamedTuple):
    """What a local shelf holds, as its present generation says."""

    documents: int
    chunks: int
    encoder: str
    """Checksum of the encoder that made its vectors."""


def shelf_state(folder: Path) -> ShelfState | None:
    """What a shelf's folder holds; None where nothing was indexed yet, or it cannot be read."""
    path = present(folder)
    try:
        content = json.loads((path / _FILE).read_text(encoding="utf-8")) if path else {}
        return ShelfState(int(content["documents"]), int(content["chunks"]), str(content["encoder_sha256"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_manifest(generation: Path, content: Mapping[str, object]) -> None:
    """Write it, with every file that is there by now but locks, which hold nothing."""
    paths = sorted(path for path in generation.rglob("*") if path.is_file() and path.suffix != ".lock")
    sums = {path.relative_to(generation).as_posix(): _checksum(path) for path in paths}
    sizes = {path.relative_to(generation).as_posix(): path.stat().st_size for path in paths}
    whole = {**content, "files": sizes, "checksums": sums}
    whole[_OWN] = _own(whole)
    (generation / _FILE).write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


def read_manifest(generation: Path) -> dict[str, Any]:
    """What it says, when it and all files are as they were written. An index of before has sizes only.

    Raises `OSError`, or `ValueError` or `KeyError` where something else is there.
    """
    content = json.loads((generation / _FILE).read_text(encoding="utf-8"))
    if _OWN in content and content[_OWN] != _own(content):
        raise ValueError(f"{_FILE} is not as it was written")
    for name, size in content["files"].items():
        if (found := (generation / name).stat().st_size) != size:
            raise ValueError(f"{name} has {found} bytes, not {size}")
    for name, known in content.get("checksums", {}).items():
        if _checksum(generation / name) != known:
            raise ValueError(f"{name} is not as it was written: its checksum is another")
    return dict(content)


def _own(content: Mapping[str, object]) -> int:
    """The checksum of everything else that it says."""
    said = {name: value for name, value in content.items() if name != _OWN}
    return crc32(json.dumps(said, sort_keys=True).encode())


def _checksum(path: Path) -> int:
    """Read piece by piece, so that the memory does not grow with the file."""
    found, piece = 0, bytearray(_AT_ONCE)
    view = memoryview(piece)
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(piece):
            found = crc32(view[:count], found)
    return found
