"""Why something was decided: a stable code and values. `coterie.types.wording` holds the words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from coterie.types.wording import FORMER_CODES, render

Value = str | int | float | bool | None
"""What a reason holds beside other reasons."""

TEXT = "text"
"""The code of a reason that has no code of its own: its words are the value `text`."""


@dataclass(frozen=True, init=False)
class Reason:
    """A code, the values that its words are filled with, and what is said behind it.

    A test or a client looks at the code; `str(reason)` gives the words, which may change. A plug-in names codes of its
    own (`acme.too_late`) and gives the words as the value `text`.
    """

    code: str
    values: Mapping[str, Value | Reason] = field(hash=False)
    """By the names that the words have for them. A value that is a reason itself is said within this one."""
    notes: tuple[Reason, ...] = ()
    """What is said behind it."""

    def __init__(self, code: str, /, *notes: Reason, **values: Value | Reason) -> None:
        """Take a code, reasons that are said behind it, and the values of its words."""
        object.__setattr__(self, "code", code)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "notes", notes)

    def __str__(self) -> str:
        """In words."""
        return "; ".join([render(self.code, self.values), *map(str, self.notes)])

    def __format__(self, spec: str) -> str:
        """In words, within others."""
        return format(str(self), spec)

    def noting(self, *notes: Reason) -> Reason:
        """The same, with more said behind it."""
        return Reason(self.code, *self.notes, *notes, **self.values) if notes else self

    @property
    def codes(self) -> tuple[str, ...]:
        """Its code and those of everything that is said within and behind it."""
        inner = [each for each in (*self.values.values(), *self.notes) if isinstance(each, Reason)]
        return (self.code, *(code for each in inner for code in each.codes))

    def to_json(self) -> dict[str, object]:
        """As it is stored, without words; reasons within it are still to be written so."""
        told: dict[str, object] = {"code": self.code, "values": self.values}
        return {**told, "notes": self.notes} if self.notes else told

    @classmethod
    def from_json(cls, data: object) -> Reason:
        """What was stored, or the words that stood in its place before there were codes. Raises `TypeError`."""
        if isinstance(data, str):
            return cls(TEXT, text=data)
        if not isinstance(data, dict) or not isinstance(data.get("values"), dict):
            raise TypeError(f"expected a reason, found {data!r}")
        values = data["values"].items()
        code, renamed = FORMER_CODES.get(code := str(data.get("code", TEXT)), (code, {}))
        read = {renamed.get(key, key): cls.from_json(each) if isinstance(each, dict) else each for key, each in values}
        return cls(code, *map(cls.from_json, data.get("notes", ())), **read)

    def described(self, key: str = "reason") -> dict[str, object]:
        """As JSON for readers: the words under `key`, beside them the code, the values and what is said behind it."""
        values = {name: each.described() if isinstance(each, Reason) else each for name, each in self.values.items()}
        notes = {f"{key}_notes": [each.described() for each in self.notes]} if self.notes else {}
        return {key: str(self), f"{key}_code": self.code, f"{key}_values": values, **notes}


def all_of(reasons: Iterable[Reason]) -> Reason:
    """Several reasons as one: the first, with the others behind it. Raises `ValueError` if there is none."""
    first, *others = reasons
    return first.noting(*others)


def worded(text: str) -> Reason:
    """A reason in words that have no code, such as what somebody wrote."""
    return Reason(TEXT, text=text)
