"""The history of champions, and going back in it."""

import json
import shutil

import pytest

from coterie.errors import ArtefactRefused, InputError, NotTrained, UnknownSpecialist
from coterie.registry.registry import Registry
from coterie.registry.signature import Trust, open_signer, write_key


def history_file(registry):
    return registry.root / "triage" / "history.jsonl"


@pytest.fixture
def three(registry, add) -> list[str]:
    """Three versions, promoted one after the other."""
    versions = [add(word) for word in ("first", "second", "third")]
    for version in versions:
        registry.promote("triage", version, reason=f"why {version}")
    return versions


def test_who_replaced_whom(registry, three):
    """The history says which version replaced which, when, by whom and why."""
    first, second, third = registry.history("triage")

    assert (first.version, first.replaced) == (three[0], None)
    assert (second.version, second.replaced) == (three[1], three[0])
    assert (third.version, third.replaced) == (three[2], three[1])
    assert (third.action, third.by, third.reason) == ("promote", "ada", f"why {three[2]}")
    assert third.time == "1970-01-01T00:00:00Z"


def test_promoting_the_champion_is_no_change(registry, three):
    """Promoting what serves already adds nothing to the history."""
    registry.promote("triage", three[2])

    assert len(registry.history("triage")) == 3


def test_roll_back_and_further_back(registry, three):
    """Each rollback goes one champion further back, until there is none."""
    assert registry.rollback("triage", reason="slow") == three[1]
    assert registry.champion("triage").version == three[1]
    assert registry.rollback("triage") == three[0]
    with pytest.raises(InputError, match="no champion before"):
        registry.rollback("triage")

    assert registry.champion("triage").version == three[0]
    assert [entry.action for entry in registry.history("triage")] == ["promote"] * 3 + ["rollback"] * 2


def test_what_was_rolled_back_is_not_gone_back_to(registry, three, add):
    """After a rollback and a new champion, going back leads to what was rolled back to, not to what failed."""
    registry.rollback("triage")
    registry.promote("triage", add("fourth"))

    assert registry.rollback("triage") == three[1]


def test_nothing_to_roll_back(registry, add):
    """Without a champion there is nothing to roll back."""
    with pytest.raises(NotTrained):
        registry.rollback("triage")
    add("first")
    with pytest.raises(NotTrained):
        registry.rollback("triage")


def test_a_damaged_champion_can_be_rolled_back(registry, three):
    """Going back does not need the champion that is left; a damaged earlier one is refused."""
    (registry.root / "triage" / three[2] / "card.md").write_text("x")
    assert registry.rollback("triage") == three[1]

    (registry.root / "triage" / three[0] / "card.md").write_text("x")
    with pytest.raises(ArtefactRefused):
        registry.rollback("triage")
    assert registry.champion("triage").version == three[1]


def test_a_change_that_never_was(registry, three, monkeypatch):
    """If the process dies between the history and the alias, the line does not count, then or later."""

    def die(*_):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("coterie.registry.registry.replace_file", die)
        with pytest.raises(KeyboardInterrupt):
            registry.promote("triage", three[0])

    assert history_file(registry).read_text().count("\n") == 4
    assert [entry.version for entry in registry.history("triage")] == three
    assert registry.rollback("triage") == three[1]
    assert [entry.version for entry in registry.history("triage")] == [*three, three[1]]


def test_a_line_that_was_cut(registry, three, add):
    """A line that a power cut left unfinished is not read, and is gone with the next."""
    with history_file(registry).open("a") as file:
        file.write('{"time": "19')

    assert len(registry.history("triage")) == 3
    registry.promote("triage", add("fourth"))
    assert len(registry.history("triage")) == 4
    assert all(json.loads(line) for line in history_file(registry).read_text().splitlines())


OTHER = '{"version": "../x", "time": "", "action": "promote", "replaced": null, "by": "", "reason": ""}\n'


@pytest.mark.parametrize("line", ["nonsense\n", "{}\n", "[1]\n", '{"version": 3}\n', OTHER])
def test_a_damaged_history(registry, three, line):
    """A line that is none of ours is refused with its number; the champion serves all the same."""
    with history_file(registry).open("a") as file:
        file.write(line)

    with pytest.raises(ArtefactRefused, match=r"Line 4 of .*history\.jsonl"):
        registry.rollback("triage")
    assert registry.champion("triage").version == three[2]


