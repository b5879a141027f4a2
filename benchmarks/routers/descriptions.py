"""Whom a text is for by descriptions alone: the router beside the nearest description of the same encoder.

    COTERIE_DATA=FOLDER python benchmarks/routers/descriptions.py [--half dev]

No specialist has an example. Three sets: eight domains of CLINC150, seven intents of SNIPS, and the 77 intents of
BANKING77 known by their names. `dev` asks training rows and was used to write the rule, `test` asks test rows.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _data import find
from _record import Bar, Record, arguments, sha256
from _routing import banking_rows, clinc_rows, outside, profile_of, router_of, thinned
from coterie.engines.onnx import OnnxEncoder
from coterie.learning.evaluation import bootstrap_mean
from coterie.types import Context, Request

CLAIM = (
    "By descriptions alone a text goes to the right specialist as often as to the nearest description, and to no other."
)
ASKED = 250
FOREIGN = 100
CLINC = {
    "banking": "Bank accounts: balance, transfers, bills, PIN codes, checks, interest rates and transactions.",
    "credit_cards": "Credit cards: limits, scores, rewards, lost or declined cards, APR and replacement cards.",
    "kitchen_and_dining": "Cooking, recipes, ingredients, calories and nutrition, and tables at restaurants.",
    "home": "The household: shopping lists, to-do lists, reminders, calendar, music, smart lights and orders.",
    "auto_and_commute": "Cars and commuting: fuel, tyres, oil, repairs, traffic, directions and ride sharing.",
    "travel": "Planning trips: flights, hotels, car rental, visas, luggage, plug types and travel alerts.",
    "utility": "Time, date, weather, alarms and timers, definitions, translation, arithmetic and phone calls.",
    "work": "Office matters: meetings, holidays and days off, payday, income, taxes, insurance and retirement savings.",
}
SNIPS = {
    "AddToPlaylist": "Adding songs and artists to playlists.",
    "BookRestaurant": "Booking a table at a restaurant.",
    "GetWeather": "The weather forecast for a place and a time.",
    "PlayMusic": "Playing music: songs, albums, artists and genres.",
    "RateBook": "Giving a book a rating, in stars or points.",
    "SearchCreativeWork": "Finding a creative work, such as a book, a game, a show or a painting, by its title.",
    "SearchScreeningEvent": "Cinema programmes: when and where films are shown.",
}


class Subject(NamedTuple):
    """Specialists by their descriptions, and texts with whom they are for."""

    descriptions: Mapping[str, str]
    asked: Sequence[tuple[str, str]]


def snips_file() -> Path:
    """MixSNIPS, of which single requests are read."""
    return find("reading/compound/mixsnips_clean")[0]


def subjects(half: str) -> dict[str, Subject]:
    """The three sets."""
    at = 0 if half == "dev" else 1
    domains = json.loads(find("clinc150")[0].with_name("domains.json").read_text(encoding="utf-8"))
    of = {intent: name for name in CLINC for intent in domains[name]}
    clinc = [(text, of[label]) for text, label in clinc_rows()[at] if label in of]
    with gzip.open(snips_file(), "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    splits = {"dev"} if half == "dev" else {"test"}
    snips = [(row["text"], row["intents"][0]) for row in rows if row["split"] in splits and len(row["intents"]) == 1]
    banking = banking_rows()[at]
    names = {label: re.sub(r"[\W_]+", " ", label).strip() for _, label in banking}
    return {
        "clinc150, 8 domains": Subject(CLINC, thinned(clinc, ASKED)),
        "snips, 7 intents": Subject(SNIPS, thinned(snips, ASKED)),
        "banking77, 77 intents": Subject(names, thinned(banking, ASKED)),
    }


async def measure_set(subject: Subject, foreign: Sequence[str], encoder: OnnxEncoder) -> dict[str, Any]:
    """Both ways of choosing, of one set."""
    names = list(subject.descriptions)
    profiles = {name: profile_of([], text, encoder) for name, text in subject.descriptions.items()}
    router = router_of(profiles, encoder)
    texts, wanted = [text for text, _ in subject.asked], [name for _, name in subject.asked]
    routes = [(await router.route(Request(text=text), Context())).specialists for text in texts]
    away = [(await router.route(Request(text=text), Context())).specialists for text in foreign]
    vectors, described = encoder.encode(texts), encoder.encode([subject.descriptions[name] for name in names])
    nearest = [names[best] for best in (vectors @ described.T).argmax(axis=1)]
    right = np.array([route == (name,) for route, name in zip(routes, wanted, strict=True)], dtype=float)
    theirs = np.array([route == name for route, name in zip(nearest, wanted, strict=True)], dtype=float)
    return {
        "texts": len(texts),
        "right": float(right.mean()),
        "interval": list(bootstrap_mean(right, seed=0)),
        "nearest_description": float(theirs.mean()),
        "ahead": float((right - theirs).mean()),
        "ahead_interval": list(bootstrap_mean(right - theirs, seed=0)),
        "nobody": float(np.mean([not route for route in routes])),
        "several": float(np.mean([len(route) > 1 for route in routes])),
        "foreign_asked": float(np.mean([bool(route) for route in away])),
    }


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__, __file__)
    parser.add_argument("--half", choices=["dev", "test"], default="test")
    given = parser.parse_args()
    files = [*find("banking77"), *find("clinc150"), snips_file()]
    record = Record(claim=CLAIM, seeds=(0,), data={f"{path.parent.name}/{path.name}": sha256(path) for path in files})
    encoder = OnnxEncoder.bundled()
    for name, subject in subjects(given.half).items():
        figures = asyncio.run(measure_set(subject, outside(given.half)[:FOREIGN], encoder))
        record.figures[name] = figures
        print(name, json.dumps(figures))
        record.bars += [
            Bar(what=f"{name}: right, ahead of the nearest description", measured=figures["ahead"], limit=0),
            Bar(what=f"{name}: sent to several", measured=figures["several"], limit=0.005, at_most=True),
        ]
    record.write(given.out)


if __name__ == "__main__":
    main()
