"""The flywheel's tables: examples, comparisons, labels, and records that are replaced as a whole.

This module does not know what a deployment is. Records are written with the revision that the writer saw, several of
them in one transaction, so of two writers one is refused and a killed process leaves nothing half done. The statements
use the SQL that SQLite and PostgreSQL have in common, with `?` for a value.
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
    ComparedConfidence,
    ComparedStream,
    DifferingAnswer,
    FlywheelChanged,
    FlywheelRecord,
    GivenLabel,
    JobVolume,
    Label,
)

T = TypeVar("T")


Connection = Any
"""A connection, inside a transaction of the caller.

`execute` returns a cursor with `fetchone`, `fetchall` and `rowcount`. Each driver types it in its own way.
"""

_EXAMPLE = tuple(field.name for field in fields(CapturedExample))
_COMPARISON = tuple(field.name for field in fields(ComparedAnswer))
_WITHOUT_TEXTS = {"prompt": "'[]'", "input": "''"}
_ABOUT_EXAMPLES = ("comparisons", "labels", "trained_on")
_MARKS = 400
"""Most values of one `IN (...)`."""


@dataclass(frozen=True, kw_only=True)
class FlywheelTables:
    """Implements `protocols.FlywheelStore` on any database.

    Args:
        write: Runs work inside a transaction of its own; returns once it is committed.
        read: Reads one state of the database.
    """

    write: Callable[[Callable[[Any], None]], Awaitable[None]]
    read: Callable[[Callable[[Any], Any]], Awaitable[Any]]

    async def _written(self, work: Callable[[Connection], T]) -> T:
        results: list[T] = []

        def noted(connection: Connection) -> None:
            results[:] = [work(connection)]

        try:
            await self.write(noted)
        except StoreError as error:
            if isinstance(error.__cause__, FlywheelChanged):
                raise error.__cause__ from None
            raise
        return results[0]

    async def _read(self, query: Callable[[Connection], T]) -> T:
        return cast("T", await self.read(query))

    # --- examples --------------------------------------------------------------------------------

    async def add_examples(
        self, examples: Sequence[CapturedExample], comparisons: Sequence[ComparedAnswer] = ()
    ) -> None:
        """Add examples and their comparisons; an existing one is left unchanged."""

        def work(connection: Connection) -> None:
            volumes = _Volumes()
            for example in examples:
                if _insert(connection, "examples", _EXAMPLE, _example_row(example)):
                    volumes.add(
                        example.job, example.caller, local=not example.policy.startswith("model:"), cost=example.cost
                    )
            volumes.write(connection)
            _insert_comparisons(connection, comparisons)

        await self._written(work)

    async def examples(
        self, *, job: str | None = None, after: tuple[float, str] = (-1.0, ""), limit: int = 10_000
    ) -> list[CapturedExample]:
        """Return the next examples after a position, oldest first, of one job; "" is the lack of a job."""
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
        """Return the examples with these ids, as far as they exist."""
        columns = ", ".join(_EXAMPLE)

        def query(connection: Connection) -> dict[str, CapturedExample]:
            rows = _rows_in(connection, f"SELECT {columns} FROM examples WHERE id IN", ids)  # noqa: S608 - our names
            return {example.id: example for example in map(_example, rows)}

        return await self._read(query)

    async def assign(self, homes: Sequence[tuple[str, str, int, str]]) -> None:
        """Assign examples, by id, to their job, with the number of its template and their input."""

        def work(connection: Connection) -> None:
            volumes = _Volumes()
            for example, job, template, text in homes:
                rows = connection.execute("SELECT job, caller, policy, cost FROM examples WHERE id = ?", (example,))
                for before, caller, policy, cost in rows.fetchall():
                    local = not policy.startswith("model:")
                    volumes.add(before, caller, local=local, cost=cost, calls=-1)
                    volumes.add(job, caller, local=local, cost=cost)
                connection.execute(
                    "UPDATE examples SET job = ?, template = ?, input = ? WHERE id = ?", (job, template, text, example)
                )
            volumes.write(connection)

        await self._written(work)

    async def volumes(self) -> list[JobVolume]:
        """Return the volume of each job, the largest first; the job "" has the calls that belong to none."""
        end = "(SELECT time FROM examples e WHERE e.job = v.job ORDER BY time {0}, id {0} LIMIT 1)"
        statement = (
            "SELECT v.job, sum(v.calls) AS asked, sum(v.local), sum(v.cost), sum(v.unpriced), count(*), "  # noqa: S608
            f"{end.format('')}, {end.format('DESC')} FROM job_callers v GROUP BY v.job ORDER BY asked DESC, v.job"
        )
        return await self._read(
            lambda c: [
                JobVolume(
                    job=row[0],
                    calls=int(row[1]),
                    local=int(row[2]),
                    cost=float(row[3]),
                    unpriced=int(row[4]),
                    callers=row[5],
                    first=row[6],
                    last=row[7],
                )
                for row in c.execute(statement).fetchall()
            ]
        )

    async def drop_examples(self, *, before: float) -> int:
        """Delete examples older than a time, with everything about them, and return how many there were."""
        return await self._written(lambda c: drop_examples(c, "time < ?", (before,)))

    # --- comparisons and labels ------------------------------------------------------------------

    async def comparisons(
        self, deployment: str, *, after: tuple[float, str] = (-1.0, ""), limit: int = 100_000
    ) -> list[ComparedAnswer]:
        """Return the next comparisons of a deployment after a position, oldest first."""
        statement = (
            f"SELECT {', '.join(_COMPARISON)} FROM comparisons WHERE deployment = ? "  # noqa: S608 - our names
            "AND (time > ? OR (time = ? AND example > ?)) ORDER BY time, example LIMIT ?"
        )
        values = (deployment, after[0], after[0], after[1], limit)
        return await self._read(lambda c: [_comparison(row) for row in c.execute(statement, values).fetchall()])

    async def stream(self, deployment: str) -> ComparedStream:
        """Return what a gate reads of a deployment's comparisons: counts, and the answers that differ."""
        kinds = "SELECT accepted + 2 * same + 4 * failed FROM comparisons WHERE deployment = ? ORDER BY time, example"
        differing = (
            "SELECT c.example, c.answer, e.answer FROM comparisons c LEFT JOIN examples e ON e.id = c.example "
            "WHERE c.deployment = ? AND c.accepted = 1 AND c.failed = 0 AND c.same = 0 ORDER BY c.time, c.example"
        )

        def query(connection: Connection) -> ComparedStream:
            kind_of = bytes(kind for (kind,) in connection.execute(kinds, (deployment,)).fetchall())
            places = (index for index, kind in enumerate(kind_of) if kind == 1)
            rows = connection.execute(differing, (deployment,)).fetchall()
            return ComparedStream(
                compared=len(kind_of),
                accepted=kind_of.count(1) + kind_of.count(3),
                same=kind_of.count(3),
                failed=sum(kind_of.count(kind) for kind in range(4, 8)),
                differing=tuple(DifferingAnswer(number, *row) for number, row in zip(places, rows, strict=True)),
            )

        return await self._read(query)

    async def confidences(self, deployment: str, *, since: float) -> list[ComparedConfidence]:
        """Return the confidence of a deployment's answers to calls since a time, without the calls that failed."""
        statement = (
            "SELECT example, confidence, same FROM comparisons WHERE deployment = ? AND time >= ? AND failed = 0 "
            "ORDER BY time, example"
        )
        return await self._read(
            lambda c: [ComparedConfidence(*row) for row in c.execute(statement, (deployment, since)).fetchall()]
        )

    async def answered(self, job: str, *, limit: int) -> list[AnsweredCall]:
        """Return the newest calls of a job, oldest first, with the columns that a sample is drawn by."""
        statement = (
            "SELECT id, answer, failed, CASE WHEN policy = '' OR policy LIKE 'model:%' THEN 0 ELSE 1 END "
            "FROM examples WHERE job = ? ORDER BY time DESC, id DESC LIMIT ?"
        )
        return await self._read(
            lambda c: list(map(AnsweredCall._make, reversed(c.execute(statement, (job, limit)).fetchall())))
        )

    async def differences(self, deployment: str, *, limit: int = 500) -> list[ComparedAnswer]:
        """Return accepted answers of a deployment that differ and that no person labelled, oldest first."""
        return await self._accepted(deployment, same=0, order="c.time, c.example", limit=limit)

    async def unsure(self, deployment: str, *, limit: int = 100) -> list[ComparedAnswer]:
        """Return accepted answers that do not differ and that no person labelled, the least confident first."""
        return await self._accepted(deployment, same=1, order="c.confidence, c.example", limit=limit)

    async def _accepted(self, deployment: str, *, same: int, order: str, limit: int) -> list[ComparedAnswer]:
        columns = ", ".join(f"c.{name}" for name in _COMPARISON)
        statement = (
            f"SELECT {columns} FROM comparisons c WHERE c.deployment = ? AND c.accepted = 1 AND c.failed = 0 "  # noqa: S608 - our names
            f"AND c.same = {same} AND NOT EXISTS "  # its value stands in an index
            "(SELECT 1 FROM labels l WHERE l.example = c.example AND l.origin = 'person') "
            f"ORDER BY {order} LIMIT ?"
        )
        values = (deployment, limit)
        return await self._read(lambda c: [_comparison(row) for row in c.execute(statement, values).fetchall()])

    async def coverage(self, deployment: str) -> tuple[int, int]:
        """Return how many calls were compared, and how many of them the deployment would have answered."""
        statement = "SELECT count(*), coalesce(sum(accepted), 0) FROM comparisons WHERE deployment = ?"

        def query(connection: Connection) -> tuple[int, int]:
            compared, accepted = connection.execute(statement, (deployment,)).fetchone()
            return int(compared), int(accepted)

        return await self._read(query)

    async def put_label(self, label: GivenLabel) -> bool:
        """Save a label in place of the same person's earlier one; return False if the example no longer exists."""

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
        """Remove a label; return False if it does not exist."""
        statement = "DELETE FROM labels WHERE example = ? AND origin = ? AND given_by = ?"
        values = (label.example, label.origin, label.by)
        return await self._written(lambda c: c.execute(statement, values).rowcount > 0)

    async def labels(self, *, job: str | None = None, since: float = 0.0, feedback: bool = True) -> list[GivenLabel]:
        """Return the labels of people, and of feedback if `feedback` is True, oldest first."""
        named = "" if job is None else "e.job = ? AND "
        statement = (
            "SELECT l.example, l.origin, l.given_by, l.value, l.time, l.purpose FROM labels l "  # noqa: S608 - our names
            f"JOIN examples e ON e.id = l.example WHERE {named}l.time >= ? ORDER BY l.time, l.example"
        )
        statement_of_feedback = (
            "SELECT e.id, 'feedback', f.key, f.value, f.time, '' FROM feedback f "  # noqa: S608 - our names
            f"JOIN examples e ON e.request = f.request WHERE {named}f.time >= ? AND f.value IS NOT NULL "
            "ORDER BY f.time, e.id"
        )
        values = (since,) if job is None else (job, since)

        def query(connection: Connection) -> list[GivenLabel]:
            labels = [_label(row) for row in connection.execute(statement, values).fetchall()]
            spoken = (
                [_label(row) for row in connection.execute(statement_of_feedback, values).fetchall()]
                if feedback
                else []
            )
            return [*labels, *(replace(label, value=_plain(label.value)) for label in spoken)]

        return await self._read(query)

    async def given(self, *, since: float) -> int:
        """Return how many labels people gave since a time."""
        statement = "SELECT count(*) FROM labels WHERE origin = 'person' AND time >= ?"
        return await self._read(lambda c: int(c.execute(statement, (since,)).fetchone()[0]))

    async def complaints(self, *, since: float = 0.0) -> dict[str, int]:
        """Return how many answers of each policy the callers reported as wrong."""
        statement = (
            "SELECT e.policy, count(DISTINCT e.id) FROM feedback f JOIN examples e ON e.request = f.request "
            "WHERE e.time >= ? AND f.thumb = 'down' GROUP BY e.policy"
        )
        return await self._read(lambda c: {row[0]: row[1] for row in c.execute(statement, (since,)).fetchall()})

    # --- what versions saw -----------------------------------------------------------------------

    async def note_training(self, specialist: str, version: str, examples: Sequence[str]) -> None:
        """Record which examples a version was trained on."""

        def work(connection: Connection) -> None:
            for example in examples:
                _insert(connection, "trained_on", ("example", "specialist", "version"), (example, specialist, version))

        await self._written(work)

    # --- records ---------------------------------------------------------------------------------

    async def put(self, *records: FlywheelRecord) -> None:
        """Write records in one transaction. Raises `FlywheelChanged` if the revision of one has changed meanwhile."""

        def work(connection: Connection) -> None:
            for record in records:
                _put(connection, record)
            connection.execute("UPDATE flywheel_revision SET revision = revision + 1")

        await self._written(work)

    async def records(self, kind: str, *, job: str | None = None, since: float | None = None) -> list[FlywheelRecord]:
        """Return the records of a kind since a time, oldest first."""
        given = {" AND job = ?": job, " AND time >= ?": since}
        where = "".join(clause for clause, value in given.items() if value is not None)
        statement = (
            f"SELECT kind, id, job, time, body, revision FROM flywheel_records WHERE kind = ?{where} ORDER BY time, id"  # noqa: S608
        )
        values = (kind, *(value for value in given.values() if value is not None))
        return await self._read(lambda c: [_record(row) for row in c.execute(statement, values).fetchall()])

    async def record(self, kind: str, key: str) -> FlywheelRecord | None:
        """Return one record, or None if it does not exist."""
        statement = "SELECT kind, id, job, time, body, revision FROM flywheel_records WHERE kind = ? AND id = ?"

        def query(connection: Connection) -> FlywheelRecord | None:
            row = connection.execute(statement, (kind, key)).fetchone()
            return None if row is None else _record(row)

        return await self._read(query)

    async def revision(self) -> int:
        """Return a number that grows whenever a record is written."""
        return await self._read(lambda c: int(c.execute("SELECT revision FROM flywheel_revision").fetchone()[0]))


