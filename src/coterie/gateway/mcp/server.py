"""The protocol itself, by the official SDK: one server per message over HTTP, one per process over stdio.

Tool calls go through `network.ask`, so permissions, labels, budgets and the audit log are those of
`/v1/chat/completions`. A document is read by the same rules as a document named in a request.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import anyio
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError
from mcp.shared.message import SessionMessage
from mcp.types.version import HANDSHAKE_PROTOCOL_VERSIONS, KNOWN_PROTOCOL_VERSIONS
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    PARSE_ERROR,
    CallToolRequestParams,
    CallToolResult,
    ErrorData,
    JSONRPCError,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ListToolsResult,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
    TextResourceContents,
    jsonrpc_message_adapter,
)
from pydantic import ValidationError
from starlette.datastructures import Headers

from coterie import __version__
from coterie.config.file import GatewaySection
from coterie.errors import SetupError
from coterie.gateway.access import Caller
from coterie.gateway.connection import encode
from coterie.gateway.errors import WireError, error_response
from coterie.gateway.exchange import BY_A_MODEL, asked_a_model, idle_options
from coterie.gateway.mcp.translation import (
    TEMPLATE,
    document_uri,
    failed,
    read_arguments,
    read_uri,
    routed_tool,
    specialist_tool,
    tool_names,
    tool_result,
)
from coterie.gateway.wire import read_strict
from coterie.gateway.work import Gateway, open_gateway
from coterie.generalist.reading import READER
from coterie.knowledge.documents import DocumentIndex
from coterie.network.gathering import hidden
from coterie.runtime.concurrency import aside
from coterie.types import AuditEvent, Document, Principal, Request, Usage

if TYPE_CHECKING:
    from coterie.network.network import Network

PAGE = 500
"""Resources on one page."""
_MANUAL = (
    "Each tool is a small model trained for one task; `ask` lets a router choose. Every result has a calibrated "
    "confidence. Where `accepted` is false, nobody was sure enough: say so, and do not use the value."
)


@dataclass(frozen=True, kw_only=True)
class MCPHandlers:
    """Lists, calls and reads on behalf of one caller."""

    gateway: Gateway
    caller: Caller
    takes_slots: bool = False
    """Whether each call takes a worker slot itself; over HTTP the whole request has one."""

    async def list_tools(self, _context: object, _params: PaginatedRequestParams | None) -> ListToolsResult:
        """List the routed network first, then each specialist that the caller may see."""
        network = self.gateway.network
        outside = network.generalist is not None
        tools = [
            routed_tool(network.name, outside=outside)
            if name is None
            else specialist_tool(tool, network.specialists[name].card, outside=outside)
            for tool, name in self._tools().items()
        ]
        return ListToolsResult(tools=tools)

    async def call_tool(self, _context: object, params: CallToolRequestParams) -> CallToolResult:
        """Call a tool. An error of the request or the network is returned as a result, for the model to read."""
        tools, network = self._tools(), self.gateway.network
        if params.name not in tools:
            raise MCPError(INVALID_PARAMS, f"Unknown tool {params.name[:100]!r}; there is {', '.join(tools)}.")
        specialist = tools[params.name]
        try:
            async with self._working() as caller:
                most = caller.clearance(network.default_label)
                request = read_arguments(params.arguments or {}, specialist=specialist, caller=caller, most=most)
                answer, kinds = await network.whole(request)
            self.gateway.metrics.count_answer(answer.trace)
            idle = list(idle_options(self.gateway, request))
            by_model = asked_a_model(answer) or not kinds.isdisjoint(BY_A_MODEL)
            if (params.arguments or {}).get("max_tokens") is not None and not by_model:
                idle.append("max_tokens")
            return tool_result(answer, specialist=specialist, ignored=idle)
        except Exception as error:  # noqa: BLE001 - every error becomes a result; see error_response
            return failed(error_response(error))

    async def list_resources(self, _context: object, params: PaginatedRequestParams | None) -> ListResourcesResult:
        """List every index with its documents that the caller may see, a page at a time."""
        after = _read_cursor(params.cursor) if params and params.cursor else ("", "")
        documents: list[tuple[str, str]] = []
        for index in sorted(name for name in self._indexes() if name >= after[0]):
            names = [""]
            with suppress(SetupError):  # an index that cannot be read is there, and its documents are not
                names += sorted(await self._documents(index))
            documents += [(index, name) for name in names if (index, name) > after][: PAGE + 1 - len(documents)]
            if len(documents) > PAGE:
                break
        more = _write_cursor(*documents[PAGE - 1]) if len(documents) > PAGE else None
        return ListResourcesResult(resources=[_resource(*document) for document in documents[:PAGE]], next_cursor=more)

    async def list_templates(
        self,
        _context: object,
        _params: PaginatedRequestParams | None,
    ) -> ListResourceTemplatesResult:
        """List the URI template of a document."""
        about = "The text of a document on an index; the name is percent-encoded, `/` as `%2F`."
        template = ResourceTemplate(
            name="document", title="Document", uri_template=TEMPLATE, description=about, mime_type="text/plain"
        )
        return ListResourceTemplatesResult(resource_templates=[template])

    async def read_resource(self, _context: object, params: ReadResourceRequestParams) -> ReadResourceResult:
        """Read an index as the names of its documents, or a document's text, which is recorded in the audit log."""
        try:
            async with self._working():
                text, kind = await self._read(*read_uri(params.uri))
        except Exception as error:  # noqa: BLE001 - as above, as an error of the protocol
            refused = error_response(error)
            code = INVALID_PARAMS if refused.status_code in {400, 404} else INTERNAL_ERROR
            about = {"uri": params.uri, "code": refused.error["code"]}
            raise MCPError(code, f"Resource not found or refused: {refused.error['message']}", about) from None
        return ReadResourceResult(contents=[TextResourceContents(uri=params.uri, mime_type=kind, text=text)])

    # --- What the caller may see -----------------------------------------------------------------

    def _tools(self) -> dict[str, str | None]:
        return tool_names(name for name in self.gateway.network.specialists if self.caller.sees(name))

    def _indexes(self) -> Mapping[str, DocumentIndex]:
        """Return indexes whose documents this caller may name in a request: none without permission for the reader."""
        if not self.caller.sees(READER):
            return {}
        return {
            name: index for name, index in self.gateway.network.knowledge.items() if isinstance(index, DocumentIndex)
        }

    async def _documents(self, index: str) -> Mapping[str, str]:
        """Return the documents of an index that the caller may see. Raises `SetupError` while it cannot be read."""
        clearance = self.caller.clearance(self.gateway.network.default_label)
        return await self._indexes()[index].documents(clearance=clearance, tenant=self.caller.tenant)

    async def _read(self, index: str, name: str) -> tuple[str, str]:
        """Return the content of a resource and its media type."""
        document = Document(name=name, index=index)
        if index not in self._indexes():
            raise hidden(document)
        if not name:
            listed = {"index": index, "documents": sorted(await self._documents(index))}
            return encode(listed).decode(), "application/json"
        network, caller = self.gateway.network, self.caller
        principal = Principal(tenant=caller.tenant, key=caller.key_id)
        reserved = () if network.limits is None else await network.limits.admit(principal, earns=False)
        try:
            clearance = caller.clearance(network.default_label)
            request = Request(
                text=name,
                document=document,
                tenant=caller.tenant,
                key=caller.key_id,
                clearance=clearance,
                allowed=caller.specialists,
            )
            prepared, _ = await network.prepare(request)
        finally:
            if network.limits is not None:
                await network.limits.settle(reserved, Usage())
        text = prepared.document.text if prepared.document else ""
        if network.audit is not None:
            digest = network.audit.digest
            about = {"key": caller.key_id, "index": index, "document": digest(text), "clearance": clearance.value}
            await network.audit.append(
                AuditEvent(kind="resource", time=network.clock(), tenant=caller.tenant, about=about)
            )
        return text.encode("utf-8", "replace").decode(), "text/plain"

    @asynccontextmanager
    async def _working(self) -> AsyncIterator[Caller]:
        """Hold a worker slot, and yield the caller that holds it. Raises `Overloaded`."""
        if not self.takes_slots:
            yield self.caller
            return
        with self.gateway.admission.admit(self.caller.client) as slot:
            async with slot:
                yield replace(self.caller, release_slot=slot.released)


