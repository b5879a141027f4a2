"""A settled request as OpenTelemetry spans, with the names of its GenAI conventions.

One trace a request, of the same id: a span for the whole (`invoke_workflow`), one for each specialist, the
router and the generalist (`invoke_agent`), and one for each of their steps (`chat`, `embeddings`,
`retrieval`). Beside tokens they carry energy and money (`coterie.*`), for which the conventions have no
names. No span contains questions, answers or reasons: only names and figures, so that spans do not bypass the
gate.

Spans are made when a request is settled, from its trace; a step follows the previous one in its specialist's
span, as it did in reality unless steps ran side by side.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from coterie.accounting.meter import OVERHEAD
from coterie.config.file import Model, OpenAIModel, RemoteModel
from coterie.types import AuditEvent, Settlement, Step, Trace, Usage, total_usage

if TYPE_CHECKING:
    from coterie.protocols import Audit, Store

Attribute = str | int | float | bool | Sequence[str]
_ENCODERS = frozenset({"onnx"})
_INDEXES = frozenset({"index", "shelf"})  # `shelf`: in traces of before
_MILLION = 1_000_000  # nanoseconds of a millisecond


@dataclass(frozen=True, kw_only=True)
class SpanMaker:
    """Makes spans from traces, without side effects: ids come from the trace."""

    network: str
    models: Mapping[str, Model] = field(default_factory=dict)
    currency: str = "USD"
    resource: Resource = field(default_factory=Resource.get_empty)

    def spans(self, trace: Trace) -> list[ReadableSpan]:
        """Return the span of the whole request, then each producer with its steps."""
        number = _trace_number(trace.id)
        context = _context(number, 1)
        begin = int(trace.time * 1e9)
        end = begin + _nanoseconds(trace.usage.milliseconds)
        whole = self._span(f"invoke_workflow {self.network}", context, None, (begin, end), self._whole(trace))
        made, number_of_span = [whole], 2
        for producer in dict.fromkeys(step.producer for step in trace.steps if step.producer != OVERHEAD):
            steps = [step for step in trace.steps if step.producer == producer]
            start, stop = _where(trace, producer, begin, end)
            agent, number_of_span = _context(number, number_of_span), number_of_span + 1
            about = self._agent(producer, steps, trace)
            made.append(self._span(f"invoke_agent {producer}", agent, context, (start, stop), about))
            for step in steps:
                over = start + _nanoseconds(step.usage.milliseconds)
                made.append(self._step(step, _context(number, number_of_span), agent, (start, over)))
                start, number_of_span = over, number_of_span + 1
        return made

    def _whole(self, trace: Trace) -> dict[str, Attribute | None]:
        own = total_usage(step.usage for step in trace.steps if step.producer == OVERHEAD)
        would = trace.counterfactual_cost
        return {
            "gen_ai.operation.name": "invoke_workflow",
            "gen_ai.workflow.name": self.network,
            "gen_ai.provider.name": "coterie",
            **self._usage(trace.usage),
            "coterie.trace_id": trace.id,
            "coterie.tenant": trace.tenant,
            "coterie.status": trace.status,
            "coterie.label": trace.label.value,
            "coterie.specialists": trace.route.specialists,
            "coterie.overhead.joules": own.joules,
            "coterie.counterfactual.cost": None if would is None else float(would),
        }

    def _agent(self, producer: str, steps: Sequence[Step], trace: Trace) -> dict[str, Attribute | None]:
        matching = next((finding for finding in trace.findings if finding.specialist == producer), None)
        sure = None if matching is None else matching.known_confidence
        return {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": producer,
            "gen_ai.provider.name": "coterie",
            **self._usage(total_usage(step.usage for step in steps)),
            "coterie.accepted": None if matching is None else matching.accepted,
            "coterie.confidence": None if sure is None else float(sure),
        }

    def _step(self, step: Step, context: SpanContext, parent: SpanContext, span: tuple[int, int]) -> ReadableSpan:
        model = self.models.get(step.engine)
        operation = "chat" if model is not None else _operation(step.engine)
        named = step.engine if model is None else model.name
        about: dict[str, Attribute | None] = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": "coterie",
            "gen_ai.request.model": named,
            **self._usage(step.usage),
            "coterie.engine": step.engine,
        }
        kind = SpanKind.INTERNAL
        if isinstance(model, RemoteModel):
            about["gen_ai.provider.name"] = model.engine
            kind = SpanKind.CLIENT
        if isinstance(model, OpenAIModel):
            address = urlsplit(model.base_url)
            port = address.port or (443 if address.scheme == "https" else 80)
            about |= {"server.address": address.hostname, "server.port": port}
        failed = any(part.startswith(("failed: ", "given up: it ")) for part in step.note.split("; "))
        about["error.type"] = "_OTHER" if failed else None  # the kind that the conventions have for no kind of theirs
        return self._span(f"{operation} {named}", context, parent, span, about, kind=kind, failed=failed)

    def _usage(self, usage: Usage) -> dict[str, Attribute | None]:
        """Return tokens by the conventions, with energy and money; unknown ones are left out."""
        cost = None if usage.cost is None else float(usage.cost)
        return {
            "gen_ai.usage.input_tokens": usage.tokens_in,
            "gen_ai.usage.output_tokens": usage.tokens_out,
            "gen_ai.usage.cache_read.input_tokens": usage.tokens_cached,
            "coterie.cpu_seconds": float(usage.cpu_seconds),
            "coterie.energy.joules": float(usage.joules),
            "coterie.energy.kind": usage.joules_kind,
            "coterie.energy.low": usage.joules_low,
            "coterie.energy.high": usage.joules_high,
            "coterie.cost": cost,
            "coterie.currency": None if cost is None else self.currency,
        }

    def _span(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        span: tuple[int, int],
        about: Mapping[str, Attribute | None],
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        failed: bool = False,
    ) -> ReadableSpan:
        present: dict[str, Any] = {key: value for key, value in about.items() if value is not None}
        return ReadableSpan(
            name=name,
            context=context,
            parent=parent,
            resource=self.resource,
            attributes=present,
            kind=kind,
            status=Status(StatusCode.ERROR if failed else StatusCode.UNSET),
            start_time=span[0],
            end_time=span[1],
            instrumentation_scope=InstrumentationScope("coterie"),
        )


class ObservedStore:
    """A store that also exports every settled trace to an OTLP collector, after it is stored.

    Exporting happens in a thread and never delays or fails a request: spans that the collector refuses are
    dropped.
    """

    def __init__(self, store: Store, maker: SpanMaker, processor: BatchSpanProcessor) -> None:
        self._store, self._maker, self._processor = store, maker, processor

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the store has
        return getattr(self._store, name)

    async def settle(self, settlement: Settlement) -> None:
        """Store the settlement, then queue its spans."""
        await self._store.settle(settlement)
        self._export(settlement.trace)

    async def record(self, settlement: Settlement, entry: AuditEvent, audit: Audit) -> None:
        """Store the settlement with its entry in the audit log, then queue its spans."""
        try:
            await self._store.record(settlement, entry, audit)
        except asyncio.CancelledError:  # it is written down all the same
            self._export(settlement.trace)
            raise
        self._export(settlement.trace)

    def _export(self, trace: Trace) -> None:
        for span in self._maker.spans(trace):
            self._processor.on_end(span)

    async def close(self) -> None:
        """Send queued spans, as far as the collector accepts them, and close the store."""
        await asyncio.to_thread(self._processor.shutdown)
        await self._store.close()


def observed(store: Store, *, endpoint: str, network: str, models: Mapping[str, Model], currency: str) -> Store:
    """Return the store with an exporter to an OTLP endpoint, such as `http://localhost:4318/v1/traces`."""
    maker = SpanMaker(
        network=network, models=models, currency=currency, resource=Resource.create({"service.name": network})
    )
    wrapped: Any = ObservedStore(store, maker, BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    return wrapped  # type: ignore[no-any-return]


def _where(trace: Trace, producer: str, begin: int, end: int) -> tuple[int, int]:
    """Return the time of the stage in which a producer worked: routing, consulting, or later stages."""
    for stage in trace.stages:
        consulted = stage.name == "consult" and producer in stage.note.split(", ")
        if consulted or (stage.name == "route" and producer == "router"):
            start = begin + _nanoseconds(stage.after)
            return start, start + _nanoseconds(stage.milliseconds)
    late = [stage for stage in trace.stages if stage.name in {"decide", "compose"}]
    if producer != "router" and late:
        start = begin + _nanoseconds(min(stage.after for stage in late))
        return start, max(start, end)
    return begin, end


def _operation(engine: str) -> str:
    """Return the operation of a local engine, by the conventions' name if there is one."""
    if engine in _ENCODERS:
        return "embeddings"
    return "retrieval" if engine in _INDEXES else "inference"


def _trace_number(trace_id: str) -> int:
    """Return the trace's id as a number: 32 hexadecimal digits, unless it has another form."""
    try:
        number = int(trace_id, 16)
    except ValueError:
        number = 0
    return number if 0 < number < 1 << 128 else int.from_bytes(trace_id.encode()[:16].rjust(16, b"\x01"), "big")


def _context(number: int, number_of_span: int) -> SpanContext:
    """Return the context of the span at this position of a trace; its id derives from both, so it is reproducible."""
    span = ((number ^ number >> 64) + number_of_span * 0x9E3779B97F4A7C15) & (1 << 64) - 1
    return SpanContext(number, span or number_of_span, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def _nanoseconds(milliseconds: float) -> int:
    return max(0, int(milliseconds * _MILLION))
