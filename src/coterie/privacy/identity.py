"""Numbers that states give to persons: each with its form, and its check digit where it has one.

Forms and check digits are those that the authorities publish. A number whose form is rare stands for itself; one that
could be any number counts only beside words that name it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date

from coterie.privacy.context import ContextWords, count_digits, digits_of, near
from coterie.privacy.detection import Kind, PersonalData
from coterie.privacy.payment import luhn

Check = Callable[[str], bool]
_FEWEST_DIGITS = 6
_CODE = 16
"""Signs of the Italian code, which may have letters in place of its digits: the only form with fewer."""


@dataclass(frozen=True, kw_only=True)
class _Number:
    """One country's number."""

    form: re.Pattern[str]
    check: Check = lambda _: True
    said: ContextWords | None = None
    """Words beside which it counts."""
    alone: bool = False
    """It counts without such words too."""


_LEFT, _RIGHT = r"(?<![^\W_])(?<!\d[.,/-])(?:", r")(?![^\W_])(?![.,/-]\d)"


def _form(pattern: str) -> re.Pattern[str]:
    return re.compile(_LEFT + pattern + _RIGHT, re.IGNORECASE | re.ASCII)


def find_national_ids(text: str) -> Iterator[PersonalData]:
    """Numbers of tax, social security and identity."""
    if count_digits(text) < _FEWEST_DIGITS and not any(len(word) >= _CODE for word in text.split()):
        return
    for place in _START.finditer(text):
        if not _ANY.match(text, place.start()):
            continue
        for number in _NUMBERS:
            match = number.form.match(text, place.start())
            if match and number.check(match[0]):
                said = number.said is not None and near(number.said, text, match.start(), match.end())
                if said or number.alone:
                    score = 0.97 if said else 0.93
                    yield PersonalData(kind=Kind.NATIONAL_ID, start=match.start(), end=match.end(), score=score)


# --- Check digits --------------------------------------------------------------------------------


def _weighted(digits: str, weights: tuple[int, ...]) -> int:
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=False))


def _us_ssn(found: str) -> bool:
    """The areas, groups and serials that were never given out; an ITIN has an area from 900 and a group of its own."""
    area, group, serial = (digits := digits_of(found))[:3], int(digits[3:5]), digits[5:]
    if area >= "900":
        return 50 <= group <= 65 or 70 <= group <= 88 or 90 <= group <= 92 or 94 <= group <= 99
    return area not in {"000", "666"} and group > 0 and serial != "0000" and digits not in _SHOWN_SSN


_SHOWN_SSN = {"078051120", "219099999"}  # printed in advertisements; nobody's


def _uk_nino(found: str) -> bool:
    return found[:2].upper() not in {"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"}


def _uk_nhs(found: str) -> bool:
    digits = digits_of(found)
    check = 11 - _weighted(digits, (10, 9, 8, 7, 6, 5, 4, 3, 2)) % 11
    return check != 10 and check % 11 == int(digits[9])


def _german_tax(found: str) -> bool:
    """ISO 7064 MOD 11,10, and of the first ten digits exactly one occurs twice or three times."""
    digits = digits_of(found)
    counts = sorted(digits[:10].count(each) for each in set(digits[:10]))
    if counts[-1] not in {2, 3} or counts[-2] != 1:
        return False
    product = 10
    for digit in digits[:10]:
        total = (int(digit) + product) % 10 or 10
        product = total * 2 % 11
    return (11 - product) % 10 == int(digits[10])


