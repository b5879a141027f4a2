"""From a file to a checked `Dataset`: CSV, JSONL and OpenAI chat JSONL, read line by line.

A file is read once, hashed on the way and never held as a whole. The content decides the format: a file whose first
character is `{` is JSONL, everything else is CSV. Which cells are text, label, group and features, and the kind of each
column, is found afterwards. Nothing is dropped without a warning that counts it, and nothing is guessed: the error for
an unsuitable file quotes its lines and values.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from coterie.errors import DataError
from coterie.learning.dataset import (
    FEWEST_ROWS,
    Dataset,
    ParsedRows,
    Problem,
    Row,
    check,
    count,
    listing,
    nearest,
    quote,
)
from coterie.text.numerals import read_cell
from coterie.types import Columns, Scalar

LONGEST_LINE = 16 * 1024 * 1024
"""Most bytes of one line; longer lines are refused so that a binary file cannot fill the memory."""

_PEEK = 1 << 16
_BOM = b"\xef\xbb\xbf"
_FOREIGN = (
    (b"\x1f\x8b", "is compressed with gzip", "Unpack it first: gunzip FILE"),
    (b"PK\x03\x04", "is a zip archive or an Excel workbook", "Save the sheet as CSV (UTF-8), or unpack it."),
    (b"PAR1", "is a Parquet file", "Write it as CSV or JSONL first."),
    (b"SQLite format 3", "is an SQLite database", "Write the table as CSV or JSONL first."),
    (b"%PDF", "is a PDF document", "Training data is a table: CSV or JSONL."),
)
_WIDE = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte-order marks of texts that are not UTF-8, as spreadsheets save them ("Unicode text")."""


_JSONL_HINT = 'JSONL is one object a line: {"text": "...", "label": "..."}'


class Record(NamedTuple):
    """One row as it stands in the file."""

    line: int
    cells: Mapping[str, object]
    """Cells by column name: strings in CSV, any JSON value in JSONL."""


class _Recoded(io.RawIOBase):
    """A text in another encoding as UTF-8 bytes; its original bytes are hashed as they are read."""

    def __init__(self, stream: BinaryIO, encoding: str, errors: str) -> None:
        self._stream, self.digest, self._rest = stream, hashlib.sha256(), b""
        self._decoder = codecs.getincrementaldecoder(encoding)(errors)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - as io has it
        raw = b"more"
        while raw and not self._rest:
            raw = self._stream.read(_PEEK)
            self.digest.update(raw)
            self._rest = self._decoder.decode(raw, final=not raw).encode("utf-8", "replace")
        taken = self._rest[: len(buffer)]
        buffer[: len(taken)], self._rest = taken, self._rest[len(taken) :]
        return len(taken)


def as_utf8(stream: BinaryIO, *, errors: str = "strict") -> BinaryIO:
    """Return a stream as UTF-8, if a byte-order mark says that it is UTF-16 or UTF-32; else the stream itself."""
    encoding = next((name for mark, name in _WIDE if head(stream).startswith(mark)), None)
    return stream if encoding is None else io.BufferedReader(_Recoded(stream, encoding, errors), _PEEK)


def whole_text(path: Path) -> str:
    """Return a file as text, in any Unicode encoding. Raises `OSError`, or `ValueError` if it has none."""
    with path.open("rb", buffering=_PEEK) as file:
        return as_utf8(file).read().decode("utf-8-sig").replace("\r\n", "\n")


def _in_encodings(raw: bytes) -> str:
    """Say what bytes are in each of some encodings: a person sees which is right."""
    texts: dict[str, list[str]] = {}
    for number in range(1250, 1259):
        with suppress(UnicodeDecodeError):
            texts.setdefault(raw.decode(f"cp{number}"), []).append(f"WINDOWS-{number}")
    return ", ".join(f"{quote(text)} in {names[0]}" for text, names in texts.items()) or quote(raw.decode("latin-1"))


