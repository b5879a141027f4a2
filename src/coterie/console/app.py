"""The console's app: routes, access control, and the common parts of every page.

Without keys, only programs of this machine reach the console, like the gateway's API. With keys, users sign in with a
key. A change is a form from this origin: `Sec-Fetch-Site` and `Origin` prove the origin, and a page elsewhere cannot
forge them. Pages load nothing from other origins and run no inline script, by the content security policy.

Sign-in is with a key, or at the provider that `[oidc]` names; both begin a session of a key. The provider redirects
people back from its own site, and a browser does not send a `SameSite=Strict` cookie with a navigation that began
elsewhere. The callback is therefore answered by a page of this origin that navigates on.
"""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request as HTTPRequest
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from coterie.console import flywheel, governance, network, playground, rightsizing, traffic
from coterie.console.rendering import STATIC, THEMES, render, static
from coterie.console.visits import COOKIE, LONGEST, THEME, Place, Visit, read_form
from coterie.errors import CoterieError, SetupError
from coterie.gateway.access import enter, refuse_foreign
from coterie.gateway.connection import ClientGone
from coterie.gateway.errors import WireError, error_response
from coterie.governance.keys import Key, KeyRing, Permission

if TYPE_CHECKING:
    from coterie.config.file import Config
    from coterie.governance.oidc import OidcSignIn, Person
    from coterie.network.network import Network

START = "/auth/oidc/start"
Welcome = Callable[[HTTPRequest, Key, "Person", str], Awaitable[Response]]
"""Responds to a signed-in person with their session and a redirect to the path that they wanted."""


def oidc_routes(sign_in: OidcSignIn, ring: KeyRing, welcome: Welcome) -> list[Route]:
    """Return the two routes. Errors are raised: `InputError` for the person, `SetupError` for the operator."""
    from coterie.governance.oidc import CALLBACK, MINUTES  # noqa: PLC0415 - joserfc is an extra
    from coterie.governance.oidc import COOKIE as ATTEMPT  # noqa: PLC0415

    async def start(request: HTTPRequest) -> Response:
        begun = await sign_in.begin(request.query_params.get("next", "/"))
        response = RedirectResponse(begun.address, status_code=303, headers={"cache-control": "no-store"})
        secure = request.url.scheme == "https"
        response.set_cookie(
            ATTEMPT, begun.cookie, max_age=MINUTES * 60, path="/auth/oidc", secure=secure, httponly=True, samesite="lax"
        )
        return response

    async def callback(request: HTTPRequest) -> Response:
        cookie = request.cookies.get(ATTEMPT, "")
        person, back = await sign_in.finish(dict(request.query_params), cookie)
        await asyncio.to_thread(sign_in.use, cookie, ring)
        key = await asyncio.to_thread(sign_in.key_of, person, ring)
        response = await welcome(request, key, person, back)
        response.delete_cookie(ATTEMPT, path="/auth/oidc")
        return response

    return [Route(START, start, methods=["GET"]), Route(CALLBACK, callback, methods=["GET"])]


# --- Sign-in with a key, or at the provider that `[oidc]` names; both begin a session of a key.


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
        from coterie.governance.oidc import OidcSignIn  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise SetupError(
            "[oidc] stands in coterie.toml, and joserfc is not installed.", hint="Run pip install 'coterie[oidc]'."
        ) from error
    from coterie.engines.http import fetch_json  # noqa: PLC0415

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


# --- The console's app: routes, access control, and the common parts of every page.

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
_OPEN = ("/sign-in", "/theme", "/static/", "/auth/oidc/")
"""Prefixes of paths that need no key."""
_YEAR = 365 * 86_400

Serve = Callable[[Visit], Awaitable[Response]]


@dataclass(frozen=True)
class Screen:
    """A page, or the handler of a form."""

    method: str
    path: str
    serve: Serve
    needs: Permission | None = None


async def stream(visit: Visit) -> Response:
    """Stream live events to one page."""
    if visit.console.live.full:
        return Response(status_code=503, headers={"retry-after": "60"})
    return StreamingResponse(visit.console.live.events(), media_type="text/event-stream")


