import os

from coterie.network.network import RandomIds


def test_ids_are_new():
    """Each id is another, of one block and of many, also in a forked process."""
    ids = RandomIds()
    found = {ids.new() for _ in range(1_000)}
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        os.write(write, ids.new().encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(read, 64).decode()
    assert len(found | {theirs, ids.new()}) == 1_002
    assert {len(each) for each in found} == {32}
