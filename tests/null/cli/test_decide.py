"""`coterie decide` and `decisions`."""

import json
from types import SimpleNamespace

import pytest

from coterie.types import Reason

UNSURE = {"confidence": 0.96, "needed": 0.97, "decimals": 2}
CHOICE = ("--choice", "way=by post|by hand|by van")


def test_answers_and_sites(run, folder, network):
    """A table of answers with who gave them; then each question is a site with its volume."""
    network()
    result = run(
        "-C", folder, "decide", "where is it?", *CHOICE, "--predicate", "late=It is late.", "--score", "s=low|high"
    )
    listed = run("-C", folder, "decisions", "--json").json["sites"]

    assert result.code == 0, result.err
    assert "encoder" in result.out
    assert "calibrated" in result.err
    assert {entry["name"]: (entry["kind"], entry["asked"]) for entry in listed} == {
        "way": ("choice", 1),
        "late": ("predicate", 1),
        "s": ("score", 1),
    }
    assert run("-C", folder, "decisions").out.count("choice: by post") == 1
    report = run("-C", folder, "report", "--json").json
    assert report["questions"] == {"sites": 3, "asked": 3, "accepted": 0, "zero_shot": 3}


def test_why_a_specialist_is_not_sure(run, folder, monkeypatch):
    """What a trained specialist does not accept is said with its reason; zero-shot answers have one for all."""
    common = {"value": "by post", "confidence": 0.96, "answered_by": "triage", "site": "0" * 16}
    unsure = SimpleNamespace(
        question="way", accepted=False, zero_shot=False, reason=Reason("abstain.below_threshold", **UNSURE), **common
    )
    answer = SimpleNamespace(
        decisions=[unsure, SimpleNamespace(**{**vars(unsure), "question": "late", "zero_shot": True})],
        trace=SimpleNamespace(egress_summary="large; internal; pseudonymised", id="t1"),
    )
    monkeypatch.setattr("coterie.cli.ask.with_network", lambda *_: answer)
    result = run("-C", folder, "decide", "where is it?", *CHOICE)

    assert "[egress large; internal; pseudonymised; trace t1]" in result.out
    assert f"way: {unsure.reason}" in result.err
    assert "late:" not in result.err


def test_json_and_a_file(run, folder, network, tmp_path):
    """Questions come from a file too; `--json` has probabilities by option."""
    network()
    file = tmp_path / "questions.json"
    file.write_text(json.dumps({"way": {"type": "choice", "criteria": {"by post": "a parcel", "by hand": None}}}))
    document = run("-C", folder, "decide", '{"note": "where?"}', "--questions", file, "--json").json

    assert sum(document["probabilities"][0].values()) == pytest.approx(1)
    assert document["decisions"][0]["zero_shot"] is True


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{}", "read: Dictionary"),
        ('{"k": {"type": "odd"}}', "read: k: "),
        ("[", "read: Expecting"),
        ('{"k": {"type": "choice", "criteria": {"a": null, "b": null, "a": null}}}', "the name 'a' is given twice"),
        ('{"k": {"type": "noul", "instructions": "?"}, "k": {"type": "noul"}}', "the name 'k' is given twice"),
        (None, "read: No such file or directory."),
    ],
)
def test_a_file_that_has_no_questions(run, folder, network, tmp_path, *, content, said):
    """The message has the place, and how to write one."""
    network()
    file = tmp_path / "questions.json"
    if content is not None:
        file.write_text(content)
    result = run("-C", folder, "decide", "where?", "--questions", file)
    assert (result.code, said in result.err, '"type": "noul"' in result.err) == (2, True, True), result.err


@pytest.mark.parametrize(
    "words",
    [
        ("where?",),
        ("where?", "--choice", "way"),
        ("where?", "--choice", "way=one"),
        ("where?", "--choice", "way=a|a"),
        ("", *CHOICE),
        ("where?", *CHOICE, "--questions", "nowhere.json"),
        ("where?", *CHOICE, "--label", "loud"),
    ],
)
def test_what_cannot_be_asked(run, folder, network, words):
    """It is an error with a hint or what was found, and no traceback."""
    network()
    result = run("-C", folder, "decide", *words)

    assert result.code not in {0, 70}
    assert "Error" in result.err


def test_nothing_asked_yet(run, folder):
    """It says how to ask."""
    assert "coterie decide" in run("-C", folder, "decisions").out


def test_a_question_that_lacks_something(folder, run, tmp_path):
    """The error names the place in the file and what is missing there."""
    (tmp_path / "q.json").write_text('{"topic": {"type": "choice"}}')
    result = run("-C", folder, "decide", "hi", "--questions", tmp_path / "q.json", "--json")
    assert result.code == 2
    assert "topic.choice.criteria: Field required" in result.json["error"]["message"]
