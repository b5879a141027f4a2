"""Options that several commands have, and how what was typed for them is read."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coterie.errors import InputError
from coterie.types.usage import read_money

if TYPE_CHECKING:
    from coterie.types import Label


Clearance = Annotated[
    str | None,
    typer.Option("--as", metavar="LABEL", help="The most sensitive label that you may see; default: the network's."),
]
Columns = Annotated[str | None, typer.Option(metavar="JSON", help="Structured input: one JSON object of plain values.")]
ContentLabel = Annotated[
    str | None, typer.Option(metavar="LABEL", help="Sensitivity: public, internal, confidential or restricted.")
]
OutputFile = Annotated[
    Path | None, typer.Argument(metavar="FILE", help="Where to write it; left out, standard output.")
]
Tenant = Annotated[str, typer.Option(metavar="NAME", help="Tenant that it belongs to.")]
TraceId = Annotated[str, typer.Argument(metavar="ID", help="The trace id that came with the answer.")]


def group(name: str, about: str) -> typer.Typer:
    """A command that has commands of its own; without one of them it shows its help."""
    return typer.Typer(name=name, help=about, no_args_is_help=True, rich_markup_mode=None)


_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def parse_label(option: str, label: str | None) -> Label | None:
    """A label as it was typed; None if none was. Raises `InputError`."""
    from coterie.types import Label

    try:
        return None if label is None else Label(label)
    except ValueError:
        raise InputError(f"{option} is {label!r}.", hint=f"Labels are: {', '.join(Label)}.") from None


def parse_money(option: str, amount: str | None) -> Decimal | None:
    """An amount from 0; None when nothing was typed. Raises `InputError`."""
    if amount is None:
        return None
    try:
        return read_money(amount)
    except ValueError as error:
        hint = "Write an amount from 0, such as 0.05."
        raise InputError(f"{option} is {amount[:100]!r}: {error}.", hint=hint) from None


def parse_since(since: str | None, *, now: float, option: str = "--since") -> float:
    """A time as seconds since the epoch: an age (`24h`), a date or a date with time; None is the beginning.

    Raises `InputError`.
    """
    if since is None:
        return 0.0
    if age := re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smhdw])", since.strip()):
        return now - float(age[1]) * _SECONDS[age[2]]
    try:
        moment = datetime.fromisoformat(since.strip())
    except ValueError:
        raise InputError(
            f"{option} is {since!r}, neither an age nor a date.", hint='Such as "24h", "7d", "2026-11-01T09:30".'
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def check_choice(what: str, chosen: str, known: Iterable[str]) -> str:
    """Refuse what is none of the known names. Raises `InputError`."""
    known = list(known)
    if chosen not in known:
        raise InputError(f"Asked for the {what} {chosen!r}.", hint=f"There is {', '.join(known) or 'none'}.")
    return chosen


def check_index_name(name: str) -> None:
    """Refuse what could be no key of the file: the name is a folder's too. Raises `InputError`."""
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", name):
        raise InputError(f"{name!r} is no name of an index.", hint="Small letters, digits, - and _, a letter first.")


def read_text(file: str) -> str:
    """The text of a file, or of standard input for `-`. Raises `InputError`."""
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        name = "Standard input" if file == "-" else repr(file)
        raise InputError(
            f"{name} is not UTF-8 text: byte {error.start} cannot be read.", hint="Convert it to UTF-8 first."
        ) from None
    except OSError as error:
        raise InputError(
            f"Cannot read {file!r}: {error.strerror or error}.", hint="Give a file, or - for standard input."
        ) from None


def check_utf8(text: str) -> str:
    """Refuse a text that the terminal gave in another encoding. Raises `InputError`."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError("The text is not valid UTF-8.", hint="Check the terminal's encoding.") from error
    return text


def pretty(document: object) -> bytes:
    """A JSON document as it is written to a file."""
    return json.dumps(document, indent=2, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
