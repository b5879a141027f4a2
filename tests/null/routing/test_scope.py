"""Whether a text is anybody's: by a specialist's own examples, and by those of the whole network."""

from __future__ import annotations

import numpy as np
import pytest

from coterie.routing.matching import CLEAR, RoutingScope, Typicality
from coterie.routing.profile import COLD_SIMILARITY, NEAR_COPY, Profile

SHARE = 0.04


def profile(low: float, high: float, count: int = 200) -> Profile:
    typical = np.linspace(low, high, count).astype(np.float32)
    vectors = np.eye(8, dtype=np.float32)[np.zeros(count, dtype=np.int64)]
    return Profile(vectors=vectors, names=("a",) * count, typical=typical, density=np.zeros(count))


def judged(scope: RoutingScope, position: int, similarity: float, closest: float = 0.0) -> Typicality:
    """How typical one text is of one specialist."""
    typicality = scope.typicality(np.array([position]), np.array([[similarity]]), np.array([[closest]]))
    return Typicality(*(values[0, 0] for values in typicality))


def test_the_share_of_less_typical_examples_counts():
    """Alone a specialist's own examples say it, and the standing is that in units of what is needed."""
    scope = RoutingScope([profile(0.5, 0.7)], false_rejection=SHARE)

    assert judged(scope, 0, 0.6).p_value == pytest.approx(0.5, abs=0.01)
    assert judged(scope, 0, 0.6).standing == pytest.approx(0.5 / SHARE, abs=0.3)
    assert judged(scope, 0, 0.7).p_value == 1.0
    assert judged(scope, 0, 0.49).standing == 0.0


def test_few_examples_borrow_those_of_the_others():
    """What is less typical than all of thirty examples may be a specialist's own, if others' are as untypical."""
    few, many = profile(0.6, 0.7, count=30), profile(0.4, 0.7, count=2000)

    assert judged(RoutingScope([few, many], false_rejection=SHARE), 0, 0.5).standing > 1
    assert judged(RoutingScope([few], false_rejection=SHARE), 0, 0.5).standing == 0


def test_many_examples_speak_for_themselves():
    """The more a specialist has, the less those of the others count."""
    other = profile(0.4, 0.7)
    few, many = (
        judged(RoutingScope([profile(0.6, 0.7, count=count), other], false_rejection=SHARE), 0, 0.55).p_value
        for count in (50, 2000)
    )
    assert few > 1.3 * many > 0


def test_every_specialist_weighs_the_same():
    """One with a hundred times the examples does not decide what is typical of the network."""
    small, large = profile(0.4, 0.5, count=20), profile(0.6, 0.7, count=2000)
    scope = RoutingScope([small, large, profile(0.9, 1.0, count=20)], false_rejection=SHARE)

    assert judged(scope, 2, 0.55).p_value == pytest.approx(1 / 3, abs=0.01)


def test_a_near_copy_of_an_example_is_clearly_in_scope():
    """Examples made from a few patterns are so alike that the same request in other words is less typical than all."""
    scope = RoutingScope([profile(0.95, 0.99)], false_rejection=SHARE)

    assert judged(scope, 0, 0.8, closest=NEAR_COPY).standing == pytest.approx(CLEAR)
    assert judged(scope, 0, 0.8, closest=NEAR_COPY - 0.01).standing == 0


def test_with_few_examples_the_similarity_decides():
    """It has no examples to be typical of, and takes no part in the network's measure."""
    cold = Profile(
        vectors=np.eye(8, dtype=np.float32)[:1],
        names=("a",),
        typical=np.empty(0, dtype=np.float32),
        density=np.empty(1, dtype=np.float32),
    )
    scope = RoutingScope([cold, profile(0.5, 0.7)], false_rejection=SHARE)

    assert judged(scope, 0, COLD_SIMILARITY + 0.01).standing >= CLEAR
    assert judged(scope, 0, COLD_SIMILARITY - 0.01) == (0.0, 0.0)
    assert judged(scope, 1, 0.6).p_value == pytest.approx(0.5, abs=0.01)
