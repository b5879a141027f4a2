"""The key is in the request's header and nowhere else."""

import io
import json
import logging
import traceback

import pytest

from coterie.config.file import OpenAIModel, parse_config
from coterie.engines.http import TransportError
from coterie.engines.openai import OpenAIEngine
from coterie.errors import ConfigError, CoterieError
from coterie.testing import ScriptedTransport, ServerReply

KEY = "sk-live-0123456789abcdefghij"


@pytest.fixture(autouse=True)
def key(monkeypatch):
    """The key is in the environment."""
    monkeypatch.setenv("CLOUD_KEY", KEY)


@pytest.fixture
def log():
    """Everything that any library logs, at its most talkative."""
    stream, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(stream), root.level
    root.addHandler(handler)
    root.setLevel(1)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


def everything(error):
    """All that can be printed of an error: its words, those of its causes, their frames with local values."""
    seen, todo, text = set(), [error], ""
    while todo:
        value = todo.pop()
        if value is None or id(value) in seen:
            continue
        seen.add(id(value))
        todo += [value.__cause__, value.__context__]
        text += repr(value) + str(value) + repr(vars(value))
        report = traceback.TracebackException.from_exception(value, capture_locals=True)
        # Frames of the test itself know the key.
        report.stack = traceback.StackSummary.from_list([f for f in report.stack if "/tests/" not in f.filename])
        text += "".join(report.format(chain=False))
    return text


REPLIES = [
    ServerReply.refused(401, f"Incorrect API key provided: {KEY}"),
    ServerReply.refused(401, f"x{KEY}y" * 30),
    ServerReply.refused(500, f"upstream got Authorization: Bearer {KEY}"),
    ServerReply(status=401, body=f"<html>{KEY}</html>".encode()),
    ServerReply(status=401, body=json.dumps(KEY).encode()),
    ServerReply(status=401, body=json.dumps({"error": KEY}).encode()),
    ServerReply(status=401, body=json.dumps({"error": {"message": {"a": KEY}, "code": KEY}}).encode()),
    ServerReply(body=json.dumps({"error": {"message": KEY}}).encode()),
    ServerReply(body=KEY.encode()),
    ServerReply(cut_after=0),
    ServerReply(hang=True),
]


@pytest.mark.parametrize("reply", REPLIES)
async def test_never_in_an_error(connect, server, ask, log, reply):
    """No error shows the key: not its words, causes, frames or logs, even when the provider repeats it."""
    server.default = reply
    engine = connect(api_key="env:CLOUD_KEY", timeout=0.05 if reply.hang else 10, retries=1)
    for ask_it in (lambda: engine.run([ask()]), lambda: anext(engine.stream(ask()))):
        with pytest.raises(CoterieError) as failure:
            await ask_it()
        assert KEY not in everything(failure.value)
    assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {KEY}"}
    assert KEY not in log.getvalue()
    assert KEY not in repr(engine) + repr(vars(engine)) + repr(engine._connection._headers)


async def test_a_key_in_the_address_is_not_repeated(connect, server, ask):
    """A server that says which address it lacks tells no caller the part that may be a key."""
    address = f"{server.base_url}/keys/{KEY}"
    server.default = ServerReply.refused(404, f"no route /v1/keys/{KEY}/chat/completions")
    with pytest.raises(CoterieError) as failure:
        await connect(base_url=address).run([ask()])
    assert KEY not in str(failure.value)
    assert server.requests


async def test_never_in_an_event(connect, server, ask, log):
    """Nor does a stream that fails after its first piece."""
    server.default = ServerReply(pieces=[KEY, "b"], cut_after=1)
    stream = connect(api_key="env:CLOUD_KEY").stream(ask())
    assert (await anext(stream)).text == "[key]"
    with pytest.raises(CoterieError) as failure:
        await anext(stream)
    assert KEY not in everything(failure.value)
    assert KEY not in log.getvalue()


@pytest.mark.parametrize(
    "error", [TransportError("late", "x"), TimeoutError("no luck"), OSError("no luck"), RuntimeError("no luck")]
)
async def test_never_by_the_http_library(ask, error):
    """What a transport raises may remember the request with its header: none of ours leads to it."""
    leaked = []

    def fail(request):
        leaked.append(request.headers["authorization"])
        raise error

    model = OpenAIModel(engine="openai", base_url="http://x/v1", name="big", api_key="env:CLOUD_KEY", retries=0)
    engine = OpenAIEngine("cloud", model, transport=ScriptedTransport(fail))
    with pytest.raises(CoterieError) as failure:
        await engine.run([ask()])
    assert leaked == [f"Bearer {KEY}"]
    assert failure.value.__context__ is None
    assert failure.value.__cause__ is None
    assert KEY not in everything(failure.value)
    await engine.close()


