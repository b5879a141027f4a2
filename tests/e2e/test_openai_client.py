"""The real `openai` client against a real server."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Literal

import openai
import pydantic
import pytest

from coterie.config.file import GatewaySection


@pytest.fixture
async def client(address):
    """An ordinary client whose base URL was changed."""
    async with openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="unused", max_retries=0) as client:
        yield client


def _user(text):
    return [{"role": "user", "content": text}]


async def test_a_completion(client):
    """The client reads the answer, and our object beside it."""
    answer = await client.chat.completions.create(model="coterie", messages=_user("I lost my card"), temperature=0.2)
    assert answer.choices[0].message.content == "card_lost"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == 5
    assert answer.coterie["route"]["specialists"] == ["triage"]


async def test_the_trace_header(client, network):
    """It names a settled trace, plain and streamed."""
    for stream in (False, True):
        raw = await client.chat.completions.with_raw_response.create(
            model="coterie", messages=_user("write"), stream=stream
        )
        trace_id = raw.headers["x-coterie-trace"]
        parsed = raw.parse()
        if stream:
            async for _ in parsed:
                pass
        assert trace_id in network.store.settled


async def test_a_stream(client):
    """The words come one by one, the `coterie` object with the last, the usage behind it."""
    stream = await client.chat.completions.create(
        model="coterie/reply", messages=_user("Hi"), stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert [c.choices[0].delta.content for c in chunks[1:5]] == ["Your ", "card ", "is ", "blocked."]
    assert chunks[5].choices[0].finish_reason == "stop"
    assert chunks[5].coterie["findings"][0]["specialist"] == "reply"
    assert chunks[-1].usage.completion_tokens == 4


async def test_a_stream_comes_as_it_is_made(client, network):
    """A word is read before the next is made."""
    steps = [asyncio.Event() for _ in range(4)]
    network.specialists["reply"].pause = lambda index: steps[index].wait()
    steps[0].set()
    stream = await client.chat.completions.create(model="coterie/reply", messages=_user("Hi"), stream=True)
    words = []
    async for chunk in stream:
        if chunk.choices[0].delta.content:
            words.append(chunk.choices[0].delta.content)
            if len(words) < len(steps):
                steps[len(words)].set()
    assert "".join(words) == "Your card is blocked."


async def test_leaving_a_stream_stops_the_work(client, network):
    """The specialist is cut off, what it spent is settled, and the next request is served."""
    cut = asyncio.Event()

    async def forever():
        try:
            await asyncio.Event().wait()
        finally:
            cut.set()

    network.specialists["reply"].pause = lambda index: forever() if index == 1 else None
    stream = await client.chat.completions.create(model="coterie/reply", messages=_user("Hi"), stream=True)
    await anext(aiter(stream))
    await stream.close()
    await asyncio.wait_for(cut.wait(), 120)
    network.specialists["reply"].pause = lambda index: None
    answer = await client.chat.completions.create(model="coterie/reply", messages=_user("Hi"))
    assert answer.coterie["accepted"] is True
    assert len(network.store.settled) == 2


async def test_the_extension(client, network):
    """Session, label and columns travel in `extra_body`."""
    extra = {"coterie": {"session": "s", "label": "restricted", "columns": {"amount": 5}}}
    await client.chat.completions.create(model="coterie", messages=_user("risk?"), extra_body=extra)
    (task,) = network.specialists["triage"].asked
    assert (task.label, task.columns) == ("restricted", {"amount": 5})


async def test_models(client):
    """Listed, and one by one, the slash in the name included."""
    names = [model.id async for model in client.models.list()]
    assert names == ["coterie", "coterie/reply", "coterie/triage"]
    assert (await client.models.retrieve("coterie/triage")).owned_by == "lender"


async def test_embeddings(client):
    """The client asks for base64 by itself, and reads it."""
    answer = await client.embeddings.create(model="coterie", input=["a tea", "io"])
    assert [item.embedding for item in answer.data] == [[2.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]]
    plain = await client.embeddings.create(model="coterie", input="a tea", encoding_format="float")
    assert plain.data[0].embedding == answer.data[0].embedding


@pytest.mark.parametrize(
    ("arguments", "error", "code"),
    [
        ({"model": "gpt-4o"}, openai.NotFoundError, "model_not_found"),
        ({"n": 2}, openai.BadRequestError, "unsupported_parameter"),
        ({"messages": _user("")}, openai.BadRequestError, "input_error"),
        ({"messages": []}, openai.BadRequestError, "invalid_request"),
        ({"extra_body": {"coterie": {"sesion": "s"}}}, openai.BadRequestError, "invalid_request"),
        ({"extra_headers": {"host": "evil.com"}}, openai.PermissionDeniedError, "forbidden_host"),
    ],
)
async def test_errors_are_the_clients_own(client, arguments, error, code):
    """Each becomes the exception an OpenAI user expects, with our code."""
    with pytest.raises(error) as caught:
        await client.chat.completions.create(**{"model": "coterie", "messages": _user("Hi"), **arguments})
    assert caught.value.code == code


async def test_an_error_in_a_stream_is_an_error(client, network):
    """It does not look like the end of the answer."""
    words = []

    def fail():
        raise RuntimeError("secret")

    network.store.trouble = fail
    stream = await client.chat.completions.create(model="coterie/reply", messages=_user("Hi"), stream=True)
    with pytest.raises(openai.APIError) as caught:  # noqa: PT012 - the stream is what raises, after its words
        async for chunk in stream:
            words.append(chunk.choices[0].delta.content)
    assert words[-1] == "blocked."
    assert caught.value.code == "internal_error"
    assert "secret" not in str(caught.value)


async def test_overload_is_a_rate_limit_the_client_waits_out(network, serving):
    """429 with Retry-After: the client's own retries get the answer once there is room."""
    release, entered = asyncio.Event(), asyncio.Event()

    async def wait():
        entered.set()
        await release.wait()

    network.specialists["triage"].trouble = lambda task: wait()
    async with (
        serving(network, GatewaySection(port=0, concurrency=1, queue=0)) as address,
        openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="unused", max_retries=2) as client,
    ):
        first = asyncio.create_task(client.chat.completions.create(model="coterie", messages=_user("Hi")))
        await entered.wait()
        with pytest.raises(openai.RateLimitError) as caught:
            await client.with_options(max_retries=0).chat.completions.create(model="coterie", messages=_user("Hi"))
        assert caught.value.response.headers["retry-after"] == "1"
        second = asyncio.create_task(client.chat.completions.create(model="coterie", messages=_user("Hi")))
        release.set()
        assert [answer.coterie["accepted"] for answer in await asyncio.gather(first, second)] == [True, True]


