"""`/v1/responses`, `/v1/messages` and `/v1/completions`: the same answers in the shapes of other APIs."""

import json
import sys
from types import ModuleType

import pytest

from coterie.gateway.anthropic import AnthropicError, CountView, MessageView
from coterie.gateway.mcp import load_server
from coterie.gateway.openai.completions import CompletionView
from coterie.gateway.openai.responses import ResponseView, turns_until

SAID = "Not answered: no specialist scores above 0.5."


def _events(text):
    """Names and data of a stream's events, without the end mark."""
    blocks = [block.split("\n") for block in text.split("\n\n") if block and block != "data: [DONE]"]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in blocks]


async def _respond(client, text="card", **more):
    return await client().post("/v1/responses", json={"model": "coterie", "input": text, **more})


async def _message(client, text="card", **more):
    body = {"model": "coterie", "max_tokens": 50, "messages": [{"role": "user", "content": text}], **more}
    return await client().post("/v1/messages", json=body)


async def test_a_response(client):
    """One message with the text, or with a refusal."""
    response = (await _respond(client)).json()
    ResponseView.model_validate(response)
    assert (response["status"], response["output"][0]["content"][0]["text"]) == ("completed", "card_lost")
    assert response["usage"]["total_tokens"] == 5
    refused = (await _respond(client, "weather")).json()
    assert refused["output"][0]["content"] == [{"type": "refusal", "refusal": SAID}]
    assert (refused["status"], refused["incomplete_details"]) == ("completed", None)
    filtered = (await _respond(client, "weather", coterie={"abstain": "content_filter"})).json()
    assert (filtered["status"], filtered["incomplete_details"]) == ("incomplete", {"reason": "content_filter"})
    assert filtered["output"][0]["content"] == refused["output"][0]["content"]
    cut = (await _respond(client, "write", max_output_tokens=4)).json()
    assert (cut["status"], cut["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})


async def test_a_network_without_sessions_stores_no_response(client, network):
    """Whatever `store` says; an earlier response and a session of one's own are refused."""
    http = client(sessions=False)
    response = (await http.post("/v1/responses", json={"model": "coterie", "input": "card"})).json()
    assert response["store"] is False
    assert [settled.trace.session for settled in network.store.settled.values()] == [None]
    for more in ({"previous_response_id": response["id"]}, {"coterie": {"session": "mine"}}):
        assert (await http.post("/v1/responses", json={"model": "coterie", "input": "x", **more})).status_code == 400


async def test_a_response_is_gone_on_with(client, network):
    """On the session of the first, whatever came between; not for a stranger, nor where nothing was stored."""
    first = (await _respond(client)).json()
    second = (await _respond(client, "write", previous_response_id=first["id"])).json()
    third = (await _respond(client, "card", previous_response_id=second["id"])).json()
    (session,) = {settled.trace.session for settled in network.store.settled.values()}
    texts = [e.content.text for e in network.store.contexts["default", session].entries if hasattr(e.content, "role")]
    assert texts[::2] == ["card", "write", "card"]
    assert third["previous_response_id"] == second["id"]
    for previous in ("resp_" + "0" * 64, "resp_x", "\x00"):
        assert (await _respond(client, previous_response_id=previous)).status_code == 404
    await _respond(client, store=False)
    assert [settled.trace.session for settled in network.store.settled.values()] == [session] * 3 + [None]


async def test_a_response_is_gone_on_with_from_where_it_ended(client, network):
    """Two that go on from one do not know of each other: each has the turns that led to it, and its own."""
    first = (await _respond(client)).json()
    other = (await _respond(client, "write", previous_response_id=first["id"])).json()
    mine = (await _respond(client, "card", previous_response_id=first["id"])).json()
    ((_, context),) = network.store.contexts.items()
    assert turns_until(mine["id"], context) == (mine["id"][-32:], first["id"][-32:])
    assert turns_until(other["id"], context) == (other["id"][-32:], first["id"][-32:])


async def test_a_stored_response_is_shown_again(client):
    """As it was given, also an abstention, with the items of its input, until it is deleted; then nothing goes on."""
    http, about = client(), {"instructions": "Be brief.", "metadata": {"order": "7"}}
    for text, more in (("card", about), ("weather", {}), ("weather", {"coterie": {"abstain": "content_filter"}})):
        given = (await _respond(client, text, **more)).json()
        shown = (await http.get(f"/v1/responses/{given['id']}")).json()
        ResponseView.model_validate(shown)
        assert {key: shown[key] for key in given if key != "coterie"} == {
            k: v for k, v in given.items() if k != "coterie"
        }
    path = f"/v1/responses/{given['id']}"
    (item,) = (await http.get(f"{path}/input_items")).json()["data"]
    assert (item["role"], item["content"]) == ("user", [{"type": "input_text", "text": "weather"}])
    assert (await http.delete(path)).json() == {"id": given["id"], "object": "response", "deleted": True}
    for method, gone in (("GET", path), ("GET", f"{path}/input_items"), ("DELETE", path)):
        response = await http.request(method, gone)
        assert (response.status_code, response.json()["error"]["code"]) == (404, "response_not_found")
    assert (await _respond(client, previous_response_id=given["id"])).status_code == 404


async def test_pages_of_input_items(client):
    """The last first, or in their order; after one that is named; what is no page is refused."""
    items = [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "yes?"},
        {"role": "user", "content": "card"},
    ]
    http, given = client(), (await _respond(client, items)).json()
    path = f"/v1/responses/{given['id']}/input_items"
    whole = (await http.get(f"{path}?order=asc")).json()["data"]
    assert [item["content"][0]["text"] for item in whole] == ["hello", "yes?", "card"]
    page = (await http.get(f"{path}?limit=2")).json()
    assert ([item["id"] for item in page["data"]], page["has_more"]) == ([whole[2]["id"], whole[1]["id"]], True)
    rest = (await http.get(f"{path}?after={page['last_id']}")).json()
    assert ([item["id"] for item in rest["data"]], rest["has_more"]) == ([whole[0]["id"]], False)
    for query in ("limit=0", "limit=101", "limit=x", "order=up", "after=nothing"):
        assert (await http.get(f"{path}?{query}")).status_code == 400


async def test_what_is_not_stored_is_not_shown(client):
    """An unstored response, one that streams, a made-up id, and one in a session of the caller's own."""
    http = client()
    ids = [
        (await _respond(client, store=False)).json()["id"],
        (await _respond(client, coterie={"session": "s"})).json()["id"],
    ]
    for named in (*ids, "resp_" + "0" * 64, "resp_x"):
        assert (await http.get(f"/v1/responses/{named}")).status_code == 404
    stored = (await _respond(client)).json()["id"]
    assert (await http.get(f"/v1/responses/{stored}?stream=true")).status_code == 400


async def test_a_response_that_is_not_stored_goes_on(client, network):
    """It reads the session of the one before and adds nothing, and nothing goes on from it."""
    first = (await _respond(client)).json()
    unstored = (await _respond(client, "write", store=False, previous_response_id=first["id"])).json()
    (session,) = {settled.trace.session for settled in network.store.settled.values()}
    texts = [e.content.text for e in network.store.contexts["default", session].entries if hasattr(e.content, "role")]
    assert (texts[::2], unstored["store"], unstored["previous_response_id"]) == (["card"], False, first["id"])
    assert (await _respond(client, previous_response_id=unstored["id"])).status_code == 404
    assert (await _respond(client, "card", previous_response_id=first["id"])).status_code == 200


async def test_tokens_are_counted_and_nobody_is_asked(client, network):
    """Longer texts and functions count more; a model of nobody's is refused; nothing is settled."""
    path, body = "/v1/messages/count_tokens", {"model": "coterie", "messages": [{"role": "user", "content": "card"}]}
    tool = {"name": "note", "input_schema": {"type": "object", "properties": {"text": {"type": "string"}}}}
    counts = []
    for more in ({}, {"system": "Be brief." * 9}, {"system": "Be brief." * 9, "tools": [tool]}):
        response = await client().post(path, json=body | more)
        counts.append(CountView.model_validate(response.json()).input_tokens)
        assert (response.headers["x-coterie-egress"], "x-coterie-ignored" in response.headers) == ("none", False)
    assert 0 < counts[0] < counts[1] < counts[2]
    refused = await client().post(path, json=body | {"model": "claude"})
    assert (refused.status_code, refused.json()["type"], network.store.settled) == (404, "error", {})


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("write", ["output_text.delta"] * 4 + ["output_text.done"]),
        ("weather", ["refusal.delta", "refusal.done"]),
    ],
)
async def test_a_streamed_response(client, text, kinds):
    """Every event is numbered; what is begun is done; the last has the whole response."""
    events = _events((await _respond(client, text, stream=True)).text)
    begun = ["created", "in_progress", "output_item.added", "content_part.added"]
    done = ["content_part.done", "output_item.done", "completed"]
    assert [name for name, _ in events] == [f"response.{kind}" for kind in [*begun, *kinds, *done]]
    assert [data["sequence_number"] for _, data in events] == list(range(len(events)))
    assert all(name == data["type"] for name, data in events)
    response = events[-1][1]["response"]
    ResponseView.model_validate(response)
    deltas = "".join(data["delta"] for name, data in events if name.endswith(".delta"))
    (part,) = response["output"][0]["content"]
    assert deltas == part[part["type"].replace("output_", "")]


