"""Fine-tuning an encoder to tag tokens: for each field, whether a word is outside its values, begins one or goes on.

As in Devlin et al. 2019 (BERT, section 5.3), a linear map on the last hidden states; a word is tagged by its first
token, and the loss is cross-entropy over the three tags, summed over fields, for a word may belong to several of them.
The lower layers and what is below them stay as they are: what they know of words holds for any text. The uppermost
are left out: those of a sentence encoder have learnt to sum up texts, and without them little is lost (Sajjad et al.
2020, "On the Effect of Dropping Layers of Pre-trained Transformer Models"). Both save half of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import AdamW

from coterie.tuning.base import BaseEncoder, Checkpoints
from coterie.tuning.finetune import load_transformer, pad, run_batches, token_states, width_of
from coterie.tuning.loop import Pace, descend, open_checkpoint

TAGS = 3
"""Outside, begins, goes on."""
_FEW, _FEWEST_STEPS, _SMALL_BATCH, _MOST_EPOCHS = 2_000, 300, 8, 20


class TaggedTokens(NamedTuple):
    """One window of a text as the network reads it, with what is to be said of it."""

    ids: Sequence[int]  # (T,) with the marks at both ends
    places: Sequence[int]  # (W,) of the first token of each word
    tags: np.ndarray  # (W, F) 0, 1 or 2


@dataclass(frozen=True, kw_only=True)
class TagRecipe(Pace):
    """How long and how fast; `rate` is that of the transformer."""

    rate: float = 5e-4
    head_rate: float = 4e-3
    """Learning rate of the linear map."""
    decay: float = 0.01
    dropout: float = 0.0
    """Share of activations left out in a step, in place of what the base was made with: steps are few here."""
    kept: float = 2 / 3
    """Share of the layers, the lowest, that are used at all."""
    frozen: float = 1 / 3
    """Share of the layers, the lowest, that stay as they are."""


def tag_recipe_for(windows: int) -> TagRecipe:
    """Few windows are seen more often, in smaller batches, so that there are steps enough."""
    if windows < _FEW:
        epochs = round(_FEWEST_STEPS * _SMALL_BATCH / max(windows, 1))
        return TagRecipe(epochs=max(4, min(_MOST_EPOCHS, epochs)), batch=_SMALL_BATCH)
    return TagRecipe(epochs=4, batch=8)


class TokenNetwork(nn.Module):
    """A transformer and a linear map to three logits a field, as one graph."""

    def __init__(self, transformer: nn.Module, width: int, fields: int) -> None:
        super().__init__()
        self.transformer = transformer
        self.head = nn.Linear(width, fields * TAGS)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """(B, T) tokens to (B, T, F * 3) logits, the three of a field beside each other."""
        logits: Tensor = self.head(token_states(self.transformer, input_ids, attention_mask, token_type_ids))
        return logits


def fine_tune_tags(
    base: BaseEncoder,
    windows: Sequence[TaggedTokens],
    *,
    fields: int,
    recipe: TagRecipe,
    seed: int,
    progress: Callable[[int], None],
    checkpoints: Checkpoints | None = None,
) -> TokenNetwork:
    """The base encoder bent so that it tags the values of fields.

    Args:
        base: Where it starts.
        windows: N pieces of texts with their tags.
        fields: How many there are.
        recipe: How long and how fast.
        seed: First weights of the map, order of the windows and dropout. The same seed gives the same weights on the
            same machine.
        progress: Told the windows done, `recipe.epochs` times N in all.
        checkpoints: Where the state is kept, for a run that is interrupted to go on.

    Raises:
        TrainingDiverged: the loss is no number.
        SetupError: a checkpoint cannot be written.
    """
    torch.manual_seed(seed)
    network = build_token_network(base, fields, kept=recipe.kept)
    start_at_frequencies(network, windows)
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = recipe.dropout
    optimizer = _optimizer(network, recipe)
    network.train()
    descend(
        lambda rows: tag_loss(network, [windows[row] for row in rows]),
        optimizer,
        lengths=[len(window.ids) for window in windows],
        pace=recipe,
        order=np.random.default_rng(seed),
        progress=progress,
        checkpoint=open_checkpoint(checkpoints, _decides(base, windows) | asdict(recipe) | {"seed": seed}),
    )
    return network.eval()


def build_token_network(base: BaseEncoder, fields: int, *, kept: float) -> TokenNetwork:
    """The base's lower layers with their published weights, and a map of random ones. Raises `ArtefactRefused`."""
    transformer = load_transformer(base)
    layers = layers_of(transformer)
    del layers[max(1, round(kept * len(layers))) :]
    return TokenNetwork(transformer, width_of(transformer), fields)


def start_at_frequencies(network: TokenNetwork, windows: Sequence[TaggedTokens]) -> None:
    """Let the map begin with how often each tag occurs: nearly all words are outside, which takes steps to learn."""
    tags = np.concatenate([window.tags for window in windows])  # (P, F)
    counts = np.stack([(tags == tag).sum(axis=0) for tag in range(TAGS)], axis=1) + 1  # (F, 3)
    with torch.no_grad():
        network.head.bias.copy_(torch.from_numpy(np.log(counts / counts.sum(axis=1, keepdims=True)).ravel()))


def tag_loss(network: nn.Module, windows: Sequence[TaggedTokens]) -> Tensor:  # ... -> ()
    """Mean over words of the cross-entropy summed over fields."""
    tokens, mask, kinds = pad([window.ids for window in windows])
    rows = torch.tensor([row for row, each in enumerate(windows) for _ in each.places])
    places = torch.tensor([place for each in windows for place in each.places])
    tags = torch.from_numpy(np.concatenate([each.tags for each in windows]))  # (P, F)
    logits = network(tokens, mask, kinds)[rows, places].reshape(-1, TAGS)  # (P * F, 3)
    return cross_entropy(logits, tags.reshape(-1)) * tags.shape[1]


def token_logits(network: TokenNetwork, ids: Sequence[Sequence[int]], *, batch: int = 16) -> list[np.ndarray]:
    """The network's own fp32 logits (T, F * 3) of each window, without dropout."""
    outputs = run_batches(network, ids, batch=batch)
    return [logits[: len(row)] for logits, row in zip(outputs, ids, strict=True)]


def _decides(base: BaseEncoder, windows: Sequence[TaggedTokens]) -> dict[str, object]:
    """What decides the weights beside recipe and seed."""
    said = [[list(window.ids), list(window.places), window.tags.tolist()] for window in windows]
    return {"what": "token tagger", "base": base.sha256, "windows": said}


def _optimizer(network: TokenNetwork, recipe: TagRecipe) -> AdamW:
    """Of the upper layers and the map; what is below them is frozen."""
    layers = layers_of(network.transformer)
    network.transformer.requires_grad_(False)
    tuned = [each for layer in layers[int(recipe.frozen / recipe.kept * len(layers)) :] for each in layer.parameters()]
    for parameter in tuned:
        parameter.requires_grad_(True)
    groups = [{"params": tuned, "lr": recipe.rate}, {"params": list(network.head.parameters()), "lr": recipe.head_rate}]
    return AdamW(groups, weight_decay=recipe.decay)


def layers_of(transformer: nn.Module) -> nn.ModuleList:
    """A transformer's layers, from the lowest: its longest list of modules."""
    return max((module for module in transformer.modules() if isinstance(module, nn.ModuleList)), key=len)