def mcp_server(handlers: MCPHandlers) -> Server[Any]:
    """Return an MCP server for one caller."""
    server: Server[Any] = Server(
        handlers.gateway.network.name,
        version=__version__,
        instructions=_MANUAL,
        on_list_tools=handlers.list_tools,
        on_call_tool=handlers.call_tool,
        on_list_resources=handlers.list_resources,
        on_list_resource_templates=handlers.list_templates,
        on_read_resource=handlers.read_resource,
    )
    server.middleware.clear()  # the SDK's own spans: what leaves as a span is decided in `observe`
    return server


def stateless_manager(gateway: Gateway, caller: Caller, headers: Headers) -> StreamableHTTPSessionManager:
    """Return the manager that answers one HTTP request. A long call becomes an event stream if the client reads one."""
    version = headers.get("mcp-protocol-version")
    whole = version is None or version in HANDSHAKE_PROTOCOL_VERSIONS
    return StreamableHTTPSessionManager(
        app=mcp_server(MCPHandlers(gateway=gateway, caller=caller)),
        stateless=True,
        json_response=whole or "text/event-stream" not in headers.get("accept", ""),
        max_request_body_size=gateway.section.max_body,
    )


def refused_revision(headers: Headers, body: bytes) -> str:
    """Return why a client's protocol revision is refused; empty where the SDK is to check it."""
    version = headers.get("mcp-protocol-version")
    if version is None or version in KNOWN_PROTOCOL_VERSIONS or b'"_meta"' in body:
        return ""
    return (
        f"The revision {version[:40]!r} of the protocol is not spoken here; {', '.join(KNOWN_PROTOCOL_VERSIONS)} are."
    )