async def test_what_agents_send_by_habit(client, network):
    """Items and tools of other types are left out, and tools are named; instructions and results are history."""
    items = [
        {"role": "developer", "content": "Be brief."},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "card"}]},
        {"type": "reasoning", "id": "rs", "summary": []},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "done"},
        {"type": "item_reference", "id": "x"},
    ]
    tools = [{"type": "function", "name": "f", "parameters": {"type": "object"}}, {"type": "web_search"}]
    response = await _respond(client, items, tools=tools, instructions="Hi", include=["x"], reasoning={"effort": "low"})
    assert response.json()["output"][0]["content"][0]["text"] == "card_lost"
    assert response.headers["x-coterie-ignored"] == "include, reasoning, tools, tools.web_search"


@pytest.mark.parametrize(
    "body",
    [
        {"background": True},
        {"input": []},
        {"input": [{"role": "user"}, {"type": 3}]},
        {"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
    ],
)
async def test_a_response_that_cannot_be(client, body):
    """A clear refusal in OpenAI's shape."""
    response = await client().post("/v1/responses", json={"model": "coterie", "input": "x"} | body)
    assert response.status_code == 400 or response.json()["output"]
    assert response.status_code == 200 or set(response.json()["error"]) == {"message", "type", "param", "code"}


async def test_a_message(client):
    """One block of text; a refusal has a stop reason of its own."""
    message = (await _message(client, system=[{"type": "text", "text": "Be brief."}])).json()
    MessageView.model_validate(message)
    assert (message["content"], message["stop_reason"]) == ([{"type": "text", "text": "card_lost"}], "end_turn")
    refused = (await _message(client, "weather")).json()
    assert (refused["stop_reason"], refused["content"][0]["text"]) == ("refusal", SAID)
    assert (await _message(client, "write", max_tokens=4)).json()["stop_reason"] == "max_tokens"


async def test_a_refusal_where_json_was_asked_for(client):
    """Clients read each text of such a message as JSON, so the reason is the explanation alone, whole and streamed."""
    form = {"format": {"type": "json_schema", "schema": {"type": "object", "properties": {"x": {"type": "string"}}}}}
    message = (await _message(client, output_config=form)).json()
    assert (message["content"], message["stop_reason"]) == ([], "refusal")
    assert message["stop_details"]["explanation"].startswith("Not answered")
    events = _events((await _message(client, output_config=form, stream=True)).text)
    assert [name for name, _ in events] == ["message_start", "message_delta", "message_stop"]
    assert events[1][1]["delta"]["stop_details"] == message["stop_details"]
    plain = (await _message(client, "weather")).json()
    assert plain["stop_details"]["explanation"] == plain["content"][0]["text"]
    assert (await _message(client)).json()["stop_details"] is None


async def test_a_streamed_message(client):
    """The events of a message, in Anthropic's order."""
    events = _events((await _message(client, "write", stream=True)).text)
    assert [name for name, _ in events] == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * 4,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert "".join(data["delta"]["text"] for name, data in events if name == "content_block_delta") == (
        "Your card is blocked."
    )


async def test_a_forced_tool_of_messages(client, network):
    """Its input is filled in by the specialists, as a block or as JSON in pieces; results are history."""
    triage = network.specialists["triage"]
    labels = ("card_lost", "card_stolen", "card_worn")
    object.__setattr__(triage.card, "labels", labels)
    try:
        schema = {"type": "object", "properties": {"kind": {"enum": list(labels)}}, "required": ["kind"]}
        tools = [{"name": "note", "input_schema": schema}, {"type": "web_search_20250305", "name": "web_search"}]
        for choice in ({"type": "any"}, {"type": "tool", "name": "note"}):
            response = await _message(client, tools=tools, tool_choice=choice)
            (block,) = response.json()["content"]
            assert (block["type"], block["input"], response.json()["stop_reason"]) == (
                "tool_use",
                {"kind": "card_lost"},
                "tool_use",
            )
            assert response.headers["x-coterie-ignored"] == "tools.web_search_20250305"
        events = _events((await _message(client, tools=tools, tool_choice={"type": "any"}, stream=True)).text)
        (delta,) = [data["delta"] for name, data in events if name == "content_block_delta"]
        assert json.loads(delta["partial_json"]) == {"kind": "card_lost"}
        turns = [
            {"role": "user", "content": "card"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "note", "input": {"kind": "x"}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "noted"}]},
        ]
        body = {"model": "coterie", "max_tokens": 9, "messages": turns}
        assert (await client().post("/v1/messages", json=body)).json()["content"][0]["text"] == "card_lost"
    finally:
        object.__setattr__(triage.card, "labels", ())


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ({"model": "other"}, 404, "not_found_error"),
        ({"max_tokens": 0}, 400, "invalid_request_error"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, 400, "invalid_request_error"),
        ({"tools": [{"name": "bad name!"}]}, 400, "invalid_request_error"),
        ({"tool_choice": {"type": "x"}, "tools": [{"name": "f"}]}, 400, "invalid_request_error"),
    ],
)
async def test_errors_of_messages_are_anthropics(client, body, status, kind):
    """Their shape and their types, with our code beside them."""
    response = await _message(client, **body)
    AnthropicError.model_validate(response.json())
    assert (response.status_code, response.json()["error"]["type"]) == (status, kind)
    broken = await client().post("/v1/messages", content=b"{")
    AnthropicError.model_validate(broken.json())


