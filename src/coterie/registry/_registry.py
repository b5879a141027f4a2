"""The folder of versions: written whole or not at all, read only if every byte is as it was written.

    ROOT/triage/4f0c…/          a version: its files and `manifest.json`
    ROOT/triage/champion        an alias: the version it stands for
    ROOT/triage/.partial-…/     a version being written; a leftover is removed when the next one is added
    ROOT/triage/.lock           held while one is added

Notable: a version is a pure function of its content, so adding the same content twice gives the same version.
It knows nothing of what the files mean. A checksum shows damage and tampering with single files; it is no signature:
who can write a whole folder and the alias can put another version there.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from coterie.errors import ArtefactRefused, NotTrained, SetupError

from ._manifest import (
    MANIFEST,
    check_files,
    check_name,
    check_version,
    is_version,
    read_manifest,
    version_of,
    write_manifest,
)

REGISTRY_FOLDER = "registry"
"""The registry's folder inside a network's."""

_PARTIAL = ".partial-"
_LOCK = ".lock"


@dataclass(frozen=True, kw_only=True)
class Version:
    """One trained specialist, every byte of it checked."""

    name: str
    version: str
    folder: Path
    files: Mapping[str, bytes]
    """Content by file name, the manifest excluded: what was checked, not what the folder may hold by now."""

    @property
    def report(self) -> dict[str, object]:
        """How it was trained and what it reaches; empty if it has no `report.json`."""
        try:
            report = json.loads(self.files.get("report.json", b"{}"))
        except ValueError:
            report = None
        if not isinstance(report, dict):
            raise ArtefactRefused(
                f"report.json of {self.name!r} version {self.version} is no JSON object.", hint=_again(self.name)
            )
        return report


class Registry:
    """Versions of specialists below one folder. Several processes may add, promote and read at once.

    Args:
        root: The folder; made when the first version is added.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def add(self, name: str, files: Mapping[str, bytes]) -> str:
        """Store a version and return its name. Content that is there already is checked and left as it is.

        Raises:
            ArtefactRefused: a name could lead out of the folder, or the version is there and damaged.
            SetupError: it cannot be written; nothing of it is left.
        """
        check_name(name)
        check_files(files)
        manifest = write_manifest(files)
        version = version_of(manifest)
        home = self.root / name
        with _told(f"add a version of {name!r} to {str(self.root)!r}"):
            home.mkdir(parents=True, exist_ok=True)
            with _locked(home):
                _remove_partials(home)
                if (home / version).exists():
                    self.load(name, version)
                else:
                    _write_folder(home, version, {**files, MANIFEST: manifest})
        return version

    def promote(self, name: str, version: str, alias: str = "champion") -> None:
        """Let an alias stand for a version, at once for whoever reads it next.

        Raises:
            ArtefactRefused: there is no such version, or it is damaged.
            SetupError: the alias cannot be written; it stands for what it stood for.
        """
        self.load(name, version)
        home = self.root / check_name(name)
        with _told(f"promote {name!r} version {version}"), _locked(home):
            _replace_file(home / check_name(alias), f"{version}\n".encode())

    def champion(self, name: str, alias: str = "champion") -> Version:
        """The version that an alias stands for.

        Raises:
            NotTrained: nothing was promoted yet.
            ArtefactRefused: the alias or the version is damaged.
        """
        path = self.root / check_name(name) / check_name(alias)
        with _told(f"read {str(path)!r}"):
            try:
                version = path.read_text(encoding="ascii").strip()
            except FileNotFoundError:
                raise NotTrained(f"Specialist {name!r} has no {alias} version.", hint=_again(name)) from None
            except UnicodeDecodeError:
                version = ""
        if not is_version(version):
            raise ArtefactRefused(f"The alias file {str(path)!r} holds no version.", hint=_again(name))
        return self.load(name, version)

    def versions(self, name: str) -> tuple[str, ...]:
        """Every stored version of a specialist, oldest first. They are not checked: `load` does that."""
        home = self.root / check_name(name)
        with _told(f"list {str(home)!r}"):
            if not home.is_dir():
                return ()
            found = [path for path in home.iterdir() if is_version(path.name)]
            return tuple(path.name for path in sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name)))

    def load(self, name: str, version: str) -> Version:
        """A version with its files, every one of them checked against the manifest, and that against its name.

        Raises:
            ArtefactRefused: there is no such version, or a file is changed, cut short, missing or too many.
        """
        folder = self.root / check_name(name) / check_version(version)
        with _told(f"read {str(folder)!r}"):
            found = _read_folder(folder)
        if found is None:
            raise ArtefactRefused(f"Specialist {name!r} has no version {version}.", hint=_again(name))
        files = _checked(folder, version, found)
        return Version(name=name, version=version, folder=folder, files=files)


def _checked(folder: Path, version: str, found: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files of a version, if they are exactly those it was named after."""
    manifest = found.get(MANIFEST)
    if manifest is None or version_of(manifest) != version:
        raise _refused(folder, MANIFEST, "is missing" if manifest is None else "does not match the version's name")
    try:
        sums = read_manifest(manifest)
    except ValueError as error:
        raise _refused(folder, MANIFEST, f"is none: {error}") from error
    for name in sorted(sums.keys() | (found.keys() - {MANIFEST})):
        if name not in sums:
            raise _refused(folder, name, "does not belong to the version")
        if name not in found:
            raise _refused(folder, name, "is missing")
        if hashlib.sha256(found[name]).hexdigest() != sums[name]:
            raise _refused(folder, name, f"is not what was stored ({len(found[name])} bytes, wrong checksum)")
    return {name: found[name] for name in sums}


def _refused(folder: Path, file: str, why: str) -> ArtefactRefused:
    hint = f"Remove the folder {str(folder)!r} and train again, or restore it from a copy."
    return ArtefactRefused(f"{file} in {str(folder)!r} {why}.", hint=hint)


def _again(name: str) -> str:
    return f"Run: coterie train {name}"


# --- Files ---------------------------------------------------------------------------------------


def _read_folder(folder: Path) -> dict[str, bytes] | None:
    """Every file's content by name, None if there is no such folder. Links and folders in it are refused."""
    if folder.is_symlink() or not folder.is_dir():
        return None
    files = {}
    for path in folder.iterdir():
        if not stat.S_ISREG(path.lstat().st_mode):
            raise _refused(folder, path.name, "is no plain file")
        files[path.name] = path.read_bytes()
    return files


def _write_folder(home: Path, version: str, files: Mapping[str, bytes]) -> None:
    """Write a version's folder under another name, then give it its own: it is there whole or not at all."""
    partial = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=home))
    try:
        for name, content in files.items():
            _write_file(partial / name, content)
        partial.chmod(0o755)
        _sync_folder(partial)
        partial.rename(home / version)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    _sync_folder(home)


def _write_file(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _replace_file(path: Path, content: bytes) -> None:
    """Give a file new content at once: whoever reads it sees the old or the new."""
    partial = path.with_name(f"{_PARTIAL}{path.name}")
    try:
        partial.unlink(missing_ok=True)
        _write_file(partial, content)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make a folder's list of names survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_partials(home: Path) -> None:
    """Remove what a killed process left. With the lock held, nobody is writing it any more."""
    for path in home.glob(f"{_PARTIAL}*"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    """One at a time, across threads and processes; a killed holder lets go."""
    descriptor = os.open(home / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _told(doing: str) -> Iterator[None]:
    """The file system's errors as ours."""
    try:
        yield
    except OSError as error:
        raise SetupError(
            f"Cannot {doing}: {error.strerror or error}.",
            hint="Check that the folder is writable and the disk has space.",
        ) from error
