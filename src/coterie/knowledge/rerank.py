"""The finer look: how well each word of a query is met by some word of a passage, as the encoder sees both in context.

Late interaction (Khattab, Zaharia 2020): each token of the query takes its best match among the passage's tokens, and
the matches are summed. Here the tokens are the bundled encoder's own, projected to their principal components; each
counts by how rare it is in general English, and the sum is weighed against keyword score and cosine. A passage's tokens
are kept with it, so reranking runs the encoder on the query only.

Nothing in it comes from the index, so nothing that the caller may not see can change a score.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors.numpy import load as load_arrays

from coterie.engines.onnx import TokenStates
from coterie.errors import ArtefactRefused
from coterie.runtime.codec import parse_json

BUNDLED_RERANKER = Path(__file__).parent / "reranker"
_ARRAYS = "reranker.safetensors"
_ABOUT = "reranker.json"
_LEVELS = 127


class Weights(NamedTuple):
    """What each of the three signs counts."""

    keyword: float
    cosine: float
    interaction: float


@dataclass(frozen=True, kw_only=True, eq=False)
class CandidatePassage:
    """A passage that one of the rankings found."""

    keyword: float
    """Its BM25 score; 0 if it was not among the best by keyword."""
    cosine: float
    tokens: bytes
    """Its packed tokens; empty if it has none."""


class Reranker:
    """Packs the tokens of passages, and scores passages by them.

    Args:
        projection: From a token's state to what is kept of it, (D, P) float32.
        rarity: What a token of each id counts, (V,) float32.
        weights: What each sign counts.
        encoder: Checksum of the encoder that it was made for.
    """

    def __init__(self, projection: np.ndarray, rarity: np.ndarray, weights: Weights, encoder: str) -> None:
        self._projection, self._rarity, self._weights, self.encoder = projection, rarity, weights, encoder
        self.packing = hashlib.sha256(projection.tobytes() + rarity.tobytes()).hexdigest()

    @classmethod
    def bundled(cls) -> Reranker:
        """The one that ships with the package."""
        return cls.read(BUNDLED_RERANKER)

    @classmethod
    def read(cls, folder: Path) -> Reranker:
        """The reranker of a folder. Raises `ArtefactRefused`."""
        try:
            about = parse_json((folder / _ABOUT).read_text(encoding="utf-8"))
            content = (folder / _ARRAYS).read_bytes()
            if hashlib.sha256(content).hexdigest() != about["sha256"]:
                raise ValueError("its arrays are not those that its checksum names")  # noqa: TRY301 - refused below
            arrays = load_arrays(content)
            return cls(
                arrays["projection"].astype(np.float32),
                arrays["rarity"].astype(np.float32),
                Weights(**{name: float(about["weights"][name]) for name in Weights._fields}),
                str(about["encoder_sha256"]),
            )
        except Exception as error:
            raise ArtefactRefused(
                f"The reranker in {str(folder)!r} is not usable: {error}.",
                hint="Reinstall the package: pip install --force-reinstall coterie",
            ) from error

    @property
    def width(self) -> int:
        """Bytes of a packed token."""
        return int(self._projection.shape[1])

    def pack(self, tokens: TokenStates) -> bytes:
        """A passage's tokens as they are kept: a direction each, 8 bits a component."""
        rows = tokens.states @ self._projection  # (T, P)
        largest = np.maximum(np.abs(rows).max(axis=1, keepdims=True), 1e-9)
        return bytes(np.rint(rows / largest * _LEVELS).astype(np.int8).tobytes())

    def score(self, query: TokenStates, candidates: Sequence[CandidatePassage]) -> np.ndarray:  # (N,) float32
        """How well each passage fits the query; higher is better."""
        keyword = np.array([candidate.keyword for candidate in candidates], dtype=np.float32)
        best = max(float(keyword.max(initial=0.0)), 1e-9)
        cosine = np.array([each.cosine for each in candidates], dtype=np.float32)
        interaction = self._interaction(query, [each.tokens for each in candidates], cosine)
        weights = self._weights
        scores = weights.keyword * keyword / best + weights.cosine * cosine + weights.interaction * interaction
        return np.asarray(scores, dtype=np.float32)

    def _interaction(self, query: TokenStates, packed: Sequence[bytes], cosine: np.ndarray) -> np.ndarray:  # (N,)
        """The mean best match of the query's tokens, each counting by its rarity; the cosine where there are none."""
        rarity = self._rarity[np.minimum(query.ids, len(self._rarity) - 1)]
        if not rarity.sum():
            return cosine
        own = _unit(query.states @ self._projection)  # (Q, P)
        share = rarity / rarity.sum()
        lengths = [len(each) // self.width for each in packed]
        everything = np.frombuffer(b"".join(packed), dtype=np.int8).reshape(-1, self.width).astype(np.float32)
        matches = own @ _unit(everything).T  # (Q, all tokens)
        found = np.empty(len(packed), dtype=np.float32)
        at = 0
        for row, length in enumerate(lengths):
            found[row] = share @ matches[:, at : at + length].max(axis=1) if length else cosine[row]
            at += length
        return found


def _unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9), dtype=np.float32)
