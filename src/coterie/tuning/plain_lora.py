"""Training a LoRA adapter as one would write it on a blackboard: to read, and for a test that holds the trainer to it.

No PEFT, no batches, no padding, logits at every position: each row by itself, W + alpha / r * B A in place of W.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW

from coterie.tuning.causal import TokenPair


class PlainLora(nn.Module):
    """A frozen linear map W, corrected by a product of two thin matrices."""

    def __init__(self, linear: nn.Linear, first: Tensor, *, alpha: int) -> None:
        super().__init__()
        self.linear = linear
        self.scale = alpha / len(first)
        self.a = nn.Parameter(first.clone())  # (r, in)
        self.b = nn.Parameter(torch.zeros(linear.out_features, len(first)))  # (out, r)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        y: Tensor = x @ (self.linear.weight + self.scale * self.b @ self.a).T
        return y


def plain_lora(
    network: nn.Module, pairs: Sequence[TokenPair], first: Mapping[str, Tensor], *, alpha: int, steps: int, rate: float
) -> None:
    """Put adapters into a causal network, in place, and train them on all pairs at every step.

    Args:
        network: A Llama without biases.
        pairs: Prompts and completions.
        first: The matrix A (r, in) that each linear map begins with, by its name in the network.
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
    trained = [each for adapter in adapters for each in (adapter.a, adapter.b)]
    optimizer = AdamW(trained, lr=rate, weight_decay=0.0)
    for _ in range(steps):
        torch.cat([_surprises(network, pair) for pair in pairs]).mean().backward()  # type: ignore[no-untyped-call]
        clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()


def _surprises(network: nn.Module, pair: TokenPair) -> Tensor:  # (P,)
    """Negative log-likelihood of each token of the completion."""
    ids = torch.tensor([*pair.prompt, *pair.completion])
    likelihoods = log_softmax(network(ids[None]).logits[0], dim=-1)  # (T, V)
    return -torch.stack([likelihoods[place - 1, ids[place]] for place in range(len(pair.prompt), len(ids))])
