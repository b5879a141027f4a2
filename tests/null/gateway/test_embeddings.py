"""`POST /v1/embeddings`."""

import base64

import numpy as np
import pytest

from coterie.errors import AuditError
from coterie.gateway.wire import Embeddings, Error

PATH = "/v1/embeddings"


async def test_a_text_has_a_vector(client):
    """As a list of numbers, with the tokens that were read."""
    response = await client().post(PATH, json={"model": "coterie", "input": "a tea"})
    body = response.json()
    Embeddings.model_validate(body)
    assert body == {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": [2.0, 1.0, 0.0, 0.0]}],
        "model": "coterie",
        "usage": {"prompt_tokens": 2, "total_tokens": 2},
    }


async def test_base64_is_little_endian_float32(client):
    """What the openai client asks for unless told otherwise."""
    given = {"model": "coterie", "input": ["a", "ee"], "encoding_format": "base64"}
    data = (await client().post(PATH, json=given)).json()["data"]
    vectors = [np.frombuffer(base64.b64decode(item["embedding"]), dtype="<f4").tolist() for item in data]
    assert vectors == [[1, 0, 0, 0], [0, 2, 0, 0]]


async def test_written_down(client, network, notes):
    """The audit log says who had how many texts encoded and what it cost, with a hash of them; no text stands in it."""
    network.audit = notes()
    await client().post(PATH, json={"model": "coterie", "input": ["a tea", "two"]})
    (event,) = network.audit.events
    assert (event.kind, event.tenant, event.time) == ("embed", "default", 1_700_000_000.5)
    assert event.about == {"key": "", "texts": 2, "asked": "<9>", "encoder": network.encoder.name, "cost": "0.02"}


async def test_no_vectors_that_nobody_wrote_down(client, network, notes):
    """Where the log cannot be written, there is no answer."""
    network.audit = notes(AuditError("the disk is full"))
    response = await client().post(PATH, json={"model": "coterie", "input": "a tea"})
    assert response.status_code == 503
    assert "data" not in response.json()


async def test_counted(client):
    """Tokens, energy and money of embeddings are in the counters, as the producer `embeddings`."""
    http = client()
    await http.post(PATH, json={"model": "coterie", "input": ["a tea", "two"]})
    counters = (await http.get("/metrics")).text
    assert 'coterie_step_joules_total{producer="embeddings"} 2.0' in counters
    assert 'coterie_step_cost_total{producer="embeddings"} 0.02' in counters
    assert 'coterie_tokens_total{direction="in"} 3.0' in counters
    assert "coterie_answers_total{" not in counters


async def test_many_texts_keep_their_order_and_leave_room_for_others(client, network):
    """They are encoded in slices, and numbered throughout."""
    texts = ["a" * (n % 5 + 1) for n in range(70)]
    data = (await client().post(PATH, json={"model": "coterie", "input": texts})).json()["data"]
    assert [item["index"] for item in data] == list(range(70))
    assert [item["embedding"][0] for item in data] == [len(text) for text in texts]
    assert network.encoder.batches == [32, 32, 6]


@pytest.mark.parametrize(
    ("more", "status", "code", "param"),
    [
        ({"input": ""}, 400, "invalid_request", "input[0]"),
        ({"input": ["a", " "]}, 400, "invalid_request", "input[1]"),
        ({"input": []}, 400, "invalid_request", "input"),
        ({"input": ["a"] * 2049}, 400, "invalid_request", "input"),
        ({"input": [1, 2]}, 400, "unsupported_content", "input"),
        ({"input": [[1, 2], [3]]}, 400, "unsupported_content", "input"),
        ({"input": None}, 400, "invalid_request", "input"),
        ({"input": {"a": 1}}, 400, "invalid_request", "input"),
        ({"input": "a", "encoding_format": "hex"}, 400, "invalid_request", "encoding_format"),
        ({"input": "a", "dimensions": 3}, 400, "unsupported_parameter", "dimensions"),
        ({"input": "a", "model": "text-embedding-3-small"}, 404, "model_not_found", "model"),
        ({"input": "a", "model": "coterie/triage"}, 404, "model_not_found", "model"),
    ],
)
async def test_what_cannot_be_encoded(client, more, status, code, param):
    """Each is refused with its place."""
    response = await client().post(PATH, json={"model": "coterie", **more})
    Error.model_validate(response.json())
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (status, code, param)


async def test_the_encoders_own_dimensions_may_be_asked_for(client):
    """It is what it has."""
    given = {"model": "coterie", "input": "a", "dimensions": 4}
    assert (await client().post(PATH, json=given)).status_code == 200
