"""People sign in at a provider of the test: the whole flow, and everything that must not hold."""

import base64
import json
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.responses import RedirectResponse, Response
from starlette.testclient import TestClient

from coterie.config.operation import OidcSection
from coterie.console.app import START, oidc_routes
from coterie.errors import InputError, SetupError
from coterie.governance.keys import KeyRing
from coterie.governance.oidc import OidcSignIn

ISSUER, CLIENT, NOW = "https://id.example", "coterie", 1_764_072_000.0


class Provider:
    """An OpenID Connect provider: one code, one token; what it signs can be changed."""

    def __init__(self) -> None:
        self.keys = [ECKey.generate_key("P-256", {"kid": "1", "use": "sig"})]
        self.claims: dict[str, object] = {}
        self.asked: list[dict[str, str]] = []
        self.issuer = ISSUER
        self.sign_with = None
        self.token: str | None = None
        self.algorithm = "ES256"

    async def fetch(self, address, form):
        """Answer as a provider does."""
        if address.endswith("/.well-known/openid-configuration"):
            ends = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
            return {"issuer": self.issuer, **{name: f"{ISSUER}/{end}" for name, end in ends.items()}}
        if address.endswith("/keys"):
            return KeySet(self.keys).as_dict(private=False)
        self.asked.append(dict(form))
        key = self.sign_with or self.keys[-1]
        header = {"alg": self.algorithm, "kid": key.kid}
        return {
            "id_token": self.token
            if self.token is not None
            else jwt.encode(header, self.claims, key, algorithms=[self.algorithm])
        }

    def vouch(self, nonce: str, /, **changes: object) -> None:
        """Say this of the person who signs in."""
        self.claims = {
            "iss": ISSUER, "aud": CLIENT, "sub": "u1", "iat": int(NOW), "exp": int(NOW) + 300, "nonce": nonce,
            "groups": ["staff", "ops"], "email": "ada@example.org", "email_verified": True,
        } | changes  # fmt: skip


@pytest.fixture
def provider():
    """A provider with one key."""
    return Provider()


@pytest.fixture
def sign_in(provider, monkeypatch):
    """Ours, with roles for two groups."""
    monkeypatch.setenv("OIDC_SECRET", "s3cret")
    section = OidcSection(
        issuer=ISSUER, client_id=CLIENT, client_secret="env:OIDC_SECRET", address="https://coterie.example",
        roles={"ops": "operator", "staff": "member"},
    )  # fmt: skip
    return OidcSignIn(section, provider.fetch, clock=lambda: NOW)


def encoded(part):
    """A part of a token."""
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


async def begun(sign_in, back="/spend"):
    """What was asked of the provider, and the cookie."""
    request = await sign_in.begin(back)
    return {name: values[0] for name, values in parse_qs(urlsplit(request.address).query).items()}, request.cookie


async def test_signed_in(sign_in, provider, tmp_path):
    """The person gets the role of the first group that has one, and a key that is listed and can be revoked."""
    parameters, cookie = await begun(sign_in)
    provider.vouch(parameters["nonce"])
    person, back = await sign_in.finish({"state": parameters["state"], "code": "c", "iss": ISSUER}, cookie)
    assert (person.name, person.role, back) == ("ada@example.org", "operator", "/spend")
    (form,) = provider.asked
    assert form["redirect_uri"] == "https://coterie.example/auth/oidc/callback"
    assert parameters["code_challenge_method"] == "S256"

    ring = KeyRing(tmp_path / "keys.json", clock=lambda: NOW)
    key = sign_in.key_of(person, ring)
    assert sign_in.key_of(person, ring).id == key.id
    assert [key.name for key in ring.of("default")] == [key.name]
    ring.revoke(key.name)
    with pytest.raises(InputError):
        sign_in.key_of(person, ring)


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "another"},
        {"iss": "https://evil.example"},
        {"exp": int(NOW) - 120},
        {"iat": int(NOW) + 600},
        {"nonce": "of another sign-in"},
        {"azp": "another"},
        {"aud": [CLIENT, "another"]},
        {"aud": [CLIENT, "another"], "azp": "another"},
        {"groups": ["guests"]},
        {"groups": None},
        {"sub": None},
    ],
    ids=str,
)
async def test_a_token_that_does_not_hold(sign_in, provider, changes):
    """For another program, of another provider, too old, of the future, of another sign-in, or of nobody we let in."""
    parameters, cookie = await begun(sign_in)
    provider.vouch(parameters["nonce"], **changes)
    with pytest.raises(InputError):
        await sign_in.finish({"state": parameters["state"], "code": "c"}, cookie)


