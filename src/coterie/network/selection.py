"""Whom to ask: the specialist that a request names, the reader of its document, or whom the router names."""

from __future__ import annotations

from collections.abc import Mapping

from coterie.protocols import Router, Specialist
from coterie.routing.plan import permitted, pinned_route, plan_stages
from coterie.runtime.values import replace
from coterie.structured.filling import PropertySlot, assign, is_free
from coterie.types import CallContext, Context, Part, Reason, Request, Route, SpecialistCard


async def select(
    request: Request,
    context: Context,
    *,
    router: Router,
    specialists: Mapping[str, Specialist],
    reader: str,
    call: CallContext,
) -> Route:
    """The route of an admitted request, without those who may not be asked.

    Args:
        request: It stands on its own.
        context: What is known beside it.
        router: Asked where the request neither names a specialist nor brings a document.
        specialists: By name.
        reader: Name of who reads documents.
        call: On whose behalf.
    """
    if request.document is not None:
        part = Part(text=request.text, stages=((reader,),), score=1.0)
        route = Route(parts=(part,), reason=Reason("route.document"))
    elif request.specialist is None:
        route = await router.route(request, context, call=call)
    else:
        cards = {name: specialist.card for name, specialist in specialists.items()}
        route = pinned_route(request, cards)
    return permitted(route, request.allowed)


def schema_route(
    request: Request, cards: Mapping[str, SpecialistCard]
) -> tuple[Route | None, Mapping[str, PropertySlot]]:
    """The route of a request for JSON: those who fill it in, or nobody. None for any object: the router names them."""
    if request.schema is None or is_free(request.schema):
        return None, {}
    asked = {request.specialist} if request.specialist is not None else set(request.allowed or cards)
    slots = assign(request.schema, {name: card for name, card in cards.items() if name in asked})
    if isinstance(slots, Reason):
        return Route(parts=(), reason=slots), {}
    names = dict.fromkeys(slot.specialist for slot in slots.values())
    parts = tuple(Part(text=request.text, stages=plan_stages(name, cards, readers=False), score=1.0) for name in names)
    return in_one(Route(parts=parts, reason=Reason("route.schema", specialists=", ".join(names))), request), slots


def in_one(route: Route, request: Request) -> Route:
    """The route with one part, the whole request, which all who were named are asked about."""
    if not route.parts:
        return route
    depth = max(len(part.stages) for part in route.parts)
    asked: set[str] = set()
    stages = []
    for i in range(depth):
        stage = dict.fromkeys(name for part in route.parts for name in (part.stages[i : i + 1] or ((),))[0])
        stages.append(tuple(name for name in stage if name not in asked))
        asked |= stage.keys()
    whole = Part(text=request.text, stages=tuple(filter(None, stages)), score=max(part.score for part in route.parts))
    return replace(route, parts=(whole if len(route.parts) > 1 else route.parts[0],))
