"""The findings of a detector in a text, the label that they require, and how well they match annotations."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

from coterie.learning.reading import Lines, Record, open_lines, read_records
from coterie.text.segmentation import plain
from coterie.types import Label


class Kind(StrEnum):
    """Kind of a finding. A third-party detector may have further kinds: `PersonalData.kind` is any string."""

    PERSON = "PERSON"
    """A person's name, or part of it."""
    ADDRESS = "ADDRESS"
    """A postal address: street, house, postcode."""
    LOCATION = "LOCATION"
    """A town or a country."""
    ORGANIZATION = "ORGANIZATION"
    """A company, an authority, a club."""
    NATIONALITY = "NATIONALITY"
    """A nationality, a religious or a political group."""
    AGE = "AGE"
    """A person's age."""
    DATE = "DATE"
    """A date or a time that is not stated to be a date of birth."""
    DATE_OF_BIRTH = "DATE_OF_BIRTH"
    """A date beside words for a birth."""
    EMAIL = "EMAIL"
    """An e-mail address."""
    PHONE = "PHONE"
    """A telephone number, with its extension."""
    CARD = "CARD"
    """The number of a payment card."""
    IBAN = "IBAN"
    """The international number of a bank account."""
    BANK_ACCOUNT = "BANK_ACCOUNT"
    """The number of a bank account that is not an IBAN, beside words for one."""
    IP = "IP"
    """An IP address, version 4 or 6."""
    URL = "URL"
    """The address of a web page."""
    NATIONAL_ID = "NATIONAL_ID"
    """A number that a state assigned to a person: tax, social security, identity card, passport, driving licence."""
    SECRET = "SECRET"  # noqa: S105 - the kind's name
    """A credential: a password, a key, a token."""


PRESIDIO_NAMES: Mapping[str, Kind] = {
    "NRP": Kind.NATIONALITY,
    "DATE_TIME": Kind.DATE,
    "EMAIL_ADDRESS": Kind.EMAIL,
    "PHONE_NUMBER": Kind.PHONE,
    "CREDIT_CARD": Kind.CARD,
    "IBAN_CODE": Kind.IBAN,
    "US_BANK_NUMBER": Kind.BANK_ACCOUNT,
    "IP_ADDRESS": Kind.IP,
}
"""Presidio's names of kinds that have other names here."""


@dataclass(frozen=True, kw_only=True)
class PersonalData:
    """One finding: `text[start:end]`."""

    kind: str
    """A `Kind`, or a detector's own name."""
    start: int
    end: int
    """Offsets `start` and `end` of the finding in the text, in characters."""
    score: float
    """Confidence of the detector, 0 to 1; scores of different detectors are not comparable."""


@runtime_checkable
class Detector(Protocol):
    """Finds personal data in a text. Called by the gate for each request, and by `coterie privacy find`.

    An attribute `quick` states how many characters the detector searches within five milliseconds: longer texts
    are searched in a thread. The default is 500.
    """

    def find(self, text: str) -> tuple[PersonalData, ...]:
        """Return the findings in a text, in the text's order, without overlaps.

        The method never raises, whatever the text contains, and its time is proportional to the length. It may be
        called from several threads at once. `coterie.testing.contracts.check_detector` checks it.
        """
        ...


_HARMLESS = frozenset({Kind.LOCATION, Kind.ORGANIZATION, Kind.NATIONALITY, Kind.AGE, Kind.DATE, Kind.URL})
"""Kinds that are no personal data without a name: a town is harmless, but beside a name it may not be."""


def label_of(kind: str) -> Label | None:
    """Return the lowest label of a text with a finding of this kind; None if it requires none by itself.

    Secrets are restricted; anything that names or reaches a person is confidential, and so is an unknown kind.
    """
    if kind == Kind.SECRET:
        return Label.RESTRICTED
    return None if kind in _HARMLESS else Label.CONFIDENTIAL


