"""Every endpoint of the OpenAPI document, tried by whoever may not: no word and no work tells them what is another's.

The requests are made from the document itself, so an endpoint that comes is tried as well, and one that asks for no
permission is refused here until somebody has thought about it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import httpx
import pytest

from coterie.config.file import GatewaySection
from coterie.gateway.app import create_app
from coterie.governance.keys import PERMISSIONS, KeyRing
from coterie.store.sqlite import SQLiteStore
from coterie.testing import FakeRetriever, make_finding
from coterie.types import Citation, Label, Passage, worded

SECRET = "zebrafish"
"""Stands in everything that is of the tenant `acme`."""
FOR_ANY_ROLE = {"/v1/models", "/v1/models/{model}", "/openapi.json"}
OPEN_TO_ALL = {"/healthz", "/readyz"}
QUESTIONS = ("what was my last question", "and what else?", f"what does a {SECRET} cost")


class Names(NamedTuple):
    """What a request may name that belongs to somebody."""

    trace: str
    session: str
    index: str
    document: str
    key: str


NOBODYS = Names("f" * 32, "nobodys-session", "nobodys-files", "nobodys.md", "abcdefgh")


# --- Requests out of the document ----------------------------------------------------------------


def example(schema: Mapping[str, Any], whole: Mapping[str, Any], names: Names, name: str = "") -> Any:
    """A value of a schema: what the names say, where a name fits; else its first choice or the plainest of its type."""
    if "$ref" in schema:
        return example(whole["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]], whole, names, name)
    if name in KNOWN:
        return KNOWN[name](names)
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            choices = [choice for choice in schema[several] if choice.get("type") != "null"]
            return example(choices[-1], whole, names, name)
    wanted = {key for key in schema.get("properties", {}) if key in schema.get("required", ()) or key in NAMING}
    inner = {key: example(schema["properties"][key], whole, names, key) for key in sorted(wanted)}
    items = [example(schema["items"], whole, names, name)] if "items" in schema else []
    plain_of = {"string": "x", "integer": 1, "number": 0.5, "boolean": True, "object": inner, "array": items}
    first = [*schema.get("enum", ()), *([schema["const"]] if "const" in schema else ())]
    return first[0] if first else plain_of.get(schema.get("type", ""), "x")


NAMING = {"coterie", "session", "document", "index", "name", "trace", "trace_id", "key", "tenant"}
"""Fields by which a request may name what belongs to somebody: they are filled in though they may be left out."""
KNOWN: Mapping[str, Callable[[Names], Any]] = {
    "model": lambda names: "coterie",
    "input": lambda names: "hello",
    "messages": lambda names: [{"role": "user", "content": QUESTIONS[0]}],
    "session": lambda names: names.session,
    "trace": lambda names: names.trace,
    "trace_id": lambda names: names.trace,
    "key": lambda names: names.key,
    "index": lambda names: names.index,
    "name": lambda names: names.document,
    "tenant": lambda names: "acme",
}


class Call(NamedTuple):
    """One endpoint as the document describes it."""

    method: str
    path: str
    operation: Mapping[str, Any]
    whole: Mapping[str, Any]

    def bodies(self, names: Names) -> list[dict[str, Any] | None]:
        """Bodies to send: with everything named, with the session alone, and streamed where it can be."""
        if "requestBody" not in self.operation:
            return [None]
        schema = self.operation["requestBody"]["content"]["application/json"]["schema"]
        body = example(schema, self.whole, names)
        if "messages" not in body:
            return [body]
        alone = {**body, "coterie": {"session": names.session}}
        conversations = [{**alone, "messages": [{"role": "user", "content": text}]} for text in QUESTIONS]
        return [body, *conversations, {**alone, "stream": True}]

    def target(self, names: Names) -> str:
        """The path with its parameters filled in."""
        path = self.path
        for parameter in self.operation.get("parameters", ()):
            value = {"model": "coterie/triage"}.get(parameter["name"], names.trace)
            path = path.replace("{" + parameter["name"] + "}", value)
        return path

    async def send(self, http: httpx.AsyncClient, names: Names) -> list[httpx.Response]:
        """Every request of this endpoint."""
        path = self.target(names)
        return [await http.request(self.method, path, json=body) for body in self.bodies(names)]


# --- A network with two tenants ------------------------------------------------------------------


@dataclass
class Watched:
    """Something with what was asked of it noted, in order: its methods, without the values."""

    inner: object
    did: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self.inner, name)
        if callable(attribute):
            self.did.append(name)
        return attribute


class Files(FakeRetriever):
    """An index whose documents are acme's alone."""

    async def documents(self, *, clearance: Label | None = None, tenant: str = "default") -> dict[str, str]:
        """Not asked here."""
        raise AssertionError

    async def tenants(self) -> frozenset[str]:
        """Not asked here."""
        raise AssertionError

    async def update(self, put: object, remove: object = ()) -> None:
        """Not asked here."""
        raise AssertionError

    async def text(self, name: str, start: int, end: int, *, clearance: Label, tenant: str = "default") -> str | None:
        """A part of a document that the caller may see."""
        seen = [p for p in self.passages if p.document == name and p.label <= clearance and tenant == "acme"]
        return seen[0].text[start:end] if seen else None


