"""Train the reading model on one core for a given time; the rate falls to nothing when the time is over.

    OMP_NUM_THREADS=1 python scripts/reading/train.py BASE CORPUS.jsonl.gz OUT --minutes 65

Time is the process's own and the clock's, whichever is further. Weights are written every ten minutes.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from network import SHIFT, trunk_of
from reader_network import Reader, Said, begin
from tokenizers import Encoding, Tokenizer
from torch.nn import functional
from training import Clock, Pace, Step, auroc, grouped, options, packed, rows_of, train

SEED = 20
TOKENS = 1100
"""Of a step, with what fills up."""
MOST_Q, MOST_P = 60, 320
PACE = Pace(rate=1.5e-4, fall=0.93, new=5e-4, small=6e-4, warm=100)
EARLY = 0.3
"""How much the loss of comparing alone counts."""
OFTEN = {"squad2_dev": 2, "pages": 4}
"""How often a part of a set is read while others are read once: its unanswered questions were written to mislead."""
PASSAGE, QUESTION = "passage: ", "query: "


class Part(NamedTuple):
    """A text with what is asked of it, in tokens."""

    ids: list[int]
    owner: list[int]
    """The number of each token's sentence, -1 for none."""
    asked: list[tuple[list[int], dict]]
    """Tokens of each question, and what is known of it."""

    @property
    def size(self) -> int:
        """Tokens that the upper layers see."""
        return sum(len(self.ids) + len(ids) for ids, _ in self.asked)


def owners(encoded: Encoding, cut: list[int]) -> list[int]:
    """The number of each token's sentence."""
    rows = []
    for start, end in encoded.offsets:
        offset = start - len(PASSAGE)
        rows.append(-1 if end <= start or offset < 0 else int(np.searchsorted(cut, max(offset, 0), side="right")) - 1)
    return rows


def part_of(tokenizer: Tokenizer, row: dict) -> Part:
    """A row in tokens."""
    encoded = tokenizer.encode(PASSAGE + row["p"])
    ids, owner, offsets = encoded.ids, owners(encoded, row.get("cut") or [0]), encoded.offsets
    if len(ids) > MOST_P:
        ids, owner, offsets = [*ids[: MOST_P - 1], ids[-1]], [*owner[: MOST_P - 1], -1], offsets[:MOST_P]
    questions = []
    for q in row["qs"]:
        target = dict(q)
        if q.get("a"):
            a, b = (at + len(PASSAGE) for at in q["a"])
            inside = [i for i, (s, e) in enumerate(offsets) if s < b and e > a and owner[i] >= 0]
            target["span"] = (inside[0], inside[-1]) if inside else None
        tokens = tokenizer.encode(QUESTION + q["q"]).ids
        questions.append((tokens if len(tokens) <= MOST_Q else [*tokens[: MOST_Q - 1], tokens[-1]], target))
    return Part(ids, owner, questions)


def said(model: Reader, parts: list[Part], *, trained: bool = True) -> Said:
    """What the network says of all questions of some parts, in their order."""
    p, owner = packed([x.ids for x in parts], 1), packed([x.owner for x in parts], -1)
    q = packed([ids for x in parts for ids, _ in x.asked], 1)
    of = torch.tensor([i for i, x in enumerate(parts) for _ in x.asked])
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            below, question_states = model.apart(p, p != 1, SHIFT), model.apart(q, q != 1)
        with torch.set_grad_enabled(trained):
            return model.said(q, question_states, p[of], below[of], owner[of])


