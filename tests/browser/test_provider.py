"""Signing in at an OpenID Connect provider, in Chromium: its cookies are what decides whether that works."""

from __future__ import annotations

import json
import shutil
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from .conftest import served


class Provider(ThreadingHTTPServer):
    """Asks who one is with one button, and vouches for everybody as `ada`, who is of the group `ops`."""

    def __init__(self):
        self.key = ECKey.generate_key("P-256", {"kid": "1", "use": "sig"})
        self.nonce = ""
        super().__init__(("127.0.0.1", 0), ProviderPages)

    @property
    def issuer(self):
        """By another name than the gateway's address, so that it is another site for a browser."""
        return f"http://localhost:{self.server_port}"

    def token(self):
        """What says who it is."""
        claims = {
            "iss": self.issuer, "aud": "coterie", "sub": "u1", "iat": int(time.time()), "exp": int(time.time()) + 300,
            "nonce": self.nonce, "groups": ["ops"], "email": "ada@example.org", "email_verified": True,
        }  # fmt: skip
        return jwt.encode({"alg": "ES256", "kid": "1"}, claims, self.key, algorithms=["ES256"])


class ProviderPages(BaseHTTPRequestHandler):
    """Its addresses."""

    def log_message(self, *_):
        """Say nothing."""

    def do_GET(self):
        """Describe itself, show its keys, or ask who it is."""
        at, provider = urlsplit(self.path), self.server
        if at.path == "/authorize":
            parameters = {name: values[0] for name, values in parse_qs(at.query).items()}
            provider.nonce = parameters["nonce"]
            to = f"{parameters['redirect_uri']}?{urlencode({'state': parameters['state'], 'code': 'c'})}"
            self.send("text/html", f"<!doctype html><title>Id</title><a href='{to}'>I am Ada</a>".encode())
        elif at.path == "/keys":
            self.send("application/json", json.dumps(KeySet([provider.key]).as_dict(private=False)).encode())
        else:
            ends = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
            about = {"issuer": provider.issuer, **{name: f"{provider.issuer}/{end}" for name, end in ends.items()}}
            self.send("application/json", json.dumps(about).encode())

    def do_POST(self):
        """Change the code for a token."""
        self.rfile.read(int(self.headers["content-length"]))
        self.send("application/json", json.dumps({"id_token": self.server.token()}).encode())

    def send(self, kind, body):
        """Answer."""
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def provider():
    """A provider at work."""
    with Provider() as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


@pytest.mark.slow
def test_a_person_signs_in_at_the_provider(chromium, provider, shop, tmp_path):
    """Without any key: the way there, back, and to the page that was wanted, with a cookie that is `Strict`."""
    shutil.copytree(shop, tmp_path / "net")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    toml = tmp_path / "net" / "coterie.toml"
    oidc = {"issuer": provider.issuer, "client_id": "coterie", "client_secret": "env:OIDC_SECRET"}
    lines = [f"{name} = {json.dumps(value)}" for name, value in {**oidc, "address": f"http://127.0.0.1:{port}"}.items()]
    toml.write_text("\n".join([toml.read_text(), "[oidc]", *lines, 'roles = { ops = "auditor" }', ""]))
    with served(tmp_path / "net", port=port, OIDC_SECRET="s3cret") as address:
        context = chromium.new_context()
        page = context.new_page()
        page.goto(f"{address}/spend?span=7d")
        assert "/sign-in?" in page.url
        page.click("text=Sign in at localhost")
        page.click("text=I am Ada")
        page.wait_for_url(f"{address}/spend?span=7d")
        assert "auditor, tenant default" in page.inner_text(".side .who")
        cookie = next(cookie for cookie in context.cookies() if cookie["name"] == "coterie_session")
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        assert page.goto(f"{address}/governance/keys").status == 403
        page.click(".side button:has-text('Sign out')")
        page.goto(f"{address}/spend")
        assert "/sign-in?" in page.url
        context.close()
