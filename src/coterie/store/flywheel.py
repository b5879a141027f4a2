"""The flywheel's tables: examples, comparisons, labels, and records that are changed as a whole.

Nothing here knows what a deployment is. Records are written with the revision that the writer saw, several of them in
one transaction, so of two writers one is refused and a killed process leaves nothing half done. The statements are
those that SQLite and PostgreSQL have in common, with `?` for a value.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar, cast

from coterie.errors import StoreError
from coterie.runtime.codec import parse_json
from coterie.types import (
    AnsweredCall,
    CapturedExample,
    ComparedAnswer,
    FlywheelChanged,
    FlywheelRecord,
    GivenLabel,
    JobVolume,
    Label,
)

T = TypeVar("T")


Connection = Any
"""A connection, inside a transaction of whoever calls: `execute` gives a cursor with `fetchone`, `fetchall` and
`rowcount`. Each driver types it in its own way."""

TABLES = (
    """
    CREATE TABLE examples (
        id TEXT PRIMARY KEY,
        request TEXT NOT NULL,
        time DOUBLE PRECISION NOT NULL,
        tenant TEXT NOT NULL,
        label TEXT NOT NULL,
        api TEXT NOT NULL,
        job TEXT NOT NULL,
        template INTEGER NOT NULL,
        prompt TEXT NOT NULL,
        input TEXT NOT NULL,
        answer TEXT NOT NULL,
        cost DOUBLE PRECISION,
        milliseconds DOUBLE PRECISION NOT NULL,
        failed INTEGER NOT NULL,
        policy TEXT NOT NULL,
        propensity DOUBLE PRECISION NOT NULL,
        confidence DOUBLE PRECISION,
        in_scope DOUBLE PRECISION,
        caller TEXT NOT NULL
    )
    """,
    "CREATE INDEX examples_by_job ON examples (job, time, id)",
    "CREATE INDEX examples_by_request ON examples (request)",
    "CREATE INDEX examples_by_time ON examples (time)",
    """
    CREATE TABLE comparisons (
        deployment TEXT NOT NULL,
        example TEXT NOT NULL,
        time DOUBLE PRECISION NOT NULL,
        answer TEXT NOT NULL,
        confidence DOUBLE PRECISION NOT NULL,
        accepted INTEGER NOT NULL,
        in_scope DOUBLE PRECISION,
        same INTEGER NOT NULL,
        milliseconds DOUBLE PRECISION NOT NULL,
        failed INTEGER NOT NULL,
        PRIMARY KEY (deployment, example)
    )
    """,
    "CREATE INDEX comparisons_in_order ON comparisons (deployment, time, example)",
    "CREATE INDEX comparisons_by_example ON comparisons (example)",
    """
    CREATE TABLE labels (
        example TEXT NOT NULL,
        origin TEXT NOT NULL,
        given_by TEXT NOT NULL,
        value TEXT,
        time DOUBLE PRECISION NOT NULL,
        purpose TEXT NOT NULL,
        PRIMARY KEY (example, origin, given_by)
    )
    """,
    """
    CREATE TABLE trained_on (
        example TEXT NOT NULL,
        specialist TEXT NOT NULL,
        version TEXT NOT NULL,
        PRIMARY KEY (example, specialist, version)
    )
    """,
    """
    CREATE TABLE flywheel_records (
        kind TEXT NOT NULL,
        id TEXT NOT NULL,
        job TEXT NOT NULL,
        time DOUBLE PRECISION NOT NULL,
        body TEXT NOT NULL,
        revision INTEGER NOT NULL,
        PRIMARY KEY (kind, id)
    )
    """,
    "CREATE TABLE flywheel_revision (one INTEGER PRIMARY KEY, revision INTEGER NOT NULL)",
    "INSERT INTO flywheel_revision VALUES (1, 0)",
)
"""Every table and index, in order."""

_EXAMPLE = tuple(each.name for each in fields(CapturedExample))
_COMPARISON = tuple(each.name for each in fields(ComparedAnswer))
_WITHOUT_TEXTS = {"prompt": "'[]'", "input": "''"}
_ABOUT_EXAMPLES = ("comparisons", "labels", "trained_on")
_MARKS = 400
"""Values of one `IN (...)`."""


@dataclass(frozen=True, kw_only=True)
class FlywheelTables:
    """Implements `protocols.FlywheelStore` on any database.

    Args:
        write: Does work inside a transaction of its own; returns once it is committed.
        read: Reads one state of the database.
    """

    write: Callable[[Callable[[Any], None]], Awaitable[None]]
    read: Callable[[Callable[[Any], Any]], Awaitable[Any]]

    async def _written(self, work: Callable[[Connection], T]) -> T:
        found: list[T] = []

        def noted(connection: Connection) -> None:
            found[:] = [work(connection)]

        try:
            await self.write(noted)
        except StoreError as error:
            if isinstance(error.__cause__, FlywheelChanged):
                raise error.__cause__ from None
            raise
        return found[0]

    async def _read(self, query: Callable[[Connection], T]) -> T:
        return cast("T", await self.read(query))

    # --- examples --------------------------------------------------------------------------------

    async def add_examples(
        self, examples: Sequence[CapturedExample], comparisons: Sequence[ComparedAnswer] = ()
    ) -> None:
        """Add them, and what was compared about them; one that is there already stays as it is."""

        def work(connection: Connection) -> None:
            for each in examples:
                _insert(connection, "examples", _EXAMPLE, _example_row(each))
            _insert_comparisons(connection, comparisons)

        await self._written(work)

    async def examples(
        self, *, job: str | None = None, after: tuple[float, str] = (-1.0, ""), limit: int = 10_000
    ) -> list[CapturedExample]:
        """Return the next examples behind a place, oldest first; of one job, "" being those of none."""
        named = "" if job is None else "job = ? AND "
        statement = (
            f"SELECT {', '.join(_EXAMPLE)} FROM examples WHERE {named}(time > ? OR (time = ? AND id > ?)) "  # noqa: S608
            "ORDER BY time, id LIMIT ?"
        )
        values = (*(() if job is None else (job,)), after[0], after[0], after[1], limit)
        return await self._read(lambda c: [_example(row) for row in c.execute(statement, values).fetchall()])

    async def newest(self, *, job: str | None = None, limit: int = 10_000, texts: bool = True) -> list[CapturedExample]:
        """Return the newest examples, oldest first; without texts prompt and input are empty."""
        named = "" if job is None else "WHERE job = ? "
        columns = ", ".join(name if texts else _WITHOUT_TEXTS.get(name, name) for name in _EXAMPLE)
        statement = f"SELECT {columns} FROM examples {named}ORDER BY time DESC, id DESC LIMIT ?"  # noqa: S608
        values = (limit,) if job is None else (job, limit)
        return await self._read(lambda c: [_example(row) for row in reversed(c.execute(statement, values).fetchall())])

    async def examples_of(self, ids: Sequence[str]) -> dict[str, CapturedExample]:
        """Return those of the ids that are there."""
        columns = ", ".join(_EXAMPLE)

        def query(connection: Connection) -> dict[str, CapturedExample]:
            rows = _each(connection, f"SELECT {columns} FROM examples WHERE id IN", ids)  # noqa: S608 - our names
            return {found.id: found for found in map(_example, rows)}

        return await self._read(query)

    async def assign(self, homes: Sequence[tuple[str, str, int, str]]) -> None:
        """Say of examples, by id, which job they belong to, by which wording, and what their input is."""

        def work(connection: Connection) -> None:
            for example, job, template, text in homes:
                connection.execute(
                    "UPDATE examples SET job = ?, template = ?, input = ? WHERE id = ?", (job, template, text, example)
                )

        await self._written(work)

    async def volumes(self, *, since: float = 0.0) -> list[JobVolume]:
        """Return how much was asked of each job from a time on; the job "" is what belongs to none."""
        statement = (
            "SELECT job, count(*), sum(CASE WHEN policy LIKE 'model:%' THEN 0 ELSE 1 END), sum(coalesce(cost, 0)), "
            "sum(CASE WHEN cost IS NULL THEN 1 ELSE 0 END), count(DISTINCT caller), min(time), max(time) "
            "FROM examples WHERE time >= ? GROUP BY job ORDER BY count(*) DESC"
        )
        return await self._read(
            lambda c: [
                JobVolume(
                    job=row[0],
                    calls=row[1],
                    local=int(row[2]),
                    cost=float(row[3]),
                    unpriced=int(row[4]),
                    callers=row[5],
                    first=row[6],
                    last=row[7],
                )
                for row in c.execute(statement, (since,)).fetchall()
            ]
        )

    async def drop_examples(self, *, before: float) -> int:
        """Delete examples that are older, with all that is about them; return how many."""
        return await self._written(lambda c: drop_examples(c, "time < ?", (before,)))

    # --- comparisons and labels ------------------------------------------------------------------

    async def comparisons(
        self, deployment: str, *, after: tuple[float, str] = (-1.0, ""), limit: int = 100_000
    ) -> list[ComparedAnswer]:
        """Return the next comparisons of a deployment behind a place, oldest first."""
        statement = (
            f"SELECT {', '.join(_COMPARISON)} FROM comparisons WHERE deployment = ? "  # noqa: S608 - our names
            "AND (time > ? OR (time = ? AND example > ?)) ORDER BY time, example LIMIT ?"
        )
        values = (deployment, after[0], after[0], after[1], limit)
        return await self._read(lambda c: [_comparison(row) for row in c.execute(statement, values).fetchall()])

    async def answered(self, job: str, *, limit: int) -> list[AnsweredCall]:
        """Return the newest calls of a job, oldest first, as far as a sample is drawn by them."""
        statement = "SELECT id, answer, failed, policy FROM examples WHERE job = ? ORDER BY time DESC, id DESC LIMIT ?"

        def query(connection: Connection) -> list[AnsweredCall]:
            rows = connection.execute(statement, (job, limit)).fetchall()
            return [
                AnsweredCall(example, answer, bool(failed), bool(policy) and not policy.startswith("model:"))
                for example, answer, failed, policy in reversed(rows)
            ]

        return await self._read(query)

    async def differences(self, deployment: str, *, limit: int = 500) -> list[ComparedAnswer]:
        """Return accepted answers of a deployment that differ and that no person labelled, oldest first."""
        return await self._accepted(deployment, same=0, order="c.time, c.example", limit=limit)

    async def unsure(self, deployment: str, *, limit: int = 100) -> list[ComparedAnswer]:
        """Return accepted answers that do not differ and that no person labelled, the least sure first."""
        return await self._accepted(deployment, same=1, order="c.confidence, c.example", limit=limit)

    async def _accepted(self, deployment: str, *, same: int, order: str, limit: int) -> list[ComparedAnswer]:
        columns = ", ".join(f"c.{name}" for name in _COMPARISON)
        statement = (
            f"SELECT {columns} FROM comparisons c WHERE c.deployment = ? AND c.accepted = 1 AND c.failed = 0 "  # noqa: S608 - our names
            "AND c.same = ? AND NOT EXISTS "
            "(SELECT 1 FROM labels l WHERE l.example = c.example AND l.origin = 'person') "
            f"ORDER BY {order} LIMIT ?"
        )
        values = (deployment, same, limit)
        return await self._read(lambda c: [_comparison(row) for row in c.execute(statement, values).fetchall()])

    async def coverage(self, deployment: str) -> tuple[int, int]:
        """Return how many calls were compared, and how many of them the deployment would have answered."""
        statement = "SELECT count(*), coalesce(sum(accepted), 0) FROM comparisons WHERE deployment = ?"

        def query(connection: Connection) -> tuple[int, int]:
            compared, accepted = connection.execute(statement, (deployment,)).fetchone()
            return int(compared), int(accepted)

        return await self._read(query)

    async def put_label(self, label: GivenLabel) -> bool:
        """Keep a label in place of what the same person said before; False if the example is gone."""

        def work(connection: Connection) -> bool:
            if connection.execute("SELECT 1 FROM examples WHERE id = ?", (label.example,)).fetchone() is None:
                return False
            values = (label.example, label.origin, label.by, label.value, label.time, label.purpose)
            connection.execute(
                "INSERT INTO labels (example, origin, given_by, value, time, purpose) VALUES (?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (example, origin, given_by) DO UPDATE SET value = excluded.value, time = excluded.time, "
                "purpose = excluded.purpose",
                values,
            )
            return True

        return await self._written(work)

    async def drop_label(self, label: GivenLabel) -> bool:
        """Take a label back; False if it is not there."""
        statement = "DELETE FROM labels WHERE example = ? AND origin = ? AND given_by = ?"
        values = (label.example, label.origin, label.by)
        return await self._written(lambda c: c.execute(statement, values).rowcount > 0)

    async def labels(self, *, job: str | None = None, since: float = 0.0, feedback: bool = True) -> list[GivenLabel]:
        """Return what people, and feedback if it is wanted, say of examples, oldest first."""
        named = "" if job is None else "e.job = ? AND "
        statement = (
            "SELECT l.example, l.origin, l.given_by, l.value, l.time, l.purpose FROM labels l "  # noqa: S608 - our names
            f"JOIN examples e ON e.id = l.example WHERE {named}l.time >= ? ORDER BY l.time, l.example"
        )
        said = (
            "SELECT e.id, 'feedback', f.key, f.value, f.time, '' FROM feedback f "  # noqa: S608 - our names
            f"JOIN examples e ON e.request = f.request WHERE {named}f.time >= ? AND f.value IS NOT NULL "
            "ORDER BY f.time, e.id"
        )
        values = (since,) if job is None else (job, since)

        def query(connection: Connection) -> list[GivenLabel]:
            found = [_label(row) for row in connection.execute(statement, values).fetchall()]
            spoken = [_label(row) for row in connection.execute(said, values).fetchall()] if feedback else []
            return [*found, *(replace(each, value=_plain(each.value)) for each in spoken)]

        return await self._read(query)

    async def complaints(self, *, since: float = 0.0) -> dict[str, int]:
        """Return how many answers of each policy were called wrong by whoever asked."""
        statement = (
            "SELECT e.policy, count(DISTINCT e.id) FROM feedback f JOIN examples e ON e.request = f.request "
            "WHERE e.time >= ? AND f.thumb = 'down' GROUP BY e.policy"
        )
        return await self._read(lambda c: {row[0]: row[1] for row in c.execute(statement, (since,)).fetchall()})

    # --- what versions saw -----------------------------------------------------------------------

    async def note_training(self, specialist: str, version: str, examples: Sequence[str]) -> None:
        """Write down whose examples a version saw."""

        def work(connection: Connection) -> None:
            for example in examples:
                _insert(connection, "trained_on", ("example", "specialist", "version"), (example, specialist, version))

        await self._written(work)

    # --- records ---------------------------------------------------------------------------------

    async def put(self, *records: FlywheelRecord) -> None:
        """Write records in one transaction. Raises `FlywheelChanged` if one has another revision by now."""

        def work(connection: Connection) -> None:
            for each in records:
                _put(connection, each)
            connection.execute("UPDATE flywheel_revision SET revision = revision + 1")

        await self._written(work)

    async def records(self, kind: str, *, job: str | None = None) -> list[FlywheelRecord]:
        """Return the records of a kind, oldest first."""
        named = "" if job is None else " AND job = ?"
        statement = (
            f"SELECT kind, id, job, time, body, revision FROM flywheel_records WHERE kind = ?{named} ORDER BY time, id"  # noqa: S608
        )
        values = (kind,) if job is None else (kind, job)
        return await self._read(lambda c: [_record(row) for row in c.execute(statement, values).fetchall()])

    async def record(self, kind: str, key: str) -> FlywheelRecord | None:
        """Return one record; None if there is none."""
        statement = "SELECT kind, id, job, time, body, revision FROM flywheel_records WHERE kind = ? AND id = ?"

        def query(connection: Connection) -> FlywheelRecord | None:
            row = connection.execute(statement, (kind, key)).fetchone()
            return None if row is None else _record(row)

        return await self._read(query)

    async def revision(self) -> int:
        """Return a number that grows whenever a record is written."""
        return await self._read(lambda c: int(c.execute("SELECT revision FROM flywheel_revision").fetchone()[0]))


# --- Rows.


def _insert(connection: Connection, table: str, columns: Sequence[str], values: Sequence[Any]) -> None:
    marks = ", ".join("?" * len(columns))
    statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks}) ON CONFLICT DO NOTHING"  # noqa: S608
    connection.execute(statement, values)


def _insert_comparisons(connection: Connection, comparisons: Iterable[ComparedAnswer]) -> None:
    for each in comparisons:
        row = [getattr(each, name) for name in _COMPARISON]
        _insert(connection, "comparisons", _COMPARISON, [int(v) if isinstance(v, bool) else v for v in row])


def _put(connection: Connection, record: FlywheelRecord) -> None:
    body = json.dumps(record.body, ensure_ascii=True)
    if record.revision == 0:
        statement = (
            "INSERT INTO flywheel_records (kind, id, job, time, body, revision) VALUES (?, ?, ?, ?, ?, 1) "
            "ON CONFLICT DO NOTHING"
        )
        values: tuple[Any, ...] = (record.kind, record.id, record.job, record.time, body)
    else:
        statement = (
            "UPDATE flywheel_records SET job = ?, time = ?, body = ?, revision = revision + 1 "
            "WHERE kind = ? AND id = ? AND revision = ?"
        )
        values = (record.job, record.time, body, record.kind, record.id, record.revision)
    if connection.execute(statement, values).rowcount != 1:
        raise FlywheelChanged(f"{record.kind} {record.id}")


def _each(connection: Connection, statement: str, values: Sequence[str]) -> Iterator[Any]:
    """Rows of a statement that ends with `IN`, for any number of values."""
    for begin in range(0, len(values), _MARKS):
        some = values[begin : begin + _MARKS]
        yield from connection.execute(f"{statement} ({', '.join('?' * len(some))})", some).fetchall()


def drop_examples(connection: Connection, where: str, values: Sequence[Any]) -> int:
    """Delete examples that a condition of ours names, with all that is about them; return how many."""
    for table in _ABOUT_EXAMPLES:
        statement = f"DELETE FROM {table} WHERE example IN (SELECT id FROM examples WHERE {where})"  # noqa: S608
        connection.execute(statement, values)
    return int(connection.execute(f"DELETE FROM examples WHERE {where}", values).rowcount)  # noqa: S608 - our condition


def versions_that_saw(connection: Connection, examples: Collection[str]) -> list[tuple[str, str]]:
    """Return the specialists and versions that were trained on any of these examples."""
    rows = _each(connection, "SELECT DISTINCT specialist, version FROM trained_on WHERE example IN", list(examples))
    return sorted({(row[0], row[1]) for row in rows})


def _example_row(example: CapturedExample) -> list[Any]:
    row = {name: getattr(example, name) for name in _EXAMPLE}
    row |= {"label": example.label.value, "failed": int(example.failed)}
    row["prompt"] = json.dumps(example.prompt, ensure_ascii=True)
    return list(row.values())


def _example(row: Sequence[Any]) -> CapturedExample:
    found = dict(zip(_EXAMPLE, row, strict=True))
    prompt = tuple((str(role), str(text)) for role, text in parse_json(found["prompt"]))
    return CapturedExample(
        **{**found, "label": Label(found["label"]), "failed": bool(found["failed"]), "prompt": prompt}
    )


def _comparison(row: Sequence[Any]) -> ComparedAnswer:
    found = dict(zip(_COMPARISON, row, strict=True))
    return ComparedAnswer(**{**found, **{name: bool(found[name]) for name in ("accepted", "same", "failed")}})


def _label(row: Sequence[Any]) -> GivenLabel:
    example, origin, by, value, time, purpose = row
    return GivenLabel(example=example, origin=origin, by=by, value=value, time=time, purpose=purpose)


def _plain(value: str | None) -> str | None:
    """A value of feedback, which is stored as JSON, as an answer is written."""
    try:
        found = parse_json(value or "")
    except ValueError:
        return value
    return found if isinstance(found, str) else value


def _record(row: Sequence[Any]) -> FlywheelRecord:
    kind, key, job, time, body, revision = row
    return FlywheelRecord(kind=kind, id=key, job=job, time=time, body=parse_json(body), revision=revision)
