"""`coterie erase` and `coterie export`, over a folder with everything in it; then every byte of every file is read."""

import asyncio
import json
import re
import stat

import pytest

from coterie import assembly
from coterie.config.operation import ROWS_FOLDER
from coterie.governance.keys import KeyRing
from coterie.types import Request

from .test_indexes import Words

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def words(monkeypatch):
    monkeypatch.setattr("coterie.engines.onnx.OnnxEncoder", Words)


@pytest.fixture
def lived(run, folder, network):
    """A network in which Anna of acme and others have asked; with keys, indexes and a version that quotes her."""
    for name, text in (("acme/plan.md", "Anna Smith plans a wombat."), ("all/fees.md", "The late fee is five.")):
        (folder / "papers" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "papers" / name).write_text(text)
    with (folder / "coterie.toml").open("a") as file:
        file.write('\n[knowledge.docs]\npaths = ["papers/all"]\n\n[budgets.acme]\ntenant = "acme"\nrequests = 100\n')
    assert run("-C", folder, "index", "docs").code == 0
    assert run("-C", folder, "index", "docs", folder / "papers/acme", "--tenant", "acme").code == 0
    (folder / "registry" / "triage").mkdir(parents=True)
    (folder / "registry" / "triage" / "report.json").write_text(json.dumps({"errors": ["from Anna Smith"]}))
    assert run("-C", folder, "keys", "create", "anna.smith", "--tenant", "acme").code == 0
    assert run("-C", folder, "keys", "create", "ben").code == 0
    network("Anna Smith has a wombat.", task="generate")
    asyncio.run(_asked(folder, [("acme", "wombat-session"), ("acme", None), ("default", "anna smith")]))
    network("Your parcel is on its way.")
    assert run("-C", folder, "ask", "where is the quokka", "--session", "ben").code == 0
    return folder


async def _asked(folder, callers):
    """The same said by each tenant in its session."""
    network = await assembly.open_network(folder)
    for tenant, session in callers:
        await network.ask(Request(text="I am Anna Smith", tenant=tenant, session=session))
    await network.close()


def hits(folder, pattern):
    expression = re.compile(pattern.encode(), re.IGNORECASE)
    return {
        p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and expression.search(p.read_bytes())
    }


@pytest.mark.parametrize("whose", [("--tenant", "acme"), ("--subject", "Anna Smith")])
def test_rows_of_a_training_that_was_killed(run, lived, whose):
    """What a training of the flywheel left is made again from the store, and goes whole: it is nobody else's file."""
    rows = lived / ROWS_FOLDER / "triage.jsonl"
    rows.parent.mkdir(parents=True)
    rows.write_text(json.dumps({"text": "Anna Smith wants a wombat", "label": "fee"}) + "\n")
    assert run("-C", lived, "erase", *whose, "--dry-run").code == 0
    assert rows.exists()

    result = run("-C", lived, "erase", *whose, "--json")

    assert result.code == 0, result.err
    assert not rows.exists()
    assert not any(entry["path"].startswith("state/flywheel") for entry in result.json.get("left", []))


def test_of_a_tenant(run, lived):
    """No file that Coterie wrote mentions what it said, its documents are out of the indexes, its keys open nothing."""
    result = run("-C", lived, "erase", "--tenant", "acme", "--json")
    keys = KeyRing(lived / "state/keys.json").keys()

    assert result.code == 0, result.err
    assert result.json["sessions"] == [{"tenant": "acme", "session": "wombat-session"}]
    assert (result.json["entries"], len(result.json["traces"]), len(result.json["keys"])) == (3, 2, 1)
    assert result.json["documents"] == {"docs": ["papers/acme/plan.md"]}
    assert hits(lived, "wombat") == {"papers/acme/plan.md", "state/coterie.db"}  # the default tenant's answer too
    assert run("-C", lived, "erase", "--session", "anna smith").code == 0
    assert hits(lived, "wombat") == {"papers/acme/plan.md"}
    assert [(k.name, k.state(0)) for k in keys] == [("(erased)", "revoked"), ("ben", "valid")]
    assert not hits(lived, r"anna\.smith") - {"state/audit.jsonl"}
    passages = run("-C", lived, "search", "docs", "fee", "--json").json["passages"]
    assert [p["document"] for p in passages] == ["papers/all/fees.md"]
    assert "quokka" in run("-C", lived, "session", "show", "ben").out
    assert run("-C", lived, "audit", "verify").code == 0


