"""Compound requests: both specialists found, and no other; and single requests that must not be split.

    COTERIE_DATA=FOLDER python benchmarks/compound/run.py [--half dev] [--each 20]
    COTERIE_DATA=FOLDER python benchmarks/compound/run.py --own --out benchmarks/compound/result_own.json

Nine specialists of public sets. A request joins a text for one of them with a text for another one in one of twenty
ways, also by nothing at all. Rules and their numbers were chosen on the half `dev`, whose texts are training rows; the
half `test` joins test rows. Beside it: the router that never splits, and one that splits at every mark. `--own` asks
`own.json` instead: requests of related parts and single ones with conjunctions in five languages, written for a network
of their own before any was asked; and 1,000 single texts of five public sets.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from joining import Compound, compounds

from _data import find
from _record import Bar, Record, arguments, sha256
from _routing import SEED, Half, clinc_rows, data_files, outside, profile_of, router_of, subjects, thinned
from coterie.engines.onnx import OnnxEncoder
from coterie.learning.evaluation import bootstrap_mean
from coterie.routing.profile import Profile
from coterie.routing.router import LearnedRouter
from coterie.routing.splitting import split_parts
from coterie.types import Context, Request

CLAIM = "A request for two specialists reaches both and no other, however its parts are joined."
BOUND_BAR, BOUND_REACH = 0.85, 0.95
SHORTEST = 5  # words of a text that is joined: fewer say nothing, "Page 2"
SINGLES = 100  # of each specialist
OWN = Path(__file__).parent / "own.json"
DISFLUENT = "reading/chat/disfl_qa"
OF_A_SET = 200  # single texts
MOST_SPLIT = 0.005


async def asked_of(router: LearnedRouter, texts: Sequence[str]) -> list[tuple[str, ...]]:
    """Whom each text is asked of, in order."""
    return [(await router.route(Request(text=text), Context())).specialists for text in texts]


def nearest_of(profiles: Mapping[str, Profile], encoder: OnnxEncoder, texts: Sequence[str]) -> list[str]:
    """The specialist that a text is most like, by the router's own similarity."""
    vectors, names = encoder.encode(texts), list(profiles)
    likeness = np.stack([profiles[name].similarity(vectors) for name in names], axis=1)
    return [names[best] for best in likeness.argmax(axis=1)]


def at_every_mark(profiles: Mapping[str, Profile], encoder: OnnxEncoder, texts: Sequence[str]) -> list[set[str]]:
    """Whom the pieces of each text are most like, split at each end of a sentence and joining word."""
    pieces = [split_parts(text) for text in texts]
    names = iter(nearest_of(profiles, encoder, [piece for cut in pieces for piece in cut]))
    return [{next(names) for _ in cut} for cut in pieces]


def outcome(chosen: Sequence[str], wanted: Sequence[str]) -> str:
    """What became of a compound request."""
    if set(chosen) == set(wanted):
        return "both"
    if set(chosen) > set(wanted):
        return "both and another"
    if not chosen:
        return "nobody"
    return "one" if set(chosen) < set(wanted) else "a wrong one"


def figures_of(requests: Sequence[Compound], routes: Sequence[tuple[str, ...]]) -> dict[str, Any]:
    """Figures of the compound requests."""
    kinds = [outcome(route, request.specialists) for route, request in zip(routes, requests, strict=True)]
    right = [kind == "both" for kind in kinds]
    by_joiner: dict[str, list[bool]] = defaultdict(list)
    for request, good in zip(requests, right, strict=True):
        by_joiner[request.joiner].append(good)
    ordered = [
        route == request.specialists for route, request, good in zip(routes, requests, right, strict=True) if good
    ]
    return {
        "requests": len(requests),
        "both_and_no_other": float(np.mean(right)),
        "interval": list(bootstrap_mean(right, seed=SEED)),
        "of_those_in_order": float(np.mean(ordered)),
        "outcomes": dict(Counter(kinds)),
        "by_joiner": {joiner: float(np.mean(hits)) for joiner, hits in by_joiner.items()},
    }


