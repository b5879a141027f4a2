"""N-gram features against the reference they follow, and on texts nobody expects."""

import random

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from coterie.engines import linear
from coterie.engines.linear import NgramFeatures, fit_ngrams

TEXTS = [
    "My card was stolen, what do I do?!",
    "my card my card my card",
    "I paid $20 twice: is 5% normal?",
    "Überweisung nach Österreich \u2013 läuft's?",
    "a",
    "naïve café \u00e9t\u00e9 ☕☕ 数字 ١٢٣",
    "  spaces \t and\nlines   ",
    "x_y x-y don't",
]
FAMILIES = {
    "word": {"analyzer": "word", "ngram_range": (1, 2), "token_pattern": r"\w+|[$%!?]"},
    "char": {"analyzer": "char_wb", "ngram_range": (2, 5)},
}


def fit(unit: str, texts=TEXTS, *, at_least: int = 1, at_most: int = 100_000) -> NgramFeatures:
    """Features of some texts."""
    shortest, longest = FAMILIES[unit]["ngram_range"]
    return fit_ngrams(texts, unit=unit, shortest=shortest, longest=longest, at_least=at_least, at_most=at_most)


def dense(features: NgramFeatures, text: str) -> np.ndarray:
    """The features of a text as one whole row."""
    row = np.zeros(len(features.terms))
    sparse = features.encode(text)
    row[sparse.indices] = sparse.values
    return row


@pytest.mark.parametrize("unit", FAMILIES)
@pytest.mark.parametrize("at_least", [1, 2])
def test_equals_scikit_learn(unit, at_least):
    """Vocabulary and values are those of scikit-learn's TfidfVectorizer with the same analyser."""
    reference = TfidfVectorizer(**FAMILIES[unit], sublinear_tf=True, min_df=at_least).fit(TEXTS)
    features = fit(unit, at_least=at_least)
    unseen = [*TEXTS, "the card I paid twice", "", "☕", "stolen stolen stolen"]

    ours = np.array([dense(features, text) for text in unseen])

    assert features.terms == reference.vocabulary_
    np.testing.assert_allclose(ours, reference.transform(unseen).toarray(), atol=1e-6)


@pytest.mark.parametrize("unit", FAMILIES)
def test_restored_features_are_the_same(unit):
    """Features that went through their description and arrays encode exactly as before."""
    features = fit(unit)

    restored = NgramFeatures.restore(features.describe(), {"idf": features.idf}, "idf")

    for text in TEXTS:
        for before, after in zip(features.encode(text), restored.encode(text), strict=True):
            np.testing.assert_array_equal(before, after)


def test_words_that_are_remembered_change_nothing(monkeypatch):
    """A text has the same features the second time, after others, and where there is no room for its words."""
    texts = ["where is my card", "my card, my card!", "w" * 40, "a card is where it is"]
    made = fit_ngrams(texts, unit="char", shortest=2, longest=4, at_least=1, at_most=500)
    first = [made.encode(text) for text in texts]
    monkeypatch.setattr(linear, "_MOST_WORDS", 2)
    for _ in range(2):
        for text, before in zip(texts, first, strict=True):
            again = made.encode(text)
            assert (again.indices == before.indices).all()
            assert (again.values == before.values).all()


def test_keeps_the_most_frequent_terms():
    """Beyond `at_most` the terms in fewer texts go first, and among equals the later in the alphabet."""
    features = fit_ngrams(["b a", "b a", "b c", "d"], unit="word", shortest=1, longest=1, at_least=1, at_most=3)

    assert features.terms == {"a": 0, "b": 1, "c": 2}


def test_order_of_texts_changes_nothing():
    """The vocabulary depends on the texts and not on the order in which they come."""
    shuffled = random.Random(1).sample(TEXTS, len(TEXTS))

    assert fit("char", at_most=50).terms == fit("char", shuffled, at_most=50).terms


def test_texts_without_a_known_term_have_no_features():
    """A text of unknown n-grams, or of none, is the zero vector and no error."""
    features = fit("word")

    for text in ("", " \n ", "zzz qqq", "\ud800", "☕"):
        assert len(features.encode(text).indices) == 0


def test_other_features_are_refused():
    """A description that no features can have been described by raises ValueError."""
    features = fit("word", ["a b"])
    good, idf = features.describe(), {"idf": features.idf}

    for change in (
        {"terms": ["a", "a", "b"]},
        {"terms": ["a"]},
        {"terms": "abc"},
        {"terms": [1, 2, 3]},
        {"unit": "sentence"},
        {"shortest": 0},
        {"shortest": 1.5},
        {"longest": "2"},
        {"longest": 10**9},
    ):
        with pytest.raises(ValueError, match=r"array|terms.*expected a text|twice|n-grams"):
            NgramFeatures.restore(good | change, idf, "idf")
