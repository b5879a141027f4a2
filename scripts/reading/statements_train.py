"""Train the statement model on one core for a given time; the rate falls to nothing when the time is over.

    OMP_NUM_THREADS=1 python scripts/reading/statements_train.py BASE CORPUS.jsonl.gz OUT --minutes 62

Time is the process's own and the clock's, whichever is further. Weights are written every ten minutes.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from network import APART, LAYERS, SHIFT, SUPPORTED, reader_of
from statements_network import Checker
from tokenizers import Tokenizer
from torch.nn import functional
from train import EVERY, PASSAGE, QUESTION, VERDICTS, Clock, auroc, packed, save

SEED = 218
TOKENS = 1000
"""Of a step, with what fills up."""
POOL = 1600
"""Pairs that are sorted by length together."""
MOST = (80, 230)
"""Tokens of a statement and of a source."""
OFTEN = {
    "pawsx": 1.5, "pawsx_across": 0.6, "conjnli": 0.4, "cad_snli": 0.7, "breaking_nli": 0.5, "fever": 0.5,
    "fever_made": 0.35, "farstail": 0.5, "fm2": 0.6, "fm2_made": 0.5, "infotabs": 0.6, "made": 0.55,
    "answered": 0.4, "wikisplit": 0.6,
}  # fmt: skip
"""How often a row of a set is read while those of the others are read once."""
SYMMETRIC = ("pawsx", "pawsx_across")
ROUNDED_FROM, ROUND_EVERY = 0.6, 6
"""Share of the time after which the matrices are used as they will be stored, and after how many steps anew."""
WARM = 120
PASSES = 0.862432
"""Support from which the product takes a sentence to be supported."""
SMALL_RATE = 1e-3
"""Rate of the comparing network."""
EARLY = 0.5
"""How much the loss of comparing alone counts."""


class Pair(NamedTuple):
    """A statement and its source in tokens: as statement, as source; the other way round if either may be either."""

    claim: list[int]
    source: list[int]
    turned: tuple[list[int], list[int]] | None
    verdict: int

    @property
    def size(self) -> int:
        """Tokens of both."""
        return len(self.claim) + len(self.source)


def cut(ids: list[int], most: int) -> list[int]:
    """No more tokens than that, with the last one."""
    return ids if len(ids) <= most else [*ids[: most - 1], ids[-1]]


def pairs_of(rows: list[dict], tokenizer: Tokenizer) -> list[Pair]:
    """Rows in tokens."""
    as_claim = [e.ids for e in tokenizer.encode_batch([QUESTION + r["c"] for r in rows])]
    as_source = [e.ids for e in tokenizer.encode_batch([PASSAGE + r["p"] for r in rows])]
    turned = {
        i: (tokenizer.encode(QUESTION + r["p"]).ids, tokenizer.encode(PASSAGE + r["c"]).ids)
        for i, r in enumerate(rows)
        if r["set"] in SYMMETRIC
    }
    return [
        Pair(cut(as_claim[i], MOST[0]), cut(as_source[i], MOST[1]), turned.get(i), VERDICTS[r["y"]])
        for i, r in enumerate(rows)
    ]


def batches(rows: list[dict], tokenizer: Tokenizer, rng: random.Random) -> Iterator[list[Pair]]:
    """For ever: pairs of like length together, of each set as often as it should be, in any order."""
    by = defaultdict(list)
    for r in rows:
        by[r["set"]].append(r)
    sets = {name: pairs_of(own, tokenizer) for name, own in by.items()}
    names = sorted(sets)
    weights = [len(sets[name]) * OFTEN.get(name, 1.0) for name in names]
    left: dict[str, list[int]] = {name: [] for name in names}
    while True:
        pool = []
        for name in rng.choices(names, weights, k=POOL):
            if not left[name]:
                left[name] = rng.sample(range(len(sets[name])), len(sets[name]))
            pair = sets[name][left[name].pop()]
            if pair.turned and rng.random() < 0.5:
                pair = pair._replace(claim=pair.turned[0], source=pair.turned[1])
            pool.append(pair)
        groups: list[list[Pair]] = [[]]
        size = 0
        for pair in sorted(pool, key=lambda each: (len(each.claim) // 8, len(each.source))):
            if groups[-1] and size + pair.size > TOKENS:
                groups.append([])
                size = 0
            groups[-1].append(pair)
            size += pair.size
        rng.shuffle(groups)
        yield from groups


def scores(model: Checker, pairs: list[Pair], *, trained: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    """What the network says of some pairs [B, 3], and what comparing alone does."""
    c, p = packed([x.claim for x in pairs], 1), packed([x.source for x in pairs], 1)
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            below, said = model.apart(p, p != 1, SHIFT), model.apart(c, c != 1)
        with torch.set_grad_enabled(trained):
            whole, early = model.verdicts(c, said, p, below)
    return whole.float(), early.float()


def loss_of(found: torch.Tensor, verdicts: list[int]) -> torch.Tensor:
    """Supported, refuted or unknown; or that it is not supported."""
    verdict = torch.tensor(verdicts)
    logs = found.log_softmax(1)
    of_not = torch.logsumexp(logs[:, 1:], 1)
    return -torch.where(verdict >= 0, logs.gather(1, verdict.clamp_min(0)[:, None])[:, 0], of_not).mean()


def margins(model: Checker, pairs: list[Pair]) -> np.ndarray:
    """Log-odds that each pair's statement is supported (N,)."""
    out = np.zeros(len(pairs))
    order = sorted(range(len(pairs)), key=lambda i: pairs[i].size)
    for start in range(0, len(order), 24):
        rows = order[start : start + 24]
        found, _ = scores(model, [pairs[i] for i in rows], trained=False)
        out[rows] = (found[:, SUPPORTED] - torch.logsumexp(found[:, 1:], 1)).numpy()
    return out


