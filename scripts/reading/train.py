"""Train the reading model on one core for a given time; the rate falls to nothing when the time is over.

    OMP_NUM_THREADS=1 python scripts/reading/train.py BASE CORPUS.jsonl.gz OUT --minutes 65

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
from network import APART, CHECK, LAYERS, READ, REFUTED, SHIFT, SUPPORTED, UNKNOWN, Reader, Said, reader_of
from tokenizers import Encoding, Tokenizer
from torch.nn import functional

SEED = 20
TOKENS = {"read": 1100, "check": 750}
"""Of a step, by task, with what fills up."""
MOST_Q, MOST_P = 60, 320
EVERY = 10
"""Minutes between the weights that are written on the way."""
ROUNDED_FROM = 0.6
"""Share of the time after which the matrices are used as they will be stored."""
EASY, EASY_UNTIL = ("cad_snli", "fever", "fever_made", "quoted", "farstail", "fm2_made", "begin", "breaking_nli"), 0.25
"""Sets that sources and statements are taken from at first, and until which share of the time."""
VERDICTS = {"supported": SUPPORTED, "refuted": REFUTED, "unknown": UNKNOWN, "not": -1}
PASSAGE, QUESTION = "passage: ", "query: "


class Part(NamedTuple):
    """A text with what is asked of it, in tokens."""

    ids: list[int]
    owner: list[int]
    """The number of each token's sentence, -1 for none."""
    asked: list[tuple[list[int], dict]]
    """Tokens of each question or statement, and what is known of it."""

    @property
    def size(self) -> int:
        """Tokens that the upper layers see."""
        return sum(len(self.ids) + len(ids) for ids, _ in self.asked)


def owners(encoded: Encoding, cut: list[int]) -> list[int]:
    """The number of each token's sentence."""
    found = []
    for start, end in encoded.offsets:
        place = start - len(PASSAGE)
        found.append(-1 if end <= start or place < 0 else int(np.searchsorted(cut, max(place, 0), side="right")) - 1)
    return found


def part_of(tokenizer: Tokenizer, row: dict) -> Part:
    """A row in tokens."""
    encoded = tokenizer.encode(PASSAGE + row["p"])
    ids, owner, offsets = encoded.ids, owners(encoded, row.get("cut") or [0]), encoded.offsets
    if len(ids) > MOST_P:
        ids, owner, offsets = [*ids[: MOST_P - 1], ids[-1]], [*owner[: MOST_P - 1], -1], offsets[:MOST_P]
    asked = []
    for q in row.get("qs") or [{"q": row["c"], "v": VERDICTS[row["y"]]}]:
        known = dict(q)
        if q.get("a"):
            a, b = (at + len(PASSAGE) for at in q["a"])
            inside = [i for i, (s, e) in enumerate(offsets) if s < b and e > a and owner[i] >= 0]
            known["span"] = (inside[0], inside[-1]) if inside else None
        tokens = tokenizer.encode(QUESTION + q["q"]).ids
        asked.append((tokens if len(tokens) <= MOST_Q else [*tokens[: MOST_Q - 1], tokens[-1]], known))
    return Part(ids, owner, asked)


def packed(rows: list[list[int]], fill: int) -> torch.Tensor:
    """Lists of unequal length as one tensor."""
    n = max(map(len, rows))
    return torch.tensor([[*r, *[fill] * (n - len(r))] for r in rows])


def said(model: Reader, task: int, parts: list[Part], *, trained: bool = True) -> Said:
    """What the network says of all questions of some parts, in their order."""
    p, owner = packed([x.ids for x in parts], 1), packed([x.owner for x in parts], -1)
    q = packed([ids for x in parts for ids, _ in x.asked], 1)
    of = torch.tensor([i for i, x in enumerate(parts) for _ in x.asked])
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            below, asked = model.apart(p, p != 1, SHIFT), model.apart(q, q != 1)
        with torch.set_grad_enabled(trained):
            q_states, p_states = model.joint(task, q, asked, p[of], below[of])
    with torch.set_grad_enabled(trained):
        return model.heads(q_states, q != 1, p_states, (p != 1)[of], owner[of])


