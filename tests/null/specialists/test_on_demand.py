"""Weights that are loaded when somebody asks: once, within a budget, and never dropped under a caller."""

import asyncio
import threading
from dataclasses import dataclass, field

import pytest

from coterie.errors import ArtefactRefused, EngineUnavailable
from coterie.specialists.parts import OnDemand, WeightMemory
from coterie.testing import check_specialist, make_finding
from coterie.types import ContextView, SpecialistCard, Task, worded

TASK, VIEW = Task(text="hello"), ContextView()


@dataclass(eq=False)
class Loaded:
    """A specialist that answers when it may."""

    name: str
    may_answer: asyncio.Event | None = None
    asked: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))

    @property
    def card(self):
        return card(self.name)

    async def consult(self, task, view, *, call=None):
        self.asked.release()
        if self.may_answer is not None:
            await self.may_answer.wait()
        return make_finding("yes", specialist=self.name, reason=worded("sure"), label=task.label)


def card(name):
    return SpecialistCard(name=name, task="classify", description="", rung="lexical", version="0")


@dataclass
class Files:
    """Loads specialists, and counts how often."""

    memory: WeightMemory
    loads: list[str] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    """Raised by the next loads, one each."""
    may_load: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self):
        self.may_load.set()

    def specialist(self, name, size=10, **more):
        def load():
            assert self.may_load.wait(60)
            self.loads.append(name)
            if self.errors:
                raise self.errors.pop(0)
            return Loaded(name, **more)

        return OnDemand(card=card(name), size=size, load=load, memory=self.memory)


@pytest.fixture
def files():
    """Room for three specialists of size 10."""
    return Files(WeightMemory(30))


async def test_keeps_the_contract(files):
    """It keeps the contract of specialists."""
    await check_specialist(files.specialist("a"), TASK)


async def test_nothing_is_loaded_before_somebody_asks(files):
    """Its card is known at once; the first question loads it, the second does not."""
    who = files.specialist("a")
    assert (who.card.name, files.loads, files.memory.used) == ("a", [], 0)

    await who.consult(TASK, VIEW)
    await who.consult(TASK, VIEW)

    assert (files.loads, files.memory.used) == (["a"], 10)


async def test_first_questions_at_once_load_once(files):
    """However many ask before it is there, it is loaded once, and all are answered."""
    who = files.specialist("a")
    files.may_load.clear()
    consultations = [asyncio.create_task(who.consult(TASK, VIEW)) for _ in range(50)]
    await asyncio.sleep(0)  # every task has begun to wait
    files.may_load.set()
    findings = await asyncio.gather(*consultations)

    assert files.loads == ["a"]
    assert all(finding.accepted for finding in findings)


def test_callers_of_several_loops_share_a_load(files):
    """Threads with event loops of their own that ask at once are served by one load."""
    who = files.specialist("a")
    start = threading.Barrier(8)

    def ask():
        start.wait(60)
        asyncio.run(who.consult(TASK, VIEW))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert files.loads == ["a"]


async def test_the_least_recently_used_makes_room(files):
    """Within the budget all stay; one more drops the one not asked for longest, which is loaded again when asked."""
    a, b, c, d = (files.specialist(name) for name in "abcd")
    for who in (a, b, c, a, d):
        await who.consult(TASK, VIEW)
    assert (files.memory.names, files.memory.used) == (("c", "a", "d"), 30)

    await b.consult(TASK, VIEW)
    assert files.loads == ["a", "b", "c", "d", "b"]
    assert files.memory.names == ("a", "d", "b")


async def test_who_is_being_asked_is_not_dropped(files):
    """One that is answering stays, also beyond the budget; when it is done, the budget holds again."""
    may = asyncio.Event()
    begun = asyncio.Semaphore(0)
    busy = [files.specialist(name, may_answer=may, asked=begun) for name in "abc"]
    consultations = [asyncio.create_task(who.consult(TASK, VIEW)) for who in busy]
    for _ in busy:
        await begun.acquire()
    await files.specialist("d").consult(TASK, VIEW)
    assert set("abc") <= set(files.memory.names)

    may.set()
    await asyncio.gather(*consultations)
    assert files.memory.used <= 30


async def test_one_larger_than_the_budget_is_asked_nevertheless(files):
    """It is loaded alone and dropped when it has answered."""
    await files.specialist("a").consult(TASK, VIEW)
    finding = await files.specialist("huge", size=100).consult(TASK, VIEW)

    assert finding.accepted
    assert files.memory.names == ()


async def test_a_load_that_fails_is_told_to_all_and_tried_again(files):
    """Who waits for a load that fails hears why; the next question tries again."""
    who = files.specialist("a")
    files.errors.append(OSError("no such file"))
    files.may_load.clear()
    consultations = [asyncio.create_task(who.consult(TASK, VIEW)) for _ in range(3)]
    await asyncio.sleep(0)  # every task has begun to wait
    files.may_load.set()
    failed = await asyncio.gather(*consultations, return_exceptions=True)

    assert [error.message for error in failed] == ["The weights of 'a' cannot be loaded: OSError no such file."] * 3
    assert isinstance(failed[0], ArtefactRefused)
    assert (await who.consult(TASK, VIEW)).accepted
    assert files.loads == ["a", "a"]


async def test_its_own_errors_keep_their_kind(files):
    """What the loader says in our words is passed on as it is."""
    files.errors.append(EngineUnavailable("closed", engine="onnx"))

    with pytest.raises(EngineUnavailable):
        await files.specialist("a").consult(TASK, VIEW)


async def test_one_who_gives_up_does_not_stop_the_others(files):
    """A caller that is cancelled while it waits for a load leaves the load to those who still wait."""
    who = files.specialist("a")
    files.may_load.clear()
    first, second = (asyncio.create_task(who.consult(TASK, VIEW)) for _ in range(2))
    await asyncio.sleep(0)  # every task has begun to wait
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    files.may_load.set()

    assert (await second).accepted
    assert files.loads == ["a"]
