"""`coterie ask`: send one request through the network; `coterie trace`: draw a settled request."""

from __future__ import annotations

import json
import math
import sys
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coterie.cli.bridge import configured, with_network, with_store
from coterie.cli.options import (
    Clearance,
    Columns,
    ContentLabel,
    Tenant,
    TraceId,
    check_utf8,
    parse_label,
    parse_money,
    read_text,
)
from coterie.cli.output import Json, clean, console, dim, give, one_line, remark, show_json, show_table
from coterie.errors import InputError

if TYPE_CHECKING:
    from coterie.network.network import Network
    from coterie.types import Answer, Document, Finding, Label, Release, Request, Scalar, Trace


_Session = Annotated[
    str | None, typer.Option(metavar="NAME", help="Remember the exchange under this name, and use what it holds.")
]
_Quality = Annotated[
    float | None, typer.Option(metavar="SHARE", help="Keep this share of the generalist's quality, 0 to 1.")
]
_Budget = Annotated[
    str | None, typer.Option(metavar="MONEY", help="Money per 1,000 such requests: this one may cost a thousandth.")
]
_ReleaseTo = Annotated[
    str | None,
    typer.Option(metavar="LABEL", help="Lower the label of what is asked, in spite of personal data in it. --because."),
]
_Because = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Why it is released; kept in the trace and in the audit log.")
]
_Document = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A file that the question is about, read here from beginning to end: PDF, DOCX, HTML, Markdown, text.",
        show_default=False,
    ),
]
_Index = Annotated[
    str | None,
    typer.Option("--index", "--shelf", metavar="NAME", help="The index that has the document; FILE is the name there."),
]
_ShowEgress = Annotated[
    bool, typer.Option("--show-egress", help="Also show the text that left this machine, as it left. It is content.")
]
_DocumentLabel = Annotated[
    str | None, typer.Option(metavar="LABEL", help="Sensitivity of that file, where it is above the question's.")
]


def ask(
    context: typer.Context,
    *,
    text: Annotated[
        str, typer.Argument(metavar="TEXT", help='What to ask; "-" reads it from standard input.', show_default=False)
    ] = "",
    specialist: Annotated[
        str | None, typer.Option(metavar="NAME", help="Ask this specialist and skip the router.")
    ] = None,
    columns: Columns = None,
    document: _Document = None,
    index: _Index = None,
    document_label: _DocumentLabel = None,
    session: _Session = None,
    label: ContentLabel = None,
    clearance: Clearance = None,
    release_to: _ReleaseTo = None,
    because: _Because = None,
    quality: _Quality = None,
    budget: _Budget = None,
    trace: Annotated[bool, typer.Option("--trace", help="Also show the request's whole life.")] = False,
    show_egress: _ShowEgress = False,
    as_json: Json = False,
) -> None:
    """Ask the network.

    The answer is printed as it arrives. Below it are the specialist, its confidence, the cost, and what left this
    machine for the answer. An abstention is an answer too: the reason is printed and the exit code is 0.
    """
    from coterie.observe.plain import without_egress_text

    request = replace(
        read_request(text, columns, session=session),
        specialist=specialist,
        label=parse_label("--label", label),
        clearance=parse_label("--as", clearance),
        release=_read_release(parse_label("--release-to", release_to), because),
        document=_find_document(document, index, parse_label("--document-label", document_label)),
        quality=quality,
        budget=parse_money("--budget", budget),
    )
    folder: Path = context.obj
    answer = with_network(folder, lambda network: _answer(network, request, aloud=not as_json))
    shown = answer.trace if show_egress else without_egress_text(answer.trace)
    for words in dict.fromkeys(words for finding in shown.findings for words in finding.reason.for_operator):
        remark(f"Note: {words}.")
    if as_json:
        _show_json(replace(answer, trace=shown), with_trace=trace or show_egress)
    else:
        _show_after(shown, configured(folder).accounting.currency, with_trace=trace or show_egress)


