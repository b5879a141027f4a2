"""The network that is trained: a transformer, pooling, a unit vector, and cosines to a vector a label."""

from __future__ import annotations

import re
from collections.abc import Sequence
from inspect import signature
from typing import NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import normalize
from transformers import AutoConfig, AutoModel

from coterie.errors import ArtefactRefused

from ._base import BaseEncoder, Pooling

_TINY = 1e-9
_OLD = re.compile(r"(?<=\bLayerNorm\.)(?:gamma|beta)$")


class SentenceNetwork(nn.Module):
    """Transformer, pooling and L2 normalisation, as one graph."""

    def __init__(self, transformer: nn.Module, pooling: Pooling = "mean") -> None:
        super().__init__()
        self.transformer = transformer
        self.pooling = pooling

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """(B, T) tokens to (B, D) unit vectors."""
        hidden = token_states(self.transformer, input_ids, attention_mask, token_type_ids)  # (B, T, D)
        if self.pooling == "first":
            pooled: Tensor = hidden[:, 0]
        else:
            mask = attention_mask.unsqueeze(-1).to(hidden.dtype)  # (B, T, 1)
            pooled = (hidden * mask).sum(1) / mask.sum(1).clamp(min=_TINY)  # (B, D)
        # No fused norm: the graph is exported, and divisions are what every runtime has.
        unit: Tensor = pooled / pooled.norm(dim=1, keepdim=True).clamp(min=_TINY)
        return unit


class LinearHead(NamedTuple):
    """logits = vectors @ weights + bias."""

    weights: np.ndarray  # (D, L)
    bias: np.ndarray  # (L,)

    def logits(self, vectors: np.ndarray) -> np.ndarray:  # (N, D) -> (N, L)
        """Logits of each row."""
        return np.asarray(vectors @ self.weights + self.bias)


class CosineHead(nn.Module):
    """logits = scale * cosine to each label's vector + bias."""

    def __init__(self, prototypes: Tensor, scale: float) -> None:
        super().__init__()
        self.prototypes = nn.Parameter(normalize(prototypes, dim=1))  # (L, D)
        self.bias = nn.Parameter(torch.zeros(len(prototypes)))
        self.scale = scale

    def forward(self, vectors: Tensor) -> Tensor:
        """(B, D) unit vectors to (B, L)."""
        logits: Tensor = self.scale * vectors @ normalize(self.prototypes, dim=1).T + self.bias
        return logits

    def unscaled(self) -> LinearHead:
        """Its logits divided by the scale, so that they are as large as cosines, as plain arrays."""
        with torch.no_grad():
            weights = normalize(self.prototypes, dim=1).T.contiguous()
            return LinearHead(weights.numpy(), (self.bias / self.scale).numpy())


def build_network(base: BaseEncoder) -> SentenceNetwork:
    """The base encoder's network with its published weights. Raises `ArtefactRefused`."""
    return SentenceNetwork(load_transformer(base), base.pooling)


def load_transformer(base: BaseEncoder) -> nn.Module:
    """The base encoder's transformer with its published weights, without what pools. Raises `ArtefactRefused`."""
    settings = dict(base.config)
    try:
        config = AutoConfig.for_model(str(settings.pop("model_type")), **settings)
        transformer: nn.Module = AutoModel.from_config(  # type: ignore[no-untyped-call]
            config, attn_implementation="eager"
        )
        missing, _ = transformer.load_state_dict(_state(base, transformer), strict=False)
    except (KeyError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        raise ArtefactRefused(f"Base encoder {base.name!r} cannot be loaded: {error}.") from error
    # The pooler is not used; position numbers are computed, not learned.
    if lost := [name for name in missing if not name.startswith("pooler.") and not name.endswith("_ids")]:
        raise ArtefactRefused(f"Base encoder {base.name!r} lacks the weights {lost[0]!r} and {len(lost) - 1} more.")
    transformer.pooler = None  # type: ignore[assignment]
    return transformer


def _state(base: BaseEncoder, transformer: nn.Module) -> dict[str, Tensor]:
    """The published weights by today's names: those of a model with a head have a prefix, the oldest other norms."""
    prefix = f"{transformer.base_model_prefix}."
    return {_OLD.sub(_renamed, name.removeprefix(prefix)): value for name, value in load_file(base.weights).items()}


def _renamed(old: re.Match[str]) -> str:
    return {"gamma": "weight", "beta": "bias"}[old[0]]


def width_of(transformer: nn.Module) -> int:
    """Length of a token's state."""
    return int(transformer.config.hidden_size)  # type: ignore[union-attr, arg-type]


def token_states(transformer: nn.Module, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
    """(B, T) tokens to (B, T, D) last hidden states; not every architecture knows types of tokens."""
    more = {"token_type_ids": token_type_ids} if "token_type_ids" in signature(transformer.forward).parameters else {}
    hidden: Tensor = transformer(input_ids=input_ids, attention_mask=attention_mask, **more).last_hidden_state
    return hidden


def pad(ids: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor, Tensor]:
    """Token ids as the network takes them: ids, mask and types, each (B, T)."""
    width = max(len(each) for each in ids)
    tokens = torch.zeros(len(ids), width, dtype=torch.long)
    mask = torch.zeros_like(tokens)
    for row, each in enumerate(ids):
        tokens[row, : len(each)] = torch.tensor(each)
        mask[row, : len(each)] = 1
    return tokens, mask, torch.zeros_like(tokens)
