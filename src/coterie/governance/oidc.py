"""Sign-in at an OpenID Connect provider: authorization code with PKCE (RFC 7636), checked by `joserfc`.

A person who signs in gets a key of the network that is named after them and whose secret nobody knows. The
key is listed, limited, audited and revoked like any other, and a cookie of the console may stand for it. A
revoked key stays revoked: its holder cannot sign in again. Network access goes through `fetch` alone, which
tests replace.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlencode

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from coterie.config.operation import OidcSection
from coterie.errors import InputError, SetupError
from coterie.governance.keys import Key, KeyRing, Role

Fetch = Callable[[str, Mapping[str, str] | None], Awaitable[Mapping[str, Any]]]
"""A function that gets the JSON object at an address, or posts a form there. Raises `SetupError`."""

COOKIE = "coterie_oidc"
CALLBACK = "/auth/oidc/callback"
MINUTES = 10
_ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA", "Ed25519")
"""Signature algorithms with a key that only the provider has: no shared secrets, and never `none`."""
_TIMES = ("exp", "iat", "nbf")
_LEEWAY = 60
"""Seconds by which clocks may differ."""


@dataclass(frozen=True, kw_only=True)
class SignInRequest:
    """The address to which a browser is sent to sign in, and the cookie it keeps until it returns."""

    address: str
    cookie: str


@dataclass(frozen=True, kw_only=True)
class Person:
    """A person whom the provider vouches for."""

    subject: str
    """The id by which the provider knows the person."""
    name: str
    """A readable name: the person's address, if the provider verified it, else their name or subject."""
    role: Role


