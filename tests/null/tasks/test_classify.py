"""`classify`: from logits to a finding."""

import json
from dataclasses import replace

import numpy as np
import pytest

from coterie.learning.scope import Centroids, Neighbours, ScopeScore
from coterie.specialists.parts import Acceptance, ConfidenceLine
from coterie.tasks.classify.model import ClassifySpecialist
from coterie.testing import EchoEngine, ScriptedEngine, check_specialist
from coterie.text.records import cells_of
from coterie.types import ContextView, Label, Output, SpecialistCard, Task, Usage

ANY = Acceptance(temperature=1.0, threshold=0.5, target_risk=0.05, scope_threshold=None)
PLAIN = ConfidenceLine()
LABELS = ("card", "parcel", "refund")


def specialist(
    *logits: float,
    scope=None,
    encoder=None,
    acceptance=ANY,
    line=PLAIN,
    several=False,
    writes=("intent",),
):
    """A classifier whose head always gives these logits."""
    outputs = [Output(scores=np.array(logits), usage=Usage(tokens_in=3))] * 10
    return ClassifySpecialist(
        card=SpecialistCard(
            name="triage", task="classify", description="", rung="lexical", version="0", writes=tuple(writes)
        ),
        head=ScriptedEngine(outputs, name="linear"),
        labels=LABELS[: len(logits)],
        acceptance=acceptance,
        line=line,
        encoder=encoder,
        multi_label=several,
        scope=scope,
    )


async def consult(who: ClassifySpecialist, **task: object):
    return await who.consult(Task(**{"text": "where is my card?", **task}), ContextView())


async def test_keeps_the_contract():
    """It keeps the contract of specialists."""
    for text in ("card", ""):
        await check_specialist(specialist(2.0, 0.0, -1.0), Task(text=text))


async def test_one_label():
    """The likeliest label is the value, its probability the confidence, and the runners-up are shown."""
    finding = await consult(specialist(2.0, 0.0, -1.0), label=Label.CONFIDENTIAL)
    probabilities = np.exp([2.0, 0.0, -1.0]) / np.exp([2.0, 0.0, -1.0]).sum()

    assert (finding.value, finding.text) == ("card", "card")
    assert finding.confidence == pytest.approx(probabilities[0])
    assert [evidence.name for evidence in finding.evidence] == ["card", "parcel", "refund"]
    assert [evidence.weight for evidence in finding.evidence] == pytest.approx(probabilities.tolist())
    assert finding.facts[0].value == "card"
    assert finding.label is Label.CONFIDENTIAL
    assert finding.steps[0].engine == "linear"


@pytest.mark.parametrize("several", [False, True])
async def test_a_line_makes_the_confidence(several):
    """What the answer's probability is worth: the confidence; order and label stay, and runners-up share the rest."""
    line = ConfidenceLine(slope=0.5, intercept=0.2)
    before = await consult(specialist(2.0, -1.0, -1.0, several=several))
    after = await consult(specialist(2.0, -1.0, -1.0, line=line, several=several))
    log_odds = np.log(before.confidence / (1 - before.confidence))

    assert after.value == before.value
    assert after.confidence == pytest.approx(1 / (1 + np.exp(-0.5 * log_odds - 0.2)))
    if not several:
        assert after.evidence[0].weight == pytest.approx(after.confidence)
        assert sum(evidence.weight for evidence in after.evidence) == pytest.approx(1.0)


async def test_no_runner_up_is_likelier_than_the_answer():
    """Where a line makes little of a narrow lead, the runner-up is shown as no better."""
    finding = await consult(specialist(0.1, 0.0, -9.0, line=ConfidenceLine(slope=1.0, intercept=-2.0)))

    assert finding.value == "card"
    assert finding.evidence[0].name == "card"
    assert finding.evidence[0].weight == finding.evidence[1].weight == finding.confidence


@pytest.mark.parametrize("wrong", [{"slope": 0.0}, {"slope": -1.0}, {"intercept": float("nan")}])
def test_a_line_that_does_not_rise_is_none(wrong):
    """It would turn the order of answers, or lose it."""
    with pytest.raises(ValueError, match="does not rise"):
        ConfidenceLine(**wrong)


