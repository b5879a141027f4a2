"""Detection of e-mail addresses, web addresses, IP addresses, dates of birth and telephone numbers."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from functools import cache

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneNumber, is_possible_number

from coterie.privacy.detection import CASED, UNCUT, ContextWords, Kind, PersonalData, digits_of, last_before
from coterie.text.language import month_names

_LABEL = r"[^\W_](?:[\w-]{0,61}[^\W_])?"
_LOCAL = re.compile(r"[\w.%+'-]{0,65}")
_CASED_LOCAL = re.compile(rf"(?:(?=\w)[{CASED}]|[_.%+'-]){{0,65}}")
_IS_CASED = re.compile(f"[{CASED}]").match
_IS_UNCUT = re.compile(f"[{UNCUT}]").match
_DOMAIN = re.compile(
    rf"@(?:{_LABEL}\.){{1,8}}(?:[A-Za-z]{{2,24}}(?!_{{0,3}}[{UNCUT}@])|[^\W\d_]{{2,24}}(?!_{{0,3}}(?:[^\W_]|@)))"
)
"""A domain name; in ASCII it ends before letters of scripts without capitals, as Chinese puts no blank between."""
_LONGEST_LOCAL = 64
_URL = re.compile(r"(?<![^\W_])(?:(?:https?|ftps?|wss?)://|www\.)[^\s<>\"\u201c\u201d{}|\\^`]{3,2048}", re.IGNORECASE)
_IPV4 = re.compile(r"\d(?<![^\W_]\d)(?<!\.\d)\d{0,2}\.(?:\d{1,3}\.){2}\d{1,3}(?![^\W_])(?!\.\d)", re.ASCII)
_IPV6 = re.compile(
    r"(?<![\w:.])(?=[0-9a-f]{0,4}:)[0-9a-f:]{3,39}(?:(?<=:)\d{1,3}(?:\.\d{1,3}){3})?(?![\w:])", re.I | re.A
)
_VERSION = ContextWords("version, v, release, firmware, build, section*, clause*, paragraph*, article*, chapter")
_HEADING = re.compile(r"(?:\A|\n|\s{3})$")
"""The position before a paragraph number, which begins its line."""
_TRAILING = ".,;:!?'\")]*"


def find_emails(text: str) -> Iterator[PersonalData]:
    """Yield e-mail addresses as people write them; quoted local parts and bare host names are skipped."""
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
    """Return the start of the local part before an `@`, searched up to its longest length.

    A local part that ends in letters with capitals, or digits, begins after letters of a script without capitals.
    """
    before = text[max(0, at - _LONGEST_LOCAL - 1) : at][::-1]
    local = (_CASED_LOCAL if _IS_CASED(before) else _LOCAL).match(before)
    return at - len(local[0]) if local else at


def find_urls(text: str) -> Iterator[PersonalData]:
    """Yield web addresses that begin with a scheme or with `www.`, without the sentence's own punctuation."""
    if "://" not in text and "www." not in text.lower():
        return
    for match in _URL.finditer(text):
        length = len(match[0].rstrip(_TRAILING))
        if "." in match[0][:length] or "localhost" in match[0]:
            yield PersonalData(kind=Kind.URL, start=match.start(), end=match.start() + length, score=0.8)


def find_ips(text: str) -> Iterator[PersonalData]:
    """Yield IP addresses, except for local ones that every machine has and version numbers."""
    for match in _IPV4.finditer(text) if text.count(".") > 2 else ():
        if _is_somebody(match[0]) and not _is_numbering(text, match):
            yield PersonalData(kind=Kind.IP, start=match.start(), end=match.end(), score=0.95)
    if text.count(":") < 2:  # no IPv6 has fewer
        return
    for match in _IPV6.finditer(text):
        address = match[0].removesuffix(":") if not match[0].endswith("::") else match[0]
        if _looks_like_v6(address) and _is_somebody(address):
            yield PersonalData(kind=Kind.IP, start=match.start(), end=match.start() + len(address), score=0.95)


