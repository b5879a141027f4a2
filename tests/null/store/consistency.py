"""What must hold for a database whatever happened to the process that wrote it."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path


def problems(path: Path) -> list[str]:
    """Everything wrong with a database: damage, half requests, entries without a session."""
    with closing(sqlite3.connect(path)) as connection:
        faults = [row[0] for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
        faults += [f"broken reference in {row[0]}" for row in connection.execute("PRAGMA foreign_key_check")]
        if "requests" not in {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}:
            return faults
        faults += _half_requests(connection)
    return faults


def _half_requests(connection: sqlite3.Connection) -> list[str]:
    requests = {row[0] for row in connection.execute("SELECT id FROM requests")}
    steps: dict[str, int] = {}
    for request, count in connection.execute("SELECT request, count(*) FROM steps GROUP BY request"):
        steps[request] = count
    traces = dict(connection.execute("SELECT request, trace FROM traces").fetchall())
    wanted = {request: len(json.loads(trace)["steps"]) for request, trace in traces.items()}
    faults = [f"{r}: no trace" for r in requests - set(traces)]
    faults += [f"{r}: rows without a request" for r in (set(traces) | set(steps)) - requests]
    return faults + [f"{r}: {steps.get(r, 0)} of {n} steps" for r, n in wanted.items() if steps.get(r, 0) != n]
