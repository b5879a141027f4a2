"""`coterie train`, `eval` and `fairness`: train specialists, measure one on a file, compare a score between groups."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coterie.cli.bridge import configured, find_file, log_command, record_trainings, registry_of, run, section_of
from coterie.cli.options import given
from coterie.cli.output import (
    BAR_MISSED,
    Json,
    Stop,
    give,
    interval,
    number,
    remark,
    say,
    shell,
    show_stops,
    show_table,
    size,
    warn,
)
from coterie.errors import InputError
from coterie.runtime.codec import parse_json

if TYPE_CHECKING:
    from coterie.config.file import Config
    from coterie.config.specialists import SpecialistSection
    from coterie.knowledge.documents import DocumentIndex
    from coterie.learning.dataset import Dataset
    from coterie.learning.evaluation import Evaluation
    from coterie.learning.fairness import Fairness, GroupShare
    from coterie.protocols import Specialist
    from coterie.registry.version import Version
    from coterie.training.train import TrainingReport
    from coterie.types import Finding

SETTINGS = (
    "rungs",
    "chain",
    "chain_quality",
    "base",
    "base_licence",
    "target_risk",
    "bar",
    "seed",
    "calibration_calls",
    "test_calls",
)
"""Settings that may be given for one training only; a version that answers does not read them."""
_FLOOR = "lexical"


def train(
    context: typer.Context,
    *,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Specialists to train; all of them if none is named."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train specialists.

    Every rung is tried; held-out results are shown beside the lexical floor, and the cheapest rung that meets the bar
    is chosen. The options replace those of coterie.toml for this training. The new version is stored in the registry
    and serves from the next start on. If a specialist misses its bar, or is measurably worse than the champion, an
    error is printed and the exit code is 3. The version that served before stays the champion, if there was one,
    unless it was even worse; the new one is the candidate: see `coterie registry`.
    """
    folder, overrides = context.obj, given(context)
    trained = _trained(folder, names or (), overrides)
    report: dict[str, Any] = trained.to_json()
    specialists = report["specialists"]
    for name, result in specialists.items():
        about = {"name": name, "version": result["version"], "promoted": result["promoted"]}
        overridden = {"overrides": overrides} if overrides else {}
        log_command(folder, "train", about={**about, "reason": result["promotion"], **overridden})
    _record(folder, trained)
    give(report, lambda: _show_all(report, folder), as_json=as_json)
    warn(f"{name}: {warning}" for name, result in specialists.items() for warning in result.get("warnings", ()))
    if missed := [line for name, result in specialists.items() for line in _missed(name, result, folder)]:
        remark("\n".join(missed))
        raise typer.Exit(BAR_MISSED)


def _trained(folder: Path, names: Sequence[str], overrides: Mapping[str, Any]) -> TrainingReport:
    """Train with progress; after an interruption, print what is kept."""
    from coterie.cli.progress import TerminalProgress, say_fine_tuning_is_kept
    from coterie.training.train import CHECKPOINTS_FOLDER
    from coterie.training.train import train as train_network

    try:
        with TerminalProgress() as progress:
            return train_network(folder, names, progress=progress, overrides=overrides)
    except KeyboardInterrupt:
        say_fine_tuning_is_kept(folder / CHECKPOINTS_FOLDER)
        raise


def _record(folder: Path, report: TrainingReport) -> None:
    """Write the cost of the trainings into the ledger, from which `coterie report` spreads it over the answers."""
    from coterie.store.summary import training_of

    now, made = time.time(), report.specialists.values()
    record_trainings(
        folder, [training_of(one.took, specialist=one.name, version=one.version, time=now) for one in made]
    )


def _show_all(report: Mapping[str, Any], folder: Path) -> None:
    for name, result in report["specialists"].items():
        _show_training(name, result)
    say(f'{report["seconds"]:,.0f} s. Next: {shell(folder, "ask")} "..."')


