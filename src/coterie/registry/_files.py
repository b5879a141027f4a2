"""Files that are there whole or not at all, whatever kills the process, and one writer at a time.

It knows nothing of versions and aliases.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from coterie._durable import PARTIAL, replacing, sync, write_new
from coterie.errors import SetupError

from ._manifest import refused

LOCK = ".lock"
"""The file in a registry's folder whose lock its one writer holds."""


def read_folder(folder: Path) -> dict[str, bytes] | None:
    """Every file's content by name, None if there is no such folder. Links and folders in it are refused."""
    names = list_folder(folder)
    return None if names is None else {name: (folder / name).read_bytes() for name in names}


def list_folder(folder: Path) -> set[str] | None:
    """Every file's name, None if there is no such folder. Links and folders in it are refused."""
    if folder.is_symlink() or not folder.is_dir():
        return None
    names = set()
    for path in folder.iterdir():
        if not stat.S_ISREG(path.lstat().st_mode):
            raise refused(folder, path.name, "is no plain file")
        names.add(path.name)
    return names


def write_folder(home: Path, name: str, files: Mapping[str, bytes]) -> None:
    """Write a folder below `home` under another name, then give it its own: it is there whole or not at all."""
    partial = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=home))
    try:
        for file, content in files.items():
            write_new(partial / file, content)
        partial.chmod(0o755)
        sync(partial)
        partial.rename(home / name)
        sync(home)
    except BaseException:
        for folder in (partial, home / name):
            shutil.rmtree(folder, ignore_errors=True)
        raise


def remove_folder(home: Path, name: str) -> None:
    """Remove a folder below `home`, so that it is there whole or not at all; nothing if it is not there."""
    if not (home / name).is_dir():
        return
    partial = home / f"{PARTIAL}{name}"
    (home / name).rename(partial)
    shutil.rmtree(partial, ignore_errors=True)
    sync(home)


def replace_file(path: Path, content: bytes) -> None:
    """Give a file new content at once: whoever reads it sees the old or the new."""
    with replacing(path) as draft:
        draft.write_bytes(content)


def append_line(path: Path, line: bytes) -> None:
    """Add a line to a file, on disk when this returns. A line that a killed process left unfinished is removed."""
    with path.open("ab+") as file:
        file.seek(0)
        content = file.read()
        if not content.endswith(b"\n"):
            file.truncate(content.rfind(b"\n") + 1)
        file.write(line + b"\n")
        file.flush()
        os.fsync(file.fileno())
    sync(path.parent)


def remove_partials(home: Path) -> None:
    """Remove what a killed process left. With the lock held, nobody is writing it any more."""
    for path in home.glob(f"{PARTIAL}*"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextmanager
def told(doing: str) -> Iterator[None]:
    """The file system's errors as ours."""
    try:
        yield
    except OSError as error:
        raise SetupError(
            f"Cannot {doing}: {error.strerror or error}.",
            hint="Check that the folder is writable and the disk has space.",
        ) from error
