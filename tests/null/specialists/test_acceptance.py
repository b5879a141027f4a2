"""When a finding is accepted, and in which words."""

import math

import pytest

from coterie.runtime.codec import DecodeError, from_json
from coterie.specialists.acceptance import Acceptance

USUAL = {"temperature": 1.0, "threshold": 0.9, "target_risk": 0.05, "scope_threshold": -1.5}


@pytest.mark.parametrize(
    ("confidence", "in_scope", "accepted", "words"),
    [
        (0.95, 0.0, True, "confidence 0.95 reaches 0.90, which keeps the error at 5% or below"),
        (0.9, -1.5, True, "confidence 0.90 reaches 0.90, which keeps the error at 5% or below"),
        (0.5, 0.0, False, "not sure enough (confidence 0.50, needs 0.90)"),
        (0.8999, 0.0, False, "not sure enough (confidence 0.8999, needs 0.9000)"),
        (0.99, -2.0, False, "unlike anything it was trained on (in-scope score -2.00, needs -1.50)"),
        (0.1, -1.501, False, "unlike anything it was trained on (in-scope score -1.501, needs -1.500)"),
        (0.95, None, True, "confidence 0.95 reaches 0.90, which keeps the error at 5% or below"),
    ],
)
def test_words(confidence, in_scope, accepted, words):
    """The reason has the number found and the number needed, told apart by their decimals."""
    assert Acceptance(**USUAL).judge(confidence, in_scope) == (accepted, words)


def test_no_threshold_never_decides():
    """Where no level holds the risk, nothing is accepted, and the risk is named as it was set."""
    accepted, reason = Acceptance(**USUAL | {"threshold": None, "target_risk": 0.005}).judge(1.0, 5.0)

    assert not accepted
    assert reason == (
        "not sure enough (confidence 1.00; its examples show no confidence that keeps the error at 0.5% or below, so "
        "it never decides: more examples may, or a higher target_risk)"
    )


def test_an_abstention_says_what_it_would_have_been():
    """Whoever is told that nobody is sure can go on with the guess."""
    accepted, reason = Acceptance(**USUAL).judge(0.5, 0.0, guess="refund")

    assert (accepted, reason) == (False, "not sure enough that it is 'refund' (confidence 0.50, needs 0.90)")


def test_without_a_scope_threshold_anything_is_in_scope():
    """Without a line of scope the in-scope score decides nothing."""
    assert Acceptance(**USUAL | {"scope_threshold": None}).judge(0.95, -1e9)[0]


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": 0},
        {"temperature": -1.0},
        {"temperature": math.inf},
        {"temperature": None},
        {"temperature": "1"},
        {"threshold": "0.9"},
        {"threshold": math.nan},
        {"threshold": True},
        {"target_risk": None},
        {"scope_threshold": []},
    ],
    ids=str,
)
def test_what_is_no_number_is_refused(change):
    """A stored acceptance with anything but numbers in it makes no acceptance."""
    with pytest.raises(DecodeError, match=r"number|above 0"):
        from_json(Acceptance, USUAL | change)