def _resource(index: str, document: str = "") -> Resource:
    """Return the resource of an index, or of a document in it."""
    if not document:
        about = f"The documents on the index {index}."
        return Resource(uri=document_uri(index), name=index, description=about, mime_type="application/json")
    return Resource(uri=document_uri(index, document), name=document, mime_type="text/plain")


def _write_cursor(index: str, document: str) -> str:
    return base64.urlsafe_b64encode(f"{index}\0{document}".encode()).decode()


def _read_cursor(cursor: str) -> tuple[str, str]:
    """Return the start of a page. Raises `MCPError` for a cursor of another server."""
    try:
        index, _, document = base64.b64decode(cursor, altchars=b"-_", validate=True).decode().partition("\0")
    except (ValueError, binascii.Error):
        raise MCPError(INVALID_PARAMS, f"{cursor[:100]!r} is no cursor of this server.") from None
    return index, document


async def serve_stdio(network: Network, section: GatewaySection, caller: Caller) -> None:
    """Serve an open network until the input ends, or SIGTERM. Standard output carries the protocol and nothing else."""
    gateway = open_gateway(network, section.model_copy(update={"share": 1.0}))
    server = mcp_server(MCPHandlers(gateway=gateway, caller=caller, takes_slots=True))
    serving = asyncio.create_task(_serve(server, longest=section.max_body))
    if threading.current_thread() is threading.main_thread():
        with suppress(NotImplementedError):  # Windows
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.cancel)
    try:
        await asyncio.wait([serving])
    finally:
        serving.cancel()
        await asyncio.wait([serving])
    if not serving.cancelled():
        serving.result()


async def _serve(server: Server[Any], *, longest: int) -> None:
    # Never closed: closing waits for the thread that reads, and nobody may wait for that one.
    source = open(0, "rb", closefd=False)  # noqa: ASYNC230, SIM115
    refuse: list[Callable[[SessionMessage], Awaitable[None]]] = []
    lines = cast("anyio.AsyncFile[str]", _readable(read_lines(source, longest=longest), refuse))
    async with stdio_server(stdin=lines) as (reading, writing):
        refuse.append(writing.send)
        await server.run(reading, writing, server.create_initialization_options())


async def _readable(
    lines: AsyncIterator[str], refuse: Sequence[Callable[[SessionMessage], Awaitable[None]]]
) -> AsyncIterator[str]:
    """Yield the lines that are messages, and refuse the others: the SDK passes over them, and their sender waits."""
    async for line in lines:
        problem = await aside(len(line), partial(_refusal, line)) if line.strip() else None
        if problem is None:
            yield line
            continue
        for send in refuse:
            await send(SessionMessage(problem))


def _refusal(line: str) -> JSONRPCError | None:
    """Return the error that answers a line which is no message, with the id that can be read in it; else None."""
    code, problem = PARSE_ERROR, ""
    try:
        read_strict(line.encode("utf-8", "replace"))
        code = INVALID_REQUEST
        jsonrpc_message_adapter.validate_json(line, by_name=False)
    except WireError as error:
        problem = error.message
    except ValidationError:
        problem = "The line is no message of JSON-RPC 2.0."
    if not problem:
        return None
    named = None
    with suppress(ValueError, RecursionError):
        content = json.loads(line)
        named = content.get("id") if isinstance(content, dict) else None
    request_id = named if isinstance(named, str | int) and not isinstance(named, bool) else None
    return JSONRPCError(jsonrpc="2.0", id=request_id, error=ErrorData(code=code, message=problem))


async def read_lines(source: BinaryIO, *, longest: int) -> AsyncIterator[str]:
    """Yield the lines of a file, read in a thread that is not joined at the end, since no signal wakes it.

    The rest of a line after `longest` bytes is dropped: half a message is answered as unreadable.
    """
    loop, lines = asyncio.get_running_loop(), asyncio.Queue[str | None](maxsize=64)

    def read() -> None:
        with suppress(RuntimeError, OSError, ValueError):  # the loop has ended meanwhile
            while raw := source.readline(longest):
                rest = raw
                while rest and not rest.endswith(b"\n"):
                    rest = source.readline(longest)
                asyncio.run_coroutine_threadsafe(lines.put(raw.decode("utf-8", "replace")), loop).result()
            asyncio.run_coroutine_threadsafe(lines.put(None), loop).result()

    threading.Thread(target=read, name="coterie-stdin", daemon=True).start()
    while (line := await lines.get()) is not None:
        yield line
