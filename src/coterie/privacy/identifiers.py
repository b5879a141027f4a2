"""Detection of national identifiers, payment cards, bank accounts, and of passwords, keys and tokens.

Identifiers are found by form and, if there are any, check digits; secrets by the form that their issuers use, by
context, and by their entropy.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from stdnum import luhn, numdb, verhoeff
from stdnum.ar import cuit
from stdnum.at import tin as at_tin
from stdnum.at import vnr
from stdnum.au import tfn
from stdnum.be import bis, nn
from stdnum.bg import egn
from stdnum.br import cpf
from stdnum.ch import ssn as ahv
from stdnum.cl import rut
from stdnum.cn import ric
from stdnum.cz import rc
from stdnum.de import idnr
from stdnum.dk import cpr
from stdnum.ec import ci
from stdnum.ee import ik
from stdnum.es import dni, nie
from stdnum.fi import hetu
from stdnum.fr import nir
from stdnum.gb import nhs, utr
from stdnum.gr import amka
from stdnum.gr import vat as afm
from stdnum.hr import oib
from stdnum.id import nik
from stdnum.ie import pps
from stdnum.il import idnr as il_idnr
from stdnum.in_ import pan
from stdnum.is_ import kennitala
from stdnum.it import codicefiscale
from stdnum.jp import in_ as jp_in
from stdnum.kr import rrn
from stdnum.lt import asmens
from stdnum.lv import pvn
from stdnum.mx import curp, rfc
from stdnum.my import nric
from stdnum.nl import bsn
from stdnum.no import fodselsnummer
from stdnum.pk import cnic
from stdnum.pl import nip, pesel
from stdnum.pt import cc, nif
from stdnum.ro import cnp
from stdnum.ru import inn
from stdnum.si import ddv, emso
from stdnum.th import pin
from stdnum.tr import tckimlik
from stdnum.ua import rntrc
from stdnum.us import ssn
from stdnum.za import idnr as za_idnr

from coterie.privacy.contact import begins_date
from coterie.privacy.detection import ContextWords, Kind, PersonalData, count_digits, digits_of, lowered, near

# --- National identifiers.

Check = Callable[[str], bool]
_FEWEST_DIGITS = 4
_CODE = 16
"""Characters of the Italian code, which may have letters in place of digits: the only form with fewer digits."""


@dataclass(frozen=True, kw_only=True)
class _Number:
    """One country's identifier."""

    form: re.Pattern[str]
    check: Check = lambda _: True
    said: ContextWords | None = None
    """Context words beside which the number counts."""
    alone: bool = False
    """Whether the number also counts without such words."""


_LEFT, _RIGHT = r"(?<![^\W_])(?<!\d[.,/-])(?:", r")(?![^\W_])(?![.,/-]\d)"


def _form(pattern: str) -> re.Pattern[str]:
    return re.compile(_LEFT + pattern + _RIGHT, re.IGNORECASE | re.ASCII)


def find_national_ids(text: str) -> Iterator[PersonalData]:
    """Yield tax, social security and identity numbers."""
    if count_digits(text) < _FEWEST_DIGITS and max(map(len, text.split()), default=0) < _CODE:
        return
    named = cache(lambda words: words.may_stand_in(text))
    for start_match in _START.finditer(text):
        if not _ANY.match(text, start_match.start()):
            continue
        for number in _NUMBERS:
            match = number.form.match(text, start_match.start())
            if match and (number.alone or named(number.said)) and number.check(match[0]):
                is_said = number.said is not None and near(number.said, text, match.start(), match.end())
                if is_said or number.alone:
                    score = 0.97 if is_said else 0.93
                    yield PersonalData(kind=Kind.NATIONAL_ID, start=match.start(), end=match.end(), score=score)


# --- Checks that python-stdnum does not have, or makes too narrow ---------------------------------


def _us_ssn(number: str) -> bool:
    """Return whether this is a US social security number, or an ITIN: area from 900, groups 50 to 65 too (IRS)."""
    digits = digits_of(number)
    if digits < "900":
        return ssn.is_valid(f"{digits[:3]}-{digits[3:5]}-{digits[5:]}")
    group = int(digits[3:5])
    return 50 <= group <= 65 or 70 <= group <= 88 or 90 <= group <= 92 or 94 <= group <= 99


def _uk_nino(number: str) -> bool:
    return number[:2].upper() not in {"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"}


def _german_insurance(number: str) -> bool:
    """Check a German insurance number: the letter as its position, own weights, digit sums (VKVV, section 4)."""
    plain = re.sub(r"\s", "", number).upper()
    spelled = plain[:8] + f"{ord(plain[8]) - 64:02d}" + plain[9:11]
    return _digit_sums(spelled, (2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1)) % 10 == int(plain[11])


def _german_health(number: str) -> bool:
    """Check a German health number: the letter as its position, weights 1 and 2, digit sums (section 290 SGB V)."""
    spelled = f"{ord(number[0].upper()) - 64:02d}" + number[1:9]
    return _digit_sums(spelled, (1, 2) * 5) % 10 == int(number[9])


