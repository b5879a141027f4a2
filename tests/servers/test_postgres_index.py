"""The index in PostgreSQL: sharing a database, failures, rights, and what it keeps of odd texts."""

import asyncio
import uuid
from contextlib import asynccontextmanager

import numpy as np
import pytest

from coterie.errors import (
    ArtefactRefused,
    ConfigError,
    DataError,
    IndexBusy,
    InputError,
    NotIndexed,
    StoreError,
    StoreUnavailable,
)
from coterie.knowledge.documents import Chunk, IndexedDocument
from coterie.types import Label

pytest.importorskip("psycopg", reason="needs coterie[postgres]")

import psycopg

from coterie.knowledge.postgres_tables import SearchScope, by_words, look_up

pytestmark = pytest.mark.slow


def document(name, *texts, seed=0, label=Label.INTERNAL, tenant=None, dimension=8):
    """A document with a chunk for each text, and vectors drawn by the seed."""
    body, chunks = "", []
    for text in texts:
        chunks.append(Chunk(start=len(body), end=len(body) + len(text)))
        body += text
    vectors = np.random.default_rng(seed).normal(size=(len(texts), dimension)).astype(np.float32)
    return IndexedDocument(
        name=name,
        sha256=f"{name}{seed}",
        text=body,
        label=label,
        tenant=tenant,
        chunks=tuple(chunks),
        vectors=vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
    )


async def names(index, query, **options):
    """The documents that are found, best first."""
    return [
        passage.document for passage in await index.search(query, **{"k": 10, "clearance": Label.INTERNAL} | options)
    ]


@asynccontextmanager
async def admin(database):
    """A connection past the index."""
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        yield connection


# --- Sharing a database ------------------------------------------------------------------------------


async def test_indexes_and_networks_share_a_database(open_index):
    """What is put in one index is on no other, whether of this network or of another."""
    index, other = await open_index(), await open_index(name="other")
    foreign, same = await open_index(network="bank"), await open_index()
    await foreign.update([])

    await index.update([document("a", "late fee")])
    await other.update([document("b", "late fee")])

    assert [await names(searched, "late fee") for searched in (index, other, foreign, same)] == [
        ["a"],
        ["b"],
        [],
        ["a"],
    ]
    await other.update([], ["a"])
    assert await index.documents() == {"a": "a0"}
    assert await foreign.text("a", 0, 4, clearance=Label.RESTRICTED) is None


async def test_opening_at_once(open_index):
    """Processes that open a new database at the same time make its tables once."""
    indexes = await asyncio.gather(*(open_index(name=f"index{i}") for i in range(5)))

    assert [await index.documents() for index in indexes] == [{}] * 5


async def test_writers_take_turns(open_index):
    """Of two that write at the same time the second waits for the first: one whole version of both stands."""
    indexes = [await open_index() for _ in range(4)]
    await asyncio.gather(
        *(
            index.update([document(name, f"fee {i} {j}", seed=i) for j, name in enumerate("abc")], [f"gone{i}"])
            for i, index in enumerate(indexes)
        )
    )

    assert len({sha256[-1] for sha256 in (await indexes[0].documents()).values()}) == 1
    assert len(await names(indexes[0], "fee")) == 3


async def test_a_writer_waits_no_longer_than_it_may(open_index, database):
    """A writer that waits too long for another's transaction is told so, and that it may try again."""
    index = await open_index()
    await index.update([document("a", "late fee")])
    index._lock_seconds = 0.1
    async with admin(database) as other, other.transaction():
        await other.execute("SELECT * FROM coterie.shelves FOR UPDATE")
        with pytest.raises(IndexBusy, match="lock timeout") as caught:
            await index.update([document("a", "new")])
        assert caught.value.retryable
        assert await names(index, "late fee") == ["a"]  # readers wait for no writer

    await index.update([document("b", "new")])
    assert set(await index.documents()) == {"a", "b"}


async def test_another_encoder_is_refused(open_index, make_encoder):
    """Vectors of another encoder mean nothing here: opening, writing and searching say so and how to go on."""
    newer = await open_index(encoder=make_encoder("b" * 64, 16))
    index = await open_index()
    await index.update([document("a", "late fee")])

    for attempt in (
        open_index(encoder=make_encoder("b" * 64)),
        newer.update([document("b", "x", dimension=16)]),
        newer.search("late fee", k=3, clearance=Label.INTERNAL),
        newer.documents(),
    ):
        with pytest.raises(ArtefactRefused, match="encoder 'aaaaaaaaaaaa'") as caught:
            await attempt
        assert "coterie index help" in caught.value.hint
    assert await index.documents() == {"a": "a0"}


