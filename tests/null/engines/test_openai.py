import asyncio
import json
from contextlib import aclosing

import pytest

from coterie.accounting.meter import CardMeter, Cards
from coterie.config.file import OpenAIModel
from coterie.engines.http import TransportError
from coterie.engines.openai import OpenAIEngine
from coterie.engines.openai_wire import Transcript
from coterie.errors import EngineBroken, EngineRejected, EngineTimeout, EngineUnavailable, Overloaded, TooLong
from coterie.testing import ScriptedAnswer, ScriptedTransport, ServerReply, check_engine, check_streaming_engine
from coterie.types import Label, Message, Prompt


async def test_contract(connect):
    """It keeps the contracts of an engine and of a streaming one."""
    engine = connect()
    await check_streaming_engine(engine)
    await check_engine(engine)


async def test_answer(connect, server, ask):
    """The text, the server's count of tokens and the time come back; the name and clearance are the model's."""
    server.script = [ServerReply(text="Paris it is")]
    engine = connect(clearance="confidential")
    (output,) = await engine.run([ask()])
    assert (output.text, output.finish) == ("Paris it is", "stop")
    assert (output.usage.tokens_in, output.usage.tokens_out) == (6, 3)
    assert output.usage.milliseconds > 0
    assert (engine.name, engine.clearance) == ("cloud", Label.CONFIDENTIAL)


async def test_measured(server, ask):
    """What the server's cards took while it answered is the answer's energy, whole or streamed, and no failed try's."""
    joules = iter(range(100))
    cards = Cards([CardMeter(lambda: float(next(joules)))])
    model = OpenAIModel(engine="openai", base_url=server.base_url, name="big", retries=0)
    engine = OpenAIEngine("cloud", model, cards=cards)
    (whole,) = await engine.run([ask()])
    server.script = [ServerReply(status=400)]
    with pytest.raises(EngineRejected):
        await engine.run([ask()])
    async with aclosing(engine.stream(ask())) as pieces:
        streamed = [piece async for piece in pieces][-1]
    await engine.close()

    assert [(output.usage.joules, output.usage.joules_kind) for output in (whole, streamed)] == [(1.0, "measured")] * 2


async def test_request(connect, server):
    """Messages, options and the schema go out in OpenAI's words."""
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    messages = (Message(role="system", text="Be brief."), Message(role="user", text="Where? \ud800"))
    await connect().run(
        [Prompt(messages=messages, max_tokens=7, temperature=0.3, stop=("\n",), seed=5, json_schema=schema)]
    )
    (request,) = server.requests
    assert request.path == "/v1/chat/completions"
    assert request.json == {
        "model": "big",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where? \ufffd"}],
        "max_tokens": 7,
        "temperature": 0.3,
        "seed": 5,
        "stop": ["\n"],
        "stream": False,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": True, "schema": schema},
        },
    }


async def test_batch(connect, server, ask):
    """Prompts of a batch are asked side by side and answered in order."""
    server.default = ServerReply(text="same")
    outputs = await connect().run([ask(str(n)) for n in range(20)])
    assert len(outputs) == 20
    assert server.connections > 1


async def test_batch_fails_as_one(connect, server, ask):
    """The first failure ends the batch; the other prompts are not asked on for nobody."""
    server.script = [ServerReply.refused(400)]
    server.default = ServerReply(hang=True)
    with pytest.raises(EngineRejected):
        await connect(timeout=30).run([ask(), ask()])
    await server.disconnected.wait()


async def test_cut_by_limit(connect, server, ask):
    """An answer cut by its limit, or by the provider's filter, says so."""
    server.script = [ServerReply(finish="length"), ServerReply(finish="content_filter"), ServerReply(finish="whatever")]
    engine = connect()
    assert [(await engine.run([ask()]))[0].finish for _ in range(3)] == ["length", "aborted", "stop"]


@pytest.mark.parametrize(
    ("part", "chunks"),
    [
        ("message", [{"role": "assistant", "content": None, "refusal": "No."}]),
        ("delta", [{"content": ""}, {"refusal": "N"}, {"refusal": "o."}]),
    ],
)
def test_a_refusal_is_no_answer(part, chunks):
    """Its words are not the text, and it does not end as an answer does."""
    transcript = Transcript(engine="large", prompt=Prompt(max_tokens=9))
    for at, chunk in enumerate(chunks, start=1):
        finish = "stop" if at == len(chunks) else None
        transcript.take(json.dumps({"choices": [{part: chunk, "finish_reason": finish}]}), part=part)
    output = transcript.output()
    assert (output.text, output.finish) == ("", "aborted")


