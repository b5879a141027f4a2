"""Client of any OpenAI-compatible server: vLLM, Ollama, llama-server, a cloud.

Only `coterie.governance` may make one: its egress gate checks every prompt that is sent.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus

from coterie.accounting.meter import CallEnergy, Cards
from coterie.config.file import ServerModel
from coterie.engines.openai_http import Deadline, EventParser, ModelConnection
from coterie.engines.openai_wire import STREAM_END, Dialect, Transcript, quotable, read_error, read_retry_after, refusal
from coterie.engines.transport import ServerAnswer, Transport
from coterie.errors import (
    BudgetExceeded,
    CoterieError,
    EngineBroken,
    EngineError,
    EngineRejected,
    EngineUnavailable,
    Overloaded,
    TooLong,
)
from coterie.runtime.codec import replace
from coterie.runtime.concurrency import aside, side_by_side
from coterie.text.folding import estimate_tokens
from coterie.types import SYSTEM, CallContext, Delta, Failure, Output, Prompt, RelayHead

# --- Circuit breaker: stops asking a server that fails and probes it with a single request.


class CircuitBreaker:
    """Opens after `threshold` failures in a row; after `cooldown` seconds lets one probe decide.

    Only retryable engine errors count as failures: a server that refuses a request is alive.
    """

    def __init__(self, engine: str, *, threshold: int, cooldown: float, clock: Callable[[], float]) -> None:
        self._engine = engine
        self._threshold = threshold
        self._cooldown = cooldown
        self._clock = clock
        self._failures = 0
        self._open_until: float | None = None
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether requests are refused, or only a probe is let through."""
        return self._open_until is not None

    def attempt(self) -> ServerAttempt:
        """Return a context for one try. Entering raises `EngineUnavailable` at once while the circuit is open.

        Call the returned object once the whole answer has arrived: a reader of a stream leaves the context then, and
        leaving alone says nothing about the server.
        """
        return ServerAttempt(self)

    def enter(self) -> bool:
        """Begin a try; return True when it is the probe."""
        if self._open_until is None:
            return False
        wait = self._open_until - self._clock()
        if wait > 0 or self._probing:
            resting = EngineUnavailable(
                f"Engine {self._engine!r} failed {self._failures} times in a row and is not asked for now.",
                engine=self._engine,
                retry_after=max(wait, 1.0),
            )
            resting.sent = False
            raise resting
        self._probing = True
        return True

    def leave(self, *, failed: bool | None, probe: bool) -> None:
        """End a try; `failed` is None for an abandoned one."""
        if probe:
            self._probing = False
        if failed:
            self._failures += 1
            if self._failures >= self._threshold:
                self._open_until = self._clock() + self._cooldown
        elif failed is False:
            self._failures = 0
            self._open_until = None


class ServerAttempt:
    """A context for one try of a request."""

    __slots__ = ("_breaker", "_complete", "_probe")

    def __init__(self, breaker: CircuitBreaker) -> None:
        self._breaker, self._complete, self._probe = breaker, False, False

    def __enter__(self) -> Callable[[], None]:
        self._probe = self._breaker.enter()
        return self._answered

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        failed = False if self._complete or kind is None else None  # None: abandoned
        if isinstance(error, EngineError):
            failed = error.retryable
        self._breaker.leave(failed=failed, probe=self._probe)

    def _answered(self) -> None:
        self._complete = True


# --- Engine.


_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 20.0
"""Pauses in seconds: after try n, a random time up to the first pause times 2^n, at most the longest."""
_OUR_SETUP = frozenset({401, 403, 301, 302, 303, 307, 308})
"""Statuses about the key or the address of the model's entry, which are not the caller's."""
_RELAYED = ("content-type", "retry-after", "x-request-id")
"""Headers of an answer that are passed on."""
_END = 0.1
"""Seconds to wait for the end of an answer after its last event; then the connection is closed."""
_BREAKER_THRESHOLD, _BREAKER_COOLDOWN = 5, 30.0


