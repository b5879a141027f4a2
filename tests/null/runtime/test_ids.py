import os

from coterie.network.network import RandomIds


def test_ids_are_new():
    """Each id is another, of one block and of many, also in a forked process."""
    ids = RandomIds()
    new_ids = {ids.new() for _ in range(1_000)}
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        os.write(write, ids.new().encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(read, 64).decode()
    assert len(new_ids | {theirs, ids.new()}) == 1_002
    assert {len(new_id) for new_id in new_ids} == {32}


def test_ids_are_in_the_order_of_time():
    """An id of a later moment comes behind those of earlier ones, whatever the clock says."""
    new_ids = [RandomIds(clock=lambda now=now: now).new() for now in (0.0, 0.001, 1.5, 1_796_000_000.0, 2.0**47 / 1000)]
    assert new_ids == sorted(new_ids)
    assert {len(RandomIds(clock=lambda now=now: now).new()) for now in (-1.0, 0.0, 1e15)} == {32}
