"""A linear-chain conditional random field over the tags of one field: O (outside), B (begins a value), I (goes on).

Lafferty, McCallum and Pereira 2001, "Conditional Random Fields". Decoding is by posterior: the probability that a value
stands exactly from here to there, under all taggings of the sequence.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

O, B, I = 0, 1, 2  # noqa: E741 - the field's letters
TAGS = 3
FORBIDDEN = -1e4
"""Score of what no tagging may have: an I that goes on nothing."""

Floats = np.ndarray


class Stretch(NamedTuple):
    """A value's place in a sequence, first and last word included, and how likely."""

    first: int
    last: int
    probability: float
    """That a value stands exactly here."""
    begins: float
    """That a value begins here, however far it goes."""


def stretches(emissions: Floats, transitions: Floats, *, least: float = 0.05) -> list[Stretch]:
    """Where values stand in a sequence: the likeliest end of each likely beginning, none inside another, best first.

    Args:
        emissions: (T, 3) score of each tag at each word.
        transitions: (3, 3) score of one tag after another.
        least: Beginnings less likely than this are passed over, except the likeliest.
    """
    chain = _Chain.of(emissions, transitions)
    begins = np.exp(np.minimum(chain.forward[:, B] + chain.backward[:, B] - chain.total, 0.0))
    taken = np.zeros(len(emissions), dtype=bool)
    found: list[Stretch] = []
    for first in np.argsort(-begins, kind="stable").tolist():
        if taken[first] or (found and begins[first] < least):
            break
        each = _longest(first, chain, float(begins[first]))
        if not taken[each.first : each.last + 1].any():
            taken[each.first : each.last + 1] = True
            found.append(each)
    return sorted(found, key=lambda each: -each.probability)


class _Chain(NamedTuple):
    """A sequence with its messages."""

    emissions: Floats  # (T, 3)
    transitions: Floats  # (3, 3)
    forward: Floats  # (T, 3), own emission included
    backward: Floats  # (T, 3), own emission not
    total: float
    """Logarithm of the sum over all taggings."""

    @classmethod
    def of(cls, emissions: Floats, transitions: Floats) -> _Chain:
        return cls(emissions, transitions, *_messages(emissions, transitions))


def _longest(first: int, chain: _Chain, begins: float) -> Stretch:
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
    return Stretch(first, first + best, float(np.exp(min(scores[best] + after[best] - total, 0.0))), begins)


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
