"""Calls from log files: training rows from the jobs found in them, or captured examples, scrubbed as a server does."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from coterie.flywheel.discovery import Discovery, FoundJob, RecordedCall, fold
from coterie.flywheel.live import scrub
from coterie.logs.exchanges import CallReader, LoggedCall
from coterie.logs.records import read_log
from coterie.privacy.detection import Detector
from coterie.runtime.files import write_with
from coterie.types import CapturedExample, Label


@dataclass(kw_only=True)
class Recorded:
    """Calls read from logs, and what was passed over, by reason."""

    calls: list[RecordedCall] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)


def read_calls(files: Sequence[Path]) -> Recorded:
    """Read every call of log files, whatever wrote them.

    Args:
        files: JSONL, JSON or CSV files.

    Raises:
        DataError: a file cannot be read.
    """
    found = Recorded()
    reader = CallReader(skipped=found.skipped)
    for path in files:
        for record in read_log(path, found.skipped):
            found.calls += map(_call, reader.read(record.value))
    reader.finish()
    return found


def _call(logged: LoggedCall) -> RecordedCall:
    answer = logged.answer if isinstance(logged.answer, str) else json.dumps(logged.answer, ensure_ascii=False)
    system = (("system", logged.system),) if logged.system else ()
    return RecordedCall(
        prompt=(*system, ("user", logged.text)),
        answer=answer,
        caller=logged.caller,
        cost=logged.cost,
    )


def write_rows(path: Path, job: FoundJob, found: Discovery, calls: Sequence[RecordedCall]) -> int:
    """Write a `classify` job's calls as a CSV with the columns text and label; return the number of rows.

    A label is spelled as most answers spell it. Calls whose answer is none of the job's labels are left out, as are
    repeated rows.
    """
    spelled: dict[str, Counter[str]] = {}
    for i in job.calls:
        spelled.setdefault(fold(calls[i].answer), Counter())[" ".join(calls[i].answer.split()).strip(" .!\"'`*")] += 1
    names = {label: spelled[label].most_common(1)[0][0] for label in job.answers.labels}
    rows = dict.fromkeys(
        (found.input_of(i), names[label]) for i in job.calls if (label := fold(calls[i].answer)) in names
    )
    rows.pop(("", ""), None)

    def write(target: Path) -> None:
        with target.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("text", "label"))
            writer.writerows(row for row in rows if row[0])

    write_with(path, write)
    return sum(bool(text) for text, _ in rows)


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