async def test_temperature_softens():
    """A higher temperature makes the confidence lower and leaves the label."""
    soft = Acceptance(temperature=4.0, threshold=0.5, target_risk=0.05, scope_threshold=None)
    finding = await consult(specialist(2.0, 0.0, -1.0, acceptance=soft))

    assert finding.value == "card"
    assert finding.confidence == pytest.approx(np.exp(0.5) / np.exp([0.5, 0.0, -0.25]).sum())


async def test_abstention_keeps_the_value_and_writes_nothing():
    """Below the threshold the value is kept for whoever reviews it, and no fact is written."""
    finding = await consult(specialist(0.1, 0.0, 0.0))

    assert not finding.accepted
    assert finding.value == "card"
    assert finding.facts == ()
    assert finding.reason.code == "abstain.below_threshold"


@pytest.mark.parametrize("blank", ["", "   ", "\n\t"])
async def test_no_text(blank):
    """Without a text there is nothing to classify, and no engine is asked."""
    who = specialist(2.0, 0.0, 0.0)
    finding = await consult(who, text=blank)

    assert (finding.value, finding.accepted, finding.reason.code) == (None, False, "abstain.no_text")
    assert not who.head.prompts


async def test_several_labels():
    """All labels likelier than not are the value, and the confidence is of all decisions together."""
    finding = await consult(specialist(2.0, 1.0, -3.0, several=True))
    sure = 1 / (1 + np.exp(-np.array([2.0, 1.0, 3.0])))

    assert finding.value == ("card", "parcel")
    assert finding.text == "card, parcel"
    assert finding.confidence == pytest.approx(sure.prod())
    assert finding.facts[0].value == "card|parcel"


async def test_none_of_several_labels():
    """No label is an answer too; its fact is None, which supersedes labels of an earlier turn."""
    finding = await consult(specialist(-3.0, -4.0, -5.0, several=True))

    assert finding.accepted
    assert (finding.value, finding.text) == ((), "none of the labels")
    assert finding.facts[0].value is None


@pytest.mark.parametrize("several", [False, True])
async def test_extreme_logits(several):
    """Logits of thousands are certainty, not an overflow."""
    finding = await consult(specialist(5000.0, -5000.0, -5000.0, several=several))

    assert finding.confidence == 1.0


async def test_the_encoder_is_asked_once_and_spared_where_it_can_be():
    """The text is encoded when nobody did it before; a vector that comes with the task is used as it is."""
    encoder, vector = EchoEngine("onnx", dimension=3), np.array([1.0, 0.0, 0.0])
    own = await consult(specialist(2.0, 0.0, 0.0, encoder=encoder))
    given = specialist(2.0, 0.0, 0.0, encoder=encoder)
    spared = await consult(given, vector=vector)

    assert [step.engine for step in own.steps] == ["onnx", "linear"]
    assert [step.engine for step in spared.steps] == ["linear"]
    assert len(encoder.prompts) == 1
    assert given.head.prompts[0].vector is vector


async def test_a_cut_text_is_told():
    """A text that does not fit the encoder is classified by its beginning, and the reason says so."""
    encoder = ScriptedEngine([Output(vector=np.ones(3), finish="length")], name="onnx")
    finding = await consult(specialist(2.0, 0.0, 0.0, encoder=encoder))

    assert "note.text_truncated" in finding.reason.codes
    assert finding.truncated


async def test_a_vector_of_a_cut_text_is_told():
    """It is also said where the router has encoded the text already."""
    who = specialist(2.0, 0.0, 0.0, encoder=EchoEngine())
    cut = await consult(who, vector=np.ones(3), truncated=True)
    whole = await consult(who, vector=np.ones(3))

    assert (cut.truncated, whole.truncated) == (True, False)
    assert "note.text_truncated" in cut.reason.codes


async def test_n_grams_are_of_the_whole_text():
    """Without an encoder there is no window: what the router could not read to its end does not matter."""
    assert not (await consult(specialist(2.0, 0.0, 0.0), vector=np.ones(3), truncated=True)).truncated


