"""`coterie doctor`: what is missing and the command that fixes it."""

import asyncio
import hashlib
import json
import shutil
import socket
import sqlite3
import subprocess
import sys
from types import SimpleNamespace

import pytest

from coterie.accounting.meter import Cards
from coterie.config.file import parse_config
from coterie.governance.audit import AuditLog
from coterie.registry.registry import REGISTRY_FOLDER, Registry
from coterie.routing.profile import PROFILE_FILE
from coterie.store.sqlite import SQLiteStore
from coterie.testing import make_trace
from coterie.types import AuditEvent, Settlement


@pytest.fixture(autouse=True)
def nothing_of_this_machine(monkeypatch, tmp_path):
    """No model of the user's, no key, and no encoder to load."""
    monkeypatch.setenv("COTERIE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    class Encoder:
        sha256 = "0" * 64

        @classmethod
        def bundled(cls):
            return cls()

        async def close(self):
            pass

    monkeypatch.setattr("coterie.cli.checks.OnnxEncoder", Encoder)


@pytest.fixture
def trained(folder):
    registry = Registry(folder / REGISTRY_FOLDER)
    version = registry.add("triage", {"model.json": b"{}", PROFILE_FILE: b"profile"})
    registry.promote("triage", version)
    return folder


@pytest.fixture
def examine(run):
    """Runs the doctor and gives its exit code and each check by name."""

    def examine(folder):
        result = run("-C", folder, "doctor", "--json")
        return result.code, {check["name"]: check for check in result.json["checks"]}

    return examine


def add(folder, text):
    """More lines for coterie.toml."""
    with (folder / "coterie.toml").open("a") as file:
        file.write(f"\n{text}\n")


def test_all_there(run, trained):
    """With everything required, the exit code is 0 and each check says what was found."""
    result = run("-C", trained, "doctor")

    assert result.code == 0, result.out
    assert "MISSING" not in result.out
    for name in ("python", "encoder", "coterie.toml", "data triage", "trained triage", "router", "store", "disk"):
        assert name in result.out


def test_not_trained(run, folder, examine):
    """A specialist without a version is missing; the fix is the command, with the folder."""
    code, checks = examine(folder)

    assert code == 1
    assert not checks["trained triage"]["ok"]
    assert checks["trained triage"]["fix"] == f"coterie -C {folder} train triage"
    assert not checks["router"]["ok"]
    assert "MISSING" in run("-C", folder, "doctor").out


@pytest.mark.parametrize(("free", "expected"), [(0, (1, False)), (50_000_000, (0, False)), (10**12, (0, True))])
def test_a_full_disk(trained, examine, monkeypatch, free, expected):
    """Where nothing can be written, nothing is answered: that is missing; little room is a note."""
    monkeypatch.setattr("coterie.cli.checks.shutil.disk_usage", lambda path: SimpleNamespace(free=free))
    code, checks = examine(trained)

    assert (code, checks["disk"]["ok"]) == expected


def test_no_network(tmp_path, examine):
    """Outside a network the doctor says how to make one, and stops there."""
    code, checks = examine(tmp_path)

    assert code == 1
    assert "coterie init" in checks["coterie.toml"]["fix"]
    assert "store" not in checks


def test_invalid_file(folder, examine):
    """A coterie.toml with a mistake is shown with the mistake."""
    add(folder, "[netwrok]")
    code, checks = examine(folder)

    assert code == 1
    assert "netwrok" in checks["coterie.toml"]["found"]


def test_no_specialists(tmp_path, examine):
    """A network without specialists needs one."""
    (tmp_path / "coterie.toml").write_text("")
    code, checks = examine(tmp_path)

    assert code == 1
    assert "add NAME" in checks["specialists"]["fix"]


def test_captured_calls_make_specialists(tmp_path, examine):
    """A network that captures calls needs none in its file."""
    (tmp_path / "coterie.toml").write_text("[capture]\nenabled = true\n")
    _, checks = examine(tmp_path)

    assert checks["specialists"]["ok"]


def test_missing_data(trained, examine):
    """Data that the file names but that is not there is missing."""
    (trained / "data" / "triage.csv").unlink()
    code, checks = examine(trained)

    assert code == 1
    assert "data/triage.csv" in checks["data triage"]["found"]


def test_damaged_version(trained, examine):
    """A version whose files were changed is no version."""
    (path,) = (trained / REGISTRY_FOLDER / "triage").glob("*/model.json")
    path.write_bytes(b"tampered")
    code, checks = examine(trained)

    assert code == 1
    assert "model.json" in checks["trained triage"]["found"]


def test_missing_model(trained, examine):
    """A model file that is not here is missing; the fix is the pull."""
    add(trained, '[models.small]\nengine = "llama"\nname = "smollm2"')
    code, checks = examine(trained)

    assert code == 1
    assert "coterie models pull smollm2" in checks["model small"]["fix"]


def test_a_model_without_a_checksum(trained, examine):
    """A file given by path is not run unless its checksum is recorded; the fix is the command that records it."""
    (trained / "my.gguf").write_bytes(b"GGUF and weights")
    (trained / "pinned.gguf").write_bytes(b"GGUF and weights")
    digest = hashlib.sha256(b"GGUF and weights").hexdigest()
    add(trained, '[models.mine]\nengine = "llama"\nname = "my.gguf"')
    add(trained, f'[models.pinned]\nengine = "llama"\nname = "pinned.gguf"\nsha256 = "{digest}"')
    code, checks = examine(trained)

    assert (code, checks["model mine"]["ok"]) == (1, False)
    assert checks["model mine"]["fix"].endswith("models pin mine")
    assert checks["model pinned"]["ok"]


@pytest.mark.parametrize(
    ("extra", "more"),
    [
        ("llama", '[models.small]\nengine = "llama"\nname = "smollm2"'),
        ("sign", '[registry]\nsigning_key = "env:KEY"'),
        ("otel", '[observe]\notlp_endpoint = "http://localhost:4318/v1/traces"'),
    ],
)
def test_missing_extra(trained, examine, monkeypatch, *, extra, more):
    """What the file needs a package for, and it is not installed, is an extra that is missing, with the command."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    add(trained, more)
    _, checks = examine(trained)

    assert not checks[f"extra {extra}"]["ok"]
    assert checks[f"extra {extra}"]["fix"] == f"pip install 'coterie[{extra}]'"


REMOTE = """
[models.large]
engine = "openai"
base_url = "https://example.org/v1"
name = "large"
api_key = "env:OPENAI_API_KEY"

[generalist]
model = "large"
escalate = {escalate}
"""


def test_secrets(trained, examine, monkeypatch):
    """Whether a secret is set is said, its value never; one that is never used is only a note."""
    add(trained, REMOTE.format(escalate="true"))
    code, checks = examine(trained)
    assert code == 1
    assert checks["secret large"]["fix"] == "export OPENAI_API_KEY=..."

    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    code, checks = examine(trained)
    assert code == 0
    assert "sk-very-secret" not in str(checks)


def test_a_yardstick_needs_no_key(trained, examine):
    """The model that is only compared with is never called: its missing key does not fail the doctor."""
    add(trained, REMOTE.format(escalate="false"))
    code, checks = examine(trained)

    assert code == 0
    assert not checks["secret large"]["ok"]


def test_what_is_captured_needs_a_key_that_a_header_can_carry(trained, examine, monkeypatch):
    """Capture relays calls to the model, also where nothing escalates; a key outside ASCII fails at each call."""
    add(trained, REMOTE.format(escalate="false") + "\n[capture]\nenabled = true\n")
    monkeypatch.setenv("OPENAI_API_KEY", "nøgle")
    code, checks = examine(trained)
    assert (code, checks["secret large"]["ok"]) == (1, False)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    assert examine(trained)[1]["secret large"]["ok"]


def test_a_fallback_needs_its_key(trained, examine, monkeypatch):
    """The model that is asked when the first one fails is called too, so its key must be set."""
    spare = REMOTE.split("[generalist]", maxsplit=1)[0].replace("large", "spare").replace("OPENAI_API_KEY", "SPARE_KEY")
    add(trained, spare + REMOTE.format(escalate='true\nfallback = ["spare"]'))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    code, checks = examine(trained)

    assert code == 1
    assert checks["secret spare"]["fix"] == "export SPARE_KEY=..."


def test_workers_that_were_not_replaced(trained, examine):
    """As long as the note of the supervisor is there; one that cannot be read says nothing."""
    assert "workers" not in examine(trained)[1]
    note = trained / "state" / "workers.json"
    note.parent.mkdir(exist_ok=True)
    note.write_text(json.dumps({"time": 0, "why": "a new worker ended with 4"}))
    code, checks = examine(trained)
    assert (code, checks["workers"]["ok"], checks["workers"]["required"]) == (0, False, False)
    assert "1970-01-01" in checks["workers"]["found"]
    assert "ended with 4" in checks["workers"]["found"]
    note.write_text("{")
    assert "workers" not in examine(trained)[1]


def test_port_in_use(trained, examine):
    """A port that is taken is a note, since it may be our own gateway."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        add(trained, f"[gateway]\nport = {other.getsockname()[1]}")
        code, checks = examine(trained)

    assert code == 0
    assert not checks["port"]["ok"]


@pytest.mark.parametrize("host", ["203.0.113.7", "2001:db8::7"])
def test_hosts_that_are_none(trained, examine, host):
    """An address that cannot be bound is a note with the reason, whatever it is."""
    add(trained, f'[gateway]\nhost = "{host}"')
    code, checks = examine(trained)

    assert code == 0
    assert not checks["port"]["ok"]


def test_store(trained, examine):
    """A database that can be locked is fine; a file that is none is missing."""
    path = trained / parse_config("").store.path
    path.parent.mkdir()
    sqlite3.connect(path).execute("CREATE TABLE t (x)").connection.close()
    assert examine(trained)[1]["store"]["ok"]

    path.write_bytes(b"no database" * 100)
    code, checks = examine(trained)
    assert code == 1
    assert "not a database" in checks["store"]["found"]


def test_it_changes_nothing(trained, examine):
    """The doctor writes no file."""
    before = sorted(trained.rglob("*"))
    examine(trained)

    assert sorted(trained.rglob("*")) == before


def test_energy(trained, examine, tmp_path, monkeypatch):
    """It says where joules come from, and what to do where a counter may not be read."""
    monkeypatch.setattr("coterie.cli.checks.POWERCAP", tmp_path / "powercap")
    assert "no counter" in examine(trained)[1]["energy"]["found"]
    (tmp_path / "powercap" / "intel-rapl:0").mkdir(parents=True)
    (tmp_path / "powercap" / "intel-rapl:0" / "energy_uj").mkdir()  # what cannot be read as a file
    code, checks = examine(trained)
    assert code == 0  # it is no fault
    assert not checks["energy"]["ok"]
    assert "chmod" in checks["energy"]["fix"]
    (tmp_path / "powercap" / "intel-rapl:0" / "energy_uj").rmdir()
    for name, text in (("energy_uj", "5000000"), ("name", "package-0"), ("max_energy_range_uj", "1000000")):
        (tmp_path / "powercap" / "intel-rapl:0" / name).write_text(text)
    assert "measured" in examine(trained)[1]["energy"]["found"]
    add(trained, "[accounting]\nenergy_meter = false")
    assert "10 W" in examine(trained)[1]["energy"]["found"]


def test_energy_of_graphics_cards(trained, examine, monkeypatch):
    """A server on this machine's cards is said to be measured, or what is missing for it."""
    add(trained, '[models.big]\nengine = "openai"\nbase_url = "http://127.0.0.1:1/v1"\nname = "m"\ngpus = [0, 1]')
    monkeypatch.setattr("coterie.cli.checks.open_cards", lambda numbers: None)
    code, checks = examine(trained)
    assert code == 0
    assert "coterie[gpu]" in checks["energy of big"]["fix"]
    monkeypatch.setattr("coterie.cli.checks.open_cards", lambda numbers: Cards([]))
    assert "measured by the counters of graphics cards 0, 1" in examine(trained)[1]["energy of big"]["found"]


ELSEWHERE = """
[models.large]
engine = "openai"
base_url = "http://127.0.0.1:9/v1"
name = "large-1"
"""
ASKED = '\n[generalist]\nmodel = "large"'


@pytest.mark.parametrize(
    ("more", "ok", "said"),
    [
        ("", False, '[privacy] detector = "names" in coterie.toml, and pseudonymise = true in [models.large]'),
        ("pseudonymise = true", False, '[privacy] detector = "names" in coterie.toml (docs'),
        ('pseudonymise = true\n[privacy]\ndetector = "names"', True, "names looks for them"),
        ('[privacy]\ndetector = "names"', True, "does not reach large"),
        ('clearance = "confidential"', None, ""),
    ],
)
def test_names_that_leave(examine, trained, more, ok, said):
    """Who asks a model elsewhere is told that patterns see no names, and what to set; it is no fault."""
    add(trained, ELSEWHERE + more + ASKED)
    code, checks = examine(trained)

    assert code == 0
    assert ("names" in checks) is (ok is not None)
    if ok is not None:
        assert checks["names"]["ok"] is ok
        assert said in checks["names"]["found"] + checks["names"]["fix"]


def test_names_stay_where_nothing_leaves(examine, trained):
    """Without a model elsewhere that is asked nobody is told of names."""
    assert "names" not in examine(trained)[1]

    add(trained, ELSEWHERE)
    assert "names" not in examine(trained)[1]


def test_a_ledger_that_lost_what_the_audit_log_has(examine, trained):
    """Requests that were answered, and are gone with the `-wal` file of a killed process, are missed."""
    script = """
import asyncio, os, sys
from pathlib import Path
from coterie.governance.audit import AuditLog
from coterie.store.sqlite import SQLiteStore
from coterie.testing import make_trace
from coterie.types import AuditEvent, Settlement

async def work():
    state = Path(sys.argv[1]) / "state"
    store = await SQLiteStore.open(state / "coterie.db", session_days=1.0, keep_content=False)
    log = AuditLog(state / "audit.jsonl")
    for n in range(5):
        await store.settle(Settlement(trace=make_trace(id=f"t{n}")))
        await log.append(AuditEvent(kind="request", time=1000.0, about={"trace": f"t{n}"}))
    os.kill(os.getpid(), 9)

asyncio.run(work())
"""
    done = subprocess.run([sys.executable, "-c", script, str(trained)], check=False)
    assert done.returncode == -9
    shutil.copytree(trained, trained.parent / "copy")
    assert examine(trained.parent / "copy")[1]["ledger"]["ok"]
    (trained / "state" / "coterie.db-wal").unlink()

    code, checks = examine(trained)
    assert code == 1
    assert "5 of the last 5 requests" in checks["ledger"]["found"]
    assert "-wal" in checks["ledger"]["fix"]


@pytest.mark.parametrize(
    ("harm", "missing"),
    [
        (lambda log: log.write_bytes(b""), 4),
        (lambda log: log.unlink(), 4),
        (lambda log: log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:2])), 2),
        (lambda log: log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[2:])), 0),
        (lambda log: None, 0),
    ],
    ids=["emptied", "deleted", "cut", "begun anew", "whole"],
)
def test_an_audit_log_that_lost_what_the_ledger_has(examine, trained, harm, missing):
    """Requests of the ledger that are in no audit log are told, but for those before the log began."""

    async def settle():
        state = trained / "state"
        store = await SQLiteStore.open(state / "coterie.db", session_days=1.0, keep_content=False)
        log = AuditLog(state / "audit.jsonl")
        for n in range(4):
            await store.settle(Settlement(trace=make_trace(id=f"t{n}", time=1000.0 + n)))
            await log.append(AuditEvent(kind="request", time=1000.0 + n, about={"trace": f"t{n}"}))
        await log.close()
        await store.close()

    asyncio.run(settle())
    harm(trained / "state" / "audit.jsonl")
    code, checks = examine(trained)

    assert code == (1 if missing else 0)
    assert ("audit" in checks) is bool(missing)
    if missing:
        assert f"{missing} of the last 4 requests" in checks["audit"]["found"]


def test_an_address_with_a_password(run, folder):
    """A user or a password in an address is refused, with where it belongs, and never repeated."""
    add(folder, '[models.big]\nengine = "openai"\nname = "m"\nbase_url = "https://ada:hunter2@example.org/v1"')
    add(folder, '[observe]\notlp_endpoint = "http://:hunter2@example.org/v1/traces"')
    result = run("-C", folder, "doctor")

    assert result.code == 1
    assert "api_key = 'env:NAME'" in result.out
    assert "OTEL_EXPORTER_OTLP_HEADERS" in result.out
    assert "hunter2" not in result.out + result.err
