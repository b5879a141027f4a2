import asyncio
import json
from dataclasses import replace

import numpy as np
import pytest

from coterie.errors import EngineTimeout
from coterie.learning.dataset import Row
from coterie.learning.evaluation import Confusion, judge_labels
from coterie.learning.measure import AT_ONCE, evaluate
from coterie.tasks.generate.rows import judge as judge_texts
from coterie.tasks.score.rows import judge as judge_scores
from coterie.testing import make_finding
from coterie.types import ContextView, Finding, SpecialistCard


def card(task="classify"):
    return SpecialistCard(name="triage", task=task, description="", rung="lexical", version="0")


def finding(value, *, confidence=0.9, accepted=True, in_scope=None):
    return make_finding(value, confidence=confidence, accepted=accepted, in_scope=in_scope)


class Answers:
    """A specialist that says what it is told to, by the text of the task."""

    def __init__(self, findings, *, task="classify"):
        self.card = card(task)
        self.findings = findings
        self.running = 0
        self.most = 0

    async def consult(self, task, view, *, call=None):
        assert view == ContextView()
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        result = self.findings[task.text]
        if isinstance(result, Exception):
            raise result
        return result


CASES = [
    (Row(text="right", labels=("card",)), finding("card", confidence=0.9)),
    (Row(text="wrong", labels=("card",)), finding("loan", confidence=0.6)),
    (Row(text="wrong again", labels=("card",)), finding("loan", confidence=0.6)),
    (Row(text="shy", labels=("loan",)), finding("loan", confidence=0.4, accepted=False)),
    (Row(text="out"), finding("card", confidence=0.3, accepted=False)),
    (Row(text="out, but answered"), finding("card", confidence=0.5)),
]


async def test_the_figures_of_a_classifier():
    """Each figure is over the rows it speaks of; abstaining is right where there is no label, and wrong elsewhere."""
    rows, findings = zip(*CASES, strict=True)
    seen = []
    report = await evaluate(Answers({row.text: judgement for row, judgement in CASES}), rows, progress=seen.append)

    assert report.n == 6
    assert report.labelled == 4
    assert report.accuracy == 0.5
    assert report.macro_f1 == pytest.approx((0.5 + 0.5) / 2)
    assert report.coverage == 0.75
    assert report.accepted_accuracy == pytest.approx(1 / 3)
    assert report.oos_recall == 0.5
    assert report.joint_accuracy == pytest.approx(2 / 6)
    assert report.oos_auroc == pytest.approx((2 + 2 + 2 + 1) / 8)
    assert report.ece == pytest.approx((0.1 + 1.2 + 0.6) / 4)
    assert report.confusions == (Confusion(label="card", predicted="loan", count=2),)
    assert sum(seen) == 6
    assert report == judge_labels(rows, findings)


async def test_json_has_the_promised_shape():
    """Scripts find the promised keys, null where there is no figure, and strict JSON."""
    rows = [row for row, _ in CASES[:4]]
    report = await evaluate(Answers({row.text: judgement for row, judgement in CASES}), rows)
    out = json.loads(json.dumps(report.to_json(), allow_nan=False))

    assert out["oos_auroc"] is None
    assert out["oos_recall"] is None
    assert {"n", "accuracy", "macro_f1", "coverage", "accepted_accuracy", "ece", "joint_accuracy"} <= out.keys()
    assert out["confusions"] == [{"label": "card", "predicted": "loan", "count": 2}]
    assert out["intervals"]["accuracy"][0] <= 0.5 <= out["intervals"]["accuracy"][1]


def test_the_in_scope_score_tells_scope_when_there_is_one():
    """AUROC is of the finding's in-scope score, and not of its confidence."""
    rows = [Row(text="", labels=("a",)), Row(text="")]
    findings = [finding("a", confidence=0.2, in_scope=5.0), finding("a", confidence=0.9, in_scope=-3.0)]

    assert judge_labels(rows, findings).oos_auroc == 1


def test_only_rows_out_of_scope():
    """Without a labelled row there is no accuracy, and none is made up."""
    report = judge_labels([Row(text="a"), Row(text="b")], [finding("x"), finding(None, accepted=False)])

    assert (report.accuracy, report.macro_f1, report.coverage, report.ece, report.oos_auroc) == (None,) * 5
    assert (report.oos_recall, report.joint_accuracy) == (0.5, 0.5)


def test_nothing_accepted():
    """The accuracy of no answer is unknown."""
    report = judge_labels([Row(text="a", labels=("x",))], [finding("x", accepted=False)])

    assert report.accepted_accuracy is None
    assert (report.accuracy, report.coverage, report.joint_accuracy) == (1, 0, 0)


def test_no_rows():
    """An empty file has no figures."""
    assert judge_labels([], []).to_json()["accuracy"] is None


def test_a_missing_value_is_a_miss():
    """A finding without a value is wrong, and no label of its own."""
    report = judge_labels([Row(text="a", labels=("x",))] * 2, [finding("x"), finding(None, accepted=False)])

    assert report.accuracy == 0.5
    assert report.macro_f1 == pytest.approx(2 / 3)
    assert report.confusions == (Confusion(label="x", predicted=None, count=1),)


