"""From a file to a checked `Dataset`: which cells are text, label, group and features.

Nothing is dropped without a warning that counts it, and nothing is guessed: a file that does not fit is
explained with its lines and values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from coterie.config.specialists import SpecialistSection
from coterie.errors import DataError
from coterie.learning.checks import ParsedRows, check, listing, nearest, quote
from coterie.learning.columns import parse_columns, parse_outcomes, strings
from coterie.learning.dataset import Dataset, Row
from coterie.learning.files import Lines, Record, flatten_chat, open_lines, read_records
from coterie.tasks.answer.rows import read_questions
from coterie.tasks.extract.rows import read_fields
from coterie.tasks.pairs.rows import flatten_pairs, read_evidence
from coterie.types import Columns, Scalar, TaskKind

_DEFAULT_TEXT, _DEFAULT_LABEL, _DEFAULT_FIELDS, _DEFAULT_REPLY = "text", "label", "fields", "reply"

_USUAL_NAMES = {
    "text": ("sentence", "utterance", "query", "question", "message", "body", "content", "input", "prompt", "comment"),
    "label": ("labels", "category", "intent", "class", "target", "tag", "y", "output", "completion", "topic"),
}
"""What others call these columns, for suggestions only."""


def read_dataset(
    path: Path | str,
    *,
    task: TaskKind,
    text_column: str | None = None,
    label_column: str = "label",
    group_column: str | None = None,
    pair_column: str | None = None,
    evidence_column: str = "evidence",
    learn_only_column: str | None = None,
    multi_label: bool = False,
    fields: Mapping[str, str] | None = None,
    for_evaluation: bool = False,
    messages: bool = False,
    replies: bool = False,
) -> Dataset:
    """Read a CSV, JSONL or OpenAI chat JSONL file and check it for one task.

    `classify`: a text and a label a row. With `multi_label`, several labels are separated by `|`, or a list in
    JSONL. Without it a list means that any one of its labels is right. With `pair_column`, a second text too, and
    `evidence_column` may say which spans of the text decide; a JSONL record may hold many pairs of one text.
    `score`: every column but text, label and group is a feature; the label is 1 or 0, true or false, yes or no.
    `extract`: a text and what it states a row, as one object under `fields` (in CSV as JSON):
    see `docs/how-to/extract-fields.md`.
    `generate`: a source text a row, and the columns that select it, as strings. With `replies`, a text and the reply
    to it, which is the row's label; a list in JSONL holds several, any of which is right.

    Args:
        path: The file.
        task: What the rows are for.
        text_column: Column with the text; default `text`.
        label_column: Column with the label or labels.
        group_column: Rows with the same value here belong together in every split.
        pair_column: Column with the second text of a pair; it becomes the row's only column.
        evidence_column: With `pair_column`: quotes of the text, or `[start, end]` in it; optional.
        learn_only_column: Rows with `true` or `1` here are marked as learnt from only.
        multi_label: A text may have several labels, or none.
        fields: Of `extract`: the type of each field that is looked for; others in the file are passed over.
        for_evaluation: Few rows are fine, and a row without a label is one that belongs to none of a classifier's.
        messages: `generate` only: the texts are what is asked, and not the source texts, of which one a key is enough.
        replies: `generate` only: the rows are texts and replies to them; `label_column` has the reply.

    Raises:
        DataError: the file cannot be used; the message names lines and values, the hint what to do.
    """
    plan = _Plan(
        task=task,
        text=text_column or _DEFAULT_TEXT,
        text_required=task != "score" or text_column is not None,
        label=_label(task, label_column, replies=replies),
        group=group_column,
        multi_label=multi_label,
        pair=pair_column,
        evidence=evidence_column,
        learn_only=learn_only_column,
        messages=messages,
        replies=replies,
        fields=fields or {},
    )
    return _read_file(Path(path), plan, for_evaluation=for_evaluation)


def _read_file(path: Path, plan: _Plan, *, for_evaluation: bool) -> Dataset:
    with open_lines(path) as lines:
        read = _read_rows(lines, plan)
    _check_read(lines.name, read, plan)
    rows, odd = _with_columns(read, plan)
    odd = [*odd, *check(lines.name, _found(rows, read, plan, for_evaluation=for_evaluation))]
    return Dataset(name=lines.name, rows=tuple(rows), sha256=lines.sha256, warnings=(*lines.warnings, *odd))


def _found(rows: Sequence[Row], read: _Read, plan: _Plan, *, for_evaluation: bool) -> ParsedRows:
    """What is checked."""
    return ParsedRows(
        rows=rows,
        raw_labels=read.raw_labels,
        task=plan.task,
        multi_label=plan.multi_label,
        for_evaluation=for_evaluation,
        group_column=plan.group,
        pair_column=plan.pair,
        messages=plan.messages,
        replies=plan.replies,
        fields=plan.fields,
        others=tuple(read.others),
    )


def _label(task: TaskKind, column: str, *, replies: bool) -> str | None:
    """The column with what is right; the usual name of an `extract` row's, and of a reply's, is another."""
    if replies:
        return _DEFAULT_REPLY if column == _DEFAULT_LABEL else column
    if task == "extract" and column == _DEFAULT_LABEL:
        return _DEFAULT_FIELDS
    return None if task == "generate" else column


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """Which cell is what."""

    task: TaskKind
    text: str
    text_required: bool
    label: str | None
    group: str | None
    multi_label: bool
    pair: str | None = None
    evidence: str = ""
    learn_only: str | None = None
    messages: bool = False
    replies: bool = False
    fields: Mapping[str, str] = field(default_factory=dict)

    @property
    def wanted(self) -> tuple[str, ...]:
        """Columns that have to be there."""
        text = self.text if self.text_required else None
        return tuple(name for name in (text, self.label, self.group, self.pair, self.learn_only) if name is not None)

    def one_each(self, names: Collection[str]) -> bool:
        """Whether the fields that are looked for have a column each, in place of one for all."""
        return self.label == _DEFAULT_FIELDS not in names and not self.fields.keys().isdisjoint(names)

    @property
    def taken(self) -> frozenset[str]:
        """Columns that are no features."""
        return frozenset(name for name in (self.text, self.label, self.group) if name is not None)


@dataclass(kw_only=True)
class _Read:
    """What one pass over the file gives."""

    rows: list[Row] = field(default_factory=list)
    cells: list[dict[str, Scalar]] = field(default_factory=list)
    """Cells of the other columns, a row each; empty for a task that does not use them."""
    names: dict[str, None] = field(default_factory=dict)
    """Every column seen, in order."""
    raw_labels: dict[str, Counter[str]] = field(default_factory=dict)
    """By label: how often it is written in which way."""
    others: dict[str, None] = field(default_factory=dict)
    """Fields that the file states and nobody looks for."""


def _read_rows(lines: Lines, plan: _Plan) -> _Read:
    read, texts = _Read(), dict[str, str]()
    keep_cells = plan.task not in {"classify", "extract"} and not plan.replies
    for record in _records(lines, plan):
        read.names |= dict.fromkeys(record.cells)
        if plan.task == "extract":
            read.rows.append(_extract_row(record, plan, lines, read))
            continue
        written = _written_labels(record, plan, lines)
        text = _text(record, plan, lines)
        text = texts.setdefault(text, text)  # a document of many pairs is held once
        row = Row(
            text=text,
            columns=_second_text(record, plan, lines),
            evidence=read_evidence(record, plan.evidence, text, lines) if plan.pair is not None else (),
            learn_only=_learn_only(record, plan, lines),
            labels=tuple(dict.fromkeys(raw.strip() for raw in written)),
            group=_group(record, plan, lines),
            line=record.line,
        )
        for raw in written:
            read.raw_labels.setdefault(raw.strip(), Counter())[raw] += 1
        read.rows.append(row)
        if keep_cells:
            read.cells.append(
                {
                    name: _scalar(cell, name, record, lines)
                    for name, cell in record.cells.items()
                    if name not in plan.taken
                }
            )
    return read


def _extract_row(record: Record, plan: _Plan, lines: Lines, read: _Read) -> Row:
    """A text with the spans of the fields that are looked for; their names are its labels."""
    text = _text(record, plan, lines)
    cell = record.cells.get(plan.label or "")
    stated, others = read_fields(cell, plan.fields, text=text, line=record.line, lines=lines)
    read.others |= dict.fromkeys(others)
    return Row(
        text=text,
        labels=tuple(sorted(stated)),
        fields=stated,
        group=_group(record, plan, lines),
        line=record.line,
    )


def _gathered(record: Record, plan: _Plan) -> Record:
    """A record with a column for each field as one with all of them under `fields`; an empty cell is not stated."""
    found = {name: cell for name, cell in record.cells.items() if name in plan.fields}
    rest = {name: cell for name, cell in record.cells.items() if name not in plan.fields}
    return Record(record.line, {**rest, _DEFAULT_FIELDS: {name: cell or None for name, cell in found.items()}})


def _records(lines: Lines, plan: _Plan) -> Iterator[Record]:
    """The file's records, chat records flattened to text and label."""

    def check_names(names: Sequence[str]) -> None:
        _check_columns(lines.name, [*names, _DEFAULT_FIELDS] if plan.one_each(names) else names, plan)

    for record in read_records(lines, wanted=plan.wanted, check_names=check_names):
        if "messages" in record.cells and plan.text not in record.cells and plan.label is not None:
            yield flatten_chat(record, text=plan.text, label=plan.label, lines=lines)
        elif plan.one_each(record.cells):
            yield _gathered(record, plan)
        elif plan.pair is not None and "pairs" in record.cells and plan.pair not in record.cells:
            yield from flatten_pairs(record, lines)
        else:
            yield record


