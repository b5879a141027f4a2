"""One stored version: written whole or not at all, read only if every byte is unchanged, and signed if required.

The module does not know the registry's folder of versions and aliases.
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
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from coterie.errors import ArtefactRefused, SetupError
from coterie.registry.signature import SIGNATURE, UNSIGNED, Signature, Trust, check_signature
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
    """Return the manifest of these files, the same bytes for the same content."""
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return (json.dumps(sums, sort_keys=True, indent=1) + "\n").encode()


def version_of(manifest: bytes) -> str:
    """Return the version that a manifest names: the first 16 hex digits of its SHA-256."""
    return hashlib.sha256(manifest).hexdigest()[:16]


def read_manifest(manifest: bytes) -> dict[str, str]:
    """Return the checksums by file name. Raises `ValueError` if it is not a valid manifest."""
    sums = parse_json(manifest)
    if not isinstance(sums, dict) or not all(
        _FILE.fullmatch(name) and isinstance(digest, str) and _SHA256.fullmatch(digest) for name, digest in sums.items()
    ):
        raise ValueError("no mapping of file names to SHA-256 sums")
    return sums


def check_name(name: str) -> str:
    """Return a specialist's or alias's name, if it can be the name of a folder and nothing else.

    Raises `ArtefactRefused` otherwise.
    """
    if not _NAME.fullmatch(name):
        raise ArtefactRefused(
            f"{name!r} cannot name a specialist or an alias in the registry.",
            hint="Use lower-case letters, digits, - and _, beginning with a letter, at most 63.",
        )
    return name


def check_version(version: str) -> str:
    """Return a version, if it has the form of one. Raises `ArtefactRefused` otherwise."""
    if not _VERSION.fullmatch(version):
        raise ArtefactRefused(f"{version!r} is no version.", hint="A version is 16 hexadecimal digits.")
    return version


def check_files(names: Iterable[str]) -> None:
    """Refuse file names that could lie outside the folder or clash on some file system, and kinds that run code.

    Raises `ArtefactRefused`.
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
    """Return whether a folder's name has the form of a version."""
    return _VERSION.fullmatch(name) is not None


def is_kind(file: str) -> bool:
    """Return whether a version may hold such a file."""
    return file.endswith(KINDS)


def refused(folder: Path, file: str, why: str) -> ArtefactRefused:
    """Return the error about a file of a version."""
    hint = f"Remove the folder {str(folder)!r} and train again, or restore it from a copy."
    return ArtefactRefused(f"{file} in {str(folder)!r} {why}.", hint=hint)


LOCK = ".lock"
"""Lock file in a registry's folder, held by its single writer."""


def read_folder(folder: Path) -> dict[str, bytes] | None:
    """Return every file's content by name, None if there is no such folder. Links and folders in it are refused."""
    names = list_folder(folder)
    return None if names is None else {name: (folder / name).read_bytes() for name in names}


def list_folder(folder: Path) -> set[str] | None:
    """Return every file's name, None if there is no such folder. Links and folders in it are refused."""
    if folder.is_symlink() or not folder.is_dir():
        return None
    names = set()
    for path in folder.iterdir():
        if not stat.S_ISREG(path.lstat().st_mode):
            raise refused(folder, path.name, "is no plain file")
        names.add(path.name)
    return names


def write_folder(home: Path, name: str, files: Mapping[str, bytes]) -> None:
    """Write a folder below `home` under a temporary name, then rename it, so that it exists whole or not at all."""
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
    """Remove a folder below `home`, so that it exists whole or not at all; do nothing if it does not exist."""
    if not (home / name).is_dir():
        return
    partial = home / f"{PARTIAL}{name}"
    (home / name).rename(partial)
    shutil.rmtree(partial, ignore_errors=True)
    sync(home)


def replace_file(path: Path, content: bytes) -> None:
    """Replace a file's content atomically: a reader sees the old or the new content."""
    with replacing(path) as draft:
        draft.write_bytes(content)