def read_loss(found: Said, known: list[dict]) -> torch.Tensor:
    """Whether anything answers, each sentence by itself and against the others, and the answer's place."""
    answerable = torch.tensor([float(k["y"]) for k in known])
    loss = functional.binary_cross_entropy_with_logits(found.answerable, answerable)
    gold, counted = torch.zeros_like(found.sentences), (found.sentences > -1e3).float()
    for i, k in enumerate(known):
        if k["y"] and not k["s"]:
            counted[i] = 0
        for s in k["s"]:
            if s < gold.shape[1]:
                gold[i, s] = 1
    each = functional.binary_cross_entropy_with_logits(found.sentences.clamp_min(-50), gold, reduction="none")
    loss = loss + 1.5 * (each * counted).sum() / counted.sum().clamp_min(1)
    chosen = (gold * counted).sum(1) > 0
    if chosen.any():
        own = found.sentences[chosen]
        right = own.masked_fill(gold[chosen] == 0, -1e9)
        loss = loss + 0.5 * (torch.logsumexp(own, 1) - torch.logsumexp(right, 1)).mean()
    spans = [(i, k["span"]) for i, k in enumerate(known) if k.get("span")]
    if spans:
        at = torch.tensor([i for i, _ in spans])
        for side in (0, 1):
            loss = loss + 0.25 * functional.cross_entropy(
                found.spans[at, :, side], torch.tensor([s[side] for _, s in spans])
            )
    return loss


def check_loss(found: Said, known: list[dict]) -> torch.Tensor:
    """Supported, refuted or unknown; or that it is not supported."""
    verdict = torch.tensor([k["v"] for k in known])
    logs = found.support.log_softmax(1)
    of_not = torch.logsumexp(logs[:, REFUTED:], 1)
    return -torch.where(verdict >= 0, logs.gather(1, verdict.clamp_min(0)[:, None])[:, 0], of_not).mean()


def batches(parts: list[Part], tokens: int, rng: random.Random) -> Iterator[list[Part]]:
    """For ever: parts of like length together, so many tokens at once, in any order."""
    while True:
        order = rng.sample(range(len(parts)), len(parts))
        for start in range(0, len(order), 1200):
            near = sorted(
                order[start : start + 1200], key=lambda i: len(parts[i].ids) + max(len(q) for q, _ in parts[i].asked)
            )
            groups: list[list[Part]] = [[]]
            size = 0
            for i in near:
                if groups[-1] and size + parts[i].size > tokens:
                    groups.append([])
                    size = 0
                groups[-1].append(parts[i])
                size += parts[i].size
            rng.shuffle(groups)
            yield from groups


def auroc(score: list[float], y: list[int]) -> float:
    """Area under the curve."""
    order = np.argsort(score)
    ranks = np.empty(len(order))
    ranks[order] = np.arange(1, len(order) + 1)
    good = np.array(y) == 1
    n, m = good.sum(), (~good).sum()
    return float((ranks[good].sum() - n * (n + 1) / 2) / (n * m)) if n and m else float("nan")


def measure(model: Reader, rows: list[dict], tokenizer: Tokenizer) -> dict[str, float]:
    """Of held rows: the right sentence first, by language; answerable or not; supported or not, by set."""
    right, able, spans = defaultdict(list), defaultdict(lambda: ([], [])), []
    support = defaultdict(lambda: ([], []))
    model.eval()
    for row in rows:
        part = part_of(tokenizer, row)
        found = said(model, READ if row["kind"] == "read" else CHECK, [part], trained=False)
        if row["kind"] == "check":
            margin = found.support[:, SUPPORTED] - torch.logsumexp(found.support[:, REFUTED:], 1)
            for name in (row["set"], "all"):
                support[name][0].append(float(margin[0]))
                support[name][1].append(int(row["y"] == "supported"))
            continue
        for i, (_, k) in enumerate(part.asked):
            if k["s"] and len(row["cut"]) > 1:
                right[row["lang"]].append(int(found.sentences[i].argmax()) in k["s"])
            able[row["lang"] if row["set"] in ("squad2_dev", "squad_es_v2_dev") else "rest"][0].append(
                float(found.answerable[i])
            )
            able[row["lang"] if row["set"] in ("squad2_dev", "squad_es_v2_dev") else "rest"][1].append(k["y"])
            if k.get("span"):
                a, b = (int(found.spans[i, :, side].argmax()) for side in (0, 1))
                spans.append(a <= k["span"][1] and b >= k["span"][0])
    model.train()
    out = {f"right {k}": float(np.mean(v)) for k, v in sorted(right.items())}
    out["right, mean"] = float(np.mean(list(out.values())))
    out |= {f"answerable {k}": auroc(*v) for k, v in able.items()}
    out["span met"] = float(np.mean(spans))
    for name, (margin, y) in sorted(support.items()):
        out[f"support {name}"] = auroc(margin, y)
        told = np.array(margin) > 0
        good = np.array(y) == 1
        out[f"balanced {name}"] = (
            (float(told[good].mean()) + float((~told[~good]).mean())) / 2
            if 0 < good.sum() < len(good)
            else float("nan")
        )
    return {k: round(v, 3) for k, v in out.items()}


def save(model: Reader, path: Path) -> None:
    """What was trained; the rest is the base's."""
    torch.save({name: p.detach() for name, p in model.named_parameters() if p.requires_grad}, path)


