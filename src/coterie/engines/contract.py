"""What an engine's plug-in is: ours register through the entry point `coterie.engines` as anybody's do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Generic, TypeVar

from coterie.config.file import ModelEntry
from coterie.errors import ConfigError
from coterie.protocols import StreamingEngine
from coterie.runtime.plugins import PluginGroup

M = TypeVar("M", bound=ModelEntry)


@dataclass(frozen=True, kw_only=True)
class EnginePlace:
    """Where an engine is opened."""

    folder: Path = Path()
    """The network's, from which a path in the entry is read."""
    adapters: Mapping[str, Path] = field(default_factory=lambda: MappingProxyType({}))
    """Adapters that it holds, by the specialist they are of."""
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """What tests put in place of the network, the clock and chance."""


class EngineType(ABC, Generic[M]):
    """One kind of engine. An instance holds no state."""

    section: type[M]
    """Checks the `[models.NAME]` tables that name it; one that is not `local` is a `RemoteModel`."""
    local: ClassVar[bool]
    """It runs in this process and sends nothing out of it. Any other is opened by the egress gate, behind it."""
    holds_adapters: ClassVar[bool] = False
    """It can run adapters that were tuned for specialists."""

    @abstractmethod
    def open(self, name: str, model: M, place: EnginePlace) -> StreamingEngine:
        """The engine of an entry, which opens no connection before its first prompt.

        Raises:
            ModelMissing, ArtefactRefused, ExtraMissing: what it runs is not here.
        """


ENGINE_TYPES: PluginGroup[EngineType[Any]] = PluginGroup("coterie.engines", EngineType, "engine")
"""Every kind of engine by its name."""


def local_type(model: ModelEntry) -> EngineType[Any]:
    """The kind of an entry that runs in this process. Raises `ConfigError` for one that does not."""
    kind = ENGINE_TYPES.load(model.engine)
    if not kind.local:
        raise ConfigError(f"Engine {model.engine!r} leaves this process: only the egress gate opens it.")
    return kind
