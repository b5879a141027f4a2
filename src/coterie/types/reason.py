"""The reason for a decision: a stable code and values. `coterie.types.wording` has the words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from coterie.types.wording import FORMER_CODES, render

Value = str | int | float | bool | None
"""A value of a reason that is not itself a reason."""

TEXT = "text"
"""The code of a reason that has no code of its own: its words are the value `text`."""


OPERATOR = "operator"
"""The value with the words for the operator of the network alone, such as the path of a file; it is in no answer."""


@dataclass(frozen=True, init=False)
class Reason:
    """A code, the values that its words are filled with, and the reasons that follow it.

    Tests and clients check the code; `str(reason)` gives the words, which may change. A plug-in uses codes of its own
    (`acme.too_late`) and gives the words as the value `text`.
    """

    code: str
    values: Mapping[str, Value | Reason] = field(hash=False)
    """Values by their names in the words. A value that is itself a reason is worded within this one."""
    notes: tuple[Reason, ...] = ()
    """Reasons that follow it."""

    def __init__(self, code: str, /, *notes: Reason, **values: Value | Reason) -> None:
        """Create a reason from a code, the reasons that follow it, and the values of its words."""
        object.__setattr__(self, "code", code)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "notes", notes)

    def __str__(self) -> str:
        """Return the reason in words."""
        return "; ".join([render(self.code, self.values), *map(str, self.notes)])

    def __format__(self, spec: str) -> str:
        """Return the reason in words, for use within other words."""
        return format(str(self), spec)

    def noting(self, *notes: Reason) -> Reason:
        """Return the reason with further notes."""
        return Reason(self.code, *self.notes, *notes, **self.values) if notes else self

    def in_full(self) -> Reason:
        """Return the reason as its operator reads it: with the words that no caller sees."""
        values = {
            name: value.in_full() if isinstance(value, Reason) else value
            for name, value in self.values.items()
            if name != OPERATOR
        }
        if OPERATOR in self.values:
            values["text"] = self.values[OPERATOR]
        return Reason(self.code, *[note.in_full() for note in self.notes], **values)

    @property
    def codes(self) -> tuple[str, ...]:
        """Its code and those of all reasons within and after it."""
        return (self.code, *(code for reason in self._inner for code in reason.codes))

    @property
    def for_operator(self) -> tuple[str, ...]:
        """The words for the operator alone, of it and of all reasons within and after it."""
        own = self.values.get(OPERATOR)
        return (
            *(() if own is None else (str(own),)),
            *(words for reason in self._inner for words in reason.for_operator),
        )

    @property
    def _inner(self) -> Iterator[Reason]:
        return (value for value in (*self.values.values(), *self.notes) if isinstance(value, Reason))

    def to_json(self) -> dict[str, object]:
        """Return the stored form, without words; reasons within it are still to be converted."""
        document: dict[str, object] = {"code": self.code, "values": self.values}
        return {**document, "notes": self.notes} if self.notes else document

    @classmethod
    def from_json(cls, data: object) -> Reason:
        """Restore the stored form, or the words that were stored before there were codes. Raises `TypeError`."""
        if isinstance(data, str):
            return cls(TEXT, text=data)
        if not isinstance(data, dict) or not isinstance(data.get("values"), dict):
            raise TypeError(f"expected a reason, found {data!r}")
        values = data["values"].items()
        code, renamed = FORMER_CODES.get(code := str(data.get("code", TEXT)), (code, {}))
        read = {
            renamed.get(key, key): cls.from_json(value) if isinstance(value, dict) else value for key, value in values
        }
        return cls(code, *map(cls.from_json, data.get("notes", ())), **read)

    def described(self, key: str = "reason") -> dict[str, object]:
        """Return JSON for readers: the words under `key`, and beside them the code, the values and the notes."""
        values = {
            name: value.described() if isinstance(value, Reason) else value
            for name, value in self.values.items()
            if name != OPERATOR
        }
        notes = {f"{key}_notes": [note.described() for note in self.notes]} if self.notes else {}
        return {key: str(self), f"{key}_code": self.code, f"{key}_values": values, **notes}


def all_of(reasons: Iterable[Reason]) -> Reason:
    """Return several reasons as one: the first, with the others as notes. Raises `ValueError` if there is none."""
    first, *others = reasons
    return first.noting(*others)


def worded(text: str) -> Reason:
    """Return a reason from words without a code, such as a person's text."""
    return Reason(TEXT, text=text)
