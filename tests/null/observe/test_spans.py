"""Spans of settled requests, as a real OTLP receiver gets them."""

import threading
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.semconv._incubating.attributes import error_attributes, gen_ai_attributes, server_attributes

from coterie import assembly
from coterie.config.file import LlamaModel, OpenAIModel, parse_config
from coterie.errors import ConfigError, ExtraMissing
from coterie.observe.spans import SpanMaker, observed
from coterie.testing import make_finding, make_trace
from coterie.types import Route, Settlement, Stage, Step, Usage, total_usage, worded

MODELS = {
    "large": OpenAIModel(engine="openai", base_url="https://api.example.com/v1", name="gpt-large"),
    "smol": LlamaModel(engine="llama", name="smollm2"),
}
STEPS = (
    Step(producer="router", engine="onnx", usage=Usage(tokens_in=9, milliseconds=2.0, joules=0.5, cost=Decimal(0))),
    Step(producer="triage", engine="linear", usage=Usage(milliseconds=1.0, joules=0.25, cost=Decimal(0))),
    Step(
        producer="generalist",
        engine="large",
        note="failed: it came too late",
        usage=Usage(milliseconds=20.0, joules=1.0, cost=None),
    ),
    Step(
        producer="generalist",
        engine="large",
        note="fallback: 'large' failed",
        usage=Usage(
            tokens_in=100,
            tokens_cached=60,
            tokens_out=20,
            milliseconds=30.0,
            joules=30.0,
            joules_low=20.0,
            joules_high=40.0,
            cost=Decimal("0.002"),
        ),
    ),
    Step(producer="network", engine="python", usage=Usage(cpu_seconds=0.001, joules=0.01, cost=Decimal(0))),
)
SECRET = "SECRETWORD"
TRACE = make_trace(
    id="0af7651916cd43dd8448eb211c80319c",
    time=1_700_000_000.25,
    tenant="acme",
    session=SECRET,
    status="escalated",
    route=Route(parts=(), reason=worded(SECRET)),
    findings=(make_finding(SECRET, confidence=0.4, accepted=False, reason=worded(f"not sure of {SECRET}")),),
    stages=(
        Stage(name="route", milliseconds=3.0, after=1.0),
        Stage(name="consult", milliseconds=5.0, after=4.0, note="clauses, triage"),
        Stage(name="decide", milliseconds=60.0, after=10.0),
    ),
    steps=STEPS,
    usage=replace(total_usage(step.usage for step in STEPS), milliseconds=80.0),
    counterfactual_cost=Decimal("0.003"),
    rewritten=SECRET,
)


class Collector:
    """An OTLP receiver: keeps what was sent, and answers with a status."""

    def __init__(self, status: int = 200) -> None:
        self.bodies: list[bytes] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                collector.bodies.append(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}/v1/traces"

    @property
    def spans(self) -> list:
        received = []
        for body in self.bodies:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                names = {attribute.key: attribute.value.string_value for attribute in resource.resource.attributes}
                assert names["service.name"] == "lender"
                received += [span for scope in resource.scope_spans for span in scope.spans]
        return received


