"""Calls of fourteen functions in words of our own: the wordings and values of the test are not in training.

`wordings.json` has templates by function; a `{slot}` takes a value of its list, whose second half is the test's. Texts
that no function fits are near ones, of the same words, and others.
"""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

_TEXT: dict[str, Any] = {"type": "string"}
_WHOLE: dict[str, Any] = {"type": "integer"}


def _function(name: str, description: str, *required: str, **properties: dict[str, Any]) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}
    return {"name": name, "description": description, "parameters": parameters}


FUNCTIONS = [
    _function("get_weather", "Says the weather of a city.", "city", city=_TEXT, day={"enum": ["today", "tomorrow"]}),
    _function("set_alarm", "Sets an alarm at a time of day.", "time", time=_TEXT),
    _function("set_timer", "Starts a timer of some minutes.", "minutes", minutes=_WHOLE),
    _function("send_message", "Sends a message to a person.", "person", "message", person=_TEXT, message=_TEXT),
    _function("call_person", "Starts a telephone call.", "person", person=_TEXT),
    _function("play_music", "Plays music of an artist.", "artist", artist=_TEXT),
    _function("set_light", "Switches the light of a room.", "room", "on", room=_TEXT, on={"type": "boolean"}),
    _function("set_heating", "Sets a room's temperature in degrees.", "room", "degrees", room=_TEXT, degrees=_WHOLE),
    _function("convert_money", "Converts an amount of one currency.", "amount", "currency", amount=_WHOLE,
              currency={"enum": ["EUR", "USD", "GBP", "JPY"]}),
    _function("book_table", "Books a table.", "restaurant", "people", restaurant=_TEXT, people=_WHOLE),
    _function("find_train", "Finds a train from one city to another.", "origin", "destination", origin=_TEXT,
              destination=_TEXT),
    _function("add_to_list", "Puts an item on the shopping list.", "item", item=_TEXT),
    _function("translate", "Translates words into a language.", "phrase", "language", phrase=_TEXT,
              language={"enum": ["French", "German", "Spanish"]}),
    _function("track_parcel", "Says where a parcel is.", "number", number=_TEXT),
]  # fmt: skip

_SAID = json.loads((Path(__file__).parent / "wordings.json").read_text(encoding="utf-8"))
_SLOTS = {
    "minutes": "n",
    "people": "n",
    "restaurant": "place",
    "number": "parcel",
    "origin": "city",
    "destination": "city",
}
_WHOLES = {"minutes", "people", "degrees", "amount"}


def rows(*, test: bool, seed: int = 0) -> list[dict[str, Any]]:
    """Texts with their calls, every template with several values."""
    draw, made = random.Random(seed), []  # noqa: S311 - reproducible data
    part = "test" if test else "train"
    for function, templates in _SAID[part].items():
        for template in templates:
            made += [_filled(function, template, draw, test=test) for _ in range(4 if test else 3)]
    made += [{"text": text, "function": None, "wording": text} for text in _SAID[f"none_{part}"]]
    draw.shuffle(made)
    return list({row["text"]: row for row in made}.values())


def _filled(function: str, template: str, draw: random.Random, *, test: bool) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    text, used = template, set()
    for slot in re.findall(r"{(\w+)}", template):
        if slot in _SAID["words"]:
            value = draw.choice(list(_SAID["words"][slot]))
            wording = draw.choice(_SAID["words"][slot][value])
            arguments[slot] = value == "true" if slot == "on" else value
        else:
            values = _SAID["values"][_SLOTS.get(slot, slot)]
            half = len(values) // 2
            wording = draw.choice([v for v in (values[half:] if test else values[:half]) if v not in used])
            used.add(wording)
            arguments[slot] = int(wording) if slot in _WHOLES else wording
        text = text.replace("{" + slot + "}", wording, 1)
    return {"text": text, "function": function, "arguments": arguments, "wording": template}