def _digit_sums(digits: str, weights: tuple[int, ...]) -> int:
    products = (int(digit) * weight for digit, weight in zip(digits, weights, strict=True))
    return sum(value // 10 + value % 10 for value in products)


def _swedish_number(number: str) -> bool:
    """Check a Swedish number, also a coordination number, whose day has 60 added."""
    digits = digits_of(number)[-10:]
    month, day = int(digits[2:4]), int(digits[4:6])
    return luhn.is_valid(digits) and 1 <= month <= 12 and (1 <= day <= 31 or 61 <= day <= 91)


def _finnish_code(number: str) -> bool:
    return hetu.is_valid(number, allow_temporary=True)


def _spanish_id(number: str) -> bool:
    return dni.is_valid(number) or nie.is_valid(number)


def _belgian_number(number: str) -> bool:
    return nn.is_valid(number) or bis.is_valid(number)


def _brazilian_cpf(number: str) -> bool:
    return len(set(digits_of(number))) > 1 and cpf.is_valid(number)


def _weighted(digits: str, weights: Iterable[int]) -> int:
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=True))


def _hungarian_tax(number: str) -> bool:
    """Check a Hungarian tax number: 8 first, positions as weights, modulo 11 (act CL of 2017, annex 32)."""
    return sum(int(digit) * weight for digit, weight in zip(number[:9], range(1, 10), strict=True)) % 11 == int(
        number[9]
    )


def _hungarian_insurance(number: str) -> bool:
    """Check a Hungarian insurance number: weights 3 and 7 in turn, modulo 10 (act XX of 1996, annex 1)."""
    return _weighted(number[:8], (3, 7) * 4) % 10 == int(number[8])


def _french_tax(number: str) -> bool:
    """Check a French tax number: the last three digits are the others modulo 511."""
    return int(number[:10]) % 511 == int(number[10:])


def _russian_insurance(number: str) -> bool:
    """Check a Russian insurance number: weights 9 to 1, modulo 101, then modulo 100."""
    digits = digits_of(number)
    return _weighted(digits[:9], range(9, 0, -1)) % 101 % 100 == int(digits[9:])


def _singaporean_id(number: str) -> bool:
    """Check a number of Singapore: weights 2 and 7 to 2, one alphabet for each series."""
    first, last = number[0].upper(), number[-1].upper()
    total = _weighted(number[1:8], (2, 7, 6, 5, 4, 3, 2)) + {"T": 4, "G": 4, "M": 3}.get(first, 0)
    signs = {"S": "JZIHGFEDCBA", "T": "JZIHGFEDCBA", "F": "XWUTRQPNMLK", "G": "XWUTRQPNMLK", "M": "XWUTRQPNJLK"}
    return signs[first][total % 11] == last


def _hong_kong_id(number: str) -> bool:
    """Check a number of Hong Kong: letters from 10, a blank as 36, weights 9 to 1, modulo 11."""
    plain = re.sub(r"[^0-9A-Z]", "", number.upper())
    values = [36] * (9 - len(plain)) + [int(sign, 36) for sign in plain]
    return sum(value * weight for value, weight in zip(values, range(9, 0, -1), strict=True)) % 11 == 0


_TAIWANESE = "ABCDEFGHJKLMNPQRSTUVXYWZIO"


def _taiwanese_id(number: str) -> bool:
    """Check a number of Taiwan: the letter as two digits from 10 on, weights 1, 9 to 1 and 1, modulo 10."""
    spelled = f"{_TAIWANESE.index(number[0].upper()) + 10}{number[1:]}"
    return _weighted(spelled, (1, *range(9, 0, -1), 1)) % 10 == 0


def _digits(check: Check) -> Check:
    """Return a check of the digits alone, whatever stands between them."""
    return lambda text: check(digits_of(text))


def _signs(check: Check) -> Check:
    """Return a check of letters and digits alone, whatever stands between them."""
    return lambda text: check("".join(sign for sign in text if sign.isalnum()))


# --- Forms ---------------------------------------------------------------------------------------


