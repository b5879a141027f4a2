"""Keys open what they are for, to whoever holds them, until they are revoked."""

from __future__ import annotations

import json

import pytest

from coterie.errors import InputError, SetupError
from coterie.governance.keys import PERMISSIONS, KeyRing
from coterie.testing import FakeClock
from coterie.types import Label


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "keys.json"


@pytest.fixture
def ring(path, clock):
    return KeyRing(path, clock=clock)


def test_a_key_is_found_by_its_token(ring):
    """And has the role, tenant, specialists and clearance that it was made with."""
    made = ring.create("anna", role="admin", tenant="acme", specialists=["triage"], clearance=Label.RESTRICTED)
    key = ring.find(made.token)

    assert made.token.startswith(f"ctr_{key.id}_")
    assert (key.name, key.role, key.tenant) == ("anna", "admin", "acme")
    assert (key.specialists, key.clearance) == (("triage",), Label.RESTRICTED)


def test_no_secret_is_kept(ring, path):
    """The file has a hash of it, and only its owner reads the file."""
    token = ring.create("anna").token

    assert token.rpartition("_")[2] not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "change",
    [lambda t: t[:-1], lambda t: t + "A", lambda t: t[:-1] + ("A" if t[-1] != "A" else "B"), lambda t: t.upper()],
    ids=["short", "long", "wrong", "case"],
)
def test_a_wrong_token(ring, change):
    """Nothing near a key is one."""
    assert ring.find(change(ring.create("anna").token)) is None


@pytest.mark.parametrize("token", ["", "ctr_", "Bearer", "ctr_abcdefgh_" + "A" * 43, "é" * 60, "ctr_a\x00"])
def test_no_token(ring, token):
    """Whatever is sent, it is refused and nothing fails."""
    ring.create("anna")
    assert ring.find(token) is None


def test_one_keys_secret_under_anothers_name(ring):
    """A token's halves belong together."""
    first, second = ring.create("anna"), ring.create("ben")
    assert ring.find(f"ctr_{first.key.id}_{second.token.split('_', 2)[2]}") is None


def test_revoked(ring, path, clock):
    """It opens nothing from then on, also in a process that runs; its name is free again."""
    running = KeyRing(path, clock=clock)
    token = ring.create("anna").token
    assert running.find(token)
    ring.revoke("anna")

    assert running.find(token) is None
    assert running.keys()[0].state(clock()) == "revoked"
    assert ring.find(ring.create("anna").token)
    assert not ring.is_empty()


def test_expired(ring, clock):
    """A key with days opens nothing after them."""
    token = ring.create("anna", days=1).token
    assert ring.find(token)
    clock.now += 86_401
    assert ring.find(token) is None
    assert ring.keys()[0].state(clock()) == "expired"


def test_rotated(ring, clock):
    """The new secret opens what the old one did, which opens nothing; it lasts as long anew."""
    old = ring.create("anna", role="auditor", tenant="acme", specialists=["triage"], days=2)
    clock.now += 86_400
    new = ring.rotate("anna")

    assert ring.find(old.token) is None
    assert ring.find(new.token) == new.key
    assert (new.key.role, new.key.tenant, new.key.specialists) == ("auditor", "acme", ("triage",))
    assert new.key.expires == clock() + 2 * 86_400


def test_a_rotated_key_is_the_same_key(ring):
    """Its id stays, so what is limited or counted by key goes on, and the ring has no more keys than before."""
    old = ring.create("anna")
    new = ring.rotate("anna")

    (only,) = ring.keys()
    assert only.id == new.key.id == old.key.id


@pytest.mark.parametrize("name", ["", "a b", "x" * 64, "../a", "a\nb"])
def test_odd_names(ring, name):
    """A name is for people, and for logs."""
    with pytest.raises(InputError):
        ring.create(name)


@pytest.mark.parametrize(
    "tenant",
    [
        *("", " ", " acme", "acme\n", "a\x1fb", "a\u2028b", "x" * 201, "a  b", "a\u00a0b", "a\u200bb"),
        *("../x", "a/b", "a\\b", "..", ".acme", "-acme", "a,b", "a;b", "a*", "a'b", "<a>", "a|b"),
    ],
)
def test_odd_tenants(ring, tenant):
    """A tenant whose name cannot be read, is another's but for white space, or looks like a path or option, is none."""
    with pytest.raises(InputError, match="of the tenant"):
        ring.create("anna", tenant=tenant)
    assert ring.is_empty()


@pytest.mark.parametrize("days", [0, -1, 1e9, float("inf"), float("nan")])
def test_odd_days(ring, days):
    """A key lasts for a time that a calendar has; one that outlasted it would break the list of all."""
    with pytest.raises(InputError, match="days"):
        ring.create("anna", days=days)
    assert ring.is_empty()


def test_a_name_is_taken(ring):
    """Two valid keys of one name would be one too many to revoke."""
    ring.create("anna")
    with pytest.raises(InputError, match="already"):
        ring.create("anna")


def test_nobody_of_that_name(ring):
    """What is not there cannot be revoked."""
    with pytest.raises(InputError, match="no valid key"):
        ring.revoke("anna")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"keys": [{}]}', '{"keys": 3}', '{"keys": [{"id": 1}]}'])
def test_a_file_that_cannot_be_read_lets_nobody_in(ring, path, content):
    """It is an error, not an empty ring: an empty one would let everybody in."""
    token = ring.create("anna").token
    path.write_text(content)
    for ask in (ring.is_empty, ring.keys, lambda: ring.find(token), lambda: ring.create("ben")):
        with pytest.raises(SetupError):
            ask()
    assert path.read_text() == content


@pytest.mark.parametrize(
    "emptied", [lambda p: p.unlink(), lambda p: p.write_text('{"keys": []}')], ids=["gone", "empty"]
)
def test_keys_that_vanish_let_nobody_in(ring, path, emptied):
    """Who has seen keys does not take their absence for leave to come in: the address may be anybody's."""
    token = ring.create("anna").token
    assert ring.find(token)
    content = path.read_text()
    emptied(path)
    for _ in range(2):
        with pytest.raises(SetupError, match="nobody is let in"):
            ring.is_empty()
    path.write_text(content)
    assert ring.find(token)


def test_a_role_nobody_knows(ring, path):
    """A file that was changed by hand to more than there is is refused."""
    ring.create("anna")
    document = json.loads(path.read_text())
    document["keys"][0]["role"] = "god"
    path.write_text(json.dumps(document))
    with pytest.raises(SetupError):
        ring.keys()


def test_roles():
    """Only an admin may do all; nobody may read traces and counters without a role for it."""
    assert {role for role, may in PERMISSIONS.items() if "ask" in may} == {"admin", "member"}
    assert {role for role, may in PERMISSIONS.items() if "metrics" in may} == {"admin", "operator", "auditor"}
    assert {role for role, may in PERMISSIONS.items() if "traces" in may} == {"admin", "member", "auditor"}