@dataclass
class Lines:
    """The lines of a file as text, counted and hashed as they are read."""

    name: str
    stream: BinaryIO
    number: int = 0
    warnings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        recoded = getattr(self.stream, "raw", None)
        self._foreign = isinstance(recoded, _Recoded)
        self._digest = recoded.digest if isinstance(recoded, _Recoded) else hashlib.sha256()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        try:
            raw = self.stream.readline(LONGEST_LINE + 1)
        except UnicodeDecodeError as error:  # of a file in another encoding
            self.number += 1
            raise self.error(f"is not valid {error.encoding}: {error.reason}") from None
        if not raw:
            raise StopIteration
        self.number += 1
        if not self._foreign:
            self._digest.update(raw)
        if len(raw) > LONGEST_LINE:
            raise self.error(f"is longer than {LONGEST_LINE // 1024 // 1024} MiB", "One example is one line.")
        if b"\0" in raw:
            raise self.error("has a NUL byte: this is not a text file", "Training data is CSV or JSONL in UTF-8.")
        return self._decode(raw.removeprefix(_BOM) if self.number == 1 else raw)

    def _decode(self, raw: bytes) -> str:
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.error(
                f"has the byte 0x{raw[error.start]:02x}, which is not UTF-8",
                "Save it as UTF-8, or convert it from the encoding in which it was saved: iconv -f ENCODING -t UTF-8 "
                f"FILE > NEW. The text there is {_in_encodings(raw[max(0, error.start - 20) : error.end + 10])}.",
            ) from None

    def error(self, problem: str, hint: str = "", *, line: int | None = None) -> DataError:
        """Return an error about a line: the last one read, or another one."""
        return DataError(f"{self.name}, line {line or self.number} {problem}.", hint=hint)

    @property
    def sha256(self) -> str:
        """Checksum of everything read so far."""
        return self._digest.hexdigest()


@contextmanager
def open_lines(path: Path) -> Iterator[Lines]:
    """Open a file for one pass. Raises `DataError` if it cannot be read or is of an unsupported kind."""
    try:
        with path.open("rb", buffering=_PEEK) as file:
            try:
                stream = as_utf8(file)
                _refuse_foreign(path.name, head(stream))
            except UnicodeDecodeError as error:
                raise DataError(f"{path.name} is not valid {error.encoding}: {error.reason}.") from None
            yield Lines(path.name, stream)
    except FileNotFoundError:
        near = _neighbour(path)
        raise DataError(
            f"No file {str(path)!r}.",
            hint=f"Did you mean {near!r}?" if near else "Give the path of a CSV or JSONL file that is there.",
        ) from None
    except OSError as error:
        raise DataError(f"Cannot read {str(path)!r}: {error.strerror or error}.") from error


def head(stream: BinaryIO) -> bytes:
    """Return the first bytes of a buffered stream without consuming them."""
    peek = getattr(stream, "peek", None)
    return bytes(peek(_PEEK)) if peek else b""


def _neighbour(path: Path) -> str | None:
    """Return the file beside a missing one that was probably meant; None if there is none."""
    try:
        return nearest(path.name, [other.name for other in path.parent.iterdir()])
    except OSError:
        return None


def _refuse_foreign(name: str, start: bytes) -> None:
    for magic, what, hint in _FOREIGN:
        if start.startswith(magic):
            raise DataError(f"{name} {what}, not CSV or JSONL.", hint=hint)
    text = start.removeprefix(_BOM).lstrip()
    if not text:
        jsonl = name.casefold().endswith((".jsonl", ".ndjson"))
        header = "Give it a header line, such as text,label, and one row an example."
        raise DataError(f"{name} is empty.", hint="Write one JSON object a line." if jsonl else header)
    if text.startswith(b"["):
        raise DataError(
            f"{name} starts with '[': a JSON list, not JSONL.",
            hint="Write one object a line, for example: jq -c '.[]' FILE > NEW.jsonl",
        )
    if b"\r" in start and b"\n" not in start:
        raise DataError(f"{name} ends its lines with CR only.", hint="Convert it: tr '\\r' '\\n' < FILE > NEW")


