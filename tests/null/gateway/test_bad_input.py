"""What cannot be served at each door: a clear 4xx, in the shape of the API that was asked."""

from __future__ import annotations

import json

import pytest

MANY = [f"option {n}" for n in range(256)]
UNMET = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 3, "maximum": 2}}, "required": ["a"]}
RECURSIVE = {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}
LONG = "a" * 10_000_000


def _decisions(options, text="x"):
    choices = [{"value": value, "description": ""} for value in options]
    question = {"type": "choice", "name": "q", "instructions": "?", "choices": choices}
    return "/v1/decisions", {"model": "gpt-6-luna", "input": text, "questions": [question]}


def _systemone(options, text="x"):
    criteria = dict.fromkeys(options) if len(set(options)) == len(options) else options
    question = {"type": "choice", "criteria": criteria}
    return "/v1/systemone", {"model": "jev-latest", "state": text, "questions": {"q": question}}


def _chat(text="x", **more):
    return "/v1/chat/completions", {"model": "coterie", "messages": [{"role": "user", "content": text}], **more}


def _responses(text="x", **more):
    return "/v1/responses", {"model": "coterie", "input": text, **more}


def _messages(text="x", **more):
    messages = [{"role": "user", "content": text}]
    return "/v1/messages", {"model": "coterie", "max_tokens": 9, "messages": messages, **more}


def _schema_chat(schema):
    return _chat(response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}})


def _schema_responses_text(schema):
    path, body = _responses()
    return path, {**body, "text": {"format": {"type": "json_schema", "name": "x", "schema": schema}}}


def _schema_messages(schema):
    return _messages(output_config={"format": {"type": "json_schema", "schema": schema}})


def _tools_chat(**function):
    return _chat(tools=[{"type": "function", "function": function}])


def _tools_responses(**function):
    return _responses(tools=[{"type": "function", **function}])


def _tools_messages(**function):
    parameters = {"input_schema": function.pop("parameters")} if "parameters" in function else {}
    return _messages(tools=[{**function, **parameters}])


CASES = {
    **{f"256 options: {d.__name__}": d(MANY) for d in (_decisions, _systemone)},
    **{f"two of a name: {d.__name__}": d(["a", "a"]) for d in (_decisions, _systemone)},
    **{f"half a surrogate: {d.__name__}": d(["a", "\ud800"]) for d in (_decisions, _systemone)},
    **{
        f"{name}: {d.__name__}": d(schema)
        for name, schema in (("unmet", UNMET), ("recursive", RECURSIVE))
        for d in (_schema_chat, _schema_responses_text, _schema_messages)
    },
    **{
        f"{name}: {d.__name__}": d(**function)
        for name, function in (
            ("no name", {"description": "d", "parameters": {"type": "object"}}),
            ("recursive", {"name": "f", "parameters": RECURSIVE}),
            ("unmet", {"name": "f", "parameters": UNMET}),
        )
        for d in (_tools_chat, _tools_responses, _tools_messages)
    },
    "no text: rerank": ("/v1/rerank", {"model": "coterie", "query": "x", "documents": ["\ud800", ""]}),
    "no model: score": ("/v1/score", {"model": "x", "text_1": "a", "text_2": "b"}),
}


def _said(path, response):
    """The message of an error, at the place where the API has it."""
    problem = response.json()
    if path == "/v1/systemone":
        detail = problem["detail"]
        return detail[0]["msg"] if isinstance(detail, list) else detail["message"]
    if path == "/v1/messages":
        assert problem["type"] == "error"
        assert problem["error"]["type"] in {"invalid_request_error", "not_found_error", "request_too_large"}
    else:
        assert {"message", "type", "param", "code"} <= problem["error"].keys()
    return problem["error"]["message"]


@pytest.mark.parametrize("name", CASES)
async def test_refused(client, network, name):
    """Nobody is asked, and the words say what is wrong."""
    path, body = CASES[name]
    content = json.dumps(body).encode("utf-8", "surrogatepass")
    response = await client().post(path, content=content, headers={"content-type": "application/json"})
    assert 400 <= response.status_code < 500, response.text[:300]
    assert len(_said(path, response)) > 10
    assert network.specialists["triage"].asked == []
    assert response.headers["x-coterie-egress"] == "none"


@pytest.mark.parametrize(
    ("path", "body"),
    [_decisions(["a", "b"], LONG), _systemone(["a", "b"], LONG), _chat(LONG), _responses(LONG), _messages(LONG)],
    ids=["decisions", "systemone", "chat", "responses", "messages"],
)
async def test_ten_megabytes(client, path, body):
    """Refused by their length before they are read."""
    response = await client().post(path, json=body)
    assert response.status_code == 413
    assert "1048576" in _said(path, response).replace(",", "")


