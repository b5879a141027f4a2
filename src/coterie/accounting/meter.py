"""Computes the joules and the money of steps. The module knows prices and watts, but neither requests nor storage.

Energy always carries its kind. `measured` comes from the processor's own counter, divided by CPU time (`energy.py`):
the sum is exact for the machine, and each part is as exact as CPU time. Without a counter the energy is CPU-seconds
times the configured watts, and `estimated`. A remote model's energy is `estimated` too. A step that an engine measured
itself is left unchanged: a step of a server on this machine's graphics cards (`energy.py`).
"""

from __future__ import annotations

import json
import os
import re
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from decimal import Context, Decimal
from functools import cache
from types import MappingProxyType

from coterie.accounting.energy import PackageMeter, remote_joules
from coterie.config.accounting import AccountingSection
from coterie.config.file import Model, RemoteModel
from coterie.config.mcp import McpSection
from coterie.runtime.codec import replace
from coterie.types import Bill, Prompt, Request, Step, Usage

# --- A lower bound of a text's tokens without a tokenizer.


@cache
def _pieces() -> re.Pattern[str]:
    marks = "".join(
        mark for mark in map(chr, range(0xFFFF)) if unicodedata.category(mark) in {"Mn", "Mc", "Me"}
    )  # vowel signs and accents: inside a word
    # A word takes what stands before it and its short end.
    letter = rf"(?:[^\W\d_]|[{marks}])"
    word = rf"(?:[^\r\n\w]|_)?{letter}+(?:['\u2019](?:[sdmt]|ll|ve|re))?"
    return re.compile(rf"{word}|\d{{1,3}}|\ ?(?:[^\s\w]|_)+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+", re.IGNORECASE)


def fewest_tokens(text: str) -> int:
    """Return a lower bound of a text's tokens: 1 to 10% below the real number for English, far below for other text.

    Measured against both vocabularies (`docs/history/log.md`, 2026-11-25). Four characters a token, the usual rule of
    thumb, gives 8 to 24% too many tokens for the same English texts.
    """
    return sum(1 for _ in _pieces().finditer(text))


# --- Metering.

JOULES_PER_TOKEN = 1.0
"""Energy per token of a remote model of which neither the size nor `joules_per_token` is given.

The upper end of what is published for a served model: Llama 3.1 405B on H100s takes 757 J a chat response in the
ML.ENERGY benchmark (Chung et al., 2025, arXiv:2505.06371), whose third edition has a mean of 717 generated
tokens in text conversations; about 1.06 J a token. A small model takes far less (8B: 0.12 J a token at batch 64,
ml.energy's longitudinal analysis of Llama 3.1), an idle server more. Prompt tokens are cheaper than generated
ones and are counted alike, so a long prompt is over-estimated. Data-centre overhead is not included.
"""

FRAME_TOKENS = 16
"""The most tokens that a chat template adds around a text."""

_LONGEST_TOKEN = 16
"""Characters per token of the window that are counted at most, so that a long text takes milliseconds."""
_MILLION = Decimal(1_000_000)
_SECONDS_PER_HOUR = Decimal(3600)
_MONEY = Context(prec=18)
"""Decimal context of amounts: 18 significant digits are enough for any bill, and no price can overflow it."""


