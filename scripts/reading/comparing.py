"""What tells two texts apart token by token, in torch: matches, and a small network that compares them.

Each token of a text is told which token of the other text it matches: whether it is the same, how near it is, what the
two states differ in, whether the neighbours' matches are neighbours too, and how far it has moved. So order is not to
be found by the layers above: it is given to them.
"""

from __future__ import annotations

import torch
from network import HIDDEN, LEADS, STEEP, USUAL, matchable
from torch import nn
from torch.nn import functional

JUMPS, FAR = 7, 3
"""Largest jump between the matches of two neighbours that is told apart; steps of how far a token has moved."""
NO_JUMP = 2 * JUMPS + 1
NEIGHBOURS = 0.3
"""How much a match counts for the one beside it."""
MARKS, SMALL, WIDE = 5, 48, 128
"""Numbers that are told of a token; of its state, and of what the comparing network makes of it."""
SAME = 0.1
"""How much nearer the same piece is than its state says."""


class Matches:
    """Of each token of a text the token of another that it matches."""

    def __init__(self, ids: torch.Tensor, other_ids: torch.Tensor, alike: torch.Tensor, lead: tuple[int, int]) -> None:
        """`alike` [B, N, M] are cosines; ids are 0 for what matches nothing."""
        none = (other_ids == 0)[:, None, :] | (ids == 0)[:, :, None]
        same = (ids[:, :, None] == other_ids[:, None, :]) & ~none
        near = (alike + SAME * same).masked_fill(none, 0.0)
        beside = torch.zeros_like(near)
        beside[:, 1:, 1:] += near[:, :-1, :-1]
        beside[:, :-1, :-1] += near[:, 1:, 1:]
        best = (near + NEIGHBOURS * beside).masked_fill(none, -9.0)
        self.at, self.back = best.argmax(2), best.argmax(1)  # [B, N], [B, M]
        self.real = ids > 0
        self.same = same.gather(2, self.at[..., None])[..., 0].float()
        self.anywhere = same.any(2).float()
        self.near = alike.gather(2, self.at[..., None])[..., 0]
        n = ids.shape[1]
        places = torch.arange(n)[None]
        self.mutual = (self.back.gather(1, self.at) == places).float()
        step = self.at[:, 1:] - self.at[:, :-1]
        both = self.real[:, 1:] & self.real[:, :-1]
        jump = torch.where(both, step.clamp(-JUMPS, JUMPS) + JUMPS, torch.full_like(step, NO_JUMP))
        edge = torch.full((len(ids), 1), NO_JUMP)
        self.before, self.after = torch.cat([edge, jump], 1), torch.cat([jump, edge], 1)
        moved = (self.at - lead[1]) - (places - lead[0])
        size = (moved.abs() + 1).float().log2().round().clamp(max=FAR).long()
        self.moved = FAR + size * moved.sign()

    def marks(self) -> torch.Tensor:
        """What is told in numbers [B, N, 5]."""
        real = self.real.float()
        mean = (self.near * real).sum(1, keepdim=True) / real.sum(1, keepdim=True).clamp_min(1.0)
        signs = [self.same, self.anywhere, self.mutual, (self.near - USUAL) * STEEP, (self.near - mean) * STEEP]
        return torch.stack(signs, -1) * real[..., None]


class Comparer(nn.Module):
    """A small network over the tokens of both texts: each with its match, its neighbours, and theirs."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.after = nn.Embedding(NO_JUMP + 1, 16), nn.Embedding(NO_JUMP + 1, 16)
        self.moved, self.side = nn.Embedding(2 * FAR + 1, 8), nn.Embedding(2, 8)
        self.small = nn.Linear(HIDDEN, SMALL, bias=False)
        self.first = nn.Linear(MARKS + 16 + 16 + 8 + 8 + 4 * SMALL, WIDE)
        self.beside = nn.ModuleList(nn.Linear(3 * WIDE, WIDE) for _ in range(2))
        self.across = nn.ModuleList(nn.Linear(2 * WIDE, WIDE) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(WIDE) for _ in range(5))

    def seen(self, side: int, own: torch.Tensor, other: torch.Tensor, matches: Matches) -> torch.Tensor:
        """Each token with its match [B, N, WIDE]."""
        mine = self.small(own)
        theirs = self.small(other).gather(1, matches.at[..., None].expand(-1, -1, SMALL))
        sides = self.side.weight[side].expand(*matches.at.shape, -1)
        order = [self.before(matches.before), self.after(matches.after), self.moved(matches.moved), sides]
        x = torch.cat([matches.marks(), *order, mine, theirs, (mine - theirs).abs(), mine * theirs], -1)
        return self.norms[0](functional.gelu(self.first(x))) * matches.real[..., None]

    def forward(
        self, own: torch.Tensor, other: torch.Tensor, of_own: Matches, of_other: Matches
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Of a statement's and its source's tokens what comparing finds [B, N, WIDE], 0 where nothing is."""
        x, y = self.seen(0, own, other, of_own), self.seen(1, other, own, of_other)
        for at in range(2):
            x, y = self.neighbours(at, x, of_own), self.neighbours(at, y, of_other)
            x, y = self.exchanged(at, x, y, of_own), self.exchanged(at, y, x, of_other)
        return x, y

    def neighbours(self, at: int, x: torch.Tensor, matches: Matches) -> torch.Tensor:
        """With the tokens before and behind."""
        none = torch.zeros_like(x[:, :1])
        three = torch.cat([torch.cat([none, x[:, :-1]], 1), x, torch.cat([x[:, 1:], none], 1)], -1)
        return self.norms[1 + 2 * at](x + functional.gelu(self.beside[at](three))) * matches.real[..., None]

    def exchanged(self, at: int, x: torch.Tensor, y: torch.Tensor, matches: Matches) -> torch.Tensor:
        """With the match."""
        theirs = y.gather(1, matches.at[..., None].expand(-1, -1, WIDE))
        added = functional.gelu(self.across[at](torch.cat([x, theirs], -1)))
        return self.norms[2 + 2 * at](x + added) * matches.real[..., None]


def compared(
    comparer: Comparer, a_ids: torch.Tensor, a: torch.Tensor, b_ids: torch.Tensor, b: torch.Tensor
) -> tuple[tuple[Matches, Matches], tuple[torch.Tensor, torch.Tensor]]:
    """The matches of two texts in each other, and what comparing finds of their tokens; ids are 1 where there is none.

    In whole precision also where the rest is not.
    """
    left_ids, given = matchable(a_ids, LEADS[0]), matchable(b_ids, LEADS[1])
    a, b = a.float(), b.float()
    with torch.autocast("cpu", enabled=False):
        alike = torch.matmul(functional.normalize(a, dim=-1), functional.normalize(b, dim=-1).mT)
        pair = Matches(left_ids, given, alike, LEADS), Matches(given, left_ids, alike.mT, LEADS[::-1])
        return pair, comparer(a, b, *pair)


def pooled(x: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Mean and highest over the tokens that may match [B, 2 WIDE]."""
    count = real.float().sum(1, keepdim=True).clamp_min(1.0)
    return torch.cat([x.sum(1) / count, highest(x, real)], -1)


def highest(x: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """The largest of each value over the tokens there are."""
    return (x + (real.float()[..., None] - 1.0) * 1e4).amax(1)