def optimiser_of(model: Reader, rate: float) -> torch.optim.Optimizer:
    """Lower layers more slowly, what is new faster; each group knows its highest rate."""
    groups = []
    for at, layer in enumerate(model.layers):
        if at >= APART:
            own = rate * 0.93 ** (LAYERS - 1 - at)
            groups.append({"params": list(layer.parameters()), "lr": own, "first": own, "weight_decay": 0.01})
    heads = (model.match, model.span, model.sentence, model.answer, model.support)
    new = [model.sides, model.joined, *(p for head in heads for p in head.parameters())]
    groups.append({"params": new, "lr": 5e-4, "first": 5e-4, "weight_decay": 0.01})
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True)


class Clock:
    """The share of the time that is spent: by the process's own or the clock's, whichever is further."""

    def __init__(self, minutes: float, clock: float) -> None:
        self.minutes, self.clock = minutes, clock
        self.began, self.own = time.time(), time.process_time()

    def spent(self) -> float:
        """From 0."""
        own, clock = time.process_time() - self.own, time.time() - self.began
        return max(own / self.minutes, clock / self.clock) / 60


def streams_of(rows: list[dict], tokenizer: Tokenizer, rng: random.Random) -> dict[str, Iterator[list[Part]]]:
    """Batches for ever, by task, and of the sets that come first."""
    kinds = {k: [part_of(tokenizer, r) for r in rows if r["kind"] == k] for k in TOKENS}
    streams = {kind: batches(own, TOKENS[kind], rng) for kind, own in kinds.items()}
    easy = [part_of(tokenizer, r) for r in rows if r["kind"] == "check" and r["set"] in EASY]
    return streams | {"easy": batches(easy, TOKENS["check"], rng)}


def train(model: Reader, streams: dict[str, Iterator[list[Part]]], clock: Clock, rate: float, out: Path) -> None:
    """Until the time is over."""
    log = (out / "log.txt").open("a", encoding="utf-8")
    for layer in model.layers[:APART]:
        for line in (layer.qkv, layer.out, layer.up, layer.down):
            line.bfloat16()
    adam = optimiser_of(model, rate)
    trained = [p for p in model.parameters() if p.requires_grad]
    step, written = 0, 0
    losses: dict[str, list[float]] = {"read": [], "check": []}
    while (spent := clock.spent()) < 1:
        if spent >= ROUNDED_FROM and step % 2 == 0:
            model.round(on=True)
        for kind, task, of in (("read", READ, read_loss), ("check", CHECK, check_loss)):
            parts = next(streams["easy" if kind == "check" and spent < EASY_UNTIL else kind])
            loss = of(said(model, task, parts), [k for p in parts for _, k in p.asked])
            loss.backward()
            losses[kind].append(float(loss.detach()))
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        for group in adam.param_groups:
            group["lr"] = group["first"] * min(1.0, (step + 1) / 80) * max(0.01, 1 - spent)
        adam.step()
        adam.zero_grad(set_to_none=True)
        step += 1
        if step % 25 == 0:
            means = {k: round(float(np.mean(v[-100:])), 3) for k, v in losses.items()}
            log.write(f"{time.strftime('%H:%M:%S')} step {step}, {100 * spent:.1f}%, {means}\n")
            log.flush()
        if spent * clock.minutes > EVERY * (written + 1):
            written += 1
            save(model, out / "part.pt")
    save(model, out / "model.pt")
    log.write(f"done after {step} steps\n")


def main() -> None:
    """Train, write; or measure what was written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", type=Path)
    parser.add_argument("corpus")
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=65)
    parser.add_argument("--clock", type=float, help="minutes by the clock, if others may pause this")
    parser.add_argument("--rate", type=float, default=2.5e-4)
    parser.add_argument("--begin", type=Path, help="weights to begin with")
    parser.add_argument("--measure", action="store_true", help="only measure what lies in OUT, on what was held")
    args = parser.parse_args()
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    rng = random.Random(SEED)  # noqa: S311 - a sample, no secret
    args.out.mkdir(parents=True, exist_ok=True)
    with gzip.open(args.corpus, "rt", encoding="utf-8") as lines:
        rows = [row for row in map(json.loads, lines) if row["p"].strip()]
    tokenizer = Tokenizer.from_file(str(args.base / "tokenizer.json"))
    model = reader_of(args.base)
    if args.begin:
        model.load_state_dict(torch.load(args.begin), strict=False)
    if args.measure:
        model.load_state_dict(torch.load(args.out / "model.pt"), strict=False)
        model.round(on=True)
        print(json.dumps(measure(model, [r for r in rows if r["held"]], tokenizer), indent=0))
        return
    streams = streams_of([r for r in rows if not r["held"]], tokenizer, rng)
    train(model, streams, Clock(args.minutes, args.clock or 10 * args.minutes), args.rate, args.out)


if __name__ == "__main__":
    main()