def _is_numbering(text: str, match: re.Match[str]) -> bool:
    """Return whether four numbers are those of a version or of a paragraph."""
    if last_before(_VERSION, text, match.start(), reach=12) >= 0:
        return True
    small = all(len(number) < 3 for number in match[0].split("."))
    return (
        small
        and bool(_HEADING.search(text, max(0, match.start() - 3), match.start()))
        and text[match.end() :][:1] == " "
    )


def _looks_like_v6(address: str) -> bool:
    """Return whether this is an IPv6 address and not `a::b`, a name in a program.

    An address has a digit, and a long group or three groups.
    """
    groups = [group for group in address.split(":") if group]
    has_digit = any(sign.isdigit() for sign in address)
    return has_digit and (len(groups) >= 3 or any(len(group) >= 3 for group in groups))


def _is_somebody(address: str) -> bool:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not (ip.is_loopback or ip.is_unspecified)


# --- Dates, and which of them are somebody's birth.

_MONTH = (
    r"(?:jan(?:uary|uar|vier)?|feb(?:ruary|ruar)?|f\u00e9vrier|mar(?:ch|s|zo)?|m\u00e4rz|apr(?:il)?|avril|may|mai|june?|juni|juin|"
    r"july?|juli|juillet|aug(?:ust)?|ao\u00fbt|sept?(?:ember)?|septembre|o[ck]t(?:ober)?|octobre|nov(?:ember)?|novembre|de[cz](?:ember)?|"
    r"d\u00e9cembre|enero|febrero|abril|mayo|junio|julio|agosto|septiembre|octubre|noviembre|diciembre|gennaio|febbraio|aprile|"
    r"maggio|giugno|luglio|settembre|ottobre|dicembre)\.?"
)
_TIME = r"(?:[T ]\d{2}:\d{2}(?::\d{2})?)?"
_ENDED = rf"(?![{CASED}/-])(?!\.\d)"
_DATE = re.compile(
    rf"(?<![{CASED}./-])(?:(?:19|20)\d\d([-/.])(?:0?[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01]|[1-9]){_TIME}"
    r"|(?:0?[1-9]|[12]\d|3[01])([-/.])(?:0?[1-9]|[12]\d|3[01])\2(?:(?:19|20)\d\d|\d\d)"
    rf"|(?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th|\.|er)?\s(?:of\s|de\s)?{_MONTH},?(?:\s(?:de\s)?(?:19|20)\d\d)?"
    rf"|{_MONTH}\s(?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?(?:,?\s(?:19|20)\d\d)?){_ENDED}",
    re.IGNORECASE,
)


@cache
def _named_date() -> re.Pattern[str]:
    """Return dates with a year and the name of a month in any language of the tables, and those of East Asia.

    Many names are words as well (`set`, `pro`), so a month needs a year here.
    """
    month = "|".join(sorted(map(re.escape, month_names()), key=len, reverse=True))
    gap = r"(?:\s?[-/.]\s?|\s(?:(?:of|de|del|di|do)\s)?)"
    return re.compile(
        rf"(?<![{CASED}./-])(?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th|er|\.|\u00ba)?{gap}(?:{month})\.?,?{gap}"
        rf"(?:(?:19|20)\d\d|(?<=[-/])\d\d){_ENDED}"
        r"|(?<!\d)(?:19|20)\d\d\s?[\u5e74\ub144]\s?(?:0?[1-9]|1[0-2])\s?[\u6708\uc6d4]\s?(?:0?[1-9]|[12]\d|3[01])(?!\d)[\u65e5\u53f7\uc77c]?",
        re.IGNORECASE,
    )


