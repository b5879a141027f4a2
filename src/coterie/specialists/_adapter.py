"""The adapter of a stored version, and the base model that it belongs to."""

from __future__ import annotations

import json
from collections.abc import Mapping

from coterie.config import SpecialistSection
from coterie.errors import ArtefactRefused, ConfigError
from coterie.protocols import Engine
from coterie.registry import Version
from coterie.types import SpecialistCard

ADAPTER_FILE = "adapter.gguf"


def base_of(version: Version) -> str | None:
    """The checksum of the model file that a version's adapter was trained on; None if it has no adapter.

    Raises:
        ArtefactRefused: it has one and does not say for which model.
    """
    if ADAPTER_FILE not in version.files:
        return None
    try:
        return str(json.loads(version.files["model.json"])["base"]["sha256"])
    except (LookupError, TypeError, ValueError) as error:
        raise ArtefactRefused(
            f"Version {version.version} of {version.name!r} has an adapter and does not say for which model.",
            hint=f"Train it again: coterie train {version.name}",
        ) from error


def model_of(card: SpecialistCard, section: SpecialistSection, models: Mapping[str, Engine]) -> Engine:
    """The engine that a section names. Raises `ConfigError` when there is none."""
    if section.model is None or section.model not in models:
        raise ConfigError(
            f"specialists.{card.name}.model is {section.model!r}; the open models are {sorted(models)}.",
            hint=f"Correct `model` of specialists.{card.name} in coterie.toml.",
        )
    return models[section.model]
