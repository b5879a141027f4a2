"""The fields of answers: taken apart, counted, and what each can train."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Literal

from coterie.learning.checks import fold_label
from coterie.logs.exchanges import LoggedCall
from coterie.types import Scalar

ANSWER = "answer"
"""Name of the field of an answer that is no JSON object."""
MOST_FIELDS = 500
FEWEST = 10
"""Rows below which nothing can be trained."""
_DEEPEST = 4
_DISTINCT = 2_000
"""Values of a field that are counted; more are no set of labels."""
_LONGEST_LABEL = 100
_REPEATED, _QUOTED = 0.8, 0.8
_FENCE = re.compile(r"^\s*```[a-zA-Z]*\s*\n(.*?)\n?\s*```\s*$", re.DOTALL)

Value = Scalar | list[Scalar]
Form = Literal["label", "quotes", "reply"]
"""What a row says beside its text: one of few labels, words of the text, or free text."""


def fields_of(answer: Any) -> dict[str, Value]:  # noqa: ANN401 - any JSON value
    """An answer as named values: a JSON object by its keys, nested ones joined by dots; anything else as one field."""
    if isinstance(answer, str):
        fenced = _FENCE.match(answer)
        answer = _parsed((fenced[1] if fenced else answer).strip())
    if isinstance(answer, dict):
        found: dict[str, Value] = {}
        _flatten(answer, "", found, _DEEPEST)
        return found
    return {ANSWER: _value(answer)}


def _parsed(text: str) -> Any:  # noqa: ANN401 - any JSON value
    if text[:1] in {"{", "[", '"'} or text in {"true", "false"}:
        try:
            return json.loads(text, parse_constant=lambda _: None)
        except (ValueError, RecursionError):
            return text
    return text


def _flatten(value: Mapping[str, Any], prefix: str, found: dict[str, Value], depth: int) -> None:
    for key, inner in value.items():
        name = f"{prefix}{key}"
        if isinstance(inner, dict) and inner and depth > 1:
            _flatten(inner, f"{name}.", found, depth - 1)
        else:
            found[name] = _value(inner)


def _value(value: Any) -> Value:  # noqa: ANN401 - any JSON value
    if isinstance(value, list) and all(isinstance(each, str | int | float | bool) for each in value):
        return value
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return json.dumps(value, ensure_ascii=False)


def fingerprint(text: str) -> str:
    """Eight characters for the instructions of a call site; spaces aside."""
    return blake2b(" ".join(text.split()).encode("utf-8", "replace"), digest_size=4).hexdigest()


def written(value: Scalar) -> str:
    """A value as a label is written."""
    return str(value).lower() if isinstance(value, bool) else str(value).strip()


def folded(label: str) -> str:
    """What labels that differ in case, spaces and closing marks have in common."""
    return fold_label(label).strip(" .,;:!\"'`")


@dataclass
class FieldCounts:
    """What the values of one field are, as they pass."""

    rows: int = 0
    nulls: int = 0
    lists: int = 0
    numbers: int = 0
    long: int = 0
    """Values that are too long for a label, or have several lines."""
    quoted: int = 0
    """Values that stand in the text word for word."""
    distinct: dict[str, Counter[str]] = field(default_factory=dict)
    """By folded value: how often it is written in which way."""
    many: bool = False
    sites: Counter[str] = field(default_factory=Counter)

    def add(self, value: Value, exchange: LoggedCall, site: str) -> None:
        """Count one value."""
        self.rows += 1
        self.sites[site] += 1
        self.lists += isinstance(value, list)
        self.numbers += isinstance(value, int | float) and not isinstance(value, bool)
        values = value if isinstance(value, list) else [] if value is None else [value]
        self.nulls += value is None
        for each in values:
            text = written(each)
            self.long += len(text) > _LONGEST_LABEL or "\n" in text
            self.quoted += bool(text) and not isinstance(each, bool) and text in exchange.text
            if folded(text) in self.distinct or len(self.distinct) < _DISTINCT:
                self.distinct.setdefault(folded(text), Counter())[text] += 1
            else:
                self.many = True

    @property
    def total(self) -> int:
        """Values that were counted."""
        return sum(map(Counter.total, self.distinct.values()))

    @property
    def is_label_set(self) -> bool:
        """Whether the values are few and come again."""
        counts = [spellings.total() for spellings in self.distinct.values()]
        again = sum(count for count in counts if count > 1)
        few = len(counts) <= max(2, self.total / 2)
        return bool(counts) and not self.many and not self.long and few and again >= _REPEATED * self.total

    @property
    def labels(self) -> dict[str, str]:
        """The spelling of each label, by its folded form: the one that is written most often."""
        return {
            key: max(spellings, key=lambda each: (spellings[each], each)) for key, spellings in self.distinct.items()
        }

    def form(self) -> Form | None:
        """What rows of the field look like; None where they can train nothing."""
        if not self.total or self.rows - self.nulls < 1:
            return None
        quotes = self.quoted >= _QUOTED * self.total and not self.many
        if self.is_label_set and not (quotes and len(self.distinct) > self.total / 4):
            return "label" if len(self.distinct) > 1 else None
        if self.quoted >= _QUOTED * self.total and not self.long:
            return "quotes"
        return None if self.numbers == self.rows - self.nulls or self.lists else "reply"
