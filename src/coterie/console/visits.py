"""A request to a page: its caller, its form, its response, and the live updates of an open page.

The cookie holds the key's id and no secret. Its signature covers the hash of the key, so the cookie is void as soon as
the key is revoked, expired or rotated. The signing secret is a file of the network, which several processes share.

A page has one event stream, and one shared clock feeds them all. An event has the number of requests that were answered
since the gateway began and the number that are running, over all of its workers. It is sent on a change, so an idle
page costs nothing. A hidden page closes its stream, and then the store is not read for it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import parse_qs, quote, unquote

from starlette.requests import Request as HTTPRequest
from starlette.responses import HTMLResponse, RedirectResponse, Response

from coterie.config.file import Config, load_config
from coterie.console.jobs import Jobs
from coterie.console.rendering import THEMES, render
from coterie.errors import InputError, SetupError
from coterie.gateway.access import Caller
from coterie.gateway.errors import WireError
from coterie.gateway.serve import Follower
from coterie.gateway.work import Gateway
from coterie.governance.keys import Key, KeyRing, Permission
from coterie.protocols import ReadModels
from coterie.registry.registry import Registry, open_registry
from coterie.types import AuditEvent, Label

if TYPE_CHECKING:
    from coterie.flywheel.overview import DeploymentView, JobView
    from coterie.network.network import Network

T = TypeVar("T")
_SECONDS = 2.0
"""Seconds between two readings."""
_QUIET = 15.0
"""Seconds without a change after which a stream sends a keep-alive comment."""
_MOST = 64
"""The most streams at once; a further client is told to retry later."""


@dataclass
class Ticker:
    """Counts for all pages, and their event streams."""

    gateway: Gateway
    _streams: int = field(default=0)
    _read: float = field(default=0.0)
    _last: dict[str, int] | None = field(default=None)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set, and replaced, at every change."""
    _clock: asyncio.Task[None] | None = field(default=None)

    async def now(self) -> dict[str, int]:
        """Return the content of an event, read once for all pages."""
        now = time.monotonic()
        if self._last is None or now - self._read >= _SECONDS / 2:
            self._read = now
            self._last = await asyncio.to_thread(self.gateway.metrics.live)
        return self._last

    async def events(self) -> AsyncIterator[bytes]:
        """Yield the events of one page, until it leaves or the gateway shuts down."""
        self._streams += 1
        try:
            if self._clock is None or self._clock.done():
                self._clock = asyncio.create_task(self._tick())
            shown = await self.now()
            yield _event(shown)
            while not self.gateway.draining:
                changed = self._changed
                try:
                    async with asyncio.timeout(_QUIET):
                        await changed.wait()
                except TimeoutError:
                    yield b": still here\n\n"
                    continue
                if self._last is not None and self._last != shown:
                    shown = self._last
                    yield _event(shown)
        finally:
            self._streams -= 1

    async def _tick(self) -> None:
        """Read the counts periodically while a stream is open, and wake the streams at a change."""
        before = await self.now()
        while self._streams and not self.gateway.draining:
            await asyncio.sleep(_SECONDS)
            counts = await self.now()
            if counts != before or self.gateway.draining:
                before, changed, self._changed = counts, self._changed, asyncio.Event()
                changed.set()

    @property
    def full(self) -> bool:
        """Whether no further stream is accepted."""
        return self._streams >= _MOST


def _event(counts: dict[str, int]) -> bytes:
    return b"data: " + json.dumps(counts).encode() + b"\n\n"