@pytest.mark.parametrize("versions", [1, 3])
def test_a_history_whose_end_is_missing(registry, add, versions):
    """The line of what serves was on disk before it served: one that was cut is damage, and said to be."""
    for number in range(versions):
        registry.promote("triage", add(f"of {number}"))
    file = history_file(registry)
    file.write_bytes(file.read_bytes()[:-20])

    with pytest.raises(ArtefactRefused, match=r"The last line of .*history\.jsonl.* was cut"):
        registry.history("triage")


def test_an_empty_history(registry, add):
    """A file without lines tells of no change."""
    registry.promote("triage", add("first"))
    history_file(registry).write_bytes(b"")

    assert registry.history("triage") == ()


def test_a_champion_by_hand(registry, three, add):
    """A champion that somebody wrote into the alias's file is what a rollback goes back to."""
    by_hand = add("by hand")
    (registry.root / "triage" / "champion").write_text(by_hand)
    registry.promote("triage", add("fourth"))

    assert registry.rollback("triage") == by_hand


def test_a_new_champion_ends_the_candidacy(registry, three, add):
    """Whoever becomes champion, no candidate is left: it was held against another champion."""
    registry.promote("triage", add("fourth"), alias="candidate")
    assert registry.champion("triage").version == three[2]

    registry.promote("triage", three[1])

    assert registry.alias("triage", "candidate") is None


# --- Finding a version ---------------------------------------------------------------------------


def test_resolve(registry, three):
    """A version is found by its alias, its name or its first digits."""
    assert registry.resolve("triage", "champion") == three[2]
    assert registry.resolve("triage", three[0]) == three[0]
    assert registry.resolve("triage", three[0][:6]) == three[0]
    with pytest.raises(NotTrained, match="no candidate"):
        registry.resolve("triage", "candidate")


@pytest.mark.parametrize("wanted", ["", "123", "latest", "ffffffffffffffff", "../x", "0" * 40])
def test_resolve_what_is_not_there(registry, three, wanted):
    """Too few digits, no digits and unknown ones are refused."""
    with pytest.raises(InputError, match="names no stored version"):
        registry.resolve("triage", wanted)


def test_resolve_what_is_ambiguous(registry, three):
    """Digits that begin two versions are refused with both."""
    other = three[0][:4] + "0" * 12
    (registry.root / "triage" / other).mkdir()

    with pytest.raises(InputError, match="begins the versions") as refused:
        registry.resolve("triage", three[0][:4])
    assert other in str(refused.value)
    assert three[0] in str(refused.value)


def test_resolve_an_unknown_specialist(registry, three):
    """The names that there are stand in the message."""
    assert registry.names() == ("triage",)
    with pytest.raises(UnknownSpecialist, match="'triage'"):
        registry.resolve("tirage", "champion")


# --- The chain and its head ----------------------------------------------------------------------


def head_file(registry):
    return registry.root / "triage" / "history.head"


def test_a_history_is_vouched_for(registry, three):
    """Every line names the one before, and the head the last."""
    registry.rollback("triage")
    check = registry.check_history("triage")

    assert (check.vouched, check.unvouched, check.gap, check.signer) == (4, 0, "", "")


@pytest.mark.parametrize("line", range(3))
@pytest.mark.parametrize(
    "change",
    [
        lambda lines, n: [*lines[:n], lines[n].replace(b'"by":"ada"', b'"by":"eve"'), *lines[n + 1 :]],
        lambda lines, n: [*lines[:n], *lines[n + 1 :]],
        lambda lines, n: [*lines[: n + 1], *lines[n:]],
        lambda lines, n: lines[:n],
    ],
    ids=["edited", "deleted", "doubled", "cut"],
)
def test_a_changed_history_is_found(registry, three, add, change, line):
    """Whatever is done to a line, it is found, and still is after further changes of champion."""
    file = history_file(registry)
    file.write_bytes(b"".join(change(file.read_bytes().splitlines(keepends=True), line)))
    with pytest.raises(ArtefactRefused, match=r"history\.jsonl"):
        registry.check_history("triage")

    registry.promote("triage", add("fourth"))
    with pytest.raises(ArtefactRefused, match=r"history\.jsonl"):
        registry.check_history("triage")


