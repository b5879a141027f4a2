"""Telephone numbers in many spellings, and not amounts, dates or numbers of orders.

A country code, brackets or the North American grouping say for themselves what they are. Other groups of digits are a
number of a telephone only beside words that say so: without its country nothing else tells `329 7730` from an amount.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ._context import Words, digits_of, last_before
from ._dates import begins_date
from ._found import Kind, PersonalData

_DASH = r"\-\u2010\u2011\u2012\u2013"
_GAP = rf"[ \u00a0\u202f.{_DASH}/]"
_EXTENSION = r"(?:,?[ ]?(?:x|ext\.?|extension|durchwahl|poste)[ .:]?\d{1,6})?"
_BETWEEN = rf"(?:[ ]?[()][ ]?|\)?[ \u00a0\u202f.{_DASH}]\(?|[ ][{_DASH}][ ]|)"
_PHONE = re.compile(
    rf"(?<![\w,@$€£])(?:(?<![.{_DASH}/#])|(?<=[^\W\d_][.{_DASH}/#])|(?<=\d/)|(?<=\s\#))(?:\(?\+|\()?\d"
    rf"(?:(?:{_BETWEEN}\d){{0,5}}\)?[ ]?/[ ]?\(?\d(?:{_BETWEEN}\d){{2,11}}|(?:{_BETWEEN}\d){{5,16}})"
    rf"{_EXTENSION}(?![\w@])(?![ \u00a0\u202f.{_DASH}]\d)(?!/(?:19|20)?\d\d(?![ ]?\d))"
)
"""A stroke parts the area from the number, and otherwise one number from the next."""
_EXTENDED = re.compile(rf"{_EXTENSION}$")
_SPLIT = re.compile(r"\d+")
_NORTH_AMERICAN = re.compile(
    rf"(?:1{_GAP})?\(?[2-9]\d\d(?:\)?{_GAP}?{_GAP}?[2-9]|\) ?\d|[.{_DASH}]\d)\d\d{_GAP}\d{{4}}(?!\d)"
)
_BRACKETS = re.compile(r"\(0?\d{1,4}\)")
_TRUNK = re.compile(rf"0\d{{1,4}}(?:{_GAP}\d{{2,8}}){{1,5}}(?!\d)")
_SAID = Words(
    "call*, phone*, tel, telephone*, mobile, cell, cellphone, fax, contact*, reach*, dial*, text, texts, texting, "
    "sms, whatsapp, signal, telegram, messag*, answering, ring, ringing, rang, hotline, voicemail, number, ph, tf, "
    "tlf, fon, mob, telefon*, handy*, mobil*, anruf*, rufnummer, t\u00e9l*, portable, appele*, m\u00f3vil, "
    "tel\u00e9fono, llam*, cellulare, telefono, chiam*, telefone, telem\u00f3vel, telefoon*, puhelin*, bel"
)
_OTHER = Words(
    "order*, account*, invoice*, ticket*, reference, ref, case, id, policy, customer*, tracking, booking, iban, "
    "card, version, model, serial, part, isbn, vat, tax, amount, total, price, item, sku, batch, zip, postcode, "
    "postal, po, box, transaction, contract, claim, page, pages, port, error, code, pin, $, usd, eur, gbp, chf, "
    "ssn, dl, licen*, passport*, identity, identification, security, insurance, patient*, member*, student*, "
    "employee*, badge, routing, patent, trial, room, seat, flight, registration, plate, imei, loan, rechnung*, "
    "bestell*, konto*, kunden*, vertrag*, commande, facture, pedido, fattura"
)
_DEVICE = r"(?:office|fax|home|work|mobile|cell|phone|tel|telephone|handy|telefon|m\u00f3vil|portable)\b"
_BEHIND = re.compile(
    rf"[ ]?[{_DASH}(,]?[ ]?{_DEVICE}|['\")]?\s(?:is|was|'s|ist|est|es)\s(?:\w{{1,12}}\s){{0,3}}{_DEVICE}", re.IGNORECASE
)
_LABEL = re.compile(r"(?<![^\s|,;(])(?:T|M|P|F|Ph|Mob|Tf|Tlf|Fon)[.:]{1,2}\s{0,2}$", re.IGNORECASE)
"""What stands for a telephone before a number."""
_NEXT = re.compile(r"\s{0,2}(?:[/,;|&]|or|and|oder|und|ou|et|y|o|e)\s{0,2}", re.IGNORECASE)
"""Between two numbers of one list."""
_JOINED = frozenset("./#-\u2010\u2011\u2012\u2013")
"""Signs right before a number beside which it counts only after a word for a telephone: `tel-`, `phone #`."""
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


def find_phones(text: str) -> Iterator[PersonalData]:
    """Telephone numbers, with extensions; what else a run of digits may be is asked first."""
    last = -1
    for match in _PHONE.finditer(text):
        start, end = match.span()
        if text[start] == "(" and match[0].count("(") > match[0].count(")"):
            start += 1  # the bracket is around the number
        goes_on = last >= 0 and _NEXT.fullmatch(text, last, start) is not None
        score = _score(text, start, end, goes_on=goes_on)
        if score and not begins_date(text, start):
            yield PersonalData(kind=Kind.PHONE, start=start, end=end, score=score)
            last = end


def _score(text: str, start: int, end: int, *, goes_on: bool) -> float:
    """How sure it is that this is a telephone number, perhaps one more of a list; 0 for none."""
    found = text[start:end]
    plain = _EXTENDED.sub("", found)
    groups = _SPLIT.findall(plain)
    digits = digits_of("".join(groups))
    if not 6 <= len(digits) <= 15 or len(set(digits)) == 1:
        return 0.0
    said = goes_on or _is_said(text, start, end)
    if said is None and len(plain) < len(found):
        said = True  # nothing else has an extension
    if text[start - 1 : start] in _JOINED and not _is_joined(text, start, said=said is True):
        return 0.0
    return _score_of(plain, groups, digits, said=False if _MONEY.match(text, end) else said)


def _is_joined(text: str, start: int, *, said: bool) -> bool:
    """Whether the sign before a number joins it to a word for a telephone, or it is the next of a list."""
    beside = text[start - 1] == "#" or text[start - 2].isdigit()
    return said and (beside or last_before(_SAID, text, start, reach=16) == start - 1)


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
    grouped = len(groups) > 1 and not _THOUSANDS.fullmatch(found)
    return 0.7 if grouped and 9 <= len(digits) <= 11 and _TRUNK.match(found) else 0.0


def _is_range(groups: list[str], found: str) -> bool:
    """Whether it is from one number to a greater one, as pages and quantities are."""
    if _DECIMALS.fullmatch(found):
        return True
    return _RANGE.fullmatch(found) is not None and len(groups[0]) == len(groups[1]) and groups[0] < groups[1]


def _is_said(text: str, start: int, end: int) -> bool | None:
    """True if the nearest word that says what the number is speaks of telephones, False if of something else."""
    if _BEHIND.match(text, end) or _LABEL.search(text, max(0, start - 8), start):
        return True
    phone, other = last_before(_SAID, text, start), last_before(_OTHER, text, start, reach=30)
    if phone < 0 and other < 0:
        return None
    if text[max(0, phone - 6) : max(0, phone)].lower() == "number" and other >= 0:
        return False  # "order number", "account number is"
    return phone > other