async def test_scope_looks_at_logit_and_encoding():
    """The in-scope score is the mean of how usual the largest logit and the nearest centroid, or text, are."""
    scope = ScopeScore(
        nearness=(Centroids(vectors=np.eye(3, dtype=np.float32)),), usual=np.array([[2.0, 1.0], [0.5, 0.25]])
    )
    near = await consult(specialist(3.0, 0.0, 0.0, scope=scope), vector=np.array([1.0, 0.0, 0.0]))
    far = await consult(specialist(3.0, 0.0, 0.0, scope=scope), vector=np.array([-1.0, 0.0, 0.0]))

    assert near.in_scope == pytest.approx(((3 - 2) / 1 + (1 - 0.5) / 0.25) / 2)
    assert far.in_scope == pytest.approx(((3 - 2) / 1 + (0 - 0.5) / 0.25) / 2)


async def test_scope_looks_at_the_nearest_text():
    """The distance to the nearest training text, what lies outside the axes included, with its sign turned."""
    axes, rows = np.eye(3, 2, dtype=np.float16), np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float16)
    scope = ScopeScore(nearness=(Neighbours(axes=axes, rows=rows),), usual=np.array([[2.0, 1.0], [-0.5, 0.25]]))
    here = await consult(specialist(2.0, 0.0, 0.0, scope=scope), vector=np.array([1.0, 0.0, 0.0]))
    opposite = await consult(specialist(2.0, 0.0, 0.0, scope=scope), vector=np.array([-1.0, 0.0, 0.0]))
    outside = await consult(specialist(2.0, 0.0, 0.0, scope=scope), vector=np.array([0.6, 0.0, 0.8]))

    assert here.in_scope == pytest.approx((0 + (0 + 0.5) / 0.25) / 2)
    assert opposite.in_scope == pytest.approx((0 + (-np.sqrt(2) + 0.5) / 0.25) / 2)
    assert outside.in_scope == pytest.approx((0 + (-np.sqrt(0.4**2 + 0.8**2) + 0.5) / 0.25) / 2)


def test_a_scope_survives_its_file():
    """With all its parts, and with the centroids alone that older versions hold."""
    centroids = Centroids(vectors=np.eye(3, dtype=np.float32))
    neighbours = Neighbours(axes=np.eye(3, 2, dtype=np.float16), rows=np.eye(2, dtype=np.float16))
    for nearness in ((centroids,), (neighbours, centroids)):
        scope = ScopeScore(nearness=nearness, usual=np.ones((1 + len(nearness), 2)))
        again = ScopeScore.from_files(scope.to_files(), labels=3)
        vector = np.array([0.6, 0.0, 0.8], dtype=np.float32)
        assert again is not None
        assert again.score(np.array([1.0, 0.0, 0.0]), vector) == scope.score(np.array([1.0, 0.0, 0.0]), vector)


async def test_writes_under_its_first_name_only():
    """A classifier writes its label under the first of its names, and nothing if it has none."""
    two = await consult(specialist(2.0, 0.0, 0.0, writes=("intent", "topic")))
    none = await consult(specialist(2.0, 0.0, 0.0, writes=()))

    assert [fact.name for fact in two.facts] == ["intent"]
    assert none.facts == ()


async def test_a_known_text_asks_the_head_once():
    """The second finding is the first, decided anew, with the same tokens and no CPU time; another text is asked."""
    who = specialist(2.0, 0.0, -1.0)
    first, second = await consult(who), await consult(who, label=Label.CONFIDENTIAL)

    assert (second.value, second.confidence, second.label) == (first.value, first.confidence, Label.CONFIDENTIAL)
    assert [step.usage.tokens_in for step in second.steps] == [step.usage.tokens_in for step in first.steps]
    assert not any(step.usage.cpu_seconds for step in second.steps)
    await consult(who, text="another")
    assert [prompt.text for prompt in who.head.prompts] == ["where is my card?", "another"]


@pytest.mark.parametrize("given", ["text", "columns"])
async def test_a_record_is_read_as_it_was_trained(given):
    """The fields of its record, those within a field too, and no others: of JSON as text, and of columns."""
    record = {"note": "late", "account": {"blocked": True, "years": 3}, "tags": ["a", "b"], "name": "not trained on"}
    who = replace(specialist(2.0, 0.0, -1.0), record=("note", "account", "tags"))
    task = {"text": json.dumps(record)} if given == "text" else {"text": "all of it", "columns": cells_of(record)}
    await consult(who, **task)

    assert who.head.prompts[0].text == "account.blocked: true\naccount.years: 3\nnote: late\ntags: a, b"
