"""The schema, and the way to it from every earlier one; files that are not ours are left alone."""

import os
import sqlite3
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from coterie.errors import StoreError
from coterie.store.sqlite import APPLICATION_ID, MIGRATIONS, STEPS, SQLiteStore, connect, explain, migrate

from .conftest import settlement

SCHEMA = {
    "entries": "id tenant session time producer label kind content",
    "requests": "id time tenant session label status tokens_in tokens_out milliseconds cpu_seconds joules joules_kind"
    " cost counterfactual_cost tokens_cached joules_low joules_high",
    "sessions": "tenant id used",
    "steps": "request position producer engine tokens_in tokens_out milliseconds cpu_seconds joules joules_kind cost"
    " tokens_cached joules_low joules_high",
    "findings": "request position specialist accepted confidence",
    "decisions": "request position site answered_by method accepted confidence joules cost",
    "feedback": "request key specialist time thumb value comment correct",
    "traces": "request trace",
    "rollups": "span kind start tenant name requests accepted abstained escalated tokens_in tokens_cached tokens_out"
    " unpriced compared compared_unpriced cpu_seconds joules joules_low joules_high joules_measured cost counterfactual"
    " compared_cost",
    "latencies": "span start tenant bucket n",
    "summed": "upto earlier",
    "trainings": "specialist version time seconds cpu_seconds joules joules_kind cost",
    "examples": "id request time tenant label api job template prompt input answer cost milliseconds failed policy "
    "propensity confidence in_scope caller",
    "comparisons": "deployment example time answer confidence accepted in_scope same milliseconds failed",
    "labels": "example origin given_by value time purpose",
    "job_callers": "job caller calls local cost unpriced",
    "trained_on": "example specialist version",
    "flywheel_records": "kind id job time body revision",
    "flywheel_revision": "one revision",
}
INDEXES = {
    "decisions_by_site",
    "examples_by_job",
    "examples_by_request",
    "examples_by_time",
    "comparisons_in_order",
    "comparisons_by_confidence",
    "comparisons_by_example",
    "comparisons_that_differ",
    "feedback_by_time",
    "labels_by_time",
    "records_by_time",
    "entries_by_session",
    "requests_by_session",
    "requests_by_status",
    "requests_by_tenant",
    "sessions_by_tenant",
    "requests_by_time",
    "sessions_by_use",
}


def at_version(path: Path, version: int) -> None:
    """A database as the Coterie of that schema left it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(connect(path, 1.0)) as connection:
        for step in MIGRATIONS[:version]:
            step(connection)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID if version else 0}")
        connection.execute(f"PRAGMA user_version = {version}")


def schema(path: Path) -> tuple[dict[str, str], set[str]]:
    """Columns of every table, and the indexes."""
    with closing(sqlite3.connect(path)) as connection:
        names = connection.execute("SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'").fetchall()
        tables = {
            name: " ".join(column[1] for column in connection.execute(f"PRAGMA table_info({name})"))
            for kind, name in names
            if kind == "table"
        }
    return tables, {name for kind, name in names if kind == "index"}


def test_steps_are_numbered():
    """The name of each step begins with its place in the list, and no number is left out."""
    assert [name[:5] for name in sorted(STEPS)] == [f"m{i + 1:03}_" for i in range(len(MIGRATIONS))]


@pytest.mark.parametrize("version", range(len(MIGRATIONS) + 1))
async def test_every_earlier_schema_becomes_todays(open_store, path, version):
    """From each schema there ever was, opening leads to the expected one, and the store works."""
    at_version(path, version)

    store = await open_store()
    await store.settle(settlement())

    assert schema(path) == (SCHEMA, INDEXES)


def test_rows_survive_a_migration(path):
    """What an earlier schema holds is there after migrating."""
    at_version(path, 1)
    with closing(connect(path, 1.0)) as connection:
        connection.execute(
            "INSERT INTO requests VALUES ('a',1,'t',NULL,'public','accepted',0,0,1,0,0,'measured','0',NULL)"
        )
        migrate(connection)
        assert connection.execute("SELECT id FROM requests").fetchall() == [("a",)]


async def test_calls_of_an_earlier_schema_are_counted(open_store, path):
    """What was captured before calls were added up by caller is in the volumes, and goes from them when it is old."""
    at_version(path, 9)
    with closing(connect(path, 1.0)) as connection:
        for n in range(5):
            values = (
                f"e{n}",
                "r",
                float(n),
                "t",
                "public",
                "",
                "j",
                -1,
                "[]",
                "x",
                "a",
                None if n == 4 else 0.5,
                1.0,
                0,
            )
            policy = "model:large" if n else "d1"
            connection.execute(
                f"INSERT INTO examples VALUES ({', '.join('?' * 19)})", (*values, policy, 1.0, None, None, f"c{n % 2}")
            )

    store = await open_store()
    (volume,) = await store.flywheel.volumes()
    assert (volume.calls, volume.local, volume.cost, volume.unpriced, volume.callers) == (5, 1, 2.0, 1, 2)
    assert await store.flywheel.drop_examples(before=3.0) == 3
    (volume,) = await store.flywheel.volumes()
    assert (volume.calls, volume.local, volume.cost, volume.unpriced, volume.first) == (2, 0, 0.5, 1, 3.0)


def test_failed_step_leaves_the_schema_it_began_with(path, monkeypatch):
    """A step that fails undoes the steps before it; nothing is half migrated."""

    def m003_breaks(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE half (id)")
        raise RuntimeError("step")

    at_version(path, 1)
    monkeypatch.setattr("coterie.store.sqlite.MIGRATIONS", (*MIGRATIONS, m003_breaks))
    with closing(connect(path, 1.0)) as connection:
        with pytest.raises(RuntimeError, match="step"):
            migrate(connection)
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    assert set(schema(path)[0]) == {"requests", "steps", "traces"}


def test_another_process_migrates_between_two_looks(path):
    """Whoever looks at a new file while another process makes the schema sees one moment of it, not a mixture."""
    path.parent.mkdir()
    with closing(connect(path, 1.0)), closing(sqlite3.connect(path, isolation_level=None, factory=Overtaken)) as late:
        migrate(late)

        assert late.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    assert schema(path) == (SCHEMA, INDEXES)


class Overtaken(sqlite3.Connection):
    """Lets another connection make the schema just after it has looked whose the file is."""

    overtaken = False

    def execute(self, statement, *args):
        """As the real one, with the other's work after the first look."""
        result = super().execute(statement, *args)
        if statement == "PRAGMA application_id" and not self.overtaken:
            self.overtaken = True
            path = super().execute("PRAGMA database_list").fetchone()[2]
            with closing(connect(Path(path), 1.0)) as other:
                migrate(other)
        return result


