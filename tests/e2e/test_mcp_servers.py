"""MCP servers as tools of a `generate` specialist, behind the gate: real servers, over both transports."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from decimal import Decimal

import pytest
import uvicorn
from mcp.server.mcpserver import MCPServer

from coterie.accounting.meter import CostMeter
from coterie.config.operation import AccountingSection, BudgetSection, McpSection
from coterie.errors import AuditError
from coterie.governance.egress import ClearancePolicy, Gate
from coterie.limits.limits import StoredLimits
from coterie.tasks.generate.model import Calling
from coterie.testing import ScriptedEngine
from coterie.types import CallContext, Label, Output, Principal, Step, Task, Usage
from tests._support.audit import Notes

_PROGRAM = """
import os
from mcp.server.mcpserver import MCPServer

server = MCPServer("stock")

@server.tool()
def stock(article: str) -> str:
    "Says how many there are."
    return f"{article}: 7"

@server.tool()
def who(name: str) -> str:
    "Repeats a name."
    return f"{name} is at jane.doe@example.com"

@server.tool()
def breaks() -> str:
    "Fails."
    raise ValueError("no such thing")

@server.tool()
def secret() -> str:
    "Says what the environment holds."
    return os.environ.get("STOCK_TOKEN", "") + os.environ.get("COTERIE_UNRELATED", "")
