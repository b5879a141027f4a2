"""Detection by patterns: numbers with check digits, internet addresses, telephones, secrets, names in fields.

No model, no download.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from coterie.privacy.contact import find_births, find_emails, find_ips, find_phones, find_urls
from coterie.privacy.detection import Kind, PersonalData, count_digits, digits_between, has_digit, settle
from coterie.privacy.forms import Finder, find_in_forms
from coterie.privacy.identifiers import find_accounts, find_cards, find_ibans, find_national_ids, find_papers
from coterie.privacy.secrets import find_long_secrets, find_pins, find_secrets
from coterie.runtime.codec import replace
from coterie.runtime.concurrency import still_wanted
from coterie.text.folding import with_fields

# --- Names in fields that say so: `"lastName": "Vasquez"`, `<surname>Vasquez</surname>`, `First name: Helena`.
#
# No model: what the field is called says what stands in it. A field that is only called `name` may hold anything, and
# is left to the model of names.

_GAP = r"[ _-]?"
_OWN = rf"(?:first|last|given|family|middle|maiden|full|sur|fore|legal|preferred){_GAP}names?"
_OF_ROLE = (
    rf"(?:patient|employee|applicant|passenger|guest|student|(?:card|account){_GAP}holder){_GAP}(?:full{_GAP})?names?|"
    rf"(?:card|account){_GAP}holder"
)
_ABROAD = (
    rf"vorname|(?:nach|familien|geburts)name|pr\u00e9?e?nom|nom{_GAP}de{_GAP}famille|apellidos?|cognome|achternaam|voornaam|"
    r"sobrenome|apelido|imi\u0119|nazwisko|p\u0159\u00edjmen\u00ed|soyad\u0131|efternavn|fornavn|efternamn|f\u00f6rnamn|"
    r"\u0444\u0430\u043c\u0438\u043b\u0438\u044f|\u043e\u0442\u0447\u0435\u0441\u0442\u0432\u043e|\u59d3\u540d|\u6c0f\u540d"
)
_KEY = rf"(?i:{_OWN}|{_OF_ROLE}|{_ABROAD})"
_ENDS = re.compile(
    r"(?:names?|holder|nom|famille|apellidos?|cognome|apelido|imi\u0119|naam|nazwisko|p\u0159\u00edjmen\u00ed|soyad\u0131|navn|namn|"
    r"\u0444\u0430\u043c\u0438\u043b\u0438\u044f|\u043e\u0442\u0447\u0435\u0441\u0442\u0432\u043e|\u59d3\u540d|\u6c0f\u540d)"
    r"(?:\\?[\"']?\]?\s{0,2}[:=]|[^<>\n]{0,60}>)"
)
"""The end of a name field in lower case; without one there is nothing to search."""
_WORD = r"[^\W\d_](?:[^\W\d_]|['\u2019.-](?=[^\W\d_]|[ <\"']|$)){0,30}"
_UPPER = rf"(?![a-z\u00df-\u00f6\u00f8-\u00ff]){_WORD}"
_FIELD = re.compile(
    rf"(?:(?<![^\W_])|(?<=[a-z])(?=[A-Z])){_KEY}(?:"
    rf"\\?[\"']?\]?\s{{0,2}}(?:[:=]|=>)\s{{0,3}}(?:\\?[\"'](?P<quoted>{_WORD}(?:[ ]{_WORD}){{0,4}})\\?[\"']"
    rf"|(?P<bare>{_UPPER}(?:[ ]{_UPPER}){{0,4}}?)(?=[ \t]*(?:$|[\n\r,;&|}})\]]|[ ][^\W\d_][\w ]{{1,24}}[:=])))"
    rf"|(?:\s[^<>\n]{{0,60}})?>\s{{0,3}}(?P<tagged>{_WORD}(?:[ ]{_WORD}){{0,4}})\s{{0,3}}</)"
)
_NOBODY = (
    "null none nil true false string str text varchar char nvarchar unknown undefined optional required missing empty "
    "int integer any todo tbd name names value field column self this user anonymous redacted hidden test yes no "
    "firstname lastname surname fullname not default keyword label example"
)
_EMPTY = frozenset(_NOBODY.split())
"""Values of a name field without a person."""


def find_fields(text: str) -> Iterator[PersonalData]:
    """Yield the names in name fields of JSON, XML, forms, code and query strings."""
    signs = ":" in text or "=" in text or ">" in text
    if not signs or not _ENDS.search(text.lower()):
        return
    for match in _FIELD.finditer(text):
        group = next(name for name in ("quoted", "bare", "tagged") if match[name] is not None)
        if not any(word in _EMPTY for word in re.findall(r"\w+", match[group].casefold())):
            start, end = match.span(group)
            yield PersonalData(kind=Kind.PERSON, start=start, end=end, score=0.9)


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
"""Finders that find nothing in a text without digits, as most messages are, with the fewest digits they need."""
_DIGIT = re.compile(r"\d")
_CERTAIN = 0.99
"""Score from which no other number finding is more confident."""
_AROUND = 160
"""Characters of context beside a digit: more than any finder needs."""


_NAMED_KINDS = frozenset({Kind.SECRET, Kind.BANK_ACCOUNT, Kind.CARD, Kind.NATIONAL_ID, Kind.DATE_OF_BIRTH})
"""Kinds that words before a value tell; a field's name is such words (`"accountNumber"`)."""


