"""Where pulled models lie, and the checksums of files. Never uses the network."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import platformdirs

from coterie.errors import ArtefactRefused, ModelMissing

HOME_VARIABLE = "COTERIE_HOME"
_CHUNK = 1 << 20


def models_folder() -> Path:
    """Where pulled models are kept: `$COTERIE_HOME/models`, or the user's cache folder."""
    home = os.environ.get(HOME_VARIABLE)
    return (Path(home).expanduser() if home else platformdirs.user_cache_path("coterie")) / "models"


def checksum_of(path: Path) -> str:
    """A file's SHA-256, remembered beside it for as long as its size and times of change stay the same.

    One of the two times is the system's own, which nobody can put back.
    """
    facts = path.stat()
    note = path.with_name(f"{path.name}.sha256.json")
    expected = {"size": facts.st_size, "mtime_ns": facts.st_mtime_ns, "ctime_ns": facts.st_ctime_ns}
    with suppress(OSError, ValueError, AttributeError, KeyError):
        remembered = json.loads(note.read_text(encoding="utf-8"))
        if {key: remembered.get(key) for key in expected} == expected:
            return str(remembered["sha256"])
    checksum = hash_file(path)
    with suppress(OSError):  # the folder may be read-only: then it is computed again next time
        note.write_text(json.dumps({"sha256": checksum, **expected}) + "\n", encoding="utf-8")
    return checksum


def hash_file(path: Path, *, tick: Callable[[int], None] | None = None) -> str:
    """A file's SHA-256, computed; `tick` gets the number of bytes just read."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            if tick is not None:
                tick(len(chunk))
    return digest.hexdigest()


def verify(path: Path, expected: str, hint: str) -> None:
    """Hold a file against its pinned checksum. Raises `ModelMissing` or `ArtefactRefused`, with this hint."""
    try:
        found = checksum_of(path)
    except OSError as error:
        raise ModelMissing(f"{str(path)!r} cannot be read: {error.strerror or error}.", hint=hint) from error
    if found != expected:
        raise ArtefactRefused(
            f"Model file {str(path)!r} has the checksum {found}, not the pinned {expected}.", hint=hint
        )
