"""What the tests of this package share."""

import time

import pytest

from coterie.privacy.patterns import PatternDetector


@pytest.fixture
def count_steps():
    """CPU-seconds to find what is in a text: of three times the least, so that a busy machine is no fault of ours."""

    def count(text):
        taken = []
        for _ in range(3):
            begun = time.thread_time()
            PatternDetector().find(text)
            taken.append(time.thread_time() - begun)
        return min(taken)

    return count
