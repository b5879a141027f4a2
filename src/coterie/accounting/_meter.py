"""Puts joules and money on steps. Knows prices and watts, and neither requests nor storage.

Energy is always tagged. A meter of the machine (RAPL, NVML) counts a whole processor or card, not one step
among those that run side by side; to share its figure out by CPU time would be an estimate again, under the
name of a measurement. So what Coterie works out is `estimated`; a step that an engine measured itself stays as
it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Context, Decimal

from coterie.config import AccountingSection, Model, OpenAIModel
from coterie.types import Prompt, Step, Usage

JOULES_PER_TOKEN = 1.0
"""Energy per token of a remote model whose `joules_per_token` is not set.

The upper end of what is published for a served model: Llama 3.1 405B on H100s takes 757 J a chat response in the
ML.ENERGY benchmark (Chung et al., 2025, arXiv:2505.06371), whose third edition has a mean of 717 generated
tokens in text conversations; about 1.06 J a token. A small model takes far less (8B: 0.12 J a token at batch 64,
ml.energy's longitudinal analysis of Llama 3.1), an idle server more. Prompt tokens are cheaper than generated
ones and are counted alike, so a long prompt is over-estimated. Data-centre overhead is not included.
"""

CHARACTERS_PER_TOKEN = 4
"""Characters of English text that make one token, the rule of thumb of model providers."""

FRAME_TOKENS = 16
"""Tokens that a chat template puts around a text, at most."""

_MILLION = Decimal(1_000_000)
_SECONDS_PER_HOUR = Decimal(3600)
_MONEY = Context(prec=18)
"""Amounts have this many significant digits: enough for any bill, and no price can overflow it."""


class CostMeter:
    """Implements `protocols.Meter`.

    Args:
        accounting: Watts and price of this machine.
        models: The `[models]` of the network: a step whose engine is an `openai` one of these is remote.
        generalist: The key of the model that answers are compared with, if there is one.
    """

    def __init__(self, accounting: AccountingSection, models: Mapping[str, Model], generalist: str | None) -> None:
        self._accounting = accounting
        self._remote = {name: model for name, model in models.items() if isinstance(model, OpenAIModel)}
        self._generalist = self._remote.get(generalist) if generalist is not None else None

    def price(self, step: Step) -> Step:
        """The step with joules and money.

        In this process: CPU-seconds times the watts and the price of a core. Remote: tokens times the model's
        joules and prices, since its machine cannot be seen from here. Money is None when a price is not set.
        """
        usage = step.usage
        remote = self._remote.get(step.engine)
        if remote is None:
            joules = usage.cpu_seconds * self._accounting.watts_per_core
            cost = self._cpu_money(usage.cpu_seconds)
        else:
            joules = (usage.tokens_in + usage.tokens_out) * _joules_per_token(remote)
            cost = _token_money(remote, Decimal(usage.tokens_in), Decimal(usage.tokens_out))
        return replace(step, usage=_filled(usage, joules, cost))

    def counterfactual(self, asked: str, answered: str) -> Decimal | None:
        """What the generalist would have cost for this exchange; None without one or without its prices.

        Only the two texts count, at four characters a token. A real prompt carries more (instructions, the labels
        to choose from, the conversation, source texts), so the true amount is higher and the saving is not
        overstated.
        """
        if self._generalist is None:
            return None
        tokens_in, tokens_out = (Decimal(len(text)) / CHARACTERS_PER_TOKEN for text in (asked, answered))
        return _token_money(self._generalist, tokens_in, tokens_out)

    def _cpu_money(self, cpu_seconds: float) -> Decimal | None:
        price = self._accounting.price_per_cpu_hour
        if price is None:
            return None
        return _MONEY.multiply(_MONEY.divide(Decimal(str(cpu_seconds)), _SECONDS_PER_HOUR), price)


def _filled(usage: Usage, joules: float, cost: Decimal | None) -> Usage:
    if usage.joules_kind == "measured":
        return replace(usage, cost=cost)
    return replace(usage, joules=float(joules), cost=cost)


def _joules_per_token(model: OpenAIModel) -> float:
    return JOULES_PER_TOKEN if model.joules_per_token is None else model.joules_per_token


def most_read(prompt: Prompt) -> int:
    """The most tokens that reading a prompt can take: none is shorter than a byte, and a template frames each text."""
    texts = [text for text in (prompt.text, *(message.text for message in prompt.messages), *prompt.choices) if text]
    schema = len(str(prompt.json_schema)) if prompt.json_schema else 0
    return sum(len(text.encode("utf-8", "replace")) + FRAME_TOKENS for text in texts) + schema


def _token_money(model: OpenAIModel, tokens_in: Decimal, tokens_out: Decimal) -> Decimal | None:
    return token_money(tokens_in, tokens_out, price_in=model.price_in, price_out=model.price_out)


def token_money(
    tokens_in: Decimal, tokens_out: Decimal, *, price_in: Decimal | None, price_out: Decimal | None
) -> Decimal | None:
    """Money for tokens at prices per million of them; None unless both prices are known."""
    if price_in is None or price_out is None:
        return None
    per_million = _MONEY.add(_MONEY.multiply(tokens_in, price_in), _MONEY.multiply(tokens_out, price_out))
    return _MONEY.divide(per_million, _MILLION)