def _show_training(name: str, result: Mapping[str, Any]) -> None:
    """Print one specialist: a row per rung, then the chosen rung and whether it is enough."""
    say(f"\n{name} ({result['task']}), version {result['version']}")
    rungs = [rung for rung in result.get("rungs", ()) if "held_out" in rung]
    if rungs:
        quality = next(key for key in rungs[0]["validation"] if key != "interval")
        columns = ["rung", quality, "95% range", "covered", "accepted", "ECE", "size", "time"]
        show_table(columns, [row for rung in rungs for row in (*_floor(rung, quality), _row(rung, quality))])
    for rung in rungs:
        if "curve" in rung:
            _show_chain(rung)
    say(f"Taken: {result['rung']}, {result['reason']}.")
    _show_use(result, next((rung for rung in rungs if rung["rung"] == result["rung"]), {}))
    if "untuned" in result.get("metrics", {}):
        say(drafts(result["metrics"]))
    for rung in rungs:
        if "untuned" in rung:
            say(_beside_untuned(rung["held_out"], rung["untuned"]))
    for metric, bar in result.get("bar", {}).items():
        word = "MISSED" if result["bar_met"] is False else "met"
        measured = number(result["metrics"].get(metric))
        sure = _sure(result["metrics"].get("intervals", {}).get(metric), bar, missed=word == "MISSED")
        say(f"Bar {metric} >= {bar:g}: {word}, {measured} {_measured(rungs)}{sure}.")


def _show_use(result: Mapping[str, Any], taken: Mapping[str, Any]) -> None:
    """Print how the rows were used, what a probability refers to, and the accept threshold."""
    if "measured" in taken or "threshold" in taken:
        say(_used(result, taken))
    if "positive" in taken:
        say(f"Predicts: the probability of {taken['positive']}.")
    if accepts := taken.get("threshold", {}).get("reason"):
        say(f"Accepts: {accepts}.")


def _used(result: Mapping[str, Any], taken: Mapping[str, Any]) -> str:
    rows = [result["data"][part]["rows"] for part in ("train", "held_out")]
    if "validation" not in taken.get("measured", ""):
        return f"Rows: {rows[0]:,} to train and, out of fold, to calibrate; {rows[1]:,} held out to measure."
    from coterie.tasks.classify.task import FEW_OF_A_LABEL

    of_label = rows[0] / (result.get("labels") or 1)
    note = f", {of_label:.0f} a label: too few to hold some out" if of_label < FEW_OF_A_LABEL else ""
    return f"Rows: all {rows[0]:,} to train, calibrate and measure, each out of fold{note}."


def _show_chain(chain: Mapping[str, Any]) -> None:
    """Print the results of the chain at each possible stop, and the chosen stop."""
    names, stop = chain["chain"], chain["stop"]
    stops = [
        Stop(point["stop"], point["accuracy"], point["interval"], point["asked"], point["stop"] == stop["value"])
        for point in chain["curve"]
    ]
    show_stops(names, stops, title="The chain on held-out rows, which choose nothing")
    say(f"Chain {' > '.join(names)}: {stop['reason']}.")


def drafts(metrics: Mapping[str, Any]) -> str:
    """Describe the effect of tuning on the drafts, each figure followed by that of the untuned model."""
    names = {"token_f1": "token F1", "rouge_l": "ROUGE-L", "grounded": "grounded"}
    shown = [f"{words} {number(metrics[key])} ({number(metrics['untuned'][key])})" for key, words in names.items()]
    return f"Drafts of {metrics['drafted']} pairs held back (untuned): {', '.join(shown)}."


def _beside_untuned(tuned: Mapping[str, Any], untuned: Mapping[str, Any]) -> str:
    """Describe the effect of tuning on the generated text, each figure followed by that of the untuned model."""
    names = {"token_f1": "token F1", "exact_match": "the same text"}
    shown = [
        f"{words} {number(tuned[key])}, {interval(tuned['intervals'].get(key))} "
        f"({number(untuned[key])}, {interval(untuned['intervals'][key])})"
        for key, words in names.items()
    ]
    return f"On held-out pairs (untuned, on {untuned['n']} of them): {'; '.join(shown)}."


def _sure(pair: Sequence[float] | None, bar: float, *, missed: bool) -> str:
    """Describe whether a bar is met with confidence."""
    if pair is None or missed:
        return ""
    return ", with 95% confidence" if pair[0] >= bar else f", but not with 95% confidence ({interval(pair)})"


def _measured(rungs: Sequence[Mapping[str, Any]]) -> str:
    measured = rungs[0].get("measured", "") if rungs else ""
    return f"by {measured}" if "validation" in measured else "on held-out rows"


def _floor(rung: Mapping[str, Any], quality: str) -> list[list[object]]:
    """Return a row for the plain model that a rung is compared with, where that model is no rung itself."""
    floor = rung.get("floor")
    if not floor or quality not in floor:
        return []
    return [[f"{floor['model']} (floor)", number(floor[quality]), interval(floor["interval"]), *["-"] * 5]]