class OpenAIEngine:
    """Asks a server over HTTP, with time limits, retries and a circuit breaker.

    Connection errors, timeouts, 408, 409, 425, 429, 5xx and broken answers are retried with full jitter, but never
    after the first piece of a stream. `Retry-After` is honoured; a wait of more than 20 seconds, or longer than the
    prompt's patience, is left to the caller. CPU-seconds are 0: they are spent elsewhere.
    """

    path: str = "chat/completions"
    """Path below the address of the server."""

    def __init__(
        self,
        name: str,
        model: ServerModel,
        *,
        transport: Transport | None = None,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        threshold: int = _BREAKER_THRESHOLD,
        cards: Cards | None = None,
    ) -> None:
        """Describe the connection; nothing is opened before the first prompt.

        Args:
            name: its key in the ledger.
            model: address, model name, key, limits.
            transport: sends the requests; the network by default.
            clock: monotonic seconds, for the circuit breaker.
            random: returns a number from 0 to 1, for the jitter.
            sleep: waits between tries.
            threshold: failures in a row after which the server is not asked for a while.
            cards: the graphics cards that the server runs on, if they can be measured.
        """
        self.name = name
        self.clearance = model.clearance
        self._model = model
        self._random = random
        self._sleep = sleep
        self._cards = cards or Cards([])
        self._connection = ModelConnection(name, model, transport)
        self._dialect = Dialect()
        self._breaker = CircuitBreaker(name, threshold=threshold, cooldown=_BREAKER_COOLDOWN, clock=clock)

    async def run(self, batch: Sequence[Prompt], *, call: CallContext = SYSTEM) -> Sequence[Output]:
        """Return one answer per prompt, asked concurrently.

        Raises:
            EngineError: `EngineTimeout`, `EngineUnavailable`, `EngineRejected` or `EngineBroken`.
            TooLong: a prompt that cannot fit the window, or that the server rejects as too long.
            Overloaded: every connection is in use.
        """
        for prompt in batch:
            self._check(prompt)
        return await side_by_side(self._answer(prompt, call) for prompt in batch)

    async def stream(self, prompt: Prompt, *, call: CallContext = SYSTEM) -> AsyncIterator[Delta | Output]:
        """Yield pieces as they arrive, then the `Output`. Raises what `run` raises."""
        self._check(prompt)
        failures: tuple[Failure, ...] = ()
        started, waits = False, _Waits(prompt.patience)
        while True:
            transcript = self._transcript(prompt)
            try:
                async with aclosing(self._pieces(transcript)) as events:
                    async for event in events:
                        started = True
                        yield replace(event, failures=failures) if isinstance(event, Output) else event
                return
            except EngineError as error:
                error.failures = failures = (*failures, transcript.failure(error))
                if started or not await self._pause(failures, error, waits, prompt, call):
                    raise
            except Overloaded as error:
                error.failures = failures
                raise

    async def relay(
        self,
        prompt: Prompt,
        *,
        path: str,
        call: CallContext = SYSTEM,  # noqa: ARG002 - one try, which the caller repeats if it likes
    ) -> AsyncIterator[RelayHead | bytes | Output]:
        """Relay the server's answer to a verbatim request: its head, its bytes as they arrive, then its usage.

        Every answer of the server is passed on, also an error, except one about the entry's own key or address.
        """
        if prompt.verbatim is None:
            raise EngineRejected(f"Engine {self.name!r} was given nothing to relay.", engine=self.name)
        transcript = Transcript(engine=self.name, prompt=prompt)
        deadline = self._connection.deadline()
        with self._breaker.attempt() as answered, self._cards.call() as energy:
            async with self._connection.post(prompt.verbatim, deadline, path=path) as response:
                if response.status in _OUR_SETUP:
                    refusal_body = await self._connection.read_refusal(response, deadline)
                    raise refusal(
                        response.status, read_error(refusal_body), engine=self.name, quoted="", retry_after=None
                    )
                kept = {name: value for name in _RELAYED if (value := response.headers.get(name)) is not None}
                streamed = kept.get("content-type", "").startswith("text/event-stream")
                body = b"" if streamed else self._connection.arrived(response) or b""
                yield RelayHead(status=response.status, headers=kept, body=body)
                if not body:
                    pieces = list[bytes]()
                    async with aclosing(self._connection.chunks(response, deadline)) as chunks:
                        async for chunk in chunks:
                            deadline.renew()
                            pieces.append(chunk)
                            yield chunk
                    body = b"".join(pieces)
            answered()
            usage = await aside(len(body), partial(transcript.relayed, body, streamed=streamed))
            if response.status >= HTTPStatus.BAD_REQUEST:
                usage = replace(usage, tokens_in=0, tokens_out=0)  # a refusal is not billed
            yield measured(Output(usage=usage), energy)

    async def close(self) -> None:
        """Close the connections."""
        await self._connection.close()

    # --- tries -------------------------------------------------------------------------------------

    async def _answer(self, prompt: Prompt, call: CallContext) -> Output:
        failures: tuple[Failure, ...] = ()
        waits = _Waits(prompt.patience)
        while True:
            transcript = self._transcript(prompt)
            try:
                return replace(await self._whole(transcript), failures=failures)
            except EngineError as error:
                error.failures = failures = (*failures, transcript.failure(error))
                if not await self._pause(failures, error, waits, prompt, call):
                    raise
            except Overloaded as error:
                error.failures = failures
                raise

    async def _pause(
        self, failures: Sequence[Failure], error: EngineError, waits: _Waits, prompt: Prompt, call: CallContext
    ) -> bool:
        """Wait before the next try; return False when there should be none, or when no budget is left for it."""
        attempt = len(failures) - 1
        wait = getattr(error, "retry_after", None) or 0.0
        longest = waits.longest
        last = attempt >= self._model.retries
        if last or not error.retryable or self._breaker.is_open or wait > longest:
            return False
        if call.before_retry is not None and not failures[-1].turned_away:
            try:
                await call.before_retry(prompt)
            except BudgetExceeded:
                return False
        pause = wait + self._random() * min(_FIRST_PAUSE * 2**attempt, longest)
        waits.waited += pause
        await self._sleep(pause)
        return True

    def _check(self, prompt: Prompt) -> None:
        """Check what no server would accept, before anything is sent."""
        if prompt.choices or prompt.adapter is not None:
            wish = "score choices" if prompt.choices else f"use adapter {prompt.adapter!r}"
            raise EngineRejected(
                f"Engine {self.name!r} was asked to {wish}; servers are not.",
                engine=self.name,
                hint="Use a model with engine = 'llama'. A server like vLLM has an adapter as a model of its own name.",
            )
        if not prompt.messages:
            raise EngineRejected(f"Engine {self.name!r} was given a prompt without messages.", engine=self.name)
        if prompt.grammar is not None:
            raise EngineRejected(
                f"Engine {self.name!r} was given a grammar; servers take none.",
                engine=self.name,
                hint="Constrain the text with `json_schema`, or use a model with engine = 'llama'.",
            )
        tokens = sum(estimate_tokens(message.text) for message in prompt.messages)
        if tokens > 2 * self._model.window:  # twice: the count is an estimate, and the server has the last word
            raise TooLong(
                f"The prompt has about {tokens} tokens; the window of {self.name!r} is {self._model.window}.",
                hint="Send less text, or correct `window` of the model in coterie.toml.",
            )

    # --- one try -----------------------------------------------------------------------------------

    async def _whole(self, transcript: Transcript) -> Output:
        least = transcript.prompt.patience or 0.0  # of a whole answer nothing comes before all of it
        with self._breaker.attempt(), self._cards.call() as energy:
            async with self._response(transcript.prompt, stream=False, least=least) as (response, deadline):
                transcript.take(await self._connection.read_answer(response, deadline), part="message")
                return measured(transcript.output(), energy)

    async def _pieces(self, transcript: Transcript) -> AsyncGenerator[Delta | Output, None]:
        with self._breaker.attempt() as answered, self._cards.call() as energy:
            async with self._response(transcript.prompt, stream=True) as (response, deadline):
                kind = response.headers.get("content-type", "")
                if kind.startswith("text/html"):  # a proxy's page, or the server's own: whatever it says, no answer
                    raise EngineBroken(
                        f"Engine {self.name!r} sent a web page in place of an answer.",
                        engine=self.name,
                        hint="Check `base_url` (up to and including /v1), and whether a proxy stands before it.",
                    )
                if kind.startswith("application/json"):
                    # A server that does not stream: its whole answer is one piece.
                    body = await self._connection.read_answer(response, deadline)
                    yield Delta(text=transcript.take(body, part="message"))
                else:
                    async with aclosing(self._events(response, deadline)) as events:
                        async for data in events:
                            if text := transcript.take_event(data):
                                deadline.renew()
                                yield Delta(text=text)
                output = measured(transcript.output(), energy)
                answered()
                yield output

    @asynccontextmanager
    async def _response(
        self, prompt: Prompt, *, stream: bool, least: float = 0.0
    ) -> AsyncIterator[tuple[ServerAnswer, Deadline]]:
        """Yield an answer with status 200, of which only the head was read; raises for any other."""
        deadline = self._connection.deadline(least)
        while True:
            body = self._body(prompt, stream=stream)
            async with self._connection.post(body, deadline, path=f"/{self.path}") as response:
                if response.status == HTTPStatus.OK:
                    yield response, deadline
                    return
                error = read_error(await self._connection.read_refusal(response, deadline))
                if not self._dialect.learn(response.status, error):
                    raise refusal(
                        response.status,
                        error,
                        engine=self.name,
                        quoted=quotable(error, prompt),
                        retry_after=read_retry_after(response.headers),
                    )

    def _transcript(self, prompt: Prompt) -> Transcript:
        """Return the transcript that an answer is read into."""
        return Transcript(engine=self.name, prompt=prompt)

    def _body(self, prompt: Prompt, *, stream: bool) -> dict[str, object]:
        """Return the JSON of a request."""
        return self._dialect.body(self._model.name, prompt, stream=stream)

    async def _events(self, response: ServerAnswer, deadline: Deadline) -> AsyncGenerator[str, None]:
        """Yield the data of a stream's events, up to and including its end mark."""
        parser = EventParser()
        try:
            async with aclosing(self._connection.chunks(response, deadline)) as chunks:
                async for chunk in chunks:
                    for data in map(self._connection.scrubbed, parser.feed(chunk)):
                        yield data
                        if data.strip() == STREAM_END:
                            await _read_out(chunks)
                            return
            for data in map(self._connection.scrubbed, parser.end()):
                yield data
        except ValueError as error:
            raise EngineBroken(f"Engine {self.name!r} sent no event stream: {error}.", engine=self.name) from error


async def _read_out(chunks: AsyncGenerator[bytes, None]) -> None:
    """Read the rest of an answer after its last event: only then the connection can be reused."""
    with suppress(CoterieError, TimeoutError):
        async with asyncio.timeout(_END):
            async for _ in chunks:
                pass


def measured(output: Output, energy: CallEnergy) -> Output:
    """Return an output with the joules that the server's cards took for it, where they say so."""
    joules = energy.end()
    if joules is None:
        return output
    return replace(output, usage=replace(output.usage, joules=joules, joules_kind="measured"))


@dataclass
class _Waits:
    """The time that one prompt has spent on waiting for retries."""

    patience: float | None
    waited: float = 0.0

    @property
    def longest(self) -> float:
        """Seconds that the next wait may take."""
        return _LONGEST_PAUSE if self.patience is None else min(self.patience - self.waited, _LONGEST_PAUSE)
