"""A model of `[models]` that runs in this process, asked at every door of chat: the same answer in each API's shape."""

import json

import pytest

from coterie.engines.openai_wire import ChatChunks
from coterie.errors import EngineBroken
from coterie.gateway.anthropic import MessageView
from coterie.gateway.openai.completions import CompletionView
from coterie.gateway.openai.responses import ResponseView
from coterie.network.network import RelayModel
from coterie.testing import make_finding
from coterie.types import Label, Output, RelayHead, Usage

WORDS = ["It ", "is ", "at ", "home."]
CALLS = {"calls": [{"name": "find", "arguments": {"city": "Rome"}}, {"name": "find", "arguments": {"city": "Oslo"}}]}
TOOL = {
    "name": "find",
    "description": "Finds a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
SCHEMA = {"type": "object", "properties": {"a": {"enum": ["b"]}}, "required": ["a"], "additionalProperties": False}
PATHS = ("/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/completions")


class _Local:
    """A model in this process that says what it is given to say, and remembers what it was asked."""

    def __init__(self):
        self.says, self.finish, self.breaks = WORDS, "stop", None
        self.seen, self.prompts = [], []

    async def relay(self, prompt, *, path, call):
        assert path == "/chat/completions"
        body = json.loads(prompt.verbatim)
        self.seen.append(body)
        self.prompts.append(prompt)
        chunks = ChatChunks("tiny", body)
        pieces, begun = [json.dumps(self.says)] if isinstance(self.says, dict) else self.says, False
        for index, text in enumerate(pieces):
            if index == self.breaks:
                raise EngineBroken("It broke.", engine="tiny")
            if data := chunks.take({"id": "c", "created": 1, "choices": [{"index": 0, "delta": {"content": text}}]}):
                if not begun:
                    yield RelayHead(status=200, headers={"content-type": "text/event-stream"})
                begun = True
                yield data
        usage = {"prompt_tokens": 7, "completion_tokens": 4}
        last = {"id": "c", "created": 1, "choices": [{"index": 0, "delta": {}, "finish_reason": self.finish}]}
        for chunk in (last, {"id": "c", "created": 1, "choices": [], "usage": usage}):
            if data := chunks.take(chunk):
                yield data
        if not begun:
            yield RelayHead(status=200, headers={"content-type": "application/json"})
        yield chunks.end()
        yield Output(text="", finish="stop", usage=Usage(tokens_in=7, tokens_out=4, milliseconds=1.0))


@pytest.fixture
def local(network):
    """The network with a model in this process, by the name `tiny`."""
    engine = _Local()
    network.models = {"tiny": RelayModel(engine=engine, name="tiny", window=64, local=True)}
    return engine


def _body(path, **more):
    """A request for the model at one of the doors, in the names of its API."""
    turns = [{"role": "user", "content": "Where?"}]
    bodies = {
        "/v1/chat/completions": {"messages": turns},
        "/v1/responses": {"input": "Where?"},
        "/v1/messages": {"messages": turns, "max_tokens": 50},
        "/v1/completions": {"prompt": "Where?"},
    }[path]
    return {"model": "tiny", **bodies, **more}


def _text(path, document):
    """The text of a whole answer, and why it ends."""
    if path == "/v1/responses":
        (part,) = document["output"][0]["content"]
        return part.get("text", part.get("refusal")), document["status"]
    if path == "/v1/messages":
        return document["content"][0]["text"], document["stop_reason"]
    (choice,) = document["choices"]
    return choice.get("text", choice.get("message", {}).get("content")), choice["finish_reason"]


def _events(text):
    lines = [line.removeprefix("data: ") for line in text.split("\n") if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


@pytest.mark.parametrize("path", PATHS)
async def test_a_whole_answer(client, network, local, path):
    """The model's text and token counts in the shape of the API, with a trace that is settled before."""
    response = await client().post(path, json=_body(path))
    document = response.json()
    view = {"/v1/responses": ResponseView, "/v1/messages": MessageView, "/v1/completions": CompletionView}
    if path in view:
        view[path].model_validate(document)
        assert document["coterie"]["trace_id"] == response.headers["x-coterie-trace"]
        assert document["model"] == "tiny"
    assert _text(path, document)[0] == "It is at home."
    usage = document["usage"]
    assert (usage.get("prompt_tokens", usage.get("input_tokens")), 4) == (7, 4)
    assert response.headers["x-coterie-egress"] == "none"
    assert list(network.store.settled) == [response.headers["x-coterie-trace"]]
    assert local.seen[0]["messages"] == [{"role": "user", "content": "Where?"}]


@pytest.mark.parametrize("path", PATHS)
async def test_a_streamed_answer(client, local, path):
    """Piece by piece, with the token counts at the end where the API has them."""
    events = _events((await client().post(path, json=_body(path, stream=True))).text)
    if path == "/v1/responses":
        pieces = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        assert events[-1]["type"] == "response.completed"
        assert events[-1]["response"]["usage"]["total_tokens"] == 11
    elif path == "/v1/messages":
        pieces = [event["delta"]["text"] for event in events if event["type"] == "content_block_delta"]
        assert [event["type"] for event in events][-2:] == ["message_delta", "message_stop"]
        assert events[-2]["usage"] == {"input_tokens": 7, "output_tokens": 4}
        assert events[-2]["delta"]["stop_reason"] == "end_turn"
    else:
        pieces = [
            event["choices"][0].get("text", event["choices"][0].get("delta", {}).get("content")) for event in events
        ]
        assert events[-1]["choices"][0]["finish_reason"] == "stop"
    assert [piece for piece in pieces if piece] == WORDS


@pytest.mark.parametrize(
    ("path", "asked", "wanted"),
    [
        ("/v1/responses", {"max_output_tokens": 9, "temperature": 0.5, "top_p": 0.9}, {"max_tokens": 9}),
        ("/v1/chat/completions", {"max_tokens": 10**30, "temperature": 0.5}, {"max_tokens": 2**20}),
        ("/v1/messages", {"max_tokens": 9, "temperature": 0.5, "stop_sequences": ["x"]}, {"stop": ["x"]}),
        ("/v1/completions", {"max_tokens": 9, "temperature": 0.5, "stop": "x", "seed": 3}, {"stop": "x", "seed": 3}),
    ],
)
async def test_wishes_act(client, local, path, asked, wanted):
    """Length, temperature and ends reach the model by chat's names; what reaches nobody is named."""
    response = await client().post(path, json=_body(path, odd=1, **asked))
    assert local.seen[0] | {"max_tokens": 9, "temperature": 0.5, **wanted} == local.seen[0]
    assert response.headers["x-coterie-ignored"] == "odd"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"modalities": ["audio"]}, "modalities"),
        ({"logit_bias": {"5": "much"}}, "logit_bias"),
        ({"logit_bias": [5]}, "logit_bias"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"n": 2}, "n"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"messages": [{"role": "user", "content": " "}]}, "messages"),
    ],
)
async def test_what_a_model_cannot_do(client, local, body, param):
    """Is refused, as it is of the network."""
    response = await client().post(PATHS[0], json=_body(PATHS[0], **body))
    assert (response.status_code, response.json()["error"]["param"], local.seen) == (400, param, [])


