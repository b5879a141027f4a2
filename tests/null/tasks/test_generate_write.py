"""A writer without a source text: it writes, says how sure it is, and abstains where that is not enough."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from coterie.config.specialists import make_section
from coterie.errors import ArtefactRefused, TooLong
from coterie.protocols import SpeakingSpecialist
from coterie.registry.version import Version
from coterie.specialists.parts import Acceptance
from coterie.tasks.classify.prompted import Agreement
from coterie.tasks.generate.model import WriteSpecialist, Writing, thin_out
from coterie.tasks.versions import load_specialist
from coterie.testing import EchoEngine, ScriptedEngine, check_specialist
from coterie.types import ContextView, Label, Output, SpecialistCard, Task, Usage

ENCODER = EchoEngine("onnx", dimension=4)
SEEN = np.eye(4, dtype=np.float32)[:2]
NEAR, FAR = np.array([1.0, 0.0, 0.0, 0.0]), np.array([0.0, 0.0, 0.0, 1.0])
AGREEMENT = Agreement(weights={"logprob": 4.0, "cosine": 2.0}, usual={"logprob": -0.5, "cosine": 0.5}, bias=0.0)


def writer(engine, **more) -> WriteSpecialist:
    made = {
        "card": SpecialistCard(name="it", task="generate", description="", rung="slm", version="abc"),
        "engine": engine,
        "encoder": ENCODER,
        "writing": Writing(instruction="Say it shorter."),
        "seen": SEEN,
        "agreement": AGREEMENT,
        "acceptance": Acceptance(temperature=1.0, threshold=0.6, target_risk=0.05, scope_threshold=None),
        "max_tokens": 20,
        "adapter": "it",
    }
    return WriteSpecialist(**made | more)


def written(text: str, logprob: float, *, finish="stop") -> Output:
    """A reply of two tokens."""
    return Output(text=text, finish=finish, logprob=logprob, usage=Usage(tokens_out=2))


async def ask(who, *, vector=NEAR, **more):
    return await who.consult(Task(text="please write me", vector=vector, **more), ContextView())


async def test_a_reply_that_is_sure_is_accepted():
    """What the model wrote is the finding; its confidence is that of its words and of the nearest text seen."""
    engine = ScriptedEngine([written(" Write me. ", -0.2)])
    finding = await ask(writer(engine))
    (prompt,) = engine.prompts

    assert (finding.text, finding.accepted, finding.task) == ("Write me.", True, "generate")
    assert finding.confidence == pytest.approx(1 / (1 + math.exp(-(2.0 - 0.4))))
    assert finding.in_scope == pytest.approx(1.0)
    assert (prompt.adapter, prompt.logprobs, prompt.max_tokens) == ("it", True, 20)
    assert [message.text for message in prompt.messages] == ["Say it shorter.", "please write me"]


@pytest.mark.parametrize(("logprob", "vector"), [(-3.0, NEAR), (-0.4, FAR)], ids=["unlikely words", "a far text"])
async def test_a_reply_that_is_unsure_is_kept_and_not_accepted(logprob, vector):
    """Words that the model found unlikely, or a text unlike those it learnt from, lower the confidence."""
    finding = await ask(writer(ScriptedEngine([written("Write me.", logprob)])), vector=vector)

    assert (finding.text, finding.accepted) == ("Write me.", False)
    assert finding.reason.code == "abstain.below_threshold"


@pytest.mark.parametrize(
    ("output", "code"),
    [
        (written("", -0.1), "abstain.empty_answer"),
        (written("and so on", -0.1, finish="length"), "abstain.reply_cut"),
        (TooLong("The prompt has 9 tokens; the window is 8."), "error.too_long"),
    ],
)
async def test_what_is_no_whole_reply_is_an_abstention(output, code):
    """Nothing, half a reply, a text that does not fit: nothing is said, and why."""
    finding = await ask(writer(ScriptedEngine([output])))

    assert (finding.value, finding.accepted) == (None, False)
    assert code in finding.reason.codes


async def test_it_does_not_speak_before_it_knows():
    """Its confidence is known at the end, and a delta is final: so it gives none."""
    assert not isinstance(writer(ScriptedEngine([])), SpeakingSpecialist)


async def test_an_callers_limit_is_kept():
    """The smaller of the two limits holds."""
    engine = ScriptedEngine([written("Yes.", -0.1)])
    await ask(writer(engine), max_tokens=7)

    assert engine.prompts[0].max_tokens == 7


async def test_it_keeps_the_contract():
    """What any specialist promises: labels, steps, errors."""
    await check_specialist(writer(ScriptedEngine([written("Yes.", -0.1)] * 20)), Task(text="please", vector=NEAR))


def test_vectors_are_thinned_evenly():
    """Of many texts a version keeps the vectors of some, from all over the file."""
    many = np.repeat(np.arange(10_000, dtype=np.float32)[:, None], 2, axis=1)

    assert len(thin_out(many)) == 5_000
    assert thin_out(many)[-1, 0] > 9_000


# --- Stored and loaded -------------------------------------------------------------------------------


def version(who: WriteSpecialist, **changes: object) -> Version:
    described = who.describe() | {"base": {"name": "small", "sha256": "0" * 64}} | changes
    files = {"model.json": json.dumps(described).encode(), "adapter.gguf": b"GGUF", **who.to_files()}
    return Version(name="it", version="abc", folder=Path(), files=files)


def load(stored: Version, engine=None, **section: object):
    settings = {"task": "generate", "data": "pairs.csv", "model": "small"} | section
    engine = engine or ScriptedEngine([written("Write me.", -0.2)] * 2)
    return load_specialist("it", make_section(**settings), stored, encoder=ENCODER, models={"small": engine})


async def test_a_stored_writer_writes_the_same():
    """Confidence, limit and prompt come back as they were."""
    who = writer(ScriptedEngine([written("Write me.", -0.2)]))
    before, after = await ask(who), await ask(load(version(who)))

    assert replace(after, steps=()) == replace(before, steps=())


def test_a_version_of_the_other_kind_is_refused():
    """A version without source texts cannot serve a section that reads a fact, and the other way round."""
    who = writer(ScriptedEngine([]))
    with pytest.raises(ArtefactRefused, match="`reads`"):
        load(version(who), reads=("intent",))
    with pytest.raises(ArtefactRefused, match="`reads`"):
        load(version(who, sources={}))


@pytest.mark.parametrize("change", [{"agreement": {}}, {"acceptance": {}}, {"max_tokens": "many"}])
def test_a_damaged_version_is_refused(change):
    """With the reason, before it answers anybody."""
    with pytest.raises(ArtefactRefused, match="cannot be read"):
        load(version(writer(ScriptedEngine([])), **change))


def test_sensitivity_goes_with_the_prompt():
    """The prompt is as sensitive as the task."""
    assert writer(ScriptedEngine([])).prompt(Task(text="a", label=Label.CONFIDENTIAL)).label is Label.CONFIDENTIAL
