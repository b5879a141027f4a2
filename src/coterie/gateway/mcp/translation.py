"""Conversion between MCP and core values: specialists as tools, answers as structured content."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Annotated, Any, Literal
from urllib.parse import quote, unquote, urlsplit

from mcp_types import CallToolResult, TextContent, Tool, ToolAnnotations
from pydantic import BaseModel, ConfigDict, Field, StrictStr

from coterie.errors import InputError
from coterie.gateway.access import Caller
from coterie.gateway.connection import encode
from coterie.gateway.errors import ErrorResponse, WireError
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
)
from coterie.observe.plain import EGRESS_HEADER, summarise
from coterie.types import Answer, Document, Label, Request, SpecialistCard

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
