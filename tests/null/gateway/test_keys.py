"""With keys, nobody comes in without one, and nobody sees what is another tenant's or beyond their role."""

from __future__ import annotations

import httpx
import pytest
from starlette.datastructures import Headers

from coterie.config.file import GatewaySection
from coterie.errors import SetupError
from coterie.gateway.access import is_loopback, refuse_foreign, refuse_public
from coterie.gateway.app import ENDPOINTS, create_app
from coterie.gateway.errors import WireError
from coterie.governance.keys import PERMISSIONS, KeyRing
from coterie.types import Label

BODIES = {
    "/v1/chat/completions": {"model": "coterie", "messages": [{"role": "user", "content": "I lost my card"}]},
    "/v1/responses": {"model": "coterie", "input": "I lost my card"},
    "/v1/messages": {"model": "coterie", "max_tokens": 9, "messages": [{"role": "user", "content": "I lost my card"}]},
    "/v1/messages/count_tokens": {"model": "coterie", "messages": [{"role": "user", "content": "I lost my card"}]},
    "/v1/completions": {"model": "coterie", "prompt": "I lost my card"},
    "/v1/embeddings": {"model": "coterie", "input": "hello"},
    "/v1/decisions": {
        "model": "gpt-6-luna",
        "input": "hello",
        "questions": [{"type": "predicate", "instructions": "Is it a greeting?"}],
    },
    "/v1/systemone": {
        "model": "jev-latest",
        "state": "hello",
        "questions": {"q": {"type": "noul", "instructions": "?"}},
    },
    "/v1/rerank": {"model": "coterie", "query": "hello", "documents": ["hi"]},
    "/v2/rerank": {"model": "coterie", "query": "hello", "documents": ["hi"]},
    "/v1/score": {"model": "coterie", "text_1": "hello", "text_2": "hi"},
    "/api/feedback": {"trace_id": "0" * 32, "thumb": "up"},
    "/mcp": {"jsonrpc": "2.0", "id": 1, "method": "tools/list"},
}


@pytest.fixture
def ring(tmp_path):
    """The keys of the gateway."""
    return KeyRing(tmp_path / "keys.json")


@pytest.fixture
def door(network, ring):
    """Makes a client that sends a token, from a place that is not this machine."""
    app = create_app(network, GatewaySection(), ring)

    def make(token: str | None = None, **headers: str) -> httpx.AsyncClient:
        sent = {**({} if token is None else {"authorization": f"Bearer {token}"}), **headers}
        transport = httpx.ASGITransport(app=app)
        return httpx.AsyncClient(transport=transport, base_url="http://coterie.example:8321", headers=sent)

    return make


def send(http: httpx.AsyncClient, endpoint):
    """A request that the endpoint would serve."""
    path = endpoint.path.replace("{trace_id}", "0" * 32).replace("{model:path}", "coterie/triage")
    return http.request(endpoint.method, path, json=BODIES.get(path))


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda e: e.path)
@pytest.mark.parametrize("token", [None, "", "ctr_abcdefgh_" + "A" * 43, "sk-something", "revoked"])
async def test_no_endpoint_without_a_key(door, ring, endpoint, token):
    """Every endpoint but the two that say that the process is alive refuses no key, a wrong one and a revoked one."""
    gone = ring.create("gone")
    ring.revoke("gone")
    response = await send(door(gone.token if token == "revoked" else token), endpoint)

    if endpoint.open_to_all:
        assert response.status_code == 200
        return
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    if endpoint.path == "/v1/systemone":
        assert response.json()["detail"]["error_type"] == "authentication_error"
        return
    error = response.json()["error"]
    assert error.get("data", error)["code"] == ("key_refused" if token else "key_missing")  # `data` in JSON-RPC
    assert endpoint.path == "/mcp" or error["type"] == "authentication_error"


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda e: e.path)
@pytest.mark.parametrize("role", PERMISSIONS)
async def test_every_endpoint_by_role(door, ring, endpoint, role):
    """A role opens what it is for, and is told so where it is for something else."""
    response = await send(door(ring.create("anna", role=role).token), endpoint)

    if endpoint.needs is None or endpoint.needs in PERMISSIONS[role]:
        of_one_thing = ("/api/traces", "/api/feedback", "/api/flywheel", "/v1/responses/")
        assert response.status_code in ({200, 404} if endpoint.path.startswith(of_one_thing) else {200})
    else:
        assert response.status_code == 403
        if endpoint.path == "/v1/systemone":
            assert response.json()["detail"]["error_type"] == "permission_error"
            return
        error = response.json()["error"]
        assert error.get("data", error)["code"] == "forbidden"  # in JSON-RPC, `code` is a number


