"""One stored version: read only if every byte is as it was written, and signed as is wanted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from coterie.errors import ArtefactRefused
from coterie.registry.files import (
    KINDS,
    MANIFEST,
    is_kind,
    list_folder,
    read_folder,
    read_manifest,
    refused,
    version_of,
)
from coterie.registry.signature import SIGNATURE, UNSIGNED, Signature, Trust, check_signature
from coterie.runtime.codec import parse_json

_LARGE = 1 << 20
"""Bytes of a file beyond which it is not kept in memory: weights are given to native code, which has its own copy."""


@dataclass(frozen=True, kw_only=True)
class Version:
    """One trained specialist, every byte of it checked."""

    name: str
    version: str
    folder: Path
    files: Mapping[str, bytes]
    """Content by file name, manifest and signature excluded: what was checked, not what the folder may hold by now.

    Files of more than a megabyte are not kept in memory: they are read, and checked again, when they are asked for.
    """
    manifest: bytes = b""
    signature: Signature = UNSIGNED

    @property
    def size(self) -> int:
        """Bytes of its files on disk."""
        return sum(map(self.size_of, self.files))

    def size_of(self, file: str) -> int:
        """Bytes of one of its files on disk; 0 if it has none of this name."""
        path = self.folder / file
        return path.stat().st_size if file in self.files and path.is_file() else 0

    @property
    def report(self) -> dict[str, object]:
        """How it was trained and what it reaches; empty if it has no `report.json`."""
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
    """A version of the specialist whose folder this is. Raises `ArtefactRefused`."""
    folder = home / version
    found = read_folder(folder)
    if found is None:
        raise ArtefactRefused(f"Specialist {home.name!r} has no version {version}.", hint=train_again(home.name))
    signed = found.pop(SIGNATURE, None)
    files = _checked(folder, version, found)
    try:
        signature = check_signature(home.name, found[MANIFEST], signed, trust)
    except ValueError as error:
        raise refused(folder, SIGNATURE, str(error)) from error
    return Version(
        name=home.name, version=version, folder=folder, files=files, manifest=found[MANIFEST], signature=signature
    )


def outline_version(home: Path, version: str, trust: Trust) -> Version:
    """A version whose files are read, and checked, when they are asked for. Raises `ArtefactRefused`.

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
    """Files whose content is that of a manifest; of those not kept only the checksum is."""

    def __init__(self, folder: Path, sums: Mapping[str, str], found: Mapping[str, bytes]) -> None:
        self._folder = folder
        self._sums = dict(sums)
        self._small = {name: content for name, content in found.items() if len(content) <= _LARGE}

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


def _checked(folder: Path, version: str, found: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """The files of a version, if they are exactly those it was named after."""
    sums = _sums(folder, version, found.get(MANIFEST), found.keys())
    for name in sorted(sums):
        if hashlib.sha256(found[name]).hexdigest() != sums[name]:
            raise refused(folder, name, f"is not what was stored ({len(found[name])} bytes, wrong checksum)")
    return _Files(folder, sums, {name: found[name] for name in sums})


def _sums(folder: Path, version: str, manifest: bytes | None, found: AbstractSet[str]) -> Mapping[str, str]:
    """The checksums of a version's files, if the files that were found are those of its manifest."""
    if manifest is None or version_of(manifest) != version:
        raise refused(folder, MANIFEST, "is missing" if manifest is None else "does not match the version's name")
    try:
        sums = read_manifest(manifest)
    except ValueError as error:
        raise refused(folder, MANIFEST, f"is none: {error}") from error
    for name in sorted(sums.keys() | (found - {MANIFEST})):
        if not is_kind(name):
            raise refused(folder, name, f"is of a kind that no version holds (only {', '.join(KINDS)})")
        if name not in sums:
            raise refused(folder, name, "does not belong to the version")
        if name not in found:
            raise refused(folder, name, "is missing")
    return sums


def written(folder: Path) -> int:
    """When a version was written, in nanoseconds; a signature that came later does not count."""
    manifest = folder / MANIFEST
    return (manifest if manifest.is_file() else folder).stat().st_mtime_ns


def train_again(name: str) -> str:
    """The hint where a version is missing or of no use."""
    return f"Run: coterie train {name}"