def _national(pattern: str, check: Check | None, names: str, *, alone: bool = False) -> _Number:
    """Return an identifier by its form, check and names, which also count without marks above their letters."""
    own = names.split(", ") if names else []
    cased = [name for name in own if name[0].lower() != name[0].upper()]
    plain = [re.sub("[\u0300-\u036f]", "", unicodedata.normalize("NFD", name)) for name in cased]
    words = ContextWords(", ".join(dict.fromkeys([*own, *plain]))) if own else None

    def passes(number: str) -> bool:
        return len(set(digits_of(number))) > 1 and (check is None or check(number))  # all the same is an example

    return _Number(form=_form(pattern), check=passes, said=words, alone=alone)


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
    _Number(form=_form(r"\d{3}[ -]?\d{3}[ -]?\d{4}"), check=nhs.is_valid, said=ContextWords("nhs")),
    _Number(form=_form(r"[1-9]\d ?\d{3} ?\d{3} ?\d{3}"), check=idnr.is_valid, said=_TAX),
    _Number(form=_form(r"[1-9]\d \d{3} \d{3} \d{3}"), check=idnr.is_valid, alone=True),
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
        check=lambda text: nir.is_valid(text.replace(".", "")),
        said=ContextWords("sécu*, secu*, insee, nir"),
        alone=True,
    ),
    _Number(
        form=_form(r"[a-z]{6}[0-9lmnp-v]{2}[abcdehlmprst][0-9lmnp-v]{2}[a-z][0-9lmnp-v]{3}[a-z]"),
        check=codicefiscale.is_valid,
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
        check=_digits(bsn.is_valid),
        said=ContextWords("bsn, burgerservicenummer, sofi*"),
    ),
    _Number(form=_form(r"\d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2}"), check=_belgian_number, alone=True),
    _Number(
        form=_form(r"\d{11}"), check=_belgian_number, said=ContextWords("rijksregister*, registre national, insz, niss")
    ),
    _Number(form=_form(r"\d{11}"), check=pesel.is_valid, said=ContextWords("pesel")),
    _Number(
        form=_form(r"(?:19|20)?\d{6}[-+]\d{4}"),
        check=_swedish_number,
        said=ContextWords("personnummer, samordningsnummer"),
        alone=True,
    ),
    _Number(form=_form(r"[0-3]\d[01]\d\d{2}[-+a]\d{3}[0-9a-fhj-npr-y]"), check=_finnish_code, alone=True),
    _Number(
        form=_form(r"756([. ]?)\d{4}\1\d{4}\1\d{2}"),
        check=_digits(ahv.is_valid),
        said=ContextWords("ahv*, avs"),
        alone=True,
    ),
    _Number(form=_form(r"\d{3}\.\d{3}\.\d{3}-\d{2}"), check=_brazilian_cpf, said=ContextWords("cpf"), alone=True),
    _Number(form=_form(r"\d{11}"), check=_brazilian_cpf, said=ContextWords("cpf")),
    _Number(
        form=_form(r"\d{3}([ -]?)\d{3}\1\d{3}"),
        check=_digits(luhn.is_valid),
        said=ContextWords("sin, social insurance"),
    ),
    _Number(form=_form(r"\d{3} ?\d{3} ?\d{3}"), check=tfn.is_valid, said=ContextWords("tfn, tax file")),
    _Number(
        form=_form(r"[2-9]\d{3}([ -]?)\d{4}\1\d{4}"),
        check=_digits(verhoeff.is_valid),
        said=ContextWords("aadhaar, aadhar, uidai"),
    ),
    # Portugal, Poland, Ireland, Austria, Hungary
    _national(r"[1-3]\d{2}([ .]?)\d{3}\1\d{3}", _digits(nif.is_valid), "nif, contribuinte*"),
    _national(r"\d{8} ?\d ?[a-z0-9]{2}\d", _signs(cc.is_valid), "cartão de cidadão, cc"),
    _national(r"\d{3}-?\d{2,3}-?\d{2}-?\d{2,3}", _digits(nip.is_valid), "nip"),
    _national(r"\d{7} ?[a-w][a-iw]?", _signs(pps.is_valid), "pps, ppsn"),
    _national(r"\d{4} ?\d{6}", _digits(vnr.is_valid), "sozialversicherung*, versicherung*, sv, svnr, svnummer"),
    _national(r"\d{2}[- ]?\d{3}/?\d{4}", _digits(at_tin.is_valid), "steuernummer, steuernr, abgabenkontonummer"),
    _national(r"8\d{9}", _hungarian_tax, "adóazonosító*"),
    _national(r"\d{3}([ -]?)\d{3}\1\d{3}", _digits(_hungarian_insurance), "taj, tajszám*"),
    _national(r"[0-3]\d( ?)\d{2}\1\d{3}\1\d{3}\1\d{3}", _digits(_french_tax), "fiscal, fiscale, spi"),
    _national(r"\d{5} ?\d{5}", _digits(utr.is_valid), "utr, taxpayer reference"),
    # Czechia and Slovakia, and the north
    _national(r"\d{6}/\d{3,4}", _digits(rc.is_valid), "", alone=True),
    _national(r"\d{9,10}", rc.is_valid, "rodné*, rodného, rodném, rč, r.č."),
    _national(r"[0-3]\d[01]\d\d{2}[- ]?\d{4}", _digits(cpr.is_valid), "cpr, cprnr, personnummer*"),
    _national(
        r"[0-7]\d[0-9]\d\d{2} ?\d{5}",
        _digits(fodselsnummer.is_valid),
        "fødselsnummer*, fodselsnummer*, fødselsnr, fnr, personnummer*",
    ),
    _national(r"[0-7]\d[01]\d\d{2}-?\d{4}", _digits(kennitala.is_valid), "kennitala*, kennitölu*, kt"),
    _national(r"\d{11}", ik.is_valid, "isikukood*"),
    _national(r"\d{11}", asmens.is_valid, "asmens*"),
    _national(r"\d{6}-?\d{5}", _digits(pvn.is_valid), "personas kods, personas koda, personas kodu"),
    # South-eastern Europe, Turkey, Israel
    _national(r"[1-9]\d{12}", cnp.is_valid, "cnp"),
    _national(r"\d{10}", egn.is_valid, "егн, egn"),
    _national(r"\d{11}", oib.is_valid, "oib*"),
    _national(r"\d{13}", emso.is_valid, "emšo, jmbg*, јмбг*"),
    _national(r"\d{8}", ddv.is_valid, "davčna*"),
    _national(r"\d{11}", amka.is_valid, "αμκα, amka"),
    _national(r"\d{9}", afm.is_valid, "αφμ, afm"),
    _national(r"[1-9]\d{10}", tckimlik.is_valid, "tc, t.c., tckn, kimlik*"),
    _national(r"\d{8}-?\d", _digits(il_idnr.is_valid), "ת.ז, תעודת זהות, תז, teudat"),
    # Russia, Ukraine
    _national(r"\d{12}", inn.is_valid, "инн, inn"),
    _national(r"\d{3}-\d{3}-\d{3}[ -]\d{2}", _russian_insurance, "", alone=True),
    _national(r"\d{11}", _russian_insurance, "снилс, snils"),
    _national(r"\d{10}", rntrc.is_valid, "рнокпп, іпн, ипн"),
    # Asia and Africa
    _national(r"[1-9]\d{16}[\dx]", ric.is_valid, "身份证, 身份證", alone=True),
    _national(r"\d{4}([ -]?)\d{4}\1\d{4}", _digits(jp_in.is_valid), "マイナンバー, 個人番号"),
    _national(r"\d{6}-[0-9]\d{6}", rrn.is_valid, "주민등록번호, 주민번호", alone=True),
    _national(r"[1-8](-?)\d{4}\1\d{5}\1\d{2}\1\d", _digits(pin.is_valid), "บัตรประชาชน, เลขประจำตัวประชาชน"),
    _national(r"\d{6}-\d{2}-\d{4}", _digits(nric.is_valid), "", alone=True),
    _national(r"\d{16}", nik.is_valid, "nik, ktp"),
    _national(r"\d{5}-\d{7}-\d", cnic.is_valid, "cnic", alone=True),
    _national(r"[a-z]{5}\d{4}[a-z]", pan.is_valid, "pan"),
    _national(r"[stfgm]\d{7}[a-z]", _singaporean_id, "nric, fin", alone=True),
    _national(r"[a-z]{1,2}\d{6}(?:\([\da]\)|[\da])", _hong_kong_id, "hkid, 身份證"),
    _national(r"[a-z][12]\d{8}", _taiwanese_id, "身分證, 身份證"),
    _national(r"\d{6} ?\d{4} ?\d{2} ?\d", _digits(za_idnr.is_valid), "id number, identity number"),
    # Latin America
    _national(r"[a-z]{4}\d{6}[a-z]{6}[0-9a-z]\d", curp.is_valid, "curp", alone=True),
    _national(r"[a-z&]{4}[ -]?\d{6}[ -]?[0-9a-z]{3}", _signs(rfc.is_valid), "rfc"),
    _national(r"\d{2}-\d{8}-\d", _digits(cuit.is_valid), "cuit, cuil", alone=True),
    _national(r"\d{11}", cuit.is_valid, "cuit, cuil"),
    _national(r"\d{1,2}\.\d{3}\.\d{3}-[\dk]", _signs(rut.is_valid), "rut, run", alone=True),
    _national(r"\d{7,8}-?[\dk]", _signs(rut.is_valid), "rut"),
    _national(r"\d{10}", ci.is_valid, "cédula*"),
    _national(r"\d{1,3}(?:\.\d{3}){2,3}", None, "cédula*"),
)
_BODIES = (number.form.pattern.removeprefix(_LEFT).removesuffix(_RIGHT) for number in _NUMBERS)
_ANY = re.compile(
    # A reference to a group would mean another one among so many forms: more may stand there than its form allows.
    rf"{_LEFT}(?={'|'.join(body.replace(chr(92) + '1', '[ .-]?') for body in _BODIES)}))",
    re.IGNORECASE | re.ASCII,
)
"""Any of the forms, so that one search replaces one for each."""
_START = re.compile(
    r"\d(?<![^\W_]\d)|[a-z](?<![^\W_][a-z])(?=[a-z]?[ -]?\d|[a-z]{3,4}[ -]?\d|[a-z]{5}[0-9lmnp-v])",
    re.IGNORECASE | re.ASCII,
)
"""The start of an identifier: a digit, or one to six letters before a digit or its substitute."""