def append_line(path: Path, line: bytes) -> None:
    """Add a line to a file, on disk when this returns. An incomplete line of a killed process is removed."""
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
    """Remove folders that a killed process left. The caller holds the lock, so nobody is writing them any more."""
    for path in home.glob(f"{PARTIAL}*"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextmanager
def explaining(doing: str) -> Iterator[None]:
    """Convert errors of the file system into Coterie's own. Raises `SetupError` for an `OSError`."""
    try:
        yield
    except OSError as error:
        raise SetupError(
            f"Cannot {doing}: {error.strerror or error}.",
            hint="Check that the folder is writable and the disk has space.",
        ) from error


_LARGE = 1 << 20
"""Size in bytes above which a file is not kept in memory: native code keeps its own copy of weights."""


@dataclass(frozen=True, kw_only=True)
class Version:
    """One trained specialist, with every byte checked."""

    name: str
    version: str
    folder: Path
    files: Mapping[str, bytes]
    """Content by file name, without manifest and signature: as it was checked, not as the folder may be by now.

    Files of more than a megabyte are not kept in memory: they are read, and checked again, on access.
    """
    manifest: bytes = b""
    signature: Signature = UNSIGNED

    @property
    def size(self) -> int:
        """Size of the files on disk, in bytes."""
        return sum(map(self.size_of, self.files))

    def size_of(self, file: str) -> int:
        """Return the size of a file on disk, in bytes; 0 if there is none of this name."""
        path = self.folder / file
        return path.stat().st_size if file in self.files and path.is_file() else 0

    @property
    def report(self) -> dict[str, object]:
        """The training and its results; empty without `report.json`."""
        try:
            report = parse_json(self.files.get("report.json", b"{}"))
        except ValueError:
            report = None
        if not isinstance(report, dict):
            raise ArtefactRefused(
                f"report.json of {self.name!r} version {self.version} is no JSON object.", hint=train_again(self.name)
            )
        return report


def load_version(home: Path, version: str, trust: Trust) -> Version:
    """Load a version of the specialist whose folder this is. Raises `ArtefactRefused`."""
    folder = home / version
    contents = read_folder(folder)
    if contents is None:
        raise ArtefactRefused(f"Specialist {home.name!r} has no version {version}.", hint=train_again(home.name))
    signed = contents.pop(SIGNATURE, None)
    files = _checked(folder, version, contents)
    try:
        signature = check_signature(home.name, contents[MANIFEST], signed, trust)
    except ValueError as error:
        raise refused(folder, SIGNATURE, str(error)) from error
    return Version(
        name=home.name, version=version, folder=folder, files=files, manifest=contents[MANIFEST], signature=signature
    )


def outline_version(home: Path, version: str, trust: Trust) -> Version:
    """Return a version whose files are read, and checked, on access. Raises `ArtefactRefused`.

    Manifest, signature and the names of the files are checked now.
    """
    folder = home / version
    names = list_folder(folder)
    if names is None:
        raise ArtefactRefused(f"Specialist {home.name!r} has no version {version}.", hint=train_again(home.name))
    manifest, signed = (_read(folder, name) if name in names else None for name in (MANIFEST, SIGNATURE))
    sums = _sums(folder, version, manifest, names - {SIGNATURE})
    try:
        signature = check_signature(home.name, manifest or b"", signed, trust)
    except ValueError as error:
        raise refused(folder, SIGNATURE, str(error)) from error
    return Version(
        name=home.name,
        version=version,
        folder=folder,
        files=_Files(folder, sums, {}),
        manifest=manifest or b"",
        signature=signature,
    )


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise refused(folder, name, f"cannot be read ({error})") from error


class _Files(Mapping[str, bytes]):
    """Files with the content of a manifest; large files are read and checked on access."""

    def __init__(self, folder: Path, sums: Mapping[str, str], files: Mapping[str, bytes]) -> None:
        self._folder = folder
        self._sums = dict(sums)
        self._small = {name: content for name, content in files.items() if len(content) <= _LARGE}

    def __getitem__(self, name: str) -> bytes:
        if name in self._small or name not in self._sums:
            return self._small[name]
        try:
            content = (self._folder / name).read_bytes()
        except OSError as error:
            raise refused(self._folder, name, f"cannot be read any more ({error})") from error
        if hashlib.sha256(content).hexdigest() != self._sums[name]:
            raise refused(self._folder, name, f"is not what was stored ({len(content)} bytes, wrong checksum)")
        return content

    def __contains__(self, name: object) -> bool:
        return name in self._sums

    def __iter__(self) -> Iterator[str]:
        return iter(self._sums)

    def __len__(self) -> int:
        return len(self._sums)


def _checked(folder: Path, version: str, files: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """Return the files of a version, if they are exactly those it was named after."""
    sums = _sums(folder, version, files.get(MANIFEST), files.keys())
    for name in sorted(sums):
        if hashlib.sha256(files[name]).hexdigest() != sums[name]:
            raise refused(folder, name, f"is not what was stored ({len(files[name])} bytes, wrong checksum)")
    return _Files(folder, sums, {name: files[name] for name in sums})


def _sums(folder: Path, version: str, manifest: bytes | None, present: AbstractSet[str]) -> Mapping[str, str]:
    """Return the checksums of a version's files, if the files match its manifest."""
    if manifest is None or version_of(manifest) != version:
        raise refused(folder, MANIFEST, "is missing" if manifest is None else "does not match the version's name")
    try:
        sums = read_manifest(manifest)
    except ValueError as error:
        raise refused(folder, MANIFEST, f"is none: {error}") from error
    for name in sorted(sums.keys() | (present - {MANIFEST})):
        if not is_kind(name):
            raise refused(folder, name, f"is of a kind that no version holds (only {', '.join(KINDS)})")
        if name not in sums:
            raise refused(folder, name, "does not belong to the version")
        if name not in present:
            raise refused(folder, name, "is missing")
    return sums


def written(folder: Path) -> int:
    """Return when a version was written, in nanoseconds; a later signature does not count."""
    manifest = folder / MANIFEST
    return (manifest if manifest.is_file() else folder).stat().st_mtime_ns


def train_again(name: str) -> str:
    """Return the hint for a version that is missing or unusable."""
    return f"Run: coterie train {name}"
