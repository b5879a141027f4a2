"""The list of a generation's files with their checksums: what was written is what is read, or it is said which is not.

The checksums (CRC-32) tell a disk's or a copy's errors, every changed byte among them. They keep nobody from changing a
file and its checksum: whoever may write to the folder is trusted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

from ._generation import present

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
