"""Sign-in with a key, or at the provider that `[oidc]` names; both begin a session of a key.

The provider redirects people back from its own site, and a browser does not send a `SameSite=Strict` cookie with a
navigation that began elsewhere. The callback is therefore answered by a page of this origin that navigates on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request as HTTPRequest
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from coterie.console.rendering import render
from coterie.console.visits import COOKIE, LONGEST, Place, Visit
from coterie.errors import SetupError
from coterie.gateway.access import enter
from coterie.governance.keys import Key

if TYPE_CHECKING:
    from coterie.governance.oidc import Person


def cookie_of(value: str, *, secure: bool) -> str:
    """Return a session's cookie; with `secure` it is sent over TLS only."""
    return f"{COOKIE}={value}; Path=/; Max-Age={LONGEST:.0f}; HttpOnly; SameSite=Strict{'; Secure' if secure else ''}"


def over_tls(headers: Headers) -> bool:
    """Return whether a form was sent over TLS, as reported by the browser: a proxy may have terminated TLS."""
    return headers.get("origin", headers.get("referer", "")).startswith("https:")


def local_goal(goal: str) -> str:
    """Return a goal within the console; empty for a goal elsewhere."""
    parts = urlsplit(goal)
    elsewhere = parts.scheme or parts.netloc or goal.startswith("/") or "\\" in goal or ".." in goal
    return "" if elsewhere or not goal.isprintable() else goal


async def show_sign_in(visit: Visit) -> Response:
    """Show the form for the key, and the link to the provider."""
    return await _form(visit, local_goal(visit.query("next")))


async def _form(visit: Visit, goal: str, *, refused: bool = False) -> Response:
    provider = visit.console.oidc
    return await visit.page(
        "sign_in.html.j2",
        status=401 if refused else 200,
        title="Sign in",
        next=goal,
        refused=refused,
        provider=urlsplit(provider.issuer).hostname if provider else "",
    )


async def sign_in(visit: Visit) -> Response:
    """Check the key and begin a session."""
    ring = visit.gateway.ring
    key = None if ring is None else ring.find(visit.value("key"))
    goal = local_goal(visit.value("next"))
    if key is None:
        await visit.log("sign_in_refused")
        return await _form(visit, goal, refused=True)
    response = RedirectResponse(goal or ".", status_code=303)
    await _begin(visit, key, response, secure=over_tls(visit.http.headers))
    return response


async def _begin(visit: Visit, key: Key, response: Response, *, secure: bool, by: str = "key") -> None:
    """Set the session's cookie on the response, and record the sign-in."""
    cookie = await visit.aside(visit.console.sessions.begin, key)
    enter(visit.http.scope, key)
    visit.__dict__.pop("caller", None)  # who comes is known now
    await visit.log("sign_in", tenant=key.tenant, name=key.name, **{"with": by})
    response.headers.append("set-cookie", cookie_of(cookie, secure=secure))


async def sign_out(visit: Visit) -> Response:
    """End the session."""
    await visit.log("sign_out", tenant=visit.caller.tenant)
    response = RedirectResponse("sign-in", status_code=303)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response


def provider_routes(console: Place) -> Sequence[Route]:
    """Return the two routes of signing in at the provider; none without `[oidc]`. Raises `SetupError`."""
    section, ring = console.oidc, console.gateway.ring
    if section is None or ring is None:
        return ()
    try:
        from coterie.gateway.oidc import oidc_routes  # noqa: PLC0415 - joserfc is an extra
        from coterie.governance.oidc import OidcSignIn  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise SetupError(
            "[oidc] stands in coterie.toml, and joserfc is not installed.", hint="Run pip install 'coterie[oidc]'."
        ) from error
    from coterie.engines.fetch import fetch_json  # noqa: PLC0415

    async def welcome(http: HTTPRequest, key: Key, person: Person, back: str) -> Response:
        visit = Visit(http, console)
        goal = visit.base + (local_goal(back.lstrip("/")) or "./")
        text = await visit.aside(
            render,
            "welcome.html.j2",
            title="Signed in",
            base=visit.base,
            theme="auto",
            network=console.gateway.network.name,
            person=person,
            goal=goal,
        )
        response = HTMLResponse(text)
        await _begin(visit, key, response, secure=section.address.startswith("https:"), by="oidc")
        return response

    return oidc_routes(OidcSignIn(section, fetch_json, clock=console.gateway.network.clock), ring, welcome)
