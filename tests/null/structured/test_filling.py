"""Which specialists fill in a schema, and the JSON that their findings make."""

import json

import pytest

from coterie.structured.filling import assign, fill, fill_freely
from coterie.structured.schema import read_schema
from coterie.testing.fakes import make_finding
from coterie.types import Field, Reason, SpecialistCard

LABELS = ("card lost", "top_up", "Other")


def _card(name, **about):
    return SpecialistCard(name=name, task="classify", description="", rung="lexical", version="1", **about)


DESK = _card("desk", labels=LABELS)
SLIPS = _card("slips", fields=(("boat", "text"), ("nights", "number"), ("extras", "text*")))
CARDS = {"desk": DESK, "slips": SLIPS}


def _object(properties, required=None):
    required = list(properties) if required is None else required
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


TEXTS = {"type": "array", "items": {"type": "string"}}
TOPIC = {"enum": list(LABELS)}


def _said(label=None, **fields):
    """What the two found: a label or an abstention, and fields, of which None is not stated."""
    desk = make_finding(label or "top_up", specialist="desk", accepted=label is not None)
    stated = []
    for name, values in fields.items():
        for value in values if isinstance(values, list) else [values]:
            span = (None, None) if value is None else (0, 1)
            about = {"confidence": 1.0, "accepted": True, "reason": Reason("accept.above_threshold")}
            stated.append(Field(name=name, value=value, text=value or "", start=span[0], end=span[1], **about))
    return [desk, make_finding(None, specialist="slips", accepted=bool(fields), fields=tuple(stated))]


def _made(schema, findings):
    """The value, or the property that is not filled in."""
    schema = read_schema(schema)
    slots = assign(schema, CARDS)
    if isinstance(slots, Reason):
        return slots.values["wanted"]
    text, why = fill(schema, slots, findings, CARDS)
    return json.loads(text) if text else why.values["property"]


def test_a_list_is_a_list_however_many_there_are():
    """One value of a field that may have several is a list of one, and none is an empty list."""
    schema = _object({"boat": {"type": "string"}, "extras": TEXTS})

    assert _made(schema, _said(boat="Argo", extras=["ice"])) == {"boat": "Argo", "extras": ["ice"]}
    assert _made(schema, _said(boat="Argo", extras=["ice", "tea"])) == {"boat": "Argo", "extras": ["ice", "tea"]}
    assert _made(schema, _said(boat="Argo", extras=None)) == {"boat": "Argo", "extras": []}
    free = json.loads(fill_freely(_said(boat="Argo", extras=["ice"])[1:], CARDS))
    assert free == {"boat": "Argo", "extras": ["ice"]}


def test_objects_within_objects():
    """Their properties are filled in as those of the whole are, by one specialist or by several."""
    slip = _object({"boat": {"type": "string"}, "extras": TEXTS})
    schema = _object(
        {"ticket": _object({"topic": TOPIC, "slip": slip}), "v": _object({"n": {"const": 2}}, ["n"])}, ["ticket"]
    )

    assert _made(schema, _said("top_up", boat="Argo", extras=["ice"])) == {
        "ticket": {"topic": "top_up", "slip": {"boat": "Argo", "extras": ["ice"]}}
    }
    assert _made(schema, _said(boat="Argo", extras=["ice"])) == "ticket.topic"
    assert _made(_object({"a": _object({"b": {"type": "string"}})}), _said("top_up")) == "a.b"


def test_what_is_known_of_none_is_no_answer():
    """Optional properties are left out where somebody knows another one; nothing at all is an abstention."""
    schema = _object({"topic": TOPIC, "boat": {"type": "string"}}, [])

    assert _made(schema, _said(boat="Argo")) == {"boat": "Argo"}
    assert _made(schema, _said()) == "topic"
    assert _made(_object({"boat": {"type": "string"}}, []), _said(boat=None)) == {}


