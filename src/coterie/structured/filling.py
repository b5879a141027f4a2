"""Which specialists can fill in the properties of a JSON schema, and the JSON that their findings make."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from coterie.structured.schema import Node, fault
from coterie.types import Finding, Reason, SpecialistCard


@dataclass(frozen=True, kw_only=True)
class PropertySlot:
    """What one property is filled with: a specialist's value, one of its fields, or all of them as an object."""

    specialist: str
    field: str = ""
    whole: bool = False
    named: bool = False
    """The property has the specialist's name or that of its fact, which decides between several that fit."""


def is_free(schema: Node) -> bool:
    """Whether any object will do (`json_object`)."""
    return schema.get("type") == "object" and not schema["properties"] and schema["additionalProperties"] is True


def assign(schema: Node, cards: Mapping[str, SpecialistCard]) -> Mapping[str, PropertySlot] | Reason:
    """A slot for each property that one specialist fits; a reason if a required property has none, or several."""
    if schema.get("type") != "object" or not schema["properties"]:
        return Reason("route.schema_unowned", wanted="an object with properties of theirs")
    slots: dict[str, PropertySlot] = {}
    for name, node in schema["properties"].items():
        fitting = [slot for card in cards.values() for slot in _slots(card, name, node)]
        fitting = [slot for slot in fitting if slot.named] or fitting
        if len({slot.specialist for slot in fitting}) == 1:
            slots[name] = fitting[0]
        elif name in schema["required"] and _constant(node) is None:
            several = ", ".join(sorted({slot.specialist for slot in fitting}))
            code = "route.schema_ambiguous" if several else "route.schema_unowned"
            return Reason(code, wanted=name[:100], **({"specialists": several} if several else {}))
    return slots or Reason("route.schema_unowned", wanted="any of its properties")


def fill(schema: Node, slots: Mapping[str, PropertySlot], findings: Sequence[Finding]) -> tuple[str, Reason | None]:
    """Compact JSON of the schema, or why there is none."""
    said = {finding.specialist: finding for finding in findings}
    made: dict[str, Any] = {}
    for name, node in schema["properties"].items():
        slot, constant = slots.get(name), _constant(node)
        if slot is None:
            if constant is not None:
                made[name] = constant[0]
            continue
        known, value = _value(slot, said.get(slot.specialist), node)
        if known and not fault(node, value):
            made[name] = value
        elif name in schema["required"]:
            return "", Reason("abstain.not_filled", property=name[:100], specialist=slot.specialist)
    wrong = fault(schema, made)
    if wrong:
        return "", Reason("abstain.not_in_schema", model="the specialists", found=wrong)
    return _json(made), None


def fill_freely(findings: Sequence[Finding], cards: Mapping[str, SpecialistCard]) -> str:
    """What was found as an object: each value by the fact that it is, or by who found it; the fields by their names."""
    made: dict[str, Any] = {}
    for finding in findings:
        card = cards.get(finding.specialist)
        if finding.fields:
            made |= _fields(finding, None)
        else:
            name = card.writes[0] if card is not None and card.writes else finding.specialist
            made[name] = list(finding.value) if isinstance(finding.value, tuple) else finding.value
    return _json(made)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _constant(node: Node) -> list[Any] | None:
    """The one value that fits, in a list; None if there are several."""
    return list(node["enum"]) if len(node.get("enum", ())) == 1 else None


def _slots(card: SpecialistCard, name: str, node: Node) -> Iterator[PropertySlot]:
    named = name == card.name or name in card.writes
    kind = _without_null(node)
    if card.labels:
        if _takes_labels(card, kind, named=named):
            yield PropertySlot(specialist=card.name, named=named)
    elif card.fields:
        types = dict(card.fields)
        if name in types and _takes_field(types[name], kind):
            yield PropertySlot(specialist=card.name, field=name)
        elif kind.get("type") == "object" and kind["properties"] and kind["properties"].keys() <= types.keys():
            yield PropertySlot(specialist=card.name, whole=True, named=named)
    elif named and kind.get("type") in {"number": ("number",), "text": ("string",)}.get(card.form, ()):
        yield PropertySlot(specialist=card.name, named=True)


def _without_null(node: Node) -> Node:
    options = [each for each in node.get("anyOf", ()) if each != {"type": "null"}]
    if len(options) == 1:
        return dict(options[0])
    if None in node.get("enum", ()):
        return {"enum": [value for value in node["enum"] if value is not None]}
    return node


def _takes_labels(card: SpecialistCard, node: Node, *, named: bool) -> bool:
    """Whether its labels are the options: all of them, or no option is another's."""
    if card.many_labels:
        if node.get("type") != "array" or not isinstance(node["items"], Mapping):
            return False
        node = node["items"]
    if node.get("type") == "boolean":
        return set(card.labels) == {"true", "false"}
    if node.get("type") == "string":
        return named
    options = set(map(str, node.get("enum", ())))
    return bool(options) and options <= set(card.labels) and (named or len(options) > 1)


def _takes_field(kind: str, node: Node) -> bool:
    if kind.endswith("*"):
        items = node.get("items")
        return node.get("type") == "array" and isinstance(items, Mapping) and _takes_field(kind[:-1], items)
    if kind == "number":
        return node.get("type") in {"number", "integer"}
    return node.get("type") == "string" or (bool(node.get("enum")) and all(isinstance(v, str) for v in node["enum"]))


def _value(slot: PropertySlot, finding: Finding | None, node: Node) -> tuple[bool, Any]:
    """Whether something is known, and what: null for what is not stated."""
    if finding is None or (not finding.accepted and not finding.fields):
        return False, None
    if slot.field:
        fields = _fields(finding, [slot.field])
        return slot.field in fields, fields.get(slot.field)
    if slot.whole:
        kind = _without_null(node)
        fields = _fields(finding, list(kind["properties"]))
        return True, {key: v for key, v in fields.items() if v is not None or not fault(kind["properties"][key], None)}
    if isinstance(finding.value, tuple):
        return True, list(finding.value)
    if _without_null(node).get("type") == "boolean":
        return finding.value in {"true", "false"}, finding.value == "true"
    return finding.value is not None, finding.value


def _fields(finding: Finding, names: Sequence[str] | None) -> dict[str, Any]:
    """The values of accepted fields by name; several of one field as a list."""
    found: dict[str, Any] = {}
    many = {each.name for each in finding.fields if sum(other.name == each.name for other in finding.fields) > 1}
    for each in finding.fields:
        if not each.accepted or (names is not None and each.name not in names):
            continue
        value: Any = each.value if each.value is not None or not each.stated else each.text
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if each.name in many:
            found.setdefault(each.name, []).append(value)
        else:
            found[each.name] = value
    return found
