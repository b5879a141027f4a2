"""What is made of a vector is made once for its whole batch."""

import numpy as np

from coterie.runtime.rows import BatchMemo, products


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
    for place in (2, 0, 3, 1):
        made, row = memo.of(batch[place])
        assert np.array_equal(made[row], batch[place] * 2)
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
