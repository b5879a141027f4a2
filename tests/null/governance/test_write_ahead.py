"""Nothing leaves that is not written down before: killed, full, unwritable or crowded, no prompt is unrecorded."""

from __future__ import annotations

import ast
import asyncio
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import coterie
from coterie.config.file import OpenAIModel
from coterie.config.operation import GeneralistSection
from coterie.errors import AuditError, EngineRejected, EngineUnavailable
from coterie.generalist.generalist import PromptedGeneralist
from coterie.governance.audit import AuditLog, read_entry
from coterie.governance.audit_verification import verify_audit
from coterie.governance.egress import ClearancePolicy, Gate
from coterie.testing import FakeOpenAIServer, ServerReply
from coterie.types import SYSTEM, CallContext, ContextView, Label, Message, Principal, Prompt, Task

SECRET = "the tenant below plays the drums at night"


def prompt(text=SECRET):
    return Prompt(messages=(Message(role="user", text=text),), label=Label.INTERNAL)


@pytest.fixture
async def server():
    """A server that notes every byte."""
    async with FakeOpenAIServer() as server:
        yield server


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "audit.jsonl"


@pytest.fixture
async def opened(server):
    """Engines of that server behind a gate with a log; closed at the end."""
    engines = []

    def opened(audit, **model):
        section = OpenAIModel(
            **{"engine": "openai", "base_url": server.base_url, "name": "m", "clearance": Label.INTERNAL, "retries": 0}
            | model
        )
        engines.append(Gate(ClearancePolicy(), audit=audit).open("cloud", section))
        return engines[-1]

    yield opened
    for engine in engines:
        await engine.close()


def entries(path):
    return [read_entry(line) for line in path.read_bytes().splitlines()]


def asked_by(trace="t1"):
    principal = Principal(tenant="acme", key="k1", clearance=Label.INTERNAL)
    return CallContext(principal=principal, egress=[], outgoing={}, trace=trace)


async def take(engine, call, *, stream):
    """Ask, in either way."""
    if stream:
        return [event async for event in engine.stream(prompt(), call=call)]
    return await engine.run([prompt()], call=call)


@pytest.mark.parametrize("stream", [False, True])
async def test_on_the_disk_before_it_leaves(server, opened, path, stream):
    """While the server is asked, what it is asked stands on the disk, synced, and without a word of it."""
    synced = []
    log = AuditLog(path, sync_seconds=60.0, sync=lambda file: (os.fsync(file), synced.append(path.stat().st_size)))
    seen = []
    server.default = lambda _: (seen.append((synced[-1], path.read_bytes())), ServerReply())[1]
    call = asked_by()
    await take(opened(log), call, stream=stream)

    ((size, content),) = seen
    assert size == len(content)
    (entry,) = [read_entry(line) for line in content.splitlines()]
    assert (entry["kind"], entry["tenant"]) == ("egress", "acme")
    about = entry["about"]
    assert about["digest"] == log.digest(f"user: {SECRET}")
    assert {key: about[key] for key in ("id", "engine", "rule", "pseudonymised", "label", "trace", "key")} == {
        "id": "t1.0",
        "engine": "cloud",
        "rule": "egress.clearance",
        "pseudonymised": False,
        "label": "internal",
        "trace": "t1",
        "key": "k1",
    }
    assert about["characters"] == len(f"user: {SECRET}")
    assert b"drums" not in content
    assert call.outgoing["t1.0"].outcome == "answered"
    await log.close()


async def test_outside_a_request(server, opened, path):
    """What leaves for no request, as in training, has an entry of what came of it as well, also if it failed."""
    engine = opened(AuditLog(path))
    await engine.run([prompt("one"), prompt("two")], call=SYSTEM)
    server.default = ServerReply.refused(400)
    with pytest.raises(EngineRejected):
        await engine.run([prompt()], call=SYSTEM)

    kinds = [entry["kind"].removeprefix("egress") for entry in entries(path)]
    assert kinds == ["", "", "_outcome", "", "_outcome"]
    outcomes = {
        prompt_id: outcome for entry in entries(path) for prompt_id, outcome in entry["about"].get("egress", {}).items()
    }
    assert sorted(outcomes.values()) == ["answered", "answered", "engine_rejected"]
    assert verify_audit(path).open == ()