def loss_of(outputs: Said, targets: list[dict]) -> torch.Tensor:
    """Whether anything answers, each sentence by itself and against the others, the answer's place; comparing alone."""
    gold, counted = torch.zeros_like(outputs.sentences), (outputs.sentences > -1e3).float()
    for i, k in enumerate(targets):
        if k["y"] and not k["s"]:
            counted[i] = 0
        for s in k["s"]:
            if s < gold.shape[1]:
                gold[i, s] = 1
    answerable = torch.tensor([float(k["y"]) for k in targets])

    def both(sentences: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
        losses = functional.binary_cross_entropy_with_logits(sentences.clamp_min(-50), gold, reduction="none")
        losses = (losses * counted).sum() / counted.sum().clamp_min(1)
        return functional.binary_cross_entropy_with_logits(whole, answerable) + 1.5 * losses

    loss = both(outputs.sentences, outputs.answerable) + EARLY * both(*outputs.early)
    chosen = (gold * counted).sum(1) > 0
    if chosen.any():
        own = outputs.sentences[chosen]
        right = own.masked_fill(gold[chosen] == 0, -1e9)
        loss = loss + 0.5 * (torch.logsumexp(own, 1) - torch.logsumexp(right, 1)).mean()
    spans = [(i, k["span"]) for i, k in enumerate(targets) if k.get("span")]
    if spans:
        at = torch.tensor([i for i, _ in spans])
        for side in (0, 1):
            loss = loss + 0.25 * functional.cross_entropy(
                outputs.spans[at, :, side], torch.tensor([s[side] for _, s in spans])
            )
    return loss


def batches(parts: list[Part], tokens: int, rng: random.Random) -> Iterator[list[Part]]:
    """For ever: parts of like length together, so many tokens at once, in any order."""
    while True:
        order = rng.sample(range(len(parts)), len(parts))
        for start in range(0, len(order), 1200):
            near = [parts[i] for i in order[start : start + 1200]]
            near.sort(key=lambda part: len(part.ids) + max(len(q) for q, _ in part.asked))
            yield from grouped(near, lambda part: part.size, tokens, rng)


def measure(model: Reader, rows: list[dict], tokenizer: Tokenizer) -> dict[str, float]:
    """Of held rows: the right sentence first, by language; answerable or not, by set; the answer's place met."""
    right, able, spans = defaultdict(list), defaultdict(list), []
    model.eval()
    for row in rows:
        part = part_of(tokenizer, row)
        outputs = said(model, [part], trained=False)
        for i, (_, k) in enumerate(part.asked):
            if k["s"] and len(row["cut"]) > 1:
                right[row["lang"]].append(int(outputs.sentences[i].argmax()) in k["s"])
            for name in (row["set"], "all"):
                able[name].append((float(outputs.answerable[i]), k["y"], float(outputs.early[1][i])))
            if k.get("span"):
                a, b = (int(outputs.spans[i, :, side].argmax()) for side in (0, 1))
                spans.append(a <= k["span"][1] and b >= k["span"][0])
    model.train()
    out = {f"right {k}": float(np.mean(v)) for k, v in sorted(right.items())}
    out["right, mean"] = float(np.mean(list(out.values())))
    for name, own in sorted(able.items()):
        score, y, early = zip(*own, strict=True)
        out[f"answerable {name}"], out[f"answerable by comparing {name}"] = auroc(score, y), auroc(early, y)
    out["span met"] = float(np.mean(spans))
    return {k: round(v, 3) for k, v in out.items()}


def main() -> None:
    """Train, write; or measure what was written."""
    parser = options(__doc__, minutes=80, rate=1.5e-4)
    parser.add_argument("--comparer", type=Path, help="the statement model, whose comparing network is taken")
    args = parser.parse_args()
    torch.manual_seed(args.seed or SEED)
    torch.set_num_threads(1)
    rng = random.Random(args.seed or SEED)  # noqa: S311 - a sample, no secret
    args.out.mkdir(parents=True, exist_ok=True)
    rows = [row for row in rows_of(args.corpus) if row["p"].strip()]
    tokenizer = Tokenizer.from_file(str(args.base / "tokenizer.json"))
    model = trunk_of(args.base, Reader)
    if args.begin or args.measure:
        begin(model, torch.load(args.measure or args.begin), args.comparer)
    if args.measure:
        model.round(on=True)
        print(json.dumps(measure(model, [r for r in rows if r["held"]], tokenizer), indent=0))
        return
    parts = [(part_of(tokenizer, r), OFTEN.get(r["set"], 1)) for r in rows if not r["held"]]
    stream = batches([part for part, often in parts for _ in range(often)], TOKENS, rng)

    def step() -> Step:
        some = next(stream)
        loss = loss_of(said(model, some), [k for p in some for _, k in p.asked])
        return Step(loss, (float(loss.detach()),), sum(p.size for p in some))

    clock, pace = Clock(args.minutes, args.clock or 10 * args.minutes), PACE._replace(rate=args.rate)
    train(model, step, small=[model.compare], pace=pace, clock=clock, out=args.out)


if __name__ == "__main__":
    main()
