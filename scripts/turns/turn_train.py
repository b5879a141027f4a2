"""Train the follow-up model on one core for a given time; the rate falls to nothing when the time is over.

    COTERIE_DATA=... OMP_NUM_THREADS=1 python scripts/turns/turn_train.py BASE OUT --begin READER.pt --minutes 12

Time is the process's own and the clock's, whichever is further. Weights are written every ten minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "reading"))
sys.path.insert(0, str(Path(__file__).parent))  # has a `corpus` of its own

import numpy as np
import torch
from corpus import LANGUAGES, Turn, turns
from network import SHIFT, trunk_of
from tokenizers import Tokenizer
from torch.nn import functional
from training import Clock, Pace, Step, auroc, grouped, packed, train
from turn_network import Turns

from coterie.turns.follow_ups import BEFORE, words_of

SEED = 544
TOKENS, POOL = 1000, 1600
"""Tokens of a step, with what fills up; rows that are sorted by length together."""
HELD_OUT = 10
"""Every tenth conversation, or row of a set that has none."""
MOST = (60, 160)
"""Tokens of a turn and of what was before it."""
LAX = 0.12
"""How many texts come in small letters and without their last mark."""
SHARE = 1.0
"""The part in the loss of which words are lacking."""
DOUBT = 0.05
"""What is taken from the certainty of a label: longer or surer training knows other conversations less well."""
OFTEN = {"written": 2.0, "written-alone": 2.0, "written-other": 1.5, "written-rewritten": 1.5}
PACE = Pace(rate=3e-4, fall=0.95, new=1e-3, small=1e-3, warm=120)
QUESTION, PASSAGE = "query: ", "passage: "


class Row(NamedTuple):
    """A turn and what was before it in tokens, and for each token of that whether the turn lacks it (-1: not asked)."""

    turn: list[int]
    before: list[int]
    lacks: list[int]
    leans: bool

    @property
    def size(self) -> int:
        """Tokens of both."""
        return len(self.turn) + len(self.before)


def is_held(row: Turn) -> bool:
    """Whether it is kept from training, with its conversation."""
    return zlib.crc32((row.group or f"{row.text} {row.rewrite}").encode()) % HELD_OUT == 0


def tokens_of(row: Turn, before: Sequence[str], text: str, tokenizer: Tokenizer) -> Row:
    """A row in tokens; `before` newest first."""
    own = tokenizer.encode(QUESTION + text).ids
    joined = "\n".join(before)
    piece = tokenizer.encode(PASSAGE + joined)
    lacks = [-1] * len(piece.ids)
    if row.leans and row.rewrite:
        added = {word.text for word in words_of(row.rewrite)} - {word.text for word in words_of(row.text)}
        told = np.full(len(joined) + 1, -1)
        for word, start in words_of(joined):
            told[start : start + len(word)] = word in added
        for at, (start, end) in enumerate(piece.offsets):
            inside = told[max(0, start - len(PASSAGE)) : end - len(PASSAGE)] if end > len(PASSAGE) else ()
            lacks[at] = int(max(inside, default=-1))
    turn = own if len(own) <= MOST[0] else [*own[: MOST[0] - 1], own[-1]]
    ids = piece.ids
    if len(ids) > MOST[1]:
        ids, lacks = [*ids[: MOST[1] - 1], ids[-1]], lacks[: MOST[1]]
    return Row(turn, ids, lacks, row.leans)


def lax(text: str, rng: random.Random) -> str:
    """A text as it is, or as it is typed in haste."""
    return text.lower().rstrip(" ?.!") or text if rng.random() < LAX else text


def drawn(row: Turn, others: Sequence[Turn], rng: random.Random, tokenizer: Tokenizer) -> Row:
    """A row as it is trained: some of what was before, and before that sometimes something else."""
    kept = rng.choice((1, 2, 3, 3))
    before = list(row.before[-kept:])
    while len(before) < kept and len(row.before) < BEFORE and rng.random() < 0.6:
        before.insert(0, rng.choice(rng.choice(others).before))
    return tokens_of(row, [lax(t, rng) for t in reversed(before)], lax(row.text, rng), tokenizer)


def batches(rows: Sequence[Turn], tokenizer: Tokenizer, rng: random.Random) -> Iterator[list[Row]]:
    """For ever: rows of like length together, of each source by the root of its number."""
    by, of_language = defaultdict(list), defaultdict(list)
    for row in rows:
        by[row.source, row.leans].append(row)
        of_language[row.language].append(row)
    names = sorted(by)
    weights = [len(by[name]) ** 0.5 * OFTEN.get(name[0], 1.0) for name in names]
    left: dict[tuple[str, bool], list[Turn]] = {name: [] for name in names}
    while True:
        pool = []
        for name in rng.choices(names, weights, k=POOL):
            if not left[name]:
                left[name] = rng.sample(by[name], len(by[name]))
            row = left[name].pop()
            pool.append(drawn(row, of_language[row.language], rng, tokenizer))
        pool.sort(key=lambda row: (len(row.turn) // 6, len(row.before)))
        yield from grouped(pool, lambda row: row.size, TOKENS, rng)


def scores(model: Turns, rows: Sequence[Row], *, trained: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    """What the network says of some rows: [B], [B, N]."""
    t, b = packed([row.turn for row in rows], 1), packed([row.before for row in rows], 1)
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            below = model.apart(t, t != 1), model.apart(b, b != 1, SHIFT)
        with torch.set_grad_enabled(trained):
            leans, lacks = model.read(t, below[0], b, below[1])
    return leans.float(), lacks.float()


def loss_of(model: Turns, rows: Sequence[Row]) -> tuple[torch.Tensor, torch.Tensor]:
    """Of whether turns depend on what was before, and of what they lack."""
    leans, lacks = scores(model, rows)
    whether = functional.binary_cross_entropy_with_logits(leans, torch.tensor([abs(row.leans - DOUBT) for row in rows]))
    told = packed([row.lacks for row in rows], -1)
    asked = told >= 0
    which = functional.binary_cross_entropy_with_logits(lacks, told.clamp_min(0).float(), reduction="none")
    return whether, (which * asked).sum() / asked.sum().clamp_min(1)


def measure(model: Turns, rows: Sequence[Turn], tokenizer: Tokenizer) -> dict[str, float]:
    """Of held rows: AUROC of dependent turns against the others, the share of each source above even odds, words' F1.

    Each turn is read with the newest questions before it.
    """
    model.eval()
    given = [tokens_of(row, row.before[-BEFORE:][::-1], row.text, tokenizer) for row in rows]
    odds, found, chosen, right = np.zeros(len(rows)), 0, 0, 0
    order = sorted(range(len(rows)), key=lambda i: given[i].size)
    for start in range(0, len(order), 24):
        some = order[start : start + 24]
        leans, lacks = scores(model, [given[i] for i in some], trained=False)
        odds[some] = leans.numpy()
        told = packed([given[i].lacks for i in some], -1)
        own, said = told == 1, (lacks > 0) & (told >= 0)
        found, chosen, right = found + int(own.sum()), chosen + int(said.sum()), right + int((own & said).sum())
    model.train()
    y = np.array([row.leans for row in rows])
    out = {"auroc": auroc(list(odds), list(y.astype(int))), "words f1": 2 * right / (found + chosen)}
    out |= {"words precision": right / max(chosen, 1), "words recall": right / max(found, 1)}
    of = np.array([f"{row.source}{' leans' * row.leans}" for row in rows])
    out |= {name: float((odds[of == name] > 0).mean()) for name in sorted(set(of))}
    return {name: round(value, 3) for name, value in out.items()}


def main() -> None:
    """Train, write and measure; or measure what was written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=12)
    parser.add_argument("--clock", type=float, help="minutes by the clock, if others may pause this")
    parser.add_argument("--rate", type=float, default=PACE.rate)
    parser.add_argument("--begin", type=Path, help="weights to begin with, also of the reading or the statement model")
    parser.add_argument("--seed", type=int, default=SEED, help="of the order of rows")
    parser.add_argument("--measure", type=Path, help="only measure these weights, on what was held")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)
    rng = random.Random(args.seed)  # noqa: S311 - a sample, no secret
    args.out.mkdir(parents=True, exist_ok=True)
    rows = turns(Path(os.environ["COTERIE_DATA"]), LANGUAGES, 7)
    tokenizer = Tokenizer.from_file(str(args.base / "tokenizer.json"))
    model = trunk_of(args.base, Turns)
    if args.begin or args.measure:
        weights = torch.load(args.measure or args.begin)
        own = model.state_dict()
        weights = {name: a for name, a in weights.items() if name in own and own[name].shape == a.shape}
        model.load_state_dict(weights, strict=False)
    if not args.measure:
        stream = batches([row for row in rows if not is_held(row)], tokenizer, rng)

        def step() -> Step:
            some = next(stream)
            whether, which = loss_of(model, some)
            told = float(whether.detach()), float(which.detach())
            return Step(whether + SHARE * which, told, sum(row.size for row in some))

        clock = Clock(args.minutes, args.clock or 10 * args.minutes)
        train(model, step, small=[], pace=PACE._replace(rate=args.rate), clock=clock, out=args.out)
    model.round(on=True)
    print(json.dumps(measure(model, [row for row in rows if is_held(row)], tokenizer), indent=1))


if __name__ == "__main__":
    main()
