"""`coterie privacy find`: what a text has in it, shown, as JSON, and taken out."""

import io
import json
import sys

import pytest

TEXT = "Mail anna@example.org, password=hunter2.\n"


@pytest.fixture
def letter(tmp_path):
    """A file with an address and a secret."""
    path = tmp_path / "letter.txt"
    path.write_text(TEXT)
    return path


def test_shown(run, letter):
    """Each thing with its place and its label, then the label of the whole; no network is needed."""
    told = run("privacy", "find", letter)

    assert told.code == 0
    assert "5-21" in told.out
    assert "anna@example.org" in told.out
    assert "restricted" in told.out.splitlines()[-1]


def test_json(run, letter):
    """The same for scripts."""
    document = run("privacy", "find", letter, "--json", "--redact").json

    assert document["label"] == "restricted"
    assert [(each["kind"], each["text"], each["label"]) for each in document["found"]] == [
        ("EMAIL", "anna@example.org", "confidential"),
        ("SECRET", "hunter2", "restricted"),
    ]
    assert document["redacted"] == "Mail <EMAIL_1>, password=<SECRET_1>.\n"


def test_redacted(run, letter):
    """The text comes back with placeholders and is otherwise as it was."""
    assert run("privacy", "find", letter, "--redact").out == "Mail <EMAIL_1>, password=<SECRET_1>.\n"


def test_standard_input(run, monkeypatch):
    """A text may come through a pipe; one without personal data asks for nothing."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"nothing here"), encoding="utf-8"))
    document = run("privacy", "find", "-", "--json", "--detector", "patterns").json

    assert document["label"] is None
    assert document["found"] == []
    assert document["detector"]["name"] == "patterns"
    assert "names" in document["detector"]["cannot_see"]


def test_best_detector(run, folder, letter):
    """Where neither option nor file names a detector, the best one looks; which one, and its limits, is said."""
    letter.write_text("Sehr geehrte Frau Anna Schmidt, Ihr Paket kommt.")
    told = run("-C", folder, "privacy", "find", letter, "--redact")

    assert told.out == "Sehr geehrte Frau <PERSON_1>, Ihr Paket kommt.\n"
    assert "names" in told.err
    assert "does not find" in told.err


def test_setting(run, folder, letter):
    """The network's setting is the default of the option."""
    (folder / "coterie.toml").write_text((folder / "coterie.toml").read_text() + '\n[privacy]\ndetector = "patterns"\n')
    letter.write_text("My name is Maria Schneider.")

    assert run("-C", folder, "privacy", "find", letter, "--json").json["found"] == []
    assert run("-C", folder, "privacy", "find", letter, "--json", "--detector", "names").json["found"]


def test_bad_input(run, tmp_path, letter):
    """What is no text, no file or no detector is said in words."""
    broken = tmp_path / "x.bin"
    broken.write_bytes(b"abc\xff")

    for words, message in (
        ((broken,), "byte 3"),
        ((tmp_path / "none",), "Cannot read"),
        ((letter, "--detector", "magic"), "magic"),
    ):
        told = run("privacy", "find", *words)
        assert told.code in {2, 3}, told
        assert message in told.err


@pytest.fixture
def marked(tmp_path):
    rows = [
        {"text": f"{name} wrote to {name.lower()}@example.org", "spans": [
            {"kind": "PERSON", "start": 0, "end": len(name)},
            {"kind": "EMAIL", "start": len(name) + 10, "end": 2 * len(name) + 22},
        ]}
        for name in ("Maria", "Tom")
    ]  # fmt: skip
    rows.append({"text": "x", "spans": [{"kind": "MOOD", "start": 0, "end": 1}]})
    path = tmp_path / "marked.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def test_measured(run, marked):
    """Each marked kind with precision and recall, as a table and for scripts; kinds that nobody knows are named."""
    told = run("privacy", "eval", marked, "--detector", "patterns")
    document = run("privacy", "eval", marked, "--detector", "patterns", "--json").json

    assert told.code == 0
    assert "MOOD (1)" in told.err
    assert [line.split()[:3] for line in told.out.splitlines() if "EMAIL" in line] == [["EMAIL", "2", "2"]]
    assert document["kinds"]["EMAIL"] == {
        "precision": 1.0, "recall": 1.0, "f1": 1.0, "marked": 2, "found": 2, "right": 2,
    }  # fmt: skip
    assert document["kinds"]["PERSON"]["recall"] == 0.0
    assert document["kinds"]["PERSON"]["precision"] is None
    assert document["unknown_kinds"] == {"MOOD": 1}