# --- Passports, identity cards and driving licences: no one form, so any token with digits close to the paper's name.

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
"""Parts of the names of papers; every text with such a name contains one of them, except for the short names."""
_SHORT = re.compile(r"dl(?<![^\W_]dl)|i(?:dentity|d)\s{1,3}card", re.IGNORECASE)
"""Short names of papers, which need word boundaries."""
_NUMBER = (
    r"(?P<number>(?:(?!ID[ -]|NO[ -]|NR[ -])[A-Z]{1,3}[ -]){0,2}(?!(?:ID|NO|NR)[ -])[A-Za-z]{0,8}\d[A-Za-z\d]{0,20}"
    r"(?:-[A-Za-z\d]{1,8}){0,5}(?: \d[A-Z\d]{1,8}){0,5})(?![\w@/])"
)
_BEFORE = re.compile(rf"(?<![^\W_]){_NAME}(?![^\W\d_])(?:[^\d.!;]|\.(?!\s[A-Z][a-z])){{0,40}}?(?<![\w$€£]){_NUMBER}")
_BEHIND = re.compile(rf"(?<![\w$€£.,/-]){_NUMBER}['\")]?,?\s(?:is|was|'s)\s(?:\w{{1,12}}\s){{0,4}}{_NAME}(?![^\W_])")
_AMOUNT = re.compile(r"\s?(?:[$€£%]|(?i:usd|eur|euros?|gbp|chf|dollars?|pounds?|times|people|days|years)\b)")
_SIGNS, _DIGITS = 5, 3
"""Fewest letters and digits of a number, and fewest digits among them: years and house numbers have fewer."""


