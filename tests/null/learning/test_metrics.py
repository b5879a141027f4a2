import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special
from scipy.special import bdtr, bdtrc
from sklearn import metrics as reference

from coterie.learning.calibration import expit, logit, logsumexp
from coterie.learning.evaluation import (
    Interval,
    auc_interval,
    auroc,
    bootstrap_interval,
    bootstrap_mean,
    brier,
    coverage,
    ece,
    exact_interval,
    macro_f1,
    multilabel_f1,
    risk_coverage,
    score_interval,
    unseen,
)

PAIRS = st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from("abcdef")), min_size=1, max_size=60)
SCORED = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=60)


@settings(max_examples=40, deadline=None)
@given(PAIRS)
def test_label_figures_agree_with_scikit_learn(pairs):
    """Macro F1 is scikit-learn's, for words and for numbers."""
    truth, guess = (np.array(column) for column in zip(*pairs, strict=True))
    expected = reference.f1_score(truth, guess, average="macro", zero_division=0)
    numbers = [np.array([ord(label) - 97 for label in column]) for column in (truth, guess)]

    assert macro_f1(truth, guess) == pytest.approx(expected)
    assert macro_f1(*numbers) == pytest.approx(expected)


def test_no_prediction_is_a_miss_and_no_label():
    """None lowers recall, but is no class of its own."""
    truth = np.array(["a", "a", "b"], dtype=object)

    assert macro_f1(truth, np.array(["a", None, "b"], dtype=object)) == pytest.approx((2 / 3 + 1) / 2)
    assert macro_f1([0, 0, 1], [0, -1, 1]) == pytest.approx((2 / 3 + 1) / 2)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(*[st.booleans()] * 6), min_size=1, max_size=40))
def test_label_set_figures_agree_with_scikit_learn(rows):
    """Micro F1, macro F1 over the labels that occur, and exact match are scikit-learn's."""
    both = np.array(rows)
    truth, guess = both[:, :3], both[:, 3:]
    occurs = (truth | guess).any(axis=0)

    if occurs.any():
        for macro, average in ((False, "micro"), (True, "macro")):
            expected = reference.f1_score(truth[:, occurs], guess[:, occurs], average=average, zero_division=0)
            if occurs.sum() > 1:
                assert multilabel_f1(truth, guess, macro=macro) == pytest.approx(expected)


@settings(max_examples=40, deadline=None)
@given(SCORED)
def test_auroc_agrees_with_scikit_learn(pairs):
    """With ties; and without rows of both kinds it is nan."""
    score, positive = (np.array(column) for column in zip(*pairs, strict=True))

    if 0 < positive.sum() < len(positive):
        assert auroc(score, positive) == pytest.approx(reference.roc_auc_score(positive, score))
    else:
        assert np.isnan(auroc(score, positive))


def test_auroc_takes_infinite_scores():
    """A threshold of minus infinity ranks last."""
    assert auroc([np.inf, 0, -np.inf], [True, True, False]) == 1


def test_ece_by_hand():
    """Two bins, one 0.1 too sure and one 0.2 too modest, weighted by their rows."""
    confidence = [0.9] * 10 + [0.3] * 10
    correct = [1] * 8 + [0] * 2 + [1] * 5 + [0] * 5

    assert ece(confidence, correct) == pytest.approx(0.15)
    assert ece(confidence, correct, bins=1) == pytest.approx(0.05)


def test_ece_at_the_edges():
    """Confidences of 0 and 1 are in the first and last bin, and calibrated ones have an error of zero."""
    assert ece([0.0, 1.0], [0, 1]) == 0
    assert ece([0.0, 1.0], [1, 0]) == 1
    random = np.random.default_rng(0)
    confidence = random.random(200_000)
    assert ece(confidence, random.random(200_000) < confidence) < 0.01


def test_acceptance_figures():
    """Coverage, accuracy of the accepted and the curve of both agree."""
    confidence = np.array([0.9, 0.8, 0.8, 0.1])
    correct = np.array([True, True, False, False])
    curve = risk_coverage(confidence, correct)
    accepted = confidence >= 0.8

    assert coverage(accepted) == 0.75
    assert curve.threshold.tolist() == [0.9, 0.8, 0.1]
    assert curve.coverage.tolist() == [0.25, 0.75, 1]
    assert curve.risk == pytest.approx([0, 1 / 3, 0.5])
    assert brier([0.8, 0.3], [1, 0]) == pytest.approx((0.04 + 0.09) / 2)


@pytest.mark.filterwarnings("error")
def test_no_rows_give_nan():
    """A figure of nothing is nan, without a warning."""
    empty = np.array([])

    for figure in (macro_f1, brier, auroc, ece):
        assert np.isnan(figure(empty, empty))
    assert np.isnan(coverage(empty))
    assert risk_coverage(empty, empty).coverage.size == 0
    assert np.isnan(bootstrap_mean(empty, seed=0).low)
    assert np.isnan(bootstrap_interval(macro_f1, empty, empty, seed=0).high)


