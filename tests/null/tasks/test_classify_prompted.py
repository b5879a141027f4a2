"""The prompted classifier: what it says to its model, what it makes of the answer, and what never leaves."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from coterie.config.file import OpenAIModel
from coterie.config.specialists import make_section
from coterie.errors import ArtefactRefused, ConfigError, EngineTimeout, TooLong
from coterie.governance.egress import ClearancePolicy, Gate
from coterie.registry.version import Version
from coterie.specialists.parts import Acceptance
from coterie.tasks.classify.prompted import (
    Agreement,
    Demonstrations,
    FewShot,
    Neighbour,
    PromptedSpecialist,
    find_label,
    read_signs,
    vote,
)
from coterie.tasks.versions import load_specialist
from coterie.testing import EchoEngine, FakeOpenAIServer, ScriptedEngine, ServerReply
from coterie.types import ContextView, Label, Output, Reason, SpecialistCard, Task, Usage

ENCODER = EchoEngine("onnx", dimension=4)
TEXTS = ("my card is gone", "where is my parcel", "money back please", "the card was stolen")
LABELS = ("card", "parcel", "refund", "card")
VECTORS = np.eye(4, dtype=np.float32)[[0, 1, 2, 0]]
BANK = Demonstrations(texts=TEXTS, labels=LABELS, vectors=VECTORS)
AGREEMENT = Agreement(weights={"vote": 4.0, "logprob": 1.0}, usual={"vote": 0.5, "logprob": -1.0}, bias=0.0)
NEAR_CARD = np.array([1.0, 0.0, 0.0, 0.0])


def specialist(model, *, label: Label = Label.PUBLIC, **prompting) -> PromptedSpecialist:
    return PromptedSpecialist(
        card=SpecialistCard(name="it", task="classify", description="", rung="llm", version="", writes=("intent",)),
        model=model,
        encoder=ENCODER,
        demonstrations=BANK,
        prompting=FewShot(**{"instruction": "Say what.", "labels": LABELS[:3], "form": "free", **prompting}),
        agreement=AGREEMENT,
        acceptance=Acceptance(temperature=1.0, threshold=0.6, target_risk=0.05, scope_threshold=0.1),
        label=label,
        made_for={"name": "giant", "sha256": None},
    )


async def ask(who: PromptedSpecialist, text: str = "card lost", *, vector=NEAR_CARD, label: Label = Label.PUBLIC):
    return await who.consult(Task(text=text, vector=vector, label=label), ContextView())


async def test_the_prompt_ends_with_the_nearest_examples():
    """Instruction and labels, then the most similar training texts with their labels, nearest last, then the text."""
    engine = ScriptedEngine(["card"])
    finding = await ask(specialist(engine, shots=2))
    instruction, *turns, question = engine.prompts[0].messages

    assert instruction.text.startswith("Say what.")
    assert instruction.text.endswith("- card\n- parcel\n- refund")
    assert [turn.text for turn in turns] == ["the card was stolen", "card", "my card is gone", "card"]
    assert question.text == "card lost"
    assert (finding.value, finding.accepted) == ("card", True)
    assert [(fact.name, fact.value) for fact in finding.facts] == [("intent", "card")]


async def test_a_text_longer_than_the_encoders_window():
    """Its examples were looked for by its beginning only: the finding says so, whoever encoded it."""
    task = Task(text="card lost", vector=NEAR_CARD, truncated=True)
    shared = await specialist(ScriptedEngine(["card"])).consult(task, ContextView())
    encoder = ScriptedEngine([Output(vector=NEAR_CARD, finish="length")])
    own = await replace(specialist(ScriptedEngine(["card"])), encoder=encoder).consult(
        Task(text="card lost"), ContextView()
    )

    for finding in (shared, own):
        assert finding.truncated
        assert finding.reason.codes[-1] == "note.neighbours_truncated"
    assert not (await ask(specialist(ScriptedEngine(["card"])))).truncated


async def test_examples_keep_to_their_room():
    """Examples that do not fit the tokens they have are left out, the farthest first."""
    engine = ScriptedEngine(["card"])
    await ask(specialist(engine, room=25))

    assert [message.text for message in engine.prompts[0].messages[1:]] == ["my card is gone", "card", "card lost"]


async def test_many_labels_are_those_of_the_neighbours_or_none():
    """With more labels than are listed, those of the nearest texts can be answered, and that none of them fits."""
    engine = ScriptedEngine(["none of these"])
    finding = await ask(specialist(engine, list_all=2, listed=2))

    assert engine.prompts[0].messages[0].text.endswith("- card\n- parcel\n- none of these")
    assert (finding.value, finding.accepted, finding.confidence) == (None, False, 0.0)
    assert finding.reason.code == "abstain.no_label_fits"


@pytest.mark.parametrize("form", ["schema", "grammar"])
async def test_answers_are_held_to_the_labels(form):
    """A server gets a JSON Schema and examples written so; a model in this process gets a grammar."""
    engine = ScriptedEngine(['{"label": "card"}' if form == "schema" else "card"])
    finding = await ask(specialist(engine, form=form, shots=1))
    (prompt,) = engine.prompts

    assert finding.value == "card"
    if form == "schema":
        assert prompt.json_schema["properties"]["label"]["enum"] == ["card", "parcel", "refund"]
        assert prompt.messages[2].text == '{"label": "card"}'
    else:
        assert prompt.grammar == 'root ::= "card" | "parcel" | "refund"'


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("card", "card"),
        (' "Card." ', "card"),
        ("The label is **card**.", "card"),
        ('{"label": "card"}', "card"),
        ('"card"', "card"),
        ("card or parcel", None),
        ("cardigan", None),
        ("card_lost", "card_lost"),
        ("It is card_lost!", "card_lost"),
        ('{"label": 7}', None),
        ("", None),
    ],
)
def test_reading_an_answer(answer, label):
    """Exact, whatever the case and what stands around it, or contained once; what names several names none."""
    assert find_label(answer, ("card", "card_lost", "parcel")) == label


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            "No idea.",
            Reason("abstain.no_label_named", answer="No idea.", labels=3),
        ),
        ("  ", Reason("abstain.empty_answer")),
    ],
)
async def test_an_answer_that_is_no_label(answer, said):
    """It abstains with what was found, and shows what the neighbours say."""
    finding = await ask(specialist(ScriptedEngine([answer])))

    assert (finding.value, finding.accepted, finding.reason) == (None, False, said)
    assert finding.evidence[0].name == "card"


async def test_doubt():
    """An answer that the neighbours do not share is not sure enough; the same text beyond all scope is refused."""
    against = await ask(specialist(ScriptedEngine(["refund"])))
    far = await ask(specialist(ScriptedEngine(["card"])), vector=np.zeros(4))

    assert (against.value, against.accepted) == ("refund", False)
    assert against.reason.code == "abstain.below_threshold"
    assert "abstain.out_of_scope" in far.reason.codes


async def test_the_answer_s_probability_counts():
    """Where the engine says how likely its answer was, the confidence follows; else the usual stands in."""

    async def confidence(logprob):
        finding = await ask(specialist(ScriptedEngine([Output(text="card", logprob=logprob)])))
        return finding.confidence

    sure, unsure, unknown = await confidence(-0.1), await confidence(-3.0), await confidence(None)
    assert unsure < unknown < sure


async def test_the_whole_prompt_is_as_sensitive_as_its_examples():
    """A public request whose prompt holds internal examples does not go to a model that may see public data only."""
    async with FakeOpenAIServer() as server:
        model = OpenAIModel(engine="openai", base_url=server.base_url, name="giant", clearance="public")
        engine = Gate(ClearancePolicy()).open("giant", model)
        refused = await ask(specialist(engine, label=Label.INTERNAL))
        await engine.close()

    assert not server.connections
    assert (refused.accepted, refused.value, refused.label) == (False, None, Label.INTERNAL)
    assert "internal data is above the clearance of 'giant'" in str(refused.reason)
    assert [verdict.allowed for verdict in refused.verdicts] == [False]


async def test_a_sensitive_request_does_not_go_out_with_public_examples():
    """The request's own label counts as well; allowed crossings carry their verdict."""
    async with FakeOpenAIServer(default=ServerReply(text="card")) as server:
        model = OpenAIModel(engine="openai", base_url=server.base_url, name="giant", clearance="internal")
        engine = Gate(ClearancePolicy()).open("giant", model)
        refused = await ask(specialist(engine), label=Label.CONFIDENTIAL)
        asked_before = len(server.requests)
        let_out = await ask(specialist(engine, label=Label.INTERNAL))
        await engine.close()

    assert (asked_before, refused.accepted) == (0, False)
    assert let_out.accepted
    assert let_out.verdicts[0].allowed
    assert let_out.label == Label.INTERNAL


