"""A `coterie.toml` and the versions that an older Coterie wrote are opened, and answer as they did."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

from coterie.config.file import load_config
from coterie.registry.registry import open_registry
from coterie.tasks.versions import load_specialist
from coterie.testing import EchoEngine, ScriptedEngine
from coterie.types import SYSTEM, ContextView, Entry, Fact, Label, Output, Passage, Task, Usage

BEFORE = Path(__file__).parent / "before"
"""Made by Coterie as it was before tasks were verticals: a file, a small version a kind, and what each answered."""
ANSWERS = json.loads((BEFORE / "answers.json").read_text())
CONTRACT = "Contract 7 between two firms. It begins on 2024-03-09. The law of Spain governs it. Nothing else is agreed."
AGREEMENT = (
    "This agreement is about the card number 7. The receiving party shall keep all information confidential. "
    "No copy leaves the office. It ends after 30 days."
)
RETURNS = "A parcel may be returned within 30 days. The buyer pays the postage."
PASSAGE = Passage(
    document="documents/policy.md",
    start=11,
    end=11 + len(RETURNS),
    text=RETURNS,
    score=1.0,
    label=Label.PUBLIC,
    index="policies",
    heading="Returns",
)
ASKED = {
    "intents": [{"text": "Somebody took my card"}, {"text": "When will the order arrive"}],
    "clauses": [
        {"text": AGREEMENT, "columns": {"hypothesis": "The information is confidential"}},
        {"text": AGREEMENT, "columns": {"hypothesis": "Information may be shared with third parties"}},
    ],
    "risk": [{"text": "", "columns": {"income": 20, "debt": 45}}, {"text": "", "columns": {"income": 80, "debt": 3}}],
    "terms": [{"text": CONTRACT}],
    "ask": [{"text": "How long may a parcel be returned?"}],
    "reply": [{"text": "My card is gone"}],
    "rewrite": [{"text": "please write me number 3", "vector": np.array([1.0, 0, 0, 0])}],
}
SHOWN = {"ask": PASSAGE, "reply": Fact(name="intent", value="lost", confidence=1.0)}
WRITTEN = {"reply": "Block the card in the app under Cards.", "rewrite": "Write me 3."}


@pytest.fixture
def config():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return load_config(BEFORE)


def test_the_file_is_read_in_the_names_of_today():
    """A `classify` with `pair_column` is a `pairs`, and the file's owner is told."""
    with pytest.warns(FutureWarning, match="specialists.clauses"):
        config = load_config(BEFORE)
    kinds = {name: section.task for name, section in config.specialists.items()}

    assert kinds == {
        "intents": "classify",
        "clauses": "pairs",
        "risk": "score",
        "terms": "extract",
        "ask": "answer",
        "reply": "generate",
        "rewrite": "generate",
    }


@pytest.mark.parametrize("name", ASKED)
async def test_a_version_answers_as_it_did(config, name):
    """Value, text, confidence, fields and citations are those that were recorded."""
    output = Output(text=WRITTEN.get(name, ""), finish="stop", logprob=-0.2, usage=Usage(tokens_out=2))
    specialist = load_specialist(
        name,
        config.specialists[name],
        open_registry(BEFORE, config.registry).champion(name),
        encoder=EchoEngine("onnx", dimension=4),
        models={"small": ScriptedEngine([output] * 3)},
    )
    shown = [Entry(content=SHOWN[name], label=Label.PUBLIC, producer="it", time=0.0)] if name in SHOWN else []
    for arguments, expected in zip(ASKED[name], ANSWERS[name], strict=True):
        finding = await specialist.consult(Task(**arguments), ContextView(entries=tuple(shown)), call=SYSTEM)

        assert finding.text == expected["text"]
        assert finding.accepted == expected["accepted"]
        assert finding.confidence == pytest.approx(expected["confidence"], abs=1e-5)
        assert finding.value == (
            pytest.approx(expected["value"], abs=1e-5) if isinstance(expected["value"], float) else expected["value"]
        )
        assert [[field.name, field.value, field.text] for field in finding.fields] == expected["fields"]
        assert [citation.text for citation in finding.citations] == expected["citations"]
