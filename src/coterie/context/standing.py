"""What of the log still stands, and what of it one caller may see.

Entries are never changed: a newer fact of a name supersedes the older ones, and a retraction ends those of its own
producer. Both stay in the log. Pure functions of values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

from coterie.context.entries import describe, times
from coterie.runtime.values import replace
from coterie.types import Context, Entry, Fact, Label, Omission, Passage, Reason, Retraction


class Superseded(NamedTuple):
    """Why an entry no longer counts."""

    why: Literal["retraction", "retracted", "superseded", "repeated"]
    reason: Reason


def why_superseded(entries: Sequence[Entry]) -> list[Superseded | None]:
    """For each entry of a log, oldest first, why it no longer counts, or None if it stands.

    Of the facts of one name the last counts, whoever wrote it, unless its producer took it back. Of one passage that
    was found several times the last counts.
    """
    newest: dict[str, str] = {}  # producer by name of a fact
    taken_back: set[tuple[str, str]] = set()  # producer, name
    found: set[tuple[str, str, int, int]] = set()
    gone: list[Superseded | None] = []
    for entry in reversed(entries):
        why: Superseded | None = None
        match entry.content:
            case Retraction(name=name):
                taken_back.add((entry.producer, name))
                why = Superseded("retraction", Reason("omit.retraction"))
            case Fact(name=name) if (entry.producer, name) in taken_back:
                why = Superseded("retracted", Reason("omit.retracted", by=entry.producer))
            case Fact(name=name):
                if name in newest:
                    why = Superseded("superseded", Reason("omit.superseded", by=newest[name]))
                newest.setdefault(name, entry.producer)
            case Passage(index=index, document=document, start=start, end=end):
                if (place := (index, document, start, end)) in found:
                    why = Superseded("repeated", Reason("omit.found_again"))
                found.add(place)
        gone.append(why)
    return gone[::-1]


def versions(context: Context, name: str) -> tuple[Entry, ...]:
    """Every fact of a name that its producer has not taken back, newest first: those that contradict it included."""
    log = zip(context.entries, why_superseded(context.entries), strict=True)
    return tuple(
        entry
        for entry, gone in reversed(list(log))
        if isinstance(entry.content, Fact) and entry.content.name == name and (gone is None or gone.why == "superseded")
    )


def known_facts(context: Context) -> frozenset[str]:
    """Names of the facts that stand."""
    log = zip(context.entries, why_superseded(context.entries), strict=True)
    return frozenset(e.content.name for e, gone in log if gone is None and isinstance(e.content, Fact))


def visible(context: Context, clearance: Label) -> Context:
    """The part of a session that a caller may see; the rest is named in `omitted`, without its content.

    Where something of a fact is above the clearance, its versions that no longer count are left out too: no fact is
    better than one known to be out of date.
    """
    hidden = [entry for entry in context.entries if entry.label > clearance]
    if not hidden:
        return context
    touched = {_what(entry) for entry in hidden} - {None}
    above = {label: Reason("omit.above_caller", label=label.value, clearance=clearance.value) for label in Label}
    omitted: Counter[tuple[str, Reason]] = Counter()
    kept: list[Entry] = []
    for entry, gone in zip(context.entries, why_superseded(context.entries), strict=True):
        if entry.label > clearance:
            omitted[describe(entry), above[entry.label]] += 1
        elif gone is not None and _what(entry) in touched:
            omitted[describe(entry), gone.reason] += 1
        else:
            kept.append(entry)
    named = tuple(Omission(what=times(what, n), reason=reason) for (what, reason), n in omitted.items())
    return replace(context, entries=tuple(kept), omitted=context.omitted + named)


def _what(entry: Entry) -> str | tuple[str, str, int, int] | None:
    """What an entry is a version of: the fact of a name, or a passage; None for what has none."""
    match entry.content:
        case Fact(name=name) | Retraction(name=name):
            return name
        case Passage(index=index, document=document, start=start, end=end):
            return index, document, start, end
        case _:
            return None
