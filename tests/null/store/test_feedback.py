"""What callers say of answers: kept beside the trace, the last word counts, gone with the session."""

import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from coterie.errors import InputError
from coterie.types import Feedback

from .conftest import NOW, TRIAGE, settlement

SAID = Feedback(trace_id="t1", time=NOW, thumb="up")


def rows(path):
    """The whole table."""
    with closing(sqlite3.connect(path)) as connection:
        names = "request, key, specialist, thumb, value, comment, correct"
        return connection.execute(f"SELECT {names} FROM feedback ORDER BY 1, 2, 3").fetchall()


async def test_the_last_word_of_each_caller_counts(open_store, path):
    """One row a caller and finding; another key's, and another finding's, stand beside it."""
    store = await open_store()
    await store.settle(settlement("t1"))
    for feedback in (
        SAID,
        replace(SAID, thumb="down", comment="it was stolen"),
        replace(SAID, key="k2"),
        replace(SAID, specialist="triage"),
    ):
        assert await store.feedback(feedback)
    assert rows(path) == [
        ("t1", "", "", "down", None, "it was stolen", 0),
        ("t1", "", "triage", "up", None, "", 1),
        ("t1", "k2", "", "up", None, "", 1),
    ]


@pytest.mark.parametrize(
    ("said", "correct"),
    [
        (replace(SAID, thumb="down"), 0),
        (replace(SAID, thumb="up", value="card_stolen"), 1),
        (replace(SAID, thumb=None, value="card_lost"), 1),
        (replace(SAID, thumb=None, value=("card_lost",)), 1),
        (replace(SAID, thumb=None, value=("card_lost", "card_stolen")), 0),
        (replace(SAID, thumb=None, value="card_stolen"), 0),
        (replace(SAID, thumb=None, value="card_lost", specialist="reply"), 0),
        (replace(SAID, thumb=None, comment="hm"), None),
    ],
)
async def test_what_it_means(open_store, path, said, correct):
    """A thumb decides; a value alone means right if it was found, and wrong if not; a comment says nothing of that."""
    store = await open_store()
    await store.settle(settlement("t1"))
    await store.feedback(said)
    assert rows(path)[0][-1] == correct


@pytest.mark.parametrize(("found", "said"), [(("a", "b"), ("b", "a")), (("a",), "a")])
async def test_several_labels(open_store, path, found, said):
    """Several labels are compared as a whole, in no order; one of one is the label."""
    store = await open_store()
    await store.settle(settlement("t1", findings=(replace(TRIAGE, value=found),)))
    await store.feedback(replace(SAID, thumb=None, value=said))
    assert rows(path)[0][-1] == 1


async def test_nothing_of_a_stranger(open_store, path):
    """Another tenant's trace and one that never was are the same: nothing is kept."""
    store = await open_store()
    await store.settle(settlement("t1", tenant="acme"))
    assert not await store.feedback(SAID)
    assert not await store.feedback(replace(SAID, trace_id="t2"))
    assert rows(path) == []


async def test_about_nobody(open_store, path):
    """Feedback about a specialist that found nothing is refused, and nothing is kept."""
    store = await open_store()
    await store.settle(settlement("t1"))
    with pytest.raises(InputError, match="'clauses'; for this request \\['reply', 'triage'\\]"):
        await store.feedback(replace(SAID, specialist="clauses"))
    assert rows(path) == []


async def test_opinions_of_a_time(open_store):
    """Who said what is right of a specialist's answers, oldest first: not of others, nor of before."""
    store = await open_store()
    for trace, tenant in (("t1", "default"), ("t2", "default"), ("t3", "acme")):
        await store.settle(settlement(trace, tenant=tenant))
    for feedback in (
        replace(SAID, key="k2", time=NOW + 9),
        replace(SAID, key="k1", time=NOW + 5, thumb=None, value="card_stolen"),
        replace(SAID, key="k1", time=NOW + 7, specialist="triage", thumb="down"),
        replace(SAID, key="k1", time=NOW + 8, specialist="reply"),
        replace(SAID, trace_id="t2", time=NOW + 6, thumb=None, comment="hm"),
        replace(SAID, trace_id="t2", key="k3", time=NOW - 1),
        replace(SAID, trace_id="t3", tenant="acme", time=NOW + 6),
    ):
        assert await store.feedback(feedback)
    opinions = await store.opinions("triage", "default", since=NOW)
    assert [tuple(opinion) for opinion in opinions] == [
        ("t1", "k1", '"card_stolen"', 0),
        ("t1", "k1", None, 0),
        ("t1", "k2", None, 1),
    ]


async def test_erased_with_the_session(open_store, path):
    """Erasing a session takes what was said of its answers, and nothing of others."""
    store = await open_store()
    await store.settle(settlement("t1", session="s"))
    await store.settle(settlement("t2"))
    await store.feedback(replace(SAID, comment="SECRETWORD"))
    await store.feedback(replace(SAID, trace_id="t2"))
    assert await store.erase("s", "default")
    assert [row[0] for row in rows(path)] == ["t2"]
    await store.close()
    assert b"SECRETWORD" not in b"".join(file.read_bytes() for file in path.parent.iterdir())


async def test_chosen_requests_come_with_what_was_said(open_store):
    """Those that are chosen, of every tenant, within the time, oldest first; only the words of the keys asked for."""
    store = await open_store()
    for number, tenant in enumerate(["default", "acme", "default", "default"]):
        await store.settle(settlement(f"t{number}", tenant=tenant, time=NOW + number))
    await store.feedback(replace(SAID, trace_id="t0", value=("card_lost",), thumb=None))
    await store.feedback(replace(SAID, trace_id="t1", tenant="acme", key="k1", thumb="down", specialist="triage"))
    await store.feedback(replace(SAID, trace_id="t1", tenant="acme", key="k2", time=NOW + 5))

    chosen = await store.chosen(lambda request: request != "t2", since=NOW, until=NOW + 3)
    assert [trace.id for trace, _ in chosen] == ["t0", "t1"]
    assert chosen[0][1][0].value == ("card_lost",)
    assert [word.key for word in chosen[1][1]] == ["k1", "k2"]
    limited = await store.chosen(lambda request: True, since=NOW + 1, until=NOW + 2, keys=["k2"])
    assert [word.thumb for _, words in limited for word in words] == ["up"]


async def test_complaints_are_counted_beside_what_was_to_be_expected(open_store):
    """Complaints about a finding, or about the whole answer, beside the sum of its doubts; praise is no complaint."""
    store = await open_store()
    for number in range(4):
        await store.settle(settlement(f"t{number}"))
    await store.feedback(replace(SAID, trace_id="t0", thumb="down"))
    await store.feedback(replace(SAID, trace_id="t1", thumb="down", specialist="triage"))
    await store.feedback(replace(SAID, trace_id="t2"))

    complaints = (await store.complaints(since=0.0, until=NOW + 1))["triage"]
    assert (complaints.answers, complaints.wrong) == (4, 2)
    assert complaints.expected == pytest.approx(4 * (1 - TRIAGE.confidence))
    assert complaints.alarm == (complaints.expected + 1.645 * complaints.variance**0.5 < 2)
    assert await store.complaints(since=NOW + 1, until=NOW + 2) == {}
