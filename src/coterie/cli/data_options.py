"""Options that say how training data is to be read, shared by the commands that take it."""

from collections.abc import Sequence
from typing import Annotated

import typer

from coterie.errors import InputError

TextColumn = Annotated[str | None, typer.Option(metavar="COLUMN", help="Column with the text.")]
LabelColumn = Annotated[str | None, typer.Option(metavar="COLUMN", help="Column with the label.")]
GroupColumn = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="Rows with the same value here are never split apart.")
]
PairColumn = Annotated[
    str | None,
    typer.Option(metavar="COLUMN", help="pairs: column with a second text, such as a hypothesis about the text."),
]
MultiLabel = Annotated[bool, typer.Option("--multi-label", help="A text may have several labels, or none.")]
Exclude = Annotated[list[str] | None, typer.Option(metavar="COLUMN", help="score: a column that must not be used.")]
Protected = Annotated[
    list[str] | None, typer.Option(metavar="COLUMN", help="score: a protected attribute, never used.")
]
Fields = Annotated[
    list[str] | None,
    typer.Option(
        "--field",
        metavar="NAME=TYPE",
        help="extract: what to find: text, date, number, money, duration or choice; * for several: parties=text*.",
    ),
]


def parse_fields(fields: Sequence[str]) -> dict[str, str]:
    """`--field NAME=TYPE`, any number of them, as a table. Raises `InputError`."""
    parsed: dict[str, str] = {}
    for each in fields:
        name, equals, kind = (part.strip() for part in each.partition("="))
        if not (name and equals and kind):
            raise InputError(f"--field is {each!r}.", hint="Write NAME=TYPE, such as start=date or parties='text*'.")
        parsed[name] = kind
    return parsed
