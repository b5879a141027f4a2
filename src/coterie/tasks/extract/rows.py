"""Fields of an `extract` row: from what a file says of them to offsets into the row's text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from coterie.errors import DataError
from coterie.learning.checks import quote
from coterie.learning.dataset import FieldSpan, Stated
from coterie.learning.files import Lines
from coterie.learning.values import CHOICE, MANY, TEXT, normalise_value
from coterie.text.language import language_of
from coterie.types import Scalar

_HINT = (
    'A field is null (not stated), a quote from the text, {"start": 3, "end": 9} with "value" if it has one, or a list '
    "of these."
)
_KEYS = {"start", "end", "text", "value"}


def read_fields(
    cell: object, types: Mapping[str, str], *, text: str, line: int, lines: Lines
) -> tuple[dict[str, Stated], list[str]]:
    """The fields that a row states, and names of others that it states and nobody looks for.

    Args:
        cell: What the file says of the fields: an object, or its JSON.
        types: The type of each field that is looked for.
        text: The row's.
        line: The row's.
        lines: The file.

    Raises:
        DataError: the cell is no object of fields, a quote is not in the text, or offsets do not fit it.
    """
    if isinstance(cell, str):
        try:
            cell = json.loads(cell) if cell.strip() else {}
        except (ValueError, RecursionError):
            raise lines.error(f"has fields that are not JSON: {quote(cell)}", _HINT, line=line) from None
    if cell is None:
        return {}, []
    if not isinstance(cell, dict):
        raise lines.error(f"has {quote(cell)} where an object of fields belongs", _HINT, line=line)
    place = _Place(text=text, line=line, lines=lines)
    spans = {name: place.spans(name, types[name], cell[name]) for name in types if name in cell}
    found = {name: Stated(spans=each, many=types[name].endswith(MANY)) for name, each in spans.items() if each}
    return found, [str(name) for name in cell if name not in types]


class _Place:
    """One row's text, and where to say that something does not fit it."""

    def __init__(self, *, text: str, line: int, lines: Lines) -> None:
        self.text, self.line, self.lines = text, line, lines

    def spans(self, name: str, kind: str, stated: object) -> tuple[FieldSpan, ...]:
        """What one field states, in the text's order."""
        if stated is None:
            return ()
        items = stated if isinstance(stated, list) else [stated]
        spans = {self._span(name, kind, item) for item in items if item is not None}
        return tuple(sorted(spans, key=lambda span: (span.start, span.end, str(span.value))))

    def _span(self, name: str, kind: str, item: object) -> FieldSpan:
        if isinstance(item, str):
            item = {"text": item}
        if not isinstance(item, Mapping) or not item.keys() <= _KEYS or not item.keys() & {"start", "text"}:
            raise self._error(f"states field {name!r} as {quote(item)}")
        start, end = self._offsets(name, item) if "start" in item else self._located(name, str(item["text"]))
        return FieldSpan(start=start, end=end, value=self._value(kind, item.get("value"), self.text[start:end]))

    def _value(self, kind: str, written: object, words: str) -> Scalar:
        """What a span states, in the form of its type: as the data says, or else as the words do."""
        kind = kind.removesuffix(MANY)
        if kind in {TEXT, CHOICE}:
            return None if written is None else " ".join(str(written).split()) or None
        language = language_of(self.text, "en")
        return normalise_value(kind, words if written is None else str(written), language=language)

    def _offsets(self, name: str, item: Mapping[str, object]) -> tuple[int, int]:
        """Offsets as they are given, held against the text and the quote beside them."""
        start, end, wanted = item["start"], item.get("end"), item.get("text")
        if type(start) is not int or type(end) is not int or not 0 <= start < end <= len(self.text):
            raise self._error(
                f"states field {name!r} from {start!r} to {end!r}, but its text has {len(self.text):,} characters"
            )
        if wanted is not None and str(wanted).split() != self.text[start:end].split():
            raise self._error(
                f"states field {name!r} as {quote(wanted)}, but from {start} to {end} its text has "
                f"{quote(self.text[start:end])}",
                "Offsets count characters (not bytes) from 0, the end excluded. Without offsets the quote is searched.",
            )
        return start, end

    def _located(self, name: str, words: str) -> tuple[int, int]:
        """The first place of a quote, whatever white space is between its words."""
        place = locate_quote(self.text, words)
        if place is None:
            raise self._error(
                f"states field {name!r} as {quote(words)}, which is not in its text",
                "A quote repeats the text word for word; white space may differ. A value in other words goes into "
                '"value".',
            )
        return place

    def _error(self, found: str, hint: str = _HINT) -> DataError:
        return self.lines.error(found, hint, line=self.line)


def locate_quote(text: str, words: str) -> tuple[int, int] | None:
    """Where a text has these words first, whole words and any white space between them; None if nowhere."""
    parts = [re.escape(part) for part in words.split()]
    if not parts:
        return None
    before = r"(?<!\w)" if words.split(maxsplit=1)[0][0].isalnum() else ""
    after = r"(?!\w)" if words.rsplit(maxsplit=1)[-1][-1].isalnum() else ""
    match = re.search(before + r"\s+".join(parts) + after, text)
    return match.span() if match else None
