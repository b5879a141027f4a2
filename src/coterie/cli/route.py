"""`coterie route`: show which specialist the router would choose, and why; measure the router on a file."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from coterie.cli.ask import read_request
from coterie.cli.bridge import find_file, run, say_untrained
from coterie.cli.options import Clearance, Columns, ContentLabel, parse_label
from coterie.cli.output import Json, dim, give, number, one_line, paragraph, say, show_table, warn
from coterie.errors import InputError

if TYPE_CHECKING:
    from coterie.assembly import Preview
    from coterie.routing.evaluation import ExpectedRoute, RouteEvaluation
    from coterie.routing.matching import CandidateSpecialist, Considered, Explanation

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
