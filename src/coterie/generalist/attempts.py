"""Asking a large model in time, with fallback and hedging; the result is an answer or a reason, and every try's usage.

The next model is asked when one fails (fallback), or concurrently when one is silent (hedge). The first to respond is
read to the end. Every try is a step of the ledger with a note.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from time import perf_counter
from typing import cast

from coterie.errors import AuditError, EngineError, InputError, Overloaded, PolicyError, SetupError
from coterie.protocols import StreamingEngine
from coterie.runtime.codec import replace
from coterie.runtime.concurrency import cancel
from coterie.text.folding import estimate_tokens
from coterie.types import CallContext, Delta, Failure, Output, Prompt, Reason, Step, Usage, Verdict, all_of

_EXPECTED = (EngineError, InputError, Overloaded, PolicyError, SetupError)
"""Errors of a model that cannot be asked; any other is a bug."""
_IMPATIENCE = 1.0
"""Seconds that a model may pause before it retries, while another has not been asked yet."""


@dataclass(frozen=True, kw_only=True)
class CandidateModel:
    """A model that may be asked."""

    engine: StreamingEngine
    window: int
    """Its context window, in tokens of prompt and answer."""
    pseudonymised: bool = False
    """Whether personal data reaches it under pseudonyms only."""
    typed: bool = False
    """Whether it only answers typed questions: it chooses among the labels of the specialist that abstained."""


@dataclass(frozen=True, kw_only=True)
class ModelReply:
    """The result of asking."""

    text: str
    """The whole text, also of an interrupted answer."""
    output: Output | None
    """Output of the model that answered to the end; None if none did."""
    engine: str
    """The model that was read; empty if there was none."""
    steps: tuple[Step, ...]
    verdicts: tuple[Verdict, ...]
    reason: Reason | None
    """The problem on the way; None if there was none."""


@dataclass(eq=False)
class _Try:
    candidate: CandidateModel
    prompt: Prompt
    note: str
    start: float = field(default_factory=perf_counter)
    texts: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.candidate.engine.name

    def so_far(self) -> Usage:
        """Return the estimated usage so far: it may be billed although the answer is no longer waited for."""
        tokens_in = sum(estimate_tokens(message.text) for message in self.prompt.messages)
        milliseconds = (perf_counter() - self.start) * 1000
        return Usage(tokens_in=tokens_in, tokens_out=estimate_tokens("".join(self.texts)), milliseconds=milliseconds)


class Tries:
    """One question to one of several models."""

    def __init__(
        self,
        candidates: Sequence[CandidateModel],
        prompt_for: Callable[[CandidateModel], Prompt],
        *,
        call: CallContext,
        producer: str,
        deadline: float,
        hedge_after: float | None = None,
    ) -> None:
        """Describe the question; nothing is asked yet.

        Args:
            candidates: The models, in the order in which they are asked.
            prompt_for: Makes the prompt for a model. Raises `TooLong` where it does not fit: the model is then skipped.
            call: The caller's context.
            producer: Producer of the steps.
            deadline: The event loop's time by which the answer must be complete.
            hedge_after: Seconds of silence after which the next is asked concurrently; the first again if there is no
                next.
        """
        self._waiting = deque(candidates)
        self._spare = candidates[0] if len(candidates) == 1 and hedge_after is not None else None
        self._prompt_for = prompt_for
        self._call = call
        self._producer = producer
        self._deadline = deadline
        self._hedge_after = hedge_after
        self._events: asyncio.Queue[tuple[_Try, Delta | Output | Exception]] = asyncio.Queue()
        self._running: dict[_Try, asyncio.Task[None]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._heard: _Try | None = None
        self._steps: list[Step] = []
        self._verdicts: list[Verdict] = []
        self._reasons: list[Reason] = []

    async def stream(self) -> AsyncGenerator[Delta | ModelReply, None]:
        """Yield pieces of the first model that responds, then the result."""
        try:
            self._ask_next("")
            while self._running:
                happened = await self._wait()
                if happened is None:
                    continue
                attempt, event = happened
                if attempt not in self._running:
                    continue  # given up meanwhile
                if isinstance(event, Delta):
                    attempt.texts.append(event.text)
                    if self._heard is attempt:
                        yield event
                    elif event.text.strip():  # white space is no beginning
                        self._listen_to(attempt)
                        yield Delta(text="".join(attempt.texts))
                elif isinstance(event, Output) and event.text.strip():
                    self._listen_to(attempt)
                    yield self._ending(attempt, event)
                    return
                else:
                    self._lost(attempt, event)
            yield self._ending(self._heard, None)
        finally:
            await cancel(self._tasks)

    async def ask(self) -> ModelReply:
        """Return the result at once.

        If no other model may be asked concurrently or afterwards, the model is asked for its whole answer: no pieces,
        and no task.
        """
        if len(self._waiting) == 1 and self._hedge_after is None:
            return await self._ask_whole()
        async with aclosing(self.stream()) as events:
            async for event in events:
                if isinstance(event, ModelReply):
                    return event
        raise AssertionError("a stream ends with how it ended")

    async def _ask_whole(self) -> ModelReply:
        candidate = self._waiting.popleft()
        try:
            prompt = replace(self._prompt_for(candidate), patience=self._patience())
        except InputError as error:
            self._reasons.append(error.reason)
            return self._ending(None, None)
        attempt = _Try(candidate=candidate, prompt=prompt, note="")
        event: Output | Exception
        try:
            async with asyncio.timeout_at(self._deadline):
                (event,) = await candidate.engine.run([prompt], call=self._call)
        except TimeoutError:
            self._reasons.append(Reason("attempt.out_of_time", model=attempt.name))
            self._steps.append(self._step(attempt, attempt.so_far(), f"given up: {self._reasons[-1]}"))
            return self._ending(None, None)
        except Exception as error:  # noqa: BLE001 - raised again if it is not an expected one
            event = error
        if isinstance(event, Output) and event.text.strip():
            return self._ending(attempt, event)
        self._lost(attempt, event)
        return self._ending(None, None)

    async def _wait(self) -> tuple[_Try, Delta | Output | Exception] | None:
        """Return the next event; None when a time limit has passed, after handling it."""
        hedge = self._next_hedge()
        until = self._deadline if hedge is None else min(hedge, self._deadline)
        try:
            async with asyncio.timeout_at(until):
                return await self._events.get()
        except TimeoutError:
            if hedge is not None and hedge < self._deadline:
                self._hedge()
            else:
                self._out_of_time()
            return None

    def _next_hedge(self) -> float | None:
        """Return when the next model is asked beside silent ones; None if it is not."""
        more = self._waiting or self._spare
        if self._hedge_after is None or self._heard is not None or not more:
            return None
        return self._last_asked + self._hedge_after

    def _hedge(self) -> None:
        if not self._waiting and self._spare is not None:
            self._waiting.append(self._spare)
        self._spare = None
        silent = ", ".join(repr(attempt.name) for attempt in self._running)
        self._ask_next(f"hedge: {silent} had said nothing after {self._hedge_after:g} s")

    def _out_of_time(self) -> None:
        self._waiting.clear()
        for attempt in list(self._running):
            self._give_up(attempt, Reason("attempt.out_of_time", model=attempt.name))

    def _ask_next(self, note: str) -> None:
        """Ask the next model whose window fits the question, if there is one."""
        while self._waiting:
            candidate = self._waiting.popleft()
            try:
                prompt = self._prompt_for(candidate)
            except InputError as error:
                self._reasons.append(error.reason)
                continue
            attempt = _Try(candidate=candidate, prompt=replace(prompt, patience=self._patience()), note=note)
            self._running[attempt] = asyncio.create_task(self._follow(attempt))
            self._tasks.append(self._running[attempt])
            self._last_asked = asyncio.get_running_loop().time()
            return

    def _patience(self) -> float:
        """Return how long a model may wait before it retries: within the deadline, briefly if another could answer."""
        left = max(0.0, self._deadline - asyncio.get_running_loop().time())
        return min(left, _IMPATIENCE) if self._waiting else left

    async def _follow(self, attempt: _Try) -> None:
        """Put a model's output into the queue."""
        stream: AsyncIterator[Delta | Output] = attempt.candidate.engine.stream(attempt.prompt, call=self._call)
        try:
            async with aclosing(cast("AsyncGenerator[Delta | Output, None]", stream)) as events:
                async for event in events:
                    if isinstance(event, Output) or event.text:
                        self._events.put_nowait((attempt, event))
        except Exception as error:  # noqa: BLE001 - raised again by whoever reads the queue, if it is not an expected one
            self._events.put_nowait((attempt, error))

    def _listen_to(self, heard: _Try) -> None:
        self._heard = heard
        self._waiting.clear()
        self._spare = None
        for other in [attempt for attempt in self._running if attempt is not heard]:
            self._give_up(other, Reason("attempt.other_first", model=heard.name), failed=False)

    def _give_up(self, attempt: _Try, why: Reason, *, failed: bool = True) -> None:
        self._running.pop(attempt).cancel()
        if failed:
            self._reasons.append(why)
        self._steps.append(self._step(attempt, attempt.so_far(), f"given up: {why}"))

    def _lost(self, attempt: _Try, event: Output | Exception) -> None:
        """Record a model's failure, and ask the next if no other is running."""
        self._running.pop(attempt, None)
        if isinstance(event, Output):
            self._take_failures(attempt, event.failures)
            code = "attempt.refused" if event.finish == "aborted" else "attempt.empty"
            self._take(attempt, event.usage, Reason(code, model=attempt.name), event.verdict)
        elif isinstance(event, PolicyError):
            self._verdicts.append(event.verdict)
            self._reasons.append(event.reason)
        elif isinstance(event, _EXPECTED) and not isinstance(event, AuditError):
            failures = getattr(event, "failures", ()) or (Failure(reason=event.message),)
            self._take_failures(attempt, failures)
            self._reasons.append(event.reason)
        else:
            raise event
        if not self._running and self._heard is None:
            self._ask_next(f"fallback: {attempt.name!r} failed")

    def _take(self, attempt: _Try, usage: Usage, why: Reason, verdict: Verdict | None) -> None:
        self._verdicts += [verdict] if verdict is not None else []
        self._reasons.append(why)
        self._steps.append(self._step(attempt, usage, f"failed: {why}"))

    def _take_failures(self, attempt: _Try, failures: Sequence[Failure]) -> None:
        self._steps += [self._step(attempt, failure.usage, f"failed: {failure.reason}") for failure in failures]

    def _step(self, attempt: _Try, usage: Usage, note: str) -> Step:
        notes = "; ".join(part for part in (attempt.note, note) if part)
        return Step(producer=self._producer, engine=attempt.name, usage=usage, note=notes)

    def _ending(self, heard: _Try | None, output: Output | None) -> ModelReply:
        if heard is not None and output is not None:
            self._running.pop(heard, None)
            self._take_failures(heard, output.failures)
            self._steps.append(self._step(heard, output.usage, ""))
            self._verdicts += [output.verdict] if output.verdict is not None else []
        text = "".join(heard.texts) if heard is not None else ""
        return ModelReply(
            text=text or (output.text if output is not None else ""),
            output=output,
            engine=heard.name if heard is not None else "",
            steps=tuple(self._steps),
            verdicts=tuple(self._verdicts),
            reason=all_of(self._reasons) if self._reasons else None,
        )
