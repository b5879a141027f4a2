"""Text models against the plain thing they are a fast or careful version of."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge
from sklearn.svm import LinearSVC

from coterie.learning.fitting import (
    AXES,
    GAMMA,
    RIDGES,
    TextExamples,
    fit_kernel,
    fit_neighbours,
    fit_scope,
    nearest_out_of_fold,
)
from coterie.learning.job import Silent
from coterie.tasks.classify.heads import (
    build_head,
    fit_lexical,
    known_out_of_fold,
    lexical_out_of_fold,
    ngram_features,
    ngram_matrix,
    usual_share,
)
from coterie.types import Prompt


def examples(rows, hot=None, *, several: bool = False, folds: int = 3) -> TextExamples:
    """Rows of `text` and `label`, dealt into folds one by one."""
    names = sorted({row["label"] for row in rows})
    if hot is None:
        hot = np.array([[float(row["label"] == name) for name in names] for row in rows])
    texts = [row["text"] for row in rows]
    return TextExamples(texts=texts, hot=hot, several=several, folds=np.arange(len(rows)) % folds, seed=0)


def lexical(these: TextExamples):
    """Features, matrix and model of some examples."""
    features = ngram_features(these.texts)
    matrix = ngram_matrix(features, these.texts)
    return features, matrix, fit_lexical(matrix, these, np.arange(len(these.texts)))


@pytest.mark.parametrize("labels", [2, 3])
def test_lexical_logits_are_the_machine_s(texts, labels):
    """The stored model gives scikit-learn's decision values; of two labels, one is the other's negative."""
    these = examples(texts(labels=labels, each=10))
    _, matrix, model = lexical(these)
    reference = LinearSVC(C=0.3, tol=1e-2, random_state=0).fit(matrix, these.hot.argmax(axis=1))
    expected = reference.decision_function(matrix)

    expected = np.column_stack([-expected, expected]) if labels == 2 else expected
    np.testing.assert_allclose(model.logits(matrix), expected, atol=1e-5)


def test_out_of_fold_logits_are_of_models_that_did_not_see_the_row(texts):
    """A row's label cannot be read off its out-of-fold logits: random labels are met by chance only."""
    rows = texts(labels=2, each=60)
    random = np.random.default_rng(0)
    hot = np.eye(2)[random.integers(2, size=len(rows))]
    these = examples(rows, hot)
    features, matrix, model = lexical(these)

    seen = (model.logits(matrix).argmax(axis=1) == hot.argmax(axis=1)).mean()
    unseen = (lexical_out_of_fold(features, matrix, these, Silent()).argmax(axis=1) == hot.argmax(axis=1)).mean()

    assert seen > 0.9
    assert abs(unseen - 0.5) < 0.15


@pytest.mark.parametrize("several", [False, True])
def test_a_text_in_other_words_is_left_to_the_kernel(texts, several):
    """Where labels exclude each other, n-grams prefer none for a text without a known word, and no commonest label."""
    rows = texts(labels=3, each=8)
    these = examples(rows + rows[:8], several=several)
    features, _, model = lexical(these)
    head = build_head(model, None, np.ones(1), features, usual=None if several else 1.0)

    foreign = head.logits(Prompt(text="\u043e\u0442\u043c\u0435\u043d\u0438\u0442\u044c"))
    assert (np.ptp(foreign) == 0) is not several


def test_the_usual_share_of_known_words_is_that_of_held_out_texts():
    """Nine in ten texts have it when the words of their own fold are unknown."""
    rows = [{"text": f"alpha beta word{row} own{row}", "label": "ab"[row % 2]} for row in range(20)]
    these = examples(rows)

    assert usual_share(known_out_of_fold(lexical(these)[0], these)) == pytest.approx(0.5)
    assert usual_share(np.linspace(0, 1, 101)) == pytest.approx(0.1)


