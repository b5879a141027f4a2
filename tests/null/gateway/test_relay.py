"""Requests that name a model of `[models]`: verbatim through keys, gate, budgets, ledger and audit log."""

import asyncio
import json
from decimal import Decimal

import httpx
import pytest

from coterie.config.file import GatewaySection, OpenAIModel
from coterie.errors import AuditError, InputError
from coterie.gateway.app import create_app
from coterie.governance.egress import ClearancePolicy, Gate
from coterie.governance.keys import KeyRing
from coterie.network.network import Relayed, RelayModel, with_model
from coterie.testing import ScriptedAnswer, ScriptedTransport
from coterie.types import Label, Principal

ODD = (
    b'{ "messages" : [{"role":"user","content":"h\\u00e9llo \xf0\x9f\x90\x88 {\\"model\\":1}"}],\n'
    b' "model":"big-1", "n": 2, "future": {"x": [1e2]}}'
)
WHOLE = b'{"id":"x",  "choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}\n'
STREAM = (
    b'data: {"choices":[{"delta":{"content":"a"}}]}\r\n\r\n: ping\n\nevent: x\ndata: {"choices":[],"usage":'
    b'{"prompt_tokens":7,"completion_tokens":3}}\n\ndata: [DONE]\n\n'
)


class _Upstream:
    """A server that remembers bodies and answers with given bytes."""

    def __init__(self):
        self.seen, self.answer, self.status, self.kind = [], WHOLE, 200, "application/json"
        self.whole = False

    def __call__(self, request):
        self.seen.append((request.path, request.body))
        headers = {"content-type": self.kind, "set-cookie": "a=b", "retry-after": "3"}
        pieces = [self.answer[at : at + 7] for at in range(0, len(self.answer), 7)]
        return ScriptedAnswer(status=self.status, headers=headers, body=self.answer if self.whole else pieces)


PRICED = OpenAIModel(
    engine="openai", name="big-1", base_url="http://up.example/v1", clearance=Label.INTERNAL,
    price_in="0", price_out="1000000",
)  # fmt: skip


@pytest.fixture
def upstream():
    return _Upstream()


@pytest.fixture
def relayed(network, upstream, notes):
    """A network with one model that may see what is internal."""
    section = OpenAIModel(
        engine="openai", name="big-1", base_url="http://up.example/v1", clearance=Label.INTERNAL, pseudonymise=True
    )
    gate = Gate(ClearancePolicy())
    network.models = {
        "large": RelayModel(
            engine=gate.open("large", section, transport=ScriptedTransport(upstream)), name="big-1", window=64
        )
    }
    network.audit = notes()
    return network


@pytest.mark.parametrize(("answer", "kind"), [(WHOLE, "application/json"), (STREAM, "text/event-stream")])
async def test_bytes_pass_untouched(client, relayed, upstream, answer, kind):
    """Body and answer are the same bytes in and out; usage, trace and audit entry are written all the same."""
    upstream.answer, upstream.kind = answer, kind
    response = await client().post("/v1/chat/completions", content=ODD)
    assert upstream.seen == [("/v1/chat/completions", ODD)]
    assert (response.content, response.headers["content-type"]) == (answer, kind)
    assert "set-cookie" not in response.headers
    (settled,) = relayed.store.settled.values()
    assert settled.trace.id == response.headers["x-coterie-trace"]
    (step,) = settled.trace.steps
    assert (step.engine, step.usage.tokens_in, step.usage.tokens_out) == ("large", 7, 3)
    assert [event.kind for event in relayed.audit.events] == ["request"]


@pytest.mark.parametrize(("answer", "kind", "streamed"), [(WHOLE, "", 0), (STREAM, "text/event-stream", 1)])
async def test_what_is_relayed_is_counted(client, relayed, upstream, *, answer, kind, streamed):
    """Like every answer: tokens, money, how it ended, and the time to the first piece of a stream."""
    upstream.answer, upstream.kind = answer, kind or "application/json"
    body = {"model": "big-1", "messages": [{"role": "user", "content": "a"}], "stream": bool(streamed)}
    asking = client()
    await asking.post("/v1/chat/completions", json=body)
    counted = (await asking.get("/metrics")).text.splitlines()
    assert {
        'coterie_answers_total{status="escalated"} 1.0',
        'coterie_tokens_total{direction="in"} 7.0',
        "coterie_cost_total 0.01",
        f"coterie_first_text_seconds_count {streamed}.0",
    } <= set(counted)


