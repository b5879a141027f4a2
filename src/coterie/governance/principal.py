"""Who asks, for the gate: what they sent themselves, what they may see, and the pseudonyms of their session."""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property

from coterie.governance.pseudonyms import HiddenValue, Pseudonyms, normal
from coterie.types import Columns, Label, Request, Verdict


@dataclass(frozen=True, kw_only=True, eq=False)
class Principal:
    """Of one request. Without one, as in training, it is the operator of this process, who may see all of it."""

    clearance: Label = Label.RESTRICTED
    """The most sensitive label they may see."""
    own: tuple[str, ...] = ()
    """Every text that they sent: what stands there they know."""
    released: bool = False
    """Personal data in these was released: it does not count at the gate."""
    pseudonyms: Pseudonyms = field(default_factory=Pseudonyms)
    """What stands for what in their session."""
    crossings: list[Verdict] = field(default_factory=list)
    """Of the gate, one for each prompt that it sent or refused, whatever became of it: it writes them here."""

    def may_see(self, value: HiddenValue) -> bool:
        """Whether a value may be put back into what they are shown."""
        return value.label <= self.clearance or self.sent(value.text)

    def sent(self, value: str) -> bool:
        """Whether they wrote a value themselves, in whatever spelling, and not within a word: `Ann` in `announced`."""
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
        return "\n".join(map(normal, self.own))


ASKER: ContextVar[Principal | None] = ContextVar("asker", default=None)
"""Who asks for what is done now. The network sets it for the tasks of each request."""


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
