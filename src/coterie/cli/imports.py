"""`coterie import` and `coterie discover`: make training files from logs of large-model calls, and find jobs."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coterie.cli.options import check_choice
from coterie.cli.output import Json, counted, give, one_line, say, show_table

if TYPE_CHECKING:
    from coterie.flywheel.discovery import Discovery, FoundJob
    from coterie.flywheel.recorded import Recorded
    from coterie.logs.rows import Imported, ImportedFile

SKIPPED = {
    "broken": "records that are no JSON object",
    "conflicting": "rows whose text has another value elsewhere (kept)",
    "cut": "answers that end because they might be no longer",
    "duplicate": "rows that are there already",
    "empty": "answers without a value for the field",
    "error": "calls that failed",
    "long_call": "calls of more than 500,000 characters",
    "no_answer": "calls without an answer",
    "no_question": "calls without a text of the user",
    "not_a_call": "records of something else than a model's answer to a text",
    "not_quoted": "rows with a value that does not stand in the text",
    "not_utf8": "lines that are not UTF-8, read as Windows-1252",
    "refused": "answers that the model or its filter refused",
    "several_calls": "answers with several tool calls",
    "stray_list": "answers that are lists, where next to all others are one label",
    "too_long": "lines longer than 64 MiB",
    "too_many_fields": "values of fields beyond the first 500",
    "unknown": "records of a shape that is not known",
}
"""Descriptions of the counted reasons for skipping a record."""
_SHOWN = 6


def import_logs(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="JSONL, JSON or CSV, plain or gzipped.")],
    *,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for the training files.")] = Path("imported"),
    task: Annotated[
        str | None,
        typer.Option(metavar="TASK", help="classify, extract or generate, in place of what the values suggest."),
    ] = None,
    field: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this field of the answers. May be given again.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be written, and write nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Make training files of logged calls of large models.

    The format is detected record by record: OpenAI requests with responses (chat completions, Responses, completions,
    batches), fine-tuning files, LiteLLM, Langfuse, OpenTelemetry GenAI. An answer that is JSON is split: a field
    with few values becomes a file for `classify`, fields whose values occur in the text one for `extract`, free text
    one for `generate`. Failed calls and unreadable records are counted and left out. The text is the user's
    last message; `source` in each row names its file and line.
    """
    from coterie.cli.progress import DownloadProgress
    from coterie.logs.rows import TASKS
    from coterie.logs.rows import import_logs as read_logs

    if task is not None:
        check_choice("task", task, TASKS)
    total = sum(path.stat().st_size for path in files if path.is_file())
    with DownloadProgress("Reading the logs") as bar:
        imported = read_logs(
            files,
            None if dry_run else out,
            task=task,
            only=field or (),
            progress=lambda _path, done: bar.update(done, total),
        )
    give(_document(imported, out, dry_run=dry_run), lambda: _show(imported, out, dry_run=dry_run), as_json=as_json)


def _document(imported: Imported, out: Path, *, dry_run: bool) -> dict[str, Any]:
    return {
        "records": imported.records,
        "exchanges": imported.exchanges,
        "formats": dict(imported.formats),
        "skipped": {reason: count for reason, count in sorted(imported.skipped.items()) if count},
        "conflicting": imported.conflicting,
        "fields": {
            name: {"rows": counts.rows, "empty": counts.nulls, "values": len(counts.distinct), "form": counts.form()}
            for name, counts in imported.fields.items()
        },
        "files": [_file(file, out, imported, dry_run=dry_run) for file in imported.files],
    }


def _file(file: ImportedFile, out: Path, imported: Imported, *, dry_run: bool) -> dict[str, Any]:
    return {
        "file": str(out / file.name),
        "written": not dry_run,
        "task": file.task,
        "fields": list(file.types),
        "rows": file.rows,
        "labels": dict(file.labels),
        "site": file.site,
        "instructions": imported.sites.get(file.site, ""),
        "add": file.arguments(out),
    }


