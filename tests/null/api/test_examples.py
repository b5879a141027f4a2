"""The examples in the docstrings of the API."""

from __future__ import annotations

import doctest

import pytest

import coterie


@pytest.mark.parametrize("name", ["Classifier", "PairClassifier", "Scorer", "Extractor", "ToolCaller", "Answerer"])
def test_an_example_does_what_it_shows(name):
    """Each class shows how it is used, and that is so."""
    (example,) = doctest.DocTestFinder(recurse=False).find(getattr(coterie, name), name, globs={})
    result = doctest.DocTestRunner().run(example)

    assert result.attempted > 0
    assert result.failed == 0


def test_the_api_is_all_there_is():
    """`dir(coterie)` lists the API and nothing else; each name has a docstring."""
    assert dir(coterie) == sorted(coterie.__all__)
    for name in set(coterie.__all__) - {"__version__"}:
        assert getattr(coterie, name).__doc__, name
    with pytest.raises(AttributeError):
        _ = coterie.Clasifier
