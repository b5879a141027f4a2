"""MCP by the official SDK: specialists as tools, indexes as resources.

There is one server per message over HTTP, one per process over stdio. Tool calls go through `network.ask`, so
permissions, labels, budgets and the audit log are those of `/v1/chat/completions`. A document is read by the same rules
as a document named in a request.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache, partial
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Literal, cast
from urllib.parse import quote, unquote, urlsplit

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
    TextContent,
    TextResourceContents,
    Tool,
    ToolAnnotations,
    jsonrpc_message_adapter,
)
from pydantic import BaseModel, ConfigDict, Field, StrictStr, ValidationError
from starlette.datastructures import Headers

from coterie import __version__
from coterie.config.file import GatewaySection
from coterie.errors import InputError, SetupError
from coterie.gateway.access import Caller
from coterie.gateway.connection import encode
from coterie.gateway.errors import ErrorResponse, WireError, error_response
from coterie.gateway.openai.translation import ROUTED
from coterie.gateway.wire import (
    Cell,
    CitationView,
    EgressView,
    EvidenceView,
    FieldView,
    FindingView,
    RouteView,
    UsageView,
    read_strict,
)
from coterie.gateway.work import BY_A_MODEL, Gateway, asked_a_model, idle_options, open_gateway
from coterie.generalist.reading import READER
from coterie.knowledge.documents import DocumentIndex
from coterie.network.gathering import hidden
from coterie.observe.plain import EGRESS_HEADER, summarise
from coterie.runtime.concurrency import aside
from coterie.types import Answer, AuditEvent, Document, Label, Principal, Request, SpecialistCard, Usage

if TYPE_CHECKING:
    from coterie.network.network import Network

ROUTER_TOOL = "ask"
"""The tool for which the router chooses the specialist."""
SCHEME = "coterie"
_EGRESS = f"{ROUTED}/egress"
"""Key in `_meta` of what left the machine for a result or an error, as the header `x-coterie-egress` says it."""
_LABELS = 50
"""Most labels that a tool's description names."""
_MANY_ROUNDS = {"llm", "chain"}
"""Rungs that may ask a remote model."""


# --- Arguments -----------------------------------------------------------------------------------


class ToolArguments(BaseModel):
    """Arguments of a specialist's tool."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)

    text: StrictStr = ""
    """The question, in the words of the user."""
    columns: Annotated[dict[Annotated[str, Field(max_length=200)], Cell], Field(max_length=1000)] | None = None
    """Structured input, by column name."""
    session: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")] | None = None
    """Name of a conversation that is remembered, so that follow-up questions are understood."""
    label: Label | None = None
    """Sensitivity of the question; by default, the network's default label."""
    clearance: Label | None = None
    """The most sensitive label whose documents may be read for it, at most the caller's."""
    language: Annotated[str, Field(pattern=r"^[a-z]{2}(-[A-Z]{2})?$")] | None = None
    """Language of the text, such as `de`; by default, it is detected."""
    max_tokens: Annotated[int, Field(ge=1, le=1_048_576)] | None = None
    """Longest generated text in tokens."""


class AskArguments(ToolArguments):
    """Arguments of the routed network's tool."""

    document: Annotated[str, Field(min_length=1)] | None = None
    """A long text that the question is about; it is read whole."""
    quality: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    """Share of the large model's quality to keep, at the least cost."""
    budget: Annotated[Decimal, Field(ge=0, allow_inf_nan=False)] | None = None
    """Money per 1,000 such requests, instead of a quality."""


