"""When a finding is accepted, and the reason."""

import math

import pytest

from coterie.runtime.codec import DecodeError, from_json
from coterie.specialists.parts import Acceptance
from coterie.types import Reason

USUAL = {"temperature": 1.0, "threshold": 0.9, "target_risk": 0.05, "scope_threshold": -1.5}


@pytest.mark.parametrize(
    ("confidence", "in_scope", "accepted", "reason"),
    [
        (0.95, 0.0, True, Reason("accept.above_threshold", confidence=0.95, needed=0.9, decimals=2, risk_percent=5.0)),
        (0.9, -1.5, True, Reason("accept.above_threshold", confidence=0.9, needed=0.9, decimals=2, risk_percent=5.0)),
        (0.5, 0.0, False, Reason("abstain.below_threshold", guess="", confidence=0.5, needed=0.9, decimals=2)),
        (0.8999, 0.0, False, Reason("abstain.below_threshold", guess="", confidence=0.8999, needed=0.9, decimals=4)),
        (0.99, -2.0, False, Reason("abstain.out_of_scope", in_scope=-2.0, needed=-1.5, decimals=2)),
        (0.1, -1.501, False, Reason("abstain.out_of_scope", in_scope=-1.501, needed=-1.5, decimals=3)),
        (0.95, None, True, Reason("accept.above_threshold", confidence=0.95, needed=0.9, decimals=2, risk_percent=5.0)),
    ],
)
def test_reasons(confidence, in_scope, accepted, reason):
    """The reason has the number found and the number needed, told apart by their decimals."""
    assert Acceptance(**USUAL).judge(confidence, in_scope) == (accepted, reason)


def test_no_threshold_never_decides():
    """Where no level holds the risk, nothing is accepted, and the risk is named as it was set."""
    accepted, reason = Acceptance(**USUAL | {"threshold": None, "target_risk": 0.005}).judge(1.0, 5.0)

    assert not accepted
    assert reason == Reason("abstain.no_threshold", guess="", confidence=1.0, risk_percent=0.5)


def test_an_abstention_says_what_it_would_have_been():
    """Whoever is told that nobody is sure can go on with the guess."""
    accepted, reason = Acceptance(**USUAL).judge(0.5, 0.0, guess="refund")

    assert (accepted, reason.code, reason.values["guess"]) == (False, "abstain.below_threshold", "refund")


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
