"""What an operator asks: is it alive, is it ready, what does it count, what happened in that request."""

from __future__ import annotations

from starlette.requests import Request as HTTPRequest
from starlette.responses import Response

from coterie.gateway.access import Caller
from coterie.gateway.connection import JSONBody, encode
from coterie.gateway.errors import no_trace
from coterie.gateway.work import Gateway
from coterie.observe.plain import without_egress_text
from coterie.runtime.codec import readable
from coterie.runtime.concurrency import AT_ONCE, aside
from coterie.store.content import without_content
from coterie.types import Trace


async def tell_health(_http: HTTPRequest) -> Response:
    """The process is alive."""
    return JSONBody({"status": "ok"})


async def tell_readiness(http: HTTPRequest) -> Response:
    """The gateway takes requests: 200, or 503 once it drains."""
    if Gateway.of(http).draining:
        return JSONBody({"status": "draining"}, status_code=503)
    return JSONBody({"status": "ok"})


async def show_metrics(http: HTTPRequest) -> Response:
    """The counters, for Prometheus."""
    metrics = Gateway.of(http).metrics
    return Response(metrics.render(), media_type=metrics.content_type)


async def show_trace(http: HTTPRequest) -> Response:
    """A settled request's whole life, as far as who asks may see it. Raises `WireError` when there is none such.

    The texts that left stand in it with `?show_egress=true`, where content is kept.
    """
    gateway, caller, trace_id = Gateway.of(http), Caller.of(http.scope), http.path_params["trace_id"]
    trace = await find_trace(gateway, caller, trace_id)
    label = max([trace.label, *(finding.label for finding in trace.findings)])
    above = caller.key is not None and label > caller.clearance(gateway.network.default_label)
    if http.query_params.get("show_egress") != "true":
        trace = without_egress_text(trace)

    def written() -> bytes:
        return encode(readable(without_content(trace) if above else trace))

    return Response(await aside(AT_ONCE + 1, written), media_type=JSONBody.media_type)


async def find_trace(gateway: Gateway, caller: Caller, trace_id: str) -> Trace:
    """A settled request of the caller's tenant, in which nobody was asked whom the caller may not know of.

    Raises:
        WireError: there is none such; the same words whatever the reason.
    """
    trace = await gateway.network.store.trace(trace_id, caller.tenant)
    if trace is None or not all(map(caller.sees, _asked(trace))):
        raise no_trace(trace_id)
    return trace


def _asked(trace: Trace) -> set[str]:
    """Whoever had a part in it."""
    return {*trace.route.specialists, *(finding.specialist for finding in trace.findings)}
