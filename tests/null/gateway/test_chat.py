"""`POST /v1/chat/completions` in one piece."""

import asyncio
import json

import httpx
import pytest

from coterie.errors import (
    ArtefactRefused,
    EgressRefused,
    EngineRejected,
    EngineTimeout,
    EngineUnavailable,
    Overloaded,
    StoreError,
    TooLong,
)
from coterie.gateway.wire import ChatCompletion, Error
from coterie.types import Label, Verdict, worded


async def test_an_answer_has_openais_shape_and_ours(client, chat_body):
    """The answer, its tokens and the `coterie` object, as the wire models describe them."""
    response = await client().post("/v1/chat/completions", json=chat_body("I lost my card"))
    assert response.status_code == 200
    body = response.json()
    ChatCompletion.model_validate(body)
    assert body["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "card_lost", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    assert body["usage"] == {"prompt_tokens": 5, "completion_tokens": 0, "total_tokens": 5}
    assert (body["model"], body["created"]) == ("coterie", 1_700_000_000)
    extension = body["coterie"]
    assert response.headers["x-coterie-trace"] == extension["trace_id"]
    assert body["id"] == f"chatcmpl-{extension['trace_id']}"
    assert (extension["status"], extension["accepted"]) == ("accepted", True)
    assert extension["route"] == {
        "specialists": ["triage"],
        "reason": "triage scores 0.9",
        "reason_code": "text",
        "reason_values": {"text": "triage scores 0.9"},
        "scores": {"triage": 0.9},
    }
    assert extension["findings"] == [
        {
            "specialist": "triage",
            "value": "card_lost",
            "text": "card_lost",
            "confidence": 0.97,
            "accepted": True,
            "reason": "0.97 is at least the threshold 0.60",
            "reason_code": "text",
            "reason_values": {"text": "0.97 is at least the threshold 0.60"},
            "evidence": [
                {
                    "kind": "alternative",
                    "name": "card_stolen",
                    "text": "card_stolen",
                    "weight": 0.02,
                    "start": None,
                    "end": None,
                }
            ],
        }
    ]
    assert extension["usage"].pop("milliseconds") > 0
    assert extension["usage"] == {
        "joules": 1.0,
        "joules_kind": "estimated",
        "cost": 0.01,
        "counterfactual_cost": 0.25,
    }


async def test_an_answer_that_was_cut_says_so(client, chat_body):
    """`finish_reason` is the length where the text ends because it might be no longer."""
    answers = [await client().post("/v1/chat/completions", json=chat_body("write", max_tokens=n)) for n in (4, 5)]

    assert [ChatCompletion.model_validate(answer.json()).choices[0].finish_reason for answer in answers] == [
        "length",
        "stop",
    ]


async def test_what_nobody_can_answer_is_said(client, chat_body):
    """An abstention is a refusal that says why."""
    body = (await client().post("/v1/chat/completions", json=chat_body("weather?"))).json()
    assert body["coterie"]["accepted"] is False
    message = body["choices"][0]["message"]
    assert message["content"] is None
    assert "0.5" in message["refusal"]
    assert body["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("by", ["file", "request"])
async def test_an_abstention_looks_as_asked_for(client, chat_body, read_events, by):
    """As text, as a status or with a finish reason; the file says so, or the request."""

    async def ask(how, **more):
        if by == "request":
            return await client().post(
                "/v1/chat/completions", json=chat_body("weather?", coterie={"abstain": how}, **more)
            )
        return await client(abstain=how).post("/v1/chat/completions", json=chat_body("weather?", **more))

    refusal = "Not answered: no specialist scores above 0.5."
    message = (await ask("text")).json()["choices"][0]["message"]
    assert (message["content"], message["refusal"]) == (refusal, None)
    for stream in (False, True):
        response = await ask("status", stream=stream)
        assert (response.status_code, response.json()["error"]["code"]) == (422, "abstained")
    if by == "request":
        assert (await ask("content_filter")).json()["choices"][0]["finish_reason"] == "content_filter"
    chunks = read_events((await ask("refusal", stream=True)).text)
    assert [chunk["choices"][0]["delta"].get("refusal") for chunk in chunks] == [None, refusal, None]
    assert all(not chunk["choices"][0]["delta"].get("content") for chunk in chunks)


async def test_what_had_no_effect_is_named(client, chat_body):
    """Sampling acts where a model writes, and is named where none did; a name that no header can have is left out."""
    more = {"temperature": 0.5, "stop": ["x"], "tools": [{"type": "function", "function": {"name": "f"}}], "a\nb": 1}
    for stream in (False, True):
        chosen = await client().post("/v1/chat/completions", json=chat_body("card", stream=stream, **more))
        assert chosen.headers["x-coterie-ignored"] == "stop, temperature, tools"
        written = await client().post("/v1/chat/completions", json=chat_body("write", stream=stream, **more))
        assert written.headers["x-coterie-ignored"] == "tools"


async def test_a_pinned_specialist_is_asked(client, chat_body):
    """`coterie/NAME` skips the router."""
    body = (await client().post("/v1/chat/completions", json=chat_body("weather?", model="coterie/reply"))).json()
    assert body["choices"][0]["message"]["content"] == "Your card is blocked."
    assert body["model"] == "coterie/reply"


async def test_an_unknown_model_is_404(client, chat_body):
    """As at OpenAI, with the models there are."""
    response = await client().post("/v1/chat/completions", json=chat_body("Hi", model="gpt-4o"))
    assert response.status_code == 404
    assert response.json()["error"] == {
        "message": "Asked for model 'gpt-4o'; there are 'coterie', 'coterie/reply', 'coterie/triage'.",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }


async def test_an_unknown_key_of_ours_is_called_one(client, chat_body):
    """A slip in the `coterie` object is named, with where the keys are listed."""
    response = await client().post("/v1/chat/completions", json=chat_body("hi", coterie={"sesion": "anna"}))

    assert response.status_code == 400
    assert response.json()["error"]["param"] == "coterie.sesion"
    assert "no such key; GET /openapi.json lists" in response.json()["error"]["message"]


async def test_columns_and_label_reach_the_specialist(client, network, chat_body):
    """Both from the extension, and columns also as JSON in the message."""
    extension = {"label": "confidential", "columns": {"amount": 5}}
    await client().post("/v1/chat/completions", json=chat_body("risk?", coterie=extension))
    await client().post("/v1/chat/completions", json=chat_body('risk? {"amount": 6}'))
    first, second = network.specialists["triage"].asked
    assert (first.label, first.columns) == (Label.CONFIDENTIAL, {"amount": 5})
    assert (second.text, second.columns) == ("risk?", {"amount": 6})


async def test_a_session_is_remembered(client, network, chat_body):
    """The exchange is in the session's context afterwards."""
    await client().post("/v1/chat/completions", json=chat_body("I lost my card", coterie={"session": "s"}))
    context = await network.store.context("s", "default")
    assert [entry.producer for entry in context.entries] == ["user", "triage", "triage", "lender"]


def _refused(name):
    return EgressRefused(Verdict(allowed=False, rule="egress.clearance", reason=worded(f"{name} is above")))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Overloaded("full", retry_after=2.2), (429, "overloaded")),
        (StoreError("disk full"), (503, "store_error")),
        (ArtefactRefused("changed"), (503, "artefact_refused")),
        (RuntimeError("secret text of a customer"), (500, "internal_error")),
        (MemoryError(), (500, "internal_error")),
    ],
)
async def test_errors_have_statuses_and_codes(client, network, chat_body, error, expected):
    """Whose mistake it is shows in the status; nothing of ours or of the caller's leaks."""

    def fail():
        raise error

    network.store.trouble = fail
    response = await client().post("/v1/chat/completions", json=chat_body("Hi"))
    Error.model_validate(response.json())
    assert (response.status_code, response.json()["error"]["code"]) == expected
    assert "secret" not in response.text
    assert "Traceback" not in response.text
    if response.status_code == 429:
        assert response.headers["retry-after"] == "3"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (TooLong("9 tokens"), (400, "too_long")),
        (_refused("it"), (403, "egress_refused")),
        (EngineTimeout("30 s", engine="llm"), (504, "engine_timeout")),
        (EngineUnavailable("down", engine="llm", retry_after=9), (502, "engine_unavailable")),
        (EngineRejected("no", engine="llm"), (502, "engine_rejected")),
    ],
)
async def test_errors_of_engines_and_rules_have_statuses_and_codes(client, network, chat_body, error, expected):
    """Those that leave the network, as the router's do."""

    async def route(request, context, *, call):
        raise error

    network.router.route = route
    response = await client().post("/v1/chat/completions", json=chat_body("Hi"))
    assert (response.status_code, response.json()["error"]["code"]) == expected


