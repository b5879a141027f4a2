"""An engine that somebody adds is behind the gate, unless it says that it stays in this process."""

from __future__ import annotations

from typing import Literal

import pytest

from coterie.assembly import open_models
from coterie.config.file import _ENGINES, ModelEntry, RemoteModel, parse_config
from coterie.engines.kinds import ENGINE_TYPES, EngineType, local_type
from coterie.errors import ConfigError, EgressRefused
from coterie.testing import ScriptedEngine
from coterie.types import SYSTEM, Label, Message, Output, Prompt


class Far(RemoteModel):
    """The entry of an engine elsewhere."""

    engine: Literal["far"]


class Careless(ModelEntry):
    """The entry of an engine elsewhere that does not say so."""

    engine: Literal["careless"]


class FarType(EngineType):
    """An engine elsewhere that keeps what it was asked."""

    section = Far
    local = False

    def __init__(self) -> None:
        self.engine = ScriptedEngine([Output(text="yes")] * 3)

    def open(self, name, model, place):
        self.engine.name = name
        return self.engine


@pytest.fixture
def far(monkeypatch) -> FarType:
    """It is registered as an installed package would register it."""
    kind = FarType()
    for door in (ENGINE_TYPES, _ENGINES.plugins):
        monkeypatch.setitem(door._loaded, "far", kind)
    return kind


CONFIG = """
[models.large]
engine = "far"
name = "big"
clearance = "internal"
"""


def prompt(label: Label) -> Prompt:
    return Prompt(messages=(Message(role="user", text="May they?"),), label=label)


async def test_a_strangers_remote_engine_is_asked_through_the_gate(far, tmp_path):
    """What is above the entry's clearance never reaches it; what is not carries the gate's verdict."""
    engines = await open_models(parse_config(CONFIG), tmp_path, {}, also={"large"})
    with pytest.raises(EgressRefused):
        await engines["large"].run([prompt(Label.CONFIDENTIAL)], call=SYSTEM)
    (answer,) = await engines["large"].run([prompt(Label.INTERNAL)], call=SYSTEM)

    assert answer.verdict.allowed
    assert [sent.label for sent in far.engine.prompts] == [Label.INTERNAL]
    assert engines["large"] is not far.engine


def test_only_the_gate_opens_what_is_not_local(far):
    """Asked for as an engine of this process, it is refused, whatever its entry looks like."""
    with pytest.raises(ConfigError, match="only the egress gate opens it"):
        local_type(Careless.model_construct(engine="far", name="big"))
