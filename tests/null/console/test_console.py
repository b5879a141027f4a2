"""The console in process: who comes in, which forms are ours, what surrounds a page, and the parts of pages."""

from __future__ import annotations

import asyncio
import hashlib
import re
import runpy
import threading
from importlib import resources
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import httpx
import pytest

from coterie.config.file import AuditSection, GatewaySection
from coterie.console import charts
from coterie.console.app import SCREENS, Console, refuse_cross_site
from coterie.console.flywheel import Item
from coterie.console.rendering import STATIC, unquoted
from coterie.console.traffic import _append, _rows_of
from coterie.console.visits import COOKIE, IDLE, LONGEST, Sessions, read_form
from coterie.errors import InputError
from coterie.flywheel.deployments import Deployments, KnownJob
from coterie.flywheel.discovery import fold
from coterie.gateway.app import create_app
from coterie.gateway.errors import WireError
from coterie.governance.audit import open_audit
from coterie.governance.keys import KeyRing
from coterie.network.network import RelayModel
from coterie.store.sqlite import SQLiteStore
from coterie.types import CapturedExample

_fakes = runpy.run_path(str(Path(__file__).parents[1] / "gateway" / "conftest.py"))
network = _fakes["network"]
_oidc = runpy.run_path(str(Path(__file__).parents[1] / "governance" / "test_oidc.py"))
SAME = {"sec-fetch-site": "same-origin"}
VENDORED = {
    "htmx.min.js": "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130",
    "dagre.min.js": "54a503e346f93ca0bb10abe7999587e037262935687aca45eb4e4b0f64bbb578",
}


class Clock:
    """Stands until it is moved."""

    now = 1_790_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ring(tmp_path, clock):
    return KeyRing(tmp_path / "keys.json", clock=clock)


@pytest.fixture
async def console(network, tmp_path, ring, clock):
    """The console before a network of fakes with a real store; a client of it."""
    (tmp_path / "coterie.toml").write_text('[network]\nname = "test"\n')
    network.clock = clock
    network.store = await SQLiteStore.open(tmp_path / "db", session_days=30.0, keep_content=True, clock=clock)
    app = create_app(network, GatewaySection(), ring)

    async def never(config):
        raise AssertionError("nothing is promoted here")

    transport = httpx.ASGITransport(app=Console(app, tmp_path, never), client=("127.0.0.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        yield http
    await network.store.close()


async def sign_in(console, token):
    """Sign in; the reply."""
    return await console.post("/sign-in", data={"key": token, "next": "spend"}, headers=SAME)


async def test_a_page_holds_the_browser_to_its_policy(console):
    """Nothing from elsewhere, nothing inline, no frame, nothing kept; and no script or style stands in the page."""
    reply = await console.get("/")
    assert reply.status_code == 200
    policy = reply.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert (reply.headers["x-frame-options"], reply.headers["cache-control"]) == ("DENY", "no-store")
    assert "style=" not in reply.text
    assert "<style" not in reply.text
    assert "onclick" not in reply.text
    assert "http://" not in reply.text.replace("http://127.0.0.1", "").replace("http://www.w3.org", "")


async def test_the_api_is_as_before(console):
    """What is not the console's is answered by the gateway."""
    assert (await console.get("/healthz")).json() == {"status": "ok"}
    assert (await console.get("/nowhere")).json()["error"]["code"] == "not_found"


async def test_behind_a_path(console):
    """Addresses in pages are relative, so a proxy may have the console at any path."""
    reply = await console.get("/governance/egress")
    assert 'href="../static/console.css' in reply.text
    assert 'href="/' not in reply.text
    assert 'action="/' not in reply.text


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "http://127.0.0.1", "sec-fetch-site": "cross-site"},
    ],
)
async def test_a_form_of_another_site_is_refused(console, headers):
    """Whatever it would do; and so is one of which nobody says where it comes from."""
    for screen in SCREENS:
        if screen.method == "POST":
            path = screen.path.replace("{name}", "triage").replace("{id}", "x")
            reply = await console.post(path, data={"a": "b"}, headers=headers)
            assert reply.status_code == 403, screen.path
            assert "forbidden_origin" in reply.text


def test_a_form_of_this_origin_passes():
    """By either header."""
    refuse_cross_site(httpx.Headers({"sec-fetch-site": "same-origin"}))
    refuse_cross_site(httpx.Headers({"origin": "http://127.0.0.1:8321", "host": "127.0.0.1:8321"}))


