"""Who may reach the gateway and as whom. Keys with roles and tenants will be checked here; there are none yet.

Without keys, only programs of this machine may come in: the gateway listens on loopback alone. A browser
runs other people's programs on this machine, so two of its tricks are refused too: a page whose name
resolves to 127.0.0.1 (DNS rebinding: its requests carry that name as `Host`) and a page of another site that
posts here (it carries its `Origin`).
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from coterie.errors import SetupError

from ._errors import WireError


def refuse_public(host: str) -> None:
    """Check an address to listen on.

    Raises:
        SetupError: it is not a loopback address, so others than this machine's user could come in without a key.
    """
    if not is_loopback(host):
        raise SetupError(
            f"Asked to listen on {host!r}, which other machines may reach, but this version has no keys: "
            "anyone who reaches the gateway could use it.",
            hint="Use `--host 127.0.0.1`, and for others put a proxy that checks who they are in front of it.",
        )


@lru_cache(maxsize=256)  # each request asks, mostly the same
def is_loopback(host: str) -> bool:
    """True for a name or address that only this machine reaches: `localhost`, `127.0.0.1`, `::1`."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def refuse_foreign(headers: Headers) -> None:
    """Check the headers a browser cannot be talked out of. Absent ones are fine: such a client is no browser.

    Raises:
        WireError: `Host` or `Origin` names another machine.
    """
    host, origin = headers.get("host"), headers.get("origin")
    if host and not is_loopback(_host_name(f"//{host}")):
        raise WireError("forbidden_host", f"Refused: the Host header is {host[:100]!r}; use http://127.0.0.1 instead.")
    if origin and not is_loopback(_host_name(origin)):
        raise WireError("forbidden_origin", f"Refused: the request comes from a web page of {origin[:100]!r}.")


def tenant_of(_headers: Headers) -> str:
    """The tenant a request belongs to: everybody's, as long as there are no keys."""
    return "default"


def _host_name(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