@pytest.mark.parametrize("scope", [("--tenant", "acme"), ("--subject", "Anna Smith")])
def test_of_an_interrupted_indexing(run, lived, scope):
    """What was read and encoded before an indexing was interrupted is thrown away: it may hold anybody's texts."""
    draft = lived / "state" / "knowledge" / "docs" / "draft.db"
    draft.write_bytes(b"a gnu of Anna Smith's")

    assert run("-C", lived, "erase", *scope, "--dry-run").code == 0
    assert draft.exists()
    assert run("-C", lived, "erase", *scope).code in {0, 2}
    assert not hits(lived, "a gnu of")


def test_of_somebody(run, lived):
    """What mentions her is gone from the store; documents, versions and keys that do are named and stay as they are."""
    before = (lived / "papers/acme/plan.md").read_bytes()
    dry = run("-C", lived, "erase", "--subject", "anna smith", "--dry-run", "--json").json
    assert "state/coterie.db" in hits(lived, "anna.smith")
    report = run("-C", lived, "erase", "--subject", "anna smith", "--json").json

    assert dry | {"dry_run": False} == report
    assert {(session["tenant"], session["session"]) for session in report["sessions"]} == {
        ("acme", "wombat-session"),
        ("default", "anna smith"),
    }
    assert len(report["traces"]) == 3
    assert report["mentioning"] == {"docs": ["papers/acme/plan.md"]}
    left = {entry["path"]: entry["kind"] for entry in report["left"]}
    assert left["papers/acme/plan.md"] == "file"
    assert left["registry/triage/report.json"] == "version"
    assert "index" in left.values()
    assert hits(lived, "anna smith") == set(left)
    assert not any(path.startswith("state/coterie.db") for path in left)
    assert (lived / "papers/acme/plan.md").read_bytes() == before
    assert "quokka" in run("-C", lived, "session", "show", "ben").out


def test_words_for_people(run, lived):
    """What went and what stays, in sentences; nothing found is said, with an exit code of its own."""
    dry = run("-C", lived, "erase", "--tenant", "acme", "--dry-run").out
    nobody = run("-C", lived, "erase", "--tenant", "nobody")
    output = run("-C", lived, "erase", "--subject", "Anna Smith").out

    assert "Would erase 1 session with 3 entries, and 2 traces." in dry
    assert "Would erase from the index of 'docs': papers/acme/plan.md." in dry
    assert (nobody.code, len(nobody.out.splitlines())) == (2, 1)
    assert "Left: registry/triage/report.json, a trained version" in output


@pytest.mark.parametrize("words", [[], ["--session", "a", "--subject", "anna"], ["--subject", "xy"]])
@pytest.mark.parametrize("command", ["erase", "export"])
def test_what_is_not_said_clearly(run, folder, words, command):
    """Nothing, two things at once, or a value that means nobody are refused."""
    assert run("-C", folder, command, *words).code == 2


def test_erasure_is_written_down_without_the_name(run, lived):
    """The audit log says how much was erased, and a hash of whom."""
    run("-C", lived, "erase", "--subject", "Zacharias Q", "--json")
    run("-C", lived, "erase", "--session", "wombat-session", "--tenant", "acme")
    last = run("-C", lived, "audit", "show", "--kind", "erase", "--json").json["entries"][-1]

    assert last["about"]["sessions"] == 1
    assert not hits(lived, "Zacharias")
    assert not hits(lived, "wombat-session")