async def test_newer_schema(open_store, path):
    """A file that a newer Coterie wrote is refused with the command that upgrades, and not touched."""
    at_version(path, len(MIGRATIONS))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = path.read_bytes()

    with pytest.raises(StoreError, match="schema 99") as refused:
        await open_store()

    assert "pip install --upgrade coterie" in refused.value.hint
    assert path.read_bytes() == before


@pytest.mark.parametrize("mark", ["", "PRAGMA application_id = 7", "PRAGMA user_version = 1"])
async def test_another_programs_database(open_store, path, mark):
    """A SQLite file with tables of another program is refused, however it is marked, and gets none of ours."""
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (id)")
        connection.execute(mark)

    with pytest.raises(StoreError, match="another program"):
        await open_store()

    assert set(schema(path)[0]) == {"theirs"}


async def test_not_a_database(open_store, path):
    """A file that is no SQLite database is refused and left as it is."""
    path.parent.mkdir()
    path.write_bytes(b"name,amount\n" * 1000)

    with pytest.raises(StoreError, match="not a database") as refused:
        await open_store()

    assert "Move it away" in refused.value.hint
    assert path.read_bytes() == b"name,amount\n" * 1000


async def test_truncated_database(open_store, path):
    """A database cut in the middle of a page is refused, or reads fail, with our error."""
    store = await open_store()
    for i in range(200):
        await store.settle(settlement(f"t{i}"))
    await store.close()
    path.write_bytes(path.read_bytes()[: 4096 * 5 + 100])

    with pytest.raises(StoreError, match=r"malformed|not a database") as refused:
        await read_all(open_store)

    assert "damaged" in refused.value.hint or "no SQLite" in refused.value.hint


async def test_scrambled_database(open_store, path):
    """Pages overwritten with nonsense give our error with a hint, not a wrong answer and not a foreign exception."""
    store = await open_store()
    for i in range(200):
        await store.settle(settlement(f"t{i}"))
    await store.close()
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(bytes(data))

    with pytest.raises(StoreError, match="malformed"):
        await read_all(open_store)


async def test_locked_database(open_store, path):
    """A file that another program is writing opens and is read."""
    at_version(path, len(MIGRATIONS))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert (await (await open_store(busy_seconds=0.0)).summary()).requests == 0
        other.execute("ROLLBACK")


async def test_database_that_another_program_keeps_for_itself(open_store, path):
    """A file locked against readers too is told as locked, and opens once it is free."""
    at_version(path, len(MIGRATIONS))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = exclusive")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked") as refused:
            await open_store(busy_seconds=0.0)
    assert "Another program" in refused.value.hint

    await (await open_store(busy_seconds=0.0)).settle(settlement())


async def test_lock_while_running(open_store, path):
    """A lock held for too long fails the settlements of that time only."""
    store = await open_store(busy_seconds=0.0)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked"):
            await store.settle(settlement("t1"))
        other.execute("ROLLBACK")

    await store.settle(settlement("t2"))

    assert (await store.summary()).requests == 1


