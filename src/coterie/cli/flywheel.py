"""`coterie import`, `discover`, `flywheel`, `retrain`, `bootstrap`: specialists in place of a large model."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from coterie.cli.bridge import configured, record_bill, record_trainings, run, with_store
from coterie.cli.options import check_choice, group
from coterie.cli.output import Json, counted, give, local_time, number, one_line, remark, say, shell, show_table
from coterie.errors import InputError, SetupError

if TYPE_CHECKING:
    from coterie.config.file import Config
    from coterie.flywheel.deployments import Deployments, JobAlarm
    from coterie.flywheel.discovery import Discovery, FoundJob
    from coterie.flywheel.live import Recorded
    from coterie.flywheel.overview import DeploymentView, JobView
    from coterie.flywheel.runs import FlywheelReport, FlywheelRunner
    from coterie.flywheel.training import Bootstrapped
    from coterie.learning.job import AskedModel
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


_CHARACTERS = 70


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
    from coterie.flywheel.live import read_calls, write_rows

    recorded = read_calls(files)
    with stage("Finding jobs", len(recorded.calls)) as show:
        discovery = find_jobs(recorded.calls, support=support, callers=callers, progress=show)
    written: dict[int, tuple[Path, int]] = {}
    for position, job in enumerate(discovery.jobs, 1):
        if out is not None and job.answers.shape in {"labels", "lists"}:
            out.mkdir(parents=True, exist_ok=True)
            path = out / f"job-{position}.csv"
            written[position] = path, write_rows(path, job, discovery, recorded.calls)
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
        [_row(position, job, len(recorded.calls)) for position, job in enumerate(discovery.jobs, 1)],
    )
    for position, job in enumerate(discovery.jobs, 1):
        if job.templates:
            say(f"{position}: {one_line(job.templates[0])[:_CHARACTERS]!r}; asks about {_example(job)!r}")
    if discovery.rest:
        say(f"{counted(len(discovery.rest), 'call')} of no job.")
    for position, (path, rows) in written.items():
        several = ["--multi-label"] if discovery.jobs[position - 1].answers.shape == "lists" else []
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


# --- `coterie flywheel`: jobs of captured calls and the specialists that replace the model; `coterie retrain`.

T = TypeVar("T")
_LABELS = 4
"""Number of a job's labels that fit into a line of `status`."""

flywheel = group("flywheel", "Captured calls to models: jobs found in them, specialists on their way, alarms.")

_Deployment = Annotated[str, typer.Argument(metavar="DEPLOYMENT", help="Its id, as `status` prints it.")]
_Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why; kept with the deployment, hashed in the audit log.")]


def _with_books(folder: Path, use: Callable[[Deployments], Awaitable[T]]) -> T:
    """Use the flywheel's records of a folder. Raises `SetupError` where nothing was ever stored."""
    config = configured(folder)

    async def work(store: Any) -> T:  # noqa: ANN401 - a store with the flywheel's tables
        from coterie.flywheel.deployments import Deployments
        from coterie.governance.audit import open_audit

        audit = open_audit(config.audit, folder)
        try:
            return await use(Deployments(store=store.flywheel, audit=audit))
        finally:
            if audit is not None:
                await audit.close()

    outcome = with_store(folder, config, work, make=True)
    if outcome is None:
        raise SetupError("There is no database.", hint="Serve the network first.")
    return outcome