def least_label(personal_data: Iterable[PersonalData]) -> Label | None:
    """Return the lowest label of a text with all these findings; None if they require none."""
    labels = [label for item in personal_data if (label := label_of(item.kind)) is not None]
    return max(labels, key=lambda label: label.rank, default=None)


def settle(personal_data: Iterable[PersonalData]) -> tuple[PersonalData, ...]:
    """Resolve overlapping findings: keep what asks for a label, the most confident, the longest, the first; in order.

    A date of birth is a date as well, and a model that is surer of the date does not make it harmless.
    """
    several = set(personal_data)
    if len(several) < 2:
        return tuple(several)
    starts: list[int] = []
    kept: list[PersonalData] = []

    def rank(one: PersonalData) -> tuple[bool, float, int, int, str]:
        return label_of(one.kind) is None, -one.score, one.start - one.end, one.start, one.kind

    for item in sorted(several, key=rank):
        position = bisect_left(starts, item.start)
        after = position == len(kept) or kept[position].start >= item.end
        before = position == 0 or kept[position - 1].end <= item.start
        if after and before:
            starts.insert(position, item.start)
            kept.insert(position, item)
    return tuple(kept)


def redact(
    text: str, personal_data: Iterable[PersonalData], numbering: dict[tuple[str, str], int] | None = None
) -> str:
    """Return the text with a typed placeholder for each finding: `<PERSON_1>`, the same for the same words.

    Args:
        text: The text that was searched.
        personal_data: A detector's findings in it, in the text's order, without overlaps.
        numbering: Numbers of placeholders by kind and plain words; a kind with no words has its last number. Those of
            this text are added.
    """
    numbers = {} if numbering is None else numbering
    pieces, at = [], 0
    for item in personal_data:
        key = (item.kind, plain(text[item.start : item.end]))
        if key not in numbers:
            numbers[key] = numbers[item.kind, ""] = numbers.get((item.kind, ""), 0) + 1
        pieces += [text[at : item.start], f"<{item.kind}_{numbers[key]}>"]
        at = item.end
    return "".join([*pieces, text[at:]])


# --- Context words near a number.

BEFORE, AFTER = 60, 30
"""Characters of context that are examined before and after a number."""


CASED = (
    r"0-9A-Za-z_\u00aa\u00b5\u00ba\u00c0-\u0481\u048a-\u0588\u10a0-\u10ff\u13a0-\u13ff\u1c80-\u1cbf\u1d00-\u1fff\u2c00-\u2d2f"
    r"\ua640-\ua7ff\uab30-\uabbf"
)
"""Digits, and letters of scripts with capitals, for a character class.

These letters form codes (`AB123`), and a number that touches one may be part of a longer one. Letters of
other scripts may touch numbers as separate words.
"""

UNCUT = CASED.replace("_", "")
"""`CASED` without the underscore, which by itself is emphasis in Markdown (`_anna@example.org_`)."""
_WORD = re.compile(rf"[{UNCUT}]+")


