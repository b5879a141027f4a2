"""Train the statement model on one core for a given time; the rate falls to nothing when the time is over.

    OMP_NUM_THREADS=1 python scripts/reading/statements_train.py BASE CORPUS.jsonl.gz OUT --minutes 62

Time is the process's own and the clock's, whichever is further. Weights are written every ten minutes.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from network import REFUTED, SHIFT, SUPPORTED, UNKNOWN, trunk_of
from statements_network import Checker
from tokenizers import Tokenizer
from torch.nn import functional
from train import PASSAGE, QUESTION
from training import Clock, Pace, Step, auroc, grouped, options, packed, rows_of, train

SEED = 218
TOKENS = 1000
"""Of a step, with what fills up."""
VERDICTS = {"supported": SUPPORTED, "refuted": REFUTED, "unknown": UNKNOWN, "not": -1}
POOL = 1600
"""Pairs that are sorted by length together."""
MOST = (80, 300)
"""Tokens of a statement and of a source: no source of the corpus is cut, or a supported statement would lose its."""
OFTEN = {
    "pawsx": 1.5, "pawsx_across": 0.6, "conjnli": 0.4, "cad_snli": 0.7, "breaking_nli": 0.5, "fever": 0.5,
    "fever_made": 0.35, "farstail": 0.5, "fm2": 0.6, "fm2_made": 0.5, "infotabs": 0.6, "made": 0.55,
    "answered": 0.4, "wikisplit": 0.6, "mlqa_across": 0.6, "xsid_across": 0.6,
    "voices": 0.5, "denied": 1.5, "pages": 1.5,
}  # fmt: skip
"""How often a row of a set is read while those of the others are read once."""
SYMMETRIC = ("pawsx", "pawsx_across")
PACE = Pace(rate=3e-4, fall=0.95, new=1e-3, small=1e-3, warm=120)
PASSES = 0.862432
"""Support from which the product takes a sentence to be supported."""
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
        pool.sort(key=lambda pair: (len(pair.claim) // 8, len(pair.source)))
        yield from grouped(pool, lambda pair: pair.size, TOKENS, rng)


def scores(model: Checker, pairs: list[Pair], *, trained: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    """What the network says of some pairs [B, 3], and what comparing alone does."""
    c, p = packed([x.claim for x in pairs], 1), packed([x.source for x in pairs], 1)
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            below, claim_states = model.apart(p, p != 1, SHIFT), model.apart(c, c != 1)
        with torch.set_grad_enabled(trained):
            whole, early = model.verdicts(c, claim_states, p, below)
    return whole.float(), early.float()


def loss_of(logits: torch.Tensor, verdicts: list[int]) -> torch.Tensor:
    """Supported, refuted or unknown; or that it is not supported."""
    verdict = torch.tensor(verdicts)
    logs = logits.log_softmax(1)
    of_not = torch.logsumexp(logs[:, 1:], 1)
    return -torch.where(verdict >= 0, logs.gather(1, verdict.clamp_min(0)[:, None])[:, 0], of_not).mean()


def margins(model: Checker, pairs: list[Pair]) -> np.ndarray:
    """Log-odds that each pair's statement is supported (N,)."""
    out = np.zeros(len(pairs))
    order = sorted(range(len(pairs)), key=lambda i: pairs[i].size)
    for start in range(0, len(order), 24):
        rows = order[start : start + 24]
        logits, _ = scores(model, [pairs[i] for i in rows], trained=False)
        out[rows] = (logits[:, SUPPORTED] - torch.logsumexp(logits[:, 1:], 1)).numpy()
    return out


def measure(model: Checker, rows: list[dict], tokenizer: Tokenizer) -> dict[str, tuple[float, float]]:
    """Of held rows by set (and language of PAWS-X): AUROC and the balanced accuracy at even odds."""
    model.eval()
    measured = margins(model, pairs_of(rows, tokenizer))
    by = defaultdict(list)
    for r, margin in zip(rows, measured, strict=True):
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
        losses = functional.binary_cross_entropy_with_logits(odds * line[0] + line[1], y.double(), reduction="none")
        total = (losses * weights).sum()
        total.backward()
        return total

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


def main() -> None:
    """Train, write; or measure what was written."""
    parser = options(__doc__, minutes=62, rate=PACE.rate)
    parser.add_argument("--new", type=float, default=PACE.new, help="rate of what the base has not")
    parser.add_argument("--warm", type=int, default=PACE.warm, help="steps until the rate is at its highest")
    parser.add_argument(
        "--line", action="store_true", help="with --measure: also the line of other languages than English"
    )
    parser.add_argument("--each", type=int, default=300, help="rows of each set that are measured")
    parser.add_argument("--after", action="store_true", help="measure when trained")
    args = parser.parse_args()
    torch.manual_seed(args.seed or SEED)
    torch.set_num_threads(1)
    rng = random.Random(args.seed or SEED)  # noqa: S311 - a sample, no secret
    args.out.mkdir(parents=True, exist_ok=True)
    rows = rows_of(args.corpus)
    tokenizer = Tokenizer.from_file(str(args.base / "tokenizer.json"))
    model = trunk_of(args.base, Checker)
    if args.begin or args.measure:
        model.load_state_dict(torch.load(args.measure or args.begin), strict=False)
    if not args.measure:
        stream = batches([r for r in rows if not r["held"]], tokenizer, rng)

        def step() -> Step:
            pairs = next(stream)
            verdicts = [p.verdict for p in pairs]
            loss, early = (loss_of(logits, verdicts) for logits in scores(model, pairs))
            shown_losses = float(loss.detach()), float(early.detach())
            return Step(loss + EARLY * early, shown_losses, sum(p.size for p in pairs))

        clock = Clock(args.minutes, args.clock or 10 * args.minutes)
        pace = PACE._replace(rate=args.rate, new=args.new, warm=args.warm)
        train(model, step, small=[model.compare, model.early], pace=pace, clock=clock, out=args.out)
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
