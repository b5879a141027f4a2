"""In which order specialists run: whoever reads a fact runs after whoever writes it."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from coterie.types import Part, Request, Route, SpecialistCard

Waves = tuple[tuple[str, ...], ...]


def plan_waves(
    name: str, cards: Mapping[str, SpecialistCard], *, readers: bool, known: AbstractSet[str] = frozenset()
) -> Waves:
    """The waves in which `name` is asked: writers of what it reads, itself, then its readers.

    Args:
        name: The specialist a text was routed or pinned to.
        cards: Every specialist of the network.
        readers: Whether those that read what is written along the way join. They do when the router chose
            `name`; they do not when the asker pinned it and wants its own answer.
        known: Names of facts of earlier turns: a reader needs no writer for these.
    """
    chosen = _with_writers(name, cards)
    if readers:
        chosen = _with_readers(chosen, cards, known)
    waves: list[tuple[str, ...]] = []
    while chosen:
        ready = tuple(n for n in sorted(chosen) if not _waits_for(cards[n], chosen - {n}, cards))
        ready = ready or tuple(sorted(chosen))  # a circle of readers: nobody can wait for all
        waves.append(ready)
        chosen = chosen - set(ready)
    return tuple(waves)


def _with_writers(name: str, cards: Mapping[str, SpecialistCard]) -> set[str]:
    """`name` and, transitively, everybody who writes what these read."""
    chosen, todo = set[str](), [name]
    while todo:
        current = todo.pop()
        if current not in chosen:
            chosen.add(current)
            todo += [other for other, card in cards.items() if set(card.writes) & set(cards[current].reads)]
    return chosen


def _with_readers(chosen: set[str], cards: Mapping[str, SpecialistCard], known: AbstractSet[str]) -> set[str]:
    """Those chosen and, transitively, everybody who reads a fact of theirs and none that is not known."""
    while True:
        written = {fact for name in chosen for fact in cards[name].writes}
        joining = {n for n in cards.keys() - chosen if _joins(_facts(cards[n]), written, known)}
        if not joining:
            return chosen
        chosen = chosen | joining


def _joins(reads: AbstractSet[str], written: AbstractSet[str], known: AbstractSet[str]) -> bool:
    return bool(reads & written) and reads <= written | known


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
    waves = plan_waves(name, cards, readers=False)
    part = Part(text=request.text, waves=waves, score=1.0)
    return Route(parts=(part,), reason=f"the request names {name!r}", scores={})
