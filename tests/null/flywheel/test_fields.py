"""Jobs whose answers are JSON objects: found, trained field by field, answered whole, compared by values."""

import json
import random
from dataclasses import dataclass, replace

import pytest

from coterie.config.file import parse_config
from coterie.config.operation import ROWS_FOLDER
from coterie.engines.onnx import OnnxEncoder
from coterie.errors import InputError
from coterie.flywheel.deployments import Deployments, KnownJob
from coterie.flywheel.discovery import RecordedCall, answers_of, discover, fold, ranked
from coterie.flywheel.fields import BARE, ClosedFields, FieldsSpecialist, ListForm, object_of, values_of
from coterie.flywheel.review import ReviewQueue
from coterie.flywheel.runs import FlywheelRunner
from coterie.flywheel.training import field_name, load_version, rows_of
from coterie.registry.registry import open_registry
from coterie.testing import FakeClock
from coterie.types import SYSTEM, AcceptanceOverride, ContextView, Finding, Reason, SpecialistCard, Task, worded
from tests._support.audit import Notes

from .conftest import NOW
from .test_runs import WORDS, calls

KEYS = ("intent", "urgent")
CARD = SpecialistCard(name="job", task="classify", description="", rung="lexical", version="v")


@dataclass
class Part:
    """A specialist of one field."""

    value: str
    confidence: float
    accepted: bool = True
    card: SpecialistCard = CARD

    async def consult(self, task, view, *, call=None):
        """Say its value; with another threshold as sure as that."""
        override = task.acceptance_override
        accepted = self.accepted if override is None else self.confidence >= override.confidence
        return Finding(
            specialist="part",
            value=self.value,
            text=self.value,
            confidence=self.confidence,
            accepted=accepted,
            reason=worded("x"),
        )


def test_objects_are_compared_by_their_values():
    """Order of keys, fences and the spelling of texts do not count; other values do."""
    one = '{"intent": "Lost", "urgent": true}'
    assert fold(one) == fold('```json\n{"urgent": true, "intent": "lost."}\n```')
    assert fold(one) != fold('{"intent": "lost", "urgent": false}')
    assert fold("lost {x}") == "lost {x}"
    assert values_of(one, KEYS) == {"intent": '"Lost"', "urgent": "true"}
    assert values_of('{"intent": "lost"}', KEYS) is None
    assert values_of("sorry", KEYS) is None


def test_a_list_of_labels_is_compared_as_a_set():
    """In any order, case and fence; text around it is part of an answer, and lists of objects keep their order."""
    assert fold('["slugs", "Mildew"]') == fold('```json\n["mildew", "slugs"]\n```') != fold('["slugs"]')
    assert fold('["slugs", "Mildew"]') == fold("mildew, slugs") == fold("- Slugs\n- mildew")
    assert fold("1,200") != fold("200,1")
    assert fold("post - letters") != fold("postletters")
    assert fold('{"found": ["b", "a"]}') == fold('{"found": ["a", "b"]}')
    assert fold("lost [1]") != fold("stolen [1]")
    assert fold('[{"a": 1}, {"a": 2}]') != fold('[{"a": 2}, {"a": 1}]')


@pytest.mark.parametrize(
    ("lists", "told"),
    [
        (["[1, 2]", "[2, 1]", "[1, 3]"], True),
        (["[1, 2]", "[2, 1]", "[1]"], False),
        (["a; b; c", "c; a; b", "d; a; b"], True),
        (["[1, 2]", "[1, 3]"], False),
        (["[1]", "[2]"], False),
        (["one", "two"], False),
    ],
)
def test_lists_of_one_length_whose_order_changes_may_be_rankings(lists, told):
    """They are no labels: what is trained on sets would answer in any order."""
    assert ranked(lists) is told
    assert (answers_of(lists * 10).shape == "text") is told


def test_two_wordings_whose_lists_come_in_any_order_are_one_job():
    """Labels of a text, the order of which is chance, are a closed set; wordings of one job are merged."""
    rng = random.Random(3)
    signs = {
        "slugs": "slime holes night trail",
        "mildew": "white powder flour film",
        "drought": "dry dust crumbles rain",
    }
    calls = []
    for number in range(300):
        labels = rng.sample(sorted(signs), rng.choice((1, 1, 2)))
        report = " ".join(rng.choice(signs[label].split()) for label in labels for _ in range(4))
        prompt = (
            f"List all problems of the plant as a JSON array. Report: {report}",
            f"Here is what one of our customers has to report: {report} (answer with a list of the problems)",
        )[number % 2]
        calls.append(RecordedCall(prompt=(("user", prompt),), answer=json.dumps(labels)))
    (job,) = discover(calls).jobs

    assert (job.answers.shape, len(job.templates), len(job.calls)) == ("lists", 2, 300)
    assert set(job.answers.labels) == set(signs)


