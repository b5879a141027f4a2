"""For tests of Coterie and of what is built on it: fakes for engines, servers and clocks, and contract checks.

The checks are plain async functions that raise `AssertionError` with the broken clause, for any test runner.
"""

from __future__ import annotations

from ._adapters import write_random_adapter
from ._canaries import Canaries, Canary
from ._clock import FakeClock
from ._contract_context import check_policy, check_retriever, check_router
from ._contract_detector import check_detector
from ._contract_engine import check_choices, check_engine, check_streaming_engine
from ._contract_ledger import check_meter, check_store
from ._contract_shelf import check_shelf
from ._contract_specialist import check_specialist
from ._engines import EchoEngine, ScriptedEngine
from ._faults import fail_nth
from ._openai_server import FakeOpenAIServer, ReceivedRequest, Reply
from ._retriever import FakeRetriever
from ._traces import make_trace

__all__ = [
    "Canaries",
    "Canary",
    "EchoEngine",
    "FakeClock",
    "FakeOpenAIServer",
    "FakeRetriever",
    "ReceivedRequest",
    "Reply",
    "ScriptedEngine",
    "check_choices",
    "check_detector",
    "check_engine",
    "check_meter",
    "check_policy",
    "check_retriever",
    "check_router",
    "check_shelf",
    "check_specialist",
    "check_store",
    "check_streaming_engine",
    "fail_nth",
    "make_trace",
    "write_random_adapter",
]
