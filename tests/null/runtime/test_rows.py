"""What is made of a vector is made once for its whole batch."""

import numpy as np
import pytest

from coterie.engines.onnx import KnownVector, OnnxEncoder
from coterie.runtime import process
from coterie.runtime.caches import BatchMemo, KnownTexts, products
from coterie.types import CallContext, Principal, Prompt


class Doubles:
    """Doubles vectors, and counts how often it was asked."""

    def __init__(self):
        self.shapes = []

    def __call__(self, vectors):
        """Twice each."""
        self.shapes.append(vectors.shape)
        return vectors * 2


def test_rows_of_one_batch_share_a_call():
    """Each row gets its own result, whichever is asked first, and the work is done once for all of them."""
    batch, work = np.array([[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]], dtype=np.float32), Doubles()
    memo = BatchMemo(work)
    for position in (2, 0, 3, 1):
        made, row = memo.of(batch[position])
        assert np.array_equal(made[row], batch[position] * 2)
    assert work.shapes == [(4, 3)]

    other = np.ones((2, 3), dtype=np.float32)
    made, row = memo.of(other[1])
    assert np.array_equal(made[row], [2, 2, 2])
    assert work.shapes == [(4, 3), (2, 3)]


def test_what_is_no_row_is_asked_alone():
    """A vector of its own, a part of a row and a row of very many are asked alone."""
    batch, work = np.eye(4, dtype=np.float32), Doubles()
    memo = BatchMemo(work)
    for vector in (batch[1].copy(), batch[1][:2], batch[1, 1:], np.ones((99, 4))[5]):
        made, row = memo.of(vector)
        assert np.array_equal(made[row], vector * 2)
    assert [shape[0] for shape in work.shapes] == [1] * 4


def test_few_and_many_products_agree():
    """A few vectors are multiplied one by one, many together, with the same result."""
    random = np.random.default_rng(0)
    vectors, others = random.normal(size=(40, 8)), random.normal(size=(5, 8))
    assert np.allclose(products(vectors, others)[:3], products(vectors[:3], others))
    assert products(vectors[:0], others).shape == (0, 5)


def test_vector_of_a_buffer():
    """A vector that lies in bytes is no row of a batch."""
    vector = np.frombuffer(np.ones(3, dtype=np.float32).tobytes(), dtype=np.float32)
    made, row = BatchMemo(Doubles()).of(vector)
    assert np.array_equal(made[row], [2, 2, 2])


def asked_about(memo, batch):
    """Ask about each row of a batch."""
    return [memo.of(row) for row in batch]


def test_batches_that_are_asked_about_are_prepared():
    """Once most batches are asked about, they are made where they come from, and nobody who asks makes them again."""
    work, batches = Doubles(), [np.full((2, 3), number, dtype=np.float32) for number in range(40)]
    memo = BatchMemo(work)
    for batch in batches[:30]:
        memo.prepare(batch)
        asked_about(memo, batch)
    work.shapes.clear()
    for batch in batches[30:]:
        memo.prepare(batch)
    assert work.shapes == [(2, 3)] * 10
    for batch in batches[-8:]:  # whoever encodes is ahead of whoever asks
        for made, row in asked_about(memo, batch):
            assert np.array_equal(made[row], batch[0] * 2)
    assert work.shapes == [(2, 3)] * 10


def test_batches_that_nobody_asks_about_are_not_prepared():
    """What few texts need is made for those alone; also where it was prepared before."""
    work = Doubles()
    memo = BatchMemo(work)
    for number in range(60):
        batch = np.full((1, 3), number, dtype=np.float32)
        memo.prepare(batch)
        if number % 4 == 0:
            asked_about(memo, batch)
    assert len(work.shapes) == 15

    for _ in range(60):
        batch = np.ones((1, 3), dtype=np.float32)
        memo.prepare(batch)
        asked_about(memo, batch)
    work.shapes.clear()
    for _ in range(60):
        memo.prepare(np.ones((1, 3), dtype=np.float32))
    assert 8 < len(work.shapes) < 30


