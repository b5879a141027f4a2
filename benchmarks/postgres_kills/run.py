"""Kill workers and the PostgreSQL server while they settle and spend, and count what is lost or overspent.

    python benchmarks/postgres_kills/run.py [--workers 4] [--kills 100] [--servers 20] [--limit 200000] [--out FILE]
    python benchmarks/postgres_kills/run.py --rate [--seconds 5]

Each worker admits a request under one budget, settles it, and prints its id once that returned. Workers are killed with
SIGKILL and started again, and so is the server (postmaster and all). At the end every printed id must be stored, and
what was printed must be no more than what the budget counts, which must be no more than its limit. `--rate` compares
leased reservations and settlements of one hot budget in PostgreSQL and in a SQLite file, in turns.
"""
# ruff: noqa: S311, S603 - chance that kills, and programs of our own

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks._record import machine
from coterie.config.operation import BudgetSection
from coterie.errors import BudgetExceeded, CoterieError
from coterie.limits.limits import StoredLimits
from coterie.limits.storage import BudgetDatabase
from coterie.runtime.postgres import PostgresAddress
from coterie.store.postgres import PostgresStore
from coterie.testing import make_trace
from coterie.types import Principal, Settlement, Usage

SCHEMA = "coterie_kills"
CALLERS = 8


class Server:
    """A PostgreSQL server with fsync, on a Unix socket in a folder of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        newest = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
        self.bin = newest[-1]
        self.user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
        shutil.chown(home, "postgres") if self.user else None
        self._run(
            "initdb", "--pgdata=data", "--username=coterie", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"
        )
        self.address = f"postgresql://coterie@/postgres?host={home}"
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def _run(self, name: str, *arguments: str) -> None:
        subprocess.run(
            [*self.user, str(self.bin / name), *arguments], cwd=self.home, check=True, stdout=subprocess.DEVNULL
        )

    def start(self) -> None:
        """Start it, as often as it takes: processes of a killed one may still be ending."""
        for _ in range(600):
            command = [*self.user, str(self.bin / "postgres"), "-D", "data", "-k", str(self.home)]
            self.process = subprocess.Popen(
                [*command, "-c", "listen_addresses=", "-c", "log_min_messages=fatal"],
                cwd=self.home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
            for _ in range(300):
                if self.process.poll() is not None:
                    break
                ready = [str(self.bin / "pg_isready"), "--quiet", f"--host={self.home}"]
                if subprocess.run(ready, check=False).returncode == 0:
                    return
                time.sleep(0.1)
            time.sleep(0.2)
        raise RuntimeError("the server did not start again")

    def kill(self) -> None:
        """SIGKILL to all of its processes."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """End it."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait()


def address_of(address: str) -> PostgresAddress:
    """Where the rows are."""
    return PostgresAddress(address, source="The benchmark", schema=SCHEMA)


async def work(address: str, prefix: str, limit: int) -> None:
    """Admit and settle until killed, printing what was acknowledged."""
    store = limits = None
    while store is None:
        try:
            store = await PostgresStore.connect(address_of(address), session_days=30, keep_content=False)
        except CoterieError:
            await asyncio.sleep(0.1)
    limits = StoredLimits(
        {"all": BudgetSection(requests=limit, per="ever")}, Path(), storage=BudgetDatabase(address_of(address))
    )
    numbers = itertools.count()

    async def caller() -> None:
        while True:
            number = f"{prefix}-{next(numbers)}"
            try:
                await limits.admit(Principal())
                os.write(1, f"a {number}\n".encode())
                trace = make_trace(id=number, time=time.time(), usage=Usage(tokens_in=3, milliseconds=1.0))
                await store.settle(Settlement(trace=trace, entries=()))
                os.write(1, f"s {number}\n".encode())
            except BudgetExceeded:
                await asyncio.sleep(0.2)
            except CoterieError:
                await asyncio.sleep(0.02)

    await asyncio.gather(*(caller() for _ in range(CALLERS)))


