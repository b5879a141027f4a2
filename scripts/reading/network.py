"""The reading model in torch: a trunk that stays as it is, and the head that is trained.

The trunk is multilingual-e5-small. It reads a question and each sentence by itself, so a sentence's states can be kept.
The head looks at the tokens of both and says how likely the sentence answers.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

HIDDEN, HEADS, INNER, LAYERS = 384, 12, 1536, 12
WIDTH, HEAD_LAYERS = 192, 2
PARTS = {
    "out": "attention.output.dense", "norm": "attention.output.LayerNorm", "up": "intermediate.dense",
    "down": "output.dense", "last": "output.LayerNorm",
}  # fmt: skip
"""Our names of a layer's parts, and the base's."""


class Layer(nn.Module):
    """One layer of an encoder (BERT's form)."""

    def __init__(self, hidden: int = HIDDEN, heads: int = HEADS, inner: int = INNER) -> None:
        super().__init__()
        self.hidden, self.heads = hidden, heads
        self.qkv = nn.Linear(hidden, 3 * hidden)
        self.out = nn.Linear(hidden, hidden)
        self.norm = nn.LayerNorm(hidden, eps=1e-12)
        self.up = nn.Linear(hidden, inner)
        self.down = nn.Linear(inner, hidden)
        self.last = nn.LayerNorm(hidden, eps=1e-12)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """States of the next layer."""
        b, n, _ = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, self.hidden // self.heads).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask.to(q.dtype))
        x = self.norm(x + self.out(seen.transpose(1, 2).reshape(b, n, self.hidden)))
        return self.last(x + self.down(functional.gelu(self.up(x))))


class Trunk(nn.Module):
    """Token states of a text."""

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.words = nn.Embedding(pieces, HIDDEN)
        self.places = nn.Embedding(512, HIDDEN)
        self.kind = nn.Parameter(torch.zeros(HIDDEN))
        self.norm = nn.LayerNorm(HIDDEN, eps=1e-12)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))

    def forward(self, ids: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """Last states of all tokens, 0 where there is none."""
        places = torch.arange(ids.shape[1], device=ids.device)
        x = self.norm(self.words(ids) + self.places(places)[None] + self.kind)
        mask = (1.0 - real[:, None, None, :].float()) * -1e4
        for layer in self.layers:
            x = layer(x, mask)
        return x * real[..., None].to(x.dtype)


def trunk_of(folder: Path) -> Trunk:
    """The trunk with the weights of the base."""
    state = np.load(folder / "state.npz")
    model = Trunk(json.loads((folder / "config.json").read_text())["vocab_size"])
    t = lambda name: torch.from_numpy(state[name].copy())  # noqa: E731
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
    return model.eval().requires_grad_(requires_grad=False)


def unit(x: torch.Tensor) -> torch.Tensor:
    """Directions; zero stays zero."""
    return x / x.norm(dim=-1, keepdim=True).clamp_min(1e-6)


class Head(nn.Module):
    """From the states of a question and of a sentence to how likely it answers, and which tokens do."""

    def __init__(self) -> None:
        super().__init__()
        self.narrow = nn.Linear(HIDDEN + 2, WIDTH)
        self.enter = nn.LayerNorm(WIDTH)
        self.sides = nn.Embedding(2, WIDTH)
        self.layers = nn.ModuleList(Layer(WIDTH, 4, 2 * WIDTH) for _ in range(HEAD_LAYERS))
        self.token = nn.Linear(WIDTH, 1)
        self.answer = nn.Sequential(nn.Linear(3 * WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, 1))
        self.signs = nn.Linear(3, 1)
        with torch.no_grad():
            self.signs.weight.copy_(torch.tensor([[2.0, 1.0, 0.0]]))
            self.signs.bias.fill_(-1.0)
            self.answer[2].weight.mul_(0.1)

    def forward(
        self, q: torch.Tensor, q_real: torch.Tensor, s: torch.Tensor, s_real: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(log-odds that each sentence answers (B,), log-odds of each of its tokens (B, S)).

        `q` is [B, Q, HIDDEN] and `s` [B, S, HIDDEN], zero where `q_real` and `s_real` say that there is no token.
        """
        qn, sn = unit(q), unit(s)
        alike = qn @ sn.transpose(1, 2)
        of_s = alike.masked_fill(~q_real[:, :, None], -1.0).amax(1)
        of_q = alike.masked_fill(~s_real[:, None, :], -1.0).amax(2)
        nq, ns = q_real.sum(1, keepdim=True).float(), s_real.sum(1, keepdim=True).float()
        cosine = (unit(q.sum(1)) * unit(s.sum(1))).sum(-1, keepdim=True)
        matched = (of_q * q_real).sum(1, keepdim=True) / nq
        signs = torch.cat([(cosine - 0.85) * 20, (matched - 0.85) * 20, torch.log(ns) - 3.0], -1)
        extra_q = torch.stack([(of_q - 0.85) * 5, (of_q - matched) * 5], -1)
        extra_s = torch.stack([(of_s - 0.85) * 5, (of_s - (of_s * s_real).sum(1, keepdim=True) / ns) * 5], -1)
        a = self.enter(self.narrow(torch.cat([q, extra_q], -1))) + self.sides.weight[0]
        b = self.enter(self.narrow(torch.cat([s, extra_s], -1))) + self.sides.weight[1]
        x = torch.cat([a, b], 1)
        real = torch.cat([q_real, s_real], 1)
        mask = (1.0 - real[:, None, None, :].float()) * -1e4
        for layer in self.layers:
            x = layer(x, mask)
        tokens = self.token(x[:, q.shape[1] :])[..., 0]
        best = (x[:, q.shape[1] :] + (s_real.float()[..., None] - 1.0) * 1e4).amax(1)
        mean_s = (x[:, q.shape[1] :] * s_real[..., None]).sum(1) / ns
        mean_q = (x[:, : q.shape[1]] * q_real[..., None]).sum(1) / nq
        return (self.answer(torch.cat([mean_q, mean_s, best], -1)) + self.signs(signs))[:, 0], tokens
