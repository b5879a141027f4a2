"""A log file as JSON objects: JSON lines, a JSON array, concatenated objects or CSV, plain or gzipped.

Unreadable records are counted and skipped: one broken line in a million is no reason to stop.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from coterie.errors import DataError
from coterie.learning.files import as_utf8, head, sniff_delimiter

LONGEST = 64 * 1024 * 1024
"""Most bytes of one line, or characters of one object that spans lines."""
_CHUNK = 1 << 20
_BETWEEN = " \t\r\n,[]"
_FOREIGN = {b"PAR1": "a Parquet file", b"PK\x03\x04": "a zip archive", b"SQLite format 3": "an SQLite database"}

Json = Mapping[str, Any]


class LogRecord(NamedTuple):
    """One object of a log and its position."""

    line: int
    """Line of the object, or its number in an array; from 1."""
    value: Json


def read_log(
    path: Path, skipped: Counter[str], progress: Callable[[int], None] = lambda _: None
) -> Iterator[LogRecord]:
    """Yield the objects of a file in order. Skipped records are counted by their reason.

    Raises:
        DataError: the file cannot be read, or is not text.
    """
    try:
        with io.BufferedReader(path.open("rb", buffering=0), _CHUNK) as raw:
            start = raw.peek(16)[:16]
            for magic, what in _FOREIGN.items():
                if start.startswith(magic):
                    raise DataError(f"{path.name} is {what}, no log.", hint="Export it as JSON lines (JSONL) or CSV.")
            with gzip.open(raw) if start.startswith(b"\x1f\x8b") else nullcontext(raw) as stream:
                for record in _records(cast("io.BufferedReader", stream), skipped):
                    progress(raw.tell())
                    yield record
    except (OSError, EOFError) as error:
        raise DataError(f"Cannot read {str(path)!r}: {getattr(error, 'strerror', None) or error}.") from error


_BETWEEN_CELLS = frozenset(b",;\t")


def _records(stream: BinaryIO, skipped: Counter[str]) -> Iterator[LogRecord]:
    stream = as_utf8(stream, errors="replace")
    start = head(stream)
    first = next((line for line in start.removeprefix(codecs.BOM_UTF8).splitlines() if line.strip()), b"").strip()
    if first[:1] == b"[" or first == b"{":  # an array, or objects over several lines
        yield from _concatenated(stream, skipped)
    elif first[:1] in {b"{", b""} or not set(first) & _BETWEEN_CELLS:
        yield from _lines(stream, skipped)
    else:
        yield from _table(stream)


def _lines(stream: BinaryIO, skipped: Counter[str]) -> Iterator[LogRecord]:
    number = 0
    while raw := stream.readline(LONGEST):
        number += 1
        if len(raw) == LONGEST and not raw.endswith(b"\n"):
            skipped["too_long"] += 1
            while (rest := stream.readline(LONGEST)) and not rest.endswith(b"\n"):
                pass
            continue
        line = _decoded(raw.removeprefix(codecs.BOM_UTF8), skipped).strip()
        if line:
            yield from _object(number, _loaded(line), skipped)


def _decoded(raw: bytes, skipped: Counter[str]) -> str:
    """Return a line as text: UTF-8, or else Windows-1252, which logs of mixed encodings mostly hold."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        skipped["not_utf8"] += 1
        return raw.decode("cp1252", "replace")


def _loaded(text: str) -> object:
    """Return a JSON value; None if the text is not JSON."""
    try:
        return json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None


def _object(number: int, value: object, skipped: Counter[str]) -> Iterator[LogRecord]:
    if isinstance(value, dict):
        yield LogRecord(number, value)
    else:
        skipped["broken"] += 1


def _concatenated(stream: BinaryIO, skipped: Counter[str]) -> Iterator[LogRecord]:
    """Yield the objects of an array, or concatenated objects over several lines, up to the first unreadable one."""
    decoder = json.JSONDecoder(parse_constant=lambda _: None)
    rest, number, wanted, chunk = "", 0, _CHUNK, " "
    with io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace") as text:
        while chunk and len(rest) <= LONGEST:
            chunk = text.read(wanted)
            rest = (rest + chunk).lstrip(_BETWEEN)
            wanted = max(_CHUNK, len(rest))  # a long object is tried again each time the text has doubled
            while rest:
                try:
                    value, end = decoder.raw_decode(rest)
                except (ValueError, RecursionError):
                    break
                if end == len(rest) and chunk and not isinstance(value, dict):
                    break  # a number may go on
                number, rest = number + 1, rest[end:].lstrip(_BETWEEN)
                yield from _object(number, value, skipped)
    if rest:
        skipped["broken"] += 1


def _table(stream: BinaryIO) -> Iterator[LogRecord]:
    """Yield the rows of a CSV, as objects of strings."""
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST))
    delimiter = sniff_delimiter(head(stream).removeprefix(codecs.BOM_UTF8), ())
    with io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace", newline="") as text:
        rows = csv.DictReader(text, delimiter=delimiter)
        for row in rows:
            yield LogRecord(rows.line_num, {key: value for key, value in row.items() if key is not None})