async def test_building_anew(open_index, database, make_encoder):
    """An index of another encoder is built anew where that is asked for, and answers as before until it is there."""
    index = await open_index()
    await index.update([document("a", "late fee"), document("b", "fee", label=Label.RESTRICTED)])
    other = await open_index(name="other")
    await other.update([document("a", "late fee")])

    anew = await open_index(encoder=make_encoder("b" * 64, 16), rebuild=True)
    assert await anew.documents() == {}
    with pytest.raises(NotIndexed, match="'help'"):
        await names(anew, "late fee")
    with pytest.raises(DataError):
        await anew.update([document("c", "late fee", dimension=16), document("d", "late fee", dimension=8)])
    assert await names(index, "late fee") == ["a"]
    await anew.update([document("c", "late fee", dimension=16)])

    assert await names(anew, "late fee") == ["c"]
    with pytest.raises(ArtefactRefused):
        await names(index, "late fee")
    assert await names(other, "late fee") == ["a"]
    async with admin(database) as connection:
        cursor = await connection.execute("SELECT count(*) FROM pg_tables WHERE tablename LIKE 'chunks_%'")
        assert await cursor.fetchone() == (2,)


async def test_asked_while_it_is_built_anew(open_index):
    """Whoever searches while an index is built anew finds the old or the new one."""
    index = await open_index()
    await index.update([document(f"d{i}", "late fee 0", seed=i) for i in range(20)])

    async def build():
        for number in range(1, 6):
            anew = await open_index(rebuild=True)
            await anew.update([document(f"d{i}", f"late fee {number}", seed=i) for i in range(20)])

    building = asyncio.ensure_future(build())
    while not building.done():
        for passages in await asyncio.gather(
            *(index.search("late fee", k=30, clearance=Label.INTERNAL) for _ in range(3))
        ):
            assert len(passages) == 20
            assert len({passage.text for passage in passages}) == 1
    await building


async def test_modes(open_index):
    """Asked for words or for meaning alone, that alone counts."""
    index = await open_index()
    words, meaning = document("words", "late fee", seed=1), document("meaning", "loan", seed=2)
    await index.update([words, meaning])

    async def found(mode):
        return await names(index, "fee", vector=meaning.vectors[0], mode=mode)

    assert await found("keyword") == ["words"]
    assert await found("vector") == ["meaning", "words"]
    assert await found("hybrid") == ["words", "meaning"]
    assert await names(index, "zebra", mode="keyword") == []


async def test_a_newer_schema_is_refused(open_index, database):
    """Tables that a newer Coterie made are left alone."""
    await open_index()
    async with admin(database) as connection:
        await connection.execute("INSERT INTO coterie.migrations VALUES (99)")

    with pytest.raises(StoreError, match="has schema 99"):
        await open_index()


# --- What is counted and ranked ----------------------------------------------------------------------


async def test_counts_stay_true(open_index, database):
    """After any updates, what is counted of words and chunks is what counting anew gives."""
    index = await open_index()
    drawn = np.random.default_rng(7)
    vocabulary = ["fee", "loan", "late", "card", "bank", "'quoted'", "back\\slash", "日本語", "naïve"]
    for step in range(12):
        put = [
            document(
                f"d{drawn.integers(6)}",
                *(" ".join(drawn.choice(vocabulary, size=5)) for _ in range(drawn.integers(3))),
                seed=step,
                label=list(Label)[drawn.integers(4)],
                tenant=[None, "acme"][drawn.integers(2)],
            )
            for _ in range(3)
        ]
        await index.update(put, [f"d{drawn.integers(6)}"])

    async with admin(database) as connection:
        cursor = await connection.execute("SELECT id, chunks FROM coterie.compartments")
        compartments = await cursor.fetchall()
        assert len(compartments) > 4
        for number, chunks in compartments:
            counted = await connection.execute(f"SELECT count(*) FROM coterie.vectors_{number}")
            assert await counted.fetchone() == (chunks,)
            words = await connection.execute(
                f"SELECT lexeme, count(*)::int FROM coterie.chunks_{number}, unnest(words) GROUP BY 1 ORDER BY 1"
            )
            kept = await connection.execute(
                "SELECT word, chunks FROM coterie.words WHERE compartment = %s ORDER BY 1", [number]
            )
            assert sorted(await kept.fetchall()) == sorted(await words.fetchall())


