"""`coterie eval` and `fairness`: measure a trained specialist on a file, and compare a score between groups."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coterie.cli.bridge import configured, find_file, registry_of, run, section_of
from coterie.cli.options import given
from coterie.cli.output import Json, give, interval, number, say, show_table, warn
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
    from coterie.types import Finding

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
    give(document, lambda: _show(document), as_json=as_json)


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
    from coterie.tasks.answer.metrics import look_up_with, with_quotes
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
    from coterie.engines.encoders import open_encoder
    from coterie.knowledge.open import open_declared
    from coterie.tasks.loading import load_specialist

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


def _show(document: Mapping[str, Any]) -> None:
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