def measure(model: Checker, rows: list[dict], tokenizer: Tokenizer) -> dict[str, tuple[float, float]]:
    """Of held rows by set (and language of PAWS-X): AUROC and the balanced accuracy at even odds."""
    model.eval()
    found = margins(model, pairs_of(rows, tokenizer))
    by = defaultdict(list)
    for r, margin in zip(rows, found, strict=True):
        names = [r["set"], "all"]
        names += [f"{r['set']} {r['lang']}"] if r["set"] in ("pawsx", "denied") else []
        for name in names:
            by[name].append((float(margin), int(r["y"] == "supported")))
    model.train()
    out = {}
    for name, own in sorted(by.items()):
        margin, y = np.array([m for m, _ in own]), np.array([k for _, k in own])
        if 0 < y.sum() < len(y):
            balanced = float(((margin > 0)[y == 1].mean() + (margin <= 0)[y == 0].mean()) / 2)
            out[name] = (round(auroc(list(margin), list(y)), 3), round(balanced, 3))
    return out


def line_of(model: Checker, rows: list[dict], tokenizer: Tokenizer) -> dict[str, object]:
    """What makes a probability of log-odds: fitted on held rows, each set and class alike.

    With it the shares of supported and of other ones that pass `PASSES`, by set.
    """
    model.eval()
    odds = torch.tensor(margins(model, pairs_of(rows, tokenizer)))
    y = torch.tensor([float(r["y"] == "supported") for r in rows])
    kinds = [(r["set"], r["y"] == "supported") for r in rows]
    weights = torch.tensor([1.0 / kinds.count(kind) for kind in kinds], dtype=torch.float64)
    line = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    fit = torch.optim.LBFGS([line], max_iter=100)

    def loss() -> torch.Tensor:
        fit.zero_grad()
        each = functional.binary_cross_entropy_with_logits(odds * line[0] + line[1], y.double(), reduction="none")
        found = (each * weights).sum()
        found.backward()
        return found

    fit.step(loss)
    passes = torch.sigmoid(odds * line[0] + line[1]).detach().numpy() >= PASSES
    shares = {
        name: [
            round(float(np.mean([passes[i] for i, k in enumerate(kinds) if k == (name, own)])), 3)
            for own in (True, False)
        ]
        for name in sorted({r["set"] for r in rows})
    }
    return {"weight": round(float(line[0]), 5), "bias": round(float(line[1]), 5), "pass": shares}


class Pace(NamedTuple):
    """How fast it learns."""

    rate: float
    """Of the highest layer, at most."""
    new: float
    """Of what the base has not."""
    warm: int
    """Steps until both are at their highest."""


