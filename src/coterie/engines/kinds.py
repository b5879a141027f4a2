"""Engine plug-ins: what one implements, and the engines that come with Coterie.

Both register through the entry point `coterie.engines`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Generic, TypeVar

from coterie.config.file import DecisionModel, LlamaModel, ModelEntry, OpenAIModel, VllmModel
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


# --- The engine types that ship with Coterie.


class LlamaType(EngineType[LlamaModel]):
    """A GGUF file that runs in this process."""

    section = LlamaModel
    local = True
    holds_adapters = True

    def open(self, name: str, model: LlamaModel, place: EnginePlace) -> StreamingEngine:
        """Open the model's file with its adapters by path: llama.cpp reads them itself."""
        from coterie.engines.llama import LlamaEngine
        from coterie.models.catalogue import locate

        return LlamaEngine.configured(name, model, locate(model, place.folder), adapters=place.adapters)


class OpenAIType(EngineType[OpenAIModel]):
    """An OpenAI-compatible server."""

    section = OpenAIModel
    local = False

    def open(self, name: str, model: OpenAIModel, place: EnginePlace) -> StreamingEngine:
        """Open the server, with the graphics cards that it runs on, if they can be measured."""
        from coterie.accounting.meter import open_cards
        from coterie.engines.openai import OpenAIEngine

        cards = open_cards(model.gpus)
        measured = {} if cards is None else {"cards": cards}
        return OpenAIEngine(name, model, **{**measured, **place.options})


class VllmType(EngineType[VllmModel]):
    """A vLLM server."""

    section = VllmModel
    local = False
    holds_adapters = True

    def open(self, name: str, model: VllmModel, place: EnginePlace) -> StreamingEngine:
        """Open the server, with the adapters that it loads when they are needed."""
        from coterie.accounting.meter import open_cards
        from coterie.engines.vllm import VllmEngine, check_adapters

        check_adapters(place.adapters)
        cards = open_cards(model.gpus)
        measured = {} if cards is None else {"cards": cards}
        return VllmEngine(name, model, adapters=place.adapters, **{**measured, **place.options})


class DecisionType(EngineType[DecisionModel]):
    """A server of a decision model."""

    section = DecisionModel
    local = False

    def open(self, name: str, model: DecisionModel, place: EnginePlace) -> StreamingEngine:
        """Open the server at the path of the entry's engine."""
        from coterie.engines.openai import DecisionEngine

        return DecisionEngine(name, model, **place.options)


LLAMA, OPENAI, VLLM, DECISION = LlamaType(), OpenAIType(), VllmType(), DecisionType()