async def test_what_the_model_cannot_take():
    """A text too long for it is an abstention with the figures; a model that fails is an error."""
    long = await ask(specialist(ScriptedEngine([TooLong("The prompt has 9000 tokens.")])))

    assert (long.accepted, long.reason.code) == (False, "error.too_long")
    with pytest.raises(EngineTimeout):
        await ask(specialist(ScriptedEngine([EngineTimeout("no answer in 30 s", engine="giant")])))


async def test_every_step_is_in_the_ledger():
    """The encoder's and the model's usage are steps; an empty text asks nobody."""
    engine = ScriptedEngine([Output(text="card", usage=Usage(tokens_in=70, tokens_out=2))])
    finding = await ask(specialist(engine), vector=None)

    assert [(step.engine, step.usage.tokens_in) for step in finding.steps] == [("onnx", 2), ("scripted", 70)]
    assert (await ask(specialist(engine), "  ")).reason.code == "abstain.no_text"


def test_neighbours():
    """The nearest come first; those left out are not found; votes weigh by nearness and sum to one."""
    near = BANK.nearest(np.array([0.9, 0.1, 0.0, 0.0]), 3)
    others = BANK.nearest(NEAR_CARD, 9, leave_out=np.array([True, False, False, True]))
    shares = vote([Neighbour("a", "x", 0.9), Neighbour("b", "y", 0.8)])

    assert [example.text for example in near] == ["my card is gone", "the card was stolen", "where is my parcel"]
    assert [example.label for example in others] == ["parcel", "refund"]
    assert sum(shares.values()) == pytest.approx(1.0)
    assert shares["x"] / shares["y"] == pytest.approx(np.e)
    assert read_signs("x", shares, [0.9, 0.8], None)["lead"] == pytest.approx(shares["x"] - shares["y"])