@pytest.mark.parametrize(
    ("answers", "shape"),
    [
        (["a", "b", "a, b", "c", "b, c"], "lists"),
        (['["a"]', '["b"]', '["a", "b"]', "[]"], "lists"),
        (["Health, Safety", "Legal", "Tax"], "labels"),
        (["Austin, TX", "Buffalo, NY", "Albany, NY"], "labels"),
        ([*"ab" * 20, "a, b"], "labels"),
    ],
)
def test_answers_are_lists_where_labels_recombine(answers, shape):
    """There are more sets than labels, and several labels are no exception; a label may have a comma."""
    assert answers_of(answers * 10).shape == shape


@pytest.mark.parametrize(
    ("answers", "written"),
    [
        (["c, a", "a, b", "c, b", "b"], "c, a, b"),
        (["c; a", "a; b", "c; b", "b"], "c; a; b"),
        (["- c\n- a", "- a\n- b", "- c\n- b", "- b"], "- c\n- a\n- b"),
        (['["c","a"]', '["a", "b"]', '["c", "b"]', '["b"]'], '["c", "a", "b"]'),
    ],
)
def test_a_list_is_written_as_the_model_writes_it(answers, written):
    """In its order, also of labels that never stood together, and with its marks; none is empty if it never was."""
    values = [values_of(each, BARE)[""] for each in answers * 5]
    closed = ClosedFields.of([{"": each} for each in values], BARE)
    form = closed.lists[""]
    assert object_of({"": form.written(['"a"', '"b"', '"c"'])}) == written
    assert form.written([]) is None
    assert closed.row(values_of("b, zebra", BARE)) is None


def test_a_field_of_free_text_is_open():
    """Its rows cannot be learnt; rare values of a closed one are left out, and spellings are the usual ones."""
    rows = [{"a": '"X"' if i % 4 == 0 else '"x"', "b": json.dumps(f"text {i}")} for i in range(40)]
    assert ClosedFields.of(rows, ("a", "b")).open_fields == ("b",)
    found = ClosedFields.of([*rows, {"a": '"y"', "b": "1"}], ("a",))
    assert (found.open_fields, found.row(rows[0]), found.row({"a": '"y"'})) == ((), {"a": '"x"'}, None)


@pytest.mark.parametrize(
    ("accepted_parts", "threshold", "accepted", "code"),
    [
        (True, None, True, "accept.fields"),
        (False, None, False, "abstain.fields"),
        (True, 0.8, True, "accept.above_override"),
        (True, 0.82, False, "abstain.below_override"),
    ],
)
async def test_an_object_is_answered_whole_or_not(accepted_parts, threshold, accepted, code):
    """Each field accepts; with a threshold of the deployment the product of confidences reaches it."""
    parts = {"intent": Part('"lost"', 0.9), "urgent": Part("true", 0.9, accepted_parts)}
    made = FieldsSpecialist(card=CARD, parts=parts, keys=("intent", "lang", "urgent"), constants={"lang": '"en"'})
    override = None if threshold is None else AcceptanceOverride(confidence=threshold, reason=Reason("x"))
    finding = await made.consult(Task(text="t", acceptance_override=override), ContextView(), call=SYSTEM)
    assert (finding.accepted, finding.confidence, finding.reason.code) == (accepted, pytest.approx(0.81), code)
    assert json.loads(finding.text) == {"intent": "lost", "lang": "en", "urgent": True}


async def test_from_captured_objects_to_a_shadow_that_answers_them(store, tmp_path):
    """With real training: two closed fields and a constant one, noisy objects left out, one specialist a field."""
    draw = random.Random(5)
    some = []
    for call in calls(300):
        urgent = draw.random() < 0.5
        answer = {"intent": call.answer, "urgent": urgent, "lang": "en"}
        text = call.prompt[0][1] + (" hurry now" if urgent else " no rush")
        answer_text = json.dumps(answer) if draw.random() < 0.9 else json.dumps(answer)[:-5]
        some.append(replace(call, prompt=(("user", text),), answer=answer_text))
    await store.flywheel.add_examples(some)
    config = parse_config("[capture]\nenabled = true\n[flywheel]\ncalls = 200\n")
    books = Deployments(store=store.flywheel, audit=Notes(), clock=FakeClock(NOW + 10_000))
    encoder = OnnxEncoder.bundled(threads=1)

    async def load(job, deployment):
        registry = open_registry(tmp_path, config.registry)
        return await load_version(registry, config, job, deployment, encoder=encoder, encoder_sha256=encoder.sha256)

    runner = FlywheelRunner(books=books, config=config, folder=tmp_path, load=load, encoder=encoder)
    kinds = [step.kind for step in (await runner.run()).steps]
    assert kinds == ["discover", "train", "shadow"]
    assert not list((tmp_path / ROWS_FOLDER).iterdir())  # captured texts are in the store alone
    (job,), (made,) = await books.jobs(), await books.deployments()
    assert (job.shape, set(job.labels), made.fields["lang"]) == ("json", {"intent", "urgent", "lang"}, '="en"')
    specialist = await load(job, made)
    word = WORDS["fee"][0]
    finding = await specialist.consult(Task(text=f"{word} {word} number 7 hurry now"), ContextView(), call=SYSTEM)
    assert json.loads(finding.text) == {"intent": "fee", "urgent": True, "lang": "en"}
    plan = await runner.run(only=field_name(job, "intent"), retrain=True, dry_run=True)  # as erasure names it
    assert ("train", job.name) in {(step.kind, step.job) for step in plan.steps}
    await encoder.close()