def _text(record: Record, plan: _Plan, lines: Lines) -> str:
    cell = record.cells.get(plan.text)
    return _string(cell, plan.text, record, lines)


def _second_text(record: Record, plan: _Plan, lines: Lines) -> Columns:
    """The second text of a pair as the row's column."""
    if plan.pair is None:
        return {}
    return {plan.pair: _string(record.cells.get(plan.pair), plan.pair, record, lines).strip() or None}


def _learn_only(record: Record, plan: _Plan, lines: Lines) -> bool:
    if plan.learn_only is None:
        return False
    written = _string(record.cells.get(plan.learn_only), plan.learn_only, record, lines).strip().casefold()
    if written not in {"", "true", "false", "1", "0"}:
        raise lines.error(
            f"has {quote(written)} in {plan.learn_only!r}", "Write true or 1, false or 0, or nothing.", line=record.line
        )
    return written in {"true", "1"}


def _group(record: Record, plan: _Plan, lines: Lines) -> str | None:
    if plan.group is None:
        return None
    return _string(record.cells.get(plan.group), plan.group, record, lines).strip() or None


def _written_labels(record: Record, plan: _Plan, lines: Lines) -> list[str]:
    """The row's labels as they are written, spaces included; blank ones are no labels.

    A JSON list lists labels; a bar separates them only where several may hold at once.
    """
    if plan.label is None:
        return []
    cell = record.cells.get(plan.label)
    if isinstance(cell, list):
        if plan.task == "score":
            raise lines.error(f"has a list as its outcome: {quote(cell)}", line=record.line)
        raw = [_string(item, plan.label, record, lines) for item in cell]
    else:
        text = _string(cell, plan.label, record, lines)
        raw = [part.strip() for part in text.split("|")] if plan.multi_label else [text]
    return [label for label in raw if label.strip()]


