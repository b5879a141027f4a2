"""Where a compound request may come apart."""

from __future__ import annotations

import re

LONGEST = 600
"""Characters beyond which a text is a document, not a question with several parts."""
MOST_PARTS = 8
"""Pieces beyond which it is a list or a story: it stays whole."""

_BOUNDARY = re.compile(
    r"(?<=[.?!;])\s+"  # the end of a sentence
    r"|[,;]?\s+(?:and|but|then|also|plus)\s+(?:also\s+|then\s+|please\s+)?"  # a joining word
    r"|\n+",
    re.IGNORECASE,
)
_SHORTEST = 3  # words; a shorter piece is no request of its own


def split_parts(text: str) -> tuple[str, ...]:
    """The pieces a text might consist of: at ends of sentences and joining words, in order.

    Only a proposal: the router keeps a split when the pieces belong to different specialists. A piece of fewer
    than three words stays with the piece before it. A text that cannot be split, or only into very many, gives itself.
    """
    if len(text) > LONGEST:
        return (text,)
    spans: list[tuple[int, int]] = []
    start = 0
    for boundary in [*_BOUNDARY.finditer(text), None]:
        end, after = (boundary.start(), boundary.end()) if boundary else (len(text), len(text))
        if len(text[start:end].split()) >= _SHORTEST:
            spans.append((start, end))
        elif spans and end > start:
            spans[-1] = (spans[-1][0], end)
        elif boundary and not spans:
            continue  # too short to stand alone at the beginning: it goes with what follows
        start = after
    parts = tuple(text[a:b].strip(" ,;\n") for a, b in spans)
    return parts if 1 <= len(parts) <= MOST_PARTS else (text,)