def test_export(run, lived, tmp_path):
    """Everything that is kept of a tenant and nothing of another; a file of it is its owner's alone."""
    file = tmp_path / "acme.json"
    report = run("-C", lived, "export", "--tenant", "acme", file, "--json").json
    document = json.loads(file.read_text())

    assert (report["sessions"], report["requests"]) == (1, 2)
    assert document == run("-C", lived, "export", "--tenant", "acme").json
    assert [entry["kind"] for entry in document["sessions"][0]["entries"]] == ["message", "finding", "message"]
    assert document["requests"][0]["trace"]["findings"][0]["text"] == "Anna Smith has a wombat."
    assert [key["name"] for key in document["keys"]] == ["anna.smith"]
    assert "digest" not in file.read_text()
    assert "quokka" not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert run("-C", lived, "export", "--tenant", "nobody").json["requests"] == []


def test_export_of_a_session(run, lived):
    """Its entries and the requests in it, of its tenant alone, and no keys."""
    document = run("-C", lived, "export", "--session", "wombat-session", "--tenant", "acme").json

    assert [(session["tenant"], session["session"]) for session in document["sessions"]] == [("acme", "wombat-session")]
    assert [request["session"] for request in document["requests"]] == ["wombat-session"]
    assert "keys" not in document
    assert run("-C", lived, "export", "--session", "wombat-session").json["sessions"] == []


def test_export_of_somebody(run, lived):
    """Whatever mentions somebody, of every tenant, and where else they are mentioned; nothing of others.

    Afterwards it is erased, and nothing is left to export.
    """
    document = run("-C", lived, "export", "--subject", "anna  SMITH").json

    assert {(session["tenant"], session["session"]) for session in document["sessions"]} == {
        ("acme", "wombat-session"),
        ("default", "anna smith"),
    }
    assert len(document["requests"]) == 3
    assert "quokka" not in json.dumps(document)
    assert document["documents"] == {"docs": ["papers/acme/plan.md"]}
    assert {"papers/acme/plan.md", "registry/triage/report.json"} <= {file["path"] for file in document["files"]}
    assert run("-C", lived, "export", "--subject", "anna smith", "--tenant", "default").json["tenant"] == "default"

    assert run("-C", lived, "erase", "--subject", "anna smith").code == 0
    left = run("-C", lived, "export", "--subject", "anna smith").json
    assert (left["sessions"], left["requests"]) == ([], [])
    entries = run("-C", lived, "audit", "show", "--kind", "export_subject", "--json").json["entries"]
    assert len(entries) == 3
    assert not {path for path in hits(lived, "anna  smith") if path.startswith("state/")}


def test_an_export_counts_captured_examples_as_such(run, lived, tmp_path):
    """They are no requests of the scope; what is erased is what was written."""
    log, file = tmp_path / "log.jsonl", tmp_path / "export.json"
    calls = [{"messages": [{"role": "user", "content": f"purple axolotl {n}"}], "response": "yes"} for n in range(3)]
    log.write_text("\n".join(map(json.dumps, calls)))
    run("-C", lived, "flywheel", "import", log)
    report = run("-C", lived, "export", "--subject", "purple axolotl", file, "--json").json

    assert (report["sessions"], report["requests"], report["examples"]) == (0, 0, 3)
    assert len(run("-C", lived, "erase", "--subject", "purple axolotl", "--json").json["examples"]) == 3


def test_nothing_said_is_kept_unless_it_is_asked_for(run, folder, network, monkeypatch):
    """Without a session and with content off, as it is by default, no file has a word of request or answer."""
    from coterie.store.sqlite import SQLiteStore

    network("A numbat costs 12 pounds.", task="generate")
    opened = SQLiteStore.open

    async def as_by_default(path, **options):
        return await opened(path, **options | {"keep_content": False})

    monkeypatch.setattr(SQLiteStore, "open", as_by_default)
    assert run("-C", folder, "ask", "what does Zacharias's numbat cost?").code == 0
    assert run("-C", folder, "ask", '{"owner": "Zacharias", "beast": "numbat"}').code == 0

    assert run("-C", folder, "report", "--json").json["requests"] == 2
    assert hits(folder, "numbat|zacharias") == set()
