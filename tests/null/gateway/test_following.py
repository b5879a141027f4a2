"""What changes in a network's folder is served, and who is at work ends where he began."""

import asyncio
from dataclasses import replace

import pytest

from coterie.config.file import GatewaySection, load_config
from coterie.config.operation import DecisionsSection
from coterie.errors import SetupError
from coterie.gateway import serve as following
from coterie.gateway import work
from coterie.gateway.app import create_app
from coterie.gateway.serve import Follower, files_of, watch_process
from coterie.gateway.work import WorkerSlots

FILE = '[network]\nname = "test"\n'


@pytest.fixture
def folder(tmp_path):
    """A network's folder with a champion."""
    (tmp_path / "coterie.toml").write_text(FILE)
    (tmp_path / "registry" / "triage").mkdir(parents=True)
    (tmp_path / "registry" / "triage" / "champion").write_text("one")
    return tmp_path


class World:
    """A gateway, what it opened, and what was closed."""

    def __init__(self, network, folder):
        self.closed, self.names = [], iter(("second", "third", "fourth"))
        self.first, self.error, self.opened = network, None, []
        self.gateway = create_app(network, GatewaySection()).state.gateway
        self.follower = Follower(self.gateway, folder, self.open)

    async def open(self, config):
        """Another network, which says when it is closed."""
        self.opened.append(config)
        if self.error is not None:
            raise self.error
        return replace(self.first, name=next(self.names))

    async def look(self):
        """Look as often as it takes to be sure of a change."""
        for _ in range(3):
            await self.follower.look()
        return self.gateway.network.name


@pytest.fixture
def world(network, folder, monkeypatch):
    """A gateway that follows the folder; closing takes no second."""
    made = World(network, folder)

    async def close(self):
        made.closed.append(self.name)

    monkeypatch.setattr(type(network), "close", close)
    monkeypatch.setattr(work, "_PAGE_SECONDS", 0.0)
    return made


async def settled():
    """Let everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "coterie.toml").write_text(FILE + '[accounting]\ncurrency = "EUR"\n'),
        lambda folder: (folder / "registry" / "triage" / "champion").write_text("second"),
        lambda folder: (folder / "registry" / "triage" / "champion").unlink(),
    ],
    ids=["file", "champion", "none"],
)
async def test_a_change_is_served(world, folder, change):
    """Once, after two looks that found the same; nothing is opened while nothing changes."""
    assert await world.look() == "lender"
    change(folder)
    await world.follower.look()
    assert world.gateway.network.name == "lender"
    assert await world.look() == "second"
    assert await world.look() == "second"
    await settled()
    assert world.closed == ["lender"]


async def test_the_file_is_read_once(world, folder, monkeypatch):
    """What was read of a changed file is what is opened."""
    read = []
    monkeypatch.setattr(following, "load_config", lambda path: read.append(load_config(path)) or read[-1])
    (folder / "coterie.toml").write_text(FILE + '[accounting]\ncurrency = "EUR"\n')
    assert await world.look() == "second"
    assert read == world.opened
    assert [config.accounting.currency for config in read] == ["EUR"]


async def test_drawn_options_stay(world, folder):
    """What texts have drawn is in memory alone, and a promotion is no reason to forget it."""
    world.first.deciding = DecisionsSection(adapt=True)
    drawing = world.first.decider.floor.drawing
    (folder / "registry" / "triage" / "champion").write_text("two")
    assert await world.look() == "second"
    assert world.gateway.network is not world.first
    assert world.gateway.network.decider.floor.drawing is drawing


async def test_a_network_that_is_never_open(world, folder, caplog):
    """Is waited for so long, and what serves stays; the next change is opened."""
    slow = asyncio.Event()
    world.gateway.section = world.gateway.section.model_copy(update={"start_seconds": 0.01})
    world.follower._open = lambda config: slow.wait()
    (folder / "registry" / "triage" / "champion").write_text("two")
    assert await world.look() == "lender"
    assert "start_seconds" in caplog.text
    world.follower._open = world.open
    world.gateway.section = world.gateway.section.model_copy(update={"start_seconds": 60})
    (folder / "registry" / "triage" / "champion").write_text("third one")
    assert await world.look() == "second"


async def test_what_cannot_be_opened_changes_nothing(world, folder, caplog):
    """Neither a file that is wrong nor a version that is: it is said once, and the repair is served."""
    (folder / "coterie.toml").write_text("[nonsense]\n")
    assert await world.look() == "lender"
    assert caplog.text.count("What has changed is not served") == 1
    (folder / "coterie.toml").write_text(FILE)
    world.error = SetupError("damaged", hint="train again")
    assert await world.look() == "lender"
    assert "damaged train again" in caplog.text
    world.error = ValueError("unforeseen")
    (folder / "registry" / "triage" / "champion").write_text("another")
    assert await world.look() == "lender"
    world.error = None
    (folder / "registry" / "triage" / "champion").write_text("repaired")
    assert await world.look() == "second"
    assert world.closed == []


async def test_who_is_at_work_ends_where_he_began(world, folder):
    """The network before is closed once those of its time have left, however many come after them."""
    slots = world.gateway.admission
    with slots.admit():
        await world.follower.reopen()
        await settled()
        assert world.closed == []
        later = slots.admit()
        later.__enter__()
    await settled()
    assert world.closed == ["lender"]
    await world.follower.reopen()
    await settled()
    assert world.closed == ["lender"]
    later.__exit__(None, None, None)
    await settled()
    assert world.closed == ["lender", "second"]


async def test_leaving():
    """Only those who are inside at the moment are waited for, those of earlier moments among them."""
    slots = WorkerSlots(concurrency=4, queue=0)
    assert slots.leaving() == []
    first, second = slots.admit(), slots.admit()
    first.__enter__()
    early = slots.leaving()
    second.__enter__()
    both = slots.leaving()
    second.__exit__(None, None, None)
    assert [event.is_set() for event in both].count(False) == 1
    assert not early[0].is_set()
    first.__exit__(None, None, None)
    assert all(event.is_set() for event in (*early, *both))
    assert slots.leaving() == []


def test_what_a_supervisor_watches(folder):
    """What a process takes at its start alone; neither prices, nor champions, nor a file that cannot be read."""
    look = watch_process(folder)
    first = look()
    (folder / "coterie.toml").write_text(FILE + '[accounting]\nprice_per_cpu_hour = "1"\n')
    (folder / "registry" / "triage" / "champion").write_text("second")
    assert look() == first
    (folder / "coterie.toml").write_text("[nonsense]\n")
    assert look() == first
    (folder / "coterie.toml").write_text(FILE + "[gateway]\nqueue = 3\n")
    assert look() != first


def test_a_folder_without_anything(tmp_path):
    """Files that are not there are told from files that are."""
    before = files_of(tmp_path)
    (tmp_path / "coterie.toml").write_text(FILE)
    assert files_of(tmp_path) != before
