"""What is erased is in no file, whatever else is kept; what is not erased is whole."""

import asyncio
import random
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from coterie.errors import InputError, StoreError
from coterie.store.sqlite import SQLiteStore
from coterie.types import Context, Entry, Label, Message, Part, Settlement, worded

from .conftest import DAY, ENTRIES, NOW, REPLY, TRACE, settlement


def mark(number: int) -> str:
    """A word that stands in one session only."""
    return f"MARK{number:03}X"


def turn(session: int, number: int, *, words: int) -> Settlement:
    """A settlement of a session whose every text, and whose name, has its mark."""
    text = f"{mark(session)} said " * words
    entry = Entry(content=Message(role="user", text=text), producer="user", label=Label.INTERNAL, time=NOW)
    trace = replace(
        TRACE,
        id=f"t{session}-{number}",
        session=f"session-{mark(session)}",
        route=replace(TRACE.route, parts=(Part(text=text, stages=(("triage",),), score=0.9),)),
        findings=(replace(REPLY, text=text, value=text, reason=worded(f"it says {text!r}")),),
        rewritten=text,
    )
    return Settlement(trace=trace, entries=(entry, entry))


def files(path: Path) -> bytes:
    """All that the database's files hold."""
    return b"".join(file.read_bytes() for file in path.parent.rglob("*") if file.is_file())


@pytest.mark.parametrize("seed", [1, 2])
async def test_erased_text_is_in_no_file(open_store, path, seed):
    """Sessions that grew side by side leave no text, name or trace of theirs behind, and the others lose nothing.

    With these seeds rows are moved between pages: what they leave behind there, `secure_delete` does not overwrite.
    """
    dice = random.Random(seed)
    store: SQLiteStore = await open_store(keep_content=True)
    turns = [turn(s, n, words=dice.choice([1, 4, 10, 60])) for n in range(8) for s in range(60)]
    dice.shuffle(turns)
    await asyncio.gather(*(store.settle(settled) for settled in turns))
    before = await store.summary()
    erased = dice.sample(range(60), 25)
    assert all(await asyncio.gather(*(store.erase(f"session-{mark(number)}", "default") for number in erased)))

    left = files(path)
    assert [number for number in erased if mark(number).encode() in left] == []
    assert all(mark(number).encode() in left for number in range(60) if number not in erased)
    assert await store.summary() == before
    assert len(await store.sessions("default")) == 35
    kept = next(number for number in range(60) if number not in erased)
    assert len((await store.context(f"session-{mark(kept)}", "default")).entries) == 16


async def test_a_trace_of_an_erased_session(open_store):
    """It keeps figures and steps and loses its texts and its session, although content is kept."""
    store = await open_store(keep_content=True)
    await store.settle(turn(1, 1, words=3))
    await store.erase("session-MARK001X", "default")

    trace = await store.trace("t1-1", "default")

    assert (trace.session, trace.usage, trace.steps) == (None, TRACE.usage, TRACE.steps)
    assert "MARK001X" not in repr(trace)


async def test_one_turn_of_a_session(open_store, path):
    """What one request wrote is erased; the turns beside it, and the session, stay until the last one goes."""
    store = await open_store(keep_content=True)
    first, second = turn(1, 1, words=3), turn(1, 2, words=3)
    said = replace(second.entries[0], content=Message(role="user", text="SECOND"), envelope={"request": "t1-1"})
    ours = replace(second, trace=replace(second.trace, route=TRACE.route, findings=(), rewritten=""))
    await store.settle(replace(first, entries=[replace(entry, request="t1-1") for entry in first.entries]))
    await store.settle(replace(ours, entries=[replace(said, request="t1-2")]))
    (kept,) = [entry for entry in (await store.context("session-MARK001X", "default")).entries if entry.envelope]
    assert (kept.request, dict(kept.envelope)) == ("t1-2", {"request": "t1-1"})

    assert not await store.erase("session-MARK001X", "default", "t9")
    assert not await store.erase("session-MARK001X", "other", "t1-1")
    assert await store.erase("session-MARK001X", "default", "t1-1")

    assert [entry.content.text for entry in (await store.context("session-MARK001X", "default")).entries] == ["SECOND"]
    assert b"MARK001X said" not in files(path)
    assert (await store.trace("t1-1", "default")).session is None
    assert (await store.trace("t1-2", "default")).session == "session-MARK001X"
    assert await store.erase("session-MARK001X", "default", "t1-2")
    assert (await store.sessions("default"), b"SECOND" in files(path)) == ([], False)


