"""Large models that do as they are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from coterie.config.file import OpenAIModel
from coterie.config.operation import GeneralistSection
from coterie.generalist.generalist import CandidateModel, PromptedGeneralist
from coterie.types import Delta, Label, Output, Prompt

MODEL = OpenAIModel(engine="openai", base_url="https://llm.example/v1", name="large-1")


class Stalls:
    """Says some pieces, then nothing more, until it is given up."""

    def __init__(self, name: str = "slow", *, pieces: Sequence[str] = ()) -> None:
        self.name = name
        self.clearance = Label.RESTRICTED
        self.pieces = pieces
        self.asked = asyncio.Event()
        self.given_up = 0

    async def run(self, batch: Sequence[Prompt], *, call=None) -> Sequence[Output]:
        """The pieces do not count before the end, which does not come."""
        self.asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.given_up += 1
        raise AssertionError

    async def stream(self, prompt: Prompt, *, call=None) -> AsyncIterator[Delta | Output]:
        self.asked.set()
        try:
            for piece in self.pieces:
                yield Delta(text=piece)
            await asyncio.Event().wait()
        finally:
            self.given_up += 1

    async def close(self) -> None:
        pass


class Breaks(Stalls):
    """Says some pieces, then raises."""

    def __init__(self, name: str, error: Exception, *, pieces: Sequence[str] = ()) -> None:
        super().__init__(name, pieces=pieces)
        self.error = error

    async def stream(self, prompt: Prompt, *, call=None) -> AsyncIterator[Delta | Output]:
        self.asked.set()
        for piece in self.pieces:
            yield Delta(text=piece)
        raise self.error


class Maker:
    """What the tests make."""

    Stalls = Stalls
    Breaks = Breaks
    MODEL = MODEL

    @staticmethod
    def generalist(*engines, window: int = 8192, **section) -> PromptedGeneralist:
        model = MODEL.model_copy(update={"window": window})
        return PromptedGeneralist([(engine, model) for engine in engines], GeneralistSection(model="large", **section))

    @staticmethod
    def candidates(*engines, window: int = 8192) -> list[CandidateModel]:
        return [CandidateModel(engine=engine, window=window) for engine in engines]


@pytest.fixture
def make() -> type[Maker]:
    """Makers of large models."""
    return Maker
