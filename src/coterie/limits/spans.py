"""The spans of budgets: a minute and an hour slide, a day and a month are those of the clock, in UTC.

A span that slides is counted in sixty pieces and the one that has begun: never more than a limit in any minute, and
what was taken is free again a minute and at most a second later. In a minute of the clock a caller could take a limit
at its end and another at the beginning of the next.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

EVER = "0"
"""The one piece of a budget that never begins anew: before every date, so a budget that is made one of a day is free of
it; and one of a day that is made one for ever has all its days behind it."""
_CLOCK = {"day": "%Y-%m-%d", "month": "%Y-%m", "ever": EVER}
_SLIDING = {"minute": ("%Y-%m-%dT%H:%M:%S", 1), "hour": ("%Y-%m-%dT%H:%M", 60)}
"""How a piece of such a span is named, and its seconds."""
_PIECES = 60


class BudgetSpan(NamedTuple):
    """What counts at a moment. Names of pieces are in the order of time."""

    per: str
    now: str
    """The piece in which is counted what is taken now: of a span of the clock there is one."""
    since: str
    """The first piece that counts."""
    seconds: float
    """The moment, since the epoch."""

    @property
    def slides(self) -> bool:
        """Whether earlier pieces leave it one by one."""
        return self.per in _SLIDING

    @property
    def name(self) -> str:
        """For people: `2026-11-25`, `the last minute`."""
        return f"the last {self.per}" if self.slides else "ever" if self.now == EVER else self.now

    def wait(self, piece: str | None) -> float | None:
        """Seconds until a piece counts no more, or a span of the clock has ended; None for never."""
        now = datetime.fromtimestamp(self.seconds, UTC)
        match self.per:
            case "minute" | "hour":
                if piece is None:
                    return None
                began = datetime.fromisoformat(piece).replace(tzinfo=UTC)
                ends = began + timedelta(seconds=(_PIECES + 1) * _SLIDING[self.per][1])
            case "day":
                ends = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
            case "month":
                first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
                ends = (first + timedelta(days=32)).replace(day=1)
            case _:
                return None
        return (ends - now).total_seconds()


@lru_cache(maxsize=64)
def piece_of(per: str, second: int) -> str:
    """The piece of a span in which is counted what is taken in a second; each call of a model asks."""
    return span_of(per, second).now


def span_of(per: str, seconds: float) -> BudgetSpan:
    """The span that counts at a moment, in seconds since the epoch."""
    now = datetime.fromtimestamp(seconds, UTC)
    if per not in _SLIDING:
        name = now.strftime(_CLOCK[per])
        return BudgetSpan(per, name, name, seconds)
    form, width = _SLIDING[per]
    since = now - timedelta(seconds=_PIECES * width)
    return BudgetSpan(per, now.strftime(form), since.strftime(form), seconds)
