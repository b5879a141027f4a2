"""The official MCP client against a real server, over both transports and in both eras of the protocol."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from urllib.parse import unquote

import httpx
import jsonschema
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import CLIENT_CAPABILITIES_META_KEY, PROTOCOL_VERSION_META_KEY

from coterie.config.file import GatewaySection
from coterie.governance.keys import KeyRing
from coterie.testing import FakeRetriever
from coterie.types import Label, Passage
from mcp import StdioServerParameters

ERAS = ["legacy", "auto"]


class Documents(FakeRetriever):
    """An index of three documents: one that anybody may read, one for few, one of another tenant."""

    def __init__(self):
        labels = {"a/b ä?.md": Label.PUBLIC, "few.md": Label.RESTRICTED, "theirs.md": Label.PUBLIC}
        self.owners = {"theirs.md": "acme"}
        passages = [
            Passage(document=name, start=0, end=9, text=f"It says {name}.", score=1.0, label=label)
            for name, label in labels.items()
        ]
        super().__init__(passages, index="policies", tenants=self.owners)

    async def documents(self, *, clearance=None, tenant="default"):
        """Those that may be seen."""
        return {passage.document: "0" for passage in self._visible(clearance, tenant)}

    async def tenants(self):
        """Not asked."""

    async def update(self, put, remove=()):
        """Not asked."""

    async def text(self, name, start, end, *, clearance, tenant="default"):
        """The passage."""
        return next(
            (passage.text[start:end] for passage in self._visible(clearance, tenant) if passage.document == name), None
        )

    def _visible(self, clearance, tenant):
        owned = (passage for passage in self.passages if self.owners.get(passage.document, tenant) == tenant)
        return [passage for passage in owned if clearance is None or passage.label <= clearance]

    async def search(self, query, *, document=None, clearance, tenant="default", **options):
        """The document that is named."""
        return [passage for passage in self._visible(clearance, tenant) if passage.document == document]


@pytest.fixture
def documents(network):
    """The network has an index."""
    network.knowledge = {"policies": Documents()}


@asynccontextmanager
async def connected(address, *, token=None, mode="auto"):
    """A client of the gateway, with a key."""
    headers = {"authorization": f"Bearer {token}"} if token else None
    async with (
        create_mcp_http_client(headers=headers) as http,
        Client(streamable_http_client(f"{address}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


@pytest.mark.parametrize("mode", ERAS)
async def test_tools_are_the_specialists(address, mode):
    """The routed network and each specialist, with schemas that are valid and hints."""
    async with connected(address, mode=mode) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}

    assert list(tools) == ["ask", "triage", "reply"]
    for tool in tools.values():
        jsonschema.Draft202012Validator.check_schema(tool.input_schema)
        jsonschema.Draft202012Validator.check_schema(tool.output_schema)
        assert tool.annotations.read_only_hint
        assert tool.annotations.open_world_hint is False
    assert tools["triage"].description.startswith("Names the intent.")
    assert (tools["triage"].annotations.idempotent_hint, tools["reply"].annotations.idempotent_hint) == (True, False)


@pytest.mark.parametrize("mode", ERAS)
async def test_a_tool_answers(address, network, mode):
    """Structured content as the schema says, the same as text, and a settled trace."""
    async with connected(address, mode=mode) as client:
        results = [await client.call_tool(name, {"text": "I lost my card"}) for name in ("ask", "triage")]

    for result in results:
        content = result.structured_content
        assert not result.is_error
        assert json.loads(result.content[0].text) == content
        assert (content["value"], content["confidence"], content["accepted"]) == ("card_lost", 0.97, True)
        assert (content["reason_code"], content["specialist"], content["status"]) == ("text", "triage", "accepted")
        assert content["evidence"][0]["name"] == "card_stolen"
        assert content["trace_id"] in network.store.settled
        assert result.meta["coterie/egress"] == content["egress"]["summary"] == "none"
        assert result.meta["coterie/trace"] == content["trace_id"]
    assert results[0].structured_content["route"]["specialists"] == ["triage"]
    assert "route" not in results[1].structured_content


async def test_an_argument_without_effect_is_named(address):
    """A quality or a budget, where nothing leaves and no threshold is derived, a length where no model writes."""
    async with connected(address) as client:
        for name in ("quality", "budget", "max_tokens"):
            result = await client.call_tool("ask", {"text": "I lost my card", name: 1})
            assert result.meta["coterie/ignored"] == [name]
        assert "coterie/ignored" not in (await client.call_tool("ask", {"text": "I lost my card"})).meta


async def test_an_abstention_is_a_result(address):
    """It is no error, and says why."""
    async with connected(address) as client:
        result = await client.call_tool("ask", {"text": "weather?"})

    content = result.structured_content
    assert not result.is_error
    assert (content["accepted"], content["value"], content["confidence"]) == (False, None, None)
    assert content["reason"] == "no specialist scores above 0.5"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "The request is empty"),
        ({"text": 5}, "text: Input should be a valid string"),
        ({"text": "x", "tenant": "acme"}, "Unknown argument 'tenant'"),
        ({"text": "x", "label": "secret"}, "label: Input should be"),
        ({"text": "x", "clearance": "restricted"}, "above 'internal'"),
        ({"text": "x", "columns": {"a": [1]}}, "columns"),
        ({"text": "x", "columns": {}}, ""),
        ({"text": "x", "session": "a\nb"}, "session"),
    ],
)
@pytest.mark.parametrize("mode", ERAS)
async def test_what_is_wrong_with_a_call_is_said(address, arguments, said, mode):
    """As a result that is an error, for the model to read; nothing breaks."""
    async with connected(address, mode=mode) as client:
        result = await client.call_tool("ask", arguments)

        assert result.is_error == bool(said)
        assert said in result.content[0].text
        assert not (await client.call_tool("ask", {"text": "I lost my card"})).is_error


async def test_half_a_character(address):
    """A lone surrogate, which JSON can hold and text cannot, is refused in both eras."""
    version = "2026-07-28"
    meta = {PROTOCOL_VERSION_META_KEY: version, CLIENT_CAPABILITIES_META_KEY: {}}
    params = {"name": "ask", "arguments": {"text": "\ud800"}, "_meta": meta}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
    plain = {"accept": "application/json", "content-type": "application/json"}
    modern = {**plain, "mcp-protocol-version": version, "mcp-method": "tools/call", "mcp-name": "ask"}
    async with httpx.AsyncClient() as http:
        old, new = [await http.post(f"{address}/mcp", content=body, headers=headers) for headers in (plain, modern)]

    for refused in (old, new):
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, -32700)


async def test_an_unknown_tool(address):
    """An error of the protocol, with the tools there are."""
    async with connected(address) as client:
        with pytest.raises(MCPError, match="Unknown tool 'nobody'; there is ask, triage, reply") as caught:
            await client.call_tool("nobody", {"text": "x"})

    assert caught.value.code == -32602


async def test_an_error_inside_says_nothing(address, network):
    """The client is told that something went wrong, and none of the words of the exception."""

    def trouble(task):
        raise ValueError(f"secret {task.text}")

    network.specialists["triage"].trouble = trouble
    async with connected(address) as client:
        result = await client.call_tool("triage", {"text": "I lost my card"})

    assert result.is_error
    assert "internal_error" in result.content[0].text
    assert "secret" not in result.content[0].text


async def test_a_specialist_named_as_the_router(address, network):
    """`ask` stays the routed network; the specialist has another name that stays free."""
    network.specialists = {"ask": network.specialists["reply"], "ask_specialist": network.specialists["triage"]}
    async with connected(address) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]

    assert len(set(names)) == 3
    assert names[0] == "ask"


@pytest.mark.usefixtures("documents")
@pytest.mark.parametrize("mode", ERAS)
async def test_indexes_are_resources(address, mode):
    """Documents are listed and read by label and tenant; what may not be seen is as if it were not there."""
    async with connected(address, mode=mode) as client:
        resources = (await client.list_resources()).resources
        uris = [str(resource.uri) for resource in resources]
        read = [(await client.read_resource(uri)).contents[0] for uri in uris]
        templates = (await client.list_resource_templates()).resource_templates
        errors = []
        for hidden in ("few.md", "theirs.md", "none.md"):
            with pytest.raises(MCPError) as caught:
                await client.read_resource(f"coterie://policies/{hidden}")
            errors.append(caught.value.message.replace(hidden, "X"))

    assert [resource.name for resource in resources] == ["policies", "a/b ä?.md"]
    assert unquote(uris[1]) == "coterie://policies/a/b ä?.md"
    assert json.loads(read[0].text) == {"index": "policies", "documents": ["a/b ä?.md"]}
    assert (read[1].text, read[1].mime_type) == ("It says a/b ä?.md.", "text/plain")
    assert templates[0].uri_template == "coterie://{index}/{document}"
    assert len(set(errors)) == 1


@pytest.mark.usefixtures("documents")
async def test_a_page_follows_the_other(address, monkeypatch):
    """Every resource comes once; a cursor that is none is refused."""
    monkeypatch.setattr("coterie.gateway.mcp_server.PAGE", 1)
    async with connected(address) as client:
        first = await client.list_resources()
        second = await client.list_resources(cursor=first.next_cursor)
        with pytest.raises(MCPError, match="no cursor"):
            await client.list_resources(cursor="!")

    assert [resource.name for resource in (*first.resources, *second.resources)] == ["policies", "a/b ä?.md"]
    assert second.next_cursor is None


@pytest.mark.usefixtures("documents")
async def test_a_key_is_a_bearer_token(network, serving, tmp_path, notes):
    """It says whose request it is, which specialists and documents there are, and what the audit log has."""
    network.audit = notes()
    ring = KeyRing(tmp_path / "keys.json")
    whole = ring.create("whole", tenant="acme", clearance=Label.RESTRICTED).token
    narrow = ring.create("narrow", specialists=["triage"]).token
    async with serving(network, GatewaySection(port=0), ring=ring) as address:
        async with connected(address, token=whole) as client:
            seen = [resource.name for resource in (await client.list_resources()).resources]
            await client.read_resource("coterie://policies/theirs.md")
            result = await client.call_tool("triage", {"text": "I lost my card"})
        async with connected(address, token=narrow) as client:
            tools = [tool.name for tool in (await client.list_tools()).tools]
            none = (await client.list_resources()).resources
            with pytest.raises(MCPError):
                await client.read_resource("coterie://policies/a%2Fb%20%C3%A4%3F.md")

    assert seen == ["policies", "a/b ä?.md", "few.md", "theirs.md"]
    assert network.store.settled[result.structured_content["trace_id"]].trace.tenant == "acme"
    assert tools == ["ask", "triage"]
    assert none == []
    assert [event.kind for event in network.audit.events] == ["resource", "request"]
    assert {event.tenant for event in network.audit.events} == {"acme"}


async def test_who_may_not_ask(network, serving, tmp_path):
    """No key is 401, a role that may not ask 403 in JSON-RPC's shape."""
    ring = KeyRing(tmp_path / "keys.json")
    token = ring.create("auditor", role="auditor").token
    ask = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    async with serving(network, GatewaySection(port=0), ring=ring) as address, httpx.AsyncClient() as http:
        without = await http.post(f"{address}/mcp", json=ask)
        refused = await http.post(f"{address}/mcp", json=ask, headers={"authorization": f"Bearer {token}"})

    assert (without.status_code, without.headers["www-authenticate"]) == (401, "Bearer")
    assert refused.status_code == 403
    assert refused.json()["error"]["data"] == {"code": "forbidden"}


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {}, 400),
        (b"[]", {}, 400),
        (b"{" * 5000, {}, 400),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "no/such"}', {}, 200),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}', {"mcp-protocol-version": "2031-01-01"}, 400),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}', {"mcp-protocol-version": "2023-06-01"}, 400),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}', {"mcp-protocol-version": "2026-07-28"}, 400),
        (b"x" * 2_000_000, {}, 413),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}', {"accept": "text/html"}, 406),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}', {"content-type": "text/plain"}, 400),
    ],
)
async def test_odd_bodies(address, body, headers, status):
    """A clear error each, in JSON-RPC's shape where there is a body, and the server goes on."""
    sent = {"content-type": "application/json", "accept": "application/json, text/event-stream", **headers}
    async with httpx.AsyncClient() as http:
        response = await http.post(f"{address}/mcp", content=body, headers=sent)
        again = await http.get(f"{address}/mcp")

    assert response.status_code == status, response.text
    assert response.json()["jsonrpc"] == "2.0"
    assert "error" in response.json()
    assert (again.status_code, again.headers["allow"]) == (405, "POST")


