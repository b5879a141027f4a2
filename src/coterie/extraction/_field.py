"""A field: what is looked for, and which value a quote states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from coterie.data import MANY, TEXT, normalise_value
from coterie.types import Scalar

from ._choose import choose


@dataclass(frozen=True, kw_only=True)
class FieldModel:
    """What is looked for, and how a quote of it is read."""

    name: str
    type: str
    choices: tuple[str, ...] = ()
    """Of a `choice`: the values of the training data, the most frequent first."""
    chooser: Mapping[str, float] | None = None
    """Of a typed field: weights of what stands around the value that is meant. None takes the first in the quote."""

    @property
    def many(self) -> bool:
        """Whether there may be several values."""
        return self.type.endswith(MANY)

    @property
    def typed(self) -> bool:
        """Whether it has values beside quotes."""
        return self.type.removesuffix(MANY) != TEXT

    def value(self, quote: str) -> Scalar:
        """The value that a quote states."""
        if self.chooser is not None:
            return choose(self.type.removesuffix(MANY), quote, self.chooser)
        return normalise_value(self.type, quote, self.choices)

    def describe(self) -> dict[str, object]:
        """As JSON values."""
        chooser = None if self.chooser is None else dict(self.chooser)
        return {"name": self.name, "type": self.type, "choices": list(self.choices), "chooser": chooser}

    @classmethod
    def restore(cls, described: Mapping[str, Any]) -> FieldModel:
        """What `describe` was asked of."""
        name, kind, choices = described["name"], described["type"], described["choices"]
        if not isinstance(name, str) or not isinstance(kind, str) or not all(isinstance(each, str) for each in choices):
            raise ValueError(f"{described!r} describes no field")
        weights = described["chooser"]
        chooser = None if weights is None else {str(term): float(weight) for term, weight in weights.items()}
        return cls(name=name, type=kind, choices=tuple(choices), chooser=chooser)
