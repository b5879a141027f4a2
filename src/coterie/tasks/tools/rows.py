"""Reads a text per row with its call, and evaluates calls against the right ones.

A call is `function`, and its `arguments` as an object; null where none fits. Where an argument occurs in the text, its
place is found by its value: a text word for word, a number by its digits. `quotes` gives the words where they differ:
`{"city": "the Big Apple"}`.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from coterie.learning.dataset import (
    Dataset,
    FieldSpan,
    ParsedRows,
    Problem,
    Row,
    Stated,
    empty_texts,
    listing,
    one_label,
    quote,
    repeated,
    single_examples,
    too_few,
    ungrouped,
)
from coterie.learning.evaluation import Evaluation, judge_labels, share
from coterie.learning.reading import TEXT, Lines, Record, RowReader, RowsRead
from coterie.runtime.codec import parse_json
from coterie.structured.schema import fault, function_of, stored_calls
from coterie.tasks.tools.model import Argument, arguments_of
from coterie.tasks.tools.section import NO_FUNCTION, ToolsSection
from coterie.text.segmentation import plain
from coterie.types import Finding, Function

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
        return (too_few, empty_texts, self._unknown, one_label, single_examples)

    @property
    def warnings(self) -> tuple[Callable[[ParsedRows], Iterator[str]], ...]:
        """Checks for rows that work but deserve a warning."""
        return (repeated, self._without_none, self._unquoted, ungrouped)

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


# --- Evaluates calls against the right ones: the function, the whole call, and texts that no function fits.


def judge(rows: Sequence[Row], findings: Sequence[Finding], *, seed: int = 0) -> Evaluation:
    """Return the figures of the function, accepted or not, as for a classifier, and in `others` five more.

    `exact_calls`: of rows with a function, the share whose function and arguments are right. `accepted_exact`: of
    accepted calls, the share of right ones. `no_function_recall`: of rows that no function fits, the share for which
    none is chosen. `no_call`: of these, the share for which no call is accepted. `function_right`: of rows with a
    function, the share whose function is chosen.
    """
    whole = judge_labels(rows, findings, seed=seed)
    pairs = list(zip(rows, findings, strict=True))
    calls = [(row, finding) for row, finding in pairs if row.labels != (NO_FUNCTION,)]
    none = [finding for row, finding in pairs if row.labels == (NO_FUNCTION,)]
    exact = np.array([is_exact(row, finding) for row, finding in calls], dtype=bool)
    made = np.array([(f.accepted and f.value != NO_FUNCTION, is_exact(r, f)) for r, f in pairs], dtype=bool)
    chosen = np.array([(finding.value,) == row.labels for row, finding in calls], dtype=bool)
    figures = {
        "function_right": share(chosen, seed),
        "exact_calls": share(exact, seed),
        "accepted_exact": share(made[made[:, 0], 1] if len(made) else made, seed),
        "no_function_recall": share(np.array([f.value == NO_FUNCTION for f in none], dtype=bool), seed),
        "no_call": share(np.array([f.value == NO_FUNCTION or not f.accepted for f in none], dtype=bool), seed),
    }
    numbers = {name: figure.value for name, figure in figures.items() if figure.value == figure.value}
    return replace(whole, others={**whole.others, **numbers})


def is_exact(row: Row, finding: Finding) -> bool:
    """Return whether a finding is the call of a row, ignoring white space and case of texts."""
    with suppress(ValueError, KeyError, TypeError):
        (call,) = stored_calls(finding.text)
        given = parse_json(str(row.columns[ARGUMENTS]))
        return row.labels == (call.name,) and _plain(dict(call.arguments)) == _plain(given)
    return False


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return plain(value) if isinstance(value, str) else value