def test_words_of_the_row_s_own_fold_are_unknown_to_it():
    """A row whose words no other fold has gets logits as a text in another language does."""
    rows = [{"text": f"w{at // 2}x w{at // 2}y", "label": "ab"[at % 4 // 2]} for at in range(12)]
    these = examples(rows)
    apart = replace(these, folds=np.arange(12) // 2)
    features, matrix, _ = lexical(apart)

    assert not np.ptp(lexical_out_of_fold(features, matrix, apart, Silent()), axis=1).any()
    assert np.ptp(lexical_out_of_fold(features, matrix, these, Silent()), axis=1).all()


@pytest.mark.parametrize("several", [False, True])
def test_labels_without_examples_on_both_sides(texts, several):
    """A label that no row of a fold's training has, or every row, gets a constant instead of an error."""
    rows = texts(labels=2, each=6)
    hot = np.zeros((len(rows), 3))
    hot[:, 0] = 1.0
    these = examples(rows, hot, several=several)
    _, matrix, model = lexical(these)

    logits = model.logits(matrix)
    assert (logits.argmax(axis=1) == 0).all()
    assert (logits[:, 1:] < 0).all()


def test_texts_without_any_ngram():
    """Texts of which no n-gram occurs twice, or that have none, are a model without features, not an error."""
    rows = [{"text": " ", "label": "a"}, {"text": "", "label": "b"}] * 5
    these = examples(rows)
    features, matrix, model = lexical(these)

    assert matrix.shape[1] == 0
    assert np.isfinite(model.logits(matrix)).all()
    assert np.isfinite(lexical_out_of_fold(features, matrix, these, Silent())).all()


@pytest.mark.parametrize("several", [False, True])
def test_kernel_model_is_kernel_ridge(texts, encoder, several):
    """With every row a landmark it is scikit-learn's kernel ridge, but for the jitter; so are its held-out logits."""
    these = examples(texts(labels=3, each=8), several=several)
    vectors = encoder.encode(these.texts).astype(np.float16).astype(np.float32)
    fitted = fit_kernel(vectors, these)
    targets = 2 * these.hot if several else these.hot - (1 - these.hot) / 2
    assert fitted.ridge in RIDGES

    def reference(rows: np.ndarray) -> KernelRidge:
        return KernelRidge(alpha=fitted.ridge, kernel="rbf", gamma=GAMMA).fit(vectors[rows], targets[rows])

    everything = np.ones(len(vectors), dtype=bool)
    np.testing.assert_allclose(fitted.block.logits(vectors), reference(everything).predict(vectors), atol=0.02)
    for fold in range(3):
        held = these.folds == fold
        expected = reference(~held).predict(vectors[held]) + fitted.bias
        np.testing.assert_allclose(fitted.out_of_fold[held], expected, atol=0.05)


def test_a_head_is_its_models_weighted(texts, encoder):
    """The built head's logits are the shares times the models' logits, to half precision."""
    these = examples(texts(labels=3, each=8))
    features, matrix, model = lexical(these)
    vectors = encoder.encode(these.texts)
    kernel = fit_kernel(vectors, these)
    head = build_head(model, kernel, np.array([0.3, 0.7]), features, usual=1.0)

    expected = 0.3 * model.logits(matrix) + 0.7 * (kernel.block.logits(vectors) + kernel.bias)
    prompts = [Prompt(text=text, vector=vector) for text, vector in zip(these.texts, vectors, strict=True)]
    np.testing.assert_allclose([head.logits(prompt) for prompt in prompts], expected, atol=5e-3)


def test_scope_compares_rows_with_what_they_are_no_part_of(texts, encoder):
    """A training row's score is what it would be if only the other folds had been there to be near to."""
    these = examples(texts(labels=3, each=10))
    vectors = encoder.encode(these.texts)
    logits = np.tile([1.0, 0.0, 0.0], (len(vectors), 1))
    compared = fit_neighbours(vectors, these)
    nearest = nearest_out_of_fold(compared, vectors, these)
    scope, scores = fit_scope(compared, nearest, logits)

    axes = compared.axes.astype(float)
    for row, vector in enumerate(vectors):
        rest = these.folds != these.folds[row]
        inside = np.linalg.norm((vectors[rest] - vector) @ axes, axis=1).min()
        outside = 1.0 - ((vector @ axes) ** 2).sum()
        assert nearest[row] == pytest.approx(-np.sqrt(inside**2 + outside), abs=2e-2)
        signs = np.array([1.0, nearest[row]])
        assert scores[row] == pytest.approx(((signs - scope.usual[:, 0]) / scope.usual[:, 1]).mean(), abs=1e-6)
    assert scores.mean() == pytest.approx(0.0, abs=1e-6)


def test_scope_looks_along_what_tells_the_labels_apart(texts, encoder):
    """The axes are orthonormal, hold the labels' means whole, and are no more than there are directions."""
    these = examples(texts(labels=4, each=10))
    vectors = encoder.encode(these.texts)
    axes = fit_neighbours(vectors, these).axes.astype(float)
    means = these.hot.T @ (vectors - vectors.mean(axis=0)) / these.hot.sum(axis=0)[:, None]

    assert axes.shape[1] <= min(AXES, encoder.dimension)
    assert axes.T @ axes == pytest.approx(np.eye(axes.shape[1]), abs=5e-3)
    assert np.linalg.norm(means @ axes, axis=1) == pytest.approx(np.linalg.norm(means, axis=1), abs=5e-3)


def test_scope_keeps_so_many_texts(texts, encoder, monkeypatch):
    """Of very many rows some of every label are kept."""
    monkeypatch.setattr("coterie.learning.fitting.MOST_ROWS", 9)
    these = examples(texts(labels=3, each=10))
    vectors = encoder.encode(these.texts)
    compared = fit_neighbours(vectors, these)
    rows, axes = compared.rows.astype(float), compared.axes.astype(float)

    assert len(rows) == 9
    for label in range(3):
        along = vectors[these.hot[:, label] > 0] @ axes
        assert np.linalg.norm(along[:, None] - rows, axis=2).min() == pytest.approx(0.0, abs=0.05)
    assert np.isfinite(nearest_out_of_fold(compared, vectors, these)).all()


def test_scope_of_a_label_with_one_row(texts, encoder):
    """A row that is all of its label is farthest from the others, and nothing divides by zero."""
    rows = [*texts(labels=1, each=5), {"text": "login password", "label": "login"}]
    these = examples(rows)
    with np.errstate(all="raise"):
        vectors = encoder.encode(these.texts)
        compared = fit_neighbours(vectors, these)
        _, scores = fit_scope(compared, nearest_out_of_fold(compared, vectors, these), np.zeros((6, 2)))

    assert np.isfinite(scores).all()
    assert scores[-1] == scores.min()


def test_names_of_the_labels_are_examples_where_there_are_few(texts, encoder):
    """With three texts a label its name helps to name others; with it or without, each row has one logit a label."""
    names = encoder.encode(["card blocked stolen pin", "parcel delivery courier tracking"])
    few, many = examples(texts(labels=2, each=3)), examples(texts(labels=2, each=40))
    plain = fit_kernel(encoder.encode(few.texts), few)
    named = fit_kernel(encoder.encode(few.texts), few, names=names)

    def right(fitted):
        return (fitted.logits(encoder.encode(many.texts)).argmax(axis=1) == many.hot.argmax(axis=1)).mean()

    assert named.out_of_fold.shape == plain.out_of_fold.shape == (6, 2)
    assert right(named) >= right(plain)
    assert len(named.block.landmarks) == 8


def test_names_that_mislead_are_left_out(texts, encoder):
    """Each row is named out of fold with and without the names; what is worse is not stored."""
    these = examples(texts(labels=2, each=5))
    swapped = encoder.encode(["parcel delivery courier tracking late", "card blocked stolen pin chip"])

    assert len(fit_kernel(encoder.encode(these.texts), these, names=swapped).block.landmarks) == 10
