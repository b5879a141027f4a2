"""`coterie session`: what is remembered, seen, taken along and erased from the command line."""

import json
import stat

import pytest

from coterie.cli.output import PARTIAL


@pytest.fixture
def talked(run, folder, network):
    """A folder in which session `anna` was asked twice and `ben` once."""
    network()
    for session, text in (("anna", "where is it?"), ("anna", "and my refund?"), ("ben", "hello there")):
        assert run("-C", folder, "ask", text, "--session", session).code == 0
    return folder


def test_list(run, talked):
    """Sessions are listed with their turns, the one used last first, and nothing that was said."""
    document = run("-C", talked, "session", "list", "--json").json
    out = run("-C", talked, "session", "list").out

    assert [(s["id"], s["turns"], s["label"]) for s in document["sessions"]] == [
        ("ben", 1, "internal"),
        ("anna", 2, "internal"),
    ]
    assert "anna" in out
    assert "where" not in out + json.dumps(document)


def test_another_tenants_sessions(run, talked):
    """A session belongs to one tenant: others neither list, show, export nor erase it."""
    assert run("-C", talked, "session", "list", "--tenant", "other", "--json").json == {"sessions": []}
    assert "has no sessions" in run("-C", talked, "session", "list", "--tenant", "other").out
    for command in ("show", "export", "erase"):
        assert run("-C", talked, "session", command, "anna", "--tenant", "other").code == 2
    assert run("-C", talked, "session", "show", "anna").code == 0


def test_show(run, talked):
    """A person can read the conversation: who said what when, with its label, and what was found."""
    out = run("-C", talked, "session", "show", "anna").out

    lines = out.splitlines()
    assert lines[0].endswith("user  [internal]")
    assert lines[1] == "  where is it?"
    assert "finding: triage: Your parcel is on its way." in lines[2]
    assert lines[4] == "  Your parcel is on its way."


def test_export(run, talked, tmp_path):
    """The export has every entry with its kind; a file of it is for its owner only."""
    file = tmp_path / "anna.json"
    report = run("-C", talked, "session", "export", "anna", file, "--json").json
    exported = json.loads(file.read_text())

    assert report["entries"] == len(exported["entries"]) == 6
    assert [entry["kind"] for entry in exported["entries"][:3]] == ["message", "finding", "message"]
    assert exported["entries"][0] | {"time": 0} == {
        "time": 0,
        "producer": "user",
        "label": "internal",
        "kind": "message",
        "gone": None,
        "words": "where is it?",
        "role": "user",
        "text": "where is it?",
    }
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert run("-C", talked, "session", "export", "anna").json == exported
    assert "6 entries" in run("-C", talked, "session", "export", "anna", file).out


def test_export_to_nowhere(run, talked, tmp_path):
    """A file that cannot be written is an error of whoever named it."""
    result = run("-C", talked, "session", "export", "anna", tmp_path / "no" / "such")

    assert result.code == 2
    assert "Cannot write" in result.err


def test_erase(run, talked):
    """What is erased is in no file of the folder, and what is left is whole."""
    result = run("-C", talked, "session", "erase", "anna", "nobody", "--json")

    assert result.code == PARTIAL
    assert result.json == {"tenant": "default", "erased": ["anna"], "unknown": ["nobody"]}
    files = b"".join(path.read_bytes() for path in talked.rglob("*") if path.is_file())
    assert b"where is it?" not in files
    assert b"anna" not in files
    assert b"hello there" in files
    assert [s["id"] for s in run("-C", talked, "session", "list", "--json").json["sessions"]] == ["ben"]
    assert run("-C", talked, "report", "--json").json["requests"] == 3


def test_erase_what_is_not_there(run, talked):
    """Erasing nothing is said, and is no success for a script."""
    result = run("-C", talked, "session", "erase", "nobody")

    assert result.code == 2
    assert "'nobody'" in result.out


def test_before_the_first_question(run, folder):
    """Where nothing was settled there are no sessions, and no database is made by asking."""
    assert run("-C", folder, "session", "list", "--json").json == {"sessions": []}
    assert run("-C", folder, "session", "show", "anna").code == 2
    assert run("-C", folder, "session", "erase", "anna").code == 2
    assert not (folder / "state" / "coterie.db").exists()
