"""`coterie privacy`: personal data in texts found, a model of names trained, a detector measured."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coterie.cli.bridge import configured
from coterie.cli.options import check_choice, group, read_text
from coterie.cli.output import BAR_MISSED, Json, dim, give, number, one_line, remark, say, shell, show_table, warn
from coterie.errors import InputError

if TYPE_CHECKING:
    from coterie.config.operation import PrivacySection
    from coterie.privacy.detection import PersonalData
    from coterie.privacy.training import AnnotatedFile, SpanFigures

privacy = group("privacy", "Personal data and secrets in texts: find, redact, learn from marked texts, measure.")

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
_FOLDER = "detector"


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
    """Show what personal data and secrets a text has in it.

    Kind, place in characters, how sure the detector is and the least label that it asks for; at the end the label of
    the whole text. Nothing leaves this process. The words themselves are printed: mind where the output goes. Which
    detector looked, and what it cannot see, is said on standard error.
    """
    from coterie.privacy.contract import DETECTOR_TYPES, open_detector
    from coterie.privacy.detection import redact

    text = read_text(file)
    section, why = _section(context.obj, detector)
    blind = DETECTOR_TYPES.load(section.detector).cannot_see
    found = open_detector(section, context.obj).find(text)
    if not as_json:
        remark(f"Detector: {section.detector} ({why})." + (f" It does not find {blind}." if blind else ""))
    if redacted and not as_json:
        typer.echo(redact(text, found), nl=not text.endswith("\n"))
        return
    looked = {"detector": {"name": section.detector, "because": why, "cannot_see": blind}}
    document = looked | _document(text, found) | ({"redacted": redact(text, found)} if redacted else {})
    give(document, lambda: _show(document), as_json=as_json)


def _section(folder: Path, detector: str | None) -> tuple[PrivacySection, str]:
    """What the option names, else what the network's file does, else the best that comes with Coterie; and why."""
    from coterie.config.operation import PrivacySection
    from coterie.config.section import FILE_NAME

    if detector is not None:
        chosen = check_choice("detector", detector, ("patterns", "names", "presidio"))
        return PrivacySection.model_validate({"detector": chosen}), "--detector"
    own = configured(folder).privacy if (folder / FILE_NAME).exists() else PrivacySection()
    if "detector" in own.model_fields_set:
        return own, f"[privacy] of {FILE_NAME}"
    return PrivacySection(detector="names"), "the best that comes with Coterie"


def _document(text: str, found: Sequence[PersonalData]) -> dict[str, Any]:
    from coterie.privacy.detection import label_of, least_label

    label = least_label(found)
    listed = [
        {
            "kind": str(each.kind),
            "start": each.start,
            "end": each.end,
            "text": text[each.start : each.end],
            "score": round(each.score, 3),
            "label": None if (own := label_of(each.kind)) is None else own.value,
        }
        for each in found
    ]
    return {"label": None if label is None else label.value, "found": listed}


def _show(document: Mapping[str, Any]) -> None:
    if not document["found"]:
        say("Nothing found.")
        return
    rows = [
        (each["kind"], f"{each['start']}-{each['end']}", one_line(each["text"]), f"{each['score']:.2f}", each["label"])
        for each in document["found"]
    ]
    show_table(["kind", "place", "text", "score", "label"], rows)
    label = document["label"]
    dim("It asks for no label of its own." if label is None else f"The least label of this text is {label}.")


