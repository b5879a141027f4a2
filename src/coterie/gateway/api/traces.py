"""The trace of a request, for whoever may know of it."""

from __future__ import annotations

from coterie.gateway.access import Caller
from coterie.gateway.errors import no_trace
from coterie.gateway.work import Gateway
from coterie.types import Trace


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
