"""Typed questions at two doors: the same core, each in the shape of its API, errors included."""

import json
from dataclasses import replace
from decimal import Decimal

import pytest

from coterie.types import Option

SYSTEM_ONE, DECISIONS = "/v1/systemone", "/v1/decisions"
LABELS = ("card_lost", "card_found", "other")


@pytest.fixture
def network(network):
    """With a triage that has three labels."""
    triage = network.specialists["triage"]
    triage.card = replace(triage.card, options=tuple(Option(name=label) for label in LABELS))
    return network


def systemone(**more):
    """A System One request with one question of each type."""
    questions = {
        "intent": {"type": "choice", "criteria": dict.fromkeys(LABELS)},
        "angry": {"type": "noul", "instructions": "Is the customer angry?"},
        "anger": {"type": "score", "criteria": ["calm", {"label": "angry", "signs": ["!"]}]},
    }
    return {"model": "jev-latest", "state": {"note": "I lost my card"}, "questions": questions, **more}


def decisions(**more):
    """The same as a request of OpenAI's."""
    questions = [
        {"type": "choice", "name": "intent", "instructions": "", "choices": [{"value": label} for label in LABELS]},
        {"type": "predicate", "instructions": "Is the customer angry?"},
        {"type": "score", "instructions": "Anger?", "levels": [{"label": "calm"}, {"label": "angry"}]},
    ]
    return {"model": "gpt-6-luna", "input": "I lost my card", "questions": questions, **more}


async def test_systemone(client, network):
    """Each type has its answer; who answered stands in `x_coterie`; the trace has the decisions."""
    response = await client().post(SYSTEM_ONE, json=systemone(seed=7))
    document = response.json()

    assert response.status_code == 200
    assert set(document) == {"model", "answers", "usage", "x_coterie"}
    intent, angry, anger = (document["answers"][name] for name in ("intent", "angry", "anger"))
    assert (intent["type"], intent["choice"], set(intent["probabilities"])) == ("choice", "card_lost", set(LABELS))
    assert 0 <= angry["noul"] <= 1
    assert anger["legend"] == {"0": "calm", "1": {"label": "angry", "signs": ["!"]}}
    assert anger["score"] == pytest.approx(anger["probabilities"]["1"])
    by = {decision["question"]: decision for decision in document["x_coterie"]["decisions"]}
    assert (by["intent"]["answered_by"], by["intent"]["accepted"], by["intent"]["zero_shot"]) == ("triage", True, False)
    assert (by["angry"]["answered_by"], by["angry"]["accepted"], by["angry"]["zero_shot"]) == ("encoder", False, True)
    trace = network.store.settled[response.headers["x-coterie-trace"]].trace
    assert [decision.question for decision in trace.decisions] == ["intent", "angry", "anger"]
    assert trace.findings[0].distribution == {}
    assert trace.usage.cost == Decimal("0.01") * len(trace.steps)


async def test_decisions(client):
    """OpenAI's answers come in the order of the questions."""
    document = (await client().post(DECISIONS, json=decisions())).json()
    choice, predicate, score = document["answers"]

    assert (choice["name"], choice["choice"]) == ("intent", "card_lost")
    assert [entry["value"] for entry in choice["probabilities"]] == list(LABELS)
    assert predicate == {"type": "predicate", "name": None, "probability": predicate["probability"]}
    assert [entry["label"] for entry in score["probabilities"]] == ["calm", "angry"]
    assert document["usage"]["total_tokens"] == document["usage"]["input_tokens"] + document["usage"]["output_tokens"]
    assert document["coterie"]["decisions"][0]["answered_by"] == "triage"


async def test_the_same_question_at_both_doors(client):
    """It has one site, so that it is counted as one."""
    question = {"type": "choice", "instructions": "Which?", "criteria": {"a": "bees", "b": None}}
    choices = [{"value": "b"}, {"value": "a", "description": "bees"}]
    one = await client().post(SYSTEM_ONE, json=systemone(questions={"q": question}))
    other = await client().post(
        DECISIONS, json=decisions(questions=[{"type": "choice", "instructions": "Which?", "choices": choices}])
    )

    assert one.json()["x_coterie"]["decisions"][0]["site"] == other.json()["coterie"]["decisions"][0]["site"]


