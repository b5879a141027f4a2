"""`coterie privacy`: find personal data in texts, and measure a detector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coterie.cli.bridge import configured
from coterie.cli.options import check_choice, group, read_text
from coterie.cli.output import Json, dim, give, number, one_line, remark, say, show_table, warn

if TYPE_CHECKING:
    from coterie.config.operation import PrivacySection
    from coterie.privacy.detection import PersonalData
    from coterie.privacy.evaluation import AnnotatedFile, SpanFigures

privacy = group("privacy", "Personal data and secrets in texts: find, redact, measure.")

_Detector = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="patterns, names or presidio; default: the network's [privacy], else names."),
]
_Data = Annotated[
    Path,
    typer.Argument(
        metavar="DATA", help='JSONL: {"text": "I am Ann.", "spans": [{"kind": "PERSON", "start": 5, "end": 8}]}'
    ),
]


@privacy.command()
def find(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="Text in UTF-8; - for standard input.")],
    *,
    redacted: Annotated[
        bool, typer.Option("--redact", help="Print the text with a typed placeholder for each thing found.")
    ] = False,
    detector: _Detector = None,
    as_json: Json = False,
) -> None:
    """Show the personal data and secrets in a text.

    Kind, position in characters, the detector's confidence and the minimum label that each requires; at the end the
    label of the whole text. Nothing leaves this process. The words themselves are printed: mind where the output
    goes. The detector's name and its limits are printed on standard error.
    """
    from coterie.privacy.contract import DETECTOR_TYPES, open_detector
    from coterie.privacy.detection import redact

    text = read_text(file)
    section, why = _section(context.obj, detector)
    blind = DETECTOR_TYPES.load(section.detector).cannot_see
    personal_data = open_detector(section, context.obj).find(text)
    if not as_json:
        remark(f"Detector: {section.detector} ({why})." + (f" It does not find {blind}." if blind else ""))
    if redacted and not as_json:
        typer.echo(redact(text, personal_data), nl=not text.endswith("\n"))
        return
    looked = {"detector": {"name": section.detector, "because": why, "cannot_see": blind}}
    document = looked | _document(text, personal_data) | ({"redacted": redact(text, personal_data)} if redacted else {})
    give(document, lambda: _show(document), as_json=as_json)


def _section(folder: Path, detector: str | None) -> tuple[PrivacySection, str]:
    """Return the section that the option names, else the network's, else the best bundled one; and the reason."""
    from coterie.config.operation import PrivacySection
    from coterie.config.section import FILE_NAME

    if detector is not None:
        chosen = check_choice("detector", detector, ("patterns", "names", "presidio"))
        return PrivacySection.model_validate({"detector": chosen}), "--detector"
    own = configured(folder).privacy if (folder / FILE_NAME).exists() else PrivacySection()
    if "detector" in own.model_fields_set:
        return own, f"[privacy] of {FILE_NAME}"
    return PrivacySection(detector="names"), "the best that comes with Coterie"


def _document(text: str, personal_data: Sequence[PersonalData]) -> dict[str, Any]:
    from coterie.privacy.detection import label_of, least_label

    label = least_label(personal_data)
    listed = [
        {
            "kind": str(item.kind),
            "start": item.start,
            "end": item.end,
            "text": text[item.start : item.end],
            "score": round(item.score, 3),
            "label": None if (own := label_of(item.kind)) is None else own.value,
        }
        for item in personal_data
    ]
    return {"label": None if label is None else label.value, "found": listed}


def _show(document: Mapping[str, Any]) -> None:
    if not document["found"]:
        say("Nothing found.")
        return
    rows = [
        (item["kind"], f"{item['start']}-{item['end']}", one_line(item["text"]), f"{item['score']:.2f}", item["label"])
        for item in document["found"]
    ]
    show_table(["kind", "place", "text", "score", "label"], rows)
    label = document["label"]
    dim("It asks for no label of its own." if label is None else f"The least label of this text is {label}.")


def _warn_unknown(marked: AnnotatedFile) -> None:
    if marked.unknown:
        kinds = ", ".join(f"{kind} ({count})" for kind, count in sorted(marked.unknown.items()))
        warn([f"kinds that are not known here were left out: {kinds}."])


def _figures(figures: Mapping[str, SpanFigures]) -> dict[str, Any]:
    return {kind: figure._asdict() for kind, figure in figures.items()}


@privacy.command("eval")
def evaluate(
    context: typer.Context,
    *,
    data: _Data,
    detector: _Detector = None,
    as_json: Json = False,
) -> None:
    """Measure a detector of personal data on marked texts.

    Precision, recall and F1 of each kind that is marked in the file; only the same position with the same kind is
    right.
    """
    from coterie.privacy.contract import open_detector
    from coterie.privacy.evaluation import measure_detector, read_annotated

    folder: Path = context.obj
    marked = read_annotated(data)
    _warn_unknown(marked)
    figures = measure_detector(open_detector(_section(folder, detector)[0], folder), marked.texts)
    about = {"file": data.name, "sha256": marked.sha256, "texts": len(marked.texts)}
    document = {**about, "kinds": _figures(figures), "unknown_kinds": dict(marked.unknown)}
    rows = [
        (kind, f.marked, f.found, number(f.precision), number(f.recall), number(f.f1)) for kind, f in figures.items()
    ]
    columns = ["kind", "marked", "found", "precision", "recall", "F1"]
    give(document, lambda: show_table(columns, rows), as_json=as_json)
