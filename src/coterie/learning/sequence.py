"""A linear-chain conditional random field over the tags of one field: O (outside), B (begins a value), I (goes on).

Lafferty, McCallum and Pereira 2001, "Conditional Random Fields". Decoding is by posterior: the probability that a value
stands exactly from here to there, under all taggings of the sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


O, B, I = 0, 1, 2  # noqa: E741 - the field's letters
TAGS = 3
FORBIDDEN = -1e4
"""Score of what no tagging may have: an I that goes on nothing."""

Floats = np.ndarray


class TagSpan(NamedTuple):
    """A value's place in a sequence, first and last word included, and how likely."""

    first: int
    last: int
    probability: float
    """That a value stands exactly here."""
    begins: float
    """That a value begins here, however far it goes."""


def stretches(emissions: Floats, transitions: Floats, *, least: float = 0.05) -> list[TagSpan]:
    """Where values stand in a sequence: the likeliest end of each likely beginning, none inside another, best first.

    Args:
        emissions: (T, 3) score of each tag at each word.
        transitions: (3, 3) score of one tag after another.
        least: Beginnings less likely than this are passed over, except the likeliest.
    """
    chain = _Chain.of(emissions, transitions)
    begins = np.exp(np.minimum(chain.forward[:, B] + chain.backward[:, B] - chain.total, 0.0))
    taken = np.zeros(len(emissions), dtype=bool)
    found: list[TagSpan] = []
    for first in np.argsort(-begins, kind="stable").tolist():
        if taken[first] or (found and begins[first] < least):
            break
        each = _longest(first, chain, float(begins[first]))
        if not taken[each.first : each.last + 1].any():
            taken[each.first : each.last + 1] = True
            found.append(each)
    return sorted(found, key=lambda each: -each.probability)


class _Chain(NamedTuple):
    emissions: Floats  # (T, 3)
    transitions: Floats  # (3, 3)
    forward: Floats  # (T, 3), own emission included
    backward: Floats  # (T, 3), own emission not
    total: float
    """Logarithm of the sum over all taggings."""

    @classmethod
    def of(cls, emissions: Floats, transitions: Floats) -> _Chain:
        return cls(emissions, transitions, *_messages(emissions, transitions))


def _longest(first: int, chain: _Chain, begins: float) -> TagSpan:
    """The likeliest end of a value that begins at `first`."""
    emissions, transitions, forward, backward, total = chain
    inside = emissions[first + 1 :, I].copy()
    inside += np.where(np.arange(len(inside)) == 0, transitions[B, I], transitions[I, I])
    scores = forward[first, B] + np.concatenate([[0.0], np.cumsum(inside)])  # of ending at first, first + 1 ...
    last = np.arange(first, len(emissions))
    after = np.zeros(len(last))
    ends_as = np.where(last == first, B, I)
    if len(last) > 1:
        follow = emissions[last[:-1] + 1][:, [O, B]] + backward[last[:-1] + 1][:, [O, B]]
        after[:-1] = np.logaddexp.reduce(transitions[ends_as[:-1]][:, [O, B]] + follow, axis=1)
    best = int((scores + after).argmax())
    return TagSpan(first, first + best, float(np.exp(min(scores[best] + after[best] - total, 0.0))), begins)


def _messages(emissions: Floats, transitions: Floats) -> tuple[Floats, Floats, float]:
    """Forward scores (own emission included), backward scores (own emission not), and the logarithm of the sum."""
    steps = len(emissions)
    forward = np.empty((steps, TAGS))
    backward = np.zeros((steps, TAGS))
    forward[0] = emissions[0] + np.array([0.0, 0.0, FORBIDDEN])
    for t in range(1, steps):
        forward[t] = np.logaddexp.reduce(forward[t - 1][:, None] + transitions, axis=0) + emissions[t]
    for t in range(steps - 2, -1, -1):
        backward[t] = np.logaddexp.reduce(transitions + (emissions[t + 1] + backward[t + 1])[None], axis=1)
    return forward, backward, float(np.logaddexp.reduce(forward[-1]))


# --- Fitting a chain model: the conditional likelihood of all tag sequences at once, by L-BFGS.
#
# Sequences are stacked by step, the longest first, so that at every step those that go on are the first rows of one
# array: one product a step for all of them. Messages are probabilities, scaled at each step (Rabiner 1989, section
# V.A).

Ints = np.ndarray

PENALTY = 0.3  # of the squared weights; 0.1 and 1 do no better on held-back contracts
_ROUNDS = 40
_TINY = 1e-300


class ChainFit(NamedTuple):
    """A fitted chain."""

    weights: Floats  # (V, K)
    transitions: Floats  # (K, K)


@dataclass(frozen=True)
class _Steps:
    """Where each step of each sequence lies among all words."""

    rows: list[Ints]
    """For each step the words of the sequences that are so long, longest sequence first."""

    @classmethod
    def of(cls, lengths: Sequence[int]) -> _Steps:
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        order = np.argsort(-np.asarray(lengths), kind="stable")
        ranked, begins = np.asarray(lengths)[order], starts[order]
        return cls([begins[: np.count_nonzero(ranked > step)] + step for step in range(int(ranked[0]))])


