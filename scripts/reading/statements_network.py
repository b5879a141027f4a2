"""The statement model in torch: the reading model's lower layers as they are, upper layers of its own for pairs."""

from __future__ import annotations

import torch
from comparing import WIDE, Comparer, compared, highest, pooled
from network import APART, HIDDEN, Trunk, mask_of
from torch import nn


class Checker(Trunk):
    """The network: the reading model's lower layers, and layers and heads for statements alone."""

    def __init__(self, pieces: int) -> None:
        super().__init__(pieces)
        self.side = nn.Parameter(torch.zeros(2, HIDDEN))
        self.compare = Comparer()
        self.told = nn.Linear(WIDE, HIDDEN, bias=False)
        nn.init.normal_(self.told.weight, std=0.02)
        self.early = nn.Sequential(nn.Linear(4 * WIDE, 96), nn.GELU(), nn.Linear(96, 3))
        """Only while training: what comparing alone says."""
        self.verdict = nn.Sequential(nn.Linear(6 * HIDDEN + 4 * WIDE, 192), nn.GELU(), nn.Linear(192, 3))

    def verdicts(
        self, c_ids: torch.Tensor, c: torch.Tensor, p_ids: torch.Tensor, p: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores of supported, refuted, unknown [B, 3] of statements and sources, and what comparing alone says.

        Ids are 1 where there is no token.
        """
        c_real, p_real = c_ids != 1, p_ids != 1
        c, p = c.float(), p.float()
        (of_c, of_p), (compared_c, compared_p) = compared(self.compare, c_ids, c, p_ids, p)
        short = torch.cat([pooled(compared_c, of_c.real), pooled(compared_p, of_p.real)], -1)
        x = torch.cat([c + self.side[0] + self.told(compared_c), p + self.side[1] + self.told(compared_p)], 1)
        mask = mask_of(torch.cat([c_real, p_real], 1))
        for layer in self.layers[APART:]:
            x = layer(x, mask)
        c, p = x[:, : c.shape[1]].float(), x[:, c.shape[1] :].float()
        matched = p.gather(1, of_c.at[..., None].expand(-1, -1, HIDDEN))
        real = of_c.real.float()[..., None]
        gap = ((c - matched).abs() * real).sum(1) / real.sum(1).clamp_min(1.0)
        mean = (c * c_real[..., None]).sum(1) / c_real.sum(1, keepdim=True)
        whole = [c[:, 0], p[:, 0], mean, highest(c, c_real), highest(p, p_real), gap, short]
        return self.verdict(torch.cat(whole, -1)), self.early(short)
