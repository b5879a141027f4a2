"""A router over specialists of public sets, for the benchmarks of routing: their examples, and texts they never saw.

Two halves: `dev` holds out training rows and is what rules are written on; `test` knows all training rows and asks
test rows, once. No head is trained: a router needs examples only.
"""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from _data import LENDER, find, headline_rows
from coterie.engines.onnx import OnnxEncoder
from coterie.routing.profile import Profile, hint_texts, make_profile
from coterie.routing.router import LearnedRouter
from coterie.routing.splitting import OrderSense
from coterie.turns.reader import TurnReader
from coterie.types import SpecialistCard

Half = Literal["dev", "test"]
Rows = Sequence[tuple[str, str]]
"""(text, label)."""

SEED = 11
HELD_OUT = 0.2  # of the training rows, in the half `dev`
FALSE_REJECTION = 0.04  # the product's default

DESCRIPTIONS = {
    "banking": "Questions of a bank's customers about cards, transfers, top-ups, fees, identity checks and accounts.",
    "travel": "Planning trips: flights, hotels, car rental, visas, luggage, plug types and travel alerts.",
    "kitchen": "Cooking, recipes, ingredients, calories and nutrition, and tables at restaurants.",
    "utility": "Time, date, weather, alarms and timers, definitions, translation, arithmetic and phone calls.",
    "work": "Office matters: meetings, holidays and days off, payday, income, taxes, insurance and retirement savings.",
    "car": "Cars and commuting: fuel, tyres, oil, repairs, traffic, directions and ride sharing.",
    "home": "The household: shopping lists, to-do lists, reminders, calendar, music, smart lights and orders.",
    "gold": "News headlines about the gold price: whether it goes up, down, stays or is not what the news is about.",
    "clauses": "Clauses of contracts: their type, such as governing law, term, termination, liability and licences.",
}
_CLINC = {
    "travel": "travel",
    "kitchen": "kitchen_and_dining",
    "utility": "utility",
    "work": "work",
    "car": "auto_and_commute",
    "home": "home",
}
MOST_KNOWN = 1000  # rows of one
_LONGEST_CLAUSE = 300  # characters: what somebody may paste into a question


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One specialist's rows."""

    description: str
    known: Rows
    """What its profile is made of."""
    asked: Rows
    """What it never saw."""


def subjects(half: Half) -> dict[str, Subject]:
    """The nine specialists of a half."""
    by_name = {}
    for name, (train, test) in _rows().items():
        known_rows, asked_rows = (train, test) if half == "test" else _held_out(train)
        by_name[name] = Subject(description=DESCRIPTIONS[name], known=known_rows, asked=asked_rows)
    return by_name


def outside(half: Half) -> list[str]:
    """CLINC150's texts that belong to none of its intents."""
    rows = _clinc()["oos_test" if half == "test" else "oos_val"]
    return [text for text, _ in rows]


def profile_of(rows: Rows, description: str, encoder: OnnxEncoder, *, seed: int = SEED) -> Profile:
    """The profile that training such a specialist would store."""
    rows = thinned(rows, MOST_KNOWN)
    texts, labels = [text for text, _ in rows], [label for _, label in rows]
    names = list(dict.fromkeys(labels))
    hints = hint_texts(description, names, examples=len(rows))
    vectors = encoder.encode([*texts, *hints])
    return make_profile(
        vectors[: len(texts)],
        labels,
        [None] * len(texts),
        hints=vectors[len(texts) :],
        hint_texts=hints,
        seed=seed,
    )


def router_of(profiles: Mapping[str, Profile], encoder: OnnxEncoder) -> LearnedRouter:
    """The product's router over these profiles."""
    return LearnedRouter(
        cards={name: card(name) for name in profiles},
        profiles=profiles,
        encoder=encoder,
        false_rejection=FALSE_REJECTION,
        words=encoder.words(),
        order_sense=OrderSense.bundled(encoder.sha256),
        turns=TurnReader.of(encoder.about),
    )


def card(name: str) -> SpecialistCard:
    """What the router needs of a specialist beside its profile."""
    return SpecialistCard(name=name, task="classify", description="", rung="embedding", version="0")


def data_files() -> dict[str, Path]:
    """Every file that is read, by its name in the result file."""
    paths = [*find("banking77"), *find("clinc150"), _domains(), *find("frugalgpt")[:2], *_clause_files()]
    return {f"{path.parent.name}/{path.name}": path for path in paths}


def banking_rows() -> tuple[Rows, Rows]:
    """(training rows, test rows) of BANKING77."""
    train, test = find("banking77")
    return _banking(train), _banking(test)


def clinc_rows() -> tuple[Rows, Rows]:
    """The same of CLINC150, all domains."""
    clinc = _clinc()
    return clinc["train"], clinc["test"]


def clause_rows() -> tuple[Rows, Rows]:
    """The same of CUAD's clauses that somebody may paste into a question."""
    train, test = _clause_files()
    return _clauses(train), _clauses(test)


def _rows() -> dict[str, tuple[Rows, Rows]]:
    """(training rows, test rows) of each."""
    domains = json.loads(_domains().read_text(encoding="utf-8"))
    train, test = clinc_rows()
    rows_of = {"banking": banking_rows()}
    for name, domain in _CLINC.items():
        intents = set(domains[domain])
        rows_of[name] = ([row for row in train if row[1] in intents], [row for row in test if row[1] in intents])
    headlines_train, headlines_test, *_ = find("frugalgpt")
    rows_of["gold"] = (headline_rows(headlines_train), headline_rows(headlines_test))
    rows_of["clauses"] = clause_rows()
    return rows_of


def _clinc() -> dict[str, Rows]:
    content = json.loads(find("clinc150")[0].read_text(encoding="utf-8"))
    return {part: [(text, label) for text, label in rows] for part, rows in content.items()}


def _domains() -> Path:
    return find("clinc150")[0].with_name("domains.json")


def _banking(path: Path) -> Rows:
    with path.open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["category"]) for row in csv.DictReader(file)]


def _clause_files() -> list[Path]:
    return [LENDER / "data" / "clauses.train.jsonl", LENDER / "data" / "clauses.test.jsonl"]


def _clauses(path: Path) -> Rows:
    """Clauses that somebody may paste into a question."""
    with path.open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [(row["text"], row["label"]) for row in rows if len(row["text"]) <= _LONGEST_CLAUSE]


def _held_out(rows: Rows) -> tuple[Rows, Rows]:
    """Training rows as those that are known and those that are asked."""
    order = list(range(len(rows)))
    random.Random(SEED).shuffle(order)  # noqa: S311 - reproducible, not secret
    cut = int(len(rows) * HELD_OUT)
    held_out = set(order[:cut])
    return [row for i, row in enumerate(rows) if i not in held_out], [rows[i] for i in sorted(held_out)]


def thinned(rows: Rows, most: int) -> Rows:
    """At most so many rows, drawn with the seed."""
    if len(rows) <= most:
        return rows
    return random.Random(SEED).sample(list(rows), most)  # noqa: S311 - reproducible, not secret
