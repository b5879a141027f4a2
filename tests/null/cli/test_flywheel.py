"""`coterie flywheel`: what it shows, what it moves, what it refuses; `coterie bootstrap` before anything is asked."""

import asyncio
import csv
import json
import random
from pathlib import Path

import pytest

from coterie.flywheel.deployments import Deployments, KnownJob
from coterie.store.sqlite import SQLiteStore
from coterie.types import CapturedExample, ComparedAnswer

CONFIG = """
[models.large]
engine = "openai"
name = "l"
base_url = "http://127.0.0.1:9/v1"
[capture]
enabled = true
"""


@pytest.fixture
def folder(tmp_path):
    """A network that relays, with a job and a shadow."""
    (tmp_path / "coterie.toml").write_text(CONFIG)

    async def fill():
        store = await SQLiteStore.open(tmp_path / "state" / "coterie.db", session_days=30.0, keep_content=False)
        books = Deployments(store=store.flywheel)
        job = KnownJob(id="j1", name="triage", labels={"lost": "lost", "fee": "fee"})
        await books.put_job(job)
        made = await books.begin(
            await books.job("j1"), "a" * 16, by="x", reason="r", figures={}, changed=await books.job("j1")
        )
        made = await books.move(made, "shadow", by="x", reason="r")
        example = CapturedExample(
            id="e1", time=1.0, job="j1", input="my card", answer="lost", policy="model:large", caller="a"
        )
        row = ComparedAnswer(deployment=made.id, example="e1", time=1.0, answer="fee", accepted=True, confidence=0.9)
        await store.flywheel.add_examples([example], [row])
        await store.close()
        return made.id

    return tmp_path, asyncio.run(fill())


def test_status_plan_and_review(run, folder):
    """Jobs, deployments, what waits for what; the next example, and a label for it."""
    network_folder, deployment = folder
    result = run("-C", network_folder, "flywheel", "status", "--json")
    assert result.code == 0, result.err
    assert [(job["name"], job["state"]) for job in result.json["jobs"]] == [("triage", "shadow")]
    assert result.json["deployments"][0]["evidence"]["pending"] == ["e1"]
    assert "triage" in run("-C", network_folder, "flywheel", "status").out
    steps = run("-C", network_folder, "flywheel", "plan", "--json").json["steps"]
    assert {(step["kind"], step["done"]) for step in steps} == {("wait", False)}
    item = run("-C", network_folder, "flywheel", "review", "triage", "--json").json["item"]
    assert (
        run("-C", network_folder, "flywheel", "review", "--json").json["item"] == item
    )  # the job whose labels bring most
    assert (item["example"], sorted(item["answers"])) == ("e1", ["fee", "lost"])
    done = run("-C", network_folder, "flywheel", "review", "triage", "--answer", "e1=fee", "--json")
    assert (done.json["item"], done.json["progress"]["labelled"]) == (None, 1)
    assert run("-C", network_folder, "flywheel", "review", "triage", "--answer", "e1=sunshine").code == 2
    assert deployment in run("-C", network_folder, "flywheel", "status").out


def test_promote_and_roll_back(run, folder):
    """A step past its gate is refused without --force; both are written down."""
    network_folder, deployment = folder
    assert run("-C", network_folder, "flywheel", "promote", deployment, "--reason", "x").code == 2
    forced = run("-C", network_folder, "flywheel", "promote", deployment, "--reason", "x", "--force", "--json")
    assert (forced.json["state"], forced.json["share"]) == ("canary", 0.01)
    assert (
        run("-C", network_folder, "flywheel", "rollback", deployment, "--reason", "y", "--json").json["state"]
        == "retired"
    )
    assert run("-C", network_folder, "flywheel", "rollback", "nobody", "--reason", "y").code == 2
    assert run("-C", network_folder, "retrain", "nobody").code == 2
    assert run("-C", network_folder, "audit", "show", "--json").out.count('"deployment"') >= 2


def test_bootstrap_refuses_what_it_cannot_ask(run, folder):
    """An unknown teacher, examples that are none, an amount that is none."""
    network_folder, _ = folder
    rows = network_folder / "few.csv"
    rows.write_text("text,label\na,x\nb,y\n")
    words = ("-C", network_folder, "bootstrap", "new", "--describe", "d", "--examples", rows)
    assert run(*words, "--teacher", "nobody").code == 2
    assert run(*words, "--teacher", "large", "--money", "much").code == 2
    assert run("-C", network_folder, "bootstrap", "../../new", *words[3:], "--teacher", "large").code == 2
    own = network_folder / "data" / "new.csv"
    own.parent.mkdir()
    own.write_text("text,label\nmine,x\n")
    assert (run(*words, "--teacher", "large").code, own.read_text()) == (2, "text,label\nmine,x\n")
    own.unlink()
    refused = run(*words, "--teacher", "large")  # the texts are `internal`, the model may see what is public
    assert refused.code != 0
    assert "clearance" in refused.err + refused.out


def test_what_a_teacher_cost_is_in_the_ledger(run, folder, server):
    """Once: answers that are kept are not paid for again."""
    network_folder, _ = folder
    text = CONFIG.replace("http://127.0.0.1:9/v1", server.base_url)
    text = text.replace("[capture]", 'clearance = "internal"\nretries = 0\nprice_in = 10\nprice_out = 30\n[capture]')
    (network_folder / "coterie.toml").write_text(text)
    (network_folder / "few.csv").write_text("text,label\nmoney back please,refund\nwhere is it,delivery\n")
    (network_folder / "texts.txt").write_text("I want my money\nit never came\n")
    words = ("-C", network_folder, "bootstrap", "new", "--describe", "d", "--examples", network_folder / "few.csv")
    words += ("--teacher", "large", "--texts", network_folder / "texts.txt", "--json")
    made = run(*words)
    assert made.code == 0, made.err
    for _ in range(2):
        (spent,) = run("-C", network_folder, "report", "--json").json["trainings"]
        assert (spent["specialist"], spent["trainings"]) == ("new", 1)
        assert spent["cost"] == pytest.approx(made.json["cost"]) != 0
        (network_folder / "data" / "new.csv").unlink(missing_ok=True)
        assert run(*words).json["asked"] == 0


def test_logs_become_examples_once(run, folder):
    """Scrubbed; a second import gives the same; what is no call is counted."""
    network_folder, _ = folder
    lines = [
        {
            "messages": [{"role": "user", "content": f"Mail ann.berg@example.com about {i}"}],
            "response": "yes",
            "user": "u",
        }
        for i in range(3)
    ]
    log = network_folder / "log.jsonl"
    log.write_text("\n".join([*map(json.dumps, lines), "{broken"]), encoding="utf-8")
    for _ in range(2):
        result = run("-C", network_folder, "flywheel", "import", log, "--json")
        assert result.code == 0, result.err
        assert result.json == {"calls": 3, "unpriced": 3, "skipped": {"broken": 1}}

    async def read():
        store = await SQLiteStore.open(network_folder / "state" / "coterie.db", session_days=30.0, keep_content=False)
        rows = await store.flywheel.newest(job="")
        await store.close()
        return rows

    rows = asyncio.run(read())
    assert [row.prompt for row in rows] == [(("user", f"Mail <EMAIL_1> about {i}"),) for i in range(3)]
    assert run("-C", network_folder, "flywheel", "status", "--json").json["calls_of_no_job"] == 3
    assert {(row.api, row.answer, row.tenant) for row in rows} == {("log", "yes", "default")}


# --- `coterie discover` finds jobs in logs, and writes rows that `coterie add` takes.


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
