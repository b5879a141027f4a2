"""The small generative model of a version that has an adapter. The measuring child imports it only for such a one."""

from __future__ import annotations

from pathlib import Path

from coterie.config.file import LlamaModel
from coterie.config.specialists import SpecialistSection
from coterie.engines.llama import LlamaEngine
from coterie.models.catalogue import locate
from coterie.registry.version import Version
from coterie.specialists.artefacts import ADAPTER_FILE


def open_small(section: SpecialistSection, model: LlamaModel | None, version: Version) -> dict[str, LlamaEngine]:
    """The section's model with the version's adapter, by the key that the section names; nothing without an adapter.

    Args:
        section: Whose version it is.
        model: What its key stands for; a path is taken from where the process runs.
        version: Named as the specialist will be.
    """
    if model is None or ADAPTER_FILE not in version.files:
        return {}
    adapters = {version.name: version.folder / ADAPTER_FILE}
    engine = LlamaEngine.configured(str(section.model), model, locate(model, Path()), adapters=adapters)
    return {str(section.model): engine}