async def test_a_path_that_is_not_there(door, ring):
    """Without a key nothing is learned of which paths there are."""
    ring.create("anna")
    assert (await door().get("/v1/nothing")).status_code == 401
    assert (await door().get("/v1/chat/completions")).status_code == 401


async def test_another_tenants_trace(door, ring):
    """It is not found, in the words of one that never was."""
    acme, other = (ring.create(name, tenant=name).token for name in ("acme", "other"))
    answer = await door(acme).post("/v1/chat/completions", json=BODIES["/v1/chat/completions"])
    trace = answer.json()["coterie"]["trace_id"]
    theirs = await door(other).get(f"/api/traces/{trace}")
    nobodys = await door(other).get(f"/api/traces/{'0' * 32}")

    assert (await door(acme).get(f"/api/traces/{trace}")).status_code == 200
    assert theirs.status_code == nobodys.status_code == 404
    assert theirs.text.replace(trace, "") == nobodys.text.replace("0" * 32, "")


async def test_allowed_specialists(door, ring):
    """A key for one specialist sees no other, can pin no other, and the router asks no other for it."""
    token = ring.create("anna", specialists=["triage"]).token
    http = door(token)
    models = (await http.get("/v1/models")).json()["data"]
    pinned = await http.post("/v1/chat/completions", json={**BODIES["/v1/chat/completions"], "model": "coterie/reply"})
    unknown = await http.post(
        "/v1/chat/completions", json={**BODIES["/v1/chat/completions"], "model": "coterie/nobody"}
    )
    routed = await http.post(
        "/v1/chat/completions", json={"model": "coterie", "messages": [{"role": "user", "content": "write to me"}]}
    )

    assert [model["id"] for model in models] == ["coterie", "coterie/triage"]
    assert (await http.get("/v1/models/coterie/reply")).status_code == 404
    assert pinned.status_code == 404
    assert pinned.text.replace("reply", "nobody") == unknown.text
    assert not routed.json()["coterie"]["accepted"]
    assert routed.json()["coterie"]["route"]["specialists"] == []
    assert "reply" not in routed.json()["choices"][0]["message"]["refusal"]


async def test_feedback_of_what_others_answered(door, ring):
    """A key for one specialist can say nothing of another's answer, and is not told that there is one."""
    body = {"model": "coterie/reply", "messages": [{"role": "user", "content": "write to me"}]}
    answer = await door(ring.create("all").token).post("/v1/chat/completions", json=body)
    trace_id, http = answer.json()["coterie"]["trace_id"], door(ring.create("anna", specialists=["triage"]).token)

    for more in ({"thumb": "up"}, {"thumb": "up", "specialist": "nobody"}):
        theirs = await http.post("/api/feedback", json={"trace_id": trace_id, **more})
        nobodys = await http.post("/api/feedback", json={"trace_id": "0" * 32, **more})
        assert theirs.status_code == nobodys.status_code == 404
        assert theirs.text.replace(trace_id, "0" * 32) == nobodys.text


async def test_clearance(door, ring):
    """A key's clearance is the most that can be asked with it, whatever the network's default is."""
    body = BODIES["/v1/chat/completions"]
    low, high = (ring.create(label.value, clearance=label).token for label in (Label.PUBLIC, Label.RESTRICTED))

    cleared_body = {**body, "coterie": {"clearance": "restricted"}}
    assert (await door(low).post("/v1/chat/completions", json=cleared_body)).status_code == 400
    assert (await door(high).post("/v1/chat/completions", json=cleared_body)).status_code == 200