async def test_without_keys_a_name_that_resolves_here_is_refused(console):
    """DNS rebinding: the browser sends the attacker's name."""
    reply = await console.get("/", headers={"host": "evil.example"})
    assert reply.status_code == 403
    assert "forbidden_host" in reply.text


async def test_with_keys_one_signs_in(console, ring, network, tmp_path):
    """Every page leads to the form, which leads back; a void cookie is taken away, so it does not loop."""
    made = ring.create("ann", role="admin")
    reply = await console.get("/traffic?status=accepted", headers={"cookie": f"{COOKIE}=a.1.1.b"})
    assert reply.status_code == 303
    assert unquote(reply.headers["location"]) == "sign-in?next=traffic?status=accepted"
    assert f'{COOKIE}=""' in reply.headers["set-cookie"]
    assert (await console.get("/", headers={"hx-request": "true"})).headers["hx-redirect"].startswith("sign-in")
    assert (await sign_in(console, "ctr_wrong")).status_code == 401
    network.audit = open_audit(AuditSection(), tmp_path)  # where it is written down
    reply = await sign_in(console, made.token)
    assert (reply.status_code, reply.headers["location"]) == (303, "spend")
    assert "HttpOnly; SameSite=Strict" in reply.headers["set-cookie"]
    assert "Secure" not in reply.headers["set-cookie"]
    assert (await console.get("/spend")).status_code == 200
    assert '"kind":"sign_in"' in (tmp_path / AuditSection().path).read_text()


@pytest.mark.parametrize(
    "goal", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "../../x", "a\nb"]
)
async def test_signing_in_leads_nowhere_else(console, ring, goal):
    """An address with a goal of another site ends at the first page."""
    token = ring.create("ann").token
    reply = await console.post("/sign-in", data={"key": token, "next": goal}, headers=SAME)
    assert reply.headers["location"] == "."


@pytest.fixture
def provider(monkeypatch):
    """An OpenID Connect provider, asked instead of one over HTTP."""
    monkeypatch.setenv("OIDC_SECRET", "s3cret")
    made = _oidc["Provider"]()
    monkeypatch.setattr("coterie.engines.http.fetch_json", made.fetch)
    return made


OIDC = """
[oidc]
issuer = "https://id.example"
client_id = "coterie"
client_secret = "env:OIDC_SECRET"
address = "https://coterie.example"
roles = { staff = "auditor" }
"""


