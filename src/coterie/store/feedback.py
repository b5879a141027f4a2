"""What askers say of answers, and whether that means that an answer was right."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from math import sqrt
from typing import Any, NamedTuple

from coterie.errors import InputError
from coterie.store.rows import read_trace
from coterie.types import Feedback, Trace

_ALARM = 1.645
"""Standard errors above what confidences let expect: 95%, one-sided."""


def check_feedback(feedback: Feedback, trace: Trace) -> None:
    """Raises `InputError` if it is about a specialist that found nothing for that request."""
    known = sorted({finding.specialist for finding in trace.findings})
    if feedback.specialist and feedback.specialist not in known:
        raise InputError(
            f"The feedback is about {feedback.specialist[:100]!r}; for this request {known} found something.",
            hint="Leave the specialist out to speak of the whole answer.",
        )


def insert_feedback(connection: sqlite3.Connection, feedback: Feedback, *, correct: bool | None) -> None:
    """Keep it, in place of what the same asker said before of the same finding, if its request is still there."""
    value = None if feedback.value is None else json.dumps(feedback.value, ensure_ascii=True)
    row = (feedback.trace_id, feedback.key, feedback.specialist, float(feedback.time), feedback.thumb, value)
    connection.execute(
        "INSERT OR REPLACE INTO feedback SELECT ?, ?, ?, ?, ?, ?, ?, ? FROM requests WHERE id = ?",
        (*row, feedback.comment, None if correct is None else int(correct), feedback.trace_id),
    )


def is_correct(feedback: Feedback, trace: Trace) -> bool | None:
    """Whether it says that the answer was right; None if it says nothing of that.

    A thumb decides. A value without a thumb is what would have been right: so the answer was, if a finding that it
    is about has that value, and was not else.
    """
    if feedback.thumb is not None:
        return feedback.thumb == "up"
    if feedback.value is None:
        return None
    about = [each for each in trace.findings if feedback.specialist in {"", each.specialist}]
    return any(feedback.names(finding.value) for finding in about if finding.accepted)


def select_chosen(
    connection: sqlite3.Connection,
    chooses: Callable[[str], bool],
    *,
    since: float,
    until: float,
    keys: Sequence[str] | None,
) -> list[tuple[Trace, tuple[Feedback, ...]]]:
    """Traces whose ids are chosen, oldest first, each with what was said of it, oldest word first."""
    ids = connection.execute(
        "SELECT id, tenant FROM requests WHERE time >= ? AND time < ? ORDER BY time, id", (since, until)
    )
    found = []
    for request, tenant in [each for each in ids if chooses(each[0])]:
        row = connection.execute("SELECT trace FROM traces WHERE request = ?", (request,)).fetchone()
        if row is not None:
            said = _said(connection, request, tenant)
            found.append(
                (read_trace(request, row[0]), tuple(each for each in said if keys is None or each.key in keys))
            )
    return found


def _said(connection: sqlite3.Connection, request: str, tenant: str) -> list[Feedback]:
    rows = connection.execute(
        "SELECT key, specialist, time, thumb, value, comment FROM feedback WHERE request = ? ORDER BY time", (request,)
    )
    return [
        Feedback(
            trace_id=request,
            tenant=tenant,
            key=key,
            specialist=specialist,
            time=time,
            thumb=thumb,
            value=_value(value),
            comment=comment,
        )
        for key, specialist, time, thumb, value, comment in rows
    ]


def _value(text: str | None) -> Any:  # noqa: ANN401 - JSON, as it was said
    found = None if text is None else json.loads(text)
    return tuple(found) if isinstance(found, list) else found


class Complaints(NamedTuple):
    """What was said of a specialist's answers by those who chose to."""

    answers: int
    wrong: int
    """Of which somebody said that they were wrong; others may be wrong, too."""
    expected: float
    """Wrong ones that the confidences of all of them let expect."""
    variance: float

    @property
    def alarm(self) -> bool:
        """More complaints alone than there should be errors: the confidences no longer hold. Fewer mean nothing."""
        return self.wrong > self.expected + _ALARM * sqrt(self.variance)


def select_complaints(connection: sqlite3.Connection, *, since: float, until: float) -> dict[str, Complaints]:
    """By specialist, of the findings that were accepted; a word about the whole answer is about each of them."""
    rows = connection.execute(
        """
        SELECT findings.specialist, count(*), total(EXISTS (
            SELECT 1 FROM feedback WHERE feedback.request = findings.request AND correct = 0
            AND feedback.specialist IN ('', findings.specialist)
        )), total(1 - confidence), total(confidence * (1 - confidence))
        FROM findings JOIN requests ON id = findings.request
        WHERE accepted AND time >= ? AND time < ? GROUP BY findings.specialist
        """,
        (since, until),
    )
    return {name: Complaints(answers, int(wrong), *figures) for name, answers, wrong, *figures in rows}