def _words(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of words, and of the words that a program's name is made of."""
    for match in _WORD.finditer(text):
        yield match.span()
        rest = match[0][1:]
        if rest.lower() != rest != rest.upper():
            ends = [at for at in range(1, len(rest) + 1) if rest[at - 1 : at].islower() and rest[at : at + 1].isupper()]
            borders = [0, *(at + 1 for at in ends), len(match[0])]
            if len(borders) > 2:
                yield from ((match.start() + a, match.start() + b) for a, b in pairwise(borders))


class ContextWords:
    """Words that tell what a number beside them is; looking them up in a set is faster than one large pattern."""

    def __init__(self, names: str) -> None:
        """Take words, beginnings of words and phrases (`tel, phone*, date of birth`); case does not count.

        A word in a script without capitals also counts within a word: such languages write words and particles
        together. Words in other scripts end beside its letters, and where a program's name has a capital
        (`dateOfBirth`).
        """
        self._whole, self._begins, self._phrases = set[str](), list[str](), list[str]()
        within = list[str]()
        for name in names.split(", "):
            if name[0].isalpha() and name[0].lower() == name[0].upper():
                within.append(name)
            elif name.endswith("*"):
                self._begins.append(name[:-1])
            elif name.isalnum():
                self._whole.add(name)
            else:
                self._phrases.append(re.escape(name))
        self._rare = [word for word in self._whole if len(word) > 1]
        short = "".join(word for word in self._whole if len(word) == 1)
        self._short = re.compile(rf"[{re.escape(short)}](?<![^\W_].)(?![^\W_])") if short else None
        self._within = re.compile("|".join(within)) if within else None
        self._spoken = [name.casefold() for name in names.split(", ") if not name.endswith("*") and not name.isalnum()]
        self._phrase = re.compile(rf"(?<![{UNCUT}])(?:{'|'.join(self._phrases)})(?![{UNCUT}])", re.IGNORECASE)

    def may_stand_in(self, text: str) -> bool:
        """Return whether a text may contain one of the words: False only if none of them occurs in it."""
        small = text.casefold()
        stands = small.__contains__
        if any(map(stands, self._rare)) or any(map(stands, self._begins)):
            return True
        if any(map(stands, self._spoken)) or (self._short and self._short.search(small)):
            return True
        return bool(self._within and not text.isascii() and self._within.search(text))

    def ends(self, text: str) -> Iterator[int]:
        """Yield the positions in a text where such words end."""
        begins = tuple(self._begins)
        for start, end in _words(text):
            word = text[start:end].lower()
            if word in self._whole or (begins and word.startswith(begins)):
                yield end
        if self._phrases:
            yield from (match.end() for match in self._phrase.finditer(text))
        if self._within and not text.isascii():
            yield from (match.end() for match in self._within.finditer(text))


def near(context_words: ContextWords, text: str, start: int, end: int) -> bool:
    """Return whether such a word stands before `text[start:end]` or closely after it."""
    sides = (text[max(0, start - BEFORE) : start], text[end : end + AFTER])
    return any(True for side in sides for _ in context_words.ends(side))


def last_before(context_words: ContextWords, text: str, start: int, reach: int = BEFORE) -> int:
    """Return the position where the last such word before `start` ends; -1 if there is none within `reach`."""
    begin = max(0, start - reach)
    return max((begin + end for end in context_words.ends(text[begin:start])), default=-1)


_ANY_DIGIT = re.compile(r"\d")
_ASCII_DIGITS = "0123456789"


def count_digits(text: str) -> int:
    """Return the number of decimal digits in a text, in any script."""
    return sum(map(text.count, _ASCII_DIGITS)) if text.isascii() else len(_ANY_DIGIT.findall(text))


def has_digit(text: str) -> bool:
    """Return whether a text contains a decimal digit of any script."""
    return any(map(text.__contains__, _ASCII_DIGITS)) if text.isascii() else _ANY_DIGIT.search(text) is not None


def digits_between(text: str) -> tuple[int, int] | None:
    """Return the start of the first and the end of the last decimal digit of a text; None if there is none."""
    if text.isascii():  # ten looks for a sign are faster than one for any of them
        places = [index for index in map(text.find, _ASCII_DIGITS) if index >= 0]
        return (min(places), max(map(text.rfind, _ASCII_DIGITS)) + 1) if places else None
    places = [match.start() for match in _ANY_DIGIT.finditer(text)]
    return (places[0], places[-1] + 1) if places else None


def digits_of(text: str) -> str:
    """Return the decimal digits of a text, in any script, as ASCII."""
    return "".join(str(int(sign)) for sign in text if sign.isdecimal())


def lowered(text: str) -> str:
    """Return a text in lower case, with each character at its position."""
    small = text.lower()
    if len(small) == len(text):
        return small
    return "".join(low if len(low := character.lower()) == 1 else character for character in text)


# --- Measuring how well a detector finds the annotations of a user's own texts.

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