@pytest.mark.parametrize(
    ("name", "names"), [("topic", ["Card-Lost", "TOP UP", "other"]), ("desk", ["top-up", "card_lost"])]
)
def test_an_enum_may_write_labels_in_its_own_way(name, names):
    """Case, spaces, hyphens and underscores do not count, and the answer is in the enum's spelling."""
    (wanted,) = [name for name in names if name.casefold().startswith("top")]
    assert _made(_object({name: {"enum": names}}), _said("top_up")) == {name: wanted}
    assert _made(_object({"topic": {"enum": ["top_up", "top up", "other"]}}), _said("top_up")) == "topic"


def test_of_two_with_a_field_the_one_with_all_of_them_fills_in():
    """An object is filled in by the one specialist that has all its properties, or by the one of its name."""
    cards = {**CARDS, "crew": _card("crew", fields=(("boat", "text"), ("nights", "number")))}
    boat, nights = {"type": "string"}, {"type": "integer"}

    assert {
        slot.specialist for slot in assign(read_schema(_object({"boat": boat, "extras": TEXTS})), cards).values()
    } == {"slips"}
    named = assign(read_schema(_object({"crew": _object({"boat": boat, "nights": nights})})), cards)
    assert {slot.specialist for slot in named.values()} == {"crew"}
    assert assign(read_schema(_object({"boat": boat, "nights": nights})), cards).code == "route.schema_ambiguous"


@pytest.mark.parametrize(
    ("node", "labels"),
    [
        ({"type": "boolean"}, ("true", "false")),
        ({"enum": ["true", "false"]}, ("true", "false")),
        ({"enum": ["tak", "nie"]}, ("tak", "nie")),
        ({"enum": ["\u306f\u3044", "\u3044\u3044\u3048"]}, ("\u306f\u3044", "\u3044\u3044\u3048", "\u4e0d\u660e")),
        ({"enum": ["0", "1"]}, ("0", "1")),
    ],
)
def test_one_of_two_is_said_of_what_the_name_says(node, labels):
    """A property that nobody is named like asks something else than a specialist of these labels, in any language."""
    cards = {"urgent": _card("urgent", labels=labels, writes=("in_danger",))}

    for name, fits in (("urgent", True), ("in_danger", True), ("is_spam", False)):
        assert isinstance(assign(read_schema(_object({name: node})), cards), Reason) != fits


def test_who_is_named_answers_the_one_property():
    """A caller who names the specialist asks that one, unless several properties could be what it answers."""
    cards = {"spam": _card("spam", labels=("spam", "ham"))}
    label = {"enum": ["spam", "ham"]}

    assert set(assign(read_schema(_object({"label": label})), cards, pinned=True)) == {("label",)}
    for properties in (
        {"label": label, "other": label},
        {"label": {"type": "string"}},
        {"label": {"enum": ["a", "b"]}},
    ):
        assert isinstance(assign(read_schema(_object(properties)), cards, pinned=True), Reason)


@pytest.mark.parametrize("none", [{"anyOf": [TOPIC, {"type": "null"}]}, {"enum": [*LABELS, None]}])
def test_what_may_be_null_is_null_where_nobody_knows_it(none):
    """As an optional property is left out: strict mode has no other. Nothing known at all is still an abstention."""
    schema = _object({"topic": none, "boat": {"type": "string"}})

    assert _made(schema, _said(boat="Argo")) == {"topic": None, "boat": "Argo"}
    assert _made(schema, _said("top_up", boat="Argo")) == {"topic": "top_up", "boat": "Argo"}
    assert _made(schema, _said()) == "boat"
    assert _made(_object({"topic": none}), _said()) == "topic"
    unowned = _object({"topic": TOPIC, "price": {"anyOf": [{"type": "number"}, {"type": "null"}]}})
    assert _made(unowned, _said("top_up")) == {"topic": "top_up", "price": None}


def test_what_is_null_is_said_to_lack():
    """The reason of each null is given with the answer."""
    schema = read_schema(_object({"topic": {"enum": [*LABELS, None]}, "boat": {"type": "string"}}))
    text, lacks = fill(schema, assign(schema, CARDS), _said(boat="Argo"), CARDS)

    assert json.loads(text) == {"topic": None, "boat": "Argo"}
    assert (lacks.code, lacks.values["property"]) == ("abstain.not_filled", "topic")
    assert fill(schema, assign(schema, CARDS), _said(boat="Argo"), CARDS, nulls=False)[0] == ""
