"""Jobs whose answers are JSON objects: a `classify` specialist for each field of closed values, answered together.

An object is compared by its values, whatever its spelling: keys in any order, in a fence or not. It is answered only if
every field is: half of an object is no answer.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from coterie.flywheel.discovery import fold, json_object, ranked
from coterie.protocols import Specialist
from coterie.types import CallContext, ContextView, Finding, Reason, SpecialistCard, Task

_FEWEST = 3
"""Rows of a value; with fewer it is taken for a slip of the teacher."""
CONSTANT = "="
"""Before the JSON text of a field that has one value only, in place of a version."""
_SHOWN = 50
"""Values of a field that people choose from."""
_CLOSED = 0.8
"""Share of rows that frequent values of a field cover, if it is closed."""


def values_of(answer: str, keys: Sequence[str]) -> dict[str, str] | None:
    """Return the JSON text of each field's value; None if the answer is no object of exactly these keys."""
    found = json_object(answer)
    if found is None or set(found) != set(keys):
        return None
    return {key: json.dumps(found[key], ensure_ascii=False, sort_keys=True) for key in keys}


def closed_rows(
    rows: Mapping[str, Mapping[str, str]], keys: Sequence[str]
) -> tuple[dict[str, dict[str, str]], tuple[str, ...]]:
    """Return rows with the usual spelling of each value, without those of rare ones, and the fields that are open.

    Args:
        rows: JSON texts by field, by example.
        keys: The fields.
    """
    spelled: dict[str, dict[str, str]] = {}
    open_fields = []
    for key in keys:
        spellings: dict[str, Counter[str]] = {}
        for row in rows.values():
            spellings.setdefault(fold(row[key]), Counter())[row[key]] += 1
        known = {value: each.most_common(1)[0][0] for value, each in spellings.items() if each.total() >= _FEWEST}
        covered = sum(spellings[value].total() for value in known)
        some = covered < _CLOSED * len(rows) or len(known) > max(2, len(rows) // 5)
        if some or ranked(row[key] for row in rows.values()):
            open_fields.append(key)
        spelled[key] = known
    kept = {
        example: {key: spelled[key][fold(row[key])] for key in keys}
        for example, row in rows.items()
        if all(fold(row[key]) in spelled[key] for key in keys)
    }
    return kept, tuple(open_fields)


def seen_values(answers: Iterable[str], keys: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the JSON texts of the values that each field has in answers, the most frequent first, fifty at most."""
    counts: dict[str, Counter[str]] = {key: Counter() for key in keys}
    for answer, times in Counter(answers).items():
        for key, value in (values_of(answer, keys) or {}).items():
            counts[key][value] += times
    return {key: tuple(value for value, _ in each.most_common(_SHOWN)) for key, each in counts.items()}


def object_of(values: Mapping[str, str]) -> str:
    """Return a JSON object from the JSON texts of its values."""
    return "{" + ", ".join(f"{json.dumps(key, ensure_ascii=False)}: {value}" for key, value in values.items()) + "}"


@dataclass(frozen=True, kw_only=True)
class FieldsSpecialist:
    """Implements `protocols.Specialist` for JSON objects: asks the specialist of each field."""

    card: SpecialistCard
    parts: Mapping[str, Specialist]
    """By field. The value of each is the JSON text of the field's."""
    keys: tuple[str, ...]
    """All fields, in the order of the object."""
    constants: Mapping[str, str]
    """JSON texts of fields that always have the same value."""

    async def consult(self, task: Task, view: ContextView, *, call: CallContext) -> Finding:
        """Answer with the object; accepted if each field is, and all together are sure enough."""
        override = task.acceptance_override
        inner = task if override is None else replace(task, acceptance_override=replace(override, confidence=0.0))
        found = {key: await part.consult(inner, view, call=call) for key, part in self.parts.items()}
        confidence = prod(each.confidence for each in found.values())
        enough = override is None or (override.confidence is not None and confidence >= override.confidence)
        unsure = [key for key, each in found.items() if not each.accepted]
        accepted = enough and not unsure
        about: dict[str, Any] = {"sure": len(found) - len(unsure), "fields": len(found), "unsure": ", ".join(unsure)}
        first = next(iter(found.values()))
        values = {key: str(each.value or "null") for key, each in found.items()} | dict(self.constants)
        text = object_of({key: values[key] for key in self.keys})
        scopes = [each.in_scope for each in found.values() if each.in_scope is not None]
        return replace(
            first,
            specialist=self.card.name,
            value=text,
            text=text,
            confidence=confidence,
            accepted=accepted,
            reason=Reason("accept.fields" if accepted else "abstain.fields", **about),
            in_scope=min(scopes, default=None),
            evidence=(),
            distribution={},
            form="text",
            steps=tuple(step for each in found.values() for step in each.steps),
        )
