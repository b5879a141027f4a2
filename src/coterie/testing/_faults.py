"""Failures on demand."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def fail_nth(call: Callable[P, R], n: int, error: BaseException) -> Callable[P, R]:
    """The same callable, sync or async, whose n-th call (from 1) raises `error` instead of doing anything.

    Run a scenario with n = 1, 2, 3 ... until it goes through untouched: every place where it can fail has
    failed once.
    """
    if n < 1:
        raise ValueError(f"calls are counted from 1, not {n}")
    count = itertools.count(1)

    @functools.wraps(call)
    def plain(*args: P.args, **kwargs: P.kwargs) -> R:
        if next(count) == n:
            raise error
        return call(*args, **kwargs)

    @functools.wraps(call)
    async def awaited(*args: P.args, **kwargs: P.kwargs) -> object:
        if next(count) == n:
            raise error
        return await call(*args, **kwargs)  # type: ignore[misc]  # R is awaitable here

    return awaited if inspect.iscoroutinefunction(call) else plain  # type: ignore[return-value]