async def test_missing_usage(connect, server, ask):
    """Tokens the server does not count are estimated: four bytes each."""
    server.default = ServerReply(text="abcdefgh", usage=False)
    engine = connect()
    (output,) = await engine.run([ask("x" * 40)])
    assert (output.usage.tokens_in, output.usage.tokens_out) == (10, 2)
    streamed = [event async for event in engine.stream(ask("x" * 40))][-1]
    assert (streamed.usage.tokens_in, streamed.usage.tokens_out) == (10, 2)


@pytest.mark.parametrize(
    ("details", "cached"),
    [({"cached_tokens": 5}, 5), ({"cached_tokens": 900}, 7), ({"cached_tokens": True}, 0), (None, 0), ([], 0)],
)
def test_remembered_tokens(details, cached):
    """What the server says it remembered of the prompt is told; never more than the prompt has."""
    transcript = Transcript(engine="cloud", prompt=Prompt(messages=(Message(role="user", text="hello"),)))
    usage = {"prompt_tokens": 7, "completion_tokens": 2, "prompt_tokens_details": details}
    message = {"message": {"content": "hi"}, "finish_reason": "stop"}
    transcript.take(json.dumps({"choices": [message], "usage": usage}), part="message")
    assert transcript.output().usage.tokens_cached == cached


@pytest.mark.parametrize("usage", [None, [], {"prompt_tokens": "7"}, {"prompt_tokens": -1, "completion_tokens": 2}])
async def test_senseless_usage(connect, server, ask, usage):
    """So are tokens that are no counts."""
    body = {"choices": [{"message": {"content": "ok"}, "finish_reason": "stop"}], "usage": usage}
    server.script = [ServerReply(body=json.dumps(body).encode())]
    assert (await connect().run([ask("abcd")]))[0].usage.tokens_in == 1


@pytest.mark.parametrize(
    ("reply", "error", "found"),
    [
        (ServerReply.refused(400, "bad temperature"), EngineRejected, "status 400: 'bad temperature'"),
        (ServerReply.refused(401, "wrong key"), EngineRejected, "status 401: 'wrong key'"),
        (ServerReply.refused(404, "no such model"), EngineRejected, "status 404: 'no such model'"),
        (ServerReply.refused(429, "slow down"), EngineUnavailable, "status 429: 'slow down'"),
        (ServerReply.refused(500, "oops"), EngineUnavailable, "status 500: 'oops'"),
        (ServerReply.refused(503, "busy"), EngineUnavailable, "status 503: 'busy'"),
        (ServerReply.refused(400, "too many", code="context_length_exceeded"), TooLong, "too many"),
        (ServerReply(status=502, body=b"<html><h1>Bad Gateway</h1></html>"), EngineUnavailable, "status 502."),
        (
            ServerReply(status=307, body=b"", headers={"location": "http://127.0.0.1:1/v1"}),
            EngineRejected,
            "status 307",
        ),
        (ServerReply(status=204, body=b""), EngineRejected, "status 204"),
        (ServerReply(body=b"<html>welcome to the hotel wifi</html>"), EngineBroken, "no JSON object"),
        (ServerReply(body=b"[1, 2]"), EngineBroken, "no JSON object"),
        (ServerReply(body=b'{"choices": [{"message"'), EngineBroken, "no JSON object"),
        (ServerReply(body=b"\xff\xfe\x00"), EngineBroken, "no JSON object"),
        (ServerReply(body=b"[" * 100_000), EngineBroken, "no JSON object"),
        (ServerReply(body=b"{}"), EngineBroken, "without choices"),
        (ServerReply(body=b'{"choices": ["x"]}'), EngineBroken, "without choices"),
        (ServerReply(body=b'{"choices": []}'), EngineBroken, "without choices"),
        (ServerReply(body=b'{"choices": [{"message": {"content": 7}}]}'), EngineBroken, "no text"),
        (ServerReply(body=b'{"choices": [{"message": "x", "finish_reason": 7}]}'), EngineBroken, "no text"),
        (ServerReply(body=b'{"error": {"message": "quota"}}'), EngineBroken, "failed while it answered: 'quota'"),
        (ServerReply(body=b'{"error": "quota"}'), EngineBroken, "failed while it answered: 'quota'"),
        (ServerReply(cut_after=30), EngineBroken, "broke off"),
        (ServerReply(cut_after=0), EngineBroken, "broke off"),
        (ServerReply(hang=True), EngineTimeout, "no answer within 0.4 s"),
        (ServerReply(body=b"x" * 9_000_000), EngineBroken, "more than 8388608 bytes"),
        (ServerReply(headers={"content-encoding": "gzip"}), EngineBroken, "compressed"),
    ],
)
async def test_mapped(connect, server, reply, error, found):
    """Whatever a server does becomes an error of ours that says what was found."""
    server.default = reply
    timeout = 0.4 if reply.hang else 20
    prompt = Prompt(messages=(Message(role="user", text="What is the capital of France?"),))
    with pytest.raises(error) as failure:
        await connect(retries=0, timeout=timeout).run([prompt])
    assert found in failure.value.message
    assert len(server.requests) == 1


