"""The view: what a specialist reads, up to its clearance, and nothing else.

Pure functions of values. They do not know who stores the context, and they do not pack by token budget:
whoever writes the prompt knows its window.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from coterie.types import Context, ContextView, Entry, Fact, Message, Omission, Passage, SpecialistCard, ViewRecord

CONVERSATION = "messages"
"""The name under which a specialist reads the conversation."""


def build_view(context: Context, card: SpecialistCard) -> ContextView:
    """What `card`'s specialist may and need see: the newest fact of each name it reads, and `messages` if it does.

    Newest means last in the log, whoever wrote it. A fact above the specialist's clearance still supersedes
    an older one below it: no fact is better than one known to be out of date.

    Args:
        context: Everything the network knows in this session, oldest first.
        card: Whose view it is; its `reads` and `clearance` count.

    Returns:
        The entries in their order; each of the others is counted once in `omitted`, with its reason.
    """
    newest = {e.content.name: i for i, e in enumerate(context.entries) if isinstance(e.content, Fact)}
    seen: list[Entry] = []
    omitted: Counter[tuple[str, str]] = Counter()
    for index, entry in enumerate(context.entries):
        reason = _why_not(entry, card, superseded=_is_older(entry, index, newest))
        if reason:
            omitted[_describe(entry), reason] += 1
        else:
            seen.append(entry)
    return ContextView(
        entries=tuple(seen),
        omitted=tuple(Omission(what=_times(what, n), reason=reason) for (what, reason), n in omitted.items()),
    )


def describe_view(name: str, view: ContextView) -> ViewRecord:
    """What specialist `name` was shown, for the trace: by name and producer, without the content."""
    return ViewRecord(specialist=name, seen=_tally(_describe(e) for e in view.entries), omitted=view.omitted)


def _why_not(entry: Entry, card: SpecialistCard, *, superseded: bool) -> str:
    """Why an entry is left out of a view, or nothing if it is not."""
    if not _is_read(entry, card):
        return f"{card.name} does not read it"
    if superseded:
        return "superseded by a newer one"
    if entry.label > card.clearance:
        return f"{entry.label.value} is above {card.name}'s clearance ({card.clearance.value})"
    return ""


def _is_read(entry: Entry, card: SpecialistCard) -> bool:
    if isinstance(entry.content, Fact):
        return entry.content.name in card.reads
    if isinstance(entry.content, Passage):
        return entry.content.shelf in card.knowledge
    return isinstance(entry.content, Message) and CONVERSATION in card.reads


def _is_older(entry: Entry, index: int, newest: dict[str, int]) -> bool:
    return isinstance(entry.content, Fact) and newest[entry.content.name] != index


def _describe(entry: Entry) -> str:
    """An entry by name and producer, never by content."""
    match entry.content:
        case Fact(name=name):
            return f"fact {name} from {entry.producer}"
        case Message(role=role):
            return f"{role} message from {entry.producer}"
        case _:
            return f"passage from {entry.producer}"


def _tally(descriptions: Iterable[str]) -> tuple[str, ...]:
    """Equal descriptions once, with their number: a long conversation must not make a long trace."""
    return tuple(_times(what, n) for what, n in Counter(descriptions).items())


def _times(what: str, count: int) -> str:
    return what if count == 1 else f"{what} (x{count})"
