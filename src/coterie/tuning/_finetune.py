"""Fine-tuning an encoder on labelled texts.

Softmax over scaled cosines to one vector a label (Wang et al. 2018, "CosFace", without its margin), which begins at
the mean of the label's encodings: so the first step starts from the frozen encoder's nearest centroid and not from
chance, and what the encoder knows is bent, not overwritten. Token embeddings stay as they are: half the weights, seen
once or never by most words of a small set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from coterie.errors import TrainingDiverged

from ._base import BaseEncoder
from ._network import CosineHead, SentenceNetwork, build_network, pad

_WINDOW = 16  # batches whose rows are sorted by length together
_LARGEST_GRADIENT = 1.0
_FEW, _FEWEST_STEPS, _SMALL_BATCH = 2_000, 200, 32


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How long and how fast."""

    epochs: int
    batch: int
    rate: float = 5e-5
    """Learning rate of the transformer."""
    head_rate: float = 1e-3
    """Learning rate of the labels' vectors."""
    scale: float = 20.0
    """Cosines times this are logits."""
    decay: float = 0.01
    """Weight decay."""
    warm_up: float = 0.1
    """Share of the steps in which the rate rises, before it falls to 0; with 0 it stays what it is."""
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

    Raises:
        TrainingDiverged: the loss is no number.
    """
    torch.manual_seed(seed)
    order = np.random.default_rng(seed)
    tokenizer = base.load_tokenizer()
    ids = [each.ids[: recipe.longest] for each in tokenizer.encode_batch(list(texts))]
    network = build_network(base)
    targets = torch.tensor(hot, dtype=torch.float32)
    head = CosineHead(targets.T @ torch.from_numpy(encode_ids(network, ids)), recipe.scale)
    optimizer = _optimizer(network, head, recipe)
    steps = recipe.epochs * -(-len(ids) // recipe.batch)
    schedule = LambdaLR(optimizer, lambda step: _share_of_rate(step, steps, recipe.warm_up))
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    network.train()
    for _ in range(recipe.epochs):
        for rows in _batches(ids, recipe.batch, order):
            loss = _loss(head(network(*pad([ids[row] for row in rows]))), targets[rows], several=several)
            if not torch.isfinite(loss):
                raise TrainingDiverged(
                    "The loss of fine-tuning is no finite number: nothing was stored.",
                    hint="Look for odd texts in the data, or use the rung 'embedding'.",
                )
            loss.backward()  # type: ignore[no-untyped-call]
            clip_grad_norm_(parameters, _LARGEST_GRADIENT)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
            progress(len(rows))
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


def _optimizer(network: SentenceNetwork, head: CosineHead, recipe: Recipe) -> AdamW:
    for parameter in network.transformer.get_input_embeddings().parameters():  # type: ignore[operator]
        parameter.requires_grad_(requires_grad=False)
    tuned = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [{"params": tuned, "lr": recipe.rate}, {"params": list(head.parameters()), "lr": recipe.head_rate}]
    return AdamW(groups, weight_decay=recipe.decay)


def _share_of_rate(step: int, steps: int, warm_up: float) -> float:
    return 1.0 if not warm_up else min(1.0, (step + 1) / (warm_up * steps)) * max(0.0, 1 - step / steps)


def _batches(ids: Sequence[Sequence[int]], size: int, order: np.random.Generator) -> list[np.ndarray]:
    """All rows in random batches of texts of about one length: padding is work for nothing."""
    shuffled = order.permutation(len(ids))
    lengths = np.array([len(each) for each in ids])
    batches: list[np.ndarray] = []
    for start in range(0, len(shuffled), size * _WINDOW):
        window = shuffled[start : start + size * _WINDOW]
        window = window[np.argsort(lengths[window], kind="stable")]
        batches += [window[at : at + size] for at in range(0, len(window), size)]
    return [batches[place] for place in order.permutation(len(batches))]


def _loss(logits: Tensor, targets: Tensor, *, several: bool) -> Tensor:  # (B, L), (B, L)
    if several:
        return binary_cross_entropy_with_logits(logits, targets)
    return cross_entropy(logits, targets / targets.sum(1, keepdim=True))
