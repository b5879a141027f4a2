"""The likelihood of a chain and its gradient, against enumeration and finite differences."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from coterie.tasks.extract.tagging import _allowed, _expectations, _Steps, fit_chain, stretches


def _taggings(n):
    for tags in itertools.product(range(3), repeat=n):
        if all(tag != 2 or (index and tags[index - 1] != 0) for index, tag in enumerate(tags)):
            yield tags


@pytest.mark.parametrize("lengths", [[4], [3, 5, 1], [2, 2]])
def test_messages_are_sums_over_all_taggings(lengths):
    """The partition function, the tags' marginals and the moves' expectations of sequences of several lengths."""
    random = np.random.default_rng(0)
    emissions, moves = random.normal(size=(sum(lengths), 3)), _allowed(random.normal(size=(3, 3)))
    total, marginals, moved = 0.0, np.zeros_like(emissions), np.zeros((3, 3))
    start = 0
    for length in lengths:
        own = emissions[start : start + length]
        weights = {
            tags: np.exp(
                sum(own[t, tag] for t, tag in enumerate(tags)) + sum(moves[a, b] for a, b in itertools.pairwise(tags))
            )
            for tags in _taggings(length)
        }
        z = sum(weights.values())
        total += np.log(z)
        for tags, weight in weights.items():
            for t, tag in enumerate(tags):
                marginals[start + t, tag] += weight / z
            for a, b in itertools.pairwise(tags):
                moved[a, b] += weight / z
        start += length

    logarithm, computed, expected = _expectations(emissions, moves, _Steps.of(lengths))

    assert logarithm == pytest.approx(total)
    np.testing.assert_allclose(computed, marginals, atol=1e-9)
    np.testing.assert_allclose(expected, moved, atol=1e-9)


def test_a_fitted_chain_finds_what_it_was_shown():
    """A value begins at feature 1 and goes on with feature 2; the fitted chain reads a new sequence so."""
    words = [0, 0, 1, 2, 2, 0] * 20
    tags = np.array([0, 0, 1, 2, 2, 0] * 20)
    features = csr_matrix(np.eye(3)[words])

    fit = fit_chain(features, tags, [6] * 20)
    best = stretches(np.eye(3)[[0, 1, 2, 0, 0]] @ fit.weights, fit.transitions.astype(float))[0]

    assert (best.first, best.last) == (1, 2)
    assert best.probability > 0.9
