"""`POST /v1/rerank` and `POST /v1/score`."""

import numpy as np
import pytest

from coterie.gateway.openai.embeddings import RerankResponse, ScoreResponse, likeness
from coterie.types import Output


async def test_documents_in_their_order(client):
    """The best first, by place and text; equal ones keep the order of the request; `top_n` cuts."""
    body = {"model": "coterie", "query": "aaa", "documents": ["eee", {"text": "a"}, "aae", "aa"]}
    document = (await client().post("/v1/rerank", json=body)).json()
    RerankResponse.model_validate(document)
    assert [(entry["index"], entry["document"]["text"]) for entry in document["results"]] == [
        (1, "a"),
        (3, "aa"),
        (2, "aae"),
        (0, "eee"),
    ]
    assert document["usage"]["total_tokens"] == 5
    short = (await client().post("/v1/rerank", json={**body, "top_n": 2, "return_documents": False})).json()
    assert [entry["index"] for entry in short["results"]] == [1, 3]
    assert "document" not in short["results"][0]


async def test_scores_of_pairs(client):
    """One text against several, or pair by pair, in the order of the request."""
    document = (await client().post("/v1/score", json={"model": "coterie", "text_1": "a", "text_2": ["a", "e"]})).json()
    ScoreResponse.model_validate(document)
    assert [entry["score"] for entry in document["data"]] == [1.0, 0.5]
    pairs = {"model": "coterie", "text_1": ["a", "e"], "text_2": ["e", "e"]}
    assert [entry["score"] for entry in (await client().post("/v1/score", json=pairs)).json()["data"]] == [0.5, 1.0]


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("rerank", {"query": "a", "documents": []}, "documents"),
        ("rerank", {"query": " ", "documents": ["a"]}, "query"),
        ("rerank", {"query": "a", "documents": ["a", ""]}, "documents[1]"),
        ("rerank", {"query": "a", "documents": ["a"] * 2048}, "documents"),
        ("rerank", {"query": "a", "documents": ["a"], "top_n": 0}, "top_n"),
        ("score", {"text_1": ["a", "b"], "text_2": ["a", "b", "c"]}, "text_1"),
        ("score", {"text_1": "a"}, "text_2"),
    ],
)
async def test_what_cannot_be_scored(client, path, body, param):
    """Nothing, too many and texts that do not pair up: 400 with the place."""
    response = await client().post(f"/v1/{path}", json={"model": "coterie", **body})
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


async def test_another_model(client):
    """Only the network's encoder scores."""
    body = {"model": "bge", "query": "a", "documents": ["a"]}
    assert (await client().post("/v1/rerank", json=body)).status_code == 404


async def test_written_down(client, network, notes):
    """The audit log says who had what scored, by a hash."""
    network.audit = notes()
    await client().post("/v1/rerank", json={"model": "coterie", "query": "a", "documents": ["a tea"]})
    (event,) = network.audit.events
    assert (event.kind, event.about["texts"], event.about["asked"]) == ("rerank", 2, "<7>")


def test_tokens_count():
    """A text that has each token of the query is ahead of one that is alike as a whole only."""
    query = Output(vector=np.array([1.0, 0.0]), states=np.eye(3)[:2])
    whole = Output(vector=np.array([1.0, 0.0]), states=np.eye(3)[2:])
    tokens = Output(vector=np.array([1.0, 0.0]), states=np.eye(3))
    assert likeness(query, tokens) == 1.0
    assert likeness(query, whole) == 0.75
