"""Functions that a request offers: called by the generalist and by `generate` specialists, at three doors."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from coterie.config.file import OpenAIModel
from coterie.config.operation import GeneralistSection
from coterie.generalist.generalist import PromptedGeneralist
from coterie.structured.schema import correction
from coterie.tasks.generate.model import Calling
from coterie.testing import ScriptedEngine, make_finding
from coterie.types import Delta, Output, SpecialistCard, Usage, worded

WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CALL = {"name": "get_weather", "arguments": {"city": "Oslo"}}
OTHER = {"name": "get_time", "arguments": {}}


def _line(reply):
    return Output(text=json.dumps({"reply": reply}), usage=Usage(tokens_in=3, tokens_out=2))


def _tool(name, **more):
    return {"type": "function", "function": {"name": name, **more}}


TOOLS = [_tool("get_weather", description="Says the weather.", parameters=WEATHER), _tool("get_time")]


@pytest.fixture
def large(network):
    """Gives the network a generalist that says what the test scripts."""

    def give(*replies):
        engine = ScriptedEngine([_line(reply) if isinstance(reply, dict) else reply for reply in replies])
        model = OpenAIModel(engine="openai", base_url="https://llm.example/v1", name="large-1")
        network.generalist = PromptedGeneralist([(engine, model)], GeneralistSection(model="large"))
        return engine

    return give


@pytest.fixture
def writer(network):
    """A `generate` specialist that calls functions of a scripted model, and says `Drafted.` otherwise."""

    def give(*replies):
        engine = ScriptedEngine([_line(reply) for reply in replies])
        calling = Calling(name="reply", engine=engine, instruction="Help.")

        class Writes:
            card = SpecialistCard(name="reply", task="generate", description="", rung="slm", version="1" * 16)

            async def consult(self, task, view, *, call=None):
                finding, steps = await calling.consult(task, call=call)
                if finding is not None:
                    return finding
                return make_finding(
                    "Drafted.",
                    specialist="reply",
                    reason=worded("drafted"),
                    label=task.label,
                    offered=bool(steps),
                    steps=steps,
                )

        network.specialists["reply"] = Writes()
        return engine

    return give


async def _chat(client, messages="weather in Oslo?", **more):
    turns = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
    body = {"model": "coterie", "messages": turns, "tools": TOOLS, **more}
    return await client().post("/v1/chat/completions", json=body)


async def test_the_generalist_calls_several_at_once(client, large):
    """What is nobody's is asked of the generalist where functions are offered; each call has an id of its own."""
    engine = large({"calls": [CALL, OTHER]})
    response = await _chat(client)
    (choice,) = response.json()["choices"]
    calls = choice["message"]["tool_calls"]
    assert [(c["function"]["name"], json.loads(c["function"]["arguments"])) for c in calls] == [
        ("get_weather", {"city": "Oslo"}),
        ("get_time", {}),
    ]
    assert len({c["id"] for c in calls}) == 2
    assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", None)
    assert "x-coterie-ignored" not in response.headers
    assert "Says the weather." in engine.prompts[0].messages[-1].text