@dataclass
class House:
    """The gateway with its keys and what acme left behind."""

    app: Any
    ring: KeyRing
    store: Watched
    theirs: Names
    acme: str
    other: str
    document: Mapping[str, Any]

    def http(self, token: str | None) -> httpx.AsyncClient:
        """A client that comes from elsewhere."""
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.app), base_url="http://coterie.example", headers=headers
        )

    @property
    def calls(self) -> list[Call]:
        """Every endpoint of the document."""
        paths = self.document["paths"]
        return [Call(m.upper(), path, op, self.document) for path, ops in paths.items() for m, op in ops.items()]


@pytest.fixture
async def house(network, tmp_path):
    """Acme has asked in a session, about a document of its own index; the other tenant has done nothing."""
    store = await SQLiteStore.open(
        tmp_path / "coterie.db", session_days=30, keep_content=True, clock=lambda: 1_700_000_000.5
    )
    network.store = watched = Watched(store)
    plan = Passage(
        document="plan.md", start=0, end=40, text=f"The {SECRET} costs 12 pounds.", score=1.0, label=Label.PUBLIC
    )
    network.knowledge = {"acme-files": Files([plan], index="acme-files", tenants={"plan.md": "acme"})}
    triage = network.specialists["triage"]
    triage.card = replace(triage.card, knowledge=("acme-files",), reads=("messages",))
    consult = triage.consult

    async def quoting(task: Any, view: Any, *, call: Any) -> Any:
        """What it says, with all that it was shown: whatever reaches a specialist reaches the caller.

        Of each entry the beginning: the rest of an answer repeats others, and would double with every turn.
        """
        finding = await consult(task, view, call=call)
        shown = " ".join(repr(entry.content)[:400] for entry in view.entries)
        quote = Citation(document="shown", start=0, end=1, text=shown, label=Label.PUBLIC)
        return replace(finding, citations=(quote,), text=f"{finding.text} {shown}")

    triage.consult = quoting
    ring = KeyRing(tmp_path / "keys.json")
    acme = ring.create("anna", tenant="acme", role="admin")
    other = ring.create("otto", tenant="other", role="admin").token
    app = create_app(network, GatewaySection(), ring)
    made = House(app, ring, watched, NOBODYS, acme.token, other, {})
    async with made.http(acme.token) as http:
        made.document = (await http.get("/openapi.json")).json()
        body = {"model": "coterie", "messages": [{"role": "user", "content": f"my {SECRET} is ill"}]}
        response = await http.post("/v1/chat/completions", json={**body, "coterie": {"session": f"{SECRET}-session"}})
    assert SECRET in response.text
    trace = response.json()["coterie"]["trace_id"]
    made.theirs = Names(trace, f"{SECRET}-session", "acme-files", "plan.md", acme.key.id)
    yield made
    await store.close()


def plain(response: httpx.Response, names: Names) -> tuple[int, dict[str, str], str]:
    """A response without what differs between two requests of the same kind: ids, times, the names it repeats."""
    text = response.text
    for name in names:
        text = text.replace(name, "NAME")
    text = re.sub(r"[0-9a-f]{32}", "ID", text)
    text = re.sub(r'"milliseconds":[0-9.e-]+', '"milliseconds":0', text)
    headers = {k: v for k, v in response.headers.items() if k not in {"content-length", "coterie-trace-id"}}
    headers = {key: re.sub(r"[0-9a-f]{32}", "ID", value) for key, value in headers.items()}
    return response.status_code, headers, text


