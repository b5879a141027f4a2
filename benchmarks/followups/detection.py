"""Turns of conversational search that lean on earlier ones, told by the follow-up model.

    COTERIE_DATA=FOLDER python benchmarks/followups/detection.py --look TEXT

TREC CAsT 2021 and 2022: a turn leans if its manual rewrite says more than it. Most turns but the first lean, so beside
them stand questions that begin another topic: first turns of other conversations after turns of this one.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _data import find
from _record import Bar, Record, add_look, arguments, sha256
from coterie.turns.reader import TurnReader

CLAIM = "Turns that lean on earlier ones are told from those that stand alone."


def pairs(path: Path) -> list[tuple[tuple[str, ...], str, str]]:
    """(questions before, turn, what it is)."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        topics = [[turn for turn in json.loads(line)["turns"] if turn.get("rewrite")] for line in lines]
    kinds: dict[tuple[str, str], tuple[tuple[str, ...], str]] = {}
    for at, turns in enumerate(topics):
        asked = tuple(turn["q"] for turn in turns)
        for number, (before, turn) in enumerate(pairwise(turns), start=1):
            leans = _bare(turn["q"]) != _bare(turn["rewrite"])
            kinds[before["q"], turn["q"]] = asked[:number], "leans" if leans else "stands alone"
        other = topics[(at + 7) % len(topics)]
        if turns and other and other[0]["q"] != turns[0]["q"]:
            kinds[turns[-1]["q"], other[0]["q"]] = asked, "another topic"
    return [(before, turn, kind) for (_, turn), (before, kind) in kinds.items()]


def _bare(text: str) -> str:
    return re.sub(r"\W+", " ", text.lower()).strip()


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__, __file__)
    add_look(parser)
    parser.set_defaults(out=Path(__file__).with_name("detection.json"))
    given = parser.parse_args()
    path = find("reading/chat/cast_2021_2022")[0]
    record = Record(claim=CLAIM, data={path.name: sha256(path)})
    reader, rows = TurnReader(None), pairs(path)
    if not reader.languages:
        sys.exit("This checkout lacks the follow-up model's files.")
    leaning = np.array([reader.leans(turn, before) > reader.least_leaning for before, turn, _ in rows])
    kinds = np.array([kind for *_, kind in rows])
    leans = kinds == "leans"
    f1 = float(2 * (leaning & leans).sum() / (leaning.sum() + leans.sum()))
    record.figures = {
        "turns": {kind: int((kinds == kind).sum()) for kind in sorted(set(kinds))},
        "said_to_lean": {kind: float(leaning[kinds == kind].mean()) for kind in sorted(set(kinds))},
        "f1": f1,
        "f1_if_all_were_said_to_lean": float(2 * leans.sum() / (len(leans) + leans.sum())),
    }
    print(json.dumps(record.figures))
    record.bars = [Bar(what="F1 of turns that lean", measured=f1, limit=0.85)]
    record.notes.append(given.look)
    record.write(given.out)


if __name__ == "__main__":
    main()