def optimiser_of(model: Checker, pace: Pace) -> torch.optim.Optimizer:
    """Lower layers more slowly, what is new faster; each group knows its highest rate."""
    groups = []
    own: set[int] = set()
    for at, layer in enumerate(model.layers):
        if at >= APART:
            first = pace.rate * 0.95 ** (LAYERS - 1 - at)
            groups.append({"params": list(layer.parameters()), "lr": first, "first": first, "weight_decay": 0.01})
            own |= {id(p) for p in layer.parameters()}
    small = [*model.compare.parameters(), *model.early.parameters()]
    groups.append({"params": small, "lr": SMALL_RATE, "first": SMALL_RATE, "weight_decay": 0.01})
    own |= {id(p) for p in small}
    rest = [p for p in model.parameters() if p.requires_grad and id(p) not in own]
    groups.append({"params": rest, "lr": pace.new, "first": pace.new, "weight_decay": 0.01})
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True)


def train(model: Checker, stream: Iterator[list[Pair]], clock: Clock, pace: Pace, out: Path) -> None:
    """Until the time is over."""
    log = (out / "log.txt").open("a", encoding="utf-8")
    for layer in model.layers[:APART]:
        for line in (layer.qkv, layer.out, layer.up, layer.down):
            line.bfloat16()
    adam = optimiser_of(model, pace)
    trained = [p for p in model.parameters() if p.requires_grad]
    step, written, tokens, losses = 0, 0, 0, []
    while (spent := clock.spent()) < 1:
        if spent >= ROUNDED_FROM and step % ROUND_EVERY == 0:
            model.round(on=True)
        pairs = next(stream)
        found, early = scores(model, pairs)
        verdicts = [p.verdict for p in pairs]
        loss, of_early = loss_of(found, verdicts), loss_of(early, verdicts)
        (loss + EARLY * of_early).backward()
        losses.append((float(loss.detach()), float(of_early.detach())))
        tokens += sum(p.size for p in pairs)
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        for group in adam.param_groups:
            group["lr"] = group["first"] * min(1.0, (step + 1) / pace.warm) * max(0.01, 1 - spent)
        adam.step()
        adam.zero_grad(set_to_none=True)
        step += 1
        if step % 50 == 0:
            mean, mean_early = np.mean(losses[-200:], axis=0)
            at = time.strftime("%H:%M:%S")
            log.write(f"{at} step {step}, {100 * spent:.1f}%, {tokens} tokens, loss {mean:.3f}, {mean_early:.3f}\n")
            log.flush()
        if spent * clock.minutes > EVERY * (written + 1):
            written += 1
            save(model, out / "part.pt")
    save(model, out / "model.pt")
    log.write(f"done after {step} steps, {tokens} tokens\n")


def main() -> None:
    """Train, write; or measure what was written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", type=Path)
    parser.add_argument("corpus")
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=62)
    parser.add_argument("--clock", type=float, help="minutes by the clock, if others may pause this")
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--new", type=float, default=1e-3, help="rate of what the base has not")
    parser.add_argument("--warm", type=int, default=WARM, help="steps until the rate is at its highest")
    parser.add_argument("--begin", type=Path, help="weights to begin with")
    parser.add_argument("--measure", type=Path, help="only measure these weights, on what was held")
    parser.add_argument(
        "--line", action="store_true", help="with --measure: also the line of other languages than English"
    )
    parser.add_argument("--each", type=int, default=300, help="rows of each set that are measured")
    parser.add_argument("--after", action="store_true", help="measure when trained")
    args = parser.parse_args()
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    rng = random.Random(SEED)  # noqa: S311 - a sample, no secret
    args.out.mkdir(parents=True, exist_ok=True)
    with gzip.open(args.corpus, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    tokenizer = Tokenizer.from_file(str(args.base / "tokenizer.json"))
    model = reader_of(args.base, Checker)
    if args.begin or args.measure:
        model.load_state_dict(torch.load(args.measure or args.begin), strict=False)
    if not args.measure:
        clock = Clock(args.minutes, args.clock or 10 * args.minutes)
        stream = batches([r for r in rows if not r["held"]], tokenizer, rng)
        train(model, stream, clock, Pace(args.rate, args.new, args.warm), args.out)
    if args.measure or args.after:
        by = defaultdict(list)
        for r in rows:
            if r["held"]:
                by[r["set"]].append(r)
        some = [r for _, own in sorted(by.items()) for r in own[: args.each if own[0]["set"] != "pawsx" else 9999]]
        model.round(on=bool(args.measure))
        print(json.dumps(measure(model, some, tokenizer)))
        if args.line:
            print(json.dumps(line_of(model, [r for r in some if r["lang"] != "en"], tokenizer)))


if __name__ == "__main__":
    main()
