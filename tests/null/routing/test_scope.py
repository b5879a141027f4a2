"""Whether a text is anybody's: by a specialist's own examples, and by those of the whole network."""

from __future__ import annotations

import numpy as np
import pytest

from coterie.routing._discriminant import Discriminant
from coterie.routing._profile import COLD_SIMILARITY, Profile
from coterie.routing._scope import Scope

SHARE = 0.03


def profile(low: float, high: float, seed: int = 0, count: int = 200) -> Profile:
    """One whose examples are so alike."""
    vectors = np.random.default_rng(seed).normal(size=(count, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    typical = np.linspace(low, high, count).astype(np.float32)
    return Profile(vectors=vectors.astype(np.float32), names=("a",) * count, typical=typical)


@pytest.fixture
def scope():
    """Three specialists of like examples and, last, one that knows of many things. Nothing tells them apart."""
    profiles = [*(profile(0.5, 0.7, seed) for seed in range(3)), profile(0.2, 0.7, 3)]
    return Scope(profiles, Discriminant(profiles[:1]), false_rejection=SHARE)


def judged(scope: Scope, position: int, similarity: float) -> tuple[bool, ...]:
    """In scope, plausible, adds, joins, alone."""
    found = scope.typicality(np.array([position]), np.array([[similarity]]), np.array([[similarity]]))
    return tuple(bool(each[0, 0]) for each in found[2:])


def test_the_wide_one_does_not_take_what_is_like_nobody_s(scope):
    """Typical enough of its own many things, and less so than nearly all examples of the network: out of scope."""
    assert judged(scope, 3, 0.22) == (False, True, False, False, False)


def test_it_loses_no_more_than_twice_the_share_for_that(scope):
    """From twice the share of its own examples on, a text is its own whatever the others' are like."""
    assert not judged(scope, 3, 0.2 + 0.5 * 1.8 * SHARE)[0]
    assert judged(scope, 3, 0.2 + 0.5 * 2.2 * SHARE)[0]


def test_the_narrow_one_takes_what_is_typical_of_all():
    """Less like it than its own examples are, and as like it as many examples of the others are like theirs."""
    profiles = [profile(0.65, 0.75, 0), profile(0.2, 0.7, 1)]
    scope = Scope(profiles, Discriminant(profiles[:1]), false_rejection=SHARE)

    assert judged(scope, 0, 0.652)[0]
    assert not judged(scope, 0, 0.64)[0]  # like none of its own


def test_a_piece_must_be_clearer_to_add_its_specialist(scope):
    """Each mark asks for more than the one before: plausible, joined by words, beside another one, alone."""
    marks = [judged(scope, 3, similarity) for similarity in np.linspace(0.2, 0.7, 400)]
    first = [[each[mark] for each in marks].index(True) for mark in (1, 3, 2, 4)]

    assert first == sorted(first)
    assert len(set(first)) == 4


def test_what_is_surely_alike_is_in_scope_everywhere():
    """Examples made from a few patterns are so alike that the same request in other words is less typical than all."""
    profiles = [profile(0.95, 0.99, 0), profile(0.95, 0.99, 1)]
    scope = Scope(profiles, Discriminant(profiles[:1]), false_rejection=SHARE)

    assert judged(scope, 0, 0.8)[0]
    assert judged(scope, 0, 0.8)[2]


def test_with_few_examples_the_similarity_decides():
    """It has no examples to be typical of, and takes no part in the network's measure."""
    cold = Profile(vectors=np.eye(8, dtype=np.float32)[:1], names=("a",), typical=np.empty(0, dtype=np.float32))
    scope = Scope([cold], Discriminant([cold]), false_rejection=SHARE)

    assert judged(scope, 0, COLD_SIMILARITY + 0.01) == (True,) * 5
    assert judged(scope, 0, COLD_SIMILARITY - 0.01) == (False,) * 5


def test_few_examples_are_judged_by_their_own_alone():
    """What tells specialists apart knows few examples by heart: no other text can score for one as they do."""
    profiles = [profile(0.5, 0.7, seed, count=60) for seed in range(3)]
    scope = Scope(profiles, Discriminant(profiles), false_rejection=SHARE)

    assert judged(scope, 0, 0.5 + 0.2 * 1.5 * SHARE)[0]
    assert not judged(scope, 0, 0.5 + 0.2 * 0.3 * SHARE)[0]