def find_papers(text: str) -> Iterator[PersonalData]:
    """Yield numbers before and after the name of an identity paper."""
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


# --- Cards and IBANs.

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
"""The length of nearly all card numbers."""
CARD_WORDS = ContextWords(
    "card, cards, credit, debit, visa, mastercard, amex, maestro, cc, karte, kreditkarte, carte, tarjeta, carta, "
    "cartão, kort, kortti, karta"
)
_IBAN = re.compile(
    r"[0-9](?<=[A-Z]{2}[0-9])(?:(?<![^\W_][A-Z]{2}[0-9])|(?<=IBAN[A-Z]{2}[0-9])|(?-i:(?<=[a-z][A-Z]{2}[0-9])))"
    r"[0-9](?=[^0-9A-Z]{0,20}[0-9A-Z])",
    re.IGNORECASE | re.ASCII,
)
"""The check digits of an IBAN, after the country: so the library skips to the digits of a text."""
_LETTER_VALUES = {ord(letter): str(int(letter, 36)) for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}
_GROUP = re.compile(r"[0-9A-Za-z]+")
_GROUP_GAP = re.compile(r"[ \t./\u2010-\u2015-]{0,4}(?:(?:\r?\n|\r|\\[nrt]|<br ?/?>)[ \t>|*#-]{0,12}){0,4}")
"""Separators between the groups of an IBAN: blanks, dashes, dots, slashes, and line ends with list markers."""
_STRUCTURE = re.compile(r"(\d+)!?([nac])")


def find_cards(text: str) -> Iterator[PersonalData]:
    """Yield numbers of an issuer with the right check digit, and shop cards beside a word for a card.

    Rare lengths count only beside such a word.
    """
    for match in _CARD.finditer(text):
        digits = digits_of(match[0])
        if len(set(digits)) == 1 or not luhn.is_valid(digits):
            continue
        issued = _is_issued(digits)
        if (issued or len(digits) == _PLAIN) and near(CARD_WORDS, text, match.start(), match.end()):
            yield PersonalData(kind=Kind.CARD, start=match.start(), end=match.end(), score=0.99)
        elif issued and len(digits) in _SURE_LENGTHS:
            yield PersonalData(kind=Kind.CARD, start=match.start(), end=match.end(), score=0.9)


def _is_issued(digits: str) -> bool:
    return any(first <= digits[: len(first)] <= last and len(digits) in lengths for first, last, lengths in _ISSUERS)


def is_sure_card(digits: str) -> bool:
    """Return whether digits are a card number: of an issuer, of a usual length, with the right check digit."""
    return len(digits) in _SURE_LENGTHS and len(set(digits)) > 1 and _is_issued(digits) and luhn.is_valid(digits)


def find_ibans(text: str) -> Iterator[PersonalData]:
    """Yield IBANs with the length of their country and the right check number, in one piece or in groups."""
    for match in _IBAN.finditer(text):
        start = match.start() - 2
        groups = _iban_groups(text, start, iban_length(text[start : start + 2].upper()))
        if groups and is_iban("".join(group[0] for group in groups)):
            yield PersonalData(kind=Kind.IBAN, start=start, end=groups[-1].end(), score=1.0)


def _iban_groups(text: str, start: int, length: int) -> list[re.Match[str]] | None:
    """Return groups of `length` letters and digits, on one or more lines; None if there are more or fewer."""
    if not length:
        return None
    at, left, groups = start, length, list[re.Match[str]]()
    while group := _GROUP.match(text, at):
        groups.append(group)
        left -= len(group[0])
        at = group.end()
        if left <= 0:
            return groups if not left else None
        if gap := _GROUP_GAP.match(text, at):
            at = gap.end()
    return None


def is_iban(text: str) -> bool:
    """Check ISO 7064 MOD 97-10 over the number rotated at its fourth character, letters as 10 to 35."""
    plain = "".join(_GROUP.findall(text)).upper()
    return int((plain[4:] + plain[:4]).translate(_LETTER_VALUES)) % 97 == 1


@cache
def _iban_structure(country: str) -> tuple[tuple[int, str], ...]:
    """Return the digits (`n`), letters (`a`) or either (`c`) after the check digits of a country's IBAN, by SWIFT."""
    structure = numdb.get("iban").info(country)[0][1].get("bban", "")
    return tuple((int(count), kind) for count, kind in _STRUCTURE.findall(structure))


@cache
def iban_length(country: str) -> int:
    """Return the length of a country's IBAN; 0 if it has none."""
    parts = _iban_structure(country)
    return len(country) + 2 + sum(count for count, _ in parts) if parts else 0


def has_iban_form(begins: str) -> bool:
    """Return whether letters and digits may be the beginning of an IBAN of the country that they name."""
    at = 4
    for count, kind in _iban_structure(begins[:2].upper()):
        part = begins[at : at + count]
        if part and not (part.isdecimal() if kind == "n" else kind == "c" or part.isalpha()):
            return False
        at += count
    return True


