"""The causal model that an adapter is trained on: the GGUF file of a `[models]` entry, not loaded here."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from coterie.config.file import LlamaModel
from coterie.engines.gguf import read_gguf_header
from coterie.errors import ArtefactRefused, ExtraMissing
from coterie.models.catalogue import CATALOGUE
from coterie.models.files import checksum_of
from coterie.models.locate import locate, snapshot_of

_PACKAGES = ("torch", "transformers", "peft", "gguf")
ARCHITECTURES = ("llama",)
"""GGUF architectures whose adapters are known to mean the same in llama.cpp: each has its own order of weights."""


@dataclass(frozen=True, kw_only=True)
class CausalBase:
    """A causal model's file, which is what serves too: an adapter is trained on the very weights it will correct."""

    key: str
    """Of its `[models]` entry."""
    name: str
    """As that entry has it."""
    path: Path
    sha256: str
    licence: str | None
    repository: str
    """Of the unquantised weights on the hub, which the adapter's PEFT folder names; the name where nobody knows."""


def find_causal_base(key: str, model: LlamaModel, network_folder: Path) -> CausalBase:
    """The base of a `[models]` entry.

    Raises:
        ExtraMissing: what fine-tuning needs is not installed.
        ModelMissing, ArtefactRefused: its file is not here, or not what it should be.
    """
    if missing := [package for package in _PACKAGES if find_spec(package) is None]:
        raise ExtraMissing(
            f"Tuning the model {key!r} needs the package {missing[0]!r}, which is not installed.",
            hint="Install it: pip install 'coterie[train]'",
        )
    path = locate(model, network_folder)
    if (found := read_gguf_header(path).architecture) not in ARCHITECTURES:
        raise ArtefactRefused(
            f"Model {key!r} is of architecture {found!r}; adapters are trained for {', '.join(ARCHITECTURES)}.",
            hint="Name another model, or leave the rung 'slm' out.",
        )
    known, snapshot = CATALOGUE.get(model.name), snapshot_of(model.name)
    stated, repository = (snapshot.licence, snapshot.origin) if snapshot else (None, model.name)
    return CausalBase(
        key=key,
        name=model.name,
        path=path,
        sha256=known.sha256 if known else checksum_of(path),
        licence=known.licence if known else model.licence or stated,
        repository=known.original if known else repository,
    )
