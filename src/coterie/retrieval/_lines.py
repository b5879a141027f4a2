"""The lines of a text file, packed by gzip or not."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

from coterie.errors import DataError


def read_lines(path: Path) -> Iterator[str]:
    """Its lines, as line feeds end them: other signs that end one (U+2028) may stand inside a JSON string.

    A mark of the byte order before the first is passed over. Raises `DataError` if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rt", encoding="utf-8-sig") if packed else path.open(encoding="utf-8-sig") as lines:
            yield from lines
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"Cannot read {str(path)!r}: {error}.") from error