@dataclass
class SharedViews:
    """A cache of views that several viewers share."""

    clock: Callable[[], float] = time.monotonic
    _held: dict[Hashable, tuple[float, asyncio.Task[Any]]] = field(default_factory=dict)

    async def get(self, key: Hashable, make: Callable[[], Awaitable[T]], *, seconds: float) -> T:
        """Return the value made under this key within the last seconds, else make it now.

        Args:
            key: Identifies the view and who may see it.
            make: Makes the view; concurrent callers wait for the same. An error of `make` is not kept.
            seconds: The largest age of the value.
        """
        now, held = self.clock(), self._held.get(key)
        if held is None or now - held[0] >= seconds or (held[1].done() and held[1].exception() is not None):

            async def made() -> T:
                return await make()

            self._held = {key: one for key, one in self._held.items() if now - one[0] < _KEPT}
            held = self._held[key] = now, asyncio.create_task(made())
        return cast("T", await asyncio.shield(held[1]))


_KEPT = 60.0
"""Seconds after which an unused entry is dropped."""


# --- A request to a page: its caller, its form, and its response.

COOKIE = "coterie_session"
IDLE, LONGEST = 3600.0, 12 * 3600.0
"""Seconds without a request after which a session ends, and seconds after which it ends in any case."""
SKEW = 900.0
"""Largest clock difference in seconds between hosts that answer one browser in turns."""
_FORM = re.compile(r"([a-z0-9]{8})\.(\d{1,12})\.(\d{1,12})\.([0-9a-f]{64})")


class Sessions:
    """Makes and reads session cookies."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        """Use the file of the secret, which is made at the first sign-in."""
        self._path, self._clock = path, clock
        self._secret: bytes | None = None

    def begin(self, key: Key) -> str:
        """Return a cookie for the holder of a key. Raises `SetupError` where the secret cannot be read or written."""
        now = int(self._clock())
        return self._write(key, now, now)

    def read(self, cookie: str, ring: KeyRing) -> tuple[Key, str | None] | None:
        """Return the key of a cookie, and a renewed cookie if one is due; None for a void cookie."""
        match = _FORM.fullmatch(cookie)
        key = ring.named(match[1]) if match else None
        if match is None or key is None or not self._path.exists():
            return None
        began, used, now = int(match[2]), int(match[3]), self._clock()
        if not hmac.compare_digest(match[4], self._sign(key, began, used)):
            return None
        if not (-SKEW <= now - used <= IDLE and now - began <= LONGEST):
            return None
        return key, self._write(key, began, int(now)) if now - used > IDLE / 10 else None

    def _write(self, key: Key, began: int, used: int) -> str:
        return f"{key.id}.{began}.{used}.{self._sign(key, began, used)}"

    def _sign(self, key: Key, began: int, used: int) -> str:
        if self._secret is None:
            self._secret = _secret_in(self._path)
        return hmac.new(self._secret, f"{key.id}.{key.digest}.{began}.{used}".encode(), hashlib.sha256).hexdigest()


def _secret_in(path: Path) -> bytes:
    """Return the secret, made if there is none; if two processes make one at once, the first one is used."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        if not path.exists():
            file = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            os.write(file, secrets.token_bytes(32))
            os.close(file)
            with suppress(FileExistsError):
                os.link(draft, path)
            draft.unlink()
        secret = path.read_bytes()
    except OSError as error:
        raise SetupError(
            f"Cannot keep the console's secret in {str(path)!r}: {error.strerror or error}.",
            hint="Check that the folder is writable.",
        ) from error
    if len(secret) != 32:
        raise SetupError(f"The console's secret in {str(path)!r} has {len(secret)} bytes.", hint="Delete the file.")
    return secret


_SECRET = "state/console.key"  # noqa: S105 - where it is


@dataclass(frozen=True, kw_only=True)
class Counted:
    """Jobs and deployments with their counts at a point in time."""

    state: Mapping[str, int]
    """Revisions of jobs, deployments and alarms: the counts are renewed when one changes."""
    time: float
    jobs: Sequence[JobView]
    deployments: Sequence[DeploymentView]


