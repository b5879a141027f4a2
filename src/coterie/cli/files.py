"""Files: found where the user means, written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from coterie.errors import InputError
from coterie.runtime.files import write_with


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


def write_private(path: Path, content: bytes) -> None:
    """Write a file that holds what people said: whole, and readable by this user only. Raises `InputError`."""

    def fill(draft: Path) -> None:
        draft.touch(mode=0o600, exist_ok=False)
        draft.write_bytes(content)

    try:
        write_with(path, fill)
    except OSError as error:
        raise InputError(f"Cannot write {str(path)!r}: {error.strerror or error}.") from error
