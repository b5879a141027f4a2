"""`coterie audit`: what was done is written down, checked, shown and taken along."""

import json

import pytest


@pytest.fixture
def asked(run, folder, network):
    """A folder in which two questions were asked, and one session erased."""
    (folder / "coterie.toml").write_text((folder / "coterie.toml").read_text() + "\n")
    network()
    for text in ("where is it?", "my secret word is plugh"):
        assert run("-C", folder, "ask", text, "--session", "anna").code == 0
    assert run("-C", folder, "session", "erase", "anna").code == 0
    return folder


def test_verify(run, asked):
    """A log that nobody touched is whole, and its place is printed to be kept."""
    document = run("-C", asked, "audit", "verify", "--json").json
    told = run("-C", asked, "audit", "verify")

    assert document["whole"]
    assert document["fault"] is None
    assert told.code == 0
    assert document["at"] in told.out
    assert run("-C", asked, "audit", "verify", "--at", document["at"]).code == 0


def test_a_change_is_found(run, asked):
    """A changed line is located, with exit code 4 and in words."""
    path = asked / "state" / "audit.jsonl"
    path.write_text(path.read_text().replace("erase_session", "forget_nothing"))
    told = run("-C", asked, "audit", "verify")
    document = run("-C", asked, "audit", "verify", "--json")

    assert told.code == document.code == 4
    assert "CHANGED at line" in told.out
    assert document.json["fault"]["kind"] == "edited"


def test_show(run, asked):
    """Entries are shown with who and what, filtered by kind, and hold nothing that was said."""
    out = run("-C", asked, "audit", "show").out
    erased = run("-C", asked, "audit", "show", "--kind", "erase_session", "--json").json["entries"]

    assert len(erased) == 1
    assert len(erased[0]["about"]["session"]) == 64
    assert "plugh" not in (asked / "state" / "audit.jsonl").read_text() + out
    assert "anna" not in (asked / "state" / "audit.jsonl").read_text()
    assert run("-C", asked, "audit", "show", "--tenant", "other").out.strip() == "No such entries."


def test_export(run, asked, tmp_path):
    """What is exported are the entries as JSON lines, for their owner only."""
    file = tmp_path / "audit.jsonl"
    told = run("-C", asked, "audit", "export", file, "--json").json

    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert told["entries"] == len(lines) > 0
    assert {"n", "kind", "hash", "prev"} <= lines[0].keys()
    assert file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("line", ['{"prev": 1}', "[" * 100_000, '{"n": 1, "time": "noon", "kind": "request"}'])
def test_a_line_that_is_no_entry(run, asked, line):
    """What is no entry is an error that names its line, and `verify` locates it."""
    path = asked / "state" / "audit.jsonl"
    path.write_text(line + "\n" + path.read_text())

    told = run("-C", asked, "audit", "show")
    assert told.code == 2
    assert "Line 1" in told.err
    assert run("-C", asked, "audit", "verify").code == 4


def test_no_log(run, folder):
    """Before the first request there is none; it is said what makes it."""
    told = run("-C", folder, "audit", "verify")

    assert told.code == 2
    assert "no audit log" in told.err


def test_bad_place(run, asked):
    """A place that is none is an error of usage."""
    assert run("-C", asked, "audit", "verify", "--at", "12:xyz").code == 2


def test_switched_off(run, folder, network):
    """`enabled = false` writes nothing, and the command says that it is off."""
    (folder / "coterie.toml").write_text((folder / "coterie.toml").read_text() + "\n[audit]\nenabled = false\n")
    network()
    assert run("-C", folder, "ask", "hello", "--session", "a").code == 0
    assert run("-C", folder, "session", "erase", "a").code == 0

    assert not (folder / "state" / "audit.jsonl").exists()
    assert "It is off" in run("-C", folder, "audit", "show").err
