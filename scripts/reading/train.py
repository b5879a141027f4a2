"""Encode a sample of the corpus once, then train the head on it for so many passes, on one core.

OMP_NUM_THREADS=1 python scripts/reading/train.py BASE PARAGRAPHS.jsonl.gz OUT --passes 2
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import time
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from network import Head, trunk_of
from tokenizers import Tokenizer
from torch.nn import functional

SEED = 20
QUESTIONS = 12
"""Of a step."""
MOST_Q, MOST_S = 40, 72
"""Tokens of a question and of a sentence."""


class Store:
    """Texts and the states of their tokens, each text once."""

    def __init__(self, base: Path) -> None:
        self.tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
        self.trunk = trunk_of(base).bfloat16()
        self.known: dict[str, torch.Tensor] = {}
        self.offsets: dict[str, list[tuple[int, int]]] = {}

    @torch.no_grad()
    def add(self, texts: list[str], most: int) -> None:
        """Encode what is new, batches of like length."""
        new = [t for t in dict.fromkeys(texts) if t not in self.known]
        coded = []
        for text in new:
            e = self.tokenizer.encode(text)
            ids, offsets = e.ids, e.offsets
            if len(ids) > most:
                ids, offsets = [*ids[: most - 1], ids[-1]], [*offsets[: most - 1], (0, 0)]
            coded.append((text, ids, offsets))
        coded.sort(key=lambda c: len(c[1]))
        at = 0
        while at < len(coded):
            n = len(coded[min(at + 63, len(coded) - 1)][1])
            part = coded[at : at + max(8, 1600 // n)]
            n = max(len(ids) for _, ids, _ in part)
            ids = torch.tensor([[*i, *[1] * (n - len(i))] for _, i, _ in part])
            states = self.trunk(ids, ids != 1)
            for row, (text, i, offsets) in enumerate(part):
                self.known[text] = states[row, : len(i)].clone()
                self.offsets[text] = offsets
            at += len(part)

    def pack(self, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """States of several texts, and where there are tokens."""
        states = [self.known[t] for t in texts]
        n = max(len(s) for s in states)
        out = torch.zeros(len(states), n, states[0].shape[1])
        real = torch.zeros(len(states), n, dtype=torch.bool)
        for i, s in enumerate(states):
            out[i, : len(s)] = s.float()
            real[i, : len(s)] = True
        return out, real


def auroc(score: list[float], y: list[int]) -> float:
    """Area under the curve."""
    order = np.argsort(score)
    ranks = np.empty(len(order))
    ranks[order] = np.arange(1, len(order) + 1)
    good = np.array(y) == 1
    n, m = good.sum(), (~good).sum()
    return float((ranks[good].sum() - n * (n + 1) / 2) / (n * m)) if n and m else float("nan")


@torch.no_grad()
def measure(head: Head | None, store: Store, rows: list[dict]) -> dict[str, float]:
    """Right sentence first, by language; whether the best one tells answerable questions from others."""
    right, best = defaultdict(list), ([], [])
    if head is not None:
        head.eval()
    for r in rows:
        q, q_real = store.pack(["query: " + r["q"]])
        s, s_real = store.pack(["passage: " + t for t in r["s"]])
        if head is None:
            scores = functional.cosine_similarity(s.sum(1), q.sum(1))
        else:
            n = len(r["s"])
            scores, _ = head(q.expand(n, -1, -1), q_real.expand(n, -1), s, s_real)
        if sum(r["y"]) and len(r["y"]) > 2:
            right[r["lang"]].append(r["y"][int(scores.argmax())])
        if r["set"] in ("squad2_dev", "squad_es_v2_dev"):
            best[0].append(float(scores.max()))
            best[1].append(int(sum(r["y"]) > 0))
    if head is not None:
        head.train()
    out = {k: float(np.mean(v)) for k, v in sorted(right.items())}
    out |= {"mean": float(np.mean(list(out.values()))), "answerable": auroc(*best)}
    return {k: round(v, 3) for k, v in out.items()}


def _distance(store: Store, row: dict, vector: torch.Tensor, rng: random.Random, k: int) -> float:
    """How far a sentence is from the question by cosine, with a little chance."""
    own = store.known["passage: " + row["s"][k]].float().sum(0)
    return -float(functional.cosine_similarity(own, vector, 0)) - 0.02 * rng.random()


class Batch(NamedTuple):
    """Pairs of a question and a sentence, a few of each question."""

    questions: list[str]
    sentences: list[str]
    answers: list[float]
    owners: list[int]
    """The number of each pair's question."""
    tokens: list[list[float] | None]
    """Of a sentence's tokens which are the answer's; None where that is not known."""


