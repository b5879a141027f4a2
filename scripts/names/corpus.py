"""Texts to learn names from: public templates and our own, filled again and again, and texts without any name."""

from __future__ import annotations

import csv
import gzip
import json
import random
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from faker.providers.address.en_US import Provider
from values import DEMONYMS, LANGUAGES, MONTHS, WEEKDAYS, Values

from _personal import PLACE, Span, Text, is_title, without_title
from coterie.privacy.detection import Kind

HERE = Path(__file__).parent
Labelled = tuple[str, list[Span]]
"""A text and the names in it."""

KINDS = {
    "PERSON": Kind.PERSON,
    "LOCATION": Kind.LOCATION,
    "GPE": Kind.LOCATION,
    "ADDRESS": Kind.ADDRESS,
    "STREET_ADDRESS": Kind.ADDRESS,
    "ZIP_CODE": Kind.ADDRESS,
    "ORGANIZATION": Kind.ORGANIZATION,
    "NRP": Kind.NATIONALITY,
    "DATE_TIME": Kind.DATE,
    "AGE": Kind.AGE,
}
_SLOTS = {
    **dict.fromkeys(("first", "last", "person", "bents"), Kind.PERSON),
    **dict.fromkeys(("city", "country", "town", "towns"), Kind.LOCATION),
    **dict.fromkeys(("street", "num", "zip", "address"), Kind.ADDRESS),
    **dict.fromkeys(("date", "year", "month", "weekday"), Kind.DATE),
    "org": Kind.ORGANIZATION,
    **dict.fromkeys(("nat", "nats"), Kind.NATIONALITY),
    "age": Kind.AGE,
}
_AMBIGUOUS = frozenset({"Christian", "Dominican", "Roman", "Jain", "Orthodox", "Liberal", "Conservative", "Baptist"})
"""Names of groups that are names of persons or other words as well."""
_LITERAL = (  # values that stand in the public templates themselves and are not annotated
    (re.compile(r"(?<![\w./-])(?:1[89]\d\d|20[0-3]\d)(?![\w/-])"), Kind.DATE),
    (re.compile(rf"\b(?:{'|'.join(WEEKDAYS.split())})\b"), Kind.DATE),
    (
        re.compile(rf"\b(?:{'|'.join(word for word in DEMONYMS.split() if word not in _AMBIGUOUS)})\b(?! [A-Z][a-z])"),
        Kind.NATIONALITY,
    ),
)
_MONTHS = "|".join(word for word in f"{MONTHS} {WEEKDAYS}".split() if word != "May")
_NAMED = re.compile(
    r"\b(?:US|USA|UK|EU|Europe\w*|American?|Russia\w*|SEPA|London|Paris|Franc\w*|Germany?|Austria|Ital\w+|Spain|Spanish|Swi\w+|"
    rf"Poland|Australia\w*|Canada|China|Brazil|India|{_MONTHS})\b|\d{{4}}"
)
_LEGAL = re.compile(
    r"[^\W_]{3}.*\b(?:Inc|Ltd|LLC|Corp|Corporation|Limited|L\.?P|GmbH|plc|AG|S\.A|N\.V|B\.V|Bank)\b", re.I
)
_PLACED = re.compile(
    rf"\b(?:{'|'.join(map(re.escape, Provider.countries))}|{'|'.join(DEMONYMS.split())}|Universit\w+|Institut\w+|"
    r"Hospitals?|Organi[sz]ation|College|Center|Centre|Medicare|Foundation|Department|Agency|Society|Association|[A-Z]\w+'s)\b"
)
_UNNAMED = (
    "transfer balance freeze_account report_fraud pay_bill min_payment pin_change account_blocked "
    "interest_rate order_checks credit_limit card_declined expiration_date damaged_card report_lost_card "
    "replacement_card_duration rewards_balance apr improve_credit_score new_card recipe ingredients_list "
    "cook_time nutrition_info calories food_last meal_suggestion ingredient_substitution todo_list "
    "todo_list_update shopping_list shopping_list_update order order_status alarm timer calculator definition "
    "spelling flip_coin roll_dice greeting goodbye thank_you what_can_i_ask_you tell_joke yes no maybe repeat "
    "change_volume change_speed whisper_mode cancel reset_settings smart_home gas oil_change_how tire_pressure "
    "pto_balance pto_request payday w2 taxes insurance"
)
_PEOPLE = re.compile(rf"\b(?:{'|'.join(DEMONYMS.split())})s?\b", re.I)
_ABROAD = 3
"""Sentences of other languages are fewer, so each is filled half as often again."""
_BETWEEN = re.compile(r"(?<=[a-z)][.?!])\s*(?=[A-Z])")
"""Where one sentence ends; the abstracts have no blank there, and two that follow each other keep it so."""
_GAP = re.compile(r"[\s,.;:\-]*")