def _german_insurance(found: str) -> bool:
    plain = re.sub(r"\s", "", found).upper()
    spelled = plain[:8] + f"{ord(plain[8]) - 64:02d}" + plain[9:11]
    sums = (int(d) * w for d, w in zip(spelled, (2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1), strict=True))
    return sum(value // 10 + value % 10 for value in sums) % 10 == int(plain[11])


def _french_nir(found: str) -> bool:
    plain = re.sub(r"[\s.]", "", found).upper()
    number = int(plain[:13].replace("2A", "19").replace("2B", "18"))
    return 97 - number % 97 == int(plain[13:])


def _german_health(found: str) -> bool:
    """The letter as its place in the alphabet, weights 1 and 2, sums of their digits (section 290 SGB V)."""
    spelled = f"{ord(found[0].upper()) - 64:02d}" + found[1:]
    sums = (int(digit) * (1 + place % 2) for place, digit in enumerate(spelled[:-1]))
    return sum(value // 10 + value % 10 for value in sums) % 10 == int(spelled[-1])


_ITALIAN_ODD = dict(
    zip(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, *(1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14)),
        strict=False,
    ),
    U=16, V=10, W=22, X=25, Y=24, Z=23,
)  # fmt: skip


def _italian_code(found: str) -> bool:
    code = found.upper()
    even = sum(int(sign) if sign.isdigit() else ord(sign) - 65 for sign in code[1:15:2])
    return chr(65 + (even + sum(_ITALIAN_ODD[sign] for sign in code[0:15:2])) % 26) == code[15]


def _spanish_id(found: str) -> bool:
    plain = re.sub(r"[\s-]", "", found).upper()
    number = int(plain[:-1].replace("X", "0").replace("Y", "1").replace("Z", "2"))
    return "TRWAGMYFPDXBNJZSQVHLCKE"[number % 23] == plain[-1]


def _dutch_bsn(found: str) -> bool:
    digits = digits_of(found)
    return digits != "000000000" and _weighted(digits, (9, 8, 7, 6, 5, 4, 3, 2, -1)) % 11 == 0


def _belgian_number(found: str) -> bool:
    digits = digits_of(found)
    body, check = digits[:9], int(digits[9:])
    return check in {97 - int(body) % 97, 97 - int("2" + body) % 97}


def _polish_pesel(found: str) -> bool:
    digits = digits_of(found)
    month = int(digits[2:4]) % 20
    right = (10 - _weighted(digits, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3)) % 10) % 10 == int(digits[10])
    return right and 1 <= month <= 12 and 1 <= int(digits[4:6]) <= 31


def _swedish_number(found: str) -> bool:
    digits = digits_of(found)[-10:]
    month, day = int(digits[2:4]), int(digits[4:6])
    return luhn(digits) and 1 <= month <= 12 and (1 <= day <= 31 or 61 <= day <= 91)


def _finnish_code(found: str) -> bool:
    digits = found[:6] + found[7:10]
    return (
        "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(digits) % 31] == found[10].upper()
        and _is_day(int(found[:2]), int(found[2:4]))
    )  # fmt: skip


def _is_day(day: int, month: int) -> bool:
    try:
        date(2000, month, day)
    except ValueError:
        return False
    return True


def _swiss_ahv(found: str) -> bool:
    digits = digits_of(found)
    return (10 - _weighted(digits, (1, 3) * 6) % 10) % 10 == int(digits[12])


def _brazilian_cpf(found: str) -> bool:
    digits = digits_of(found)
    first = _weighted(digits, tuple(range(10, 1, -1))) * 10 % 11 % 10
    second = _weighted(digits, tuple(range(11, 1, -1))) * 10 % 11 % 10
    return len(set(digits)) > 1 and digits[9:] == f"{first}{second}"


def _australian_tfn(found: str) -> bool:
    return _weighted(digits_of(found), (1, 4, 3, 7, 5, 8, 6, 9, 10)) % 11 == 0


_DIHEDRAL = (
    "0123456789", "1234067895", "2340178956", "3401289567", "4012395678",
    "5987604321", "6598710432", "7659821043", "8765932104", "9876543210",
)  # fmt: skip
_PERMUTED = (
    "0123456789", "1576283094", "5803796142", "8916043527", "9453126870", "4286573901", "2793806415", "7046913258",
)  # fmt: skip


def verhoeff(digits: str) -> bool:
    """Whether the last digit checks the others (Verhoeff 1969)."""
    check = 0
    for place, digit in enumerate(reversed(digits)):
        check = int(_DIHEDRAL[check][int(_PERMUTED[place % 8][int(digit)])])
    return check == 0


# --- Forms ---------------------------------------------------------------------------------------

