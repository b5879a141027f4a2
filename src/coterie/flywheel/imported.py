"""Calls of log files as captured examples: scrubbed as a server scrubs them, and written once however often."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from coterie.accounting.meter import token_money
from coterie.config.file import RemoteModel
from coterie.flywheel.live import scrub
from coterie.flywheel.recorded import Recorded
from coterie.privacy.detection import Detector
from coterie.types import CapturedExample, Label

_SECOND = 1.0


def priced(recorded: Recorded, models: Mapping[str, object], *, until: float) -> int:
    """Price calls whose log counts tokens and names no cost, by the entry of `[models]` of their model's name.

    Args:
        recorded: Calls; those that can be priced are replaced.
        models: `[models]`: a call's model is an entry's key or its `name`, with or without a provider before a slash.
        until: Time whose prices count, in seconds since the epoch: logs write time in too many ways.

    Returns:
        How many calls were priced.
    """
    entries = {key: each for key, each in models.items() if isinstance(each, RemoteModel)}
    entries = {**{str(getattr(each, "name", key)): each for key, each in entries.items()}, **entries}
    known = {name: each.prices_at(until) for name, each in entries.items()}
    count = 0
    for place, call in enumerate(recorded.calls):
        prices = known.get(call.model) or known.get(call.model.rpartition("/")[2])
        if call.cost is None and call.tokens is not None and prices is not None:
            read, written = map(Decimal, call.tokens)
            cost = token_money(read, written, price_in=prices.tokens_in, price_out=prices.tokens_out)
            recorded.calls[place] = replace(call, cost=None if cost is None else float(cost))
            count += cost is not None
    return count


def log_examples(
    recorded: Recorded, *, detector: Detector, secret: bytes, tenant: str, label: Label, until: float
) -> Iterator[CapturedExample]:
    """Yield an example a call.

    Args:
        recorded: Calls, in the order of their files.
        detector: Finds the personal data that is taken out.
        secret: Keys the hashes of callers.
        tenant: Whose calls they are.
        label: How sensitive they are.
        until: Time of the last call, in seconds since the epoch; those before are a second apart, since logs write time
            in too many ways.
    """
    for place, call in enumerate(recorded.calls):
        texts = [text for _, text in call.prompt]
        *prompt, answer = scrub([*texts, call.answer], detector)
        known = "\0".join([*texts, call.answer, str(place)]).encode("utf-8", "replace")
        yield CapturedExample(
            id=f"log-{_hash(known, secret)}",
            time=until - (len(recorded.calls) - place) * _SECOND,
            tenant=tenant,
            label=label,
            api="log",
            prompt=tuple((role, text) for (role, _), text in zip(call.prompt, prompt, strict=True)),
            answer=answer,
            cost=call.cost,
            policy="model:log",
            caller=_hash(call.caller.encode("utf-8", "replace"), secret) if call.caller else "",
        )


def _hash(content: bytes, secret: bytes) -> str:
    return hashlib.blake2b(content, key=secret, digest_size=8).hexdigest()


def batches(examples: Iterator[CapturedExample], size: int = 500) -> Iterator[Sequence[CapturedExample]]:
    """Yield examples so many at a time."""
    some: list[CapturedExample] = []
    for each in examples:
        some.append(each)
        if len(some) == size:
            yield some
            some = []
    if some:
        yield some
