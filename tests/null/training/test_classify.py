"""`classify` on every shape of data: two labels, many, few rows, several labels a row."""

import asyncio
import json
from dataclasses import replace

import numpy as np
import pytest

from coterie.config.specialists import make_section
from coterie.errors import DataError
from coterie.learning import fitting
from coterie.learning.fitting import TextExamples
from coterie.registry.registry import Registry
from coterie.tasks.classify import fit as _classify
from coterie.tasks.versions import load_specialist
from coterie.types import ContextView, Task

CLASSIFY = {"task": "classify"}


@pytest.fixture
def ask(tmp_path, encoder):
    """Asks the champion as the network would: `ask("a text", multi_label=True)`."""

    def ask(text: str, **section: object):
        version = Registry(tmp_path / "registry").champion("it")
        described = make_section(task="classify", data="x", **section)
        specialist = load_specialist("it", described, version, encoder=encoder, models={})
        return asyncio.run(specialist.consult(Task(text=text), ContextView()))

    return ask


def rungs(report) -> dict:
    return {row["rung"]: row for row in report.specialists["it"].report["rungs"]}


@pytest.mark.parametrize("labels", [2, 4])
@pytest.mark.parametrize("rung", ["lexical", "embedding"])
def test_learns(trained, texts, ask, labels, rung):
    """Both rungs learn two labels as well as four, and the stored specialist says what training measured."""
    result = trained({**CLASSIFY, "rungs": [rung]}, texts(labels=labels, each=40))
    finding = ask("please where is the parcel courier", writes=("intent",))

    assert rungs(result)[rung]["held_out"]["accuracy"] == 1.0
    assert finding.value == "parcel"
    assert finding.accepted
    assert [(fact.name, fact.value) for fact in finding.facts] == [("intent", "parcel")]
    assert finding.evidence[0].name == "parcel"
    assert sum(evidence.weight for evidence in finding.evidence) <= 1.0 + 1e-6


@pytest.mark.parametrize("rung", ["lexical", "embedding"])
def test_what_is_unlike_everything_is_not_answered(trained, texts, ask, rung):
    """A text without one known word is rejected as unlike the training texts."""
    trained({**CLASSIFY, "rungs": [rung]}, texts(labels=4, each=40))
    finding = ask("zebra quartz fjord hymn vex")

    assert not finding.accepted
    assert "abstain.out_of_scope" in finding.reason.codes
    assert finding.in_scope is not None


def test_accepted_answers_keep_the_target_risk(trained, texts):
    """With an eighth of the labels wrong, what is accepted on fresh rows keeps the target risk."""
    rows = texts(labels=3, each=200)
    for i in range(0, len(rows), 8):
        rows[i] = {**rows[i], "label": "card" if rows[i]["label"] != "card" else "parcel"}
    section = {**CLASSIFY, "target_risk": 0.2, "rungs": ["lexical"]}
    held_out = rungs(trained(section, rows))["lexical"]["held_out"]

    assert held_out["coverage"] > 0.5
    assert held_out["accepted_accuracy"] >= 0.8


def test_three_rows_a_label(trained, texts):
    """Three rows a label train, are measured, and accept nothing, since so few rows prove nothing."""
    row = rungs(trained(CLASSIFY, texts(labels=4, each=3)))["lexical"]

    assert row["threshold"]["value"] is None
    assert "at least 59 calibration rows" in row["threshold"]["reason"]


def test_a_label_with_one_training_row(trained, texts, ask):
    """A label of two rows, one of them held out, is in no fold but its own: it trains without an error."""
    rows = [*texts(labels=2, each=20), {"text": "login password code", "label": "login"}]
    rows.append({"text": "email account locked", "label": "login"})
    result = trained({**CLASSIFY, "rungs": ["embedding"]}, rows)

    assert result.specialists["it"].report["labels"] == 3
    assert ask("hello").value in {"card", "parcel", "login"}


def test_one_row_is_refused(trained, texts):
    """A label with a single row cannot be trained and measured: the file is explained."""
    with pytest.raises(DataError, match="'login'"):
        trained(CLASSIFY, [*texts(labels=2), {"text": "login password code", "label": "login"}])


def test_few_groups_make_fewer_folds(trained, texts):
    """Rows of three groups, one of them held out, are dealt into two folds and not refused."""
    rows = [{**row, "doc": f"d{i % 3}"} for i, row in enumerate(texts(labels=2, each=30))]

    assert rungs(trained({**CLASSIFY, "group_column": "doc"}, rows))["embedding"]["held_out"]["accuracy"] == 1.0


def test_any_of_several_labels_is_right(trained, texts, ask):
    """A row with a list of labels counts as right with any of them, and one label is answered."""
    rows = [{**row, "label": [row["label"], "anything"]} if i % 2 else row for i, row in enumerate(texts(each=40))]
    result = trained(CLASSIFY, rows, test=texts(each=10, seed=4))

    assert rungs(result)["embedding"]["held_out"]["accuracy"] > 0.9
    assert isinstance(ask("my card was stolen").value, str)


def both(rows):
    """Rows with the labels of two rows and both their texts; every fifth has no label at all."""
    pairs = zip(rows, rows[1:] + rows[:1], strict=True)
    joined = [{"text": f"{a['text']} {b['text']}", "label": sorted({a["label"], b["label"]})} for a, b in pairs]
    return [
        {"text": "tell me now please again sir", "label": []} if i % 5 == 0 else row for i, row in enumerate(joined)
    ]


