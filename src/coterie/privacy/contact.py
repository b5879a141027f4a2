"""E-mail addresses, addresses of pages and of machines."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from coterie.privacy.context import ContextWords, last_before
from coterie.privacy.detection import Kind, PersonalData

_LABEL = r"[^\W_](?:[\w-]{0,61}[^\W_])?"
_LOCAL_SIGNS = frozenset("_.%+'-")
_DOMAIN = re.compile(rf"@(?:{_LABEL}\.){{1,8}}[^\W\d_]{{2,24}}(?![\w@])")
_LONGEST_LOCAL = 64
_URL = re.compile(r"(?<![^\W_])(?:(?:https?|ftps?|wss?)://|www\.)[^\s<>\"\u201c\u201d{}|\\^`]{3,2048}", re.IGNORECASE)
_IPV4 = re.compile(r"\d(?<![\w.]\d)\d{0,2}\.(?:\d{1,3}\.){2}\d{1,3}(?!\w)(?!\.\d)", re.ASCII)
_IPV6 = re.compile(
    r"(?<![\w:.])(?=[0-9a-f]{0,4}:)[0-9a-f:]{3,39}(?:(?<=:)\d{1,3}(?:\.\d{1,3}){3})?(?![\w:])", re.I | re.A
)
_VERSION = ContextWords("version, v, release, firmware, build, section*, clause*, paragraph*, article*, chapter")
_HEADING = re.compile(r"(?:\A|\n|\s{3})$")
"""Before the number of a paragraph, which stands at the beginning of its line."""
_TRAILING = ".,;:!?'\")]*"


def find_emails(text: str) -> Iterator[PersonalData]:
    """E-mail addresses as people write them; quoted local parts and bare host names are passed over."""
    last, at = 0, text.find("@")
    while at >= 0:
        start = _local_start(text, at)
        domain = _DOMAIN.match(text, at) if max(last, at - _LONGEST_LOCAL) <= start < at else None
        if domain:
            local = text[start:at]
            skip = len(local) - len(local.lstrip(".'"))
            last = domain.end()
            if skip < len(local):
                yield PersonalData(kind=Kind.EMAIL, start=start + skip, end=last, score=0.99)
        at = text.find("@", at + 1)


def _local_start(text: str, at: int) -> int:
    """Where what stands right before an `@` begins, looked at no further than it may be long."""
    start, least = at, max(0, at - _LONGEST_LOCAL - 1)
    while start > least and (text[start - 1].isalnum() or text[start - 1] in _LOCAL_SIGNS):
        start -= 1
    return start


def find_urls(text: str) -> Iterator[PersonalData]:
    """Addresses of pages that begin with their scheme or with `www.`, without the sentence's own punctuation."""
    if "://" not in text and "www." not in text.lower():
        return
    for match in _URL.finditer(text):
        length = len(match[0].rstrip(_TRAILING))
        if "." in match[0][:length] or "localhost" in match[0]:
            yield PersonalData(kind=Kind.URL, start=match.start(), end=match.start() + length, score=0.8)


def find_ips(text: str) -> Iterator[PersonalData]:
    """Addresses of machines, save those that every machine has for itself and numbers of versions."""
    for match in _IPV4.finditer(text):
        if _is_somebody(match[0]) and not _is_numbering(text, match):
            yield PersonalData(kind=Kind.IP, start=match.start(), end=match.end(), score=0.95)
    if text.count(":") < 2:  # no IPv6 has fewer
        return
    for match in _IPV6.finditer(text):
        address = match[0].removesuffix(":") if not match[0].endswith("::") else match[0]
        if _looks_like_v6(address) and _is_somebody(address):
            yield PersonalData(kind=Kind.IP, start=match.start(), end=match.start() + len(address), score=0.95)


def _is_numbering(text: str, match: re.Match[str]) -> bool:
    """Whether four numbers are those of a version or of a paragraph."""
    if last_before(_VERSION, text, match.start(), reach=12) >= 0:
        return True
    small = all(len(number) < 3 for number in match[0].split("."))
    return (
        small
        and bool(_HEADING.search(text, max(0, match.start() - 3), match.start()))
        and text[match.end() :][:1] == " "
    )