def _string(cell: object, column: str, record: Record, lines: Lines) -> str:
    """A cell as text. JSON numbers and booleans are written as in CSV; lists and objects are refused."""
    match cell:
        case None:
            return ""
        case bool():
            return "true" if cell else "false"
        case float() if cell.is_integer():
            return str(int(cell))
        case int() | float():
            return str(cell)
        case str() if cell.isascii() or _is_unicode(cell):
            return cell
        case str():
            raise lines.error(f"has half a surrogate pair in {column!r}: {quote(cell)}", line=record.line)
    raise lines.error(f"has {quote(cell)} in {column!r}, where a text belongs", line=record.line)


def _scalar(cell: object, column: str, record: Record, lines: Lines) -> Scalar:
    """A cell of structured input as it is; lists and objects are refused."""
    if cell is None or isinstance(cell, bool | int | float):
        return cell
    return _string(cell, column, record, lines)


def _is_unicode(text: str) -> bool:
    """False for a string that cannot be written as UTF-8; JSON escapes can make one."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _check_read(name: str, read: _Read, plan: _Plan) -> None:
    """Refuse a file without rows or without the columns the task needs."""
    if not read.rows:
        raise DataError(f"{name} has a header but no rows.", hint="Add one row an example.")
    _check_columns(name, read.names, plan)


def _check_columns(name: str, names: Collection[str], plan: _Plan) -> None:
    missing = [column for column in plan.wanted if column not in names]
    if not missing:
        return
    setting = {
        plan.text: ("text_column", "text"),
        plan.label: ("label_column", "label"),
        plan.pair: ("pair_column", ""),
    }
    hints, left = [], [column for column in names if column not in plan.wanted]
    for column in missing:
        key, usual = setting.get(column, ("group_column", ""))
        meant = next((other for other in _USUAL_NAMES.get(usual, ()) if other in left), None) or nearest(column, left)
        if meant:
            left.remove(meant)
            hints.append(f"Did you mean {meant!r}? Then set {key} = {meant!r} for this specialist.")
    shown = listing((quote(column) for column in names), shown=12)
    usual = f"The first line names the columns, such as: {','.join(plan.wanted)}"
    if plan.task == "extract":
        usual = f"Beside the text each field has a column, or `fields` holds them all: {', '.join(plan.fields)}."
    raise DataError(
        f"{name} has no column {' or '.join(map(repr, missing))}; its columns are {shown}.",
        hint=" ".join(hints) or usual,
    )


def _with_columns(read: _Read, plan: _Plan) -> tuple[list[Row], Sequence[str]]:
    """The rows with their structured input, and a `score`'s outcomes as `1` and `0`."""
    if plan.task in {"classify", "extract"} or plan.replies:
        return read.rows, ()
    columns: Sequence[Columns]
    if plan.task == "generate":
        return [replace(row, columns=columns) for row, columns in zip(read.rows, strings(read.cells), strict=True)], ()
    lines = [row.line for row in read.rows]
    columns, warnings = parse_columns(read.cells, lines)
    outcomes = parse_outcomes([row.labels for row in read.rows])
    rows = [
        replace(row, columns=cells, labels=labels)
        for row, cells, labels in zip(read.rows, columns, outcomes, strict=True)
    ]
    return rows, warnings


# --- A specialist's file, read as its section of `coterie.toml` says.


def read_section(section: SpecialistSection, path: Path | str, *, for_evaluation: bool = False) -> Dataset:
    """Read a file for a specialist's task, with the columns that its section names.

    Args:
        section: Whose data it is; where they are is not read.
        path: The file.
        for_evaluation: As `read_dataset` takes it.

    Raises:
        DataError: the file cannot be used.
    """
    if section.task == "answer":
        return read_questions(
            path,
            text_column=section.text_column,
            label_column=section.label_column,
            group_column=section.group_column,
        )
    return read_dataset(
        path,
        task=section.task,
        text_column=section.text_column,
        label_column=section.label_column,
        group_column=section.group_column,
        pair_column=section.pair_column,
        evidence_column=section.evidence_column,
        learn_only_column=section.learn_only_column,
        multi_label=section.multi_label,
        fields=section.fields,
        replies=section.writes_freely,
        for_evaluation=for_evaluation,
    )
