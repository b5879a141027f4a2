"""The reading model in torch: a multilingual encoder and the heads over it.

Its lower layers read each text by itself, its upper layers a question (or a statement) together with a passage. The
base is multilingual-e5-small. Its words and its lower `APART` layers stay as they are: what they make of a passage
does not hang on the question and can be kept. The upper layers and the heads are trained for two tasks at once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

HIDDEN, HEADS, INNER, LAYERS, APART = 384, 12, 1536, 12, 4
BLOCK = 32
"""Weights that share one scale when they are stored in four bits."""
SHIFT = 64
"""Places of a passage's tokens begin here, those of a question at 0: together they are as one text's."""
USUAL, STEEP = 0.5, 2.5
"""The usual cosine of a token and the nearest one of another text, below; by how much it is stretched."""
SPECIAL = 4
"""Token ids below it are marks."""
LEADS = (4, 3)
"""Tokens at the beginning of a question and of a passage that say what it is, and match nothing."""
READ, CHECK = 0, 1
"""The tasks: does the passage answer the question; does it support the statement."""
SUPPORTED, REFUTED, UNKNOWN = 0, 1, 2
PARTS = {
    "out": "attention.output.dense", "norm": "attention.output.LayerNorm", "up": "intermediate.dense",
    "down": "output.dense", "last": "output.LayerNorm",
}  # fmt: skip
"""Our names of a layer's parts, and the base's."""


def four_bits(weight: torch.Tensor) -> torch.Tensor:
    """A matrix as it is when stored: blocks of 16 values with a 16-bit scale."""
    parts = weight.detach().reshape(-1, BLOCK)
    at = parts.abs().argmax(1, keepdim=True)
    scale = (parts.gather(1, at) / -8).half().float()
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    return (torch.clamp(torch.round(parts / scale), -8, 7) * scale).reshape(weight.shape)


class Line(nn.Linear):
    """A linear layer that may be trained as it will be stored."""

    rounding: torch.Tensor | None = None
    """What rounding adds to the weights."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """X W' + b."""
        weight = self.weight if self.rounding is None else self.weight + self.rounding
        return functional.linear(x, weight, self.bias)


class Layer(nn.Module):
    """One layer of an encoder (BERT's form)."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = Line(HIDDEN, 3 * HIDDEN)
        self.out = Line(HIDDEN, HIDDEN)
        self.norm = nn.LayerNorm(HIDDEN, eps=1e-12)
        self.up = Line(HIDDEN, INNER)
        self.down = Line(INNER, HIDDEN)
        self.last = nn.LayerNorm(HIDDEN, eps=1e-12)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """States of the next layer; `mask` [B, 1, 1, N] is added to what tokens see of each other."""
        b, n, _ = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, HEADS, HIDDEN // HEADS).permute(2, 0, 3, 1, 4)
        alike = torch.matmul(q * (HIDDEN // HEADS) ** -0.5, k.transpose(-1, -2)) + mask.to(q.dtype)
        seen = torch.matmul(alike.softmax(-1).to(v.dtype), v)
        x = self.norm(x + self.out(seen.transpose(1, 2).reshape(b, n, HIDDEN)))
        return self.last(x + self.down(functional.gelu(self.up(x))))


class Said(NamedTuple):
    """What the heads say of pairs."""

    sentences: torch.Tensor
    """Log-odds that each sentence answers [B, S]."""
    answerable: torch.Tensor
    """Log-odds that the passage does [B]."""
    spans: torch.Tensor
    """Scores of each passage token as first and as last of the answer [B, N, 2]."""
    support: torch.Tensor
    """Scores of supported, refuted, unknown [B, 3]."""


def mask_of(real: torch.Tensor) -> torch.Tensor:
    """What is added where there is no token."""
    return (1.0 - real[:, None, None, :].float()) * -1e4


def matches(ids: torch.Tensor, own: torch.Tensor, other_ids: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Of each token [B, N, 3] whether the other text has it, and how near the nearest token there is.

    `ids` and `other_ids` are 0 where nothing is to be matched; `own` and `other` are the states of the lower layers.
    """
    exact = ((ids[:, :, None] == other_ids[:, None, :]) & (ids > 0)[:, :, None]).any(2).float()
    alike = torch.matmul(functional.normalize(own.float(), dim=-1), functional.normalize(other.float(), dim=-1).mT)
    best = alike.masked_fill((other_ids == 0)[:, None, :], -1.0).amax(2)
    real = (ids > 0).float()
    mean = (best * real).sum(1, keepdim=True) / real.sum(1, keepdim=True).clamp_min(1.0)
    return torch.stack([exact, (best - USUAL) * STEEP * real, (best - mean) * STEEP * real], -1)


def matchable(ids: torch.Tensor, lead: int) -> torch.Tensor:
    """Token ids, 0 for marks and for what leads."""
    found = torch.where(ids >= SPECIAL, ids, torch.zeros_like(ids))
    found[:, :lead] = 0
    return found


