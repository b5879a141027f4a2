"""What the words around a run of digits say of it: that it is a telephone, that it is something else, or nothing."""

from __future__ import annotations

import re

from ._context import Words, last_before

_SAID = Words(
    "call*, phone*, tel, telephone*, mobile, cell, cellphone, fax, contact*, reach*, dial*, text, texts, texting, "
    "sms, whatsapp, signal, telegram, messag*, answering, ring, ringing, rang, hotline, voicemail, voice, number, "
    "ph, tf, tlf, fon, mob, telefon*, handy*, mobil*, anruf*, rufnummer, t\u00e9l*, portable, appele*, m\u00f3vil, "
    "tel\u00e9fono, ll\u00e1m*, llam*, cellulare, telefono, chiam*, telefone, telem\u00f3vel, telefoon*, puhelin*, "
    "bel, erreich*, joindre, joignable*, landline, pager, beeper, helpline, viber, skype, gsm, nummer, numer, numero, "
    "num\u00e9ro, n\u00famero, \u0442\u0435\u043b, \u0442\u0435\u043b\u0435\u0444\u043e\u043d*, \u03c4\u03b7\u03bb, "
    "\u03c4\u03b7\u03bb\u03ad\u03c6\u03c9\u03bd*, \u7535\u8bdd, \u624b\u673a, \u96fb\u8a71, "
    "\uc804\ud654, \uc5f0\ub77d\ucc98, \u0647\u0627\u062a\u0641, \u05d8\u05dc\u05e4\u05d5\u05df"
)
_OTHER = Words(
    "order*, account*, invoice*, ticket*, reference, ref, case, id, policy, customer*, tracking, booking, iban, "
    "card, version, model, serial, part, isbn, vat, tax, amount, total, price, item, sku, batch, zip, postcode, "
    "postal, po, box, transaction, contract, claim, page, pages, port, error, code, pin, usd, eur, gbp, chf, "
    "ssn, dl, licen*, passport*, identity, identification, security, insurance, patient*, member*, student*, "
    "employee*, badge, routing, patent, trial, room, seat, flight, registration, plate, imei, loan, rechnung*, "
    "bestell*, konto*, kunden*, vertrag*, commande, facture, pedido, fattura"
)
_BEHIND = Words(
    "call, calls, called, calling, phone, phoned, phones, telephone, mobile, cell, fax, dial*, ring, rings, ringing, "
    "rang, texted, sms, whatsapp, voicemail, answer, answers, answered, picks, picked, engaged, unreachable"
)
"""Words behind a number of which nothing else is said that make a telephone of it: `from 329 7730 rang twice`."""
_GET = re.compile(r"\bget\s(?:me|her|him|us|hold)\b[^.\n]{0,12}$", re.IGNORECASE)
"""`You'll get me on 329 7730`."""
_DOLLARS = re.compile(r"\$\s?$")
_REACH_BEHIND = 40
_SENTENCE = re.compile(r"[.!?;]\s|\n")
_DEVICE = r"(?:office|fax|home|work|mobile|cell|phone|tel|telephone|handy|telefon|m\u00f3vil|portable)\b"
_IS_ONE = re.compile(
    rf"[ ]?[\-\u2010-\u2013(,]?[ ]?{_DEVICE}|['\")]?\s(?:is|was|'s|ist|est|es)\s(?:\w{{1,12}}\s){{0,3}}{_DEVICE}"
    r"|[.!,]?[ ]{1,2}(?:please\s)?(?:call|ring|phone|text)\b",
    re.IGNORECASE,
)
_NUMBER_OF = re.compile(
    r"['\")]?\s(?:still\s)?(?:is|was|'s|as|ist|als|est|es|como|comme)?\s?((?:\w{1,12}\s){0,3}?)"
    r"(?:number|nummer|num\u00e9ro|n\u00famero)\b",
    re.IGNORECASE,
)
"""`36 85 25 24 is still her number`."""
_LABEL = re.compile(
    r"(?:(?<![^\s|,;(])(?:(?:T|M|P|F|Ph|Mob|Tf|Tlf|Fon):|(?:T|M|(?-i:P|F)|Ph|Mob|Tf|Tlf|Fon)\.:?)\s{0,2}"
    r"|(?:^|[\n|])\s{0,3}(?:T|M|P|F)[ \t]{1,3}"
    r"|\b(?:home|work|office|desk)[ ]{0,2}[:=]?[ ]{1,2}|\b(?:direct|main|evening|daytime|private|privat|dienstlich|"
    r"bureau|domicile|casa|trabajo|lavoro)[ ]?[:=][ ]{0,2})$",
    re.IGNORECASE,
)
"""What stands for a telephone before a number; `p. 109` is a page."""
_LETTER = re.compile(r"\s{1,3}[TMPF][ ]{1,2}")
"""And between one telephone and the next."""
_NEXT = re.compile(r"\s{0,2}(?:[/,;|&]|or|and|oder|und|ou|et|y|o|e)\s{0,2}", re.IGNORECASE)
"""Between two numbers of one list."""
_MAIL_BEFORE = re.compile(r"@[\w.-]{3,64}[>)]?[\s,;|/-]{1,4}$")
_MAIL_BEHIND = re.compile(r"[\s,;|/-]{1,4}[<(]?[\w.+-]{1,64}@\w")
"""An e-mail address beside a number, with nothing but signs between them."""
_NEAR_MAIL = 72
_PARTS = ",;|\t"
"""What is between the columns of a table."""
_LONGEST_LINE = 300
_TAKEN = re.compile(r"\d(?:[^\n]*[^\W\d_]|[^\n]*[^\s\d./()\u2010-\u2013-])")
"""A number of its own behind a word that says what it is."""
_WHOLE_LINE = re.compile(r"[ \t]*(?:\n(?![ \t]*[\d(+])|$)")
_SIGNED = re.compile(r"[^\W\d_]{2}[^\n]*\n[^\n]*[^\W\d_]{2}[^\n]*$")
"""Two lines with words in them."""