def read_records(
    lines: Lines, *, wanted: Collection[str], check_names: Callable[[Sequence[str]], None]
) -> Iterator[Record]:
    """Yield the records of a file, in order.

    `wanted` names columns that help to find the CSV delimiter; `check_names` is called with a CSV's header
    before its first row is read, and may refuse it.

    Raises:
        DataError: a line is invalid in its format; the message names it.
    """
    start = head(lines.stream).removeprefix(_BOM).lstrip()
    if start.startswith(b"{") or Path(lines.name).suffix.lower() in {".jsonl", ".ndjson"}:
        return _read_jsonl(lines)
    return _read_csv(lines, sniff_delimiter(start, wanted), check_names)


# --- JSONL ---------------------------------------------------------------------------------------


def _read_jsonl(lines: Lines) -> Iterator[Record]:
    for line in map(str.strip, lines):
        if not line:
            continue
        try:
            cells = json.loads(line, parse_constant=lambda _: None)  # NaN and infinities are no values
        except (ValueError, RecursionError) as error:
            where = f" (column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
            raise lines.error(f"is not valid JSON{where}: {quote(line)}", _JSONL_HINT) from None
        if not isinstance(cells, dict):
            raise lines.error(f"is not a JSON object: {quote(line)}", _JSONL_HINT)
        yield Record(lines.number, cells)


def flatten_chat(record: Record, *, text: str, label: str, lines: Lines) -> Record:
    """Return an OpenAI chat record as cells: the last user message, and the assistant's reply to it as the label."""
    messages = record.cells["messages"]
    if not isinstance(messages, list) or not all(isinstance(m, dict) and "role" in m for m in messages):
        raise lines.error(f"has messages that are no list of roles and contents: {quote(messages)}")
    user_turns = [i for i, message in enumerate(messages) if message["role"] == "user"]
    if not user_turns:
        raise lines.error("has no message of role 'user'", "The last user message is the example's text.")
    replies = [_content(m) for m in messages[user_turns[-1] + 1 :] if m["role"] == "assistant"]
    cells = {name: value for name, value in record.cells.items() if name != "messages"}
    cells |= {text: _content(messages[user_turns[-1]]), label: replies[-1] if replies else None}
    return Record(record.line, cells)


def _content(message: Mapping[str, object]) -> object:
    """Return the text of a chat message, whose content is a string or a list of parts."""
    content = message.get("content")
    if not isinstance(content, list):
        return content
    return "\n".join(str(part["text"]) for part in content if isinstance(part, dict) and "text" in part)


# --- CSV -----------------------------------------------------------------------------------------


def sniff_delimiter(start: bytes, wanted: Collection[str]) -> str:
    """Return the delimiter under which the header has most of the wanted names, then most names at all."""
    # The peeked bytes may end inside a character or a row; only the header matters here.
    text = start.decode("utf-8", errors="replace").splitlines(keepends=True)

    def fit(delimiter: str) -> tuple[int, int]:
        try:
            names = [name.strip() for name in next(csv.reader(text, delimiter=delimiter), [])]
        except csv.Error:
            return (0, 0)
        return (len(set(wanted) & set(names)), len(names))

    return max((",", ";", "\t"), key=fit)  # the first of equals: a file of one column is comma-separated


def _read_csv(lines: Lines, delimiter: str, check_names: Callable[[Sequence[str]], None]) -> Iterator[Record]:
    # The limit is the process's; it is only ever raised, to what one line may hold.
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_LINE))
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    names: list[str] | None = None
    start, hollow = 1, 0
    try:
        for cells in reader:
            if names is None and cells:
                names = _header(cells, lines)
                check_names([name for name in names if name])
            elif names is not None and any(cell.strip() for cell in cells):
                yield Record(start, _cells(cells, names, lines, start, delimiter))
            else:
                hollow += len(cells) > 1
            start = lines.number + 1
    except csv.Error as error:
        raise _explain_csv(error, lines, start) from None
    if hollow:
        lines.warnings.append(f"{count(hollow, 'row')} with nothing in any cell left out")


def _header(cells: list[str], lines: Lines) -> list[str]:
    names = [cell.strip() for cell in cells]
    blank = [str(index) for index, name in enumerate(names, 1) if not name]
    if blank:
        lines.warnings.append(f"column {', '.join(blank)} has no name in the header and is left out")
    twice = sorted(name for name, times in Counter(names).items() if name and times > 1)
    if twice:
        raise lines.error(f"names the column {twice[0]!r} more than once", "Give every column its own name.")
    return names


