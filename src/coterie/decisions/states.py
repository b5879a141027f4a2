"""The state that questions are about, as the text and the columns of a request."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Literal

from coterie.errors import InputError
from coterie.text.records import cells_of, render_messages, render_record
from coterie.types import Message, Request

LONGEST_STATE = 1_000_000
"""Characters of a state: about 250,000 tokens. Encoders read the beginning of it."""
_ROLES: Mapping[str, Literal["system", "user", "assistant"]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "tool": "user",
    "assistant": "assistant",
}


def request_about(state: object) -> Request:
    """Return a request about a state: a text, a JSON object or list, or messages.

    The fields of an object are written as in training (`coterie.text.records`) and are the columns of the request. A
    text that is a JSON object counts as that object, and a list of objects with `role` and `content` as a conversation.
    Raises `InputError` for any other value.
    """
    if isinstance(state, str) and state.lstrip().startswith("{"):
        state = _object(state) or state
    columns = cells_of(state) if isinstance(state, Mapping) else {}
    if isinstance(state, str | Mapping):
        text = render_record(state)
    elif isinstance(state, Sequence):
        turns = [_turn(item) for item in state]
        known = [turn for turn in turns if turn is not None]
        text = render_messages(known) if turns and len(known) == len(turns) else render_record(state)
    else:
        raise InputError(f"The state is a {type(state).__name__}.", hint="It is a text, a JSON object or a list.")
    if not text.strip():
        raise InputError("The state is empty.", hint="Send a text, or an object with a field that is not empty.")
    if len(text) > LONGEST_STATE:
        raise InputError(f"The state has {len(text)} characters; at most {LONGEST_STATE} are read.")
    return Request(text=text, columns=columns)


def _object(text: str) -> dict[str, object] | None:
    """The JSON object that a text is, as a network takes it for structured input when it is asked."""
    try:
        found = json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _turn(item: object) -> Message | None:
    if isinstance(item, Message):
        return item
    if not isinstance(item, Mapping) or not {"role", "content"} <= item.keys() <= {"role", "content", "type"}:
        return None
    role = _ROLES.get(str(item["role"]))
    return (
        Message(role=role, text=render_record(item["content"])) if role and isinstance(item["content"], str) else None
    )
