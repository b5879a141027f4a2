import json

import pytest

from coterie.config.file import OpenAIModel
from coterie.engines.openai import OpenAIEngine
from coterie.errors import EngineBroken
from coterie.testing import ScriptedAnswer, ScriptedTransport, ServerReply
from coterie.types import Delta, Output

SSE = {"content-type": "text/event-stream"}


def chunk(text, finish=None):
    """A chunk as servers send it."""
    return json.dumps({"choices": [{"delta": {"content": text}, "finish_reason": finish}]})


@pytest.fixture
async def stream(ask):
    """The events of a stream that sends these bytes in these pieces."""
    engines = []

    async def stream(*pieces, headers=SSE):
        transport = ScriptedTransport(lambda request: ScriptedAnswer(headers=headers, body=pieces))
        model = OpenAIModel(engine="openai", base_url="http://x/v1", name="big", retries=0)
        engine = OpenAIEngine("cloud", model, transport=transport)
        engines.append(engine)
        return [event async for event in engine.stream(ask())]

    yield stream
    for engine in engines:
        await engine.close()


def events(*data, end="\n\n"):
    """Server-sent events of these data."""
    return "".join(f"data: {event}{end}" for event in data).encode()


async def test_stream(connect, server, ask):
    """Pieces are deltas, the whole is the output, with the tokens the server counted."""
    server.script = [ServerReply(pieces=["Par", "is", " it is"])]
    *deltas, output = [event async for event in connect().stream(ask())]
    assert deltas == [Delta(text="Par"), Delta(text="is"), Delta(text=" it is")]
    assert isinstance(output, Output)
    assert (output.text, output.finish, output.usage.tokens_out) == ("Paris it is", "stop", 3)
    assert server.requests[0].json["stream_options"] == {"include_usage": True}


async def test_cut_into_bytes(stream):
    """A stream that arrives byte by byte, with CRLF, comments and characters of several bytes, is the same."""
    body = b": hello\r\n\r\n" + events(chunk("Zür"), chunk("ich 🎉", "stop"), "[DONE]", end="\r\n\r\n")
    got = await stream(*(body[at : at + 1] for at in range(len(body))))
    assert [event.text for event in got] == ["Zür", "ich 🎉", "Zürich 🎉"]


async def test_after_done(stream):
    """What comes after the end mark is not read."""
    got = await stream(events(chunk("a"), "[DONE]"), b"data: garbage\n\n")
    assert [event.text for event in got] == ["a", "a"]


async def test_without_done(stream):
    """A server that says why it stopped need not send the end mark."""
    assert (await stream(events(chunk("a", "stop"))))[-1].text == "a"
    assert (await stream(events(chunk("a", "stop")).rstrip()))[-1].text == "a"


async def test_empty_pieces(stream):
    """Chunks without text (the role, usage, a null) are no deltas."""
    role = json.dumps({"choices": [{"delta": {"role": "assistant", "content": None}}]})
    bare = json.dumps({"choices": [{"delta": None}]})
    got = await stream(events(role, chunk(""), bare, chunk("a"), chunk("", "stop"), "[DONE]"))
    assert [event.text for event in got] == ["a", "a"]


async def test_no_text(stream):
    """An answer without a word is an output all the same."""
    assert [event.text for event in await stream(events(chunk("", "stop"), "[DONE]"))] == [""]


async def test_whole_answer_instead(stream):
    """A server that does not stream is understood: its answer is one piece."""
    body = json.dumps({"choices": [{"message": {"content": "Paris"}, "finish_reason": "stop"}]}).encode()
    got = await stream(body, headers={"content-type": "application/json; charset=utf-8"})
    assert [event.text for event in got] == ["Paris", "Paris"]


@pytest.mark.parametrize(
    ("body", "kind", "found"),
    [
        (b"<!doctype html><html>Log in</html>", "text/html; charset=utf-8", "sent a web page in place of an answer"),
        (b'{"choices": []}', "application/json", "without choices"),
    ],
)
async def test_no_answer_at_all(stream, body, kind, found):
    """A page with status 200, and an answer without any choice, are told for what they are."""
    with pytest.raises(EngineBroken, match=found):
        await stream(body, headers={"content-type": kind})


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"", "broke off"),
        (events(chunk("a")), "broke off"),
        (events(chunk("a")) + b'data: {"choices": [{"del', "no JSON object"),
        (events("{not json}"), "no JSON object"),
        (events('{"choices": 7}'), "without choices"),
        (events('{"error": {"message": "the model fell over"}}'), "the model fell over"),
        (events('{"error": {"code": 500}}'), "failed while it answered."),
        (events('{"choices": [{"delta": {"content": ["a"]}}]}'), "no text"),
        (b"<!doctype html><html>maintenance</html>", "broke off"),
        (b"data: \xff\n\n", "no event stream"),
        (b"data: " + b"x" * 2_000_000, "no event stream"),
        (b": ping\n\n" * 1_500_000, "more than 8388608 bytes"),
    ],
)
async def test_broken(stream, body, found):
    """A stream that cannot be understood, or that breaks off, is broken and never taken for a whole answer."""
    with pytest.raises(EngineBroken) as failure:
        await stream(*(body[at : at + 65536] for at in range(0, len(body), 65536)))
    assert found in failure.value.message


async def test_error_null(stream):
    """A chunk whose error is null is a chunk."""
    data = json.dumps({"error": None, "choices": [{"delta": {"content": 'say "error"'}, "finish_reason": "stop"}]})
    assert (await stream(events(data, "[DONE]")))[-1].text == 'say "error"'


async def test_reader_leaves(connect, server, ask):
    """Closing the iterator early closes the connection."""
    server.default = ServerReply(pieces=["word "] * 100_000)
    stream = connect().stream(ask())
    await anext(stream)
    await stream.aclose()
    await server.disconnected.wait()