async def test_results_come_back_in_the_next_turn(client, large):
    """The model is shown its calls and what came of them, by name, and answers in words."""
    engine = large({"answer": "It rains."})
    messages = [
        {"role": "user", "content": "weather in Oslo?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "a", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "a", "content": "rain"},
    ]
    body = (await _chat(client, messages)).json()
    assert body["choices"][0]["message"]["content"] == "It rains."
    call, result = engine.prompts[0].messages[-2:]
    assert json.loads(call.text)["calls"][0]["name"] == "get_weather"
    assert (result.role, "get_weather" in result.text, "rain" in result.text) == ("user", True, True)


@pytest.mark.parametrize("door", ["chat", "responses", "messages"])
async def test_calls_are_streamed_at_each_door(client, large, door):
    """In pieces that the whole is made of: the same names and arguments as in one piece."""
    large({"calls": [CALL, OTHER]}, {"calls": [CALL, OTHER]})
    functions = [tool["function"] for tool in TOOLS]
    body = {
        "chat": {"messages": [{"role": "user", "content": "weather"}], "tools": TOOLS},
        "responses": {"input": "weather", "tools": [{"type": "function", **f} for f in functions]},
        "messages": {
            "max_tokens": 50,
            "messages": [{"role": "user", "content": "weather"}],
            "tools": [{"name": f["name"], "input_schema": f.get("parameters", {"type": "object"})} for f in functions],
        },
    }[door]
    path = {"chat": "/v1/chat/completions"}.get(door, f"/v1/{door}")
    whole = (await client().post(path, json={"model": "coterie", **body})).json()
    text = (await client().post(path, json={"model": "coterie", "stream": True, **body})).text
    events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    read = {"chat": _of_chat, "responses": _of_responses, "messages": _of_messages}[door]
    assert read(whole, events) == [("get_weather", {"city": "Oslo"}), ("get_time", {})] * 2


def _of_chat(whole, events):
    calls = list(whole["choices"][0]["message"]["tool_calls"])
    deltas = [d for e in events for c in e["choices"] for d in c["delta"].get("tool_calls", ())]
    assert [d["index"] for d in deltas] == [0, 1]
    assert [c["finish_reason"] for e in events for c in e["choices"]][-1] == "tool_calls"
    return [(c["function"]["name"], json.loads(c["function"]["arguments"])) for c in calls + deltas]


def _of_responses(whole, events):
    done = [e["item"] for e in events if e["type"] == "response.output_item.done"]
    assert events[-1]["response"]["output"] == done
    assert [e["sequence_number"] for e in events] == list(range(len(events)))
    return [(item["name"], json.loads(item["arguments"])) for item in whole["output"] + done]


def _of_messages(whole, events):
    assert whole["stop_reason"] == "tool_use"
    begun = [e["content_block"] for e in events if e["type"] == "content_block_start"]
    parts = [e["delta"]["partial_json"] for e in events if e["type"] == "content_block_delta"]
    stopped = [e["index"] for e in events if e["type"] == "content_block_stop"]
    assert stopped == [0, 1]
    calls = [(b["name"], b["input"]) for b in whole["content"]]
    return calls + [(b["name"], json.loads(p)) for b, p in zip(begun, parts, strict=True)]


async def test_required_and_alone(client, large):
    """A required call leaves no room for words, and one at a time is one at most: the form says so to the model."""
    engine = large({"calls": [CALL]})
    assert (await _chat(client, tool_choice="required", parallel_tool_calls=False)).status_code == 200
    reply = engine.prompts[0].json_schema["properties"]["reply"]
    assert "calls" in json.dumps(reply)
    assert '"answer"' not in json.dumps(reply)
    assert '"maxItems": 1' in json.dumps(reply)


@pytest.mark.parametrize("mode", ["auto", "required"])
async def test_some_of_the_functions(client, large, mode):
    """`allowed_tools` leaves the others out; one of them alone that must be called is a forced call."""
    engine = large({"calls": [CALL]}, {"city": "Oslo"})
    tools = [_tool("get_weather"), _tool("get_time"), _tool("get_date")]
    for names in (("get_weather", "get_date"), ("get_weather",)):
        allowed = [{"type": "function", "function": {"name": name}} for name in names]
        choice = {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": allowed}}
        engine.prompts.clear()
        await _chat(client, tools=tools, tool_choice=choice)
        texts = json.dumps([engine.prompts[0].json_schema, [message.text for message in engine.prompts[0].messages]])
        assert "get_time" not in texts
        assert ("get_date" in texts) == ("get_date" in names)
    response = await _chat(client, tools=tools, tool_choice={"type": "allowed_tools"})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "tool_choice.allowed_tools")


async def test_none_leaves_functions_out(client, large):
    """`tool_choice: none` is a request in words; it is nobody's, and the generalist is not asked."""
    engine = large("never")
    message = (await _chat(client, tool_choice="none")).json()["choices"][0]["message"]
    assert (message["content"], engine.left) == (None, 1)


async def test_a_required_call_that_nobody_makes(client, large, network):
    """A specialist's words are no call: the generalist is asked; without it, the answer is a refusal."""
    large({"calls": [CALL]})
    assert (await _chat(client, "card", tool_choice="required")).json()["choices"][0]["message"]["tool_calls"]
    network.generalist = None
    message = (await _chat(client, "card", tool_choice="required")).json()["choices"][0]["message"]
    assert (message["content"], "tool_calls" in message) == (None, False)
    assert message["refusal"]


async def test_specialists_answer_as_they_always_do(client, large):
    """What a specialist accepts is the answer in words, and the functions are named as ignored."""
    engine = large("never")
    response = await _chat(client, "card")
    assert response.json()["choices"][0]["message"]["content"] == "card_lost"
    assert (response.headers["x-coterie-ignored"], engine.left) == ("tools", 1)


async def test_what_is_no_call_is_a_refusal(client, large):
    """Three tries of another form end as an abstention, never as invented arguments."""
    wrong = {"calls": [{"name": "get_weather", "arguments": {"town": 1}}]}
    engine = large(wrong, wrong, wrong)
    message = (await _chat(client)).json()["choices"][0]["message"]
    assert (message["content"], "tool_calls" in message, engine.left) == (None, False, 0)


@pytest.mark.parametrize("stream", [False, True])
async def test_functions_that_a_model_was_offered_are_not_ignored(client, large, stream):
    """A model that was sent the functions and the sampling, and made no call, ignored neither."""
    wrong = {"calls": [{"name": "get_weather", "arguments": {"town": 1}}]}
    large(wrong, wrong, wrong)
    response = await _chat(client, stream=stream, temperature=0.5)
    assert (response.status_code, "x-coterie-ignored" in response.headers) == (200, False)


@pytest.mark.parametrize("writes", ["large", "writer"])
async def test_a_model_reads_what_was_wrong_with_its_reply(client, large, writer, writes):
    """The second prompt has the reply and its fault behind the first one, and both verdicts and steps count."""
    wrong = {"calls": [{"name": "get_weather", "arguments": {"town": 1}}]}
    engine = {"large": large, "writer": writer}[writes](wrong, {"calls": [CALL]})
    body = (await _chat(client, "write" if writes == "writer" else "weather in Oslo?")).json()
    assert body["choices"][0]["message"]["tool_calls"]
    first, second = (prompt.messages for prompt in engine.prompts)
    assert second[: len(first)] == first
    reply, fault = second[len(first) :]
    assert (reply.role, json.loads(reply.text)["reply"]) == ("assistant", wrong)
    assert (fault.role, "'city'" in fault.text) == ("user", True)


async def test_an_answer_in_json_is_asked_for_again_with_its_fault(client, large):
    """As calls are; an empty reply is not shown."""
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": WEATHER}}
    engine = large(Output(text='{"city": 5}', usage=Usage()), Output(text='{"city": "Oslo"}', usage=Usage()))
    message = (await _chat(client, tools=None, response_format=form)).json()["choices"][0]["message"]
    assert message["content"] == '{"city":"Oslo"}'
    reply, fault = engine.prompts[1].messages[-2:]
    assert (reply.text, "city" in fault.text) == ('{"city": 5}', True)
    assert [message.role for message in correction(" ", "it is no whole JSON")] == ["user"]


async def test_functions_beside_a_form_of_the_answer(client, large):
    """A model calls a function, or answers in JSON of the form; a call that is required leaves the form out."""
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": {**WEATHER, "additionalProperties": False}}}
    large({"calls": [CALL]}, {"answer": {"city": 5}}, {"answer": {"city": "Oslo"}}, {"calls": [CALL]})
    response = await _chat(client, response_format=form)
    assert response.json()["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "get_weather"
    response = await _chat(client, response_format=form)
    message = response.json()["choices"][0]["message"]
    assert (message["content"], "tool_calls" in message) == ('{"city":"Oslo"}', False)
    assert "x-coterie-ignored" not in response.headers
    message = (await _chat(client, response_format=form, tool_choice="required")).json()["choices"][0]["message"]
    assert message["tool_calls"]


async def test_a_specialist_fills_in_the_form_before_functions_are_offered(client, large, network):
    """As without functions, which are named then."""
    triage = network.specialists["triage"]
    triage.card = replace(triage.card, labels=("card_lost", "card_stolen", "top_up"))
    schema = {"type": "object", "properties": {"intent": {"enum": list(triage.card.labels)}}, "required": ["intent"]}
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    engine = large("never")
    response = await _chat(client, "card", response_format=form)
    assert response.json()["choices"][0]["message"]["content"] == '{"intent":"card_lost"}'
    assert (response.headers["x-coterie-ignored"], engine.left) == ("tools", 1)


@pytest.mark.parametrize("model", ["coterie", "coterie/reply"])
async def test_a_generate_specialist_calls(client, writer, model):
    """Its model is asked for calls; where it makes none, the specialist writes as it always does."""
    writer({"calls": [CALL]}, {"answer": "no"})
    message = (await _chat(client, "write", model=model)).json()["choices"][0]["message"]
    assert message["tool_calls"][0]["function"]["name"] == "get_weather"
    response = await _chat(client, "write", model=model)
    assert response.json()["choices"][0]["message"]["content"] == "Drafted."
    assert "x-coterie-ignored" not in response.headers


async def test_a_streamed_draft_was_offered_the_functions(client, network, writer):
    """A draft that is streamed after its model made no call does not name `tools` as ignored."""
    writer({"answer": "no"})
    silent = network.specialists["reply"]

    class Speaks(type(silent)):
        async def speak(self, task, view, *, call=None):
            finding = await self.consult(task, view, call=call)
            yield Delta(text="Draf", offered=finding.offered)
            yield Delta(text="ted.", offered=finding.offered)
            yield finding

    network.specialists["reply"] = Speaks()
    response = await _chat(client, "write", stream=True, model="coterie/reply")
    assert "ted." in response.text
    assert "x-coterie-ignored" not in response.headers


async def test_a_generate_specialist_answers_from_results(client, writer):
    """With results its model's words are the answer, and the reason says that nobody knows how sure it is."""
    writer({"answer": "It rains."})
    messages = [
        {"role": "user", "content": "write"},
        {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "get_weather", "arguments": "{"}}]},
        {"role": "tool", "tool_call_id": "a", "content": "rain"},
    ]
    body = (await _chat(client, messages)).json()
    assert body["choices"][0]["message"]["content"] == "It rains."
    assert body["coterie"]["findings"][0]["reason_code"] == "accept.from_results"


