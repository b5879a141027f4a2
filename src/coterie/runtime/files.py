"""Files that survive a killed process: replaced atomically, synced to the disk on request, one writer at a time.

This module does not know the content of the files. It raises the system's errors unchanged: the caller knows how to
explain them.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def hold(file: int, *, wait: bool = True) -> None:
        """Lock an open file until it is closed; raise OSError if another process holds the lock and `wait` is False."""
        msvcrt.locking(file, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def hold(file: int, *, wait: bool = True) -> None:
        """Lock an open file until it is closed; raise OSError if another process holds the lock and `wait` is False."""
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)


PARTIAL = ".partial-"
"""Beginning of the names of unfinished files, by which the leftovers of a killed process can be found."""


@contextmanager
def locked(path: Path, *, mode: int = 0o644) -> Iterator[None]:
    """Hold the lock of this file against other threads and processes, and wait for the lock first. The file stays."""
    file = os.open(path, os.O_RDWR | os.O_CREAT, mode)
    try:
        hold(file)
        yield
    finally:
        os.close(file)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a name beside `path` to write to, and replace `path` with that file when the block ends without an error.

    A reader of `path` sees the old content or all of the new one, also after a power failure.
    """
    draft = path.with_name(f"{PARTIAL}{path.name}.{os.urandom(4).hex()}")
    try:
        yield draft
        sync(draft)
        draft.replace(path)
        sync(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def write_new(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Write a file that does not exist yet, and wait until its content is on the disk."""
    with open(path, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk."""
    if sys.platform == "win32" and path.is_dir():
        return  # a folder cannot be opened there
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno != errno.EINVAL or not path.is_dir():  # some file systems of networks sync no folder
            raise
    finally:
        os.close(file)


@contextmanager
def sole_editor(path: Path) -> Iterator[None]:
    """Wait until no other process edits this file, and keep others out until the block ends, so that no edit is lost.

    The lock belongs to the file itself, and a file that `write_bytes` replaced is a different one. Therefore the file
    is opened again after the wait.
    """
    if os.name == "nt":  # a locked file could not be replaced
        yield
        return
    while True:
        with path.open("rb") as file:
            hold(file.fileno())
            if path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                yield
                return


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that it has its old content or all of its new one at any moment."""
    write_with(path, lambda draft: draft.write_bytes(content))


def copy_file(source: Path, path: Path) -> None:
    """Copy a file so that `path` never holds half of it; create missing folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_with(path, lambda draft: shutil.copyfile(source, draft))


def write_with(path: Path, fill: Callable[[Path], object]) -> None:
    """Let `fill` write a draft, which then replaces the file and keeps its permissions."""
    with replacing(path) as draft:
        fill(draft)
        if path.exists():
            draft.chmod(path.stat().st_mode)
