"""What candidates in texts come to."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from scipy.special import expit

from coterie.learning.evaluation import ece
from coterie.tasks.extract.extractor import SIGNS, Calibrator, FieldModel, Statement
from coterie.tasks.extract.fit_tagging import JudgedStatements, fit_calibrator, fit_weigher
from coterie.tasks.extract.tagging import (
    EVIDENCE,
    CandidateSpan,
    TokenizedText,
    _allowed,
    _expectations,
    _Steps,
    fit_chain,
    stretches,
)

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


# --- The likelihood of a chain and its gradient, against enumeration and finite differences.


def _taggings(n):
    for tags in itertools.product(range(3), repeat=n):
        if all(tag != 2 or (index and tags[index - 1] != 0) for index, tag in enumerate(tags)):
            yield tags


@pytest.mark.parametrize("lengths", [[4], [3, 5, 1], [2, 2]])
def test_messages_are_sums_over_all_taggings(lengths):
    """The partition function, the tags' marginals and the moves' expectations of sequences of several lengths."""
    random = np.random.default_rng(0)
    emissions, moves = random.normal(size=(sum(lengths), 3)), _allowed(random.normal(size=(3, 3)))
    total, marginals, moved = 0.0, np.zeros_like(emissions), np.zeros((3, 3))
    start = 0
    for length in lengths:
        own = emissions[start : start + length]
        weights = {
            tags: np.exp(
                sum(own[t, tag] for t, tag in enumerate(tags)) + sum(moves[a, b] for a, b in itertools.pairwise(tags))
            )
            for tags in _taggings(length)
        }
        z = sum(weights.values())
        total += np.log(z)
        for tags, weight in weights.items():
            for t, tag in enumerate(tags):
                marginals[start + t, tag] += weight / z
            for a, b in itertools.pairwise(tags):
                moved[a, b] += weight / z
        start += length

    logarithm, computed, expected = _expectations(emissions, moves, _Steps.of(lengths))

    assert logarithm == pytest.approx(total)
    np.testing.assert_allclose(computed, marginals, atol=1e-9)
    np.testing.assert_allclose(expected, moved, atol=1e-9)


def test_a_fitted_chain_finds_what_it_was_shown():
    """A value begins at feature 1 and goes on with feature 2; the fitted chain reads a new sequence so."""
    words = [0, 0, 1, 2, 2, 0] * 20
    tags = np.array([0, 0, 1, 2, 2, 0] * 20)
    features = csr_matrix(np.eye(3)[words])

    fit = fit_chain(features, tags, [6] * 20)
    best = stretches(np.eye(3)[[0, 1, 2, 0, 0]] @ fit.weights, fit.transitions.astype(float))[0]

    assert (best.first, best.last) == (1, 2)
    assert best.probability > 0.9


# --- Confidence of what is said of fields: true of new texts, and no more than the weigher says where little is known.


CHANCE, AGREEMENT = SIGNS.index("chance"), SIGNS.index("agreement")


def _judged(count, *, fields=2, too_sure=1.0, seed=0):
    """Statements right as often as a half of their log-odds and whether others agree say; the weigher adds to it."""
    random = np.random.default_rng(seed)
    signs = np.zeros((count, len(SIGNS)))
    truth = random.normal(1.0, 1.0, count)
    signs[:, CHANCE] = 2 * truth + too_sure
    signs[:, AGREEMENT] = random.random(count)
    right = random.random(count) < expit(truth + 3 * signs[:, AGREEMENT] - 1.5)
    return JudgedStatements(random.integers(0, fields, count), random.integers(0, 2, count), signs, right)


def _confidences(calibrator, judged):
    return np.array(
        [
            calibrator.believe(field, Statement(0 if stated else None, 4 if stated else None, tuple(signs))).confidence
            for field, stated, signs in zip(judged.fields, judged.stated, judged.signs.tolist(), strict=True)
        ]
    )


def test_confidence_is_true_of_new_statements():
    """Said too sure and blind to agreement: afterwards calibrated on statements it has not seen, and it tells more."""
    new = _judged(3000, seed=1)
    before = _confidences(Calibrator.straight(2), new)
    after = _confidences(fit_calibrator(_judged(2000), 2), new)

    assert ece(before, new.right) > 0.1
    assert ece(after, new.right) < 0.04
    assert ((after - new.right) ** 2).mean() < 0.9 * ((before - new.right) ** 2).mean()


def test_a_field_without_statements_learns_from_the_others():
    """A field that nothing was said of is believed as the others are, not as the weigher would have it."""
    new = _judged(2000, seed=1)
    unseen = new._replace(fields=np.full(2000, 6))
    after = _confidences(fit_calibrator(_judged(3000, fields=6), 7), unseen)

    assert ece(after, unseen.right) < ece(_confidences(Calibrator.straight(7), unseen), unseen.right) / 2


def test_few_statements_move_little():
    """Three statements that happen to be wrong leave a confidence near the weigher's; none leaves it as it is."""
    few = _judged(3)._replace(right=np.zeros(3, dtype=bool))
    sure = Statement(0, 4, (2.0, *[0.0] * (len(SIGNS) - 1)))

    assert fit_calibrator(_judged(0), 2).believe(0, sure).confidence == pytest.approx(expit(2.0))
    assert fit_calibrator(few, 2).believe(0, sure).confidence == pytest.approx(expit(2.0), abs=0.15)


def test_the_same_statements_in_any_order_and_measure():
    """Neither the order of statements nor the unit of a sign changes what is believed."""
    judged = _judged(500)
    turned = JudgedStatements(*(values[::-1] for values in judged))
    doubled = judged._replace(signs=judged.signs * np.where(np.arange(len(SIGNS)) == AGREEMENT, 2.0, 1.0))
    expected = _confidences(fit_calibrator(judged, 2), judged)

    assert _confidences(fit_calibrator(turned, 2), judged) == pytest.approx(expected, abs=1e-3)
    assert _confidences(fit_calibrator(doubled, 2), doubled) == pytest.approx(expected, abs=1e-3)


def test_nothing_to_weigh_is_certain():
    """Where there was no candidate at all, it is certain that nothing is stated."""
    assert Calibrator.straight(1).believe(0, Statement(None, None, ())).confidence == 1.0