async def test_signing_in_at_the_provider(network, tmp_path, ring, provider):
    """Without a key nobody comes in; who comes back from the provider has a session, and is in the audit log."""
    (tmp_path / "coterie.toml").write_text('[network]\nname = "test"\n' + OIDC)
    network.audit = open_audit(AuditSection(), tmp_path)
    network.store = await SQLiteStore.open(tmp_path / "db", session_days=30.0, keep_content=True)
    console = Console(create_app(network, GatewaySection(), ring), tmp_path, None)
    transport = httpx.ASGITransport(app=console, client=("127.0.0.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="https://coterie.example") as http:
        away = await http.get("/spend?span=7d")
        assert unquote(away.headers["location"]) == "sign-in?next=spend?span=7d"
        form = (await http.get(away.headers["location"])).text
        assert 'href="auth/oidc/start?next=/spend%3Fspan%3D7d">Sign in at id.example' in form
        sent = await http.get("/auth/oidc/start?next=/spend%3Fspan%3D7d")
        parameters = dict(parse_qsl(urlsplit(sent.headers["location"]).query))
        provider.vouch(parameters["nonce"], exp=int(network.clock()) + 300, iat=int(network.clock()))
        refused = await http.get("/auth/oidc/callback?state=another&code=c")
        assert (refused.status_code, "another sign-in" in refused.text) == (400, True)
        back = await http.get(f"/auth/oidc/callback?state={parameters['state']}&code=c")
        assert 'content="0; url=../../spend?span=7d"' in back.text
        assert any("; HttpOnly; SameSite=Strict; Secure" in cookie for cookie in back.headers.get_list("set-cookie"))
        assert "auditor" in (await http.get("/spend?span=7d")).text
    await network.store.close()
    assert '"with":"oidc"' in (tmp_path / AuditSection().path).read_text()


async def test_over_tls_the_cookie_stays_there(console, ring):
    """Where the form came over TLS, the cookie is sent over TLS only."""
    token = ring.create("ann").token
    headers = {"origin": "https://127.0.0.1", "host": "127.0.0.1"}
    reply = await console.post("/sign-in", data={"key": token}, headers=headers)
    assert "; Secure" in reply.headers["set-cookie"]


@pytest.mark.parametrize("change", ["revoke", "rotate", "idle", "long"])
def test_a_cookie_is_void_with_its_key_and_its_time(tmp_path, ring, clock, change):
    """Revoked, rotated, unused for an hour, or twelve hours old."""
    sessions = Sessions(tmp_path / "secret", clock)
    key = ring.create("ann").key
    cookie = sessions.begin(key)
    assert sessions.read(cookie, ring) == (key, None)
    if change in {"revoke", "rotate"}:
        getattr(ring, change)("ann")
    elif change == "idle":
        clock.now += IDLE + 1
    else:
        end = clock.now + LONGEST + 1
        while clock.now < end:
            session = sessions.read(cookie, ring)
            cookie = (session and session[1]) or cookie
            clock.now += IDLE / 2
    assert sessions.read(cookie, ring) is None


def test_hosts_whose_clocks_differ(tmp_path, ring, clock):
    """A cookie of one host is good at another that is ten minutes behind; one of the far future is not."""
    sessions, key = Sessions(tmp_path / "secret", clock), ring.create("ops").key
    cookie = sessions.begin(key)
    clock.now -= 600
    assert sessions.read(cookie, ring) == (key, None)
    clock.now -= 3600
    assert sessions.read(cookie, ring) is None


def test_a_cookie_is_nobody_elses_to_make(tmp_path, ring, clock):
    """Whoever knows the file of the keys alone cannot sign; another process of the network can."""
    key = ring.create("ann").key
    cookie = Sessions(tmp_path / "secret", clock).begin(key)
    assert Sessions(tmp_path / "other", clock).read(cookie, ring) is None
    assert Sessions(tmp_path / "secret", clock).read(cookie, ring) is not None
    forged = cookie.replace(str(int(clock.now)), str(int(clock.now) + 9), 1)
    assert Sessions(tmp_path / "secret", clock).read(forged, ring) is None
    assert (tmp_path / "secret").stat().st_mode & 0o077 == 0


async def test_a_page_is_refused_to_a_role_that_may_not(console, ring):
    """As the API refuses it, with its code."""
    await sign_in(console, ring.create("watch", role="operator").token)
    reply = await console.get("/traffic")
    assert reply.status_code == 403
    assert "forbidden" in reply.text


async def test_an_admin_of_another_tenant_changes_nothing(console, ring):
    """Keys, versions and erasure are of whoever runs the network."""
    await sign_in(console, ring.create("boss", role="admin", tenant="acme").token)
    for path in ("/governance/keys", "/governance/erasure", "/rightsizing"):
        assert (await console.get(path)).status_code == 403


@pytest.mark.parametrize(("role", "button"), [("admin", True), ("member", False)])
async def test_an_empty_network_says_what_to_do(console, ring, network, role, button):
    """Where one would ask it, a network without a specialist shows the first step to whoever may take it."""
    await sign_in(console, ring.create("ann", role=role).token)
    network.specialists.clear()
    for path in ("/", "/playground", "/compare", "/connect"):
        page = (await console.get(path)).text
        assert 'id="h-first"' in page, path
        assert ('rightsizing">Choose a file' in page) is button


async def test_one_long_query_blocks_nobody(console, ring, network):
    """While somebody's query takes long, lists, figures and the network are shown to others."""
    await sign_in(console, ring.create("boss", role="admin").token)
    gate = threading.Event()
    long = asyncio.create_task(network.store.flywheel.read(lambda _: gate.wait(120)))
    try:
        for path in ("/traffic", "/sessions", "/spend", "/"):
            assert (await console.get(path)).status_code == 200
        assert not long.done()
    finally:
        gate.set()
        await long


async def test_an_object_is_put_together_on_the_page(console, network):
    """A value is chosen of each field; a field without one, and a queue that is gone, are mistakes of the caller."""
    job = KnownJob(id="j1", name="letters", shape="json", labels={"animal": "animal", "urgent": "urgent"})
    books = Deployments(store=network.store.flywheel)
    await books.put_job(job)
    answer = '{"animal": "dog", "urgent": true}'
    calls = [
        CapturedExample(id=f"e{i}", time=float(i), job="j1", input="a letter", answer=answer, policy="model:large")
        for i in range(400)
    ]
    await network.store.flywheel.add_examples(calls)
    page = (await console.get("/review", params={"queue": "job:j1"})).text
    assert {'<select name="field:animal"', "&#34;dog&#34;", 'value="object"'} <= set(
        re.findall(r'<select name="field:animal"|&#34;dog&#34;|value="object"', page)
    )
    item = re.search(r'name="item" value="(\w+)"', page)[1]
    form = {"queue": "job:j1", "item": item, "act": "object", "field:animal": '"cat"', "field:urgent": ""}
    assert (await console.post("/review", data=form, headers=SAME)).status_code == 400
    assert (await console.post("/review", data=form | {"field:urgent": "true"}, headers=SAME)).status_code == 303
    (label,) = await network.store.flywheel.labels(job="j1")
    assert (label.example, label.value) == (item, '{"animal": "cat", "urgent": true}')
    assert (await console.get("/review", params={"queue": "job:gone"})).status_code == 400


async def test_a_list_is_put_together_on_the_page(console, network):
    """A box for each label, of which any number holds; what is kept is compared as a set."""
    job = KnownJob(id="j1", name="desks", shape="lists", labels={"fee": "fee", "lost": "lost"})
    await Deployments(store=network.store.flywheel).put_job(job)
    answers = ("fee", "lost", "lost, fee")
    calls = [
        CapturedExample(id=f"e{i}", time=float(i), job="j1", input="a", answer=answers[i % 3], policy="model:large")
        for i in range(400)
    ]
    await network.store.flywheel.add_examples(calls)
    page = (await console.get("/review", params={"queue": "job:j1"})).text
    assert set(re.findall(r'<input type="checkbox" name="field:" value="([^"]*)"', page)) == {
        "&#34;fee&#34;",
        "&#34;lost&#34;",
    }
    item = re.search(r'name="item" value="(\w+)"', page)[1]
    form = {"queue": "job:j1", "item": item, "act": "object", "several": "", "field:": ['"fee"', '"lost"']}
    assert (await console.post("/review", data=form, headers=SAME)).status_code == 303
    (label,) = await network.store.flywheel.labels(job="j1")
    assert (label.example, fold(label.value)) == (item, fold("lost, fee"))


async def test_a_network_of_the_flywheel_alone_shows_who_answers(console, network):
    """Without a specialist of the file: no router, the model that callers name, and what is deployed in its place."""
    network.specialists.clear()
    network.models = {"large": RelayModel(engine=None, name="large", window=64)}
    network.flywheel = object()
    books = Deployments(store=network.store.flywheel, audit=network.audit)
    await books.put_job(KnownJob(id="j1", name="letters", labels={"dog": "dog"}))
    job = await books.job("j1")
    made = await books.begin(job, "a" * 16, by="x", reason="r", figures={}, changed=job)
    assert "letters" not in (await console.get("/")).text
    for state in ("shadow", "canary", "champion"):
        made = await books.move(made, state, by="x", reason="r", share=0.5)
    nodes = re.findall(r'data-id="([^"]*)"', (await console.get("/")).text)
    assert "d:letters" in nodes
    assert "router" not in nodes


def test_figures_of_charts_are_read_at_once():
    """A thousand is no power of ten, and the hours of one day do not repeat the day."""
    hours = [f"2026-12-03 {hour:02d}:00" for hour in range(24)]
    band = charts.Band("energy", "c0", [1009.5] * 24)
    drawn = str(charts.columns(hours, [band], description="energy", show=charts.figure))
    assert ">1,000</text>" in drawn
    assert "e+03" not in drawn
    assert ">04:00</text>" in drawn
    assert "12-03 04:00</text>" not in drawn


def test_a_label_in_json_is_shown_as_people_write_it():
    """Without quotes; other values, and an empty text, as they stand in the answer."""
    values = ['"Børn \u0026 voksne"', "true", '""', '{"a": 1}', "no json"]
    assert list(map(unquoted, values)) == ["Børn & voksne", "true", '""', '{"a": 1}', "no json"]


async def test_what_is_shown_is_escaped(console):
    """A text that looks like markup is text."""
    reply = await console.get("/playground", params={"text": "<script>alert(1)</script>"})
    assert "<script>alert" not in reply.text
    assert "&lt;script&gt;" in reply.text


@pytest.mark.parametrize("name", STATIC)
async def test_static_files(console, name):
    """Each is served, packed where the browser says so, and kept for ever under its version."""
    reply = await console.get(f"/static/{name}?v=1")
    assert reply.status_code == 200
    assert "immutable" in reply.headers["cache-control"]
    assert reply.headers["content-encoding"] == "gzip"
    assert reply.content == (resources.files("coterie.console") / "static" / name).read_bytes()
    assert (await console.get("/static/..%2fapp.py")).status_code == 404


@pytest.mark.parametrize(("name", "checksum"), VENDORED.items())
def test_vendored_scripts_are_what_was_published(name, checksum):
    """htmx.org 4.0.1 and @dagrejs/dagre 3.1.3, byte for byte."""
    content = (resources.files("coterie.console") / "static" / name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == checksum


# --- Forms.


def test_multipart_forms():
    """Fields, files with their bytes, names with quotes; a file that was not chosen is none."""
    body = (
        b"--B\r\nContent-Disposition: form-data; name=\"task\"\r\n\r\nclassify\r\n"
        b'--B\r\nContent-Disposition: form-data; name="file"; filename="C:\\x\\a%22b.csv"\r\n'
        b"Content-Type: text/csv\r\n\r\n"
        b"text,label\r\n\r\n--x\r\n"
        b'\r\n--B\r\nContent-Disposition: form-data; name="other"; filename=""\r\n\r\n\r\n--B--\r\n'
    )  # fmt: skip
    fields, files = read_form("multipart/form-data; boundary=B", body)
    assert fields == {"task": ["classify"]}
    assert set(files) == {"file"}
    assert (files["file"].name, files["file"].content) == ('a"b.csv', b"text,label\r\n\r\n--x\r\n")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b"{}"),
        ("multipart/form-data", b"--B"),
        ("multipart/form-data; boundary=B", b"--B\r\nnothing\r\n\r\nx\r\n--B--"),
        ("application/x-www-form-urlencoded", b"&".join(b"a=1" for _ in range(500))),
        ("application/x-www-form-urlencoded", b"a=\xff\xfe"),
    ],
)
def test_odd_forms_are_refused(kind, body):
    """With an error of the request, not one of ours."""
    with pytest.raises(WireError):
        read_form(kind, body)


