"""A circuit breaker: stops asking a server that fails, and tries it again with a single request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from coterie.errors import EngineError, EngineUnavailable


class CircuitBreaker:
    """Opens after `threshold` failures in a row; after `cooldown` seconds lets one probe decide.

    Only retryable engine errors count as failures: a server that refuses a request is alive.
    """

    def __init__(self, engine: str, *, threshold: int, cooldown: float, clock: Callable[[], float]) -> None:
        self._engine = engine
        self._threshold = threshold
        self._cooldown = cooldown
        self._clock = clock
        self._failures = 0
        self._open_until: float | None = None
        self._probing = False

    @property
    def is_open(self) -> bool:
        """True while requests are refused, or only a probe is let through."""
        return self._open_until is not None

    @contextmanager
    def attempt(self) -> Iterator[Callable[[], None]]:
        """Around each try. Raises `EngineUnavailable` at once while the circuit is open.

        Call what it gives once the whole answer is there: whoever reads a stream leaves when they have that, and
        leaving says nothing of the server.
        """
        probe = self._enter()
        failed: bool | None = None  # None: abandoned

        def answered() -> None:
            nonlocal failed
            failed = False

        try:
            yield answered
            failed = False
        except EngineError as error:
            failed = error.retryable
            raise
        finally:
            self._leave(failed=failed, probe=probe)

    def _enter(self) -> bool:
        """True when this try is the probe."""
        if self._open_until is None:
            return False
        wait = self._open_until - self._clock()
        if wait > 0 or self._probing:
            raise EngineUnavailable(
                f"Engine {self._engine!r} failed {self._failures} times in a row and is not asked for now.",
                engine=self._engine,
                retry_after=max(wait, 1.0),
            )
        self._probing = True
        return True

    def _leave(self, *, failed: bool | None, probe: bool) -> None:
        if probe:
            self._probing = False
        if failed:
            self._failures += 1
            if self._failures >= self._threshold:
                self._open_until = self._clock() + self._cooldown
        elif failed is False:
            self._failures = 0
            self._open_until = None
