import asyncio
import json

import httpx
import pytest

from coterie.testing import FakeClock, FakeOpenAIServer, ServerReply

BODY = {"model": "big", "messages": [{"role": "user", "content": "where is my card"}]}


async def post(server, **more):
    """Ask with another HTTP client than the engine's way of using it."""
    async with httpx.AsyncClient() as client:
        return await client.post(f"{server.base_url}/chat/completions", json=BODY | more)


async def test_whole_answer():
    """Unscripted, it answers as OpenAI does."""
    async with FakeOpenAIServer() as server:
        answer = (await post(server)).json()
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "Hello from the fake server."}
    assert answer["usage"] == {"prompt_tokens": 4, "completion_tokens": 5, "total_tokens": 9}
    assert answer["model"] == "big"


async def test_script():
    """Replies come in the order of the script, then the default again and again."""
    script = [
        ServerReply.refused(429, retry_after="2"),
        ServerReply(status=500, body=b"<html>"),
        ServerReply(text="at last"),
    ]
    async with FakeOpenAIServer(script, default=ServerReply(text="again")) as server:
        answers = [await post(server) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [429, 500, 200, 200, 200]
    assert answers[0].headers["retry-after"] == "2"
    assert answers[0].json()["error"]["message"] == "no"
    texts = [answer.json()["choices"][0]["message"]["content"] for answer in answers[2:]]
    assert texts == ["at last", "again", "again"]


async def test_a_default_that_thinks():
    """The default may be a function of what was asked."""
    async with FakeOpenAIServer(
        default=lambda body: ServerReply(text=body["messages"][0]["content"].upper())
    ) as server:
        answer = (await post(server)).json()
    assert answer["choices"][0]["message"]["content"] == "WHERE IS MY CARD"


async def test_every_byte_is_noted():
    """Requests, connections and every byte are noted."""
    async with FakeOpenAIServer() as server:
        assert (server.connections, len(server.received)) == (0, 0)
        await post(server)
        (request,) = server.requests
    assert (request.method, request.path, request.json) == ("POST", "/v1/chat/completions", BODY)
    assert request.headers["content-type"] == "application/json"
    assert server.received.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert server.received.endswith(request.body)
    assert server.connections == 1


async def test_stream():
    """A stream is server-sent events with a finish reason, usage and the end mark."""
    async with FakeOpenAIServer([ServerReply(pieces=["a", "b"])]) as server:
        lines = (await post(server, stream=True)).text.split("\n\n")
    *chunks, usage = [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]
    assert [chunk["choices"][0]["delta"].get("content") for chunk in chunks] == ["a", "b", None]
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert usage["choices"] == []
    assert lines[-2:] == ["data: [DONE]", ""]


async def test_delay_by_its_clock():
    """A delay passes by the sleep it is given."""
    clock = FakeClock()
    async with FakeOpenAIServer([ServerReply(delay=60)], sleep=clock.sleep) as server:
        await post(server)
    assert clock.slept == [60]


async def test_cut():
    """A cut answer breaks off where it is told to."""
    async with FakeOpenAIServer([ServerReply(cut_after=10), ServerReply(pieces=["a", "b"], cut_after=1)]) as server:
        with pytest.raises(httpx.RemoteProtocolError):
            await post(server)
        text = (await post(server, stream=True)).text
    assert '"a"' in text
    assert '"b"' not in text
    assert "[DONE]" not in text


async def test_hang_and_leave():
    """It notes a client that goes away, and closes with one still waiting."""
    async with FakeOpenAIServer(default=ServerReply(hang=True)) as server:
        task = asyncio.create_task(post(server))
        await server.asked.wait()
        task.cancel()
        await server.disconnected.wait()
        other = asyncio.create_task(post(server))
        while len(server.requests) < 2:  # noqa: ASYNC110 - the second request has no event of its own
            await asyncio.sleep(0)
    with pytest.raises(httpx.HTTPError):
        await other


async def test_garbage():
    """What is no HTTP ends the connection, not the server."""
    async with FakeOpenAIServer() as server:
        _, port = server.base_url.removesuffix("/v1").rsplit(":", 1)
        reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
        writer.write(b"\x00\x01\x02\r\n\r\n")
        assert await reader.read() == b""
        writer.close()
        assert (await post(server)).status_code == 200
    assert server.received.startswith(b"\x00\x01\x02")


async def test_elsewhere():
    """Another path is not found."""
    async with FakeOpenAIServer() as server, httpx.AsyncClient() as client:
        assert (await client.get(f"{server.base_url}/models")).status_code == 404


@pytest.mark.slow
async def test_real_client():
    """The real `openai` client takes it for the real thing: answers, streams, errors."""
    import openai

    script = [ServerReply(text="whole"), ServerReply(pieces=["in ", "pieces"]), ServerReply.refused(401, "wrong key")]
    async with FakeOpenAIServer(script) as server:
        client = openai.AsyncOpenAI(base_url=server.base_url, api_key="x", max_retries=0)
        whole = await client.chat.completions.create(**BODY)
        assert whole.choices[0].message.content == "whole"
        stream = await client.chat.completions.create(**BODY, stream=True)
        texts = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
        assert "".join(texts) == "in pieces"
        with pytest.raises(openai.AuthenticationError, match="wrong key"):
            await client.chat.completions.create(**BODY)
        await client.close()
