"""The loop that all fine-tuning shares: batches of similar length, warm-up and decay, clipped gradients.

It knows neither models nor texts: a function gives the loss of some rows.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from coterie.errors import SetupError, TrainingDiverged
from coterie.runtime.files import replacing
from coterie.tuning.base import Checkpoints

# --- Checkpoints: an interrupted training resumes and ends with the weights it would have had.
#
# A checkpoint is one safetensors file: parameters, optimizer moments, random state, and the step in its metadata. Its
# name is a hash of all that decides the weights (token ids, base, recipe, seed, libraries).

_FORMAT = 1
_RANDOM = "random"


def name_of(settings: Mapping[str, object]) -> str:
    """Return the name of a training, from its settings, as JSON, and its libraries."""
    libraries = {name: version(name) for name in ("torch", "transformers")}
    decided = json.dumps({"format": _FORMAT, **libraries, **settings}, sort_keys=True, default=str)
    return hashlib.sha256(decided.encode()).hexdigest()[:32]


@dataclass(kw_only=True)
class Checkpoint:
    """The saved state of one training."""

    path: Path
    every: float
    """Seconds of training between two saves."""
    clock: Callable[[], float] = time.monotonic
    _last: float = field(init=False)

    def __post_init__(self) -> None:
        self._last = self.clock()

    def restore(self, parameters: Sequence[nn.Parameter], optimizer: Optimizer) -> int:
        """Restore the stored state and return the steps done; 0, with nothing changed, if there is no usable state."""
        try:
            with safe_open(self.path, framework="pt") as file:
                step = int((file.metadata() or {})["step"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        except (OSError, SafetensorError, KeyError, ValueError):
            return 0
        if _RANDOM not in tensors or any(
            _shapes(tensors, index) != (parameter.shape,) * 3 for index, parameter in enumerate(parameters)
        ):
            return 0
        with torch.no_grad():
            for index, parameter in enumerate(parameters):
                parameter.copy_(tensors[f"value.{index}"])
                optimizer.state[parameter] = {
                    "step": torch.tensor(float(step)),
                    "exp_avg": tensors[f"first.{index}"],
                    "exp_avg_sq": tensors[f"second.{index}"],
                }
        torch.set_rng_state(tensors[_RANDOM])
        return step

    def due(self) -> bool:
        """Return whether it is time to save."""
        return self.clock() - self._last >= self.every

    def save(self, parameters: Sequence[nn.Parameter], optimizer: Optimizer, step: int) -> None:
        """Save the state after a step; the file is replaced as a whole.

        Raises:
            SetupError: it cannot be written.
        """
        tensors = {_RANDOM: torch.get_rng_state()}
        for index, parameter in enumerate(parameters):
            state = optimizer.state[parameter]
            tensors[f"value.{index}"] = parameter.detach()
            tensors[f"first.{index}"], tensors[f"second.{index}"] = state["exp_avg"], state["exp_avg_sq"]
        try:
            _replace(self.path, tensors, {"step": str(step)})
        except (OSError, SafetensorError) as error:
            raise SetupError(
                f"Cannot keep a checkpoint of the training in {str(self.path.parent)!r}: {error}.",
                hint="Check that the folder is writable and the disk has space.",
            ) from error
        self._last = self.clock()


def open_checkpoint(checkpoints: Checkpoints | None, settings: Mapping[str, object]) -> Checkpoint | None:
    """Return the checkpoint of a training; None where no checkpoints are kept."""
    if checkpoints is None:
        return None
    return Checkpoint(path=checkpoints.folder / f"{name_of(settings)}.safetensors", every=checkpoints.every)


def _shapes(tensors: Mapping[str, Tensor], number: int) -> tuple[torch.Size | None, ...]:
    names = (f"{kind}.{number}" for kind in ("value", "first", "second"))
    return tuple(tensors[name].shape if name in tensors else None for name in names)


def _replace(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write beside the file, then replace it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as draft:
        save_file(dict(tensors), draft, metadata=dict(metadata))


_WINDOW = 16  # batches whose rows are sorted by length together
_LARGEST_GRADIENT = 1.0


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Duration and speed of training, common to every recipe."""

    epochs: int
    """Number of times that every row is seen."""
    batch: int
    """Rows per step."""
    rate: float
    """Learning rate, at its highest."""
    decay: float
    """Weight decay of the optimizer."""
    warm_up: float = 0.1
    """Share of the steps in which the rate rises, before it falls to 0; with 0 it is constant."""


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
        loss_of: Returns the loss of the rows (B,) of a batch.
        optimizer: The optimizer of the parameters, which are trained in place.
        lengths: Length of each row.
        pace: Duration and speed.
        order: Draws the order of the rows.
        progress: Called with the rows done, `pace.epochs` times the rows in all.
        checkpoint: Where the state is kept, also the last one: a training of several parts is not done yet.

    Raises:
        TrainingDiverged: the loss is not a number.
        SetupError: a checkpoint cannot be written.
    """
    plan = [rows for _ in range(pace.epochs) for rows in batches(lengths, pace.batch, order)]
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
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
    """Return all rows in random batches of rows of similar length: padding is wasted work."""
    shuffled = order.permutation(len(lengths))
    sizes = np.asarray(lengths)
    batches_: list[np.ndarray] = []
    for start in range(0, len(shuffled), size * _WINDOW):
        window = shuffled[start : start + size * _WINDOW]
        window = window[np.argsort(sizes[window], kind="stable")]
        batches_ += [window[at : at + size] for at in range(0, len(window), size)]
    return [batches_[index] for index in order.permutation(len(batches_))]


@contextmanager
def all_cores() -> Iterator[None]:
    """Let torch use the cores of this process, whatever limit is set for libraries with smaller products."""
    before = torch.get_num_threads()
    torch.set_num_threads(
        int(
            os.environ.get("OMP_NUM_THREADS")
            or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
        )
    )
    try:
        yield
    finally:
        torch.set_num_threads(before)
