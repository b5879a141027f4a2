"""Finds specialists that can fill in the properties of a JSON schema, and builds JSON from their findings."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from coterie.structured.schema import Node, fault
from coterie.text.segmentation import folded
from coterie.types import Finding, Reason, SpecialistCard, all_of

Place = tuple[str, ...]
"""Path of a property: its name, after those of the objects that contain it."""


@dataclass(frozen=True, kw_only=True)
class PropertySlot:
    """The source of one property: a specialist's value, or one of its fields."""

    specialist: str
    field: str = ""
    named: bool = False
    """Whether the property has the specialist's name or that of its fact, which decides between several that fit."""


def is_free(schema: Node) -> bool:
    """Return whether the schema accepts any object (`json_object`)."""
    return schema.get("type") == "object" and not schema["properties"] and schema["additionalProperties"] is True


def assign(
    schema: Node, cards: Mapping[str, SpecialistCard], *, pinned: bool = False
) -> Mapping[Place, PropertySlot] | Reason:
    """Return a slot for each property that one specialist fits.

    Returns a reason as well if a required property has no slot, or several. A caller that names the specialist
    (`pinned`) and wants one property gets that specialist, whatever the property is called.
    """
    if pinned and len(schema.get("properties", ())) == 1:
        ((name, node),) = schema["properties"].items()
        fitting = [slot for card in cards.values() for slot in _slots(card, name, node, pinned=True)]
        if fitting:
            return {(name,): fitting[0]}
    if schema.get("type") != "object" or not schema["properties"]:
        return Reason("route.schema_unowned", wanted="an object with properties of theirs")
    slots, lacking = _owned(schema, cards, ())
    return lacking or slots or Reason("route.schema_unowned", wanted="any of its properties")


def _owned(
    schema: Node, cards: Mapping[str, SpecialistCard], path: Place
) -> tuple[dict[Place, PropertySlot], Reason | None]:
    """Return the slots of an object: those of one specialist whose fields cover it, or one per property."""
    properties = schema["properties"]
    whole = {name: card for name, card in cards.items() if properties.keys() <= dict(card.fields).keys()}
    named = {name: card for name, card in whole.items() if path and path[-1] in {card.name, *card.writes}}
    for among in filter(None, (named, whole)):
        slots, lacking = _by_property(schema, among, path)
        if lacking is None:
            return slots, None
    return _by_property(schema, cards, path)


def _by_property(
    schema: Node, cards: Mapping[str, SpecialistCard], path: Place
) -> tuple[dict[Place, PropertySlot], Reason | None]:
    slots: dict[Place, PropertySlot] = {}
    for name, node in schema["properties"].items():
        at, lacking = (*path, name), None
        fitting = [slot for card in cards.values() for slot in _slots(card, name, node)]
        fitting = [slot for slot in fitting if slot.named] or fitting
        if len({slot.specialist for slot in fitting}) == 1:
            slots[at] = fitting[0]
            continue
        if fitting:
            several = ", ".join(sorted({slot.specialist for slot in fitting}))
            lacking = Reason("route.schema_ambiguous", wanted=_shown(at), specialists=several)
        elif (inside := _object_of(node)) is not None:
            below, lacking = _owned(inside, cards, at)
            slots |= below
        elif _constant(node) is None:
            lacking = Reason("route.schema_unowned", wanted=_shown(at))
        if lacking is not None and name in schema["required"] and fault(node, None):
            return {}, lacking
    return slots, None


def fill(
    schema: Node,
    slots: Mapping[Place, PropertySlot],
    findings: Sequence[Finding],
    cards: Mapping[str, SpecialistCard],
    *,
    nulls: bool = True,
) -> tuple[str, Reason | None]:
    """Return compact JSON of the schema, and the reason why there is none or why it is incomplete.

    At least one specialist must know a property. With `nulls` a required property that no specialist knows is null
    where the schema allows it; an unknown optional property is left out.
    """
    lacks: list[Reason] = []
    by_specialist = {finding.specialist: _Known(finding, cards.get(finding.specialist)) for finding in findings}
    made, why = _filled(schema, slots, by_specialist, (), lacks if nulls else None)
    if made is None:
        return "", why
    if not any(
        slot.specialist in by_specialist and by_specialist[slot.specialist].knows(slot) for slot in slots.values()
    ):
        path, slot = next(iter(slots.items()))
        return "", Reason("abstain.not_filled", property=_shown(path), specialist=slot.specialist)
    if wrong := fault(schema, made):
        return "", Reason("abstain.not_in_schema", model="the specialists", found=wrong)
    return _json(made), all_of(lacks) if lacks else None


def _filled(
    schema: Node,
    slots: Mapping[Place, PropertySlot],
    by_specialist: Mapping[str, _Known],
    path: Place,
    lacks: list[Reason] | None,
) -> tuple[dict[str, Any] | None, Reason | None]:
    """Return an object without unknown optional properties; add the reasons for null properties to `lacks`."""
    made: dict[str, Any] = {}
    for name, node in schema["properties"].items():
        at, why = (*path, name), None
        slot, constant, inside = slots.get(at), _constant(node), _object_of(node)
        if slot is not None:
            own = by_specialist.get(slot.specialist)
            if own is not None and own.knows(slot) and not fault(node, value := own.value(slot, node)):
                made[name] = value
                continue
            why = Reason("abstain.not_filled", property=_shown(at), specialist=slot.specialist)
        elif constant is not None:
            made[name] = constant[0]
            continue
        elif inside is not None and any(other[: len(at)] == at for other in slots):
            part, why = _filled(inside, slots, by_specialist, at, lacks)
            if part is not None:
                made[name] = part
                continue
        else:
            why = Reason("route.schema_unowned", wanted=_shown(at))
        if why is None or name not in schema["required"]:
            continue
        if lacks is None or fault(node, None):
            return None, why
        made[name] = None
        lacks.append(why)
    return made, None