_TAX = ContextWords("tax, tin, steuer*, idnr, tfn, itin, identifikationsnummer")
_US = ContextWords("ssn, social security, social, itin")
_NUMBERS = (
    _Number(form=_form(r"\d{3}-\d{2}-\d{4}"), check=_us_ssn, said=_US, alone=True),
    _Number(form=_form(r"\d{3}( ?)\d{2}\1\d{4}"), check=_us_ssn, said=_US),
    _Number(
        form=_form(r"[a-ceghj-pr-tw-z][a-ceghj-npr-tw-z] ?\d{2} ?\d{2} ?\d{2} ?[a-d]"),
        check=_uk_nino,
        said=ContextWords("national insurance, nino, ni"),
        alone=True,
    ),
    _Number(  # beside its name also one that is never given out
        form=_form(r"[a-z]{2} ?\d{2} ?\d{2} ?\d{2} ?[a-d]"), said=ContextWords("national insurance, nino")
    ),
    _Number(form=_form(r"\d{3}[ -]?\d{3}[ -]?\d{4}"), check=_uk_nhs, said=ContextWords("nhs")),
    _Number(form=_form(r"[1-9]\d ?\d{3} ?\d{3} ?\d{3}"), check=_german_tax, said=_TAX),
    _Number(form=_form(r"[1-9]\d \d{3} \d{3} \d{3}"), check=_german_tax, alone=True),
    _Number(
        form=_form(r"\d{2} ?[0-3]\d[01]\d\d{2} ?[a-z] ?\d{3}"),
        check=_german_insurance,
        said=ContextWords("sozialversicherung*, rentenversicherung*, versicherung*, sv, svnr"),
        alone=True,
    ),
    _Number(
        form=_form(r"[a-z]\d{9}"),
        check=_german_health,
        said=ContextWords(
            "versicherten*, krankenversicherung*, krankenversicherten*, krankenkasse*, kvnr, gesundheitskarte"
        ),
    ),
    _Number(form=_form(r"\d{2,3}/\d{3}/\d{4,5}"), said=ContextWords("steuernummer, steuernr, tax, finanzamt")),
    _Number(
        form=_form(r"[12][ .]?\d{2}[ .]?(?:0[1-9]|1[0-2]|[2-4]\d)[ .]?(?:\d{2}|2[ab])[ .]?\d{3}[ .]?\d{3}[ .]?\d{2}"),
        check=_french_nir,
        said=ContextWords("sécu*, secu*, insee, nir"),
        alone=True,
    ),
    _Number(
        form=_form(r"[a-z]{6}[0-9lmnp-v]{2}[abcdehlmprst][0-9lmnp-v]{2}[a-z][0-9lmnp-v]{3}[a-z]"),
        check=_italian_code,
        said=ContextWords("codice, fiscale, cf"),
        alone=True,
    ),
    _Number(
        form=_form(r"(?:\d{8}|[xyz][ -]?\d{7})[ -]?[a-z]"),
        check=_spanish_id,
        said=ContextWords("dni, nie, nif"),
        alone=True,
    ),
    _Number(
        form=_form(r"\d{9}|\d{4}[. ]\d{2}[. ]\d{3}"),
        check=_dutch_bsn,
        said=ContextWords("bsn, burgerservicenummer, sofi*"),
    ),
    _Number(form=_form(r"\d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2}"), check=_belgian_number, alone=True),
    _Number(
        form=_form(r"\d{11}"), check=_belgian_number, said=ContextWords("rijksregister*, registre national, insz, niss")
    ),
    _Number(form=_form(r"\d{11}"), check=_polish_pesel, said=ContextWords("pesel")),
    _Number(
        form=_form(r"(?:19|20)?\d{6}[-+]\d{4}"),
        check=_swedish_number,
        said=ContextWords("personnummer, samordningsnummer"),
        alone=True,
    ),
    _Number(form=_form(r"[0-3]\d[01]\d\d{2}[-+a]\d{3}[0-9a-fhj-npr-y]"), check=_finnish_code, alone=True),
    _Number(form=_form(r"756([. ]?)\d{4}\1\d{4}\1\d{2}"), check=_swiss_ahv, said=ContextWords("ahv*, avs"), alone=True),
    _Number(form=_form(r"\d{3}\.\d{3}\.\d{3}-\d{2}"), check=_brazilian_cpf, said=ContextWords("cpf"), alone=True),
    _Number(form=_form(r"\d{11}"), check=_brazilian_cpf, said=ContextWords("cpf")),
    _Number(
        form=_form(r"\d{3}([ -]?)\d{3}\1\d{3}"),
        check=lambda found: luhn(digits_of(found)),
        said=ContextWords("sin, social insurance"),
    ),
    _Number(form=_form(r"\d{3} ?\d{3} ?\d{3}"), check=_australian_tfn, said=ContextWords("tfn, tax file")),
    _Number(
        form=_form(r"[2-9]\d{3}([ -]?)\d{4}\1\d{4}"),
        check=lambda found: verhoeff(digits_of(found)),
        said=ContextWords("aadhaar, aadhar, uidai"),
    ),
)
_BODIES = (each.form.pattern.removeprefix(_LEFT).removesuffix(_RIGHT) for each in _NUMBERS)
_ANY = re.compile(
    # A reference to a group would mean another one among so many forms: more may stand there than its form allows.
    rf"{_LEFT}(?={'|'.join(body.replace(chr(92) + '1', '[ .-]?') for body in _BODIES)}))",
    re.IGNORECASE | re.ASCII,
)
"""Any of the forms: one look instead of one for each."""
_START = re.compile(
    r"\d(?<![^\W_]\d)|[a-z](?<![^\W_][a-z])(?=[a-z]?[ -]?\d|[a-z]{5}[0-9lmnp-v])", re.IGNORECASE | re.ASCII
)
"""Where one may begin: with a digit, or with one, two or six letters before what stands for one."""

