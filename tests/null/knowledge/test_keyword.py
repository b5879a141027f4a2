"""The keyword index: which terms are looked up, and which hits come first."""

from __future__ import annotations

import pytest

from coterie.knowledge import indexes as _keyword
from coterie.knowledge.indexes import KeywordIndex, build_keywords, search_keywords


@pytest.fixture
def index(tmp_path):
    """Builds the index of texts, numbered from 0."""
    made = []

    def build(*texts):
        folder = tmp_path / str(len(made))
        build_keywords(folder, [(key, "", text) for key, text in enumerate(texts)])
        made.append(KeywordIndex(folder))
        return made[-1]

    return build


def keys(groups, query, limit=10):
    return [hit.key for hit in search_keywords(groups, query, limit)]


def test_the_earlier_of_equals_comes_first(index):
    """Equal texts have equal scores, and stand in the order they were indexed in."""
    group = index("late fee", "other words", "late fee", "late fee")

    assert keys([group], "late fee") == [0, 2, 3]
    assert keys([group], "late fee", limit=2) == [0, 2]


def test_a_small_index_looks_every_word_up(index):
    """Also one that most chunks have."""
    group = index("fee fee", "fee of a loan", "loan", "fee")

    assert set(keys([group], "fee")) == {0, 1, 3}
    assert 3 in keys([group], "loan fee")


def test_a_large_one_passes_over_what_most_chunks_have(index, monkeypatch):
    """The word brings no chunk of its own, unless nothing else is asked for."""
    monkeypatch.setattr(_keyword, "_LARGE", 3)
    group = index("fee fee", "fee of a loan", "loan", "fee")

    assert set(keys([group], "loan fee")) == {1, 2}
    assert set(keys([group], "fee")) == {0, 1, 3}


def test_what_is_common_is_so_in_all_groups_together(index, monkeypatch):
    """A word that every chunk of one group has is still looked up where most chunks that the reader sees lack it."""
    monkeypatch.setattr(_keyword, "_LARGE", 3)
    groups = [index("fee", "fee"), index("loan", "rate", "card")]

    hits = search_keywords(groups, "fee loan", 10)

    assert [hit.score > 0 for hit in hits] == [True] * 3
    assert len(search_keywords(groups[:1], "fee loan", 10)) == 2
