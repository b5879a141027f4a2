"""The follow-up model in torch: the reading model's lower layers as they are, upper layers that read turns together.

One text is the turn, the other the questions before it, the newest first. The network says whether the turn depends on
them, and which of their words it lacks.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "reading"))

import torch
from comparing import highest
from network import APART, HIDDEN, Trunk, mask_of
from torch import nn


class Turns(Trunk):
    """The network: the reading model's lower layers, and layers and heads for turns alone."""

    def __init__(self, pieces: int) -> None:
        super().__init__(pieces)
        self.side = nn.Parameter(torch.zeros(2, HIDDEN))
        self.leans = nn.Sequential(nn.Linear(4 * HIDDEN, 128), nn.GELU(), nn.Linear(128, 1))
        self.lacks = nn.Sequential(nn.Linear(2 * HIDDEN, 96), nn.GELU(), nn.Linear(96, 1))

    def read(
        self, turn: torch.Tensor, t: torch.Tensor, before: torch.Tensor, b: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-odds that each turn depends on what was before it [B], and that it lacks each token of that [B, N].

        Ids [B, T] and [B, N] are 1 where there is no token; states are those of the lower layers.
        """
        real, b_real = turn != 1, before != 1
        x = torch.cat([t.float() + self.side[0], b.float() + self.side[1]], 1)
        mask = mask_of(torch.cat([real, b_real], 1))
        for layer in self.layers[APART:]:
            x = layer(x, mask)
        t, b = x[:, : t.shape[1]].float(), x[:, t.shape[1] :].float()
        mean = (t * real[..., None]).sum(1) / real.sum(1, keepdim=True)
        leans = self.leans(torch.cat([t[:, 0], b[:, 0], mean, highest(b, b_real)], -1))[:, 0]
        lacks = self.lacks(torch.cat([b, t[:, :1].expand_as(b)], -1))[..., 0]
        return leans, lacks
