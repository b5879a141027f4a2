"""Clients of servers: any OpenAI-compatible one (vLLM, Ollama, llama-server, a cloud), and decision models.

Decision models take typed questions and give probabilities: TypeSafe's System One, OpenAI's Decisions API. Only
`coterie.governance` may make a client: its egress gate checks every prompt that is sent.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Any, Literal

import numpy as np

from coterie.accounting.meter import CallEnergy, Cards
from coterie.config.file import DecisionModel, ServerModel
from coterie.engines.http import Deadline, EventParser, ModelConnection, ServerAnswer, Transport
from coterie.engines.openai_wire import (
    STREAM_END,
    Dialect,
    Transcript,
    quotable,
    read_error,
    read_json,
    read_retry_after,
    refusal,
)
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
from coterie.text.folding import estimate_tokens, valid_text
from coterie.types import SYSTEM, YES, CallContext, Delta, Failure, Message, Option, Output, Prompt, Question, RelayHead

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


# --- Clients of decision models: typed questions out, probabilities in. TypeSafe's System One, OpenAI's Decisions API.

MOST_QUESTIONS = 64
_ASKED = "Select the option that fits the input."
"""Instructions of a question that has none, where they are required."""


class DecisionEngine(OpenAIEngine):
    """Asks a decision model. An output has `scores` (Q, L): log-probabilities of each question's options, then -inf.

    The text is the likeliest option of a single question. A prompt without `questions` is asked as one choice among the
    labels of its `json_schema`, like a classifier's prompt, and is answered in that form. Questions that the model
    refused have -inf only.
    """

    def __init__(self, name: str, model: DecisionModel, **options: Any) -> None:  # noqa: ANN401 - those of `OpenAIEngine`
        """Describe the connection; see `OpenAIEngine`."""
        self.path = model.engine
        super().__init__(name, model, **options)

    async def stream(self, prompt: Prompt, *, call: CallContext = SYSTEM) -> AsyncIterator[Delta | Output]:
        """Yield the whole answer at once, without pieces."""
        (output,) = await self.run([prompt], call=call)
        if output.text:
            yield Delta(text=output.text)
        yield output

    def _check(self, prompt: Prompt) -> None:
        super()._check(prompt)
        if not 1 <= len(questions_of(prompt)) <= MOST_QUESTIONS:
            raise EngineRejected(
                f"Engine {self.name!r} answers 1 to {MOST_QUESTIONS} typed questions; it was given none or more.",
                engine=self.name,
                hint="It writes no text: use another model as [generalist], or for `generate`.",
            )

    def _transcript(self, prompt: Prompt) -> Transcript:
        return TypedAnswers(engine=self.name, prompt=prompt, api=self.path)

    def _body(self, prompt: Prompt, *, stream: bool) -> dict[str, object]:  # noqa: ARG002 - nothing is streamed
        questions = questions_of(prompt)
        turns_ = [message for message in prompt.messages if message.role != "system" or prompt.questions]
        if self.path == "decisions":
            turns = [{"role": message.role, "content": valid_text(message.text)} for message in turns_]
            return {"model": self._model.name, "input": turns, "questions": list(map(_openai_question, questions))}
        state: object = valid_text(turns_[0].text) if len(turns_) == 1 else [_turn(message) for message in turns_]
        questions_ = {f"q{index}": _typesafe_question(question) for index, question in enumerate(questions)}
        return {"model": self._model.name, "state": state, "questions": questions_}


def questions_of(prompt: Prompt) -> tuple[Question, ...]:
    """Return a prompt's typed questions, or its labels as one choice; empty if it has neither."""
    if prompt.questions:
        return prompt.questions
    properties = (prompt.json_schema or {}).get("properties")
    label = properties.get("label") if isinstance(properties, Mapping) else None
    labels = label.get("enum") if isinstance(label, Mapping) else None
    if not isinstance(labels, Sequence) or len(labels) < 2:
        return ()
    instructions = "\n".join(message.text for message in prompt.messages if message.role == "system")
    return (
        Question(kind="choice", options=tuple(Option(name=str(label)) for label in labels), instructions=instructions),
    )


def _turn(message: Message) -> dict[str, str]:
    return {"role": message.role, "content": valid_text(message.text)}