@contextmanager
def collecting(status: int = 200):
    """A collector that runs inside."""
    collector = Collector(status)
    thread = threading.Thread(target=collector.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield collector
    finally:
        collector.server.shutdown()
        thread.join()
        collector.server.server_close()


class Keeps:
    """A store that keeps settlements."""

    def __init__(self) -> None:
        self.settled, self.entries, self.closed = [], [], False

    async def settle(self, settlement):
        self.settled.append(settlement)

    async def record(self, settlement, entry, audit):
        self.settled.append(settlement)
        self.entries.append(entry)

    async def trace(self, trace_id, tenant):
        return self.settled[0].trace

    async def close(self):
        self.closed = True


def attributes(span):
    """A span's attributes as plain values."""
    return {
        attribute.key: getattr(attribute.value, attribute.value.WhichOneof("value")) for attribute in span.attributes
    }


async def sent(trace=TRACE):
    """The spans of a trace as they reached the collector."""
    with collecting() as collector:
        store = observed(Keeps(), endpoint=collector.endpoint, network="lender", models=MODELS, currency="EUR")
        await store.settle(Settlement(trace=trace))
        await store.close()
    return collector


async def test_what_a_collector_gets():
    """One trace of the same id: the whole, whoever worked, and their steps, each in its place."""
    spans = (await sent()).spans
    assert [span.name for span in spans] == [
        "invoke_workflow lender",
        "invoke_agent router",
        "embeddings onnx",
        "invoke_agent triage",
        "inference linear",
        "invoke_agent generalist",
        "chat gpt-large",
        "chat gpt-large",
    ]
    assert {span.trace_id.hex() for span in spans} == {TRACE.id}
    assert len({span.span_id for span in spans}) == len(spans)
    whole, router, encoding, triage, _, large, failed, answered = spans
    assert not whole.parent_span_id
    assert {span.parent_span_id for span in (router, triage, large)} == {whole.span_id}
    assert encoding.parent_span_id == router.span_id
    assert {failed.parent_span_id, answered.parent_span_id} == {large.span_id}
    begin = int(1_700_000_000.25e9)
    milliseconds = [
        ((span.start_time_unix_nano - begin) / 1e6, (span.end_time_unix_nano - begin) / 1e6)
        for span in (whole, router, triage, large, failed, answered)
    ]
    assert milliseconds == [(0, 80), (1, 4), (4, 9), (10, 80), (10, 30), (30, 60)]
    assert (failed.status.code, answered.status.code) == (2, 0)
    assert (attributes(failed)["error.type"], attributes(answered).get("error.type")) == ("_OTHER", None)


async def test_settled_with_an_entry_of_the_audit_log():
    """A request of a network that keeps an audit log has its spans too."""
    kept = Keeps()
    with collecting() as collector:
        store = observed(kept, endpoint=collector.endpoint, network="lender", models=MODELS, currency="EUR")
        await store.record(Settlement(trace=TRACE), "entry", None)
        await store.close()
    assert kept.entries == ["entry"]
    assert {span.trace_id.hex() for span in collector.spans} == {TRACE.id}


async def test_names_of_the_conventions():
    """Every `gen_ai` and `server` attribute is one that the conventions know; energy and money stand beside them."""
    spans = (await sent()).spans
    conventional = {
        value
        for module in (gen_ai_attributes, server_attributes, error_attributes)
        for value in vars(module).values()
        if isinstance(value, str)
    }
    for span in spans:
        keys = set(attributes(span))
        assert {key for key in keys if not key.startswith("coterie.")} <= conventional
        assert {"gen_ai.operation.name", "gen_ai.provider.name", "coterie.energy.joules"} <= keys
    whole, answered = attributes(spans[0]), attributes(spans[-1])
    assert answered["gen_ai.provider.name"] == "openai"
    assert answered["gen_ai.request.model"] == "gpt-large"
    assert (answered["server.address"], answered["server.port"]) == ("api.example.com", 443)
    assert (answered["gen_ai.usage.input_tokens"], answered["gen_ai.usage.output_tokens"]) == (100, 20)
    assert answered["gen_ai.usage.cache_read.input_tokens"] == 60
    assert (answered["coterie.energy.joules"], answered["coterie.energy.kind"]) == (30.0, "estimated")
    assert (answered["coterie.energy.low"], answered["coterie.energy.high"]) == (20.0, 40.0)
    assert (answered["coterie.cost"], answered["coterie.currency"]) == (0.002, "EUR")
    assert "coterie.cost" not in whole  # one step's is not known
    assert (whole["coterie.status"], whole["coterie.counterfactual.cost"]) == ("escalated", 0.003)
    assert whole["coterie.overhead.joules"] == 0.01


async def test_no_content():
    """No byte of what was asked, answered or reasoned reaches the collector, nor the session's name."""
    assert SECRET.encode() not in b"".join((await sent()).bodies)


async def test_a_collector_that_refuses():
    """A request is settled whatever the collector says."""
    kept = Keeps()
    with collecting(status=400) as collector:
        store = observed(kept, endpoint=collector.endpoint, network="lender", models=MODELS, currency="EUR")
        await store.settle(Settlement(trace=TRACE))
        assert await store.trace("x", "y") is TRACE
        await store.close()
    assert kept.closed
    assert len(kept.settled) == 1


async def test_a_store_that_fails():
    """What could not be written down is not told."""

    class Fails(Keeps):
        async def settle(self, settlement):
            raise OSError("full")

    with collecting() as collector:
        store = observed(Fails(), endpoint=collector.endpoint, network="lender", models={}, currency="EUR")
        with pytest.raises(OSError, match="full"):
            await store.settle(Settlement(trace=TRACE))
        await store.close()
    assert collector.bodies == []


@pytest.mark.parametrize("trace_id", ["id0", "", "f" * 40, "0" * 32])
def test_any_id(trace_id):
    """An id that is no OpenTelemetry id becomes one; a local model has no server."""
    steps = (Step(producer="reply", engine="smol", usage=Usage(tokens_out=3)),)
    whole, _, chat = SpanMaker(network="lender", models=MODELS).spans(
        replace(TRACE, id=trace_id, steps=steps, stages=())
    )
    assert 0 < whole.context.trace_id < 1 << 128
    assert chat.name == "chat smollm2"
    assert "server.address" not in chat.attributes


@pytest.mark.parametrize(
    ("note", "code"),
    [
        ("", 0),
        ("hedge: 'a' had said nothing after 2 s", 0),
        ("fallback: 'a' failed", 0),
        ("rung llm: 0.9 is enough", 0),
        ("given up: 'b' was first", 0),
        ("given up: it broke off", 2),
        ("failed: it is down", 2),
        ("fallback: 'a' failed; failed: it is down too", 2),
    ],
)
async def test_what_failed(note, code):
    """A try that gave nothing is an error; one that was asked because another failed, and answered, is none."""
    spans = (await sent(replace(TRACE, steps=(replace(STEPS[-2], note=note),)))).spans
    assert spans[-1].status.code == code


# --- Spans are made only where the file says where they go.


def test_nowhere_by_default():
    """Without an endpoint the store is the store, and nothing of OpenTelemetry is needed."""
    store = object()
    assert assembly._observed(parse_config(""), store) is store


def test_extra(monkeypatch):
    """With one the extra is needed, and what to install is said."""
    monkeypatch.setattr(assembly, "find_spec", lambda _: None)
    config = parse_config('[observe]\notlp_endpoint = "http://localhost:4318/v1/traces"\n')
    with pytest.raises(ExtraMissing, match="opentelemetry-sdk") as caught:
        assembly._observed(config, object())
    assert "coterie[otel]" in caught.value.hint


@pytest.mark.parametrize("endpoint", ["localhost:4318", "file:///x", "http://a b"])
def test_no_endpoint(endpoint):
    """An endpoint is an HTTP address."""
    with pytest.raises(ConfigError, match="otlp_endpoint"):
        parse_config(f'[observe]\notlp_endpoint = "{endpoint}"\n')
