"""Files that are there whole or not at all, whatever kills the process, and one writer at a time.

It knows nothing of versions and aliases.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from coterie.errors import ArtefactRefused, SetupError
from coterie.runtime.codec import parse_json
from coterie.runtime.files import PARTIAL, replacing, sync, write_new

# --- A version's manifest: which files it holds, each with its checksum. Its own checksum names the version.

MANIFEST = "manifest.json"
KINDS = (".safetensors", ".onnx", ".gguf", ".json", ".md")
"""Suffixes of a version's files: formats that hold data and run no code when they are read."""

_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_VERSION = re.compile(r"[0-9a-f]{16}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def write_manifest(files: Mapping[str, bytes]) -> bytes:
    """The manifest of these files, the same bytes for the same content."""
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return (json.dumps(sums, sort_keys=True, indent=1) + "\n").encode()


def version_of(manifest: bytes) -> str:
    """The version that a manifest names: the first 16 hex digits of its SHA-256."""
    return hashlib.sha256(manifest).hexdigest()[:16]


def read_manifest(manifest: bytes) -> dict[str, str]:
    """Checksums by file name. Raises `ValueError` if it is no manifest of ours."""
    sums = parse_json(manifest)
    if not isinstance(sums, dict) or not all(
        _FILE.fullmatch(name) and isinstance(digest, str) and _SHA256.fullmatch(digest) for name, digest in sums.items()
    ):
        raise ValueError("no mapping of file names to SHA-256 sums")
    return sums


def check_name(name: str) -> str:
    """A specialist's or alias's name as it is, if it can be the name of a folder and nothing else.

    Raises `ArtefactRefused` where it is not.
    """
    if not _NAME.fullmatch(name):
        raise ArtefactRefused(
            f"{name!r} cannot name a specialist or an alias in the registry.",
            hint="Use lower-case letters, digits, - and _, beginning with a letter, at most 63.",
        )
    return name


def check_version(version: str) -> str:
    """A version as it is, if it has the form of one. Raises `ArtefactRefused` where it is not."""
    if not _VERSION.fullmatch(version):
        raise ArtefactRefused(f"{version!r} is no version.", hint="A version is 16 hexadecimal digits.")
    return version


def check_files(names: Iterable[str]) -> None:
    """Refuse file names that could lie outside the folder or clash on some file system, and kinds that run code.

    Raises `ArtefactRefused` where one is not.
    """
    seen = {MANIFEST}
    for name in names:
        if not _FILE.fullmatch(name):
            raise ArtefactRefused(
                f"{name!r} cannot be a file of a version.", hint="Use letters, digits, dots, - and _; no folders."
            )
        if not is_kind(name):
            raise ArtefactRefused(
                f"{name!r} is of a kind that no version holds.", hint=f"A version holds {', '.join(KINDS)}."
            )
        if name.lower() in seen:
            raise ArtefactRefused(f"{name!r} clashes with another file of the version.", hint="Rename one of them.")
        seen.add(name.lower())


def is_version(name: str) -> bool:
    """Whether a folder's name has the form of a version."""
    return _VERSION.fullmatch(name) is not None


def is_kind(file: str) -> bool:
    """Whether a version may hold such a file."""
    return file.endswith(KINDS)


def refused(folder: Path, file: str, why: str) -> ArtefactRefused:
    """The error about a file of a version."""
    hint = f"Remove the folder {str(folder)!r} and train again, or restore it from a copy."
    return ArtefactRefused(f"{file} in {str(folder)!r} {why}.", hint=hint)


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
def explaining(doing: str) -> Iterator[None]:
    """The file system's errors as ours. Raises `SetupError` for an `OSError`."""
    try:
        yield
    except OSError as error:
        raise SetupError(
            f"Cannot {doing}: {error.strerror or error}.",
            hint="Check that the folder is writable and the disk has space.",
        ) from error