@pytest.mark.parametrize("how", ["full", "no sync", "no folder", "no permission"])
async def test_where_it_cannot_be_written_nothing_leaves(server, opened, path, how, monkeypatch):
    """A full disk, one that does not sync, a folder that is none, a file that may not be written: not one byte."""

    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    options = {"full": {"write": refuse}, "no sync": {"sync": refuse}}.get(how, {})
    if how == "no folder":
        path.parent.write_text("a file")
    if how == "no permission":
        monkeypatch.setattr(os, "open", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    engine, call = opened(AuditLog(path, **options)), asked_by()
    for stream in (False, True):
        with pytest.raises(AuditError, match="Cannot write the audit log"):
            await take(engine, call, stream=stream)
    monkeypatch.undo()

    assert (server.connections, bytes(server.received)) == (0, b"")
    assert call.egress == []
    assert {sent_prompt.outcome for sent_prompt in (call.outgoing or {}).values()} <= {"not_sent"}


async def test_a_full_disk_of_the_system(tmp_path, server):
    """A file system that really refuses to write more: nothing is sent, and the error says why."""
    script = """
import asyncio, resource, signal, sys
from pathlib import Path
from coterie.config.file import OpenAIModel
from coterie.governance.audit import AuditLog
from coterie.governance.egress import ClearancePolicy, Gate
from coterie.types import SYSTEM, Message, Prompt
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
model = OpenAIModel(engine="openai", base_url=sys.argv[1], name="m", clearance="internal")
engine = Gate(ClearancePolicy(), audit=AuditLog(Path(sys.argv[2]))).open("cloud", model)
try:
    asyncio.run(engine.run([Prompt(messages=(Message(role="user", text="hello"),))], call=SYSTEM))
except Exception as error:
    print(type(error).__name__, error)
"""
    command = [sys.executable, "-c", script, server.base_url, str(tmp_path / "a.jsonl")]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)

    assert done.stdout.startswith("AuditError Cannot write the audit log")
    assert "File too large" in done.stdout
    assert server.connections == 0


async def test_the_generalist_hides_no_audit_error(server, opened, path):
    """No fallback and no abstention takes the place of the error: what cannot be written down is not done."""

    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    engine = opened(AuditLog(path, write=refuse))
    section = OpenAIModel(engine="openai", base_url=server.base_url, name="m", clearance=Label.INTERNAL)
    large = PromptedGeneralist([(engine, section), (engine, section)], GeneralistSection(model="cloud"))
    with pytest.raises(AuditError):
        await large.consult(Task(text="hello"), ContextView(), call=asked_by())

    assert server.connections == 0


async def test_no_word_before_the_entry(server, opened, path):
    """A stream whose entry is still on its way to the disk has said nothing and sent nothing."""
    go_on = asyncio.Event()

    class Slow(AuditLog):
        async def append(self, event, *, sync=False):
            await go_on.wait()
            await super().append(event, sync=sync)

    stream = opened(Slow(path)).stream(prompt(), call=asked_by())
    first = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0.05)
    assert not first.done()
    assert server.connections == 0
    go_on.set()
    assert (await first).text
    await stream.aclose()


async def test_many_at_once_share_a_sync(server, opened, path):
    """Of 64 callers at once each has its entry, and all of them together a few syncs."""
    syncs = []
    log = AuditLog(path, sync_seconds=60.0, sync=lambda file: (os.fsync(file), syncs.append(1)))
    engine, calls = opened(log, parallel=64), [asked_by(f"t{n}") for n in range(64)]
    await asyncio.gather(*(engine.run([prompt(f"question {n}")], call=call) for n, call in enumerate(calls)))

    assert {entry["about"]["trace"] for entry in entries(path)} == {f"t{n}" for n in range(64)}
    assert len(server.requests) == 64
    assert len(syncs) < 32
    await log.close()


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (ServerReply.refused(503), "engine_unavailable"),
        (ServerReply(cut_after=1), "engine_broken"),
        (ServerReply(hang=True), "engine_timeout"),
    ],
)
async def test_what_came_of_it(server, opened, path, reply, outcome):
    """A call that fails, breaks off or takes too long is known by the code of its error."""
    server.default, call = reply, asked_by()
    with pytest.raises(Exception):  # noqa: B017, PT011 - which one, the outcome says
        await take(opened(AuditLog(path), timeout=0.2), call, stream=True)

    assert call.outgoing["t1.0"].outcome == outcome


