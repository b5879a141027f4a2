"""The interface of an engine plug-in: the built-in engines register through the entry point `coterie.engines` too."""

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
    """The environment in which an engine is opened."""

    folder: Path = Path()
    """The network's folder, to which a path in the entry is relative."""
    adapters: Mapping[str, Path] = field(default_factory=lambda: MappingProxyType({}))
    """Adapters of the engine, by specialist."""
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """Replacements of the network, the clock and the random source, for tests."""


class EngineType(ABC, Generic[M]):
    """One kind of engine. An instance holds no state."""

    section: type[M]
    """The class that checks `[models.NAME]` tables of this engine; one that is not `local` is a `RemoteModel`."""
    local: ClassVar[bool]
    """Whether it runs in this process and sends nothing out of it. Others are opened by the egress gate only."""
    holds_adapters: ClassVar[bool] = False
    """Whether it can run adapters that were tuned for specialists."""

    @abstractmethod
    def open(self, name: str, model: M, place: EnginePlace) -> StreamingEngine:
        """Open the engine of an entry; it opens no connection before its first prompt.

        Raises:
            ModelMissing, ArtefactRefused, ExtraMissing: the model or a package is not installed.
        """


ENGINE_TYPES: PluginGroup[EngineType[Any]] = PluginGroup("coterie.engines", EngineType, "engine")
"""Every kind of engine by its name."""


def local_type(model: ModelEntry) -> EngineType[Any]:
    """Return the engine type of an entry that runs in this process. Raises `ConfigError` for others."""
    kind = ENGINE_TYPES.load(model.engine)
    if not kind.local:
        raise ConfigError(f"Engine {model.engine!r} leaves this process: only the egress gate opens it.")
    return kind
