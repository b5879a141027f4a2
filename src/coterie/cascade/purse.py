"""What may be spent on models that cost money: a purse of the whole network, an allowance of one request.

Both stand before the engine, under whatever asks it. So fallbacks, hedges and second questions come out of the same
money, and the worst that a call can cost, retries included, is set aside before it is made: a sum is never overdrawn.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from decimal import Decimal
from typing import cast

from coterie.accounting.meter import FRAME_TOKENS, most_read, token_money
from coterie.errors import BudgetExceeded
from coterie.protocols import StreamingEngine
from coterie.types import Delta, Output, Prompt, Reason, Verdict

_REQUESTS = 1000
"""A budget is money per so many requests; a purse holds no more than it."""


@dataclass(frozen=True, kw_only=True)
class Price:
    """What a model costs."""

    price_in: Decimal | None
    """A million prompt tokens; None is unknown."""
    price_out: Decimal | None
    retries: int = 0
    """Further tries that the engine makes by itself."""

    def most(self, prompt: Prompt) -> Decimal | None:
        """The most that a prompt, and the turn that it begins, can cost. None where the price is unknown."""
        once = self.of(most_read(prompt) + FRAME_TOKENS, prompt.max_tokens)
        return None if once is None else once * (1 + self.retries)

    def of(self, tokens_in: int, tokens_out: int) -> Decimal | None:
        """What so many tokens cost."""
        return token_money(Decimal(tokens_in), Decimal(tokens_out), price_in=self.price_in, price_out=self.price_out)


class Purse:
    """Money that comes in with each request and goes out with each call; never below zero."""

    def __init__(self, per_1000: Decimal, *, of: str = "the network") -> None:
        self.per_1000 = per_1000
        self.of = of
        self.left = Decimal(0)

    def earn(self) -> None:
        """One more request: its share comes in. What is saved up is at most the budget of a thousand."""
        self.left = min(self.left + self.per_1000 / _REQUESTS, max(self.left, self.per_1000))

    def take(self, amount: Decimal) -> bool:
        """Set an amount aside, if there is as much."""
        if amount > self.left:
            return False
        self.left -= amount
        return True

    def give_back(self, amount: Decimal) -> None:
        """What was set aside and not spent."""
        self.left += amount


_allowance: ContextVar[Purse | None] = ContextVar("coterie_allowance", default=None)


@contextmanager
def allowance(budget: Decimal | None) -> Iterator[None]:
    """What is asked inside, and in tasks begun inside, may cost one request's share of a budget; None sets no limit."""
    if budget is None:
        yield
        return
    purse = Purse(budget, of="this request")
    purse.earn()
    before = _allowance.get()
    _allowance.set(purse)
    try:
        yield
    finally:
        # Not by a token: an async generator may be closed from another context than it began in.
        _allowance.set(before)


class BudgetedEngine:
    """An engine that is asked only as far as purse and allowance reach."""

    def __init__(self, engine: StreamingEngine, price: Price, purse: Purse | None) -> None:
        self.name = engine.name
        self.clearance = engine.clearance
        self._engine = engine
        self._price = price
        self._purse = purse

    async def run(self, batch: Sequence[Prompt]) -> Sequence[Output]:
        """One output a prompt. Raises `BudgetExceeded`, and asks nothing, where the money does not reach."""
        with self._paying(batch) as outputs:
            outputs.extend(await self._engine.run(batch))
        return outputs

    async def stream(self, prompt: Prompt) -> AsyncIterator[Delta | Output]:
        """Pieces, then the output. Raises `BudgetExceeded` before anything is asked."""
        with self._paying([prompt]) as outputs:
            pieces = cast("AsyncGenerator[Delta | Output, None]", self._engine.stream(prompt))
            async with aclosing(pieces) as events:
                async for event in events:
                    if isinstance(event, Output):
                        outputs.append(event)
                    yield event

    async def close(self) -> None:
        """Free what the engine holds."""
        await self._engine.close()

    @contextmanager
    def _paying(self, prompts: Sequence[Prompt]) -> Iterator[list[Output]]:
        """Set aside the most it can cost; afterwards give back what the outputs did not. A failed call keeps it all."""
        purses = [purse for purse in (self._purse, _allowance.get()) if purse is not None]
        amounts = [self._price.most(prompt) for prompt in prompts] if purses else []
        most = sum((amount for amount in amounts if amount is not None), Decimal(0))
        if None in amounts:
            raise _refused(Reason("budget.price_unknown", model=self.name))
        for place, purse in enumerate(purses):
            if not purse.take(most):
                for taken in purses[:place]:
                    taken.give_back(most)
                left = max(purse.left, Decimal(0))
                raise _refused(
                    Reason(
                        "budget.share_used_up",
                        model=self.name,
                        most=f"{most.normalize():f}",
                        of=purse.of,
                        left=f"{left.normalize():f}",
                        per_1000=str(purse.per_1000),
                    )
                )
        outputs: list[Output] = []
        yield outputs
        if purses and len(outputs) == len(prompts):
            used = [self._price.of(each.usage.tokens_in, each.usage.tokens_out) or Decimal(0) for each in outputs]
            for purse in purses:
                purse.give_back(max(most - sum(used, Decimal(0)), Decimal(0)))


def _refused(reason: Reason) -> BudgetExceeded:
    return BudgetExceeded(
        Verdict(allowed=False, rule="budget", reason=reason),
        hint="Raise `budget` ([cascade] in coterie.toml, or the request's own), or set the model's prices.",
    )
