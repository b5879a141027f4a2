"""A perceptron of one hidden layer, trained by torch."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn


def train_head(
    features: np.ndarray,  # (N, F)
    targets: np.ndarray,  # (N,)
    weights: np.ndarray,  # (N,)
    *,
    classes: int,
    hidden: int,
    epochs: int,
    seed: int,
    rate: float = 1e-3,
    decay: float = 1e-3,
    dropout: float = 0.2,
    batch: int = 1024,
) -> dict[str, np.ndarray]:
    """The arrays of a head."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    first, second = nn.Linear(features.shape[1], hidden), nn.Linear(hidden, classes)
    model = nn.Sequential(nn.Dropout(dropout / 2), first, nn.ReLU(), nn.Dropout(dropout), second)
    x, y = torch.from_numpy(features), torch.from_numpy(targets.astype(np.int64))
    w = torch.from_numpy(weights.astype(np.float32))
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay)
    steps = epochs * (len(x) // batch + 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=rate * 2, total_steps=steps)
    loss_of = nn.CrossEntropyLoss(reduction="none")
    order = np.random.default_rng(seed)
    for _ in range(epochs):
        model.train()
        rows = torch.from_numpy(order.permutation(len(x)))
        for at in range(0, len(rows), batch):
            some = rows[at : at + batch]
            loss = (loss_of(model(x[some].float()), y[some]) * w[some]).sum() / w[some].sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    with torch.no_grad():
        return {
            "first": first.weight.T.contiguous().numpy().astype(np.float16),
            "bias": first.bias.numpy().astype(np.float16),
            "second": second.weight.T.contiguous().numpy().astype(np.float16),
            "last": second.bias.numpy().astype(np.float16),
        }