_BIRTH = ContextWords(
    "born, birth, dob, d.o.b, birthday, birthdate, b, geboren, geburtsdatum, geburtstag, geb, n\u00e9, n\u00e9e, "
    "naissance, nacido, nacida, nacimiento, nac\u00ed, "
    "naci\u00f3, nasci, nato, nata, nascita, nascido, nascida, nascimento, geboortedatum, "
    "f\u00f6dd, f\u00f6delsedatum, urodzony, urodzona"
)
_BORN_BEHIND = re.compile(r"\s(?:(?:in|zu)\s[^\W\d_]{2,24}\s)?(?:geboren|geb\.|born)(?![^\W_])", re.IGNORECASE)
"""Words for a birth after a date: `am 12.3.1984 in Ulm geboren`."""
_REACH = 40
_DIGIT = re.compile(r"\d")


def date_places(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of dates, as numbers or with the month's name; without a year in five languages only."""
    if not _DIGIT.search(text):
        return
    dates = [match for form in (_DATE, _named_date()) for match in form.finditer(text)]
    end = 0
    for match in sorted(dates, key=lambda match: (match.start(), -match.end())):
        if match.start() >= end:
            end = match.start() + len(match[0].rstrip(" .,"))
            yield match.start(), end


def begins_date(text: str, start: int) -> bool:
    """Return whether a date begins at a position of a text."""
    return any(form.match(text, start) is not None for form in (_DATE, _named_date()))


def find_births(text: str) -> Iterator[PersonalData]:
    """Yield dates after words for a birth, with no other date and no end of a paragraph between."""
    if not _BIRTH.may_stand_in(text):
        return
    before = 0
    for start, end in date_places(text):
        word_end = last_before(_BIRTH, text, start, reach=min(_REACH, start - before))
        if (word_end >= 0 and "\n\n" not in text[word_end:start]) or _BORN_BEHIND.match(text, end):
            yield PersonalData(kind=Kind.DATE_OF_BIRTH, start=start, end=end, score=0.9)
        before = end


# --- Telephone numbers.

# --- Context of a run of digits: a telephone number, something else, or unknown.

_SAID = ContextWords(
    "call*, phone*, tel, telephone*, mobile, cell, cellphone, fax, contact*, reach*, dial*, text, texts, texting, "
    "sms, whatsapp, signal, telegram, messag*, answering, ring, ringing, rang, hotline, voicemail, voice, number, "
    "ph, tf, tlf, fon, mob, telefon*, handy*, mobil*, anruf*, rufnummer, t\u00e9l*, portable, appele*, m\u00f3vil, "
    "tel\u00e9fono, ll\u00e1m*, llam*, cellulare, telefono, chiam*, telefone, telem\u00f3vel, telefoon*, puhelin*, "
    "bel, erreich*, joindre, joignable*, landline, pager, beeper, helpline, viber, skype, gsm, nummer, numer, numero, "
    "num\u00e9ro, n\u00famero, \u0442\u0435\u043b, \u0442\u0435\u043b\u0435\u0444\u043e\u043d*, \u03c4\u03b7\u03bb, "
    "\u03c4\u03b7\u03bb\u03ad\u03c6\u03c9\u03bd*, \u7535\u8bdd, \u624b\u673a, \u96fb\u8a71, "
    "\uc804\ud654, \uc5f0\ub77d\ucc98, \u0647\u0627\u062a\u0641, \u05d8\u05dc\u05e4\u05d5\u05df"
)
_OTHER = ContextWords(
    "order*, account*, invoice*, ticket*, reference, ref, case, id, policy, customer*, tracking, booking, iban, "
    "card, version, model, serial, part, isbn, vat, tax, amount, total, price, item, sku, batch, zip, postcode, "
    "postal, po, box, transaction, contract, claim, page, pages, port, error, code, pin, usd, eur, gbp, chf, "
    "ssn, dl, licen*, passport*, identity, identification, security, insurance, patient*, member*, student*, "
    "employee*, badge, routing, patent, trial, room, seat, flight, registration, plate, imei, loan, rechnung*, "
    "bestell*, konto*, kunden*, vertrag*, commande, facture, pedido, fattura"
)
_BEHIND = ContextWords(
    "call, calls, called, calling, phone, phoned, phones, telephone, mobile, cell, fax, dial*, ring, rings, ringing, "
    "rang, texted, sms, whatsapp, voicemail, answer, answers, answered, picks, picked, engaged, unreachable"
)
"""Words that, after a number without other context, mark it as a telephone number: `from 329 7730 rang twice`."""
_GET = re.compile(r"\bget\s(?:me|her|him|us|hold)\b[^.\n]{0,12}$", re.IGNORECASE)
"""A request to call before a number: `You'll get me on 329 7730`."""
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
"""A statement after a number: `36 85 25 24 is still her number`."""
_PHONE_LABEL = re.compile(
    r"(?:(?<![^\s|,;(])(?:(?:T|M|P|F|Ph|Mob|Tf|Tlf|Fon):|(?:T|M|(?-i:P|F)|Ph|Mob|Tf|Tlf|Fon)\.:?)\s{0,2}"
    r"|(?:^|[\n|])\s{0,3}(?:T|M|P|F)[ \t]{1,3}"
    r"|\b(?:home|work|office|desk)[ ]{0,2}[:=]?[ ]{1,2}|\b(?:direct|main|evening|daytime|private|privat|dienstlich|"
    r"bureau|domicile|casa|trabajo|lavoro)[ ]?[:=][ ]{0,2})$",
    re.IGNORECASE,
)
"""Labels of a telephone number before it; `p. 109` is a page."""
_LETTER = re.compile(r"\s{1,3}[TMPF][ ]{1,2}")
"""A letter label between one telephone number and the next."""
_NEXT = re.compile(r"\s{0,2}(?:[/,;|&]|or|and|oder|und|ou|et|y|o|e)\s{0,2}", re.IGNORECASE)
"""Separators between two numbers of one list."""
_MAIL_BEFORE = re.compile(r"@[\w.-]{3,64}[>)]?[\s,;|/-]{1,4}$")
_MAIL_BEHIND = re.compile(r"[\s,;|/-]{1,4}[<(]?[\w.+-]{1,64}@\w")
"""An e-mail address beside a number, separated by punctuation only."""
_NEAR_MAIL = 72
_PARTS = ",;|\t"
"""Column separators of a table."""
_LONGEST_LINE = 300
_TAKEN = re.compile(r"\d(?:[^\n]*[^\W\d_]|[^\n]*[^\s\d./()\u2010-\u2013-])")
"""A number that belongs to a preceding context word."""
_WHOLE_LINE = re.compile(r"[ \t]*(?:\n(?![ \t]*[\d(+])|$)")
_SIGNED = re.compile(r"[^\W\d_]{2}[^\n]*\n[^\n]*[^\W\d_]{2}[^\n]*$")
"""Two lines with words in them, as in a signature."""


def goes_on_from(text: str, last: int, start: int) -> bool:
    """Return whether a number is the next of a list whose last telephone number ended at `last`; -1 for none."""
    return last >= 0 and bool(_NEXT.fullmatch(text, last, start) or _LETTER.fullmatch(text, last, start))


def goes_down_from(text: str, last: tuple[int, int], start: int) -> bool:
    """Return whether a number stands right below the telephone number at `last`, or a word for one, in a column."""
    cell = _cell_above(text, start)
    if cell is None:
        return False
    if cell[0] <= last[0] < cell[1]:
        return True
    name = text[cell[0] : cell[1]]
    return last_before(_SAID, name, len(name)) > last_before(_OTHER, name, len(name))


def _cell_above(text: str, start: int) -> tuple[int, int] | None:
    """Return the span of the cell above the one that begins at `start`; None if there is no such cell."""
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
    """Return True if a number's context is about telephones, False if about something else, None without any."""
    if _IS_ONE.match(text, end) or _PHONE_LABEL.search(text, max(0, start - 8), start):
        return True
    phone, other = last_before(_SAID, text, start), last_before(_OTHER, text, start, reach=30)
    if other >= 0 and _TAKEN.search(text, other, start):
        other = -1  # "room 12, 678-777-1600": the room has its number
    if _DOLLARS.search(text, max(0, start - 2), start):
        return False
    if phone < 0 and other < 0:
        is_told = _is_said_behind(text, end) or _GET.search(text, max(0, start - 24), start)
        return True if is_told or _is_beside_mail(text, start, end) else None
    if text[max(0, phone - 6) : max(0, phone)].lower() == "number" and other >= 0:
        return False  # "order number", "account number is"
    return phone > other


def is_called(text: str, start: int) -> bool:
    """Return whether a word for a telephone ends one character before a number: `tel-`."""
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
    """Return whether a number is alone on its line, below two lines of words and above none of numbers: a signature."""
    begin = text.rfind("\n", max(0, start - 4), start)
    if begin < 0 or text[begin:start].strip() or not _WHOLE_LINE.match(text, end):
        return False
    return _SIGNED.search(text[max(0, begin - 120) : begin]) is not None


_DASH = r"\-\u2010\u2011\u2012\u2013"
_GAP = rf"[ \u00a0\u202f.{_DASH}/]"
_EXTENSION = (
    r"(?:,?[ ]?|;)(?i:x|ext\.?|extension|durchwahl|poste|extensi\u00f3n|int\.?|interno|toestel|wew\.?|ramal|anexo)"
    r"[ .:=]{0,2}\d{1,6}(?![\w@])"
)
_BETWEEN = rf"(?:[ ]?[()][ ]?|\)?[ \u00a0\u202f.{_DASH}]\(?|[ ][{_DASH}][ ]|)"
_NO_ROW = rf"(?!\d(?:[ \u00a0\u202f.{_DASH}]?\d){{17}})"
"""Excludes more digits than a telephone number has, with at most one separator between them.

None of them could be its last, and trying each would take long.
"""
_PHONE = re.compile(
    rf"(?<![{UNCUT}@$€£])(?<![{UNCUT}]_)(?:(?<![.{_DASH}/#])|(?<=[^\W\d_][.{_DASH}/#])|(?<=\d/)|(?<=\s\#))"
    rf"(?:(?P<abroad>\(?\+\(?)|\()?{_NO_ROW}(?(abroad)(?:\d{{1,3}}[ ]?/[ ]?\(?)?)\d"
    rf"(?:(?:{_BETWEEN}\d){{0,5}}\)?[ ]?/[ ]?\(?\d(?:{_BETWEEN}\d){{2,11}}"
    rf"|(?:{_BETWEEN}\d){{5,16}}(?(abroad)(?:(?<![ ]24)/\d{{1,2}}(?![\w/]))?))"
    rf"(?:{_EXTENSION}|(?:(?=[A-Z][a-z]{{2}})|(?!_{{0,3}}[{UNCUT}@]))(?![ \u00a0\u202f.{_DASH}]\d)"
    rf"(?!/(?:19|20)?\d\d(?![ .{_DASH}]?\d)))"
)
"""A candidate telephone number.

A slash separates the country and the area from the number, and otherwise one number from the next, or its
last digits from others. A capitalised word right after a number begins the next text if line ends were lost:
`0348 2102744Office`.
"""
_EXTENDED = re.compile(rf"(?:{_EXTENSION})?$")
_SPLIT = re.compile(r"\d+")
_NORTH_AMERICAN = re.compile(
    rf"(?:1{_GAP})?\(?[2-9]\d\d(?:\)?{_GAP}?{_GAP}?[2-9]|\) ?\d|[.{_DASH}]\d)\d\d{_GAP}\d{{4}}(?!\d)"
)
_BRACKETS = re.compile(r"(?:\d[ ]?(?=\(\d{3}\)(?:[^\d\n]?\d){7}$))?\(0?\d{1,4}\)")
"""An area code in brackets, perhaps after the digit that is dialled before it: `8 (912) 345-67-89`."""
_TRUNK = re.compile(rf"0\d{{1,4}}(?:{_GAP}\d{{2,8}}){{1,5}}(?!\d)")
_TRIPLES = re.compile(rf"\d{{3}}([.{_DASH}])\d{{3}}\1\d{{4}}")
"""Groups that hardly any other number has: `169-825-3303`."""
_SECOND = re.compile(r"[ ]\(\d")
"""An area code in brackets after a whole number, which begins the next number."""
_WHOLE_AMERICAN = re.compile(rf"(?:\+?1{_GAP}?)?{_NORTH_AMERICAN.pattern}(?=[ ]\d)")
"""A North American number with another number after it."""
_STATES = (
    "AL AK AZ AR CA CO CT DE FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY NC ND OH OK OR PA "
    "RI SC SD TN TX UT VT VA WA WV WI WY DC PR GU VI AS MP FM MH PW AA AE AP"
)
_POSTCODE = re.compile(rf"(?<=(?:{'|'.join(_STATES.split())}) )(?<![A-Za-z]...)\d{{5}}(?:-\d{{4}})?[ ](?=[\d(])")
"""A postcode in an American address, after its state."""
_LAST_GROUP = re.compile(r"[ ]\d{1,3}$")
_UNIT = re.compile(
    r"[ ](?:hours?|hrs?|h|days?|times?|weeks?|months?|years?|minutes?|mins?|am|pm|a\.m|p\.m|o'clock|uhr|stunden|tage|"
    r"heures|jours|horas|d\u00edas|of)\b|[:,.]\d|/7\b|(?:am|pm|h)\b",
    re.IGNORECASE,
)
"""A unit after a number that is not part of the telephone number: `ring 329 7730 24 hours a day`."""
_JOINED = frozenset("./#-\u2010\u2011\u2012\u2013")
"""Characters right before a number after which it counts only with a word for a telephone: `tel-`, `phone #`."""
_FRACTIONS = re.compile(r"\d{1,2}\.\d{1,4}(?: \d{1,2}\.\d{1,4})+")
_OF_DATE = re.compile(r"\d{1,2}/\d{2,4}")
"""The day and the year of `3/19/2007`."""
_ONE_PIECE = re.compile(r"0[1-9]\d{8,9}")
"""A trunk zero and digits without gaps."""
_RANGE = re.compile(rf"\d+[ ]?[{_DASH}][ ]?\d+")
_DECIMALS = re.compile(rf"\d{{1,3}}\.\d{{1,2}}[ ]?[{_DASH}][ ]?\d{{1,3}}\.\d{{1,2}}")
_MONEY = re.compile(
    r"\s?(?:[$€£¥%]|(?:usd|eur|euros?|gbp|chf|dollars?|pounds?|kr|z\u0142|km|kg|people|users)\b)", re.IGNORECASE
)
_THOUSANDS = re.compile(r"\d{1,3}(?:([ \u00a0\u202f.])\d{3}){1,4}")
_FEWEST_DIGITS, _MOST_DIGITS = 6, 15
_WHOLE = 8
"""Fewest digits of a number that stands alone on its line."""


def find_phones(text: str) -> Iterator[PersonalData]:
    """Yield telephone numbers, with extensions; other meanings of the digits are excluded first."""
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
    """Return the end of a number, without an unrelated number that only a blank separates from it."""
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
        rest >= _FEWEST_DIGITS
        and _UNIT.match(text, end)
        and not (text[start - 1 : start] == "," == text[end : end + 1])
    )
    return last.start() if apart else end


