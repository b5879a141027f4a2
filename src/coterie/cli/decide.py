"""`coterie decide`: answer typed questions about a state; `coterie decisions`: list the questions and their answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coterie.cli.bridge import configured, with_network, with_store
from coterie.cli.options import Clearance, ContentLabel, check_utf8, parse_label, read_text
from coterie.cli.output import Json, dim, give, remark, show_json, show_table
from coterie.errors import InputError

if TYPE_CHECKING:
    from coterie.types import Question

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
