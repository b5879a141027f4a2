"""Jobs of the console: one at a time, known to every worker, and going on without the one that started them."""

import asyncio
import json
import time

import pytest

from coterie.console.jobs import Jobs, write_view
from coterie.errors import InputError, Overloaded


@pytest.fixture
async def jobs_of():
    """Makes those of one worker; at the end all of their processes have ended."""
    made = []

    def make(folder, opened=None):
        async def reopen():
            if opened is not None:
                opened.append(True)

        made.append(Jobs(folder, reopen, clock=lambda: 1_790_000_000.0))
        return made[-1]

    yield make
    await asyncio.gather(*(task for jobs in made for task in jobs._watching))


async def ended(jobs, job):
    """The job, once it has ended."""
    while (view := await asyncio.to_thread(jobs.show, job)).state == "running":
        await asyncio.to_thread(time.sleep, 0.02)
    return view


async def test_a_job_and_what_came_of_it(tmp_path, jobs_of):
    """What it prints is kept, its result is read, and the network is opened anew; another worker sees the same."""
    opened = []
    one, other = jobs_of(tmp_path, opened), jobs_of(tmp_path)
    job = await one.start("train", "x", [["--version"]], key="k", reopens=True)
    with pytest.raises(Overloaded):
        await other.start("train", "y", [["--version"]], key="k")
    view = await ended(other, job)
    assert (view.state, view.code, view.name) == ("done", 0, "x")
    await asyncio.gather(*one._watching)
    assert opened == [True]
    assert [entry.id for entry in other.list()] == [job]


async def test_a_worker_that_was_opened_later_has_what_was_trained(tmp_path):
    """A training is done where its version serves: not yet in a worker that was there before, and in a new one at once.

    The worker that started it was replaced before it could say that it serves.
    """

    async def reopen():
        raise AssertionError("no job was started here")

    job, now = "1790000000-abcdef", 1_790_000_010.5
    (tmp_path / "state" / "console" / "jobs" / job).mkdir(parents=True)
    view = {"kind": "train", "name": "x", "command": ["train"], "started": now - 9, "key": "k", "reopens": True}
    write_view(tmp_path / "state" / "console" / "jobs" / job, {**view, "code": 0, "ended": now})
    states = [
        Jobs(tmp_path, reopen, clock=lambda: now + 3, opened=opened).show(job).state
        for opened in (now - 100, int(now) - 1, int(now), now + 2)
    ]
    assert states == ["running", "running", "done", "done"]
    assert Jobs(tmp_path, reopen, clock=lambda: now + 61, opened=now - 100).show(job).state == "done"


async def test_of_several_commands_the_first_that_fails_ends_it(tmp_path, jobs_of):
    """And what it said stands in the log."""
    jobs = jobs_of(tmp_path, opened := [])
    view = await ended(jobs, await jobs.start("train", "x", [["train"], ["--version"]], key="k", reopens=True))
    assert (view.state, opened) == ("failed", [])
    assert "coterie.toml" in "\n".join(view.log)


async def test_another_worker_stops_it(tmp_path, jobs_of):
    """The command is told, and the job has ended as failed."""
    (tmp_path / "coterie.toml").write_text('[network]\nname = "n"\n')
    one, other = jobs_of(tmp_path), jobs_of(tmp_path)
    job = await one.start("train", "x", [["serve", "--port", "0"]], key="k")
    await other.stop(job)
    assert (await ended(other, job)).state == "failed"
    await other.stop(job)  # it is gone: nothing to do


def test_a_job_whose_process_was_killed_is_lost(tmp_path, jobs_of):
    """Nobody holds its lock, and no end is noted."""
    jobs = jobs_of(tmp_path)
    job_folder = jobs.folder / "1790000000-abcdef"
    job_folder.mkdir(parents=True)
    view = {"kind": "train", "name": "x", "command": ["train"], "started": 5.0, "key": "", "commands": [["train"]]}
    (job_folder / "job.json").write_text(json.dumps(view))
    assert jobs.show(job_folder.name).state == "lost"
    with pytest.raises(InputError):
        jobs.show("1790000000-ffffff")
