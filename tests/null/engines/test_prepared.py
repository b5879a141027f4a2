"""What follows an encoder's vectors is made in its thread, where somebody asks for it and the encoder has the time."""

import asyncio
import gc
import threading

import numpy as np
import pytest

from coterie.engines.batching import Batcher
from coterie.engines.onnx import OnnxEncoder, _Asked
from coterie.runtime.caches import BatchMemo
from coterie.types import Prompt


class Noting:
    """Notes in which thread it worked."""

    def __init__(self):
        self.threads = []

    def __call__(self, vectors):
        """The sum of each vector."""
        self.threads.append(threading.current_thread())
        return vectors.sum(axis=1)


@pytest.fixture
async def encoder():
    """The one that ships with the package."""
    made = OnnxEncoder.bundled()
    yield made
    await made.close()


async def asked(encoder, memo, text):
    """What the memo has for a text's vector, and the vector."""
    (output,) = await encoder.run([Prompt(text=text)])
    made, row = memo.of(output.vector)
    return made[row], output.vector


async def test_an_encoder_prepares_what_is_asked(encoder):
    """After some requests it is made in the encoder's thread, with the same result; before, where it is asked."""
    work, here = Noting(), threading.current_thread()
    memo = BatchMemo(work)
    encoder.follow(memo)
    for number in range(30):
        prepared, vector = await asked(encoder, memo, f"text {number}")
        assert prepared == vector.sum()
    assert work.threads[0] is here
    assert here not in work.threads[-5:]
    assert len(work.threads) == 30


async def test_an_encoder_holds_no_memo(encoder):
    """Of a network that is gone nothing is prepared any more."""
    work = Noting()
    memo = BatchMemo(work)
    encoder.follow(memo)
    del memo
    gc.collect()
    encoder.follow(again := BatchMemo(work))
    assert len(encoder._model.followers) == 1
    await encoder.run([Prompt(text="a text")])
    assert again is not None


def test_while_texts_wait_nothing_is_prepared():
    """The encoder is what is short of time then."""
    work, encoder = Noting(), OnnxEncoder.bundled()
    memo = BatchMemo(work)
    encoder.follow(memo)
    for _ in range(30):
        encoded = encoder._model.encode([_text("a text")])
        encoder._model.prepare(encoded, 0)
        memo.of(encoded[0].vector)
    made = len(work.threads)
    encoder._model.prepare(encoder._model.encode([_text("a text")]), 1)
    assert len(work.threads) == made
    encoder._model.prepare(encoder._model.encode([_text("a text")]), 0)
    assert len(work.threads) == made + 1


def _text(text):
    return _Asked(text, states=False)


async def test_what_is_done_then_knows_who_waits():
    """It has the results before anybody else, and hears how many items no worker has taken."""
    seen, gate, loop = [], threading.Event(), asyncio.get_running_loop()
    busy = asyncio.Event()

    def work(items):
        loop.call_soon_threadsafe(busy.set)
        gate.wait(30)
        return [item * 2 for item in items]

    batcher = Batcher(
        work, engine="doubles", max_batch=2, then=lambda results, waiting: seen.append((results, waiting))
    )
    first = asyncio.create_task(batcher.run([1]))
    await busy.wait()
    second = asyncio.create_task(batcher.run([2, 3, 4]))
    await asyncio.sleep(0)
    gate.set()
    assert await first == [2]
    assert await second == [4, 6, 8]
    assert seen == [([2], 3), ([4, 6], 1), ([8], 0)]
    await batcher.close()


def test_vectors_of_one_batch_are_prepared_together():
    """Two texts of a length share a call, and each finds its own row."""
    work, encoder = Noting(), OnnxEncoder.bundled()
    memo = BatchMemo(work)
    encoder.follow(memo)
    encoded = encoder._model.encode([_text("one text"), _text("two text")])
    for output in encoded:
        made, row = memo.of(output.vector)
        assert np.isclose(made[row], output.vector.sum())
    assert len(work.threads) == 1