def test_what_cannot_be_prepared_fails_where_it_is_asked():
    """An error is none of the encoder's: who asks gets it."""

    def work(vectors):
        raise ValueError("not of this kind")

    memo = BatchMemo(work)
    for _ in range(40):
        batch = np.ones((2, 3), dtype=np.float32)
        memo.prepare(batch)
        with pytest.raises(ValueError, match="not of this kind"):
            memo.of(batch[0])


# --- Freed memory is given back, or left alone where the C library cannot.


class Library:
    """A C library with these functions."""

    def __init__(self, **functions):
        self.__dict__ |= functions


@pytest.mark.parametrize(("platform", "asked"), [("linux", [0]), ("darwin", [])])
def test_gives_back(monkeypatch, platform, asked):
    """Where there is `malloc_trim`, it is asked once to keep nothing; elsewhere nothing is."""
    calls = []
    monkeypatch.setattr(process.sys, "platform", platform)
    monkeypatch.setattr(process.ctypes, "CDLL", lambda _: Library(malloc_trim=calls.append))
    process.give_back()
    assert calls == asked


def test_another_library(monkeypatch):
    """A library without it (musl) is no error."""
    monkeypatch.setattr(process.ctypes, "CDLL", lambda _: Library())
    process.give_back()


# --- Known vectors: each tenant's own, bounded, and the same as a new one.


ONE = KnownVector(np.ones(2), 3, truncated=False)


def call_of(tenant):
    """A call on behalf of a tenant."""
    return CallContext(principal=Principal(tenant=tenant))


def test_each_tenant_has_its_own():
    """What one tenant asked is not known to another: time would tell."""
    known_texts = KnownTexts(8)
    known_texts.put("a", "my parcel", ONE)
    assert known_texts.get("a", "my parcel") is ONE
    assert known_texts.get("a", "My parcel") is None
    assert known_texts.get("b", "my parcel") is None


def test_no_text_is_kept():
    """Only a keyed hash, another one in each process."""
    first, second = KnownTexts(8), KnownTexts(8)
    for known_texts in (first, second):
        known_texts.put("a", "a secret parcel", ONE)
    assert "parcel" not in repr(vars(first))
    assert set(first._tenants["a"]) != set(second._tenants["a"])


def test_room():
    """The tenant that has most gives up what it used longest ago; a small one is not pushed out by a large one."""
    known_texts = KnownTexts(4)
    known_texts.put("small", "x", ONE)
    for text in "abc":
        known_texts.put("large", text, ONE)
    known_texts.get("large", "a")
    known_texts.put("large", "d", ONE)
    assert len(known_texts) == 4
    assert known_texts.get("large", "b") is None
    assert known_texts.get("large", "a") is known_texts.get("small", "x") is ONE
    KnownTexts(0).put("a", "x", ONE)


@pytest.fixture
async def encoder():
    """The bundled one, with its native calls counted."""
    encoder = OnnxEncoder.bundled()
    encoder.texts = []
    vectors = encoder._model.vectors
    encoder._model.vectors = lambda ids: encoder.texts.append(len(ids)) or vectors(ids)
    yield encoder
    await encoder.close()


async def test_a_known_text_is_not_encoded_again(encoder):
    """For the same tenant; it took no CPU time, and counts as many tokens."""
    (first,) = await encoder.run([Prompt(text="Where is my parcel?")], call=call_of("a"))
    again, other = await encoder.run([Prompt(text="Where is my parcel?"), Prompt(text="A card.")], call=call_of("a"))
    await encoder.run([Prompt(text="Where is my parcel?")], call=call_of("b"))

    assert encoder.texts == [1, 1, 1]
    assert np.array_equal(first.vector, again.vector)
    assert not np.array_equal(first.vector, other.vector)
    assert (again.usage.tokens_in, again.usage.cpu_seconds) == (first.usage.tokens_in, 0.0)
    assert first.usage.cpu_seconds > 0
    assert not again.vector.flags.writeable


async def test_states_are_not_kept(encoder):
    """They are large: whoever wants them has the text encoded."""
    prompt = Prompt(text="Where is my parcel?", states=True)
    outputs = [await encoder.run([prompt], call=call_of("a")) for _ in range(2)]
    assert all(output.states is not None for (output,) in outputs)
