"""`coterie privacy train` and `eval`: a model of names for one's own texts, and how good a detector is on them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coterie.cli.exits import BAR_MISSED
from coterie.cli.output import Json, dim, number, remark, say, shell, show_json, show_table
from coterie.errors import InputError

if TYPE_CHECKING:
    from coterie.privacy.annotated import AnnotatedFile, SpanFigures

Data = Annotated[
    Path,
    typer.Argument(
        metavar="DATA", help='JSONL: {"text": "I am Ann.", "spans": [{"kind": "PERSON", "start": 5, "end": 8}]}'
    ),
]
_FOLDER = "detector"


def train(
    context: typer.Context,
    *,
    data: Data,
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
    from coterie.privacy.annotated import read_annotated
    from coterie.privacy.names import bundled_model, store_model
    from coterie.privacy.training import train_names

    folder: Path = context.obj
    target = folder / _FOLDER if out is None else out
    _check_target(target)
    marked = read_annotated(data)
    _warn(marked)
    trained = train_names(marked.texts, bundled_model(), say=dim if not as_json else lambda _: None)
    size = None
    if not trained.worse:
        size = _replace(target, lambda new: store_model(trained.model, new, _about(data, marked)))
    document = {
        "data": {"file": data.name, "sha256": marked.sha256, "texts": trained.texts, "held_out": trained.held_out},
        "before": _figures(trained.before),
        "after": _figures(trained.after),
        "model": str(target) if size else None,
        "bytes": size,
        "unknown_kinds": dict(marked.unknown),
    }
    if as_json:
        show_json(document)
    else:
        _show_both(trained.before, trained.after)
    if size is None:
        remark(f"It finds less than before on {trained.held_out} held-out texts: nothing was written.")
        raise typer.Exit(BAR_MISSED)
    if not as_json:
        say(
            f'{size / 1e6:.1f} MB in {target}. Use it: [privacy] detector = "names", model = {_named(target, folder)!r}'
        )
        dim(f"Measure it on other texts: {shell(folder, 'privacy', 'eval', 'DATA')}")


def evaluate(
    context: typer.Context,
    *,
    data: Data,
    detector: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="patterns, names or presidio; default: the network's [privacy], else names."),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A model that `coterie privacy train` made, for names.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure a detector of personal data on marked texts.

    Precision, recall and F1 of each kind that is marked in the file; only the same place with the same kind is right.
    """
    from coterie.cli.privacy import section_of
    from coterie.privacy.annotated import measure_detector, read_annotated
    from coterie.privacy.names import NameDetector, load_model
    from coterie.privacy.open import open_detector

    folder: Path = context.obj
    if model is not None and detector not in {None, "names"}:
        raise InputError(f"--model is of names, and --detector is {detector!r}.", hint="Leave one of them out.")
    marked = read_annotated(data)
    _warn(marked)
    asked = NameDetector(load_model(model)) if model else open_detector(section_of(folder, detector), folder)
    figures = measure_detector(asked, marked.texts)
    if as_json:
        show_json(
            {
                "file": data.name,
                "sha256": marked.sha256,
                "texts": len(marked.texts),
                "kinds": _figures(figures),
                "unknown_kinds": dict(marked.unknown),
            }
        )
        return
    rows = [
        (kind, f.marked, f.found, number(f.precision), number(f.recall), number(f.f1)) for kind, f in figures.items()
    ]
    show_table(["kind", "marked", "found", "precision", "recall", "F1"], rows)


def _check_target(target: Path) -> None:
    if target.exists() and not (target / "names.json").is_file():
        raise InputError(f"{str(target)!r} is there and is no model of names.", hint="Give another folder with --out.")


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


def _about(data: Path, marked: AnnotatedFile) -> Mapping[str, object]:
    return {"made_by": "coterie privacy train", "texts": len(marked.texts), "data": {data.name: marked.sha256}}


def _named(target: Path, folder: Path) -> str:
    """The folder as coterie.toml should name it."""
    here, there = target.resolve(), folder.resolve()
    return str(here.relative_to(there)) if here.is_relative_to(there) else str(here)


def _warn(marked: AnnotatedFile) -> None:
    if marked.unknown:
        told = ", ".join(f"{kind} ({count})" for kind, count in sorted(marked.unknown.items()))
        remark(f"Warning: kinds that are not known here were left out: {told}.")


def _figures(figures: Mapping[str, SpanFigures]) -> dict[str, Any]:
    return {kind: each._asdict() for kind, each in figures.items()}


def _show_both(before: Mapping[str, SpanFigures], after: Mapping[str, SpanFigures]) -> None:
    rows = [
        (kind, each.marked, number(before[kind].f1), number(each.f1), number(each.precision), number(each.recall))
        for kind, each in after.items()
    ]
    show_table(["kind", "marked", "F1 before", "F1", "precision", "recall"], rows, title="On held-out texts")
