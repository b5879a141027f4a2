"""Records without sentences: objects, lines with one sign between their fields, rows of tables, lines of logs.

A schema is drawn for each text: which fields, under which names and in which order, in which form. Its rows are filled
with the same fields, so that a classifier learns where names stand from the rows around and from the heading.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from values import LANGUAGES, LOCALES, Values

from _personal import Span
from coterie.privacy.detection import Kind

Cell = tuple[str, Kind | None]
"""The text of a field, and what it names; nothing is named by None."""

HEADINGS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "en": {
        "first": ("first name", "given_name", "firstName", "forename", "first"),
        "last": ("last name", "surname", "lastName", "family_name", "last"),
        "person": ("name", "customer", "holder", "contact", "owner", "patient", "full_name", "employee", "author"),
        "turned": ("name", "customer", "member", "pupil"),
        "city": ("city", "town", "place", "location"),
        "country": ("country", "nation"),
        "org": ("company", "employer", "organisation", "supplier"),
        "date": ("date", "created", "due", "born"),
        "number": ("id", "no", "nr", "number", "row"),
        "amount": ("amount", "total", "price", "balance"),
        "state": ("status", "state", "note", "type", "level"),
        "code": ("code", "ref", "sku", "order"),
    },
    "de": {
        "first": ("Vorname",), "last": ("Nachname", "Name"), "person": ("Name", "Kunde", "Inhaber", "Mitarbeiter"),
        "turned": ("Name", "Kunde"), "city": ("Ort", "Stadt"), "country": ("Land",), "org": ("Firma",),
        "date": ("Datum",), "number": ("Nr", "Nummer"), "amount": ("Betrag", "Summe"), "state": ("Status",),
        "code": ("Code", "Bestellung"),
    },
    "fr": {
        "first": ("prénom",), "last": ("nom",), "person": ("nom", "client", "titulaire"), "turned": ("nom", "client"),
        "city": ("ville",), "country": ("pays",), "org": ("société",), "date": ("date",), "number": ("n°", "id"),
        "amount": ("montant",), "state": ("statut", "état"), "code": ("code", "réf"),
    },
    "pl": {
        "first": ("imię",), "last": ("nazwisko",), "person": ("imię i nazwisko", "klient"), "turned": ("klient",),
        "city": ("miasto",), "country": ("kraj",), "org": ("firma",), "date": ("data",), "number": ("nr", "lp"),
        "amount": ("kwota",), "state": ("status",), "code": ("kod",),
    },
    "it": {
        "first": ("nome",), "last": ("cognome",), "person": ("nominativo", "cliente"), "turned": ("cliente",),
        "city": ("città",), "country": ("paese",), "org": ("azienda",), "date": ("data",), "number": ("n", "id"),
        "amount": ("importo",), "state": ("stato",), "code": ("codice",),
    },
}  # fmt: skip
"""What fields are called, by language; others have the English names."""
_STATES = (
    "open|closed|paid|late|sent|new|active|pending|ok|failed|void|north|south|east|west|red|blue|green|high|low|none|yes|"
    "no|true|false|return|refund|retry|gold|basic|A|B|C|n/a"
)
_CALLS = (
    "handled for {}|created by {}|assigned to {}|user={}|login of {}|mail sent to {}|customer {} updated|owner: {}|"
    "for {} in 12ms|by {} ok|contact {} not found|payment from {} booked"
)
_LEVELS = "INFO|WARN|ERROR|DEBUG|info|warning"
_FORMS = ("object", "object", "table", "lines", "lines", "log", "pairs")
_SIGNS = ";,\t|"


class Records:
    """Makes records; the same seed gives the same ones."""

    def __init__(self, sources: Mapping[str, Sequence[str]], companies: Sequence[str], seed: int) -> None:
        """Take what values are made from (`Values`)."""
        self.chance = random.Random(seed)  # noqa: S311 - examples, no secret
        self._values = {
            language: Values(sources, companies, seed, locales, language)
            for language, locales in {"en": LOCALES, **LANGUAGES}.items()
        }

    def draw(self) -> tuple[str, list[Span]]:
        """A text of one to seven records of one schema, and the names in it."""
        language = self.chance.choice(list(self._values))
        values, form = self._values[language], self.chance.choice(_FORMS)
        if form == "log":
            return _joined(self._log(values))
        names = self.chance.choice([["first", "last"], ["last", "first"], ["person"], ["turned"], ["person"], []])
        others = self.chance.sample(
            ["city", "country", "org", "date", "number", "amount", "state", "code"], self.chance.randint(1, 5)
        )
        if "number" in others and self.chance.random() < 0.7:
            others.remove("number")
            fields = ["number", *self._mixed(names, others)]
        else:
            fields = self._mixed(names, others)
        rows = [[self._cell(field, values) for field in fields] for _ in range(self.chance.randint(1, 7))]
        table = HEADINGS.get(language, HEADINGS["en"])
        heads = [self.chance.choice(table[field]) for field in fields]
        return _joined(self._parts(form, heads, rows))

    def _mixed(self, names: list[str], others: list[str]) -> list[str]:
        at = self.chance.randint(0, len(others))
        return [*others[:at], *names, *others[at:]]

    def _cell(self, field: str, values: Values) -> Cell:
        chance = self.chance
        makers: Mapping[str, Callable[[], Cell]] = {
            "first": lambda: (values.first(), Kind.PERSON),
            "last": lambda: (values.last(), Kind.PERSON),
            "person": lambda: (f"{values.first()} {values.last()}", Kind.PERSON),
            "turned": lambda: (f"{values.last()}, {values.first()}", Kind.PERSON),
            "city": lambda: (values.city(), Kind.LOCATION),
            "country": lambda: (values.country(), Kind.LOCATION),
            "org": lambda: (values.org(), Kind.ORGANIZATION),
            "date": lambda: (values.date(), Kind.DATE),
            "number": lambda: (str(chance.randint(1, 99_999)), None),
            "amount": lambda: (f"{chance.randint(1, 9999)}{chance.choice(['', '.50', ',20', ' EUR'])}", None),
            "state": lambda: (chance.choice(_STATES.split("|")), None),
            "code": lambda: (f"{chance.choice('ABXKQ')}{chance.choice(['', '-'])}{chance.randint(10, 9999)}", None),
        }
        return makers[field]()

    def _log(self, values: Values) -> Iterator[str | Cell]:
        chance = self.chance
        for number in range(chance.randint(1, 6)):
            day = f"2026-{chance.randint(1, 12):02d}-{chance.randint(1, 28):02d}"
            hour = f"{chance.randint(0, 23):02d}:{chance.randint(0, 59):02d}:{chance.randint(0, 59):02d}"
            worker = f"{chance.choice(['worker', 'api', 'job', 'node'])}-{chance.randint(1, 20)}"
            yield "\n" if number else ""
            yield chance.choice([f"{day}T{hour}Z ", f"{day} {hour} ", f"[{hour}] "])
            yield f"{chance.choice(_LEVELS.split('|'))} {worker} "
            if chance.random() < 0.3:
                yield f"order {chance.randint(1, 9999)} {chance.choice(_STATES.split('|'))}"
                continue
            before, _, after = chance.choice(_CALLS.split("|")).partition("{}")
            yield from (before, (f"{values.first()} {values.last()}", Kind.PERSON), after)

    def _parts(self, form: str, heads: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Iterator[str | Cell]:
        if form == "object":
            yield from self._objects(heads, rows)
        elif form == "table":
            headed = self.chance.random() < 0.5
            if headed:
                yield f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}"
            for number, row in enumerate(rows):
                yield "\n|" if headed or number else "|"
                for cell in row:
                    yield from (" ", cell, " |")
        elif form == "pairs":
            for number, row in enumerate(rows):
                yield "\n\n" if number else ""
                for at, (head, cell) in enumerate(zip(heads, row, strict=True)):
                    yield from (("\n" if at else "") + f"{head}: ", cell)
        else:
            yield from self._lines(heads, rows)

    def _objects(self, heads: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Iterator[str | Cell]:
        between, colon = self.chance.choice([", ", ",", ",\n  "]), self.chance.choice([": ", ":"])
        for number, row in enumerate(rows):
            yield "\n{" if number else "{"
            for at, (head, (value, kind)) in enumerate(zip(heads, row, strict=True)):
                mark = "" if kind is None and value.isdecimal() else '"'
                yield (between if at else "") + json.dumps(head, ensure_ascii=False) + colon + mark
                yield json.dumps(value, ensure_ascii=False)[1:-1], kind
                yield mark
            yield "}"

    def _lines(self, heads: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Iterator[str | Cell]:
        free = [sign for sign in _SIGNS if not any(sign in value for row in rows for value, _ in row)]
        sign, headed = self.chance.choice(free or ["\t"]), self.chance.random() < 0.4
        if headed:
            yield sign.join(heads)
        for number, row in enumerate(rows):
            yield "\n" if headed or number else ""
            for at, cell in enumerate(row):
                yield from (sign if at else "", cell)


def _joined(parts: Iterable[str | Cell]) -> tuple[str, list[Span]]:
    text, spans = "", list[Span]()
    for part in parts:
        value, kind = (part, None) if isinstance(part, str) else part
        if kind is not None:
            spans.append(Span(len(text), len(text) + len(value), kind))
        text += value
    return text, spans
