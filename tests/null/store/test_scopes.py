"""Of a tenant, a session or whoever is mentioned: all is found, all is gone from every byte, and the rest is whole."""

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.errors import InputError
from coterie.store.erasure import ErasureScope, Mention
from coterie.types import Entry, Finding, Label, Message, Settlement, Stage

from .conftest import DAY, NOW, REPLY, TRACE


def said(number: int, text: str, *, tenant: str = "default", session: str | None = None) -> Settlement:
    """A request whose trace, and session if it has one, hold a text."""
    finding: Finding = replace(REPLY, text=text, value=text)
    trace = replace(TRACE, id=f"{number:032x}", tenant=tenant, session=session, findings=(finding,))
    entry = Entry(content=Message(role="user", text=text), producer="user", label=Label.INTERNAL, time=NOW)
    return Settlement(trace=trace, entries=(entry,) if session else ())


def files(path: Path) -> bytes:
    """All that the database's files hold."""
    return b"".join(file.read_bytes() for file in path.parent.rglob("*") if file.is_file())


@pytest.fixture
async def filled(open_store):
    """Two tenants, each with a session and two requests beside it; Anna is in some of each."""
    store = await open_store(keep_content=True)
    for settled in (
        said(1, "anna@acme.org wants wombats", tenant="acme", session="s1"),
        said(2, "nothing but wombats", tenant="acme", session="s1"),
        said(3, "Anna Smith wants kiwis", tenant="acme"),
        said(4, "nobody wants kiwis", tenant="acme"),
        said(5, "ANNA\u00a0 SMITH wants quokkas", session="s1"),
        said(6, "Savannah Smithers wants numbats"),
        said(7, "numbats", session="anna@acme.org"),
    ):
        await store.settle(settled)
    return store


async def test_of_a_tenant(filled, path):
    """Nothing of it is left but figures; the other tenant, with a session of the same name, loses nothing."""
    before = await filled.summary()
    holdings = await filled.holdings(ErasureScope(tenant="acme"))
    gone = await filled.erase_all(ErasureScope(tenant="acme"))
    left = files(path)

    assert gone == holdings
    assert (gone.sessions, gone.entries, len(gone.traces)) == ((("acme", "s1"),), 2, 4)
    assert b"wombats" not in left
    assert b"kiwis" not in left
    assert b"quokkas" in left
    assert await filled.trace(f"{1:032x}", "acme") is None
    assert (await filled.trace(f"{5:032x}", "default")).findings
    assert await filled.summary() == before
    assert not await filled.holdings(ErasureScope(tenant="nobody"))


async def test_of_a_session(filled, path):
    """The session of that tenant and its traces' content; other requests stay."""
    gone = await filled.erase_all(ErasureScope(tenant="acme", session="s1"))
    left = files(path)

    assert (gone.sessions, gone.entries, len(gone.traces)) == ((("acme", "s1"),), 2, 2)
    assert b"wombats" not in left
    assert b"kiwis" in left
    assert b"quokkas" in left


async def test_of_somebody(filled, path):
    """Whatever mentions her in any case and spacing goes, a session whole; names that only contain hers stay."""
    gone = await filled.erase_all(ErasureScope(mention=Mention(["anna smith", "anna@acme.org"])))
    left = files(path).lower()

    assert set(gone.sessions) == {("acme", "s1"), ("default", "s1"), ("default", "anna@acme.org")}
    assert [int(trace_id, 16) for trace_id in sorted(gone.traces)] == [1, 2, 3, 5, 7]
    assert b"anna@acme.org" not in left
    assert b"anna smith" not in left
    assert b"wombats" not in left
    assert b"nobody wants kiwis" in left
    assert b"savannah smithers" in left


async def test_of_somebody_at_one_tenant(filled):
    """Another tenant's stay."""
    gone = await filled.erase_all(ErasureScope(tenant="acme", mention=Mention(["anna smith"])))

    assert [int(trace_id, 16) for trace_id in gone.traces] == [3]
    assert (await filled.trace(f"{5:032x}", "default")).findings


async def test_a_trace_that_mentions_beyond_its_content(open_store, path):
    """Where a name stands in what is kept of a trace, such as a note of a stage, the whole trace goes."""
    store = await open_store(keep_content=False)
    await store.settle(said(1, "x", tenant="acme"))
    stage = Stage(name="gather", milliseconds=1.0, note="anna-smith.pdf")
    await store.settle(Settlement(trace=replace(TRACE, id="2" * 32, stages=(stage,))))
    assert b"anna-smith.pdf" in files(path)
    await store.erase_all(ErasureScope(mention=Mention(["anna-smith.pdf"])))

    assert b"anna-smith.pdf" not in files(path)
    assert await store.trace("2" * 32, "default") is None


async def test_tables_that_come(filled, path):
    """What a later schema keeps about requests is counted, found by what it mentions, exported and erased."""
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE ratings (request TEXT REFERENCES requests (id), comment TEXT)")
        other.execute("CREATE TABLE notes (trace_id TEXT, words TEXT)")
        other.execute("INSERT INTO ratings VALUES (?, 'Bob Jones liked it')", (f"{4:032x}",))
        other.execute("INSERT INTO notes VALUES (?, 'as Bob Jones said')", (f"{6:032x}",))
        other.commit()
    bob = ErasureScope(mention=Mention(["Bob Jones"]))
    holdings = await filled.holdings(bob)
    exported = await filled.requests(bob)
    await filled.erase_all(bob)

    assert (len(holdings.traces), holdings.rows) == (2, {"ratings": 1, "notes": 1})
    assert exported[0]["ratings"] == [{"request": f"{4:032x}", "comment": "Bob Jones liked it"}]
    assert [step["producer"] for step in exported[0]["steps"]] == ["router", "reply"]
    assert b"Bob Jones" not in files(path)