async def test_a_caller_who_leaves(server, opened, path):
    """A call that is cancelled while the server thinks is known as cancelled."""
    server.default, call = ServerReply(hang=True), asked_by()
    asking = asyncio.ensure_future(take(opened(AuditLog(path)), call, stream=True))
    await server.asked.wait()
    asking.cancel()
    await asyncio.wait([asking])

    assert call.outgoing["t1.0"].outcome == "cancelled"


_ASK = """
import asyncio, sys
from pathlib import Path
from coterie.config.file import OpenAIModel
from coterie.governance.audit import AuditLog
from coterie.governance.egress import ClearancePolicy, Gate
from coterie.types import CallContext, Message, Prompt

async def ask():
    model = OpenAIModel(engine="openai", base_url=sys.argv[1], name="m", clearance="internal", parallel=8)
    engine = Gate(ClearancePolicy(), audit=AuditLog(Path(sys.argv[2]), sync_seconds=1.0)).open("cloud", model)
    prompts = [Prompt(messages=(Message(role="user", text=f"question {n}"),)) for n in range(8)]
    call = CallContext(egress=[], outgoing={}, trace="t" + sys.argv[3])
    await asyncio.gather(*(engine.run([each], call=call) for each in prompts))

asyncio.run(ask())
"""


async def test_killed_while_the_model_is_asked(server, path):
    """However often: what the server was asked stands in the log, `verify` names it, and old logs go on behind."""
    server.default = ServerReply(hang=True)
    for n in range(3):
        server.asked.clear()
        before = len(server.requests)
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", _ASK, server.base_url, str(path), str(n))
        await asyncio.wait_for(server.asked.wait(), 60)
        process.send_signal(signal.SIGKILL)
        await process.wait()
        assert len(server.requests) > before
    with path.open("ab") as file:
        file.write(b'{"prev":"00')  # and half a line of the last
    texts = {request.json["messages"][0]["content"] for request in server.requests}
    log, verification = AuditLog(path), verify_audit(path)

    assert verification.fault is None
    assert verification.torn == 11
    recorded = {entry["about"]["digest"] for entry in map(read_entry, path.read_bytes().splitlines()[:-1])}
    assert {log.digest(f"user: {text}") for text in texts} <= recorded
    assert {sent_prompt.trace for sent_prompt in verification.open} == {"t0", "t1", "t2"}
    assert len(verification.open) >= len(server.requests)


def test_every_gate_has_the_log():
    """No command opens the gate without the network's log."""
    for path in Path(coterie.__file__).parent.rglob("*.py"):
        source = path.read_text()
        for node in ast.walk(ast.parse(source)) if "Gate(" in source else ():
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Gate":
                assert "audit" in {keyword.arg for keyword in node.keywords}, path


@pytest.mark.parametrize("within", [True, False])
async def test_what_had_no_connection_has_not_left(server, opened, path, within):
    """A server that is not there, and one that is not asked for now: announced, and nothing left."""
    log = AuditLog(path)
    outcomes = []
    for url, times in (("http://127.0.0.1:9/v1", 1), (server.base_url, 7)):
        engine, server.default = opened(log, base_url=url), ServerReply.refused(503)
        for _ in range(times):
            call = asked_by() if within else SYSTEM
            with pytest.raises(EngineUnavailable):
                await engine.run([prompt()], call=call)
            outcomes += [sent_prompt.outcome for sent_prompt in (call.outgoing or {}).values()]

    if not within:
        outcomes = [outcome for entry in entries(path) for outcome in entry["about"].get("egress", {}).values()]
    assert outcomes == ["not_sent", *["engine_unavailable"] * 5, "not_sent", "not_sent"]
    assert len(server.requests) == 5
    assert within or verify_audit(path).open == ()
    await log.close()