SCREENS: Sequence[Screen] = (
    Screen("GET", "/", network.show_network),
    Screen("GET", "/live", stream),
    Screen("GET", "/specialists/{name}", network.show_specialist),
    Screen("GET", "/specialists/{name}/{version}", network.show_version),
    Screen("POST", "/specialists/{name}/train", network.train, "manage"),
    Screen("POST", "/specialists/{name}/promote", network.promote, "manage"),
    Screen("POST", "/specialists/{name}/rollback", network.roll_back, "manage"),
    Screen("GET", "/jobs/{id}", rightsizing.show_job, "manage"),
    Screen("POST", "/jobs/{id}/stop", rightsizing.stop_job, "manage"),
    Screen("GET", "/playground", playground.show_playground, "ask"),
    Screen("POST", "/playground/ask", playground.ask, "ask"),
    Screen("GET", "/compare", playground.show_comparison, "ask"),
    Screen("POST", "/compare", playground.compare, "ask"),
    Screen("GET", "/traffic", traffic.show_traffic, "traces"),
    Screen("GET", "/traffic/{id}", traffic.show_trace, "traces"),
    Screen("POST", "/traffic/{id}/feedback", traffic.give_feedback, "ask"),
    Screen("GET", "/sessions", traffic.show_sessions, "traces"),
    Screen("GET", "/sessions/{id:path}", traffic.show_session, "traces"),
    Screen("GET", "/spend", traffic.show_spend),
    Screen("GET", "/review", flywheel.show_review, "traces"),
    Screen("POST", "/review", flywheel.answer, "ask"),
    Screen("GET", "/flywheel", flywheel.show_flywheel, "metrics"),
    Screen("POST", "/flywheel", flywheel.act, "manage"),
    Screen("GET", "/rightsizing", rightsizing.show_rightsizing, "manage"),
    Screen("POST", "/rightsizing", rightsizing.start, "manage"),
    Screen("POST", "/rightsizing/add", rightsizing.add, "manage"),
    Screen("GET", "/governance", governance.show_governance),
    Screen("GET", "/governance/audit", governance.show_audit, "audit"),
    Screen("POST", "/governance/audit", governance.verify, "audit"),
    Screen("GET", "/governance/keys", governance.show_keys, "manage"),
    Screen("POST", "/governance/keys", governance.change_keys, "manage"),
    Screen("GET", "/governance/egress", governance.show_egress, "audit"),
    Screen("GET", "/governance/erasure", governance.show_erasure, "manage"),
    Screen("POST", "/governance/erasure", governance.erase, "manage"),
    Screen("GET", "/connect", playground.show_snippets, "ask"),
)
"""Every page, and the handlers of its forms."""


