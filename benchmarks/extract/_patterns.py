"""The floor: what a person writes for these seven fields in an hour, with patterns near key words and no training."""

from __future__ import annotations

import re

from _cuad import FIELDS

from coterie.tasks.extract.tagging import TextRange, TokenizedText
from coterie.text.values import MANY, find_values, normalise_value
from coterie.types import (
    Field,
    Finding,
    worded,
)

_PREAMBLE = 3_000
_PARTY = re.compile(
    r"(?:between|among|and)\s+((?:[A-Z][\w&.,'-]*\s+){0,7}?"
    r"(?:Inc|Corp|Corporation|Company|Ltd|Limited|LLC|L\.L\.C|L\.P|LP|PLC|GmbH|N\.V|S\.A)\b\.?)"
)
_STATES = (
    "Alabama Alaska Arizona Arkansas California Colorado Connecticut Delaware Florida Georgia Hawaii Idaho Illinois "
    "Indiana Iowa Kansas Kentucky Louisiana Maine Maryland Massachusetts Michigan Minnesota Mississippi Missouri "
    "Montana Nebraska Nevada New-Hampshire New-Jersey New-Mexico New-York North-Carolina North-Dakota Ohio Oklahoma "
    "Oregon Pennsylvania Rhode-Island South-Carolina South-Dakota Tennessee Texas Utah Vermont Virginia Washington "
    "West-Virginia Wisconsin Wyoming England Ontario Singapore Israel Japan India China Germany France"
)
_PLACES = tuple(name.replace("-", " ") for name in _STATES.split())
_CLAUSES = {
    "effective_date": re.compile(r"effective\s+(?:date|as\s+of)|shall\s+commence", re.IGNORECASE),
    "expiration_date": re.compile(
        r"(?:initial\s+)?term\s+of\s+this\s+agreement|shall\s+(?:continue|remain)\s+in\s+(?:full\s+force|effect)|expire",
        re.IGNORECASE,
    ),
    "governing_law": re.compile(r"governed\s+(?:by|and\s+construed)|construed\s+in\s+accordance", re.IGNORECASE),
    "renewal_term": re.compile(
        r"(?:automatically\s+)?(?:renew|extend)\w*\s.{0,80}?(?:year|month)", re.IGNORECASE | re.DOTALL
    ),
    "notice_period": re.compile(
        r"(?:renew|extend).{0,300}?notice|notice.{0,200}?(?:non-?renew|not\s+to\s+renew)", re.IGNORECASE | re.DOTALL
    ),
}


def find_terms(text: str) -> Finding:
    """Every field by its patterns; nothing is accepted, since nothing says how sure a pattern is."""
    fields: list[Field] = []
    for name, kind in FIELDS.items():
        places = _places(name, text)
        fields += [_field(name, kind, text, span) for span in places] or [_field(name, kind, text, None)]
    return Finding(
        specialist="patterns",
        value=None,
        text="",
        confidence=0.5,
        accepted=False,
        reason=worded(""),
        task="extract",
        fields=tuple(fields),
    )


def _places(name: str, text: str) -> list[TextRange]:
    if name == "parties":
        parties = {text[m.start(1) : m.end(1)]: TextRange(*m.span(1)) for m in _PARTY.finditer(text[:_PREAMBLE])}
        return list(parties.values())[:3]
    if name == "agreement_date":
        return [TextRange(date.start, date.end) for date in find_values("date", text[:_PREAMBLE])[:1]]
    document = TokenizedText(text)
    sentences = (
        sentence for sentence in document.sentences if _CLAUSES[name].search(text, sentence.start, sentence.end)
    )
    stated = next(sentences, None)
    if name == "effective_date" and stated is not None:
        dates = find_values("date", text[stated.start : stated.end])
        return [TextRange(stated.start + dates[0].start, stated.start + dates[0].end)] if dates else []
    return [] if stated is None else [stated]


def _field(name: str, kind: str, text: str, span: TextRange | None) -> Field:
    quote = "" if span is None else text[span.start : span.end]
    return Field(
        name=name,
        value=normalise_value(kind.removesuffix(MANY), quote, _PLACES) if quote else None,
        text=quote,
        start=None if span is None else span.start,
        end=None if span is None else span.end,
        confidence=0.5,
        accepted=False,
        reason=worded("a pattern"),
    )