# --- Other bank accounts: they share no check digit, so only the context tells.

_PAYMENT_HINTS = ("account", "acct", "a/c", "konto", "compte", "cuenta", "conto")
_CARD_NAME = (
    r"(?:(?:bank|checking|savings|current|giro)\s{1,3}(?:account|acct)|account\s{1,3}(?:number|no\.?|nr\.?|\#)|acct\.?|a/c"
    r"|kontonummer|konto-?\s?nr\.?|bankkonto|girokonto|num\u00e9ro\s{1,3}de\s{1,3}compte|compte\s{1,3}bancaire"
    r"|n\u00famero\s{1,3}de\s{1,3}cuenta|cuenta\s{1,3}bancaria|conto\s{1,3}corrente)"
)
_ACCOUNT = re.compile(
    rf"(?<![^\W_]){_CARD_NAME}(?![^\W\d_])[^\d.;!?\n]{{0,24}}(?<![\w$\u20ac\u00a3+(-])(?P<number>\d(?:[ -]?\d){{5,16}})"
    r"(?![\w@/-]|[.,]\d|\s?[$\u20ac\u00a3%])",
    re.IGNORECASE,
)


def find_accounts(text: str) -> Iterator[PersonalData]:
    """Yield six to seventeen digits closely after words for a bank account or an account number."""
    lower = text.lower()
    if not any(hint in lower for hint in _PAYMENT_HINTS):
        return
    for match in _ACCOUNT.finditer(text):
        start, end = match.span("number")
        if not begins_date(text, start):
            yield PersonalData(kind=Kind.BANK_ACCOUNT, start=start, end=end, score=0.86)


# --- Detection of passwords, keys and tokens: by the form that their issuers use, by context, and by their entropy.

