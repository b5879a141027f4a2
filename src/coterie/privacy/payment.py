"""Numbers of payment cards and of bank accounts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from stdnum import luhn, numdb
from stdnum.iso7064 import mod_97_10

from coterie.privacy.contact import begins_date
from coterie.privacy.context import ContextWords, digits_of, near
from coterie.privacy.detection import Kind, PersonalData

_SPACE = r"[ \u00a0\u202f\u2009.\-\u2010\u2011\u2013]"
_CARD = re.compile(
    # It begins with the digit, and not with what may not stand before it: so the library skips to the digits of a text.
    rf"\d(?<!\d\d)(?<!\d[.,-]\d)(?:\d{{11,18}}|\d{{3}}(?:{_SPACE}\d{{4}}){{2,3}}(?:{_SPACE}\d{{1,3}})?"
    rf"|\d{{3}}{_SPACE}\d{{6}}{_SPACE}\d{{4,5}})(?!\d)"
)
_ISSUERS = (
    # first digits from, to, lengths; ISO/IEC 7812 and what the issuers publish
    ("4", "4", (13, 16, 19)),  # Visa
    ("51", "55", (16,)),  # Mastercard
    ("2221", "2720", (16,)),
    ("34", "34", (15,)),  # American Express
    ("37", "37", (15,)),
    ("300", "305", (14, 16)),  # Diners
    ("3095", "3095", (14, 16)),
    ("36", "36", (14, 16, 19)),
    ("38", "39", (14, 16)),
    ("6011", "6011", (16, 19)),  # Discover
    ("644", "659", (16, 19)),
    ("3528", "3589", (16, 17, 18, 19)),  # JCB
    ("2131", "2131", (15,)),
    ("1800", "1800", (15,)),
    ("62", "62", (16, 17, 18, 19)),  # UnionPay
    ("2200", "2204", (16, 17, 18, 19)),  # Mir
    ("50", "50", tuple(range(12, 20))),  # Maestro
    ("0604", "0604", tuple(range(12, 20))),
    ("56", "58", tuple(range(12, 20))),
    ("60", "63", tuple(range(12, 20))),
    ("67", "69", tuple(range(12, 20))),
)
_SURE_LENGTHS = (14, 15, 16)
_PLAIN = 16
"""The length that nearly all cards have."""
_CARD_WORDS = ContextWords(
    "card, cards, credit, debit, visa, mastercard, amex, maestro, cc, karte, kreditkarte, carte, tarjeta, carta, "
    "cartão, kort, kortti, karta"
)
_IBAN = re.compile(r"[0-9](?<=[A-Z]{2}[0-9])(?<![^\W_][A-Z]{2}[0-9])[0-9](?=[ \-]?[0-9A-Z])", re.IGNORECASE | re.ASCII)
"""Its check digits, behind the country: so the library skips to the digits of a text."""
_FIGURES = re.compile(r"\d+")


def find_cards(text: str) -> Iterator[PersonalData]:
    """Numbers of an issuer whose check digit is right, and beside a word for a card those of shops' own cards.

    Lengths that few cards have count only beside such a word.
    """
    for match in _CARD.finditer(text):
        digits = digits_of(match[0])
        if len(set(digits)) == 1 or not luhn.is_valid(digits):
            continue
        issued = _issued(digits)
        if (issued or len(digits) == _PLAIN) and near(_CARD_WORDS, text, match.start(), match.end()):
            yield PersonalData(kind=Kind.CARD, start=match.start(), end=match.end(), score=0.99)
        elif issued and len(digits) in _SURE_LENGTHS:
            yield PersonalData(kind=Kind.CARD, start=match.start(), end=match.end(), score=0.9)


def _issued(digits: str) -> bool:
    return any(first <= digits[: len(first)] <= last and len(digits) in lengths for first, last, lengths in _ISSUERS)


def find_ibans(text: str) -> Iterator[PersonalData]:
    """IBANs with the length of their country and the right check number, in one piece or in groups."""
    for match in _IBAN.finditer(text):
        start = match.start() - 2
        end = _iban_end(text, start, _iban_length(text[start : start + 2].upper()))
        if end is not None and _is_iban(text[start:end]):
            yield PersonalData(kind=Kind.IBAN, start=start, end=end, score=1.0)


def _iban_end(text: str, start: int, length: int) -> int | None:
    """Where so many letters and digits end, single blanks, hyphens or line ends between them; None if they do not."""
    if not length:
        return None
    at, left = start, length
    while left and at < len(text):
        if text[at].isascii() and text[at].isalnum():
            left -= 1
        elif not (text[at] in " -\n\t\u00a0\u202f\u2009" and text[at - 1].isalnum()):
            return None
        at += 1
    whole = not left and not (at < len(text) and text[at].isalnum())
    return at if whole else None


def _is_iban(found: str) -> bool:
    """ISO 7064 MOD 97-10 over the number turned about its fourth character."""
    plain = "".join(sign for sign in found if sign.isalnum())
    return mod_97_10.is_valid(plain[4:] + plain[:4])


@cache
def _iban_length(country: str) -> int:
    """Characters of a country's IBAN, from the structure that SWIFT's registry gives; 0 where it has none."""
    structure = numdb.get("iban").info(country)[0][1].get("bban", "")
    return len(country) + 2 + sum(map(int, _FIGURES.findall(structure))) if structure else 0


# --- Numbers of bank accounts that are no IBAN: no check digit is common to them, so only their name tells.

_HINTS = ("account", "acct", "a/c", "konto", "compte", "cuenta", "conto")
_NAME = (
    r"(?:(?:bank|checking|savings|current|giro)\s{1,3}(?:account|acct)|account\s{1,3}(?:number|no\.?|nr\.?|\#)|acct\.?|a/c"
    r"|kontonummer|konto-?\s?nr\.?|bankkonto|girokonto|num\u00e9ro\s{1,3}de\s{1,3}compte|compte\s{1,3}bancaire"
    r"|n\u00famero\s{1,3}de\s{1,3}cuenta|cuenta\s{1,3}bancaria|conto\s{1,3}corrente)"
)
_ACCOUNT = re.compile(
    rf"(?<![^\W_]){_NAME}(?![^\W\d_])[^\d.;!?\n]{{0,24}}(?<![\w$\u20ac\u00a3+(-])(?P<number>\d(?:[ -]?\d){{5,16}})"
    r"(?![\w@/-]|[.,]\d|\s?[$\u20ac\u00a3%])",
    re.IGNORECASE,
)


def find_accounts(text: str) -> Iterator[PersonalData]:
    """Six to seventeen digits close behind words for a bank account or for an account's number."""
    lower = text.lower()
    if not any(hint in lower for hint in _HINTS):
        return
    for match in _ACCOUNT.finditer(text):
        start, end = match.span("number")
        if not begins_date(text, start):
            yield PersonalData(kind=Kind.BANK_ACCOUNT, start=start, end=end, score=0.86)