# --- Numbers of passports, identity cards and driving licences.
#
# What authorities print has no one form: nearly every state of the USA has its own for licences. So any token with
# some digits counts that stands close to the paper's name.

_NAMES = (
    r"driv(?:er|ing)(?:s?['\u2019]?s?)?\s{1,3}licen[cs]e|(?:my|your|his|her|their|our)\s{1,3}licen[cs]e|dl",
    r"licen[cs]e\s{1,3}(?:number|no\.?|nr\.?|num\.?|\#|id)|driving\s{1,3}permit|passport|(?:identity|id)\s{1,3}card",
    r"carte\s{1,3}(?:nationale\s{1,3})?d['\u2019]identit\u00e9|carta\s{1,3}d['\u2019]identit\u00e0|documento\s{1,3}de\s{1,3}identidad",
    r"f\u00fchrerschein|reisepass|personalausweis|passeport|permis\s{1,3}de\s{1,3}conduire|pasaporte",
    r"(?:carnet|permiso)\s{1,3}de\s{1,3}conducir|passaporto|patente\s{1,3}di\s{1,3}guida|rijbewijs|paspoort",
)
_NAME = f"(?i:{'|'.join(_NAMES)})"
_HINTS = (
    *("licen", "permi", "passport", "passeport", "reisepass", "pasaporte", "passaporto", "paspoort"),
    *("patente", "carnet", "f\u00fchrer", "ausweis", "rijb", "identi"),
)
"""Pieces of those names, one of which every text with a name has, but for those that are pieces of many words."""
_SHORT = re.compile(r"dl(?<![^\W_]dl)|i(?:dentity|d)\s{1,3}card", re.IGNORECASE)
"""These two."""
_NUMBER = (
    r"(?P<number>(?:(?!ID[ -]|NO[ -]|NR[ -])[A-Z]{1,3}[ -]){0,2}(?!(?:ID|NO|NR)[ -])[A-Za-z]{0,8}\d[A-Za-z\d]{0,20}"
    r"(?:-[A-Za-z\d]{1,8}){0,5}(?: \d[A-Z\d]{1,8}){0,5})(?![\w@/])"
)
_BEFORE = re.compile(rf"(?<![^\W_]){_NAME}(?![^\W\d_])(?:[^\d.!;]|\.(?!\s[A-Z][a-z])){{0,40}}?(?<![\w$€£]){_NUMBER}")
_BEHIND = re.compile(rf"(?<![\w$€£.,/-]){_NUMBER}['\")]?,?\s(?:is|was|'s)\s(?:\w{{1,12}}\s){{0,4}}{_NAME}(?![^\W_])")
_AMOUNT = re.compile(r"\s?(?:[$€£%]|(?i:usd|eur|euros?|gbp|chf|dollars?|pounds?|times|people|days|years)\b)")
_SIGNS, _DIGITS = 5, 3
"""Letters and digits, and digits among them, that a number has at least: no year, no house."""


def find_papers(text: str) -> Iterator[PersonalData]:
    """Numbers before and behind the name of such a paper."""
    lower = text.casefold()
    if not (any(hint in lower for hint in _HINTS) or _SHORT.search(lower)):
        return
    for pattern in (_BEFORE, _BEHIND):
        for match in pattern.finditer(text):
            signs = [sign for sign in match["number"] if sign.isalnum()]
            whole = len(signs) >= _SIGNS and sum(sign.isdigit() for sign in signs) >= _DIGITS
            if whole and not _AMOUNT.match(text, match.end("number")):
                start, end = match.span("number")
                yield PersonalData(kind=Kind.NATIONAL_ID, start=start, end=end, score=0.92)
