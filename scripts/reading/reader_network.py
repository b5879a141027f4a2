"""The reading model in torch: which sentences of a passage answer a question, and whether any does."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from comparing import MARKS, WIDE, Comparer, Matches, compared, highest, pooled
from network import APART, HIDDEN, Trunk, mask_of
from torch import nn
from torch.nn import functional

Two = tuple[torch.Tensor, torch.Tensor]
NEVER = -1e4
"""Of a sentence that has no token."""
SEEN = 2 * WIDE
"""Numbers that comparing says of a sentence."""
FORMER = {"sentence.0.weight": 3 * HIDDEN + SEEN, "answer.0.weight": 5 * HIDDEN + 4 * WIDE}
"""Heads of the network before (decision 180) that hear more now: the inputs that they have."""


class Said(NamedTuple):
    """What the heads say of pairs."""

    sentences: torch.Tensor
    """Log-odds that each sentence answers [B, S]."""
    answerable: torch.Tensor
    """Log-odds that the passage does [B]."""
    spans: torch.Tensor
    """Scores of each passage token as first and as last of the answer [B, N, 2]."""
    early: tuple[torch.Tensor, torch.Tensor]
    """What comparing alone says of sentences and passage."""


def head(inputs: int, inner: int) -> nn.Sequential:
    """Two layers with one output."""
    return nn.Sequential(nn.Linear(inputs, inner), nn.GELU(), nn.Linear(inner, 1))


class Reader(Trunk):
    """The whole network."""

    def __init__(self, pieces: int) -> None:
        super().__init__(pieces)
        self.side = nn.Parameter(torch.zeros(2, HIDDEN))
        """Added to a question and to a passage where they come together."""
        self.compare = Comparer()
        self.told, self.marked = nn.Linear(WIDE, HIDDEN, bias=False), nn.Linear(MARKS, HIDDEN, bias=False)
        nn.init.normal_(self.told.weight, std=0.005)
        nn.init.normal_(self.marked.weight, std=0.05)
        self.span = nn.Linear(HIDDEN, 2)
        self.sentence = head(3 * HIDDEN + SEEN, 192)
        self.answer = head(5 * HIDDEN + 4 * WIDE, 192)
        self.joined = nn.Parameter(torch.tensor(0.5))
        self.early_sentence, self.early_answer = head(SEEN, 96), head(4 * WIDE, 96)
        """Only while training."""

    def said(
        self, q_ids: torch.Tensor, q: torch.Tensor, p_ids: torch.Tensor, p: torch.Tensor, owner: torch.Tensor
    ) -> Said:
        """What is said of questions and their passages, by the states of the lower layers.

        Ids are 1 where there is no token; `owner` [B, N] is the number of each passage token's sentence, -1 for none.
        """
        q_real, p_real = q_ids != 1, p_ids != 1
        (of_q, of_p), (by_q, by_p) = compared(self.compare, q_ids, q, p_ids, p)
        x = torch.cat(
            [
                text + self.side[at] + self.told(by) + self.marked(matches.marks())
                for at, (text, by, matches) in enumerate(((q, by_q, of_q), (p, by_p, of_p)))
            ],
            1,
        )
        mask = mask_of(torch.cat([q_real, p_real], 1))
        for layer in self.layers[APART:]:
            x = layer(x, mask)
        q, p = x[:, : q.shape[1]].float(), x[:, q.shape[1] :].float()
        with torch.autocast("cpu", enabled=False):
            return self.heads((q, p), (q_real, p_real), owner, (of_q, of_p), (by_q, by_p))

    def heads(self, states: Two, reals: Two, owner: torch.Tensor, matches: tuple[Matches, Matches], by: Two) -> Said:
        """What is read off the states of the upper layers and off what comparing found, question first."""
        (q, p), (q_real, p_real) = states, reals
        count = int(owner.max()) + 1
        of = functional.one_hot(owner + 1, count + 1)[..., 1:].float()  # [B, N, S]
        sentence_states, seen = by_sentence(p, of), by_sentence(by[1], of)
        none = (of.sum(1) == 0) * NEVER
        sentences = self.sentence(torch.cat([sentence_states, q[:, :1].expand(-1, count, -1), seen], -1))[..., 0] + none
        real = matches[0].real.float()[..., None]
        matched = p.gather(1, matches[0].at[..., None].expand(-1, -1, HIDDEN))
        gap = ((q - matched).abs() * real).sum(1) / real.sum(1).clamp_min(1.0)
        mean = (q * q_real[..., None]).sum(1) / q_real.sum(1, keepdim=True)
        short = torch.cat([pooled(by[0], matches[0].real), pooled(by[1], matches[1].real)], -1)
        whole = torch.cat([q[:, 0], mean, highest(p, p_real), p[:, 0], gap, short], -1)
        answerable = self.answer(whole)[:, 0] + self.joined * sentences.amax(1)
        spans = self.span(p) + (p_real.float()[..., None] - 1.0) * 1e4
        early = self.early_sentence(seen)[..., 0] + none, self.early_answer(short)[:, 0]
        return Said(sentences, answerable, spans, early)


def by_sentence(x: torch.Tensor, of: torch.Tensor) -> torch.Tensor:
    """Mean and highest [B, S, 2 W] of the tokens of each sentence; `of` [B, N, S] says whose they are."""
    mean = torch.einsum("bns,bnh->bsh", of, x) / of.sum(1).clamp_min(1.0)[..., None]
    most = torch.stack([highest(x, of[..., s] > 0) for s in range(of.shape[2])], 1)
    return torch.cat([mean, torch.where(of.sum(1)[..., None] > 0, most, torch.zeros_like(most))], -1)


def begin(model: Reader, weights: dict[str, torch.Tensor], comparer: Path | None) -> None:
    """Take what there is of another training: of this network or the one before it, and the statement model's comparer.

    Inputs that a head did not have count for nothing at first.
    """
    taken = dict(weights)
    if "sides" in taken:
        taken["side"] = taken.pop("sides")[0]
        exact, near, of_mean = taken.pop("match.weight").unbind(1)
        none = torch.zeros_like(exact)
        taken["marked.weight"] = torch.stack([none, exact, none, near, of_mean], 1)
        for name, inputs in FORMER.items():
            former = taken[name]
            taken[name] = torch.cat([former, torch.zeros(len(former), inputs - former.shape[1])], 1)
    if comparer:
        taken |= {n: a for n, a in torch.load(comparer).items() if n.startswith("compare.")}
    model.load_state_dict(taken, strict=False)