_SHAPES = re.compile(
    r"(?:(?<![A-Za-z0-9])(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}"  # Amazon Web Services; also in a name: old_AKIA..._2.txt
    r"|(?<![A-Za-z0-9])(?<![A-Za-z0-9]_)(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255}"  # GitHub
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,250})"  # Slack
    r"|(?<![A-Za-z0-9-])(?<![A-Za-z0-9]_)(?:"
    r"gl(?:pat|dt|rt|ptt|cbt)-[A-Za-z0-9_-]{20,64}"  # GitLab
    r"|xapp-[A-Za-z0-9-]{10,250}"  # Slack
    r"|[rs]k_(?:live|test)_[A-Za-z0-9]{10,250}|whsec_[A-Za-z0-9+/]{20,64}"  # Stripe
    r"|AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,250}|GOCSPX-[A-Za-z0-9_-]{28}"  # Google
    r"|sk-(?:[A-Za-z0-9]{2,12}-)?[A-Za-z0-9_-]{20,200}"  # OpenAI, Anthropic and who came after them
    r"|hf_[A-Za-z0-9]{30,64}|npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{40,250}|gsk_[A-Za-z0-9]{40,64}"
    r"|SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{30,64}|key-[0-9a-f]{32}|dop_v1_[0-9a-f]{64}|shp(?:at|ca|pa|ss)_[0-9a-f]{32}|ctr_[A-Za-z0-9_-]{30,64}"
    r"))(?![A-Za-z0-9])"
)
_WEB_TOKEN = re.compile(
    r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}+\.eyJ[A-Za-z0-9_-]{4,}+\.[A-Za-z0-9_-]*+(?![A-Za-z0-9])"
)
_HOOK = re.compile(r"https://hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9/_-]{20,200}")
_USERINFO = re.compile(
    r"(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]{1,20}://([^\s/:@?#]{0,100}:[^\s/@?#]{1,200}|[^\s/:@?#]{16,200})@"
)
"""The user and password of an address, or a token in their place."""
_PIN = re.compile(
    r"(?<![^\W_])(?:pin(?:[ -]?(?:code|number|nummer))?|cvv2?|cvc2?|cryptogramme)"
    r"\s{0,2}(?::|=|\s(?:is|was|ist|lautet|est|es)\b:?|\s)\s{0,2}(\d{3,5})(?![\w.,/-]?\d|\w)"
    r"|(?<![^\W_])(?:otp|(?:one[ -]?time|single[ -]?use|verification|authentication|2fa|login|einmal)"
    r"[ -]?(?:pass)?(?:code|word|pin))"
    r"\s{0,2}(?::|=|\s(?:is|was|ist|lautet|est|es)\b:?|\s)\s{0,2}(\d{4,8})(?![\w.,/-]?\d|\w)",
    re.IGNORECASE,
)
"""A PIN or card security code, or a one-time code."""
_PEM = re.compile(r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_PEM_END = re.compile(r"-----END (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_ABROAD = (
    *("has\u0142o", "heslo", "wachtwoord", "senha", "l\u00f6senord", "salasana", "adgangskode", "passord", "parool"),
    *(
        "\u015fifre",
        "jelsz\u00f3",
        "\u043f\u0430\u0440\u043e\u043b\u044c",
        "\u03ba\u03c9\u03b4\u03b9\u03ba\u03cc\u03c2",
    ),
    *("\u5bc6\u7801", "\u5bc6\u78bc", "\u30d1\u30b9\u30ef\u30fc\u30c9", "\ube44\ubc00\ubc88\ud638"),
)
"""Words for a password in other languages."""
_NAMED = re.compile(
    r"(?:p(?<![a-z].)(?:ass(?:word|wd|wort|code|phrase|(?=\s?[:=]\s?[\"']?[a-z]{0,99}[^a-z\s\"']))|wd|rivate[_ -]?key)"
    r"|s(?<![a-z].)ecret(?:[_ -]?key)?|a(?<![a-z].)(?:pi[_ -]?key|cc(?:ess|ount)[_ -]?key|(?:ccess|uth)[_ -]?token)"
    r"|c(?<![a-z].)(?:lient[_ -]?secret|redentials?|ontrase\u00f1a)|m(?<![a-z].)ot de passe|k(?<![a-z].)ennwort"
    rf"|(?<![^\W_])(?:{'|'.join(_ABROAD)}))"
    r"[\"'\u2019]?(?P<is>\s{0,3}(?:[:=]|:=|=>)\s{0,3}|\s{1,3}(?:is|was|to|ist|lautet|est|es|to|jest|je|\u00e9|\u00e8)\s{0,2}:?\s{1,3}"
    r"|\uff1a\s{0,3}|>(?=[^\s<>]{4,200}</))[\"'`\u201c\u2018]?"
    r"(?P<value>[^\s\"'`,;<>\u201c\u201d\u2019]{4,200})"
)
"""A secret after its name, in lower case.

The pattern begins with letters and checks afterwards what may not stand before them, so that the library
skips to them.
"""
_OPTION = re.compile(
    r"(?<![\w-])--?(?:password|passwd|passphrase|token|secret|api-?key|access-?token)[ =]"
    r"[\"']?([^\s\"'`<>$-][^\s\"'`<>]{3,199})"
)
"""A secret as an option of a command."""
_PHRASE = re.compile(
    r"(?:seed|recovery|mnemonic|backup)\s(?:phrase|words)\s{0,2}(?:[:=]|\sis\b:?)\s{0,3}"
    r"[\"']?((?:[a-z]{3,8}[ \n]{1,2}){11,23}[a-z]{3,8})"
)
"""The words of a wallet's recovery phrase (BIP 39)."""
_BEARER = re.compile(r"(?<![A-Za-z])(?:Bearer|Basic)\s{1,3}([A-Za-z0-9+/._~-]{16,2000}={0,2})", re.IGNORECASE)
_SPEAKS = re.compile(
    r"(?:k(?<![a-z].)ey|t(?<![a-z].)oken|s(?<![a-z].)ecret|c(?<![a-z].)redential|p(?<![a-z].)ass(?:word|phrase)"
    r"|b(?<![a-z].)earer|a(?<![a-z].)uth)s?(?![a-z])"
)
"""Words for a secret, in lower case."""
_PUBLIC = re.compile(r"(?<![a-z])public\w{0,14}[_ -]$")
_TOKEN = re.compile(r"(?<![A-Za-z0-9+/=_.-])[A-Za-z0-9+/_-]{16,512}={0,2}(?![A-Za-z0-9+/_])")
_STANDS_FOR = re.compile(
    r"(?:\*+|x+|\.+|-+|\$\{?\w*\}?|%\w*%|\{\{?.*|env:.*|null|none|true|false|nil|undefined|required|optional|string|str|reset|changed|"
    r"expired|wrong|incorrect|invalid|correct|missing|empty|secret|password|your\w*|my\w*|the|not|redacted|hidden|changeme)[.!?)]*",
    re.IGNORECASE,
)  # fmt: skip
_DIGIT = re.compile(r"[0-9]")
_DISORDER = 3.0
"""Bits a character from which a long token is no word: joined English words have under 3 with a digit among them."""


_SECRET_HINTS = (
    *("pass", "pwd", "secret", "key", "token", "credential", "mot de", "contrase", "kennwort"),
    *(word for word in _ABROAD if word.isascii()),
)
_FOREIGN_HINTS = tuple(word for word in _ABROAD if not word.isascii())
"""Words for a secret in other scripts, for a quick test of a text."""
_BEGINNINGS = (("A", ("AKIA", "ASIA", "ABIA", "ACCA", "AIza")), (".", ("ya29.", "SG.")), ("-", ("xox",)))
"""Beginnings of keys with a fixed form, after a character that a text with such a key has."""
_LAST_SIGNS = (
    ("-", ("glpat-", "gldt-", "glrt-", "glptt-", "glcbt-", "xapp-", "GOCSPX-", "sk-", "pypi-", "key-")),
    ("_", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "k_live_", "k_test_", "whsec_", "hf_")),
    ("_", ("npm_", "gsk_", "dop_v1_", "shpat_", "shpca_", "shppa_", "shpss_", "ctr_")),
)
"""Further beginnings, after the character that each of them ends with."""
_FEW_SIGNS = 8
"""Most places of a character that are looked at one by one; with more, the text is searched for each beginning."""