def test_rows_of_objects_have_the_usual_spelling():
    """Objects with other keys are none of the job's answers."""
    job = KnownJob(id="j1", name="x", shape="json", labels={key: key for key in KEYS})
    some = [
        replace(call, job="j1", input=f"text {i}", answer='{"urgent":true,"intent":"a"}' if i % 5 else "{}")
        for i, call in enumerate(calls(60))
    ]
    rows = rows_of(job, some, [], audit_share=0.1)
    assert {label for _, label in rows.rows} == {object_of({"intent": '"a"', "urgent": "true"})}
    assert rows.of_field("urgent", KEYS)[0][1] == "true"


async def test_a_list_without_a_label_is_an_answer_only_where_the_model_gave_some():
    """Otherwise the call goes on: that nothing holds may be that nothing is known."""
    for empty in (True, False):
        form = ListForm(order=('"a"', '"b"'), empty=empty)
        made = FieldsSpecialist(card=CARD, parts={"": Part((), 0.9)}, keys=BARE, constants={}, lists={"": form})
        found = await made.consult(Task(text="t"), ContextView(), call=SYSTEM)
        assert found.accepted == empty
    made = FieldsSpecialist(card=CARD, parts={"": Part(('"b"', '"a"'), 0.9)}, keys=BARE, constants={}, lists={"": form})
    assert (await made.consult(Task(text="t"), ContextView(), call=SYSTEM)).text == '["a", "b"]'


@pytest.mark.parametrize("form", ["text", "object"])
async def test_from_captured_lists_to_a_shadow_that_answers_them(store, tmp_path, form):
    """With real training: a decision for each label, whole answers as the model writes them, one job throughout."""
    draw, order = random.Random(5), ("water", "light", "roof", "heating")
    signs = {
        "water": "tap leak pipe drip",
        "light": "bulb switch lamp dark",
        "roof": "tile rain attic gutter",
        "heating": "radiator cold boiler valve",
    }
    some = []
    for each in calls(400):
        labels = sorted(draw.sample(order, draw.choice((1, 1, 2, 3))), key=order.index)
        said = " ".join(draw.choice(signs[label].split()) for label in labels for _ in range(3))
        answer = ", ".join(labels) if form == "text" else json.dumps({"trades": labels})
        prompt = f"Which trades does this repair need? Several may. Tenant: {said} in flat {draw.random()}"
        some.append(replace(each, prompt=(("user", prompt),), answer=answer))
    await store.flywheel.add_examples(some)
    config = parse_config("[capture]\nenabled = true\n[flywheel]\ncalls = 200\n")
    books = Deployments(store=store.flywheel, audit=Notes(), clock=FakeClock(NOW + 10_000))
    encoder = OnnxEncoder.bundled(threads=1)

    async def load(job, deployment):
        registry = open_registry(tmp_path, config.registry)
        return await load_version(registry, config, job, deployment, encoder=encoder, encoder_sha256=encoder.sha256)

    runner = FlywheelRunner(books=books, config=config, folder=tmp_path, load=load, encoder=encoder)
    assert [step.kind for step in (await runner.run()).steps] == ["discover", "train", "shadow"]
    (job,), (made,) = await books.jobs(), await books.deployments()
    assert (job.shape, set(job.labels)) == (("lists", set(order)) if form == "text" else ("json", {"trades"}))
    found = await (await load(job, made)).consult(
        Task(text="radiator boiler cold tap leak drip"), ContextView(), call=SYSTEM
    )
    assert found.text == ("water, heating" if form == "text" else '{"trades": ["water", "heating"]}')
    assert found.accepted

    queue = ReviewQueue(books, config.flywheel)
    item = await queue.next(job.name, reviewer="ann")
    key = "" if form == "text" else "trades"
    assert (set(item.fields[key]), item.several) == ({json.dumps(each) for each in order}, (key,))
    label = await queue.answer(
        item.example, "Heating; water" if form == "text" else '{"trades": ["water"]}', reviewer="ann"
    )
    assert fold(label.value) == fold("water, heating" if form == "text" else '{"trades": ["water"]}')
    with pytest.raises(InputError):
        await queue.answer(item.example, "water, zebra" if form == "text" else '["water"]', reviewer="ann")
    asked = await runner.run(only=field_name(job, key), retrain=True, dry_run=True)  # as erasure names it
    assert ("train", job.name) in {(step.kind, step.job) for step in asked.steps}
    await encoder.close()