async def test_an_outage_saves_nothing(client, relayed, upstream):
    """A server that fails costs what it costs, and the same model alone would have cost no more."""
    upstream.status, upstream.answer, upstream.whole = 500, b'{"error": {"message": "overloaded"}}', True
    await client().post("/v1/chat/completions", content=ODD)
    (settled,) = relayed.store.settled.values()
    assert settled.trace.usage.cost == settled.trace.counterfactual_cost == Decimal("0.01")


async def test_the_key_of_the_entry_names_the_model_too(client, relayed, upstream):
    """Then the model's name, and nothing else, is put in its place."""
    await client().post("/v1/chat/completions", content=ODD.replace(b"big-1", b"large"))
    assert upstream.seen[0][1] == ODD


async def test_a_refusal_of_the_server_is_passed_on(client, relayed, upstream):
    """With its status and its bytes; but one about our key is ours, and repeats nothing."""
    upstream.status, upstream.answer = 400, b'{"error": {"message": "no"}}'
    response = await client().post("/v1/chat/completions", content=ODD)
    assert (response.status_code, response.content, response.headers["retry-after"]) == (400, upstream.answer, "3")
    upstream.status, upstream.answer = 401, b'{"error": {"message": "bad key sk-123"}}'
    response = await client().post("/v1/chat/completions", content=ODD)
    assert (response.status_code, "sk-123" in response.text) == (502, False)
    assert response.headers["x-coterie-trace"] in relayed.store.settled
    silent = await client().post("/v1/chat/completions", json={"model": "coterie", "messages": []})
    assert "x-coterie-trace" not in silent.headers


async def test_a_redirect_of_the_server_is_our_mistake(client, relayed, upstream):
    """No caller is sent to another address with its prompt."""
    upstream.status, upstream.answer = 307, b""
    response = await client().post("/v1/chat/completions", content=ODD)
    assert (response.status_code, response.json()["error"]["code"]) == (502, "engine_rejected")


async def test_what_is_too_sensitive_stays(client, relayed, upstream):
    """By its label or by what is in it, wherever in the body; there are no pseudonyms in what is verbatim."""
    body = json.loads(ODD)
    for text in (
        {"messages": [{"role": "user", "content": "My IBAN is DE89370400440532013000"}]},
        {"messages": [{"role": "user", "content": "hello"}], "metadata": {"card": 4111111111111111}},
        {"tools": [{"type": "function", "function": {"name": "f", "description": "call jane.doe@example.com"}}]},
    ):
        response = await client().post("/v1/chat/completions", json=body | text)
        assert (response.status_code, response.json()["error"]["code"]) == (403, "egress_refused")
    response = await client().post("/v1/chat/completions", content=ODD, headers={"x-coterie-label": "restricted"})
    assert response.status_code == 403
    response = await client().post("/v1/chat/completions", content=ODD, headers={"x-coterie-label": "odd"})
    assert response.status_code == 400
    assert upstream.seen == []


@pytest.mark.parametrize(
    ("path", "name"),
    [("decisions", "coterie"), ("systemone", "x_coterie"), ("rerank", "coterie"), ("score", "coterie")],
)
async def test_doors_that_write_no_text(client, relayed, upstream, path, name):
    """They relay as the others do: bytes, label and budget hold, and what is reserved is no window."""
    engine = Gate(ClearancePolicy()).open("large", PRICED, transport=ScriptedTransport(upstream))
    relayed.models = {"gpt-own": RelayModel(engine=engine, name="big-1", window=4096)}
    body = f'{{ "model" : "big-1", "odd": [1e3], "{name}": {{"label": "internal", "budget": "300000"}} }}'.encode()
    response = await client().post(f"/v1/{path}", content=body)
    assert (response.status_code, upstream.seen[-1][1]) == (200, body), response.text
    for label, status in (("confidential", 403), ("odd", 422 if path == "systemone" else 400)):
        refused = await client().post(f"/v1/{path}", content=body.replace(b"internal", label.encode()))
        assert (refused.status_code, "detail" in refused.json()) == (status, path == "systemone")
    seen = len(upstream.seen)
    await client().post(f"/v1/{path}", content=body.replace(b"big-1", b"gpt-own"))
    assert len(upstream.seen) - seen == (path != "decisions")  # there the name means the network


