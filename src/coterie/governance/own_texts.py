"""What the principal of a request wrote themselves: a value that stands there is known to them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from coterie.governance.pseudonyms import normal
from coterie.types import Columns, Request


class OwnTexts:
    """Every text that the principal of one request sent."""

    def __init__(self, texts: tuple[str, ...]) -> None:
        self._texts = texts

    def has(self, value: str) -> bool:
        """Tell whether they wrote a value, in whatever spelling, and not within a word: `Ann` in `announced`."""
        wanted, said = normal(value), self._said
        start = said.find(wanted)
        while start >= 0:
            end = start + len(wanted)
            if not (_within_word(said[start - 1 : start + 1]) or _within_word(said[end - 1 : end + 1])):
                return True
            start = said.find(wanted, start + 1)
        return False

    @cached_property
    def _said(self) -> str:
        return "\n".join(map(normal, self._texts))


def own_texts(texts: tuple[str, ...]) -> OwnTexts:
    """Return what was sent, as a value is looked for in it."""
    return OwnTexts(texts)


def _within_word(pair: str) -> bool:
    """Whether two characters are letters of one word.

    Digits may have lost the gap between them in `normal`, and letters without case are those of scripts that put no
    blanks between words.
    """
    return len(pair) == 2 and all(sign.isalpha() and sign.lower() != sign.upper() for sign in pair)


def texts_of(request: Request) -> Iterator[str]:
    """Every text of a request but its document's: what is asked, the columns, the earlier turns."""
    yield request.text
    yield from texts_of_columns(request.columns)
    yield from (turn.text for turn in request.history)


def texts_of_columns(columns: Columns | None) -> Iterator[str]:
    """The names and values of structured input; a number may be an account's, so it counts as text."""
    for name, value in (columns or {}).items():
        yield name
        if value is not None and not isinstance(value, bool):
            yield value if isinstance(value, str) else str(value)
