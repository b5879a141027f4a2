"""Token-level comparison of two texts: which tokens match, and a small network that compares them.

The network gets for each token its match in the other text, how far the match is displaced, and whether the
neighbours' matches are neighbours too, since the same words in another order have another meaning. Matches come from
states of layers that read each text by itself, so the module does not depend on a language.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from safetensors.numpy import load as load_arrays

USUAL, STEEP = 0.5, 2.5
"""Typical cosine of a token and the nearest one of another text, which is subtracted; and the scale factor after it."""
_JUMPS, _FAR = 7, 3
"""Largest distinguished jump between the matches of two neighbours; steps of a token's displacement."""
_NO_JUMP = 2 * _JUMPS + 1
_NEIGHBOURS, _SAME = 0.3, 0.1
"""Weight of a match for its neighbour; bonus on the similarity of two equal word pieces."""

Floats = np.ndarray


class ReadText(NamedTuple):
    """A text that was encoded by itself."""

    ids: Floats  # (N,) int: 0 for what matches nothing
    states: Floats  # (N, D) after the lower layers


class Matches(NamedTuple):
    """For each token of a text its matching token in another text, and features of the pair."""

    at: Floats  # (N,) int
    real: Floats  # (N,): 0 for what matches nothing
    marks: Floats  # (N, 5): same piece there, same piece anywhere, mutual, how near, how near compared with the others
    before: Floats  # (N,) int: from the match of the token before to this one's
    after: Floats  # (N,) int: from this one's to that of the token behind
    moved: Floats  # (N,) int: how far from its place


def matches(own: ReadText, other: ReadText) -> Matches:
    """Return the matches of a text's tokens in another text."""
    alike = unit(own.states) @ unit(other.states).T  # (N, M)
    real = own.ids > 0
    usable = real[:, None] & (other.ids > 0)[None]
    same = (own.ids[:, None] == other.ids[None]) & usable
    near = np.where(usable, alike + _SAME * same, 0.0)
    beside = np.zeros_like(near)
    beside[1:, 1:] += near[:-1, :-1]
    beside[:-1, :-1] += near[1:, 1:]
    best = np.where(usable, near + _NEIGHBOURS * beside, -9.0)
    at, back = best.argmax(axis=1), best.argmax(axis=0)
    rows = np.arange(len(at))
    nearness = alike[rows, at]
    mean = (nearness * real).sum() / max(real.sum(), 1)
    marks = np.stack(
        [
            same[rows, at], same.any(axis=1), back[at] == rows,
            (nearness - USUAL) * STEEP, (nearness - mean) * STEEP,
        ],
        axis=-1,
    )  # fmt: skip
    jump = np.where(real[1:] & real[:-1], np.clip(np.diff(at), -_JUMPS, _JUMPS) + _JUMPS, _NO_JUMP)
    leads = [int(np.argmax(text.ids > 0)) for text in (own, other)]
    moved = (at - leads[1]) - (rows - leads[0])
    steps = np.minimum(np.rint(np.log2(np.abs(moved) + 1.0)), _FAR) * np.sign(moved)
    before, after = np.concatenate([[_NO_JUMP], jump]), np.concatenate([jump, [_NO_JUMP]])
    return Matches(at, real, marks * real[:, None], before, after, _FAR + steps.astype(int))


