"""Files of pulled models, their checksums, and snapshots of several files. Never uses the network."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Self

import numpy as np
import platformdirs

from coterie.errors import ArtefactRefused, ModelMissing
from coterie.runtime.codec import parse_json

HOME_VARIABLE = "COTERIE_HOME"
_CHUNK = 1 << 20


def models_folder() -> Path:
    """Return the folder of pulled models: `$COTERIE_HOME/models`, or the user's cache folder."""
    home = os.environ.get(HOME_VARIABLE)
    return (Path(home).expanduser() if home else platformdirs.user_cache_path("coterie")) / "models"


def checksum_of(path: Path) -> str:
    """Return a file's SHA-256, cached beside the file for as long as its size and times of change stay the same.

    One of the two times is set by the system, and nobody can reset it.
    """
    facts = path.stat()
    note = path.with_name(f"{path.name}.sha256.json")
    expected = {"size": facts.st_size, "mtime_ns": facts.st_mtime_ns, "ctime_ns": facts.st_ctime_ns}
    with suppress(OSError, ValueError, AttributeError, KeyError):
        remembered = parse_json(note.read_text(encoding="utf-8"))
        if {key: remembered.get(key) for key in expected} == expected:
            return str(remembered["sha256"])
    checksum = hash_file(path)
    with suppress(OSError):  # the folder may be read-only: then it is computed again next time
        note.write_text(json.dumps({"sha256": checksum, **expected}) + "\n", encoding="utf-8")
    return checksum


def hash_file(path: Path) -> str:
    """Compute a file's SHA-256."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def verify(path: Path, expected: str, hint: str) -> None:
    """Compare a file with its pinned checksum. Raises `ModelMissing` or `ArtefactRefused`, with this hint."""
    try:
        actual = checksum_of(path)
    except OSError as error:
        raise ModelMissing(f"{str(path)!r} cannot be read: {error.strerror or error}.", hint=hint) from error
    if actual != expected:
        raise ArtefactRefused(
            f"Model file {str(path)!r} has the checksum {actual}, not the pinned {expected}.", hint=hint
        )


def bundled_arrays(file: Path, sha256: str) -> dict[str, np.ndarray]:
    """Read the arrays of a safetensors file that ships with the package.

    Raises:
        ArtefactRefused: the file does not match its checksum, or is no safetensors file.
    """
    from safetensors import SafetensorError  # noqa: PLC0415 - only for those who read such a file
    from safetensors.numpy import load  # noqa: PLC0415

    content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ArtefactRefused(
            f"The file {file.name!r} of the package is not the one that it was made with.",
            hint="Install the package again.",
        )
    try:
        return load(content)
    except SafetensorError as error:
        raise ArtefactRefused(f"The file {file.name!r} of the package cannot be read: {error}.") from error


# --- Snapshots: models of several files, from the hub or a Python package.

SNAPSHOT_FILE = "snapshot.json"
_HUB = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[\w.-]+))?", re.ASCII)
_PACKAGE = re.compile(r"package:(?P<name>[A-Za-z0-9][\w.-]*)(?:==(?P<revision>[\w.!+-]+))?", re.ASCII)
_SEPARATORS = re.compile(r"[-_.]+")
_CARD_HEAD = re.compile(r"---\n(.*?)\n---", re.DOTALL)
_CARD_LICENCE = re.compile(r"^license:\s*[\"']?([\w.+-]+)", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a model is published: `OWNER/NAME[@REVISION]` on the hub, `package:NAME[==VERSION]` on a package index."""

    name: str
    """`OWNER/NAME`, or the package's name."""
    revision: str | None = None
    """The requested revision: a commit, tag or branch, or the package's version; None for any."""
    packaged: bool = False

    @classmethod
    def read(cls, text: str) -> Self | None:
        """Return the origin that a text names; None if it has another form."""
        if match := _HUB.fullmatch(text):
            return cls(name=match["name"], revision=match["revision"])
        if match := _PACKAGE.fullmatch(text):
            return cls(name=_SEPARATORS.sub("-", match["name"]).lower(), revision=match["revision"], packaged=True)
        return None

    def __str__(self) -> str:
        """Return the origin in the form that users write."""
        if self.packaged:
            return f"package:{self.name}" + (f"=={self.revision}" if self.revision else "")
        return self.name + (f"@{self.revision}" if self.revision else "")

    @property
    def folder(self) -> Path:
        """Folder of the files pulled from the origin."""
        return models_folder() / ("packages" if self.packaged else "hub") / self.name


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The files of a model on this machine."""

    origin: str
    """The origin, without a revision."""
    revision: str
    """The commit on the hub, or the version of the package."""
    asked: str | None
    """The requested branch or tag, if there was one."""
    licence: str | None
    files: Mapping[str, str]
    """Checksum of each file by its name, which may contain folders."""
    folder: Path

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Return the snapshot in a folder; None if nothing was pulled completely. Raises `ArtefactRefused`."""
        try:
            record = parse_json((folder / SNAPSHOT_FILE).read_text(encoding="utf-8"))
            return cls(
                origin=str(record["origin"]),
                revision=str(record["revision"]),
                asked=record["asked"],
                licence=record["licence"],
                files={str(name): str(checksum) for name, checksum in record["files"].items()},
                folder=folder,
            )
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ArtefactRefused(
                f"{str(folder / SNAPSHOT_FILE)!r} is damaged: {error}.",
                hint=f"Remove the folder {str(folder)!r} and pull the model again.",
            ) from error

    def content(self) -> str:
        """Return the content of `SNAPSHOT_FILE`."""
        record = {"origin": self.origin, "revision": self.revision, "asked": self.asked, "licence": self.licence}
        return json.dumps(record | {"files": dict(self.files)}, indent=1) + "\n"

    @property
    def bytes(self) -> int:
        """Bytes of all its existing files."""
        return sum(path.stat().st_size for name in self.files if (path := self.folder / name).is_file())