def _score(text: str, start: int, end: int, *, goes_on: bool) -> float:
    """Return the confidence that this is a telephone number, perhaps one more of a list; 0 for none."""
    number = text[start:end]
    plain = _EXTENDED.sub("", number)
    groups = _SPLIT.findall(plain)
    digits = digits_of("".join(groups))
    if not _FEWEST_DIGITS <= len(digits) <= _MOST_DIGITS or len(set(digits)) == 1 or _FRACTIONS.fullmatch(plain):
        return 0.0
    if _OF_DATE.fullmatch(plain) and text[start - 1 : start] == "/":
        return 0.0
    is_said = goes_on or said_of(text, start, end)
    if is_said is None and len(plain) < len(number):
        is_said = True  # nothing else has an extension
    if is_said is None and len(digits) >= _WHOLE and has_its_line(text, start, end):
        is_said = True
    if not _may_stand(text, start, end, plain, is_said=is_said is True):
        return 0.0
    return _score_of(plain, groups, digits, is_said=False if _MONEY.match(text, end) else is_said)


def _may_stand(text: str, start: int, end: int, plain: str, *, is_said: bool) -> bool:
    """Return whether the characters beside and within a number allow a telephone number.

    `is_said` is True if words indicate one.
    """
    if not is_said and (text.count("(", start, end) != text.count(")", start, end) or _IS_UNCUT(text[end : end + 1])):
        return False
    before = text[start - 1 : start]
    if before == "," and text[start - 2 : start - 1].isdigit() and not _is_grouped(plain):
        return False  # what is behind a comma may be decimals
    return before not in _JOINED or not before or _is_joined(text, start, is_said=is_said)


