"""The reading model in torch: a multilingual encoder and the heads over it.

Its lower layers read each text by itself, its upper layers a question together with a passage. The base is
multilingual-e5-small. Its words and its lower `APART` layers stay as they are: what they make of a passage does not
hang on the question and can be kept. The upper layers and the heads are trained.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

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
SUPPORTED, REFUTED, UNKNOWN = 0, 1, 2
PARTS = {
    "out": "attention.output.dense", "norm": "attention.output.LayerNorm", "up": "intermediate.dense",
    "down": "output.dense", "last": "output.LayerNorm",
}  # fmt: skip
"""Our names of a layer's parts, and the base's."""


Kind = TypeVar("Kind", bound="Trunk")


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


def mask_of(real: torch.Tensor) -> torch.Tensor:
    """What is added where there is no token."""
    return (1.0 - real[:, None, None, :].float()) * -1e4


def matchable(ids: torch.Tensor, lead: int) -> torch.Tensor:
    """Token ids, 0 for marks and for what leads."""
    kept_ids = torch.where(ids >= SPECIAL, ids, torch.zeros_like(ids))
    kept_ids[:, :lead] = 0
    return kept_ids


class Trunk(nn.Module):
    """The base's layers: the lower ones as they are, the upper ones to be trained."""

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.words = nn.Embedding(pieces, HIDDEN)
        self.places = nn.Embedding(512, HIDDEN)
        self.kind = nn.Parameter(torch.zeros(HIDDEN))
        self.norm = nn.LayerNorm(HIDDEN, eps=1e-12)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))

    def apart(self, ids: torch.Tensor, real: torch.Tensor, shift: int = 0) -> torch.Tensor:
        """States of texts, each by itself, after the lower layers."""
        x = self.norm(self.words(ids) + self.places.weight[None, shift : shift + ids.shape[1]] + self.kind)
        mask = mask_of(real)
        for layer in self.layers[:APART]:
            x = layer(x, mask)
        return x

    def round(self, *, on: bool) -> None:
        """From now on, use the trained matrices as they will be stored (or no longer)."""
        for layer in self.layers[APART:]:
            for line in (layer.qkv, layer.out, layer.up, layer.down):
                line.rounding = four_bits(line.weight) - line.weight.detach() if on else None


def trunk_of(folder: Path, kind: type[Kind]) -> Kind:
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