def read_origin_of_file(text: str) -> tuple[Origin, str] | None:
    """Return origin and file of `OWNER/NAME/FILE.gguf` or `package:NAME/FILE.gguf`; None for another form."""
    parts = text.split("/", 1 if text.startswith("package:") else 2)
    origin, file = Origin.read("/".join(parts[:-1])), parts[-1]
    return (origin, file) if origin is not None and file.endswith(".gguf") and ".." not in file else None


def locate_snapshot(origin: Origin, files: Sequence[str]) -> Snapshot:
    """Return the snapshot of an origin, with these of its files verified.

    Raises:
        ModelMissing: it is missing, or has another revision, or lacks one of the files; the hint is the command.
        ArtefactRefused: a file differs from what was pulled.
    """
    alone = f" --file {quote(files[0])}" if files and files[0].endswith(".gguf") else ""
    hint = f"Fetch it: coterie models pull {quote(str(origin))}{alone}"
    snapshot = Snapshot.read(origin.folder)
    if snapshot is None:
        raise ModelMissing(f"Model {str(origin)!r} is not on this machine ({str(origin.folder)!r}).", hint=hint)
    if origin.revision and origin.revision != snapshot.asked and not snapshot.revision.startswith(origin.revision):
        raise ModelMissing(f"Model {str(origin)!r} is here at revision {snapshot.revision!r} only.", hint=hint)
    for name in files:
        if name not in snapshot.files:
            raise ModelMissing(
                f"Model {str(origin)!r} is here without {name!r}; pulled were {', '.join(snapshot.files)}.", hint=hint
            )
        verify(snapshot.folder / name, snapshot.files[name], hint)
    return snapshot


def snapshots() -> Iterator[Snapshot]:
    """Yield all snapshots, by name."""
    for file in sorted(models_folder().glob(f"*/**/{SNAPSHOT_FILE}")):
        if (snapshot := Snapshot.read(file.parent)) is not None:
            yield snapshot


def licence_of_card(readme: Path) -> str | None:
    """Return the licence in the front matter of a model card of the hub; None if it names none."""
    head = _CARD_HEAD.match(readme.read_text(encoding="utf-8", errors="replace")) if readme.is_file() else None
    licence = _CARD_LICENCE.search(head[1]) if head else None
    return licence[1] if licence else None
