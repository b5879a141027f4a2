"""Connections to the SQLite file, explanations of its errors for the user, and the schema of every database."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote

from coterie.errors import StoreError
from coterie.store.rollups import create_mark, create_tables
from coterie.store.statements import DatabaseConnection

Connect = Callable[[Path, float], sqlite3.Connection]
"""A function that opens the file and waits so many seconds for another process's lock; tests pass a failing one."""

_WAL_BYTES = 16 * 1024 * 1024
"""Size to which the write-ahead log is truncated after a checkpoint."""
_WAL_PAGES = 4_000
"""Pages in the log after which a checkpoint runs.

A commit waits some milliseconds for a checkpoint. With SQLite's own 1,000 pages, one request in a hundred waited.
"""

_STATEMENTS = 512
"""Prepared statements of a connection: insertions of several rows need one for each number of rows."""

_HINTS = {
    "SQLITE_NOTADB": "It is no SQLite file. Move it away to start a new one, or change `path` under [store].",
    "SQLITE_CORRUPT": "It is damaged. Restore a copy or try `sqlite3 FILE .recover`; moving it away starts a new one.",
    "SQLITE_BUSY": "Another program has locked it. Close that program (a database browser, a backup) and try again.",
    "SQLITE_LOCKED": "Another program has locked it. Close that program and try again.",
    "SQLITE_READONLY": "It cannot be written. Give this user write permission to the file and its folder.",
    "SQLITE_CANTOPEN": "Check that the folder exists, is writable, and that the path is no folder itself.",
    "SQLITE_PERM": "Give this user permission to read and write the file and its folder.",
    "SQLITE_FULL": "The disk is full. Free some space; what was settled before is safe.",
    "SQLITE_IOERR": "The disk reported an error. Check its health and free space; what was settled before is safe.",
}

_PAUSE = 0.01  # seconds between two tries to get a file that others are opening


def connect(path: Path, busy_seconds: float) -> sqlite3.Connection:
    """Open a connection with our settings: write-ahead log, an fsync at every commit, deleted content overwritten.

    Transactions are begun and ended by hand. The connection must be used and closed in the thread that opens it.
    """
    _create_private(path)
    connection = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None, cached_statements=_STATEMENTS)
    try:
        _configure(connection, busy_seconds)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_for_reading(path: Path, busy_seconds: float) -> sqlite3.Connection:
    """Open a connection to a file that this process may not write, in a folder where it may not create files either.

    SQLite reads a write-ahead log only if it may create an index of the log, or finds one. Without a log, or with an
    empty one, the file is complete: it is read as immutable.

    Raises:
        StoreError: there is a log that cannot be read this way; the newest settlements would be missing.
    """
    address = f"file:{quote(str(path.absolute()))}"
    log = path.with_name(f"{path.name}-wal")
    still = not log.exists() or not log.stat().st_size
    try:
        connection = sqlite3.connect(
            f"{address}?{'immutable=1' if still else 'mode=ro'}", uri=True, timeout=busy_seconds, isolation_level=None
        )
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        if still:
            raise
        raise StoreError(
            f"The database {str(path)!r} has a write-ahead log, which cannot be read where nothing can be written.",
            hint="Copy the database and the files beside it to a folder that can be written.",
        ) from error
    connection.execute("PRAGMA trusted_schema = off")
    return connection


def connect_to_nothing(name: str, busy_seconds: float) -> sqlite3.Connection:
    """Open a connection to an empty database in memory, which all connections of this name share."""
    address = f"file:{name}?mode=memory&cache=shared"
    return sqlite3.connect(address, uri=True, timeout=busy_seconds, isolation_level=None)


def is_writable(path: Path) -> bool:
    """Return whether this process may write a file and create others beside it, as SQLite does."""
    effective = os.access in os.supports_effective_ids
    return all(os.access(file, os.W_OK, effective_ids=effective) for file in (path, path.parent))


def _configure(connection: sqlite3.Connection, busy_seconds: float) -> None:
    mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    if mode != "wal":
        mode = _begin_log(connection, busy_seconds)
    if mode != "wal":
        raise StoreError(
            f"The database needs a write-ahead log; its file system offers journal mode {mode!r} only.",
            hint="Put the file on a local disk: change `path` under [store].",
        )
    connection.execute("PRAGMA synchronous = full")
    connection.execute("PRAGMA foreign_keys = on")
    connection.execute("PRAGMA secure_delete = on")
    connection.execute("PRAGMA trusted_schema = off")
    connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")


def _begin_log(connection: sqlite3.Connection, busy_seconds: float) -> str:
    """Switch to a write-ahead log, and return the journal mode after that.

    Two processes that open a new file at the same time both need an exclusive lock. SQLite refuses one of them without
    waiting, as waiting for each other could last forever.
    """
    end = time.monotonic() + busy_seconds
    while True:
        try:
            return str(connection.execute("PRAGMA journal_mode = wal").fetchone()[0])
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorname", "") != "SQLITE_BUSY" or time.monotonic() > end:
                raise
            time.sleep(_PAUSE)