@pytest.mark.parametrize("gone", ["history", "content", "head", "damaged head", "deep head"])
def test_a_history_that_is_gone(registry, three, add, gone):
    """A history that is emptied or deleted, and a head that is, are found."""
    if gone == "history":
        history_file(registry).unlink()
    elif gone == "content":
        history_file(registry).write_bytes(b"")
    elif gone == "head":
        head_file(registry).unlink()
    else:
        head_file(registry).write_bytes(b"{}" if gone == "damaged head" else b"[" * 100_000)
    with pytest.raises(ArtefactRefused):
        registry.check_history("triage")


def test_both_gone(registry, three):
    """Without history and head nothing says how the champion came to serve; that is no damage, and is said."""
    history_file(registry).unlink()
    head_file(registry).unlink()

    assert three[2] in registry.check_history("triage").gap


@pytest.mark.parametrize("serves", [None, 0, 1])
def test_a_champion_that_no_line_put_there(registry, three, add, serves):
    """The alias is deleted, or stands for an earlier champion: the history says otherwise, until the next change."""
    alias = registry.root / "triage" / "champion"
    if serves is None:
        alias.unlink()
    else:
        alias.write_text(f"{three[serves]}\n")
    gap = registry.check_history("triage").gap
    assert three[2] in gap
    assert ("none" if serves is None else three[serves]) in gap

    registry.promote("triage", add("fourth"))
    assert registry.check_history("triage").gap == ""


def test_an_alias_that_is_damaged_is_told_once(registry, three):
    """The alias has a check of its own."""
    (registry.root / "triage" / "champion").write_text("../../etc\n")
    assert registry.check_history("triage").gap == ""


def test_a_line_behind_the_head(registry, three):
    """A line that nobody's head counts is not vouched for, as a killed process leaves it; the next one counts it."""
    head = head_file(registry).read_bytes()
    registry.rollback("triage")
    head_file(registry).write_bytes(head)
    check = registry.check_history("triage")
    assert (check.vouched, check.unvouched) == (3, 1)
    assert check.gap

    registry.rollback("triage")
    check = registry.check_history("triage")
    assert (check.vouched, check.unvouched, check.gap) == (5, 0, "")


def test_a_history_of_an_earlier_coterie(registry, three, add):
    """It has no chain and no head: it loads, nothing vouches for it, and the next change seals it."""
    lines = [json.loads(line) for line in history_file(registry).read_text().splitlines()]
    for line in lines:
        del line["before"]
    history_file(registry).write_text("".join(json.dumps(line) + "\n" for line in lines))
    head_file(registry).unlink()
    check = registry.check_history("triage")
    assert (check.vouched, check.unvouched, check.gap) == (0, 3, "")
    assert len(registry.history("triage")) == 3

    registry.promote("triage", add("fourth"))
    assert registry.check_history("triage").vouched == 4
    file = history_file(registry)
    file.write_bytes(file.read_bytes().replace(b'"ada"', b'"eve"', 1))
    with pytest.raises(ArtefactRefused):
        registry.check_history("triage")


def test_a_signed_history(tmp_path):
    """With a key the head is signed; one that is written anew with another key, or by hand, is refused."""
    pytest.importorskip("cryptography")
    for name in ("ours", "theirs"):
        write_key(tmp_path / f"{name}.pem")
    ours, theirs = (open_signer(f"{name}.pem", tmp_path) for name in ("ours", "theirs"))
    trust = Trust(keys=frozenset([ours.public]))
    registry = Registry(tmp_path / "r", signer=ours, trust=trust)
    for word in ("first", "second"):
        registry.promote("triage", registry.add("triage", {"card.md": word.encode()}))
    assert registry.check_history("triage").signer == ours.public

    head = head_file(registry)
    signed = head.read_bytes()
    head.write_bytes(signed.replace(b'"lines":2', b'"lines":1'))
    with pytest.raises(ArtefactRefused):
        registry.check_history("triage")
    shutil.rmtree(registry.root / "triage")
    forged = Registry(tmp_path / "r", signer=theirs)
    forged.promote("triage", forged.add("triage", {"card.md": b"first"}))
    with pytest.raises(ArtefactRefused, match="not trusted"):
        registry.check_history("triage")