async def test_hints(connect, server, ask):
    """A refusal that the set-up causes says where to look."""
    engine = connect()
    for status, hint in [(401, "api_key"), (404, "base_url"), (307, "Redirects are not followed")]:
        server.script = [ServerReply.refused(status)]
        with pytest.raises(EngineRejected) as refusal:
            await engine.run([ask()])
        assert hint in refusal.value.hint


async def test_redirect_is_not_followed(connect, server, ask):
    """The prompt goes to the address that was judged and to no other."""
    server.script = [ServerReply.refused(307, location=f"{server.base_url}/elsewhere")]
    with pytest.raises(EngineRejected):
        await connect().run([ask()])
    assert len(server.requests) == 1


async def test_unreachable(ask, clock):
    """A port where nobody listens is unavailable, with the reason."""
    model = OpenAIModel(engine="openai", base_url="http://127.0.0.1:1/v1", name="big", retries=0)
    engine = OpenAIEngine("cloud", model, sleep=clock.sleep)
    with pytest.raises(EngineUnavailable, match="cannot be reached"):
        await engine.run([ask()])
    await engine.close()


@pytest.mark.parametrize("base_url", ["https://:0/v1", "http://localhost:99999/v1"])
def test_an_address_with_a_senseless_port_is_none(base_url):
    """It is refused when the file is read."""
    with pytest.raises(ValueError, match="is no address"):
        OpenAIModel(engine="openai", base_url=base_url, name="big")


async def test_senseless_address(ask, clock, refused):  # "a b" is looked up
    """An address that is none is an engine error, not the HTTP library's."""
    model = OpenAIModel(engine="openai", base_url="http://a b/v1", name="big", retries=0)
    engine = OpenAIEngine("cloud", model, sleep=clock.sleep)
    with pytest.raises((EngineRejected, EngineUnavailable)):
        await engine.run([ask()])
    await engine.close()


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        (TransportError("full", "x"), Overloaded),
        (TransportError("late", "x"), EngineTimeout),
        (TimeoutError(), EngineTimeout),
        (TransportError("dropped", "x"), EngineUnavailable),
        (TransportError("unreachable", "x"), EngineUnavailable),
        (TransportError("unusable", "x"), EngineRejected),
        (RuntimeError("x"), EngineRejected),
    ],
)
async def test_transport_errors(ask, raised, error):
    """Each trouble of a transport has an error of ours, and so has what a transport should not raise."""

    def fail(request):
        raise raised

    model = OpenAIModel(engine="openai", base_url="http://x/v1", name="big", retries=0)
    engine = OpenAIEngine("cloud", model, transport=ScriptedTransport(fail))
    with pytest.raises(error):
        await engine.run([ask()])
    await engine.close()


async def test_connections_are_kept(connect, server, ask):
    """Whole or streamed, one answer after the other comes over the same connection: a new one is a handshake each."""
    engine = connect()
    for _ in range(3):
        await engine.run([ask()])
        async with aclosing(engine.stream(ask())) as pieces:
            assert [piece async for piece in pieces][-1].finish == "stop"

    assert (len(server.requests), server.connections) == (6, 1)


class LeftOpen:
    """A stream whose end mark comes, and nothing after it."""

    async def __aiter__(self):
        yield b'data: {"choices": [{"delta": {"content": "Paris"}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
        await asyncio.Event().wait()


async def test_a_stream_that_is_left_open_is_whole(ask):
    """Whoever does not end the answer behind its end mark is not waited for."""
    kind = {"content-type": "text/event-stream"}
    transport = ScriptedTransport(lambda _: ScriptedAnswer(headers=kind, body=LeftOpen()))
    engine = OpenAIEngine(
        "cloud", OpenAIModel(engine="openai", base_url="http://x/v1", name="big"), transport=transport
    )
    async with asyncio.timeout(120), aclosing(engine.stream(ask())) as pieces:
        assert [piece async for piece in pieces][-1].text == "Paris"
    await engine.close()


async def test_empty_prompt(connect, server):
    """A prompt without messages is refused before anything is sent."""
    with pytest.raises(EngineRejected, match="without messages"):
        await connect().run([Prompt(text="hi")])
    assert not server.received


async def test_grammar(connect, server, ask):
    """A grammar, which servers do not take, is refused and not left out silently."""
    with pytest.raises(EngineRejected, match="given a grammar"):
        await connect().run([ask(grammar='root ::= "a"')])
    assert not server.received


