"""Telephone numbers in many spellings, and not amounts, dates or numbers of orders.

A country code, brackets or the North American grouping say for themselves what they are. Other groups of digits are a
number of a telephone only beside words that say so: without its country nothing else tells `329 7730` from an amount.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ._context import digits_of
from ._dates import begins_date
from ._found import Kind, PersonalData
from ._phone_context import goes_down_from, goes_on_from, has_its_line, is_called, said_of

_DASH = r"\-\u2010\u2011\u2012\u2013"
_GAP = rf"[ \u00a0\u202f.{_DASH}/]"
_EXTENSION = (
    r"(?:,?[ ]?|;)(?i:x|ext\.?|extension|durchwahl|poste|extensi\u00f3n|int\.?|interno|toestel|wew\.?|ramal|anexo)"
    r"[ .:=]{0,2}\d{1,6}(?![\w@])"
)
_BETWEEN = rf"(?:[ ]?[()][ ]?|\)?[ \u00a0\u202f.{_DASH}]\(?|[ ][{_DASH}][ ]|)"
_PHONE = re.compile(
    rf"(?<![\w@$€£])(?:(?<![.{_DASH}/#])|(?<=[^\W\d_][.{_DASH}/#])|(?<=\d/)|(?<=\s\#))(?:(?P<abroad>\(?\+\(?)|\()?\d"
    rf"(?:(?:{_BETWEEN}\d){{0,5}}\)?[ ]?/[ ]?\(?\d(?:{_BETWEEN}\d){{2,11}}"
    rf"|(?:{_BETWEEN}\d){{5,16}}(?(abroad)(?:(?<![ ]24)/\d{{1,2}}(?![\w/]))?))"
    rf"(?:{_EXTENSION}|(?:(?=[A-Z][a-z]{{2}})|(?![\w@]))(?![ \u00a0\u202f.{_DASH}]\d)"
    rf"(?!/(?:19|20)?\d\d(?![ .{_DASH}]?\d)))"
)
"""A stroke parts the area from the number, and otherwise one number from the next, or its last digits from others.
A word with a capital right behind it is the next one of texts whose line ends were lost: `0348 2102744Office`."""
_EXTENDED = re.compile(rf"(?:{_EXTENSION})?$")
_SPLIT = re.compile(r"\d+")
_NORTH_AMERICAN = re.compile(
    rf"(?:1{_GAP})?\(?[2-9]\d\d(?:\)?{_GAP}?{_GAP}?[2-9]|\) ?\d|[.{_DASH}]\d)\d\d{_GAP}\d{{4}}(?!\d)"
)
_BRACKETS = re.compile(r"\(0?\d{1,4}\)")
_TRUNK = re.compile(rf"0\d{{1,4}}(?:{_GAP}\d{{2,8}}){{1,5}}(?!\d)")
_TRIPLES = re.compile(rf"\d{{3}}([.{_DASH}])\d{{3}}\1\d{{4}}")
"""Groups that hardly anything else has: `169-825-3303`."""
_SECOND = re.compile(r"[ ]\(\d")
"""An area in brackets behind a whole number begins the next one."""
_WHOLE_AMERICAN = re.compile(rf"(?:\+?1{_GAP}?)?{_NORTH_AMERICAN.pattern}(?=[ ]\d)")
"""And a number of something else behind it."""
_STATES = (
    "AL AK AZ AR CA CO CT DE FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY NC ND OH OK OR PA "
    "RI SC SD TN TX UT VT VA WA WV WI WY DC PR GU VI AS MP FM MH PW AA AE AP"
)
_POSTCODE = re.compile(rf"(?<=(?:{'|'.join(_STATES.split())}) )(?<![A-Za-z]...)\d{{5}}(?:-\d{{4}})?[ ](?=[\d(])")
"""In an American address, behind its state."""
_LAST_GROUP = re.compile(r"[ ]\d{1,3}$")
_UNIT = re.compile(
    r"[ ](?:hours?|hrs?|h|days?|times?|weeks?|months?|years?|minutes?|mins?|am|pm|a\.m|p\.m|o'clock|uhr|stunden|tage|"
    r"heures|jours|horas|d\u00edas|of)\b|[:,.]\d|/7\b|(?:am|pm|h)\b",
    re.IGNORECASE,
)
"""Behind a number of its own: `ring 329 7730 24 hours a day`."""
_JOINED = frozenset("./#-\u2010\u2011\u2012\u2013")
"""Signs right before a number beside which it counts only after a word for a telephone: `tel-`, `phone #`."""
_FRACTIONS = re.compile(r"\d{1,2}\.\d{1,4}(?: \d{1,2}\.\d{1,4})+")
_OF_DATE = re.compile(r"\d{1,2}/\d{2,4}")
"""The day and the year of `3/19/2007`."""
_ONE_PIECE = re.compile(r"0[1-9]\d{8,9}")
"""A trunk zero and no gaps."""
_RANGE = re.compile(rf"\d+[ ]?[{_DASH}][ ]?\d+")
_DECIMALS = re.compile(rf"\d{{1,3}}\.\d{{1,2}}[ ]?[{_DASH}][ ]?\d{{1,3}}\.\d{{1,2}}")
_MONEY = re.compile(
    r"\s?(?:[$€£¥%]|(?:usd|eur|euros?|gbp|chf|dollars?|pounds?|kr|z\u0142|km|kg|people|users)\b)", re.IGNORECASE
)
_THOUSANDS = re.compile(r"\d{1,3}(?:([ \u00a0\u202f.])\d{3}){1,4}")
_CODES = (
    "1 7 20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66 81 82 "
    "84 86 90 91 92 93 94 95 98 211 212 213 216 218 220 221 222 223 224 225 226 227 228 229 230 231 232 233 234 "
    "235 236 237 238 239 240 241 242 243 244 245 246 247 248 249 250 251 252 253 254 255 256 257 258 260 261 262 "
    "263 264 265 266 267 268 269 290 291 297 298 299 350 351 352 353 354 355 356 357 358 359 370 371 372 373 374 "
    "375 376 377 378 379 380 381 382 383 385 386 387 389 420 421 423 500 501 502 503 504 505 506 507 508 509 590 "
    "591 592 593 594 595 596 597 598 599 670 672 673 674 675 676 677 678 679 680 681 682 683 685 686 687 688 689 "
    "690 691 692 800 808 850 852 853 855 856 870 878 880 881 882 883 886 888 960 961 962 963 964 965 966 967 968 "
    "970 971 972 973 974 975 976 977 979 992 993 994 995 996 998"
)
"""Country codes: ITU-T E.164, list of assigned codes."""
_COUNTRIES = frozenset(_CODES.split())
_FEWEST_DIGITS, _MOST_DIGITS = 6, 15
_WHOLE = 8
"""Digits that a number with a line to itself has."""


def find_phones(text: str) -> Iterator[PersonalData]:
    """Telephone numbers, with extensions; what else a run of digits may be is asked first."""
    last, at = (-1, -1), 0
    while match := _PHONE.search(text, at):
        start, end = match.span()
        if postcode := _POSTCODE.match(text, start, end):
            at = postcode.end()
            continue
        at = end = _without_neighbours(text, start, end)
        if text[start] == "(" and text.count("(", start, end) > text.count(")", start, end):
            start += 1  # the bracket is around the number
        goes_on = goes_on_from(text, last[1], start) or goes_down_from(text, last, start)
        score = _score(text, start, end, goes_on=goes_on)
        if score and not begins_date(text, start):
            yield PersonalData(kind=Kind.PHONE, start=start, end=end, score=score)
            last = start, end


def _without_neighbours(text: str, start: int, end: int) -> int:
    """Where a number ends, without the number of something else that only a blank parts from it."""
    if american := _WHOLE_AMERICAN.match(text, start, end):
        return american.end()
    if (second := _SECOND.search(text, start + 1, end)) and len(
        digits_of(text[start : second.start()])
    ) > _FEWEST_DIGITS:
        return second.start()
    last = _LAST_GROUP.search(text, max(start, end - 4), end)
    extension = _EXTENDED.search(text, start, end)
    if last is None or (extension and extension[0]):
        return end
    whole, rest = len(digits_of(text[start:end])), len(digits_of(text[start : last.start()]))
    apart = whole > _MOST_DIGITS or (
        rest >= _FEWEST_DIGITS and _UNIT.match(text, end) and not _is_listed(text, start, end)
    )
    return last.start() if apart else end


def _is_listed(text: str, start: int, end: int) -> bool:
    """Whether commas are on both sides of a number: as in a line of a table."""
    return text[start - 1 : start] == "," == text[end : end + 1]


def _score(text: str, start: int, end: int, *, goes_on: bool) -> float:
    """How sure it is that this is a telephone number, perhaps one more of a list; 0 for none."""
    found = text[start:end]
    plain = _EXTENDED.sub("", found)
    groups = _SPLIT.findall(plain)
    digits = digits_of("".join(groups))
    if not _FEWEST_DIGITS <= len(digits) <= _MOST_DIGITS or len(set(digits)) == 1 or _FRACTIONS.fullmatch(plain):
        return 0.0
    if _OF_DATE.fullmatch(plain) and text[start - 1 : start] == "/":
        return 0.0
    said = goes_on or said_of(text, start, end)
    if said is None and len(plain) < len(found):
        said = True  # nothing else has an extension
    if said is None and len(digits) >= _WHOLE and has_its_line(text, start, end):
        said = True
    if not _may_stand(text, start, end, plain, said=said is True):
        return 0.0
    return _score_of(plain, groups, digits, said=False if _MONEY.match(text, end) else said)


def _may_stand(text: str, start: int, end: int, plain: str, *, said: bool) -> bool:
    """Whether the signs beside and within a number let it be one, of which words may say so."""
    if not said and (text.count("(", start, end) != text.count(")", start, end) or text[end : end + 1].isalpha()):
        return False
    before = text[start - 1 : start]
    if before == "," and text[start - 2 : start - 1].isdigit() and not _is_grouped(plain):
        return False  # what is behind a comma may be decimals
    return before not in _JOINED or not before or _is_joined(text, start, said=said)


def _is_grouped(found: str) -> bool:
    """Whether a number's groups say for themselves what it is."""
    forms = (_NORTH_AMERICAN, _BRACKETS, _TRUNK, _TRIPLES)
    return found.startswith("+") or any(form.match(found) for form in forms)


