"""`coterie feedback`: what is said of an answer is kept beside its trace."""

import sqlite3
from contextlib import closing

import pytest


def kept(folder):
    with closing(sqlite3.connect(folder / "state" / "coterie.db")) as connection:
        return connection.execute("SELECT request, thumb, value, comment, correct FROM feedback").fetchall()


@pytest.fixture
def trace_id(run, folder, network):
    network()
    return run("-C", folder, "ask", "I lost my card", "--json").json["trace_id"]


def test_kept(run, folder, trace_id):
    """Thumb, value and comment; a later word takes the place of the first."""
    assert run("-C", folder, "feedback", trace_id, "--up").out == f"Kept beside trace {trace_id}.\n"
    assert kept(folder) == [(trace_id, "up", None, "", 1)]
    result = run("-C", folder, "feedback", trace_id, "--down", "--value", '["a", "b"]', "--comment", "no", "--json")
    assert result.json == {"trace_id": trace_id, "status": "kept"}
    assert "keep_content" in result.err
    assert kept(folder) == [(trace_id, "down", '["a", "b"]', "[2 characters, not kept]", 0)]


@pytest.mark.parametrize("options", [[], ["--comment", " "], ["--up", "--down"]])
def test_says_nothing(run, folder, trace_id, options):
    """Nothing said, or both at once, is refused."""
    result = run("-C", folder, "feedback", trace_id, *options)
    assert result.code == 2
    assert kept(folder) == []


def test_no_such_trace(run, folder, trace_id):
    """An unknown trace and another tenant's are refused in the same words."""
    unknown = run("-C", folder, "feedback", "nope", "--up")
    other = run("-C", folder, "feedback", trace_id, "--up", "--tenant", "acme")
    assert unknown.code == other.code != 0
    assert unknown.err.replace("nope", trace_id).replace("default", "acme") == other.err
    assert kept(folder) == []


def test_written_down(run, folder, trace_id):
    """What was said, and what was refused, stands in the audit log as hashes."""
    run("-C", folder, "feedback", trace_id, "--down", "--comment", "ask Anna")
    run("-C", folder, "feedback", "anna", "--up")
    run("-C", folder, "feedback", trace_id, "--up", "--specialist", "anna")
    entries = run("-C", folder, "audit", "show", "--json").json["entries"][-3:]
    assert (entries[0]["kind"], entries[0]["about"]["trace"]) == ("feedback", trace_id)
    assert (entries[1]["kind"], entries[1]["about"]["reason"]) == ("feedback_refused", "trace_not_found")
    assert (entries[2]["kind"], entries[2]["about"]["reason"]) == ("feedback_refused", "input_error")
    assert "nna" not in str(entries)