@pytest.mark.parametrize(
    ("options", "asked"), [({"choices": (" a", " b")}, "score choices"), ({"adapter": "risk"}, "use adapter 'risk'")]
)
async def test_choices_and_adapters(connect, server, ask, options, asked):
    """So are choices, and an adapter by another name than the server's own."""
    with pytest.raises(EngineRejected, match=asked):
        await connect().run([ask(**options)])
    assert not server.received


async def test_far_too_long(connect, server, ask):
    """A prompt of more than twice the window is refused before anything is sent."""
    engine = connect(window=1000)
    with pytest.raises(TooLong, match="about 2001 tokens; the window of 'cloud' is 1000"):
        await engine.run([ask("x" * 8001)])
    assert not server.received
    await engine.run([ask("x" * 8000)])


@pytest.mark.parametrize("stream", [False, True])
async def test_dialects(connect, server, ask, stream):
    """A server that does not take an optional parameter is asked without it, then and from then on."""

    def unsupported(name):
        error = {"message": f"Unsupported: {name}", "param": name, "code": "unsupported_parameter"}
        return ServerReply(status=400, body=json.dumps({"error": error}).encode())

    server.script = [unsupported("max_tokens"), unsupported("temperature")]
    engine = connect(retries=0)
    for _ in range(2):
        if stream:
            assert [event async for event in engine.stream(ask(max_tokens=9))]
        else:
            await engine.run([ask(max_tokens=9)])
    assert len(server.requests) == 4
    for request in server.requests[2:]:
        assert request.json["max_completion_tokens"] == 9
        assert not {"max_tokens", "temperature"} & set(request.json)


@pytest.mark.parametrize(
    ("given", "asked", "found"),
    [
        ((-0.5, -0.25), True, -0.75),
        ((-0.5, -0.25), False, None),
        (None, True, None),
        ((-0.5, float("nan")), True, None),
        ((-0.5, "x"), True, None),
    ],
)
async def test_logprob(connect, server, ask, *, given, asked, found):
    """The answer's log-probability is the sum of its tokens', where it was asked for and is whole."""
    server.script = [ServerReply(text="a b", logprobs=given)]
    (output,) = await connect().run([ask(logprobs=asked)])

    assert output.logprob == found
    assert server.requests[0].json.get("logprobs") == (True if asked else None)


async def test_a_server_without_logprobs(connect, server, ask):
    """One that does not take the parameter is asked without it."""
    error = {"message": "no", "param": "logprobs", "code": "unsupported_parameter"}
    server.script = [ServerReply(status=400, body=json.dumps({"error": error}).encode())]
    (output,) = await connect(retries=0).run([ask(logprobs=True)])

    assert output.logprob is None
    assert "logprobs" not in server.requests[1].json


async def test_dialect_gives_up(connect, server, ask):
    """A server that refuses what cannot be left out, or goes on refusing, is believed."""
    error = {"message": "no", "param": "messages", "code": "unsupported_parameter"}
    server.default = ServerReply(status=400, body=json.dumps({"error": error}).encode())
    with pytest.raises(EngineRejected):
        await connect().run([ask()])
    error["param"] = "max_tokens"
    server.default = ServerReply(status=400, body=json.dumps({"error": error}).encode())
    server.requests.clear()
    with pytest.raises(EngineRejected):
        await connect().run([ask()])
    assert len(server.requests) == 2


async def test_cancelled(connect, server, ask):
    """A caller that goes away closes the connection."""
    server.default = ServerReply(hang=True)
    task = asyncio.create_task(connect().run([ask()]))
    await server.asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await server.disconnected.wait()


@pytest.mark.parametrize("begun", [False, True])
async def test_cancelled_again_and_again(connect, server, ask, monkeypatch, begun):
    """A caller that is cancelled once more while the connection is being closed still gives it back."""
    monkeypatch.setattr("coterie.engines.http._CONNECTIONS", 1)
    engine, forever = connect(retries=0, timeout=120), asyncio.Event()

    async def listen(reached):
        async with aclosing(engine.stream(ask())) as events:
            async for _ in events:
                reached.set()
                await forever.wait()

    for steps in range(12):
        server.script = [ServerReply(pieces=["word "] * 50) if begun else ServerReply(hang=True)]
        server.asked.clear()
        reached = asyncio.Event() if begun else server.asked
        task = asyncio.create_task(listen(reached))
        await reached.wait()
        task.cancel()
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert (await engine.run([ask()]))[0].text  # by the only connection


async def test_closes_twice(connect, ask):
    """Closing may be repeated, also when nothing was ever opened."""
    engine = connect()
    await engine.close()
    await engine.run([ask()])
    await engine.close()
    await engine.close()