class Reader(nn.Module):
    """The whole network."""

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.words = nn.Embedding(pieces, HIDDEN)
        self.places = nn.Embedding(512, HIDDEN)
        self.kind = nn.Parameter(torch.zeros(HIDDEN))
        self.norm = nn.LayerNorm(HIDDEN, eps=1e-12)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.sides = nn.Parameter(torch.zeros(2, 2, HIDDEN))
        """Added where the texts come together: by task, then question or passage."""
        self.match = nn.Linear(3, HIDDEN, bias=False)
        nn.init.normal_(self.match.weight, std=0.05)
        self.span = nn.Linear(HIDDEN, 2)
        self.sentence = nn.Sequential(nn.Linear(3 * HIDDEN, 192), nn.GELU(), nn.Linear(192, 1))
        self.answer = nn.Sequential(nn.Linear(3 * HIDDEN, 192), nn.GELU(), nn.Linear(192, 1))
        self.support = nn.Sequential(nn.Linear(3 * HIDDEN, 192), nn.GELU(), nn.Linear(192, 3))
        self.joined = nn.Parameter(torch.tensor(0.5))

    def apart(self, ids: torch.Tensor, real: torch.Tensor, shift: int = 0) -> torch.Tensor:
        """States of texts, each by itself, after the lower layers."""
        x = self.norm(self.words(ids) + self.places.weight[None, shift : shift + ids.shape[1]] + self.kind)
        mask = mask_of(real)
        for layer in self.layers[:APART]:
            x = layer(x, mask)
        return x

    def joint(
        self, task: int, q_ids: torch.Tensor, q: torch.Tensor, p_ids: torch.Tensor, p: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """States of questions and of their passages after the upper layers; ids are 1 where there is no token."""
        q_real, p_real = q_ids != 1, p_ids != 1
        asked, said = matchable(q_ids, LEADS[0]), matchable(p_ids, LEADS[1])
        of_q, of_p = matches(asked, q, said, p), matches(said, p, asked, q)
        x = torch.cat([q + self.sides[task, 0] + self.match(of_q), p + self.sides[task, 1] + self.match(of_p)], 1)
        mask = mask_of(torch.cat([q_real, p_real], 1))
        for layer in self.layers[APART:]:
            x = layer(x, mask)
        return x[:, : q.shape[1]], x[:, q.shape[1] :]

    def heads(
        self, q: torch.Tensor, q_real: torch.Tensor, p: torch.Tensor, p_real: torch.Tensor, owner: torch.Tensor
    ) -> Said:
        """What is said; `owner` [B, N] is the number of each passage token's sentence, -1 for none."""
        q, p = q.float(), p.float()
        asked = (q * q_real[..., None]).sum(1) / q_real.sum(1, keepdim=True)
        highest = (p + (p_real.float()[..., None] - 1.0) * 1e4).amax(1)
        whole = torch.cat([q[:, 0], asked, highest], -1)
        count = int(owner.max()) + 1
        of = functional.one_hot(owner + 1, count + 1)[..., 1:].float()  # [B, N, S]
        mean = torch.einsum("bns,bnh->bsh", of, p) / of.sum(1).clamp_min(1.0)[..., None]
        most = torch.stack([(p + (of[..., s, None] - 1.0) * 1e4).amax(1) for s in range(count)], 1)
        most = torch.where(of.sum(1)[..., None] > 0, most, torch.zeros_like(most))
        each = torch.cat([mean, most, q[:, :1].expand(-1, count, -1)], -1)
        sentences = self.sentence(each)[..., 0] + (of.sum(1) == 0) * -1e4
        spans = self.span(p) + (p_real.float()[..., None] - 1.0) * 1e4
        answerable = self.answer(whole)[:, 0] + self.joined * sentences.amax(1)
        return Said(sentences, answerable, spans, self.support(whole))

    def round(self, *, on: bool) -> None:
        """From now on, use the trained matrices as they will be stored (or no longer)."""
        for layer in self.layers[APART:]:
            for line in (layer.qkv, layer.out, layer.up, layer.down):
                line.rounding = four_bits(line.weight) - line.weight.detach() if on else None


def reader_of(folder: Path, kind: type[Reader] = Reader) -> Reader:
    """The network with the weights of the base; the lower layers will not be trained."""
    state = np.load(folder / "state.npz")
    model = kind(json.loads((folder / "config.json").read_text())["vocab_size"])

    def t(name: str) -> torch.Tensor:
        return torch.from_numpy(state[name].copy())

    with torch.no_grad():
        model.words.weight.copy_(t("embeddings.word_embeddings.weight"))
        model.places.weight.copy_(t("embeddings.position_embeddings.weight"))
        model.kind.copy_(t("embeddings.token_type_embeddings.weight")[0])
        model.norm.weight.copy_(t("embeddings.LayerNorm.weight"))
        model.norm.bias.copy_(t("embeddings.LayerNorm.bias"))
        for at, layer in enumerate(model.layers):
            base = f"encoder.layer.{at}."
            for part in ("weight", "bias"):
                three = [t(f"{base}attention.self.{name}.{part}") for name in ("query", "key", "value")]
                getattr(layer.qkv, part).copy_(torch.cat(three))
                for own, name in PARTS.items():
                    getattr(getattr(layer, own), part).copy_(t(f"{base}{name}.{part}"))
    frozen = [model.words, model.places, model.norm, *model.layers[:APART]]
    for part in frozen:
        part.requires_grad_(requires_grad=False)
    model.kind.requires_grad_(requires_grad=False)
    return model
