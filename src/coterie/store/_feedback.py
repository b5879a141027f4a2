"""What askers say of answers, and whether that means that an answer was right."""

from __future__ import annotations

import json
import sqlite3

from coterie.errors import InputError
from coterie.types import Feedback, Finding, Trace


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
    return any(_says(finding, feedback.value) for finding in about if finding.accepted)


def _says(finding: Finding, value: object) -> bool:
    found = list(finding.value) if isinstance(finding.value, tuple) else finding.value
    wanted = list(value) if isinstance(value, tuple | list) else value
    return found == wanted or (isinstance(found, list) and found == [wanted])
