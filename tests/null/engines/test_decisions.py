"""A decision model on a server: typed questions out, probabilities in, whatever the server sends."""

import json

import numpy as np
import pytest

from coterie.config.file import DecisionModel, parse_config
from coterie.engines.openai import DecisionEngine
from coterie.errors import EgressRefused, EngineBroken, EngineRejected
from coterie.governance.egress import ClearancePolicy, Gate
from coterie.testing import ScriptedAnswer, ScriptedTransport
from coterie.types import SYSTEM, Label, Message, Prompt, Question

QUESTIONS = (
    Question.choice({"a": "bees", "b": ""}, "Which?"),
    Question.predicate("Is it so?"),
    Question.score(["low", "high"], "How much?"),
)
ANSWERS = {
    "systemone": {
        "q0": {"type": "choice", "probabilities": {"a": 0.25, "b": 0.75}},
        "q1": {"type": "noul", "noul": 0.9},
        "q2": {"type": "score", "probabilities": {"0": 0.5, "1": 0.5}},
    },
    "decisions": [
        {"type": "choice", "probabilities": [{"value": "b", "probability": 0.75}, {"value": "a", "probability": 0.25}]},
        {"type": "predicate", "probability": 0.9},
        {"type": "score", "probabilities": [{"value": 0, "probability": 0.5}, {"value": 1, "probability": 0.5}]},
    ],
}
EXPECTED = [[0.25, 0.75], [0.1, 0.9], [0.5, 0.5]]


class Server:
    """Answers with what it is given, and keeps what it was sent."""

    def __init__(self, answers, usage=None):
        self.answers, self.usage, self.asked = answers, usage or {"input_tokens": 7, "output_tokens": 3}, []

    def __call__(self, request):
        """One answer."""
        self.asked.append((request.path, request.json))
        return ScriptedAnswer(json={"model": "m", "answers": self.answers, "usage": self.usage})


def engine_of(kind, server, **more):
    """An engine before the server."""
    model = DecisionModel(engine=kind, base_url="https://example.org/v1", name="jev-latest", retries=0, **more)
    return DecisionEngine("jev", model, transport=ScriptedTransport(server))


def prompt(text="Where is it?", **more):
    """Three questions about a text."""
    messages = (Message(role="user", text=text),)
    return Prompt(**{"messages": messages, "questions": QUESTIONS, "label": Label.PUBLIC, **more})


@pytest.mark.parametrize("kind", ["systemone", "decisions"])
async def test_typed_questions(kind):
    """All of them go in one request to the API's path, and come back as log-probabilities in their order."""
    server = Server(ANSWERS[kind])
    (output,) = await engine_of(kind, server).run([prompt()])
    ((path, body),) = server.asked

    assert np.exp(output.scores) == pytest.approx(np.array(EXPECTED))
    assert path == f"/v1/{kind}"
    assert (output.usage.tokens_in, output.usage.tokens_out) == (7, 3)
    if kind == "systemone":
        assert (body["state"], body["questions"]["q0"]["criteria"]) == ("Where is it?", {"a": "bees", "b": None})
    else:
        assert body["input"] == [{"role": "user", "content": "Where is it?"}]
        assert body["questions"][0]["choices"] == [{"value": "a", "description": "bees"}, {"value": "b"}]


@pytest.mark.parametrize("kind", ["systemone", "decisions"])
async def test_a_classifiers_prompt(kind):
    """Labels of a schema are asked as one choice, and the answer has the form of the schema."""
    schema = {"type": "object", "properties": {"label": {"type": "string", "enum": ["a", "b"]}}}
    server = Server({"q0": ANSWERS[kind]["q0"]} if kind == "systemone" else ANSWERS[kind][:1])
    messages = (
        Message(role="system", text="Label it."),
        Message(role="user", text="x"),
        Message(role="user", text="y"),
    )
    (output,) = await engine_of(kind, server).run([prompt(messages=messages, questions=(), json_schema=schema)])
    body = server.asked[0][1]

    assert json.loads(output.text) == {"label": "b"}
    assert output.logprob == pytest.approx(np.log(0.75))
    first = body["questions"][0] if kind == "decisions" else body["questions"]["q0"]
    assert first["instructions"] == "Label it."
    assert [message["content"] for message in body["input" if kind == "decisions" else "state"]] == ["x", "y"]


@pytest.mark.parametrize(
    "answers",
    [
        {},
        {**ANSWERS["systemone"], "q1": {"type": "noul", "noul": 1.5}},
        {**ANSWERS["systemone"], "q1": {"type": "noul", "noul": "yes"}},
        {**ANSWERS["systemone"], "q0": {"type": "choice", "probabilities": {"a": 1}}},
        {**ANSWERS["systemone"], "q0": {"type": "choice", "probabilities": {"a": 0, "b": 0}}},
        {**ANSWERS["systemone"], "q2": None},
        "words",
    ],
)
async def test_answers_that_do_not_fit(answers):
    """They are an error of the engine."""
    with pytest.raises(EngineBroken):
        await engine_of("systemone", Server(answers)).run([prompt()])


async def test_a_refusal():
    """A question that the model refuses has no probability at all."""
    answers = [*ANSWERS["decisions"][:2], {"type": "refusal", "name": None}]
    (output,) = await engine_of("decisions", Server(answers)).run([prompt()])

    assert np.isneginf(output.scores[2]).all()


async def test_no_text():
    """It writes none, and says so before anything is sent."""
    server = Server({})
    with pytest.raises(EngineRejected, match="typed questions"):
        await engine_of("systemone", server).run([prompt(questions=())])
    assert server.asked == []


async def test_behind_the_gate():
    """A state above its clearance is not sent, nor a question that holds a secret."""
    server = Server(ANSWERS["systemone"])
    model = DecisionModel(engine="systemone", base_url="https://example.org/v1", name="jev", clearance="internal")
    engine = Gate(ClearancePolicy()).open("jev", model, transport=ScriptedTransport(server))
    secret = Question.predicate("Is the password sk-proj-A8fK2mQ9xLw7Rt3Yb6Nc1Vd5Ze0Hg4Uj right?")
    for refused in (prompt(label=Label.CONFIDENTIAL), prompt(questions=(secret,))):
        with pytest.raises(EgressRefused):
            await engine.run([refused], call=SYSTEM)
    assert server.asked == []
    await engine.run([prompt(label=Label.INTERNAL)], call=SYSTEM)
    assert len(server.asked) == 1


def test_in_the_file():
    """Both kinds are engines of `[models]`."""
    for kind in ("systemone", "decisions"):
        text = f'[models.jev]\nengine = "{kind}"\nbase_url = "https://example.org/v1"\nname = "jev-latest"\n'
        assert parse_config(text).models["jev"] == DecisionModel(
            engine=kind, base_url="https://example.org/v1", name="jev-latest"
        )
