"""Training without abstractions, for readers and as a test reference for the trainers: fine-tuning and LoRA.

No batches of one length, no padding, no mask: each text by itself, the mean of their losses, one step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW

from coterie.tuning.causal import TokenPair
from coterie.tuning.finetune import CosineHead, SentenceNetwork, TaggedTokens, TokenNetwork


def plain_loop(
    network: SentenceNetwork, ids: Sequence[Sequence[int]], labels: Sequence[int], *, steps: int, rate: float
) -> CosineHead:
    """Train in place on all texts at every step, and return the head that was trained with the network.

    Args:
        network: A network without dropout.
        ids: Token ids of N texts.
        labels: The label of each, 0 to L - 1.
        steps: Steps of AdamW without decay.
        rate: Its learning rate, for network and head alike.
    """
    vectors = torch.stack([_vector(network, id_) for id_ in ids]).detach()
    sums = torch.stack([vectors[np.array(labels) == label].sum(0) for label in range(max(labels) + 1)])
    head = CosineHead(sums, scale=20.0)
    optimizer = AdamW([*network.parameters(), *head.parameters()], lr=rate, weight_decay=0.0)
    for _ in range(steps):
        losses = [
            -log_softmax(head(_vector(network, id_)[None])[0], dim=0)[label]
            for id_, label in zip(ids, labels, strict=True)
        ]
        torch.stack(losses).mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
    return head


def plain_tagging(
    network: TokenNetwork, windows: Sequence[TaggedTokens], trained: Sequence[torch.nn.Parameter], rate: float
) -> None:
    """Train some parameters of a tagger in place, one step of AdamW without decay on all windows.

    Args:
        network: A network without dropout.
        windows: Token ids and the tags of words.
        trained: Parameters that are not frozen.
        rate: The learning rate.
    """
    optimizer = AdamW(trained, lr=rate, weight_decay=0.0)
    losses = []
    for window in windows:
        tokens = torch.tensor([list(window.ids)])
        logits = network(tokens, torch.ones_like(tokens), torch.zeros_like(tokens))[0]  # (T, F * 3)
        for position, tags in zip(window.places, window.tags, strict=True):
            by_field = logits[position].reshape(len(tags), 3)
            losses.append(
                torch.stack([-log_softmax(of, dim=0)[tag] for of, tag in zip(by_field, tags, strict=True)]).sum()
            )
    torch.stack(losses).mean().backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    optimizer.step()
    optimizer.zero_grad()


def _vector(network: SentenceNetwork, ids: Sequence[int]) -> torch.Tensor:  # (D,)
    tokens = torch.tensor([list(ids)])
    vector: torch.Tensor = network(tokens, torch.ones_like(tokens), torch.zeros_like(tokens))[0]
    return vector


# --- The same for a LoRA adapter.


class PlainLora(nn.Module):
    """A frozen linear map W, corrected by a product of two thin matrices."""

    def __init__(self, linear: nn.Linear, first: Tensor, *, alpha: int) -> None:
        super().__init__()
        self.linear = linear
        self.scale = alpha / len(first)
        self.a = nn.Parameter(first.clone())  # (r, in)
        self.b = nn.Parameter(torch.zeros(linear.out_features, len(first)))  # (out, r)

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., out) for (..., in)."""
        y: Tensor = x @ (self.linear.weight + self.scale * self.b @ self.a).T
        return y


def plain_lora(
    network: nn.Module, pairs: Sequence[TokenPair], first: Mapping[str, Tensor], *, alpha: int, steps: int, rate: float
) -> None:
    """Add adapters to a causal network, in place, and train them on all pairs at every step.

    Args:
        network: A Llama without biases.
        pairs: Prompts and completions.
        first: The initial matrix A (r, in) of each linear map, by its name in the network.
        alpha: The adapters' change is scaled by alpha / r.
        steps: Steps of AdamW without decay.
        rate: Its learning rate.
    """
    network.requires_grad_(requires_grad=False)
    adapters = []
    for name, matrix in first.items():
        parent, _, child = name.rpartition(".")
        adapters.append(PlainLora(network.get_submodule(name), matrix, alpha=alpha))  # type: ignore[arg-type]
        setattr(network.get_submodule(parent), child, adapters[-1])
    trained = [matrix for adapter in adapters for matrix in (adapter.a, adapter.b)]
    optimizer = AdamW(trained, lr=rate, weight_decay=0.0)
    for _ in range(steps):
        torch.cat([_surprises(network, pair) for pair in pairs]).mean().backward()  # type: ignore[no-untyped-call]
        clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()


def _surprises(network: nn.Module, pair: TokenPair) -> Tensor:  # (P,)
    """Return the negative log-likelihood of each token of the completion."""
    ids = torch.tensor([*pair.prompt, *pair.completion])
    likelihoods = log_softmax(network(ids[None]).logits[0], dim=-1)  # (T, V)
    return -torch.stack([likelihoods[index - 1, ids[index]] for index in range(len(pair.prompt), len(ids))])
