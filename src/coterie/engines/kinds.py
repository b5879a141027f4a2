"""The engine types that ship with Coterie."""

from __future__ import annotations

from coterie.config.file import DecisionModel, LlamaModel, OpenAIModel, VllmModel
from coterie.engines.contract import EnginePlace, EngineType
from coterie.protocols import StreamingEngine


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
        from coterie.engines.decisions import DecisionEngine

        return DecisionEngine(name, model, **place.options)


LLAMA, OPENAI, VLLM, DECISION = LlamaType(), OpenAIType(), VllmType(), DecisionType()
