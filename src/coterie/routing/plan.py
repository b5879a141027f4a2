"""In which order specialists run: whoever reads a fact runs after whoever writes it."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from coterie.errors import InputError
from coterie.runtime.values import replace
from coterie.types import Columns, Part, Reason, Request, Route, SpecialistCard

PlannedStages = tuple[tuple[str, ...], ...]


class Planned(NamedTuple):
    """When one part of a request is worked on."""

    stages: PlannedStages
    after: tuple[int, ...]
    """Positions of the parts that write what it reads."""


def plan_parts(
    names: Sequence[str], cards: Mapping[str, SpecialistCard], *, known: AbstractSet[str] = frozenset()
) -> list[Planned]:
    """The plan of a compound request: a part that reads what another part writes runs after it and reads it there.

    The writer is not asked a second time about the reader's text, nor the reader about the writer's. Parts that read
    each other in a circle do not wait: each is planned as if it were alone.

    Args:
        names: The specialist of each part, in the order of the request.
        cards: Every specialist of the network.
        known: Names of facts of earlier turns.
    """
    after = {
        i: {j for j, other in enumerate(names) if other != name and set(cards[other].writes) & _facts(cards[name])}
        for i, name in enumerate(names)
    }
    _cut_circles(after)
    planned = []
    for i, name in enumerate(names):
        given = frozenset(fact for j in after[i] for fact in cards[names[j]].writes)
        apart = frozenset(names[k] for k, before in after.items() if i in before)
        stages = plan_stages(name, cards, readers=True, known=known, given=given, apart=apart)
        planned.append(Planned(stages, tuple(sorted(after[i]))))
    return planned


def plan_stages(
    name: str,
    cards: Mapping[str, SpecialistCard],
    *,
    readers: bool,
    known: AbstractSet[str] = frozenset(),
    given: AbstractSet[str] = frozenset(),
    apart: AbstractSet[str] = frozenset(),
) -> PlannedStages:
    """The stages in which `name` is asked: writers of what it reads, itself, then its readers.

    Args:
        name: The specialist a text was routed or pinned to.
        cards: Every specialist of the network.
        readers: Whether those that read what is written along the way join. They do when the router chose
            `name`; they do not when the caller pinned it and wants its own answer.
        known: Names of facts of earlier turns: a reader needs no writer for these.
        given: Names of facts that other parts of the request write first: nobody is asked for these.
        apart: Readers that are asked in a part of their own.
    """
    chosen = _with_writers(name, cards, given)
    if readers:
        chosen = _with_readers(chosen, cards, known | given, apart)
    stages: list[tuple[str, ...]] = []
    while chosen:
        ready = tuple(n for n in sorted(chosen) if not _waits_for(cards[n], chosen - {n}, cards))
        ready = ready or tuple(sorted(chosen))  # a circle of readers: nobody can wait for all
        stages.append(ready)
        chosen = chosen - set(ready)
    return tuple(stages)


def _cut_circles(after: dict[int, set[int]]) -> None:
    """Take away what parts wait for that wait for them in turn."""
    reached = {i: set(before) for i, before in after.items()}
    for _ in after:
        for i, before in reached.items():
            reached[i] = before | {k for j in before for k in reached[j]}
    for i, before in after.items():
        after[i] = {j for j in before if i not in reached[j]}


def _with_writers(name: str, cards: Mapping[str, SpecialistCard], given: AbstractSet[str]) -> set[str]:
    """`name` and, transitively, everybody who writes what these read, unless it is given."""
    chosen, todo = set[str](), [name]
    while todo:
        current = todo.pop()
        if current not in chosen:
            chosen.add(current)
            wanted = set(cards[current].reads) - given
            todo += [other for other, card in cards.items() if set(card.writes) & wanted]
    return chosen


def _with_readers(
    chosen: set[str], cards: Mapping[str, SpecialistCard], known: AbstractSet[str], apart: AbstractSet[str]
) -> set[str]:
    """Those chosen and, transitively, everybody who reads a fact of theirs and none that is not known."""
    while True:
        written = {fact for name in chosen for fact in cards[name].writes}
        joining = {
            n
            for n in cards.keys() - chosen - apart
            if written & (reads := _facts(cards[n])) and reads <= written | known
        }
        if not joining:
            return chosen
        chosen = chosen | joining


def _waits_for(card: SpecialistCard, others: set[str], cards: Mapping[str, SpecialistCard]) -> bool:
    return any(_facts(card) & set(cards[other].writes) for other in others)


def _facts(card: SpecialistCard) -> set[str]:
    """The facts it reads; conversation and earlier findings are no facts and are written by nobody."""
    return set(card.reads) - {"messages", "findings"}


def pinned_route(request: Request, cards: Mapping[str, SpecialistCard]) -> Route:
    """The route of a request that names its specialist."""
    name = request.specialist
    if name is None:
        raise ValueError("only requests that name a specialist are pinned")
    stages = plan_stages(name, cards, readers=False)
    part = Part(text=request.text, stages=stages, score=1.0)
    return Route(parts=(part,), reason=Reason("route.pinned", specialist=name), scores={})


def permitted(route: Route, allowed: Collection[str]) -> Route:
    """The parts of a route that ask nobody but those who may be asked; the reason names no other.

    Args:
        route: Whom to ask.
        allowed: Who may be asked; empty for everybody.
    """
    if not allowed:
        return route
    kept = [i for i, part in enumerate(route.parts) if set(part.specialists) <= set(allowed)]
    # A part that read what a dropped one would have written waits for nobody.
    parts = tuple(
        replace(
            route.parts[i],
            after=tuple(kept.index(j) for j in route.parts[i].after if j in kept),
            otherwise=route.parts[i].otherwise if _all_in(route.parts[i].otherwise, allowed) else (),
            further=tuple(name for name in route.parts[i].further if name in allowed),
        )
        for i in kept
    )
    scores = {name: score for name, score in route.scores.items() if name in allowed}
    return replace(route, parts=parts, scores=scores, reason=_reason_for(route, parts, allowed))


def _all_in(stages: PlannedStages, allowed: Collection[str]) -> bool:
    return all(name in allowed for stage in stages for name in stage)


def _reason_for(route: Route, parts: Sequence[Part], allowed: Collection[str]) -> Reason:
    """A reason that names no other: a router's may name the runner-up, and quote its examples."""
    if not parts:
        return Reason("route.nobody_allowed")
    if len(parts) < len(route.parts):
        return Reason("route.part_not_allowed")
    if not route.scores.keys() - set(allowed):
        return route.reason
    asked = dict.fromkeys(name for part in parts for name in part.specialists)
    return Reason("route.allowed", specialists=", ".join(asked))


