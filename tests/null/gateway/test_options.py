"""The `coterie` object at every door: an option acts, is refused, or is named in `x-coterie-ignored`."""

from decimal import Decimal

import numpy as np
import pytest

from coterie.config.file import OpenAIModel
from coterie.gateway.app import ENDPOINTS
from coterie.gateway.wire import Extension
from coterie.governance.egress import ClearancePolicy, Gate
from coterie.network.network import RelayModel
from coterie.policy.cost_quality import CalibrationOutcomes, CostQualityPolicy
from coterie.testing import ScriptedAnswer, ScriptedTransport
from coterie.types import Label

TURNS = {"messages": [{"role": "user", "content": "card"}]}
BODIES = {
    "/v1/chat/completions": TURNS,
    "/v1/responses": {"input": "card"},
    "/v1/messages": {**TURNS, "max_tokens": 9},
    "/v1/messages/count_tokens": TURNS,
    "/v1/completions": {"prompt": "card"},
    "/v1/decisions": {"input": "card", "questions": [{"type": "predicate", "instructions": "Is it lost?"}]},
    "/v1/systemone": {"state": "card", "questions": {"lost": {"type": "noul", "instructions": "Is it lost?"}}},
    "/v1/embeddings": {"input": "card"},
    "/v1/rerank": {"query": "card", "documents": ["lost"]},
    "/v2/rerank": {"query": "card", "documents": ["lost"]},
    "/v1/score": {"text_1": "card", "text_2": "lost"},
}
OPTIONS = {
    "session": "mine",
    "label": "internal",
    "release": {"to": "public", "because": "It is public."},
    "clearance": "public",
    "columns": {"age": 3},
    "document": "A card.",
    "language": "de",
    "abstain": "text",
    "quality": 0.9,
    "budget": 1,
}
CHAT = frozenset(OPTIONS) - {"quality", "budget"}
STATE = frozenset({"label", "clearance", "language"})
ACTS = {
    **dict.fromkeys(("/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/completions"), CHAT),
    **dict.fromkeys(("/v1/decisions", "/v1/systemone"), STATE),
    **dict.fromkeys(
        ("/v1/embeddings", "/v1/rerank", "/v2/rerank", "/v1/score", "/v1/messages/count_tokens"), frozenset()
    ),
}
"""What acts before a network in which nothing leaves the machine and no threshold is derived."""


def test_every_door_is_here():
    """Whoever adds an endpoint that is asked says what its options do; feedback and MCP refuse unknown names.

    The endpoints of a stored response ask nothing.
    """
    paths = {
        endpoint.path for endpoint in ENDPOINTS if endpoint.needs == "ask" and "{response_id}" not in endpoint.path
    }
    assert paths == BODIES.keys() | {"/mcp", "/api/feedback"}
    assert OPTIONS.keys() == Extension.model_fields.keys()


def _told(response, parameter):
    """Whether a response refuses an option, or names it."""
    named = response.headers.get("x-coterie-ignored", "").split(", ")
    assert response.status_code in {200, 400, 422}, response.text
    if response.status_code == 200:
        return parameter in named
    assert parameter.rsplit(".", maxsplit=1)[-1] in response.text
    return True


@pytest.mark.parametrize("path", BODIES)
async def test_no_option_is_swallowed(client, path):
    """Each option of the object, at each door."""
    http, name = client(), "x_coterie" if path == "/v1/systemone" else "coterie"
    acts = set()
    for option, value in OPTIONS.items():
        response = await http.post(path, json={"model": "coterie", **BODIES[path], name: {option: value}})
        if not _told(response, f"{name}.{option}"):
            acts.add(option)
    assert acts == ACTS[path]


@pytest.mark.parametrize("path", BODIES)
async def test_no_parameter_is_swallowed(client, path):
    """One that nobody knows is named at every door, and one that is off is not."""
    response = await client().post(path, json={"model": "coterie", **BODIES[path], "odd": 1, "off": None})
    assert (response.status_code, response.headers.get("x-coterie-ignored")) == (200, "odd")


async def test_a_number_that_is_0_is_named(client):
    """A temperature or a seed of 0 is a wish as any other."""
    response = await client().post(
        "/v1/chat/completions", json={"model": "coterie", **TURNS, "temperature": 0, "seed": 0, "store": False}
    )
    assert response.headers["x-coterie-ignored"] == "seed, temperature"


@pytest.mark.parametrize("stream", [False, True])
async def test_options_of_a_stream_that_is_none_are_named(client, stream):
    """They act on streams alone."""
    body = {"model": "coterie", **TURNS, "stream": stream, "stream_options": {"include_usage": True}}
    response = await client().post("/v1/chat/completions", json=body)
    assert response.headers.get("x-coterie-ignored") == (None if stream else "stream_options.include_usage")


def _server(**section):
    section = OpenAIModel(engine="openai", name="big", base_url="http://up.example/v1", **section)
    transport = ScriptedTransport(lambda request: ScriptedAnswer(status=200, headers={}, body=b"{}"))
    return Gate(ClearancePolicy()).open("large", section, transport=transport)


async def test_quality_and_budget_where_they_act(client, network):
    """A quality needs thresholds, a budget something that leaves the machine."""
    outcomes = CalibrationOutcomes(confidence=np.full(9, 0.9), right=np.ones(9, bool), group=np.arange(9))
    network.policy = CostQualityPolicy(known={"triage": outcomes})
    network.engines = (_server(),)
    for option in ("quality", "budget"):
        response = await client().post(
            "/v1/chat/completions", json={"model": "coterie", **TURNS, "coterie": {option: OPTIONS[option]}}
        )
        assert "x-coterie-ignored" not in response.headers


async def test_what_is_passed_on_as_it_is(client, network):
    """The label in the object holds as that of the header does, the higher of both; the rest is named."""
    network.models = {
        "large": RelayModel(
            engine=_server(clearance=Label.INTERNAL, price_in="0", price_out="0"), name="big", window=64
        )
    }
    body = {"model": "large", **TURNS, "coterie": {"label": "internal", "budget": str(Decimal(1)), "session": "a"}}
    response = await client().post("/v1/chat/completions", json=body)
    assert (response.status_code, response.headers["x-coterie-ignored"]) == (200, "coterie.session")
    body["coterie"]["label"] = "restricted"
    for headers in ({}, {"x-coterie-label": "public"}):
        response = await client().post("/v1/chat/completions", json=body, headers=headers)
        assert (response.status_code, response.json()["error"]["code"]) == (403, "egress_refused")
    body["coterie"]["label"] = "odd"
    response = await client().post("/v1/chat/completions", json=body)
    assert (response.status_code, response.json()["error"]["param"]) == (400, "coterie.label")
