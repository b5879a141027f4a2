"""Files: found where the user means, written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from coterie.errors import InputError
from coterie.runtime.files import hold, replacing


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


def find_file(folder: Path, given: Path) -> Path:
    """A file that somebody named: looked for where they are, then in the network's folder. Raises `InputError`."""
    found = next((path for path in (given, folder / given) if path.is_file()), None)
    if found is None:
        raise InputError(
            f"No data file {str(given)!r}, neither here ({str(Path.cwd())!r}) nor in the network's folder.",
            hint="Give the path of a CSV or JSONL file.",
        )
    return found


def check_writable(option: str, path: Path | None) -> None:
    """Refuse a file that could not be written, before the work that ends with it. Raises `InputError`."""
    if path is None:
        return
    folder = path.parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        found = "that is a folder" if path.is_dir() else f"{str(folder)!r} is no folder that may be written to"
        raise InputError(f"{option} is {str(path)!r}; {found}.", hint="Name a file in a folder that is there.")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that at any moment it has its old content or all of its new one."""
    _replace(path, lambda draft: draft.write_bytes(content))


def write_private(path: Path, content: bytes) -> None:
    """The same for a file that holds what people said: readable by this user only. Raises `InputError`."""

    def fill(draft: Path) -> None:
        draft.touch(mode=0o600, exist_ok=False)
        draft.write_bytes(content)

    try:
        _replace(path, fill)
    except OSError as error:
        raise InputError(f"Cannot write {str(path)!r}: {error.strerror or error}.") from error


def copy_file(source: Path, path: Path) -> None:
    """Copy a file so that `path` never holds half of it; missing folders are made."""
    from shutil import copyfile

    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(path, lambda draft: copyfile(source, draft))


def _replace(path: Path, fill: Callable[[Path], object]) -> None:
    with replacing(path) as draft:
        fill(draft)
        if path.exists():
            draft.chmod(path.stat().st_mode)
