"""What a call of a remote model can take at most, and what it took."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial

from coterie.accounting.meter import most_read, token_money
from coterie.config.accounting import TokenPrices
from coterie.errors import CoterieError, EngineError, TooLong
from coterie.limits.storage import nano
from coterie.types import Amount, Failure, Output, Prompt

_REMEMBERED, _KNOWN = 200, 10
"""Answers of a model that are remembered, and from how many on they say what is usual."""
_FEW, _SENTENCES = 128, 64
"""Tokens of which all are needed where no more are asked, and those of a short answer."""


def most_of(prompt: Prompt, prices: TokenPrices) -> Amount:
    """Return the most that one try can take: a token a byte of the prompt, and all that it may write."""
    tokens_in = most_read(prompt)
    return Amount(tokens_in + prompt.max_tokens, _money(tokens_in, prompt.max_tokens, prices))


def most_within(prompt: Prompt, prices: TokenPrices, left: Amount | None, *, least: int) -> Prompt | None:
    """Return the prompt with as many tokens to write as what is left pays for; None below `least` of them.

    The server holds `max_tokens`, so what is capped here cannot be overspent. A verbatim request is never capped: its
    body is not ours to change.

    Args:
        prompt: What is asked.
        prices: Of the model; known where money is limited.
        left: Tokens and money; None where something is not there at all.
        least: Tokens that such an answer takes.
    """
    if left is None or prompt.verbatim is not None:
        return None
    read = most_read(prompt)
    room = left.tokens - read
    each = _money(0, 1_000_000, prices)  # nano of a million
    if each:
        room = min(room, (left.nano - _money(read, 0, prices)) * 1_000_000 // each)
    while room > 0 and _money(read, room, prices) > left.nano:  # what is rounded up may be one too many
        room -= 1
    capped = min(room, prompt.max_tokens)
    return replace(prompt, max_tokens=capped) if capped >= max(1, least) else None


class UsualAnswers:
    """How many tokens the latest answers of each model took, in this process; those that were relayed by themselves."""

    def __init__(self) -> None:
        self._took: dict[str, deque[int]] = defaultdict(partial(deque, maxlen=_REMEMBERED))
        self._relayed: dict[str, deque[int]] = defaultdict(partial(deque, maxlen=_REMEMBERED))

    def note(self, model: str, prompts: Sequence[Prompt], outputs: Sequence[Output]) -> None:
        """Remember what answered calls wrote."""
        took = self._took if prompts[0].verbatim is None else self._relayed
        took[model].extend(output.usage.tokens_out for output in outputs)

    def expected(self, model: str, prompt: Prompt) -> Prompt | None:
        """A relayed request that says nothing of a length, as long as the longest answers that were relayed.

        None where it says so, or too few are known. Nobody holds the server to it: what it writes beyond is counted
        when it is settled, so a budget may be exceeded by one answer that is longer than the 200 before it.
        """
        took = self._relayed[model]
        if not prompt.unbounded or len(took) < _KNOWN:
            return None
        return replace(prompt, max_tokens=min(prompt.max_tokens, max(took) * prompt.unbounded))

    def least(self, model: str, prompt: Prompt) -> int:
        """Tokens below which an answer would likely be cut: nine in ten take no more, of a schema none did.

        Where too few are known it is a sentence or two. It is all that is asked of a schema, because half of one is
        nothing, and where few are asked, because then they are needed.
        """
        took = sorted(self._took[model])
        if len(took) < _KNOWN:
            return prompt.max_tokens if prompt.json_schema or prompt.max_tokens <= _FEW else _SENTENCES
        usual = took[-1] if prompt.json_schema else took[len(took) * 9 // 10]
        return min(usual, prompt.max_tokens)


def taken_by_answers(most: Sequence[Amount], outputs: Sequence[Output], prices: TokenPrices) -> Amount:
    """Return what answered calls took: their tokens, and the most of each try before that was not turned away."""
    took = Amount()
    for each, output in zip(most, outputs, strict=True):
        read, written = output.usage.tokens_in, output.usage.tokens_out
        took += Amount(read + written, _money(read, written, prices))
        if output.failures:
            took += each * _billed(output.failures)
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
