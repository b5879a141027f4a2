"""Several findings as one answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

from coterie.generalist.pack import topic
from coterie.network.outcomes import Outcome, rendered_findings, task_of
from coterie.network.state import RequestState
from coterie.protocols import Generalist, Specialist
from coterie.types import Delta, Finding, Part


class Channel:
    """Pieces of one part's answer, on their way to whoever shows them in the order of the parts."""

    def __init__(self, *, muted: bool) -> None:
        """Open it; of a muted one only the end is heard."""
        self._pieces: asyncio.Queue[Delta | None] = asyncio.Queue()
        self._muted = muted

    def say(self, piece: Delta) -> None:
        """Pass a piece on."""
        if not self._muted:
            self._pieces.put_nowait(piece)

    def end(self) -> None:
        """No piece comes any more."""
        self._pieces.put_nowait(None)

    async def next(self) -> Delta | None:
        """The next piece; None at the end."""
        return await self._pieces.get()


class Collected:
    """The pieces of the only part of an answer that nobody sees before it is whole."""

    def __init__(self) -> None:
        self.pieces: list[Delta] = []

    def say(self, piece: Delta) -> None:
        """Keep a piece."""
        self.pieces.append(piece)

    def end(self) -> None:
        """Do nothing: who worked on it is waited for."""


def composing(large: Specialist | None, parts: Sequence[Part]) -> Generalist | None:
    """The generalist, if it is to put into one what is found: of several parts, or several side by side."""
    several = len(parts) > 1 or any(len(part.stages[-1]) > 1 for part in parts if part.stages)
    return cast("Generalist", large) if several and getattr(large, "composes", False) else None


async def compose(generalist: Generalist, state: RequestState) -> Finding:
    """The generalist's text of all findings. What it may not say is an abstention."""
    found = [finding for outcome in state.outcomes for finding in rendered_findings(outcome)]
    whole = Part(text=state.question.text, stages=(), score=0.0)
    return await generalist.compose(task_of(whole, state.question, state.request.text), found, call=state.call)


def heading(outcomes: Sequence[Outcome], index: int) -> tuple[str, str]:
    """What stands before the pieces of a part: a gap, and what the part is about where there are several."""
    about = f"{topic(outcomes[index].part.text)}: " if len(outcomes) > 1 else ""
    return "\n\n" if index else "", about