async def test_signatures(sign_in, provider):
    """A key that the provider has not, and a shared secret, sign nothing; a new key of the provider's does."""
    parameters, cookie = await begun(sign_in)
    provider.vouch(parameters["nonce"])
    back = {"state": parameters["state"], "code": "c"}
    await sign_in.finish(back, cookie)
    provider.sign_with = ECKey.generate_key("P-256", {"kid": "1"})
    with pytest.raises(InputError):
        await sign_in.finish(back, cookie)
    provider.sign_with, provider.algorithm = OctKey.import_key("s3cret" * 8, {"kid": "1"}), "HS256"
    with pytest.raises(InputError):
        await sign_in.finish(back, cookie)
    provider.sign_with, provider.algorithm = None, "ES256"
    withdrawn, provider.keys = provider.keys[0], [ECKey.generate_key("P-256", {"kid": "2"})]
    await sign_in.finish(back, cookie)
    provider.sign_with = withdrawn
    with pytest.raises(InputError):
        await sign_in.finish(back, cookie)


async def test_none_is_no_signature(sign_in, provider):
    """However it is written, and with our own header's key too: only a key that the provider shows counts."""
    parameters, cookie = await begun(sign_in)
    provider.vouch(parameters["nonce"])
    own = ECKey.generate_key("P-256")
    parts = [{"alg": "none"}, {"alg": "None"}, {"alg": "NONE", "kid": "1"}]
    claims = encoded(provider.claims)
    tokens = [f"{encoded(part)}.{claims}." for part in parts]
    tokens.append(jwt.encode({"alg": "ES256", "jwk": own.as_dict(private=False)}, provider.claims, own))
    for token in [*tokens, "", "a.b.c", "a.b.c.d.e", "\u00e9.\u00e9.\u00e9"]:
        provider.token = token
        with pytest.raises(InputError):
            await sign_in.finish({"state": parameters["state"], "code": "c"}, cookie)


async def test_several_audiences(sign_in, provider):
    """A token for us and others must have been made for us."""
    parameters, cookie = await begun(sign_in)
    provider.vouch(parameters["nonce"], aud=[CLIENT, "another"], azp=CLIENT)
    await sign_in.finish({"state": parameters["state"], "code": "c"}, cookie)


async def test_a_clock_that_is_off(sign_in, provider):
    """The refusal names the claim and the clock."""
    parameters, cookie = await begun(sign_in)
    provider.vouch(parameters["nonce"], iat=int(NOW) + 600, exp=int(NOW) + 900)
    with pytest.raises(InputError, match=r"'iat'.*clock"):
        await sign_in.finish({"state": parameters["state"], "code": "c"}, cookie)


async def test_the_browser_that_began_it(sign_in, provider):
    """Another state, no cookie, a changed one, an old one, another provider's answer, an error: nobody comes in."""
    parameters, cookie = await begun(sign_in)
    provider.vouch(parameters["nonce"])
    right = {"state": parameters["state"], "code": "c"}
    for query, kept in [
        ({**right, "state": "x"}, cookie),
        ({"code": "c"}, cookie),
        (right, ""),
        (right, cookie[:-1] + ("0" if cookie[-1] != "0" else "1")),
        ({**right, "state": "\u00e9"}, cookie),
        (right, cookie + "\u00e9"),
        ({**right, "iss": "https://evil.example"}, cookie),
        ({"state": parameters["state"], "error": "access_denied"}, cookie),
    ]:
        with pytest.raises(InputError):
            await sign_in.finish(query, kept)
    sign_in._clock = lambda: NOW + 3600
    with pytest.raises(InputError):
        await sign_in.finish(right, cookie)
    assert provider.asked == []