# --- Structured input: one row of plain values, by itself or inside a text.


MOST_COLUMNS = 10_000
"""Columns of a row. An object with more that stands in a text is part of the text."""


def split_columns(text: str) -> tuple[str, Columns | None]:
    """Structured input sent inside a text: the text without its JSON object, and the object.

    Only an object of plain values counts; any other brace is part of the text.
    """
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        return text, None
    try:
        columns = json.loads(text[start : end + 1])
    except (ValueError, RecursionError):
        return text, None
    if not isinstance(columns, dict) or not 0 < len(columns) <= MOST_COLUMNS:
        return text, None
    if not all(map(_is_cell, columns.values())):
        return text, None
    return (text[:start] + text[end + 1 :]).strip(), columns


def check_columns(columns: Columns) -> None:
    """Refuse structured input that is no row of plain values, or too long a one. Raises `InputError`."""
    if len(columns) > MOST_COLUMNS:
        raise InputError(
            f"A row of {len(columns):,} columns was sent; it may have {MOST_COLUMNS:,}.",
            hint="Send the columns that the specialist reads.",
        )
    for name, value in columns.items():
        if not isinstance(name, str) or not (value is None or isinstance(value, str | int | float)):
            raise InputError(
                f"Column {name!r} holds a {type(value).__name__}; columns hold texts, numbers, true, false or null.",
                hint="Send one flat JSON object.",
            )
        if not _is_cell(value):
            raise InputError(f"Column {name!r} holds a number that is none, or too large for one.")


def _is_cell(value: object) -> bool:
    """Whether a column may hold it: a text, a number that a float can hold (so no NaN), true, false or null."""
    if isinstance(value, int | float):
        return abs(value) <= sys.float_info.max
    return value is None or isinstance(value, str)