_FUNCTION = {"type": "function", "name": "f"}
_ENDLESS_FORM = {"format": {"type": "json_schema", "name": "x", "schema": {"$ref": "#"}}}


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        (_responses(tools=[{"type": "function", "description": "no name"}]), "tools[0].name"),
        (_responses([{"type": "reasoning", "summary": []}]), "input"),
        (_responses([]), "input"),
        (_responses(tools=[{"type": "function", "name": "f", "parameters": RECURSIVE}]), "tools[0].parameters"),
        (("/v1/responses", {"model": "coterie", "input": "x", "text": _ENDLESS_FORM}), "text.format.schema"),
        (_responses([{"type": "web_search_call"}]), "input"),
        (_responses(max_output_tokens=0), "max_output_tokens"),
        (_messages(tools=[{"name": "f", "input_schema": RECURSIVE}]), "tools[0].input_schema"),
        (_messages(tools=[{"type": "web_search_20250305", "name": "w"}, {"name": "f"}]), "tools[1].input_schema"),
        (_messages(tools=[{"name": "f", "input_schema": {}}], tool_choice={"type": "tool"}), "tool_choice.name"),
        (_messages(tool_choice={"type": "any"}), "tool_choice"),
        (_messages(stop_sequences=["a", ""]), "stop_sequences[1]"),
        (_messages(output_config={"format": "json"}), "output_config.format"),
        (_responses(tool_choice="required"), "tool_choice"),
        (
            _responses(tools=[_FUNCTION], tool_choice={"type": "allowed_tools", "mode": "any", "tools": []}),
            "tool_choice",
        ),
        (_responses(conversation="conv_1"), "conversation"),
        (_responses(prompt={"id": "pmpt_1"}), "prompt"),
        (_decisions(MANY), "questions[0].choices"),
        (
            _chat(tools=[{"type": "function", "function": {"name": "f"}}], tool_choice={"type": "function"}),
            "tool_choice.f",
        ),
    ],
)
async def test_parameters_have_the_names_of_the_api_that_was_asked(client, asked, param):
    """A request that is read as one for chat is told what is wrong by the names of its own API."""
    path, body = asked
    response = await client().post(path, json=body)
    error = response.json()["error"]
    assert (response.status_code, error["param"].startswith(param)) == (400, True), error


_CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
_RESULT = {"role": "tool", "tool_call_id": "a", "content": "r"}
_USE = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
_OUTPUT = {"type": "function_call_output", "call_id": "a", "output": "r"}


_CHAT_FUNCTION = {"type": "function", "function": {"name": "f"}}


def _allowed(mode, *names):
    return {"mode": mode, "tools": [{"type": "function", "function": {"name": name}} for name in names]}


def _turns(*turns):
    return "/v1/chat/completions", {"model": "coterie", "messages": [{"role": "user", "content": "x"}, *turns]}


def _blocks(*blocks):
    path, body = _messages()
    return path, {**body, "messages": [*body["messages"], *({"role": r, "content": [b]} for r, b in blocks)]}


@pytest.mark.parametrize(
    "asked",
    [
        *(
            _turns({"role": "assistant", "tool_calls": [call]}, _RESULT)
            for call in ({"id": "a", "function": {"name": ["f"]}}, {"id": "a"}, {}, {"id": "a", "function": 5})
        ),
        _turns({"role": "assistant", "tool_calls": [_CALL]}, {**_RESULT, "tool_call_id": "b"}),
        _turns({"role": "assistant", "tool_calls": [_CALL]}, {"role": "tool", "content": "r"}),
        _turns(_RESULT),
        _blocks(("user", {"type": "tool_result", "tool_use_id": "a", "content": "r"})),
        _blocks(("assistant", _USE), ("user", {"type": "tool_result", "content": "r"})),
        _responses([{"role": "user", "content": "x"}, _OUTPUT]),
        _responses([_OUTPUT], previous_response_id=f"resp_{'1' * 64}"),
        _responses(
            [
                {"role": "user", "content": "x"},
                {"type": "function_call", "call_id": "a", "name": "f"},
                {**_OUTPUT, "output": None},
            ]
        ),
        _responses(tools=[{"name": "f"}]),
        _responses(tools=[_FUNCTION], tool_choice={}),
        _responses(tools=[_FUNCTION], tool_choice="any"),
        _responses(tools=[_FUNCTION], tool_choice={"type": "function"}),
        _responses(tools=[_FUNCTION], tool_choice={"type": "allowed_tools", "tools": [{**_FUNCTION, "name": "g"}]}),
        *(
            _chat(
                tools=[_CHAT_FUNCTION], tool_choice={"type": "allowed_tools", "allowed_tools": _allowed(mode, "f", "g")}
            )
            for mode in ("auto", "required")
        ),
    ],
)
async def test_calls_that_are_none(client, network, asked):
    """A call without a function, a result of no call before it, a choice of no function: refused at each door."""
    path, body = asked
    response = await client().post(path, json=body)
    assert response.status_code == 400, response.text[:300]
    assert len(_said(path, response)) > 10
    assert network.specialists["triage"].asked == []


