"""A training that was interrupted goes on where it was, and ends with the weights it would have had.

A checkpoint is one safetensors file: parameters, the optimizer's moments and the state of the random numbers as
tensors, the step in its metadata. It is named by a hash of all that decides the weights (rows as tokens, base, recipe,
seed, libraries), so one of other data is never taken for this one. Knows nothing of models.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from coterie._durable import replacing
from coterie.errors import SetupError

from ._checkpoints import Checkpoints

_FORMAT = 1
_RANDOM = "random"


def name_of(settings: Mapping[str, object]) -> str:
    """The name of a training that is decided by these settings, as JSON would write them, and by the libraries."""
    libraries = {name: version(name) for name in ("torch", "transformers")}
    decided = json.dumps({"format": _FORMAT, **libraries, **settings}, sort_keys=True, default=str)
    return hashlib.sha256(decided.encode()).hexdigest()[:32]


@dataclass(kw_only=True)
class Checkpoint:
    """Where one training's state is kept."""

    path: Path
    every: float
    """Seconds of training between two saves."""
    clock: Callable[[], float] = time.monotonic
    _last: float = field(init=False)

    def __post_init__(self) -> None:
        self._last = self.clock()

    def restore(self, parameters: Sequence[nn.Parameter], optimizer: Optimizer) -> int:
        """Put the stored state back and return the steps done; 0, with nothing changed, if there is none of use."""
        try:
            with safe_open(self.path, framework="pt") as file:
                step = int((file.metadata() or {})["step"])
                found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        except (OSError, SafetensorError, KeyError, ValueError):
            return 0
        if _RANDOM not in found or any(
            _shapes(found, place) != (parameter.shape,) * 3 for place, parameter in enumerate(parameters)
        ):
            return 0
        with torch.no_grad():
            for place, parameter in enumerate(parameters):
                parameter.copy_(found[f"value.{place}"])
                optimizer.state[parameter] = {
                    "step": torch.tensor(float(step)),
                    "exp_avg": found[f"first.{place}"],
                    "exp_avg_sq": found[f"second.{place}"],
                }
        torch.set_rng_state(found[_RANDOM])
        return step

    def due(self) -> bool:
        """Whether it is time to save."""
        return self.clock() - self._last >= self.every

    def save(self, parameters: Sequence[nn.Parameter], optimizer: Optimizer, step: int) -> None:
        """Keep the state after a step: on disk whole, or as it was.

        Raises:
            SetupError: it cannot be written.
        """
        tensors = {_RANDOM: torch.get_rng_state()}
        for place, parameter in enumerate(parameters):
            state = optimizer.state[parameter]
            tensors[f"value.{place}"] = parameter.detach()
            tensors[f"first.{place}"], tensors[f"second.{place}"] = state["exp_avg"], state["exp_avg_sq"]
        try:
            _replace(self.path, tensors, {"step": str(step)})
        except (OSError, SafetensorError) as error:
            raise SetupError(
                f"Cannot keep a checkpoint of the training in {str(self.path.parent)!r}: {error}.",
                hint="Check that the folder is writable and the disk has space.",
            ) from error
        self._last = self.clock()


def open_checkpoint(checkpoints: Checkpoints | None, settings: Mapping[str, object]) -> Checkpoint | None:
    """The checkpoint of a training; None where none are kept."""
    if checkpoints is None:
        return None
    return Checkpoint(path=checkpoints.folder / f"{name_of(settings)}.safetensors", every=checkpoints.every)


def _shapes(found: Mapping[str, Tensor], place: int) -> tuple[torch.Size | None, ...]:
    names = (f"{kind}.{place}" for kind in ("value", "first", "second"))
    return tuple(found[name].shape if name in found else None for name in names)


def _replace(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write beside the file, then take its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as draft:
        save_file(dict(tensors), draft, metadata=dict(metadata))
