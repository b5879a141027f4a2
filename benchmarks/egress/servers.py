"""What large models say that repeat what they are told in other words and forms, stall, break off or fail."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from typing import Any

from coterie.testing import ServerReply

_LONGEST = 600  # characters of an answer


def misbehaving(seed: int) -> Callable[[Mapping[str, Any]], ServerReply]:
    """What a server says to a request's JSON object; the same again for the same."""

    def reply(body: Mapping[str, Any]) -> ServerReply:
        draw = random.Random(f"{seed}{json.dumps(body, sort_keys=True)}")  # noqa: S311 - reproducible
        text = _worded(body["messages"][-1]["content"], draw)
        if body.get("response_format"):
            text = json.dumps({"answer": draw.choice(["", text]), "questions": [text[:80]]})
        fate = draw.random()
        if fate < 0.06:
            return ServerReply.refused(draw.choice([400, 429, 500]), message=text[:100])
        if fate < 0.12:
            return ServerReply(pieces=_pieces(text, draw), cut_after=draw.randrange(6))
        if fate < 0.14:
            return ServerReply(text="")
        if fate < 0.24:
            return ServerReply(pieces=_pieces(text, draw), delay=0.05)
        return ServerReply(pieces=_pieces(text, draw)) if fate < 0.7 else ServerReply(text=text)

    return reply


def _worded(text: str, draw: random.Random) -> str:
    """The beginning or end of a text, its pseudonyms perhaps in another form."""
    wording = text[-_LONGEST:] if draw.random() < 0.7 else text[:_LONGEST]
    form = draw.randrange(7)
    if form == 0:
        return wording.lower()
    if form == 1:
        return wording.replace("<", "&lt;").replace(">", "&gt;")
    if form == 2:
        return wording.replace("_", "\\_")
    if form == 3:
        return wording.replace("<", "").replace(">", "'s ")
    return wording


def _pieces(text: str, draw: random.Random) -> list[str]:
    length = draw.choice([1, 2, 3, 7, 40])
    return [text[at : at + length] for at in range(0, len(text), length)]