async def test_a_revision_that_is_none(address):
    """The error names the revision that was asked for and those that are spoken."""
    ask = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    sent = {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2023-06-01"}
    async with httpx.AsyncClient() as http:
        error = (await http.post(f"{address}/mcp", json=ask, headers=sent)).json()["error"]
    assert error["data"] == {"code": "unsupported_version"}
    assert "2023-06-01" in error["message"]
    assert "2025-11-25" in error["message"]


async def test_too_many_at_once(network, serving):
    """One more than all admissions is told when to come again, as a JSON-RPC error with status 429."""
    held, working = asyncio.Event(), asyncio.Event()

    async def wait():
        working.set()
        await held.wait()

    network.specialists["triage"].trouble = lambda task: wait()
    ask = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    async with (
        serving(network, GatewaySection(port=0, concurrency=1, queue=0)) as address,
        connected(address) as client,
        httpx.AsyncClient() as http,
    ):
        first = asyncio.create_task(client.call_tool("triage", {"text": "I lost my card"}))
        await working.wait()
        refused = await http.post(f"{address}/mcp", json=ask)
        held.set()
        await first

    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["error"]["data"] == {"code": "overloaded"}


# --- Over standard input and output --------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A trained network with an index."""
    home = tmp_path_factory.mktemp("net")
    words = {"delivery": "parcel package arrive courier", "refund": "money back return refund"}
    with (home / "rows.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label"])
        for label, kinds in words.items():
            rows.writerows([[f"{a} {b} number {i}", label] for i, a in enumerate(kinds.split()) for b in kinds.split()])
    (home / "docs").mkdir()
    (home / "docs" / "rules.md").write_text("# Rules\n\nA parcel that never came is paid back.\n")
    for words in (
        ["init", "shop"],
        ["-C", "shop", "add", "intents", "--data", "rows.csv", "--rungs", "lexical", "--description", "What they ask."],
        ["-C", "shop", "index", "policies", "docs", "--label", "public"],
        ["-C", "shop", "add", "rules", "--task", "answer", "--knowledge", "policies", "--rungs", "lexical"],
        ["-C", "shop", "train"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "coterie", *words], cwd=home, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr + done.stdout
    return home / "shop"


def program(folder, **env):
    """How a client starts the server."""
    own = {name: os.environ[name] for name in ("PYTHONPATH", "COTERIE_GUARD") if name in os.environ}
    return StdioServerParameters(
        command=sys.executable, args=["-m", "coterie", "-C", str(folder), "mcp"], env={**own, **env}
    )


@pytest.mark.slow
@pytest.mark.parametrize("mode", ERAS)
async def test_over_stdio(folder, mode):
    """Tools and resources of a real network; what goes wrong is said and the process goes on."""
    async with Client(program(folder), mode=mode) as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        result = await client.call_tool("intents", {"text": "where is my parcel, the courier did not arrive"})
        wrong = await client.call_tool("intents", {"txt": "x"})
        uris = [str(resource.uri) for resource in (await client.list_resources()).resources]
        text = (await client.read_resource(uris[-1])).contents[0].text

    assert tools == ["ask", "intents", "rules"]
    assert result.structured_content["value"] == "delivery"
    assert wrong.is_error
    assert "paid back" in text


@pytest.mark.slow
async def test_a_key_over_stdio(folder):
    """The environment names the key that the server acts for."""
    token = KeyRing(folder / "state/keys.json").create("robot", specialists=["intents"]).token
    async with Client(program(folder, COTERIE_KEY=token)) as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]

        assert tools == ["ask", "intents"]
        assert (await client.list_resources()).resources == []


