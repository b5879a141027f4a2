"""A limit in memory: of one request, or of a network that earns its money request by request."""

from __future__ import annotations

from decimal import Decimal

from coterie.errors import BudgetExceeded
from coterie.limits.storage import NANO, nano
from coterie.types import Amount, Reason, Verdict

RULE = "budget"
_PER = 1000
"""A policy's budget is money per so many requests."""

UNLIMITED = Amount(tokens=2**62, nano=2**62)
"""The room where there is no limit."""


class MemoryAllowance:
    """Tokens and money that are reserved before a call and settled after it.

    One event loop uses it: nothing here waits, so nothing comes between a look and a change.
    """

    def __init__(
        self, of: str, *, tokens: int | None = None, money: Decimal | None = None, per_1000: Decimal | None = None
    ) -> None:
        """Describe an allowance of which nothing was taken.

        Args:
            of: Whose it is, for the refusal: `the network`, `this request`.
            tokens: The limit; None for none.
            money: The limit; None for none.
            per_1000: Money per 1,000 requests, in place of `money`: it begins with nothing, and `earn` adds to it.
        """
        self._of, self._tokens = of, tokens
        self._per_1000 = per_1000 or Decimal(0)
        limit = money if per_1000 is None else Decimal(0)
        self._nano = None if limit is None else nano(limit)
        self._taken = Amount()  # with what is reserved

    @property
    def limits_money(self) -> bool:
        """Whether a model of unknown price may not be asked under it."""
        return self._nano is not None

    @property
    def left(self) -> Decimal:
        """Money that is neither spent nor reserved; 0 where money is not limited."""
        return Decimal((self._nano or 0) - self._taken.nano) / NANO

    @property
    def room(self) -> Amount:
        """Tokens and money that are neither spent nor reserved."""
        tokens = UNLIMITED.tokens if self._tokens is None else self._tokens - self._taken.tokens
        return Amount(tokens, UNLIMITED.nano if self._nano is None else self._nano - self._taken.nano)

    @property
    def used_up(self) -> Reason | None:
        """Which limit is reached; None if none is."""
        if self._tokens is not None and self._taken.tokens >= self._tokens:
            return Reason("limit.tokens_used_up", limit=self._tokens, used=self._taken.tokens)
        if self._nano is not None and self._taken.nano >= self._nano:
            money, taken = Decimal(self._nano) / NANO, Decimal(self._taken.nano) / NANO
            return Reason("limit.money_used_up", limit=f"{money.normalize():f}", used=f"{taken.normalize():f}")
        return None

    def earn(self) -> None:
        """Add the share of one more request. What is saved up is at most the money for a thousand."""
        most = int(self._per_1000 * NANO)
        left = (self._nano or 0) - self._taken.nano
        self._nano = self._taken.nano + min(left + most // _PER, max(left, most))

    def reserve(self, amount: Amount, engine: str) -> None:
        """Set an amount aside. Raises `BudgetExceeded` if there is not as much."""
        if self._tokens is not None and self._taken.tokens + amount.tokens > self._tokens:
            left = self._tokens - self._taken.tokens
            raise _refused(Reason("limit.tokens", model=engine, most=amount.tokens, of=self._of, left=left))
        if self._nano is not None and self._taken.nano + amount.nano > self._nano:
            most = Decimal(amount.nano) / NANO
            raise _refused(
                Reason(
                    "limit.money",
                    model=engine,
                    most=f"{most.normalize():f}",
                    of=self._of,
                    left=f"{self.left.normalize():f}",
                    per_1000=str(self._per_1000),
                )
            )
        self._taken += amount

    def settle(self, reserved: Amount, took: Amount) -> None:
        """Count what was taken in place of what was reserved."""
        self._taken += took - reserved

    def lift_money(self) -> None:
        """Limit money no more, where something of unknown price was asked."""
        self._nano = None


def network_allowance(per_1000: Decimal) -> MemoryAllowance:
    """Return a network's, with nothing in it yet: each request brings its share of money per 1,000 requests."""
    return MemoryAllowance("the network", per_1000=per_1000)


def request_allowance(per_1000: Decimal) -> MemoryAllowance:
    """Return one request's: a thousandth of the money for 1,000."""
    allowance = MemoryAllowance("this request", per_1000=per_1000)
    allowance.earn()
    return allowance


def _refused(reason: Reason) -> BudgetExceeded:
    return BudgetExceeded(
        Verdict(allowed=False, rule=RULE, reason=reason),
        hint="Raise `budget` ([policy] in coterie.toml, or the request's own).",
    )
