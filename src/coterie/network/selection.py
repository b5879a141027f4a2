"""Whom to ask: the specialist that a request names, the reader of its document, or whom the router names."""

from __future__ import annotations

from collections.abc import Mapping

from coterie.protocols import Router, Specialist
from coterie.routing.plan import permitted, pinned_route
from coterie.types import CallContext, Context, Part, Reason, Request, Route


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
        part = Part(text=request.text, waves=((reader,),), score=1.0)
        route = Route(parts=(part,), reason=Reason("route.document"))
    elif request.specialist is None:
        route = await router.route(request, context, call=call)
    else:
        cards = {name: specialist.card for name, specialist in specialists.items()}
        route = pinned_route(request, cards)
    return permitted(route, request.allowed)
