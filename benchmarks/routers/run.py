"""Whom a text is for, or that it is for nobody: the router beside semantic-router, on the same examples and vectors.

    COTERIE_DATA=FOLDER python benchmarks/routers/run.py --peer PYTHON [--half dev]

`PYTHON` is an interpreter with semantic-router (its requirements are not ours). Nine specialists of public sets are
known by 8, 20 or up to 1,000 of their examples; both routers are asked about texts they never saw and about CLINC150's
texts that belong to none of its intents.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _record import Bar, Record, arguments, sha256
from _routing import MOST_KNOWN, Half, Rows, Subject, data_files, outside, profile_of, router_of, subjects, thinned
from coterie.engines.onnx import OnnxEncoder
from coterie.learning.evaluation import bootstrap_mean
from coterie.types import Context, Request

CLAIM = (
    "From the same examples and vectors the router is right more often than semantic-router, at any of its thresholds."
)
PEER = Path(__file__).with_name("peer_semantic_router.py")
SHOTS = (8, 20, MOST_KNOWN)
SEEDS = (0, 1, 2)
BEST = "semantic-router, best threshold in hindsight"
ASKED = 200  # of each specialist
FOREIGN = 400


@dataclass(frozen=True, kw_only=True)
class Round:
    """What both know and are asked."""

    known: Mapping[str, Rows]
    asked: Sequence[tuple[str, str]]
    """(text, whom it is for); nobody is the empty name."""


def draw(by_name: Mapping[str, Subject], foreign: Sequence[str], shots: int, seed: int) -> Round:
    """So many examples of each specialist by the seed; what is asked is the same in every round."""
    random = np.random.default_rng(seed)
    examples = {}
    for name, subject in by_name.items():
        rows = thinned(subject.known, MOST_KNOWN)
        examples[name] = [rows[index] for index in random.permutation(len(rows))[:shots]]
    questions = [(text, name) for name, subject in by_name.items() for text, _ in thinned(subject.asked, ASKED)]
    return Round(known=examples, asked=[*questions, *((text, "") for text in foreign[:FOREIGN])])


async def ours(round_: Round, by_name: Mapping[str, Subject], encoder: OnnxEncoder) -> list[str]:
    """Whom our router asks: nobody is the empty name, and no name stands for two."""
    profiles = {name: profile_of(rows, by_name[name].description, encoder) for name, rows in round_.known.items()}
    router = router_of(profiles, encoder)
    chosen = [(await router.route(Request(text=text), Context())).specialists for text, _ in round_.asked]
    return ["+".join(names) for names in chosen]


def theirs(round_: Round, encoder: OnnxEncoder, python: Path) -> dict[str, Any]:
    """What `peer_semantic_router.py` prints."""
    examples = [(text, name) for name, rows in round_.known.items() for text, _ in rows]
    texts = list(dict.fromkeys([text for text, _ in examples] + [text for text, _ in round_.asked]))
    places = {text: index for index, text in enumerate(texts)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "work.npz"
        np.savez(
            path,
            texts=np.array(texts),
            vectors=encoder.encode(texts),
            known=[places[text] for text, _ in examples],
            routes=np.array([name for _, name in examples]),
            asked=[places[text] for text, _ in round_.asked],
        )
        done = subprocess.run([str(python), str(PEER), str(path)], check=True, capture_output=True, text=True)  # noqa: S603
    return dict(json.loads(done.stdout.splitlines()[-1]))


def compare(round_: Round, mine: Sequence[str], peer: Mapping[str, Any]) -> dict[str, Any]:
    """Both routers' figures; the peer's also at the threshold that is best for it when the answers are known."""
    wanted, scores = np.array([name for _, name in round_.asked]), np.array(peer["scores"])
    thresholds = [0.0, *np.unique(scores)]
    chosen = [np.where(scores >= least, peer["names"], "") for least in thresholds]
    best = int(np.argmax([np.mean(names == wanted) for names in chosen]))
    by_name = {"coterie": np.array(mine), "semantic-router": chosen[0], BEST: chosen[best]}
    results = {name: figures(names, wanted) for name, names in by_name.items()}
    ahead = (by_name["coterie"] == wanted).astype(float) - (chosen[best] == wanted)
    return results | {
        "ahead_of_its_best": {"right": float(ahead.mean()), "interval": list(bootstrap_mean(ahead, seed=0))}
    }


def figures(names: np.ndarray, wanted: np.ndarray) -> dict[str, Any]:
    """Of one router."""
    right = (names == wanted).astype(float)
    own = wanted != ""
    return {
        "right": float(right.mean()),
        "interval": list(bootstrap_mean(right, seed=0)),
        "right_of_own": float(right[own].mean()),
        "foreign_asked": float((names[~own] != "").mean()),
    }


async def measure(record: Record, given: argparse.Namespace) -> None:
    """Every round."""
    encoder = OnnxEncoder.bundled()
    half: Half = given.half
    by_name, foreign = subjects(half), outside(half)
    by_shots: dict[int, dict[str, Any]] = {}
    for shots in SHOTS:
        for seed in SEEDS if shots < MOST_KNOWN else SEEDS[:1]:
            round_ = draw(by_name, foreign, shots, seed)
            peer = theirs(round_, encoder, given.peer)
            compared = compare(round_, await ours(round_, by_name, encoder), peer)
            record.figures["peer_version"] = peer["version"]
            by_shots.setdefault(shots, {})[str(seed)] = compared
            print(shots, "examples, draw", seed, {name: round(result["right"], 3) for name, result in compared.items()})
    for shots, rounds in by_shots.items():
        record.figures[f"{shots} examples"] = rounds
        ahead = float(np.mean([compared["ahead_of_its_best"]["right"] for compared in rounds.values()]))
        record.bars.append(Bar(what=f"{shots} examples: right, ahead of its best threshold", measured=ahead, limit=0))


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__, __file__)
    parser.add_argument("--peer", type=Path, required=True, help="an interpreter with semantic-router")
    parser.add_argument("--half", choices=["dev", "test"], default="test")
    given = parser.parse_args()
    record = Record(claim=CLAIM, seeds=SEEDS, data={name: sha256(path) for name, path in data_files().items()})
    asyncio.run(measure(record, given))
    record.write(given.out)


if __name__ == "__main__":
    main()
