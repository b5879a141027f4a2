"""Calls of log files as captured examples: scrubbed as a server scrubs them, and written once however often."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from coterie.flywheel.live import scrub
from coterie.flywheel.recorded import Recorded
from coterie.privacy.detection import Detector
from coterie.types import CapturedExample, Label

_SECOND = 1.0


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
