"""Confidence of what is found in texts."""

from __future__ import annotations

import numpy as np
import pytest

from coterie.evaluation import FieldCase, ece
from coterie.extraction import EVIDENCE, Candidate
from coterie.training._extract_weigh import fit_weigher, level
from coterie.types import Field

FIELD = "law"


def _candidate(log_odds):
    return Candidate(0, 4, (log_odds, *[0.0] * (len(EVIDENCE) - 1)))


@pytest.fixture
def weigher():
    """Fitted on texts of which half state the field; the higher the evidence, the likelier a candidate is right."""
    random = np.random.default_rng(0)
    stated = random.random(300) < 0.5
    found = [[_candidate(random.normal(2 if yes else -2))] for yes in stated]
    return fit_weigher(
        [[each] for each in found],
        stated[:, None],
        [False],
        lambda number, field, candidate: bool(stated[number]),
        stated[:, None].astype(int),
    )


def test_strong_evidence_is_a_value_and_weak_evidence_is_none(weigher):
    """The likelier of right and not stated is what is said; without a candidate it is certain that nothing is."""
    (sure,) = weigher.decide(0, [_candidate(4.0)], many=False)
    (none,) = weigher.decide(0, [_candidate(-4.0)], many=False)

    assert (sure.start, sure.end) == (0, 4)
    assert none.start is None
    assert min(sure.confidence, none.confidence) > 0.9
    assert weigher.decide(0, [], many=False)[0].confidence == 1.0


def test_levelled_confidence_is_true(weigher):
    """Said at nine in ten and right seven times in ten: after levelling, seven in ten is what it says."""
    random = np.random.default_rng(1)
    said = random.uniform(0.8, 0.97, 400)
    right = random.random(400) < said - 0.2
    cases = [
        FieldCase(number, _said(confidence), bool(correct), stated=True)
        for number, (confidence, correct) in enumerate(zip(said, right, strict=True))
    ]

    levelled = level(weigher, cases, [FIELD])
    after = [levelled._sure(0, confidence) for confidence in said]

    assert ece(said, right) > 0.15
    assert ece(after, right) < 0.06
    assert sorted(after) == [after[place] for place in np.argsort(said)]


def test_few_answers_level_nothing(weigher):
    """A line through a handful of answers would say more of chance than of confidence."""
    cases = [FieldCase(number, _said(0.9), number % 2 == 0, stated=True) for number in range(10)]

    assert level(weigher, cases, [FIELD]).slope[0] == 1.0


def _said(confidence):
    return Field(name=FIELD, value=None, text="Ohio", start=0, end=4, confidence=confidence, accepted=False, reason="")