class Console:
    """Serves pages, and passes everything else to the gateway's app."""

    def __init__(self, app: Starlette, folder: Path, open_network: Callable[[Config], Awaitable[Network]]) -> None:
        """Put the console in front of a gateway.

        Args:
            app: The gateway's app.
            folder: The network's folder.
            open_network: Reopens the network after a version was promoted.
        """
        self.place = Place(app.state.gateway, folder, open_network)
        self._behind = app
        self._pages = Starlette(
            routes=[
                *(Route(path, handler, methods=list(methods)) for path, methods, handler in self._handlers()),
                *provider_routes(self.place),
            ],
            middleware=[Middleware(Door, console=self.place)],
        )
        self._pages.router.redirect_slashes = False
        self._pages.state.gateway = self.place.gateway
        self._first = {screen.path.split("/")[1] for screen in SCREENS} | {
            "static",
            "sign-in",
            "sign-out",
            "theme",
            "auth",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a page, or pass other requests to the gateway's app; for its lifetime, follow changes in the folder."""
        if scope["type"] == "lifespan":
            following = asyncio.create_task(self.place.follower.run())
            try:
                await self._behind(scope, receive, send)
            finally:
                following.cancel()
                await asyncio.wait((following,))
            return
        ours = scope["type"] == "http" and scope["path"].split("/")[1] in self._first
        await (self._pages if ours else self._behind)(scope, receive, send)

    def _handlers(self) -> list[tuple[str, tuple[str, ...], Callable[[HTTPRequest], Awaitable[Response]]]]:
        return [
            *((screen.path, (screen.method,), self._handler(screen)) for screen in SCREENS),
            ("/sign-in", ("GET",), self._handler(Screen("GET", "/sign-in", show_sign_in))),
            ("/sign-in", ("POST",), self._handler(Screen("POST", "/sign-in", sign_in))),
            ("/sign-out", ("POST",), self._handler(Screen("POST", "/sign-out", sign_out))),
            ("/theme", ("POST",), self._handler(Screen("POST", "/theme", set_theme))),
            ("/static/{name}", ("GET",), serve_static),
        ]

    def _handler(self, screen: Screen) -> Callable[[HTTPRequest], Awaitable[Response]]:
        async def handle(http: HTTPRequest) -> Response:
            visit = Visit(http, self.place)
            try:
                if screen.needs is not None:
                    visit.caller.require(screen.needs)
                if screen.method == "POST":
                    body = await self.place.gateway.bodies.read(http.headers, http.receive)
                    visit.fields, visit.files = read_form(http.headers.get("content-type", ""), body)
                return await screen.serve(visit)
            except (CoterieError, WireError, ValidationError) as error:
                return await show_error(visit, error)

        return handle


async def show_error(visit: Visit, error: Exception) -> Response:
    """Show an error as a page: the request, the problem, and what to do."""
    shaped = error_response(error)
    hint = getattr(error, "hint", "")
    message = error.message if isinstance(error, CoterieError) else shaped.error["message"]
    about = {"code": shaped.error["code"], "message": message, "hint": hint}
    template = "part_error.html.j2" if visit.wants_part else "error.html.j2"
    return await visit.page(template, status=shaped.status_code, title="It did not work", failure=about)


class Door:
    """Middleware of every page: access control, the origin check of forms, and the security headers."""

    def __init__(self, app: ASGIApp, *, console: Place) -> None:
        self._app, self._place = app, console

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, start, renewed = 0, time.perf_counter(), None

        async def guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                headers.setdefault("cache-control", "no-store")
                if renewed:
                    secure = over_tls(Headers(scope=scope))
                    headers.append("set-cookie", cookie_of(renewed, secure=secure))
            await send(message)

        try:
            renewed = await self._admit(scope)
            await self._app(scope, receive, guarded)
        except ClientGone:
            status = status or 499
        except Exception as error:  # noqa: BLE001 - every error becomes a page
            if not status:
                await self._refuse(error, scope)(scope, receive, guarded)
        finally:
            self._place.gateway.metrics.count_response("console", status, time.perf_counter() - start)

    async def _admit(self, scope: Scope) -> str | None:
        """Authenticate the caller; return the cookie that replaces the caller's, if any. Raises `WireError`."""
        http, ring = HTTPRequest(scope), self._place.gateway.ring
        if http.method not in {"GET", "HEAD"}:
            refuse_cross_site(http.headers)
        if ring is not None:
            await ring.refresh()
        if ring is None or (ring.is_empty() and self._place.oidc is None):
            refuse_foreign(http.headers)
            enter(scope, None)
            return None
        session = self._place.sessions.read(http.cookies.get(COOKIE, ""), ring)
        if session is None:
            if not scope["path"].startswith(_OPEN):
                raise WireError("key_missing", "Sign in with a key.")
            enter(scope, None)
            scope["coterie.stranger"] = True
            return None
        enter(scope, session[0])
        return session[1]

    @staticmethod
    def _refuse(error: Exception, scope: Scope) -> Response:
        """Return a page with the reason of a refusal; a caller who may sign in is redirected there."""
        shaped = error_response(error)
        base = "../" * (scope["path"].count("/") - 1)
        if shaped.status_code == 401:
            back = scope["path"].lstrip("/") + (f"?{scope['query_string'].decode()}" if scope["query_string"] else "")
            to = f"{base}sign-in?next={quote(back, safe='')}"
            if "hx-request" in Headers(scope=scope):
                return Response(status_code=401, headers={"hx-redirect": to})
            gone = RedirectResponse(to, status_code=303)
            gone.delete_cookie(COOKIE, httponly=True, samesite="strict")  # a void one is not shown again and again
            return gone
        hint = getattr(error, "hint", "")
        message = error.message if isinstance(error, CoterieError) else shaped.error["message"]
        about = {"code": shaped.error["code"], "message": message, "hint": hint}
        title = "It did not work" if shaped.status_code >= 500 else "Not let in"
        text = render("bare.html.j2", title=title, base=base, theme="auto", failure=about, network="Coterie")
        return HTMLResponse(text, status_code=shaped.status_code)


def refuse_cross_site(headers: Headers) -> None:
    """Check that a form was sent from a page of this origin. Raises `WireError`."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        if site == "same-origin":
            return
    elif origin is not None and urlsplit(origin).netloc == headers.get("host"):
        return
    raise WireError("forbidden_origin", "Refused: this form was not sent from a page of the console.")


# --- What needs no permission.


async def set_theme(visit: Visit) -> Response:
    """Store the theme: light, dark, or the system's."""
    theme = visit.value("theme")
    response = RedirectResponse(local_goal(visit.value("back")) or ".", status_code=303)
    response.set_cookie(THEME, theme if theme in THEMES else "auto", max_age=_YEAR, httponly=True, samesite="strict")
    return response


async def serve_static(http: HTTPRequest) -> Response:
    """Serve a static file, compressed where the browser accepts it."""
    name = http.path_params["name"]
    if name not in STATIC:
        raise HTTPException(404)
    packed = "gzip" in http.headers.get("accept-encoding", "")
    headers: Mapping[str, str] = {
        "cache-control": f"public, max-age={_YEAR}, immutable" if "v" in http.query_params else "no-cache",
        "vary": "accept-encoding",
        **({"content-encoding": "gzip"} if packed else {}),
    }
    return Response(_packed(name) if packed else static(name), headers=dict(headers), media_type=STATIC[name])


@cache
def _packed(name: str) -> bytes:
    return gzip.compress(static(name), 9, mtime=0)
