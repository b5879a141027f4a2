"""The order in which specialists run: a reader of a fact runs after its writer."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from coterie.errors import InputError
from coterie.runtime.codec import replace
from coterie.types import Columns, Part, Reason, Request, Route, SpecialistCard

PlannedStages = tuple[tuple[str, ...], ...]


class Planned(NamedTuple):
    """The schedule of one part of a request."""

    stages: PlannedStages
    after: tuple[int, ...]
    """Positions of the parts that write what this part reads."""


def plan_parts(
    names: Sequence[str], cards: Mapping[str, SpecialistCard], *, earlier_facts: AbstractSet[str] = frozenset()
) -> list[Planned]:
    """Plan a compound request: a part that reads facts of another part runs after it and reads them there.

    The writer is not asked a second time about the reader's text, nor the reader about the writer's. Parts that
    read each other in a circle do not wait: each is planned as if it were alone.

    Args:
        names: The specialist of each part, in the order of the request.
        cards: Every specialist of the network.
        earlier_facts: Names of facts of earlier turns.
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
        stages = plan_stages(name, cards, readers=True, earlier_facts=earlier_facts, given=given, apart=apart)
        planned.append(Planned(stages, tuple(sorted(after[i]))))
    return planned


def plan_stages(
    name: str,
    cards: Mapping[str, SpecialistCard],
    *,
    readers: bool,
    earlier_facts: AbstractSet[str] = frozenset(),
    given: AbstractSet[str] = frozenset(),
    apart: AbstractSet[str] = frozenset(),
) -> PlannedStages:
    """Return the stages in which `name` is asked: writers of facts that it reads, itself, then its readers.

    Args:
        name: The specialist a text was routed or pinned to.
        cards: Every specialist of the network.
        readers: Whether readers of the written facts join. They join if the router chose `name`; they do not if
            the caller pinned it and wants its own answer.
        earlier_facts: Names of facts of earlier turns: a reader needs no writer for these.
        given: Names of facts that other parts of the request write first: no writer is asked for these.
        apart: Readers that are asked in a separate part.
    """
    chosen = _with_writers(name, cards, given)
    if readers:
        chosen = _with_readers(chosen, cards, earlier_facts | given, apart)
    stages: list[tuple[str, ...]] = []
    while chosen:
        ready = tuple(n for n in sorted(chosen) if not _waits_for(cards[n], chosen - {n}, cards))
        ready = ready or tuple(sorted(chosen))  # a circle of readers: nobody can wait for all
        stages.append(ready)
        chosen = chosen - set(ready)
    return tuple(stages)


def _cut_circles(after: dict[int, set[int]]) -> None:
    """Remove dependencies between parts that wait for each other in a circle."""
    reached = {i: set(before) for i, before in after.items()}
    for _ in after:
        for i, before in reached.items():
            reached[i] = before | {k for j in before for k in reached[j]}
    for i, before in after.items():
        after[i] = {j for j in before if i not in reached[j]}


def _with_writers(name: str, cards: Mapping[str, SpecialistCard], given: AbstractSet[str]) -> set[str]:
    """Return `name` and, transitively, every writer of facts that these read, unless the facts are given."""
    chosen, todo = set[str](), [name]
    while todo:
        current = todo.pop()
        if current not in chosen:
            chosen.add(current)
            wanted = set(cards[current].reads) - given
            todo += [other for other, card in cards.items() if set(card.writes) & wanted]
    return chosen


def _with_readers(
    chosen: set[str], cards: Mapping[str, SpecialistCard], facts: AbstractSet[str], apart: AbstractSet[str]
) -> set[str]:
    """Return `chosen` and, transitively, every reader of their facts whose other facts are known."""
    while True:
        written = {fact for name in chosen for fact in cards[name].writes}
        joining = {
            n
            for n in cards.keys() - chosen - apart
            if written & (reads := _facts(cards[n])) and reads <= written | facts
        }
        if not joining:
            return chosen
        chosen = chosen | joining


def _waits_for(card: SpecialistCard, others: set[str], cards: Mapping[str, SpecialistCard]) -> bool:
    return any(_facts(card) & set(cards[other].writes) for other in others)


def _facts(card: SpecialistCard) -> set[str]:
    """Return the facts that a card reads; conversation and earlier findings are no facts and have no writers."""
    return set(card.reads) - {"messages", "findings"}


def pinned_route(request: Request, cards: Mapping[str, SpecialistCard]) -> Route:
    """Return the route of a request that names its specialist."""
    name = request.specialist
    if name is None:
        raise ValueError("only requests that name a specialist are pinned")
    stages = plan_stages(name, cards, readers=False)
    part = Part(text=request.text, stages=stages, score=1.0)
    return Route(parts=(part,), reason=Reason("route.pinned", specialist=name), scores={})


def permitted(route: Route, allowed: Collection[str]) -> Route:
    """Return the parts of a route that ask only permitted specialists; the reason names no other.

    Args:
        route: The route.
        allowed: Names that may be asked; empty for no limit.
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
    """Return a reason without other names: a router's reason may name the runner-up, and quote its examples."""
    if not parts:
        return Reason("route.nobody_allowed")
    if len(parts) < len(route.parts):
        return Reason("route.part_not_allowed")
    if not route.scores.keys() - set(allowed):
        return route.reason
    specialists = dict.fromkeys(name for part in parts for name in part.specialists)
    return Reason("route.allowed", specialists=", ".join(specialists))


# --- Structured input: one row of plain values, by itself or inside a text.


MOST_COLUMNS = 10_000
"""Most columns of a row. An object in a text with more columns is part of the text."""


def split_columns(text: str) -> tuple[str, Columns | None]:
    """Split structured input from a text: return the text without its JSON object, and the object.

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
    """Check that structured input is a row of plain values and not too long. Raises `InputError`."""
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
    """Return whether a column may hold a value: a text, a number that fits a float (so no NaN), true, false or null."""
    if isinstance(value, int | float):
        return abs(value) <= sys.float_info.max
    return value is None or isinstance(value, str)
