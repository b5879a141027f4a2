"""Confidence of what is said of fields: true of new texts, and no more than the weigher says where little is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from coterie.learning.metrics import ece
from coterie.tasks.extract.extractor import SIGNS, Calibrator, Statement
from coterie.tasks.extract.fit_tagging import JudgedStatements, fit_calibrator

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