def read_arguments(given: Mapping[str, Any], *, specialist: str | None, caller: Caller, most: Label) -> Request:
    """Return the request of a tool call; without a specialist the router chooses.

    Raises:
        InputError: an argument that the tool does not have, or half a character.
        ValidationError: an invalid value.
        WireError: a clearance above `most`.
    """
    try:
        json.dumps(given, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise InputError(
            "The arguments hold half a character (a lone surrogate).", hint="Send valid Unicode."
        ) from None
    kind = AskArguments if specialist is None else ToolArguments
    if unknown := sorted(given.keys() - kind.model_fields.keys()):
        raise InputError(f"Unknown argument {unknown[0][:100]!r}.", hint=f"There is: {', '.join(kind.model_fields)}.")
    options = kind.model_validate(dict(given))
    if options.clearance is not None and options.clearance > most:
        raise WireError(
            "invalid_request", f"clearance: {options.clearance.value!r} is above {most.value!r}, the most here."
        )
    values = dict(options) | {"clearance": options.clearance or most}
    if values.get("document"):
        values["document"] = Document(text=values["document"])
    return Request(
        **values,
        tenant=caller.tenant,
        key=caller.key_id,
        allowed=caller.specialists,
        release_slot=caller.release_slot,
        specialist=specialist,
    )


# --- Tools ---------------------------------------------------------------------------------------


class ToolAnswer(BaseModel):
    """Result of a tool: a value, or an abstention (`accepted` false) with its reason."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    text: str
    """The answer in words, or why there is none."""
    status: Literal["accepted", "abstained", "escalated"]
    """Outcome of the request; `escalated`: a large model answered instead of a specialist."""
    accepted: bool
    """Whether the confidence suffices. Do not use the value otherwise."""
    specialist: str | None
    """Name of the specialist that found the value."""
    value: str | int | float | bool | list[str] | None
    confidence: float | None
    """Calibrated probability that the value is right."""
    reason: str
    reason_code: str
    """Stable code of the reason, such as `abstain.below_threshold`."""
    reason_values: dict[str, Any]
    evidence: list[EvidenceView]
    fields: list[FieldView] | None = None
    """Fields of an `extract` specialist."""
    citations: list[CitationView] | None = None
    """Citations of an `answer` specialist."""
    trace_id: str
    egress: EgressView
    usage: UsageView


class RoutedAnswer(ToolAnswer):
    """Result of the routed network, with the specialists that were asked and all findings."""

    route: RouteView
    findings: list[FindingView]


def tool_names(specialists: Iterable[str]) -> dict[str, str | None]:
    """Return the specialist of each tool, None for the router's; a name that the router has gets a variant."""
    names_of_specialists = list(specialists)
    names: dict[str, str | None] = {ROUTER_TOOL: None}
    for name in names_of_specialists:
        tool = name
        while tool in names or (tool != name and tool in names_of_specialists):
            tool = f"{tool}_specialist"
        names[tool] = name
    return names


def routed_tool(network: str, *, outside: bool) -> Tool:
    """Return the tool that asks the whole network."""
    about = (
        f"Ask the network {network!r}: it routes the request to the specialists that fit, or says that none does. "
        "Where `accepted` is false, nobody was sure enough: do not present `value` as an answer."
    )
    return Tool(
        name=ROUTER_TOOL,
        title=f"Ask {network}",
        description=about,
        input_schema={**_schema(AskArguments, "validation"), "required": ["text"]},
        output_schema=_schema(RoutedAnswer, "serialization"),
        annotations=_annotations(outside=outside, repeatable=False),
    )


def specialist_tool(tool: str, card: SpecialistCard, *, outside: bool) -> Tool:
    """Return the tool of one specialist."""
    schema = _schema(ToolArguments, "validation")
    if card.columns:
        cell = {"type": ["string", "number", "boolean", "null"]}
        columns = {"type": "object", "properties": dict.fromkeys(card.columns, cell), "minProperties": 1}
        columns["description"] = "Structured input, by column name."
        schema = {**schema, "properties": {**schema["properties"], "columns": columns}}
    some = card.labels[:_LABELS]
    labels = f": {', '.join(some)}{' ...' if len(some) < len(card.labels) else ''}" if some else ""
    needed = ["columns"] if card.guards_columns else ["text", "columns"] if card.columns else ["text"]
    return Tool(
        name=tool,
        title=card.name,
        description=f"{card.description} ({card.task}{labels}; `accepted` is false where it is not sure.)".strip(),
        input_schema={**schema, "required": needed},
        output_schema=_schema(ToolAnswer, "serialization"),
        annotations=_annotations(
            outside=outside or card.rung in _MANY_ROUNDS, repeatable=card.form != "text", title=card.name
        ),
        _meta={"coterie/version": card.version, "coterie/task": card.task, "coterie/rung": card.rung},
    )


def _annotations(*, outside: bool, repeatable: bool, title: str | None = None) -> ToolAnnotations:
    """Return the hints: a tool changes nothing; a tool that may send data off this machine has an open world."""
    return ToolAnnotations(
        title=title,
        read_only_hint=True,
        destructive_hint=False,
        idempotent_hint=repeatable,
        open_world_hint=outside,
    )


@cache
def _schema(kind: type[BaseModel], mode: Literal["validation", "serialization"]) -> dict[str, Any]:
    return kind.model_json_schema(mode=mode)


# --- Answers -------------------------------------------------------------------------------------


def tool_result(answer: Answer, *, specialist: str | None, ignored: Sequence[str] = ()) -> CallToolResult:
    """Return an answer as structured content and as JSON text for other clients.

    Its `_meta` has what the headers of the other endpoints have: trace, egress, and the arguments without effect.
    """
    summary: dict[str, Any] = dict(summarise(answer.trace))
    # What answers: the accepted finding of the specialist that was asked, then one of another, then an abstention.
    ranked = sorted(summary["findings"], key=lambda finding: (finding["accepted"], finding["specialist"] == specialist))
    leading = ranked[-1] if ranked else summary["route"]
    content = {
        "value": None,
        "confidence": None,
        "specialist": None,
        "evidence": [],
        **{key: value for key, value in leading.items() if key in ToolAnswer.model_fields},
        **{key: summary[key] for key in ("status", "accepted", "trace_id", "egress", "usage")},
        "text": answer.text,
        **({} if specialist else {key: summary[key] for key in ("route", "findings")}),
    }
    body = encode(content).decode()
    meta: dict[str, Any] = {_EGRESS: answer.trace.egress_summary, f"{ROUTED}/trace": answer.trace.id}
    meta |= {f"{ROUTED}/ignored": list(ignored)} if ignored else {}
    return CallToolResult(content=[TextContent(text=body)], structured_content=json.loads(body), _meta=meta)


def failed(error: ErrorResponse) -> CallToolResult:
    """Return an error as a result for the model that called the tool."""
    about = {"code": error.error["code"], "status": error.status_code}
    if "retry-after" in error.headers:
        about["retry_after"] = int(error.headers["retry-after"])
    egress = {_EGRESS: error.headers[EGRESS_HEADER]} if EGRESS_HEADER in error.headers else {}
    body = encode({"error": {"message": error.error["message"], **about}}).decode()
    return CallToolResult(content=[TextContent(text=body)], is_error=True, _meta={f"{ROUTED}/error": about, **egress})


# --- Resources -----------------------------------------------------------------------------------

TEMPLATE = f"{SCHEME}://{{index}}/{{document}}"


def document_uri(index: str, document: str = "") -> str:
    """Return the address of a document, or of an index. Names are escaped, so no client reads a path into them."""
    return f"{SCHEME}://{index}" + (f"/{quote(document, safe='')}" if document else "")


def read_uri(uri: str) -> tuple[str, str]:
    """Return index and document of an address; the document is empty for an index. Raises `InputError`."""
    try:
        parts = urlsplit(uri)
        if parts.scheme == SCHEME and parts.netloc and not parts.query and not parts.fragment:
            return parts.netloc, unquote(parts.path.removeprefix("/"), errors="strict")
    except ValueError:
        pass
    raise InputError(
        f"{uri[:200]!r} is no resource here.", hint=f"Resources are {TEMPLATE}; resources/list names them."
    )


# --- The protocol itself, by the official SDK: one server per message over HTTP, one per process over stdio.

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