"""


class _Started(uvicorn.Server):
    """A server that says when it listens."""

    def __init__(self, config):
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets=None):
        """Listen, and say so."""
        await super().startup(sockets)
        self.ready.set()


@contextlib.asynccontextmanager
async def _over_http():
    """The server on a free port of this machine."""
    space: dict[str, MCPServer] = {}
    exec(_PROGRAM, space)
    config = uvicorn.Config(space["server"].streamable_http_app(), port=0, log_level="error")
    server = _Started(config)
    task = asyncio.create_task(server.serve())
    await server.ready.wait()
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        server.should_exit = True
        await task


@pytest.fixture
async def section():
    """The section of the server by its address."""
    async with _over_http() as url:
        yield McpSection(url=url, clearance="internal", price_per_call="0.5")


@pytest.fixture(params=["stdio", "http"])
async def either(request, tmp_path):
    """The section of the server, over each transport."""
    if request.param == "http":
        async with _over_http() as url:
            yield McpSection(url=url, clearance="internal", price_per_call="0.5")
        return
    program = tmp_path / "server.py"
    program.write_text(f"{_PROGRAM}\nserver.run()\n")
    yield McpSection(command=(sys.executable, str(program)), clearance="internal", price_per_call="0.5")


@contextlib.asynccontextmanager
async def _opened(section, *, log=None, limits=None):
    server = Gate(ClearancePolicy(), limits, audit=log).open_server("stock", section, label=Label.INTERNAL)
    try:
        yield server
    finally:
        await server.close()


def _line(reply):
    return Output(text=json.dumps({"reply": reply}))


async def _ask(server, *replies, label=Label.INTERNAL):
    engine = ScriptedEngine([_line(reply) for reply in replies])
    calling = Calling(name="reply", engine=engine, instruction="Help.", servers={"stock": server})
    call = CallContext(principal=Principal(key="k"), egress=[], outgoing={}, trace="t")
    finding, _ = await calling.consult(Task(text="how many are there?", label=label), call=call)
    return finding, engine, call


async def test_a_specialist_calls_and_answers(either):
    """Its model is told the tools, its call is made, and it answers from the result; all of it is in the ledger."""
    log = Notes()
    section = either
    async with _opened(section, log=log) as server:
        ask = {"calls": [{"name": "stock", "arguments": {"article": "A1"}}]}
        finding, engine, call = await _ask(server, ask, {"answer": "There are 7."})
    assert (finding.text, finding.accepted, finding.reason.code) == ("There are 7.", True, "accept.from_results")
    assert "Says how many there are." in engine.prompts[0].messages[0].text
    assert "A1: 7" in engine.prompts[1].messages[-1].text
    meter = CostMeter(AccountingSection(), {}, None, servers={"stock": section})
    costs = [meter.price(step).usage.cost for step in finding.steps if step.engine == "mcp:stock"]
    assert costs == [Decimal("0.5")]
    (left,) = call.outgoing.values()
    assert (left.engine, left.outcome, "A1" in left.text) == ("mcp:stock", "answered", True)
    assert [event.kind for event in log.events] == ["egress"]


async def test_nothing_is_called_that_is_not_written_down(section):
    """The entry is on the disk before the call leaves; where it cannot be written, nothing is sent."""
    log = Notes(AuditError("The disk is full."))
    async with _opened(section, log=log) as server:
        assert {f.name for f in await server.functions()} == {"stock", "who", "breaks", "secret"}
        with pytest.raises(AuditError):
            await _ask(server, {"calls": [{"name": "stock", "arguments": {"article": "A1"}}]})


async def test_labels_hold(section):
    """Arguments above the clearance stay here, and the model is told; a result raises the label by what is in it."""
    async with _opened(section) as server:
        ask = {"calls": [{"name": "who", "arguments": {"name": "x"}}]}
        kept, engine, call = await _ask(server, ask, {"answer": "-"}, label=Label.CONFIDENTIAL)
        assert not any(egress.sent for egress in call.outgoing.values())
        assert "it failed" in engine.prompts[1].messages[-1].text
        assert (kept, [verdict.allowed for verdict in call.egress]) == (None, [False])
        finding, engine, _ = await _ask(server, ask, {"answer": "-"})
    assert (finding.label, finding.label_without_pii) == (Label.CONFIDENTIAL, Label.INTERNAL)
    assert engine.prompts[1].label == Label.CONFIDENTIAL


async def test_pseudonyms_go_out_and_values_come_back(section):
    """Personal data in arguments leaves under a pseudonym, and the result is read with the value in its place."""
    hidden = section.model_copy(update={"pseudonymise": True})
    async with _opened(hidden) as server:
        ask = {"calls": [{"name": "stock", "arguments": {"article": "max@example.org"}}]}
        _, engine, call = await _ask(server, ask, {"answer": "-"})
    (left,) = call.outgoing.values()
    assert (left.pseudonymised, "max@example.org" in left.text) == (True, False)
    assert "max@example.org: 7" in engine.prompts[1].messages[-1].text


async def test_budgets_hold(section, tmp_path):
    """A call is reserved at its price before it leaves; one that the budget cannot bear is not made."""
    limits = StoredLimits({"all": BudgetSection(per="day", money="0.7")}, tmp_path / "limits.db")
    async with _opened(section, limits=limits) as server:
        ask = {"calls": [{"name": "stock", "arguments": {"article": "A1"}}]}
        first, _, _ = await _ask(server, ask, {"answer": "-"})
        _, engine, call = await _ask(server, ask, {"answer": "-"})
    await limits.close()
    assert [step.engine for step in first.steps].count("mcp:stock") == 1
    assert not call.outgoing
    assert "budget" in engine.prompts[1].messages[-1].text


async def test_a_tool_that_fails_and_one_that_is_not_allowed(section):
    """The model is told of a failure and goes on; `tools` leaves others out; too many rounds are an abstention."""
    allowed = section.model_copy(update={"tools": ("breaks",)})
    async with _opened(allowed) as server:
        assert [f.name for f in await server.functions()] == ["breaks"]
        again = {"calls": [{"name": "breaks", "arguments": {}}]}
        finding, engine, _ = await _ask(server, *[again] * 4, {"answer": "It broke."})
        assert "it failed" in engine.prompts[1].messages[-1].text
        assert '"calls"' not in json.dumps(engine.prompts[4].json_schema)
    assert finding is None or not finding.accepted


async def test_only_named_variables_reach_a_command(tmp_path, monkeypatch):
    """A program gets the variables that its section names, and none of the others."""
    monkeypatch.setenv("THE_TOKEN", "t0")
    monkeypatch.setenv("COTERIE_UNRELATED", "u0")
    program = tmp_path / "server.py"
    program.write_text(f"{_PROGRAM}\nserver.run()\n")
    section = McpSection(
        command=(sys.executable, str(program)), env={"STOCK_TOKEN": "env:THE_TOKEN"}, clearance="internal"
    )
    async with _opened(section) as server:
        _, engine, _ = await _ask(server, {"calls": [{"name": "secret", "arguments": {}}]}, {"answer": "-"})
    assert engine.prompts[1].messages[-1].text.endswith(": t0")


async def test_a_server_that_is_not_there(tmp_path):
    """A program that ends at once, and an address where nobody listens: an abstention with the reason."""
    for section in (
        McpSection(command=(sys.executable, "-c", "raise SystemExit(3)"), timeout=20),
        McpSection(url="http://127.0.0.1:9/mcp", timeout=20),
    ):
        async with _opened(section) as server:
            finding, _, _ = await _ask(server)
        assert (finding.accepted, finding.steps) == (False, ())


def test_a_server_without_a_price():
    """The cost of its calls is unknown, never nothing."""
    meter = CostMeter(AccountingSection(), {}, None, servers={"x": McpSection(url="http://127.0.0.1:9/mcp")})
    step = meter.price(Step(producer="p", engine="mcp:x", usage=Usage(tokens_out=1)))
    assert step.usage.cost is None
