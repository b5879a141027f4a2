"""Many profiles compared at once say what each says alone."""

from __future__ import annotations

import numpy as np
import pytest

from coterie.routing.profile import _LARGE, Bank, Profile


def a_profile(random: np.random.Generator, count: int, *, cold: bool = False) -> Profile:
    vectors = random.normal(size=(count, 32)).astype(np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    typical = np.empty(0) if cold else np.linspace(0, 1, count)
    density = random.uniform(0.4, 0.8, size=count).astype(np.float32)
    return Profile(vectors=vectors, names=tuple(map(str, range(count))), typical=typical, density=density)


@pytest.mark.parametrize("texts", [1, 3, 40])
def test_a_bank_compares_as_each_profile_does(texts):
    """Of small, large, cold and empty ones, in any choice and order."""
    random = np.random.default_rng(0)
    profiles = [
        a_profile(random, 30),
        a_profile(random, 2, cold=True),
        a_profile(random, 0, cold=True),
        a_profile(random, _LARGE + 1),
        a_profile(random, 7, cold=True),
    ]
    bank = Bank(profiles)
    vectors = random.normal(size=(texts, 32)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for which in ([0, 1, 2, 3, 4], [3], [4, 0], [2], [1, 2]):
        compared = bank.compare(vectors, np.array(which))
        for column, position in enumerate(which):
            alone = profiles[position].compare(vectors)
            at_once = compared.column(column)
            assert at_once.similarity == pytest.approx(alone.similarity, abs=1e-6)
            assert at_once.closest == pytest.approx(alone.closest, abs=1e-6)
            assert at_once.nearest.tolist() == alone.nearest.tolist()


def test_a_bank_holds_each_vector_once():
    """The profiles that it gives back look into its block."""
    random = np.random.default_rng(1)
    bank = Bank([a_profile(random, 30), a_profile(random, 20)])
    first, second = bank.profiles
    assert first.vectors.base is second.vectors.base is not None
