"""Numbers of bank accounts that are no IBAN: no check digit is common to them, so only their name tells."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ._dates import begins_date
from ._found import Kind, PersonalData

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