async def test_a_text_and_a_boolean_that_look_alike(client):
    """They are two choices, and each comes back as it was."""
    choices = [{"value": "true"}, {"value": True}, {"value": False}]
    response = await client().post(
        DECISIONS, json=decisions(questions=[{"type": "choice", "instructions": "?", "choices": choices}])
    )

    assert [entry["value"] for entry in response.json()["answers"][0]["probabilities"]] == ["true", True, False]


async def test_a_conversation_with_tools(client, network):
    """Calls and their outputs are turns of the state; an output without its call is refused."""
    call = {"type": "function_call", "call_id": "1", "name": "look", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "1", "output": [{"type": "input_text", "text": "a card"}]}
    user = {
        "role": "user",
        "content": [{"type": "input_json", "data": {"note": "hi"}}, {"type": "input_text", "text": "?"}],
    }
    answered = await client().post(DECISIONS, json=decisions(input=[user, call, output]))
    refused = await client().post(DECISIONS, json=decisions(input=[user, output]))
    image = await client().post(
        DECISIONS, json=decisions(input=[{"role": "user", "content": [{"type": "input_image", "image_url": "data:"}]}])
    )

    assert answered.status_code == 200
    assert network.specialists["triage"].asked[-1].text == "user: note: hi\n?\nassistant: look({})\nuser: a card"
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_request")
    assert (image.status_code, image.json()["error"]["code"]) == (400, "unsupported_content")


async def test_a_pinned_specialist(client):
    """`coterie/NAME` lets it alone answer; a question that is none of its own is refused, and an unknown name too."""
    body = systemone(model="coterie/triage", questions={"intent": systemone()["questions"]["intent"]})
    pinned = await client().post(SYSTEM_ONE, json=body)
    alien = await client().post(SYSTEM_ONE, json=systemone(model="coterie/triage"))
    unknown = [await client().post(SYSTEM_ONE, json=systemone(model=model)) for model in ("coterie/none", "acme")]

    assert pinned.status_code == 200
    assert alien.status_code == 422
    assert [response.status_code for response in unknown] == [404, 404]
    assert {response.json()["detail"]["error_type"] for response in unknown} == {"model_not_found"}


BAD = [
    ("options", {"type": "choice", "criteria": {f"option {n}": None for n in range(256)}}),
    ("one option", {"type": "choice", "criteria": {"a": None}}),
    ("no options", {"type": "choice", "criteria": {}}),
    ("no name", {"type": "choice", "criteria": {"": None, "b": None}}),
    ("blank name", {"type": "choice", "criteria": {" ": None, "b": None}}),
    ("type", {"type": "boolean", "instructions": "?"}),
    ("map", {"type": "score", "criteria": {"0": "low", "1": "high"}}),
    ("twice", {"type": "score", "criteria": ["low", "low"]}),
    ("null level", {"type": "score", "criteria": ["low", None]}),
    ("nothing", {"type": "noul"}),
    ("number", {"type": "noul", "instructions": 3}),
]


@pytest.mark.parametrize(("what", "question"), BAD, ids=[name for name, _ in BAD])
async def test_a_bad_question_of_system_one(client, what, question):
    """It is 422 with the places where it is wrong, and costs nothing."""
    response = await client().post(SYSTEM_ONE, json=systemone(questions={"q": question}))

    assert response.status_code == 422, what
    for problem in response.json()["detail"]:
        assert problem["loc"][0] == "body"
        assert problem["msg"]
        assert problem["type"]


