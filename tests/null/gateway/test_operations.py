"""Models, health, metrics, traces and the description of it all."""

import threading
from functools import cache
from pathlib import Path

import pytest

import coterie.gateway.app as gateway
from coterie.errors import SetupError
from coterie.gateway.app import ENDPOINTS
from coterie.gateway.errors import STATUSES, error_response
from coterie.gateway.wire import Health, Models, ModelView

DOCS = Path(__file__).parents[3] / "docs" / "how-to"


async def test_models_are_listed_with_what_stands_behind_them(client):
    """The router first, then each specialist with its card."""
    body = (await client().get("/v1/models")).json()
    Models.model_validate(body)
    assert [model["id"] for model in body["data"]] == ["coterie", "coterie/reply", "coterie/triage"]
    assert body["data"][0] == {"id": "coterie", "object": "model", "created": 1_700_000_000, "owned_by": "lender"}
    assert body["data"][2]["coterie"] == {
        "task": "classify",
        "description": "Names the intent.",
        "rung": "lexical",
        "version": "0" * 16,
        "columns": [],
    }


@pytest.mark.parametrize("name", ["coterie", "coterie/triage", "coterie%2Ftriage"])
async def test_a_model_is_shown(client, name):
    """Also where the client escapes the slash."""
    response = await client().get(f"/v1/models/{name}")
    ModelView.model_validate(response.json())
    assert response.json()["id"] == name.replace("%2F", "/")


async def test_health_is_told(client):
    """Alive and ready."""
    http = client()
    for path in ("/healthz", "/readyz"):
        response = await http.get(path)
        Health.model_validate(response.json())
        assert (response.status_code, response.json()) == (200, {"status": "ok"})


async def test_a_trace_is_shown_to_who_asked(client, network, chat_body):
    """The stored one, whole; another tenant's does not exist."""
    http = client()
    await http.post("/v1/chat/completions", json=chat_body("I lost my card"))
    (trace_id,) = network.store.settled
    trace = (await http.get(f"/api/traces/{trace_id}")).json()
    assert trace["id"] == trace_id
    assert [stage["name"] for stage in trace["stages"]][:3] == ["admit", "rewrite", "route"]
    assert trace["findings"][0]["facts"] == [{"name": "intent", "value": "card_lost", "confidence": 0.97}]
    settled = network.store.settled[trace_id]
    object.__setattr__(settled.trace, "tenant", "somebody else")
    assert (await http.get(f"/api/traces/{trace_id}")).status_code == 404


def _all_kinds(kind: type[SetupError]) -> list[type[SetupError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in _all_kinds(child))]


@pytest.mark.parametrize("kind", _all_kinds(SetupError))
def test_a_problem_of_the_set_up_names_nothing_of_this_machine_to_a_caller(kind, caplog):
    """The response has the code and a line of its own; message and hint are in the log."""
    error = kind("Nothing is at '/srv/shop/index'.", hint="Run: coterie -C /srv/shop index help")

    response = error_response(error)

    assert response.error["code"] == kind.code
    assert response.error["message"].endswith(".")
    assert "/srv" not in response.body.decode() + str(error.reason.described())
    assert "/srv/shop/index" in caplog.text
    assert error.reason.for_operator


async def test_metrics_count_what_happened(client, chat_body):
    """Requests, answers, findings, tokens, energy and money; nothing a caller sent becomes a label."""
    http = client()
    await http.post("/v1/chat/completions", json=chat_body("I lost my card"))
    await http.post("/v1/chat/completions", json=chat_body("weather"))
    await http.get("/made-up-path")
    response = await http.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = response.text.splitlines()
    for line in (
        'coterie_requests_total{endpoint="/v1/chat/completions",status="200"} 2.0',
        'coterie_requests_total{endpoint="other",status="404"} 1.0',
        'coterie_request_seconds_count{endpoint="/v1/chat/completions"} 2.0',
        'coterie_answers_total{status="accepted"} 1.0',
        'coterie_answers_total{status="abstained"} 1.0',
        'coterie_findings_total{accepted="true",specialist="triage"} 1.0',
        'coterie_tokens_total{direction="in"} 5.0',
        'coterie_joules_total{kind="estimated"} 1.0',
        "coterie_cost_total 0.01",
        "coterie_working 0.0",
        "coterie_waiting 0.0",
    ):
        assert line in lines
    assert "made-up" not in response.text


async def test_two_gateways_do_not_mix_their_metrics(client):
    """Each has a registry of its own."""
    await client().get("/healthz")
    assert "/healthz" not in (await client().get("/metrics")).text


async def test_openapi_describes_every_endpoint(client):
    """Each path and method, with models that exist."""
    document = (await client().get("/openapi.json")).json()
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert described == {(e.method, e.path.replace(":path", "")) for e in ENDPOINTS}
    schemas = document["components"]["schemas"]
    assert {name for name in _references(document) if name not in schemas} == set()
    assert schemas["Extension"]["additionalProperties"] is False
    assert "calibrated" in schemas["ChatRequest"]["properties"]["logprobs"]["description"]


async def test_the_description_is_made_once_and_not_on_the_event_loop(client, monkeypatch):
    """It takes a tenth of a second, in which nobody else would be served."""
    made_in = []

    def describe(endpoints):
        made_in.append(threading.get_ident())
        return {"openapi": "3.1.0"}

    monkeypatch.setattr(gateway, "describe_api", describe)
    monkeypatch.setattr(gateway, "_written_api", cache(gateway._written_api.__wrapped__))
    bodies = [(await client().get("/openapi.json")).json() for _ in range(2)]
    assert bodies == [{"openapi": "3.1.0"}] * 2
    assert len(made_in) == 1
    assert made_in[0] != threading.get_ident()


def _references(node):
    """The names of all schemas referred to."""
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"].rsplit("/", 1)[-1]
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from _references(item)


async def test_every_endpoint_code_and_metric_is_documented(client):
    """docs/how-to/serve-over-http.md and docs/how-to/observe.md name all there are."""
    gateway, observe = ((DOCS / name).read_text() for name in ("serve-over-http.md", "observe.md"))
    for endpoint in ENDPOINTS:
        assert f"`{endpoint.method} {endpoint.path.replace(':path', '')}`" in gateway
    for code, status in STATUSES.items():
        assert f"| {status} | `{code}` |" in gateway
    metrics = (await client().get("/metrics")).text
    for name in {line.split()[2] for line in metrics.splitlines() if line.startswith("# TYPE coterie_")}:
        if not name.endswith("_created"):
            assert f"`{name}`" in observe
