"""`coterie eval`: how good a trained specialist is on a file."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coterie.cli.bridge import run
from coterie.cli.files import find_file
from coterie.cli.output import Json, interval, number, remark, say, show_json, show_table
from coterie.errors import InputError, UnknownSpecialist

if TYPE_CHECKING:
    from coterie.config.file import Config
    from coterie.config.specialists import SpecialistSection
    from coterie.knowledge.documents import Shelf
    from coterie.learning.dataset import Dataset
    from coterie.learning.evaluation import Evaluation
    from coterie.protocols import Specialist
    from coterie.registry.version import Version

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
_CONFUSIONS_SHOWN = 10
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


def evaluate(
    context: typer.Context,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A trained specialist.")],
    data: Annotated[
        Path, typer.Option(metavar="FILE", help="CSV or JSONL; a row without a label belongs to no label.")
    ],
    text_column: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column with the text, if not the training data's.")
    ] = None,
    label_column: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column with the label, if not the training data's.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure a trained specialist on a file.

    Accuracy, macro F1, coverage, accuracy of the accepted answers, calibration error and the most confused labels.
    Of an `extract` specialist, how well each field is found, and how well it knows what is not stated. Of an `answer`
    specialist, whether its citations are right, and whether it keeps silent where the documents do not say. Of a
    `generate` specialist without `reads`, how like the replies of the file those are that it writes.
    With rows that have no label, also how well it tells what does not belong to it.
    """
    from coterie.config.file import load_config
    from coterie.registry.registry import open_registry

    folder: Path = context.obj
    config = load_config(folder)
    section = _section(config, name)
    version = open_registry(folder, config.registry).champion(name)
    columns = {"text_column": text_column or section.text_column, "label_column": label_column or section.label_column}
    dataset = _read(find_file(folder, data), section.model_copy(update=columns))
    measured = run(_measure(name, config, folder, version, dataset))
    unknown, warnings = _unknown(dataset, section, version)
    document = {
        "specialist": name,
        "version": version.version,
        "file": dataset.name,
        **measured.to_json(),
        "unknown_labels": unknown,
        "trained_on": trained_on(version.report, dataset),
    }
    for warning in (*dataset.warnings, *warnings, *_truncated(measured)):
        remark(f"Warning: {warning}")
    if document["trained_on"]:
        remark(
            f"Warning: version {version.version} was trained on rows of this file, so these figures are too good; "
            f"`coterie registry show {name}` has those of rows that were held out."
        )
    if as_json:
        show_json(document)
    else:
        _show(document)


def _section(config: Config, name: str) -> SpecialistSection:
    from coterie.tasks.registry import task_of

    sections = config.specialists
    if name not in sections:
        raise UnknownSpecialist(
            f"Asked to measure {name!r}; this network has {sorted(sections)}.", hint="Use one of these names."
        )
    if not task_of(sections[name]).is_measured(sections[name]):
        raise InputError(
            f"{name!r} drafts from source texts, which have no single right reply to compare with.",
            hint="Measure the specialist whose fact it reads.",
        )
    return sections[name]


def _read(path: Path, section: SpecialistSection) -> Dataset:
    from coterie.tasks.registry import task_of

    return task_of(section).read_rows(section.model_copy(update={"group_column": None}), path, for_evaluation=True)


def _unknown(dataset: Dataset, section: SpecialistSection, version: Version) -> tuple[dict[str, int], list[str]]:
    """Labels of the file that the version cannot give, by their rows, and what that means in words."""
    from coterie.learning.splits import describe_unknown, unknown_labels
    from coterie.tasks.registry import task_of

    if task_of(section).form != "label":
        return {}, []
    known = json.loads(version.files["model.json"])["labels"]
    unknown = unknown_labels(dataset, known)
    words = describe_unknown(dataset, known, f"version {version.version}")
    return unknown, [f"{each}; such a row cannot be right unless it has another label too" for each in words]


