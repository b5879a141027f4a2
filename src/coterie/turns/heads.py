"""Small networks on the encoder's vectors and tokens, as the package carries them for the encoders that it knows.

They are made by `scripts/turns_build.py` from public sets; `MODEL_CARD.md` has data, figures and languages. An encoder
that none were made for has none: then no turn leans on another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays

from coterie.errors import ArtefactRefused

FOLDER = Path(__file__).parent / "weights"
"""Made by `scripts/turns_build.py`."""
PROVENANCE = FOLDER / "provenance.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class Perceptron:
    """A perceptron of one hidden layer."""

    first: np.ndarray  # (F, H)
    bias: np.ndarray  # (H,)
    second: np.ndarray  # (H, C)
    last: np.ndarray  # (C,)

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray], name: str) -> Perceptron:
        """The one of this name among the arrays of a file."""
        parts = (arrays[f"{name}.{part}"].astype(np.float32) for part in ("first", "bias", "second", "last"))
        first, bias, second, last = parts
        return cls(first=first, bias=bias, second=second, last=last)

    def logits(self, features: np.ndarray) -> np.ndarray:  # (N, F) -> (N, C)
        """What it says of each row."""
        return np.asarray(np.maximum(features @ self.first + self.bias, 0) @ self.second + self.last)


@dataclass(frozen=True, kw_only=True, eq=False)
class TurnHeads:
    """The heads for one encoder."""

    encoder: str
    languages: frozenset[str]
    heads: Mapping[str, Perceptron]
    thresholds: Mapping[str, float]


@lru_cache(maxsize=4)
def bundled_heads(encoder: str) -> TurnHeads | None:
    """Those for an encoder by its name; None if there are none. Raises `ArtefactRefused` for a changed file."""
    known = json.loads(PROVENANCE.read_text(encoding="utf-8"))["encoders"]
    if encoder not in known:
        return None
    about = known[encoder]
    heads: dict[str, Perceptron] = {}
    for file, sha256 in about["files"].items():
        content = (FOLDER / file).read_bytes()
        if hashlib.sha256(content).hexdigest() != sha256:
            raise ArtefactRefused(
                f"The turn models {file!r} of the package are not the ones that it was made with.",
                hint="Install the package again.",
            )
        try:
            arrays = load_arrays(content)
            heads |= {
                name: Perceptron.of(arrays, name) for name in dict.fromkeys(key.rpartition(".")[0] for key in arrays)
            }
        except (SafetensorError, KeyError, ValueError) as error:
            raise ArtefactRefused(f"The turn models {file!r} cannot be read: {error}.") from error
    return TurnHeads(
        encoder=encoder,
        languages=frozenset(about["languages"]),
        heads=heads,
        thresholds=dict(about["thresholds"]),
    )
