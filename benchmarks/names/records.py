"""Recall of persons in records of five countries, in six forms that hold no sentence.

    pip install Faker
    python benchmarks/names/records.py [--model FOLDER]

Objects with a name in one field or in two, comma and semicolon separated lines without headings, lines of a log, rows
of a Markdown table; names and towns by Faker. A person counts as found if every letter of the name is covered.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from faker import Faker
from threadpoolctl import threadpool_limits

from _record import Record, arguments
from coterie.privacy.detection import Detector, Kind
from coterie.privacy.tagger import NameTagger, load_tagger

CLAIM = "Persons are found in records without sentences."
ROWS, SEED = 160, 3
COUNTRIES = ("en_US", "de_DE", "fr_FR", "pl_PL", "it_IT")
WORDS = ("paid", "open", "late", "ok", "sent", "north", "blue", "x12", "A-17")
Row = tuple[str, list[str]]
"""A line, and the names in it in their order."""


def _object(number: int, first: str, last: str, city: str, amount: int) -> Row:
    row = {"id": number, "first": first, "surname": last, "town": city, "status": random.choice(WORDS)}  # noqa: S311
    return json.dumps(row, ensure_ascii=False), [first, last]


def _whole_name(number: int, first: str, last: str, city: str, amount: int) -> Row:
    row = {"id": number, "holder": f"{first} {last}", "amount": amount, "state": random.choice(WORDS)}  # noqa: S311
    return json.dumps(row, ensure_ascii=False), [f"{first} {last}"]


def _commas(number: int, first: str, last: str, city: str, amount: int) -> Row:
    return f"{number},{first} {last},{city},{amount},{random.choice(WORDS)}", [f"{first} {last}"]  # noqa: S311


def _semicolons(number: int, first: str, last: str, city: str, amount: int) -> Row:
    return f"{number};{first};{last};{city};{amount}", [first, last]


def _log(number: int, first: str, last: str, city: str, amount: int) -> Row:
    stamp = f"2026-11-{number % 28 + 1:02d}T10:{number % 60:02d}:00Z INFO worker-{number % 7}"
    return f"{stamp} order {amount} handled for {first} {last} in 12ms", [f"{first} {last}"]


def _table(number: int, first: str, last: str, city: str, amount: int) -> Row:
    return f"| {number} | {last}, {first} | {city} | {amount} |", [f"{last}, {first}"]


FORMS: Mapping[str, Callable[[int, str, str, str, int], Row]] = {
    "objects, name in two fields": _object,
    "objects, name in one field": _whole_name,
    "lines with commas": _commas,
    "lines with semicolons": _semicolons,
    "log": _log,
    "Markdown table, last name first": _table,
}


def recall_of(detector: Detector, text: str, names: list[str]) -> float:
    """The share of the names of which every letter and digit is within a person that was found."""
    covered = bytearray(len(text))
    for span in detector.find(text):
        if span.kind == Kind.PERSON:
            covered[span.start : span.end] = b"\1" * (span.end - span.start)
    at, right = 0, 0
    for name in names:
        at = text.index(name, at)
        right += all(covered[i] or not text[i].isalnum() for i in range(at, at + len(name)))
        at += len(name)
    return right / len(names)


def measure(detector: Detector) -> dict[str, dict[str, float]]:
    """By form and country."""
    figures: dict[str, dict[str, float]] = {form: {} for form in FORMS}
    for country in COUNTRIES:
        Faker.seed(SEED)
        random.seed(SEED)
        faker = Faker(country)
        for form, row in FORMS.items():
            drawn = [
                row(number, faker.first_name(), faker.last_name(), faker.city(), random.randint(10, 9999))  # noqa: S311
                for number in range(ROWS)
            ]
            text = "\n".join(line for line, _ in drawn)
            figures[form][country] = recall_of(detector, text, [name for _, names in drawn for name in names])
    return figures


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__ or "", __file__)
    parser.set_defaults(out=Path(__file__).with_name("records.json"))
    parser.add_argument("--model", type=Path, help="a folder with another classifier")
    given = parser.parse_args()
    threadpool_limits(1)
    detector = NameTagger(load_tagger(given.model)) if given.model else NameTagger.bundled()
    record = Record(claim=CLAIM, seeds=[SEED])
    figures = measure(detector)
    for form, by_country in figures.items():
        mean = sum(by_country.values()) / len(by_country)
        print(f"{form:34} {mean:.3f}  ", "  ".join(f"{name} {value:.2f}" for name, value in by_country.items()))
        record.figures[form] = {**by_country, "mean": mean}
    record.note_load()
    record.write(given.out)


if __name__ == "__main__":
    main()