@privacy.command()
def train(
    context: typer.Context,
    *,
    data: _Data,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help=f"Folder for the model; default: {_FOLDER} in the network's folder."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train the model of names on texts of yours.

    It goes on from the model that comes with Coterie: what your texts do not speak of stays as it was. A fifth of the
    texts is held out, and both models are measured on it; then it is trained on all. Where it is worse on the held-out
    texts, nothing is written and the exit code is 3. Kinds that you mark nowhere are taken as the model had them.
    Name the folder in coterie.toml: `[privacy]`, detector = "names", model = "detector".
    """
    from coterie.privacy.names import bundled_model, store_model
    from coterie.privacy.training import read_annotated, train_names

    folder: Path = context.obj
    target = folder / _FOLDER if out is None else out
    if target.exists() and not (target / "names.json").is_file():
        raise InputError(f"{str(target)!r} is there and is no model of names.", hint="Give another folder with --out.")
    marked = read_annotated(data)
    _warn_unknown(marked)
    trained = train_names(marked.texts, bundled_model(), say=dim if not as_json else lambda _: None)
    about = {"made_by": "coterie privacy train", "texts": len(marked.texts), "data": {data.name: marked.sha256}}
    size = None if trained.worse else _replace(target, lambda new: store_model(trained.model, new, about))
    document = {
        "data": {"file": data.name, "sha256": marked.sha256, "texts": trained.texts, "held_out": trained.held_out},
        "before": _figures(trained.before),
        "after": _figures(trained.after),
        "model": str(target) if size else None,
        "bytes": size,
        "unknown_kinds": dict(marked.unknown),
    }
    give(document, lambda: _show_both(trained.before, trained.after), as_json=as_json)
    if size is None:
        remark(f"It finds less than before on {trained.held_out} held-out texts: nothing was written.")
        raise typer.Exit(BAR_MISSED)
    if not as_json:
        here, home = target.resolve(), folder.resolve()
        named = str(here.relative_to(home)) if here.is_relative_to(home) else str(here)
        say(f'{size / 1e6:.1f} MB in {target}. Use it: [privacy] detector = "names", model = {named!r}')
        dim(f"Measure it on other texts: {shell(folder, 'privacy', 'eval', 'DATA')}")


def _replace(target: Path, write: Callable[[Path], int]) -> int:
    """Write beside the folder first, so that a model that serves is there until the new one is whole."""
    new = target.with_name(f"{target.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    try:
        size = write(new)
        if target.exists():
            shutil.rmtree(target)
        new.replace(target)
    except OSError as error:
        raise InputError(
            f"Cannot write {str(target)!r}: {error.strerror or error}.", hint="Give another folder with --out."
        ) from None
    return size


def _warn_unknown(marked: AnnotatedFile) -> None:
    if marked.unknown:
        kinds = ", ".join(f"{kind} ({count})" for kind, count in sorted(marked.unknown.items()))
        warn([f"kinds that are not known here were left out: {kinds}."])


def _figures(figures: Mapping[str, SpanFigures]) -> dict[str, Any]:
    return {kind: each._asdict() for kind, each in figures.items()}


def _show_both(before: Mapping[str, SpanFigures], after: Mapping[str, SpanFigures]) -> None:
    rows = [
        (kind, each.marked, number(before[kind].f1), number(each.f1), number(each.precision), number(each.recall))
        for kind, each in after.items()
    ]
    show_table(["kind", "marked", "F1 before", "F1", "precision", "recall"], rows, title="On held-out texts")


@privacy.command("eval")
def evaluate(
    context: typer.Context,
    *,
    data: _Data,
    detector: _Detector = None,
    model: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A model that `coterie privacy train` made, for names.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure a detector of personal data on marked texts.

    Precision, recall and F1 of each kind that is marked in the file; only the same place with the same kind is right.
    """
    from coterie.privacy.contract import open_detector
    from coterie.privacy.names import NameDetector, load_model
    from coterie.privacy.training import measure_detector, read_annotated

    folder: Path = context.obj
    if model is not None and detector not in {None, "names"}:
        raise InputError(f"--model is of names, and --detector is {detector!r}.", hint="Leave one of them out.")
    marked = read_annotated(data)
    _warn_unknown(marked)
    asked = NameDetector(load_model(model)) if model else open_detector(_section(folder, detector)[0], folder)
    figures = measure_detector(asked, marked.texts)
    about = {"file": data.name, "sha256": marked.sha256, "texts": len(marked.texts)}
    document = {**about, "kinds": _figures(figures), "unknown_kinds": dict(marked.unknown)}
    rows = [
        (kind, f.marked, f.found, number(f.precision), number(f.recall), number(f.f1)) for kind, f in figures.items()
    ]
    columns = ["kind", "marked", "found", "precision", "recall", "F1"]
    give(document, lambda: show_table(columns, rows), as_json=as_json)