async def test_words_of_an_older_database_are_told_anew(open_index, database):
    """A database whose words the server told itself finds by the words of today when it is opened, and counts them."""
    index = await open_index()
    await index.update([document("a", "Das Caf\u00e9 hat zu."), document("b", "late fee", label=Label.RESTRICTED)])
    async with admin(database) as connection:
        cursor = await connection.execute("SELECT id FROM coterie.compartments")
        for (number,) in await cursor.fetchall():
            await connection.execute(
                f"ALTER TABLE coterie.chunks_{number} DROP COLUMN words, ADD COLUMN words tsvector NOT NULL"
                " GENERATED ALWAYS AS (to_tsvector('pg_catalog.english', heading || ' ' || body)) STORED"
            )
            await connection.execute(f"CREATE INDEX ON coterie.chunks_{number} USING gin (words)")
        await connection.execute("UPDATE coterie.words SET word = word || 'x'")
        await connection.execute("DELETE FROM coterie.migrations WHERE version >= 2")

    newer = await open_index()
    assert await names(newer, "cafe", mode="keyword") == ["a"]
    await newer.update([document("c", "cafes")], ["a"])
    assert await names(newer, "CAF\u00c9", mode="keyword") == ["c"]
    async with admin(database) as connection:
        cursor = await connection.execute("SELECT word, chunks FROM coterie.words ORDER BY 1")
        assert await cursor.fetchall() == [("cafe", 1), ("fee", 1), ("late", 1)]


async def test_rare_words_count_more(open_index):
    """Of words, a rare one decides before one that most chunks have, however often, and twice before once."""
    index = await open_index()
    common = [document(f"common{i}", "the card and the card and the card", seed=i) for i in range(8)]
    await index.update([*common, document("rare", "a deposit", seed=8), document("more", "deposits, deposit", seed=9)])
    caller = SearchScope("shop", "help", Label.INTERNAL, "default")

    async def ask(connection):
        lookup = await look_up(connection, caller, "card deposit")
        return await (await by_words(connection, lookup.compartments, lookup.words, 3)).fetchall()

    hits = await index._read(ask)
    assert [document for _, document, _, _ in hits] == [10, 9, 1]


async def test_many_vectors_have_a_graph(open_index, database):
    """From so many chunks on vectors are found by an HNSW index, also those that come later, and not those that go."""
    index = await open_index()
    index._graph_from = 400
    await index.update([document(f"d{i}", *["x"] * 25, seed=i) for i in range(20)])
    await index.update([document("late", "y", seed=99), document("d3", "z", seed=3)], ["d4"])

    async with admin(database) as connection:
        made = await connection.execute("SELECT count(*) FROM pg_indexes WHERE indexdef LIKE '%USING hnsw%'")
        assert await made.fetchone() == (1,)
    late = document("late", "y", seed=99).vectors[0]
    passages = await index.search("zzz", k=50, clearance=Label.INTERNAL, vector=late)
    assert (passages[0].document, passages[0].text) == ("late", "y")
    assert len(passages) == 50
    assert "d4" not in {passage.document for passage in passages}


# --- Odd texts ---------------------------------------------------------------------------------------


async def test_characters_the_database_cannot_hold(open_index):
    """U+0000 and lone surrogates are kept as U+FFFD, one for one, so that offsets stay."""
    index = await open_index()
    await index.update([document("a", "nul \0 fee", " lone \udcff loan 🎉 end")])

    (second,) = await index.search("loan", k=1, clearance=Label.INTERNAL)
    assert (second.start, second.end, second.text) == (9, 27, " lone \ufffd loan 🎉 end")
    assert await index.text("a", 0, 99, clearance=Label.INTERNAL) == "nul \ufffd fee lone \ufffd loan 🎉 end"


@pytest.mark.parametrize(
    ("bad", "error", "words"),
    [
        (lambda: document("nul\0", "x"), InputError, "no valid Unicode text"),
        (lambda: document("wide", "x", dimension=16), DataError, r"'wide' has vectors of shape \(1, 16\)"),
        (lambda: document(np.random.default_rng(0).bytes(5_000).hex(), "x"), DataError, "index row"),
        (lambda: document("w", " ".join(f"word{i}" for i in range(250_000))), DataError, "too long for tsvector"),
    ],
)
async def test_documents_the_database_cannot_hold(open_index, bad, error, words):
    """A document that does not fit is refused with its reason, and nothing of the update is written."""
    index = await open_index()
    with pytest.raises(error, match=words):
        await index.update([document("good", "late fee"), bad()])

    assert await index.documents() == {}


async def test_a_vector_of_another_length_is_refused(open_index):
    """A query's vector that is none of this index's is the caller's mistake."""
    index = await open_index()
    for vector in (np.ones(5), np.full(8, np.nan)):
        with pytest.raises(InputError, match="8 finite numbers"):
            await index.search("x", k=1, clearance=Label.INTERNAL, vector=vector)


# --- Failures ----------------------------------------------------------------------------------------


async def test_connections_that_were_cut_are_replaced(open_index, database, caplog):
    """After the server ended every connection, whoever asks next is answered."""
    index = await open_index()
    await index.update([document("a", "late fee")])
    await asyncio.gather(*(names(index, "fee") for _ in range(4)))
    async with admin(database) as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    assert await asyncio.gather(*(names(index, "fee") for _ in range(4))) == [["a"]] * 4
    await index.update([document("b", "loan")])
    assert not caplog.records


