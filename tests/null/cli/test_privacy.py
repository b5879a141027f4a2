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
    result = run("privacy", "find", letter)

    assert result.code == 0
    assert "5-21" in result.out
    assert "anna@example.org" in result.out
    assert "restricted" in result.out.splitlines()[-1]


def test_json(run, letter):
    """The same for scripts."""
    document = run("privacy", "find", letter, "--json", "--redact").json

    assert document["label"] == "restricted"
    assert [(span["kind"], span["text"], span["label"]) for span in document["found"]] == [
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
    result = run("-C", folder, "privacy", "find", letter, "--redact")

    assert result.out == "Sehr geehrte Frau <PERSON_1>, Ihr Paket kommt.\n"
    assert "names" in result.err
    assert "does not find" in result.err


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
        result = run("privacy", "find", *words)
        assert result.code in {2, 3}, result
        assert message in result.err


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
    result = run("privacy", "eval", marked, "--detector", "patterns")
    document = run("privacy", "eval", marked, "--detector", "patterns", "--json").json

    assert result.code == 0
    assert "MOOD (1)" in result.err
    assert [line.split()[:3] for line in result.out.splitlines() if "EMAIL" in line] == [["EMAIL", "2", "2"]]
    assert document["kinds"]["EMAIL"] == {
        "precision": 1.0, "recall": 1.0, "f1": 1.0, "marked": 2, "found": 2, "right": 2,
    }  # fmt: skip
    assert document["kinds"]["PERSON"]["recall"] == 0.0
    assert document["kinds"]["PERSON"]["precision"] is None
    assert document["unknown_kinds"] == {"MOOD": 1}
