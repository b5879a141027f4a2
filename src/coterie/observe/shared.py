"""The folder in which several workers count, for one `/metrics` of all.

prometheus_client maps a file of each process into memory. A mapped page that the file system has no space for kills the
process with SIGBUS. The folder is therefore in memory where the system has such a place, and the space of each worker's
files is reserved before anything is counted.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from coterie.errors import SetupError

_MEMORY = Path("/dev/shm")  # noqa: S108 - the folder is made with a random name, for this user alone
_KINDS = ("counter", "histogram", "gauge_livesum", "gauge_livemax")
"""The files of a process, as prometheus_client names them."""
_BYTES = 512 * 1024
"""Space of each file: some two thousand series; prometheus_client begins with 64 KiB and doubles that."""
_PREFIX = "coterie-"


def make_folder(workers: int, memory: Path = _MEMORY) -> tuple[Path, int]:
    """Make the folder, name it to prometheus_client, and return it with the descriptor that holds its lock.

    It is in memory if twice the space of the workers and the supervisor is free there; a container often has 64 MB.

    Processes that are forked later hold the lock too. Folders whose processes are all gone, as after kill -9, are
    removed. Call it before prometheus_client is imported.
    """
    try:
        fits = shutil.disk_usage(memory).free >= 2 * (workers + 1) * len(_KINDS) * _BYTES
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=memory if fits else None))
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    lock = _lock(folder / "lock.part")
    (folder / "lock.part").rename(folder / "lock")  # nobody sees it before it is held
    for path in folder.parent.glob(f"{_PREFIX}*/lock"):
        if path.parent != folder:
            with suppress(OSError):  # of another user, or its processes live
                os.close(_lock(path))
                shutil.rmtree(path.parent)
    return folder, lock


def reserve(folder: Path) -> None:
    """Reserve the space of this process' files, before it counts anything. Raises `SetupError`: there is none."""
    try:
        folder.mkdir(exist_ok=True)  # what tidies temporary folders may have removed it
        for kind in _KINDS:
            file = os.open(folder / f"{kind}_{os.getpid()}.db", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file, 0, _BYTES)
            finally:
                os.close(file)
    except OSError as error:
        raise SetupError(
            f"No space for the counters of a worker in {str(folder)!r}: {error.strerror or error}.",
            hint="Free some space there, or name another place in the variable TMPDIR.",
        ) from error


def release(folder: Path, process: int) -> None:
    """Give back the reserved space of an ended process: its counts stay, without the rest of their files."""
    from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415 - once the folder is named

    with suppress(OSError):
        mark_process_dead(process, str(folder))  # type: ignore[no-untyped-call]
        for kind in _KINDS[:2]:
            with (path := folder / f"{kind}_{process}.db").open("r+b") as file:
                used = int.from_bytes(file.read(4), sys.byteorder)
                file.truncate(used)
            if not used:
                path.unlink()


def _lock(path: Path) -> int:
    """Return a descriptor that holds the lock of a file. Raises `OSError`: another process holds it."""
    import fcntl  # noqa: PLC0415 - not on Windows

    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise
    return file
