"""Calls from log files, and training rows from the jobs found in them."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from coterie.flywheel.discovery import Discovery, FoundJob, RecordedCall, fold
from coterie.logs.exchanges import CallReader, LoggedCall
from coterie.logs.records import read_log
from coterie.logs.rows import nothing_in
from coterie.runtime.files import write_with


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
        DataError: a file cannot be read, or has records and no call among them.
    """
    found = Recorded()
    reader = CallReader(skipped=found.skipped)
    for path in files:
        for record in read_log(path, found.skipped):
            found.calls += map(_call, reader.read(record.value))
    reader.finish()
    if not found.calls and any(found.skipped.values()):
        raise nothing_in(files, found.skipped)
    return found


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