def _typesafe_question(question: Question) -> dict[str, object]:
    described = {valid_text(option.name): valid_text(option.description) or None for option in question.options}
    stated = {"instructions": valid_text(question.instructions)} if question.instructions else {}
    if question.kind == "score":
        return {"type": "score", **stated, "criteria": [_level(option) for option in question.options]}
    return {"type": "noul" if question.kind == "predicate" else "choice", **stated, "criteria": described}


def _level(option: Option) -> str:
    return valid_text(f"{option.name}: {option.description}" if option.description else option.name)


def _openai_question(question: Question) -> dict[str, object]:
    stated: dict[str, object] = {"type": question.kind, "instructions": valid_text(question.instructions) or _ASKED}
    if question.kind == "predicate":
        described = [f"{option.name}: {option.description}" for option in question.options if option.description]
        return stated | {"instructions": valid_text("\n".join([question.instructions, *described]).strip())}
    named, each_is = ("levels", "label") if question.kind == "score" else ("choices", "value")
    options = []
    for option in question.options:
        described_as = {"description": valid_text(option.description)} if option.description else {}
        options.append({each_is: valid_text(option.name), **described_as})
    return {**stated, named: options}


@dataclass(kw_only=True)
class TypedAnswers(Transcript):
    """The answers to a prompt's questions."""

    api: str
    """The API: `systemone` or `decisions`."""
    scores: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))  # (Q, L)

    def take(self, data: str, *, part: Literal["message", "delta"]) -> str:  # noqa: ARG002 - never in pieces
        """Read a whole answer. Raises `EngineBroken` for one that does not match the questions."""
        content = read_json(data, self.engine)
        questions = questions_of(self.prompt)
        try:
            rows = [self._row(content["answers"], index, question) for index, question in enumerate(questions)]
        except (LookupError, TypeError, ValueError) as error:
            raise EngineBroken(
                f"Engine {self.engine!r} sent answers that do not fit the questions ({type(error).__name__}).",
                engine=self.engine,
            ) from None
        self.scores = np.full((len(rows), max(map(len, rows))), -math.inf)
        with np.errstate(divide="ignore"):
            for index, row in enumerate(rows):
                self.scores[index, : len(row)] = np.log(row)
        usage = content.get("usage")
        if isinstance(usage, Mapping):
            counts = [usage.get(name) for name in ("input_tokens", "output_tokens")]
            if all(isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in counts):
                self.tokens = (counts[0], counts[1])  # type: ignore[assignment]
        self.finish = "stop"
        if len(questions) == 1 and np.isfinite(self.scores).any():
            best = int(self.scores[0].argmax())
            name = questions[0].names[best]
            self.texts.append(name if self.prompt.questions else json.dumps({"label": name}, ensure_ascii=False))
            self.logprobs.append(float(self.scores[0, best]))
        return "".join(self.texts)

    def output(self) -> Output:
        """Return the answers. Raises `EngineBroken` if there are none."""
        return replace(super().output(), scores=self.scores)

    def _row(self, answers: Any, number: int, question: Question) -> np.ndarray:  # noqa: ANN401 - what a server sent
        """Return the probabilities (L,) of one question's options; zeros for a refusal."""
        answer = answers[number] if self.api == "decisions" else answers[f"q{number}"]
        if answer["type"] == "refusal":
            return np.zeros(len(question.options))
        if question.kind == "predicate":
            true = float(answer["probability" if self.api == "decisions" else "noul"])
            return _checked([true if option.name == YES else 1 - true for option in question.options])
        listed = answer["probabilities"]
        if self.api == "decisions":
            listed = {str(option["value"]): option["probability"] for option in listed}
        names = map(str, range(len(question.options))) if question.kind == "score" else map(valid_text, question.names)
        return _checked([listed[name] for name in names])


def _checked(values: Sequence[object]) -> np.ndarray:  # (L,)
    row = np.array([float(value) for value in values])  # type: ignore[arg-type]
    if not np.isfinite(row).all() or row.min() < 0 or row.max() > 1 or row.sum() <= 0:
        raise ValueError("they are no probabilities")
    return np.asarray(row / row.sum())
