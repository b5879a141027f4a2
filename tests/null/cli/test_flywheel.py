"""`coterie flywheel`: what it shows, what it moves, what it refuses; `coterie bootstrap` before anything is asked."""

import asyncio
import json

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
    assert {(row.api, row.answer, row.tenant) for row in rows} == {("log", "yes", "default")}