async def test_an_internal_error_is_logged_without_its_message(client, network, chat_body, caplog):
    """The log says what and where; what the caller sent stays out of it."""

    def fail():
        raise ValueError(f"could not convert {' '.join(['my', 'secret'])}")

    network.store.trouble = fail
    await client().post("/v1/chat/completions", json=chat_body("Hi"))
    assert "ValueError" in caplog.text
    assert "test_chat.py" in caplog.text
    assert "my secret" not in caplog.text


async def test_the_queue_is_bounded(client, network, chat_body):
    """One at work, one waiting: the third gets 429 with Retry-After, the others their answers."""
    release, entered = asyncio.Event(), asyncio.Event()

    async def wait():
        entered.set()
        await release.wait()

    network.specialists["triage"].trouble = lambda task: wait()
    async with client(concurrency=1, queue=1) as http:
        ask = [asyncio.create_task(http.post("/v1/chat/completions", json=chat_body("Hi"))) for _ in range(2)]
        await entered.wait()
        third = await http.post("/v1/chat/completions", json=chat_body("Hi"))
        assert third.status_code == 429
        assert int(third.headers["retry-after"]) >= 1
        metrics = (await http.get("/metrics")).text
        release.set()
        assert [response.status_code for response in await asyncio.gather(*ask)] == [200, 200]
    assert "coterie_working 1.0" in metrics
    assert "coterie_waiting 1.0" in metrics
    assert "coterie_rejected_total 1.0" in metrics