@pytest.mark.parametrize("value", ["sk-live key", "sk-live\nX-Other: 1", "sk-live-ï", "sk-live\x7f", "   "])
async def test_unsendable_key(connect, server, ask, monkeypatch, value):
    """A key that no header can carry is refused by the name of its variable, without its value."""
    monkeypatch.setenv("CLOUD_KEY", value)
    with pytest.raises(ConfigError, match="CLOUD_KEY") as failure:
        await connect(api_key="env:CLOUD_KEY").run([ask()])
    assert "live" not in everything(failure.value)
    assert not server.received


async def test_trailing_newline(connect, server, ask, monkeypatch):
    """A line end after the key, as files of secrets have it, is no part of it."""
    monkeypatch.setenv("CLOUD_KEY", f"{KEY}\n")
    await connect(api_key="env:CLOUD_KEY").run([ask()])
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


async def test_missing_key(connect, server, ask, monkeypatch):
    """Without its variable nothing is sent, and the variable is named."""
    monkeypatch.delenv("CLOUD_KEY")
    with pytest.raises(ConfigError, match="CLOUD_KEY"):
        await connect(api_key="env:CLOUD_KEY").run([ask()])
    assert not server.received


async def test_no_key(connect, server, ask):
    """A server that needs no key gets none."""
    await connect().run([ask()])
    assert "authorization" not in server.requests[0].headers


@pytest.mark.parametrize("user", ["me:hunter2@", ":hunter2@", "hunter2@", "me:@"])
def test_password_in_the_address(user):
    """A user or a password in the address is refused, with what to do, and not repeated."""
    with pytest.raises(ConfigError, match="api_key = 'env:NAME'") as refused:
        parse_config(f'[models.m]\nengine = "openai"\nname = "m"\nbase_url = "https://{user}example.org/v1"')
    assert "hunter2" not in str(refused.value) + repr(refused.value)


@pytest.mark.parametrize("behind", ["?api_key=hunter2", "/#hunter2", "?"])
def test_key_in_a_query(behind):
    """Paths are put behind the address, so a query in it is refused: it serves nothing, and it may be a key."""
    with pytest.raises(ConfigError, match="api_key = 'env:NAME'") as refused:
        parse_config(f'[models.m]\nengine = "openai"\nname = "m"\nbase_url = "https://example.org/v1{behind}"')
    assert "hunter2" not in str(refused.value) + repr(refused.value)


@pytest.mark.parametrize("secret", ["https://me:hunter2@example.org/a", "https://example.org/a?key=hunter2"])
@pytest.mark.parametrize(
    ("section", "instead"),
    [
        ("[mcp.stock]\nurl = {}", "api_key = 'env:NAME'"),
        ("[observe]\notlp_endpoint = {}", "OTEL_EXPORTER_OTLP_HEADERS"),
        (
            "[oidc]\nissuer = {}\naddress = 'https://a.example'\nclient_id = 'x'\nclient_secret = 'env:X'\nroles={{}}",
            "client_secret = 'env:NAME'",
        ),
    ],
)
def test_secrets_in_other_addresses(section, instead, secret):
    """Those of MCP servers, collectors and sign-in are refused like a model's, whatever in them may be a secret."""
    with pytest.raises(ConfigError) as refused:
        parse_config(section.format(repr(secret)))
    assert "hunter2" not in str(refused.value) + repr(refused.value)
    if "?" not in secret or "oidc" not in section:  # a provider's address has no query by its form
        assert instead in str(refused.value)
    parse_config(section.format("'https://example.org/a'"))


PROMPT = "My account 4711-0815 was charged twice, and my name is Ada Example."


@pytest.mark.parametrize(
    "message",
    [
        f"invalid input: {PROMPT}",
        f"[{{'type': 'too_long', 'input': '{PROMPT}'}}]",
        "content: My   account\n4711-0815 was charged twice, and ...",
    ],
)
async def test_request_is_not_repeated(connect, server, ask, message):
    """A provider that repeats the prompt in its refusal does not get it into our errors."""
    server.default = ServerReply.refused(422, message)
    with pytest.raises(CoterieError, match="repeats the request") as failure:
        await connect().run([ask(PROMPT)])
    assert "4711" not in str(failure.value)
