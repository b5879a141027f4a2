"""Answers in the form of a JSON schema, from specialists."""

import dataclasses
import json

import pytest

from coterie.testing import make_finding
from coterie.types import worded

LABELS = ("card_lost", "card_stolen", "top_up")


@pytest.fixture
def owned(network):
    """Triage says which labels it has."""
    triage = network.specialists["triage"]
    triage.card = dataclasses.replace(triage.card, labels=LABELS)
    return network


def _form(properties, **more):
    schema = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema | more}}


async def _message(client, chat_body, form, text="card", **more):
    body = (await client().post("/v1/chat/completions", json=chat_body(text, response_format=form, **more))).json()
    return body["choices"][0]["message"] if "choices" in body else body


@pytest.mark.parametrize("name", ["intent", "kind", "triage"])
async def test_an_enum_of_labels_is_answered_by_their_specialist(client, chat_body, owned, name):
    """Whatever the property is called, and although the router would name somebody else."""
    message = await _message(client, chat_body, _form({name: {"enum": list(LABELS)}}), text="write")
    assert json.loads(message["content"]) == {name: "card_lost"}


async def test_a_constant_and_an_optional_property(client, chat_body, owned):
    """A constant is filled in; what nobody knows and nobody needs is left out."""
    form = _form(
        {"intent": {"enum": list(LABELS)}, "v": {"const": 1}, "why": {"type": "string"}}, required=["intent", "v"]
    )
    assert json.loads((await _message(client, chat_body, form))["content"]) == {"intent": "card_lost", "v": 1}


async def test_a_label_outside_the_options_is_a_refusal(client, chat_body, owned):
    """A subset of the labels may be asked for; another label is no answer."""
    message = await _message(client, chat_body, _form({"triage": {"enum": ["card_stolen", "top_up"]}}))
    assert message["content"] is None
    assert "'triage'" in message["refusal"]


async def test_a_refusal_says_whose_doubt_it_is(client, chat_body, owned):
    """Where one of two properties is not answered, its specialist's own reason is given, too."""

    class Unsure:
        card = dataclasses.replace(owned.specialists["triage"].card, name="urgent", labels=("true", "false"), writes=())

        async def consult(self, task, view, *, call=None):
            return make_finding("true", specialist="urgent", accepted=False, reason=worded("0.51 is too low"))

    owned.specialists["urgent"] = Unsure()
    form = _form({"intent": {"enum": list(LABELS)}, "urgent": {"type": "boolean"}})
    message = await _message(client, chat_body, form)
    assert (message["content"], "0.51 is too low" in message["refusal"]) == (None, True)


async def test_a_schema_of_nobodys_is_a_refusal(client, chat_body, owned):
    """It names the property that nobody fills in, and nobody is asked."""
    message = await _message(client, chat_body, _form({"colour": {"type": "string"}}))
    assert (message["content"], "'colour'" in message["refusal"]) == (None, True)
    assert owned.specialists["triage"].asked == []


async def test_any_object(client, chat_body, owned):
    """`json_object` names each value by the fact that it is, whoever the router names."""
    assert json.loads((await _message(client, chat_body, {"type": "json_object"}))["content"]) == {
        "intent": "card_lost"
    }
    message = await _message(client, chat_body, {"type": "json_object"}, text="weather")
    assert message["content"] is None


@pytest.mark.parametrize("stream", [False, True])
async def test_a_code_block_that_is_asked_for(client, chat_body, owned, read_events, stream):
    """A block that the last line of a question opens, and a schema in a system message: JSON in that block."""
    schema = json.dumps(_form({"intent": {"enum": list(LABELS)}})["json_schema"]["schema"], indent=1)
    told = {"role": "system", "content": f"Reply by this schema:\n{schema}\nNothing else."}

    async def content(question, *before):
        messages = [*before, {"role": "user", "content": question}]
        response = await client().post("/v1/chat/completions", json=chat_body("", messages=messages, stream=stream))
        if stream:
            deltas = [chunk["choices"][0]["delta"] for chunk in read_events(response.text)]
            return "".join(delta.get("content") or "" for delta in deltas)
        return response.json()["choices"][0]["message"]["content"]

    asking = "card\n\nIn einem ```json Block."
    assert await content(asking, told) == '```json\n{"intent":"card_lost"}\n```'
    assert owned.specialists["triage"].asked[-1].text == "card"
    for question, before in ((asking, ()), (f"{asking}```", (told,)), ("In ```json.", (told,))):
        assert "```json\n{" not in (await content(question, *before) or "")


async def test_a_forced_call(client, chat_body, owned, read_events):
    """The arguments are JSON of the parameters; streamed in one piece; an abstention is a refusal and no call."""
    parameters = _form({"intent": {"enum": list(LABELS)}})["json_schema"]["schema"]
    tool = {"type": "function", "function": {"name": "note", "parameters": parameters}}
    body = chat_body("card", tools=[tool], tool_choice="required")
    choice = (await client().post("/v1/chat/completions", json=body)).json()["choices"][0]
    (call,) = choice["message"]["tool_calls"]
    assert (call["function"]["name"], json.loads(call["function"]["arguments"])) == ("note", {"intent": "card_lost"})
    assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", None)
    chunks = read_events((await client().post("/v1/chat/completions", json=body | {"stream": True})).text)
    (delta,) = [d for chunk in chunks if "tool_calls" in (d := chunk["choices"][0]["delta"])]
    assert json.loads(delta["tool_calls"][0]["function"]["arguments"]) == {"intent": "card_lost"}


async def test_text_is_never_in_place_of_json(client, chat_body, owned):
    """Where abstentions are text, one of a request for JSON is a refusal nevertheless."""
    message = await _message(client, chat_body, _form({"colour": {"type": "string"}}), coterie={"abstain": "text"})
    assert message["content"] is None
