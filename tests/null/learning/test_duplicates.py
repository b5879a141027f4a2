import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coterie.learning.dataset import normalise
from coterie.learning.splits import SIMILARITY, Duplicate, duplicate_groups, near_duplicates


def trigrams(text):
    """A text's set of trigrams, the slow way."""
    padded = f" {normalise(text)} "
    return {padded[i : i + 3] for i in range(len(padded) - 2)}


def jaccard(a, b):
    """The similarity of two texts, the slow way."""
    return len(trigrams(a) & trigrams(b)) / len(trigrams(a) | trigrams(b))


WORDS = [
    "card",
    "cards",
    "lost",
    "my",
    "the",
    "arrived",
    "has",
    "not",
    "yet",
    "why",
    "transfer",
    "a",
    "ü",
    "卡",
    "!",
    "I",
]
TEXTS = st.lists(st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join), max_size=12)


@given(TEXTS, TEXTS)
@settings(max_examples=50, deadline=None)
def test_join_is_exact(a, b):
    """Prefix filtering finds the same best match for every text as comparing all pairs does."""
    expected = []
    for j, text in enumerate(b):
        same = [i for i, other in enumerate(a) if normalise(other) == normalise(text)]
        best = max(((jaccard(other, text), -i) for i, other in enumerate(a) if other.strip()), default=(0, 0))
        if not text.strip():
            continue
        if same:
            expected.append(Duplicate(same[0], j, 1.0))
        elif best[0] >= SIMILARITY:
            expected.append(Duplicate(-best[1], j, pytest.approx(best[0])))

    assert near_duplicates(a, b) == expected


@given(TEXTS)
@settings(max_examples=50, deadline=None)
def test_groups_are_the_components_of_all_similar_pairs(texts):
    """Two texts are in one group exactly when a chain of duplicates links them."""
    parent = list(range(len(texts)))

    def root(i):
        return i if parent[i] == i else root(parent[i])

    for i, a in enumerate(texts):
        for j, b in enumerate(texts[:i]):
            alike = a.strip() and b.strip() and (normalise(a) == normalise(b) or jaccard(a, b) >= SIMILARITY)
            if alike:
                parent[root(i)] = root(j)
    groups = duplicate_groups(texts)

    for i in range(len(texts)):
        for j in range(i):
            assert (groups[i] == groups[j]) == (root(i) == root(j))


def test_what_people_do_not_see_is_no_difference():
    """Case, punctuation, spaces and the form of Unicode characters do not hide a copy."""
    train = ["Has my Card arrived?", "Zoë's café"]
    test = ["has  my card\narrived", "ZOE\u0308\u2019S CAFE\u0301!", "something else"]

    assert near_duplicates(train, test) == [(0, 0, 1.0), (1, 1, 1.0)]


def test_a_typo_in_a_long_sentence_is_a_near_duplicate():
    """One wrong letter in 60 characters is reported with its similarity, one in ten is not."""
    a = "I still have not received my new card, I ordered it over a week ago"
    [pair] = near_duplicates([a, "lost card"], [a.replace("ordered", "orderd"), "lost cart"])

    assert (pair.a, pair.b) == (0, 0)
    assert 0.9 <= pair.similarity < 1


@pytest.mark.parametrize("texts", [[], [""], ["?"], ["", " ", "?", "??", "a"], ["😀", "😀😀"]])
def test_texts_without_words(texts):
    """Nothing, blanks, punctuation and emoji are compared without harm, and blanks are never duplicates."""
    pairs = near_duplicates(texts, texts)

    assert [pair.b for pair in pairs] == [i for i, text in enumerate(texts) if text.strip()]
    assert len(duplicate_groups(texts)) == len(texts)


def test_blank_texts_are_linked_to_nothing():
    """Rows without a text are not duplicates of each other."""
    assert len(set(duplicate_groups(["", " ", "a card", "A card!"]))) == 3


def test_similar_templates_do_not_take_long(growth):
    """Texts that differ in a number only are not all compared with each other, which would be their square."""
    rng = random.Random(0)
    texts = [f"please show the status of order number {rng.randrange(10**6)} today" for _ in range(10_000)]
    pairs = near_duplicates(texts[:7_000], texts[7_000:])

    assert growth(lambda some: near_duplicates(some, some[:50]), texts[:750], texts[:3_000]) < 12
    assert all(jaccard(texts[pair.a], texts[7_000 + pair.b]) >= SIMILARITY for pair in pairs[:50])


def test_groups_do_not_depend_on_order():
    """The same texts in another order have the same groups."""
    texts = [f"where is card {i // 2}" + "!" * (i % 2) for i in range(100)]
    order = np.random.default_rng(0).permutation(100)
    one, other = duplicate_groups(texts), duplicate_groups([texts[i] for i in order])

    assert len(set(one)) == len(set(other))
    assert len({(a, b) for a, b in zip(one[order], other, strict=True)}) == len(set(one))