class Worker:
    """A process that works, and the file of what it acknowledged."""

    def __init__(self, address: str, name: str, home: Path, limit: int) -> None:
        self.path = home / f"{name}.log"
        with self.path.open("wb") as log:
            command = [sys.executable, __file__, "--work", address, name, str(limit)]
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.DEVNULL)

    def kill(self) -> list[str]:
        """SIGKILL; what it had said."""
        self.process.kill()
        self.process.wait()
        return [line for line in self.path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def await_work(workers: list[Worker], chance: random.Random) -> int:
    """Wait until one has acknowledged something; the place of one that has."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        ready = [index for index, worker in enumerate(workers) if worker.path.stat().st_size > 1_000]
        if ready:
            return chance.choice(ready)
        time.sleep(0.1)
    raise RuntimeError("no worker acknowledged anything")


def kills(given: argparse.Namespace) -> dict[str, object]:
    """The figures."""
    chance, home = random.Random(given.seed), Path(tempfile.mkdtemp(prefix="kills-"))
    home.chmod(0o755)
    database = home / "postgres"
    database.mkdir()
    server = Server(database)
    names = itertools.count()
    workers = [Worker(server.address, f"w{next(names)}", home, given.limit) for _ in range(given.workers)]
    lines: list[str] = []
    due = [False] * given.kills + [True] * given.servers
    chance.shuffle(due)
    try:
        await_work(workers, chance)
        for whole in due:
            time.sleep(chance.uniform(*given.pause))
            if whole:
                server.kill()
                server.start()
            else:
                index = await_work(workers, chance)
                lines += workers[index].kill()
                workers[index] = Worker(server.address, f"w{next(names)}", home, given.limit)
        time.sleep(5)
        for worker in workers:
            lines += worker.kill()
        return asyncio.run(count(server.address, lines, given))
    finally:
        for worker in workers:
            worker.process.kill()
        server.stop()
        shutil.rmtree(home, ignore_errors=True)


async def count(address: str, lines: list[str], given: argparse.Namespace) -> dict[str, object]:
    """Hold what was said against what is stored."""
    settled = {line.split()[1] for line in lines if line.startswith("s ")}
    admitted = sum(line.startswith("a ") for line in lines)
    with_keys = address_of(address).connect()
    stored = {name for (name,) in with_keys.execute("SELECT id FROM requests").fetchall()}
    query = "SELECT coalesce(sum(requests), 0), coalesce(sum(held_requests), 0) FROM spent"
    taken, held = with_keys.execute(query).fetchall()[0]
    with_keys.close()
    counted = int(taken + held)
    return {
        "worker_kills": given.kills,
        "server_kills": given.servers,
        "workers": given.workers,
        "acknowledged": len(settled),
        "lost": len(settled - stored),
        "stored_without_acknowledgement": len(stored - settled),
        "limit": given.limit,
        "admitted": admitted,
        "counted": counted,
        "overspent": max(0, admitted - given.limit),
        "uncounted": max(0, admitted - counted),
        "spent_by_the_killed": counted - admitted,
    }


async def reserving(limits: StoredLimits, seconds: float) -> float:
    """Admissions a second of 16 callers."""
    end, done = time.perf_counter() + seconds, 0

    async def caller() -> None:
        nonlocal done
        while time.perf_counter() < end:
            await limits.settle(await limits.admit(Principal()), Usage(joules=1.0))
            done += 1
            await asyncio.sleep(0)

    await asyncio.gather(*(caller() for _ in range(16)))
    await limits.close()
    return done / seconds


def rates(given: argparse.Namespace) -> dict[str, object]:
    """Leased budgets in PostgreSQL against those in a file, in turns."""
    home = Path(tempfile.mkdtemp(prefix="rates-"))
    home.chmod(0o755)
    (home / "postgres").mkdir()
    server, by_store = Server(home / "postgres"), {"postgres": [], "sqlite": []}
    section = {"all": BudgetSection(requests=10**9, joules=1e12, per="ever")}
    try:
        for turn in range(3):
            storage = BudgetDatabase(address_of(server.address))
            by_store["postgres"].append(
                asyncio.run(reserving(StoredLimits(section, Path(), storage=storage), given.seconds))
            )
            file = home / f"{turn}.db"
            by_store["sqlite"].append(asyncio.run(reserving(StoredLimits(section, file), given.seconds)))
    finally:
        server.stop()
        shutil.rmtree(home, ignore_errors=True)
    best = {name: round(max(values)) for name, values in by_store.items()}
    return {"a_second": best, "ratio": round(best["postgres"] / best["sqlite"], 2), "turns": 3, "callers": 16}


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--servers", type=int, default=20)
    parser.add_argument("--limit", type=int, default=200_000)
    parser.add_argument("--pause", type=float, nargs=2, default=(0.5, 3.0))
    parser.add_argument("--seed", type=int, default=23)
    parser.add_argument("--rate", action="store_true")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--work", nargs=3)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.work:
        asyncio.run(work(given.work[0], given.work[1], int(given.work[2])))
        return
    result = rates(given) if given.rate else kills(given)
    result |= {
        "seed": given.seed,
        "machine": machine(),
        "load": round(os.getloadavg()[0], 1),
        "date": time.strftime("%Y-%m-%d"),
    }
    print(json.dumps(result, indent=1))
    if given.out:
        given.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
