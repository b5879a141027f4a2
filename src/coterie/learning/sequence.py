"""A linear-chain conditional random field over the tags of one field: O (outside), B (begins a value), I (goes on).

Lafferty, McCallum and Pereira 2001, "Conditional Random Fields". Decoding is by posterior: the probability that a value
stands exactly from here to there, under all taggings of the sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
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
# Words lie step by step, the longest sequence first, a column each: at every step those sequences that go on are the
# first columns of what the last step left, so a step is one product for all of them, in place. Messages are
# probabilities, scaled at each step (Rabiner 1989, section V.A).

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

    order: Ints  # (N,)
    """The words step by step: first that of each sequence, then the second of those that have one."""
    ends: list[int]
    """Where each step ends in this order."""

    @classmethod
    def of(cls, lengths: Sequence[int]) -> _Steps:
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        longest = np.argsort(-np.asarray(lengths), kind="stable")
        ranked, begins = np.asarray(lengths)[longest], starts[longest]
        rows = [begins[: np.count_nonzero(ranked > step)] + step for step in range(int(ranked[0]))]
        return cls(np.concatenate(rows), np.cumsum([len(each) for each in rows]).tolist())

    @cached_property
    def moves(self) -> list[tuple[slice, slice]]:
        """Of each step but the first the words, and those before them."""
        begins = [0, *self.ends]
        return [
            (slice(begin, end), slice(before, before + end - begin))
            for before, begin, end in zip(begins, self.ends, self.ends[1:], strict=False)
        ]

    @cached_property
    def before(self) -> Ints:
        """Of each word behind the first step, where the one before it lies in the order."""
        return np.concatenate([np.arange(0), *(np.arange(last.start, last.stop) for _, last in self.moves)])


def fit_chain(
    features: csr_matrix,
    tags: Ints,
    lengths: Sequence[int],
    *,
    kinds: int = 1,
    penalty: float = PENALTY,
    rounds: int = _ROUNDS,
) -> ChainFit:
    """The chain of highest penalised likelihood.

    Args:
        features: (N, V) of all words, sequence after sequence.
        tags: (N,) 0 outside, then for each kind of value one that begins it and one that goes on: 1, 2, then 3, 4.
        lengths: Words of each sequence; they sum to N.
        kinds: How many kinds of value the tags tell apart; K = 1 + 2 * kinds.
        penalty: Of the squared weights.
        rounds: Of L-BFGS, at most.
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
            logarithm - score + penalty / 2 * float(flat @ flat),
            gradient + penalty * flat,
        )

    start = np.zeros(columns * size + size * size)
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
    opens = np.ones((size, 1))
    opens[2::2] = 0.0  # nothing goes on at the beginning
    peaks = emissions.max(axis=1)
    scaled = np.ascontiguousarray(np.exp(emissions - peaks[:, None])[steps.order].T)  # (K, N)
    moving, totals = np.exp(moves), np.empty(len(emissions))
    forward, backward, ahead = np.empty_like(scaled), np.ones_like(scaled), np.empty_like(scaled)
    first = slice(0, steps.ends[0])
    np.multiply(opens, scaled[:, first], out=forward[:, first])
    _scale(forward[:, first], totals[first])
    onward = np.ascontiguousarray(moving.T)
    for now, last in steps.moves:
        message = np.matmul(onward, forward[:, last])
        np.multiply(message, scaled[:, now], out=forward[:, now])
        _scale(forward[:, now], totals[now])
    for now, last in reversed(steps.moves):
        np.multiply(scaled[:, now], backward[:, now], out=ahead[:, now])
        backward[:, last] = message = np.matmul(moving, ahead[:, now])
        _scale(backward[:, last], np.empty(message.shape[1]))
    before, behind = forward[:, steps.before], ahead[:, steps.ends[0] :]
    likely = np.maximum((before * (moving @ behind)).sum(axis=0), _TINY)
    marginals = forward * backward
    _scale(marginals, np.empty(len(emissions)))
    placed = np.empty_like(emissions)
    placed[steps.order] = marginals.T
    return float(peaks.sum() + np.log(totals).sum()), placed, (before @ (behind / likely).T) * moving


def _scale(message: Floats, totals: Floats) -> None:
    """Divide each column by its sum, which goes to `totals`."""
    np.add.reduce(message, axis=0, out=totals)
    np.maximum(totals, _TINY, out=totals)
    np.divide(message, totals, out=message)


def numbered(features: Sequence[Sequence[str]], at_least: int) -> dict[str, int]:
    """A number for each feature that occurs so often."""
    counts: dict[str, int] = {}
    for each in features:
        for name in each:
            counts[name] = counts.get(name, 0) + 1
    kept = sorted(name for name, count in counts.items() if count >= at_least)
    return {name: number for number, name in enumerate(kept)}