QUESTION = '"questions": {"q": {"type": "noul", "instructions": "?"}}}'
BODIES = {
    "no JSON": '{"model": "jev-latest", "state": "x", "questions": {',
    "NaN": '{"model": "jev-latest", "state": {"a": NaN}, ' + QUESTION,
    "twice": '{"model": "jev-latest", "state": "x", "state": "y", ' + QUESTION,
    "surrogate": '{"model": "jev-latest", "state": "\\ud800", ' + QUESTION,
    "option surrogate": '{"model": "jev-latest", "state": "x", "questions": {"q": {"type": "choice", "criteria": '
    '{"\\udfff": null, "b": null}}}}',
    "deep": '{"model": "jev-latest", "state": ' + "[" * 5000 + "]" * 5000 + ', "questions": {}}',
    "big number": '{"model": "jev-latest", "state": {"a": ' + "9" * 5000 + '}, "questions": {}}',
    "no object": "[]",
    "empty": "",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_a_bad_body(client, body):
    """It is 422 at one door and 400 at the other, in the shape of each."""
    one = await client().post(SYSTEM_ONE, content=body)
    other = await client().post(DECISIONS, content=body)

    assert (one.status_code, other.status_code) == (422, 400)
    assert one.json()["detail"][0]["loc"][0] == "body"
    assert other.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("field", ["state", "input"])
async def test_a_large_state(client, field):
    """More than a body may have is 413, more than is read is a clear error; each in the shape of its API."""
    path, make = (SYSTEM_ONE, systemone) if field == "state" else (DECISIONS, decisions)
    large = await client().post(path, json=make(**{field: "x" * 10_000_000}))
    long = await client(max_body=20_000_000).post(path, json=make(**{field: "x" * 10_000_000}))

    assert large.status_code == 413
    assert long.status_code == (422 if field == "state" else 400)
    assert "10000000 characters" in json.dumps(long.json())


async def test_sixty_five_questions(client):
    """One too many."""
    one = {str(n): {"type": "noul", "instructions": f"Is it {n}?"} for n in range(65)}
    other = [{"type": "predicate", "instructions": f"Is it {n}?"} for n in range(65)]

    assert (await client().post(SYSTEM_ONE, json=systemone(questions=one))).status_code == 422
    assert (await client().post(DECISIONS, json=decisions(questions=other))).status_code == 400
    one.pop("64")
    assert (await client().post(SYSTEM_ONE, json=systemone(questions=one))).status_code == 200


async def test_settled_or_not_told(client, network):
    """An answer that cannot be settled is not given, and the error has the API's shape."""

    def fail():
        raise RuntimeError("secret words")

    network.store.trouble = fail
    response = await client().post(SYSTEM_ONE, json=systemone())

    assert response.status_code == 500
    assert set(response.json()["detail"]) == {"error_type", "message"}
    assert "secret" not in response.text


async def test_models(client):
    """The list has both shapes."""
    listing = (await client().get("/v1/models")).json()

    assert [model["name"] for model in listing["models"]] == [model["id"] for model in listing["data"]]
    assert all(set(model) == {"name", "description", "release_date"} for model in listing["models"])


async def test_every_door_says_what_left(client):
    """Typed questions and the encoder's answers too: in a header, and in the JSON of those that may ask elsewhere."""
    question = {"type": "predicate", "instructions": "Is it about a card?"}
    bodies = {
        "decisions": {"input": "my card is lost", "questions": [question]},
        "systemone": {"state": "my card is lost", "questions": {"a": {"type": "noul", "instructions": "A card?"}}},
        "embeddings": {"input": "a"},
        "rerank": {"query": "a", "documents": ["a"]},
        "score": {"text_1": "a", "text_2": "a"},
    }
    for path, body in bodies.items():
        response = await client().post(f"/v1/{path}", json={"model": "coterie", **body})
        assert (response.status_code, response.headers["x-coterie-egress"]) == (200, "none"), path
        extension = response.json().get(
            "coterie" if path == "decisions" else "x_coterie", {"egress": {"summary": "none"}}
        )
        assert extension["egress"]["summary"] == "none"