class PatternDetector:
    """Finds data with a fixed form: names only in name fields, and no places."""

    quick = 3_000
    """Characters that are searched within about five milliseconds, even if they are all numbers."""

    def find(self, text: str) -> tuple[PersonalData, ...]:
        """Return the findings in a text, in its order, without overlaps; in time proportional to its length."""
        return find_in_forms(text, find_folded, find_exact)


def find_folded(text: str) -> tuple[PersonalData, ...]:
    """Return the findings in a text that is already folded."""
    personal_data = _in_stretches(text, _find)
    fields = with_fields(text)
    if fields is None:
        return personal_data
    more = [item for item in _in_stretches(fields.text, _find) if item.kind in _NAMED_KINDS]
    spans = ((item, *fields.span(item.start, item.end)) for item in more)
    return (
        settle([*personal_data, *(replace(item, start=start, end=end) for item, start, end in spans)])
        if more
        else personal_data
    )


def find_exact(text: str) -> tuple[PersonalData, ...]:
    """Return findings with a form or check digits of their own, for a text with replaced look-alike letters."""
    return _in_stretches(text, _find_exact)


def _in_stretches(text: str, find: Finder) -> tuple[PersonalData, ...]:
    if len(text) <= _STEP + _AHEAD:
        return tuple(find(text))
    personal_data = list(find_long_secrets(text))
    whole = len(personal_data)
    for begin in range(0, len(text), _STEP):
        still_wanted()
        first = max(0, begin - _BEFORE)
        for item in find(text[first : begin + _STEP + _AHEAD]):
            start = item.start + first
            if begin <= start < begin + _STEP and (len(personal_data) == whole or start >= personal_data[-1].end):
                personal_data.append(replace(item, start=start, end=item.end + first))
    return settle(personal_data) if whole else tuple(personal_data)


# A pattern that goes over a text keeps every other thread from running until it matches or ends. So a long text is read
# in stretches, each with what stands before and behind it.
_STEP = 6_000
"""Characters of a stretch in which findings begin."""
_BEFORE, _AHEAD = 512, 2_048
"""Characters of context before a stretch, and characters after it that a finding may extend to.

Longer findings are those of `find_long_secrets`, which searches the whole text.
"""


def _find_exact(text: str) -> tuple[PersonalData, ...]:
    numbers = (find_ibans, find_national_ids, find_cards) if has_digit(text) else ()
    return settle(item for find in (find_secrets, *numbers) for item in find(text))


def _find(text: str) -> tuple[PersonalData, ...]:
    personal_data = [item for finder in _FINDERS for item in finder(text)]
    if has_digit(text):
        personal_data += find_ibans(text)
        begin, piece = _numbered(_claimed(text, personal_data))
        digits = count_digits(piece)
        numbers = (item for finder, fewest in _OF_NUMBERS if digits >= fewest for item in finder(piece))
        personal_data += (
            replace(number, start=number.start + begin, end=number.end + begin) if begin else number
            for number in numbers
        )
    return settle(personal_data)


def _claimed(text: str, personal_data: Sequence[PersonalData]) -> str:
    """Return the text with letters in place of the digits of certain findings, which are not searched again."""
    pieces, at = list[str](), 0
    for item in sorted((certain for certain in personal_data if certain.score >= _CERTAIN), key=lambda one: one.start):
        if item.end > at:
            start = max(at, item.start)
            pieces += [text[at:start], _DIGIT.sub("z", text[start : item.end])]
            at = item.end
    return "".join(pieces) + text[at:]


def _numbered(text: str) -> tuple[int, str]:
    """Return the start of the part of a text with all its digits and their context, and the part."""
    span = digits_between(text)
    if span is None:
        return 0, ""
    begin = max(0, span[0] - _AROUND)
    return begin, text[begin : span[1] + _AROUND]
