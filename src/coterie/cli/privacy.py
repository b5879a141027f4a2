"""`coterie privacy`: what personal data a text has in it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coterie.cli.output import Json, dim, say, show_json, show_table
from coterie.errors import InputError

if TYPE_CHECKING:
    from coterie.config.privacy import PrivacySection
    from coterie.privacy.detection import PersonalData

privacy = typer.Typer(
    name="privacy",
    help="Personal data and secrets in texts: find, redact, learn from marked texts, measure.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@privacy.command()
def find(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="Text in UTF-8; - for standard input.")],
    *,
    redacted: Annotated[
        bool, typer.Option("--redact", help="Print the text with a typed placeholder for each thing found.")
    ] = False,
    detector: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="patterns, names or presidio; default: the network's [privacy], else names."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what personal data and secrets a text has in it.

    Kind, place in characters, how sure the detector is and the least label that it asks for; at the end the label of
    the whole text. Nothing leaves this process. The words themselves are printed: mind where the output goes.
    """
    from coterie.privacy.open import open_detector

    text = _read(file)
    found = open_detector(section_of(context.obj, detector), context.obj).find(text)
    if as_json:
        show_json(_document(text, found, redacted=redacted))
    elif redacted:
        from coterie.privacy.detection import redact

        typer.echo(redact(text, found), nl=not text.endswith("\n"))
    else:
        _show(text, found)


def section_of(folder: Path, detector: str | None) -> PrivacySection:
    """What the option names, else the network's setting, else names: a text needs no network."""
    from coterie.config.file import load_config
    from coterie.config.privacy import PrivacySection
    from coterie.config.section import FILE_NAME

    if detector is not None:
        known = ("patterns", "names", "presidio")
        if detector not in known:
            raise InputError(f"No detector {detector!r}.", hint=f"Detectors: {', '.join(known)}.")
        return PrivacySection.model_validate({"detector": detector})
    return load_config(folder).privacy if (folder / FILE_NAME).exists() else PrivacySection(detector="names")


def _read(file: str) -> str:
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{file!r} is no text in UTF-8: byte {error.start} cannot be read.", hint="Convert it to UTF-8 first."
        ) from None
    except OSError as error:
        raise InputError(
            f"Cannot read {file!r}: {error.strerror or error}.", hint="Give a file, or - for standard input."
        ) from None


def _document(text: str, found: Sequence[PersonalData], *, redacted: bool) -> Mapping[str, Any]:
    from coterie.privacy.detection import label_of, least_label, redact

    label = least_label(found)
    document: dict[str, Any] = {
        "label": None if label is None else label.value,
        "found": [
            {
                "kind": str(each.kind),
                "start": each.start,
                "end": each.end,
                "text": text[each.start : each.end],
                "score": round(each.score, 3),
                "label": None if (own := label_of(each.kind)) is None else own.value,
            }
            for each in found
        ],
    }
    if redacted:
        document["redacted"] = redact(text, found)
    return document


def _show(text: str, found: Sequence[PersonalData]) -> None:
    from coterie.privacy.detection import label_of, least_label

    if not found:
        say("Nothing found.")
        return
    rows = [
        (
            str(each.kind),
            f"{each.start}-{each.end}",
            " ".join(text[each.start : each.end].split()),
            f"{each.score:.2f}",
            label_of(each.kind),
        )
        for each in found
    ]
    show_table(["kind", "place", "text", "score", "label"], rows)
    label = least_label(found)
    dim("It asks for no label of its own." if label is None else f"The least label of this text is {label.value}.")