class Comparer:
    """A small network over the tokens of two texts: each with its match, its neighbours, and theirs.

    Args:
        arrays: Weights by the names of `scripts/reading/comparing.py`, with the prefix `compare.`.

    Raises:
        KeyError: one is missing.
    """

    def __init__(self, arrays: Mapping[str, Floats]) -> None:
        self._small = arrays["compare.small.weight"]
        self._order = [arrays[f"compare.{name}.weight"] for name in ("before", "after", "moved", "side")]
        self._first = line(arrays, "compare.first")
        self._rounds = [(line(arrays, f"compare.beside.{at}"), line(arrays, f"compare.across.{at}")) for at in (0, 1)]
        self._norms = [line(arrays, f"compare.norms.{at}") for at in range(5)]

    def compare(self, first: ReadText, second: ReadText) -> TokenComparison:
        """Compare two texts and return features of each token, from its match, its neighbours and theirs."""
        pair = matches(first, second), matches(second, first)
        x, y = self._seen(0, first, second, pair[0]), self._seen(1, second, first, pair[1])
        for at, (beside, across) in enumerate(self._rounds):
            one, two = self._norms[1 + 2 * at], self._norms[2 + 2 * at]
            x, y = (
                _normed(z + gelu(of(_three(z), beside)), one) * m.real[:, None]
                for z, m in zip((x, y), pair, strict=True)
            )
            x, y = (
                _normed(z + gelu(of(np.concatenate([z, other[m.at]], axis=-1), across)), two) * m.real[:, None]
                for z, other, m in ((x, y, pair[0]), (y, x, pair[1]))
            )
        return TokenComparison(pair, (x, y))

    def _seen(self, side: int, own: ReadText, other: ReadText, matched: Matches) -> Floats:  # (N, W)
        """Return the input features of each token with its match."""
        mine, theirs = own.states @ self._small.T, (other.states @ self._small.T)[matched.at]
        before, after, moved, sides = self._order
        order = [
            before[matched.before],
            after[matched.after],
            moved[matched.moved],
            np.tile(sides[side], (len(mine), 1)),
        ]
        x = np.concatenate([matched.marks, *order, mine, theirs, np.abs(mine - theirs), mine * theirs], axis=-1)
        return np.asarray(_normed(gelu(of(x, self._first)), self._norms[0]) * matched.real[:, None])


class TokenComparison(NamedTuple):
    """The matches of two texts in each other, and the features of their tokens."""

    pair: tuple[Matches, Matches]
    tokens: tuple[Floats, Floats]  # (Q, W), (N, W): 0 for marks

    def pooled(self) -> list[Floats]:  # four of (W,)
        """Return mean and maximum of each text's features over the tokens that may match; each text needs one."""
        parts = []
        for own, of_own in zip(self.tokens, self.pair, strict=True):
            parts += [own[of_own.real].mean(axis=0), own[of_own.real].max(axis=0)]
        return parts

    def gap(self, first: Floats, second: Floats) -> Floats:  # (Q, D), (N, D) -> (D,)
        """Return the mean absolute difference of the first text's tokens and their matches, in upper-layer states."""
        real = self.pair[0].real
        return np.asarray(np.abs(first - second[self.pair[0].at])[real].mean(axis=0))


def line(arrays: Mapping[str, Floats], name: str) -> tuple[Floats, Floats]:  # (M, D), (M,)
    """Return weights and bias of a linear layer by its name."""
    return arrays[f"{name}.weight"], arrays[f"{name}.bias"]


def of(x: Floats, line: tuple[Floats, Floats]) -> Floats:  # (..., D) -> (..., M)
    """Apply a linear layer."""
    return np.asarray(x @ line[0].T + line[1])


def _normed(x: Floats, line: tuple[Floats, Floats]) -> Floats:
    """Apply layer normalisation."""
    apart = x - x.mean(axis=-1, keepdims=True)
    return np.asarray(apart / np.sqrt((apart**2).mean(axis=-1, keepdims=True) + 1e-5) * line[0] + line[1])


def _three(x: Floats) -> Floats:  # (N, W) -> (N, 3 W)
    """Return each token concatenated with the previous and the next one."""
    none = np.zeros_like(x[:1])
    return np.concatenate([np.concatenate([none, x[:-1]]), x, np.concatenate([x[1:], none])], axis=-1)


def unit(x: Floats) -> Floats:
    """Normalise vectors to length 1."""
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12))


def gelu(x: Floats) -> Floats:
    """Return x times the normal distribution's share below x, by Abramowitz and Stegun 7.1.26 (to 1.5e-7)."""
    size = np.abs(x) * np.float32(0.7071067811865476)
    t = 1.0 / (1.0 + np.float32(0.3275911) * size)
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return np.asarray(x * 0.5 * (1.0 + np.sign(x) * (1.0 - series * np.exp(-size * size))), dtype=x.dtype)


def float_arrays(file: bytes) -> dict[str, Floats]:
    """Return the weights of a safetensors file by name, converted to float32."""
    return {name: array.astype(np.float32) for name, array in load_arrays(file).items()}


def check_finite(arrays: Mapping[str, Floats]) -> None:
    """Check that all weights are finite. Raise `ValueError` otherwise."""
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(f"{name!r} is not finite")