def batch_of(rows: list[dict], store: Store, rng: random.Random) -> Batch:
    """One sentence that answers, and the three nearest that do not, of each question."""
    found = Batch([], [], [], [], [])
    for number, row in enumerate(rows):
        vector = store.known["query: " + row["q"]].float().sum(0)
        gold = [k for k, v in enumerate(row["y"]) if v]
        rest = [k for k, v in enumerate(row["y"]) if not v]
        rest.sort(key=partial(_distance, store, row, vector, rng))
        for k in gold[:1] + rest[:3]:
            text = "passage: " + row["s"][k]
            found.questions.append("query: " + row["q"])
            found.sentences.append(text)
            found.answers.append(float(k in gold))
            found.owners.append(number)
            found.tokens.append(_marks(row, text, store) if k in gold else [0.0] * len(store.offsets[text]))
    return found


def _marks(row: dict, text: str, store: Store) -> list[float] | None:
    """Which tokens of a sentence are the answer's."""
    span = row["span"]
    if not span or span not in text:
        return None
    start = text.index(span)
    return [float(a < start + len(span) and b > start) for a, b in store.offsets[text]]


def loss_of(head: Head, batch: Batch, store: Store) -> torch.Tensor:
    """Each sentence by itself, the right one among its question's, and the answer's tokens."""
    score, token = head(*store.pack(batch.questions), *store.pack(batch.sentences))
    gold, owner = torch.tensor(batch.answers), torch.tensor(batch.owners)
    loss = functional.binary_cross_entropy_with_logits(score, gold)
    lists = []
    for number in range(max(batch.owners) + 1):
        own = owner == number
        if gold[own].sum() > 0 and own.sum() > 1:
            lists.append(torch.logsumexp(score[own], 0) - torch.logsumexp(score[own & (gold > 0)], 0))
    if lists:
        loss = loss + 0.6 * torch.stack(lists).mean()
    marked, counted = torch.zeros_like(token), torch.zeros_like(token)
    for i, marks in enumerate(batch.tokens):
        if marks is not None:
            marked[i, : len(marks)] = torch.tensor(marks)
            counted[i, : len(marks)] = 1.0
    weight = torch.tensor(3.0)
    each = functional.binary_cross_entropy_with_logits(token, marked, reduction="none", pos_weight=weight)
    return loss + 1.5 * (each * counted).sum() / counted.sum().clamp_min(1.0)


def blocks_of(rows: list[dict], size: int, rng: random.Random) -> list[list[dict]]:
    """One pass: rows whose questions are of like length together, in any order."""
    order = rng.sample(range(len(rows)), len(rows))
    starts = range(0, len(order), 960)
    order = [i for at in starts for i in sorted(order[at : at + 960], key=lambda i: len(rows[i]["q"]))]
    blocks = [[rows[i] for i in order[at : at + size]] for at in range(0, len(order) - size + 1, size)]
    rng.shuffle(blocks)
    return blocks


def main() -> None:
    """Encode, train, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", type=Path)
    parser.add_argument("corpus")
    parser.add_argument("out", type=Path)
    parser.add_argument("--passes", type=int, default=2)
    parser.add_argument("--rate", type=float, default=8e-4)
    args = parser.parse_args()
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    rng = random.Random(SEED)  # noqa: S311 - a sample, no secret
    args.out.mkdir(parents=True, exist_ok=True)
    log = (args.out / "log.txt").open("a", encoding="utf-8")

    def say(text: str) -> None:
        log.write(f"{time.process_time():.0f} s of the core: {text}\n")
        log.flush()

    with gzip.open(args.corpus, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    store = Store(args.base)
    for at in range(0, len(rows), 400):
        part = rows[at : at + 400]
        store.add(["query: " + r["q"] for r in part], MOST_Q)
        store.add(["passage: " + t for r in part for t in r["s"]], MOST_S)
    held, rows = [r for r in rows if r["held"]], [r for r in rows if not r["held"]]
    rng.shuffle(held)
    held = held[:400]
    say(f"{len(store.known)} texts encoded; cosine alone: {measure(None, store, held)}")
    head = Head()
    adam = torch.optim.AdamW(head.parameters(), lr=args.rate, weight_decay=0.02, betas=(0.9, 0.98))
    step, losses, steps = 0, [], args.passes * (len(rows) // QUESTIONS)
    for _ in range(args.passes):
        for block in blocks_of(rows, QUESTIONS, rng):
            loss = loss_of(head, batch_of(block, store, rng), store)
            loss.backward()
            adam.param_groups[0]["lr"] = args.rate * min(1.0, (step + 1) / 40) * max(0.02, 1 - step / steps)
            torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
            adam.step()
            adam.zero_grad(set_to_none=True)
            step += 1
            losses.append(float(loss.detach()))
            if step % 50 == 0:
                say(f"step {step} of {steps}, loss {np.mean(losses[-50:]):.3f}")
    torch.save(head.state_dict(), args.out / "head.pt")
    say(str(measure(head, store, held)))


if __name__ == "__main__":
    main()