def _show(imported: Imported, out: Path, *, dry_run: bool) -> None:
    formats = ", ".join(f"{name} {count:,}" for name, count in imported.formats.most_common())
    say(f"{counted(imported.exchanges, 'answer')} in {counted(imported.records, 'record')} ({formats}).")
    counts = {**imported.skipped, "conflicting": imported.conflicting}
    for reason, count in sorted(counts.items(), key=lambda pair: -pair[1]):
        if count:
            say(f"{count:,} {SKIPPED[reason]}")
    rows = [(file.name, file.task, ", ".join(file.types), f"{file.rows:,}", _values(file)) for file in imported.files]
    show_table(["file", "task", "fields", "rows", "labels"], rows)
    trained = {name for file in imported.files for name in file.types}
    if idle := [name for name in imported.fields if name not in trained]:
        say(f"Of no use for training (one value only, numbers, or lists of free text): {', '.join(idle)}.")
    for file in imported.files:
        if file.site in imported.sites:
            say(f"{file.name}: the calls with the instructions {one_line(imported.sites[file.site])[:100]!r}")
    if dry_run:
        say("Nothing was written.")
    for file in imported.files if not dry_run else ():
        say(f"Next: coterie add {shlex.join(file.arguments(out))}")


def _values(file: ImportedFile) -> str:
    """Return the most frequent labels with their counts."""
    shown = [f"{one_line(label)} {count:,}" for label, count in list(file.labels.items())[:_SHOWN]]
    more = len(file.labels) - len(shown)
    return ", ".join([*shown, *([f"{more:,} more"] if more > 0 else [])])


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

    A job is the shared task of many calls. Jobs are found by the constant text of their prompts, by the shape of their
    answers, and by whether the answers depend on the inputs in the same way. Two wordings of a prompt are one job; two
    questions about the same texts are two. No model is asked. With `--out` the input and the label of each call become
    training rows.
    """
    from coterie.cli.progress import stage
    from coterie.flywheel.discovery import discover as find_jobs
    from coterie.flywheel.recorded import read_calls, write_rows

    recorded = read_calls(files)
    with stage("Finding jobs", len(recorded.calls)) as show:
        discovery = find_jobs(recorded.calls, support=support, callers=callers, progress=show)
    written: dict[int, tuple[Path, int]] = {}
    for number, job in enumerate(discovery.jobs, 1):
        if out is not None and job.answers.shape in {"labels", "lists"}:
            out.mkdir(parents=True, exist_ok=True)
            path = out / f"job-{number}.csv"
            written[number] = path, write_rows(path, job, discovery, recorded.calls)
    document = [_jobs_document(job, len(recorded.calls), written.get(n)) for n, job in enumerate(discovery.jobs, 1)]
    give(
        {
            "calls": len(recorded.calls),
            "skipped": {reason: count for reason, count in sorted(recorded.skipped.items()) if count},
            "jobs": document,
            "rest": len(discovery.rest),
        },
        lambda: _show_jobs(recorded, discovery, written),
        as_json=as_json,
    )


def _jobs_document(job: FoundJob, calls: int, written: tuple[Path, int] | None) -> dict[str, Any]:
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


def _show_jobs(recorded: Recorded, discovery: Discovery, written: dict[int, tuple[Path, int]]) -> None:
    say(f"{counted(len(discovery.jobs), 'job')} in {counted(len(recorded.calls), 'call')}.")
    for reason, count in recorded.skipped.most_common():
        if count:
            say(f"{count:,} {SKIPPED[reason]}")
    show_table(
        ["job", "calls", "share", "callers", "cost", "task", "prompts", "labels"],
        [_row(number, job, len(recorded.calls)) for number, job in enumerate(discovery.jobs, 1)],
    )
    for number, job in enumerate(discovery.jobs, 1):
        if job.templates:
            say(f"{number}: {one_line(job.templates[0])[:_CHARACTERS]!r}; asks about {_example(job)!r}")
    if discovery.rest:
        say(f"{counted(len(discovery.rest), 'call')} of no job.")
    for number, (path, rows) in written.items():
        several = ["--multi-label"] if discovery.jobs[number - 1].answers.shape == "lists" else []
        words = shlex.join([path.stem, "--task", "classify", *several, "--data", str(path)])
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