def labelled(text: Text) -> Labelled:
    """A public text with its names, and with those values of the template that its annotation passes over."""
    names = [
        Span(*without_title(text.text, span)[:2], KINDS[span.type])
        if span.type == "PERSON"
        else Span(span.start, span.end, KINDS[span.type])
        for span in text.spans
        if span.type in KINDS and not is_title(text.text[span.start : span.end])
    ]
    for pattern, kind in _LITERAL:
        for match in pattern.finditer(text.text):
            if not any(span.start < match.end() and match.start() < span.end for span in (*names, *text.spans)):
                names.append(Span(match.start(), match.end(), kind))
    return text.text, sorted(names)


def known_values(texts: Sequence[Text]) -> Mapping[str, Sequence[str]]:
    """The values of these texts, by what they are."""
    values: dict[str, list[str]] = defaultdict(list)
    for text in texts:
        for span in text.spans:
            value, kind = text.text[span.start : span.end], KINDS.get(span.type)
            parts = value.split()
            if kind == Kind.PERSON:
                values["person" if len(parts) > 1 else "last"].append(value)
                if len(parts) == 2:
                    values["first"].append(parts[0])
                    values["last"].append(parts[1])
            elif (
                kind == Kind.ADDRESS
                and len(value) > 12
                and re.search(r"\d", value)
                and re.search(r"[^\W\d_]{3}", value)
            ):
                values["address"].append(value)
            elif kind == Kind.ADDRESS and re.search(r"[^\W\d_]{3}", value) and not re.match(r"(?i)apt|suite", value):
                values["street"].append(value)
            elif span.type in {"LOCATION", "GPE", "ORGANIZATION", "PHONE_NUMBER"}:
                values[{"ORGANIZATION": "org", "PHONE_NUMBER": "phone"}.get(span.type, "city")].append(value)
    return values


def companies(contracts: Path) -> Sequence[str]:
    """The parties of contracts that have a company's legal form; those that are a person or a role are left out."""
    with contracts.open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    parties = (row["text"] for row in rows if row["label"] == "Parties")
    return sorted({text for text in parties if len(text) < 50 and _LEGAL.search(text)})


def without_names(abstracts: Path, requests: Path, *, sentences: int, asked: int, seed: int = 0) -> Sequence[str]:
    """Sentences of research and requests that name nobody and no place.

    Args:
        abstracts: SciFact's corpus; every second abstract is left for measuring.
        requests: CLINC150; of its training requests those of `_UNNAMED`, domains in which hardly anything is named.
        sentences: How many of `abstracts`.
        asked: How many of `requests`.
        seed: Of the choice.
    """
    chance, unnamed = random.Random(seed), set(_UNNAMED.split())  # noqa: S311 - examples, no secret
    with gzip.open(abstracts, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file][1::2]
    parts = [re.split(_BETWEEN, row["text"]) for row in rows]
    alone = [sentence for row in parts for sentence in row if 40 < len(sentence) < 300]
    joined = [a + b for row in parts for a, b in zip(row[::2], row[1::2], strict=False) if 80 < len(a + b) < 400]
    candidates = [*alone, *joined[::2], *(row["title"] for row in rows)]
    request_texts = [
        text for text, intent in json.loads(requests.read_text(encoding="utf-8"))["train"] if intent in unnamed
    ]
    plain = [
        sentence
        for sentence in candidates
        if not (_NAMED.search(sentence) or _PLACED.search(sentence) or _PEOPLE.search(sentence))
    ]
    return chance.sample(plain, sentences) + chance.sample(
        [text for text in request_texts if not _PEOPLE.search(text)], asked
    )


def fill(template: str, values: Values) -> Labelled:
    """One of our templates with values in it."""
    text, names = "", []
    for piece in re.split(r"(\{[a-z]+\})", template.replace("\\n", "\n").replace("\\t", "\t")):
        slot = piece[1:-1]
        if not (piece.startswith("{") and hasattr(values, slot)):
            text += piece
            continue
        value = getattr(values, slot)()
        if slot in _SLOTS and value:
            span = Span(len(text), len(text) + len(value), _SLOTS[slot])
            names.append(without_title(text + value, span) if slot == "person" else span)
        text += value
    return text, _joined(text, names)


