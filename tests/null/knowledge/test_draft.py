"""What is kept of a build under way."""

import sqlite3

import pytest

from coterie.errors import StoreError
from coterie.knowledge.build import BuildDraft


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
