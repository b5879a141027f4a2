import asyncio

import pytest

from coterie.engines.openai import CircuitBreaker
from coterie.errors import EngineRejected, EngineTimeout, EngineUnavailable, Overloaded
from coterie.testing import FakeClock


@pytest.fixture
def clock():
    """A clock in the test's hand."""
    return FakeClock()


@pytest.fixture
def breaker(clock):
    """One that opens after three failures for 30 seconds."""
    return CircuitBreaker("e", threshold=3, cooldown=30, clock=clock)


def attempt(breaker, error=None):
    """One try, with this outcome."""
    with breaker.attempt():
        if error is not None:
            raise error


def fail(breaker, times, error=None):
    """Tries that fail."""
    error = error or EngineTimeout("late", engine="e")
    for _ in range(times):
        with pytest.raises(type(error)):
            attempt(breaker, error)


def test_opens_after_failures_in_a_row(breaker):
    """The third failure in a row opens it; a success in between starts the count again."""
    fail(breaker, 2)
    attempt(breaker)
    fail(breaker, 2)
    assert not breaker.is_open
    fail(breaker, 1)
    assert breaker.is_open
    with pytest.raises(EngineUnavailable, match="failed 3 times in a row") as refusal:
        attempt(breaker)
    assert refusal.value.retry_after == 30


def test_probe_closes(breaker, clock):
    """After the cooldown a try goes through, and its success closes the circuit."""
    fail(breaker, 3)
    clock.advance(30)
    attempt(breaker)
    assert not breaker.is_open
    fail(breaker, 2)
    assert not breaker.is_open, "the count starts again"


def test_probe_fails(breaker, clock):
    """A failed probe opens it for another cooldown."""
    fail(breaker, 3)
    clock.advance(30)
    fail(breaker, 1)
    clock.advance(29)
    with pytest.raises(EngineUnavailable, match="not asked"):
        attempt(breaker)


def test_one_probe_at_a_time(breaker, clock):
    """While the probe is under way, others are refused; an older try that ends meanwhile changes nothing."""
    with breaker.attempt():  # from before the failures, ends first
        fail(breaker, 3)
        clock.advance(30)
        probe = breaker.attempt()
        probe.__enter__()
        with pytest.raises(EngineUnavailable, match="not asked"):
            attempt(breaker)
    probe.__exit__(None, None, None)
    assert not breaker.is_open


def test_older_try_does_not_free_the_probe(breaker, clock):
    """An older try that is abandoned during the probe lets no second probe in."""
    older = breaker.attempt()
    older.__enter__()
    fail(breaker, 3)
    clock.advance(30)
    with breaker.attempt():
        older.__exit__(asyncio.CancelledError, asyncio.CancelledError(), None)
        with pytest.raises(EngineUnavailable, match="not asked"):
            attempt(breaker)


def test_abandoned_probe(breaker, clock):
    """A probe whose caller goes away says nothing: the next try is the probe."""
    fail(breaker, 3)
    clock.advance(30)
    with pytest.raises(asyncio.CancelledError):
        attempt(breaker, asyncio.CancelledError())
    attempt(breaker)
    assert not breaker.is_open


def test_refusals_are_no_failures(breaker):
    """A server that refuses requests is alive, and our own overload is not its fault."""
    fail(breaker, 5, EngineRejected("no", engine="e"))
    fail(breaker, 2)
    fail(breaker, 5, Overloaded("full"))
    assert not breaker.is_open
    fail(breaker, 1)
    assert breaker.is_open
