"""What both trainings have in common: a given time of one core, rates that fall to nothing when it is over."""

from __future__ import annotations

import argparse
import gzip
import json
import random
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from network import APART, LAYERS, Trunk
from torch import nn

Row = TypeVar("Row")
EVERY, TOLD = 10, 25
"""Minutes between the weights that are written on the way; steps between lines of the log."""
ROUNDED_FROM, ROUND_EVERY = 0.6, 6
"""Share of the time after which the matrices are used as they will be stored, and after how many steps anew."""


class Pace(NamedTuple):
    """How fast it learns."""

    rate: float
    """Of the highest layer, at most."""
    fall: float
    """What a layer's rate is of that of the one above."""
    new: float
    """Of what the base has not."""
    small: float
    """Of the comparing network."""
    warm: int
    """Steps until all are at their highest."""


class Step(NamedTuple):
    """What one step is trained by."""

    loss: torch.Tensor
    told: tuple[float, ...]
    """For the log."""
    tokens: int


class Clock:
    """The share of the time that is spent: by the process's own or the clock's, whichever is further."""

    def __init__(self, minutes: float, clock: float) -> None:
        self.minutes, self.clock = minutes, clock
        self.began, self.own = time.time(), time.process_time()

    def spent(self) -> float:
        """From 0."""
        own, clock = time.process_time() - self.own, time.time() - self.began
        return max(own / self.minutes, clock / self.clock) / 60


def packed(rows: list[list[int]], fill: int) -> torch.Tensor:
    """Lists of unequal length as one tensor."""
    n = max(map(len, rows))
    return torch.tensor([[*r, *[fill] * (n - len(r))] for r in rows])


def grouped(rows: Iterable[Row], size_of: Callable[[Row], int], tokens: int, rng: random.Random) -> list[list[Row]]:
    """Rows, in their order, in groups of so many tokens at most or of one row; the groups in any order."""
    groups: list[list[Row]] = [[]]
    size = 0
    for row in rows:
        if groups[-1] and size + size_of(row) > tokens:
            groups.append([])
            size = 0
        groups[-1].append(row)
        size += size_of(row)
    rng.shuffle(groups)
    return groups


def auroc(score: Sequence[float], y: Sequence[int]) -> float:
    """Area under the curve."""
    order = np.argsort(score)
    ranks = np.empty(len(order))
    ranks[order] = np.arange(1, len(order) + 1)
    good = np.array(y) == 1
    n, m = good.sum(), (~good).sum()
    return float((ranks[good].sum() - n * (n + 1) / 2) / (n * m)) if n and m else float("nan")


def save(model: Trunk, path: Path) -> None:
    """What was trained; the rest is the base's."""
    torch.save({name: p.detach() for name, p in model.named_parameters() if p.requires_grad}, path)


def optimiser_of(model: Trunk, small: Sequence[nn.Module], pace: Pace) -> torch.optim.Optimizer:
    """Lower layers more slowly, what is new faster; each group knows its highest rate."""
    groups = [
        (list(layer.parameters()), pace.rate * pace.fall ** (LAYERS - 1 - at))
        for at, layer in enumerate(model.layers)
        if at >= APART
    ]
    groups.append(([p for module in small for p in module.parameters()], pace.small))
    own = {id(p) for params, _ in groups for p in params}
    groups.append(([p for p in model.parameters() if p.requires_grad and id(p) not in own], pace.new))
    given = [{"params": params, "lr": at, "first": at, "weight_decay": 0.01} for params, at in groups]
    return torch.optim.AdamW(given, betas=(0.9, 0.98), fused=True)


def train(
    model: Trunk, step_of: Callable[[], Step], *, small: Sequence[nn.Module], pace: Pace, clock: Clock, out: Path
) -> None:
    """Until the time is over."""
    log = (out / "log.txt").open("a", encoding="utf-8")
    for layer in model.layers[:APART]:
        for line in (layer.qkv, layer.out, layer.up, layer.down):
            line.bfloat16()
    adam = optimiser_of(model, small, pace)
    trained = [p for p in model.parameters() if p.requires_grad]
    step, written, tokens, losses = 0, 0, 0, []
    while (spent := clock.spent()) < 1:
        if spent >= ROUNDED_FROM and step % ROUND_EVERY == 0:
            model.round(on=True)
        result = step_of()
        result.loss.backward()
        losses.append(result.told)
        tokens += result.tokens
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        for group in adam.param_groups:
            group["lr"] = group["first"] * min(1.0, (step + 1) / pace.warm) * max(0.01, 1 - spent)
        adam.step()
        adam.zero_grad(set_to_none=True)
        step += 1
        if step % TOLD == 0:
            mean = ", ".join(f"{value:.3f}" for value in np.mean(losses[-150:], axis=0))
            log.write(f"{time.strftime('%H:%M:%S')} step {step}, {100 * spent:.1f}%, {tokens} tokens, loss {mean}\n")
            log.flush()
        if spent * clock.minutes > EVERY * (written + 1):
            written += 1
            save(model, out / "part.pt")
    save(model, out / "model.pt")
    log.write(f"done after {step} steps, {tokens} tokens\n")


def options(about: str | None, minutes: float, rate: float) -> argparse.ArgumentParser:
    """What both trainings are asked for."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("base", type=Path)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=minutes)
    parser.add_argument("--clock", type=float, help="minutes by the clock, if others may pause this")
    parser.add_argument("--rate", type=float, default=rate)
    parser.add_argument("--seed", type=int, help="of the order of rows, another one than that of the rows before")
    parser.add_argument("--begin", type=Path, help="weights to begin with")
    parser.add_argument("--measure", type=Path, help="only measure these weights, on what was held")
    return parser


def rows_of(file: Path) -> list[dict]:
    """The rows of a corpus."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