class Place:
    """The environment of the pages."""

    def __init__(self, gateway: Gateway, folder: Path, open_network: Callable[[Config], Awaitable[Network]]) -> None:
        """Store the gateway, its network's folder, and the function that reopens the network after a promotion."""
        self.gateway, self.folder = gateway, folder
        self.follower = Follower(gateway, folder, open_network)
        clock = gateway.network.clock
        config = load_config(folder)
        self.currency, self.oidc = config.accounting.currency, config.oidc
        self.jobs = Jobs(folder, self.follower.reopen, clock=clock, opened=gateway.opened)
        self.live = Ticker(gateway)
        self.shared = SharedViews()
        self.sessions = Sessions(folder / _SECRET, clock)
        self.reviewed: dict[tuple[str, ...], tuple[float, Any]] = {}
        """What pages of review remember for a minute."""
        self.counted: dict[tuple[str | None, Label | None], Counted] = {}
        """What the page of the flywheel has counted last, by the tenant whose jobs are seen and the clearance."""


_MOST_FIELDS = 200
NOTE, THEME = "coterie_note", "coterie_theme"
LABELS = [label.value for label in Label]


@dataclass(frozen=True)
class Upload:
    """An uploaded file of a form."""

    name: str
    content: bytes


@dataclass
class Visit:
    """A request with everything that a page's handler needs."""

    http: HTTPRequest
    console: Place
    fields: Mapping[str, list[str]] = field(default_factory=dict)
    """The fields of the submitted form."""
    files: Mapping[str, Upload] = field(default_factory=dict)

    @property
    def gateway(self) -> Gateway:
        """The gateway behind the console."""
        return self.console.gateway

    @cached_property
    def caller(self) -> Caller:
        """The caller of this page."""
        return Caller.of(self.http.scope)

    def may(self, permission: Permission) -> bool:
        """Return whether the caller's role has a permission."""
        return self.caller.may(permission)

    @property
    def folder(self) -> Path:
        """The network's folder."""
        return self.console.folder

    @cached_property
    def config(self) -> Config:
        """The network's file as it is now. Raises `ConfigError`."""
        return load_config(self.folder)

    @cached_property
    def registry(self) -> Registry:
        """The registry of the network's versions."""
        return open_registry(self.folder, self.config.registry)

    @property
    def reads(self) -> ReadModels:
        """The store's read models. Raises `SetupError` where it has none."""
        store = self.gateway.network.store
        if not isinstance(store, ReadModels):
            raise SetupError("This network's store has no read models.", hint="The console needs a store with them.")
        return store

    @property
    def clearance(self) -> Label | None:
        """The most sensitive label whose text is shown; None for no limit."""
        return None if self.caller.key is None else self.caller.clearance(self.gateway.network.default_label)

    def query(self, name: str, default: str = "") -> str:
        """Return a value of the query string."""
        value: str = self.http.query_params.get(name, default)
        return value.strip()

    def value(self, name: str, default: str = "") -> str:
        """Return a value of the form."""
        return self.fields.get(name, [default])[0].replace("\r\n", "\n").strip()

    @property
    def base(self) -> str:
        """The relative path from this page to the console's root, independent of a proxy's path prefix."""
        path: str = self.http.scope["path"]
        return "../" * (path.count("/") - 1)

    @property
    def wants_part(self) -> bool:
        """Whether a script requests a part of the page."""
        return "hx-request" in self.http.headers

    async def aside(self, work: Callable[..., T], *values: Any, **named: Any) -> T:  # noqa: ANN401 - the work's
        """Run work that reads files or takes long, in a thread."""
        return await asyncio.to_thread(partial(work, *values, **named))

    async def page(self, template: str, *, status: int = 200, **values: object) -> Response:
        """Render a template as a page, in a thread, so that no other request waits for it."""
        values = {**self._common(), **values}
        response = HTMLResponse(await asyncio.to_thread(render, template, **values), status_code=status)
        if NOTE in self.http.cookies and not self.wants_part:
            response.delete_cookie(NOTE, httponly=True, samesite="strict")
        return response

    def _common(self) -> dict[str, object]:
        """Return the values that every page shows."""
        note: object = None
        try:
            note = json.loads(unquote(self.http.cookies.get(NOTE, "null")))
        except ValueError:
            note = None
        theme = self.http.cookies.get(THEME, "")
        return {
            "base": self.base,
            "path": self.http.scope["path"],
            "here": self.http.url.path.rsplit("/", 1)[-1] + (f"?{self.http.url.query}" if self.http.url.query else ""),
            "network": self.gateway.network.name,
            "viewer": self.caller,
            "may": {name: self.may(name) for name in ("ask", "traces", "metrics", "release", "audit", "manage")},
            "theme": theme if theme in THEMES else "auto",
            "note": note if isinstance(note, dict) else None,
            "currency": self.console.currency,
            "error": None,
        }

    def go(self, to: str, *, note: str = "") -> Response:
        """Redirect to another page of the console, relative to its root, with a note that is shown once."""
        response = RedirectResponse(self.base + to or ".", status_code=303)
        if note:
            response.set_cookie(
                NOTE, quote(json.dumps({"text": note[:1000]})), max_age=60, httponly=True, samesite="strict"
            )
        return response

    async def log(self, kind: str, *, tenant: str = "", **about: object) -> None:
        """Record the person's action, with their key, in the audit log. Raises `AuditError`."""
        network = self.gateway.network
        if network.audit is not None:
            about = {"by": "console", "key": self.caller.key_id, **about}
            await network.audit.append(AuditEvent(kind=kind, time=network.clock(), tenant=tenant, about=about))


