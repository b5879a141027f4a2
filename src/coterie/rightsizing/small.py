"""The small generative model of a version with an adapter. The measuring child imports it only when needed."""

from __future__ import annotations

from pathlib import Path

from coterie.config.file import LlamaModel
from coterie.config.specialists import SpecialistSection
from coterie.engines.llama import LlamaEngine
from coterie.models.catalogue import locate
from coterie.registry.version import Version
from coterie.specialists.artefacts import ADAPTER_FILE


def open_small(section: SpecialistSection, model: LlamaModel | None, version: Version) -> dict[str, LlamaEngine]:
    """Open the section's model with the version's adapter, by the key that the section names; empty without an adapter.

    Args:
        section: The section of the version.
        model: The model of that key; a path is relative to the working directory.
        version: The version, with the specialist's name.
    """
    if model is None or ADAPTER_FILE not in version.files:
        return {}
    adapters = {version.name: version.folder / ADAPTER_FILE}
    engine = LlamaEngine.configured(str(section.model), model, locate(model, Path()), adapters=adapters)
    return {str(section.model): engine}
