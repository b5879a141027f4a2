"""What the router knows of a specialist, made, stored and read."""

import json

import numpy as np
import pytest
from safetensors.numpy import save

from coterie.errors import ArtefactRefused
from coterie.routing.profile import Profile, hint_texts, make_profile


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
