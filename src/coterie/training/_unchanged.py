"""What a version says of its data is true only if the files are still those that were read."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from coterie.errors import DataError

_SHOWN = 12  # digits of a checksum in a message


def check_unchanged(name: str, read: Mapping[Path, str]) -> None:
    """Refuse to store what was trained if one of its files has other content by now.

    Args:
        name: The specialist.
        read: SHA-256 of each file when it was read.

    Raises:
        DataError: a file has changed, or is gone.
    """
    for path, before in read.items():
        try:
            with path.open("rb") as file:
                now = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise _changed(name, path, f"it cannot be read any more: {error.strerror or error}") from error
        if now != before:
            raise _changed(name, path, f"its SHA-256 was {before[:_SHOWN]} and is {now[:_SHOWN]}")


def _changed(name: str, path: Path, found: str) -> DataError:
    return DataError(
        f"{path.name} changed while {name!r} was trained: {found}. Nothing was stored.",
        hint="Train again when nobody writes to it, or from a copy.",
    )