class OidcSignIn:
    """Signs people in with one provider."""

    def __init__(self, section: OidcSection, fetch: Fetch, *, clock: Callable[[], float] = time.time) -> None:
        """Take the section; the first sign-in asks the provider. Raises `ConfigError` if the secret is missing."""
        self._section, self._fetch, self._clock = section, fetch, clock
        self._secret = section.client_secret.reveal()
        self._provider: Mapping[str, Any] | None = None

    async def begin(self, back: str = "/") -> SignInRequest:
        """Return the address to send a browser to; `back` is the local path to return to. Raises `SetupError`."""
        provider = await self._discover()
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": self._section.client_id,
            "redirect_uri": self._callback,
            "scope": "openid profile email",
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        local = back if back.startswith("/") and not back.startswith(("//", "/\\")) and back.isprintable() else "/"
        kept = {"state": state, "nonce": nonce, "verifier": verifier, "back": local}
        cookie = self._seal({**kept, "until": self._clock() + MINUTES * 60})
        return SignInRequest(address=f"{provider['authorization_endpoint']}?{urlencode(query)}", cookie=cookie)

    async def finish(self, query: Mapping[str, str], cookie: str) -> tuple[Person, str]:
        """Return the person who came back from the provider, and the path they wanted.

        Raises:
            InputError: the person was not signed in, or this browser did not begin the sign-in.
            SetupError: the provider cannot be asked, or its statements are not valid.
        """
        kept = self._unseal(cookie)
        if not hmac.compare_digest(query.get("state", "").encode(), str(kept["state"]).encode()):
            raise _refused("the answer is of another sign-in")
        if "iss" in query and query["iss"] != self._section.issuer:  # RFC 9207: mix-up of providers
            raise _refused("the answer is of another provider")
        if "code" not in query:
            raise _refused(f"the provider said {query.get('error', 'nothing')[:100]!r}")
        provider = await self._discover()
        form = {
            "grant_type": "authorization_code",
            "code": query["code"],
            "redirect_uri": self._callback,
            "client_id": self._section.client_id,
            "client_secret": self._secret,
            "code_verifier": str(kept["verifier"]),
        }
        answer = await self._fetch(str(provider["token_endpoint"]), form)
        claims = await self._checked(str(answer.get("id_token", "")), nonce=str(kept["nonce"]))
        return self._person(claims), str(kept["back"])

    def use(self, cookie: str, ring: KeyRing) -> None:
        """Let a sign-in that `finish` has checked count only once in all processes: some providers accept a code twice.

        Raises:
            InputError: the sign-in was used before.
            SetupError: the record of used sign-ins cannot be read or written.
        """
        kept = self._unseal(cookie)
        if not ring.use_once(str(kept["state"]), until=float(cast("float", kept["until"]))):
            raise _refused("it was used already")

    def key_of(self, person: Person, ring: KeyRing) -> Key:
        """Return the person's key, created at their first sign-in. Raises `InputError` if it was revoked."""
        digest = hashlib.sha256(f"{self._section.issuer}\n{person.subject}".encode()).hexdigest()
        return ring.enrol(f"oidc-{digest[:16]}", role=person.role, tenant=self._section.tenant)

    # --- the provider ------------------------------------------------------------------------------

    @property
    def _callback(self) -> str:
        return self._section.address.rstrip("/") + CALLBACK

    async def _discover(self) -> Mapping[str, Any]:
        if self._provider is None:
            provider = await self._fetch(f"{self._section.issuer.rstrip('/')}/.well-known/openid-configuration", None)
            wanted = ("authorization_endpoint", "token_endpoint", "jwks_uri")
            if provider.get("issuer") != self._section.issuer or not all(
                isinstance(provider.get(key), str) for key in wanted
            ):
                raise SetupError(
                    f"[oidc] issuer is {self._section.issuer!r}; the provider calls itself {provider.get('issuer')!r}.",
                    hint="Write `issuer` as the provider does, to the last slash.",
                )
            self._provider = provider
        return self._provider

    async def _checked(self, token: str, *, nonce: str) -> Mapping[str, Any]:
        """Return the claims of an identity token, after checking that it is for us, valid now, and of this sign-in.

        The provider is asked for its keys each time, so that a withdrawn key signs nothing more.
        """
        provider = await self._discover()
        key_set = await self._fetch(str(provider["jwks_uri"]), None)
        try:
            keys = KeySet.import_key_set(cast("Any", key_set))
            decoded = jwt.decode(token, keys, algorithms=list(_ALGORITHMS))
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise _refused(f"its token does not hold ({type(error).__name__})") from error
        claims = dict(decoded.claims)
        registry = jwt.JWTClaimsRegistry(
            now=lambda: int(self._clock()),
            leeway=_LEEWAY,
            iss={"essential": True, "value": self._section.issuer},
            aud={"essential": True, "value": self._section.client_id},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        try:
            registry.validate(claims)
        except JoseError as error:
            claim = str(getattr(error, "claim", ""))
            clock = "; compare this machine's clock with the provider's" if claim in _TIMES else ""
            raise _refused(f"its token does not hold ({type(error).__name__}: {claim!r}{clock})") from error
        ours, several = self._section.client_id, isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if claims.get("azp", None if several else ours) != ours:
            raise _refused("its token is for another program, too")
        return claims

    def _person(self, claims: Mapping[str, Any]) -> Person:
        claim = claims.get(self._section.claim)
        values = claim if isinstance(claim, list) else [claim]
        role = next((role for value, role in self._section.roles.items() if value in values), None)
        if role is None:
            raise _refused(f"none of [oidc] roles is in its claim {self._section.claim!r}")
        verified = claims.get("email") if claims.get("email_verified") is True else None
        return Person(subject=str(claims["sub"]), name=str(verified or claims.get("name") or claims["sub"]), role=role)

    # --- what the browser keeps ----------------------------------------------------------------------

    def _seal(self, kept: Mapping[str, object]) -> str:
        body = base64.urlsafe_b64encode(json.dumps(kept).encode()).decode()
        return f"{body}.{self._mac(body)}"

    def _unseal(self, cookie: str) -> dict[str, object]:
        body, _, mac = cookie.partition(".")
        if not hmac.compare_digest(mac.encode(), self._mac(body).encode()):
            raise _refused("this browser began no sign-in")
        kept: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body))
        if kept["until"] < self._clock():
            raise _refused(f"it took longer than {MINUTES} minutes")
        return kept

    def _mac(self, body: str) -> str:
        key = hashlib.sha256(b"coterie oidc\n" + self._secret.encode()).digest()
        return hmac.new(key, body.encode(), hashlib.sha256).hexdigest()


def _refused(why: str) -> InputError:
    return InputError(f"The sign-in was refused: {why}.", hint="Sign in again.")
