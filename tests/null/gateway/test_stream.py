"""`POST /v1/chat/completions` with `stream`."""

import asyncio
import json

from coterie.errors import EngineBroken, StoreError
from coterie.gateway import connection as _connection
from coterie.gateway.wire import ChatChunk


async def test_a_stream_gives_the_answer_as_it_is_made(client, chat_body, read_events):
    """Role first, then the words, then why it ended, with the `coterie` object; every chunk is as described."""
    response = await client().post("/v1/chat/completions", json=chat_body("write", stream=True))
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    chunks = read_events(response.text)
    for chunk in chunks:
        ChatChunk.model_validate(chunk)
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    words = [chunk["choices"][0]["delta"].get("content") for chunk in chunks[1:-1]]
    assert words == ["Your ", "card ", "is ", "blocked."]
    assert chunks[-1]["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
    assert chunks[-1]["coterie"]["trace_id"] == response.headers["x-coterie-trace"]
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
    assert all("usage" not in chunk for chunk in chunks)
    assert all("coterie" not in chunk for chunk in chunks[:-1])


async def test_a_stream_that_was_cut_says_so(client, chat_body, read_events):
    """The last chunk's reason is the length where the text ends because it might be no longer."""
    body = chat_body("write", stream=True, max_tokens=4)
    chunks = read_events((await client().post("/v1/chat/completions", json=body)).text)

    ChatChunk.model_validate(chunks[-1])
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"


async def test_usage_comes_last_if_asked_for(client, chat_body, read_events):
    """One more chunk without choices; the others have a null usage, as at OpenAI."""
    body = chat_body("write", stream=True, stream_options={"include_usage": True})
    chunks = read_events((await client().post("/v1/chat/completions", json=body)).text)
    for chunk in chunks:
        ChatChunk.model_validate(chunk)
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == {"prompt_tokens": 20, "completion_tokens": 4, "total_tokens": 24}
    assert all(chunk["usage"] is None for chunk in chunks[:-1])


async def test_the_trace_of_a_stream_is_the_one_it_named(client, network, chat_body):
    """The id is known before the first byte, and the trace is stored under it."""
    http = client()
    response = await http.post("/v1/chat/completions", json=chat_body("write", stream=True))
    trace = await http.get(f"/api/traces/{response.headers['x-coterie-trace']}")
    assert trace.json()["status"] == "accepted"


async def test_what_fails_before_the_first_piece_has_a_status(client, network, chat_body):
    """No stream is begun for an answer that cannot be given."""

    def fail():
        raise StoreError("disk full")

    network.store.trouble = fail

    async def route(request, context, *, call):
        raise StoreError("disk full")

    network.router.route = route
    response = await client().post("/v1/chat/completions", json=chat_body("write", stream=True))
    assert (response.status_code, response.json()["error"]["code"]) == (503, "store_error")


async def test_an_empty_request_has_a_status(client, chat_body):
    """Also the network's own refusal comes before the stream."""
    response = await client().post("/v1/chat/completions", json=chat_body("  ", stream=True))
    assert (response.status_code, response.json()["error"]["code"]) == (400, "input_error")


async def test_what_fails_later_is_said_in_the_stream(client, network, chat_body):
    """The caller gets an error event instead of the end mark, and the server stays healthy."""

    def fail():
        raise EngineBroken("cut", engine="smollm2")

    network.store.trouble = fail
    http = client()
    response = await http.post("/v1/chat/completions", json=chat_body("write", stream=True))
    last = response.text.strip().split("\n\n")[-1]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "engine_broken"
    assert "[DONE]" not in response.text
    network.store.trouble = lambda: None
    assert (await http.post("/v1/chat/completions", json=chat_body("write", stream=True))).status_code == 200


def _streaming_caller(http, call, chat_body):
    return call(http.app, "/v1/chat/completions", json.dumps(chat_body("write", stream=True)).encode())


async def _until_sent(caller, word):
    while word not in caller.text:
        caller.got.clear()
        await caller.got.wait()


async def test_a_caller_who_leaves_stops_the_work(client, network, chat_body, call):
    """The specialist is cut off, what was spent is settled, and the place is free."""
    reply = network.specialists["reply"]

    async def forever():
        await asyncio.Event().wait()

    reply.pause = lambda index: forever() if index == 2 else None
    http = client(concurrency=1, queue=0)
    caller = _streaming_caller(http, call, chat_body)
    running = asyncio.create_task(caller.run())
    await _until_sent(caller, "card ")
    caller.gone.set()
    await running
    assert reply.cut == 1
    assert len(network.store.settled) == 1
    assert http.app.state.gateway.admission.admitted == 0
    reply.pause = lambda index: None
    assert (await http.post("/v1/chat/completions", json=chat_body("write"))).status_code == 200


async def test_nothing_is_sent_ahead_of_a_caller_who_does_not_read(client, network, chat_body, call):
    """At most one event is on its way: the rest waits until it is read."""
    http = client()
    caller = _streaming_caller(http, call, chat_body)
    running = asyncio.create_task(caller.run())
    await _until_sent(caller, "Your ")
    caller.reading.clear()
    sent = len(caller.sent)
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(caller.sent) == sent
    caller.reading.set()
    await running
    assert caller.text.endswith("data: [DONE]\n\n")


async def test_a_caller_who_reads_nothing_loses_its_place(client, network, chat_body, call, monkeypatch):
    """A stalled stream is ended like that of one who left."""
    monkeypatch.setattr(_connection.send_event, "__kwdefaults__", {"seconds": 0.01})
    http = client(concurrency=1, queue=0)
    caller = _streaming_caller(http, call, chat_body)
    pause = asyncio.Event()
    network.specialists["reply"].pause = lambda index: pause.wait() if index == 1 else None
    running = asyncio.create_task(caller.run())
    await _until_sent(caller, "Your ")
    caller.reading.clear()
    pause.set()
    await running
    assert http.app.state.gateway.admission.admitted == 0
    assert "[DONE]" not in caller.text


async def test_a_stream_cut_off_by_draining_says_so(client, network, chat_body, call):
    """Its last event is the error, and what it spent is settled."""

    async def forever():
        await asyncio.Event().wait()

    network.specialists["reply"].pause = lambda index: forever() if index == 2 else None
    http = client()
    caller = _streaming_caller(http, call, chat_body)
    running = asyncio.create_task(caller.run())
    await _until_sent(caller, "card ")
    http.app.state.gateway.draining = True
    running.cancel()
    await running
    last = caller.text.strip().split("\n\n")[-1]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "shutting_down"
    assert len(network.store.settled) == 1


async def test_a_finished_stream_is_counted_as_finished(client, chat_body):
    """The caller's ordinary goodbye after the last byte is not taken for leaving early."""
    http = client()
    await http.post("/v1/chat/completions", json=chat_body("write", stream=True))
    metrics = (await http.get("/metrics")).text
    assert 'coterie_requests_total{endpoint="/v1/chat/completions",status="200"} 1.0' in metrics
    assert "coterie_first_text_seconds_count 1.0" in metrics
