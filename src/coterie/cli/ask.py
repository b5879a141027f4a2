"""`coterie ask`, `trace`, `route`, `decide`, `decisions`: send one request, show how it was or would be answered."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from coterie.cli.bridge import configured, find_file, run, say_untrained, with_network, with_store
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
from coterie.cli.output import (
    Json,
    clean,
    console,
    dim,
    give,
    number,
    one_line,
    paragraph,
    remark,
    say,
    show_json,
    show_table,
    warn,
)
from coterie.errors import InputError

if TYPE_CHECKING:
    from coterie.assembly import Preview
    from coterie.network.network import Network
    from coterie.routing.evaluation import ExpectedRoute, RouteEvaluation
    from coterie.routing.matching import CandidateSpecialist, Considered, Explanation
    from coterie.types import Answer, Document, Finding, Label, Question, Release, Request, Scalar, Trace

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
    from coterie.cli.progress import draw_trace

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
    for reference, citation in enumerate(finding.citations, start=1):
        position = citation.heading if citation.page is None else f"page {citation.page}"
        rows.append(
            (f"[{reference}]", citation.document, position, f"{citation.start}-{citation.end}", one_line(citation.text))
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
    from coterie.cli.progress import draw_trace
    from coterie.observe.plain import without_egress_text
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


# --- `coterie route`: show which specialist the router would choose, and why; measure the router on a file.

T = TypeVar("T")

_SHOWN = 10
"""The most confusions, fixes and specialists that are shown; `--json` has all."""
_FIGURES = {
    "accuracy": "accuracy",
    "single_accuracy": "accuracy, texts for one",
    "compound_accuracy": "accuracy, texts for several",
    "out_of_scope_recall": "out of scope: share that nobody was asked about",
    "false_rejection": "in scope: share that nobody was asked about",
    "false_split": "texts for one that several were asked about",
}

_File = Annotated[
    Path | None,
    typer.Option(
        "--eval",
        metavar="FILE",
        help="Route every text of this CSV or JSONL file instead, and compare with its specialists.",
    ),
]
_SpecialistColumn = Annotated[
    str,
    typer.Option(
        metavar="COLUMN", help="With --eval: column with the specialist; empty for nobody, | between several."
    ),
]


def route(
    context: typer.Context,
    *,
    text: Annotated[
        str, typer.Argument(metavar="TEXT", help='What to route; "-" reads it from standard input.', show_default=False)
    ] = "",
    columns: Columns = None,
    session: Annotated[
        str | None, typer.Option(metavar="NAME", help="Use what is remembered under this name; nothing is added.")
    ] = None,
    label: ContentLabel = None,
    clearance: Clearance = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Also show what was compared: pieces, specialists, nearest examples.")
    ] = False,
    file: _File = None,
    text_column: Annotated[str, typer.Option(metavar="COLUMN", help="With --eval: column with the text.")] = "text",
    specialist_column: _SpecialistColumn = "specialist",
    as_json: Json = False,
) -> None:
    """Show which specialists the network would ask, without asking them.

    No weights and no models are loaded, nothing is stored. With --eval: accuracy, wrongly refused and wrongly accepted
    texts, confused specialists, and the texts of the file that would help most as examples.
    """
    folder: Path = context.obj
    if file is not None:
        if text or columns is not None:
            raise InputError("Asked to route a text and to measure a file.", hint="Give either TEXT or --eval FILE.")
        _evaluate(folder, find_file(folder, file), text_column, specialist_column, as_json=as_json)
        return
    request = replace(
        read_request(text, columns, session=session, command="route"),
        label=parse_label("--label", label),
        clearance=parse_label("--as", clearance),
    )
    explanation = _with_preview(folder, lambda preview: preview.explain(request))
    give(_document(explanation), lambda: _show(explanation, details=explain), as_json=as_json)


def _with_preview(folder: Path, use: Callable[[Preview], Awaitable[T]]) -> T:
    from coterie.assembly import open_preview

    async def opened() -> T:
        preview = await open_preview(folder)
        say_untrained(preview.network.untrained, folder)
        try:
            return await use(preview)
        finally:
            await preview.close()

    return run(opened())


def _document(explanation: Explanation) -> dict[str, Any]:
    from coterie.runtime.codec import readable

    route = explanation.route
    chosen = {"specialists": list(route.specialists), **route.reason.described()}
    scored = {"scores": readable(route.scores), "parts": readable(route.parts), "asked": readable(explanation.asked)}
    read = {"read_as": explanation.read_as, "orders": readable(explanation.orders)}
    return {**chosen, **scored, **read, "considered": readable(explanation.considered)}


def _show(explanation: Explanation, *, details: bool) -> None:
    """Print the chosen specialists with order and reasons, and with `details` everything that was compared."""
    rows = [
        (
            str(position),
            " -> ".join(", ".join(stage) for stage in part.stages),
            "".join(f"part {before + 1} " for before in part.after).strip() or "-",
            f"{part.score:.3f}",
            one_line(part.text),
        )
        for position, part in enumerate(explanation.route.parts, start=1)
    ]
    if rows:
        show_table(["part", "asked", "after", "score", "text"], rows)
    else:
        say("Nobody is asked.")
    paragraph(str(explanation.route.reason))
    for order in explanation.orders:
        dim(f"Not followed, since a text does not choose who reads it: {order!r}")
    if details:
        if len(explanation.considered) == 1:
            dim("No two pieces of it are like different specialists, so it is read as one request.")
        for considered in explanation.considered:
            _show_considered(considered)


def _show_considered(considered: Considered) -> None:
    rows = [
        (
            candidate.specialist,
            f"{candidate.score:.3f}",
            f"{candidate.similarity:.3f}",
            f"{candidate.typicality:.3f}",
            _needed(candidate),
            "yes" if candidate.in_scope else "no",
            ", ".join(f"{near.example} {near.similarity:.2f}" for near in candidate.nearest),
        )
        for candidate in considered.candidates
    ]
    what = f"asked of {considered.asked}" if considered.asked else "not asked by itself"
    if considered.small_talk:
        what += ", small talk"
    columns = ["specialist", "score", "similarity", "typicality", "needs", "in scope", "nearest examples"]
    show_table(columns, rows, title=f"{one_line(considered.text)!r}: {what}")
    if considered.margin is not None:
        dim(f"The first is {considered.margin:.3f} ahead of the second.")


def _needed(candidate: CandidateSpecialist) -> str:
    return f"similarity {candidate.needed:g}" if candidate.cold else f"typicality {candidate.needed:g}"


# --- On a file -----------------------------------------------------------------------------------


def _evaluate(folder: Path, path: Path, text_column: str, specialist_column: str, *, as_json: bool) -> None:
    from coterie.routing.evaluation import read_expected

    expected = read_expected(path, text_column=text_column, specialist_column=specialist_column)
    figures = _with_preview(folder, lambda preview: _measure(preview, expected, path.name))
    if figures.unknown:
        warn([f"the network has no specialist {', '.join(figures.unknown)}; such a row cannot be right."])
    document = {"file": path.name, **_figures(figures)}
    give(document, lambda: _show_figures(figures, path.name), as_json=as_json)


async def _measure(preview: Preview, expected: list[ExpectedRoute], name: str) -> RouteEvaluation:
    from coterie.cli.progress import stage
    from coterie.routing.evaluation import judge_routes
    from coterie.types import Request

    explained = []
    with stage(f"route {name}", len(expected)) as advance:
        for row in expected:
            explained.append(await preview.explain(Request(text=row.text)))
            advance(1)
    return judge_routes(expected, explained, tuple(preview.network.specialists))


def _figures(figures: RouteEvaluation) -> dict[str, Any]:
    from coterie.runtime.codec import readable

    keys = ("rows", "asked", "right", "recall", "precision")
    tallies = {name: {key: getattr(tally, key) for key in keys} for name, tally in figures.specialists.items()}
    shown: dict[str, Any] = {field.name: readable(getattr(figures, field.name)) for field in fields(figures)}
    return {**shown, "specialists": tallies}


def _show_figures(figures: RouteEvaluation, name: str) -> None:
    rows = [(words, number(value)) for key, words in _FIGURES.items() if (value := getattr(figures, key)) is not None]
    show_table(["figure", "value"], rows, title=f"The router on {figures.rows:,} texts of {name}")
    tallies = sorted(figures.specialists.items(), key=lambda item: item[1].recall or 0.0)[:_SHOWN]
    show_table(
        ["specialist", "texts", "asked", "recall", "precision"],
        [(name, t.rows, t.asked, number(t.recall), number(t.precision)) for name, t in tallies],
        title="By specialist, the lowest recall first",
    )
    if not figures.confusions:
        say("Every text went where it should.")
        return
    show_table(
        ["should be", "was", "texts", "mostly like its"],
        [
            (confusion.expected, confusion.asked, confusion.count, confusion.like)
            for confusion in figures.confusions[:_SHOWN]
        ],
        title="Confused",
    )
    if figures.fixes:
        show_table(
            ["as example of", "text", "mends", "now goes to", "for its"],
            [(fix.specialist, fix.text, fix.mends, fix.asked, fix.like) for fix in figures.fixes[:_SHOWN]],
            title="Texts that would mend most as examples",
        )


# --- `coterie decide`: answer typed questions about a state; `coterie decisions`: list the questions and their answers.

_Choices = Annotated[
    list[str] | None,
    typer.Option("--choice", metavar="NAME=A|B|C", help="A question with one right option; repeat it for more."),
]
_Predicates = Annotated[
    list[str] | None, typer.Option("--predicate", metavar="NAME=TEXT", help="Is it true? Answered by a probability.")
]
_Scores = Annotated[
    list[str] | None, typer.Option("--score", metavar="NAME=LOW|...|HIGH", help="A rating on ordered levels.")
]


def decide(
    context: typer.Context,
    *,
    state: Annotated[str, typer.Argument(metavar="STATE", help='A text or a JSON object; "-" reads standard input.')],
    choice: _Choices = None,
    predicate: _Predicates = None,
    score: _Scores = None,
    questions: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Questions as JSON, by name, as `POST /v1/systemone` takes them."),
    ] = None,
    specialist: Annotated[str | None, typer.Option(metavar="NAME", help="Only this specialist may answer.")] = None,
    label: ContentLabel = None,
    clearance: Clearance = None,
    as_json: Json = False,
) -> None:
    """Answer typed questions about a state, with probabilities.

    A specialist answers a question whose options are its labels; any other question is answered zero-shot, and the
    answer says so.
    """
    from coterie.decisions.questions import request_about
    from coterie.observe.plain import summarise_decisions

    questions_ = [*_parse(choice, predicate, score), *_read(questions)]
    request = replace(
        request_about(check_utf8(read_text("-").strip() if state == "-" else state)),
        specialist=specialist,
        label=parse_label("--label", label),
        clearance=parse_label("--as", clearance),
    )
    answer = with_network(context.obj, lambda network: network.decide(request, questions_))
    if as_json:
        weights = [dict(zip(decision.options, decision.probabilities, strict=True)) for decision in answer.decisions]
        show_json(summarise_decisions(answer) | {"probabilities": weights})
        return
    columns = ("question", "answer", "confidence", "accepted", "by", "site")
    show_table(
        columns,
        [
            (
                decision.question,
                _shown(decision.value),
                f"{decision.confidence:.2f}",
                "yes" if decision.accepted else "no",
                decision.answered_by,
                decision.site,
            )
            for decision in answer.decisions
        ],
    )
    dim(f"[egress {answer.trace.egress_summary}; trace {answer.trace.id}]")
    for decision in answer.decisions:
        if not decision.accepted and not decision.zero_shot:
            remark(f"{decision.question}: {decision.reason}")
    if any(decision.zero_shot for decision in answer.decisions):
        remark("Zero-shot confidence is calibrated only once outcomes are known, so none of it is accepted.")


def decisions(context: typer.Context, *, as_json: Json = False) -> None:
    """List the questions so far: how often they were asked, which model or specialist answered, at what cost.

    The site is the fingerprint by which `[decisions.sites]` of coterie.toml gives a question its own specialist.
    """
    from coterie.accounting.breakdown import format_money
    from coterie.runtime.codec import readable

    folder: Path = context.obj
    config = configured(folder)
    sites = with_store(folder, config, lambda store: store.sites()) or []
    names = {site.question: name for name, site in config.decisions.sites.items()}
    currency = config.accounting.currency

    def view() -> None:
        show_table(
            ("site", "name", "question", "asked", "accepted", "zero-shot", "answered by", "cost", "J"),
            [
                (
                    site.site,
                    names.get(site.site, site.name),
                    f"{site.kind}: {', '.join(site.options[:4])}{', ...' if len(site.options) > 4 else ''}",
                    site.asked,
                    site.accepted,
                    site.zero_shot,
                    ", ".join(sorted(site.answered_by)),
                    "at least " * bool(site.unpriced) + format_money(site.cost, currency),
                    f"{site.joules:.2f}",
                )
                for site in sites
            ],
        )

    document = {"sites": [{**readable(site), "name": names.get(site.site, site.name)} for site in sites]}
    give(
        document,
        view if sites else "No typed question was asked yet: coterie decide STATE --choice NAME=A|B",
        as_json=as_json,
    )


def _shown(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.2f}"


def _parse(choices: list[str] | None, predicates: list[str] | None, scores: list[str] | None) -> list[Question]:
    """Return the questions of the command's options. Raises `InputError`."""
    from coterie.types import Question

    parsed = []
    for option, given in (("--choice", choices), ("--predicate", predicates), ("--score", scores)):
        for typed in given or ():
            name, equals, rest = check_utf8(typed).partition("=")
            if not equals or not name.strip() or not rest.strip():
                raise InputError(f"{option} is {typed!r}.", hint=f"Write {option} NAME=... (see --help).")
            if option == "--predicate":
                parsed.append(Question.predicate(rest, name=name))
                continue
            make = Question.choice if option == "--choice" else Question.score
            parsed.append(make([option.strip() for option in rest.split("|")], name=name))
    return parsed


def _read(path: Path | None) -> list[Question]:
    """Return the questions of a file. Raises `InputError`."""
    if path is None:
        return []
    from pydantic import ValidationError

    from coterie.gateway.systemone import read_questions
    from coterie.runtime.codec import strict_json

    try:
        return read_questions(strict_json(path.read_bytes()))
    except (OSError, ValueError) as error:
        shown = (error.strerror if isinstance(error, OSError) else None) or str(error)
        if isinstance(error, ValidationError):
            wrong = error.errors(include_url=False, include_input=False)[0]
            shown = ": ".join(filter(None, [".".join(map(str, wrong["loc"][1:])), wrong["msg"]]))
        form = 'Write questions by name: {"late": {"type": "noul", "instructions": "It is late."}}.'
        raise InputError(f"--questions {str(path)!r} cannot be read: {shown}.", hint=form) from error