async def test_a_caller_who_leaves_is_worked_for_no_longer(client, network, chat_body, call):
    """The work is cancelled, the place is free, and the next is served."""
    entered, cut = asyncio.Event(), []

    async def wait():
        entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cut.append(True)
            raise

    network.specialists["triage"].trouble = lambda task: wait()
    http = client(concurrency=1, queue=0)
    caller = call(http.app, "/v1/chat/completions", json.dumps(chat_body("Hi")).encode())
    running = asyncio.create_task(caller.run())
    await entered.wait()
    caller.gone.set()
    await running
    assert (cut, caller.sent) == ([True], [])
    network.specialists["triage"].trouble = lambda task: None
    assert (await http.post("/v1/chat/completions", json=chat_body("Hi"))).status_code == 200
    assert (
        'coterie_requests_total{endpoint="/v1/chat/completions",status="499"} 1.0' in (await http.get("/metrics")).text
    )


async def test_a_draining_gateway_takes_no_more_work(client, chat_body):
    """It says so with 503, also at `/readyz`; it is still alive."""
    http: httpx.AsyncClient = client()
    assert (await http.get("/readyz")).status_code == 200
    http.app.state.gateway.draining = True
    response = await http.post("/v1/chat/completions", json=chat_body("Hi"))
    assert (response.status_code, response.json()["error"]["code"]) == (503, "shutting_down")
    assert ((await http.get("/readyz")).status_code, (await http.get("/healthz")).status_code) == (503, 200)


async def test_what_a_drained_gateway_counted_is_told_to_the_other_workers(client, monkeypatch):
    """They go on telling it when this one is gone: nothing waits for a second that does not come."""
    gateway = client().app.state.gateway
    draining = []
    monkeypatch.setattr(gateway.metrics, "refresh", lambda: draining.append(gateway.draining))
    await gateway.drain()
    assert draining == [True]


async def test_a_request_cut_off_by_draining_is_told_so(client, network, chat_body, call):
    """When its time is over it gets 503 and what it spent is settled."""
    entered = asyncio.Event()

    async def wait():
        entered.set()
        await asyncio.Event().wait()

    network.specialists["triage"].trouble = lambda task: wait()
    http = client()
    caller = call(http.app, "/v1/chat/completions", json.dumps(chat_body("Hi")).encode())
    running = asyncio.create_task(caller.run())
    await entered.wait()
    http.app.state.gateway.draining = True
    running.cancel()
    await running
    assert caller.status == 503
    assert json.loads(caller.text)["error"]["code"] == "shutting_down"
    assert len(network.store.settled) == 1
    await http.app.state.gateway.admission.empty()
