"""A process killed while it indexes leaves the old index or the new one, whole."""

import os
import random
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from coterie.types import Label

CHILD = Path(__file__).with_name("index_forever.py")


def run_and_kill(folder, lines, delay):
    """Let the child finish so many updates, kill it a moment later, and return the last update that it had finished."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, CHILD, folder], stdout=subprocess.PIPE, env=environment)
    try:
        done = [int(process.stdout.readline()) for _ in range(lines)][-1]
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=delay)  # a moment of work: it never ends by itself
    finally:
        process.kill()
        rest = process.stdout.read().split()
        process.stdout.close()
        process.wait()
    return int(rest[-1]) if rest else done


@pytest.mark.slow
async def test_killed_at_any_moment(tmp_path, open_index):
    """After kill -9 at random moments all documents are of one update, at least the last that was finished."""
    folder = tmp_path / "docs"
    for seed in range(5):
        finished = run_and_kill(folder, 1, random.Random(seed).random() / 3)

        index = open_index(encoder=_Encoder())
        numbers = set((await index.documents()).values())
        passages = await index.search("update", k=20, clearance=Label.PUBLIC, mode="keyword")

        assert len(numbers) == 1
        assert int(numbers.pop()) >= finished
        assert len(passages) == 10
        assert len({passage.text for passage in passages}) == 1


class _Encoder:
    name, clearance, sha256, dimension = "none", Label.RESTRICTED, "a" * 64, 8
