"""Entries in words: by name and producer for traces, by content for whoever may see it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from coterie.types import Entry, Fact, FindingSummary, Message, Retraction


def describe(entry: Entry) -> str:
    """An entry by name and producer, never by content."""
    match entry.content:
        case Fact(name=name):
            return f"fact {name} from {entry.producer}"
        case Retraction(name=name):
            return f"retraction of {name} from {entry.producer}"
        case Message(role=role):
            return f"{role} message from {entry.producer}"
        case FindingSummary():
            return f"finding from {entry.producer}"
        case _:
            return f"passage from {entry.producer}"


def text_of(entry: Entry) -> str:
    """An entry's content as a model or a person would read it."""
    match entry.content:
        case Fact(name=name, value=value, confidence=confidence):
            return f"{name} = {value} ({confidence:.2f})"
        case Retraction(name=name):
            return f"{name} is taken back"
        case FindingSummary(specialist=specialist, text=text, accepted=accepted):
            return f"{specialist}{'' if accepted else ' abstained'}: {text}"
        case content:
            return content.text


def tally(descriptions: Iterable[str]) -> tuple[str, ...]:
    """Equal descriptions once, with their number: a long conversation must not make a long trace."""
    return tuple(times(what, n) for what, n in Counter(descriptions).items())


def times(what: str, count: int) -> str:
    """A description with how often it stands for something."""
    return what if count == 1 else f"{what} (x{count})"
