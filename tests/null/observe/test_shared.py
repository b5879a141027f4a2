"""The folder in which several workers count."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
from prometheus_client.mmap_dict import MmapedDict

from coterie.errors import SetupError
from coterie.gateway.workers import make_folder, release, reserve

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="several workers need fork")


@pytest.fixture(autouse=True)
def _environment(monkeypatch, tmp_path):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")
    monkeypatch.setenv("TMPDIR", str(tmp_path))


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="files cannot be reserved here")
def test_space_is_reserved_before_anything_is_counted(tmp_path):
    """A page without space behind it would kill the process that counts in it."""
    reserve(tmp_path)
    files = [tmp_path / f"{kind}_{os.getpid()}.db" for kind in ("counter", "histogram", "gauge_livesum")]
    assert all(file.stat().st_blocks * 512 >= file.stat().st_size >= 2**19 for file in files)


def test_no_space(tmp_path, monkeypatch):
    """The worker does not start, and says why."""

    def full(_file, _start, _bytes):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(SetupError):
        reserve(tmp_path)


def test_a_folder_that_was_tidied_away(tmp_path):
    """The next worker counts in it all the same."""
    reserve(tmp_path / "gone")
    assert list((tmp_path / "gone").iterdir())


def test_counts_of_an_ended_worker_stay(tmp_path):
    """Without the space that it did not use; a worker that counted nothing leaves no file."""
    reserve(tmp_path)
    counts = MmapedDict(str(path := tmp_path / f"counter_{os.getpid()}.db"))
    counts.write_value("answers", 3.0, 0.0)
    counts.close()
    release(tmp_path, os.getpid())
    assert path.stat().st_size < 4096
    assert [value for _, value, _, _ in MmapedDict.read_all_values_from_file(str(path))] == [3.0]
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_folders_of_the_killed_go(tmp_path):
    """The next server removes them, and leaves those of servers that live."""
    code = "from pathlib import Path; from coterie.gateway.workers import make_folder; "
    code += f"print(make_folder(2, Path({str(tmp_path)!r}))[0].name, flush=True)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    dead = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    first, lock = make_folder(2, tmp_path)
    second, other = make_folder(2, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {first.name, second.name}
    assert dead.stdout.strip() not in {first.name, second.name}
    os.close(lock)
    os.close(other)


def test_without_a_place_in_memory(tmp_path):
    """The folder is where other temporary files are."""
    folder, lock = make_folder(2, tmp_path / "none")
    assert folder.is_dir()
    os.close(lock)


def test_too_little_memory_for_so_many(tmp_path, monkeypatch):
    """The 64 MB that a container has are enough for fifteen workers; more count where other temporary files are."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=64 * 2**20))
    (memory := tmp_path / "memory").mkdir()
    for workers, inside in ((15, True), (16, False)):
        folder, lock = make_folder(workers, memory)
        assert folder.is_relative_to(memory) == inside
        os.close(lock)