def read_request(text: str, columns: str | None, *, session: str | None, command: str = "ask") -> Request:
    """Make a request from the typed text and columns. Raises `InputError` for one that no network could answer."""
    from coterie.types import Request

    text = check_utf8(read_text("-").strip() if text == "-" else text)
    if not text.strip() and columns is None:
        raise InputError(
            "Asked with no text and no columns.",
            hint=f'coterie {command} "...", or --columns \'{{"name": 1}}\' (see --help)',
        )
    return Request(text=text, columns=None if columns is None else _parse_columns(columns), session=session)


def _read_release(to: Label | None, because: str | None) -> Release | None:
    """Return the order to lower a label. Raises `InputError` if only one of the two options is given."""
    from coterie.types import Release

    if to is None and because is None:
        return None
    if to is None or because is None:
        typed, missing = ("--because", "--release-to LABEL") if to is None else ("--release-to", "--because TEXT")
        raise InputError(f"{typed} was given without {missing}.", hint="A release has a label and a reason.")
    return Release(to=to, because=because)


def _find_document(path: Path | None, index: str | None, label: Label | None) -> Document | None:
    """Return the named document: one of an index, or a file, read now in its own process. Raises `InputError`."""
    from coterie.knowledge.parse import FileReader
    from coterie.knowledge.parsed import Unreadable
    from coterie.types import Document

    if path is None:
        if index is not None:
            raise InputError("--index was given without a document.", hint="Name it: --document NAME")
        return None
    if index is not None:
        return Document(name=str(path), label=label, index=index)
    try:
        with FileReader() as reader:
            return Document(text=reader.read(path).text, name=path.name, label=label)
    except Unreadable as error:
        raise InputError(
            f"--document {str(path)!r} cannot be read: {error}.",
            hint="Give the path of a PDF, DOCX, HTML, Markdown or text file.",
        ) from error


