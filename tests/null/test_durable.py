"""Files that are replaced at once, and locks that the system frees."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from coterie.runtime.files import hold, locked, replacing, sync, write_new


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    """Whoever fails while writing leaves what was there, and nothing beside it."""
    file = tmp_path / "kept.json"
    file.write_text("old")

    def fail() -> None:
        with replacing(file) as draft:
            draft.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()

    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What never came to the disk takes nobody's place."""
    file = tmp_path / "kept.json"
    file.write_text("old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"), replacing(file) as draft:
        draft.write_text("new")

    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_takes_the_place_of_another(tmp_path: Path) -> None:
    """The new content is there under the old name, and the draft is gone."""
    file = tmp_path / "kept.json"
    file.write_text("old")

    with replacing(file) as draft:
        write_new(draft, b"new", mode=0o600)
        assert file.read_text() == "old"

    assert file.read_text() == "new"
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_a_new_file_replaces_none(tmp_path: Path) -> None:
    """`write_new` never writes over what somebody else has written."""
    (tmp_path / "kept").write_bytes(b"theirs")

    with pytest.raises(FileExistsError):
        write_new(tmp_path / "kept", b"ours")

    assert (tmp_path / "kept").read_bytes() == b"theirs"


def test_a_lock_has_one_holder(tmp_path: Path) -> None:
    """A second holder is told so at once where it does not wait, and gets in when the first is gone."""
    file = tmp_path / "lock"
    with locked(file):
        second = os.open(file, os.O_RDWR)
        with pytest.raises(OSError, match=os.strerror(errno.EWOULDBLOCK)):
            hold(second, wait=False)
    hold(second, wait=False)
    os.close(second)


def test_a_killed_holder_lets_go(tmp_path: Path) -> None:
    """The system frees the lock of a process that is killed with it."""
    file = tmp_path / "lock"
    program = f"""
import os, sys
from pathlib import Path
from coterie.runtime.files import locked
with locked(Path({str(file)!r})):
    print("held", flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        holder.kill()
    with locked(file):
        pass


def test_a_folder_that_cannot_be_synced_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File systems of networks that sync no folder are no reason to fail; a file that is not on the disk is."""

    def refuse(_: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refuse)
    sync(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="Invalid argument"):
        sync(tmp_path / "file")
