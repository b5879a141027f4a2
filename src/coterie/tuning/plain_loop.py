"""Fine-tuning as one would write it on a blackboard: to read, and for a test that holds the trainer to it.

No batches of one length, no padding, no mask: each text by itself, the mean of their losses, one step.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.functional import log_softmax
from torch.optim import AdamW

from coterie.tuning.finetune import CosineHead, SentenceNetwork
from coterie.tuning.tagging import TaggedTokens, TokenNetwork


def plain_loop(
    network: SentenceNetwork, ids: Sequence[Sequence[int]], labels: Sequence[int], *, steps: int, rate: float
) -> CosineHead:
    """Train in place on all texts at every step; the head that was trained with the network.

    Args:
        network: Without dropout.
        ids: Token ids of N texts.
        labels: The label of each, 0 to L - 1.
        steps: Steps of AdamW without decay.
        rate: Its learning rate, for network and head alike.
    """
    vectors = torch.stack([_vector(network, each) for each in ids]).detach()
    sums = torch.stack([vectors[np.array(labels) == label].sum(0) for label in range(max(labels) + 1)])
    head = CosineHead(sums, scale=20.0)
    optimizer = AdamW([*network.parameters(), *head.parameters()], lr=rate, weight_decay=0.0)
    for _ in range(steps):
        losses = [
            -log_softmax(head(_vector(network, each)[None])[0], dim=0)[label]
            for each, label in zip(ids, labels, strict=True)
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
        network: Without dropout.
        windows: Token ids and the tags of words.
        trained: What is not frozen.
        rate: The learning rate.
    """
    optimizer = AdamW(trained, lr=rate, weight_decay=0.0)
    losses = []
    for window in windows:
        tokens = torch.tensor([list(window.ids)])
        logits = network(tokens, torch.ones_like(tokens), torch.zeros_like(tokens))[0]  # (T, F * 3)
        for place, tags in zip(window.places, window.tags, strict=True):
            by_field = logits[place].reshape(len(tags), 3)
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