def _row(rung: Mapping[str, Any], quality: str) -> list[object]:
    held_out = rung["held_out"]
    return [
        f"{rung['rung']} (floor)" if rung["rung"] == _FLOOR and "floor" not in rung else rung["rung"],
        number(held_out.get(quality)),
        interval(held_out.get("intervals", {}).get(quality)),
        *(number(held_out.get(figure)) for figure in ("coverage", "accepted_accuracy", "ece")),
        size(rung["bytes"]),
        f"{rung['seconds']:.1f} s",
    ]


def _missed(name: str, result: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """Yield what a missed bar, or a drop behind the champion, means for the serving version."""
    if result["bar_met"] is not False:
        if not result.get("promoted"):
            look = shell(folder, "registry", "diff", name, "champion", "candidate")
            yield f"NOT PROMOTED: {name} is worse than the version that serves: {result.get('promotion')}. See: {look}"
        return
    bars = ", ".join(f"{metric} >= {bar:g}" for metric, bar in result["bar"].items())
    if result.get("promoted"):
        then = "There is no better version, so this one serves."
    else:
        then = "It is stored but not promoted: the version that served before still does."
    yield f"BAR MISSED: {name} did not reach {bars}. {then}"


# --- `coterie eval` and `fairness`: measure a trained specialist on a file, and compare a score between groups.

_FIGURES = {
    "token_f1": "token F1",
    "exact_f1": "F1 of values quoted word for word, mean over fields",
    "exact_match": "the same text, case and spaces aside",
    "accuracy": "accuracy",
    "auc": "AUC",
    "brier": "Brier score",
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
    "coverage": "coverage (share accepted)",
    "accepted_accuracy": "accuracy of accepted",
    "ece": "calibration error (ECE)",
    "oos_auroc": "out of scope: AUROC",
    "oos_recall": "out of scope: share abstained on",
    "joint_accuracy": "joint accuracy",
    "citation_precision": "citations that are right",
    "unanswerable_recall": "not in the documents: not answered",
    "said_not_stated": "not in the documents: said so",
    "not_stated_precision": "said so rightly",
}
_WRITTEN = ("exact_match", "citation_precision", "unanswerable_recall")
"""Metrics of generated texts, which have no labels that could be confused."""
_FIELD_FIGURES = {
    "stated": "stated",
    "exact_f1": "exact F1",
    "token_f1": "token F1",
    "value_accuracy": "value",
    "not_stated_precision": "not stated: precision",
    "not_stated_recall": "recall",
    "located": "located",
    "coverage": "covered",
    "accepted_accuracy": "accepted",
    "ece": "ECE",
}
_CONFUSIONS_SHOWN = 10


def evaluate(
    context: typer.Context,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A trained specialist.")],
    data: Annotated[
        Path, typer.Option(metavar="FILE", help="CSV or JSONL; a row without a label belongs to no label.")
    ],
    as_json: Json = False,
) -> None:
    """Measure a trained specialist on a file.

    Accuracy, macro F1, coverage, accuracy of the accepted answers, calibration error and the most confused labels.
    For an `extract` specialist: how well each field is found, and how well unstated fields are recognised. For an
    `answer` specialist: whether its citations are right, and whether it abstains where the documents have no answer.
    For a `generate` specialist without `reads`: how similar its replies are to the replies of the file. With rows
    that have no label, also how well inputs of no label are recognised. Columns are those of the training data unless
    they are named.
    """
    from coterie.tasks.contract import task_of

    folder: Path = context.obj
    config = configured(folder)
    section = section_of(config, name)
    if not task_of(section).is_measured(section):
        raise InputError(
            f"{name!r} drafts from source texts, which have no single right reply to compare with.",
            hint="Measure the specialist whose fact it reads.",
        )
    version = registry_of(folder).champion(name)
    dataset = _read(folder, data, section.model_copy(update=given(context)))
    measured = run(_measure(name, config, folder, version, dataset))
    unknown, warnings = _unknown(dataset, section, version)
    trained_on = _trained_on(version, dataset)
    if not trained_on and section.data is not None and (folder / section.data).is_file():
        from coterie.learning.splits import shared_rows

        warnings += shared_rows(_read(folder, Path(section.data), section), dataset)
    document = {
        "specialist": name,
        "version": version.version,
        "file": dataset.name,
        **measured.to_json(),
        "unknown_labels": unknown,
        "trained_on": trained_on,
    }
    warn((*dataset.warnings, *warnings))
    if measured.truncated:
        many = f"{measured.truncated:,} of {measured.n:,} texts"
        warn([f"{many} are longer than the model's window: only their beginning was read"])
    if trained_on:
        held_out = f"`coterie registry show {name}` has those of rows that were held out."
        warn([f"version {version.version} was trained on rows of this file, so these figures are too good; {held_out}"])
    give(document, lambda: _show_evaluation(document), as_json=as_json)


def _read(folder: Path, file: Path, section: SpecialistSection) -> Dataset:
    from coterie.tasks.contract import task_of

    ungrouped = section.model_copy(update={"group_column": None})
    return task_of(section).read_rows(ungrouped, find_file(folder, file), for_evaluation=True)


def _unknown(dataset: Dataset, section: SpecialistSection, version: Version) -> tuple[dict[str, int], list[str]]:
    """Return the file's labels that the version cannot give, with their number of rows, and warnings about them."""
    from coterie.learning.splits import describe_unknown, unknown_labels
    from coterie.tasks.contract import task_of

    if task_of(section).form != "label":
        return {}, []
    labels = parse_json(version.files["model.json"])["labels"]
    words = describe_unknown(dataset, labels, f"version {version.version}")
    warnings = [f"{word}; such a row cannot be right unless it has another label too" for word in words]
    return unknown_labels(dataset, labels), warnings


def _trained_on(version: Version, dataset: Dataset) -> bool:
    """Return whether a version, by its report, was trained on this file."""
    data: Any = version.report.get("data", {})
    trained = data.get("train", {})
    return bool(trained.get("sha256") == dataset.sha256)


async def _measure(name: str, config: Config, folder: Path, version: Version, dataset: Dataset) -> Evaluation:
    """Ask the specialist about every row, and show the progress."""
    from coterie.cli.progress import stage
    from coterie.learning.measure import evaluate as ask_about
    from coterie.tasks.answer.rows import look_up_with, with_quotes
    from coterie.tasks.contract import task_of

    section, label = config.specialists[name], config.network.default_label
    judge = partial(task_of(section).judge, section=section)
    async with _opened(name, config, folder, version) as (specialist, indexes):
        with stage(f"{name}: ask about {dataset.name}", len(dataset)) as advance:
            look_up = look_up_with(indexes, specialist.card) if indexes else None
            rows = await with_quotes(dataset.rows, indexes, clearance=label) if indexes else dataset.rows
            return await ask_about(specialist, rows, progress=advance, label=label, judge=judge, look_up=look_up)


@asynccontextmanager
async def _opened(
    name: str, config: Config, folder: Path, version: Version
) -> AsyncIterator[tuple[Specialist, Mapping[str, DocumentIndex]]]:
    from coterie.assembly import open_models
    from coterie.engines.onnx import open_encoder
    from coterie.knowledge.open import open_declared
    from coterie.tasks.versions import load_specialist

    section, label = config.specialists[name], config.network.default_label
    models = await open_models(config, folder, {name: version})
    encoder = open_encoder(config.network.encoder, folder)
    indexes = {key: open_declared(key, config, folder, encoder=encoder) for key in section.knowledge}
    try:
        yield load_specialist(name, section, version, encoder=encoder, models=models, data_label=label), indexes
    finally:
        for engine in (encoder, *models.values()):
            await engine.close()
        for index in indexes.values():
            await index.close()


def _show_evaluation(document: Mapping[str, Any]) -> None:
    title = f"{document['specialist']} on {document['n']:,} rows of {document['file']}"
    rows = [
        (words, number(document[key]), interval(document["intervals"].get(key)))
        for key, words in _FIGURES.items()
        if document[key] is not None
    ]
    show_table(["figure", "value", "95% interval"], rows, title=title)
    if "fields" in document:
        figures = [key for key in _FIELD_FIGURES if key != "stated"]
        fields = [
            [name, f"{field_figures['stated']:,}", *(number(field_figures[key]) for key in figures)]
            for name, field_figures in document["fields"].items()
        ]
        show_table(["field", *_FIELD_FIGURES.values()], fields, title="By field")
    elif all(document[key] is None for key in _WRITTEN):
        confusions = [
            (confusion["label"], confusion["predicted"], confusion["count"]) for confusion in document["confusions"]
        ]
        if confusions:
            show_table(["right", "said", "rows"], confusions[:_CONFUSIONS_SHOWN], title="Most confused")
        else:
            say("No label was taken for another.")


# --- Groups of people ----------------------------------------------------------------------------

_VERDICTS = {
    "reference": "approved most",
    "above": "at least 4/5",
    "below": "BELOW 4/5",
    "undecided": "undecided",
    "too few": "too few rows",
}


def fairness(
    context: typer.Context,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A trained `score` specialist.")],
    data: Annotated[Path, typer.Argument(metavar="FILE", help="CSV or JSONL with its columns, and the outcome.")],
    group: Annotated[list[str], typer.Option(metavar="COLUMN", help="By this column; may be given several times.")],
    cut: Annotated[
        list[float] | None,
        typer.Option(metavar="N", help="Numbers are grouped from here on; may be given several times; else quartiles."),
    ] = None,
    line: Annotated[float, typer.Option(metavar="P", help="Probability from which a row is refused.", min=0, max=1)] = (
        0.5
    ),
    as_json: Json = False,
) -> None:
    """Show how a score treats groups: approvals, wrong refusals, and a comparison of the groups.

    Approval and error rates by group with 95% intervals, and the ratio to the group that is approved most: check a
    ratio below four fifths. The column may be one that the score does not use; a protected attribute never is.
    Measure on rows that were not used for training; for training rows, the version's report has the out-of-fold
    figures.
    """
    from coterie.tasks.contract import task_of

    folder: Path = context.obj
    config = configured(folder)
    section = config.specialists.get(name)
    if section is None or task_of(section).form != "number":
        raise InputError(
            f"Asked how {name!r} treats groups; it is no `score` specialist of this network, which has "
            f"{sorted(config.specialists)}.",
            hint="Name one with task = 'score'.",
        )
    version = registry_of(folder).champion(name)
    dataset = _read(folder, data, section)
    for column in group:
        if not any(column in row.columns for row in dataset.rows):
            raise InputError(
                f"Asked for groups by {column!r}; {dataset.name} has {sorted(dataset.column_names)}.",
                hint="Name one of its columns.",
            )
    findings = run(_consult(name, config, folder, version, dataset))
    groups_by_column = [_fairness(dataset, findings, column, cut or (), line) for column in group]
    if _trained_on(version, dataset):
        out_of_fold = f"`coterie registry show {name}` has them out of fold."
        warn([f"version {version.version} was trained on this file, so errors come out too few; {out_of_fold}"])
    about = {"specialist": name, "version": version.version, "file": dataset.name}
    document = {**about, "columns": [column.to_json() for column in groups_by_column]}
    give(document, lambda: _show_groups(groups_by_column, section.label_column), as_json=as_json)


async def _consult(name: str, config: Config, folder: Path, version: Version, dataset: Dataset) -> Sequence[Finding]:
    from coterie.cli.progress import stage
    from coterie.learning.measure import consult_rows

    async with _opened(name, config, folder, version) as (specialist, _):
        with stage(f"{name}: ask about {dataset.name}", len(dataset)) as advance:
            return await consult_rows(specialist, dataset.rows, progress=advance, label=config.network.default_label)


def _fairness(
    dataset: Dataset, findings: Sequence[Finding], column: str, cuts: Sequence[float], line: float
) -> Fairness:
    """Return the fairness figures by group, over the rows that got a probability."""
    from coterie.learning.fairness import fairness as compare
    from coterie.learning.fairness import group_names

    names = group_names([row.columns.get(column) for row in dataset.rows], cuts)
    scored = [
        (name, float(finding.value), int(row.labels[0]) if row.labels else None, finding.accepted)
        for name, row, finding in zip(names, dataset.rows, findings, strict=True)
        if isinstance(finding.value, float)
    ]
    if not scored:
        raise InputError("No row of the file got a probability.", hint="Give a file with the columns of its training.")
    groups, probabilities, outcomes, alone = map(list, zip(*scored, strict=True))
    return compare(column, groups, probabilities, outcomes, alone, line=line)


def _show_groups(columns_: Iterable[Fairness], outcome: str) -> None:
    for column in columns_:
        rows = [
            (
                group.name,
                f"{group.n:,}",
                _share(group.base),
                _share(group.approved),
                f"{group.ratio:.2f}",
                _VERDICTS[group.verdict],
                *map(_share, (group.refused_wrongly, group.approved_wrongly, group.alone)),
            )
            for group in column.groups
        ]
        columns = ["rows", outcome, "approved", "ratio", "", "refused wrongly", "approved wrongly", "alone"]
        show_table(
            [column.column, *columns], rows, title=f"Approved below {column.line:g}; brackets hold 95% intervals"
        )
        say(
            f"Largest gaps: approved {column.gap('approved'):.2f}, refused wrongly "
            f"{column.gap('refused_wrongly'):.2f}, approved wrongly {column.gap('approved_wrongly'):.2f}."
        )


def _share(share: GroupShare) -> str:
    if share.value != share.value:  # nan
        return "-"
    return f"{share.value:.2f} [{share.interval.low:.2f}, {share.interval.high:.2f}]"
