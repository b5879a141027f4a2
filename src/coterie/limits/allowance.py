"""A limit in memory: of one request, or of a network that earns its money request by request."""

from __future__ import annotations

from decimal import Decimal

from coterie.errors import BudgetExceeded
from coterie.limits.storage import NANO, nano
from coterie.types import Amount, Reason, Verdict

RULE = "budget"
_PER = 1000
"""Number of requests that a policy's budget is stated for."""

UNLIMITED = Amount(tokens=2**62, nano=2**62)
"""The room of an absent limit."""


class MemoryAllowance:
    """Tokens and money that are reserved before a call and settled after it.

    One event loop uses the allowance: nothing here waits, so no other task runs between a check and a change.
    """

    def __init__(
        self, of: str, *, tokens: int | None = None, money: Decimal | None = None, per_1000: Decimal | None = None
    ) -> None:
        """Create an allowance of which nothing is taken.

        Args:
            of: Its owner, for the refusal: `the network`, `this request`.
            tokens: The limit of tokens; None for none.
            money: The limit of money; None for none.
            per_1000: Money per 1,000 requests, in place of `money`: the allowance begins empty, and `earn` adds to
                it.
        """
        self._of, self._tokens = of, tokens
        self._per_1000 = per_1000 or Decimal(0)
        limit = money if per_1000 is None else Decimal(0)
        self._nano = None if limit is None else nano(limit)
        self._taken = Amount()  # with what is reserved

    @property
    def limits_money(self) -> bool:
        """Whether money is limited, so that a model of unknown price may not be called."""
        return self._nano is not None

    @property
    def left(self) -> Decimal:
        """Money that is neither spent nor reserved; 0 if money is not limited."""
        return Decimal((self._nano or 0) - self._taken.nano) / NANO

    @property
    def room(self) -> Amount:
        """Tokens and money that are neither spent nor reserved."""
        tokens = UNLIMITED.tokens if self._tokens is None else self._tokens - self._taken.tokens
        return Amount(tokens, UNLIMITED.nano if self._nano is None else self._nano - self._taken.nano)

    @property
    def used_up(self) -> Reason | None:
        """The limit that is reached, as a reason; None if none is."""
        if self._tokens is not None and self._taken.tokens >= self._tokens:
            return Reason("limit.tokens_used_up", limit=self._tokens, used=self._taken.tokens)
        if self._nano is not None and self._taken.nano >= self._nano:
            money, taken = Decimal(self._nano) / NANO, Decimal(self._taken.nano) / NANO
            return Reason("limit.money_used_up", limit=f"{money.normalize():f}", used=f"{taken.normalize():f}")
        return None

    def earn(self) -> None:
        """Add the share of one more request. At most the money for a thousand requests accumulates."""
        most = int(self._per_1000 * NANO)
        left = (self._nano or 0) - self._taken.nano
        self._nano = self._taken.nano + min(left + most // _PER, max(left, most))

    def reserve(self, amount: Amount, engine: str) -> None:
        """Reserve an amount. Raises `BudgetExceeded` if there is less."""
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
        """Replace a reservation by the amount taken."""
        self._taken += took - reserved

    def lift_money(self) -> None:
        """Stop limiting money, after something of unknown price was called."""
        self._nano = None


def network_allowance(per_1000: Decimal) -> MemoryAllowance:
    """Return the allowance of a network, empty at first: each request adds its share of money per 1,000 requests."""
    return MemoryAllowance("the network", per_1000=per_1000)


def request_allowance(per_1000: Decimal) -> MemoryAllowance:
    """Return the allowance of one request: a thousandth of the money for 1,000."""
    allowance = MemoryAllowance("this request", per_1000=per_1000)
    allowance.earn()
    return allowance


def _refused(reason: Reason) -> BudgetExceeded:
    return BudgetExceeded(
        Verdict(allowed=False, rule=RULE, reason=reason),
        hint="Raise `budget` ([policy] in coterie.toml, or the request's own).",
    )