async def test_results_of_calls(client):
    """Results of calls that were made are read: in the conversation, and by the id that the response before it gave."""
    for path, body in (
        _turns({"role": "assistant", "tool_calls": [_CALL]}, _RESULT),
        _blocks(("assistant", _USE), ("user", {"type": "tool_result", "tool_use_id": "a", "content": "r"})),
        _responses([{"role": "user", "content": "x"}, {"type": "function_call", "call_id": "a", "name": "f"}, _OUTPUT]),
    ):
        assert (await client().post(path, json=body)).status_code == 200
    first = (await client().post("/v1/responses", json=_responses()[1])).json()
    for name in ("", "_1"):
        output = {**_OUTPUT, "call_id": f"call_{first['id'][-32:]}{name}"}
        path, body = _responses([output], previous_response_id=first["id"])
        assert (await client().post(path, json=body)).status_code == 200


_TWICE = {
    path: json.dumps(body)[:-1] + ', "odd": %s}'
    for path, body in (
        *(_chat(), _responses(), _messages(), _decisions(["a", "b"]), _systemone(["a", "b"])),
        ("/v1/completions", {"model": "coterie", "prompt": "x"}),
        ("/v1/embeddings", {"model": "coterie", "input": "x"}),
    )
}


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        *((_chat(**{name: value}), name) for name, value in (("max_tokens", "9"), ("stream", "yes"), ("n", True))),
        *((_chat(**{name: value}), name) for name, value in (("temperature", "0.5"), ("seed", 1.5), ("top_p", True))),
        *((_messages(**{name: value}), name) for name, value in (("max_tokens", "9"), ("temperature", "1"))),
        *((_responses(**{name: value}), name) for name, value in (("max_output_tokens", "9"), ("store", 1))),
        (("/v1/completions", {"model": "coterie", "prompt": "x", "max_tokens": "3"}), "max_tokens"),
        (("/v1/embeddings", {"model": "coterie", "input": "x", "dimensions": "3"}), "dimensions"),
        (("/v1/rerank", {"model": "coterie", "query": "x", "documents": ["y"], "top_n": "1"}), "top_n"),
    ],
)
async def test_a_number_or_truth_value_is_no_text(client, network, asked, param):
    """A value of another type is refused at each door, as the API that it belongs to does; none is guessed."""
    path, body = asked
    response = await client().post(path, json=body)
    assert (response.status_code // 100, param in response.text) == (4, True), response.text
    assert network.specialists["triage"].asked == []


@pytest.mark.parametrize("path", _TWICE)
@pytest.mark.parametrize("value", ['{"a": "b", "a": "c"}', f'{{"a": {"7" * 5000}}}', '{"a": NaN}', '{"a": "\\udc00"}'])
async def test_bodies_that_may_be_read_in_two_ways(client, network, path, value):
    """A name given twice, a number of thousands of digits, NaN and half a surrogate are refused at every door."""
    response = await client().post(path, content=_TWICE[path] % value)
    assert response.status_code in {400, 422}
    assert "invalid_json" in response.text
    assert network.specialists["triage"].asked == []


@pytest.mark.parametrize(
    ("asked", "ignored"),
    [
        (_chat(store=True, instructions="Be kind.", input="y"), "input, instructions, store"),
        (
            _responses(tools=[{"type": "web_search"}], tool_choice={"type": "web_search"}),
            "tool_choice, tools.web_search",
        ),
        (_messages(output_config={"effort": "low"}), "output_config.effort"),
        (("/v1/completions", {"model": "coterie", "prompt": "x", "tools": [_FUNCTION]}), "tools"),
        (
            _chat(max_tokens=3, stream_options={"include_obfuscation": True}),
            "max_tokens, stream_options.include_obfuscation",
        ),
        (
            (
                "/v1/responses",
                {"model": "coterie", "input": "x", "max_output_tokens": 20, "text": {"verbosity": "low"}},
            ),
            "max_output_tokens, text.verbosity",
        ),
        (_messages(stop_sequences=["x"], top_k=3), "stop_sequences, top_k"),
        (("/v1/completions", {"model": "coterie", "prompt": "x", "max_tokens": 3}), "max_tokens"),
    ],
)
async def test_what_belongs_to_another_api(client, asked, ignored):
    """A parameter of another door, or a choice that nobody has, is named."""
    path, body = asked
    response = await client().post(path, json=body)
    assert (response.status_code, response.headers["x-coterie-ignored"]) == (200, ignored)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ('{"jsonrpc": "2.0", "id": 1, "method": "tools/list", "method": "tools/call"}', -32700),
        ('{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"a": NaN}}', -32700),
        ('{"jsonrpc": "2.0", "id": null, "method": "ping"}', -32600),
        ('{"jsonrpc": "2.0", "id": 1.5, "method": "ping"}', -32600),
        ('{"jsonrpc": "2.0", "id": true, "method": "ping"}', -32600),
        ('[{"jsonrpc": "2.0", "id": 1, "method": "ping"}]', -32600),
    ],
)
async def test_messages_that_json_rpc_does_not_have(client, body, code):
    """Are refused with JSON-RPC's own codes: a request without a proper id would wait for an answer for ever."""
    headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    response = await client().post("/mcp", content=body, headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (400, code)