@flywheel.command()
def status(context: typer.Context, *, as_json: Json = False) -> None:
    """Show jobs, deployments with their evidence, and open alarms."""
    from coterie.flywheel.overview import deployment_views, job_views
    from coterie.runtime.codec import readable

    folder: Path = context.obj
    config = configured(folder)

    async def read(books: Deployments) -> tuple[list[JobView], list[DeploymentView], list[JobAlarm], int]:
        section = config.flywheel
        return (
            await job_views(books, section),
            await deployment_views(books, section),
            await books.alarms(open_only=True),
            sum(volume.calls for volume in await books.store.volumes() if not volume.job),
        )

    jobs, deployments, alarms, loose = _with_books(folder, read)
    document = {"jobs": readable(jobs), "deployments": readable(deployments), "alarms": readable(alarms)}

    def show() -> None:
        _show_status(folder, config, jobs, deployments, alarms)
        if loose:
            look = f"`{shell(folder, 'flywheel', 'run')}` looks for jobs among them when enough are new."
            say(f"Captured calls of no job: {loose:,}. {look}")

    give({**document, "calls_of_no_job": loose}, show, as_json=as_json)


def _answers_of(job: JobView) -> str:
    """Return the first labels of a job and the number of further ones, or the shape of its answers."""
    if job.shape not in {"labels", "lists"}:
        return f"{job.shape}: {', '.join(job.labels)}" if job.labels else job.shape
    more = len(job.labels) - _LABELS
    several = "lists of " if job.shape == "lists" else ""
    return (
        several + one_line(", ".join(list(job.labels.values())[:_LABELS])) + (f" and {more} more" if more > 0 else "")
    )


def _show_status(
    folder: Path, config: Config, jobs: list[JobView], deployments: list[DeploymentView], alarms: list[JobAlarm]
) -> None:
    if not config.capture.enabled:
        remark("Nothing is captured: set `enabled = true` under [capture] in coterie.toml.")
    if not jobs:
        say(f"No jobs yet. `{shell(folder, 'flywheel', 'run')}` looks for them in captured calls.")
    else:
        show_table(
            ["job", "state", "calls", "local", "callers", "a month", "would save", "answers"],
            [
                (
                    job.name,
                    job.state,
                    f"{job.calls:,}",
                    f"{job.local:,}",
                    job.callers,
                    "unknown" if job.monthly_cost is None else f"{job.monthly_cost:.2f}",
                    "" if job.saves is None else f"{job.saves:.2f}",
                    _answers_of(job),
                )
                for job in jobs
            ],
        )
    if deployments:
        show_table(
            ["deployment", "job", "state", "share", "compared", "covers", "differs", "wins", "losses", "waits for"],
            [
                (
                    deployment.id,
                    deployment.job_name,
                    deployment.state,
                    f"{deployment.share:.0%}" if deployment.share else "",
                    deployment.evidence.compared,
                    number(deployment.covers),
                    number(deployment.evidence.disagreement),
                    deployment.evidence.wins,
                    deployment.evidence.losses,
                    deployment.why,
                )
                for deployment in deployments
            ],
        )
    for alarm in alarms:
        say(f"Alarm {alarm.id}: {alarm.kind} of {alarm.deployment} since {local_time(alarm.since)}; {alarm.action}.")
        say(f"Next: {alarm.command}")


async def _runner(folder: Path, config: Config, books: Deployments) -> FlywheelRunner:
    from coterie.assembly import deployment_loader
    from coterie.engines.onnx import open_encoder
    from coterie.flywheel.runs import FlywheelRunner

    encoder = open_encoder(config.network.encoder, folder, threads=1)
    load = deployment_loader(config, folder, encoder)
    return FlywheelRunner(books=books, config=config, folder=folder, load=load, encoder=encoder)


def _run(folder: Path, *, dry_run: bool = False, only: str | None = None, retrain: bool = False) -> FlywheelReport:
    config = configured(folder)

    async def work(books: Deployments) -> FlywheelReport:
        return await (await _runner(folder, config, books)).run(dry_run=dry_run, only=only, retrain=retrain)

    report = _with_books(folder, work)
    record_trainings(folder, report.trainings)
    return report


def _give_report(report: FlywheelReport, *, as_json: bool) -> None:
    from coterie.runtime.codec import readable

    give(readable(report), lambda: _show_report(report), as_json=as_json)


