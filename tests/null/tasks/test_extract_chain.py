"""The chain against an enumeration of all taggings of a short sequence."""

from __future__ import annotations

import itertools
from functools import partial

import numpy as np
import pytest

from coterie.tasks.extract.tagging import FORBIDDEN, stretches

WORDS = 5


def _taggings(n):
    """Every tagging that is allowed: an I goes on a B or an I."""
    for tags in itertools.product(range(3), repeat=n):
        if all(tag != 2 or (index and tags[index - 1] != 0) for index, tag in enumerate(tags)):
            yield tags


def _score(tags, emissions, transitions):
    return sum(emissions[t, tag] for t, tag in enumerate(tags)) + sum(
        transitions[a, b] for a, b in itertools.pairwise(tags)
    )


def _holds(tags, first, last):
    """Whether a value stands exactly from one word to another."""
    inside = tags[first] == 1 and all(tag == 2 for tag in tags[first + 1 : last + 1])
    return inside and (last + 1 == len(tags) or tags[last + 1] != 2)


def _begins(tags, first):
    return tags[first] == 1


@pytest.mark.parametrize("seed", range(8))
def test_probabilities_are_those_of_all_taggings(seed):
    """The probability of each stretch is the share of the taggings that hold it, and the best end is the best one."""
    random = np.random.default_rng(seed)
    emissions, transitions = random.normal(size=(WORDS, 3)) * 2, random.normal(size=(3, 3))
    transitions[0, 2] = FORBIDDEN
    weights = {tags: np.exp(_score(tags, emissions, transitions)) for tags in _taggings(WORDS)}
    total = sum(weights.values())

    def share(holds):
        return sum(weight for tags, weight in weights.items() if holds(tags)) / total

    spans = stretches(emissions, transitions, least=0.0)

    assert spans
    for first, last, probability, begins in spans:
        ends = [share(partial(_holds, first=first, last=end)) for end in range(first, WORDS)]
        assert probability == pytest.approx(max(ends), rel=1e-6)
        assert last == first + int(np.argmax(ends))
        assert begins == pytest.approx(share(partial(_begins, first=first)), rel=1e-6)


def test_stretches_do_not_overlap():
    """No word is part of two values, and the likeliest come first."""
    random = np.random.default_rng(3)
    emissions = random.normal(size=(40, 3)) + np.array([0.0, 0.5, 1.0])
    transitions = np.array([[0.0, 0.0, FORBIDDEN], [0.0, -2.0, 1.0], [0.0, -1.0, 1.0]])

    spans = stretches(emissions, transitions)
    words = [word for span in spans for word in range(span.first, span.last + 1)]

    assert len(spans) > 1
    assert len(words) == len(set(words))
    assert [span.probability for span in spans] == sorted((span.probability for span in spans), reverse=True)


def test_a_sequence_without_a_value_still_gives_its_best_guess():
    """Where everything says O, the likeliest stretch is given with its small probability."""
    emissions = np.tile([8.0, 0.0, 0.0], (6, 1))
    emissions[2, 1] = 3.0

    (best,) = stretches(emissions, np.array([[0.0, 0.0, FORBIDDEN], [0.0] * 3, [0.0] * 3]))

    assert (best.first, best.last) == (2, 2)
    assert best.probability < 0.05
