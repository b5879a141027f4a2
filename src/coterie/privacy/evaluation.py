"""Measuring how well a detector finds the annotations of a user's own texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from coterie.learning.files import Lines, Record, open_lines, read_records
from coterie.privacy.detection import PRESIDIO_NAMES, Detector, Kind, PersonalData

OTHER_NAMES: Mapping[str, Kind] = {
    **dict.fromkeys(("PER", "NAME"), Kind.PERSON),
    **dict.fromkeys(("GPE", "LOC", "CITY", "COUNTRY"), Kind.LOCATION),
    **dict.fromkeys(("STREET_ADDRESS", "ZIP_CODE"), Kind.ADDRESS),
    **dict.fromkeys(("ORG", "COMPANY"), Kind.ORGANIZATION),
    "NORP": Kind.NATIONALITY,
    "DOMAIN_NAME": Kind.URL,
    **PRESIDIO_NAMES,
    **dict.fromkeys(("US_SSN", "US_DRIVER_LICENSE", "US_PASSPORT", "US_ITIN", "UK_NHS", "UK_NINO"), Kind.NATIONAL_ID),
}
"""Names of our kinds in Presidio, spaCy and others."""
_KEYS = {
    "kind": ("kind", "type", "label", "entity_type"),
    "start": ("start", "start_position"),
    "end": ("end", "end_position"),
}
_HINT = 'Write one object a line: {"text": "I am Ann.", "spans": [{"kind": "PERSON", "start": 5, "end": 8}]}'


@dataclass(frozen=True, kw_only=True)
class AnnotatedText:
    """A text, and everything in it that a detector should find."""

    text: str
    spans: tuple[PersonalData, ...]
    """Annotations in the text's order, without overlaps; with scores of 1."""


class AnnotatedFile(NamedTuple):
    """The content of an annotated file."""

    texts: tuple[AnnotatedText, ...]
    sha256: str
    unknown: Mapping[str, int]
    """Unknown kinds, with the number of their annotations, which were left out."""


def read_annotated(path: Path) -> AnnotatedFile:
    """Read JSON lines with `text` (or `full_text`) and `spans` of `kind`, `start` and `end` in characters.

    Presidio's names of these fields and of the kinds are accepted too. Raises `DataError`, which names the line.
    """
    unknown: Counter[str] = Counter()
    with open_lines(path) as lines:
        records = read_records(lines, wanted=("text", "spans"), check_names=lambda _: _refuse_table(lines))
        texts = tuple(_text_of(record, lines, unknown) for record in records)
        if not texts:
            raise lines.error("is the last: there is no text in the file", _HINT)
        return AnnotatedFile(texts, lines.sha256, dict(unknown))


def _refuse_table(lines: Lines) -> None:
    raise lines.error("is no JSON object", _HINT, line=1)


def _text_of(record: Record, lines: Lines, unknown: Counter[str]) -> AnnotatedText:
    text, marked = record.cells.get("text", record.cells.get("full_text")), record.cells.get("spans")
    if not isinstance(text, str) or not isinstance(marked, list):
        raise lines.error("has no text, or no list of spans", _HINT, line=record.line)
    spans = []
    for mark in marked:
        kind, start, end = _span(mark, text, record, lines)
        kind_name = OTHER_NAMES.get(kind.upper(), kind.upper())
        if kind_name in set(Kind):
            spans.append(PersonalData(kind=Kind(kind_name), start=start, end=end, score=1.0))
        else:
            unknown[kind] += 1
    spans.sort(key=lambda one: one.start)
    for one, other in pairwise(spans):
        if one.end > other.start:
            raise lines.error(f"has spans that overlap, at {other.start}", "Mark each place once.", line=record.line)
    return AnnotatedText(text=text, spans=tuple(spans))


def _span(marked: object, text: str, record: Record, lines: Lines) -> tuple[str, int, int]:
    if isinstance(marked, Mapping):
        kind, start, end = (next((marked[key] for key in keys if key in marked), None) for keys in _KEYS.values())
        if isinstance(kind, str) and type(start) is int and type(end) is int and 0 <= start < end <= len(text):
            return kind, start, end
    raise lines.error(
        f"has a span that is no place in its {len(text)} characters: {str(marked)[:80]}", _HINT, line=record.line
    )


class SpanFigures(NamedTuple):
    """How well findings of one kind match the annotations."""

    precision: float | None
    """Share of findings that are right; None if nothing was found."""
    recall: float | None
    """Share of annotations that were found; None if nothing was annotated."""
    f1: float | None
    marked: int
    found: int
    right: int
    """Number of findings with the same kind at the same place."""


def measure_detector(detector: Detector, texts: Iterable[AnnotatedText]) -> dict[str, SpanFigures]:
    """Return how well a detector finds the annotations: by kind that occurs in these texts, and for `all` together.

    Only the exact place counts as right. Kinds without annotations do not count against the detector, since the
    annotators may not have been asked for them.
    """
    pairs = [(text, detector.find(text.text)) for text in texts]
    kinds = sorted({str(span.kind) for text, _ in pairs for span in text.spans})
    counts = {kind: [0, 0, 0] for kind in kinds}
    for text, detected in pairs:
        wanted = {(str(span.kind), span.start, span.end) for span in text.spans}
        have = {(str(item.kind), item.start, item.end) for item in detected}
        for index, some in enumerate((wanted, have, wanted & have)):
            for kind, _, _ in some:
                if kind in counts:
                    counts[kind][index] += 1
    whole = [sum(count[column] for count in counts.values()) for column in range(3)]
    return {kind: _figures(*counted) for kind, counted in {**counts, "all": whole}.items()}


def _figures(marked: int, detected: int, right: int) -> SpanFigures:
    return SpanFigures(
        precision=right / detected if detected else None,
        recall=right / marked if marked else None,
        f1=2 * right / (marked + detected) if marked + detected else None,
        marked=marked,
        found=detected,
        right=right,
    )