async def test_some_functions_of_those_that_are_sent(client, local):
    """The choice `allowed_tools` of Responses leaves out the others."""
    local.says = {"calls": [{"name": "find", "arguments": {"city": "Rome"}}]}
    tools = [{"type": "function", **TOOL}, {"type": "function", "name": "lose"}]
    choice = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "find"}]}
    response = await client().post("/v1/responses", json=_body("/v1/responses", tools=tools, tool_choice=choice))
    assert [call["name"] for call in response.json()["output"]] == ["find"]
    assert "lose" not in local.seen[0]["messages"][0]["content"]
    assert "answer" not in json.dumps(local.prompts[0].json_schema)


@pytest.mark.parametrize("path", PATHS)
async def test_an_answer_that_is_cut(client, local, path):
    """Each API says it in its own word."""
    local.finish = "length"
    words = {"/v1/responses": "incomplete", "/v1/messages": "max_tokens"}
    document = (await client().post(path, json=_body(path))).json()
    assert _text(path, document)[1] == words.get(path, "length")
    last = _events((await client().post(path, json=_body(path, stream=True))).text)
    assert words.get(path, '"length"') in json.dumps(last[-2:])


@pytest.mark.parametrize("stream", [False, True])
async def test_functions_are_called(client, local, stream):
    """At the doors that have functions: with the calls, their arguments and the word for it."""
    local.says = CALLS
    calls = [(call["name"], call["arguments"]) for call in CALLS["calls"]]
    tool = {"type": "function", **TOOL}
    answer = await client().post("/v1/responses", json=_body("/v1/responses", tools=[tool], stream=stream))
    response = _events(answer.text)[-1]["response"] if stream else answer.json()
    assert [(item["name"], json.loads(item["arguments"])) for item in response["output"]] == calls
    assert {item["type"] for item in response["output"]} == {"function_call"}

    tool = {"name": "find", "description": "Finds a city.", "input_schema": TOOL["parameters"]}
    answer = await client().post("/v1/messages", json=_body("/v1/messages", tools=[tool], stream=stream))
    if stream:
        events = _events(answer.text)
        names = [event["content_block"]["name"] for event in events if event["type"] == "content_block_start"]
        deltas = [event["delta"]["partial_json"] for event in events if event["type"] == "content_block_delta"]
        assert list(zip(names, map(json.loads, deltas), strict=True)) == calls
        assert events[-2]["delta"]["stop_reason"] == "tool_use"
    else:
        assert [(block["name"], block["input"]) for block in answer.json()["content"]] == calls
        assert answer.json()["stop_reason"] == "tool_use"
    assert "x-coterie-ignored" not in answer.headers