def test_one_of_a_rows_labels_is_enough_for_a_single_label():
    """Where a row has several right labels, a specialist that names one of them is right."""
    rows = [Row(text="a", labels=("x", "y")), Row(text="b", labels=("x",))]
    report = judge_labels(rows, [finding("y"), finding("y")])

    assert report.accuracy == 0.5


def test_label_sets_must_be_right_as_a_whole():
    """Of several labels all must be right; F1 is over labels, and an empty set is silence."""
    rows = [Row(text="a", labels=("x", "y")), Row(text="b", labels=("x",)), Row(text="c")]
    report = judge_labels(rows, [finding(("y", "x")), finding(("x", "z")), finding(())])

    assert report.accuracy == 0.5
    assert report.micro_f1 == pytest.approx(6 / 7)
    assert report.macro_f1 == pytest.approx((1 + 1 + 0) / 3)
    assert report.joint_accuracy == pytest.approx(2 / 3)


async def test_the_figures_of_a_score():
    """A probability is judged by ranking and error, and as a label from one half."""
    rows = [Row(text=str(i), labels=(label,), columns={"x": i}) for i, label in enumerate("0011")]
    values = [0.1, 0.6, 0.4, 0.9]
    report = await evaluate(
        Answers({str(i): finding(p) for i, p in enumerate(values)}, task="score"), rows, judge=judge_scores
    )

    assert report.auc == 0.75
    assert report.accuracy == 0.5
    assert report.brier == pytest.approx(np.mean([0.01, 0.36, 0.36, 0.01]))
    assert report.intervals["auc"].low <= 0.75 <= report.intervals["auc"].high


async def test_rows_are_asked_side_by_side_within_bounds():
    """Enough rows are in flight to fill a batch, never more than the bound, and results keep their order."""
    rows = [Row(text=str(i), labels=(str(i),)) for i in range(500)]
    specialist = Answers({str(i): finding(str(i)) for i in range(500)})
    report = await evaluate(specialist, rows)

    assert report.accuracy == 1
    assert specialist.most == AT_ONCE


async def test_rows_are_asked_one_after_the_other():
    """Where every digit has to be the same again, no batch is a matter of chance."""
    rows = [Row(text=str(i), labels=(str(i),)) for i in range(20)]
    specialist = Answers({str(i): finding(str(i)) for i in range(20)})
    await evaluate(specialist, rows, at_once=1)

    assert specialist.most == 1


async def test_an_error_stops_the_others():
    """The first error is raised as it is, and what was running is cancelled."""
    findings = {str(i): finding("x") for i in range(500)}
    findings["100"] = EngineTimeout("too late", engine="onnx")
    before = len(asyncio.all_tasks())
    with pytest.raises(EngineTimeout, match="too late"):
        await evaluate(Answers(findings), [Row(text=str(i), labels=("x",)) for i in range(500)])

    assert len(asyncio.all_tasks()) == before


def test_rows_that_were_cut_are_counted():
    """The figures say of how many rows only the beginning was read."""
    cut = replace(finding("card"), truncated=True)
    rows = [Row(text="a", labels=("card",))] * 3

    assert judge_labels(rows, [cut, finding("card"), cut]).truncated == 2
    assert judge_labels(rows, [finding("card")] * 3).to_json()["truncated"] == 0


async def test_vectors_of_cut_texts():
    """A vector that is known already can be of the beginning of its text; the specialist is told."""
    truncated = {}

    class Notes(Answers):
        async def consult(self, task, view, *, call=None):
            truncated[task.text] = task.truncated
            return await super().consult(task, view, call=call)

    rows = [Row(text="long", labels=("card",)), Row(text="short", labels=("card",))]
    who = Notes({"long": finding("card"), "short": finding("card")})
    await evaluate(who, rows, vectors=np.ones((2, 3)), truncated=np.array([True, False]))

    assert truncated == {"long": True, "short": False}


# --- Written texts -----------------------------------------------------------------------------------


def wrote(text: str, confidence: float = 0.9, *, accepted: bool = True) -> Finding:
    return replace(finding(text), text=text, confidence=confidence, accepted=accepted, task="generate")


def test_written_texts_are_held_against_the_replies_that_should_be():
    """Right from the token F1 that is asked for, with any of a row's replies; case and spaces make no other text."""
    rows = [
        Row(text="a", labels=("Your card is lost.", "It is lost")),
        Row(text="b", labels=("Your card is here.",)),
        Row(text="c", labels=("Call us.",)),
        Row(text="d"),
    ]
    findings = [wrote("it is  LOST"), wrote("your card was here"), wrote("", accepted=False), wrote("anything")]
    strict, lax = (judge_texts(rows, findings, alike=alike) for alike in (0.8, 0.7))

    assert (strict.n, strict.labelled) == (4, 3)
    assert strict.token_f1 == pytest.approx((1.0 + 0.75 + 0.0) / 3)
    assert strict.exact_match == pytest.approx(1 / 3)
    assert (strict.accuracy, lax.accuracy) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    assert (strict.coverage, strict.accepted_accuracy) == (pytest.approx(2 / 3), 0.5)
    assert strict.right == (True, False, False)
    assert {"token_f1", "exact_match", "accuracy"} <= strict.to_json()["intervals"].keys()
