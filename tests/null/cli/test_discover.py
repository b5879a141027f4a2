"""`coterie discover` finds jobs in logs, and writes rows that `coterie add` takes."""

import csv
import json
import random
from pathlib import Path

import pytest


@pytest.fixture
def log(tmp_path):
    """A log of two jobs, a failed call and a broken line."""
    rng, lines = random.Random(0), []
    words = {"parcel": ["truck", "courier", "box"], "money": ["invoice", "refund", "charge"]}
    for n in range(240):
        topic = rng.choice(list(words))
        text = f"{rng.choice(words[topic])} {rng.randint(0, 999)} {rng.choice(words[topic])}"
        prompt = f"Say whether the following message is about a parcel or about money, in one word: {text}"
        answer = topic.title() if n % 2 else topic
        if n % 4 == 0:
            prompt, answer = f"Translate what the customer of our shop wrote into polite French. {text}", f"Bonjour {n}"
        request = {"model": "big", "messages": [{"role": "user", "content": prompt}]}
        response = {"choices": [{"message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}]}
        lines.append(json.dumps({"request": request, "response": response, "user": f"u{n % 7}", "cost": 0.001}))
    lines += [json.dumps({"request": request, "error": {"message": "busy"}}), "{broken"]
    path = tmp_path / "calls.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_jobs_and_rows(run, log, tmp_path):
    """Volume, cost, callers, task and labels of each job; the rows are the inputs without the template."""
    result = run("discover", log, "--out", tmp_path / "jobs", "--json")

    assert result.code == 0, result.err
    labels, free = result.json["jobs"]
    assert (labels["calls"], labels["task"], labels["callers"], set(labels["labels"])) == (
        180,
        "classify",
        7,
        {"parcel", "money"},
    )
    assert labels["cost"] == pytest.approx(0.18)
    assert (free["calls"], free["task"], free["file"]) == (60, "generate", None)
    assert result.json["skipped"] == {"broken": 1, "error": 1}
    with Path(labels["file"]).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == labels["rows"] > 150
    assert {row["label"].lower() for row in rows} == {"parcel", "money"}
    assert not any("one word" in row["text"] for row in rows)


def test_what_comes_next_works(run, log, tmp_path):
    """The table names each job, and the command that it ends with adds a specialist."""
    run("init", tmp_path / "shop")
    shown = run("discover", log, "--out", tmp_path / "jobs")
    command = shown.out.rpartition("Next: coterie ")[2].replace("\n", " ").split()

    assert "180" in shown.out
    assert run("-C", tmp_path / "shop", *command).code == 0


@pytest.mark.parametrize("words", [["--support", "1"], ["missing.jsonl"]])
def test_bad_input(run, log, words):
    """A support of one and a file that is not there are refused."""
    assert run("discover", *([log] if words[0].startswith("--") else []), *words).code != 0


def test_what_is_no_log_is_an_error(run, tmp_path):
    """A file of something else is refused, as by `coterie import`, and not shown as a log without jobs."""
    (tmp_path / "notes.txt").write_text("root:x:0:0\ndaemon:x:1:1\n")
    results = [run(name, tmp_path / "notes.txt", "--json") for name in ("discover", "import")]

    assert {result.code for result in results} == {2}
    assert {result.json["error"]["code"] for result in results} == {"data_error"}


def test_an_empty_log_has_no_job(run, tmp_path):
    """Nothing recorded is no job and no error."""
    (tmp_path / "empty.jsonl").write_text("")

    assert run("discover", tmp_path / "empty.jsonl", "--json").json["jobs"] == []
