"""A finding that says nothing but why."""

from __future__ import annotations

from coterie.types import Finding, Task


def abstention(specialist: str, task: Task, reason: str) -> Finding:
    """The finding of a specialist that cannot even try."""
    return Finding(
        specialist=specialist,
        value=None,
        text="",
        confidence=0.0,
        accepted=False,
        reason=reason,
        label=task.label,
        impersonal=task.impersonal,
    )
