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
_PHONE = re.compile(
    rf"(?<![\w.,{_DASH}/@#$€£])(?:\(?\+|\()?\d(?:(?:[ ]?[()][ ]?|\)?{_GAP}\(?|[ ][{_DASH}][ ]|)\d){{5,16}}"
    rf"{_EXTENSION}(?![\w@])(?!{_GAP}\d)"
)
_SPLIT = re.compile(r"\d+")
_NORTH_AMERICAN = re.compile(rf"(?:1{_GAP})?\(?([2-9]\d\d)\)?{_GAP}?{_GAP}?([2-9]\d\d){_GAP}\d{{4}}(?!\d)")
_BRACKETS = re.compile(r"\(0?\d{1,4}\)")
_TRUNK = re.compile(rf"0\d{{1,4}}(?:{_GAP}\d{{2,8}}){{1,5}}(?!\d)")
_SAID = Words(
    "call*, phone*, tel, telephone*, mobile, cell, cellphone, fax, contact*, reach*, dial*, text, texts, texting, "
    "sms, whatsapp, signal, telegram, messag*, answering, ring, ringing, rang, hotline, voicemail, number, "
    "telefon*, handy*, mobil*, anruf*, rufnummer, t\u00e9l*, portable, appele*, m\u00f3vil, tel\u00e9fono, llam*, "
    "cellulare, telefono, chiam*, telefone, telem\u00f3vel, telefoon*, puhelin*, bel"
)
_OTHER = Words(
    "order*, account*, invoice*, ticket*, reference, ref, case, id, policy, customer*, tracking, booking, iban, "
    "card, version, model, serial, part, isbn, vat, tax, amount, total, price, item, sku, batch, zip, postcode, "
    "postal, po, box, transaction, contract, claim, page, pages, port, error, code, pin, $, usd, eur, gbp, chf, "
    "ssn, rechnung*, bestell*, konto*, kunden*, vertrag*, commande, facture, pedido, fattura"
)
_BEHIND = re.compile(rf"[ ]?[{_DASH}(,]?[ ]?(?:office|fax|home|work|mobile|cell|phone|tel)\b", re.IGNORECASE)
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
    for match in _PHONE.finditer(text):
        score = _score(text, match)
        if score and not begins_date(text, match.start()):
            yield PersonalData(kind=Kind.PHONE, start=match.start(), end=match.end(), score=score)


def _score(text: str, match: re.Match[str]) -> float:
    """How sure it is that this is a telephone number; 0 for none."""
    found = match[0]
    groups = _SPLIT.findall(re.sub(rf"{_EXTENSION}$", "", found))
    digits = digits_of("".join(groups))
    if not 6 <= len(digits) <= 15 or len(set(digits)) == 1:
        return 0.0
    if found.lstrip("(").startswith("+") or digits.startswith("00"):
        plain = digits.lstrip("0")
        known = any(plain.startswith(code) for code in (plain[:1], plain[:2], plain[:3]) if code in _COUNTRIES)
        return 0.95 if known and len(plain) >= 8 else 0.0
    said = _is_said(text, match.start(), match.end())
    if said is False or _MONEY.match(text, match.end()):
        return 0.0
    if _NORTH_AMERICAN.match(found) or (_BRACKETS.match(found) and len(digits) >= 7):
        return 0.9
    if said:
        return 0.85 if len(digits) >= 7 or len(groups) > 1 else 0.0
    grouped = len(groups) > 1 and not _THOUSANDS.fullmatch(found)
    return 0.7 if grouped and 9 <= len(digits) <= 11 and _TRUNK.match(found) else 0.0


def _is_said(text: str, start: int, end: int) -> bool | None:
    """True if the nearest word that says what the number is speaks of telephones, False if of something else."""
    if _BEHIND.match(text, end):
        return True
    phone, other = last_before(_SAID, text, start), last_before(_OTHER, text, start, reach=30)
    if phone < 0 and other < 0:
        return None
    if text[max(0, phone - 6) : max(0, phone)].lower() == "number" and other >= 0:
        return False  # "order number", "account number is"
    return phone > other
