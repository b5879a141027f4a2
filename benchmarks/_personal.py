"""Presidio's two synthetic sets of personal data: their templates, what is annotated in them, and how spans are scored.

A template is the text with its values taken out. Which part it falls into is said by a hash of its words, so both sets,
which share most templates, are split alike and no template is in two parts. The split was fixed once.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from coterie.privacy.detection import Kind, PersonalData

Part = Literal["train", "valid", "test"]
SETS = {"generated_large": 1, "synth_dataset_v2": 2}
"""File names without their ending, and the version of the generator that made each."""
PLACE = "PLACE"
SCORED: Mapping[str, str] = {
    "PERSON": Kind.PERSON,
    "LOCATION": PLACE,
    "GPE": PLACE,
    "ADDRESS": PLACE,
    "STREET_ADDRESS": PLACE,
    "ZIP_CODE": PLACE,
    "ORGANIZATION": Kind.ORGANIZATION,
    "NRP": Kind.NATIONALITY,
    "DATE_TIME": Kind.DATE,
    "AGE": Kind.AGE,
    "CREDIT_CARD": Kind.CARD,
    "PHONE_NUMBER": Kind.PHONE,
    "EMAIL_ADDRESS": Kind.EMAIL,
    "IBAN_CODE": Kind.IBAN,
    "IP_ADDRESS": Kind.IP,
    "DOMAIN_NAME": Kind.URL,
    "US_SSN": Kind.NATIONAL_ID,
    "US_DRIVER_LICENSE": Kind.NATIONAL_ID,
}
"""The sets' types by the type they are scored as; titles (`TITLE`, `PREFIX`) are nobody's data and are left out."""
_FOUND_AS = {Kind.LOCATION: PLACE, Kind.ADDRESS: PLACE, Kind.DATE_OF_BIRTH: Kind.DATE}
_GAP = re.compile(r"[\s,.;:\-]*")
_TITLE = re.compile(
    r"(?:(?:mr|mrs|ms|dr|miss|mx|prof|ing|doc|mgr|bc|judr|mudr|sig|sra?|frau|herr|pan|pani|fru)\b\.?\s+)+", re.I
)
_SUFFIX = re.compile(r"(?:,?\s+(?:Jr\.?|Sr\.?|PhD|Ph\.D\.?|MD|DDS|DVM|II|III|IV|V|CSc\.?|DiS\.?|Th\.D\.?))+$")


class Span(NamedTuple):
    """One annotated or found value."""

    start: int
    end: int
    type: str


class Text(NamedTuple):
    """A text with what is annotated in it, by the sets' own types."""

    text: str
    spans: tuple[Span, ...]
    template: str
    place: int
    """The template's place in the split, 0 to 99."""

    @property
    def part(self) -> Part:
        """Test up to 29, validation up to 44, the rest training."""
        return "test" if self.place < 30 else "valid" if self.place < 45 else "train"


def read_texts(path: Path) -> list[Text]:
    """The texts of a set's file, without those whose generator left a `{street_name}` unfilled."""
    rows = json.loads(path.read_text(encoding="utf-8"))
    texts = []
    for row in rows:
        if re.search(r"\{[a-z_]+\}", row["full_text"]):
            continue
        spans = (
            Span(entity["start_position"], entity["end_position"], entity["entity_type"]) for entity in row["spans"]
        )
        template = _template(row["masked"])
        bucket = int(hashlib.sha256(template.encode()).hexdigest()[:8], 16) % 100
        texts.append(Text(row["full_text"], tuple(sorted(spans)), template, bucket))
    return texts


def _template(masked: str) -> str:
    """The words of a template, each run of values as one `x`."""
    words = " ".join(re.findall(r"\w+", re.sub(r"\{\{.*?\}\}", " x ", masked).casefold()))
    return re.sub(r"\bx(?: x)+\b", "x", words)


def without_title(text: str, span: Span) -> Span:
    """A person without `Dr.` before and `Jr.` behind the name."""
    start, end, kind = span
    title = _TITLE.match(text[start:end])
    if title and title.end() < end - start:
        start += title.end()
    suffix = _SUFFIX.search(text[start:end])
    return Span(start, start + suffix.start() if suffix and suffix.start() else end, kind)


def is_title(value: str) -> bool:
    """Whether a value is a title without a name."""
    return _TITLE.fullmatch(value + " ") is not None


def normal(text: str, spans: Iterable[Span]) -> set[Span]:
    """Spans as they are scored, annotated and found alike.

    Persons are without titles, and a title alone is nobody. Neighbouring places with nothing but signs between them
    are one place: one version of the generator annotates the parts of an address, the other the whole.
    """
    merged: list[Span] = []
    for span in sorted(spans):
        trimmed = without_title(text, span) if span.type == Kind.PERSON else span
        last = merged[-1] if merged else None
        if trimmed.type == Kind.PERSON and is_title(text[trimmed.start : trimmed.end]):
            continue
        if trimmed.type == PLACE and last and last.type == PLACE and _GAP.fullmatch(text[last.end : trimmed.start]):
            merged[-1] = Span(last.start, max(last.end, trimmed.end), PLACE)
        else:
            merged.append(trimmed)
    return set(merged)


def annotated(text: Text) -> set[Span]:
    """What is to be found, as it is scored."""
    spans = (Span(span.start, span.end, str(SCORED[span.type])) for span in text.spans if span.type in SCORED)
    return normal(text.text, spans)


def as_scored(text: str, findings: Iterable[PersonalData]) -> set[Span]:
    """What a detector found, as it is scored."""
    spans = (
        Span(finding.start, finding.end, str(_FOUND_AS.get(Kind(finding.kind), finding.kind))) for finding in findings
    )
    return normal(text, spans)


class Count(NamedTuple):
    """Values found rightly, found wrongly and missed."""

    right: float = 0
    wrong: float = 0
    missed: float = 0

    def __add__(self, other: object) -> Count:
        if not isinstance(other, Count):
            return NotImplemented
        return Count(self.right + other.right, self.wrong + other.wrong, self.missed + other.missed)

    def figures(self) -> dict[str, float]:
        """Precision, recall, F1 and the number of annotated values."""
        predicted, there = self.right + self.wrong, self.right + self.missed
        return {
            "precision": self.right / predicted if predicted else 0.0,
            "recall": self.right / there if there else 0.0,
            "f1": 2 * self.right / (predicted + there) if predicted + there else 0.0,
            "n": there,
        }


def count(wanted: set[Span], predicted: set[Span], kind: str, *, overlap: bool) -> Count:
    """Spans of one type that are right: the same place, or with `overlap` any common character, each counted once."""
    want, have = sorted(s for s in wanted if s.type == kind), sorted(s for s in predicted if s.type == kind)
    if not overlap:
        right = len(set(want) & set(have))
    else:
        taken: set[Span] = set()
        for wanted_span in want:
            one = next(
                (o for o in have if o not in taken and o.start < wanted_span.end and wanted_span.start < o.end), None
            )
            taken |= {one} if one else set()
        right = len(taken)
    return Count(right, len(have) - right, len(want) - right)


def score(
    texts: Sequence[Text], predicted: Sequence[set[Span]], types: Sequence[str], *, overlap: bool = False
) -> dict[str, dict[str, float]]:
    """Figures by type, and `all` over these types together."""
    wanted = [annotated(text) for text in texts]
    by_type = {
        kind: sum((count(w, f, kind, overlap=overlap) for w, f in zip(wanted, predicted, strict=True)), Count())
        for kind in types
    }
    whole = sum(by_type.values(), Count())
    return {kind: counted.figures() for kind, counted in {**by_type, "all": whole}.items()}