def _show_report(report: FlywheelReport) -> None:
    if report.busy:
        say(f"The flywheel runs already: {report.busy}.")
        return
    if not report.steps:
        say("Nothing is due.")
        return
    show_table(
        ["step", "job", "deployment", "why"],
        [(step.kind, step.job, step.deployment, step.why) for step in report.steps],
        title="Would do" if report.dry_run else "",
    )


@flywheel.command("run")
def run_once(
    context: typer.Context,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what is due, and change nothing.")] = False,
    job: Annotated[str | None, typer.Option(metavar="JOB", help="Only this job.")] = None,
    as_json: Json = False,
) -> None:
    """Do the work that is due: find jobs, train, advance deployments where the evidence allows it, roll others back.

    Only one run is active at a time, across processes; an interrupted run is continued. A running server follows
    within a second. `[flywheel]` in coterie.toml sets how often a server runs it by itself, and the budget of a week.
    """
    _give_report(_run(context.obj, dry_run=dry_run, only=job), as_json=as_json)


@flywheel.command()
def plan(context: typer.Context, *, as_json: Json = False) -> None:
    """Show what a run would do, and what is waiting, with the reason."""
    _give_report(_run(context.obj, dry_run=True), as_json=as_json)


@flywheel.command()
def promote(
    context: typer.Context,
    deployment: _Deployment,
    *,
    reason: _Reason,
    force: Annotated[bool, typer.Option("--force", help="Also where the gate is not passed.")] = False,
    as_json: Json = False,
) -> None:
    """Move a deployment to its next step: shadow, each stage of the canary, champion."""
    from coterie.flywheel.overview import promote as move_on
    from coterie.registry.registry import login_name
    from coterie.runtime.codec import readable

    section = configured(context.obj).flywheel
    moved = _with_books(
        context.obj,
        lambda books: move_on(books, section, deployment, by=login_name(), reason=reason, force=force),
    )
    share = f" for {moved.share:.0%} of callers" if moved.share else ""
    give(readable(moved), f"{moved.id} is {moved.state}{share}.", as_json=as_json)


@flywheel.command()
def rollback(context: typer.Context, deployment: _Deployment, *, reason: _Reason, as_json: Json = False) -> None:
    """Take a deployment out of the traffic: its calls go to the previous model again within a second."""
    from coterie.flywheel.overview import roll_back
    from coterie.registry.registry import login_name
    from coterie.runtime.codec import readable

    moved = _with_books(context.obj, lambda books: roll_back(books, deployment, by=login_name(), reason=reason))
    give(readable(moved), f"{moved.id} is {moved.state}: its job is the model's again.", as_json=as_json)