def fit_chain(
    features: csr_matrix,
    tags: Ints,
    lengths: Sequence[int],
    *,
    kinds: int = 1,
    penalty: float = PENALTY,
    rounds: int = _ROUNDS,
    prior: ChainFit | None = None,
) -> ChainFit:
    """The chain of highest penalised likelihood.

    Args:
        features: (N, V) of all words, sequence after sequence.
        tags: (N,) 0 outside, then for each kind of value one that begins it and one that goes on: 1, 2, then 3, 4.
        lengths: Words of each sequence; they sum to N.
        kinds: How many kinds of value the tags tell apart; K = 1 + 2 * kinds.
        penalty: Of the squared weights.
        rounds: Of L-BFGS, at most.
        prior: Weights to begin with, from which the squared differences are counted; zeros if None.
    """
    from scipy.optimize import minimize  # noqa: PLC0415 - training alone needs it

    steps, columns, size = _Steps.of(lengths), features.shape[1], 1 + 2 * kinds
    observed = np.asarray(features.T @ np.eye(size)[tags])  # (V, K)
    pairs = _count_pairs(tags, lengths, size)
    transposed = features.T.tocsr()

    def loss(flat: Floats) -> tuple[float, Floats]:
        weights, moves = flat[: columns * size].reshape(columns, size), flat[columns * size :].reshape(size, size)
        emissions = np.asarray(features @ weights)
        logarithm, marginals, moved = _expectations(emissions, _allowed(moves), steps)
        score = float((emissions[np.arange(len(tags)), tags]).sum() + (pairs * moves).sum())
        gradient = np.concatenate([(np.asarray(transposed @ marginals) - observed).ravel(), (moved - pairs).ravel()])
        return (
            logarithm - score + penalty / 2 * float((flat - start) @ (flat - start)),
            gradient + penalty * (flat - start),
        )

    start = np.zeros(columns * size + size * size)
    if prior is not None:
        free = np.where(prior.transitions <= FORBIDDEN, 0.0, prior.transitions)
        start = np.concatenate([prior.weights.ravel(), free.ravel()]).astype(np.float64)
    best = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": rounds, "maxcor": 6}).x
    weights, moves = best[: columns * size].reshape(columns, size), best[columns * size :].reshape(size, size)
    return ChainFit(weights.astype(np.float32), _allowed(moves).astype(np.float32))


def _allowed(moves: Floats) -> Floats:
    """Transitions with what may not be: going on with a kind after anything but that kind."""
    allowed = moves.copy()
    for goes_on in range(2, len(moves), 2):
        others = np.ones(len(moves), dtype=bool)
        others[goes_on - 1 : goes_on + 1] = False
        allowed[others, goes_on] = FORBIDDEN
    return allowed


def _count_pairs(tags: Ints, lengths: Sequence[int], size: int = TAGS) -> Floats:  # (K, K)
    pairs = np.zeros((size, size))
    inner = np.ones(len(tags) - 1, dtype=bool)
    inner[np.cumsum(lengths)[:-1] - 1] = False
    np.add.at(pairs, (tags[:-1][inner], tags[1:][inner]), 1)
    return pairs


def _expectations(emissions: Floats, moves: Floats, steps: _Steps) -> tuple[float, Floats, Floats]:
    """The sum of log partition functions, marginals of tags (N, K) and expected numbers of moves (K, K)."""
    size = len(moves)
    opens = np.ones(size)
    opens[2::2] = 0.0  # nothing goes on at the beginning
    peaks = emissions.max(axis=1)
    scaled = np.exp(emissions - peaks[:, None])
    moving = np.exp(moves)
    forward, backward = np.zeros_like(scaled), np.ones_like(scaled)
    logarithm = float(peaks.sum())
    for step, rows in enumerate(steps.rows):
        before = forward[steps.rows[step - 1][: len(rows)]] @ moving if step else opens
        message = before * scaled[rows]
        total = message.sum(axis=1)
        logarithm += float(np.log(np.maximum(total, _TINY)).sum())
        forward[rows] = message / np.maximum(total, _TINY)[:, None]
    moved = np.zeros((size, size))
    for step in range(len(steps.rows) - 1, 0, -1):
        rows = steps.rows[step]
        before = steps.rows[step - 1][: len(rows)]
        ahead = scaled[rows] * backward[rows]
        message = ahead @ moving.T
        joint = forward[before].T @ (ahead / np.maximum((forward[before] * message).sum(axis=1), _TINY)[:, None])
        moved += joint * moving
        backward[before] = message / np.maximum(message.sum(axis=1), _TINY)[:, None]
    marginals = forward * backward
    return logarithm, marginals / np.maximum(marginals.sum(axis=1), _TINY)[:, None], moved


def numbered(features: Sequence[Sequence[str]], at_least: int) -> dict[str, int]:
    """A number for each feature that occurs so often."""
    counts: dict[str, int] = {}
    for each in features:
        for name in each:
            counts[name] = counts.get(name, 0) + 1
    kept = sorted(name for name, count in counts.items() if count >= at_least)
    return {name: number for number, name in enumerate(kept)}
