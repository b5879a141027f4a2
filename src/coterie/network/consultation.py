"""Asking one specialist. What its engine cannot do becomes an abstention with the reason."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import cast

from coterie.errors import AuditError, EngineError, InputError, PolicyError, SetupError
from coterie.network.outcomes import abstain, nothing_to_read
from coterie.protocols import SpeakingSpecialist, Specialist
from coterie.types import CallContext, ContextView, Delta, Finding, Task

Say = Callable[[Delta], None]
"""Shows a piece of a part's answer as soon as it is certain."""


async def consult(
    specialist: Specialist, task: Task, view: ContextView, *, call: CallContext, say: Say | None
) -> Finding:
    """A specialist's finding; where it can speak and `say` is given, its pieces are said as they come.

    Raises:
        Overloaded: an engine's queue is full; the whole request may come again.
        AuditError: the audit log cannot be written, so nothing was sent to a remote engine.
    """
    try:
        if blind := nothing_to_read(view):
            return abstain(specialist.card.name, task, blind)
        if say is None or not hasattr(specialist, "speak"):  # asking a protocol takes longer than many a specialist
            return await specialist.consult(task, view, call=call)
        return await _listen(cast("SpeakingSpecialist", specialist), task, view, say=say, call=call)
    except PolicyError as refusal:
        return abstain(specialist.card.name, task, refusal.reason, refusal.verdict)
    except AuditError:  # what cannot be written down is not done: no abstention may hide it
        raise
    except (EngineError, InputError, SetupError) as error:
        return abstain(specialist.card.name, task, error.reason)


async def _listen(
    specialist: SpeakingSpecialist, task: Task, view: ContextView, *, say: Say, call: CallContext
) -> Finding:
    """Pass a specialist's deltas on and return its finding."""
    events = specialist.speak(task, view, call=call)
    try:
        async for event in events:
            if isinstance(event, Finding):
                return event
            say(event)
    finally:
        if isinstance(events, AsyncGenerator):
            await events.aclose()
    raise AssertionError("speak ends with a Finding")
