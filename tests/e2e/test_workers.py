"""Several workers behind one address: restarted, replaced without a refused request, and gone with their supervisor."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="workers are found in /proc")]

PROGRAM = """
import asyncio, os, runpy, sys, time
from pathlib import Path
from coterie.config.file import GatewaySection
from coterie.gateway.serve import address_of, bind, serve
from coterie.gateway.workers import ReplacementNote, Supervisor
fakes, folder = sys.argv[1], Path(sys.argv[2])
section = GatewaySection(port=0, drain=20)

def work(place):
    if (folder / "broken").exists():
        sys.exit(4)
    if (folder / "hanging").exists():
        time.sleep(600)

    async def open_network():
        return runpy.run_path(fakes)["network"]._get_wrapped_function()()

    asyncio.run(serve(open_network, section, on_ready=lambda _: place.ready(), worker=place))

fork = os.fork

def fork_if_allowed():
    if (folder / "no_process").exists():
        raise BlockingIOError(11, "no process is left")
    return fork()

os.fork = fork_if_allowed

with bind(section) as listener:
    listener.listen(128)
    supervisor = Supervisor(
        listener=listener, work=work, workers=2, drain=section.drain,
        watched=lambda: (folder / "champion").exists(),
        on_ready=lambda: print(address_of(listener), flush=True),
        start_seconds=float(sys.argv[3]), on_replacement=ReplacementNote(folder),
        say=lambda text: print(text, file=sys.stderr, flush=True),
    )
    sys.exit(supervisor.run())
"""
BODY = {"model": "coterie/reply", "messages": [{"role": "user", "content": "Hi"}]}
LONG = 120
"""Seconds that nothing here takes."""


async def until(is_so):
    """Wait for what happens in other processes."""
    async with asyncio.timeout(LONG):
        while not is_so():  # noqa: ASYNC110 - they set no event here
            await asyncio.sleep(0.01)


class Served:
    """A supervisor with its workers."""

    def __init__(self, process, address):
        self.process, self.address = process, address

    def workers(self):
        """The process ids of those that are there."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return {int(pid) for pid in path.read_text().split()}

    async def until(self, fits):
        """Wait until the workers are as they should be."""
        await until(lambda: fits(self.workers()))
        return self.workers()

    async def ask(self):
        """One request over a connection of its own; its status."""
        async with httpx.AsyncClient(timeout=LONG) as http:
            return (await http.post(f"{self.address}/v1/chat/completions", json=BODY)).status_code


@asynccontextmanager
async def served(folder, start_seconds=LONG, stderr=asyncio.subprocess.PIPE):
    """Two workers before fakes."""
    fakes = Path(__file__).parents[1] / "null" / "gateway" / "conftest.py"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, str(fakes), str(folder), str(start_seconds)),
        stdout=asyncio.subprocess.PIPE,
        stderr=stderr,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        address = (await asyncio.wait_for(process.stdout.readline(), LONG)).decode().strip()
        yield Served(process, address)
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await asyncio.wait_for(process.communicate(), LONG)


async def replaced_without_a_refusal(server, order):
    """Ask on and on while all workers are replaced, which `order` asks for."""
    before, statuses = server.workers(), []

    async def ask_on():
        while True:
            statuses.append(await server.ask())

    asking = [asyncio.create_task(ask_on()) for _ in range(4)]
    order()
    await server.until(lambda there: len(there) == 2 and not there & before)
    answered = len(statuses)
    await until(lambda: len(statuses) >= answered + 8)
    for task in asking:
        task.cancel()
    assert set(statuses) == {200}
    assert {type(outcome) for outcome in await asyncio.gather(*asking, return_exceptions=True)} == {
        asyncio.CancelledError
    }