async def test_a_low_key_is_low_without_asking(door, ring, network):
    """Who says nothing is given the key's clearance, not the network's default."""
    token = ring.create("anna", clearance=Label.PUBLIC).token
    await door(token).post("/v1/chat/completions", json=BODIES["/v1/chat/completions"])

    assert network.specialists["triage"].asked[0].clearance is Label.PUBLIC


async def test_revoked_while_it_runs(door, ring):
    """The next request is refused."""
    http = door(ring.create("anna").token)
    assert (await http.get("/v1/models")).status_code == 200
    ring.revoke("anna")
    assert (await http.get("/v1/models")).status_code == 401


async def test_keys_that_cannot_be_read(door, ring, tmp_path):
    """Nobody comes in, and nobody is told what stands in the file, or where it lies."""
    token = ring.create("anna").token
    (tmp_path / "keys.json").write_text("{broken secret")
    response = await door(token).get("/v1/models")

    assert response.status_code == 503
    assert response.json()["error"]["code"] == "keys_unreadable"
    assert "secret" not in response.text
    assert str(tmp_path) not in response.text


async def test_probes_while_keys_cannot_be_read(door, ring, tmp_path):
    """A process that lives says so: what watches it would otherwise end all of them while their database is away."""
    ring.create("anna")
    http = door()
    assert (await http.get("/v1/models")).status_code == 401
    (tmp_path / "keys.json").write_text("{broken")
    assert [(await http.get(path)).status_code for path in ("/healthz", "/readyz", "/v1/models")] == [200, 200, 503]


async def test_keys_are_refreshed_before_they_are_looked_at(door, ring):
    """A ring that asks a database does so beside the event loop, and once for all who wait."""
    http, asked = door(ring.create("anna").token), []

    async def refresh():
        asked.append(len(asked))
        ring.revoke("anna")

    ring.refresh = refresh
    assert ((await http.get("/v1/models")).status_code, len(asked)) == (401, 1)


async def test_keys_that_vanish_while_it_runs(door, ring, tmp_path):
    """A gateway that had keys is not open to whoever names this machine as the host when their file is gone."""
    http = door(ring.create("anna").token, host="localhost")
    assert (await http.get("/v1/models")).status_code == 200
    (tmp_path / "keys.json").unlink()

    assert (await door(host="localhost").get("/v1/models")).status_code == 503
    assert (await http.get("/v1/models")).status_code == 503


async def test_without_keys_only_this_machine(door):
    """As before there were keys."""
    assert (await door().get("/v1/models")).status_code == 403


def test_an_address_that_others_reach(ring):
    """It is listened on once there is a key."""
    with pytest.raises(SetupError, match="there are no keys"):
        refuse_public("0.0.0.0", ring)
    ring.create("anna")
    refuse_public("0.0.0.0", ring)


@pytest.mark.parametrize("header", ["Basic YTpi", "Bearer", "bearer", "ctr_x", "Bearer a b", "Bearer ctr_\x7f"])
async def test_odd_headers(door, ring, header):
    """Refused, never an error of ours."""
    ring.create("anna")
    assert (await door(authorization=header).get("/v1/models")).status_code == 401


@pytest.mark.parametrize("role", [*PERMISSIONS, None])
async def test_who_may_release(door, ring, role, network):
    """Only an admin's key lowers a label, and only where a secret is not in it; the reason stands in the trace."""
    token = None if role is None else ring.create("k", role=role).token
    release = {"to": "internal", "because": "ticket 12"}
    body = {
        "model": "coterie",
        "messages": [{"role": "user", "content": "I lost my card, write to anna@example.org"}],
        "coterie": {"release": release},
    }
    http = door(token, host="127.0.0.1")
    response = await http.post("/v1/chat/completions", json=body)
    if role not in {"admin", None}:
        assert response.status_code == 403
        return
    assert response.status_code == 200
    trace = await network.store.trace(response.json()["coterie"]["trace_id"], "default")
    assert trace.verdicts[-1].reason.code == "label.released"
    body["messages"][0]["content"] = "aws key AKIAIOSFODNN7EXAMPLE"
    refused = await http.post("/v1/chat/completions", json=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "release_refused")


