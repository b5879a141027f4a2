"""Small data that the lexical rung can learn, and a classifier fitted to them once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from coterie import Classifier

WORDS = {
    "card": ["card", "blocked", "stolen", "pin", "chip", "swipe"],
    "parcel": ["parcel", "delivery", "courier", "tracking", "late", "address"],
    "refund": ["refund", "money", "back", "charged", "twice", "invoice"],
}
FILLER = ["please", "today", "again", "my", "the", "why"]


def messages(per_label: int = 30) -> tuple[list[str], list[str]]:
    """Texts of two words that tell their label and two that do not, labels in turn."""
    texts, labels = [], []
    for i in range(per_label):
        for label, words in WORDS.items():
            pairs = list(itertools.permutations(words, 2))
            first, second = pairs[i * 7 % len(pairs)]
            texts.append(f"{FILLER[i % 6]} {first} {second} {FILLER[(i // 6) % 6]}")
            labels.append(label)
    return texts, labels


@pytest.fixture(scope="package", autouse=True)
def _few_trees() -> Iterator[None]:
    """Scorecards of two bags of trees in place of eight: one column tells everything here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("coterie.tasks.score.fit.BAGS", 2)
        yield


@pytest.fixture(scope="session")
def data() -> tuple[list[str], list[str]]:
    """Ninety messages with three labels."""
    return messages()


@pytest.fixture(scope="session")
def classifier(data) -> Classifier:
    return Classifier.fit(*data, rungs=["lexical"], name="triage", description="Messages of customers.")


@pytest.fixture(scope="session")
def folder(classifier, tmp_path_factory):
    folder = tmp_path_factory.mktemp("network")
    classifier.save(folder)
    return folder
