"""Jobs whose answers have several parts: JSON objects of closed fields, lists of labels, and objects with such lists.

Each field has a `classify` specialist, and all are answered together. One whose values are lists of labels has one that
says of each label whether it holds. A bare list is an object whose only field has no name. Answers are compared by
their values, whatever their spelling: keys and labels in any order, in a fence or not. Half of an answer is no answer:
it is given only if every field and every label of it is sure enough, all together.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

from coterie.flywheel.discovery import BETWEEN, BULLET, FEWEST, fold, items_in, json_object, lists_of, ranked
from coterie.protocols import Specialist
from coterie.specialists.parts import overridden
from coterie.types import CallContext, ContextView, Finding, Reason, SpecialistCard, Task

CONSTANT = "="
"""Prefix of the JSON text of a constant field, in place of a version."""
_SHOWN = 50
"""Most values of a field that people choose from."""
BARE = ("",)
"""The fields of a list that is all of an answer."""
_CLOSED = 0.8
"""Share of rows that frequent values must cover for a field to be closed."""


def keys_of(shape: str, labels: Iterable[str]) -> tuple[str, ...]:
    """Return the fields of a job's answers; none if an answer is one label."""
    return BARE if shape == "lists" else tuple(labels) if shape == "json" else ()


def values_of(answer: str, keys: Sequence[str]) -> dict[str, str] | None:
    """Return the JSON text of each field's value; None if the answer is no object of exactly these keys, or no list."""
    if tuple(keys) == BARE:
        found_items = items_in(answer)
        if found_items is None:
            return None
        return {"": _json(list(found_items) if "[" in answer else answer.strip())}
    answer_object = json_object(answer)
    if answer_object is None or set(answer_object) != set(keys):
        return None
    return {key: _json(answer_object[key]) for key in keys}


def object_of(values: Mapping[str, str]) -> str:
    """Return an answer from the JSON texts of its values: an object, or a list that is all of it."""
    if tuple(values) == BARE:
        value = json.loads(values[""])
        return value if isinstance(value, str) else values[""]
    return "{" + ", ".join(f"{_json(key)}: {value}" for key, value in values.items()) + "}"


def labels_of(value: str) -> tuple[str, ...] | None:
    """Return the JSON texts of the labels in the JSON text of a list, or of a text that lists them; None for others."""
    read = json.loads(value)
    items = items_in(read) if isinstance(read, str) else items_in(value) if isinstance(read, list) else None
    return None if items is None else tuple(dict.fromkeys(map(_json, items)))


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _plain(value: str) -> str:
    """A JSON text as it is compared: a text without its quotes."""
    read = json.loads(value)
    return read if isinstance(read, str) else value


@dataclass(frozen=True, kw_only=True)
class ListForm:
    """How the model of today writes a list of labels."""

    order: tuple[str, ...]
    """JSON texts of the labels, each before those that the model writes after it."""
    between: str = ""
    """What stands between labels in a text; empty for a JSON list."""
    before: str = ""
    """What stands before the first one."""
    empty: bool = False
    """Whether a list without labels is an answer."""

    @classmethod
    def of(cls, values: Sequence[str], spelled: Mapping[str, str]) -> ListForm:
        """Read it off the JSON texts of lists, whose labels are `spelled` by their fold."""
        lists_found = [labels_of(value) or () for value in values]
        rows = [[spelled[key] for item in row if (key := fold(_plain(item))) in spelled] for row in lists_found]
        ahead: dict[str, set[str]] = {label: set() for label in spelled.values()}
        pairs = Counter((a, b) for row in rows for i, a in enumerate(row) for b in row[i + 1 :])
        for (a, b), times in pairs.items():
            if times > pairs[b, a]:
                ahead[b].add(a)
        order = []
        while ahead:
            order.append(first := min(ahead, key=lambda label: len(ahead[label])))
            del ahead[first]
            for behind in ahead.values():
                behind.discard(first)
        texts = [read for value in values if isinstance(read := json.loads(value), str)]
        between = Counter(mark for text in texts for mark in BETWEEN.findall(text.strip()))
        before = Counter(mark[0] if (mark := BULLET.match(text)) else "" for text in texts)
        is_text = 2 * len(texts) > len(values)
        return cls(
            order=tuple(order),
            between=between.most_common(1)[0][0] if is_text and between else "",
            before=before.most_common(1)[0][0] if is_text and between else "",
            empty=sum(not row for row in lists_found) >= FEWEST,
        )

    def written(self, labels: Iterable[str]) -> str | None:
        """Return the JSON text of a list as the model writes it; None for an empty one where those are no answers."""
        held = set(labels)
        some = [label for label in self.order if label in held]
        if not (some or self.empty):
            return None
        if not self.between:
            return "[" + ", ".join(some) + "]"
        return _json(self.before + self.between.join(map(_plain, some)))