async def test_a_killed_worker_is_started_again(tmp_path):
    """Others answer meanwhile, and a signal to the supervisor ends all of them in order."""
    async with served(tmp_path) as server:
        before = server.workers()
        assert len(before) == 2
        os.kill(min(before), signal.SIGKILL)
        assert await server.ask() == 200
        after = await server.until(lambda there: len(there) == 2 and min(before) not in there)
        assert len(before & after) == 1
        server.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(server.process.wait(), LONG) == 0
        assert not any(map(is_alive, after))


async def test_replaced_one_by_one(tmp_path):
    """At SIGHUP, and when what they serve has changed."""
    async with served(tmp_path) as server:
        await replaced_without_a_refusal(server, lambda: server.process.send_signal(signal.SIGHUP))
        await replaced_without_a_refusal(server, (tmp_path / "champion").touch)


async def test_a_replacement_that_cannot_start(tmp_path):
    """The workers that are there stay, which is noted until a replacement succeeds."""
    async with served(tmp_path) as server:
        before = server.workers()
        (tmp_path / "broken").touch()
        server.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(LONG):
            lines = [(await server.process.stderr.readline()).decode() for _ in range(2)]
        assert "ended with 4 before it answered" in lines[1]
        assert server.workers() == before
        assert await server.ask() == 200
        note = tmp_path / "state" / "workers.json"
        assert "ended with 4" in json.loads(note.read_text())["why"]
        (tmp_path / "broken").unlink()
        server.process.send_signal(signal.SIGHUP)
        await server.until(lambda there: len(there) == 2 and not there & before)
        await until(lambda: not note.exists())


async def test_a_replacement_that_never_answers(tmp_path):
    """It is ended in time, the workers that are there stay, and it is said."""
    note = tmp_path / "state" / "workers.json"
    async with served(tmp_path, start_seconds=0.5) as server:
        before = server.workers()
        (tmp_path / "hanging").touch()
        server.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(LONG):
            lines = [(await server.process.stderr.readline()).decode() for _ in range(2)]
        assert "did not answer within 0.5 seconds" in lines[1]
        assert await server.until(lambda there: len(there) == 2) == before
        await until(note.exists)  # written once it was said
        assert "did not answer within 0.5 seconds" in json.loads(note.read_text())["why"]
        assert await server.ask() == 200


async def test_messages_that_cannot_be_written(tmp_path):
    """A log on a full disk stops nobody: killed workers are started again, and all are replaced."""
    full = os.open("/dev/full", os.O_WRONLY)
    async with served(tmp_path, stderr=full) as server:
        before = server.workers()
        os.kill(min(before), signal.SIGKILL)
        after = await server.until(lambda there: len(there) == 2 and min(before) not in there)
        await replaced_without_a_refusal(server, lambda: server.process.send_signal(signal.SIGHUP))
        assert not server.workers() & after
    os.close(full)


async def test_no_process_is_left(tmp_path):
    """A worker that cannot be forked is started once it can; a replacement leaves the old ones."""
    async with served(tmp_path) as server:
        before = server.workers()
        (tmp_path / "no_process").touch()
        server.process.send_signal(signal.SIGHUP)
        note = tmp_path / "state" / "workers.json"
        await until(note.exists)
        assert server.workers() == before
        os.kill(min(before), signal.SIGKILL)
        await server.until(lambda there: len(there) == 1)
        assert await server.ask() == 200
        (tmp_path / "no_process").unlink()
        await server.until(lambda there: len(there) == 2)


async def test_workers_end_with_their_supervisor(tmp_path):
    """Killed, it can start nobody again: nobody is left behind that could not be stopped."""
    async with served(tmp_path) as server:
        workers = server.workers()
        server.process.kill()
        await until(lambda: not any(map(is_alive, workers)))


async def test_what_cannot_start_ends(tmp_path):
    """With the worker's own exit code."""
    (tmp_path / "broken").touch()
    async with served(tmp_path) as server:
        assert await asyncio.wait_for(server.process.wait(), LONG) == 4
        assert server.address == ""


def is_alive(pid):
    """Whether a process is there and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
