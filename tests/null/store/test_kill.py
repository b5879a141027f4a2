"""A process killed in the middle of load loses no settled request and damages nothing."""

import os
import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from .consistency import problems

CHILD = Path(__file__).with_name("settle_forever.py")


def start(path: Path, prefix: str) -> subprocess.Popen[bytes]:
    """A process that settles until it is killed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen([sys.executable, CHILD, path, prefix], stdout=subprocess.PIPE, env=environment)


def kill_after(process: subprocess.Popen[bytes], lines: int) -> set[str]:
    """Read so many settled ids, kill -9, and read what else it had printed."""
    settled = [process.stdout.readline().decode() for _ in range(lines)]
    process.kill()
    settled += process.stdout.read().decode().splitlines(keepends=True)
    process.stdout.close()
    process.wait()
    return {line.strip() for line in settled if line.endswith("\n")}


def stored(path: Path) -> set[str]:
    """Every request in the database."""
    with closing(sqlite3.connect(path)) as connection:
        return {row[0] for row in connection.execute("SELECT id FROM requests")}


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 6))])
def test_kill_in_the_middle_of_load(tmp_path, seed):
    """Killed three times over on one file, after a random number of requests: nothing settled is missing."""
    path, settled = tmp_path / "coterie.db", set[str]()
    for round_number in range(3):
        lines = random.Random(f"{seed}-{round_number}").randint(1, 400)
        settled |= kill_after(start(path, f"{seed}-{round_number}"), lines)

        assert settled <= stored(path)
        assert problems(path) == []
    assert len(settled) >= 3


def test_kill_while_another_process_goes_on(tmp_path):
    """Of two processes that share a file, killing one leaves the other settling and the file whole."""
    path = tmp_path / "coterie.db"
    one, other = start(path, "one"), start(path, "other")
    assert one.stdout.readline()
    assert other.stdout.readline()

    settled = kill_after(one, 50)
    settled |= kill_after(other, 50)

    assert settled <= stored(path)
    assert problems(path) == []


async def test_reopened_store_serves_after_a_kill(open_store, path):
    """A store opened after a kill sees the settled requests and goes on."""
    path.parent.mkdir()
    settled = kill_after(start(path, "killed"), 30)

    store = await open_store()

    assert (await store.summary()).requests >= len(settled)
    assert (await store.trace(min(settled), "default")).id == min(settled)