async def test_many_at_once(client):
    """Two hundred requests over a few connections all get their own answers."""
    ask = client.chat.completions.create
    answers = await asyncio.gather(*(ask(model="coterie", messages=_user(f"card {n}")) for n in range(200)))
    assert len({answer.id for answer in answers}) == 200


LABELS = ("card_lost", "card_stolen")


@pytest.fixture
def owned(network):
    """Triage says which labels it has."""
    triage = network.specialists["triage"]
    triage.card = dataclasses.replace(triage.card, labels=LABELS)


class Ticket(pydantic.BaseModel):
    """What is parsed."""

    intent: Literal["card_lost", "card_stolen"]


async def test_parsed_answers(client, owned):
    """The client's own helpers parse what the specialists fill in, in both APIs, and raise nothing on a refusal."""
    parsed = await client.chat.completions.parse(model="coterie", messages=_user("card"), response_format=Ticket)
    assert parsed.choices[0].message.parsed == Ticket(intent="card_lost")
    answered = await client.responses.parse(model="coterie", input="card", text_format=Ticket)
    assert answered.output_parsed == Ticket(intent="card_lost")
    form = {
        "type": "json_schema",
        "json_schema": {"name": "x", "schema": {"properties": {"colour": {"type": "string"}}, "required": ["colour"]}},
    }
    refused = await client.chat.completions.create(model="coterie", messages=_user("card"), response_format=form)
    assert (refused.choices[0].message.content, bool(refused.choices[0].message.refusal)) == (None, True)


async def test_a_forced_tool(client, owned):
    """The client's helper parses the arguments."""
    tool = openai.pydantic_function_tool(Ticket)
    parsed = await client.chat.completions.parse(
        model="coterie", messages=_user("card"), tools=[tool], tool_choice="required"
    )
    (call,) = parsed.choices[0].message.tool_calls
    assert call.function.parsed_arguments == Ticket(intent="card_lost")


async def test_responses(client):
    """One by itself, one that goes on, and a stream whose events the client reads."""
    first = await client.responses.create(model="coterie", input="I lost my card")
    assert first.output_text == "card_lost"
    second = await client.responses.create(model="coterie", input="write", previous_response_id=first.id)
    assert second.output_text == "Your card is blocked."
    async with client.responses.stream(model="coterie", input="write") as stream:
        kinds = [event.type async for event in stream]
        final = await stream.get_final_response()
    assert final.output_text == "Your card is blocked."
    assert kinds[-1] == "response.completed"
    refused = await client.responses.create(model="coterie", input="weather")
    assert refused.output[0].content[0].type == "refusal"


async def test_stored_responses(client):
    """The client shows one again, pages through its input and deletes it."""
    given = await client.responses.create(model="coterie", input="I lost my card", metadata={"order": "7"})
    shown = await client.responses.retrieve(given.id)
    assert (shown.output_text, shown.metadata, shown.usage) == (given.output_text, {"order": "7"}, given.usage)
    items = [item async for item in client.responses.input_items.list(given.id, limit=1)]
    assert [item.content[0].text for item in items] == ["I lost my card"]
    await client.responses.delete(given.id)
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(given.id)


async def test_completions(client):
    """The old API, whole and streamed."""
    assert (await client.completions.create(model="coterie", prompt="card")).choices[0].text == "card_lost"
    stream = await client.completions.create(model="coterie", prompt="write", stream=True)
    assert "".join([chunk.choices[0].text async for chunk in stream]) == "Your card is blocked."
