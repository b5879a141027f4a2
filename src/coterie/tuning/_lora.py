"""Training a LoRA adapter: the loss is that of the completions alone, and only there are logits worked out.

A small model's vocabulary is a large part of it: over all positions its logits took a third of the time (docs/log.md).
Rows are padded at their end, where nothing looks: a causal model sees what comes before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim import AdamW

from ._causal import FEED_FORWARD, TokenPair, add_adapter
from ._checkpoint import open_checkpoint
from ._checkpoints import Checkpoints
from ._loop import Pace, descend


@dataclass(frozen=True, kw_only=True)
class LoraRecipe(Pace):
    """How large the adapter is, how long and how fast it learns."""

    batch: int = 16
    rate: float = 1e-3
    decay: float = 0.0
    rank: int = 16
    alpha: int = 32
    """The adapter's change is scaled by alpha / rank."""
    modules: tuple[str, ...] = FEED_FORWARD
    """The linear maps of each layer that it is put beside."""


def lora_recipe_for(rows: int) -> LoraRecipe:
    """Few rows are seen more often and in smaller batches, so that there are steps enough."""
    if rows < _FEW:
        return LoraRecipe(
            epochs=max(3, min(12, round(_FEWEST_STEPS * _SMALL_BATCH / max(rows, 1)))), batch=_SMALL_BATCH
        )
    return LoraRecipe(epochs=2 if rows >= _MANY else 3)


_FEW, _FEWEST_STEPS, _SMALL_BATCH, _MANY = 500, 150, 8, 5_000


def tune_adapter(
    network: torch.nn.Module,
    pairs: Sequence[TokenPair],
    *,
    base_sha256: str,
    recipe: LoraRecipe,
    seed: int,
    progress: Callable[[int], None],
    checkpoints: Checkpoints | None = None,
) -> PeftModel:
    """The network with an adapter that makes the completions likely.

    Args:
        network: A causal model, which is frozen. It holds the adapter until `unload` of the result gives it back.
        pairs: N prompts and completions.
        base_sha256: Checksum of the network's weights, for the name of the checkpoint.
        recipe: How long and how fast.
        seed: First weights and order of the rows. The same seed gives the same weights on the same machine.
        progress: Told the rows done, `recipe.epochs` times N in all.
        checkpoints: Where the state is kept, for a run that is interrupted to go on.

    Raises:
        TrainingDiverged: the loss is no number.
        SetupError: a checkpoint cannot be written.
    """
    torch.manual_seed(seed)
    model = add_adapter(network, rank=recipe.rank, alpha=recipe.alpha, modules=recipe.modules)
    decided = {
        "what": "lora",
        "base": base_sha256,
        "precision": str(next(network.parameters()).dtype),
        "pairs": pairs,
        "seed": seed,
        **asdict(recipe),
    }
    parameters = [each for each in model.parameters() if each.requires_grad]
    model.train()
    descend(
        lambda rows: completion_loss(model, [pairs[row] for row in rows]),
        AdamW(parameters, lr=recipe.rate, weight_decay=recipe.decay),
        lengths=[len(pair.prompt) + len(pair.completion) for pair in pairs],
        pace=recipe,
        order=np.random.default_rng(seed),
        progress=progress,
        checkpoint=open_checkpoint(checkpoints, decided),
    )
    return model.eval()


def completion_loss(model: PeftModel, pairs: Sequence[TokenPair]) -> Tensor:
    """Mean negative log-likelihood of the completions' tokens."""
    causal: Any = model.get_base_model()
    tokens, rows, places = _pad(pairs)
    hidden = causal.model(input_ids=tokens).last_hidden_state  # (B, T, D)
    logits = causal.lm_head(hidden[rows, places - 1])  # (P, V): each from the position before
    return cross_entropy(logits.float(), tokens[rows, places])


def _pad(pairs: Sequence[TokenPair]) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens (B, T), and row and place (P,) of each token that is to be said."""
    width = max(len(pair.prompt) + len(pair.completion) for pair in pairs)
    tokens = torch.zeros(len(pairs), width, dtype=torch.long)
    rows: list[int] = []
    places: list[int] = []
    for row, pair in enumerate(pairs):
        ids = [*pair.prompt, *pair.completion]
        tokens[row, : len(ids)] = torch.tensor(ids)
        places += range(len(pair.prompt), len(ids))
        rows += [row] * len(pair.completion)
    return tokens, torch.tensor(rows), torch.tensor(places)