def _looks_like_v6(address: str) -> bool:
    """Not `a::b`, which is a name in a program: an address has a digit, and a long group or three of them."""
    groups = [group for group in address.split(":") if group]
    has_digit = any(sign.isdigit() for sign in address)
    return has_digit and (len(groups) >= 3 or any(len(group) >= 3 for group in groups))


def _is_somebody(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not (found.is_loopback or found.is_unspecified)


# --- Dates, and which of them are somebody's birth.

_MONTH = (
    r"(?:jan(?:uary|uar|vier)?|feb(?:ruary|ruar)?|f\u00e9vrier|mar(?:ch|s|zo)?|m\u00e4rz|apr(?:il)?|avril|may|mai|june?|juni|juin|"
    r"july?|juli|juillet|aug(?:ust)?|ao\u00fbt|sept?(?:ember)?|septembre|o[ck]t(?:ober)?|octobre|nov(?:ember)?|novembre|de[cz](?:ember)?|"
    r"d\u00e9cembre|enero|febrero|abril|mayo|junio|julio|agosto|septiembre|octubre|noviembre|diciembre|gennaio|febbraio|aprile|"
    r"maggio|giugno|luglio|settembre|ottobre|dicembre)\.?"
)
_TIME = r"(?:[T ]\d{2}:\d{2}(?::\d{2})?)?"
_DATE = re.compile(
    rf"(?<![\w./-])(?:(?:19|20)\d\d([-/.])(?:0?[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01]|[1-9]){_TIME}"
    r"|(?:0?[1-9]|[12]\d|3[01])([-/.])(?:0?[1-9]|[12]\d|3[01])\2(?:(?:19|20)\d\d|\d\d)"
    rf"|(?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th|\.|er)?\s(?:of\s|de\s)?{_MONTH},?(?:\s(?:de\s)?(?:19|20)\d\d)?"
    rf"|{_MONTH}\s(?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?(?:,?\s(?:19|20)\d\d)?)(?![\w/-])(?!\.\d)",
    re.IGNORECASE,
)
_BIRTH = ContextWords(
    "born, birth, dob, d.o.b, birthday, birthdate, b, geboren, geburtsdatum, geburtstag, geb, n\u00e9, n\u00e9e, "
    "naissance, nacido, nacida, nacimiento, nac\u00ed, "
    "naci\u00f3, nasci, nato, nata, nascita, nascido, nascida, nascimento, geboortedatum, "
    "f\u00f6dd, f\u00f6delsedatum, urodzony, urodzona"
)
_BORN_BEHIND = re.compile(r"\s(?:(?:in|zu)\s[^\W\d_]{2,24}\s)?(?:geboren|geb\.|born)(?![^\W_])", re.IGNORECASE)
"""`am 12.3.1984 in Ulm geboren`."""
_REACH = 40
_DIGIT = re.compile(r"\d")


def date_places(text: str) -> Iterator[tuple[int, int]]:
    """Where days stand in a text, as numbers or with the month's name (English, German, French, Spanish, Italian)."""
    if not _DIGIT.search(text):
        return
    for match in _DATE.finditer(text):
        yield match.start(), match.start() + len(match[0].rstrip(" .,"))


def begins_date(text: str, start: int) -> bool:
    """Whether a day stands at a place of a text."""
    return _DATE.match(text, start) is not None


def find_births(text: str) -> Iterator[PersonalData]:
    """Dates behind words for a birth; between them stand no other date and no end of a paragraph."""
    if not _BIRTH.may_stand_in(text):
        return
    before = 0
    for start, end in date_places(text):
        said = last_before(_BIRTH, text, start, reach=min(_REACH, start - before))
        if (said >= 0 and "\n\n" not in text[said:start]) or _BORN_BEHIND.match(text, end):
            yield PersonalData(kind=Kind.DATE_OF_BIRTH, start=start, end=end, score=0.9)
        before = end
