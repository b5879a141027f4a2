"""Sentences that people write, in five languages, with what is personal in them and what only looks like it."""

import json
from pathlib import Path

import pytest

from coterie.privacy.patterns import PatternDetector

LINES = Path(__file__).with_name("sentences.jsonl").read_text(encoding="utf-8").splitlines()
"""Keys in them are cut by a stroke, so that nobody who looks for keys finds them here."""


@pytest.mark.parametrize("line", LINES)
def test_sentences(line):
    """All of it is found whole, and nothing beside it."""
    sentence = json.loads(line)
    text = sentence["text"].replace("|", "")

    spans = [[str(span.kind), text[span.start : span.end]] for span in PatternDetector().find(text)]
    assert spans == sentence["wanted"]