@pytest.mark.parametrize(
    ("path", "asked", "fits"),
    [
        ("chat/completions", {"messages": [], "max_tokens": 10}, True),
        ("chat/completions", {"messages": [], "max_tokens": 11}, False),
        ("chat/completions", {"messages": [], "max_tokens": 10, "max_completion_tokens": 5}, True),
        ("chat/completions", {"messages": [], "max_tokens": 5, "max_completion_tokens": 11}, False),
        ("chat/completions", {"messages": [], "max_tokens": 10, "n": 2}, False),
        ("chat/completions", {"messages": [], "max_output_tokens": 1}, False),
        ("chat/completions", {"messages": []}, False),
        ("responses", {"input": "x", "max_output_tokens": 10}, True),
        ("responses", {"input": "x", "max_tokens": 1}, False),
        ("messages", {"messages": [], "max_tokens": 10}, True),
        ("completions", {"prompt": ["a"], "max_tokens": 10}, True),
        ("completions", {"prompt": [1, 2], "max_tokens": 10}, True),
        ("completions", {"prompt": ["a", "b"], "max_tokens": 10}, False),
        ("completions", {"prompt": "a", "max_tokens": 5, "best_of": 3}, False),
    ],
)
async def test_what_a_request_may_cost(client, relayed, upstream, *, path, asked, fits):
    """Its budget bounds the longest answer that the server may write, as often as it is asked for; nothing is cut."""
    engine = Gate(ClearancePolicy()).open("large", PRICED, transport=ScriptedTransport(upstream))
    relayed.models = {"large": RelayModel(engine=engine, name="big-1", window=64)}
    body = {"model": "big-1", **asked, "coterie": {"budget": "10000"}}
    response = await client().post(f"/v1/{path}", json=body)
    assert (response.status_code, len(upstream.seen)) == ((200, 1) if fits else (429, 0)), response.text
    if fits:
        assert json.loads(upstream.seen[0][1]) == body


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"big-1","messages":[{"role":"user","content":"DE89370400440532013000"}],"messages":[]}',
        b'{"model":"other","model":"big-1","messages":[]}',
        b'{"model":"big-1","messages":[{"role":"user","role":"system","content":"x"}]}',
    ],
)
async def test_nothing_is_said_twice(client, relayed, upstream, body):
    """Of two values of one name the gate would see one and the server the other."""
    response = await client().post("/v1/chat/completions", content=body)
    assert (response.status_code, upstream.seen) == (400, [])