class CostMeter:
    """Puts joules and money on steps; implements `protocols.Meter`.

    Args:
        accounting: Watts and price of this machine.
        models: The `[models]` of the network: a step whose engine is an `openai` one of these is remote.
        generalist: The key of the model that answers are compared with, if there is one.
        servers: The `[mcp]` of the network, which have their own prices.
        package: The processor's energy counter; with None, the counter that `accounting` allows.
        clock: Seconds since the epoch, for prices with a date.
    """

    def __init__(
        self,
        accounting: AccountingSection,
        models: Mapping[str, Model],
        generalist: str | None,
        *,
        servers: Mapping[str, McpSection] = MappingProxyType({}),
        package: PackageMeter | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._watts = accounting.watts_per_core
        self._cpu_hour = accounting.cpu_hour(os.cpu_count() or 1)
        self._remote = {name: model for name, model in models.items() if isinstance(model, RemoteModel)}
        self._calls = {f"mcp:{name}": section for name, section in servers.items()}
        self._generalist = generalist if generalist in self._remote else None
        self._package, self._clock = package, clock

    def price(self, step: Step) -> Step:
        """Return the step with joules and money.

        A step in this process: CPU-seconds times the processor's watts, and the price of a core. A remote step: by
        the model's size or its joules per token, and by the model's prices of today, since the remote machine cannot
        be observed. Money is None when a price is not set.
        """
        if (server := self._calls.get(step.engine)) is not None:
            made = step.usage.tokens_out
            cost = None if server.price_per_call is None else _MONEY.multiply(Decimal(made), server.price_per_call)
            return replace(step, usage=replace(step.usage, joules=made * server.joules_per_call, cost=cost))
        remote = self._remote.get(step.engine)
        if remote is None:
            usage = self._here(step.usage)
        else:
            usage = replace(_there(step.usage, remote), cost=self._token_money(remote, step.usage))
        return replace(step, usage=usage)

    def counterfactual(
        self, request: Request, answered: str, steps: Sequence[Step] = (), *, named: str = ""
    ) -> Decimal | None:
        """Return what the requested model, or else the generalist, would have cost; None without a model or its prices.

        If that model was called, its own tokens count. Otherwise the amount is a lower bound: the request's text,
        columns, document and history, and the answer, in the fewest tokens that they can have. A real prompt contains
        more (instructions, the labels to choose from, the session's memory), so the true amount is higher and the
        saving is not overstated.
        """
        alone = named if named in self._remote else self._generalist
        if alone is None:
            return None
        model = self._remote[alone]
        tries = (step.usage for step in steps if step.engine == alone)
        tries_answered = [usage for usage in tries if usage.tokens_in or usage.tokens_out]  # not those that failed
        if tries_answered:
            amounts = [self._token_money(model, usage) for usage in tries_answered]
            return max((amount for amount in amounts if amount is not None), default=None)
        return self._token_money(model, _least(request, answered, model.window))

    def _here(self, usage: Usage) -> Usage:
        cost = self._cpu_money(usage.cpu_seconds)
        if usage.joules_kind == "measured":
            return replace(usage, cost=cost)
        measured = None if self._package is None else self._package.joules_per_cpu_second()
        if measured is None:
            return replace(usage, joules=float(usage.cpu_seconds * self._watts), cost=cost)
        return replace(usage, joules=float(usage.cpu_seconds * measured), joules_kind="measured", cost=cost)

    def _token_money(self, model: RemoteModel, usage: Usage) -> Decimal | None:
        prices = model.prices_at(self._clock())
        return token_money(
            Decimal(usage.tokens_in),
            Decimal(usage.tokens_out),
            price_in=prices.tokens_in,
            price_out=prices.tokens_out,
            cached=Decimal(usage.tokens_cached),
            price_cached=prices.cached,
        )

    def _cpu_money(self, cpu_seconds: float) -> Decimal | None:
        if self._cpu_hour is None:
            return None
        return _MONEY.multiply(_MONEY.divide(Decimal(str(cpu_seconds)), _SECONDS_PER_HOUR), self._cpu_hour)


def _there(usage: Usage, model: RemoteModel) -> Usage:
    if usage.joules_kind == "measured":
        return usage
    by_size = remote_joules(model, usage.tokens_out, usage.milliseconds)
    if by_size is not None:
        return replace(usage, joules=by_size.likely, joules_low=by_size.low, joules_high=by_size.high)
    joules_per_token = JOULES_PER_TOKEN if model.joules_per_token is None else model.joules_per_token
    return replace(usage, joules=float((usage.tokens_in + usage.tokens_out) * joules_per_token))


def _least(request: Request, answered: str, window: int) -> Usage:
    """Return the fewest tokens in which a request can be asked and answered; texts count as far as they fit."""
    columns = json.dumps(dict(request.columns), ensure_ascii=False, default=str) if request.columns else ""
    document = request.document.text if request.document is not None else ""
    room = window * _LONGEST_TOKEN
    texts = (request.text, columns, document, *(turn.text for turn in request.history))
    tokens_in = 0
    for text in texts:
        if tokens_in < window:  # a long conversation is not counted on when it is full
            tokens_in += fewest_tokens(text[:room])
    return Usage(tokens_in=min(tokens_in, window), tokens_out=fewest_tokens(answered))


def most_read(prompt: Prompt) -> int:
    """Return the most tokens that a prompt can take: a token has at least one byte, and a template frames each text.

    A verbatim prompt takes no more tokens than its body has bytes: the JSON syntax around a text is longer than the
    frame.
    """
    if prompt.verbatim is not None:
        return len(prompt.verbatim) + FRAME_TOKENS
    texts = [text for text in (prompt.text, *(message.text for message in prompt.messages), *prompt.choices) if text]
    schema = len(str(prompt.json_schema)) if prompt.json_schema else 0
    schema += len(str(prompt.questions).encode("utf-8", "replace")) if prompt.questions else 0
    return sum(len(text.encode("utf-8", "replace")) + FRAME_TOKENS for text in texts) + schema


def token_money(
    tokens_in: Decimal,
    tokens_out: Decimal,
    *,
    price_in: Decimal | None,
    price_out: Decimal | None,
    cached: Decimal = Decimal(0),
    price_cached: Decimal | None = None,
) -> Decimal | None:
    """Return the money for tokens at prices per million tokens; None unless both prices are known.

    Args:
        tokens_in: Tokens of the prompt.
        tokens_out: Tokens of the answer.
        price_in: Price of a million prompt tokens.
        price_out: Price of a million answer tokens.
        cached: The tokens of `tokens_in` that the server had cached.
        price_cached: Price of a million cached tokens; with None they cost as much as the others, the upper bound.
    """
    if price_in is None or price_out is None:
        return None
    read = tokens_in
    amount = _MONEY.multiply(tokens_out, price_out)
    if price_cached is not None:
        read -= cached
        amount = _MONEY.add(amount, _MONEY.multiply(cached, price_cached))
    return _MONEY.divide(_MONEY.add(amount, _MONEY.multiply(read, price_in)), _MILLION)


def priced_bill(meter: CostMeter, producer: str, bill: Bill, models: Mapping[str, Model]) -> Usage | None:
    """Return what calls of remote models took, with joules and money; None if there was none.

    What a model in this process took is in the CPU time of the process.
    """
    remote = [(engine, usage) for engine, usage in bill if isinstance(models.get(engine), RemoteModel)]
    usages = [meter.price(Step(producer=producer, engine=engine, usage=usage)).usage for engine, usage in remote]
    return sum(usages[1:], usages[0]) if usages else None
