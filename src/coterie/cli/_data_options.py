"""Options that say how training data is to be read, shared by the commands that take it."""

from typing import Annotated

import typer

TextColumn = Annotated[str | None, typer.Option(metavar="COLUMN", help="Column with the text.")]
LabelColumn = Annotated[str | None, typer.Option(metavar="COLUMN", help="Column with the label.")]
GroupColumn = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="Rows with the same value here are never split apart.")
]
PairColumn = Annotated[
    str | None,
    typer.Option(metavar="COLUMN", help="classify: column with a second text, such as a hypothesis about the text."),
]
MultiLabel = Annotated[bool, typer.Option("--multi-label", help="A text may have several labels, or none.")]
Exclude = Annotated[list[str] | None, typer.Option(metavar="COLUMN", help="score: a column that must not be used.")]
Protected = Annotated[
    list[str] | None, typer.Option(metavar="COLUMN", help="score: a protected attribute, never used.")
]
