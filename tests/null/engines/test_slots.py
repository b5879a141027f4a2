import threading

from coterie.engines._slots import Slots


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