TOKEN_BEGINS = re.compile(
    r"(?<![A-Za-z0-9-])(?<![A-Za-z0-9]_)(?:A(?:KIA|SIA|BIA|CCA|Iza)|eyJ|ya29\.|SG\.|gl(?:pa|d|r|pt|cb)t-|xox[abeoprs]-|xapp-|GOCSPX-|sk-|pypi-|key-|gh[pousr]_"
    r"|github_pat_|[rs]k_(?:live|test)_|whsec_|hf_|npm_|gsk_|dop_v1_|shp(?:at|ca|pa|ss)_|ctr_)[A-Za-z0-9_./+-]{3,511}[A-Za-z0-9_-]"
)
"""A key with a fixed form, or its beginning."""


def has_token_sign(text: str) -> bool:
    """Return whether a text may contain such keys: False only if no key begins in it."""
    stands = text.__contains__
    for sign, begins in _BEGINNINGS:
        if sign in text and any(map(stands, begins)):
            return True
    for sign, ends in _LAST_SIGNS:
        at = text.find(sign)
        if at >= 0 and text.count(sign) > _FEW_SIGNS:
            if any(map(stands, ends)):
                return True
            continue
        while at >= 0:
            if text.endswith(ends, 0, at + 1):
                return True
            at = text.find(sign, at + 1)
    return False


def is_token(text: str) -> bool:
    """Return whether the whole text is a key with a fixed form."""
    return _SHAPES.fullmatch(text) is not None


_SURE = 0.995
"""Score above that of an e-mail address, as in `https://TOKEN@github.com`."""


def find_secrets(text: str) -> Iterator[PersonalData]:
    """Yield all credentials. Quick tests exclude most texts first."""
    yield from find_long_secrets(text)
    if has_token_sign(text):
        yield from (_secret(match.start(), match.end(), _SURE) for match in _SHAPES.finditer(text))
    if "://" in text:
        yield from (_secret(match.start(), match.end(), 0.99) for match in _HOOK.finditer(text))
        yield from (_secret(match.start(1), match.end(1), 1.0) for match in _USERINFO.finditer(text))
    small = lowered(text)
    stands = small.__contains__
    bears, names = (
        stands("bearer") or stands("basic"),
        any(map(stands, _SECRET_HINTS)) or (not small.isascii() and any(map(stands, _FOREIGN_HINTS))),
    )
    if bears:
        yield from (_secret(match.start(1), match.end(1), 0.97) for match in _BEARER.finditer(text))
    if names:
        yield from _named(text, small)
        yield from (_secret(match.start(1), match.end(1), 0.95) for match in _OPTION.finditer(small))
    if stands("phrase") or stands("words"):
        yield from (_secret(match.start(1), match.end(1), 0.95) for match in _PHRASE.finditer(small))
    if (bears or names or stands("auth")) and _DIGIT.search(text):
        yield from _disorderly(text, small)


def find_long_secrets(text: str) -> Iterator[PersonalData]:
    """Yield JSON Web Tokens and private keys, which may have any length: their beginnings are quick to find."""
    if "-----BEGIN" in text:
        yield from _private_keys(text)
    at = text.find("eyJ")
    while at >= 0:
        token = _WEB_TOKEN.match(text, at)
        if token:
            yield _secret(token.start(), token.end(), _SURE)
        at = text.find("eyJ", token.end() if token else at + 3)


def find_pins(text: str) -> Iterator[PersonalData]:
    """Yield PINs, card security codes and one-time codes after their name."""
    folded = text.casefold()
    if any(name in folded for name in ("pin", "cvv", "cvc", "cryptogramme", "otp", "code", "word")):
        for match in _PIN.finditer(text):
            yield _secret(*match.span(match.lastindex or 0), 0.95)


def _secret(start: int, end: int, score: float) -> PersonalData:
    return PersonalData(kind=Kind.SECRET, start=start, end=end, score=score)


def _private_keys(text: str) -> Iterator[PersonalData]:
    """Yield PEM blocks of private keys; a truncated one extends to the end of the text."""
    at = 0
    while begin := _PEM.search(text, at):
        end = _PEM_END.search(text, begin.end())
        at = end.end() if end else len(text)
        yield _secret(begin.start(), at, 1.0)


def _named(text: str, small: str) -> Iterator[PersonalData]:
    """Yield values after `password=` and the like; after a mere "is", only values that are no words."""
    for match in _NAMED.finditer(small):
        value = text[match.start("value") : match.end("value")].rstrip(".!?)]}")
        if len(value) < 4 or _STANDS_FOR.fullmatch(value):
            continue
        if any(sign in match["is"] for sign in ":=") or not value.isalpha():
            yield _secret(match.start("value"), match.start("value") + len(value), 0.95)


def _disorderly(text: str, small: str) -> Iterator[PersonalData]:
    """Yield long tokens of high entropy closely after a word for a secret."""
    for word in _SPEAKS.finditer(small):
        if _PUBLIC.search(small, max(0, word.start() - 22), word.start()):
            continue  # no secret
        token = _TOKEN.search(text, word.end(), word.end() + 560)
        if token and token.start() - word.end() <= 40 and _is_disorderly(token[0]):
            yield _secret(token.start(), token.end(), 0.8)


def _is_disorderly(token: str) -> bool:
    if not (any(sign.isdigit() for sign in token) and any(sign.isalpha() for sign in token)):
        return False
    counts = Counter(token)
    bits = -sum(count / len(token) * math.log2(count / len(token)) for count in counts.values())
    return bits >= _DISORDER
