"""`POST /api/feedback`: what a caller says of an answer."""

from dataclasses import replace

import pytest

from coterie.errors import AuditError
from coterie.gateway.wire import FeedbackKept
from coterie.types import Feedback


async def answered(http, chat_body):
    """The trace id of an answer."""
    response = await http.post("/v1/chat/completions", json=chat_body("I lost my card"))
    return response.json()["coterie"]["trace_id"]


async def test_kept(client, network, chat_body):
    """A thumb, the value that would have been right and a comment reach the store, and are counted."""
    http = client()
    trace_id = await answered(http, chat_body)
    body = {"trace_id": trace_id, "thumb": "down", "value": ["card_stolen"], "comment": "no", "specialist": "triage"}
    response = await http.post("/api/feedback", json=body)
    assert FeedbackKept.model_validate(response.json()).trace_id == trace_id
    assert network.store.feedbacks == [
        Feedback(
            trace_id=trace_id,
            time=1_700_000_000.5,
            thumb="down",
            value=("card_stolen",),
            comment="no",
            specialist="triage",
        )
    ]
    assert 'coterie_feedback_total{thumb="down"} 1.0' in (await http.get("/metrics")).text


@pytest.mark.parametrize("value", ["card_lost", 3, 0.5, True])
async def test_values(client, network, chat_body, value):
    """A value alone is enough, whatever its type."""
    http = client()
    trace_id = await answered(http, chat_body)
    assert (await http.post("/api/feedback", json={"trace_id": trace_id, "value": value})).status_code == 200
    assert network.store.feedbacks[0].value == value


@pytest.mark.parametrize(
    ("said", "status"),
    [(("up", "card_stolen"), 400), (("down", "card_lost"), 400), (("up", "card_lost"), 200)],
)
async def test_a_thumb_and_a_value_agree(client, network, chat_body, said, status):
    """Right with another value and wrong with the same one are refused, and not kept."""
    triage = network.specialists["triage"]
    triage.card = replace(triage.card, form="label")
    http = client()
    trace_id = await answered(http, chat_body)
    response = await http.post("/api/feedback", json={"trace_id": trace_id, "thumb": said[0], "value": said[1]})
    assert (response.status_code, len(network.store.feedbacks)) == (status, int(status == 200))


async def test_stranger(client, network, chat_body):
    """Another tenant's trace is answered like one that never was."""
    http = client()
    trace_id = await answered(http, chat_body)
    object.__setattr__(network.store.settled[trace_id].trace, "tenant", "somebody else")
    theirs = await http.post("/api/feedback", json={"trace_id": trace_id, "thumb": "up"})
    nobodys = await http.post("/api/feedback", json={"trace_id": "0" * 32, "thumb": "up"})
    assert theirs.status_code == nobodys.status_code == 404
    assert theirs.text.replace(trace_id, "0" * 32) == nobodys.text
    assert network.store.feedbacks == []


@pytest.mark.parametrize(
    "body",
    [
        {"thumb": "up"},
        {"trace_id": "t"},
        {"trace_id": "t", "comment": "  "},
        {"trace_id": "t", "thumb": "sideways"},
        {"trace_id": "t", "thumb": "up", "stars": 5},
        {"trace_id": "t", "value": {"a": 1}},
        {"trace_id": "t", "value": []},
        {"trace_id": "t", "value": [1]},
        {"trace_id": "t", "comment": "x" * 10_001},
    ],
)
async def test_refused(client, network, body):
    """What says nothing, or nothing that can be kept, is a 400 with the reason."""
    response = await client().post("/api/feedback", json=body)
    assert response.status_code == 400
    assert response.json()["error"]["message"]
    assert network.store.feedbacks == []


async def test_written_down(client, network, chat_body, notes):
    """The audit log says who called which answer right or wrong, and holds a hash of what they wrote."""
    http = client()
    trace_id = await answered(http, chat_body)
    network.audit = notes()
    body = {"trace_id": trace_id, "thumb": "down", "value": "card_stolen", "comment": "Anna", "specialist": "triage"}
    assert (await http.post("/api/feedback", json=body)).status_code == 200

    (event,) = network.audit.events
    assert (event.kind, event.tenant, event.time) == ("feedback", "default", 1_700_000_000.5)
    assert event.about == {
        "trace": trace_id,
        "key": "",
        "thumb": "down",
        "specialist": "triage",
        "value": "<11>",
        "comment": "<4>",
    }


async def test_refused_and_written_down(client, network, notes):
    """Who speaks of a trace that is not theirs to know stands there too, and what they called it as a hash."""
    network.audit = notes()
    for trace_id in ("0" * 32, "anna@example.org"):
        body = {"trace_id": trace_id, "thumb": "up", "specialist": "Anna"}
        assert (await client().post("/api/feedback", json=body)).status_code == 404

    assert [(event.kind, event.about) for event in network.audit.events] == [
        ("feedback_refused", {"trace": "<32>", "key": "", "reason": "trace_not_found"}),
        ("feedback_refused", {"trace": "<16>", "key": "", "reason": "trace_not_found"}),
    ]


async def test_not_kept_unless_written_down(client, network, chat_body, notes):
    """Where the log cannot be written, the caller is told so."""
    http = client()
    trace_id = await answered(http, chat_body)
    network.audit = notes(AuditError("the disk is full"))
    response = await http.post("/api/feedback", json={"trace_id": trace_id, "thumb": "up"})
    assert response.status_code == 503