async def test_a_completion(client, read_events):
    """The prompt is asked; an abstention is filtered; token ids and several prompts are refused."""

    async def ask(prompt, **more):
        return await client().post("/v1/completions", json={"model": "coterie", "prompt": prompt, **more})

    completion = (await ask("card")).json()
    CompletionView.model_validate(completion)
    assert completion["choices"] == [{"text": "card_lost", "index": 0, "logprobs": None, "finish_reason": "stop"}]
    assert (await ask("weather")).json()["choices"][0]["finish_reason"] == "content_filter"
    chunks = read_events((await ask(["write"], stream=True)).text)
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == "Your card is blocked."
    for prompt, more in ((["a", "b"], {}), ([1, 2], {}), ("a", {"echo": True}), ("a", {"n": 2}), ("a", {"best_of": 3})):
        assert (await ask(prompt, **more)).status_code == 400


async def test_who_asks_mcp_while_it_is_imported(client, monkeypatch):
    """The protocol's module is found half imported by others than the one that imports it: they get their answer."""
    pytest.importorskip("mcp")
    load_server()
    load_server.cache_clear()
    monkeypatch.setitem(sys.modules, "coterie.gateway.mcp_server", ModuleType("half"))
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    response = await client().post("/mcp", json=ping, headers={"accept": "application/json, text/event-stream"})

    assert response.status_code < 500