async def test_folder_in_the_way(open_store, path):
    """A path that is a folder is told so."""
    path.mkdir(parents=True)

    with pytest.raises(StoreError, match="unable to open") as refused:
        await open_store()

    assert "folder" in refused.value.hint


async def test_file_in_the_way_of_the_folder(open_store, path):
    """A path below a file is told so."""
    path.parent.write_text("a file")

    with pytest.raises(StoreError, match=r"exists|Not a directory"):
        await open_store()


async def test_read_only_database():
    """A file that may be read but not written is refused when it is opened, with what to do."""
    with somebody_else() as folder:
        path = folder / "coterie.db"
        at_version(path, len(MIGRATIONS))
        path.chmod(0o400)
        folder.chmod(0o500)
        with pytest.raises(StoreError, match="readonly") as refused:
            await SQLiteStore.open(path, session_days=1.0, keep_content=False, busy_seconds=0.0)
        folder.chmod(0o700)

    assert "write permission" in refused.value.hint


async def test_read_only_folder():
    """A folder in which no file may be made is told so."""
    with somebody_else() as folder:
        folder.chmod(0o500)
        with pytest.raises(StoreError, match="Permission denied") as refused:
            await SQLiteStore.open(folder / "coterie.db", session_days=1.0, keep_content=False)
        folder.chmod(0o700)

    assert "writable" in refused.value.hint


async def test_reading_where_nothing_can_be_written():
    """Who only reads may read a folder that cannot be written; writing there is refused with what to do."""
    with somebody_else() as folder:
        path = folder / "coterie.db"
        store = await SQLiteStore.open(path, session_days=1.0, keep_content=False)
        await store.settle(settlement())
        await store.close()
        path.chmod(0o400)
        folder.chmod(0o500)
        store = await SQLiteStore.open(path, session_days=1.0, keep_content=False, reading=True)
        requests, rows = (await store.summary()).requests, len((await store.ledger()).rows)
        with pytest.raises(StoreError, match="readonly") as refused:
            await store.settle(settlement())
        await store.close()
        there = sorted(file.name for file in folder.iterdir())
        folder.chmod(0o700)

    assert (requests, rows) == (1, 1)
    assert "write permission" in refused.value.hint
    assert there == ["coterie.db"]


async def test_a_log_that_cannot_be_read_is_said():
    """What was settled last stands in a log that is not folded in: it is never left out unsaid."""
    with somebody_else() as folder:
        path = folder / "coterie.db"
        store = await SQLiteStore.open(path, session_days=1.0, keep_content=False)
        await store.settle(settlement())
        kept = {file.name: file.read_bytes() for file in folder.iterdir() if not file.name.endswith("-shm")}
        await store.close()
        for name, content in kept.items():
            (folder / name).write_bytes(content)
        folder.chmod(0o500)
        with pytest.raises(StoreError, match="write-ahead log"):
            await SQLiteStore.open(path, session_days=1.0, keep_content=False, reading=True)
        folder.chmod(0o700)

    assert "coterie.db-wal" in kept


async def test_an_older_schema_that_cannot_be_changed():
    """A database of an earlier version that cannot be written is refused, with what to do."""
    with somebody_else() as folder:
        path = folder / "coterie.db"
        at_version(path, len(MIGRATIONS) - 1)
        path.chmod(0o400)
        folder.chmod(0o500)
        with pytest.raises(StoreError, match="cannot be written") as refused:
            await SQLiteStore.open(path, session_days=1.0, keep_content=False, reading=True)
        folder.chmod(0o700)

    assert "Open it once" in refused.value.hint


async def test_reading_makes_no_file(tmp_path):
    """Where nothing was ever settled, who reads finds nothing and leaves nothing."""
    path = tmp_path / "state" / "coterie.db"
    store = await SQLiteStore.open(path, session_days=1.0, keep_content=False, reading=True)

    assert (await store.summary()).requests == 0
    assert (await store.context("s", "t")).entries == ()
    await store.close()
    assert not path.parent.exists()


def test_explanations_carry_no_foreign_text(path):
    """An error of a kind we do not know is told by its type alone: its text may repeat what was to be stored."""
    assert "SECRET" not in str(explain(RuntimeError("SECRET"), path))


async def read_all(open_store):
    """Open the store and read every trace the tests above have settled."""
    store = await open_store()
    for i in range(200):
        await store.trace(f"t{i}", "default")


@contextmanager
def somebody_else():
    """A folder of a user for whom file modes count; the administrator, whom they do not bind, becomes nobody."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        if os.geteuid() != 0:
            yield Path(name)
            return
        os.chown(name, 65534, 65534)
        os.seteuid(65534)
        try:
            yield Path(name)
        finally:
            os.seteuid(0)
