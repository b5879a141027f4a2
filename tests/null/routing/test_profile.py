"""What the router knows of a specialist, made, stored and read."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save

from coterie.errors import ArtefactRefused
from coterie.routing.matching import Discriminant
from coterie.routing.profile import _LARGE, Bank, Profile, hint_texts, make_profile


def test_survives_its_file(tools):
    """A profile read back is the same but for the vectors' half precision, and written again gives the same bytes."""
    profile = tools.Cloud(1).profile()
    content = profile.to_bytes()
    again = Profile.from_bytes(content)

    assert again.names == profile.names
    np.testing.assert_array_equal(again.typical, profile.typical)
    np.testing.assert_array_equal(again.density, profile.density)
    np.testing.assert_allclose(again.vectors, profile.vectors, atol=1e-3)
    assert again.to_bytes() == content


def test_a_file_without_densities_is_read(tools):
    """A version trained before there were any gets them from its vectors, and what is typical with them."""
    profile = tools.Cloud(1).profile()
    arrays = {"vectors": profile.vectors.astype(np.float16), "typical": np.linspace(0, 1, 200, dtype=np.float32)}
    again = Profile.from_bytes(save(arrays, metadata={"names": json.dumps(profile.names)}))

    np.testing.assert_allclose(again.density, profile.density, atol=2e-3)
    np.testing.assert_allclose(np.median(again.typical), np.median(profile.typical), atol=2e-3)
    cold = save(arrays | {"typical": np.empty(0, dtype=np.float32)}, metadata={"names": json.dumps(profile.names)})
    assert Profile.from_bytes(cold).cold


def test_rare_labels_are_kept(tools):
    """Of thousands of examples a bounded number is kept, some of every label."""
    labels = ["common"] * 2990 + ["rare"] * 10
    vectors = tools.Cloud(1).draw(3000)
    profile = make_profile(vectors, labels, [None] * 3000, hints=vectors[:0], hint_texts=[], seed=0)

    assert len(profile.vectors) == len(profile.typical) == 2000
    assert profile.names.count("rare") == 10


def test_the_seed_decides_what_is_kept(tools):
    """The same seed keeps the same examples, another one others."""
    vectors = tools.Cloud(1).draw(2500)
    made = [
        make_profile(vectors, ["a"] * 2500, [None] * 2500, hints=vectors[:0], hint_texts=[], seed=s).to_bytes()
        for s in (0, 0, 1)
    ]

    assert made[0] == made[1] != made[2]


def test_few_examples_are_cold(tools):
    """Below twenty examples nothing is known of how alike they are: the nearest one counts alone."""
    assert tools.Cloud(1).profile(19).cold
    assert not tools.Cloud(1).profile(20).cold


def test_a_single_group_is_cold(tools):
    """If all examples are of one group, none can be compared with another: that is knowing nothing."""
    assert tools.Cloud(1).profile(50, groups=["g"] * 50).cold


def test_centroids_are_one_a_name(tools):
    """The sketch of a profile is the mean of each name, of unit length."""
    profile = tools.Cloud(1).profile(40, labels=4)
    centroids = profile.centroids()

    assert centroids.shape == (5, 48)
    np.testing.assert_allclose(np.linalg.norm(centroids, axis=1), 1.0, atol=1e-5)
    of_first = profile.vectors[[i for i, name in enumerate(profile.names) if name == profile.names[0]]].sum(axis=0)
    np.testing.assert_allclose(centroids[0], of_first / np.linalg.norm(of_first), atol=1e-5)


def test_hints_are_words():
    """The description and the labels as words are hints; what is blank is none."""
    assert hint_texts(" Cards. ", ["card_lost", "pin-blocked", "__", ""]) == ["Cards.", "card lost", "pin blocked"]


def test_phrases_of_a_description_stand_for_missing_examples():
    """With too few examples what the description enumerates are hints too; with enough they are not."""
    description = "Planning trips: flights, hotels and car rental."

    assert hint_texts(description, ["visa"], examples=3) == [
        description,
        "Planning trips",
        "flights",
        "hotels",
        "car rental",
        "visa",
    ]
    assert hint_texts(description, ["visa"], examples=20) == [description, "visa"]


GOOD = {"vectors": np.zeros((2, 4), dtype=np.float16), "typical": np.array([0.1, 0.2], dtype=np.float32)}
ODD = [
    b"",
    b"\x00" * 7,
    b"\xff" * 64,
    save(GOOD),
    save(GOOD, metadata={"names": "x"}),
    save(GOOD, metadata={"names": '["a"]'}),
    save(GOOD, metadata={"names": "3"}),
    save(GOOD | {"vectors": np.zeros(2, dtype=np.float16)}, metadata={"names": '["a", "b"]'}),
    save(GOOD | {"vectors": np.full((2, 4), np.nan, dtype=np.float16)}, metadata={"names": '["a", "b"]'}),
    save({"vectors": GOOD["vectors"]}, metadata={"names": '["a", "b"]'}),
]


@pytest.mark.parametrize("content", ODD, ids=range(len(ODD)))
def test_odd_files_are_refused(content):
    """A file that is no profile, or whose parts do not fit, is refused with the command that makes a new one."""
    with pytest.raises(ArtefactRefused, match="router profile") as caught:
        Profile.from_bytes(content)
    assert "coterie train" in caught.value.hint


# --- Many profiles compared at once say what each says alone.


def a_profile(random: np.random.Generator, count: int, *, cold: bool = False) -> Profile:
    vectors = random.normal(size=(count, 32)).astype(np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    typical = np.empty(0) if cold else np.linspace(0, 1, count)
    density = random.uniform(0.4, 0.8, size=count).astype(np.float32)
    return Profile(vectors=vectors, names=tuple(map(str, range(count))), typical=typical, density=density)


@pytest.mark.parametrize("texts", [1, 3, 40])
def test_a_bank_compares_as_each_profile_does(texts):
    """Of small, large, cold and empty ones, in any choice and order."""
    random = np.random.default_rng(0)
    profiles = [
        a_profile(random, 30),
        a_profile(random, 2, cold=True),
        a_profile(random, 0, cold=True),
        a_profile(random, _LARGE + 1),
        a_profile(random, 7, cold=True),
    ]
    bank = Bank(profiles)
    vectors = random.normal(size=(texts, 32)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for which in ([0, 1, 2, 3, 4], [3], [4, 0], [2], [1, 2]):
        compared = bank.compare(vectors, np.array(which))
        for column, position in enumerate(which):
            alone = profiles[position].compare(vectors)
            at_once = compared.column(column)
            assert at_once.similarity == pytest.approx(alone.similarity, abs=1e-6)
            assert at_once.closest == pytest.approx(alone.closest, abs=1e-6)
            assert at_once.nearest.tolist() == alone.nearest.tolist()


def test_a_bank_holds_each_vector_once():
    """The profiles that it gives back look into its block."""
    random = np.random.default_rng(1)
    bank = Bank([a_profile(random, 30), a_profile(random, 20)])
    first, second = bank.profiles
    assert first.vectors.base is second.vectors.base is not None


# --- What tells specialists with like examples apart.


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