def check_writable(connection: sqlite3.Connection) -> None:
    """Raise the error of a first write. A lock that another process holds just now raises nothing."""
    patience = set_patience(connection, 0)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorname", "") != "SQLITE_BUSY":
            raise
    finally:
        set_patience(connection, patience)


def set_patience(connection: DatabaseConnection, milliseconds: int) -> int:
    """Set how long to wait for another process's lock, in milliseconds, and return the previous value."""
    before = int(connection.execute("PRAGMA busy_timeout").fetchone()[0])
    connection.execute(f"PRAGMA busy_timeout = {milliseconds}")
    return before


def sync_log(path: Path) -> None:
    """Bring the write-ahead log of a database to the disk. There is no log after a checkpoint, which syncs it."""
    try:
        log = os.open(path.with_name(f"{path.name}-wal"), os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        os.fsync(log)
    finally:
        os.close(log)


def _create_private(path: Path) -> None:
    """Create folder and file readable by this user only; SQLite gives its side files the same mode."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def explain(error: Exception, path: Path) -> StoreError:
    """Return a `StoreError` that says what went wrong with the file and how to fix it, without any of its content.

    Args:
        error: The error of the library or the file system; a `StoreError` is passed through.
        path: The database.
    """
    if isinstance(error, StoreError):
        return StoreError(error.message, hint=error.hint)
    if isinstance(error, sqlite3.Error):
        name = getattr(error, "sqlite_errorname", None) or type(error).__name__
        hint = next((hint for code, hint in _HINTS.items() if name.startswith(code)), "")
        return StoreError(f"Cannot use the database {str(path)!r}: {error} ({name}).", hint=hint)
    if isinstance(error, OSError):
        hint = "Check that the folder exists and is writable; `path` under [store] names the file."
        return StoreError(f"Cannot use the database {str(path)!r}: {error.strerror or error}.", hint=hint)
    return StoreError(f"Cannot use the database {str(path)!r}: {type(error).__name__}.")


# --- Migrations.

APPLICATION_ID = 0x436F7465
"""Identifies a file as ours: "Cote"."""


def m008_read_models(connection: DatabaseConnection) -> None:
    """Create the ledger by hour and day, and the indexes of the pages of requests and sessions."""
    create_tables(connection)


def _step(file: Path) -> Callable[[DatabaseConnection], None]:
    """Return a step that runs the statements of a file, in order."""
    lines = (line for line in file.read_text(encoding="utf-8").splitlines(keepends=True) if not line.startswith("--"))
    statements = [statement for piece in "".join(lines).split(";\n") if (statement := piece.strip())]

    def take(connection: DatabaseConnection) -> None:
        for statement in statements:
            connection.execute(statement)

    return take


def m013_sums_follow(connection: DatabaseConnection) -> None:
    """Let the sums of a file follow its settlements, with a mark that says how far they are."""
    create_mark(connection)


STEPS: Mapping[str, Callable[[DatabaseConnection], None]] = {
    migration.__name__: migration for migration in (m008_read_models, m013_sums_follow)
} | {f"m{file.stem}": _step(file) for file in Path(__file__).with_name("migrations").glob("*.sql")}
"""Every migration step by name: the files of `migrations`, and the steps that are code."""
MIGRATIONS: tuple[Callable[[DatabaseConnection], None], ...] = tuple(STEPS[name] for name in sorted(STEPS))
"""All migrations, in order."""


def migrate(connection: DatabaseConnection) -> None:
    """Run the steps that a database still lacks, all in one transaction.

    Raises:
        StoreError: the database belongs to another program or to a newer Coterie.
    """
    connection.execute("BEGIN")
    try:
        if _version(connection) == len(MIGRATIONS):
            return
    finally:
        connection.execute("ROLLBACK")
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Look again: another process may have migrated while this one waited for the lock.
        for step in MIGRATIONS[_version(connection) :]:
            step(connection)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def check_current(connection: DatabaseConnection) -> None:
    """Check that a read-only database has all steps. Raises `StoreError` unless it has."""
    if (version := _version(connection)) < len(MIGRATIONS):
        raise StoreError(
            f"The database has schema {version} and cannot be written; this Coterie reads schema {len(MIGRATIONS)}.",
            hint="Open it once where it can be written: any command that reads it brings it up to date.",
        )


def _version(connection: DatabaseConnection) -> int:
    """Return the number of steps that the database has taken, after checking that it is ours.

    Call it in a transaction: it reads several times, and all reads must be of the same moment.
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    owner = int(connection.execute("PRAGMA application_id").fetchone()[0])
    tables = int(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    if owner != APPLICATION_ID and (owner or version or tables):
        raise StoreError(
            f"The database belongs to another program: application id {owner}, {tables} tables and indexes.",
            hint="Choose another `path` under [store].",
        )
    check_known(version)
    return version


def check_known(version: int) -> None:
    """Check the version of a schema. Raises `StoreError` for a schema that a newer Coterie made."""
    if version > len(MIGRATIONS):
        raise StoreError(
            f"The database has schema {version}; this Coterie knows schemas up to {len(MIGRATIONS)}.",
            hint="A newer Coterie wrote it. Upgrade: pip install --upgrade coterie",
        )
