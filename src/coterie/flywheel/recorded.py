"""Calls from log files, and training rows from the jobs found in them."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

from coterie.accounting.meter import token_money
from coterie.config.file import RemoteModel
from coterie.flywheel.discovery import Discovery, FoundJob, RecordedCall, fold, items_in
from coterie.flywheel.live import LONGEST_CALL, scrub
from coterie.logs.exchanges import CallReader, LoggedCall
from coterie.logs.records import read_log
from coterie.logs.rows import nothing_in
from coterie.privacy.detection import Detector
from coterie.runtime.files import write_with
from coterie.types import CapturedExample, Label


@dataclass(kw_only=True)
class Recorded:
    """Calls read from logs, and the skipped records, counted by reason."""

    calls: list[RecordedCall] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)


def read_calls(files: Sequence[Path]) -> Recorded:
    """Read every call of log files, in any known format.

    Args:
        files: JSONL, JSON or CSV files.

    Raises:
        DataError: a file cannot be read, or has records and no call among them.
    """
    recorded = Recorded()
    reader = CallReader(skipped=recorded.skipped)
    for path in files:
        for record in read_log(path, recorded.skipped):
            recorded.calls += map(_call, reader.read(record.value))
    reader.finish()
    if not recorded.calls and any(recorded.skipped.values()):
        raise nothing_in(files, recorded.skipped)
    return recorded


def _call(logged: LoggedCall) -> RecordedCall:
    answer = logged.answer if isinstance(logged.answer, str) else json.dumps(logged.answer, ensure_ascii=False)
    system = (("system", logged.system),) if logged.system else ()
    return RecordedCall(
        prompt=(*system, ("user", logged.text)),
        answer=answer,
        caller=logged.caller,
        cost=logged.cost,
        model=logged.about.get("model", ""),
        tokens=logged.tokens,
    )


def write_rows(path: Path, job: FoundJob, discovery: Discovery, calls: Sequence[RecordedCall]) -> int:
    """Write a `classify` job's calls as a CSV with the columns text and label; return the number of rows.

    A label is spelled as most answers spell it; bars separate the labels of a list. Calls whose answer is none of the
    job's labels are left out, as are repeated rows.
    """
    several = job.answers.shape == "lists"
    parts_by_call = {i: (items_in(calls[i].answer) or ()) if several else (calls[i].answer,) for i in job.calls}
    spelled: dict[str, Counter[str]] = {}
    for part in (str(item) for parts in parts_by_call.values() for item in parts):
        spelled.setdefault(fold(part), Counter())[" ".join(part.split()).strip(" .!\"'`*")] += 1
    names = {label: spelled[label].most_common(1)[0][0] for label in job.answers.labels}
    folded = {i: [fold(str(part)) for part in parts] for i, parts in parts_by_call.items()}
    rows = dict.fromkeys(
        (discovery.input_of(i), "|".join(names[label] for label in labels))
        for i, labels in folded.items()
        if names.keys() >= set(labels)
    )
    rows.pop(("", ""), None)

    def write(target: Path) -> None:
        with target.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("text", "label"))
            writer.writerows(row for row in rows if row[0])

    write_with(path, write)
    return sum(bool(text) for text, _ in rows)


# --- Calls of log files as captured examples: scrubbed as a server scrubs them, and written once however often.

_SECOND = 1.0


def priced(recorded: Recorded, models: Mapping[str, object], *, until: float) -> int:
    """Price calls whose log has tokens but no cost, by the entry of `[models]` for their model's name.

    Args:
        recorded: Calls; those that can be priced are replaced.
        models: `[models]`: a call's model is an entry's key or its `name`, with or without a provider before a slash.
        until: Time of the prices, in seconds since the epoch, since logs write time in many formats.

    Returns:
        Number of calls that were priced.
    """
    entries = {key: model for key, model in models.items() if isinstance(model, RemoteModel)}
    entries = {**{str(getattr(model, "name", key)): model for key, model in entries.items()}, **entries}
    models_at = {name: model.prices_at(until) for name, model in entries.items()}
    count = 0
    for index, call in enumerate(recorded.calls):
        prices = models_at.get(call.model) or models_at.get(call.model.rpartition("/")[2])
        if call.cost is None and call.tokens is not None and prices is not None:
            read, written = map(Decimal, call.tokens)
            cost = token_money(read, written, price_in=prices.tokens_in, price_out=prices.tokens_out)
            recorded.calls[index] = replace(call, cost=None if cost is None else float(cost))
            count += cost is not None
    return count


def log_examples(
    recorded: Recorded, *, detector: Detector, secret: bytes, tenant: str, label: Label, until: float
) -> Iterator[CapturedExample]:
    """Yield one example per call.

    Args:
        recorded: Calls, in the order of their files; calls that are too long are counted as skipped.
        detector: Finds the personal data that is removed.
        secret: Keys the hashes of callers.
        tenant: The tenant of the calls.
        label: Sensitivity of the calls.
        until: Time of the last call, in seconds since the epoch; earlier ones are a second apart, since logs write time
            in many formats.
    """
    for index, call in enumerate(recorded.calls):
        texts = [text for _, text in call.prompt]
        if sum(map(len, texts)) + len(call.answer) > LONGEST_CALL:
            recorded.skipped["long_call"] += 1
            continue
        *prompt, answer = scrub([*texts, call.answer], detector)
        identity = "\0".join([*texts, call.answer, str(index)]).encode("utf-8", "replace")
        yield CapturedExample(
            id=f"log-{_hash(identity, secret)}",
            time=until - (len(recorded.calls) - index) * _SECOND,
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
    """Yield examples in batches of `size`."""
    some: list[CapturedExample] = []
    for example in examples:
        some.append(example)
        if len(some) == size:
            yield some
            some = []
    if some:
        yield some
