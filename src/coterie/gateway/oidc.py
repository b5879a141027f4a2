"""Routes for sign-in at a provider: `/auth/oidc/start` redirects there, `/auth/oidc/callback` is the way back.

The response to a signed-in person, such as a page with a cookie of the console, is made by a callback with their key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from coterie.governance.keys import Key, KeyRing
from coterie.governance.oidc import CALLBACK, COOKIE, MINUTES, OidcSignIn, Person

START = "/auth/oidc/start"
Welcome = Callable[[Request, Key, Person, str], Awaitable[Response]]
"""Responds to a signed-in person with their session and a redirect to the path that they wanted."""


def oidc_routes(sign_in: OidcSignIn, ring: KeyRing, welcome: Welcome) -> list[Route]:
    """Return the two routes. Errors are raised: `InputError` for the person, `SetupError` for the operator."""

    async def start(request: Request) -> Response:
        begun = await sign_in.begin(request.query_params.get("next", "/"))
        response = RedirectResponse(begun.address, status_code=303, headers={"cache-control": "no-store"})
        secure = request.url.scheme == "https"
        response.set_cookie(
            COOKIE, begun.cookie, max_age=MINUTES * 60, path="/auth/oidc", secure=secure, httponly=True, samesite="lax"
        )
        return response

    async def callback(request: Request) -> Response:
        cookie = request.cookies.get(COOKIE, "")
        person, back = await sign_in.finish(dict(request.query_params), cookie)
        await asyncio.to_thread(sign_in.use, cookie, ring)
        key = await asyncio.to_thread(sign_in.key_of, person, ring)
        response = await welcome(request, key, person, back)
        response.delete_cookie(COOKIE, path="/auth/oidc")
        return response

    return [Route(START, start, methods=["GET"]), Route(CALLBACK, callback, methods=["GET"])]
