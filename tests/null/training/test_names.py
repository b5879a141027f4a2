"""Going on from a chain of names with one's own texts."""

import numpy as np
import pytest

from coterie.errors import DataError
from coterie.privacy.detection import PersonalData
from coterie.privacy.names import NAME_KINDS, ChainModel, NameDetector, bundled_model
from coterie.privacy.training import AnnotatedText, fit_names, train_names
from coterie.privacy.words import Lexicon

NAMES = ["Zork", "Blarg", "Quim", "Vexo", "Dran", "Plum", "Korb", "Snee", "Trux", "Wimp"]
PHRASES = ("unit {} reports", "we saw {} at noon", "ask {} about it", "the badge of {} is lost", "{} is on leave")


def marked(phrase, name, kind="PERSON"):
    start = phrase.index("{}")
    span = PersonalData(kind=kind, start=start, end=start + len(name), score=1.0)
    return AnnotatedText(text=phrase.format(name), spans=(span,))


@pytest.fixture(scope="module")
def texts():
    """Names in sentences of five kinds, and sentences without."""
    without = [AnnotatedText(text=f"we saw nothing at {n} today", spans=()) for n in range(10)]
    return [marked(phrase, name) for phrase in PHRASES for name in NAMES] + without


@pytest.fixture(scope="module")
def nothing():
    tags = 1 + 2 * len(NAME_KINDS)
    moves = np.zeros((tags, tags), dtype=np.float32)
    return ChainModel({}, np.zeros((1, tags), dtype=np.float32), moves, Lexicon({}))


def found(model, text):
    """What a chain finds, as kinds and words."""
    return [(str(each.kind), text[each.start : each.end]) for each in NameDetector(model).find(text)]


def test_learns(texts, nothing):
    """What is marked is found afterwards, in sentences of these kinds, and measured on texts that were held out."""
    trained = train_names(texts, nothing)

    assert found(trained.model, "we saw Zork at noon") == [("PERSON", "Zork")]
    assert found(trained.model, "we saw nothing at 3 today") == []
    assert not trained.worse
    assert 0 < trained.held_out < trained.texts == len(texts)
    assert trained.before["all"].marked == trained.after["all"].marked > 0


@pytest.mark.slow
def test_goes_on_from_what_was_known(texts):
    """What the texts do not speak of stays as the chain before found it."""
    text = "My name is Maria Schneider and I live in Berlin."
    trained = train_names(texts, bundled_model())

    assert found(trained.model, "ask Dran about it") == [("PERSON", "Dran")]
    assert found(trained.model, text) == found(bundled_model(), text)
    assert found(trained.model, text) == [("PERSON", "Maria Schneider"), ("LOCATION", "Berlin")]


def test_no_step_without_data(nothing):
    """A strong pull to a chain gives that chain."""
    base = fit_names([marked(phrase, name) for phrase in PHRASES for name in NAMES], nothing.lexicon)
    again = fit_names([marked("{} is here", "Ulm")] * 3, nothing.lexicon, base=base, penalty=1e7)

    rows = [again.terms[term] for term in base.terms]
    np.testing.assert_allclose(again.weights[rows], base.weights[:-1], atol=2e-3)


def test_too_little(texts, nothing):
    """Too few names, or texts of one kind only, are refused with what is missing."""
    with pytest.raises(DataError, match=r"10.*10.*20"):
        train_names(texts[:10], nothing)
    with pytest.raises(DataError, match="alike"):
        train_names([marked("we saw {} at noon", name) for name in NAMES] * 3, nothing)


def test_words_can_be_hidden(texts, nothing):
    """A chain that is fitted with all words hidden knows no word, and still tells names by their look."""
    model = fit_names(texts, nothing.lexicon, hide=1.0)

    assert not [term for term in model.terms if "w=" in term]
    assert found(model, "we saw Zork at noon") == [("PERSON", "Zork")]
    assert [term for term in fit_names(texts, nothing.lexicon).terms if term.startswith("w=")]
