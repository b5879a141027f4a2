"""The Python API with the real encoder on real messages."""

from __future__ import annotations

import numpy as np
import pytest

import coterie
from coterie import Classifier
from coterie.training.train import train

INTENTS = {"lost_or_stolen_card", "card_arrival", "exchange_rate", "Refund_not_showing_up"}


@pytest.fixture(scope="module")
def data(messages):
    """Messages of four intents of BANKING77: every fifth is held out."""
    rows = messages(INTENTS)
    kept = [row for index, row in enumerate(rows) if index % 5]
    held_out = rows[::5]
    return tuple([row[key] for row in part] for part in (kept, held_out) for key in ("text", "label"))


@pytest.fixture(scope="module")
def classifier(data):
    texts, labels, *_ = data
    return Classifier.fit(texts, labels, name="triage", description="Messages of bank customers.", seed=7)


def test_a_classifier_of_real_messages(classifier, data):
    """The embedding rung is right and calibrated on rows it has not seen, and abstains on what it was not made for."""
    _, _, texts, labels = data
    evaluation = classifier.evaluate([*texts, *("tell me a joke", "who won the match")], [*labels, None, None])
    probabilities = classifier.predict_proba(texts)

    assert classifier.rung == "embedding"
    assert evaluation.accuracy > 0.95
    assert evaluation.accepted_accuracy > 0.95
    assert evaluation.ece < 0.05
    assert evaluation.coverage > 0.8
    best = [classifier.labels[index] for index in probabilities.argmax(axis=1)]
    assert np.mean([one == right for one, right in zip(best, labels, strict=True)]) > 0.95
    assert best == [prediction.label for prediction in classifier.predict(texts)]


def test_it_serves_and_is_trained_again(classifier, tmp_path):
    """Saved, it answers in a network, and `coterie train` comes to the same version."""
    saved = classifier.save(tmp_path)

    with coterie.connect(tmp_path) as network:
        answer = network.ask("my card was stolen in the street")
    assert saved.promoted
    assert (answer.status, answer.text) == ("accepted", "lost_or_stolen_card")
    assert train(tmp_path, ["triage"]).specialists["triage"].version == classifier.version
