"""A store as a busy network leaves it: a million requests of thirty days, by tenants, specialists and models."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from coterie.store.connection import connect, migrate
from coterie.store.rollups import backfill

TENANTS = ("default", "acme", "north-wind", "Größe & Söhne", "東京支店")
SPECIALISTS = tuple(f"specialist-{n:02}" for n in range(10))
MODELS = ("linear", "onnx", "smollm2", "large")
DAYS, PIECE = 30, 20_000


def fill(path: Path, requests: int, *, now: float, seed: int) -> None:
    """Write the requests as rows, and add them up as the writer does with an earlier ledger."""
    rng = random.Random(seed)  # noqa: S311 - rows, no secrets
    with closing(connect(path, 5.0)) as connection:
        migrate(connection)
        connection.execute("PRAGMA synchronous = off")
        for first in range(0, requests, PIECE):
            _write(connection, rng, range(first, min(first + PIECE, requests)), requests=requests, now=now)
        connection.execute("INSERT INTO rollup_backfill VALUES (-1, '', ?)", (now,))
        while backfill(connection):
            pass
        connection.execute("PRAGMA wal_checkpoint(truncate)")


def _write(connection: sqlite3.Connection, rng: random.Random, numbers: range, *, requests: int, now: float) -> None:
    drawn = [_request(rng, n, now - DAYS * 86_400 * (1 - n / requests)) for n in numbers]
    connection.execute("BEGIN")
    for table in ("requests", "sessions", "steps", "findings", "traces", "feedback"):
        rows = [row for each in drawn for row in each[table]]
        if rows:
            places = ", ".join("?" * len(rows[0]))
            connection.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({places})", rows)  # noqa: S608 - our names
    connection.execute("COMMIT")


def _request(rng: random.Random, number: int, time: float) -> dict[str, list[tuple[object, ...]]]:
    identity = f"{rng.getrandbits(128):032x}"
    tenant = rng.choices(TENANTS, (60, 20, 10, 6, 4))[0]
    status = rng.choices(("accepted", "abstained", "escalated"), (82, 12, 6))[0]
    session = f"session-{number // 20}" if number % 3 == 0 else None
    milliseconds, joules = rng.lognormvariate(1.5, 0.8), rng.lognormvariate(0.0, 0.5)
    name = rng.choices(SPECIALISTS, range(10, 0, -1))[0]
    steps = [("router", "onnx", 0.4), (name, "linear", 0.6)]
    if status == "escalated":
        steps.append(("generalist", "large", 40.0))
        milliseconds += rng.lognormvariate(6.5, 0.4)
    figures = (12, 0, milliseconds, 0.003, joules, "estimated", "0.0000000421")
    request = (identity, time, tenant, session, "internal", status, *figures, "0.00331", 0, None, None)
    return {
        "requests": [request],
        "steps": list(_steps(identity, steps, figures)),
        "findings": [(identity, 0, name, int(status == "accepted"), rng.uniform(0.5, 1))],
        "traces": [(identity, json.dumps({"id": identity}))],
        "sessions": [] if session is None else [(tenant, session, time)],
        "feedback": [] if number % 200 else [(identity, "", "", time, "up", None, "", rng.randrange(2))],
    }


def _steps(
    request: str, steps: list[tuple[str, str, float]], figures: tuple[object, ...]
) -> Iterator[tuple[object, ...]]:
    for position, (producer, engine, _) in enumerate(steps):
        yield (request, position, producer, engine, *figures, 0, None, None)
