"""`coterie audit`: what was done is written down, checked, shown and taken along."""

import json
import time

import pytest

from coterie.governance.audit import AuditLog, audit_egress, audit_outcome
from coterie.types import AuditEvent, CallContext, Egress, Label


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
    result = run("-C", asked, "audit", "verify")

    assert document["whole"]
    assert document["fault"] is None
    assert result.code == 0
    assert document["at"] in result.out
    assert run("-C", asked, "audit", "verify", "--at", document["at"]).code == 0


def test_a_change_is_found(run, asked):
    """A changed line is located, with exit code 4 and in words."""
    path = asked / "state" / "audit.jsonl"
    path.write_text(path.read_text().replace("erase_session", "forget_nothing"))
    result = run("-C", asked, "audit", "verify")
    document = run("-C", asked, "audit", "verify", "--json")

    assert result.code == document.code == 4
    assert "CHANGED at line" in result.out
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
    report = run("-C", asked, "audit", "export", file, "--json").json

    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert report["entries"] == len(lines) > 0
    assert {"n", "kind", "hash", "prev"} <= lines[0].keys()
    assert file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("line", ['{"prev": 1}', "[" * 100_000, '{"n": 1, "time": "noon", "kind": "request"}'])
def test_a_line_that_is_no_entry(run, asked, line):
    """What is no entry is an error that names its line, and `verify` locates it."""
    path = asked / "state" / "audit.jsonl"
    path.write_text(line + "\n" + path.read_text())

    result = run("-C", asked, "audit", "show")
    assert result.code == 2
    assert "Line 1" in result.err
    assert run("-C", asked, "audit", "verify").code == 4


def test_no_log(run, folder):
    """Before the first request there is none; it is said what makes it."""
    result = run("-C", folder, "audit", "verify")

    assert result.code == 2
    assert "no audit log" in result.err


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


def test_what_nobody_vouches_for(run, asked):
    """Entries behind the head are counted apart, with an exit code of their own; the next writer counts them."""
    path = asked / "state" / "audit.jsonl"
    before = run("-C", asked, "audit", "verify", "--json").json
    AuditLog(path).append_all([AuditEvent(kind="request", time=time.time())], sync=True)
    head = path.with_name("audit.jsonl.head")
    counted = head.read_bytes()
    log = AuditLog(path)
    log.append_all([])
    log.append_all([AuditEvent(kind="request", time=time.time()) for _ in range(3)], sync=False)
    head.write_bytes(counted)
    result = run("-C", asked, "audit", "verify")
    json_result = run("-C", asked, "audit", "verify", "--json")

    assert result.code == json_result.code == 6
    assert "UNVOUCHED" in result.out
    assert (json_result.json["vouched"], json_result.json["unvouched"]) == (before["entries"] + 1, 3)
    AuditLog(path).append_all([AuditEvent(kind="request", time=time.time())])
    assert run("-C", asked, "audit", "verify").code == 0


def test_what_left_without_an_outcome(run, asked):
    """Prompts of a process that was killed are named, and can be listed; of those with an outcome nothing is said."""
    call = CallContext(trace="t1", outgoing={})
    egress = [
        Egress(id=f"t1.{n}", engine="large", label=Label.INTERNAL, rule="r", pseudonymised=False, characters=3)
        for n in range(2)
    ]
    log = AuditLog(asked / "state" / "audit.jsonl")
    log.append_all([audit_egress(record, call, time=time.time()) for record in egress])
    log.append_all([audit_outcome(egress[:1], call, time=time.time())])
    result = run("-C", asked, "audit", "verify")
    (left,) = run("-C", asked, "audit", "verify", "--json").json["open"]

    assert result.code == 0
    assert "OPEN: 1 prompt" in result.out
    assert (left["id"], left["engine"], left["trace"]) == ("t1.1", "large", "t1")
    (entry,) = run("-C", asked, "audit", "show", "--open", "--json").json["entries"]
    assert entry["about"]["id"] == "t1.1"
    assert run("-C", asked, "audit", "show", "--last", "9" * 30).code == 0