def test_every_endpoint_has_a_permission(house):
    """An endpoint needs a permission, or it is one of the few that were decided to need none."""
    free = {call.path for call in house.calls if "x-coterie-needs" not in call.operation}

    assert free == FOR_ANY_ROLE | OPEN_TO_ALL
    assert {call.path for call in house.calls if call.operation.get("security") == []} == OPEN_TO_ALL


async def test_nobody_without_a_valid_key(house):
    """No key, a wrong, a revoked, an expired one and half of a right one are refused by every endpoint, alike."""
    gone, late = house.ring.create("gone", tenant="acme"), house.ring.create("late", tenant="acme", days=1e-9)
    house.ring.revoke("gone")
    wrong = ["ctr_abcdefgh_" + "A" * 43, gone.token, late.token, house.acme[:-1] + "-", house.acme[:12]]
    house.store.did.clear()
    for call in house.calls:
        nothing = await call.send(house.http(None), house.theirs)
        refused = [await call.send(house.http(token), house.theirs) for token in wrong]
        if call.path in OPEN_TO_ALL:
            assert {r.status_code for responses in [nothing, *refused] for r in responses} == {200}
            continue
        assert {r.status_code for responses in [nothing, *refused] for r in responses} == {401}, call.path
        assert len({(r.text, str(r.headers)) for responses in refused for r in responses}) == 1, call.path
        assert len({r.text for r in nothing}) == 1
    assert house.store.did == []  # and the store was not asked anything


async def test_lower_roles(house):
    """What a role is not for is refused by every endpoint, before anything is looked up."""
    tokens = {role: house.ring.create(role, tenant="acme", role=role).token for role in PERMISSIONS}
    for call in house.calls:
        needs = call.operation.get("x-coterie-needs")
        for role, token in tokens.items():
            house.store.did.clear()
            statuses = {r.status_code for r in await call.send(house.http(token), house.theirs)}
            of_all = needs == "manage"  # of all tenants together: for the tenant that runs the network alone
            if of_all or (needs is not None and needs not in PERMISSIONS[role]):
                assert (statuses, house.store.did) == ({403}, []), (call.path, role)
            elif needs != "metrics":
                assert not statuses & {401, 403}, (call.path, role)


async def test_another_tenant_sees_nothing(house):
    """Every endpoint answers a name of another tenant's as it answers a name that nobody has, after the same work."""
    http = house.http(house.other)
    for call in house.calls:
        house.store.did.clear()
        theirs = await call.send(http, house.theirs)
        did, house.store.did[:] = list(house.store.did), []
        nobodys = await call.send(http, NOBODYS)

        for response in theirs:
            assert SECRET not in response.text.replace(f"{SECRET}-session", "").replace(QUESTIONS[2], ""), call.path
            assert "acme" not in response.text.replace("acme-files", ""), call.path
            assert response.status_code != 500
        assert [plain(r, house.theirs) for r in theirs] == [plain(r, NOBODYS) for r in nobodys], call.path
        assert did == house.store.did, call.path


async def test_acme_itself_sees_it(house):
    """The walk would find something: with acme's own key the same requests say the secret."""
    seen = {}
    for call in house.calls:
        responses = await call.send(house.http(house.acme), house.theirs)
        seen[call.path] = any(SECRET in r.text.replace(f"{SECRET}-session", "") for r in responses)

    assert seen["/v1/chat/completions"]
    assert seen["/api/traces/{trace_id}"]


async def test_counters_are_not_a_tenants(house):
    """They are of all tenants together: an operator reads them, and whoever runs the network; a tenant does not."""
    keys = {
        (role, tenant): house.ring.create(f"{role}-{tenant}", role=role, tenant=tenant).token
        for role in PERMISSIONS
        for tenant in ("default", "other")
    }
    may = {who for who, token in keys.items() if (await house.http(token).get("/metrics")).status_code == 200}

    assert may == {("operator", "default"), ("operator", "other"), ("admin", "default"), ("auditor", "default")}


# --- Keys for some specialists, and for some labels ----------------------------------------------


async def ask(http: httpx.AsyncClient, text: str, **more: object) -> httpx.Response:
    """One chat request."""
    body = {"model": "coterie", "messages": [{"role": "user", "content": text}]}
    return await http.post("/v1/chat/completions", json={**body, **({"coterie": more} if more else {})})


@dataclass
class Above:
    """Stands in for a large model."""

    card: Any
    asked: int = 0

    async def consult(self, task: Any, view: Any, *, call=None) -> Any:
        """Answers everything."""
        self.asked += 1
        return make_finding("x", specialist=self.card.name, confidence=0.5, label=task.label)


