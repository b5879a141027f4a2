"""`coterie discover`: the jobs in logged calls to a large model, and what a specialist for each would be trained on."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coterie.cli.imports import SKIPPED
from coterie.cli.output import Json, counted, give, one_line, say, show_table

if TYPE_CHECKING:
    from coterie.flywheel.discovery import Discovery, FoundJob
    from coterie.flywheel.recorded import Recorded

_LABELS, _CHARACTERS = 4, 70


def discover(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Logs, as `coterie import` reads them.")],
    *,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write the training rows of each job with labels here.")
    ] = None,
    support: Annotated[int, typer.Option(min=2, metavar="N", help="Fewest calls of a prompt's template.")] = 20,
    callers: Annotated[
        int,
        typer.Option(
            "--callers",
            "--askers",
            min=1,
            metavar="N",
            help="Leave out jobs of fewer callers, as far as the logs name them.",
        ),
    ] = 1,
    as_json: Json = False,
) -> None:
    """Find the jobs that a large model does for you, in the logs of its calls.

    A job is what many calls ask for: found by the constant text of their prompts, by the shape of their answers, and by
    whether the answers depend on the inputs in the same way. Two wordings of a prompt are one job; two questions about
    the same texts are two. No model is asked. With `--out` the input and the label of each call become training rows.
    """
    from coterie.cli.progress import stage
    from coterie.flywheel.discovery import discover as find_jobs
    from coterie.flywheel.recorded import read_calls, write_rows

    recorded = read_calls(files)
    with stage("Finding jobs", len(recorded.calls)) as show:
        found = find_jobs(recorded.calls, support=support, callers=callers, progress=show)
    written: dict[int, tuple[Path, int]] = {}
    for number, job in enumerate(found.jobs, 1):
        if out is not None and job.answers.shape == "labels":
            out.mkdir(parents=True, exist_ok=True)
            path = out / f"job-{number}.csv"
            written[number] = path, write_rows(path, job, found, recorded.calls)
    document = [_document(job, len(recorded.calls), written.get(n)) for n, job in enumerate(found.jobs, 1)]
    give(
        {
            "calls": len(recorded.calls),
            "skipped": {reason: count for reason, count in sorted(recorded.skipped.items()) if count},
            "jobs": document,
            "rest": len(found.rest),
        },
        lambda: _show(recorded, found, written),
        as_json=as_json,
    )


def _document(job: FoundJob, calls: int, written: tuple[Path, int] | None) -> dict[str, Any]:
    return {
        "calls": len(job.calls),
        "share": len(job.calls) / calls,
        "cost": job.cost,
        "callers": job.callers,
        "task": job.task,
        "shape": job.answers.shape,
        "labels": job.answers.labels,
        "templates": list(job.templates),
        "examples": list(job.inputs),
        "file": None if written is None else str(written[0]),
        "rows": None if written is None else written[1],
    }


def _show(recorded: Recorded, found: Discovery, written: dict[int, tuple[Path, int]]) -> None:
    say(f"{counted(len(found.jobs), 'job')} in {counted(len(recorded.calls), 'call')}.")
    for reason, count in recorded.skipped.most_common():
        if count:
            say(f"{count:,} {SKIPPED[reason]}")
    show_table(
        ["job", "calls", "share", "callers", "cost", "task", "prompts", "labels"],
        [_row(number, job, len(recorded.calls)) for number, job in enumerate(found.jobs, 1)],
    )
    for number, job in enumerate(found.jobs, 1):
        if job.templates:
            say(f"{number}: {one_line(job.templates[0])[:_CHARACTERS]!r}; asks about {_example(job)!r}")
    if found.rest:
        say(f"{counted(len(found.rest), 'call')} of no job.")
    for path, rows in written.values():
        words = shlex.join([path.stem, "--task", "classify", "--data", str(path)])
        say(f"{path}: {counted(rows, 'row')}. Next: coterie add {words}")


def _row(number: int, job: FoundJob, calls: int) -> list[str]:
    labels = [f"{one_line(label)} {count:,}" for label, count in list(job.answers.labels.items())[:_LABELS]]
    more = len(job.answers.labels) - len(labels)
    cost = "unknown" if job.cost is None else f"{job.cost:.4f}"
    return [
        str(number),
        f"{len(job.calls):,}",
        f"{len(job.calls) / calls:.0%}",
        str(job.callers),
        cost,
        job.task,
        str(max(1, len(job.templates))),
        ", ".join([*labels, *([f"{more} more"] if more > 0 else [])]),
    ]


def _example(job: FoundJob) -> str:
    return one_line(next(iter(job.inputs), ""))[:_CHARACTERS]
