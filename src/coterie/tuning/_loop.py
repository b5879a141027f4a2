"""The loop that all fine-tuning shares: batches of one length, a rate that rises and falls, clipped gradients.

It knows neither models nor texts: a function gives the loss of some rows.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from coterie.errors import TrainingDiverged

from ._checkpoint import Checkpoint

_WINDOW = 16  # batches whose rows are sorted by length together
_LARGEST_GRADIENT = 1.0


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How long and how fast: what every recipe says."""

    epochs: int
    """Times that every row is seen."""
    batch: int
    """Rows a step."""
    rate: float
    """Learning rate, at its highest."""
    decay: float
    """Weight decay."""
    warm_up: float = 0.1
    """Share of the steps in which the rate rises, before it falls to 0; with 0 it stays what it is."""


def descend(
    loss_of: Callable[[np.ndarray], Tensor],
    optimizer: Optimizer,
    *,
    lengths: Sequence[int],
    pace: Pace,
    order: np.random.Generator,
    progress: Callable[[int], None],
    checkpoint: Checkpoint | None = None,
) -> None:
    """Take all steps, or those that are left after a checkpoint.

    Args:
        loss_of: The loss of the rows (B,) of a batch.
        optimizer: Of the parameters, which are trained in place.
        lengths: Of each row.
        pace: How long and how fast.
        order: Draws the order of the rows.
        progress: Told the rows done, `pace.epochs` times the rows in all.
        checkpoint: Where the state is kept, also the last one: a training of several parts is not done yet.

    Raises:
        TrainingDiverged: the loss is no number.
        SetupError: a checkpoint cannot be written.
    """
    plan = [rows for _ in range(pace.epochs) for rows in batches(lengths, pace.batch, order)]
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    rates = [group["lr"] for group in optimizer.param_groups]
    done = checkpoint.restore(parameters, optimizer) if checkpoint else 0
    progress(sum(len(rows) for rows in plan[:done]))
    for step in range(done, len(plan)):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * _share_of_rate(step, len(plan), pace.warm_up)
        with all_cores():
            _take(loss_of(plan[step]), optimizer, parameters)
        if checkpoint and (checkpoint.due() or step + 1 == len(plan)):
            checkpoint.save(parameters, optimizer, step + 1)
        progress(len(plan[step]))


def _take(loss: Tensor, optimizer: Optimizer, parameters: Sequence[Tensor]) -> None:
    """One step down."""
    if not torch.isfinite(loss):
        raise TrainingDiverged(
            "The loss of fine-tuning is no finite number: nothing was stored.",
            hint="Look for odd texts in the data and at whether the base is whole, or use the rung 'embedding'.",
        )
    loss.backward()  # type: ignore[no-untyped-call]
    clip_grad_norm_(parameters, _LARGEST_GRADIENT)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def _share_of_rate(step: int, steps: int, warm_up: float) -> float:
    return 1.0 if not warm_up else min(1.0, (step + 1) / (warm_up * steps)) * max(0.0, 1 - step / steps)


def batches(lengths: Sequence[int], size: int, order: np.random.Generator) -> list[np.ndarray]:
    """All rows in random batches of rows of about one length: padding is work for nothing."""
    shuffled = order.permutation(len(lengths))
    sizes = np.asarray(lengths)
    found: list[np.ndarray] = []
    for start in range(0, len(shuffled), size * _WINDOW):
        window = shuffled[start : start + size * _WINDOW]
        window = window[np.argsort(sizes[window], kind="stable")]
        found += [window[at : at + size] for at in range(0, len(window), size)]
    return [found[place] for place in order.permutation(len(found))]


@contextmanager
def all_cores() -> Iterator[None]:
    """Let torch use the cores of this process, whatever limit is set for libraries with smaller products."""
    before = torch.get_num_threads()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or _cores()))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _cores() -> int:
    """Those this process may use, where the system says so."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
