"""What patterns find: numbers with check digits, addresses of the net, telephones, secrets, names in their fields.

No model, no download.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ._account import find_accounts
from ._contact import find_emails, find_ips, find_urls
from ._context import count_digits, digits_between
from ._dates import find_births
from ._fields import find_fields
from ._found import PersonalData, settle
from ._identity import find_national_ids
from ._papers import find_papers
from ._payment import find_cards, find_ibans
from ._phone import find_phones
from ._plain import plain_of
from ._secrets import find_pins, find_secrets

_FINDERS = (find_secrets, find_emails, find_urls, find_fields)
_OF_NUMBERS = (
    (find_births, 1),
    (find_national_ids, 1),
    (find_ips, 1),
    (find_papers, 3),
    (find_pins, 3),
    (find_accounts, 6),
    (find_phones, 6),
    (find_cards, 12),
)
"""Those that find nothing in a text without a digit, as most messages are, and the fewest digits of what each finds."""
_DIGIT = re.compile(r"\d")
_CERTAIN = 0.99
"""No number is surer of itself than what has this score."""
_AROUND = 160
"""Characters beside a digit that say what its number is: more than any finder looks at."""


class PatternDetector:
    """Finds what has a form: names only in fields that say so, and no places."""

    quick = 3_000
    """Characters that take it at most about five milliseconds, also where they are numbers."""

    def find(self, text: str) -> tuple[PersonalData, ...]:
        """What is in it, in the text's order, none overlapping another; in time proportional to its length."""
        plain = plain_of(text)
        return _find(text) if plain is None else tuple(map(plain.back, _find(plain.text)))


def _find(text: str) -> tuple[PersonalData, ...]:
    found = [each for finder in _FINDERS for each in finder(text)]
    if digits_between(text) is not None:
        found += find_ibans(text)
        begin, piece = _numbered(_claimed(text, found))
        digits = count_digits(piece)
        numbers = (each for finder, fewest in _OF_NUMBERS if digits >= fewest for each in finder(piece))
        found += (_moved(each, begin) for each in numbers) if begin else numbers
    return settle(found)


def _claimed(text: str, found: Sequence[PersonalData]) -> str:
    """The text with letters for the digits of what nothing else can be: these are looked at no more."""
    pieces, at = list[str](), 0
    for each in sorted((each for each in found if each.score >= _CERTAIN), key=lambda one: one.start):
        if each.end > at:
            start = max(at, each.start)
            pieces += [text[at:start], _DIGIT.sub("z", text[start : each.end])]
            at = each.end
    return "".join(pieces) + text[at:]


def _numbered(text: str) -> tuple[int, str]:
    """Where the piece of a text with all its digits and what says what they are begins, and the piece."""
    place = digits_between(text)
    if place is None:
        return 0, ""
    begin = max(0, place[0] - _AROUND)
    return begin, text[begin : place[1] + _AROUND]


def _moved(each: PersonalData, by: int) -> PersonalData:
    return PersonalData(kind=each.kind, start=each.start + by, end=each.end + by, score=each.score)
