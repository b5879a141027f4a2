"""What candidates in texts come to."""

from __future__ import annotations

import numpy as np
import pytest

from coterie.tasks.extract.extractor import SIGNS, FieldModel
from coterie.tasks.extract.fit_tagging import fit_weigher
from coterie.tasks.extract.ranking import TokenizedText
from coterie.tasks.extract.tagging import EVIDENCE, CandidateSpan

TEXT = "Ohio law and Utah law and the laws of Ohio"
LAW = FieldModel(name="law", type="choice", choices=("Ohio", "Utah"))


def _candidate(log_odds, start=0):
    return CandidateSpan(start, start + 4, (log_odds, *[0.0] * (len(EVIDENCE) - 1)))


@pytest.fixture
def weigher():
    """Fitted on texts of which half state the field; the higher the evidence, the likelier a candidate is right."""
    random = np.random.default_rng(0)
    stated = random.random(300) < 0.5
    candidates = [[_candidate(random.normal(2 if yes else -2))] for yes in stated]
    return fit_weigher(
        [[candidate] for candidate in candidates],
        stated[:, None],
        [False],
        lambda number, field, candidate: bool(stated[number]),
        stated[:, None].astype(int),
    )


def test_strong_evidence_is_a_value_and_weak_evidence_is_none(weigher):
    """The likelier of right and not stated is what is said, with its chance; without a candidate nothing is weighed."""
    (sure,) = weigher.decide(0, LAW, [_candidate(4.0)], TokenizedText(TEXT))
    (none,) = weigher.decide(0, LAW, [_candidate(-4.0)], TokenizedText(TEXT))
    (empty,) = weigher.decide(0, LAW, [], TokenizedText(TEXT))

    assert (sure.start, sure.end, sure.stated) == (0, 4, True)
    assert none.start is None
    assert min(_sign(sure, "chance"), _sign(none, "chance")) > 2
    assert max(_sign(sure, "contrary"), _sign(none, "contrary")) < 0.1
    assert empty.signs == ()
    assert not empty.stated


def test_others_that_say_the_same_agree(weigher):
    """The chances of other places with the same value count together; a place with another value does not."""
    ohio, utah = TEXT.rindex("Ohio"), TEXT.index("Utah")
    (alone,) = weigher.decide(0, LAW, [_candidate(4.0), _candidate(3.0, utah)], TokenizedText(TEXT))
    (backed,) = weigher.decide(0, LAW, [_candidate(4.0), _candidate(3.0, ohio)], TokenizedText(TEXT))

    assert _sign(alone, "agreement") == 0.0
    assert _sign(backed, "agreement") == _sign(backed, "rival") > 0.5
    assert _sign(backed, "candidates") == pytest.approx(np.log(2))


def test_a_quote_without_a_value_says_so(weigher):
    """A typed field whose quote has no value of the type; of words alone nothing more is expected."""
    words = FieldModel(name="law", type="text")
    (with_value,) = weigher.decide(0, LAW, [_candidate(4.0)], TokenizedText(TEXT))
    (lost,) = weigher.decide(0, LAW, [_candidate(4.0, TEXT.index("laws"))], TokenizedText(TEXT))
    (plain,) = weigher.decide(0, words, [_candidate(4.0, TEXT.index("laws"))], TokenizedText(TEXT))

    assert [_sign(field, "no value") for field in (with_value, lost, plain)] == [0.0, 1.0, 0.0]


def _sign(statement, name):
    return statement.signs[SIGNS.index(name)]
