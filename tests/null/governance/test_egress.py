"""The gate holds: of a prompt that is refused, not one byte leaves this process."""

from __future__ import annotations

import asyncio
import re
from itertools import product
from pathlib import Path

import pytest

import coterie
from coterie.config.file import OpenAIModel
from coterie.errors import EgressRefused, EngineUnavailable
from coterie.governance.egress import ClearancePolicy, Gate
from coterie.testing import FakeOpenAIServer, ServerReply, check_engine, check_streaming_engine
from coterie.types import SYSTEM, Label, Message, Output, Prompt, Verdict, worded

SECRET = "the patient's name is Ada"


def prompt(label=Label.INTERNAL, text=SECRET):
    return Prompt(messages=(Message(role="user", text=text),), label=label)


@pytest.fixture
async def server():
    """A server that notes every byte."""
    async with FakeOpenAIServer() as server:
        yield server


@pytest.fixture
async def opened(server):
    """Engines of that server behind a gate; closed at the end."""
    engines = []

    def opened(clearance=Label.PUBLIC, policy=None, **options):
        model = OpenAIModel(engine="openai", base_url=server.base_url, name="big", clearance=clearance, retries=1)
        engines.append(Gate(policy or ClearancePolicy()).open("cloud", model, **options))
        return engines[-1]

    yield opened
    for engine in engines:
        await engine.close()


def nothing_left(server):
    return (server.connections, bytes(server.received), server.requests) == (0, b"", [])


async def test_contract(opened):
    """What the gate opens keeps the contracts of an engine and of a streaming one."""
    engine = opened(Label.INTERNAL)
    await check_streaming_engine(engine)
    await check_engine(engine)


@pytest.mark.parametrize(("label", "clearance"), [*product(Label, Label)])
async def test_every_label_at_every_clearance(opened, server, label, clearance):
    """A prompt above the clearance is refused with a verdict and sends nothing; one within it is answered."""
    engine = opened(clearance)
    if label <= clearance:
        (output,) = await engine.run([prompt(label)], call=SYSTEM)
        assert output.verdict.allowed
        *_, last = [event async for event in engine.stream(prompt(label), call=SYSTEM)]
        assert last.verdict == output.verdict
        assert len(server.requests) == 2
        return
    with pytest.raises(EgressRefused) as by_run:
        await engine.run([prompt(label)], call=SYSTEM)
    with pytest.raises(EgressRefused) as by_stream:
        await anext(engine.stream(prompt(label), call=SYSTEM))
    await asyncio.sleep(0)
    assert nothing_left(server)
    for refusal in (by_run.value, by_stream.value):
        assert not refusal.verdict.allowed
        assert refusal.verdict.rule == "egress.clearance"
        assert label.value in str(refusal)
        assert SECRET not in str(refusal)


@pytest.mark.parametrize(("label", "clearance"), [*product(Label, Label)])
async def test_asked_beforehand(server, label, clearance):
    """Whether data of a label could go at all is told as it will be decided, without opening anything."""
    model = OpenAIModel(engine="openai", base_url=server.base_url, name="big", clearance=clearance)
    if label <= clearance:
        Gate(ClearancePolicy()).check("cloud", model, label)
    else:
        with pytest.raises(EgressRefused, match="'cloud'"):
            Gate(ClearancePolicy()).check("cloud", model, label)
    assert nothing_left(server)


async def test_one_refused_prompt_holds_the_batch(opened, server):
    """A batch leaves whole or not at all: the allowed prompts beside a refused one are not sent."""
    batch = [prompt(Label.PUBLIC), prompt(Label.PUBLIC), prompt(Label.RESTRICTED)]
    with pytest.raises(EgressRefused):
        await opened().run(batch, call=SYSTEM)
    assert nothing_left(server)


async def test_batch_that_changes(opened, server):
    """What was judged is what is sent: a batch that shows another face the second time gains nothing."""

    class Fickle(list):
        asked = 0

        def __iter__(self):
            self.asked += 1
            label, text = (Label.PUBLIC, "fine") if self.asked == 1 else (Label.PUBLIC, SECRET)
            return iter([prompt(label, text)])

    await opened().run(Fickle([None]), call=SYSTEM)
    assert SECRET.encode() not in server.received


async def test_stream_is_judged_before_it_is_read(opened, server):
    """A stream that is made but not read has sent nothing; its first step is the verdict."""
    stream = opened().stream(prompt(Label.CONFIDENTIAL), call=SYSTEM)
    await asyncio.sleep(0)
    assert nothing_left(server)
    with pytest.raises(EgressRefused):
        await anext(stream)
    assert nothing_left(server)