@pytest.mark.parametrize(
    "values", [np.random.default_rng(0).random(400) < 0.9, np.random.default_rng(0).normal(size=400)]
)
def test_the_fast_interval_of_a_mean_is_the_slow_one(values):
    """The binomial and blockwise draws agree with drawing rows one set at a time."""
    slow = bootstrap_interval(lambda column: float(column.mean()), values, seed=0, n=4000)
    fast = bootstrap_interval(np.mean, values, seed=1, n=4000)

    assert fast == pytest.approx(slow, abs=0.012)
    assert fast == bootstrap_mean(values, seed=1, n=4000)


def test_intervals_cover_the_truth():
    """About 95 of 100 intervals of the accuracy hold the true accuracy."""
    random = np.random.default_rng(0)
    hits = 0
    for seed in range(400):
        low, high = bootstrap_mean(random.random(300) < 0.8, seed=seed, n=400)
        hits += low <= 0.8 <= high

    assert 0.91 <= hits / 400 <= 0.98


@pytest.mark.parametrize(("hits", "rows"), [(6, 6), (0, 6), (40, 40), (3, 20), (286, 300)])
def test_the_interval_of_a_share_is_where_its_tails_are_a_fortieth(hits, rows):
    """At each end of the exact interval what was seen, or more extreme, happens one time in forty."""
    low, high = exact_interval(hits, rows)

    assert low == 0 if hits == 0 else bdtrc(hits - 1, rows, low) == pytest.approx(0.025)
    assert high == 1 if hits == rows else bdtr(hits, rows, high) == pytest.approx(0.025)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.97, 0.995])
@pytest.mark.parametrize("rows", [6, 40, 300])
def test_few_rows_do_not_claim_a_share_that_they_cannot_show(share, rows):
    """However few the rows and however near to 1 the truth, at most one interval in forty begins above it."""
    random = np.random.default_rng(0)
    above = sum(score_interval(random.random(rows) < share, seed=0).low > share for _ in range(2000))

    assert above / 2000 <= 0.025 + 0.01


def test_nothing_wrong_among_a_few_is_no_certainty():
    """Accuracy, macro F1 and AUC that are perfect on six rows have intervals as wide as six rows make them."""
    six = np.ones(6, dtype=bool)
    labels = np.array([0, 1, 2, 0, 1, 2])

    assert score_interval(six, seed=0) == exact_interval(6, 6)
    assert unseen(bootstrap_interval(macro_f1, labels, labels, seed=0), 6) == exact_interval(6, 6)
    assert auc_interval([3, 2, 1, 0, -1, -2], six.cumsum() <= 2, seed=0) == exact_interval(2, 2)
    assert unseen(Interval(0.0, 0.0), 6) == exact_interval(0, 6)
    assert unseen(Interval(0.5, 1.0), 6) == (0.5, 1.0)


def test_the_interval_of_what_is_neither_right_nor_wrong_is_the_bootstraps():
    """Scores between 0 and 1, such as F1 of words, are drawn again."""
    values = np.random.default_rng(0).random(50)

    assert score_interval(values, seed=3) == bootstrap_mean(values, seed=3)


def test_intervals_skip_draws_without_a_figure():
    """A draw without positives has no AUC, and does not spoil the interval."""
    interval = bootstrap_interval(auroc, [3, 1, 2, 0], [True, False, False, False], seed=0, n=200)

    assert interval == (1, 1)


# --- The special functions in numpy are those of scipy.


X = np.concatenate([np.linspace(-700, 700, 401), np.random.default_rng(5).normal(size=1000) * 5])


def test_logistic_function_and_its_inverse():
    """They agree to the last digits, at any size, of arrays and of numbers."""
    np.testing.assert_allclose(expit(X), special.expit(X), rtol=1e-13)
    p = np.concatenate([[0.0, 1.0, 1e-300, 1 - 1e-12], special.expit(X[np.abs(X) < 30])])
    np.testing.assert_allclose(logit(p), special.logit(p), rtol=1e-9, atol=1e-12)
    assert float(expit(0.0)) == 0.5
    assert expit(X.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_sums_of_exponentials(axis):
    """They agree along any axis, with rows that are all minus infinity too."""
    a = X[:1200].reshape(30, 40).copy()
    a[3] = -np.inf
    sums, right = logsumexp(a, axis=axis), special.logsumexp(a, axis=axis)
    np.testing.assert_allclose(sums, right, rtol=1e-13)
    assert np.shape(sums) == np.shape(right)
