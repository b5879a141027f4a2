"""A store as a busy network leaves it: a million requests of thirty days, by tenants, specialists and models.

Beside it an audit log with an entry for each request and each prompt that left, and, of every tenth request, a captured
call of one of five jobs, three of which have a deployment that answered all of them.
"""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from coterie.flywheel.deployments import Deployments, KnownJob
from coterie.governance.audit import START, write_line
from coterie.store.rollups import catch_up
from coterie.store.sqlite import SQLiteStore, connect, migrate
from coterie.types import CapturedExample, ComparedAnswer, GivenLabel, Label

TENANTS = ("default", "acme", "north-wind", "Größe & Söhne", "東京支店")
SPECIALISTS = tuple(f"specialist-{n:02}" for n in range(10))
MODELS = ("linear", "onnx", "smollm2", "large")
DAYS, PIECE = 30, 20_000
_NEW = 10
"""Labels of each job that are of this week: people are asked for 150 of all jobs."""


def fill(path: Path, requests: int, *, now: float, seed: int) -> None:
    """Write the requests as rows, and add them up as the writer does."""
    rng = random.Random(seed)  # noqa: S311 - rows, no secrets
    with closing(connect(path, 5.0)) as connection:
        migrate(connection)
        connection.execute("PRAGMA synchronous = off")
        for first in range(0, requests, PIECE):
            _write(connection, rng, range(first, min(first + PIECE, requests)), requests=requests, now=now)
        while catch_up(connection, piece=PIECE):
            pass
        connection.execute("PRAGMA wal_checkpoint(truncate)")


def _write(connection: sqlite3.Connection, rng: random.Random, numbers: range, *, requests: int, now: float) -> None:
    drawn = [_request(rng, n, now - DAYS * 86_400 * (1 - n / requests)) for n in numbers]
    connection.execute("BEGIN")
    for table in ("requests", "sessions", "steps", "findings", "traces", "feedback"):
        rows = [row for part in drawn for row in part[table]]
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


def fill_audit(path: Path, requests: int, *, now: float, seed: int) -> None:
    """Write the log: an entry a request, one more for each prompt that left, and a promotion every 100,000."""
    rng = random.Random(seed)  # noqa: S311 - as above
    after = START
    with path.open("wb") as file:
        for number in range(requests):
            time = now - DAYS * 86_400 * (1 - number / requests)
            trace, key = f"{rng.getrandbits(128):032x}", f"{rng.getrandbits(32):08x}"
            about: dict[str, object] = {
                "trace": trace,
                "key": key,
                "status": "accepted",
                "label": "internal",
                "asked": f"{rng.getrandbits(256):064x}",
                "answered": f"{rng.getrandbits(256):064x}",
                "specialists": {SPECIALISTS[number % 10]: "0123456789abcdef"},
            }
            if rng.random() < 0.06:
                egress = {"id": f"e{number}", "engine": "large", "rule": "clearance", "pseudonymised": False}
                line, after = write_line(
                    after, time, "egress", "default", {**egress, "characters": 420, "label": "internal", "trace": trace}
                )
                file.write(line + b"\n")
                about |= {"status": "escalated", "egress": {f"e{number}": "answered"}}
            line, after = write_line(after, time, "request", rng.choices(TENANTS, (60, 20, 10, 6, 4))[0], about)
            file.write(line + b"\n")
            if number % 100_000 == 0:
                line, after = write_line(
                    after, time, "promote", "default", {"name": SPECIALISTS[0], "reason": "better"}
                )
                file.write(line + b"\n")


async def fill_flywheel(path: Path, captured: int, *, now: float, seed: int) -> None:
    """Write jobs, captured calls, a deployment's answers to them, and what two people say of some."""
    rng = random.Random(seed)  # noqa: S311 - as above
    store = await SQLiteStore.open(path, session_days=30.0, keep_content=True)
    books = Deployments(store=store.flywheel)
    names = [f"topic-{n:02}" for n in range(20)]
    for number, state in enumerate(("champion", "canary", "shadow", "", "")):
        key, per_job = f"job-{number}", captured // 5
        await books.put_job(KnownJob(id=key, name=f"routing-{number}", labels={n: n for n in names}, found=now))
        job = await books.job(key)
        examples = [
            CapturedExample(
                id=f"{number}-{n:06}",
                request=f"{rng.getrandbits(128):032x}",
                time=now - DAYS * 86_400 * (1 - n / per_job),
                job=key,
                input=f"Where does message {n} of customer {rng.randrange(10_000)} belong, please?",
                answer=rng.choice(names),
                policy="model:large",
                cost=0.002,
                caller=f"c{rng.randrange(500)}",
                label=Label.INTERNAL,
            )
            for n in range(per_job)
        ]
        compared: list[ComparedAnswer] = []
        if state:
            deployed = await books.begin(job, "0123456789abcdef", by="ann", reason="trained", figures={}, changed=job)
            for step in ("shadow", "canary", "champion"):
                deployed = await books.move(deployed, step, by="ann", reason="evidence", share=0.1)  # type: ignore[arg-type] # names of states
                if step == state:
                    break
            compared = [_compared(rng, deployed.id, example, names) for example in examples]
        await store.flywheel.add_examples(examples, compared)
        for n in range(300):
            for person in ("ann", "ben")[: 1 + (n % 5 == 0)]:
                label = GivenLabel(
                    example=f"{number}-{n:06}",
                    origin="person",
                    by=person,
                    value=rng.choice(names),
                    time=now if n < _NEW else now - 8 * 86_400,
                    purpose="audit",
                )
                await store.flywheel.put_label(label)
    await store.close()


def _compared(rng: random.Random, deployment: str, example: CapturedExample, names: list[str]) -> ComparedAnswer:
    same = rng.random() < 0.93
    return ComparedAnswer(
        deployment=deployment,
        example=example.id,
        time=example.time,
        answer=example.answer if same else rng.choice(names),
        confidence=rng.uniform(0.5, 1),
        accepted=rng.random() < 0.8,
        same=same,
    )
