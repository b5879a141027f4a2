"""`coterie report` and `coterie trace`: what the ledger kept."""

from datetime import UTC, datetime

import pytest

from coterie.cli._report import parse_since
from coterie.errors import InputError

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp()


def test_an_empty_ledger(run, folder):
    """Before the first request the report is zeros, and no database is made by asking."""
    document = run("-C", folder, "report", "--json").json

    assert document["requests"] == document["accepted"] == document["abstained"] == document["escalated"] == 0
    assert document["p50_ms"] is None
    assert document["p95_ms"] is None
    assert document["counterfactual_cost"] is None
    assert not (folder / "state").exists()
    assert "requests" in run("-C", folder, "report").out


def test_totals(run, folder, network):
    """The report adds up what `ask` settled."""
    network()
    run("-C", folder, "ask", "one")
    run("-C", folder, "ask", "two")
    network(None)
    run("-C", folder, "ask", "three")
    document = run("-C", folder, "report", "--json").json

    assert (document["requests"], document["accepted"], document["abstained"]) == (3, 2, 1)
    assert document["joules"] == pytest.approx(0.75)
    assert document["joules_kind"] == "estimated"
    assert document["cost"] == pytest.approx(0.03)
    assert document["counterfactual_cost"] == pytest.approx(1.5)
    assert document["p50_ms"] > 0


def test_as_a_table(run, folder, network):
    """Without `--json` the same is a table with shares and units."""
    network()
    run("-C", folder, "ask", "one")
    out = run("-C", folder, "report").out

    assert "1 (100.0%)" in out
    assert "0.010000 USD" in out
    assert "J estimated" in out


def test_since_leaves_out_what_is_older(run, folder, network):
    """`--since` counts only requests admitted after it."""
    network()
    run("-C", folder, "ask", "one")

    assert run("-C", folder, "report", "--since", "1h", "--json").json["requests"] == 1
    assert run("-C", folder, "report", "--since", "2999-01-01", "--json").json["requests"] == 0


@pytest.mark.parametrize(
    ("since", "seconds"),
    [
        (None, 0.0),
        ("90s", NOW - 90),
        ("1.5h", NOW - 5400),
        (" 7d ", NOW - 7 * 86_400),
        ("2w", NOW - 14 * 86_400),
        ("2026-11-24", NOW - 12 * 3600),
        ("2026-11-24T11:00", NOW - 3600),
        ("2026-11-24T12:00+01:00", NOW - 3600),
    ],
)
def test_times(since, seconds):
    """An age or a date; a date without zone is UTC."""
    assert parse_since(since, now=NOW) == seconds


@pytest.mark.parametrize("since", ["", "yesterday", "-1h", "1y", "2026-13-01", "1e9h", "٣h"])
def test_times_that_are_none(since):
    """Anything else is refused with examples."""
    if since == "٣h":  # a digit to Python: an age of three hours
        assert parse_since(since, now=NOW) == NOW - 3 * 3600
        return
    with pytest.raises(InputError, match="--since"):
        parse_since(since, now=NOW)


def test_trace(run, folder, network):
    """The id under an answer finds the request's whole life again, drawn and as JSON."""
    network()
    trace_id = run("-C", folder, "ask", "one", "--json").json["trace_id"]

    assert run("-C", folder, "trace", trace_id, "--json").json["id"] == trace_id
    drawn = run("-C", folder, "trace", trace_id).out
    assert trace_id in drawn
    assert "triage" in drawn


def test_unknown_trace(run, folder, network):
    """An id that is not there, or is another tenant's, is an input error."""
    network()
    trace_id = run("-C", folder, "ask", "one", "--json").json["trace_id"]

    assert run("-C", folder, "trace", "0" * 32).code == 2
    assert run("-C", folder, "trace", trace_id, "--tenant", "other").code == 2


def test_a_broken_database(run, folder):
    """A file that is no database is the set-up's fault, with what to do."""
    (folder / "state").mkdir()
    (folder / "state" / "coterie.db").write_bytes(b"no database at all" * 100)
    result = run("-C", folder, "report")

    assert result.code == 1
    assert "coterie.db" in result.err
