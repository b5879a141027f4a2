"""Generations of an index: each a folder that is written once, and one file that says which of them counts.

A writer fills a folder beside the present one, makes sure that it is on the disk, and then lets the pointer name it by
a rename. Whoever is killed on the way leaves the old generation as it was.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from coterie._durable import hold, replacing, sync, write_new
from coterie.errors import IndexBusy

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