class Odd:
    """A policy that gives what it is told to."""

    def __init__(self, verdict):
        self.verdict = verdict

    def judge(self, flow):
        """Give it, or raise it."""
        if isinstance(self.verdict, Exception):
            raise self.verdict
        return self.verdict


@pytest.mark.parametrize("allowed", [False, None, 0, "yes", 1, object()])
async def test_only_true_is_true(opened, server, allowed):
    """A verdict that is anything but `True` lets nothing out."""
    engine = opened(Label.RESTRICTED, Odd(Verdict(allowed=allowed, rule="odd", reason=worded("who knows"))))
    with pytest.raises(EgressRefused):
        await engine.run([prompt()], call=SYSTEM)
    with pytest.raises(EgressRefused):
        await anext(engine.stream(prompt(), call=SYSTEM))
    assert nothing_left(server)


@pytest.mark.parametrize("broken", [ZeroDivisionError("bug"), None, object()])
async def test_broken_policy(opened, server, broken):
    """A policy that fails, or gives no verdict, lets nothing out."""
    engine = opened(Label.RESTRICTED, Odd(broken))
    with pytest.raises((ZeroDivisionError, AttributeError)):
        await engine.run([prompt()], call=SYSTEM)
    with pytest.raises((ZeroDivisionError, AttributeError)):
        await anext(engine.stream(prompt(), call=SYSTEM))
    assert nothing_left(server)


async def test_raising_the_engines_clearance_changes_nothing(opened, server):
    """The gate judges by the configuration's clearance: writing another onto the engine it wraps is no way out."""
    engine = opened(Label.PUBLIC)
    engine._engine.clearance = Label.RESTRICTED
    with pytest.raises(EgressRefused):
        await engine.run([prompt(Label.RESTRICTED)], call=SYSTEM)
    assert nothing_left(server)


async def test_no_redirect(opened, server):
    """An allowed prompt goes to the judged address only: a redirect is not followed."""
    async with FakeOpenAIServer() as elsewhere:
        server.default = ServerReply.refused(307, location=f"{elsewhere.base_url}/chat/completions")
        with pytest.raises(Exception, match="307"):
            await opened(Label.INTERNAL).run([prompt()], call=SYSTEM)
        assert nothing_left(elsewhere)


async def test_errors_pass(opened, server):
    """What goes wrong beyond the gate is the engine's error."""
    server.default = ServerReply.refused(503)

    async def no_sleep(seconds):
        pass

    with pytest.raises(EngineUnavailable):
        await opened(Label.INTERNAL, sleep=no_sleep, random=lambda: 0.0).run([prompt()], call=SYSTEM)


async def test_early_end(opened, server):
    """Closing a stream early closes the connection behind the gate."""
    server.default = ServerReply(pieces=["word "] * 100_000)
    stream = opened(Label.INTERNAL).stream(prompt(), call=SYSTEM)
    assert not isinstance(await anext(stream), Output)
    await stream.aclose()
    await server.disconnected.wait()


def test_no_other_path():
    """Outside the engines themselves, only the gate names the remote engine or the HTTP client behind it."""
    root = Path(coterie.__file__).parent
    remote = re.compile(r"\bOpenAIEngine\b|\bopenai_http\b|\bAiohttpTransport\b|\bHttpTransport\b")
    named = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if remote.search(path.read_text(encoding="utf-8")) and path.parent.name != "engines"
    }
    assert named == {str(Path("governance", "egress.py"))}


def test_no_other_client():
    """No module but the engines that the gate opens, the fetch for sign-in and `models pull` imports an HTTP client."""
    root = Path(coterie.__file__).parent
    client = re.compile(r"^\s*(?:import|from) (?:httpx|urllib\.request|http\.client|aiohttp|requests)\b", re.MULTILINE)
    importers = {str(path.relative_to(root)) for path in root.rglob("*.py") if client.search(path.read_text("utf-8"))}
    engines = {str(Path("engines", name)) for name in ("http.py", "mcp.py")}
    models = {str(Path("models", name)) for name in ("download.py", "publishers.py", "pull.py")}
    assert importers <= engines | models


async def test_on_whose_behalf_is_always_said(opened, server):
    """At the gate nobody is taken for the operator of the process because somebody forgot to say who asks."""
    engine = opened(Label.INTERNAL)
    with pytest.raises(TypeError, match="call"):
        await engine.run([prompt()])
    with pytest.raises(TypeError, match="call"):
        engine.stream(prompt())
    assert server.connections == 0
