from __future__ import annotations

import pytest

from coterie.config.file import OpenAIModel
from coterie.engines.openai import OpenAIEngine
from coterie.testing import FakeClock, FakeOpenAIServer
from coterie.types import Message, Prompt


@pytest.fixture
def ask():
    """A prompt of one message."""

    def ask(text="What is the capital of France?", **options):
        return Prompt(messages=(Message(role="user", text=text),), **options)

    return ask


@pytest.fixture
def clock():
    """A clock in the test's hand."""
    return FakeClock()


@pytest.fixture
async def server():
    """A server that answers as it is told."""
    async with FakeOpenAIServer() as server:
        yield server


@pytest.fixture
async def connect(server, clock):
    """Engines of the fake server, with time and chance in the test's hand; closed at the end."""
    engines = []

    def connect(*, draw=0.5, **settings):
        settings = {"base_url": server.base_url, "name": "big", **settings}
        model = OpenAIModel(engine="openai", **settings)
        engine = OpenAIEngine("cloud", model, clock=clock, random=lambda: draw, sleep=clock.sleep)
        engines.append(engine)
        return engine

    yield connect
    for engine in engines:
        await engine.close()