async def test_a_connection_cut_in_the_middle(open_index, database):
    """An update whose connection is cut is told so as an error that may be tried again, and nothing is written."""
    index = await open_index()
    async with admin(database) as blocker, blocker.transaction():
        await blocker.execute("LOCK TABLE coterie.documents IN ACCESS EXCLUSIVE MODE")
        update = asyncio.ensure_future(index.update([document("a", "late fee")]))
        waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'coterie'"
        async with admin(database) as connection:
            while not (pids := await (await connection.execute(waiting)).fetchall()):
                assert not update.done()
            await connection.execute("SELECT pg_terminate_backend(%s)", pids[0])
        with pytest.raises(StoreUnavailable) as caught:
            await update
    assert caught.value.retryable
    assert await index.documents() == {}


async def test_slow_statements_are_stopped(open_index, database):
    """A search that the server cannot answer in time ends with an error; the event loop goes on meanwhile."""
    index = await open_index(seconds=0.2)
    await index.update([document("a", "late fee")])
    turns = 0

    async def count():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.005)

    counter = asyncio.ensure_future(count())
    async with admin(database) as blocker, blocker.transaction():
        await blocker.execute("LOCK TABLE coterie.compartments IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StoreUnavailable, match="statement timeout") as caught:
            await names(index, "fee")
    counter.cancel()
    assert caught.value.retryable
    assert turns > 3
    assert await names(index, "fee") == ["a"]


async def test_a_search_that_is_given_up(open_index, database):
    """Whoever is gone leaves nothing behind: the index answers the next one."""
    index = await open_index()
    await index.update([document("a", "late fee")])
    async with admin(database) as blocker, blocker.transaction():
        await blocker.execute("LOCK TABLE coterie.compartments IN ACCESS EXCLUSIVE MODE")
        searches = [asyncio.ensure_future(names(index, "fee")) for _ in range(12)]
        done, _ = await asyncio.wait(searches, timeout=0.1)
        assert not done
        for search in searches:
            search.cancel()
        await asyncio.gather(*searches, return_exceptions=True)

    assert await asyncio.gather(*(names(index, "fee") for _ in range(12))) == [["a"]] * 12


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"host": "/nowhere"}, StoreUnavailable),
        ({"host": "127.0.0.1", "port": "1"}, StoreUnavailable),
        ({"password": "hunter2"}, StoreError),
        ({"dbname": "nowhere"}, StoreError),
    ],
)
async def test_a_server_that_cannot_be_used(open_index, database, change, error):
    """The error names database and host, says whether another try makes sense, and has no password in it."""
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    with pytest.raises(error) as caught:
        await open_index(address=make_conninfo(database, **change))

    assert type(caught.value) is error
    assert "Cannot use database" in caught.value.message
    for secret in ("hunter2", conninfo_to_dict(database)["password"]):
        assert secret not in str(caught.value)


async def test_an_address_that_is_none(open_index):
    """What is no address is not repeated: it may be a password."""
    with pytest.raises(ConfigError, match="INDEX_URL holds no address") as caught:
        await open_index(address="hunter2", source="INDEX_URL")

    assert "hunter2" not in str(caught.value)


async def test_closed(open_index):
    """A closed index says so; closing it again does nothing."""
    index = await open_index()
    await index.close()
    await index.close()

    with pytest.raises(StoreError, match="is closed"):
        await index.documents()


async def test_a_database_of_another_encoding(open_index, server):
    """A database that cannot hold all of Unicode is refused, with the statement that makes one that can."""
    from psycopg.conninfo import make_conninfo

    name = f"latin_{uuid.uuid4().hex[:12]}"
    async with admin(server) as connection:
        await connection.execute(f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
        with pytest.raises(StoreError, match="LATIN1"):
            await open_index(address=make_conninfo(server, dbname=name))
        await connection.execute(f"DROP DATABASE {name}")


async def test_rights(open_index, database):
    """Who may only read can search; writing is refused with where to read what is missing."""
    from psycopg.conninfo import make_conninfo

    await (await open_index()).update([document("a", "late fee")])
    reader = f"reader_{uuid.uuid4().hex[:12]}"
    async with admin(database) as connection:
        await connection.execute(f"CREATE ROLE {reader} LOGIN PASSWORD 'r'")
        await connection.execute(f"GRANT USAGE ON SCHEMA coterie TO {reader}")
        await connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA coterie TO {reader}")
        index = await open_index(address=make_conninfo(database, user=reader, password="r"))

        assert await names(index, "late fee") == ["a"]
        with pytest.raises(StoreError, match="permission denied") as caught:
            await index.update([document("b", "x")])
        assert not caught.value.retryable
        assert "docs/how-to/use-postgresql.md" in caught.value.hint
        await connection.execute(f"DROP OWNED BY {reader}")
        await connection.execute(f"DROP ROLE {reader}")
