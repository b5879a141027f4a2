from __future__ import annotations

import os
import threading

import pytest

from coterie.engines import llama
from coterie.engines.llama import Slots


def test_remembered_beginning():
    """A request takes the slot that read most of its beginning."""
    slots = Slots(2)
    with slots.hold(None, "bank: where is my card"), slots.hold(None, "shop: where is my parcel"):
        pass
    with slots.hold(None, "shop: refund") as shop, slots.hold(None, "bank: refund") as bank:
        assert (shop, bank) == (1, 0)


def test_adapters_apart():
    """What another adapter read does not count: the slot longest out of use is taken."""
    slots = Slots(2)
    with slots.hold("a", "the same text") as first:
        pass
    with slots.hold("b", "the same text") as second:
        pass
    with slots.hold("b", "the same text") as again:
        pass
    assert (first, second, again) == (0, 1, 1)


def test_waits():
    """While all are held, the next waits."""
    slots, order = Slots(1), []

    def other():
        with slots.hold(None, ""):
            order.append("other")

    with slots.hold(None, ""):
        thread = threading.Thread(target=other)
        thread.start()
        order.append("one")
    thread.join(5)
    assert order == ["one", "other"]


def test_nobody_waits_for_ever():
    """Sixteen requests with another adapter may begin beside one; the next lets it end first. Its own do not wait."""
    slots, began = Slots(3), []

    def other():
        with slots.hold("a", ""):
            began.append("a")

    with slots.hold("b", ""):
        for _ in range(16):
            other()
        thread = threading.Thread(target=other)
        thread.start()
        with slots.hold("b", ""):
            thread.join(0.1)
        assert len(began) == 16
    thread.join(5)
    assert len(began) == 17


LONG = "a context that several specialists are shown " * 60


def test_a_long_beginning_is_waited_for():
    """Two requests that begin as long as the one at work wait for its slot; the next takes a free one and reads it."""
    slots, began = Slots(3), []

    def other(name):
        with slots.hold(None, f"{LONG} {name}") as slot:
            began.append(slot)

    threads = [threading.Thread(target=other, args=(name,)) for name in "ab"]
    with slots.hold(None, f"{LONG} first") as first:
        for thread in threads:
            thread.start()
        _until(lambda: slots._held[0].waiting == 2)
        with slots.hold(None, f"{LONG} c") as another:
            assert another != first
    for thread in threads:
        thread.join(5)

    assert sorted(began)[0] == first
    assert len(began) == 2


def test_a_short_beginning_is_not_waited_for():
    """What is read again sooner than an answer is written takes a free slot at once, and so does another adapter."""
    slots = Slots(2)
    with slots.hold(None, LONG), slots.hold(None, LONG[:500]) as short:
        assert short == 1
    with slots.hold("a", LONG), slots.hold("b", LONG) as second:
        assert second is not None


def _until(condition):
    """Let other threads run until it holds."""
    for _ in range(5_000):
        if condition():
            return
        threading.Event().wait(0.001)
    raise AssertionError("it never came to that")


# --- How the threads of native packages wait for each other.


@pytest.mark.parametrize("preset", [None, "GOMP_SPINCOUNT", "OMP_WAIT_POLICY"])
def test_waiting_policy(monkeypatch, preset):
    """The native threads spin only a moment, unless the user said otherwise; no setting stays behind."""
    variables = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    for variable in variables:
        monkeypatch.delenv(variable, raising=False)
    if preset:
        monkeypatch.setenv(preset, "user's")
    before = dict(os.environ)
    seen = {}
    monkeypatch.setattr(llama, "import_module", lambda name: seen.update(os.environ) or name)

    assert llama.import_with_short_spin("xllamacpp") == "xllamacpp"
    assert {name: seen[name] for name in variables if name in seen} == (
        {preset: "user's"} if preset else {"GOMP_SPINCOUNT": llama.SPINS}
    )
    assert dict(os.environ) == before