def trained_on(report: Mapping[str, Any], dataset: Dataset) -> bool:
    """Whether a version, by its report, learned from this file."""
    trained = report.get("data", {}).get("train", {})
    return bool(trained.get("sha256") == dataset.sha256)


def _truncated(measured: Evaluation) -> Iterator[str]:
    if measured.truncated:
        yield (
            f"{measured.truncated:,} of {measured.n:,} texts are longer than the model's window: "
            "only their beginning was read"
        )


async def _measure(name: str, config: Config, folder: Path, version: Version, dataset: Dataset) -> Evaluation:
    """Ask the specialist about every row, with progress."""
    from coterie.learning.evaluate import evaluate as ask_about
    from coterie.tasks.answer.metrics import look_up_with, with_quotes
    from coterie.tasks.registry import task_of

    section, label = config.specialists[name], config.network.default_label
    async with opened_specialist(name, config, folder, version) as (specialist, shelves):
        with asking(name, dataset) as advance:
            look_up = look_up_with(shelves, specialist.card) if shelves else None
            rows = await with_quotes(dataset.rows, shelves, clearance=label) if shelves else dataset.rows
            return await ask_about(
                specialist,
                rows,
                progress=advance,
                label=label,
                judge=partial(task_of(section).judge, section=section),
                look_up=look_up,
            )


@contextmanager
def asking(name: str, dataset: Dataset) -> Iterator[Callable[[int], None]]:
    """Progress over the rows of a file."""
    from coterie.cli.progress import TerminalProgress

    with TerminalProgress() as progress:
        progress.start(f"{name}: ask about {dataset.name}", len(dataset))
        yield progress.advance


@asynccontextmanager
async def opened_specialist(
    name: str, config: Config, folder: Path, version: Version
) -> AsyncIterator[tuple[Specialist, Mapping[str, Shelf]]]:
    """A specialist of one version with its engines and shelves, closed afterwards."""
    from coterie.assembly import open_models
    from coterie.engines.onnx import OnnxEncoder
    from coterie.knowledge.open import open_declared
    from coterie.tasks.loading import load_specialist

    section, label = config.specialists[name], config.network.default_label
    models = await open_models(config, folder, {name: version})
    encoder = OnnxEncoder.bundled()
    shelves = {shelf: open_declared(shelf, config, folder, encoder=encoder) for shelf in section.knowledge}
    try:
        yield load_specialist(name, section, version, encoder=encoder, models=models, data_label=label), shelves
    finally:
        for engine in (encoder, *models.values()):
            await engine.close()
        for open_one in shelves.values():
            await open_one.close()


def _show(document: Mapping[str, Any]) -> None:
    title = f"{document['specialist']} on {document['n']:,} rows of {document['file']}"
    intervals = document["intervals"]
    rows = [
        (words, number(document[key]), interval(intervals.get(key)))
        for key, words in _FIGURES.items()
        if document[key] is not None
    ]
    show_table(["figure", "value", "95% interval"], rows, title=title)
    if "fields" in document:
        _show_fields(document["fields"])
        return
    if any(document[key] is not None for key in ("exact_match", "citation_precision", "unanswerable_recall")):
        return  # written texts are no labels that could be taken for one another
    confusions = [(each["label"], each["predicted"], each["count"]) for each in document["confusions"]]
    if confusions:
        show_table(["right", "said", "rows"], confusions[:_CONFUSIONS_SHOWN], title="Most confused")
    else:
        say("No label was taken for another.")


def _show_fields(fields: Mapping[str, Mapping[str, Any]]) -> None:
    """A row a field."""
    rows = [
        [name, f"{each['stated']:,}", *(number(each[key]) for key in _FIELD_FIGURES if key != "stated")]
        for name, each in fields.items()
    ]
    show_table(["field", *_FIELD_FIGURES.values()], rows, title="By field")