# --- Rows.


class _Volumes:
    """The changes that some examples make to the call counts of their jobs and callers."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], list[float]] = {}

    def add(self, job: str, caller: str, *, local: bool, cost: float | None, calls: int = 1) -> None:
        """Add one call; `calls=-1` subtracts one."""
        self.add_row(job, caller, (calls, calls * local, calls * (cost or 0.0), calls * (cost is None)))

    def add_row(self, job: str, caller: str, figures: Sequence[float]) -> None:
        """Add the number of calls, of those answered by deployments, their cost, and the number without a cost."""
        row = self._rows.setdefault((job, caller), [0, 0, 0.0, 0])
        row[:] = [a + b for a, b in zip(row, figures, strict=True)]

    def write(self, connection: Connection) -> None:
        """Add all changes to the table."""
        for key, row in sorted(self._rows.items()):  # in one order, so that writers wait in no circle
            if any(row):
                connection.execute(
                    "INSERT INTO job_callers (job, caller, calls, local, cost, unpriced) VALUES (?, ?, ?, ?, ?, ?) "
                    "ON CONFLICT (job, caller) DO UPDATE SET calls = job_callers.calls + excluded.calls, "
                    "local = job_callers.local + excluded.local, cost = job_callers.cost + excluded.cost, "
                    "unpriced = job_callers.unpriced + excluded.unpriced",
                    (*key, int(row[0]), int(row[1]), row[2], int(row[3])),
                )
            if row[0] < 0:
                connection.execute("DELETE FROM job_callers WHERE job = ? AND caller = ? AND calls <= 0", key)


def _insert(connection: Connection, table: str, columns: Sequence[str], values: Sequence[Any]) -> bool:
    """Insert a row; return False if it already exists."""
    marks = ", ".join("?" * len(columns))
    statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks}) ON CONFLICT DO NOTHING"  # noqa: S608
    return bool(connection.execute(statement, values).rowcount == 1)


def _insert_comparisons(connection: Connection, comparisons: Iterable[ComparedAnswer]) -> None:
    for comparison in comparisons:
        row = [getattr(comparison, name) for name in _COMPARISON]
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


def _rows_in(connection: Connection, statement: str, values: Sequence[str]) -> Iterator[Any]:
    """Yield the rows of a statement that ends with `IN`, for any number of values."""
    for begin in range(0, len(values), _MARKS):
        some = values[begin : begin + _MARKS]
        yield from connection.execute(f"{statement} ({', '.join('?' * len(some))})", some).fetchall()


def drop_examples(connection: Connection, where: str, values: Sequence[Any]) -> int:
    """Delete the examples that meet a condition of ours, with everything about them, and return how many there were."""
    volumes = _Volumes()
    gone = connection.execute(
        "SELECT job, caller, -count(*), -sum(CASE WHEN policy LIKE 'model:%' THEN 0 ELSE 1 END), "  # noqa: S608 - ours
        "-sum(coalesce(cost, 0)), -sum(CASE WHEN cost IS NULL THEN 1 ELSE 0 END) "
        f"FROM examples WHERE {where} GROUP BY job, caller",
        values,
    )
    for job, caller, *figures in gone.fetchall():
        volumes.add_row(job, caller, [float(figure) for figure in figures])
    volumes.write(connection)
    for table in _ABOUT_EXAMPLES:
        statement = f"DELETE FROM {table} WHERE example IN (SELECT id FROM examples WHERE {where})"  # noqa: S608
        connection.execute(statement, values)
    return int(connection.execute(f"DELETE FROM examples WHERE {where}", values).rowcount)  # noqa: S608 - our condition


def versions_that_saw(connection: Connection, examples: Collection[str]) -> list[tuple[str, str]]:
    """Return the specialists and versions that were trained on any of these examples."""
    rows = _rows_in(connection, "SELECT DISTINCT specialist, version FROM trained_on WHERE example IN", list(examples))
    return sorted({(row[0], row[1]) for row in rows})


def _example_row(example: CapturedExample) -> list[Any]:
    row = {name: getattr(example, name) for name in _EXAMPLE}
    row |= {"label": example.label.value, "failed": int(example.failed)}
    row["prompt"] = json.dumps(example.prompt, ensure_ascii=True)
    return list(row.values())


def _example(row: Sequence[Any]) -> CapturedExample:
    values = dict(zip(_EXAMPLE, row, strict=True))
    prompt = tuple((str(role), str(text)) for role, text in parse_json(values["prompt"]))
    return CapturedExample(
        **{**values, "label": Label(values["label"]), "failed": bool(values["failed"]), "prompt": prompt}
    )


def _comparison(row: Sequence[Any]) -> ComparedAnswer:
    values = dict(zip(_COMPARISON, row, strict=True))
    return ComparedAnswer(**{**values, **{name: bool(values[name]) for name in ("accepted", "same", "failed")}})


def _label(row: Sequence[Any]) -> GivenLabel:
    example, origin, by, value, time, purpose = row
    return GivenLabel(example=example, origin=origin, by=by, value=value, time=time, purpose=purpose)


def _plain(value: str | None) -> str | None:
    """Return a value of feedback, which is stored as JSON, in the form of an answer."""
    try:
        parsed = parse_json(value or "")
    except ValueError:
        return value
    return parsed if isinstance(parsed, str) else value


def _record(row: Sequence[Any]) -> FlywheelRecord:
    kind, key, job, time, body, revision = row
    return FlywheelRecord(kind=kind, id=key, job=job, time=time, body=parse_json(body), revision=revision)
