"""Fetch of one JSON object from one address, for the discovery of a sign-in provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp

from coterie.errors import SetupError
from coterie.runtime.codec import parse_json

_SECONDS, _MOST = 10.0, 1 << 20


async def fetch_json(address: str, form: Mapping[str, str] | None = None) -> Mapping[str, Any]:
    """Get the JSON object at an address, or post a form to it. Redirects are not followed.

    Raises:
        SetupError: there is no answer in time, or none that is a JSON object of at most 1 MiB.
    """
    shown_address = address.split("?", maxsplit=1)[0]
    try:
        timeout = aiohttp.ClientTimeout(total=_SECONDS)
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=True) as session,
            session.request("GET" if form is None else "POST", address, data=form, allow_redirects=False) as response,
        ):
            body = await response.content.read(_MOST)
            if response.status != 200:
                raise SetupError(f"{shown_address!r} answered {response.status}.", hint="Check [oidc] in coterie.toml.")
        document = parse_json(body)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise SetupError(f"{shown_address!r} cannot be read ({type(error).__name__}).", hint="Check [oidc].") from error
    if not isinstance(document, dict):
        raise SetupError(f"{shown_address!r} sent no JSON object.", hint="Check [oidc] in coterie.toml.")
    return document