@pytest.mark.parametrize("stream", [False, True])
async def test_json_of_a_schema(client, local, stream):
    """The model is constrained to it; text that is none is a refusal in the API's shape."""
    forms = {
        "/v1/responses": {"text": {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}}},
        "/v1/messages": {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
    }
    for path, form in forms.items():
        local.says = {"a": "b"}
        response = await client().post(path, json=_body(path, stream=stream, **form))
        assert json.dumps('{"a":"b"}')[1:-1] in response.text.replace(": ", ":")
        assert local.prompts[-1].json_schema is not None
        local.says = ["no JSON"]
        response = (await client().post(path, json=_body(path, stream=stream, **form))).text
        assert ("refusal" in response, "The model gave no JSON of the schema" in response) == (True, True)


@pytest.mark.parametrize("stream", [False, True])
async def test_functions_beside_a_form_of_the_answer(client, local, stream):
    """The model may call, or answer in JSON of the form."""
    form, tools = {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}}, [{"type": "function", **TOOL}]
    kinds = []
    for says in ({"answer": {"a": "b"}}, {"calls": CALLS["calls"][:1]}):
        local.says = says
        answer = await client().post(
            "/v1/responses", json=_body("/v1/responses", stream=stream, tools=tools, text=form)
        )
        (item,) = (_events(answer.text)[-1]["response"] if stream else answer.json())["output"]
        kinds.append(item["type"])
        if item["type"] == "message":
            assert item["content"][0]["text"] == '{"a":"b"}'
        assert "x-coterie-ignored" not in answer.headers
    assert kinds == ["message", "function_call"]


@pytest.mark.parametrize("path", PATHS[1:])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_model_that_fails(client, local, path, stream):
    """Before its first word with a status; after it the stream's last event says so, in the API's shape."""
    local.breaks = 0
    response = await client().post(path, json=_body(path, stream=stream))
    assert response.status_code == 502
    if stream:
        local.breaks = 2
        response = await client().post(path, json=_body(path, stream=True))
        assert response.status_code == 200
        assert "It broke" in json.dumps(_events(response.text)[-1])


@pytest.mark.parametrize("path", PATHS)
async def test_the_coterie_object_of_a_model(client, network, local, path):
    """Its label holds, what would be missed is refused, the rest is named."""
    options = {"label": "restricted", "budget": 1, "quality": 0.5, "language": "de", "abstain": "text"}
    response = await client().post(path, json=_body(path, coterie=options))
    assert response.headers["x-coterie-ignored"] == ", ".join(
        f"coterie.{name}" for name in ("abstain", "budget", "language", "quality")
    )
    assert local.prompts[0].label is Label.RESTRICTED
    for option in ({"document": "a text"}, {"columns": {"a": 1}}, {"session": "mine"}):
        (name,) = option
        response = await client().post(path, json=_body(path, coterie=option))
        assert (response.status_code, response.json()["error"]["param"]) == (400, f"coterie.{name}")


class _Deployed:
    """A flywheel with a specialist that answers in the model's place."""

    def enter(self, **about):
        """Everything is its job."""
        return about

    async def answer(self, entered, *, call):
        """A label."""
        return make_finding("card_lost")

    def leave(self, entered, answer, **about):
        """Nothing is kept."""


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_deployment_in_the_place_of_a_model(client, network, local, path, stream):
    """Its answer comes in the shape of the API, and the model is not asked."""
    network.flywheel = _Deployed()
    response = await client().post(path, json=_body(path, stream=stream))
    assert response.status_code == 200, response.text
    assert "card_lost" in response.text
    assert local.seen == []


async def test_what_a_model_remembers(client, local):
    """Nothing: an earlier response is refused, and none is said to be stored."""
    document = (await client().post("/v1/responses", json=_body("/v1/responses"))).json()
    assert document["store"] is False
    response = await client().post("/v1/responses", json=_body("/v1/responses", previous_response_id=document["id"]))
    assert (response.status_code, response.json()["error"]["param"]) == (400, "previous_response_id")


async def test_other_doors(client, local):
    """A model that writes is no encoder."""
    bodies = {
        "embeddings": {"input": "a"},
        "rerank": {"query": "a", "documents": ["b"]},
        "score": {"text_1": "a", "text_2": "b"},
    }
    for path, body in bodies.items():
        response = await client().post(f"/v1/{path}", json={"model": "tiny", **body})
        assert (response.status_code, response.json()["error"]["param"]) == (400, "model")
