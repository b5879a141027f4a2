"""Files that outlive whatever kills a process: replaced at once, on the disk when it is said so, one writer at a time.

It knows nothing of what is in them, and gives the system's errors as they are: who calls knows what to say of them.
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
        """Take the lock of an open file, freed when it is closed; OSError where another has it and nobody waits."""
        msvcrt.locking(file, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def hold(file: int, *, wait: bool = True) -> None:
        """Take the lock of an open file, freed when it is closed; OSError where another has it and nobody waits."""
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)


PARTIAL = ".partial-"
"""How the names of files begin that are not yet what they are to be; what a killed process left can be found by it."""


@contextmanager
def locked(path: Path, *, mode: int = 0o644) -> Iterator[None]:
    """Hold the lock of this file against other threads and processes, waiting for whoever has it. The file stays."""
    file = os.open(path, os.O_RDWR | os.O_CREAT, mode)
    try:
        hold(file)
        yield
    finally:
        os.close(file)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to: when the block ends without an error, what is there takes its place at once.

    Whoever reads `path` sees the old content or all of the new, also after a cut of the power.
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
    """Write a file that is not there yet, and wait until its content is on the disk."""
    with open(path, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync(path: Path) -> None:
    """Wait until a file is on the disk, or a folder's list of names."""
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
    """Wait until nobody else edits this file, then let nobody until the block ends: no edit is lost.

    The lock is the file's own, and a file that `write_bytes` replaced is another one: so it is looked up again.
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
    """Write a file so that at any moment it has its old content or all of its new one."""
    write_with(path, lambda draft: draft.write_bytes(content))


def copy_file(source: Path, path: Path) -> None:
    """Copy a file so that `path` never holds half of it; missing folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_with(path, lambda draft: shutil.copyfile(source, draft))


def write_with(path: Path, fill: Callable[[Path], object]) -> None:
    """Let `fill` write a draft, which then takes the place of the file and has its permissions."""
    with replacing(path) as draft:
        fill(draft)
        if path.exists():
            draft.chmod(path.stat().st_mode)