@dataclass(frozen=True, kw_only=True)
class ClosedFields:
    """What the fields of a job's answers may be."""

    spelled: Mapping[str, Mapping[str, str]]
    """By field the usual spelling of each value, or of each label of lists, by its fold. Rare ones are left out."""
    lists: Mapping[str, ListForm]
    """Fields whose values are lists of labels."""
    open_fields: tuple[str, ...]
    """Fields whose values are no closed set."""

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, str]], keys: Sequence[str]) -> ClosedFields:
        """Read them off the JSON texts of the fields of rows."""
        spelled: dict[str, Mapping[str, str]] = {}
        lists: dict[str, ListForm] = {}
        open_fields = []
        for key in keys:
            values = [row[key] for row in rows]
            plain = list(map(_plain, values))
            several = None if ranked(plain) else lists_of(plain)
            parts = values if several is None else [part for value in values for part in labels_of(value) or ()]
            spellings: dict[str, Counter[str]] = {}
            for part, times in Counter(parts).items():
                spellings.setdefault(fold(_plain(part)), Counter())[part] += times
            known_values = {
                value: counts.most_common(1)[0][0] for value, counts in spellings.items() if counts.total() >= FEWEST
            }
            spelled[key] = known_values
            if several is not None:
                lists[key] = ListForm.of(values, known_values)
                continue
            covered = sum(spellings[value].total() for value in known_values)
            if covered < _CLOSED * len(rows) or len(known_values) > max(2, len(rows) // 5) or ranked(plain):
                open_fields.append(key)
        return cls(spelled=spelled, lists=lists, open_fields=tuple(open_fields))

    def row(self, values: Mapping[str, str] | None) -> dict[str, str] | None:
        """Return values in their usual spelling; None if one is rare, or there are none."""
        row_values = {}
        for key, spellings_of_key in self.spelled.items() if values else ():
            value = (values or {})[key]
            form = self.lists.get(key)
            parts = (value,) if form is None else labels_of(value)
            folded = [fold(_plain(part)) for part in parts] if parts is not None else [None]
            if not spellings_of_key.keys() >= set(folded):
                return None
            spelled_parts = [spellings_of_key[part] for part in folded if part is not None]
            written = spelled_parts[0] if form is None else form.written(spelled_parts)
            if written is None:
                return None
            row_values[key] = written
        return row_values or None


def seen_values(answers: Iterable[str], keys: Sequence[str]) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Return the JSON texts that each field has in answers, the most frequent first, fifty at most; which have several.

    Of a field whose values are lists of labels it is the labels.
    """
    rows = [values for answer in answers if (values := values_of(answer, keys)) is not None]
    lists = ClosedFields.of(rows, keys).lists
    counts = {
        key: Counter(part for row in rows for part in (labels_of(row[key]) or () if key in lists else (row[key],)))
        for key in keys
    }
    seen = {
        key: tuple(value for value, _ in values_counts.most_common(_SHOWN)) for key, values_counts in counts.items()
    }
    return seen, tuple(lists)


@dataclass(frozen=True, kw_only=True)
class FieldsSpecialist:
    """Implements `protocols.Specialist` for JSON objects: asks the specialist of each field."""

    card: SpecialistCard
    parts: Mapping[str, Specialist]
    """Specialist by field. Its value is the JSON text of the field's value."""
    keys: tuple[str, ...]
    """All fields, in the order of the object."""
    constants: Mapping[str, str]
    """JSON texts of constant fields."""
    lists: Mapping[str, ListForm] = field(default_factory=dict)
    """Fields whose specialist names several labels, or none."""

    async def consult(self, task: Task, view: ContextView, *, call: CallContext) -> Finding:
        """Answer with the object; accepted if each field is, and the joint confidence suffices."""
        override = task.acceptance_override
        inner = task if override is None else replace(task, acceptance_override=replace(override, confidence=0.0))
        findings = {key: await part.consult(inner, view, call=call) for key, part in self.parts.items()}
        confidence = prod(finding.confidence for finding in findings.values())
        values = {key: self._written(key, finding) for key, finding in findings.items()}
        unsure = [key for key, finding in findings.items() if not finding.accepted or values[key] is None]
        named = ", ".join(key or "labels" for key in unsure)
        about: dict[str, Any] = {"sure": len(findings) - len(unsure), "fields": len(findings), "unsure": named}
        accepted, reason = not unsure, Reason("abstain.fields" if unsure else "accept.fields", **about)
        if override is not None and not unsure:
            accepted, reason = overridden(confidence, override)
        first = next(iter(findings.values()))
        whole = {key: value or "null" for key, value in values.items()} | dict(self.constants)
        text = object_of({key: whole[key] for key in self.keys})
        scopes = [finding.in_scope for finding in findings.values() if finding.in_scope is not None]
        return replace(
            first,
            specialist=self.card.name,
            value=text,
            text=text,
            confidence=confidence,
            accepted=accepted,
            reason=reason,
            in_scope=min(scopes, default=None),
            evidence=(),
            distribution={},
            form="text",
            steps=tuple(step for finding in findings.values() for step in finding.steps),
        )

    def _written(self, key: str, finding: Finding) -> str | None:
        """The JSON text of a field's value; None where there is none, or no label where a list always has one."""
        if (form := self.lists.get(key)) is None:
            return str(finding.value) if finding.value else None
        return form.written(finding.value) if isinstance(finding.value, tuple) else None
