"""Structured input: one row of plain values, by itself or inside a text."""

from __future__ import annotations

import json
import sys

from coterie.errors import InputError
from coterie.types import Columns


def split_columns(text: str) -> tuple[str, Columns | None]:
    """Structured input sent inside a text: the text without its JSON object, and the object.

    Only an object of plain values counts; any other brace is part of the text.
    """
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        return text, None
    try:
        columns = json.loads(text[start : end + 1])
    except (ValueError, RecursionError):
        return text, None
    if not isinstance(columns, dict) or not columns or not all(_is_cell(value) for value in columns.values()):
        return text, None
    return (text[:start] + text[end + 1 :]).strip(), columns


def check_columns(columns: Columns) -> None:
    """Refuse structured input that is no row of plain values. Raises `InputError`."""
    for name, value in columns.items():
        if not isinstance(name, str) or not (value is None or isinstance(value, str | int | float)):
            raise InputError(
                f"Column {name!r} holds a {type(value).__name__}; columns hold texts, numbers, true, false or null.",
                hint="Send one flat JSON object.",
            )


def _is_cell(value: object) -> bool:
    """Whether a column may hold it: a text, a number that a float can hold (so no NaN), true, false or null."""
    if isinstance(value, int | float):
        return abs(value) <= sys.float_info.max
    return value is None or isinstance(value, str)
