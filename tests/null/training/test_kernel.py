"""The kernel model's out-of-fold logits."""

import numpy as np

from coterie.learning import kernel
from coterie.learning.examples import TextExamples


def test_one_fit_says_what_a_fit_for_each_fold_says(monkeypatch):
    """With about as many rows as landmarks one factorisation gives every fold's logits; names are never held out."""
    random = np.random.default_rng(7)
    vectors, names = (random.normal(size=(rows, 24)).astype(np.float32) for rows in (90, 6))
    vectors, names = (matrix / np.linalg.norm(matrix, axis=1, keepdims=True) for matrix in (vectors, names))
    vectors[3] = vectors[4]  # a copy, in whichever fold it falls
    hot = np.eye(6)[random.integers(0, 6, 90)]
    folds = random.integers(0, 15, 90)
    examples = TextExamples(texts=[""] * 90, hot=hot, several=False, folds=folds, seed=0)

    at_once = kernel.fit_kernel(vectors, examples, names=names)
    monkeypatch.setattr(kernel, "_FEW_TO_A_LANDMARK", 0)
    one_by_one = kernel.fit_kernel(vectors, examples, names=names)

    np.testing.assert_allclose(at_once.out_of_fold, one_by_one.out_of_fold, atol=1e-9)
    assert at_once.ridge == one_by_one.ridge