@flywheel.command()
def review(
    context: typer.Context,
    job: Annotated[
        str | None,
        typer.Argument(
            metavar="JOB", help="Its name, as `status` prints it; left out, the one whose labels bring most."
        ),
    ] = None,
    *,
    answer: Annotated[
        list[str] | None,
        typer.Option(metavar="EXAMPLE=LABEL", help="A label, a list or an object; EXAMPLE= says that none is right."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the next example for which a person's label is most useful; with --answer, store labels first."""
    from coterie.flywheel.review import ReviewQueue
    from coterie.registry.registry import login_name
    from coterie.runtime.codec import readable

    section, who = configured(context.obj).flywheel, login_name()
    pairs = [typed.partition("=") for typed in answer or []]
    if wrong := next((example for example, sign, _ in pairs if not sign), None):
        raise InputError(f"--answer is {wrong!r}.", hint="Give EXAMPLE=LABEL.")

    async def work(books: Deployments) -> dict[str, Any]:
        queue = ReviewQueue(books, section)
        for example, _, label in pairs:
            await queue.answer(example, label or None, reviewer=who)
        if job is None:
            job_, item = await queue.next_of_all(reviewer=who)
        else:
            job_, item = job, await queue.next(job, reviewer=who)
        return {"item": readable(item), "progress": readable(await queue.progress(job_))}

    document = _with_books(context.obj, work)
    give(document, lambda: _show_item(document), as_json=as_json)


def _show_item(document: dict[str, Any]) -> None:
    item, progress = document["item"], document["progress"]
    say(
        f"{counted(progress['labelled'], 'label')}, {progress['pending']} differences and "
        f"{progress['audits_missing']} of the audit slice wait; {progress['week']} of {progress['budget']} this week."
    )
    if item is None:
        say("Nothing is to be asked.")
        return
    say(f"{item['example']}: {one_line(item['text'])}")
    for shown_answer in item["answers"]:
        say(f"  {one_line(shown_answer)}")
    for name, values in item["fields"].items():
        say(f"{f'Field {name}' if name else 'Any of'}: {', '.join(values)}")
    if not item["fields"]:
        say(f"Labels: {', '.join(item['labels'])}")


@flywheel.command("import")
def import_calls(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Logs, as `coterie import` reads them.")],
    *,
    tenant: Annotated[str, typer.Option(metavar="NAME", help="Whose calls they are.")] = "default",
    as_json: Json = False,
) -> None:
    """Import the calls of log files as captured examples: the next run finds their jobs.

    Personal data is removed as from a server's calls. A file that is imported twice gives the same examples. The cost
    of a call is the one in its log, else its tokens at the prices of the entry of `[models]` with its model's name.
    """
    from coterie.assembly import capture_detector
    from coterie.flywheel.live import batches, caller_secret, log_examples, priced, read_calls
    from coterie.privacy.kinds import open_detector

    folder: Path = context.obj
    config = configured(folder)
    recorded = read_calls(files)
    detector = capture_detector(config, folder, open_detector(config.privacy, folder))

    async def work(books: Deployments) -> int:
        priced(recorded, config.models, until=books.clock())
        made = log_examples(
            recorded,
            detector=detector,
            secret=caller_secret(folder / config.store.path),
            tenant=tenant,
            label=config.network.default_label,
            until=books.clock(),
        )
        kept = 0
        for some in batches(made):
            await books.store.add_examples(some)
            kept += len(some)
        return kept

    count = _with_books(folder, work)
    unpriced = sum(call.cost is None for call in recorded.calls)
    skipped = {reason: number for reason, number in recorded.skipped.items() if number}
    document = {"calls": count, "unpriced": unpriced, "skipped": skipped}
    give(document, lambda: _show_imported(count, unpriced, skipped, SKIPPED), as_json=as_json)


def _show_imported(count: int, unpriced: int, skipped: Mapping[str, int], words: Mapping[str, str]) -> None:
    say(f"{counted(count, 'call')} kept; the cost of {unpriced:,} is not known.")
    for reason, number_of in skipped.items():
        say(f"{number_of:,} {words[reason]}")


def retrain(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A job, or its specialist.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what it would be trained on.")] = False,
    as_json: Json = False,
) -> None:
    """Train a new version of a job's specialist on its captured calls, and start it in shadow."""
    _give_report(_run(context.obj, dry_run=dry_run, only=name, retrain=True), as_json=as_json)


def _read_lines(path: Path) -> list[str]:
    """Return the lines of a text file; only a line feed ends a line."""
    try:
        return path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--texts is {str(path)!r}, which cannot be read as UTF-8: {error}.") from error


def bootstrap(
    context: typer.Context,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the specialist that the rows are for.")],
    describe: Annotated[str, typer.Option(metavar="TEXT", help="What it is for, in a sentence or two.")],
    examples: Annotated[Path, typer.Option(metavar="FILE", help="CSV with text and label, at most 20 rows.")],
    teacher: Annotated[str, typer.Option(metavar="MODEL", help="An entry of [models].")],
    rows: Annotated[int, typer.Option(min=1, max=100_000, metavar="N", help="Texts to write.")] = 200,
    texts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Label these texts, one a line, in place of writing some.")
    ] = None,
    money: Annotated[str | None, typer.Option(metavar="AMOUNT", help="Most that the teacher may cost.")] = None,
    as_json: Json = False,
) -> None:
    """Make training rows from a description and a few examples, by a teacher.

    The teacher is asked through the egress gate. Each row names its source, and rows of one example are never split
    between training and held-out data. The same command continues a run that failed, and no answer is paid for twice.
    Labels of --texts are weighed against the examples and against each other: the column `said` has the teacher's
    own label. Check some of the rows.
    """
    from decimal import Decimal, InvalidOperation

    from coterie.cli.add import check_name
    from coterie.engines.onnx import open_encoder
    from coterie.flywheel.training import bootstrap as make_rows
    from coterie.flywheel.training import check_target, read_examples, write_bootstrapped

    folder: Path = context.obj
    config = configured(folder)
    check_name(name, {})
    target = folder / "data" / f"{name}.csv"
    check_target(target)
    if teacher not in config.models:
        raise InputError(f"--teacher is {teacher!r}; [models] has {sorted(config.models)}.", hint="Name one of these.")
    try:
        most = config.flywheel.money if money is None else Decimal(money)
    except InvalidOperation:
        raise InputError(f"--money is {money!r}, which is no amount.", hint="Such as --money 2.50") from None
    model = _teacher(teacher, config, folder)
    given = [] if texts is None else [line for line in _read_lines(texts) if line.strip()]
    encode = open_encoder(config.network.encoder, folder).encode if given else None
    try:
        made = run(
            make_rows(model, describe, read_examples(examples), rows=rows, texts=given, money=most, encode=encode)
        )
    finally:  # what was answered before an error is paid for, and kept
        record_bill(folder, config, name, "rows", model.bill)
    write_bootstrapped(target, made, teacher)
    document = {
        "file": str(target),
        "rows": len(made.rows),
        "asked": len(model.bill),
        "kept": made.asked - len(model.bill),
        "egress": {"engine": teacher, "label": model.label.value, "prompts": len(model.bill)}
        if model.is_remote
        else None,
        "dropped": dict(made.dropped),
        "without_rows": made.without_rows(),
        "stopped": made.stopped,
        "cost": None if made.cost is None else float(made.cost),
    }
    words = ["add", name, "--task", "classify", "--data", str(target)]
    words += ["--group-column", "seed", "--description", describe]
    if made.stopped:
        remark(f"Not all was asked: {made.stopped}.")
    if bare := made.without_rows():
        remark(f"The teacher gave no row of {', '.join(map(repr, bare))}: the specialist will hardly answer with it.")
    give(
        document,
        f"{counted(len(made.rows), 'row')} in {target}; left out: {_counts(made.dropped)}.\n"
        f"{_teachers_share(model, made)}\nNext: {shell(folder, *words)}",
        as_json=as_json,
    )


def _teacher(key: str, config: Config, folder: Path) -> AskedModel:
    """Return the model that is asked, behind the egress gate."""
    from coterie.governance.audit import open_audit
    from coterie.governance.egress import ClearancePolicy, Gate
    from coterie.learning.job import AskedModel

    return AskedModel(
        key=key,
        model=config.models[key],
        folder=folder,
        label=config.network.default_label,
        gate=Gate(ClearancePolicy(), audit=open_audit(config.audit, folder)),
        currency=config.accounting.currency,
    )


def _counts(dropped: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {why.replace('_', ' ')}" for why, count in dropped.items()) or "none"


def _teachers_share(asked_model: AskedModel, made: Bootstrapped) -> str:
    """What left this machine, and what it cost."""
    new = len(asked_model.bill)
    took = asked_model.in_words(
        sum(use.tokens_in for _, use in asked_model.bill), sum(use.tokens_out for _, use in asked_model.bill)
    )
    where = (
        f"left for {asked_model.key!r} as {asked_model.label.value}"
        if asked_model.is_remote
        else f"went to {asked_model.key!r}"
    )
    return f"{counted(new, 'prompt')} {where}, {took}; {counted(made.asked - new, 'answer')} had been kept."
