"""What is said of a field, and what speaks for and against it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from coterie.types import Scalar

from ._field import FieldModel
from ._tag import EVIDENCE, Candidate, log_odds

Floats = np.ndarray

NOT_STATED = (None, None)
SIGNS = ("chance", "contrary", "rival", "no value", "agreement", "lead", "candidates")
"""What speaks for a statement or against it.

- `chance`: log-odds of what is said, by the weigher
- `contrary`: chance of the opposite, that the field is not stated or that its best candidate is right
- `rival`: chance of the best other candidate
- `no value`: 1 where the field has a type and the quote has no value of it
- `agreement`: chances of the other candidates that say the same, added up
- `lead`: how far the likeliest sentence is ahead of the next
- `candidates`: logarithm of how many there are

Chances that may be next to none are no log-odds: how rare an outcome is that texts hardly have says nothing.
"""


class Statement(NamedTuple):
    """A value of a field, or that it is not stated, before anybody says how sure that is."""

    start: int | None
    end: int | None
    signs: tuple[float, ...]
    """Those of `SIGNS`; none where there was nothing to weigh."""

    @property
    def stated(self) -> bool:
        """Whether it is a value."""
        return self.start is not None


class Signs(NamedTuple):
    """What speaks for each candidate of a field."""

    candidates: Sequence[Candidate]
    chances: Floats  # (C, 3)
    says: Sequence[Scalar]
    """By candidate its value, else the words of its quote."""
    typed: Sequence[bool]
    """By candidate whether it has a value where the field has a type."""

    @classmethod
    def of(cls, field: FieldModel, candidates: Sequence[Candidate], chances: Floats, text: str) -> Signs:
        """The signs of a field's candidates in a text."""
        quotes = [text[each.start : each.end] for each in candidates]
        values = [field.value(quote) if field.typed else None for quote in quotes]
        words = [" ".join(quote.casefold().split()) for quote in quotes]
        says = [word if value is None else value for word, value in zip(words, values, strict=True)]
        return cls(candidates, chances, says, [not field.typed or value is not None for value in values])

    def stated(self, k: int) -> Statement:
        """That this candidate is the value."""
        return self._statement(k, Statement(self.candidates[k].start, self.candidates[k].end, ()))

    def not_stated(self, best: int) -> Statement:
        """That there is no value, where this candidate would be the best."""
        return self._statement(best, Statement(*NOT_STATED, ()))

    def _statement(self, k: int, said: Statement) -> Statement:
        right, missing = self.chances[:, 0], self.chances[:, 1]
        others = [place for place in range(len(right)) if place != k]
        chance, contrary = (right[k], missing[k]) if said.stated else (missing[k], right[k])
        alike = sum(float(right[place]) for place in others if self.says[place] == self.says[k])
        signs = (
            log_odds(chance),
            float(contrary),
            float(max((right[place] for place in others), default=0.0)),
            float(said.stated and not self.typed[k]),
            alike if said.stated else 0.0,
            self.candidates[k].evidence[EVIDENCE.index("lead")],
            float(np.log(len(right))),
        )
        return said._replace(signs=signs)