def stored(who: PromptedSpecialist, **changes) -> Version:
    """A version with its files, some of them replaced."""
    files = {**who.to_files(), **changes}
    return Version(name="it", version="0123456789abcdef", folder=Path("nowhere"), files=files)


def load(version: Version, *, models, **section) -> PromptedSpecialist:
    described = make_section(task="classify", data="x", **{"model": "giant", **section})
    return load_specialist("it", described, version, encoder=ENCODER, models=models)


async def test_is_what_was_stored():
    """A stored specialist, read back, asks the same and finds the same."""
    before, after = ScriptedEngine(["card"]), ScriptedEngine(["card"])
    loaded = load(stored(specialist(before)), models={"giant": after}, writes=("intent",))
    first, second = await ask(specialist(before)), await ask(loaded)

    assert before.prompts[0].messages == after.prompts[0].messages
    assert (second.value, second.confidence, second.reason) == (first.value, first.confidence, first.reason)
    assert loaded.describe() == specialist(before).describe()


def test_how_sensitive_the_examples_are():
    """What the version says, unless the network's file says so now; the network's default can only raise it."""
    version = stored(specialist(ScriptedEngine([]), label=Label.INTERNAL))
    section = make_section(task="classify", data="x", model="giant")
    raised = load_specialist(
        "it", section, version, encoder=ENCODER, models={"giant": ENCODER}, data_label=Label.RESTRICTED
    )

    assert load(version, models={"giant": ENCODER}).label == Label.INTERNAL
    assert load(version, models={"giant": ENCODER}, data_label="public").label == Label.PUBLIC
    assert raised.label == Label.RESTRICTED


@pytest.mark.parametrize(
    "change",
    [
        {"demonstrations.json": b'{"texts": ["one"], "labels": ["card"]}'},
        {"demonstrations.json": b'{"texts": 7, "labels": ["card"]}'},
        {"demonstrations.safetensors": b"short"},
    ],
)
def test_damaged_files_are_refused(change):
    """Texts that are not as many as their vectors, or no texts, or no arrays: refused with the way out."""
    with pytest.raises(ArtefactRefused, match="cannot be read"):
        load(stored(specialist(ScriptedEngine([])), **change), models={"giant": ENCODER})


@pytest.mark.parametrize(
    "change", [{"agreement": {"weights": {"mood": 1.0}, "usual": {"mood": 0.0}, "bias": 0.0}}, {"prompting": {}}]
)
def test_a_damaged_description_is_refused(change):
    """A sign that is not known, or a prompting that says nothing: refused."""
    who = specialist(ScriptedEngine([]))
    model = json.dumps({**who.describe(), **change}).encode()

    with pytest.raises(ArtefactRefused, match="cannot be read"):
        load(stored(who, **{"model.json": model}), models={"giant": ENCODER})


def test_a_model_that_is_not_open():
    """The key that is missing is named."""
    with pytest.raises(ConfigError, match=r"'giant'.*'other'"):
        load(stored(specialist(ScriptedEngine([]))), models={"other": ENCODER})
