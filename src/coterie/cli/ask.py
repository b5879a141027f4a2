"""`coterie ask`: one request through the network."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coterie.cli.bridge import with_network
from coterie.cli.large import parse_money
from coterie.cli.output import Json, clean, console, dim, remark, show_json, show_table
from coterie.errors import InputError

if TYPE_CHECKING:
    from coterie.network.pipeline import Network
    from coterie.types import Answer, Citation, Columns, Document, Evidence, Finding, Label, Release, Request, Trace


_Session = Annotated[
    str | None, typer.Option(metavar="NAME", help="Remember the exchange under this name, and use what it holds.")
]
_Label = Annotated[
    str | None, typer.Option(metavar="LABEL", help="Sensitivity: public, internal, confidential or restricted.")
]
_Clearance = Annotated[
    str | None,
    typer.Option("--as", metavar="LABEL", help="The most sensitive label that you may see; default: the network's."),
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


def ask(
    context: typer.Context,
    *,
    text: Annotated[
        str, typer.Argument(metavar="TEXT", help='What to ask; "-" reads it from standard input.', show_default=False)
    ] = "",
    specialist: Annotated[
        str | None, typer.Option(metavar="NAME", help="Ask this specialist and skip the router.")
    ] = None,
    columns: Annotated[
        str | None, typer.Option(metavar="JSON", help="Structured input: one JSON object of plain values.")
    ] = None,
    document: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A file that the question is about, read here from beginning to end: PDF, DOCX, HTML, Markdown, text.",
            show_default=False,
        ),
    ] = None,
    shelf: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The document stands on this shelf, and FILE is its name there."),
    ] = None,
    document_label: Annotated[
        str | None,
        typer.Option(metavar="LABEL", help="Sensitivity of that file, where it is above the question's."),
    ] = None,
    session: _Session = None,
    label: _Label = None,
    clearance: _Clearance = None,
    release_to: _ReleaseTo = None,
    because: _Because = None,
    quality: _Quality = None,
    budget: _Budget = None,
    trace: Annotated[bool, typer.Option("--trace", help="Also show the request's whole life.")] = False,
    as_json: Json = False,
) -> None:
    """Ask the network.

    The answer is printed as it comes, then who answered, how sure they are and what it took. An abstention is an
    answer too: the reason is printed and the exit code is 0.
    """
    request = replace(
        read_request(text, columns, specialist=specialist, session=session),
        label=parse_label("--label", label),
        clearance=parse_label("--as", clearance),
        release=_read_release(parse_label("--release-to", release_to), because),
        document=_find_document(document, shelf, parse_label("--document-label", document_label)),
        quality=quality,
        budget=parse_money("--budget", budget),
    )
    folder: Path = context.obj
    answer = with_network(folder, lambda network: _answer(network, request, aloud=not as_json))
    if as_json:
        _show_json(answer, with_trace=trace)
    else:
        _show_after(answer.trace, folder, with_trace=trace)


def read_request(
    text: str, columns: str | None, *, session: str | None, specialist: str | None = None, command: str = "ask"
) -> Request:
    """What was typed as a request. Raises `InputError` for what no network could answer."""
    from coterie.types import Request

    text = _read_stdin() if text == "-" else text
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError("The text is not valid UTF-8.", hint="Check the terminal's encoding.") from error
    if not text.strip() and columns is None:
        raise InputError(
            "Asked with no text and no columns.",
            hint=f'coterie {command} "...", or --columns \'{{"name": 1}}\' (see --help)',
        )
    parsed = None if columns is None else _parse_columns(columns)
    return Request(text=text, columns=parsed, specialist=specialist, session=session)


def _read_release(to: Label | None, because: str | None) -> Release | None:
    """The order to lower a label. Raises `InputError` for half of one."""
    from coterie.types import Release

    if to is None and because is None:
        return None
    if to is None or because is None:
        given, missing = ("--because", "--release-to LABEL") if to is None else ("--release-to", "--because TEXT")
        raise InputError(f"{given} was given without {missing}.", hint="A release has a label and a reason.")
    return Release(to=to, because=because)


def _find_document(path: Path | None, shelf: str | None, label: Label | None) -> Document | None:
    """What was named: a file that is read now, or a document of a shelf. Raises `InputError`."""
    from coterie.types import Document

    if path is None:
        if shelf is not None:
            raise InputError("--shelf was given without a document.", hint="Name it: --document NAME")
        return None
    return _read_document(path, label) if shelf is None else Document(name=str(path), label=label, shelf=shelf)


def _read_document(path: Path, label: Label | None) -> Document:
    """The text of a file, read in a process of its own. Raises `InputError`."""
    from coterie.knowledge.parsed import Unreadable
    from coterie.knowledge.reading import FileReader
    from coterie.types import Document

    try:
        with FileReader() as reader:
            return Document(text=reader.read(path).text, name=path.name, label=label)
    except Unreadable as error:
        raise InputError(
            f"--document {str(path)!r} cannot be read: {error}.",
            hint="Give the path of a PDF, DOCX, HTML, Markdown or text file.",
        ) from error


def _read_stdin() -> str:
    try:
        return sys.stdin.buffer.read().decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise InputError(f"Standard input is not UTF-8 text: {error}.") from error


def _parse_columns(columns: str) -> Columns:
    try:
        parsed = json.loads(columns, parse_constant=_refuse_constant)
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


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def parse_label(option: str, label: str | None) -> Label | None:
    """A label as it was typed; None if none was. Raises `InputError`."""
    from coterie.types import Label

    try:
        return None if label is None else Label(label)
    except ValueError:
        raise InputError(f"{option} is {label!r}.", hint=f"Labels are: {', '.join(Label)}.") from None


async def _answer(network: Network, request: Request, *, aloud: bool) -> Answer:
    """The settled answer; aloud, its pieces are printed as soon as they are certain."""
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
    from coterie.observe.plain import plain, summarise

    document = {"answer": answer.text, **summarise(answer.trace)}
    if with_trace:
        document["trace"] = plain(answer.trace)
    show_json(document)


def _show_after(trace: Trace, folder: Path, *, with_trace: bool) -> None:
    """The line under the answer and, if asked for, the trace as a tree."""
    from coterie.config.file import load_config
    from coterie.observe.tree import draw_trace

    currency = load_config(folder).accounting.currency
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
    """A row a citation: the number by which the answer refers to it, and where it stands."""
    rows = [
        (
            f"[{number}]",
            each.document,
            each.heading if each.page is None else f"page {each.page}",
            f"{each.start}-{each.end}",
            " ".join(each.text.split()),
        )
        for number, each in enumerate(finding.citations, start=1)
    ]
    show_table(["", "document", "heading or page", "characters", "quote"], rows, title=finding.specialist)


def _show_nearest(finding: Finding) -> None:
    """Where to look oneself: what came nearest to an answer that is not sure enough to be given."""
    quotes: list[tuple[str, Citation | Evidence]] = [
        *((each.document, each) for each in finding.citations),
        *((each.name, each) for each in finding.evidence if each.kind == "quote"),
    ]
    rows = [(name, f"{each.start}-{each.end}", " ".join(each.text.split())) for name, each in quotes]
    if rows:
        title = f"{finding.specialist}: the nearest, which need not answer it"
        show_table(["document", "characters", "quote"], rows, title=title)


def _show_fields(finding: Finding) -> None:
    """A row a value: what it is, the words it stands in, where they are, how sure."""
    rows = [
        (
            each.name,
            "not stated" if not each.stated else "-" if each.value is None else str(each.value),
            " ".join(each.text.split()),
            f"{each.start}-{each.end}" if each.stated else "",
            f"{each.confidence:.2f}",
            "yes" if each.accepted else "no",
        )
        for each in finding.fields
    ]
    show_table(["field", "value", "quote", "characters", "confidence", "accepted"], rows, title=finding.specialist)


def _summary_line(trace: Trace, currency: str) -> str:
    """Who was asked, how sure they were, what it took."""
    from coterie.accounting.breakdown import format_money

    usage = trace.usage
    asked = " -> ".join(trace.route.specialists) or "nobody"
    sure = ", ".join(f"{finding.specialist} {finding.confidence:.2f}" for finding in trace.findings)
    parts: Sequence[str] = (
        trace.status,
        f"route {asked}",
        f"confidence {sure}" if sure else "",
        f"cost {format_money(usage.cost, currency)}",
        f"{usage.joules:.3g} J {usage.joules_kind}",
        f"{usage.milliseconds:.0f} ms",
        f"trace {trace.id}",
    )
    return "[" + "; ".join(part for part in parts if part) + "]"