@pytest.mark.parametrize("allowed", [("triage",), ("triage", "reader"), ("triage", "generalist")], ids="+".join)
async def test_reader_and_generalist_are_allowed_too(house, network, allowed):
    """A key that names its specialists has a document read, and the generalist asked, only if it names those too."""
    card = replace(network.specialists["reply"].card, name="generalist")
    reading = replace(network.specialists["reply"].card, name="reader", task="answer")
    network.generalist, network.escalate_out_of_scope = Above(card), True
    network.reader = Above(reading)
    http = house.http(house.ring.create("bea", tenant="acme", specialists=allowed).token)
    weather = await ask(http, "what is the weather")
    read = await ask(http, "what does it cost?", document="It costs 12 pounds.")

    assert weather.json()["coterie"]["accepted"] == (network.generalist.asked > 0) == ("generalist" in allowed)
    assert (network.reader.asked > 0) == ("reader" in allowed)
    assert read.status_code == 200
    if "reader" not in allowed:
        refusal = read.json()["choices"][0]["message"]["refusal"]
        assert "no specialist that the caller may ask fits the request" in refusal


async def test_the_reason_of_a_route_names_no_other(house, network):
    """A router that names the runner-up and quotes its examples is not repeated to a key that may not ask that one."""
    route = network.router.route

    async def chatty(request: Any, context: Any, *, call: Any) -> Any:
        routed = await route(request, context, call=call)
        return replace(
            routed, reason=worded("triage: like 'x'; second is reply, like 'my zebra'"), scores={"reply": 0.1}
        )

    network.router.route = chatty
    http = house.http(house.ring.create("bea", tenant="acme", specialists=["triage"]).token)
    shown_route = (await ask(http, "I lost my card")).json()["coterie"]["route"]
    nobody = (await ask(http, "what is the weather")).json()["coterie"]["route"]

    assert (shown_route["reason_code"], shown_route["scores"]) == ("route.allowed", {})
    assert "reply" not in shown_route["reason"]
    assert "reply" not in json.dumps(nobody)


async def test_a_trace_of_others_than_may_be_asked(house):
    """A key for some specialists does not find the traces in which others were asked."""
    trace = (await ask(house.http(house.acme), "write to me")).json()["coterie"]["trace_id"]
    low = house.http(house.ring.create("bea", tenant="acme", specialists=["triage"]).token)
    there = await low.get(f"/api/traces/{trace}")
    never = await low.get(f"/api/traces/{NOBODYS.trace}")

    assert (there.status_code, there.text.replace(trace, "")) == (404, never.text.replace(NOBODYS.trace, ""))


async def test_a_stored_response_of_others(house):
    """Another tenant, who may not ask its specialist, and who may not see its label neither show nor delete it."""
    body = {"model": "coterie", "input": f"my {SECRET}, write", "coterie": {"label": "confidential"}}
    given = (await house.http(house.acme).post("/v1/responses", json=body)).json()["id"]
    high = house.http(house.ring.create("high", tenant="acme", clearance=Label.CONFIDENTIAL).token)
    only = house.ring.create("bea", tenant="acme", clearance=Label.CONFIDENTIAL, specialists=["triage"]).token
    for http in (house.http(house.other), house.http(house.acme), house.http(only)):
        for method, path in (("GET", ""), ("GET", "/input_items"), ("DELETE", "")):
            there = await http.request(method, f"/v1/responses/{given}{path}")
            never = await http.request(method, f"/v1/responses/resp_{'f' * 64}{path}")
            assert (there.status_code, there.text.replace(given, "")) == (
                404,
                never.text.replace(f"resp_{'f' * 64}", ""),
            )

    assert SECRET in (await high.get(f"/v1/responses/{given}/input_items")).text
    assert (await high.delete(f"/v1/responses/{given}")).json()["deleted"]


async def test_a_trace_above_the_clearance(house):
    """Its figures are shown, its content is not, although the store keeps content."""
    response = await ask(house.http(house.acme), f"my {SECRET} is worse", label="confidential")
    trace = response.json()["coterie"]["trace_id"]
    high = house.ring.create("high", tenant="acme", clearance=Label.CONFIDENTIAL).token
    seen = await house.http(high).get(f"/api/traces/{trace}")
    bare = await house.http(house.acme).get(f"/api/traces/{trace}")

    assert SECRET in seen.text
    assert SECRET not in bare.text
    assert bare.json()["usage"] == seen.json()["usage"]