def _parse_columns(columns: str) -> dict[str, Scalar]:
    def refuse(name: str) -> None:
        raise ValueError(f"{name} is not a JSON number")

    try:
        parsed = json.loads(columns, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise InputError(f"--columns is not JSON: {error}.", hint='Give one object: {"age": 41}') from error
    if not isinstance(parsed, dict):
        raise InputError(
            f"--columns is a JSON {type(parsed).__name__}, not an object.", hint='Give one object: {"age": 41}'
        )
    for name, value in parsed.items():
        if isinstance(value, dict | list) or (isinstance(value, float) and not math.isfinite(value)):
            raise InputError(f"--columns has {value!r} at {name!r}: only text, numbers, true, false and null go.")
    return parsed


async def _answer(network: Network, request: Request, *, aloud: bool) -> Answer:
    """Return the settled answer; with `aloud`, print its pieces as soon as they are certain."""
    from coterie.types import Delta

    async with aclosing(network.stream(request)) as events:
        async for event in events:
            if not isinstance(event, Delta):
                answer = event
            elif aloud:
                sys.stdout.write(clean(event.text))
                sys.stdout.flush()
    if aloud:
        sys.stdout.write("\n")
    return answer


def _show_json(answer: Answer, *, with_trace: bool) -> None:
    from coterie.observe.plain import summarise
    from coterie.runtime.codec import readable

    whole = {"trace": readable(answer.trace)} if with_trace else {}
    show_json({"answer": answer.text, **summarise(answer.trace), **whole})


def _show_after(trace: Trace, currency: str, *, with_trace: bool) -> None:
    """Print the line under the answer and, with `with_trace`, the trace as a tree."""
    from coterie.observe.tree import draw_trace

    for finding in trace.findings:
        if finding.fields:
            _show_fields(finding)
        if finding.citations and finding.accepted:
            _show_citations(finding)
        elif finding.form == "text" and trace.status == "abstained":
            _show_nearest(finding)
        if finding.truncated:
            remark(f"Note: {finding.specialist} read only the beginning: the text is longer than its model's window.")
    dim(_summary_line(trace, currency))
    if with_trace:
        console(sys.stdout).print(draw_trace(trace, currency=currency))


def _show_citations(finding: Finding) -> None:
    """Print one row per citation: the number by which the answer refers to it, and its position."""
    rows = []
    for number, citation in enumerate(finding.citations, start=1):
        position = citation.heading if citation.page is None else f"page {citation.page}"
        rows.append(
            (f"[{number}]", citation.document, position, f"{citation.start}-{citation.end}", one_line(citation.text))
        )
    show_table(["", "document", "heading or page", "characters", "quote"], rows, title=finding.specialist)


def _show_nearest(finding: Finding) -> None:
    """Print the passages nearest to an answer that is not sure enough to be given, for the user to read."""
    rows = [
        (citation.document, f"{citation.start}-{citation.end}", one_line(citation.text))
        for citation in finding.citations
    ]
    quotes = (item for item in finding.evidence if item.kind == "quote")
    rows += [(quote.name, f"{quote.start}-{quote.end}", one_line(quote.text)) for quote in quotes]
    if rows:
        title = f"{finding.specialist}: the nearest, which need not answer it"
        show_table(["document", "characters", "quote"], rows, title=title)


def _show_fields(finding: Finding) -> None:
    """Print one row per value: the field, the quoted words, their position, the confidence."""
    rows = [
        (
            field.name,
            "not stated" if not field.stated else "-" if field.value is None else str(field.value),
            one_line(field.text),
            f"{field.start}-{field.end}" if field.stated else "",
            f"{field.confidence:.2f}",
            "yes" if field.accepted else "no",
        )
        for field in finding.fields
    ]
    show_table(["field", "value", "quote", "characters", "confidence", "accepted"], rows, title=finding.specialist)


def _confidence(finding: Finding) -> str:
    return "unknown" if (confidence := finding.known_confidence) is None else f"{confidence:.2f}"


def _summary_line(trace: Trace, currency: str) -> str:
    from coterie.accounting.breakdown import format_cost

    usage = trace.usage
    sure = ", ".join(f"{finding.specialist} {_confidence(finding)}" for finding in trace.findings)
    parts = (
        trace.status,
        f"route {' -> '.join(trace.route.specialists) or 'nobody'}",
        f"egress {trace.egress_summary}",
        f"confidence {sure}" if sure else "",
        f"cost {format_cost(usage, trace.steps, currency)}",
        f"{usage.joules:.3g} J {usage.joules_kind}",
        f"{usage.milliseconds:.0f} ms",
        f"trace {trace.id}",
    )
    return "[" + "; ".join(part for part in parts if part) + "]"


# --- A settled request ---------------------------------------------------------------------------


def trace(
    context: typer.Context,
    *,
    trace_id: TraceId,
    tenant: Tenant = "default",
    show_egress: _ShowEgress = False,
    as_json: Json = False,
) -> None:
    """Show everything about a request.

    The route, the findings and what each specialist saw, verdicts, what left this machine, stages and ledger.
    """
    from coterie.observe.plain import without_egress_text
    from coterie.observe.tree import draw_trace
    from coterie.runtime.codec import readable

    folder: Path = context.obj
    config = configured(folder)
    shown = with_store(folder, config, lambda store: store.trace(trace_id, tenant))
    if shown is None:
        raise no_trace(folder, trace_id, tenant)
    if not show_egress:
        shown = without_egress_text(shown)
    elif any(not crossing.text for crossing in shown.egress):
        remark("The text that left was not kept: [store] keep_content is false, or the content was erased.")
    drawn = draw_trace(shown, currency=config.accounting.currency)
    give(readable(shown), lambda: console(sys.stdout).print(drawn), as_json=as_json)


def no_trace(folder: Path, trace_id: str, tenant: str) -> InputError:
    """Return the error for a trace that the store does not have."""
    store = configured(folder).store
    return InputError(
        f"No trace {trace_id!r} of tenant {tenant!r} in {str(store.url or folder / store.path)!r}.",
        hint="The id stands under each answer of `coterie ask` and in the gateway's x-coterie-trace header.",
    )