async def test_nothing_stays_beyond_its_days(open_store, clock, path):
    """Traces, sessions and their names go after the days of [retention], whatever is kept otherwise; figures stay."""
    store = await open_store(keep_content=True, session_days=1000, content_days=10)
    await store.settle(said(1, "wombats", session="wombat-session"))
    await store.settle(said(2, "quokkas"))
    clock.now += 9 * DAY
    young = said(3, "numbats", session="young")
    await store.settle(replace(young, trace=replace(young.trace, time=clock.now)))
    before = await store.summary()
    assert b"wombat" in files(path)
    clock.now += 2 * DAY
    await store.erase("unknown", "default")  # returns when the writer has looked and written the file anew
    left = files(path)

    assert b"wombat" not in left
    assert b"quokkas" not in left
    assert b"numbats" in left
    assert (await store.summary()).requests == before.requests
    assert await store.trace(f"{2:032x}", "default") is None
    assert len((await store.context("young", "default")).entries) == 1


async def test_a_clock_that_went_wrong_for_a_moment(open_store, clock, path):
    """A day that had not come does not put the next look off until then: what grows old afterwards goes in time."""
    store = await open_store(keep_content=True, content_days=10)
    clock.now += 4_000 * DAY
    await store.erase("unknown", "default")  # returns when the writer has looked
    clock.now -= 4_000 * DAY
    await store.settle(said(1, "wombats", session="s"))
    clock.now += 11 * DAY
    await store.erase("unknown", "default")

    assert b"wombat" not in files(path)
    assert await store.trace(f"{1:032x}", "default") is None


async def test_many_at_once(open_store, path):
    """Settling and erasing side by side, nothing of the erased is left and nothing else is lost."""
    store = await open_store(keep_content=True)
    await asyncio.gather(
        *(store.settle(said(n, f"MARK{n % 7} says so", tenant=f"t{n % 7}", session=f"s{n % 3}")) for n in range(140)),
        *(store.erase_all(ErasureScope(tenant=f"t{n}")) for n in range(3)),
    )
    await asyncio.gather(*(store.erase_all(ErasureScope(tenant=f"t{n}")) for n in range(3)))
    left = files(path)

    assert [n for n in range(7) if f"MARK{n}".encode() in left] == [3, 4, 5, 6]
    assert (await store.summary()).requests == 140


# --- What a mention is ---------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["", "  ", "Al", "a b"[:2]])
def test_too_short(value):
    """A value that would stand in every second text is refused."""
    with pytest.raises(InputError, match="the fewest are 3"):
        Mention([value])


@pytest.mark.parametrize(
    ("value", "text", "found"),
    [
        ("Anna Smith", "so ANNA\n  smith said", True),
        ("Anna Smith", "anna smithers", False),
        ("Anna Smith", "Joanna Smith", False),
        ("straße", "STRASSE 5", True),
        ("ﬁsh", "a FISH", True),
        ("a.b@c.de", "a.b@c.de.", True),
        ("a.b@c.de", "aXb@c.de", False),
        ("+49 170", "(+49  170)", True),
        ("O'Brien", "Mr O\u2019BRIEN\u2019s", True),
        ("Jean-Luc", "jean\u2011luc", True),
        ("M\u00fcller", "Mu\u0308l\u200bler", True),
        ("M\u00fcller", "Muller", False),
    ],
)
def test_what_mentions(value, text, found):
    """Letter case, Unicode forms, spaces and the apostrophe's form do not count; the value is whole, and no pattern."""
    assert Mention([value]).within(text) is found


def test_in_json_and_bytes():
    """Also where JSON escapes it, as a name, as a number, and in the bytes of a file."""
    mention = Mention(["Zoë Müller", "12345"])

    assert mention.within_json('{"a": ["Zo\\u00eb M\\u00fcller"]}')
    assert mention.within_json('{"zoë müller": 1}')
    assert mention.within_json('{"a": 12345}')
    assert mention.within_json("no json, but 12345")
    assert not mention.within_json('{"a": 123456}')
    assert mention.within_bytes(b"\x00plan.md" + "ZOË  Müller".encode() + b"and more")
    assert mention.within_bytes(b'"Zo\\u00eb M\\u00fcller"')
    assert not mention.within_bytes(b"x123456")
    assert mention.within_bytes("Zo\u00eb M\u00fcller".encode("cp1252"))
    assert mention.within_bytes("name\tZo\u00eb M\u00fcller".encode("utf-16"))
    assert not mention.within_bytes(b"Zoe Muller")


@given(st.text(min_size=3).filter(lambda text: len(" ".join(text.casefold().split())) >= 3), st.text(), st.text())
def test_never_missed_in_bytes(value, before, after):
    """Whatever is written as it was given is found in bytes, if it stands alone."""
    try:
        mention = Mention([value])
        content = f"{before} {value} {after}".encode()
    except (InputError, UnicodeEncodeError):
        return
    assert mention.within_bytes(content)
