"""One thread for linear algebra and boosting, whatever a trainer loads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit the thread pools of this process to one thread each, while the context lasts.

    A library that is loaded inside the context is not limited. scikit-learn brings OpenMP, and a task imports it when
    it trains: so it is loaded first.
    """
    import sklearn.linear_model  # noqa: F401, PLC0415 - see above

    with threadpool_limits(1):
        yield
