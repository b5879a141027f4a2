"""What answering takes beside the steps has a row of its own."""

from functools import partial

from coterie.accounting.energy import OVERHEAD, ProcessOverhead
from coterie.network.gathering import charged
from coterie.runtime.cpu import SharedTime
from coterie.types import Step, Usage


def test_shared_and_complete():
    """Those at work share what nobody claims; what comes after a row was made is in the next; nothing is lost."""
    rest = 5.0  # before anybody came
    overhead = ProcessOverhead(lambda: rest)
    with overhead.attend() as first:
        rest = 6.0
        with overhead.attend() as second:
            rest = 8.0
            step = first.step()
            assert (step.producer, step.engine, step.usage.cpu_seconds) == (OVERHEAD, "python", 2.0)
            rest = 10.0  # a half each: the first is written down
        assert second.reported == 0.0
        rest = 11.0
    rest = 100.0  # nobody is at work
    with overhead.attend() as third:
        rest = 101.0
        assert third.step().usage.cpu_seconds == 1.0 + (1.0 + 1.0) + 2.0


def test_never_negative():
    """A step that is known late lowers what was nobody's: the row says 0, and the next makes up for it."""
    rest = 0.0
    overhead = ProcessOverhead(lambda: rest)
    with overhead.attend() as first:
        rest = -1.0
        assert first.step().usage.cpu_seconds == 0.0
    with overhead.attend() as second:
        rest = 2.0
        assert second.step().usage.cpu_seconds == 2.0


def test_charged():
    """A bill goes to the last step of the same engine, or is a step of its own."""
    steps = (
        Step(producer="reply", engine="small", usage=Usage(cpu_seconds=1.0)),
        Step(producer="reply", engine="small", usage=Usage(tokens_out=3)),
    )
    bill = [("small", Usage(cpu_seconds=2.0)), ("index", Usage(cpu_seconds=4.0))]
    first, second, third = charged(steps, "reply", bill)
    assert first == steps[0]
    assert (second.usage.tokens_out, second.usage.cpu_seconds) == (3, 2.0)
    assert (third.producer, third.engine, third.usage.cpu_seconds) == ("reply", "index", 4.0)


def test_looked_at_once_in_a_while(monkeypatch):
    """The clock is read once in a while, what is said in between goes on at its pace, and nothing is lost."""
    now, rest, looks = 0.0, 0.0, 0

    def spent():
        nonlocal looks
        looks += 1
        return rest

    monkeypatch.setattr("coterie.accounting.energy.SharedTime", partial(SharedTime, wall=lambda: now))
    overhead = ProcessOverhead(spent, every=1.0)
    rows = 0.0
    for _ in range(200):  # one after another, each of 40 ms with half a core busy, 60 ms idle but for a hundredth
        with overhead.attend() as one:
            now, rest = now + 0.03, rest + 0.015
            rows += one.step().usage.cpu_seconds
            now, rest = now + 0.01, rest + 0.005
        now, rest = now + 0.06, rest + 0.0006
    assert looks < 30
    assert rest * 0.9 < rows <= rest


def test_pace_of_several_at_once(monkeypatch):
    """Of two at work each gets what it was there for, and together they get all."""
    now, rest = 0.0, 0.0
    monkeypatch.setattr("coterie.accounting.energy.SharedTime", partial(SharedTime, wall=lambda: now))
    overhead = ProcessOverhead(lambda: rest, every=0.5)
    with overhead.attend() as first:
        now, rest = 1.0, 1.0
        with overhead.attend() as second:
            now, rest = 3.0, 3.0
            assert first.step().usage.cpu_seconds == 2.0
            assert second.step().usage.cpu_seconds == 1.0
