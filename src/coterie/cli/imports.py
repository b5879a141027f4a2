"""`coterie import`: logs of large-model calls as training files."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coterie.cli.options import check_choice
from coterie.cli.output import Json, counted, give, one_line, say, show_table

if TYPE_CHECKING:
    from coterie.logs.rows import Imported, ImportedFile

SKIPPED = {
    "broken": "records that are no JSON object",
    "conflicting": "rows whose text has another value elsewhere (kept)",
    "cut": "answers that end because they might be no longer",
    "duplicate": "rows that are there already",
    "empty": "answers without a value for the field",
    "error": "calls that failed",
    "no_answer": "calls without an answer",
    "no_question": "calls without a text of the user",
    "not_a_call": "records of something else than a model's answer to a text",
    "not_quoted": "rows with a value that does not stand in the text",
    "not_utf8": "lines that are not UTF-8, read as Windows-1252",
    "refused": "answers that the model or its filter refused",
    "several_calls": "answers with several tool calls",
    "too_long": "lines longer than 64 MiB",
    "too_many_fields": "values of fields beyond the first 500",
    "unknown": "records of a shape that is not known",
}
"""What is counted, in words."""
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

    The format is found record by record: OpenAI requests with responses (chat completions, Responses, completions,
    batches), fine-tuning files, LiteLLM, Langfuse, OpenTelemetry GenAI. An answer that is JSON is taken apart: a field
    with few values becomes a file for `classify`, fields whose values stand in the text one for `extract`, free text
    one for `generate`. Calls that failed, and what cannot be read, are counted and left out. The text is the user's
    last message; `source` in each row names its file and line.
    """
    from coterie.cli.progress import DownloadProgress
    from coterie.logs.rows import TASKS
    from coterie.logs.rows import import_logs as read_logs

    if task is not None:
        check_choice("task", task, TASKS)
    total = sum(path.stat().st_size for path in files if path.is_file())
    with DownloadProgress("Reading the logs") as bar:
        found = read_logs(
            files,
            None if dry_run else out,
            task=task,
            only=field or (),
            progress=lambda _path, done: bar.update(done, total),
        )
    give(_document(found, out, dry_run=dry_run), lambda: _show(found, out, dry_run=dry_run), as_json=as_json)


def _document(found: Imported, out: Path, *, dry_run: bool) -> dict[str, Any]:
    return {
        "records": found.records,
        "exchanges": found.exchanges,
        "formats": dict(found.formats),
        "skipped": {reason: count for reason, count in sorted(found.skipped.items()) if count},
        "conflicting": found.conflicting,
        "fields": {
            name: {"rows": counts.rows, "empty": counts.nulls, "values": len(counts.distinct), "form": counts.form()}
            for name, counts in found.fields.items()
        },
        "files": [_file(file, out, found, dry_run=dry_run) for file in found.files],
    }


def _file(file: ImportedFile, out: Path, found: Imported, *, dry_run: bool) -> dict[str, Any]:
    return {
        "file": str(out / file.name),
        "written": not dry_run,
        "task": file.task,
        "fields": list(file.types),
        "rows": file.rows,
        "labels": dict(file.labels),
        "site": file.site,
        "instructions": found.sites.get(file.site, ""),
        "add": file.arguments(out),
    }


def _show(found: Imported, out: Path, *, dry_run: bool) -> None:
    formats = ", ".join(f"{name} {count:,}" for name, count in found.formats.most_common())
    say(f"{counted(found.exchanges, 'answer')} in {counted(found.records, 'record')} ({formats}).")
    counts = {**found.skipped, "conflicting": found.conflicting}
    for reason, count in sorted(counts.items(), key=lambda each: -each[1]):
        if count:
            say(f"{count:,} {SKIPPED[reason]}")
    rows = [(file.name, file.task, ", ".join(file.types), f"{file.rows:,}", _values(file)) for file in found.files]
    show_table(["file", "task", "fields", "rows", "labels"], rows)
    trained = {name for file in found.files for name in file.types}
    if idle := [name for name in found.fields if name not in trained]:
        say(f"Of no use for training (one value only, numbers, or lists of free text): {', '.join(idle)}.")
    for file in found.files:
        if file.site in found.sites:
            say(f"{file.name}: the calls with the instructions {one_line(found.sites[file.site])[:100]!r}")
    if dry_run:
        say("Nothing was written.")
    for file in found.files if not dry_run else ():
        say(f"Next: coterie add {shlex.join(file.arguments(out))}")


def _values(file: ImportedFile) -> str:
    """The most frequent labels with their counts."""
    shown = [f"{one_line(label)} {count:,}" for label, count in list(file.labels.items())[:_SHOWN]]
    more = len(file.labels) - len(shown)
    return ", ".join([*shown, *([f"{more:,} more"] if more > 0 else [])])
