"""Reads a text per row with its call: `function`, and its `arguments` as an object; null where none fits.

Where an argument occurs in the text, its place is found by its value: a text word for word, a number by its digits.
`quotes` gives the words where they differ: `{"city": "the Big Apple"}`.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coterie.learning import checks
from coterie.learning.checks import ParsedRows, Problem, listing, quote
from coterie.learning.dataset import Dataset, FieldSpan, Row, Stated
from coterie.learning.files import Lines, Record
from coterie.learning.reading import TEXT, RowReader, RowsRead
from coterie.runtime.codec import parse_json
from coterie.structured.functions import function_of
from coterie.structured.schema import fault
from coterie.tasks.tools.model import Argument, arguments_of
from coterie.tasks.tools.section import NO_FUNCTION, ToolsSection
from coterie.types import Function

ARGUMENTS = "arguments"
"""The column that holds a row's arguments, as JSON."""


@dataclass(frozen=True, kw_only=True)
class FunctionCallReader(RowReader):
    """Reads a text and a call per row."""

    functions: Mapping[str, Function] = field(default_factory=dict)
    arguments: Mapping[str, tuple[Argument, ...]] = field(default_factory=dict)

    @property
    def problems(self) -> tuple[Callable[[ParsedRows], Iterator[Problem]], ...]:
        """Checks for rows that would teach the specialist something wrong."""
        return (checks.too_few, checks.empty_texts, self._unknown, checks.one_label, checks.single_examples)

    @property
    def warnings(self) -> tuple[Callable[[ParsedRows], Iterator[str]], ...]:
        """Checks for rows that work but deserve a warning."""
        return (checks.repeated, self._without_none, self._unquoted, checks.ungrouped)

    def usual(self) -> str:
        """Return a description of how calls are written."""
        return "Beside the text, `function` names the function or is null, and `arguments` is an object."

    def row(self, record: Record, lines: Lines, read: RowsRead) -> Row:
        """Return a text with its function as a label, its arguments and their places."""
        text, cell = self.text_of(record, lines), record.cells.get(self.label or "")
        name = str(cell).strip() if cell not in (None, "") else NO_FUNCTION
        given = _object(record, ARGUMENTS, lines)
        quotes = _object(record, "quotes", lines)
        if name in self.functions and (wrong := fault(self.functions[name].schema, given)):
            raise lines.error(f"has arguments that are none of {name!r}: {wrong}", line=record.line)
        fields: dict[str, Stated] = {}
        for argument in self.arguments.get(name, ()):
            if argument.field and argument.name in given:
                span = _span_of_value(text, given[argument.name], argument, quotes.get(argument.name))
                if span is None:
                    read.others[f"{name}.{argument.name}"] = None
                    continue
                fields[argument.field] = Stated(spans=(span,), many=False)
        columns = {ARGUMENTS: json.dumps(given, ensure_ascii=False, sort_keys=True)}
        group = self.group_of(record, lines)
        return Row(text=text, labels=(name,), columns=columns, fields=fields, group=group, line=record.line)

    def _unknown(self, parsed: ParsedRows) -> Iterator[Problem]:
        """Yield functions that the section does not have."""
        known_names, lines = {*self.functions, NO_FUNCTION}, defaultdict(list)
        for row in parsed.rows:
            if row.labels[0] not in known_names:
                lines[row.labels[0]].append(row.line)
        if lines:
            named = listing([f"{quote(name)} (line {at[0]})" for name, at in lines.items()])
            yield Problem(f"functions that the section does not have: {named}", f"It has {', '.join(self.functions)}.")

    def _without_none(self, parsed: ParsedRows) -> Iterator[str]:
        if not any(row.labels == (NO_FUNCTION,) for row in parsed.rows):
            yield (
                "no row has the function null: a text that no function fits is known only as far as it is unlike all "
                "of its examples"
            )

    def _unquoted(self, parsed: ParsedRows) -> Iterator[str]:
        if parsed.others and not parsed.for_evaluation:
            yield (
                f"arguments whose values are not found in their texts, which are learnt from the other rows: "
                f"{listing(list(map(quote, parsed.others)))}; `quotes` gives the words"
            )


def _object(record: Record, name: str, lines: Lines) -> dict[str, Any]:
    """Return a cell as an object; in CSV it is written as JSON. Raises `DataError`."""
    cell: object = record.cells.get(name)
    if isinstance(cell, str) and cell.strip():
        try:
            cell = parse_json(cell)
        except ValueError:
            raise lines.error(f"has {name} that are no JSON: {quote(str(cell))}", line=record.line) from None
    if cell in (None, ""):
        return {}
    if not isinstance(cell, dict):
        raise lines.error(f"has {name} that are no object: {quote(str(cell))}", line=record.line)
    return cell


def _span_of_value(text: str, value: object, argument: Argument, words: object) -> FieldSpan | None:
    """Return where a value occurs: the last place of a text, as a value tends to follow its name."""
    wanted = str(words if words is not None else value)
    if argument.kind == "number" and words is None:
        for match in re.finditer(r"\d+(?:[.,]\d+)*", text):
            if _same_number(match[0], value):
                return FieldSpan(start=match.start(), end=match.end(), value=value)  # type: ignore[arg-type]
    found_at = [m.start() for m in re.finditer(rf"(?<!\w){re.escape(wanted)}(?!\w)", text, re.IGNORECASE)]
    if not wanted or not found_at:
        return None
    plain = None if argument.kind == "text" else value
    return FieldSpan(start=found_at[-1], end=found_at[-1] + len(wanted), value=plain)  # type: ignore[arg-type]


def _same_number(written: str, value: object) -> bool:
    plain = written.replace(",", "")
    return plain.count(".") <= 1 and isinstance(value, int | float) and float(plain) == float(value)


def functions_of(section: ToolsSection) -> dict[str, Function]:
    """Return the functions of a section by name. Raises `SchemaRefused`."""
    return {
        function.name: function_of(function.name, function.description, function.parameters)
        for function in section.functions
    }


def read_rows(section: ToolsSection, path: Path | str, *, for_evaluation: bool = False) -> Dataset:
    """Read and check the rows of a section's file. Raises `DataError`, or `SchemaRefused` for its functions."""
    functions = functions_of(section)
    reader = FunctionCallReader(
        text=section.text_column or TEXT,
        label="function" if section.label_column == "label" else section.label_column,
        group=section.group_column,
        functions=functions,
        arguments=arguments_of(functions.values()),
    )
    return reader.read(path, for_evaluation=for_evaluation)
