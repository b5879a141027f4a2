from __future__ import annotations

import numpy as np
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


@pytest.fixture
def comparing_weights():
    """Weights of a small comparing network over states of some size, by their names."""

    def comparing_weights(states, *, wide, small=3):
        random = np.random.default_rng(0)
        shapes = {
            "compare.small.weight": (small, states), "compare.before.weight": (16, 4), "compare.after.weight": (16, 4),
            "compare.moved.weight": (7, 4), "compare.side.weight": (2, 4), "compare.first.bias": (wide,),
            "compare.first.weight": (wide, 5 + 16 + 4 * small),
        }  # fmt: skip
        for at in range(2):
            shapes |= {f"compare.beside.{at}.weight": (wide, 3 * wide), f"compare.beside.{at}.bias": (wide,)}
            shapes |= {f"compare.across.{at}.weight": (wide, 2 * wide), f"compare.across.{at}.bias": (wide,)}
        for at in range(5):
            shapes |= {f"compare.norms.{at}.weight": (wide,), f"compare.norms.{at}.bias": (wide,)}
        return {name: random.normal(size=shape, scale=0.3).astype(np.float32) for name, shape in shapes.items()}

    return comparing_weights
