"""What tells specialists with like examples apart."""

import numpy as np
import pytest

from coterie.routing.matching import Discriminant
from coterie.routing.profile import make_profile

DIMENSION = 32


def subject(random, shared, own, n):
    """Examples of a subject: mostly what it shares with another one, a little of its own, and noise."""
    vectors = shared + own + 0.8 * random.normal(size=(n, DIMENSION)) / np.sqrt(DIMENSION)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def profile(vectors):
    return make_profile(
        vectors, ["a"] * len(vectors), [None] * len(vectors), hints=vectors[:1], hint_texts=["h"], seed=0
    )


@pytest.fixture
def pair():
    """Two subjects that share most of what they are about: training vectors and fresh ones of each."""
    random = np.random.default_rng(5)
    shared = random.normal(size=DIMENSION) / np.sqrt(DIMENSION)
    own = [0.35 * random.normal(size=DIMENSION) / np.sqrt(DIMENSION) for _ in range(2)]
    return [(subject(random, shared, own_part, 120), subject(random, shared, own_part, 200)) for own_part in own]


def right(scores_of, pair):
    """The share of fresh texts of which the right subject has the higher score."""
    return np.mean([scores_of(fresh).argmax(axis=1) == i for i, (_, fresh) in enumerate(pair)])


def test_it_tells_apart_what_similarity_confuses(pair):
    """Where two subjects share most, the discriminant is right more often than the nearest examples."""
    profiles = [profile(examples) for examples, _ in pair]
    by_similarity = right(lambda fresh: np.stack([candidate.similarity(fresh) for candidate in profiles], axis=1), pair)
    discriminant = Discriminant(profiles)
    by_discriminant = right(lambda fresh: discriminant.scores(fresh, [0, 1]), pair)

    assert by_discriminant > by_similarity
    assert by_discriminant > 0.9


def test_many_examples_do_not_weigh_more(pair):
    """A subject known by ten times as many examples draws no more than its share."""
    (many, first), (few, second) = pair
    discriminant = Discriminant([profile(many), profile(few[:12])])
    shares = [np.mean(discriminant.scores(fresh, [0, 1]).argmax(axis=1) == 0) for fresh in (first, second)]

    assert shares[0] > 0.8
    assert shares[1] < 0.25


@pytest.mark.parametrize("known", [0, 1])
def test_alone_there_is_nothing_to_tell(pair, known):
    """With fewer than two subjects it says nothing."""
    discriminant = Discriminant([profile(pair[0][0])] * known)

    assert discriminant.scores(pair[0][1], range(known)).tolist() == [[0.0] * known] * 200
