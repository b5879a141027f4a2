"""Files of examples as records: CSV, JSONL and OpenAI chat JSONL, read line by line.

A file is read once, hashed on the way and never held as a whole. This module does not know what a record
means (which cell is the text, which the label). The content decides the format: a file whose first character
is `{` is JSONL, everything else is CSV.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from coterie.errors import DataError
from coterie.learning.checks import count, nearest, quote

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
            around = raw[max(0, error.start - 20) : error.end + 10]
            raise self.error(
                f"has the byte 0x{raw[error.start]:02x}, which is not UTF-8: {quote(around.decode('latin-1'))}",
                "Convert the file, for example: iconv -f WINDOWS-1252 -t UTF-8 FILE > NEW",
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