async def test_a_forced_call_of_a_named_writer(client, writer):
    """One function that must be called is called by the specialist that is named, though it fills in no form."""
    writer({"calls": [CALL]})
    choice = {"type": "function", "function": {"name": "get_weather"}}
    body = (await _chat(client, "write", model="coterie/reply", tool_choice=choice)).json()
    (call,) = body["choices"][0]["message"]["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"city": "Oslo"}


async def test_results_of_a_response_that_is_gone_on_with(client, large):
    """Results alone go on with the question that the session ends with."""
    engine = large({"calls": [CALL]}, {"answer": "It rains."})
    tools = [{"type": "function", "name": "get_weather", "parameters": WEATHER}]
    first = (
        await client().post("/v1/responses", json={"model": "coterie", "input": "weather?", "tools": tools})
    ).json()
    output = {"type": "function_call_output", "call_id": first["output"][0]["call_id"], "output": "rain"}
    more = {"model": "coterie", "input": [output], "tools": tools, "previous_response_id": first["id"]}
    second = (await client().post("/v1/responses", json=more)).json()
    assert second["output"][0]["content"][0]["text"] == "It rains."
    texts = [message.text for message in engine.prompts[1].messages]
    assert ("weather?" in texts[-3], "get_weather" in texts[-2], "rain" in texts[-1]) == (True, True, True)


@pytest.mark.parametrize(
    ("tools", "param"),
    [
        ([_tool("f"), _tool("f")], "tools[1].function.name"),
        (
            [_tool("f", parameters={"type": "object", "properties": {"a": {"$ref": "#"}}})],
            "tools[0].function.parameters",
        ),
        ([_tool("f", parameters={"enum": []})], "tools[0].function.parameters"),
        ([_tool("f", parameters={"type": "string"})], "tools[0].function.parameters"),
        ([{"type": "function", "function": {"description": "no name"}}], "tools[0].function.name"),
    ],
)
async def test_tools_that_are_none(client, tools, param):
    """Two of a name, recursion, what nothing can meet, and no name: 400 in the API's shape, with the place."""
    response = await _chat(client, tools=tools)
    error = response.json()["error"]
    assert (response.status_code, error["param"].startswith(param)) == (400, True), error


async def test_a_label_of_a_result_counts(client, large, network):
    """Personal data in a result raises the request's label, as in a question."""
    large({"answer": "Sent."})
    messages = [
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "a", "content": "jane.doe@example.com"},
    ]
    body = (await _chat(client, messages)).json()
    trace = await network.store.trace(body["coterie"]["trace_id"], "default")
    assert trace.label.value == "confidential"
    assert replace(trace).status == "escalated"
