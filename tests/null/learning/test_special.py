"""The special functions in numpy are those of scipy."""

import numpy as np
import pytest
from scipy import special

from coterie.learning.numerics import expit, logit, logsumexp

X = np.concatenate([np.linspace(-700, 700, 401), np.random.default_rng(5).normal(size=1000) * 5])


def test_logistic_function_and_its_inverse():
    """They agree to the last digits, at any size, of arrays and of numbers."""
    np.testing.assert_allclose(expit(X), special.expit(X), rtol=1e-13)
    p = np.concatenate([[0.0, 1.0, 1e-300, 1 - 1e-12], special.expit(X[np.abs(X) < 30])])
    np.testing.assert_allclose(logit(p), special.logit(p), rtol=1e-9, atol=1e-12)
    assert float(expit(0.0)) == 0.5
    assert expit(X.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@pytest.mark.parametrize("keepdims", [False, True])
def test_sums_of_exponentials(axis, keepdims):
    """They agree along any axis, with rows that are all minus infinity too."""
    a = X[:1200].reshape(30, 40).copy()
    a[3] = -np.inf
    sums, right = logsumexp(a, axis=axis, keepdims=keepdims), special.logsumexp(a, axis=axis, keepdims=keepdims)
    np.testing.assert_allclose(sums, right, rtol=1e-13)
    assert np.shape(sums) == np.shape(right)
