"""Access to the gateway: authentication, roles and permissions.

With keys, every holder of a key may send requests from anywhere, as the tenant and in the role of the key. Without
keys, only programs of this machine may: the gateway listens on loopback alone. A browser runs code of other sites on
this machine, so two attacks are refused then too: a page whose name resolves to 127.0.0.1 (DNS rebinding: its requests
have that name as `Host`) and a page of another site that posts here (its requests have its `Origin`).
"""

from __future__ import annotations

import ipaddress
import logging
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from coterie.errors import SetupError
from coterie.gateway.errors import WireError
from coterie.governance.keys import Key, KeyRing, Permission
from coterie.types import Label, ReleaseSlot

_log = logging.getLogger("coterie.gateway")
_CALLER = "coterie.caller"


@dataclass(frozen=True, kw_only=True)
class Caller:
    """The caller of a request: the holder of a key, or, without keys, a user of this machine."""

    key: Key | None = None
    address: str = ""
    """Address of the caller: a host, or the first 64 bits of an IPv6 address, which a provider assigns together."""

    release_slot: ReleaseSlot = nullcontext
    """Context that frees the worker slot of the request while a remote model is waited for."""

    @property
    def client(self) -> str:
        """Client whose share of the gateway is used: the key or, without one, the address."""
        return f"key {self.key.id}" if self.key else self.address

    @property
    def tenant(self) -> str:
        """Tenant whose requests, sessions and traces the caller uses."""
        return self.key.tenant if self.key else "default"

    @property
    def key_id(self) -> str:
        """Id of the key for the audit log; empty without a key."""
        return self.key.id if self.key else ""

    @property
    def specialists(self) -> tuple[str, ...]:
        """The only specialists that the caller may ask; empty for all."""
        return self.key.specialists if self.key else ()

    def clearance(self, default: Label) -> Label:
        """Return the most sensitive label that the caller may see."""
        return self.key.clearance if self.key and self.key.clearance else default

    def sees(self, specialist: str) -> bool:
        """Return whether the caller may see a specialist."""
        return not self.specialists or specialist in self.specialists

    @property
    def role(self) -> str:
        """Role of the caller's key; empty without one."""
        return self.key.role if self.key else ""

    def may(self, permission: Permission) -> bool:
        """Return whether the caller's role has a permission."""
        return self.key is None or self.key.may(permission)

    def require(self, permission: Permission) -> None:
        """Check that the caller's role has a permission. Raises `WireError`."""
        if not self.may(permission):
            raise WireError("forbidden", f"A key of the role {self.role!r} may not do this.")

    @staticmethod
    def of(scope: Scope) -> Caller:
        """Return the caller of an admitted request."""
        caller: Caller = scope[_CALLER]
        return caller


async def admit(scope: Scope, ring: KeyRing | None, *, open_to_all: bool) -> None:
    """Authenticate the caller of a request, and store it in the request's scope.

    What needs no key is served also while keys cannot be read: probes ask whether the process lives.

    Args:
        scope: The request's scope.
        ring: The keys; None where there can be none.
        open_to_all: Whether the path needs no key.

    Raises:
        WireError: no key, a wrong one, or, without keys, a page of another origin; or the keys cannot be read.
    """
    headers, address = Headers(scope=scope), network_of((scope.get("client") or ("",))[0])
    if open_to_all and ring is not None and ring.has_keys:
        scope[_CALLER] = Caller(address=address)
        return
    try:
        if ring is not None:
            await ring.refresh()
        if ring is None or ring.is_empty():
            refuse_foreign(headers)
            scope[_CALLER] = Caller(address=address)
        elif open_to_all:
            scope[_CALLER] = Caller(address=address)
        else:
            scope[_CALLER] = Caller(key=_key_of(headers, ring), address=address)
    except SetupError as error:  # where its file lies is the operator's to know: nobody has said yet who they are
        _log.error("%s", error)
        raise WireError("keys_unreadable", "The gateway cannot read its keys, and lets nobody in.") from None


def enter(scope: Scope, key: Key | None) -> None:
    """Store the holder of a key as the caller of a request, for a console that authenticates by other means."""
    scope[_CALLER] = Caller(key=key, address=network_of((scope.get("client") or ("",))[0]))


def _key_of(headers: Headers, ring: KeyRing) -> Key:
    bearer = f"Bearer {headers['x-api-key']}" if "x-api-key" in headers else ""  # as Anthropic's clients send it
    scheme, _, token = headers.get("authorization", bearer).partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise WireError("key_missing", "This gateway needs a key: send `Authorization: Bearer ctr_...`.")
    key = ring.find(token.strip())
    if key is None:
        raise WireError("key_refused", "This key opens nothing: it is unknown, revoked or expired.")
    return key


def refuse_public(host: str, ring: KeyRing | None = None) -> None:
    """Check an address to listen on.

    Raises:
        SetupError: others than this machine's user could send requests without a key, or the keys cannot be read.
    """
    if not is_loopback(host) and (ring is None or ring.is_empty()):
        raise SetupError(
            f"Asked to listen on {host!r}, which other machines may reach, but there are no keys: anyone who reaches "
            "the gateway could use it.",
            hint="Make one: coterie keys create NAME. Or use `--host 127.0.0.1`.",
        )


@lru_cache(maxsize=256)  # each request asks, mostly the same
def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches a name or address: `localhost`, `127.0.0.1`, `::1`."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


@lru_cache(maxsize=4096)
def network_of(host: str) -> str:
    """Return the part of an address that identifies a client: for IPv6 the first 64 bits, which one client owns."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    return host if address.version == 4 else str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))


def refuse_foreign(headers: Headers) -> None:
    """Check the headers that a page cannot forge. Absent ones are accepted: such a client is no browser.

    Raises:
        WireError: `Host` or `Origin` names another machine.
    """
    host, origin = headers.get("host"), headers.get("origin")
    if host and not is_loopback(_host_name(f"//{host}")):
        raise WireError("forbidden_host", f"Refused: the Host header is {host[:100]!r}; use http://127.0.0.1 instead.")
    if origin and not is_loopback(_host_name(origin)):
        raise WireError("forbidden_origin", f"Refused: the request comes from a web page of {origin[:100]!r}.")


def _host_name(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