def measure(half: Half, count: int) -> dict[str, Any]:
    """All figures of a half."""
    encoder = OnnxEncoder.bundled()
    all_subjects = subjects(half)
    profiles = {name: profile_of(subject.known, subject.description, encoder) for name, subject in all_subjects.items()}
    router = router_of(profiles, encoder)
    texts = {
        name: [text for text, _ in subject.asked if len(text.split()) >= SHORTEST]
        for name, subject in all_subjects.items()
    }
    requests = compounds(texts, count, seed=SEED)
    joined = [request.text for request in requests]
    compound = figures_of(requests, asyncio.run(asked_of(router, joined)))
    singles = [(text, name) for name, rows in all_subjects.items() for text, _ in thinned(rows.asked, SINGLES)]
    alone = asyncio.run(asked_of(router, [text for text, _ in singles]))
    nobody = asyncio.run(asked_of(router, outside(half)))
    marks = at_every_mark(profiles, encoder, joined)
    marked_singles = at_every_mark(profiles, encoder, [text for text, _ in singles])
    asyncio.run(encoder.close())
    return {
        "half": half,
        "specialists": {name: len(profile.vectors) for name, profile in profiles.items()},
        "compound": compound,
        "single": {
            "requests": len(singles),
            "right": float(np.mean([route == (name,) for route, (_, name) in zip(alone, singles, strict=True)])),
            "asked_nobody": float(np.mean([not route for route in alone])),
            "false_split": float(np.mean([len(route) > 1 for route in alone])),
        },
        "out_of_scope": {"requests": len(nobody), "asked_somebody": float(np.mean([bool(route) for route in nobody]))},
        "baselines": {
            "never_split": 0.0,
            "split_at_every_mark": float(
                np.mean([marked == set(request.specialists) for marked, request in zip(marks, requests, strict=True)])
            ),
            "split_at_every_mark_false_split": float(np.mean([len(marked) > 1 for marked in marked_singles])),
            "two_at_random": 1 / (len(profiles) * (len(profiles) - 1) / 2),
        },
    }


def measure_own() -> dict[str, Any]:
    """Figures of the requests that were written for this benchmark, and of single texts of five public sets."""
    encoder = OnnxEncoder.bundled()
    own = json.loads(OWN.read_text(encoding="utf-8"))
    profiles = {
        name: profile_of([(text, name) for text in about["examples"]], about["description"], encoder)
        for name, about in own["specialists"].items()
    }
    router = router_of(profiles, encoder)
    figures: dict[str, Any] = {}
    for kind in ("compound", "single"):
        routes = asyncio.run(asked_of(router, [row["text"] for row in own[kind]]))
        kinds = [outcome(route, row["specialists"]) for route, row in zip(routes, own[kind], strict=True)]
        by_language: dict[str, list[bool]] = defaultdict(list)
        for row, became in zip(own[kind], kinds, strict=True):
            by_language[row["language"]].append(became == "both")
        figures[kind] = {
            "requests": len(routes),
            "right": float(np.mean([became == "both" for became in kinds])),
            "several_asked": float(np.mean([len(route) > 1 for route in routes])),
            "outcomes": dict(Counter(kinds)),
            "by_language": {language: float(np.mean(hits)) for language, hits in by_language.items()},
        }
    figures["five_sets"] = single_texts(encoder)
    asyncio.run(encoder.close())
    return figures


def single_texts(encoder: OnnxEncoder) -> dict[str, Any]:
    """How many single texts of five sets are split by the router of the nine specialists."""
    all_subjects = subjects("test")
    profiles = {name: profile_of(subject.known, subject.description, encoder) for name, subject in all_subjects.items()}
    router = router_of(profiles, encoder)
    with gzip.open(find(DISFLUENT)[0], "rt", encoding="utf-8") as file:
        disfluent = [(json.loads(line)["disfluent"], "") for line in file]
    sets = {
        "banking77": all_subjects["banking"].asked,
        "clinc150": clinc_rows()[1],
        "headlines": all_subjects["gold"].asked,
        "cuad": all_subjects["clauses"].asked,
        "disfl_qa": disfluent,
    }
    split = {
        name: [len(route) > 1 for route in asyncio.run(asked_of(router, [text for text, _ in thinned(rows, OF_A_SET)]))]
        for name, rows in sets.items()
    }
    together = [wrong for wrongs in split.values() for wrong in wrongs]
    return {
        "requests": len(together),
        "false_split": float(np.mean(together)),
        "by_set": {name: float(np.mean(wrongs)) for name, wrongs in split.items()},
    }


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__, __file__)
    parser.add_argument("--half", choices=("dev", "test"), default="test")
    parser.add_argument("--each", type=int, default=20, help="requests of each joiner")
    parser.add_argument("--own", action="store_true", help="requests of `own.json`, and single texts of five sets")
    given = parser.parse_args()
    record = Record(claim=CLAIM, seeds=(SEED,), data={name: sha256(path) for name, path in data_files().items()})
    if given.own:
        record.data |= {path.name: sha256(path) for path in (OWN, *find(DISFLUENT))}
        record.figures = measure_own()
        split = cast("dict[str, Any]", record.figures["five_sets"])["false_split"]
        record.bars = [Bar(what="single texts split by mistake", measured=split, limit=MOST_SPLIT, at_most=True)]
        record.write(given.out)
        return
    record.figures = measure(cast("Half", given.half), given.each)
    both = cast("dict[str, Any]", record.figures["compound"])["both_and_no_other"]
    record.bars = [
        Bar(what="both specialists found, none extra", measured=both, limit=BOUND_BAR),
        Bar(what="both specialists found, reach", measured=both, limit=BOUND_REACH),
    ]
    if given.half == "dev":
        record.notes.append("the half `dev`: rules and numbers were chosen on it")
    record.write(given.out)


if __name__ == "__main__":
    main()
