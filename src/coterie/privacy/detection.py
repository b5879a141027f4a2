"""What a detector finds in a text, and the label that it asks for."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

from coterie.types import Label


class Kind(StrEnum):
    """What is found. A detector of somebody else may have further kinds: `PersonalData.kind` is any string."""

    PERSON = "PERSON"
    """Somebody's name, or part of it."""
    ADDRESS = "ADDRESS"
    """Where somebody lives or is to be found: street, house, postcode."""
    LOCATION = "LOCATION"
    """A town or a country."""
    ORGANIZATION = "ORGANIZATION"
    """A company, an authority, a club."""
    NATIONALITY = "NATIONALITY"
    """A nationality, a religious or a political group."""
    AGE = "AGE"
    """How old somebody is."""
    DATE = "DATE"
    """A day or a time that is not said to be somebody's birth."""
    DATE_OF_BIRTH = "DATE_OF_BIRTH"
    """A date beside words that say so."""
    EMAIL = "EMAIL"
    """An e-mail address."""
    PHONE = "PHONE"
    """A telephone number, with its extension."""
    CARD = "CARD"
    """The number of a payment card."""
    IBAN = "IBAN"
    """The international number of a bank account."""
    BANK_ACCOUNT = "BANK_ACCOUNT"
    """The number of a bank account that is no IBAN, beside words that say so."""
    IP = "IP"
    """An address of a machine, version 4 or 6."""
    URL = "URL"
    """The address of a web page."""
    NATIONAL_ID = "NATIONAL_ID"
    """A number that a state gave to a person: tax, social security, identity card, passport, driving licence."""
    SECRET = "SECRET"  # noqa: S105 - the kind's name
    """What opens something: a password, a key, a token."""


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
"""What Presidio calls kinds that have other names here."""


@dataclass(frozen=True, kw_only=True)
class PersonalData:
    """One thing that was found: `text[start:end]`."""

    kind: str
    """A `Kind`, or a name of the detector's own."""
    start: int
    end: int
    """`start` and `end`: its place in the text, in characters."""
    score: float
    """How sure the detector is, 0 to 1; scores of different detectors do not compare."""


@runtime_checkable
class Detector(Protocol):
    """Finds personal data in a text. Called by the gate for each request, and by `coterie privacy find`.

    A number `quick` of its own says how many characters take it five milliseconds at most: more are looked at in a
    thread. Without one that is 500.
    """

    def find(self, text: str) -> tuple[PersonalData, ...]:
        """What is in it, in the text's order, none overlapping another.

        It never raises on a text, whatever is in it, and takes time in proportion to its length. May be called from
        several threads at once. `coterie.testing.contracts.check_detector` checks it.
        """
        ...


_HARMLESS = frozenset({Kind.LOCATION, Kind.ORGANIZATION, Kind.NATIONALITY, Kind.AGE, Kind.DATE, Kind.URL})
"""Kinds that say nothing of anybody while nobody is named: a town is no personal data, beside a name it may be."""


def label_of(kind: str) -> Label | None:
    """The least label of a text with something of this kind in it; None if that alone asks for none.

    Secrets are restricted; what names or reaches a person is confidential, and so is a kind that is not known here.
    """
    if kind == Kind.SECRET:
        return Label.RESTRICTED
    return None if kind in _HARMLESS else Label.CONFIDENTIAL


def least_label(found: Iterable[PersonalData]) -> Label | None:
    """The least label of a text in which all this was found; None if it asks for none."""
    labels = [label for each in found if (label := label_of(each.kind)) is not None]
    return max(labels, key=lambda label: label.rank, default=None)


def settle(found: Iterable[PersonalData]) -> tuple[PersonalData, ...]:
    """What stays of things that overlap: the surest, then the longest, then the first; in the text's order."""
    several = set(found)
    if len(several) < 2:
        return tuple(several)
    starts: list[int] = []
    kept: list[PersonalData] = []
    for each in sorted(several, key=lambda one: (-one.score, one.start - one.end, one.start, one.kind)):
        place = bisect_left(starts, each.start)
        after = place == len(kept) or kept[place].start >= each.end
        before = place == 0 or kept[place - 1].end <= each.start
        if after and before:
            starts.insert(place, each.start)
            kept.insert(place, each)
    return tuple(kept)


# --- A text without what was found in it.


def redact(text: str, found: Iterable[PersonalData]) -> str:
    """The text with a typed placeholder for each thing found: `<PERSON_1>`, the same for the same words.

    Args:
        text: What was searched.
        found: What a detector found in it, in the text's order, none overlapping another.
    """
    numbers: dict[tuple[str, str], int] = {}
    counts: dict[str, int] = {}
    pieces, at = [], 0
    for each in found:
        key = (each.kind, " ".join(text[each.start : each.end].casefold().split()))
        if key not in numbers:
            counts[each.kind] = numbers[key] = counts.get(each.kind, 0) + 1
        pieces += [text[at : each.start], f"<{each.kind}_{numbers[key]}>"]
        at = each.end
    return "".join([*pieces, text[at:]])
