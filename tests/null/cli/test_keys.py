"""`coterie keys`: made, shown once, listed, revoked, and written down."""

import pytest


def test_a_key_is_shown_once(run, folder):
    """What is printed is the key alone, so that a script can take it; the list does not have it."""
    made = run("-C", folder, "keys", "create", "anna", "--tenant", "acme")
    listed = run("-C", folder, "keys", "list")

    token = made.out.strip()
    assert token.startswith("ctr_")
    assert "not shown again" in made.err
    assert token not in listed.out
    assert "acme" in listed.out
    assert token not in (folder / "state" / "keys.json").read_text()


def test_json(run, folder):
    """For scripts: the key with all that it may."""
    made = run("-C", folder, "keys", "create", "bot", "--specialist", "triage", "--clearance", "public", "--json").json
    (key,) = run("-C", folder, "keys", "list", "--json").json["keys"]

    assert made["key"].startswith(f"ctr_{made['id']}_")
    assert (key["specialists"], key["clearance"], key["state"]) == (["triage"], "public", "valid")
    assert "key" not in key


def test_revoke_and_rotate(run, folder):
    """By name or id; what is gone is listed as gone."""
    first = run("-C", folder, "keys", "create", "anna", "--json").json
    second = run("-C", folder, "keys", "rotate", first["id"], "--json").json
    assert run("-C", folder, "keys", "revoke", "anna").code == 0

    states = {key["id"]: key["state"] for key in run("-C", folder, "keys", "list", "--json").json["keys"]}
    assert states == {first["id"]: "revoked", second["id"]: "revoked"}
    assert run("-C", folder, "keys", "revoke", "anna").code == 2


def test_it_is_written_down(run, folder):
    """Each change is in the audit log, without the secret."""
    token = run("-C", folder, "keys", "create", "anna").out.strip()
    run("-C", folder, "keys", "revoke", "anna")
    entries = run("-C", folder, "audit", "show", "--json").json["entries"]

    assert [entry["kind"] for entry in entries] == ["create_key", "revoke_key"]
    assert token not in (folder / "state" / "audit.jsonl").read_text()


@pytest.mark.parametrize(
    "words",
    [
        ("--role", "god"),
        ("--specialist", "nobody"),
        ("--clearance", "secret"),
        ("--days", "0"),
        ("--days", "inf"),
        ("--tenant", ""),
    ],
)
def test_bad_wishes(run, folder, words):
    """Said before anything is made."""
    assert run("-C", folder, "keys", "create", "anna", *words).code == 2
    assert run("-C", folder, "keys", "list", "--json").json == {"keys": []}


def test_none(run, folder):
    """It is said what that means."""
    assert "only programs of this machine" in run("-C", folder, "keys", "list").out
