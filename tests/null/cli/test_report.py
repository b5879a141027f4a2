"""`coterie report` and `coterie trace`: what the ledger kept."""

import csv
import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import pytest

from coterie.cli.options import parse_since
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
    assert "0.0100 USD" in out
    assert "J estimated" in out


def test_a_small_sum_is_not_shown_as_none(run, folder, network):
    """What a specialist's answer costs is a millionth of a dollar and less, and has its first digits."""
    network()
    run("-C", folder, "ask", "one")
    (database,) = folder.glob("state/*.db")
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE requests SET cost = '0.0000000123'")
    assert run("-C", folder, "report", "--json").json["cost"] == pytest.approx(1.2e-8, rel=0.1)
    assert "0.0000000120 USD" in run("-C", folder, "report").out


def test_of_a_sum_that_is_known_in_part_the_part_is_shown(run, folder, network):
    """One request without a price, and without a model to compare with, hides no figure of the others."""
    network()
    run("-C", folder, "ask", "one")
    unknown = run("-C", folder, "ask", "two", "--json").json["trace_id"]
    (database,) = folder.glob("state/*.db")
    with closing(sqlite3.connect(database)) as connection, connection:
        change = "UPDATE requests SET cost = NULL, counterfactual_cost = NULL WHERE id = ?"
        assert connection.execute(change, (unknown,)).rowcount == 1
    document = run("-C", folder, "report", "--json").json
    lines = run("-C", folder, "report").out.splitlines()

    assert (document["cost"], document["counterfactual_cost"]) == (None, None)
    figures = [line for line in lines if "at least" in line]
    assert [line.split("at least ")[1].split()[0] for line in figures] == ["0.0100", "0.500"]


@pytest.mark.parametrize(("by", "keys"), [("tenant", ["default"]), ("specialist", ["triage"]), ("model", ["linear"])])
def test_rows(run, folder, network, by, keys):
    """`--by` says what the rows are; the total is that of the requests, whatever the rows share."""
    network()
    run("-C", folder, "ask", "one")
    run("-C", folder, "ask", "two")
    document = run("-C", folder, "report", "--by", by, "--json").json

    assert document["by"] == by
    assert [row["key"] for row in document["rows"]] == keys
    assert (document["rows"][0]["requests"], document["total"]["requests"]) == (2, 2)
    assert document["rows"][0]["known_cost"] == pytest.approx(0.02)
    assert keys[0] in run("-C", folder, "report", "--by", by).out


def test_what_was_said_of_answers(run, folder, network):
    """With feedback the report has the share of right answers, and what a right one took."""
    network()
    ids = [run("-C", folder, "ask", text, "--json").json["trace_id"] for text in ("one", "two", "three")]
    run("-C", folder, "feedback", ids[0], "--up")
    run("-C", folder, "feedback", ids[1], "--down")
    total = run("-C", folder, "report", "--json").json["total"]

    assert (total["judged"], total["correct"], total["correct_share"]) == (2, 1, 0.5)
    assert total["joules_per_correct"] == pytest.approx(0.5)
    assert total["cost_per_correct"] == pytest.approx(0.02)
    assert "1 of 2" in run("-C", folder, "report").out


def test_grams(run, folder, network):
    """With the grid's intensity the report has grams; without, none."""
    network()
    run("-C", folder, "ask", "one")
    assert run("-C", folder, "report", "--json").json["total"]["grams_co2"] is None
    (folder / "coterie.toml").write_text(
        (folder / "coterie.toml").read_text() + "[accounting]\ngrams_co2_per_kwh = 360\n"
    )
    total = run("-C", folder, "report", "--json").json["total"]
    assert total["grams_co2"] == pytest.approx(0.25 / 3.6e6 * 360)


def test_as_csv(run, folder, network, tmp_path):
    """`--csv` writes the rows, what is unknown as an empty cell."""
    network()
    run("-C", folder, "ask", "one")
    file = tmp_path / "report.csv"
    assert run("-C", folder, "report", "--by", "specialist", "--csv", file).code == 0
    head, *rows = list(csv.reader(file.read_text().splitlines()))
    assert head[:2] == ["specialist", "requests"]
    assert [dict(zip(head, row, strict=True))["specialist"] for row in rows] == ["triage"]
    assert dict(zip(head, rows[0], strict=True))["correct_share"] == ""


def test_as_a_page(run, folder, network, tmp_path):
    """`--html` writes a page that fetches nothing, runs nothing, and shows no text as markup."""
    (folder / "coterie.toml").write_text((folder / "coterie.toml").read_text().replace("shop", "<b>shop</b>"))
    network()
    trace_id = run("-C", folder, "ask", "one", "--json").json["trace_id"]
    run("-C", folder, "feedback", trace_id, "--up")
    file = tmp_path / "report.html"
    assert run("-C", folder, "report", "--html", file).code == 0
    page = file.read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert page.count("<svg") == 4
    assert "&lt;b&gt;shop" in page
    for word in ("<script", "<b>shop", "http://", "https://", "url(", "@import"):
        assert word not in page


def test_a_page_of_nothing(run, folder, tmp_path):
    """Before the first request the page says so."""
    assert run("-C", folder, "report", "--html", tmp_path / "r.html", "--csv", tmp_path / "r.csv").code == 0
    assert "<svg" not in (tmp_path / "r.html").read_text()
    assert (tmp_path / "r.csv").read_text() == "day\n"


def test_a_first_day_by_the_hour(run, folder, network, tmp_path):
    """Of a single day there are columns and not lone points; `--by hour` cuts it, and says how busy it was."""
    network()
    run("-C", folder, "ask", "one")
    file = tmp_path / "report.html"
    assert run("-C", folder, "report", "--html", file).code == 0
    assert "<circle" not in file.read_text(encoding="utf-8")
    document = run("-C", folder, "report", "--by", "hour", "--html", file, "--json").json
    assert [row["key"][-3:] for row in document["rows"]] == [":00"]
    assert 0 <= document["rows"][0]["utilisation"] <= 1
    assert "By hour" in file.read_text(encoding="utf-8")


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


# --- `coterie budgets`: how the limits stand, and that they hold on the command line too.


def limited(folder):
    """A network that takes two requests a day."""
    path = folder / "coterie.toml"
    path.write_text(path.read_text() + '\n[budgets.daily]\nrequests = 2\nmoney = "1.50"\n')


def test_none(run, folder):
    """It is said how to make one."""
    assert "[budgets.NAME]" in run("-C", folder, "budgets").out
    assert run("-C", folder, "budgets", "--json").json == {"budgets": []}


def test_how_they_stand(run, folder, network):
    """What was taken of what, and the third request is refused with the reason."""
    limited(folder)
    network()
    for _ in range(2):
        assert run("-C", folder, "ask", "hello").code == 0
    refused = run("-C", folder, "ask", "hello")
    (budget,) = run("-C", folder, "budgets", "--json").json["budgets"]

    assert refused.code == 4
    assert "'daily' is 2 " in refused.err
    assert budget["requests"] == {"taken": 2, "limit": 2}
    assert budget["money"] == {"taken": 0.0, "limit": 1.5}
    assert "2 of 2" in run("-C", folder, "budgets").out