def _is_joined(text: str, start: int, *, said: bool) -> bool:
    """Whether the sign before a number joins it to a word for a telephone, or it is the next of a list."""
    beside = text[start - 1] == "#" or text[start - 2].isdigit()
    return said and (beside or is_called(text, start))


def _score_of(found: str, groups: list[str], digits: str, *, said: bool | None) -> float:
    """How sure it is by the number's form, and by what is said of it: None for nothing."""
    if found.lstrip("(").startswith("+") or digits.startswith("00"):
        whole = digits.lstrip("0")
        known = any(whole.startswith(code) for code in (whole[:1], whole[:2], whole[:3]) if code in _COUNTRIES)
        return 0.95 if known and len(whole) >= 8 else 0.0
    if said is False or _is_range(groups, found):
        return 0.0
    if _NORTH_AMERICAN.match(found) or (_BRACKETS.match(found) and len(digits) >= 7):
        return 0.9
    if said:
        return 0.85 if len(digits) >= 7 or len(groups) > 1 else 0.0
    if _ONE_PIECE.fullmatch(found) or _TRIPLES.fullmatch(found):
        return 0.6
    grouped = len(groups) > 1 and not _THOUSANDS.fullmatch(found)
    return 0.7 if grouped and 9 <= len(digits) <= 11 and _TRUNK.match(found) else 0.0


def _is_range(groups: list[str], found: str) -> bool:
    """Whether it is from one number to a greater one, as pages and quantities are."""
    if _DECIMALS.fullmatch(found):
        return True
    return _RANGE.fullmatch(found) is not None and len(groups[0]) == len(groups[1]) and groups[0] < groups[1]