def _is_grouped(number: str) -> bool:
    """Return whether a number's grouping alone identifies a telephone number."""
    forms = (_NORTH_AMERICAN, _BRACKETS, _TRUNK, _TRIPLES)
    return number.startswith("+") or any(form.match(number) for form in forms)


def _is_joined(text: str, start: int, *, is_said: bool) -> bool:
    """Return whether the character before a number joins it to a word for a telephone, or it is the next of a list."""
    beside = text[start - 1] == "#" or text[start - 2].isdigit()
    return is_said and (beside or is_called(text, start))


def _score_of(number: str, groups: list[str], digits: str, *, is_said: bool | None) -> float:
    """Return the confidence from the number's form, and from its context: None for no context."""
    if number.lstrip("(").startswith("+") or digits.startswith("00"):
        return 0.95 if _is_possible(digits.lstrip("0")) else 0.0
    if is_said is False or _is_range(groups, number):
        return 0.0
    if _NORTH_AMERICAN.match(number) or (_BRACKETS.match(number) and len(digits) >= 7):
        return 0.9
    if is_said:
        return 0.85 if len(digits) >= 7 or len(groups) > 1 else 0.0
    if _ONE_PIECE.fullmatch(number) or _TRIPLES.fullmatch(number):
        return 0.6
    grouped = len(groups) > 1 and not _THOUSANDS.fullmatch(number)
    return 0.7 if grouped and 9 <= len(digits) <= 11 and _TRUNK.match(number) else 0.0


def _is_possible(digits: str) -> bool:
    """Return whether digits begin with a country code and have as many digits as that country's numbers.

    `phonenumbers.parse` would work, in ten times the time. A leading zero is the trunk's, or in Italy the
    number's own.
    """
    sizes = (size for size in (1, 2, 3) if int(digits[:size] or "0") in COUNTRY_CODE_TO_REGION_CODE)
    if (size := next(sizes, None)) is None:
        return False
    code, national = int(digits[:size]), digits[size:] or "0"
    numbers = (
        PhoneNumber(country_code=code, national_number=int(national), italian_leading_zero=zero)
        for zero in {False, national.startswith("0")}
    )
    return any(map(is_possible_number, numbers))


def _is_range(groups: list[str], number: str) -> bool:
    """Return whether this is a range from one number to a greater one, as of pages or quantities."""
    if _DECIMALS.fullmatch(number):
        return True
    return _RANGE.fullmatch(number) is not None and len(groups[0]) == len(groups[1]) and groups[0] < groups[1]