# --- Parts of pages.


def test_marked_quotes():
    """Quotes are marked, the rest is escaped, and of a long document what stands around them is left."""
    text = "a<b " * 1000 + "the quote" + " & more" * 1000
    shown = str(charts.marked(text, [(4000, 4009)]))
    assert "<mark>the quote</mark>" in shown
    assert "a&lt;b" in shown
    assert len(shown) < 3000


def test_charts_survive_nothing():
    """Without values there is a frame, and nothing that is no number."""
    empty = charts.columns(["2026-11-29"], [charts.Band("x", "c0", [0.0])], description="d")
    assert "nan" not in str(empty)
    assert charts.spark([], description="d") == ""
    assert "svg" in str(charts.timeline([], 0.0))


@pytest.mark.parametrize("labels", [2, 34, 77, 500])
def test_each_label_has_keys_of_its_own(labels):
    """One key, or two in a row, of which none begins another."""
    keys = Item(id="x", text="", answers=(), labels=tuple(map(str, range(labels)))).keys
    assert len(set(keys)) == labels
    assert not set(keys) & {"n", "u", "space"}
    assert not any(a != b and b.startswith(a) for a in keys for b in keys)


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_a_correction_becomes_a_row(tmp_path, mark):
    """Quoted as CSV wants it, under the columns of the file, below what stands there, with what stands between them."""
    path = tmp_path / "rows.csv"
    path.write_text("id,text,label\n1,a,b\n".replace(",", mark))

    class Section:
        text_column, label_column = None, "label"

    _append(path, Section, [('one "two", three; four', "c")])
    assert _rows_of(path, Section) == [("a", "b"), ('one "two", three; four', "c")]
    assert path.read_text().startswith(f"id{mark}text{mark}label\n")
    assert path.read_text().count("\n") == 3


def test_questions_of_the_playground():
    """A choice and a yes or no; a line that is neither is an error that says how to write one."""
    from coterie.console.playground import _columns, _questions

    choice, predicate = _questions("topic: billing | delivery\nIs it urgent?")
    assert [option["value"] for option in choice["choices"]] == ["billing", "delivery"]
    assert predicate == {"type": "predicate", "name": "is_it_urgent", "instructions": "Is it urgent?"}
    (question,) = _questions("緊急ですか？")  # noqa: RUF001 - a question mark of another script
    assert question["type"] == "predicate"
    with pytest.raises(InputError):
        _questions("nothing of the kind")
    assert _columns("age = 31\njob = clerk") == {"age": 31, "job": "clerk"}
    with pytest.raises(InputError):
        _columns("no equals sign")