def _cells(cells: list[str], names: list[str], lines: Lines, start: int, delimiter: str) -> dict[str, object]:
    """Return a row's cells by column name; columns without a name are left out."""
    extra = [cell for cell in cells[len(names) :] if cell.strip()]
    if extra or len(cells) < len(names):
        hint = f"A text that contains {delimiter!r} or a line break goes between double quotes."
        problem = f"has {len(cells)} cells, but the header has {len(names)}: {quote(delimiter.join(cells))}"
        raise lines.error(problem, hint, line=start)
    return {name: cell for name, cell in zip(names, cells, strict=False) if name}


def _explain_csv(error: csv.Error, lines: Lines, start: int) -> DataError:
    text = str(error)
    if "unexpected end of data" in text or "field larger than" in text:
        return lines.error(
            'opens a double quote (") that is never closed', 'Write a quote inside a text as "".', line=start
        )
    if "expected after" in text:
        return lines.error('goes on after a closing double quote (")', 'Write a quote inside a text as "".')
    if "new-line character" in text:
        return lines.error("has a carriage return inside a cell without quotes", "Put the text between double quotes.")
    return lines.error(f"is not valid CSV ({text})", line=start)


# --- From a file to a checked `Dataset`: which cells are text, label, group and features, and the kind of each column.

TEXT = "text"
"""Default name of the column with the text."""
_USUAL_NAMES = {
    "text": ("sentence", "utterance", "query", "question", "message", "body", "content", "input", "prompt", "comment"),
    "label": ("labels", "category", "intent", "class", "target", "tag", "y", "output", "completion", "topic"),
}
"""Other common names of these columns, for suggestions only."""


@dataclass(kw_only=True)
class RowsRead:
    """The result of one pass over a file."""

    rows: list[Row] = field(default_factory=list)
    cells: list[dict[str, Scalar]] = field(default_factory=list)
    """Cells of the other columns, one entry a row; empty for a task that does not use them."""
    names: dict[str, None] = field(default_factory=dict)
    """Every column seen, in order."""
    raw_labels: dict[str, Counter[str]] = field(default_factory=dict)
    """For each label, how often each spelling occurs."""
    texts: dict[str, str] = field(default_factory=dict)
    """Every text once, so that a document of many rows is held once."""
    others: dict[str, None] = field(default_factory=dict)
    """Fields of the file that no option uses."""