def _shown(path: Place) -> str:
    return ".".join(path)[:100]


def fill_freely(findings: Sequence[Finding], cards: Mapping[str, SpecialistCard]) -> str:
    """Return the findings as a JSON object: values keyed by fact or specialist, fields by their names."""
    made: dict[str, Any] = {}
    for finding in findings:
        card = cards.get(finding.specialist)
        if finding.fields:
            made |= _Known(finding, card).fields
        else:
            name = card.writes[0] if card is not None and card.writes else finding.specialist
            made[name] = list(finding.value) if isinstance(finding.value, tuple) else finding.value
    return _json(made)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _constant(node: Node) -> list[Any] | None:
    """Return the only value that fits, in a list; None if there are several."""
    return list(node["enum"]) if len(node.get("enum", ())) == 1 else None


def _slots(card: SpecialistCard, name: str, node: Node, *, pinned: bool = False) -> Iterator[PropertySlot]:
    named = name == card.name or name in card.writes
    kind = _without_null(node)
    if card.labels:
        if _takes_labels(card, kind, named=named or (pinned and kind.get("type") != "string")):
            yield PropertySlot(specialist=card.name, named=named)
    elif card.fields:
        types = dict(card.fields)
        if name in types and _takes_field(types[name], kind):
            yield PropertySlot(specialist=card.name, field=name)
    elif named and kind.get("type") in {"number": ("number",), "text": ("string",)}.get(card.form, ()):
        yield PropertySlot(specialist=card.name, named=True)


def _object_of(node: Node) -> Node | None:
    """Return the schema of a property that is an object with properties; None if it is something else."""
    kind = _without_null(node)
    return kind if kind.get("type") == "object" and kind["properties"] else None


def _without_null(node: Node) -> Node:
    options = [option for option in node.get("anyOf", ()) if option != {"type": "null"}]
    if len(options) == 1:
        return dict(options[0])
    if None in node.get("enum", ()):
        return {"enum": [value for value in node["enum"] if value is not None]}
    return node


def _takes_labels(card: SpecialistCard, node: Node, *, named: bool) -> bool:
    """Return whether the options of a schema are labels of the specialist, so that its finding can fill it."""
    if card.many_labels:
        if node.get("type") != "array" or not isinstance(node["items"], Mapping):
            return False
        node = node["items"]
    if node.get("type") == "boolean":
        return named and set(card.labels) == {"true", "false"}
    if node.get("type") == "string":
        return named
    options, labels = {folded(str(value)) for value in node.get("enum", ())}, [folded(label) for label in card.labels]
    one_to_one = len(options) == len(node.get("enum", ())) and len(set(labels)) == len(labels)
    return bool(options) and one_to_one and options <= set(labels) and (named or len(options) >= _TELLING)


_TELLING = 3
"""Options that identify a question, as for typed questions (decision 085).

Two options may be the yes and no of any question.
"""


def _takes_field(kind: str, node: Node) -> bool:
    if kind.endswith("*"):
        items = node.get("items")
        return node.get("type") == "array" and isinstance(items, Mapping) and _takes_field(kind[:-1], items)
    if kind == "number":
        return node.get("type") in {"number", "integer"}
    return node.get("type") == "string" or (bool(node.get("enum")) and all(isinstance(v, str) for v in node["enum"]))


class _Known:
    """The content of one finding: its value, and its accepted fields by name, repeatable fields as lists."""

    def __init__(self, finding: Finding, card: SpecialistCard | None) -> None:
        self.finding = finding
        lists = {name for name, kind in (card.fields if card is not None else ()) if kind.endswith("*")}
        self.fields: dict[str, Any] = {}
        for field in finding.fields:
            if not field.accepted:
                continue
            value: Any = field.value if field.value is not None or not field.stated else field.text
            if isinstance(value, float) and value.is_integer():
                value = int(value)
            if field.name in lists:
                self.fields.setdefault(field.name, []).extend([] if value is None else [value])
            else:
                self.fields[field.name] = value

    def knows(self, slot: PropertySlot) -> bool:
        """Return whether the finding fills the slot. A field that is not stated counts, too."""
        return slot.field in self.fields if slot.field else self.finding.accepted and self.finding.value is not None

    def value(self, slot: PropertySlot, node: Node) -> object:
        """Return the value in the schema's spelling: null for a field that is not stated."""
        value = self.finding.value
        if slot.field:
            return self.fields[slot.field]
        kind = _without_null(node)
        if isinstance(value, tuple):
            return [_as_written(item, kind["items"]) for item in value]
        if kind.get("type") == "boolean":
            return {"true": True, "false": False}.get(str(value), value)
        return _as_written(value, kind)


def _as_written(value: object, node: Node) -> object:
    """Return a label in the enum's spelling."""
    return next((option for option in node.get("enum", ()) if folded(str(option)) == folded(str(value))), value)