async def test_who_may_not_release_is_written_down(door, ring, network, notes):
    """A key whose role releases nothing is refused, and the audit log says who tried."""
    network.audit = notes()
    made = ring.create("bot", role="member")
    body = {**BODIES["/v1/chat/completions"], "coterie": {"release": {"to": "public", "because": "ticket 12"}}}
    assert (await door(made.token).post("/v1/chat/completions", json=body)).status_code == 403
    (event,) = network.audit.events
    assert (event.kind, event.about["key"], event.about["to"]) == ("release_refused", made.key.id, "public")
    assert event.about["reason"] == "a key of the role 'member' may not release"


async def test_half_a_release(door):
    """A release without a reason is refused before anything is asked."""
    body = {**BODIES["/v1/chat/completions"], "coterie": {"release": {"to": "internal"}}}
    assert (await door(host="127.0.0.1").post("/v1/chat/completions", json=body)).status_code == 400


def test_a_file_that_is_looked_at_now_and_then(tmp_path):
    """Between two looks keys are as they were; what this process changes counts at once, and so does an error."""
    path = tmp_path / "keys.json"
    ring, other = KeyRing(path, fresh=1_000.0), KeyRing(path)
    token = ring.create("ada").token
    assert ring.find(token) is not None
    other.revoke("ada")
    assert ring.find(token) is not None
    ring.create("bea")
    assert ring.find(token) is None
    path.unlink()
    seldom = KeyRing(path, fresh=1_000.0)
    seldom._keys = ring._keys
    for _ in range(2):
        with pytest.raises(SetupError):
            seldom.find(token)


# --- Who may reach the gateway.


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost", "LOCALHOST.", "a.localhost"])
def test_loopback_may_be_listened_on(host):
    """Only this machine reaches these."""
    assert is_loopback(host)
    refuse_public(host)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "192.168.1.5", "example.com", "", "localhost.evil.com", "127.0.0.1.evil"]
)
def test_without_keys_nothing_else_may(host):
    """An address that others reach is refused, with the reason and what to do."""
    with pytest.raises(SetupError, match="there are no keys") as caught:
        refuse_public(host)
    assert "127.0.0.1" in caught.value.hint


@pytest.mark.parametrize("host", ["127.0.0.1:8321", "localhost", "localhost:1", "[::1]:8321", ""])
def test_local_programs_come_in(host):
    """Whatever port they name."""
    refuse_foreign(Headers({"host": host}))
    refuse_foreign(Headers({}))


@pytest.mark.parametrize(
    "host", ["evil.com", "evil.com:8321", "192.168.1.5:8321", "[::2]", "[", "127.0.0.1@evil.com", "a" * 9999]
)
def test_a_rebound_name_is_refused(host):
    """A web page whose name was made to resolve to 127.0.0.1 still says its name."""
    with pytest.raises(WireError) as caught:
        refuse_foreign(Headers({"host": host}))
    assert caught.value.code == "forbidden_host"


@pytest.mark.parametrize("origin", ["https://evil.com", "null", "http://evil.com:8321", "file://", "http://[", "junk"])
def test_a_page_of_another_site_is_refused(origin):
    """A browser lets any page post here, and says which one it was."""
    with pytest.raises(WireError) as caught:
        refuse_foreign(Headers({"host": "127.0.0.1:8321", "origin": origin}))
    assert caught.value.code == "forbidden_origin"


def test_a_page_of_this_machine_comes_in():
    """The console, and a developer's page, are served from loopback."""
    refuse_foreign(Headers({"host": "127.0.0.1:8321", "origin": "http://localhost:3000"}))