async def test_a_trace_that_cannot_be_read(open_store, path):
    """A row that nobody understands is erased whole."""
    store = await open_store(keep_content=True)
    await store.settle(turn(1, 1, words=3))
    with closing(sqlite3.connect(path)) as other:
        other.execute("UPDATE traces SET trace = '[\"MARK001X\"]'")
        other.commit()

    assert await store.erase("session-MARK001X", "default")
    assert b"MARK001X" not in files(path)


async def test_a_session_that_is_asked_again_starts_afresh(open_store):
    """After its erasure a session of the same name knows nothing of the old one."""
    store = await open_store()
    await store.settle(turn(1, 1, words=1))
    await store.erase("session-MARK001X", "default")
    await store.settle(turn(1, 2, words=2))

    assert len((await store.context("session-MARK001X", "default")).entries) == 2


async def test_erased_although_expired(open_store, clock, path):
    """A session that has expired, and whose content traces still keep, can be erased."""
    store = await open_store(keep_content=True, session_days=1)
    await store.settle(turn(1, 1, words=3))
    clock.now += 2 * DAY
    assert await store.sessions("default") == []

    assert await store.erase("session-MARK001X", "default")
    assert b"MARK001X" not in files(path)


async def test_expired_text_is_in_no_file(open_store, clock, path):
    """Sessions that expire are gone from the files too, once the store has looked."""
    store = await open_store(keep_content=False, session_days=1)
    for number in range(40):
        await store.settle(turn(number, 1, words=1 + number))
    clock.now += 2 * DAY
    await store.settle(settlement("late"))
    await store.settle(settlement("later"))  # the writer has maintained after the one before
    await store.close()

    assert b" said " not in files(path)


async def test_a_reader_that_does_not_stop(open_store, path, monkeypatch):
    """While another program reads, the log cannot be emptied: that is said, and the next try succeeds."""
    monkeypatch.setattr("coterie.store.sqlite._PAUSE", 0.0)
    store = await open_store()
    await store.settle(turn(1, 1, words=1))
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM entries").fetchone()
        with pytest.raises(StoreError, match="may still stand"):
            await store.erase("session-MARK001X", "default")
        assert await store.context("session-MARK001X", "default") == Context()
    await store.erase("session-MARK001X", "default")

    assert b"MARK001X" not in files(path)


async def test_names_that_are_no_text(open_store):
    """A name that no database can hold is the caller's mistake."""
    store = await open_store()
    with pytest.raises(InputError):
        await store.erase("\ud800", "default")
    with pytest.raises(InputError):
        await store.sessions("\ud800")


async def test_no_session_is_used_before_it_begins(open_store):
    """What is said stands in a session when the answer ends, and the request began before that."""
    store = await open_store()
    late = tuple(replace(entry, time=NOW + 0.5) for entry in ENTRIES)
    await store.settle(settlement("t1", session="s1", entries=late))
    (summary,) = await store.sessions("default")

    assert summary.began <= summary.used


async def test_the_whole_of_a_long_session(open_store):
    """A context is the newest 2,000 lines; the whole is there for an export."""
    store = await open_store()
    line = turn(1, 1, words=1).entries[0]
    await store.settle(replace(turn(1, 1, words=1), entries=(line,) * 2100))

    assert len((await store.context("session-MARK001X", "default")).entries) == 2000
    assert len((await store.context("session-MARK001X", "default", whole=True)).entries) == 2100
    assert (await store.sessions("default"))[0].entries == 2100
