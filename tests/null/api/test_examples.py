"""The examples in the docstrings of the API."""

from __future__ import annotations

import doctest
import importlib

import pytest

import coterie


@pytest.mark.parametrize("module", ["classifier", "pairs", "scorer", "extractor", "answerer"])
def test_an_example_does_what_it_shows(module):
    """Each class shows how it is used, and that is so."""
    found = doctest.testmod(importlib.import_module(f"coterie.api.{module}"))

    assert found.attempted > 0
    assert found.failed == 0


def test_the_api_is_all_there_is():
    """`dir(coterie)` lists the API and nothing else; each name has a docstring."""
    assert dir(coterie) == sorted(coterie.__all__)
    for name in set(coterie.__all__) - {"__version__"}:
        assert getattr(coterie, name).__doc__, name
    with pytest.raises(AttributeError):
        _ = coterie.Clasifier
