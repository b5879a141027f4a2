"""Appending to the audit log, and checking a million entries.

    python benchmarks/audit/run.py [--entries 1000000]

Entries are those of requests with two specialists and a verdict, some 700 bytes. Appending is measured from one event
loop with 1, 64 and 512 writers at once: as the gateway does it, on the disk within a second, and with an fsync before
the writer goes on; and by two processes. Then the file is filled and `verify_audit` reads all of it.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _record import Bar, Record, arguments
from coterie.governance.audit import AuditLog, attests
from coterie.governance.audit_verification import verify_audit
from coterie.registry.signature import Signer, open_signer, write_key
from coterie.types import AuditEvent

CLAIM = "The audit log keeps up with the requests, and a million entries are checked in seconds."
APPENDED = 20_000
REPEATS = 3


def event(n: int) -> AuditEvent:
    """What one request leaves."""
    about = {
        "trace": f"{n:032x}",
        "status": "accepted",
        "label": "internal",
        "clearance": "internal",
        "session": f"{n % 1000:064x}",
        "asked": f"{n * 7:064x}",
        "answered": f"{n * 13:064x}",
        "specialists": {"triage": f"{n % 3:016x}", "reply": f"{n % 5:016x}"},
        "verdicts": [{"allowed": True, "rule": "egress.clearance", "reason": "internal data is within the clearance"}],
        "cost": "0.00012",
    }
    return AuditEvent(kind="request", time=1.7e9 + n, tenant=f"tenant{n % 7}", about=about)


async def append(
    path: Path, writers: int, entries: int, *, signer: Signer | None = None, patience: float = 1.0
) -> dict[str, float]:
    """Entries a second of so many writers, each waiting for its entry, and how long one waits."""
    log, waits = AuditLog(path, signer=signer, sync_seconds=patience), list[float]()

    async def write(start: int) -> None:
        for n in range(start, entries, writers):
            begun = time.perf_counter()
            await log.append(event(n))
            waits.append((time.perf_counter() - begun) * 1000)

    begun = time.perf_counter()
    await asyncio.gather(*(write(start) for start in range(writers)))
    seconds = time.perf_counter() - begun
    await log.close()
    waits.sort()
    return {
        "entries_per_second": len(waits) / seconds,
        "p50_ms": statistics.median(waits),
        "p99_ms": waits[int(len(waits) * 0.99)],
    }


def _in_process(path: Path, entries: int) -> None:
    asyncio.run(append(path, 64, entries))


def two_processes(path: Path, entries: int) -> dict[str, float]:
    """Entries a second of two processes with 64 writers each."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_in_process, args=(path, entries)) for _ in range(2)]
    begun = time.perf_counter()
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    verification = verify_audit(path)
    if not verification.whole or verification.entries != 2 * entries:
        raise AssertionError(f"the log is not whole: {verification}")
    return {"entries_per_second": 2 * entries / (time.perf_counter() - begun)}  # with their start


def fill(path: Path, entries: int, signer: Signer | None) -> None:
    """So many entries, ten thousand at a time."""
    log = AuditLog(path, signer=signer)
    for start in range(0, entries, 10_000):
        log.append_all([event(n) for n in range(start, min(entries, start + 10_000))])


def verify(path: Path, *, signed: bool) -> float:
    """Seconds to check it; the median of a few."""
    taken = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        verification = verify_audit(path, is_attested=attests if signed else None)
        taken.append(time.perf_counter() - begun)
        if not verification.whole:
            raise AssertionError(str(verification.fault))
    return statistics.median(taken)


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__, __file__)
    parser.add_argument("--entries", type=int, default=1_000_000, help="that are checked (the bar is on 1,000,000)")
    given = parser.parse_args()
    record = Record(claim=CLAIM)
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name)
        write_key(folder / "key.pem")
        signer = open_signer("key.pem", folder)
        for patience, words in ((1.0, "as served"), (0.0, "each on the disk")):
            for writers in (1, 64, 512):
                entries = APPENDED if writers > 1 else APPENDED // 20
                paths = [folder / f"{patience}-{writers}-{n}" for n in range(REPEATS)]
                runs = [asyncio.run(append(path, writers, entries, patience=patience)) for path in paths]
                median = sorted(runs, key=lambda run: run["entries_per_second"])[REPEATS // 2]
                record.figures[f"append, {words}, {writers} at once"] = median
        signed = append(folder / "signed", 512, APPENDED, signer=signer)
        record.figures["append, as served, 512 at once, signed"] = asyncio.run(signed)
        record.figures["append, two processes"] = two_processes(folder / "two", APPENDED // 2)
        fill(folder / "plain", given.entries, None)
        fill(folder / "checked", given.entries, signer)
        checked = {"entries": given.entries, "bytes": (folder / "plain").stat().st_size}
        seconds = {
            "unsigned": verify(folder / "plain", signed=False),
            "signed": verify(folder / "checked", signed=True),
        }
        record.figures["verify"] = {**checked, "seconds": seconds}
    rate = record.figures["append, each on the disk, 512 at once"]["entries_per_second"]  # type: ignore[index]
    whole = given.entries == 1_000_000
    record.bars = [
        Bar(what="entries appended a second, each on the disk, 512 writers", measured=rate, limit=5000),
        Bar(
            what="seconds to verify 1,000,000 entries, signed",
            measured=seconds["signed"] if whole else None,
            limit=30,
            at_most=True,
        ),
    ]
    record.note_load()
    record.write(given.out)


if __name__ == "__main__":
    main()
