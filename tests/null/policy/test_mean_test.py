"""The p-value of a mean is valid for any bounded values."""

import numpy as np

from coterie.policy.acceptance import mean_p_value


def test_the_p_value_is_one():
    """Under the worst null a p-value of 0.05 or less comes in at most about 5% of samples."""
    random = np.random.default_rng(0)
    draws = random.random((400, 200)) < 0.9
    low = sum(mean_p_value(row.astype(float), 0.9, low=0.0, high=1.0, delta=0.05) <= 0.05 for row in draws)

    assert low <= 34  # the 99.9th percentile of 5% of 400
    assert mean_p_value(np.ones(200), 0.9, low=0.0, high=1.0, delta=0.05) <= 0.05