async def test_another_issuer(sign_in, provider):
    """A provider that calls itself otherwise is not believed."""
    provider.issuer = "https://evil.example"
    with pytest.raises(SetupError):
        await sign_in.begin()


@pytest.mark.parametrize("back", ["//evil.example", "https://evil.example", "/\\evil.example", "/\t/evil.example", ""])
async def test_back_to_us_alone(sign_in, provider, back):
    """Whoever made the link, after the sign-in the browser stays with us."""
    parameters, cookie = await begun(sign_in, back)
    provider.vouch(parameters["nonce"])
    assert (await sign_in.finish({"state": parameters["state"], "code": "c"}, cookie))[1] == "/"


def test_routes(sign_in, provider, tmp_path):
    """A browser is sent to the provider with a cookie, and comes back as the holder of a key."""
    ring = KeyRing(tmp_path / "keys.json", clock=lambda: NOW)

    async def welcome(_request, key, _person, goal):
        return RedirectResponse(goal, status_code=303, headers={"x-key": key.id})

    app = Starlette(routes=oidc_routes(sign_in, ring, welcome))
    with TestClient(app, base_url="https://coterie.example", follow_redirects=False) as browser:
        sent = browser.get(START, params={"next": "/review"})
        parameters = parse_qs(urlsplit(sent.headers["location"]).query)
        assert "httponly" in sent.headers["set-cookie"].lower()
        assert "secure" in sent.headers["set-cookie"].lower()
        provider.vouch(parameters["nonce"][0])
        back = browser.get("/auth/oidc/callback", params={"state": parameters["state"][0], "code": "c"})
    assert (back.status_code, back.headers["location"]) == (303, "/review")
    assert back.headers["x-key"] == ring.keys()[0].id


def test_a_callback_counts_once(sign_in, provider, tmp_path):
    """Whoever has the callback's address and the cookie does not come in again, at another worker neither."""

    async def welcome(_request, key, _person, _goal):
        return RedirectResponse("/", status_code=303, headers={"x-key": key.id})

    async def refused(_request, error):
        return Response(str(error), status_code=400)

    rings = [KeyRing(tmp_path / "keys.json", clock=lambda: NOW) for _ in range(2)]
    workers = [
        Starlette(routes=oidc_routes(sign_in, ring, welcome), exception_handlers={InputError: refused})
        for ring in rings
    ]
    first, second = (TestClient(app, base_url="https://coterie.example", follow_redirects=False) for app in workers)
    parameters = parse_qs(urlsplit(first.get(START).headers["location"]).query)
    provider.vouch(parameters["nonce"][0])
    kept = {"cookie": f"coterie_oidc={first.cookies['coterie_oidc']}"}
    params = {"state": parameters["state"][0], "code": "c"}
    responses = [browser.get("/auth/oidc/callback", params=params, headers=kept) for browser in (first, second, first)]
    assert [response.status_code for response in responses] == [303, 400, 400]
    assert len(provider.asked) == 3
    assert parameters["state"][0] not in (tmp_path / "keys.used.json").read_text()


def test_what_was_used_is_forgotten(tmp_path):
    """Some time after it ends by itself; a damaged or unwritable file lets nobody in."""
    now = [NOW]
    ring = KeyRing(tmp_path / "keys.json", clock=lambda: now[0])
    assert [ring.use_once(name, until=NOW + 600) for name in ("a", "b", "a")] == [True, True, False]
    now[0] += 2000
    assert ring.use_once("c", until=now[0] + 600)
    assert len(json.loads((tmp_path / "keys.used.json").read_text())) == 1
    for damage in ("{", "[]", '{"a": "b"}'):
        (tmp_path / "keys.used.json").write_text(damage)
        with pytest.raises(SetupError):
            ring.use_once("d", until=NOW)
    assert ring.is_empty()


@pytest.mark.parametrize("issuer", ["http://id.example", "https://id.example?x=1", "id.example"])
def test_an_issuer_without_tls(issuer):
    """A provider is reached by TLS, or is on this machine."""
    with pytest.raises(ValidationError):
        OidcSection(issuer=issuer, client_id="c", client_secret="env:S", address="https://c.example", roles={})
