"""`coterie spotchecks`: who was chosen, what was said of them, and nothing else moves the policy."""

import asyncio
import json
import sqlite3
import time
from contextlib import closing

import numpy as np
import pytest

from coterie.config.file import load_config
from coterie.policy.cost_quality import CalibrationOutcomes
from coterie.registry.registry import open_registry
from coterie.store.sqlite import SQLiteStore
from coterie.testing import make_finding, make_trace
from coterie.types import Feedback, Settlement

ABOVE = """
[models.large]
engine = "openai"
base_url = "http://127.0.0.1:9/v1"
name = "large-1"

[generalist]
model = "large"

[policy]
quality = 0.9
spot_checks = 1.0
"""


def settle(folder, n, *, value="refund", down=0):
    """Answers of the specialist, as a running network leaves them behind; the first `down` are said to be wrong."""

    async def work():
        store = await SQLiteStore.open(
            folder / "state" / "coterie.db", session_days=1, keep_content=True, clock=time.time
        )
        for i in range(n):
            finding = make_finding(value, confidence=0.95 - 0.001 * i, task="classify", form="label")
            trace = make_trace(
                id=f"{i:032x}",
                time=time.time(),
                findings=(finding,),
            )
            await store.settle(Settlement(trace=trace))
            if i < down:
                await store.feedback(Feedback(trace_id=trace.id, time=time.time(), thumb="down"))
        await store.close()

    asyncio.run(work())


@pytest.fixture
def with_policy(folder):
    """A network with a generalist, and a version of the specialist that has calibration outcomes."""
    with (folder / "coterie.toml").open("a") as file:
        file.write(ABOVE)
    random = np.random.default_rng(0)
    judged = CalibrationOutcomes(
        confidence=random.uniform(0.5, 1, 500), right=random.random(500) < 0.97, group=np.arange(500)
    )
    registry = open_registry(folder, load_config(folder).registry)
    report = {"report.json": json.dumps({"task": "classify", "rung": "lexical"}).encode()}
    registry.promote("triage", registry.add("triage", {**judged.to_files(), **report}))
    return folder


def test_chosen_requests_wait_until_they_are_judged(run, with_policy):
    """They are listed, judged by feedback, and counted; what nobody judged stays listed."""
    settle(with_policy, 3)
    run("-C", with_policy, "feedback", f"{0:032x}", "--value", "refund")
    run("-C", with_policy, "feedback", f"{1:032x}", "--value", "delivery")
    specialist = run("-C", with_policy, "spotchecks", "--json").json["specialists"][0]

    assert (specialist["chosen"], specialist["judged"], specialist["right"]) == (3, 2, 1)
    assert [request["trace_id"] for request in specialist["waiting"]] == [f"{2:032x}"]
    assert f"{2:032x}" in run("-C", with_policy, "spotchecks", "--waiting").out
    assert run("-C", with_policy, "spotchecks", "--reviewer", "key1", "--json").json["specialists"][0]["judged"] == 0


@pytest.mark.slow
def test_judgements_move_the_policy_when_told_to(run, with_policy):
    """Answers that prove wrong end the calibrated line; nothing is kept in a file before `--update` asks for it."""
    settle(with_policy, 80, down=79)
    run("-C", with_policy, "feedback", f"{79:032x}", "--down")
    shown = run("-C", with_policy, "spotchecks", "--json").json["specialists"][0]
    path = with_policy / "state" / "spotchecks.json"

    assert shown["calibrated"]["from"] is not None
    assert shown["checked"]["from"] is None
    assert not path.exists()
    result = run("-C", with_policy, "spotchecks", "--update")
    assert result.code == 0
    assert "80 spot checks " in result.out
    assert "80 of 80 answers of 'triage' " in result.err
    assert len(json.loads(path.read_text())["triage"]["right"]) == 80


def test_nothing_judged_is_not_folded_in(run, with_policy):
    """`--update` without a judgement is refused and keeps nothing."""
    settle(with_policy, 2)
    refused = run("-C", with_policy, "spotchecks", "--update")

    assert refused.code == 2
    assert "Nobody has judged" in refused.err
    assert not (with_policy / "state" / "spotchecks.json").exists()


@pytest.mark.parametrize(
    ("without", "said"),
    [("spot_checks = 1.0", "spot_checks is 0"), ('[generalist]\nmodel = "large"', "no threshold to move")],
)
def test_what_is_missing_is_named(run, with_policy, without, said):
    """No share, or no policy: the setting to make is said."""
    path = with_policy / "coterie.toml"
    path.write_text(path.read_text().replace(without, "").replace("quality = 0.9\n", ""))

    refused = run("-C", with_policy, "spotchecks")
    assert refused.code != 0
    assert said in refused.err


# --- `coterie feedback`: what is said of an answer is kept beside its trace.


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