@pytest.mark.parametrize("rung", ["lexical", "embedding"])
def test_several_labels_at_once(trained, texts, ask, rung):
    """With `multi_label` all labels that hold are answered, and none is an answer too."""
    rows = both(sorted(texts(labels=3, each=60), key=lambda row: hash_of(row["text"])))
    section = {**CLASSIFY, "multi_label": True, "rungs": [rung]}
    result = trained(section, rows)
    held_out = rungs(result)[rung]["held_out"]
    two = ask("card stolen pin parcel courier late", multi_label=True, writes=("topics",))
    none = ask("tell me now please again sir", multi_label=True, writes=("topics",))

    assert held_out["micro_f1"] > 0.9
    assert held_out["coverage"] > 0.5
    assert two.value == ("card", "parcel")
    assert two.facts[0].value == "card|parcel"
    assert none.value == ()
    assert none.text == "none of the labels"
    assert none.in_scope < 0
    if none.accepted:
        assert none.facts[0].value is None


def hash_of(text: str) -> int:
    """An order of texts that has nothing to do with their labels."""
    return int.from_bytes(text.encode()[::-3], "little") % 10_007


def test_bars_of_several_measures_must_all_be_met(trained, texts):
    """Each measure of a bar counts, and the reason names them all."""
    section = {**CLASSIFY, "bar": {"accuracy": 0.5, "macro_f1": 0.999}}
    rows = texts(each=40)
    for i in range(0, len(rows), 6):
        rows[i] = {**rows[i], "label": "card"}
    report = trained(section, rows).specialists["it"].report

    assert report["metrics"]["accuracy"] > 0.5
    assert report["metrics"]["macro_f1"] < 0.999
    assert report["bar_met"] is False
    assert "no rung reaches accuracy 0.5 and macro_f1 0.999" in report["reason"]


def test_odd_texts_train(trained, texts, ask):
    """Emoji, one letter, very long texts and texts without a word train like any other."""
    odd = ["☕☕☕", "a", "...", "\u202e\u0627", "x" * 5000, "word " * 2000, "\t\n?", "1 2 3"]
    rows = [*texts(labels=2, each=20), *({"text": text, "label": "odd"} for text in odd)]
    trained({**CLASSIFY, "rungs": ["embedding"]}, rows)

    for text in odd:
        assert np.isfinite(ask(text).confidence)
    assert not ask("   ").accepted
    assert ask("").reason.code == "abstain.no_text"


def test_description_is_json_that_restores_itself(trained, texts, tmp_path):
    """What a version says of its labels and threshold is plain JSON."""
    trained({**CLASSIFY, "rungs": ["embedding"]}, texts())
    described = json.loads(Registry(tmp_path / "registry").champion("it").files["model.json"])

    assert described["labels"] == ["card", "parcel", "refund"]
    assert described["acceptance"].keys() == {"temperature", "threshold", "target_risk", "scope_threshold"}


@pytest.mark.parametrize(("set_by_hand", "accepted"), [({}, True), ({"target_risk": 0.05}, False)])
def test_few_examples_answer_at_what_they_can_show(trained, texts, ask, set_by_hand, accepted):
    """Forty examples cannot show an error of 5%: by default they answer at what they show; a set target is held."""
    report = (
        trained({**CLASSIFY, "rungs": ["embedding"], **set_by_hand}, texts(labels=2, each=20)).specialists["it"].report
    )
    finding = ask("please where is the parcel courier")

    assert finding.accepted is accepted
    assert ("keeps the error at 15% or below" in str(finding.reason)) is accepted
    assert (
        any("cannot show an error of 5% or below, only of 15%" in warning for warning in report["warnings"]) is accepted
    )


def test_what_is_expected_of_more_rows_raises_what_is_said_and_not_what_is_accepted(trained, texts, monkeypatch):
    """Calibrated on models of fewer rows, a rung says more by what the others bring; its threshold accepts as much."""
    rows = texts(labels=3, each=60)
    for i in range(0, len(rows), 6):
        rows[i] = {**rows[i], "label": "card" if rows[i]["label"] != "card" else "parcel"}
    section = {**CLASSIFY, "target_risk": 0.3, "rungs": ["lexical"]}
    as_said = rungs(trained(section, rows))["lexical"]
    fitted = _classify.fit_text
    monkeypatch.setattr(_classify, "fit_text", lambda *job: [replace(fit, gain=0.05) for fit in fitted(*job)])
    raised = rungs(trained(section, rows))["lexical"]

    assert raised["expected_gain"] == 0.05
    assert raised["line"][0] == as_said["line"][0]
    assert raised["line"][1] > as_said["line"][1]
    assert raised["threshold"]["coverage"] == as_said["threshold"]["coverage"] > 0


# --- The kernel model's out-of-fold logits.


def test_one_fit_says_what_a_fit_for_each_fold_says(monkeypatch):
    """With about as many rows as landmarks one factorisation gives every fold's logits; names are never held out."""
    random = np.random.default_rng(7)
    vectors, names = (random.normal(size=(rows, 24)).astype(np.float32) for rows in (90, 6))
    vectors, names = (matrix / np.linalg.norm(matrix, axis=1, keepdims=True) for matrix in (vectors, names))
    vectors[3] = vectors[4]  # a copy, in whichever fold it falls
    hot = np.eye(6)[random.integers(0, 6, 90)]
    folds = random.integers(0, 15, 90)
    examples = TextExamples(texts=[""] * 90, hot=hot, several=False, folds=folds, seed=0)

    at_once = fitting.fit_kernel(vectors, examples, names=names)
    monkeypatch.setattr(fitting, "_FEW_TO_A_LANDMARK", 0)
    one_by_one = fitting.fit_kernel(vectors, examples, names=names)

    np.testing.assert_allclose(at_once.out_of_fold, one_by_one.out_of_fold, atol=1e-9)
    assert at_once.ridge == one_by_one.ridge