@dataclass(frozen=True, kw_only=True)
class RowReader:
    """Reads the rows of one task: a text and its labels a row. A task overrides its own peculiarities."""

    text: str = TEXT
    """Column with the text."""
    label: str | None = "label"
    """Column with the label or labels, if rows have any."""
    group: str | None = None
    """Column whose equal values belong together in every split."""
    multi_label: bool = False
    """Whether a bar in a label separates several labels that hold at once."""
    text_required: bool = True
    keeps_cells: bool = False
    """Whether the other columns are the row's structured input."""

    # --- What a task may override ----------------------------------------------------------------

    @property
    def problems(self) -> tuple[Callable[[ParsedRows], Iterator[Problem]], ...]:
        """Checks for errors that make a file unusable."""
        return ()

    @property
    def warnings(self) -> tuple[Callable[[ParsedRows], Iterator[str]], ...]:
        """Checks for oddities that are worth a warning."""
        return ()

    @property
    def wanted(self) -> tuple[str, ...]:
        """Names of required columns."""
        text = self.text if self.text_required else None
        return tuple(name for name in (text, self.label, self.group) if name is not None)

    @property
    def settings(self) -> Mapping[str | None, tuple[str, str]]:
        """By column, the section's key that names it, and its usual meaning."""
        return {self.text: ("text_column", "text"), self.label: ("label_column", "label")}

    def fewest(self, *, for_evaluation: bool) -> int:
        """Return the fewest rows with which a file is of use."""
        return 1 if for_evaluation else FEWEST_ROWS

    def records(self, record: Record, lines: Lines) -> Iterator[Record]:
        """Yield the records that a record of the file stands for: a chat is flattened to a text and a label."""
        if "messages" in record.cells and self.text not in record.cells and self.label is not None:
            yield flatten_chat(record, text=self.text, label=self.label, lines=lines)
        else:
            yield record

    def row(self, record: Record, lines: Lines, read: RowsRead) -> Row:
        """Return the row of a record."""
        written, text = self.written_labels(record, lines), self.text_of(record, lines)
        for raw in written:
            read.raw_labels.setdefault(raw.strip(), Counter())[raw] += 1
        return Row(
            text=read.texts.setdefault(text, text),
            labels=tuple(dict.fromkeys(raw.strip() for raw in written)),
            group=self.group_of(record, lines),
            line=record.line,
        )

    def finish(self, read: RowsRead) -> tuple[list[Row], Sequence[str]]:
        """Return the rows once all of them are read, and warnings about them."""
        return read.rows, ()

    def names(self, names: Sequence[str]) -> Collection[str]:
        """Return the columns that the reader recognises in a file with these columns."""
        return names

    def usual(self) -> str:
        """Return a hint on how columns are named, for when no name can be suggested."""
        return f"The first line names the columns, such as: {','.join(self.wanted)}"

    # --- What it does with a file ----------------------------------------------------------------

    def read(self, path: Path | str, *, for_evaluation: bool = False) -> Dataset:
        """Read a CSV, JSONL or OpenAI chat JSONL file and check it.

        Args:
            path: The file.
            for_evaluation: Few rows are fine, and a row without a label belongs to none of a classifier's labels.

        Raises:
            DataError: the file cannot be used; the message names lines and values, the hint what to do.
        """
        with open_lines(Path(path)) as lines:
            read = self._pass_over(lines)
        if not read.rows:
            raise DataError(f"{lines.name} has a header but no rows.", hint="Add one row an example.")
        self._check_columns(lines.name, read.names)
        rows, odd = self.finish(read)
        parsed = ParsedRows(
            rows=rows,
            raw_labels=read.raw_labels,
            multi_label=self.multi_label,
            for_evaluation=for_evaluation,
            fewest=self.fewest(for_evaluation=for_evaluation),
            group_column=self.group,
            others=tuple(read.others),
        )
        odd = [*odd, *check(lines.name, parsed, self.problems, self.warnings)]
        return Dataset(name=lines.name, rows=tuple(rows), sha256=lines.sha256, warnings=(*lines.warnings, *odd))

    def text_of(self, record: Record, lines: Lines) -> str:
        """Return the text of a record."""
        return as_text(record.cells.get(self.text), self.text, record, lines)

    def group_of(self, record: Record, lines: Lines) -> str | None:
        """Return the group of a record; None if it has none."""
        if self.group is None:
            return None
        return as_text(record.cells.get(self.group), self.group, record, lines).strip() or None

    def written_labels(self, record: Record, lines: Lines) -> list[str]:
        """Return the row's labels as they are written, spaces included; blank ones are left out.

        A JSON list lists labels; a bar separates labels only if several may hold at once.
        """
        if self.label is None:
            return []
        cell = record.cells.get(self.label)
        if isinstance(cell, list):
            raw = [as_text(item, self.label, record, lines) for item in cell]
        else:
            text = as_text(cell, self.label, record, lines)
            raw = [part.strip() for part in text.split("|")] if self.multi_label else [text]
        return [label for label in raw if label.strip()]

    def _pass_over(self, lines: Lines) -> RowsRead:
        read, taken = RowsRead(), {self.text, self.label, self.group}
        for whole in read_records(
            lines, wanted=self.wanted, check_names=lambda names: self._check_columns(lines.name, self.names(names))
        ):
            for record in self.records(whole, lines):
                read.names |= dict.fromkeys(record.cells)
                read.rows.append(self.row(record, lines, read))
                if self.keeps_cells:
                    read.cells.append(
                        {
                            name: _scalar(cell, name, record, lines)
                            for name, cell in record.cells.items()
                            if name not in taken
                        }
                    )
        return read

    def _check_columns(self, name: str, names: Collection[str]) -> None:
        missing = [column for column in self.wanted if column not in names]
        if not missing:
            return
        settings = self.settings
        left = [column for column in names if column not in self.wanted]
        meant: dict[str, str] = {}
        for column in missing:
            _, usual = settings.get(column, ("group_column", ""))
            like = next((other for other in _USUAL_NAMES.get(usual, ()) if other in left), None)
            if like := like or nearest(column, left):
                left.remove(like)
                meant[column] = like
        unnamed = [column for column in missing if column not in meant]
        if len(unnamed) == len(left):  # nothing else is there, in whatever language it is named
            meant |= zip(unnamed, left, strict=True)
        keys = {column: settings.get(column, ("group_column", ""))[0] for column in meant}
        hints = [
            f"Did you mean {meant[column]!r}? Then set {keys[column]} = {meant[column]!r} for this specialist."
            for column in missing
            if column in meant
        ]
        nameless = [settings.get(column, ("group_column", ""))[0] for column in missing if column not in meant]
        named = [f"If one of them is it, set {key} to its name." for key in nameless]
        shown = listing((quote(column) for column in names), shown=12)
        raise DataError(
            f"{name} has no column {' or '.join(map(repr, missing))}; its columns are {shown}.",
            hint=" ".join([*hints, *named, *((self.usual(),) if len(unnamed) == len(missing) else ())]),
        )


