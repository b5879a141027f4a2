"""Fakes of engines, servers, indexes and clocks, and contract checks, for tests of Coterie and of plug-ins.

Contract checks are async functions that raise `AssertionError` with the broken clause. They need no test runner.
"""

from __future__ import annotations

from coterie.testing.contracts import (
    check_choices,
    check_detector,
    check_engine,
    check_flywheel_store,
    check_index,
    check_meter,
    check_policy,
    check_retriever,
    check_router,
    check_specialist,
    check_store,
    check_streaming_engine,
)
from coterie.testing.fakes import (
    Canaries,
    Canary,
    EchoEngine,
    FakeClock,
    FakeRetriever,
    ScriptedEngine,
    fail_nth,
    make_finding,
    make_trace,
    write_random_adapter,
)
from coterie.testing.openai_server import (
    FakeOpenAIServer,
    ReceivedRequest,
    ScriptedAnswer,
    ScriptedTransport,
    ServerReply,
)

__all__ = [
    "Canaries",
    "Canary",
    "EchoEngine",
    "FakeClock",
    "FakeOpenAIServer",
    "FakeRetriever",
    "ReceivedRequest",
    "ScriptedAnswer",
    "ScriptedEngine",
    "ScriptedTransport",
    "ServerReply",
    "check_choices",
    "check_detector",
    "check_engine",
    "check_flywheel_store",
    "check_index",
    "check_meter",
    "check_policy",
    "check_retriever",
    "check_router",
    "check_specialist",
    "check_store",
    "check_streaming_engine",
    "fail_nth",
    "make_finding",
    "make_trace",
    "write_random_adapter",
]