def run_mcp(folder, lines, **env):
    """The command with this input."""
    words = [sys.executable, "-m", "coterie", "-C", folder, "mcp"]
    return subprocess.run(words, input=lines, capture_output=True, check=False, env={**os.environ, **env})


@pytest.mark.slow
def test_a_key_that_opens_nothing(folder):
    """It is refused at once, with where it was read."""
    done = run_mcp(folder, b"", COTERIE_KEY="ctr_none")

    assert done.returncode != 0
    assert b"COTERIE_KEY" in done.stderr
    assert done.stdout == b""


@pytest.mark.slow
def test_odd_lines_over_stdio(folder):
    """Lines that are no message, too long or no text are refused and do not end it; the input's end does."""
    hello = {
        "jsonrpc": "2.0",
        "id": 7,
        "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
    }
    odd = b'{"jsonrpc":"2.0","id":8,"method":"ping","params":{"a":"\\ud800"}}\n{"id":9,"method":"ping"}\n[1]\n\n'
    lines = b"no json\n" + b"\xff\xfe\n" + b"[" * 3_000_000 + b"\n" + odd + json.dumps(hello).encode() + b"\n"
    done = run_mcp(folder, lines)

    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["result"]["serverInfo"]["name"] for answer in answers if answer.get("id") == 7] == ["shop"]
    refused = [(answer["id"], answer["error"]["code"]) for answer in answers if "error" in answer]
    assert refused == [(None, -32700)] * 3 + [(8, -32700), (9, -32600), (None, -32600)]


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_over_stdio(folder, sent, code):
    """It ends the process at once, in order, though nothing more comes in."""
    # Whoever started the tests may have ignored SIGINT, which a child inherits.
    script = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from coterie.cli.app import main; sys.exit(main(sys.argv[1:]))"
    )
    words = [sys.executable, "-c", script, "-C", folder, "mcp"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdin.write(b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}\n')
        process.stdin.flush()
        process.stdout.readline()
        process.send_signal(sent)
        try:
            exit_code = process.wait(timeout=60)
        finally:
            process.kill()
        stderr = process.stderr.read()

        assert exit_code == code, stderr
        assert b"Traceback" not in stderr