def goes_on_from(text: str, last: int, start: int) -> bool:
    """Whether a number is the next of a list whose last telephone ended at `last`; -1 if there was none."""
    return last >= 0 and bool(_NEXT.fullmatch(text, last, start) or _LETTER.fullmatch(text, last, start))


def goes_down_from(text: str, last: tuple[int, int], start: int) -> bool:
    """Whether a number stands right below the telephone at `last`, or below a word for one, in a table's column."""
    cell = _cell_above(text, start)
    if cell is None:
        return False
    if cell[0] <= last[0] < cell[1]:
        return True
    name = text[cell[0] : cell[1]]
    return last_before(_SAID, name, len(name)) > last_before(_OTHER, name, len(name))


def _cell_above(text: str, start: int) -> tuple[int, int] | None:
    """Where the cell above what begins at `start` is; None where it does not begin a cell, or none is above."""
    begin = text.rfind("\n", max(0, start - _LONGEST_LINE), start)
    before = text[begin + 1 : start].rstrip(" \"'")
    part = before[-1:]
    if begin < 0 or not part or part not in _PARTS:
        return None
    above = text.rfind("\n", max(0, begin - _LONGEST_LINE), begin) + 1
    at = above
    for _ in range(before.count(part)):
        at = text.find(part, at, begin) + 1
        if not at:
            return None
    end = text.find(part, at, begin)
    return (at, end if end >= 0 else begin) if begin - above <= _LONGEST_LINE else None


def said_of(text: str, start: int, end: int) -> bool | None:
    """True if what is said of a number speaks of telephones, False if of something else, None if nothing is said."""
    if _IS_ONE.match(text, end) or _LABEL.search(text, max(0, start - 8), start):
        return True
    phone, other = last_before(_SAID, text, start), last_before(_OTHER, text, start, reach=30)
    if other >= 0 and _TAKEN.search(text, other, start):
        other = -1  # "room 12, 678-777-1600": the room has its number
    if _DOLLARS.search(text, max(0, start - 2), start):
        return False
    if phone < 0 and other < 0:
        told = _is_said_behind(text, end) or _GET.search(text, max(0, start - 24), start)
        return True if told or _is_beside_mail(text, start, end) else None
    if text[max(0, phone - 6) : max(0, phone)].lower() == "number" and other >= 0:
        return False  # "order number", "account number is"
    return phone > other


def is_called(text: str, start: int) -> bool:
    """Whether a word for a telephone ends where a number begins but for one sign: `tel-`."""
    return last_before(_SAID, text, start, reach=16) == start - 1


def _is_said_behind(text: str, end: int) -> bool:
    owner = _NUMBER_OF.match(text, end)
    if owner and not any(True for _ in _OTHER.ends(owner[1])):
        return True
    stop = _SENTENCE.search(text, end, end + _REACH_BEHIND)
    behind = text[end : stop.start() if stop else end + _REACH_BEHIND]
    return any(True for _ in _BEHIND.ends(behind)) and not any(True for _ in _OTHER.ends(behind))


def _is_beside_mail(text: str, start: int, end: int) -> bool:
    near = text[max(0, start - _NEAR_MAIL) : start]
    return bool(_MAIL_BEFORE.search(near) or _MAIL_BEHIND.match(text, end))


def has_its_line(text: str, start: int, end: int) -> bool:
    """Whether a number is all of its line, below two of words and above none of numbers: as in a signature."""
    begin = text.rfind("\n", max(0, start - 4), start)
    if begin < 0 or text[begin:start].strip() or not _WHOLE_LINE.match(text, end):
        return False
    return _SIGNED.search(text[max(0, begin - 120) : begin]) is not None
