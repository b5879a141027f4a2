"""What a call of a remote model can take at most, and what it took."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from coterie.accounting.meter import most_read, token_money
from coterie.config.accounting import TokenPrices
from coterie.errors import CoterieError, EngineError, TooLong
from coterie.limits.storage import nano
from coterie.types import Amount, Failure, Output, Prompt


def most_of(prompt: Prompt, prices: TokenPrices) -> Amount:
    """Return the most that one try can take: a token a byte of the prompt, and all that it may write."""
    tokens_in = most_read(prompt)
    return Amount(tokens_in + prompt.max_tokens, _money(tokens_in, prompt.max_tokens, prices))


def taken_by_answers(most: Sequence[Amount], outputs: Sequence[Output], prices: TokenPrices) -> Amount:
    """Return what answered calls took: their tokens, and the most of each try before that was not turned away."""
    took = Amount()
    for each, output in zip(most, outputs, strict=True):
        used = output.usage.tokens_in, output.usage.tokens_out
        took += Amount(sum(used), _money(*used, prices)) + each * _billed(output.failures)
    return took


def taken_by_failure(most: Amount, error: CoterieError, reserved: Amount) -> Amount:
    """Return what a call of one prompt took that gave nothing: the most of each try, less those turned away.

    Args:
        most: Of one try.
        error: How it ended: an `EngineError`, `Overloaded` or `TooLong`.
        reserved: What was reserved for it; all of it counts where the engine does not say what it tried.
    """
    failures: Sequence[Failure] = getattr(error, "failures", ())
    if isinstance(error, TooLong):
        return Amount()
    if not failures and isinstance(error, EngineError):
        return Amount() if error.turned_away else reserved
    return most * _billed(failures)


def _billed(failures: Sequence[Failure]) -> int:
    return sum(not failure.turned_away for failure in failures)


def _money(tokens_in: int, tokens_out: int, prices: TokenPrices) -> int:
    money = token_money(Decimal(tokens_in), Decimal(tokens_out), price_in=prices.tokens_in, price_out=prices.tokens_out)
    return nano(money or Decimal(0))
