"""Fine-tuning an encoder on labelled texts.

Softmax over scaled cosines to one vector a label (Wang et al. 2018, "CosFace", without its margin), which begins at
the mean of the label's encodings: so the first step starts from the frozen encoder's nearest centroid and not from
chance, and what the encoder knows is bent, not overwritten. Token embeddings stay as they are: half the weights, seen
once or never by most words of a small set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from torch.optim import AdamW

from ._base import BaseEncoder
from ._checkpoint import open_checkpoint
from ._checkpoints import Checkpoints
from ._loop import Pace, descend
from ._network import CosineHead, SentenceNetwork, build_network, pad

_FEW, _FEWEST_STEPS, _SMALL_BATCH = 2_000, 200, 32


@dataclass(frozen=True, kw_only=True)
class Recipe(Pace):
    """How long and how fast; `rate` is that of the transformer."""

    rate: float = 5e-5
    decay: float = 0.01
    head_rate: float = 1e-3
    """Learning rate of the labels' vectors."""
    scale: float = 20.0
    """Cosines times this are logits."""
    longest: int = 128
    """Tokens of a text that are read in training."""


class TunedNetwork(NamedTuple):
    """A network and the head it was trained with."""

    network: SentenceNetwork
    head: CosineHead


def recipe_for(rows: int) -> Recipe:
    """Few rows are seen more often, in smaller batches, so that there are steps enough."""
    if rows < _FEW:
        return Recipe(epochs=max(4, min(20, round(_FEWEST_STEPS * _SMALL_BATCH / max(rows, 1)))), batch=_SMALL_BATCH)
    return Recipe(epochs=3, batch=64)


def fine_tune(
    base: BaseEncoder,
    texts: Sequence[str],
    hot: np.ndarray,
    *,
    several: bool,
    recipe: Recipe,
    seed: int,
    progress: Callable[[int], None],
    checkpoints: Checkpoints | None = None,
) -> TunedNetwork:
    """The base encoder bent so that texts of one label lie together.

    Args:
        base: Where it starts.
        texts: N texts.
        hot: (N, L) of 0 and 1; every text has a label unless `several`.
        several: Labels hold together (a sigmoid each); otherwise any of a text's labels is right.
        recipe: How long and how fast.
        seed: Order of the rows and dropout. The same seed gives the same weights on the same machine.
        progress: Told the rows done, `recipe.epochs` times N in all.
        checkpoints: Where the state is kept, for a run that is interrupted to go on.

    Raises:
        TrainingDiverged: the loss is no number.
        SetupError: a checkpoint cannot be written.
    """
    torch.manual_seed(seed)
    order = np.random.default_rng(seed)
    ids = base.token_ids(texts, longest=recipe.longest)
    network = build_network(base)
    targets = torch.tensor(hot, dtype=torch.float32)
    head = CosineHead(targets.T @ torch.from_numpy(encode_ids(network, ids)), recipe.scale)
    network.train()
    descend(
        lambda rows: _loss(head(network(*pad([ids[row] for row in rows]))), targets[rows], several=several),
        _optimizer(network, head, recipe),
        lengths=[len(each) for each in ids],
        pace=recipe,
        order=order,
        progress=progress,
        checkpoint=open_checkpoint(
            checkpoints, _decides(base, ids, hot, several=several) | asdict(recipe) | {"seed": seed}
        ),
    )
    return TunedNetwork(network.eval(), head)


def encode_ids(network: SentenceNetwork, ids: Sequence[Sequence[int]], *, batch: int = 64) -> np.ndarray:  # (N, D)
    """The network's vectors, without dropout."""
    network.eval()
    order = np.argsort([len(each) for each in ids], kind="stable")
    vectors: list[np.ndarray] = [np.empty(0)] * len(ids)
    with torch.inference_mode():
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            for row, vector in zip(rows, network(*pad([ids[row] for row in rows])).numpy(), strict=True):
                vectors[row] = vector
    return np.stack(vectors)


def _decides(base: BaseEncoder, ids: Sequence[Sequence[int]], hot: np.ndarray, *, several: bool) -> dict[str, object]:
    """What decides the weights beside recipe and seed."""
    return {"what": "encoder", "base": base.sha256, "ids": ids, "hot": hot.tolist(), "several": several}


def _optimizer(network: SentenceNetwork, head: CosineHead, recipe: Recipe) -> AdamW:
    for parameter in network.transformer.get_input_embeddings().parameters():  # type: ignore[operator]
        parameter.requires_grad_(requires_grad=False)
    tuned = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [{"params": tuned, "lr": recipe.rate}, {"params": list(head.parameters()), "lr": recipe.head_rate}]
    return AdamW(groups, weight_decay=recipe.decay)


def _loss(logits: Tensor, targets: Tensor, *, several: bool) -> Tensor:  # (B, L), (B, L)
    if several:
        return binary_cross_entropy_with_logits(logits, targets)
    return cross_entropy(logits, targets / targets.sum(1, keepdim=True))