def _joined(text: str, names: Sequence[Span]) -> list[Span]:
    """Names with a person's first and last one as one."""
    merged: list[Span] = []
    for span in names:
        last = merged[-1] if merged else None
        if last and span.type == last.type == Kind.PERSON and text[last.end : span.start] == " ":
            merged[-1] = Span(last.start, span.end, span.type)
        else:
            merged.append(span)
    return merged


def refill(text: str, names: Sequence[Span], values: Values) -> Labelled:
    """A text with other values in the place of its own."""
    makers = {
        Kind.LOCATION: lambda _: values.random.choice([values.city, values.country])(),
        Kind.ORGANIZATION: lambda _: values.org(),
        Kind.NATIONALITY: lambda _: values.nat(),
        Kind.AGE: lambda _: values.age(),
        Kind.ADDRESS: lambda old: values.address() if len(old) > 20 else old,
        Kind.PERSON: lambda old: values.person() if " " in old else values.random.choice([values.first, values.last])(),
    }
    filled, placed, at = "", [], 0
    for name in names:
        old = text[name.start : name.end]
        new = makers[Kind(name.type)](old) if name.type in makers else old
        filled += text[at : name.start]
        span = Span(len(filled), len(filled) + len(new), name.type)
        filled, at = filled + new, name.end
        placed.append(without_title(filled, span) if name.type == Kind.PERSON else span)
    return filled + text[at:], placed


def recase(rows: Sequence[Labelled], chance: random.Random) -> list[Labelled]:
    """A quarter of the texts in lower case, one in 25 in capitals."""
    recased = []
    for text, names in rows:
        draw = chance.random()
        other = text.lower() if draw < 0.25 else text.upper() if draw < 0.29 else text
        recased.append((other if len(other) == len(text) else text, names))
    return recased


def join_addresses(rows: Sequence[Labelled]) -> list[Labelled]:
    """Neighbouring parts of an address as one."""
    joined = []
    for text, names in rows:
        merged: list[Span] = []
        for span in names:
            last = merged[-1] if merged else None
            if last and span.type == last.type == Kind.ADDRESS and _GAP.fullmatch(text[last.end : span.start]):
                merged[-1] = Span(last.start, span.end, span.type)
            else:
                merged.append(span)
        joined.append((text, merged))
    return joined


def corpus(
    texts: Sequence[Text],
    bank: Path,
    contracts: Path,
    plain: Sequence[str],
    *,
    ours: int,
    nothing: int,
    messages: int,
    seed: int = 0,
) -> list[Labelled]:
    """Everything to learn from.

    Args:
        texts: Public texts, training templates only.
        bank: BANKING77's training messages, as CSV: they hold hardly any name, and those that do are left out.
        contracts: CUAD's training clauses, as JSON lines: their parties are names of companies.
        plain: Texts of other kinds without names.
        ours: How often each of our templates is filled.
        nothing: How often each of our texts without names comes.
        messages: How many messages of `bank`.
        seed: Of values and cases.
    """
    chance = random.Random(seed)  # noqa: S311 - examples, no secret
    values = Values(known_values(texts), companies(contracts), seed)
    public = [labelled(text) for text in texts]
    rows = public + recase([refill(text, names, values) for text, names in public], chance)
    templates = [
        line
        for name in ("", ".forms", ".peoples", ".people", ".things", ".firms")
        for line in (HERE / f"templates{name}.txt").read_text(encoding="utf-8").splitlines()
    ]
    for _ in range(ours):
        rows += recase([fill(template, values) for template in templates], chance)
    for language, locales in LANGUAGES.items():
        abroad = Values(known_values(texts), companies(contracts), seed, locales, language)
        carriers = (HERE / f"templates.{language}.txt").read_text(encoding="utf-8").splitlines()
        for _ in range(_ABROAD * ours // 2):
            rows += recase([fill(carrier, abroad) for carrier in carriers], chance)
    empty = [
        (line.replace("\\n", "\n"), []) for line in (HERE / "nothing.txt").read_text(encoding="utf-8").splitlines()
    ]
    for _ in range(nothing):
        rows += recase(empty, chance)
    with bank.open(encoding="utf-8", newline="") as file:
        unnamed = [(row["text"], []) for row in csv.DictReader(file) if not _NAMED.search(row["text"])]
    unnamed = [(text, names) for text, names in unnamed if not _PEOPLE.search(text)]
    rows += recase(chance.sample(unnamed, messages), chance)
    rows += recase([(text, []) for text in plain], chance)
    return join_addresses(rows)


__all__ = ["PLACE", "Labelled", "companies", "corpus", "known_values", "without_names"]