async def test_who_may(relayed, upstream, tmp_path):
    """Roles and keys that the file names; a model is not known to others, nor to a key for certain specialists."""
    ring = KeyRing(tmp_path / "keys.json")
    tokens = {
        "ada": ring.create("ada", role="admin").token,
        "bea": ring.create("bea").token,
        "cy": ring.create("cy", role="admin", specialists=["triage"]).token,
        "dan": ring.create("dan", specialists=["large"]).token,
    }
    permitted = {}
    for relay in (("role:admin",), ("bea", "dan"), ("*",), ()):
        app = create_app(relayed, GatewaySection(relay=relay), ring)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1") as http:
            for name, token in tokens.items():
                response = await http.post(
                    "/v1/chat/completions", content=ODD, headers={"authorization": f"Bearer {token}"}
                )
                assert response.status_code in {200, 404}
                permitted[relay, name] = response.status_code == 200
                listed = (await http.get("/v1/models", headers={"authorization": f"Bearer {token}"})).json()
                assert ("large" in [model["id"] for model in listed["data"]]) == permitted[relay, name]
                assert "large" not in [model["name"] for model in listed["models"]]
                shown = await http.get("/v1/models/large", headers={"authorization": f"Bearer {token}"})
                assert (shown.status_code == 200) == permitted[relay, name]
    allowed = {pair for pair, may in permitted.items() if may}
    assert allowed == {
        (("role:admin",), "ada"), (("bea", "dan"), "bea"), (("bea", "dan"), "dan"),
        (("*",), "ada"), (("*",), "bea"), (("*",), "dan"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("body", "out"),
    [
        (b'{"model":"a"}', b'{"model":"b"}'),
        (
            b' { "x" : {"model":"a"} , "model" :  "a" , "y":[1,{"model":2}] }',
            b' { "x" : {"model":"a"} , "model" :  "b" , "y":[1,{"model":2}] }',
        ),
        ('{"ü":"\\"}","model":"a","z":"日"}'.encode(), '{"ü":"\\"}","model":"b","z":"日"}'.encode()),
    ],
)
def test_only_the_model_is_replaced(body, out):
    """Its own value at the top, however the rest is written."""
    assert with_model(body, "b") == out


def test_a_body_without_a_model():
    """Nothing can be put in its place."""
    with pytest.raises((ValueError, InputError)):
        with_model(b'{"x":1}', "b")


@pytest.mark.parametrize("error", [None, AuditError("the disk is full")])
async def test_what_is_relayed_is_written_down_before(client, relayed, upstream, notes, error):
    """The bytes that leave are announced, and named with their end; where they cannot be, nothing is sent."""
    section = OpenAIModel(engine="openai", name="big-1", base_url="http://up.example/v1", clearance=Label.INTERNAL)
    audit = notes(error)
    engine = Gate(ClearancePolicy(), audit=audit).open("large", section, transport=ScriptedTransport(upstream))
    relayed.models = {"large": RelayModel(engine=engine, name="big-1", window=64)}
    response = await client().post("/v1/chat/completions", content=ODD)
    if error:
        assert (response.status_code, upstream.seen) == (503, [])
        return
    head = "large;label=internal;pseudonymised=no;outcome=in-stream;prompts=1"
    assert response.headers["x-coterie-egress"] == head
    (left,), (request,) = audit.events, relayed.audit.events
    assert left.about["characters"] == len(ODD.decode())
    assert left.about["digest"] == audit.digest(ODD.decode())
    assert request.about["egress"] == {left.about["id"]: "answered"}
    (settled,) = relayed.store.settled.values()
    assert settled.trace.egress_summary == "large;label=internal;pseudonymised=no;outcome=answered;prompts=1"


async def test_who_leaves_while_it_is_announced(relayed, upstream, notes):
    """Nothing left: that is what trace and audit log say of the announcement, and it cost nothing."""
    section = PRICED.model_copy(update={"clearance": Label.INTERNAL})
    audit, announced = notes(None), asyncio.Event()
    append = audit.append

    async def appending(event, *, sync=False):
        await append(event, sync=sync)
        announced.set()
        await asyncio.Event().wait()

    audit.append = appending
    engine = Gate(ClearancePolicy(), audit=audit).open("large", section, transport=ScriptedTransport(upstream))
    relayed.models = {"large": RelayModel(engine=engine, name="big-1", window=64)}
    relayed_call = Relayed(
        model="large",
        path="/chat/completions",
        body=ODD,
        content=json.loads(ODD),
        principal=Principal(tenant="default"),
    )
    reading = asyncio.create_task(anext(relayed.relay(relayed_call, trace_id="t1")))
    await announced.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading

    (left,), (request,) = audit.events, relayed.audit.events
    assert request.about["egress"] == {left.about["id"]: "not_sent"}
    trace = relayed.store.settled["t1"].trace
    assert (trace.status, trace.usage.cost) == ("abstained", 0)
    assert upstream.seen == []


@pytest.mark.parametrize(("answer", "kind"), [(WHOLE, "application/json"), (STREAM, "text/event-stream")])
async def test_nobody_has_a_whole_answer_before_it_is_settled(client, relayed, upstream, answer, kind):
    """What completes an answer is sent last: all of one that came at once, with its length, and the end of a stream."""
    upstream.answer, upstream.kind, upstream.whole = answer, kind, True
    order, record = [], relayed.store.record

    async def recording(*about):
        await record(*about)
        order.append("settled")

    relayed.store.record = recording
    http = client()
    app = http._transport.app

    async def noting(scope, receive, send):
        async def note(message):
            order.append(message.get("body", message["type"]))
            await send(message)

        await app(scope, receive, note)

    http._transport.app = noting
    response = await http.post("/v1/chat/completions", content=ODD)
    assert response.content == answer
    if kind == "application/json":
        assert order == ["settled", "http.response.start", answer]
        assert response.headers["content-length"] == str(len(answer))
    else:
        assert order[-3:] == ["settled", answer, b""]
        assert "content-length" not in response.headers
