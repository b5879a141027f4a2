"""When two texts are the same: by their words, whatever their case and punctuation."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_NO_WORD = re.compile(r"[\W_]+")


@lru_cache(maxsize=64)  # the pairs of one document follow each other
def normalise(text: str) -> str:
    """A text without case, punctuation and repeated spaces; itself if nothing else is in it."""
    return _NO_WORD.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip() or text.strip()
