"""A process killed while it indexes leaves the old index or the new one, whole."""

import os
import random
import sqlite3
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from coterie.errors import StoreError
from coterie.knowledge.build import BuildDraft
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


# --- What is kept of a build under way.


def test_a_damaged_draft_is_thrown_away(tmp_path):
    """A file that is no database is replaced by an empty draft."""
    path = tmp_path / "draft.db"
    path.write_bytes(b"this is not a database at all, but long enough to look like one" * 20)
    draft = BuildDraft(path, "e", 4)

    assert draft.hashes() == {}
    draft.close()


def test_another_encoders_draft_is_thrown_away(tmp_path, document):
    """What another encoder made cannot be used; what this one made is found again."""
    for encoder, kept in [("one", 0), ("one", 1), ("two", 0)]:
        draft = BuildDraft(tmp_path / "draft.db", encoder, 32)
        assert len(draft.hashes()) == kept
        draft.add([document("a.md", "late fee")])
        draft.close()


def test_it_is_its_owners_alone(tmp_path, document):
    """It holds texts, whoever may enter the folder."""
    draft = BuildDraft(tmp_path / "draft.db", "e", 32)
    draft.add([document("a.md", "late fee")])
    draft.close()

    assert [path for path in tmp_path.iterdir() if path.stat().st_mode & 0o077] == []


def test_a_full_disk_is_said(tmp_path, monkeypatch):
    """Where SQLite has no room, the error names the file and says that the index is whole; nothing is thrown away."""
    path = tmp_path / "draft.db"
    BuildDraft(path, "e", 4).close()

    class Full(sqlite3.Connection):
        def executescript(self, script):
            raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(sqlite3, "connect", Full)
    with pytest.raises(StoreError, match=r"draft\.db.*disk is full.*as it was"):
        BuildDraft(path, "e", 4)
    assert path.stat().st_size > 0
