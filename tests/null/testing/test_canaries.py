"""Canaries are what detectors find, no two are alike, and they are found again however they are written."""

from __future__ import annotations

import pytest

from coterie.privacy.patterns import PatternDetector
from coterie.testing import Canaries
from coterie.types import Label


def test_detectors_know_them():
    """Personal data and secrets are such that the patterns of the core find every one, as what it is."""
    canaries, detector = Canaries(seed=1), PatternDetector()
    for canary in [canaries.personal() for _ in range(300)] + [canaries.secret() for _ in range(50)]:
        text = f"It is {canary.text} as far as I know."
        assert [(span.kind, text[span.start : span.end]) for span in detector.find(text)] == [
            (canary.kind, canary.text)
        ]
    assert len({canary.plain for canary in canaries.made}) == len(canaries.made)


@pytest.mark.parametrize("form", [str.upper, lambda t: t.replace(" ", "-"), "\\u0020".join, lambda t: t])
def test_found_in_any_form(form):
    """Case and what stands between its letters hide nothing; escapes that have letters of their own may."""
    canaries = Canaries(seed=2)
    canary = canaries.personal("IBAN")
    leaked = canaries.found(f'{{"a": "x {form(canary.text)}"}}'.encode(), clearance=Label.INTERNAL)
    assert leaked == ([] if "u0020" in form("a b") else [canary])


def test_only_what_is_above_the_clearance():
    """What a server may see is not reported, and neither is the beginning of a canary."""
    canaries = Canaries(seed=3)
    words = [canaries.word(label) for label in Label]
    received = " ".join(word.text for word in words).encode()
    assert canaries.found(received, clearance=Label.INTERNAL) == words[2:]
    assert canaries.found(words[3].text[:-1].encode(), clearance=Label.PUBLIC) == []