def read_form(content_type: str, body: bytes) -> tuple[dict[str, list[str]], dict[str, Upload]]:
    """Read a form's fields and files, urlencoded or multipart. Raises `WireError`."""
    kind, _, parameters = content_type.partition(";")
    try:
        if kind.strip().lower() == "application/x-www-form-urlencoded":
            return parse_qs(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS), {}
        if kind.strip().lower() == "multipart/form-data":
            return _read_parts(parameters, body)
    except (ValueError, LookupError, StopIteration) as error:
        raise WireError("invalid_request", "The form cannot be read.") from error
    raise WireError("invalid_request", f"A form was expected, and the body is {kind[:100]!r}.")


def _read_parts(parameters: str, body: bytes) -> tuple[dict[str, list[str]], dict[str, Upload]]:
    """Read the parts of a multipart body as browsers send it, whole in memory and bounded by the gateway's limit."""
    boundary = next(
        p.strip()[9:].strip('"') for p in parameters.split(";") if p.strip().lower().startswith("boundary=")
    )
    fields: dict[str, list[str]] = {}
    files: dict[str, Upload] = {}
    for part in (b"\r\n" + body).split(b"\r\n--" + boundary.encode())[1:-1][:_MOST_FIELDS]:
        head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        about = _disposition(head.decode())
        if "filename" not in about:
            fields.setdefault(about["name"], []).append(content.decode())
        elif about["filename"]:
            files[about["name"]] = Upload(about["filename"].replace("\\", "/").rsplit("/", 1)[-1], content)
    return fields, files


def _disposition(head: str) -> dict[str, str]:
    """Return the parameters of a part: browsers quote their values, and encode a quote in them as %22."""
    line = next(line for line in head.split("\r\n") if line.lower().startswith("content-disposition:"))
    fields = {}
    for part in line.split("; ")[1:]:
        name, _, value = part.partition("=")
        fields[name.strip().lower()] = value.strip().strip('"').replace("%22", '"')
    if "name" not in fields:
        raise ValueError("a part has no name")
    return fields


def chosen(value: str, options: object, what: str) -> str:
    """Check that a value is one of the options, and return it. Raises `InputError`."""
    if value not in options:  # type: ignore[operator] # any container
        raise InputError(f"{what} was {value[:100]!r}, which is none of those offered.", hint="Choose one of the list.")
    return value