def as_text(cell: object, column: str, record: Record, lines: Lines) -> str:
    """Return a cell as text. JSON numbers and booleans are written as in CSV; lists and objects are refused."""
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
    """Return a cell of structured input as it is; lists and objects are refused."""
    if cell is None or isinstance(cell, bool | int | float):
        return cell
    return as_text(cell, column, record, lines)


def _is_unicode(text: str) -> bool:
    """Return False for a string that cannot be encoded as UTF-8, which JSON escapes can produce."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


# --- Structured input: a column's cells as numbers, booleans or categories, decided for the column as a whole.

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_CODE = re.compile(r"[+-]?0\d", re.ASCII)
"""A number with leading zeros, which is a code: a postcode, an account."""
_NO_NUMBER = {"na", "n/a", "nan", "null", "none", "-", "?", "."}
"""Notations of a missing number; in a column of words each of them is an ordinary word."""
_BOOLEANS = {"true": True, "false": False}
_OUTCOMES: Sequence[Mapping[str, str]] = (
    {"1": "1", "1.0": "1", "0": "0", "0.0": "0"},
    {"true": "1", "false": "0"},
    {"yes": "1", "no": "0"},
)
_MOSTLY = 0.8


def parse_columns(
    cells: Sequence[Mapping[str, Scalar]], lines: Sequence[int], *, unused: Collection[str] = ()
) -> tuple[list[Columns], list[str]]:
    """Return rows of raw cells as typed columns, and warnings about the columns that are used.

    A column is numeric when every cell that is not empty is a number, boolean when every one is true or
    false, and otherwise a category, as stripped text. An empty cell is None. `lines` are the rows' lines.
    Numbers may have a decimal comma or groups of thousands ("1.234,5") if the column as a whole has one reading.
    """
    names = dict.fromkeys(name for row in cells for name in row)
    warnings: list[str] = []
    typed: dict[str, list[Scalar]] = {}
    for name in names:
        raw = [row.get(name) for row in cells]
        typed[name] = _parse_column(raw)
        warnings += [] if name in unused else _odd_column(name, raw, typed[name], lines)
    return [{name: typed[name][i] for name in names} for i in range(len(cells))], warnings


def strings(cells: Sequence[Mapping[str, Scalar]]) -> list[Columns]:
    """Return rows of raw cells as text; a cell that is missing or empty is None."""
    names = dict.fromkeys(name for row in cells for name in row)
    return [{name: _text(row.get(name)) or None for name in names} for row in cells]


def parse_outcomes(labels: Sequence[tuple[str, ...]], positive: str | None = None) -> list[tuple[str, ...]]:
    """Return labels as `1` and `0` if all are written in one of the known ways, and unchanged otherwise.

    With `positive`, that label is `1` and the only other one `0`; case and surrounding spaces do not count.
    """
    written = {label.casefold().strip() for row in labels for label in row}
    reading_of = next((way for way in _OUTCOMES if written <= way.keys()), None)
    if positive is not None:
        one = positive.casefold().strip()
        reading_of = dict.fromkeys(written, "0") | {one: "1"} if len(written | {one}) == 2 else None
    if reading_of is None:
        return list(labels)
    return [tuple(reading_of[label.casefold().strip()] for label in row) for row in labels]


def _text(cell: Scalar) -> str:
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return "" if cell is None else str(cell).strip()


def _parse_column(raw: Sequence[Scalar]) -> list[Scalar]:
    if not any(isinstance(cell, str) for cell in raw):
        return [None if isinstance(cell, float) and not math.isfinite(cell) else cell for cell in raw]
    texts = [_text(cell) for cell in raw]
    if _are_numbers(texts):
        return [_number(text) for text in texts]
    if all(text.casefold() in _BOOLEANS for text in texts if text):
        return [_BOOLEANS.get(text.casefold()) for text in texts]
    readings = _readings(texts)
    if len(readings) == 1:
        return [readings[0].get(text) for text in texts]
    return [text or None for text in texts]


def _are_numbers(texts: Sequence[str]) -> bool:
    present = _present(texts)
    return bool(present) and all(_is_number(text) for text in present)


def _present(texts: Sequence[str]) -> list[str]:
    return [text for text in texts if text and text.casefold() not in _NO_NUMBER]


def _readings(texts: Sequence[str]) -> list[dict[str, int | float]]:
    """Return the numbers by their texts for each decimal sign that all texts of a column can have; equal ones once.

    Only for a column with a comma: digits in groups of other signs may be a telephone number or an address.
    """
    present = dict.fromkeys(_present(texts))
    if not any("," in text for text in present) or any(_CODE.match(text) for text in present):
        return []
    readings: list[dict[str, int | float]] = []
    for sign in ".,":
        numbers = {text: number for text in present if (number := read_cell(text, sign)) is not None}
        if len(numbers) == len(present) and numbers not in readings:
            readings.append(numbers)
    return readings


def _is_number(text: str) -> bool:
    return bool(_NUMBER.fullmatch(text)) and not _CODE.match(text) and math.isfinite(float(text))


def _is_figure(text: str) -> bool:
    return _is_number(text) or any(read_cell(text, sign) is not None for sign in ".,")


def _number(text: str) -> int | float | None:
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return int(text) if value.is_integer() and text.lstrip("+-").isdigit() else value


def _odd_column(name: str, raw: Sequence[Scalar], cells: Sequence[Scalar], lines: Sequence[int]) -> list[str]:
    present = [cell for cell in cells if cell is not None]
    if not present:
        return [f"column {name!r} is empty on every row"]
    words = [
        (cell, line) for cell, line in zip(raw, lines, strict=True) if (text := _text(cell)) and not _is_figure(text)
    ]
    if isinstance(present[0], str) and len(_readings([_text(cell) for cell in raw])) > 1:
        first = next(cell for cell in raw if "," in _text(cell))
        why = f"{quote(first)} and all others have two readings: write them without groups of thousands"
        return [f"column {name!r} is read as words and not as numbers because {why}"]
    if isinstance(present[0], str) and words and len(words) <= (1 - _MOSTLY) * len(present):
        first, line = words[0]
        because = f"{count(len(words), 'cell')}, first {quote(first)} at line {line}"
        return [f"column {name!r} is read as words and not as numbers because of {because}"]
    if _is_key(present, len(cells)):
        return [f"column {name!r} is different on every row: if it is a key and no feature, exclude it"]
    return []


def _is_key(present: Sequence[Scalar], rows: int) -> bool:
    """Return True for words that never repeat, and for whole numbers that count the rows."""
    if len(present) < rows or rows < 20 or len(set(present)) < rows:
        return False
    if all(isinstance(cell, str) for cell in present):
        return True
    numbers = [cell for cell in present if isinstance(cell, int)]
    return len(numbers) == rows and max(numbers) - min(numbers) == rows - 1
